"""A question in a Slack channel, through real processes and a real socket, to an answer that grew in its thread."""

from __future__ import annotations

from pathlib import Path

from tests.emulators.model import ModelServer, Reply, words
from tests.emulators.slack import APP_TOKEN, BOT_TOKEN, SlackEmulator
from tests.support.process import grapevine, serving

ANSWER = (
    "Theft of the whole motorbike is covered by product **TC-03** [1]. Report it to the police within a day. " * 4
).strip()


def settings(slack: SlackEmulator, model: ModelServer) -> dict[str, str]:
    return {
        "SLACK_BOT_TOKEN": BOT_TOKEN,
        "SLACK_APP_TOKEN": APP_TOKEN,
        "SLACK_API_URL": f"{slack.url}/api/",
        "OPENAI_BASE_URL": model.base_url,
        "OPENAI_API_KEY": "sk-secret-of-the-test",
        "LLM_MODEL": "scripted",
    }


async def test_a_mention_is_answered_in_its_thread(data: Path) -> None:
    """Mention in; one message posted below it and edited; the final text complete, with its sources."""
    async with SlackEmulator() as slack, ModelServer() as model:
        model.script(Reply(tokens=words(ANSWER), pace_s=0.05))
        async with serving(data, **settings(slack, model)) as server:
            assert "slack" in next(line for line in server.said if line.startswith("platforms"))
            event = await slack.mention("What does it cost to insure my motorbike against theft?")
            await slack.tell(event)  # Slack delivers some events twice
            message = await slack.wait_for(
                lambda s: next((m for m in s.written if "**Sources**" in m.text), None), timeout_s=40
            )
            assert message.thread_ts == event["ts"]
            assert message.text.startswith("Theft of the whole motorbike is covered by product **TC-03** [1].")
            assert len(message.texts) >= 3
            assert len(slack.written) == 1
            said = server.log.read_text() + "".join(server.said)
    assert BOT_TOKEN not in said
    assert APP_TOKEN not in said


async def test_the_doctor_knows_a_refused_token(data: Path) -> None:
    """The check names the setting to mend, and fails."""
    async with SlackEmulator() as slack:
        done = await grapevine(
            "doctor",
            data=data,
            SLACK_BOT_TOKEN="xoxb-wrong",
            SLACK_APP_TOKEN=APP_TOKEN,
            SLACK_API_URL=f"{slack.url}/api/",
        )
    assert done.code == 1
    assert "Slack refused SLACK_BOT_TOKEN" in done.out + done.err
