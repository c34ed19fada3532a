from __future__ import annotations

import asyncio
from functools import partial

import pytest

from adapters.ports import Final, Inbound, SourceLink
from adapters.slack.inbound import from_event, plain_text
from adapters.slack.limits import MAX_CHARS
from adapters.slack.platform import SlackLiveMessage, SlackPlatform
from adapters.slack.render import SlackRenderer, harmless
from adapters.slack.words import words
from bot.access import parse_access
from tests.emulators.slack import SlackEmulator
from tests.emulators.slack.emulator import BOT_USER, TEAM, Fault
from tests.support.slack import Process

SOURCE = SourceLink(
    n=1, title="Claims guide", passage_id="p1", document="claims", collection="public", url="https://example.com/claims"
)


async def accepted(process: Process) -> Inbound:
    async with asyncio.timeout(15):
        return await process.accepted.get()


async def stream(live: SlackLiveMessage, slack: SlackEmulator, pieces: list[str]) -> None:
    """Text that comes a piece at a time, each shown before the next one."""
    for piece in pieces:
        live.append(piece)
        await slack.wait_for(partial(shows, piece.strip()))


def shows(piece: str, slack: SlackEmulator) -> bool:
    return bool(slack.written) and piece in slack.written[-1].text


async def test_a_mention_is_answered_in_its_thread_by_one_growing_message(
    platform: SlackPlatform, slack: SlackEmulator, process: Process
) -> None:
    """The answer is posted under the question and edited; the end has the sources."""
    event = await slack.mention("What does theft cover cost?")
    inbound = await accepted(process)
    assert (inbound.text, inbound.sender, inbound.place) == ("What does theft cover cost?", "U1", "C1")
    live = platform.open_message(inbound)
    await stream(live, slack, ["It costs ", "**0.9%** ", "a year [1]."])
    delivery = await live.finish(Final(text="It costs **0.9%** a year [1].", sources=(SOURCE,)))
    (message,) = slack.written
    assert message.thread_ts == event["ts"]
    assert len(message.texts) >= 3
    assert message.text.startswith("It costs **0.9%** a year [1].")
    assert message.text.endswith("1. [Claims guide](https://example.com/claims)")
    assert delivery.edits == len(message.texts) - 1


async def test_a_question_is_recorded_before_slack_is_told(
    platform: SlackPlatform, slack: SlackEmulator, process: Process
) -> None:
    """Mention, direct message and command: the record comes first, the acknowledgement second."""
    await slack.mention("When is my claim paid?")
    await accepted(process)
    await slack.wait_for(lambda s: len(s.acknowledged) == 1)
    await slack.direct("When is my claim paid?")
    await accepted(process)
    await slack.wait_for(lambda s: len(s.acknowledged) == 2)
    await slack.command("When is my claim paid?")
    await accepted(process)
    await slack.wait_for(lambda s: len(s.acknowledged) == 3)
    assert process.acknowledged_before == [0, 1, 2]


async def test_a_question_that_could_not_be_recorded_comes_again(
    platform: SlackPlatform, slack: SlackEmulator, process: Process
) -> None:
    """While the state store is away nothing is acknowledged, so that Slack delivers again; then it is answered once."""
    process.failures = 1
    await slack.mention("Is rust covered?")
    await slack.direct("Somebody else's question")
    first = await accepted(process)
    await slack.wait_for(lambda s: len(s.acknowledged) == 1)
    assert first.text == "Somebody else's question"
    assert await slack.redeliver() == 1
    assert (await accepted(process)).text == "Is rust covered?"
    await slack.wait_for(lambda s: len(s.acknowledged) == 2)


async def test_the_same_post_has_the_same_event_id_however_it_comes(
    platform: SlackPlatform, slack: SlackEmulator, process: Process
) -> None:
    """Delivered again, or as a mention and as a message: one id, which the intake claims once."""
    event = await slack.direct("hello there")
    await slack.tell(event)
    await slack.tell({**event, "type": "app_mention"})
    ids = {(await accepted(process)).event_id for _ in range(3)}
    assert ids == {f"slack:{TEAM}:D1:{event['ts']}"}


async def test_bots_edits_and_ourselves_are_not_answered(
    platform: SlackPlatform, slack: SlackEmulator, process: Process
) -> None:
    """Only what a person newly says is a question."""
    await slack.direct("from a bot", bot_id="B7")
    await slack.direct("an edit", subtype="message_changed")
    await slack.direct("from ourselves", user=BOT_USER)
    await slack.tell({"type": "message", "channel_type": "channel", "user": "U1", "text": "chatter", "channel": "C1"})
    await slack.direct("a question")
    assert (await accepted(process)).text == "a question"
    assert process.accepted.empty()


async def test_a_command_gets_a_public_root_and_its_answer_below(
    platform: SlackPlatform, slack: SlackEmulator, process: Process
) -> None:
    """/ask leaves no message of its own: who asked what is posted first, without pinging anybody but the asker."""
    await slack.command("Is rust covered, <!channel>?")
    live = platform.open_message(await accepted(process))
    await live.finish(Final(text="No."))
    root, answer = slack.written
    assert root.text.startswith("<@U1> asked: Is rust covered")
    assert "<!channel>" not in root.text
    assert (answer.text, answer.thread_ts) == ("No.", root.ts)


async def test_a_command_without_a_question_tells_how_to_ask(
    platform: SlackPlatform, slack: SlackEmulator, process: Process
) -> None:
    """The help is part of the acknowledgement, which only the sender sees."""
    await slack.command("")
    (acknowledged,) = await slack.wait_for(lambda s: s.acknowledged)
    assert "/ask" in acknowledged["answer"]["text"]
    assert process.accepted.empty()


async def test_stop_stops(platform: SlackPlatform, slack: SlackEmulator, process: Process) -> None:
    """The word `stop` in the conversation is no question."""
    await slack.direct("stop")
    await slack.wait_for(lambda s: s.acknowledged)
    (request,) = process.stops
    assert (request.conversation, request.asker) == ("D1", "U1")


async def test_a_429_is_waited_out(platform: SlackPlatform, slack: SlackEmulator, process: Process) -> None:
    """`Retry-After` is honoured, and the whole text arrives."""
    await slack.direct("?!")
    live = platform.open_message(await accepted(process))
    await stream(live, slack, ["one "])
    slack.faults.append(Fault(method="chat.update", code="ratelimited", status=429, retry_after=1))
    delivery = await live.finish(Final(text="one two"))
    assert delivery.throttled == 1
    assert [message.text for message in slack.written] == ["one two"]


@pytest.mark.parametrize("code", ["internal_error", "fatal_error"])
async def test_slacks_own_errors_are_retried(
    platform: SlackPlatform, slack: SlackEmulator, process: Process, code: str
) -> None:
    """An error of Slack's costs an attempt, not the answer."""
    await slack.direct("?!")
    live = platform.open_message(await accepted(process))
    await stream(live, slack, ["one "])
    slack.faults.append(Fault(method="chat.update", code=code))
    await live.finish(Final(text="one two"))
    assert [message.text for message in slack.written] == ["one two"]


async def test_a_deleted_message_ends_the_answer(
    platform: SlackPlatform, slack: SlackEmulator, process: Process
) -> None:
    """Nothing is posted anew."""
    await slack.direct("?!")
    live = platform.open_message(await accepted(process))
    await stream(live, slack, ["one "])
    slack.written[0].is_deleted = True
    assert (await live.finish(Final(text="one two"))).is_gone
    assert slack.written == []


async def test_the_published_limits_are_kept(
    slack: SlackEmulator, real_pace: None, platform: SlackPlatform, process: Process
) -> None:
    """Three answers at once under 50 edits a minute and a post a second, with short bursts, in a channel: no 429."""
    slack.limit("chat.update", 50, 5)
    slack.limit("chat.postMessage/C1", 60, 2)
    for n in range(3):
        await slack.mention(f"question {n}", user=f"U{n}")
    lives = [platform.open_message(await accepted(process)) for _ in range(3)]
    for live in lives:
        live.append("first words ")
    await slack.wait_for(lambda s: len(s.written) == 3)
    await asyncio.gather(*(live.finish(Final(text="first words and the rest")) for live in lives))
    assert slack.refused == 0
    assert [message.text for message in slack.written] == ["first words and the rest"] * 3


def test_mentions_and_foreign_links_are_harmless() -> None:
    """Whatever a document or a model says: nobody is pinged, and only the sources can be clicked."""
    shown = harmless(
        "<!channel> <@U1> @here see [this](https://evil.example/x) or https://evil.example, "
        "[ours](https://example.com/claims) <https://evil.example|click> ![x](https://evil.example/p.png)",
        {"https://example.com/claims"},
    )
    assert "<!channel>" not in shown
    assert "<@U1>" not in shown
    assert "@here" not in shown
    assert "[ours](https://example.com/claims)" in shown
    assert "](https://evil" not in shown
    assert shown.count("`https://evil.example") == 4


def test_code_is_left_as_it_is() -> None:
    """An address in code is code already."""
    text = "`https://evil.example` and\n```\ncurl https://evil.example\n```"
    assert harmless(text, ()) == text


def test_a_screen_holds_what_an_edit_may_hold() -> None:
    """4,000 characters fit, one more does not."""
    from adapters.live.surface import Part  # noqa: PLC0415 - next to its only use

    renderer = SlackRenderer(words("en"))
    assert renderer.render(Part(markdown="x" * MAX_CHARS)).fits
    assert not renderer.render(Part(markdown="x" * (MAX_CHARS + 1))).fits


def test_references_become_words() -> None:
    """Our own mention goes, channels and addresses are read as typed."""
    text = f"<@{BOT_USER}> see <#C9|claims> at <https://a.example|a.example>, is 1 &lt; 2 &amp; 3?"
    assert plain_text(text, me=BOT_USER) == "see #claims at https://a.example, is 1 < 2 & 3?"


def test_people_from_outside_read_what_strangers_may() -> None:
    """In a channel shared with another organisation the workspace's own grant does not count, unless it is listed."""
    event = {"type": "app_mention", "user": "U9", "user_team": "TOTHER", "text": "hi", "channel": "C1", "ts": "1.1"}
    inbound = from_event({"team_id": TEAM, "event": event}, me=BOT_USER, received_at=0.0)
    assert inbound is not None
    access = parse_access("*=public slack=public,staff")
    assert access.may_read("slack", "C1", existing=()) == {"public", "staff"}
    assert access.may_read("slack", inbound.place, existing=()) == {"public"}
    listed = parse_access("slack=staff slack:C1=partners")
    assert listed.may_read("slack", inbound.place, existing=()) == {"partners"}
