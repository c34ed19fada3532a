// What the dashboard's sections share: requests, elements, words for numbers, questions to the person.

export const byId = (id) => document.getElementById(id);

/** An element with properties and children; text is always text, never markup. */
export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name in node && name !== "list") node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Called by every request that finds nobody signed in any more. */
export function signedOut() {
  location.reload();
}

/** JSON in, JSON out. Throws `ApiError` with the server's sentence. */
export async function api(method, path, body) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
    });
  } catch {
    throw new ApiError(0, "The server cannot be reached. Is it running?");
  }
  if (response.status === 401) signedOut();
  const value = await response.json().catch(() => null);
  if (!response.ok) throw new ApiError(response.status, value?.error?.message ?? `The server answered ${response.status}.`);
  return value;
}

let announcing = 0;

/** Tell a screen reader. */
export function announce(text) {
  const place = byId("announcer");
  place.textContent = "";
  clearTimeout(announcing);
  announcing = setTimeout(() => { place.textContent = text; }, 60);
}

/** Ask before something that cannot be undone; resolves to whether the person said yes. */
export function confirmed(title, text, yes) {
  const dialog = byId("confirm");
  byId("confirm-title").textContent = title;
  byId("confirm-text").textContent = text;
  byId("confirm-yes").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

const numbers = new Intl.NumberFormat("en");
export const count = (number) => numbers.format(number);
export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

export function bytes(size) {
  if (size < 1000) return `${size} B`;
  const units = ["kB", "MB", "GB"];
  let value = size / 1000;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** A point in time as short as it is clear, with the whole of it on hover. */
export function moment(iso) {
  const date = new Date(iso);
  const isToday = date.toDateString() === new Date().toDateString();
  const short = isToday
    ? date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" })
    : date.toLocaleDateString([], { day: "numeric", month: "short", year: "numeric" });
  return el("time", { dateTime: iso, title: date.toLocaleString() }, short);
}

/** Runs `work` once typing has paused; an older run that is still going is told that it is stale. */
export function whenQuiet(work, wait = 200) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(work, wait);
  };
}
