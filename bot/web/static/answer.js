// One answer on the page: status, growing text, sources, and what can be done about it.

import { render } from "./markdown.js";
import { isWebAddress, showPassage } from "./passage.js";
import { words } from "./words.js";

export class Answer {
  /** An empty answer in `item`, a list item; `onRetry` asks the same question again, in the same place. */
  constructor(item, onRetry) {
    this.item = item;
    this.onRetry = onRetry;
    this.text = "";
    this.passages = [];
    this.citations = [];
    this.frame = 0;
    item.className = "answer";
    item.setAttribute("aria-label", words.answer);
    this.prose = element("div", "prose");
    this.statusLine = element("p", "status", words.thinking);
    this.end = element("div", "end");
    item.replaceChildren(this.prose, this.statusLine, this.end);
    item.setAttribute("aria-busy", "true");
  }

  status(text) {
    this.statusLine.textContent = text;
  }

  sources(passages) {
    this.passages = passages;
  }

  append(text) {
    this.text += text;
    this.statusLine.hidden = true;
    // At most one rendering per frame, however fast the tokens come.
    this.frame ||= requestAnimationFrame(() => this.#show(true));
  }

  /** The last state: `{answer, outcome, citations}`. */
  done(result) {
    this.text = result.answer;
    this.citations = result.citations;
    this.#show(false);
    const mark = { incomplete: words.incomplete, stopped: words.stopped, refused: words.refused }[result.outcome];
    if (mark) this.end.append(element("p", result.outcome === "incomplete" ? "note warn" : "note", mark));
    this.#listSources();
    const after = element("div", "after");
    if (result.outcome === "incomplete" || result.outcome === "stopped") after.append(this.#retryButton());
    if (this.text && result.outcome !== "smalltalk") after.append(copyButton(this.text));
    this.end.append(after);
  }

  /** No (further) answer came; what is there already stays. */
  fail(message) {
    this.#show(false);
    if (this.text) this.end.append(element("p", "note warn", words.incomplete));
    const box = element("div", "failure");
    box.append(element("p", "", message), this.#retryButton());
    this.end.append(box);
  }

  #show(streaming) {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    if (!streaming) {
      this.statusLine.hidden = true;
      this.item.setAttribute("aria-busy", "false");
      this.end.replaceChildren();
    }
    const known = this.#known();
    const addresses = new Set([...known.values()].map((source) => source.url).filter(isWebAddress));
    render(this.prose, this.text, {
      streaming,
      key: [...known.keys()].join(),
      cite: (n) => known.has(n) && this.#citeButton(known.get(n)),
      isSource: (url) => addresses.has(url),
    });
  }

  /** Sources by number: the final citations where they are known, with the text that the stream brought. */
  #known() {
    const texts = new Map(this.passages.map((passage) => [passage.passage_id, passage]));
    const listed = this.citations.length ? this.citations : this.passages;
    return new Map(listed.map((source) => [source.n, { ...texts.get(source.passage_id), ...source }]));
  }

  #citeButton(source) {
    const button = element("button", "cite", String(source.n));
    button.type = "button";
    button.title = source.title;
    button.setAttribute("aria-label", words.source(source.n, source.title));
    button.addEventListener("click", () => showPassage(source, button));
    return button;
  }

  #listSources() {
    if (!this.citations.length) return;
    const section = element("section", "sources");
    const list = element("ol");
    for (const source of this.#known().values()) {
      const button = element("button", "source");
      button.type = "button";
      button.append(element("span", "n", String(source.n)), element("span", "", source.title));
      if (source.page != null) button.append(element("span", "where", words.page(source.page)));
      button.addEventListener("click", () => showPassage(source, button));
      const item = element("li");
      item.append(button);
      list.append(item);
    }
    section.setAttribute("aria-label", words.sources);
    section.append(element("h3", "", words.sources), list);
    this.end.append(section);
  }

  #retryButton() {
    const button = element("button", "quiet retry", words.retry);
    button.type = "button";
    button.addEventListener("click", this.onRetry);
    return button;
  }
}

function copyButton(text) {
  const button = element("button", "quiet", words.copy);
  button.type = "button";
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    button.textContent = words.copied;
  });
  return button;
}

export function element(tag, className = "", text = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.textContent = text;
  return node;
}
