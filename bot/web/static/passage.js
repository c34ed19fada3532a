// The side panel that shows the passage behind a citation.

import { render } from "./markdown.js";
import { words } from "./words.js";

const panel = document.getElementById("passage");
const title = document.getElementById("passage-title");
const place = document.getElementById("passage-place");
const text = document.getElementById("passage-text");
const open = document.getElementById("passage-open");
const original = document.getElementById("passage-original");
let opener = null;

panel.addEventListener("close", () => opener?.isConnected && opener.focus());
panel.addEventListener("click", (event) => event.target === panel && panel.close());

export const isWebAddress = (url) => /^https?:\/\//i.test(url ?? "");

/** Open the panel for a source; what the stream already brought is shown at once. */
export async function showPassage(source, from) {
  opener = from;
  fill(source);
  if (!panel.open) panel.showModal();
  title.focus();
  const address = `/api/v1/passages/${encodeURIComponent(source.passage_id)}`;
  open.href = address;
  try {
    const response = await fetch(address, { headers: { Accept: "application/json" } });
    if (response.ok) fill({ ...source, ...(await response.json()) });
    else if (!source.text) text.replaceChildren(Object.assign(document.createElement("p"), { textContent: words.gonePassage }));
  } catch {
    if (!source.text) text.replaceChildren(Object.assign(document.createElement("p"), { textContent: words.offline }));
  }
}

function fill(source) {
  title.textContent = source.title;
  const headings = (source.heading ?? "").split(" > ").filter((part) => part && part !== source.title);
  place.textContent = [...headings, source.page == null ? "" : words.page(source.page)].filter(Boolean).join(" › ");
  place.hidden = !place.textContent;
  render(text, source.text ?? "", { key: source.passage_id, streaming: false });
  original.hidden = !isWebAddress(source.url);
  if (!original.hidden) original.href = source.url;
}
