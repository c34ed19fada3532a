// The documents section: upload, progress, list, delete.

import { ApiError, announce, api, byId, bytes, confirmed, count, el, moment, plural, signedOut, whenQuiet } from "./dashboard-kit.js";
import { batches, dropped, send } from "./dashboard-files.js";
import { WorkRow, follow } from "./dashboard-jobs.js";

const PAGE = 50;
const limit = Number(document.body.dataset.limit);
let after = null;
let loading = 0;

export function start() {
  const drop = byId("upload");
  byId("choose").addEventListener("click", () => byId("files").click());
  byId("files").addEventListener("change", (event) => {
    const chosen = [...event.target.files].map((file) => ({ file, path: file.name }));
    event.target.value = "";
    void upload(chosen);
  });
  drop.addEventListener("submit", (event) => event.preventDefault());
  // The whole section takes a drop: missing the box by a finger must not open the file in the browser.
  for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());
  const section = byId("documents");
  section.addEventListener("dragover", () => drop.classList.add("over"));
  section.addEventListener("dragleave", (event) => { if (!section.contains(event.relatedTarget)) drop.classList.remove("over"); });
  section.addEventListener("drop", async (event) => {
    drop.classList.remove("over");
    await upload(await dropped(event.dataTransfer));
  });
  byId("document-search").addEventListener("submit", (event) => { event.preventDefault(); void list(); });
  byId("document-query").addEventListener("input", whenQuiet(() => void list()));
  byId("document-collection").addEventListener("change", () => void list());
  byId("document-more").addEventListener("click", () => void list({ more: true }));
  void resume();
}

export const show = () => list();

async function upload(items) {
  const problem = byId("upload-error");
  problem.textContent = "";
  const collection = byId("upload-collection");
  if (!items.length) return;
  if (!collection.checkValidity()) {
    problem.textContent = "A collection’s name is 1 to 40 of a–z, 0–9 and _, like public.";
    collection.focus();
    return;
  }
  const { cut, tooLarge } = batches(items, limit);
  if (tooLarge.length) problem.textContent = `${tooLarge.map((item) => item.path).join(", ")}: larger than ${bytes(limit)}.`;
  // One after the other: uploads share one line, and their order decides which version of a document stays.
  for (const some of cut) await uploadBatch(some, collection.value);
}

async function uploadBatch(items, collection) {
  const row = new WorkRow(byId("work"), items.length === 1 ? items[0].path : plural(items.length, "file"));
  row.progress(0, "sending");
  const { status, value } = await send(items, collection, (share) => row.progress(share, share < 1 ? "sending" : "storing"));
  if (status === 401) signedOut();
  if (status !== 202) {
    row.end(false, "not taken", [value?.error?.message ?? "The connection broke off. Is the server running?"]);
    return;
  }
  void watch(row, value.job);
}

async function watch(row, job) {
  try {
    await follow(row, job, "added");
  } catch (error) {
    row.end(false, "unknown", [error.message]);
  }
  await list();
}

/** Jobs that run already when the page opens. */
async function resume() {
  const { jobs } = await api("GET", "/api/v1/jobs").catch(() => ({ jobs: [] }));
  for (const job of jobs.reverse()) {
    if (job.kind === "documents" && (job.state === "queued" || job.state === "running")) {
      void watch(new WorkRow(byId("work"), job.total ? plural(job.total, "file") : "Upload"), job.id);
    }
  }
}

async function list({ more = false } = {}) {
  const mine = ++loading;
  const query = new URLSearchParams({ limit: String(PAGE) });
  if (more && after) query.set("after", after);
  if (byId("document-query").value.trim()) query.set("q", byId("document-query").value.trim());
  if (byId("document-collection").value) query.set("collection", byId("document-collection").value);
  let found;
  try {
    found = await api("GET", `/api/v1/documents?${query}`);
  } catch (error) {
    byId("document-count").textContent = error.message;
    return;
  }
  if (mine !== loading) return; // a later question was asked meanwhile
  after = found.after;
  const rows = byId("document-rows");
  const fresh = found.documents.map(documentRow);
  if (more) rows.append(...fresh);
  else rows.replaceChildren(...fresh);
  byId("document-more").hidden = !after;
  collections(found.collections);
  counts(found.collections, rows.childElementCount);
  if (more) fresh[0]?.querySelector("button").focus();
}

function documentRow(item) {
  const title = item.title || item.id;
  const remove = el("button", { type: "button", className: "quiet remove", "aria-label": `Delete ${title}` }, "Delete");
  const row = el(
    "tr",
    {},
    el("th", { scope: "row" }, title, title === item.id ? null : el("span", { className: "id" }, item.id)),
    el("td", { className: "keep" }, el("span", { className: "chip" }, item.collection)),
    el("td", { className: "right" }, count(item.chunks), item.pending ? el("span", { className: "pending" }, "vectors follow") : null),
    el("td", { className: "right" }, bytes(item.size)),
    el("td", {}, moment(item.updated)),
    el("td", {}, remove),
  );
  remove.addEventListener("click", () => void removeDocument(item, title, row));
  return row;
}

async function removeDocument(item, title, row) {
  const text = `“${title}” and everything made of it is removed from ${item.collection}. This cannot be undone.`;
  if (!(await confirmed("Delete this document?", text, "Delete"))) return;
  const path = item.id.split("/").map(encodeURIComponent).join("/");
  try {
    await api("DELETE", `/api/v1/documents/${path}?collection=${encodeURIComponent(item.collection)}`);
  } catch (error) {
    if (!(error instanceof ApiError && error.status === 404)) {
      byId("document-count").textContent = error.message;
      return;
    }
  }
  const next = row.nextElementSibling ?? row.previousElementSibling;
  row.remove();
  (next?.querySelector("button") ?? byId("document-query")).focus();
  announce(`${title} deleted`);
  if (byId("document-more").hidden) await refreshCounts();
}

async function refreshCounts() {
  const { collections: found } = await api("GET", "/api/v1/documents?limit=1");
  collections(found);
  counts(found, byId("document-rows").childElementCount);
}

function collections(found) {
  const names = Object.keys(found);
  const choice = byId("document-collection");
  const chosen = choice.value;
  choice.replaceChildren(el("option", { value: "" }, "All collections"), ...names.map((name) => el("option", { value: name }, name)));
  choice.value = names.includes(chosen) ? chosen : "";
  const known = names.includes("public") ? names : ["public", ...names];
  byId("collections").replaceChildren(...known.map((name) => el("option", { value: name })));
}

function counts(found, shown) {
  const chosen = byId("document-collection").value;
  const total = Object.entries(found).filter(([name]) => !chosen || name === chosen).reduce((sum, [, one]) => sum + one.documents, 0);
  const isSearch = byId("document-query").value.trim() !== "";
  byId("document-count").textContent = isSearch ? `${count(shown)}${after ? "+" : ""} of ${plural(total, "document")}` : plural(total, "document");
  const empty = byId("document-empty");
  empty.hidden = shown > 0;
  empty.textContent = isSearch ? "No title or id contains that." : "No documents yet: drop some above, and questions can be asked about them.";
}
