// The keyboard: single keys for what is done often, listed in a dialog.

import { byId, memory } from "./dom.js";
import { current, may, setState } from "./panel.js";

const PLACES = { s: "servers", f: "frontends", c: "charts", l: "failures", e: "explain" };
const DOES = { d: "drain", r: "ready", m: "maint" };

const help = byId("help");
const box = byId("keys-on");
let goes = false;

const isTyping = (element) => element.closest?.("input, textarea, select, [contenteditable]");

function go(id) {
  const section = byId(id);
  section.scrollIntoView();
  section.querySelector("h2").focus({ preventScroll: true });
}

function serverOf(element) {
  if (byId("panel").open) return current();
  const thing = element.row?.thing;
  return thing?.kind === "server" ? thing : null;
}

function pressed(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
  if (event.key === "Escape" && event.target === byId("search")) {
    event.target.value = "";
    event.target.dispatchEvent(new Event("input"));
    return;
  }
  if (!box.checked || isTyping(event.target) || byId("ask").open) return;
  const key = event.key;
  const after = goes;
  goes = false;
  const server = serverOf(event.target);
  if (help.open || byId("login").open) return;
  if (server && may.operate && DOES[key] && !after) {
    event.preventDefault();
    setState(server, DOES[key]);
    return;
  }
  if (byId("panel").open) return;
  if (after && PLACES[key]) {
    event.preventDefault();
    go(PLACES[key]);
  } else if (key === "g") {
    goes = true;
    // As long as one waits for a second key, and no longer.
    setTimeout(() => (goes = false), 1500);
  } else if (key === "/") {
    event.preventDefault();
    byId("search").focus();
    byId("search").select();
  } else if (key === "?") {
    help.showModal();
  } else if (key === "t") {
    byId("theme").click();
  }
}

/** Begin. */
export function start() {
  box.checked = memory.get("keys", "on") === "on";
  box.addEventListener("change", () => memory.set("keys", box.checked ? "on" : "off"));
  document.addEventListener("keydown", pressed);
  byId("help-open").addEventListener("click", () => help.showModal());
  byId("help-close").addEventListener("click", () => help.close());
  help.addEventListener("click", (event) => {
    if (event.target === help) help.close();
  });
}
