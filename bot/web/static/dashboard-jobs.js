// One row per upload or background job: its name, how far it is, what went wrong.

import { announce, api, count, el, plural } from "./dashboard-kit.js";

const POLL_MS = 400;
const ENDED = new Set(["done", "failed", "interrupted"]);

export class WorkRow {
  constructor(list, name, { onDismiss = null } = {}) {
    this.name = name;
    this.bar = el("progress", { max: 1, "aria-label": `Progress of ${name}` });
    this.bar.value = 0;
    this.state = el("span", { className: "state" });
    this.close = el("button", { type: "button", className: "quiet dismiss", hidden: true, "aria-label": `Dismiss ${name}` }, "✕");
    this.close.addEventListener("click", () => {
      const next = this.node.nextElementSibling ?? this.node.previousElementSibling;
      this.node.remove();
      (next?.querySelector(".dismiss:not([hidden])") ?? document.getElementById("main")).focus();
      onDismiss?.();
    });
    this.node = el("li", {}, el("span", { className: "name", title: name }, name), this.state, this.close, this.bar);
    list.prepend(this.node);
  }

  /** `share` from 0 to 1; null while nobody can tell. */
  progress(share, text) {
    if (share === null) this.bar.removeAttribute("value");
    else this.bar.value = share;
    this.state.textContent = text;
  }

  end(isGood, text, errors = []) {
    this.bar.remove();
    this.state.textContent = text;
    this.state.classList.add(isGood ? "good" : "bad");
    if (errors.length) {
      const summary = plural(errors.length, isGood ? "remark" : "problem");
      this.node.append(el("details", { open: errors.length <= 3 }, el("summary", {}, summary), el("ul", {}, ...errors.map((line) => el("li", {}, line)))));
    }
    this.close.hidden = false;
    announce(`${this.name}: ${text}${errors.length ? `. ${errors[0]}` : ""}`);
  }
}

/** Show a job until it has ended; resolves to its last state. */
export async function follow(row, id, done = "done") {
  for (;;) {
    const job = await api("GET", `/api/v1/jobs/${encodeURIComponent(id)}`);
    if (ENDED.has(job.state)) {
      row.end(job.state === "done" && !job.failed, ending(job, done), job.errors);
      return job;
    }
    const finished = job.done + job.failed;
    if (job.state === "queued") row.progress(null, "waiting");
    else if (!job.total || finished >= job.total) row.progress(null, "finishing");
    else row.progress(finished / job.total, `${count(finished)} of ${count(job.total)}`);
    await new Promise((resolve) => { setTimeout(resolve, POLL_MS); });
  }
}

function ending(job, done) {
  if (job.state === "interrupted") return "interrupted";
  if (job.state === "failed") return job.total > 1 ? `failed (${count(job.failed)} of ${count(job.total)})` : "failed";
  return job.failed ? `${count(job.done)} ${done}, ${count(job.failed)} failed` : job.total > 1 ? `${count(job.done)} ${done}` : done;
}
