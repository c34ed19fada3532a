// Streams a trace through @chat-adapter/telegram, as its users would: `node peer_telegram.mjs FOLDER` with a JSON task
// {url, token, chat, pauses, tokens, placeholder} on standard input; prints when each token was there (monotonic s).
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const entry = `${process.argv[2]}/node_modules/@chat-adapter/telegram/dist/index.js`;
const { createTelegramAdapter } = await import(pathToFileURL(entry));
const task = JSON.parse(readFileSync(0, "utf8"));
const now = () => Number(process.hrtime.bigint()) / 1e9;
const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };
const adapter = createTelegramAdapter({
  botToken: task.token, apiUrl: task.url, mode: "webhook", secretToken: "bench", logger: silent,
});

const queue = [];
const arrivals = [];
let wake = () => {};
let ended = false;
async function produce() {
  let due = now() + 0.2;
  for (const [index, pause] of task.pauses.entries()) {
    due += pause;
    const left = due - now();
    if (left > 0) await new Promise((done) => setTimeout(done, left * 1000));
    queue.push(task.tokens[index]);
    arrivals.push(now());
    wake();
  }
  ended = true;
  wake();
}
async function* stream() {
  while (true) {
    if (queue.length) yield queue.shift();
    else if (ended) return;
    else await new Promise((done) => { wake = done; });
  }
}
const options = task.placeholder ? {} : { fallbackStreamingPlaceholderText: null };
const producing = produce();
await adapter.stream(`telegram:${task.chat}`, stream(), options);
await producing;
process.stdout.write(JSON.stringify(arrivals));
process.exit(0);
