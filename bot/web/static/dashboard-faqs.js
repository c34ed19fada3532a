// The FAQ section: what would be served, the list, adding, editing, warming.

import { announce, api, byId, confirmed, count, el, plural, whenQuiet } from "./dashboard-kit.js";
import { WorkRow, follow } from "./dashboard-jobs.js";

let all = [];
let edited = null;

export function start() {
  byId("match").addEventListener("submit", (event) => { event.preventDefault(); void match(); });
  byId("faq-add").addEventListener("click", () => edit(null));
  byId("faq-warm").addEventListener("click", () => void warm());
  byId("faq-query").addEventListener("input", whenQuiet(render, 100));
  byId("faq-form").addEventListener("submit", (event) => { event.preventDefault(); void save(); });
  byId("faq").querySelector(".close").addEventListener("click", () => byId("faq").close());
}

export async function show() {
  try {
    const found = [];
    let after = null;
    do {
      const page = await api("GET", `/api/v1/faqs?limit=1000${after ? `&after=${encodeURIComponent(after)}` : ""}`);
      found.push(...page.faqs);
      after = page.after;
    } while (after);
    all = found;
  } catch (error) {
    byId("faq-count").textContent = error.message;
    byId("faq-warm").disabled = true;
    return;
  }
  render();
}

const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").replaceAll("đ", "d").replaceAll("Đ", "D").toLowerCase();

function render() {
  const needle = plain(byId("faq-query").value.trim());
  const found = all.filter((faq) => !needle || plain([faq.question, ...(faq.paraphrases ?? [])].join("\n")).includes(needle));
  byId("faq-rows").replaceChildren(...found.map(faqRow));
  byId("faq-count").textContent = needle ? `${count(found.length)} of ${plural(all.length, "FAQ")}` : plural(all.length, "FAQ");
  byId("faq-warm").disabled = all.length === 0;
  const empty = byId("faq-empty");
  empty.hidden = found.length > 0;
  empty.textContent = needle ? "No question contains that." : "No FAQs yet. Questions that everyone asks are answered at once when they are here.";
}

function faqRow(faq) {
  const change = el("button", { type: "button", className: "quiet", "aria-label": `Edit ${faq.question}` }, "Edit");
  const remove = el("button", { type: "button", className: "quiet remove", "aria-label": `Delete ${faq.question}` }, "Delete");
  change.addEventListener("click", () => edit(faq));
  remove.addEventListener("click", () => void removeFaq(faq));
  const about = el("span", { className: "about" }, ...labels(faq).map(([text, mood]) => el("span", { className: `chip ${mood}` }, text)));
  return el("li", {}, el("h2", {}, faq.question), el("span", { className: "buttons" }, change, remove), el("p", { className: "answer" }, faq.answer || "Not answered yet: warm it, and the answer is written from the documents."), about);
}

function labels(faq) {
  const found = [[faq.collection, ""]];
  if (faq.language) found.push([faq.language, ""]);
  if (faq.kind) found.push([faq.kind, ""]);
  if (faq.state) found.push([faq.state, faq.state === "ready" ? "good" : "warn"]);
  if (faq.paraphrases?.length) found.push([plural(faq.paraphrases.length, "paraphrase"), ""]);
  return found;
}

function edit(faq) {
  edited = faq;
  byId("faq-title").textContent = faq ? "Edit this FAQ" : "Add an FAQ";
  byId("faq-question").value = faq?.question ?? "";
  byId("faq-answer").value = faq?.answer ?? "";
  byId("faq-paraphrases").value = (faq?.paraphrases ?? []).join("\n");
  byId("faq-collection").value = faq?.collection ?? "public";
  byId("faq-language").value = faq?.language ?? "";
  byId("faq-error").textContent = "";
  byId("faq").showModal();
  byId("faq-question").focus();
}

async function save() {
  const text = (id) => byId(id).value.trim();
  const faq = { question: text("faq-question"), collection: text("faq-collection") };
  // An answer from the documents that nobody touched stays one: it is made anew for the question as it is now.
  const isUntouched = edited?.kind === "warmed" && text("faq-answer") === edited.answer.trim();
  if (text("faq-answer") && !isUntouched) faq.answer = text("faq-answer");
  if (text("faq-language")) faq.language = text("faq-language");
  const paraphrases = text("faq-paraphrases").split("\n").map((line) => line.trim()).filter(Boolean);
  if (paraphrases.length) faq.paraphrases = paraphrases;
  const submit = byId("faq-form").querySelector("[type=submit]");
  submit.disabled = true;
  try {
    const { id, job } = await api("POST", "/api/v1/faqs", faq);
    // Only once the new one stands: a refused change must not cost the old one.
    if (edited && edited.id !== id) await api("DELETE", `/api/v1/faqs/${encodeURIComponent(edited.id)}`);
    byId("faq").close();
    announce(`${faq.question}: saved`);
    if (job) void watch(new WorkRow(byId("faq-work"), faq.question), job);
    await show();
  } catch (error) {
    byId("faq-error").textContent = error.message;
  } finally {
    submit.disabled = false;
  }
}

async function removeFaq(faq) {
  if (!(await confirmed("Delete this FAQ?", `“${faq.question}” will be answered from the documents again.`, "Delete"))) return;
  try {
    await api("DELETE", `/api/v1/faqs/${encodeURIComponent(faq.id)}`);
    announce(`${faq.question}: deleted`);
  } catch (error) {
    byId("faq-count").textContent = error.message;
  }
  await show();
  byId("faq-query").focus();
}

async function warm() {
  const row = new WorkRow(byId("faq-work"), plural(all.length, "FAQ"));
  row.progress(null, "waiting");
  try {
    const { job } = await api("POST", "/api/v1/faqs/warm", { all: true });
    await watch(row, job);
  } catch (error) {
    row.end(false, "not started", [error.message]);
  }
}

async function watch(row, job) {
  try {
    await follow(row, job, "warmed");
  } catch (error) {
    row.end(false, "unknown", [error.message]);
  }
  await show();
}

async function match() {
  const place = byId("match-result");
  place.textContent = "…";
  try {
    const { match: found, refused_by: refused } = await api("POST", "/api/v1/faqs/match", { question: byId("match-question").value.trim() });
    if (found) {
      const how = found.kind === "exact" ? "exactly" : `by similarity ${Number(found.similarity).toFixed(2)}`;
      place.replaceChildren(el("span", { className: "chip good" }, "FAQ"), ` “${found.question}” matches ${how} and is served.`);
    } else {
      const why = refused ? ` The nearest one was refused by the ${refused} guard.` : "";
      place.replaceChildren(el("span", { className: "chip" }, "none"), ` No FAQ matches: it is answered from the documents.${why}`);
    }
  } catch (error) {
    place.textContent = error.message;
  }
}
