// Files from a drop or a file chooser to requests: folders are opened, large sets are cut into several uploads.

const MOST_FILES = 50;

/** Everything in a drop, folders included, as `{file, path}`. Call it while the drop event is being handled. */
export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].map((file) => ({ file, path: file.name }));
  const found = [];
  for (const entry of entries) await walk(entry, found);
  return found;
}

async function walk(entry, found) {
  if (entry.name.startsWith(".")) return;
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => { entry.file(resolve, reject); });
    found.push({ file, path: entry.fullPath.replace(/^\//, "") });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
    if (!some.length) return;
    for (const child of some) await walk(child, found);
  }
}

/** Cut into uploads of at most `limit` bytes; what alone is larger is returned apart. */
export function batches(items, limit) {
  const tooLarge = [];
  const cut = [];
  let current = [];
  let size = 0;
  const names = new Set();
  for (const item of items) {
    if (item.file.size > limit) {
      tooLarge.push(item);
      continue;
    }
    if (current.length && (size + item.file.size > limit || current.length >= MOST_FILES || names.has(item.path))) {
      cut.push(current);
      current = [];
      size = 0;
      names.clear();
    }
    current.push(item);
    names.add(item.path);
    size += item.file.size;
  }
  if (current.length) cut.push(current);
  return { cut, tooLarge };
}

/** Send one upload; `onShare` hears how much of it has gone out. Resolves to `{status, value}`. */
export function send(items, collection, onShare) {
  const form = new FormData();
  form.append("collection", collection);
  for (const { file, path } of items) form.append("file", file, path);
  // Not fetch(): it does not tell how much of a body has been sent.
  const request = new XMLHttpRequest();
  request.open("POST", "/api/v1/documents");
  request.responseType = "json";
  request.upload.addEventListener("progress", (event) => { if (event.lengthComputable) onShare(event.loaded / event.total); });
  return new Promise((resolve) => {
    request.addEventListener("load", () => resolve({ status: request.status, value: request.response }));
    request.addEventListener("error", () => resolve({ status: 0, value: null }));
    request.send(form);
  });
}
