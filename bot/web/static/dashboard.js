// The admin page: one section at a time, chosen by the address (#documents, #faqs, #timings).

import { api, byId } from "./dashboard-kit.js";
import * as documents from "./dashboard-documents.js";
import * as faqs from "./dashboard-faqs.js";
import * as timings from "./dashboard-timings.js";

const SECTIONS = { documents, faqs, timings };

function open({ focus = false } = {}) {
  const asked = location.hash.slice(1);
  const chosen = asked in SECTIONS ? asked : "documents";
  for (const [name, section] of Object.entries(SECTIONS)) {
    byId(name).hidden = name !== chosen;
    if (name !== chosen) section.hide?.();
  }
  for (const link of document.querySelectorAll(".tabs a")) {
    if (link.hash === `#${chosen}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  byId("main").scrollTop = 0;
  if (focus) byId("main").focus({ preventScroll: true });
  void SECTIONS[chosen].show();
}

for (const section of Object.values(SECTIONS)) section.start();
addEventListener("hashchange", () => open({ focus: true }));
byId("sign-out").addEventListener("click", async () => {
  await api("POST", "/api/v1/logout").catch(() => null);
  location.reload();
});
open();
