// Puts the page together: who looks at it, what the stream says, and what is to be seen.

import * as charts from "./charts.js";
import { arrange, byId, make, mark, memory, say, show, written } from "./dom.js";
import * as explain from "./explain.js";
import * as failures from "./failures.js";
import * as keys from "./keys.js";
import { ask, live } from "./live.js";
import * as panel from "./panel.js";
import { errors, FRONTENDS, LiveTable, requestsOf, SERVERS } from "./tables.js";
import { clock, count, latency, moment, plural, rate, stateOf } from "./words.js";

// Rows are put into their order anew every so many events, so that they can be read.
const SETTLE = 5;

// With more servers than this the table scrolls by itself, so that what is below it is near.
const MANY = 60;

const REFUSED = 5000;

// what is looked at

function opened(thing) {
  if (thing.kind === "pool") servers.fold(thing.name);
  else panel.open(thing);
}

const frontends = new LiveTable(byId("frontends-table"), FRONTENDS, byId("frontends-sort"), opened);
const servers = new LiveTable(byId("servers-table"), SERVERS, byId("servers-sort"), opened);

let wanted = "";
const states = new Set();

servers.matches = (thing, within = false) => {
  const kind = thing.kind === "server";
  if (states.size && !(kind && states.has(thing.state))) return false;
  if (!wanted || within) return true;
  const said = kind ? [`${thing.pool}/${thing.name}`, thing.address, thing.role] : [thing.name];
  return said.some((one) => one?.toLowerCase().includes(wanted));
};
frontends.matches = (thing) => !wanted || thing.name.toLowerCase().includes(wanted);

function filtered() {
  frontends.lay();
  servers.lay();
  failures.filter(wanted);
  const none = live.servers.size ? "No server matches." : "There are no servers.";
  byId("servers-frame").classList.toggle("many", servers.shown > MANY);
  byId("servers-none").textContent = none;
  byId("servers-none").hidden = servers.shown > 0 || live.servers.size === 0;
  show(byId("servers-shown"), servers.shown === live.servers.size
    ? `${count(live.servers.size)}`
    : `${count(servers.shown)} of ${count(live.servers.size)}`);
}

let typed = null;
byId("search").addEventListener("input", (event) => {
  clearTimeout(typed);
  typed = setTimeout(() => {
    wanted = event.target.value.trim().toLowerCase();
    filtered();
    if (wanted) say(`${count(servers.shown)} servers match`);
  }, 120);
});

const chips = new Map();

// One for each state that a server is in now, the worst first.
function counted() {
  const found = new Map();
  for (const { state } of live.servers.values()) found.set(state, (found.get(state) ?? 0) + 1);
  for (const state of states) if (!found.has(state)) found.set(state, 0);
  const sorted = [...found.keys()].sort((one, other) => stateOf(one).rank - stateOf(other).rank);
  arrange(byId("chips"), sorted.map((state) => {
    let chip = chips.get(state);
    if (!chip) {
      const number = make("b");
      const word = make("span", { class: "word" }, state);
      const { kind, means } = stateOf(state);
      const about = { class: "state", "data-state": state, "data-kind": kind };
      const button = make(
        "button", { type: "button", "aria-pressed": "false", title: means },
        make("span", about, word), number,
      );
      button.addEventListener("click", () => {
        if (!states.delete(state)) states.add(state);
        mark(button, "aria-pressed", states.has(state));
        filtered();
      });
      chips.set(state, (chip = { button, number }));
    }
    show(chip.number, count(found.get(state)));
    return chip.button;
  }));
}

// the whole of it

function summary() {
  let [requests, failing, queued] = [0, 0, 0];
  let worst = null;
  for (const one of live.frontends.values()) {
    requests += requestsOf(one) ?? 0;
    failing += errors(one) ?? 0;
    const high = one.latency?.p99 ?? null;
    if (high !== null && (worst === null || high > worst)) worst = high;
  }
  for (const one of live.pools.values()) queued += one.queued ?? 0;
  let up = 0;
  for (const one of live.servers.values()) up += one.state === "UP";
  const { connections, maxconn } = live.process;
  show(byId("sum-requests"), rate(requests));
  show(byId("sum-errors"), rate(failing));
  show(byId("sum-latency"), latency(worst));
  show(byId("sum-connections"), count(connections));
  show(byId("sum-maxconn"), maxconn ? ` of ${count(maxconn)}` : "");
  show(byId("sum-queue"), count(queued));
  show(byId("sum-up"), count(up));
  show(byId("sum-servers"), ` of ${count(live.servers.size)}`);
}

// the stream

let events = 0;
let held = null;
let failedBefore = null;

function groups() {
  const members = new Map();
  for (const one of live.servers.values()) {
    if (!members.has(one.pool)) members.set(one.pool, []);
    members.get(one.pool).push(one);
  }
  return [...live.pools.values()].map((head) => ({ head, members: members.get(head.name) ?? [] }));
}

function render({ changed, made, moves }) {
  if (made) {
    frontends.have([{ head: null, members: [...live.frontends.values()] }]);
    servers.have(groups());
    charts.offer();
    explain.offer(live.frontends);
    panel.verify();
  }
  frontends.update(changed);
  servers.update(changed);
  events += 1;
  if (events % SETTLE === 0) {
    frontends.settle();
    servers.settle();
  }
  if (made || moves.size) {
    counted();
    filtered();
    titled();
  }
  summary();
  panel.render();
  show(byId("at"), clock(live.at));
  let failed = 0;
  for (const one of live.frontends.values()) failed += one.failed ?? 0;
  if (failed !== failedBefore) failures.refresh();
  failedBefore = failed;
  for (const one of moves) say(`${one.pool}/${one.name} is ${one.state}`);
}

live.addEventListener("state", ({ detail }) => {
  if (held) {
    for (const one of detail.changed) held.changed.add(one);
    held.made ||= detail.made;
    for (const one of detail.moves) held.moves.add(one);
  } else if (document.hidden) {
    held = { changed: new Set(detail.changed), made: detail.made, moves: new Set(detail.moves) };
  } else {
    render(detail);
  }
});

// What nobody sees is not drawn.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  const waiting = held;
  held = null;
  if (waiting) render(waiting);
  charts.refresh();
  live.retry();
});
addEventListener("online", () => live.retry());

// the link

const LINKS = {
  asking: ["off", "connecting"], live: ["good", "live"], lost: ["bad", "no connection"],
};

function linked() {
  const [kind, word] = LINKS[live.link];
  const place = byId("link");
  mark(place, "data-state", live.link);
  mark(place, "data-kind", kind);
  show(byId("link-word"), word);
  const lost = live.link === "lost";
  const was = !byId("lost").hidden;
  byId("lost").hidden = !lost;
  document.body.classList.toggle("lost", lost);
  if (lost) {
    show(byId("lost-why"), live.reason);
    const known = live.heard !== null;
    show(byId("lost-at"), known ? `What is shown is of ${clock(live.heard)}.` : "");
    if (!was) say("The connection is lost");
  } else if (was) {
    say("Connected again");
    about();
    charts.refresh();
    failures.refresh();
  }
}
live.addEventListener("link", linked);
byId("lost-retry").addEventListener("click", () => live.retry());

setInterval(() => {
  if (live.link !== "lost" || live.retryAt === null) return;
  const left = Math.ceil((live.retryAt - Date.now()) / 1000);
  show(byId("lost-again"), left > 0 ? `Trying again in ${left} s.` : "Trying again.");
}, 500);

// who looks at it

let node = "";

// A tab in the background says it, too.
function titled() {
  let down = 0;
  for (const one of live.servers.values()) down += stateOf(one.state).kind === "bad";
  const title = [down && `${plural(down, "server", "servers")} down`, node, "lbtwist"];
  document.title = title.filter(Boolean).join(" – ");
}

async function about() {
  try {
    const said = await ask(["info"]);
    const known = [said.node, `lbtwist ${said.version}`, `since ${moment(said.startedAt)}`];
    show(byId("about"), known.filter(Boolean).join(" · "));
    node = said.node;
    titled();
  } catch (_lost) {
    // The stream says so, too.
  }
}

const login = byId("login");

async function enter(again = false) {
  let who;
  try {
    who = await ask(["whoami"]);
  } catch (_lost) {
    // The stream says so, and tries again.
    live.start();
    return;
  }
  panel.may.operate = who.scopes.includes("operate");
  show(byId("who"), who.name ?? "");
  byId("logout").hidden = who.by !== "cookie";
  show(byId("locked"), panel.may.operate ? "" : "read only");
  byId("locked").hidden = panel.may.operate;
  byId("keys-operate").hidden = !panel.may.operate;
  byId("login-open").hidden = !who.tokens || who.by !== "nobody";
  if (who.scopes.includes("read") && again) {
    // It was refused all the same: perhaps not for long.
    setTimeout(() => live.start(), REFUSED);
  } else if (who.scopes.includes("read")) {
    live.start();
    about();
  } else if (!login.open) {
    login.showModal();
  }
}

byId("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = byId("token");
  const problem = byId("login-problem");
  try {
    await ask(["login"], { method: "POST", body: { token: token.value } });
    token.value = "";
    problem.hidden = true;
    login.close();
    live.stop();
    await enter();
  } catch (failed) {
    problem.textContent = failed.message;
    problem.hidden = false;
    token.select();
  }
});
byId("login-open").addEventListener("click", () => login.showModal());
byId("login-cancel").addEventListener("click", () => login.close());
byId("logout").addEventListener("click", async () => {
  await ask(["logout"], { method: "POST" }).catch(() => {});
  location.reload();
});
live.addEventListener("denied", () => enter(true));

// the look

const THEMES = ["system", "light", "dark"];
const theme = byId("theme");

function themed() {
  show(byId("theme-word"), document.documentElement.dataset.theme ?? "system");
}
theme.addEventListener("click", () => {
  const root = document.documentElement;
  const next = THEMES[(THEMES.indexOf(root.dataset.theme ?? "system") + 1) % THEMES.length];
  if (next === "system") delete root.dataset.theme;
  else root.dataset.theme = next;
  memory.set("theme", next === "system" ? null : next);
  themed();
  document.dispatchEvent(new Event("themed"));
});

byId("fold-all").addEventListener("click", (event) => {
  const names = [...live.pools.keys()];
  const folds = servers.folded.size < names.length;
  servers.folded.clear();
  if (folds) names.forEach((name) => servers.folded.add(name));
  show(event.target, folds ? "Unfold all" : "Fold all");
  servers.lay();
});

themed();
keys.start();
charts.start();
explain.start();
enter();

// For who measures what an event costs.
globalThis.lbtwist = { live, written };
