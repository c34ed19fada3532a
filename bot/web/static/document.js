// The passage page: shows the Markdown that the server sent as plain text.

import { render } from "./markdown.js";

const text = document.querySelector(".verbatim");
const source = text.textContent;
text.replaceChildren();
text.classList.add("prose");
render(text, source, { streaming: false });
