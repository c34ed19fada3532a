// The chat page: asking, stopping, keeping the conversation of this tab.

import { Answer, element } from "./answer.js";
import { events } from "./stream.js";
import { language, translate, words } from "./words.js";

const byId = (id) => document.getElementById(id);
const question = byId("question");
const send = byId("send");
const stop = byId("stop");
const hint = byId("hint");
const messages = byId("messages");
const scroller = byId("scroller");
const mostChars = Number(document.body.dataset.mostChars);
const KEPT_TURNS = 40;
// A stop that the server does not confirm (no network, say) ends the answer on this side at least.
const STOP_PATIENCE_MS = 2000;

const kept = restore();
let running = null;

translate(document);
showExamples();
kept.turns.forEach(showKept);
if (kept.turns.length) enterConversation();
byId("open-sign-in").hidden = document.body.dataset.canSignIn !== "true";
question.focus({ preventScroll: true });

byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  submit(question.value);
});
question.addEventListener("input", checkQuestion);
question.addEventListener("keydown", (event) => {
  // While an input method composes (Vietnamese Telex, say), Enter belongs to it.
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    submit(question.value);
  }
});
stop.addEventListener("click", stopAnswer);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && running && !document.querySelector("dialog[open]")) stopAnswer();
});
for (const button of document.querySelectorAll("dialog .close")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}
byId("new-conversation").addEventListener("click", () => {
  if (running) {
    running.isDropped = true;
    running.controller.abort();
    setRunning(null);
  }
  kept.turns = [];
  kept.conversation = null;
  save();
  messages.replaceChildren();
  byId("welcome").hidden = false;
  byId("new-conversation").hidden = true;
  question.focus();
});
byId("open-sign-in").addEventListener("click", () => byId("sign-in").showModal());
byId("sign-in-form").addEventListener("submit", signIn);
checkQuestion();

function submit(text) {
  const asked = text.trim();
  if (!asked || running || asked.length > mostChars) return;
  question.value = "";
  checkQuestion();
  enterConversation();
  messages.append(askedItem(asked));
  const item = element("li");
  messages.append(item);
  toEnd();
  ask(asked, item);
}

/** Ask, and let the answer grow in `item`. */
async function ask(asked, item) {
  if (running) return;
  const controller = new AbortController();
  const answer = new Answer(item, () => ask(asked, item));
  const mine = { controller, conversation: kept.conversation, isStopped: false, isDropped: false };
  setRunning(mine);
  announce(words.writing);
  let failure = null;
  try {
    const result = await receive(asked, answer, mine);
    answer.done(result);
    keep(asked, answer, result);
    announce(`${words.ready} ${answer.prose.textContent}`);
  } catch (error) {
    failure = error instanceof Refused ? error.message : navigator.onLine && answer.text ? words.broken : words.offline;
  }
  if (mine.isDropped) return;
  if (failure && mine.isStopped) {
    answer.done({ answer: answer.text, outcome: "stopped", citations: [] });
    announce(words.stopped);
  } else if (failure) {
    answer.fail(failure);
    announce(failure);
  }
  setRunning(null);
}

class Refused extends Error {}

/** The result of one question; throws `Refused` with a sentence for the reader, or what fetch throws. */
async function receive(asked, answer, mine) {
  const response = await post("/api/v1/ask", { question: asked, stream: true, ...(kept.conversation && { conversation: kept.conversation }) }, mine.controller.signal);
  if (!response.ok) {
    const code = (await response.json().catch(() => null))?.error?.code;
    if (code === "unknown_conversation" && kept.conversation) {
      // The browser's session was replaced; begin anew rather than trouble the reader.
      kept.conversation = null;
      return receive(asked, answer, mine);
    }
    throw new Refused(code === "rate_limited" ? words.rateLimited : words.failed);
  }
  mine.conversation = kept.conversation = response.headers.get("X-Conversation");
  save();
  for await (const { event, data } of events(response.body)) {
    // Readers who have scrolled up stay where they are.
    if (isAtBottom()) requestAnimationFrame(() => requestAnimationFrame(toEnd));
    if (event === "status") answer.status(data.text);
    else if (event === "sources") answer.sources(data.passages);
    else if (event === "delta") answer.append(data.text);
    else if (event === "done") return data;
    else if (event === "error") throw new Refused(data.error.message || words.failed);
  }
  throw new TypeError("the stream ended early");
}

async function stopAnswer() {
  const mine = running;
  if (!mine || mine.isStopped) return;
  mine.isStopped = true;
  question.focus();
  setTimeout(() => mine.controller.abort(), STOP_PATIENCE_MS);
  if (!mine.conversation) return mine.controller.abort();
  const response = await post("/api/v1/stop", { conversation: mine.conversation }).catch(() => null);
  if (!response?.ok) mine.controller.abort();
}

async function signIn(event) {
  event.preventDefault();
  const response = await post("/api/v1/session", { token: byId("token").value }).catch(() => null);
  if (response?.ok) location.reload();
  else byId("sign-in-error").textContent = response ? words.wrongToken : words.offline;
}

function post(address, body, signal) {
  return fetch(address, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal });
}

function setRunning(value) {
  running = value;
  const hadFocus = document.activeElement === stop;
  send.hidden = Boolean(value);
  stop.hidden = !value;
  if (hadFocus && !value) question.focus();
  checkQuestion();
}

function checkQuestion() {
  const length = question.value.trim().length;
  send.disabled = !length || length > mostChars;
  hint.classList.toggle("over", length > mostChars);
  hint.textContent = length > mostChars ? words.tooLong(length, mostChars) : words.hint;
  if (!CSS.supports("field-sizing", "content")) {
    question.style.height = "auto";
    question.style.height = `${question.scrollHeight}px`;
  }
}

const isAtBottom = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 80;

function toEnd() {
  scroller.scrollTop = scroller.scrollHeight;
}

function announce(text) {
  byId("announcer").textContent = text;
}

function enterConversation() {
  byId("welcome").hidden = true;
  byId("new-conversation").hidden = false;
}

function showExamples() {
  const all = JSON.parse(document.body.dataset.examples);
  for (const example of all[language] ?? all.en ?? Object.values(all)[0] ?? []) {
    const button = element("button", "", example);
    button.type = "button";
    button.addEventListener("click", () => submit(example));
    const item = element("li");
    item.append(button);
    byId("examples").append(item);
  }
}

function askedItem(asked) {
  const item = element("li", "asked");
  item.append(element("p", "", asked));
  return item;
}

// This tab's conversation, so that a reload does not lose it. Other tabs have their own.

function restore() {
  try {
    return { conversation: null, turns: [], ...JSON.parse(sessionStorage.getItem("grapevine")) };
  } catch {
    return { conversation: null, turns: [] };
  }
}

function save() {
  try {
    sessionStorage.setItem("grapevine", JSON.stringify(kept));
  } catch {
    // Private windows and full storage: the page works without.
  }
}

function keep(asked, answer, { answer: text, outcome, citations }) {
  const cited = new Set(citations.map((citation) => citation.passage_id));
  const passages = answer.passages.filter((passage) => cited.has(passage.passage_id));
  kept.turns = [...kept.turns, { asked, passages, result: { answer: text, outcome, citations } }].slice(-KEPT_TURNS);
  save();
}

function showKept({ asked, passages, result }) {
  const item = element("li");
  messages.append(askedItem(asked), item);
  const answer = new Answer(item, () => ask(asked, item));
  answer.sources(passages);
  answer.done(result);
}
