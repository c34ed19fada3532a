"""What another version has written of an exchange can be read."""

from __future__ import annotations

import orjson

from adapters.ports import SourceLink
from bot.state.transcript_body import decode_past, encode_body
from tests.state.transcripts_contract import past


def test_an_exchange_with_fields_of_a_newer_version_is_read() -> None:
    """What this version does not know is left out, of the exchange and of its sources; the rest is as it was."""
    link = SourceLink(n=1, title="Fees", passage_id="p1", document="a.md", collection="public")
    known = past("1", sources=(link,), suggestions=("More?",))
    body = orjson.loads(encode_body(known))
    body |= {"mood": "glad", "id": "2", "sources": [body["sources"][0] | {"colour": "red"}]}
    read = decode_past(
        past_id=known.id,
        platform=known.platform,
        conversation=known.conversation,
        place=known.place,
        person=known.person,
        asked_at=known.asked_at,
        question_id=None,
        handle=None,
        body=orjson.dumps(body),
    )
    assert read == known
