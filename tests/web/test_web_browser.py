"""The chat page in a real browser, over the real engine and a scripted model server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from openai import AsyncOpenAI
from playwright.async_api import Browser, Page, expect

from bot.telemetry.line import TurnLine
from rag.engine import Engine
from rag.generate.llm import OpenAIAnswerer
from tests.emulators.model import Exchange, ModelServer, Reply, words
from tests.support.browser import chromium
from tests.support.web import API_TOKEN, PassagesInMemory, Setup, serve, services_for

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="module")]

ANSWER = "Theft cover costs **90,000 VND** a year [1], and floods are covered too [2]."
EXAMPLES = {
    "en": ("What does theft cover cost?", "Is flood damage covered?", "How do I cancel?"),
    "vi": ("Bảo hiểm mất cắp giá bao nhiêu?", "Xe ngập nước có được đền không?", "Hủy hợp đồng thế nào?"),
}


@dataclass(kw_only=True)
class Stage:
    """A page that is open at a running site, and the model behind it."""

    page: Page
    model: ModelServer
    lines: list[TurnLine]
    complaints: list[str]
    """What the browser's console says, blocked scripts included."""

    async def ask(self, question: str = "What does theft cover cost?") -> Exchange:
        """Type a question and send it; gives the model's side of it."""
        await self.page.get_by_role("textbox", name="Your question").fill(question)
        await self.page.keyboard.press("Enter")
        return await self.model.asked()

    @property
    def answer(self) -> Any:
        """The last answer."""
        return self.page.get_by_role("listitem", name="Answer").last


OpenStage = Callable[..., Any]

OVERFLOW = "['html', 'main', '.bar'].map((e) => document.querySelector(e)).map((e) => e.scrollWidth - e.clientWidth)"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


@pytest.fixture
def open_stage(browser: Browser) -> OpenStage:
    """Opens a stage; takes the browser context's options."""

    @asynccontextmanager
    async def stage(**options: Any) -> AsyncIterator[Stage]:
        async with AsyncExitStack() as stack:
            model = await stack.enter_async_context(ModelServer())
            client = await stack.enter_async_context(AsyncOpenAI(base_url=model.base_url, api_key="any", max_retries=0))
            retriever = PassagesInMemory()
            lines: list[TurnLine] = []
            engine = Engine(retriever, OpenAIAnswerer(client, "scripted"))
            address = await serve(
                stack, services_for(Setup(engine=engine, examples=EXAMPLES, api_tokens=(API_TOKEN,)), retriever, lines)
            )
            context = await browser.new_context(base_url=address, **({"locale": "en-GB"} | options))
            stack.push_async_callback(context.close)
            page = await context.new_page()
            complaints: list[str] = []
            page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            await page.goto("/")
            yield Stage(page=page, model=model, lines=lines, complaints=complaints)

    return stage


async def test_an_answer_grows_in_one_element_and_its_source_opens(open_stage: OpenStage) -> None:
    """The way of a reader: ask, watch, open the source, come back to where they were."""
    async with open_stage() as stage:
        stage.model.script(Reply(tokens=words(ANSWER), held=True))
        exchange = await stage.ask()
        prose = stage.answer.locator(".prose")
        element = await prose.element_handle()
        seen = []
        for text in ("Theft cover", "Theft cover costs 90,000", "Theft cover costs 90,000 VND a year"):
            while text not in " ".join((await prose.inner_text()).split()):
                await exchange.release(1)
                await stage.page.evaluate("() => new Promise(requestAnimationFrame)")
            seen.append(await prose.inner_text())
        assert len(set(seen)) == 3
        assert await stage.answer.get_attribute("aria-busy") == "true"
        await exchange.release()
        await expect(stage.answer).to_have_attribute("aria-busy", "false")
        await expect(prose).to_have_text("Theft cover costs 90,000 VND a year 1, and floods are covered too 2.")
        assert await element.evaluate("(old) => old.isConnected")
        await expect(prose.locator("strong")).to_have_text("90,000 VND")
        assert (stage.lines[0].platform, stage.lines[0].outcome) == ("web", "answered")

        cite = prose.get_by_role("button", name="Source 1: Title 1")
        await cite.focus()
        await stage.page.keyboard.press("Enter")
        panel = stage.page.get_by_role("dialog", name="Title 1")
        await expect(panel).to_contain_text("Theft cover costs 90,000 VND a year.")
        await expect(panel.get_by_role("link", name="Original document")).to_have_attribute(
            "href", "https://example.org/theft"
        )
        assert await panel.evaluate("(panel) => panel.contains(document.activeElement)")
        await stage.page.keyboard.press("Escape")
        await expect(panel).to_be_hidden()
        await expect(cite).to_be_focused()
        assert stage.complaints == []


async def test_a_source_opens_on_a_page_of_its_own(open_stage: OpenStage) -> None:
    """An id with slashes and signs finds its passage."""
    async with open_stage() as stage:
        stage.model.script(Reply(tokens=words(ANSWER)))
        await stage.ask()
        await stage.answer.get_by_role("button", name="Title 2", exact=False).last.click()
        async with stage.page.context.expect_page() as opening:
            await stage.page.get_by_role("link", name="Open on its own page").click()
        opened = await opening.value
        await expect(opened.get_by_role("heading", name="Title 2")).to_be_visible()
        await expect(opened.locator("main")).to_contain_text("Flood damage is covered.")


async def test_stop_keeps_the_text_and_stops_the_model(open_stage: OpenStage) -> None:
    """The answer is marked, and can be asked for again."""
    async with open_stage() as stage:
        stage.model.script(Reply(tokens=words(ANSWER), held=True))
        exchange = await stage.ask()
        await exchange.release(3)
        await expect(stage.answer.locator(".prose")).to_contain_text("Theft")
        await stage.page.get_by_role("button", name="Stop").click()
        await expect(stage.answer).to_contain_text("Stopped")
        await expect(stage.answer.locator(".prose")).to_contain_text("Theft")
        async with asyncio.timeout(2):
            await exchange.disconnected.wait()
        assert stage.lines[0].outcome == "stopped"
        await expect(stage.page.get_by_role("textbox", name="Your question")).to_be_focused()
        await stage.answer.get_by_role("button", name="Try again").click()
        await expect(stage.answer.locator(".sources")).to_be_visible()
        assert await stage.page.get_by_role("listitem", name="Answer").count() == 1


async def test_a_closed_tab_stops_the_model(open_stage: OpenStage) -> None:
    """Also when no token flows."""
    async with open_stage() as stage:
        stage.model.script(Reply(tokens=words(ANSWER), held=True))
        exchange = await stage.ask()
        await exchange.release(3)
        await expect(stage.answer.locator(".prose")).to_contain_text("Theft")
        await stage.page.close()
        async with asyncio.timeout(2):
            await exchange.disconnected.wait()


async def test_a_failure_says_what_happened_and_can_be_retried(open_stage: OpenStage) -> None:
    """In the same place, without typing again; with the network away, too."""
    async with open_stage() as stage:
        stage.model.script(Reply(status=401, message="bad key"), Reply(tokens=words(ANSWER)))
        await stage.ask()
        await expect(stage.answer).to_contain_text("I can't write an answer at the moment")
        await stage.page.context.set_offline(True)
        await stage.answer.get_by_role("button", name="Try again").click()
        await expect(stage.answer).to_contain_text("No connection")
        await stage.page.context.set_offline(False)
        await stage.answer.get_by_role("button", name="Try again").click()
        await expect(stage.answer.locator(".prose")).to_contain_text("90,000 VND")
        assert await stage.page.get_by_role("listitem", name="Answer").count() == 1


async def test_an_answer_cut_short_is_marked(open_stage: OpenStage) -> None:
    """What came stays, with the mark and a way to try again."""
    async with open_stage() as stage:
        stage.model.script(Reply(tokens=words("Theft cover costs 90,000 VND [1]. And"), ending="close"))
        await stage.ask()
        await expect(stage.answer).to_contain_text("⚠ Incomplete")
        await expect(stage.answer.locator(".prose")).to_contain_text("Theft cover costs")
        await expect(stage.answer.get_by_role("button", name="Try again")).to_be_visible()


async def test_a_reload_keeps_the_conversation(open_stage: OpenStage) -> None:
    """Its text, its sources and its id, until a new one is begun."""
    async with open_stage() as stage:
        stage.model.script(Reply(tokens=words(ANSWER), times=0))
        await stage.ask()
        await expect(stage.answer.locator(".sources")).to_be_visible()
        await stage.page.reload()
        await expect(stage.answer.locator(".prose")).to_contain_text("90,000 VND")
        await stage.ask("And floods?")
        await expect(stage.answer.locator(".sources")).to_be_visible()
        assert stage.lines[0].conversation == stage.lines[1].conversation
        await stage.page.get_by_role("button", name="New chat").click()
        await expect(stage.page.get_by_role("heading", name="What would you like to know?")).to_be_visible()
        await stage.ask()
        await expect(stage.answer.locator(".sources")).to_be_visible()
        assert stage.lines[2].conversation != stage.lines[0].conversation


async def test_an_example_is_asked_with_one_click_in_vietnamese(open_stage: OpenStage) -> None:
    """The interface speaks the browser's language."""
    async with open_stage(locale="vi-VN", viewport={"width": 320, "height": 640}) as stage:
        stage.model.script(Reply(tokens=words("Giá 90.000 đ một năm [1].")))
        assert await stage.page.evaluate("document.documentElement.lang") == "vi"
        await stage.page.get_by_role("button", name=EXAMPLES["vi"][0]).click()
        answer = stage.page.get_by_role("listitem", name="Câu trả lời")
        await expect(answer).to_contain_text("Giá 90.000 đ một năm")
        await expect(answer.get_by_role("heading", name="Nguồn")).to_be_visible()
        assert await stage.page.evaluate(OVERFLOW) == [0, 0, 0]


HOSTILE = """<img src=x onerror="document.title='hacked'"> <script>document.title='hacked'</script>

[bad](javascript:document.title='hacked') [elsewhere](https://evil.example/x) ![i](https://evil.example/i.png)

[our source](https://example.org/theft) and https://example.org/theft [1] [7]"""


async def test_only_sources_can_be_clicked_and_markup_is_text(open_stage: OpenStage) -> None:
    """Whatever a model or a document writes."""
    async with open_stage() as stage:
        stage.model.script(Reply(tokens=words(HOSTILE)))
        await stage.ask()
        prose = stage.answer.locator(".prose")
        await expect(stage.answer).to_have_attribute("aria-busy", "false")
        await expect(prose).to_contain_text("<img src=x")
        hrefs = await prose.locator("a").evaluate_all("(links) => links.map((link) => link.getAttribute('href'))")
        assert set(hrefs) == {"https://example.org/theft"}
        assert await prose.locator("img, script, iframe").count() == 0
        assert await stage.page.title() == "Grapevine"
        assert await prose.get_by_role("button").count() == 1


WIDE = """## A table

| Cover | Price | Excess | Remarks that are rather long |
|---|---:|---|---|
| Theft | 90,000 | 10 % | `a_very_long_identifier_without_any_break_in_it_at_all_whatsoever` |

```
an_extremely_long_line_of_code_that_will_not_fit_on_any_phone = and_it_goes_on_and_on(1, 2, 3)
```

Averyveryverylongwordwithoutanybreakthatwouldpushthepagewiderthanthephoneisandmakeitscroll [1].
"""


@pytest.mark.parametrize("width", [320, 360])
async def test_nothing_scrolls_sideways_on_a_phone(open_stage: OpenStage, width: int) -> None:
    """Tables and code scroll within themselves."""
    async with open_stage(viewport={"width": width, "height": 640}, is_mobile=True, has_touch=True) as stage:
        assert await stage.page.evaluate(OVERFLOW) == [0, 0, 0]
        stage.model.script(Reply(tokens=words(WIDE)))
        await stage.ask("Averyverylongquestionwithoutanybreakinitthatmustwrapsomewhereorotheriguess?")
        await expect(stage.answer.locator(".sources")).to_be_visible()
        await expect(stage.answer.locator("table")).to_be_visible()
        assert await stage.page.evaluate(OVERFLOW) == [0, 0, 0]
        await stage.answer.locator(".cite").click()
        await expect(stage.page.get_by_role("dialog")).to_be_visible()
        assert await stage.page.evaluate(OVERFLOW) == [0, 0, 0]


NAMELESS = """() => [...document.querySelectorAll('button, input, textarea, a, dialog')]
  .filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim()))
  .filter((e) => !(e.labels?.length || e.getAttribute('aria-labelledby')))
  .map((e) => e.outerHTML)"""
SMALL_TARGETS = """() => [...document.querySelectorAll('button:not(.cite), input, textarea')]
  .filter((e) => e.getClientRects().length && e.getBoundingClientRect().height < 24).map((e) => e.outerHTML)"""


async def test_the_page_can_be_used_without_eyes_or_mouse(open_stage: OpenStage) -> None:
    """Names, landmarks, one heading of the first rank, the order of focus, an announcement at the end."""
    async with open_stage() as stage:
        assert await stage.page.evaluate(NAMELESS) == []
        assert await stage.page.evaluate("document.querySelectorAll('h1').length") == 1
        await expect(stage.page.get_by_role("main")).to_be_visible()
        await expect(stage.page.get_by_role("textbox", name="Your question")).to_be_focused()
        stage.model.script(Reply(tokens=words(ANSWER)))
        await stage.ask()
        await expect(stage.page.get_by_role("status")).to_contain_text("The answer is complete. Theft cover costs")
        assert await stage.page.evaluate(NAMELESS) == []
        assert await stage.page.evaluate(SMALL_TARGETS) == []
        names = []
        for _ in range(4):
            await stage.page.keyboard.press("Shift+Tab")
            names.append(await stage.page.evaluate("document.activeElement.textContent.trim()"))
        assert names == ["Copy", "2Title 2", "1Title 1p. 3", "2"]


async def test_shift_enter_begins_a_line_and_an_input_method_keeps_its_enter(open_stage: OpenStage) -> None:
    """Typing Vietnamese with Telex does not send half a word."""
    async with open_stage() as stage:
        box = stage.page.get_by_role("textbox", name="Your question")
        await box.fill("one")
        await stage.page.keyboard.press("Shift+Enter")
        await stage.page.keyboard.type("two")
        await box.evaluate(
            "(box) => box.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', isComposing: true, bubbles: true}))"
        )
        await expect(box).to_have_value("one\ntwo")
        assert stage.model.exchanges == []


async def test_a_question_that_is_too_long_is_not_cut_silently(open_stage: OpenStage) -> None:
    """The page says how long it may be, and keeps the text."""
    async with open_stage() as stage:
        box = stage.page.get_by_role("textbox", name="Your question")
        await box.fill("word " * 10_000)
        await expect(stage.page.get_by_role("button", name="Send")).to_be_disabled()
        await expect(stage.page.locator("#hint")).to_contain_text("of at most 8000 characters")


SAMPLE = """# Heading

Some **bold text**, *slanted*, `code [1]` and a [link](https://example.org/a) with [1] and 2*3*4, snake_case_name.

- one
- two with **bold**
  - nested
1. first

> quoted

| a | b |
|---|--:|
| 1 | x\\|y |

```python
a = b["c"]
```
"""
RENDER = """async ([source, streaming]) => {
  const scripts = [...document.scripts].map((script) => script.src);
  const { render } = await import(scripts[0].replace('chat.js', 'markdown.js'));
  const box = document.createElement('div');
  const one = () => Object.assign(document.createElement('b'), {textContent: '①'});
  const context = {streaming, cite: (n) => n === 1 ? one() : null,
                   isSource: (url) => url === 'https://example.org/a'};
  if (!streaming) { render(box, source, context); return [box.innerHTML]; }
  const seen = [];
  for (let end = 1; end <= source.length; end += 1) {
    render(box, source.slice(0, end), context);
    seen.push(box.textContent);
  }
  return seen;
}"""


async def test_markdown_becomes_elements(open_stage: OpenStage) -> None:
    """Headings, lists, tables, code, emphasis, links that are sources, citations."""
    async with open_stage() as stage:
        (html,) = await stage.page.evaluate(RENDER, [SAMPLE, False])
        for part in (
            "<h3>Heading</h3>",
            "<strong>bold text</strong>, <em>slanted</em>, <code>code [1]</code>",
            '<a href="https://example.org/a" target="_blank" rel="noopener noreferrer">link</a> with <b>①</b>',
            "snake_case_name",
            "<li>two with <strong>bold</strong><ul><li>nested</li></ul></li>",
            "<blockquote><p>quoted</p></blockquote>",
            '<td class="right">x|y</td>',
            '<pre><code>a = b["c"]</code></pre>',
        ):
            assert part in html


async def test_half_written_markdown_shows_no_markers(open_stage: OpenStage) -> None:
    """At no point of the stream does a reader see `**`, half a citation or half a link."""
    async with open_stage() as stage:
        for text in await stage.page.evaluate(RENDER, [SAMPLE.split("```", maxsplit=1)[0], True]):
            assert "**" not in text
            assert "](" not in text
            assert "https" not in text
            assert "[" not in text.replace("code [1]", "").replace("code [1", "").replace("code [", "")
