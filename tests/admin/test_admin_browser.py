"""The admin page in a real browser, over the real state, store and ingest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, FilePayload, Page, expect

from tests.support.admin import Desk, running_desk
from tests.support.browser import chromium

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="module")]

_DROP = """
([selector, files]) => {
  const transfer = new DataTransfer();
  for (const [name, text] of files) transfer.items.add(new File([text], name));
  const target = document.querySelector(selector);
  for (const type of ["dragenter", "dragover", "drop"]) {
    target.dispatchEvent(new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true }));
  }
}
"""


@dataclass(kw_only=True)
class Stage:
    """A browser at the dashboard, and the desk behind it."""

    page: Page
    desk: Desk
    complaints: list[str]
    """What the browser's console says, blocked scripts included."""

    async def drop(self, *files: tuple[str, str]) -> None:
        """Drop files with these names and texts onto the page."""
        await self.page.evaluate(_DROP, ["#upload", [list(file) for file in files]])

    async def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return int(
            await self.page.evaluate(
                "Math.max(...[document.documentElement, document.querySelector('main')]"
                ".map((box) => box.scrollWidth - box.clientWidth))"
            )
        )


OpenStage = Callable[..., AbstractAsyncContextManager[Stage]]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


@pytest.fixture
def open_stage(browser: Browser, tmp_path: Path) -> OpenStage:
    """Signs a browser in; takes the browser context's options."""

    @asynccontextmanager
    async def stage(**options: Any) -> AsyncIterator[Stage]:
        async with AsyncExitStack() as stack:
            desk = await stack.enter_async_context(running_desk(tmp_path))
            context = await browser.new_context(base_url=desk.address, **({"locale": "en-GB"} | options))
            stack.push_async_callback(context.close)
            page = await context.new_page()
            complaints: list[str] = []
            page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            await page.goto(f"/login?link={await desk.admin.sessions.make_link()}")
            await page.wait_for_url("**/dashboard")
            yield Stage(page=page, desk=desk, complaints=complaints)

    return stage


async def test_a_stranger_is_told_how_to_sign_in(browser: Browser, tmp_path: Path) -> None:
    """Without a session the dashboard is a page that names the command, and holds nothing else."""
    async with running_desk(tmp_path) as desk:
        page = await browser.new_page(base_url=desk.address)
        answer = await page.goto("/dashboard")
        assert answer is not None
        assert answer.status == 401
        await expect(page.get_by_text("grapevine login-link")).to_be_visible()
        await expect(page.get_by_role("navigation")).to_have_count(0)
        await page.context.close()


async def test_files_are_dropped_ingested_found_and_deleted(open_stage: OpenStage) -> None:
    """Several files in one drop: progress, a line for the broken one, the others in the list; one is deleted."""
    async with open_stage() as stage:
        page = stage.page
        await expect(page.get_by_text("No documents yet")).to_be_visible()
        await stage.drop(
            ("fees.md", "# Fees and charges\n\nA replacement card costs 5 euros."),
            ("gio.txt", "Giờ mở cửa từ 8 giờ đến 17 giờ."),
            ("broken.pdf", "%PDF-1.7 nothing more"),
        )
        row = page.get_by_role("list", name="Uploads").get_by_role("listitem").filter(has_text="3 files")
        await expect(row).to_contain_text("2 added, 1 failed")
        await expect(row.get_by_text("broken.pdf")).to_be_visible()
        await expect(page.locator("#announcer")).to_contain_text("3 files: 2 added, 1 failed")
        fees = page.get_by_role("row").filter(has_text="Fees and charges")
        await expect(fees).to_contain_text("fees.md")
        await expect(page.get_by_text("2 documents")).to_be_visible()

        await page.get_by_role("searchbox", name="Search titles and ids").fill("FEES")
        await expect(page.get_by_role("row").filter(has_text="gio.txt")).to_have_count(0)
        await fees.get_by_role("button", name="Delete Fees and charges").click()
        dialog = page.get_by_role("dialog", name="Delete this document?")
        await expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
        await page.keyboard.press("Escape")
        assert await stage.desk.ids() == ["fees.md", "gio.txt"]
        await fees.get_by_role("button").click()
        await dialog.get_by_role("button", name="Delete", exact=True).click()
        await expect(fees).to_have_count(0)
        assert await stage.desk.ids() == ["gio.txt"]
        await expect(page.get_by_text("No title or id contains that.")).to_be_visible()
        assert stage.complaints == []


async def test_a_job_that_still_runs_is_shown_after_reloading(open_stage: OpenStage) -> None:
    """Reload the page in the middle of an upload's ingest: its progress goes on."""
    async with open_stage() as stage:
        await stage.desk.admin.runner.stop()
        await stage.drop(("a.md", "Some text."))
        await expect(stage.page.get_by_text("waiting")).to_be_visible()
        await stage.page.reload()
        await expect(stage.page.get_by_text("waiting")).to_be_visible()
        await stage.desk.admin.runner.start()
        await expect(stage.page.get_by_role("list", name="Uploads")).to_contain_text("added")
        await expect(stage.page.get_by_role("row").filter(has_text="a.md")).to_be_visible()


async def test_what_is_not_taken_is_said_at_once(open_stage: OpenStage) -> None:
    """A file over the limit and a collection that may not be called so are told beside the form."""
    async with open_stage() as stage:
        page = stage.page
        await stage.drop(("big.txt", "x" * (2**20 + 1)))
        await expect(page.get_by_role("alert").first).to_have_text("big.txt: larger than 1.0 MB.")
        await page.get_by_role("combobox", name="Collection to upload into").fill("Not This")
        await stage.drop(("a.md", "Some text."))
        await expect(page.get_by_role("alert").first).to_contain_text("1 to 40 of a–z")
        assert await stage.desk.ids() == []


async def test_the_chosen_collection_is_where_files_go(open_stage: OpenStage) -> None:
    """A file chosen with the keyboard goes into the collection that was typed."""
    async with open_stage() as stage:
        page = stage.page
        await page.get_by_role("combobox", name="Collection to upload into").fill("staff")
        async with page.expect_file_chooser() as chooser:
            await page.get_by_role("button", name="Choose files").focus()
            await page.keyboard.press("Enter")
        await (await chooser.value).set_files(
            FilePayload(name="script.md", mimeType="text/markdown", buffer=b"# Call script\n\nBe kind.")
        )
        await expect(page.get_by_role("row").filter(has_text="Call script")).to_contain_text("staff")
        assert await stage.desk.ids(collection="staff") == ["script.md"]


async def test_names_are_shown_as_text(open_stage: OpenStage) -> None:
    """A title that is markup is shown letter by letter."""
    async with open_stage() as stage:
        await stage.drop(("a.md", "# `<img src=x onerror=alert(1)>` & more\n\nText."))
        await expect(stage.page.get_by_role("row").filter(has_text="onerror")).to_be_visible()
        assert await stage.page.locator("main img").count() == 0
        assert stage.complaints == []


async def test_the_page_fits_a_phone(open_stage: OpenStage) -> None:
    """At 320 pixels nothing hangs over, and everything that can be pressed is large enough for a finger."""
    async with open_stage(viewport={"width": 320, "height": 640}) as stage:
        page = stage.page
        await stage.drop(("a-very-long-file-name-without-any-blank-that-could-be-wrapped.md", "# Fees\n\nText."))
        await expect(page.get_by_role("button", name="Delete Fees")).to_be_visible()
        async with stage.desk.client.post("/api/v1/ask", json={"question": "Is flood damage covered?"}) as response:
            assert response.status == 200
        for section in ("documents", "faqs", "timings"):
            await page.goto(f"/dashboard#{section}")
            await expect(page.locator(f"#{section}")).to_be_visible()
            assert await stage.overflow() <= 0, section
            for button in await page.locator(
                "button:visible, .tabs a:visible, input:not(.unseen):visible, select:visible"
            ).all():
                box = await button.bounding_box()
                assert box is not None
                assert box["height"] >= 32, await button.inner_text()


async def test_the_last_turns_are_shown_with_their_timings(open_stage: OpenStage) -> None:
    """Turns appear with outcome and milliseconds, the figures per stage above them, and no question."""
    async with open_stage() as stage:
        async with stage.desk.client.post("/api/v1/ask", json={"question": "Is flood damage covered?"}) as response:
            assert response.status == 200
        await stage.page.get_by_role("link", name="Timings").click()
        await expect(stage.page.get_by_role("heading", name="Where the time goes")).to_be_visible()
        await expect(stage.page.get_by_role("region", name="Last turns")).to_contain_text("answered")
        await expect(stage.page.get_by_role("rowheader", name="Retrieve")).to_be_visible()
        await expect(stage.page.locator("main")).not_to_contain_text("flood")


async def test_faqs_are_written_warmed_tried_and_deleted(open_stage: OpenStage) -> None:
    """One FAQ by hand, two from the documents with a report of the refused one; what would be served; edit; delete."""
    async with open_stage() as stage:
        page = stage.page
        await stage.drop(("fees.md", "# Fees\n\nA replacement card costs 5 euros. Delivery takes three days."))
        await expect(page.get_by_role("row").filter(has_text="fees.md")).to_be_visible()
        await page.get_by_role("link", name="FAQs").click()
        await expect(page.get_by_text("No FAQs yet")).to_be_visible()

        await page.get_by_role("button", name="Add an FAQ").click()
        await page.get_by_label("Question", exact=True).fill("When are you open?")
        await page.get_by_label("Answer").fill("From nine to five.")
        await page.get_by_label("Other ways to ask it").fill("What are your opening hours?\nOpening hours?")
        await page.get_by_role("button", name="Save").click()
        written = page.get_by_role("listitem").filter(has_text="When are you open?")
        await expect(written).to_contain_text("From nine to five.")
        await expect(written).to_contain_text("2 paraphrases")

        await page.get_by_label("What would be served?").fill("opening hours")
        await page.get_by_role("button", name="Try").click()
        await expect(page.locator("#match-result")).to_contain_text("“When are you open?” matches exactly")
        await page.get_by_label("What would be served?").fill("Do you sell bread?")
        await page.get_by_role("button", name="Try").click()
        await expect(page.locator("#match-result")).to_contain_text("No FAQ matches")

        await page.get_by_role("button", name="Warm questions").click()
        await page.get_by_label("Questions that many ask").fill(
            "What does a replacement card cost?\nWho won the world cup in 1998?"
        )
        await page.get_by_role("button", name="Warm", exact=True).click()
        work = page.get_by_role("list", name="Warm-ups").get_by_role("listitem").filter(has_text="2 questions")
        await expect(work).to_contain_text("1 warmed, 1 failed")
        await expect(work).to_contain_text("Who won the world cup in 1998?")
        warmed = page.locator("#faq-rows").get_by_role("listitem").filter(has_text="What does a replacement card cost?")
        await expect(warmed).to_contain_text("5 euros")
        await expect(warmed).to_contain_text("from the documents")

        await written.get_by_role("button", name="Edit When are you open?").click()
        await page.get_by_label("Question", exact=True).fill("When is the shop open?")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("heading", name="When is the shop open?")).to_be_visible()
        await expect(page.get_by_role("heading", name="When are you open?")).to_have_count(0)

        await warmed.get_by_role("button", name="Delete").click()
        await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        await expect(warmed).to_have_count(0)
        assert stage.complaints == []


async def test_signing_out_leads_back_to_the_gate(open_stage: OpenStage) -> None:
    """After signing out the page is gone, also when going back."""
    async with open_stage() as stage:
        await stage.page.get_by_role("button", name="Sign out").click()
        await expect(stage.page.get_by_text("grapevine login-link")).to_be_visible()
        await stage.page.goto("/dashboard")
        await expect(stage.page.get_by_text("grapevine login-link")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_texts_have_contrast(open_stage: OpenStage, scheme: str) -> None:
    """Every text on the page stands out from its ground by 4.5 to 1 (WCAG 2.2 AA), light and dark."""
    async with open_stage(color_scheme=scheme) as stage:
        await stage.drop(("a.md", "# Fees\n\nText."), ("broken.pdf", "%PDF-1.7 nothing more"))
        await expect(stage.page.get_by_text("1 added, 1 failed", exact=True)).to_be_visible()
        faint = await stage.page.evaluate(_FAINT)
        assert faint == []


_FAINT = """
() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (rgb) => rgb.slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const color = rgba(getComputedStyle(at).backgroundColor);
      if (color[3] === 255) return color;
    }
    return [255, 255, 255, 255];
  };
  const faint = [];
  for (const node of document.querySelectorAll("body *")) {
    const isText = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!isText || !node.checkVisibility() || node.disabled) continue;
    const [a, b] = [light(rgba(getComputedStyle(node).color)), light(ground(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) faint.push(`${node.textContent.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return faint;
}
"""
