// The timings section: figures per stage and the last turns, kept fresh while they are looked at.

import { api, byId, count, el, moment } from "./dashboard-kit.js";

const EVERY_MS = 5000;
let timer = 0;

export function start() {
  document.addEventListener("visibilitychange", () => { if (timer && !document.hidden) void refresh(); });
}

export function show() {
  hide();
  timer = setInterval(() => { if (!document.hidden) void refresh(); }, EVERY_MS);
  return refresh();
}

export function hide() {
  clearInterval(timer);
  timer = 0;
}

async function refresh() {
  const found = await api("GET", "/api/performance").catch(() => null);
  if (!found) return;
  const visible = found.stages.find((stage) => stage.stage === "first_visible_ms");
  byId("tiles").replaceChildren(
    tile("Turns", count(found.turns.length)),
    tile("First visible, p50", visible ? `${ms(visible.p50)} ms` : "–"),
    tile("First visible, p95", visible ? `${ms(visible.p95)} ms` : "–"),
    tile("As they should end", share(found.success_share)),
    tile("From cache", share(found.cache_share)),
  );
  byId("stage-rows").replaceChildren(...found.stages.map((stage) => el(
    "tr",
    {},
    el("th", { scope: "row" }, name(stage.stage)),
    ...[count(stage.count), ms(stage.p50), ms(stage.p95), ms(stage.p99)].map(right),
  )));
  byId("turn-rows").replaceChildren(...found.turns.map(turnRow));
  byId("turn-empty").hidden = found.turns.length > 0;
}

const GOOD = new Set(["answered", "smalltalk"]);
const CALM = new Set(["refused", "stopped", "gone"]);

function turnRow(turn) {
  const mood = GOOD.has(turn.outcome) ? "good" : CALM.has(turn.outcome) ? "" : "bad";
  return el(
    "tr",
    { title: `trace ${turn.trace_id}` },
    el("td", {}, moment(turn.ts)),
    el("td", {}, turn.platform),
    el("td", {}, el("span", { className: `chip ${mood}` }, turn.outcome), turn.error ? ` ${turn.error}` : null),
    el("td", {}, turn.cache === "none" ? "" : turn.cache),
    ...[turn.retrieve_ms, turn.llm_first_token_ms, turn.first_visible_ms, turn.lag_ms, turn.total_ms].map((value) => right(ms(value))),
    right(count(turn.edits)),
  );
}

const NAMES = {
  queue_ms: "Queue", rewrite_ms: "Rewrite", embed_ms: "Embed", retrieve_ms: "Retrieve", pool_wait_ms: "Wait for the pool",
  llm_first_token_ms: "First token", first_visible_ms: "First visible", lag_ms: "Screen lag", total_ms: "Total",
};
const name = (stage) => NAMES[stage] ?? stage;
const right = (text) => el("td", { className: "right" }, text);
const ms = (value) => (value === null ? "" : value < 10 ? value.toFixed(1) : count(Math.round(value)));
const share = (value) => (value === null ? "–" : `${Math.round(value * 100)} %`);
const tile = (label, value) => el("div", {}, el("dt", {}, label), el("dd", {}, value));
