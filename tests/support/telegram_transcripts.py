"""The conversations shown in docs/telegram.md, had anew: the real `grapevine serve` on the sample, in a real chat.

`python -m tests.support.telegram_transcripts` has them all and writes them into the page; a test has some of them and
compares. What is shown is what the emulated Telegram server was told to show at the end, word for word, buttons in
square brackets. Only formatting is left out.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.emulators.model import ModelServer, Reply, words
from tests.emulators.telegram import Chat, Limits, Message, TelegramEmulator, User
from tests.support.process import ROOT, SAMPLE, grapevine, serving

PAGE = ROOT / "docs" / "telegram.md"
BEGIN = "<!-- conversations: written by python -m tests.support.telegram_transcripts -->"
END = "<!-- end of conversations -->"
CONTACT = "1900 0000"
TURN = '"event":"turn"'
BOSS = 12345
NOTICE = """# Office hours around Reunification Day

On 30 April and 1 May the counters are closed. Claims are taken by telephone around the clock; a claim that is filed on
these two days is confirmed on 2 May before 10:00.
"""
STREAMED = (
    "Theft of the whole motorbike is covered by product **TC-03** [1]. It costs a share of the bike's value each year, "
    "and the cover begins some days after the payment [2]. Report the theft to the police first, then to the hotline, "
    "and keep both original keys: a missing key lowers what is paid [1]."
)


@dataclass(kw_only=True)
class Stage:
    """One conversation while it is being had."""

    emu: TelegramEmulator
    log: Path
    asked: list[str]
    """Everything the server was asked, by all stages on it."""
    model: ModelServer | None = None
    lines: list[str] = field(default_factory=list)
    _told: dict[tuple[int, int], str] = field(default_factory=dict)

    def note(self, text: str) -> None:
        """What happens besides words."""
        self.lines.append(f"({text})")

    def asks(self, user: User, text: str, *, chat: Chat | None = None) -> Message:
        """Somebody writes a question to the bot."""
        self.lines += _spoken(user.first_name, text)
        self.asked.append(text)
        return self.emu.say(text, user=user, chat=chat)

    def changes(self, question: Message, text: str) -> None:
        """Somebody edits a question."""
        self.lines += _spoken(f"{question.sender.first_name} (edits the question)", text)
        self.asked.append(text)
        self.emu.edit(question, text)

    async def settled(self) -> None:
        """Return once every answer is over for the server, too: nobody presses a button within a millisecond."""
        async with asyncio.timeout(30):
            while (await asyncio.to_thread(self.log.read_text)).count(TURN) < len(self.asked):
                await asyncio.sleep(0.02)

    async def answered(self, chat: int, *, has: str = "", needs: Callable[[Message], bool] = lambda _: True) -> Message:
        """The bot's next message, or next change of one, once it is done; it goes into the transcript."""

        def done(emu: TelegramEmulator) -> Message | None:
            for message in reversed(emu.from_bot(chat)):
                is_news = self._told.get((chat, message.message_id)) != _shown(message)
                is_growing = any(button["text"].startswith("⏹") for button in message.buttons)
                if is_news and not is_growing and has in message.text and needs(message):
                    return message
            return None

        message: Message = await self.emu.wait_for(done, timeout_s=30)
        is_edit = (chat, message.message_id) in self._told
        self._told[chat, message.message_id] = _shown(message)
        self.lines += _spoken("Grapevine (the same message)" if is_edit else "Grapevine", message.text)
        self.lines += _buttons(message)
        return message

    async def presses(self, user: User, message: Message, label: str) -> None:
        """Somebody presses a button of the bot's."""
        if not label.startswith("⏹"):
            await self.settled()
        data = next(button["callback_data"] for button in message.buttons if label in button["text"])
        self.note(f"{user.first_name} presses {label}")
        query = self.emu.press(message, data, user=user)
        await self.emu.wait_for(lambda emu: emu.callbacks[query]["answered"], timeout_s=60)
        if text := self.emu.callbacks[query]["text"]:
            self.note(f"Telegram shows for a moment: {text}")


def _shown(message: Message) -> str:
    return "\n".join([message.text, *_buttons(message)])


def _spoken(name: str, text: str) -> list[str]:
    first, *others = text.splitlines()
    return [f"{name}: {first}", *(f"    {line}".rstrip() for line in others)]


def _buttons(message: Message) -> list[str]:
    rows = (message.reply_markup or {}).get("inline_keyboard", [])
    return ["    " + " ".join(f"[{button['text']}]" for button in row) for row in rows]


async def english(stage: Stage) -> None:
    lan = stage.emu.user(2001, name="Lan")
    stage.asks(lan, "How soon must I see a doctor after a crash?")
    answer = await stage.answered(2001)
    await stage.presses(lan, answer, "📄 1")
    await stage.answered(2001, needs=lambda message: message is not answer)


async def vietnamese(stage: Stage) -> None:
    minh = stage.emu.user(2002, name="Minh", language_code="vi")
    stage.asks(minh, "Mất xe mà tôi chỉ còn giữ một chìa gốc thì bị trừ bao nhiêu phần trăm tiền bồi thường?")
    await stage.answered(2002)


async def faq(stage: Stage) -> None:
    mai = stage.emu.user(2003, name="Mai", language_code="vi")
    stage.asks(mai, "Phí TN-01 là bao nhiêu?")
    await stage.answered(2003)


async def follow_up(stage: Stage) -> None:
    an = stage.emu.user(2004, name="An")
    stage.asks(an, "How much is the compulsory insurance for a scooter up to 50 cc?")
    await stage.answered(2004)
    await stage.settled()
    stage.asks(an, "And for a three-wheeler?")
    await stage.answered(2004)


async def refusal(stage: Stage) -> None:
    lan = stage.emu.user(2005, name="Lan")
    stage.asks(lan, "Do you also insure sailing boats in Norway?")
    await stage.answered(2005)


async def group(stage: Stage) -> None:
    minh = stage.emu.user(2006, name="Minh", language_code="vi")
    riders = stage.emu.group(-1002006, title="Hội xe máy")
    chatter = "Ai biết cứu hộ ở nội thành mất bao lâu không?"
    stage.lines += _spoken(minh.first_name, chatter)
    stage.emu.say(chatter, user=minh, chat=riders)
    stage.asks(minh, "@grapevine_bot cứu hộ ở nội thành có mặt trong bao lâu?", chat=riders)
    await stage.answered(-1002006)


async def stop(stage: Stage) -> None:
    assert stage.model is not None
    stage.model.script(Reply(tokens=words(STREAMED), held=True))
    lan = stage.emu.user(2007, name="Lan")
    stage.asks(lan, "What should I know about theft cover?")
    while not (exchange := await stage.model.asked()).prompt:
        pass  # the connection is opened by another request
    await exchange.release(25)
    growing = await stage.emu.wait_for(lambda emu: [m for m in emu.from_bot(2007) if "each year" in m.text])
    stage.note("the answer is growing")
    await stage.presses(lan, growing[0], "⏹")
    await stage.answered(2007)


async def edited(stage: Stage) -> None:
    an = stage.emu.user(2008, name="An")
    question = stage.asks(an, "What does hydrolock mean?")
    await stage.answered(2008)
    await stage.settled()
    stage.changes(question, "What does deductible mean?")
    await stage.answered(2008)


async def feedback(stage: Stage) -> None:
    mai = stage.emu.user(2009, name="Mai", language_code="vi")
    stage.asks(mai, "Trả phí làm hai kỳ thì kỳ đầu đóng bao nhiêu phần trăm?")
    answer = await stage.answered(2009)
    await stage.presses(mai, answer, "👎")
    asked = await stage.answered(2009, needs=lambda message: any("why:" in b["callback_data"] for b in message.buttons))
    reason = next(button["text"] for button in asked.buttons if button["callback_data"].startswith("why:outdated"))
    await stage.presses(mai, asked, reason)


async def admin(stage: Stage) -> None:
    boss = stage.emu.user(BOSS, name="Hoa")
    stage.note("Hoa sends reunification-day.md")
    stage.emu.send_document(NOTICE.encode(), "reunification-day.md", user=boss)
    question = await stage.answered(BOSS)
    await stage.presses(boss, question, "public")
    await stage.answered(BOSS, has="✅")
    stage.asks(boss, "When is a claim confirmed that is filed on 30 April?")
    await stage.answered(BOSS)


Story = Callable[[Stage], Awaitable[None]]
STORIES: Sequence[tuple[str, Story]] = (
    ("A question in English, and where the answer comes from", english),
    ("A question in Vietnamese", vietnamese),
    ("A frequently asked question, in other words", faq),
    ("A question that follows on from the last one", follow_up),
    ("What the documents do not say", refusal),
    ("In a group, where only a mention is answered", group),
    ("An answer that is stopped", stop),
    ("A question that is edited", edited),
    ("An answer that was not good", feedback),
    ("An admin gives the bot a document", admin),
)
NEED_A_MODEL: frozenset[Story] = frozenset({stop})
"""Without a model an answer is there at once, and nothing can be stopped: these get one that speaks by script."""


@asynccontextmanager
async def stage_over(data: Path, *, with_model: bool = False) -> AsyncIterator[Callable[[], Stage]]:
    """A running server over this data folder; every call gives a new stage on it."""
    async with AsyncExitStack() as stack:
        emu = await stack.enter_async_context(TelegramEmulator(limits=Limits(private=None, group=None, bot=None)))
        emu.callback_lives_s = 600.0
        settings = {
            "TELEGRAM_BOT_TOKEN": emu.token,
            "TELEGRAM_API_URL": emu.url,
            "GRAPEVINE_ADMINS": f"telegram:{BOSS}",
            "GRAPEVINE_CONTACT": CONTACT,
        }
        model = None
        if with_model:
            model = await stack.enter_async_context(ModelServer())
            settings |= {"OPENAI_BASE_URL": model.base_url, "LLM_MODEL": "scripted"}
        server = await stack.enter_async_context(serving(data, **settings))
        asked: list[str] = []
        yield lambda: Stage(emu=emu, model=model, log=server.log, asked=asked)


async def sample(data: Path) -> None:
    """Take the sample's documents and FAQs in, by the real commands."""
    for collection in ("public", "staff"):
        done = await grapevine("ingest", "-q", str(SAMPLE / collection), "--collection", collection, data=data)
        assert done.code == 0, done.err
    await import_faqs(data)


async def import_faqs(data: Path) -> None:
    """Take the sample's FAQs in; those without an answer get one from the documents."""
    done = await grapevine("faq", "import", str(SAMPLE / "faqs.jsonl"), data=data)
    assert done.code == 0, done.err


async def have(data: Path, stories: Sequence[Story]) -> list[str]:
    """Have these conversations; their transcripts."""
    told: dict[Story, str] = {}
    for with_model in sorted({story in NEED_A_MODEL for story in stories}):
        # A folder each: update ids begin anew with every emulator, and a server remembers those it has seen.
        own = data.parent / ("with-a-model" if with_model else "without") / "data"
        await asyncio.to_thread(shutil.copytree, data, own)
        async with stage_over(own, with_model=with_model) as stages:
            for story in stories:
                if (story in NEED_A_MODEL) == with_model:
                    stage = stages()
                    await story(stage)
                    told[story] = "\n".join(stage.lines)
    return [told[story] for story in stories]


def section(number: int, title: str, transcript: str) -> str:
    """One conversation as it stands on the page."""
    return f"### {number}. {title}\n\n```text\n{transcript}\n```\n"


async def _write() -> None:
    folder = Path(tempfile.mkdtemp(prefix="transcripts-"))
    try:
        await sample(folder / "data")
        told = await have(folder / "data", [story for _, story in STORIES])
    finally:
        shutil.rmtree(folder)
    sections = [section(n, title, text) for n, ((title, _), text) in enumerate(zip(STORIES, told, strict=True), 1)]
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else f"{BEGIN}\n{END}\n"
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{chr(10).join(sections)}\n{END}{after}", encoding="utf-8")
    sys.stdout.write(f"{len(sections)} conversations in {PAGE}\n")


if __name__ == "__main__":
    asyncio.run(_write())
