// The FAQ section: what would be served, the list, adding, editing, warming.

import { announce, api, byId, confirmed, count, el, plural, whenQuiet } from "./dashboard-kit.js";
import { WorkRow, follow } from "./dashboard-jobs.js";

let all = [];
let edited = null;

export function start() {
  byId("match").addEventListener("submit", (event) => { event.preventDefault(); void match(); });
  byId("faq-add").addEventListener("click", () => edit(null));
  byId("faq-ask").addEventListener("click", () => { byId("warm-error").textContent = ""; byId("warm").showModal(); byId("warm-questions").focus(); });
  byId("faq-again").addEventListener("click", () => void warmAgain());
  byId("warm-form").addEventListener("submit", (event) => { event.preventDefault(); void warmQuestions(); });
  byId("warm").querySelector(".close").addEventListener("click", () => byId("warm").close());
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
    const { collections } = await api("GET", "/api/v1/documents?limit=1");
    const choice = byId("match-collection");
    const chosen = choice.value;
    choice.replaceChildren(el("option", { value: "" }, "on the chat page"), ...Object.keys(collections).map((name) => el("option", { value: name }, `from ${name}`)));
    choice.value = chosen in collections ? chosen : "";
  } catch (error) {
    byId("faq-count").textContent = error.message;
    return;
  }
  render();
}

const isOutdated = (faq) => faq.kind === "warmed" && faq.state !== "ready";
const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").replaceAll("đ", "d").replaceAll("Đ", "D").toLowerCase();

function render() {
  const needle = plain(byId("faq-query").value.trim());
  const found = all.filter((faq) => !needle || plain([faq.question, ...(faq.paraphrases ?? [])].join("\n")).includes(needle));
  byId("faq-rows").replaceChildren(...found.map(faqRow));
  byId("faq-count").textContent = needle ? `${count(found.length)} of ${plural(all.length, "FAQ")}` : plural(all.length, "FAQ");
  const outdated = all.filter(isOutdated).length;
  const warmed = all.filter((faq) => faq.kind === "warmed").length;
  const again = byId("faq-again");
  again.hidden = warmed === 0;
  again.textContent = outdated ? `Warm ${count(outdated)} outdated` : "Warm all anew";
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
  return el("li", {}, el("h2", {}, faq.question), el("span", { className: "buttons" }, change, remove), el("p", { className: "answer" }, faq.answer.replace(/\n{2,}/g, "\n")), about);
}

function labels(faq) {
  const found = [[faq.collection, ""]];
  if (faq.language) found.push([faq.language, ""]);
  found.push([faq.kind === "warmed" ? "from the documents" : "written by hand", ""]);
  if (faq.state !== "ready") found.push([faq.state === "stale" ? "outdated: a source changed" : faq.state, "warn"]);
  if (faq.paraphrases?.length) found.push([plural(faq.paraphrases.length, "paraphrase"), ""]);
  return found;
}

function edit(faq) {
  edited = faq;
  byId("faq-title").textContent = faq ? "Edit this FAQ" : "Add an FAQ";
  byId("faq-question").value = faq?.question ?? "";
  // An answer from the documents is not put into the field: saving it would make it one that nobody keeps up to date.
  const isWarmed = faq?.kind === "warmed";
  byId("faq-answer").value = isWarmed ? "" : faq?.answer ?? "";
  byId("faq-answer-hint").textContent = isWarmed
    ? "Markdown. Left empty, it is written from the documents anew; what you write here takes its place."
    : "Markdown. Left empty, it is written from the documents, which takes as long as an answer does.";
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
    const { id } = await api("POST", "/api/v1/faqs", faq);
    // Only once the new one stands: a refused change must not cost the old one.
    if (edited && edited.id !== id) await api("DELETE", `/api/v1/faqs/${encodeURIComponent(edited.id)}`);
    byId("faq").close();
    announce(`${faq.question}: saved`);
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

async function warmAgain() {
  const isAll = !all.some(isOutdated);
  const some = plural(all.filter((faq) => faq.kind === "warmed").length, "answer");
  if (isAll && !(await confirmed("Warm all anew?", `${some} from the documents will be written again.`, "Warm all"))) return;
  await warm(isAll ? "All FAQs" : "Outdated FAQs", { all: isAll }).catch((error) => { byId("faq-count").textContent = error.message; });
}

async function warmQuestions() {
  const questions = byId("warm-questions").value.split("\n").map((line) => line.trim()).filter(Boolean);
  const body = { questions, collection: byId("warm-collection").value.trim() };
  try {
    await warm(questions.length === 1 ? questions[0] : plural(questions.length, "question"), body, () => {
      byId("warm").close();
      byId("warm-questions").value = "";
    });
  } catch (error) {
    byId("warm-error").textContent = error.message;
  }
}

/** Start a warm-up and show it until it has ended. */
async function warm(name, body, onAccepted = () => {}) {
  const { job } = await api("POST", "/api/v1/faqs/warm", body);
  onAccepted();
  void watch(new WorkRow(byId("faq-work"), name), job);
}

async function watch(row, job) {
  try {
    await follow(row, job, "warmed");
  } catch (error) {
    row.end(false, "unknown", [error.message]);
  }
  await show();
}

const REFUSALS = {
  stale: "One with this very question is held back, because a document that it cites changed: warm it.",
  expired: "One with this very question is held back, because what it cites is no longer valid.",
};

async function match() {
  const place = byId("match-result");
  place.textContent = "…";
  const where = byId("match-collection").value;
  try {
    const { match: found, refused_by: refused } = await api("POST", "/api/v1/faqs/match", { question: byId("match-question").value.trim(), ...(where ? { collections: [where] } : {}) });
    if (found) {
      const how = found.kind === "exact" ? "exactly" : `by similarity ${Number(found.similarity).toFixed(2)}`;
      place.replaceChildren(el("span", { className: "chip good" }, "FAQ"), ` “${found.question}” matches ${how} and is served.`);
    } else {
      const why = refused ? ` ${REFUSALS[refused] ?? `The nearest one was held back (${refused}).`}` : "";
      place.replaceChildren(el("span", { className: "chip" }, "none"), ` No FAQ matches: it is answered from the documents.${why}`);
    }
  } catch (error) {
    place.textContent = error.message;
  }
}
