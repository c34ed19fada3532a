// Markdown to DOM nodes, for answers that are still being written.
//
// Safe by construction: text only ever becomes text nodes and elements come from a fixed list; there is no innerHTML.
// Only links that the server named as sources can be clicked; any other shows its address as code.
// While an answer is being written its last block is healed: open markers count as closed, and half a citation, link
// or marker at the very end is held back, so that nothing flickers. Blocks that did not change keep their nodes.

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#-]*)\s*$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}>\s?(.*)$/;
const ITEM = /^(\s*)([-*+•]|\d{1,9}[.)])\s+(.*)$/;
const DELIMITERS = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;

/**
 * Show `source` inside `element`, touching only the blocks that changed.
 * `context` is `{streaming, cite(n), isSource(url)}`: `cite` gives the node of a citation, or null if there is no such source.
 */
export function render(element, source, context) {
  const blocks = split(source.replace(/\r\n?/g, "\n").split("\n"));
  blocks.forEach((block, index) => {
    const isLast = index === blocks.length - 1;
    const key = `${context.key ?? ""}\n${context.streaming && isLast}\n${block.join("\n")}`;
    const old = element.children[index];
    if (old && old.blockKey === key) return;
    const node = blockNode(block, { ...context, streaming: context.streaming && isLast });
    node.blockKey = key;
    if (old) old.replaceWith(node);
    else element.append(node);
  });
  while (element.children.length > blocks.length) element.lastElementChild.remove();
}

/** Lines to blocks (arrays of lines). */
function split(lines) {
  const blocks = [];
  let index = 0;
  while (index < lines.length) {
    if (!lines[index].trim()) {
      index += 1;
      continue;
    }
    const end = blockEnd(lines, index);
    blocks.push(lines.slice(index, end));
    index = end;
  }
  return blocks;
}

function blockEnd(lines, start) {
  const fence = FENCE.exec(lines[start]);
  if (fence) {
    const close = new RegExp(`^ {0,3}${fence[1][0] === "`" ? "`" : "~"}{${fence[1].length},}\\s*$`);
    const end = lines.findIndex((line, index) => index > start && close.test(line));
    return end < 0 ? lines.length : end + 1;
  }
  if (HEADING.test(lines[start]) || RULE.test(lines[start])) return start + 1;
  const kind = lineKind(lines, start);
  let end = start + 1;
  while (end < lines.length) {
    const line = lines[end];
    if (!line.trim()) {
      // A list goes on over one blank line if what follows is indented or another item.
      const next = lines[end + 1] ?? "";
      if (kind === "list" && next.trim() && (ITEM.test(next) || /^\s{2,}/.test(next)) && !RULE.test(next)) {
        end += 1;
        continue;
      }
      break;
    }
    if (FENCE.test(line) || HEADING.test(line) || RULE.test(line)) break;
    const here = lineKind(lines, end);
    if (kind === "table" ? here !== "table" && !line.includes("|") : here !== kind && here !== "text") break;
    end += 1;
  }
  return end;
}

function lineKind(lines, index) {
  const line = lines[index];
  if (QUOTE.test(line)) return "quote";
  if (ITEM.test(line)) return "list";
  if (line.includes("|") && (isDelimiter(lines[index + 1]) || isDelimiter(line) || line.trimStart().startsWith("|"))) return "table";
  return "text";
}

const isDelimiter = (line) => line !== undefined && line.includes("-") && DELIMITERS.test(line) && line.includes("|");

function blockNode(lines, context) {
  const fence = FENCE.exec(lines[0]);
  if (fence) {
    const isClosed = lines.length > 1 && FENCE.test(lines.at(-1));
    return make("pre", make("code", lines.slice(1, isClosed ? -1 : undefined).join("\n")));
  }
  const heading = HEADING.exec(lines[0]);
  // The page's own title is h1 and an answer has a heading of its own, so an answer's headings begin at h3.
  if (heading) return make(`h${Math.min(6, heading[1].length + 2)}`, ...inline(heading[2], context));
  if (RULE.test(lines[0])) return make("hr");
  if (QUOTE.test(lines[0])) {
    const quote = make("blockquote");
    render(quote, lines.map((line) => QUOTE.exec(line)?.[1] ?? line).join("\n"), context);
    return quote;
  }
  if (ITEM.test(lines[0])) return listNode(lines, context);
  if (lineKind(lines, 0) === "table" && (isDelimiter(lines[1]) || (context.streaming && lines.length === 1))) {
    return tableNode(lines, context);
  }
  return make("p", ...inline(lines.join("\n"), context));
}

function listNode(lines, context) {
  const indent = ITEM.exec(lines[0])[1].length;
  const items = [];
  for (const line of lines) {
    const match = ITEM.exec(line);
    if (match && match[1].length <= indent + 1) items.push({ first: match[3], marker: match[2], rest: [] });
    else items.at(-1).rest.push(line);
  }
  const isOrdered = /\d/.test(items[0].marker);
  const list = make(isOrdered ? "ol" : "ul");
  if (isOrdered) list.start = parseInt(items[0].marker, 10);
  items.forEach((item, index) => {
    const own = { ...context, streaming: context.streaming && index === items.length - 1 };
    const nested = item.rest.findIndex((line) => ITEM.test(line) || !line.trim());
    const text = [item.first, ...(nested < 0 ? item.rest : item.rest.slice(0, nested))].map((line) => line.trim());
    const node = make("li", ...inline(text.join("\n"), { ...own, streaming: own.streaming && nested < 0 }));
    if (nested >= 0) {
      const inner = item.rest.slice(nested);
      const margin = Math.min(...inner.filter((line) => line.trim()).map((line) => line.search(/\S/)));
      const box = document.createDocumentFragment();
      const holder = make("div");
      render(holder, inner.map((line) => line.slice(margin)).join("\n"), own);
      box.append(...holder.childNodes);
      node.append(box);
    }
    list.append(node);
  });
  return list;
}

function tableNode(lines, context) {
  const aligns = isDelimiter(lines[1]) ? cells(lines[1]).map(alignment) : [];
  const head = cells(lines[0]);
  const row = (texts, tag, own) =>
    make(
      "tr",
      ...head.map((_, index) => {
        const cell = make(tag, ...inline(texts[index] ?? "", own));
        if (aligns[index]) cell.className = aligns[index];
        if (tag === "th") cell.scope = "col";
        return cell;
      }),
    );
  const body = lines.slice(2);
  const rows = body.map((line, index) =>
    row(cells(line), "td", { ...context, streaming: context.streaming && index === body.length - 1 }),
  );
  const table = make("table", make("thead", row(head, "th", { ...context, streaming: false })), make("tbody", ...rows));
  const box = make("div", table);
  box.className = "table";
  box.tabIndex = 0; // scrolls sideways on a phone, also by keyboard
  return box;
}

const cells = (line) => line.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "").split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
const alignment = (cell) => (cell.endsWith(":") ? (cell.startsWith(":") ? "center" : "right") : "");

// Half a citation or link, half an address' brackets, or markers whose partner may still come.
const UNFINISHED = /(?:\[(?!\d{1,3}\]$)[^\]\n]{0,200}\]?|\[[^\]\n]{1,200}\]\([^)\s]{0,2000}|(?<!\\)[*_~`]+|\\|!)$/;
const PIECE = /\\([\\`*_{}[\]()#+\-.!|>~])|(`+)([^]*?[^`])\2(?!`)|\[(\d{1,3})\](?!\()|!?\[([^\]\n]*)\]\((\S+?)(?:\s+"[^"]*")?\)|(https?:\/\/[^\s<>]*[^\s<>.,;:!?)\]'"*_])|(\*\*|__|~~|\*|_)/g;
const TAGS = { "**": "strong", __: "strong", "~~": "s", "*": "em", _: "em" };

/** Inline Markdown to nodes. */
function inline(text, context) {
  if (!context.streaming) return spans(text, context);
  const shown = text.replace(UNFINISHED, "");
  const hasOpenCode = shown.split("`").length % 2 === 0;
  return spans(hasOpenCode ? `${shown}\`` : shown, context);
}

function spans(text, context) {
  const nodes = [];
  const plain = (value) => value && nodes.push(...lines(value));
  const pieces = new RegExp(PIECE);
  let from = 0;
  for (let match = pieces.exec(text); match; match = pieces.exec(text)) {
    const [whole, escaped, , code, number, label, target, address, marker] = match;
    let node = null;
    let end = match.index + whole.length;
    if (escaped) node = document.createTextNode(escaped);
    else if (code !== undefined) node = make("code", code.length > 2 ? code.replace(/^ ([^]*) $/, "$1") : code);
    else if (number) node = context.cite?.(Number(number)) ?? null;
    else if (target) node = link(label, target, context);
    else if (address) node = context.isSource?.(address) ? anchor(address, address) : null;
    else if (marker) {
      const close = closing(text, end, marker, match.index, context.streaming);
      if (close !== null) {
        node = make(TAGS[marker], ...spans(text.slice(end, close), context));
        end = close + marker.length;
      }
    }
    if (node === null) {
      // Not what it looked like: stays text, and what comes after its first sign is looked at again.
      pieces.lastIndex = match.index + (marker ? marker.length : whole.length);
      continue;
    }
    plain(text.slice(from, match.index));
    nodes.push(node);
    from = end;
    pieces.lastIndex = end;
  }
  plain(text.slice(from));
  return nodes;
}

/** Where the partner of a marker is; the end of the text while the answer is being written; null if it is no marker. */
function closing(text, from, marker, start, streaming) {
  if (!text[from] || /\s/.test(text[from])) return null;
  const isWord = (char) => char !== undefined && /[\p{L}\p{N}]/u.test(char);
  if (marker[0] === "_" && isWord(text[start - 1])) return null;
  for (let at = text.indexOf(marker, from + 1); at >= 0; at = text.indexOf(marker, at + 1)) {
    const isDouble = marker.length === 1 && (text[at + 1] === marker || text[at - 1] === marker);
    if (isDouble || /\s/.test(text[at - 1]) || text[at - 1] === "\\") continue;
    if (marker[0] === "_" && isWord(text[at + marker.length])) continue;
    return at;
  }
  return streaming && marker.length === 2 ? text.length : null;
}

function link(label, target, context) {
  if (context.isSource?.(target)) return anchor(label || target, target);
  return make("span", label && label !== target ? `${label} ` : "", make("code", target));
}

function anchor(label, target) {
  const node = make("a", label);
  node.href = target;
  node.target = "_blank";
  node.rel = "noopener noreferrer";
  return node;
}

function lines(text) {
  return text.split("\n").flatMap((line, index) => (index ? [make("br"), line] : [line]));
}

function make(tag, ...children) {
  const node = document.createElement(tag);
  node.append(...children);
  return node;
}
