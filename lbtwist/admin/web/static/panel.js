// One server: how it is, what its last checks have found, what was done with it, and what may
// be done with it now. What changes something asks first.

import { arrange, byId, make, mark, say, show } from "./dom.js";
import { ask, keyOf, live } from "./live.js";
import { badge } from "./tables.js";
import { bytes, clock, count, lasted, latency, moment, of, plural, rate } from "./words.js";

const PERIOD = 2000;

const DOES = {
  ready: {
    word: "Ready", done: "is ready again", title: (name) => `Put ${name} back into service?`,
    lines: () => ["It gets new clients again as soon as its checks pass."],
  },
  drain: {
    word: "Drain", done: "is being drained", title: (name) => `Drain ${name}?`,
    lines: (server) => [
      "It gets no new clients. What runs goes on, and clients who are bound to it may come back.",
      `Now it has ${plural(busy(server), "session", "sessions")}.`,
    ],
  },
  maint: {
    word: "Maintenance", done: "is in maintenance", harm: true,
    title: (name) => `Take ${name} out for maintenance?`,
    lines: (server) => [
      "It gets nobody, and clients who are bound to it go elsewhere. It is not checked.",
      `Now it has ${plural(busy(server), "session", "sessions")}.`,
    ],
  },
};

const busy = (server) => Math.max(server.active ?? 0, server.sessions ?? 0);

/** What may be done by who looks at it. */
export const may = { operate: false };

const asking = byId("ask");
let answered = null;

/** Ask whether to do it. @return a promise of yes or no. */
function confirmed({ title, lines, word, harm }) {
  byId("ask-title").textContent = title;
  const told = (line) =>
    line.harm ? make("p", { class: "error" }, make("strong", {}, line.harm)) : make("p", {}, line);
  arrange(byId("ask-lines"), lines.filter(Boolean).map(told));
  const yes = byId("ask-yes");
  yes.textContent = word;
  yes.classList.toggle("harm", Boolean(harm));
  asking.returnValue = "";
  asking.showModal();
  // Enter alone does no harm.
  (harm ? byId("ask-no") : yes).focus();
  return new Promise((resolve) => {
    answered = resolve;
  });
}
asking.addEventListener("close", () => {
  answered?.(asking.returnValue === "yes");
  answered = null;
});
byId("ask-no").addEventListener("click", () => asking.close(""));

/** A warning, if nobody else would be left. */
function lastOne(server) {
  const left = live.serversOf(server.pool).filter((one) => one !== server && one.state === "UP");
  if (server.state !== "UP") return null;
  if (!left.length) {
    return { harm: `No other server of ${server.pool} is up: its requests will fail.` };
  }
  return `${plural(left.length, "server", "servers")} of ${server.pool} ${
    left.length === 1 ? "is" : "are"} left.`;
}

const nameOf = (server) => `${server.pool}/${server.name}`;
const pathOf = (server, ...more) => ["pools", server.pool, "servers", server.name, ...more];

async function change(server, what, body, done) {
  tell(null);
  try {
    const said = await ask(pathOf(server, what), { method: "POST", body });
    if (shown?.server === server) details(said);
    say(`${nameOf(server)} ${done}`);
    notice(`${nameOf(server)} ${done}.`);
  } catch (failed) {
    tell(`${nameOf(server)}: ${failed.message}`);
  }
}

/** Have a server in another state, if that is confirmed. */
export async function setState(server, state) {
  if (!may.operate) return;
  const { word, done, harm, title, lines } = DOES[state];
  const warning = state === "ready" ? null : lastOne(server);
  const said = [...lines(server), warning];
  const harms = harm || Boolean(warning?.harm);
  if (await confirmed({ title: title(nameOf(server)), lines: said, word, harm: harms })) {
    await change(server, "state", { state }, done);
  }
}

async function setNumber(server, what, input) {
  const value = Number(input.value);
  if (!input.value || !input.checkValidity()) {
    mark(input, "aria-invalid", "true");
    input.reportValidity();
    return;
  }
  mark(input, "aria-invalid", null);
  const before = what === "weight" ? server.ownWeight ?? server.weight : server.limit || 0;
  const warning = what === "weight" && !value ? lastOne(server) : null;
  const meaning = what === "weight" ? "With 0 it gets no new clients." : "0 is no limit.";
  const lines = [`Now it is ${before}.`, value ? null : meaning, warning];
  const title = `Set the ${what} of ${nameOf(server)} to ${value}?`;
  if (await confirmed({ title, lines, word: `Set ${what}`, harm: Boolean(warning?.harm) })) {
    await change(server, what, { [what]: value }, `has ${what} ${value}`);
  }
}

// the panel

const panel = byId("panel");
const state = badge();
byId("panel-state").append(state);
let shown = null;
let timer = null;

const FACTS = [
  ["Requests/s", (one) => rate(one.rate)],
  ["Sessions", (one) => of(busy(one), one.limit)],
  ["Queue", (one) => count(one.queued)],
  ["Latency, p50", (one) => latency(one.latency?.p50)],
  ["Latency, p99", (one) => latency(one.latency?.p99)],
  ["Requests", (one) => count(one.total)],
  ["Failed", (one) => count(one.failed)],
  ["Weight", (one) => weightOf(one)],
  ["Idle connections", (one) => count(one.idle)],
  ["Retried elsewhere", (one) => count(one.redispatched)],
  ["In / out", (one) => `${bytes(one.bytesIn)} / ${bytes(one.bytesOut)}`],
  ["Went down", (one) => `${count(one.wentDown)}×`],
];

const weightOf = (one) =>
  one.ownWeight === undefined || one.ownWeight === one.weight
    ? String(one.weight ?? "")
    : `${one.weight} of ${one.ownWeight}`;

const facts = FACTS.map(([label, text]) => {
  const told = make("dd");
  byId("panel-facts").append(make("div", {}, make("dt", {}, label), told));
  return { told, text };
});

/** Open the panel of a server. */
export function open(server) {
  shown = { server, most: 0, said: {} };
  byId("panel-title").textContent = nameOf(server);
  arrange(byId("panel-checks"), []);
  arrange(byId("panel-events"), []);
  tell(null);
  notice("");
  byId("panel-actions").hidden = !may.operate;
  byId("panel-locked").hidden = may.operate;
  byId("weight").value = server.weight ?? "";
  byId("maxconn").value = server.limit ?? 0;
  render();
  panel.showModal();
  follow();
}

async function follow() {
  clearTimeout(timer);
  if (!shown) return;
  const { server } = shown;
  try {
    details(await ask(pathOf(server)), true);
  } catch (failed) {
    if (shown?.server === server && live.link === "live") tell(failed.message);
  }
  if (shown?.server === server) timer = setTimeout(follow, PERIOD);
}

function details(said, first = false) {
  if (!shown || said?.name !== shown.server.name || said.pool !== shown.server.pool) return;
  const fresh = first && shown.said.name === undefined;
  shown.said = said.checks ? said : { ...shown.said, ...said };
  if (fresh) {
    byId("weight").value = said.ownWeight ?? said.weight ?? "";
    byId("maxconn").value = said.limit ?? 0;
  }
  render();
  if (said.checks) checks(said.checks);
  if (said.events) events(said.events);
}

/** Show what is known now. */
export function render() {
  if (!shown) return;
  const { server, said } = shown;
  // The stream is newer than what was asked for.
  const one = { ...said, ...server };
  state.tell(server);
  const since = server.since ? `for ${lasted(live.at - server.since)}` : "";
  const also = [one.address, one.backup && "backup", one.role && `role ${one.role}`, since];
  show(byId("panel-aside"), also.filter(Boolean).join(" · "));
  for (const { told, text } of facts) show(told, text(one));
  for (const [name, button] of Object.entries(buttons)) {
    button.disabled = (one.admin ?? "ready") === name;
  }
  progress(one);
}

function progress(one) {
  const draining = one.state === "DRAIN" || one.admin === "drain";
  byId("panel-drain").hidden = !draining;
  if (!draining) {
    shown.most = 0;
    return;
  }
  const left = busy(one);
  shown.most = Math.max(shown.most, left, 1);
  const bar = byId("drain-bar");
  if (bar.max !== shown.most) bar.max = shown.most;
  if (bar.value !== shown.most - left) bar.value = shown.most - left;
  const clients = plural(one.bound, "client is", "clients are");
  const bound = one.bound > 0 ? `, ${clients} bound to it` : "";
  const unknown = one.bound === null ? "; who is bound to it by cookies is not known" : "";
  const text = left
    ? `Draining: ${plural(left, "session is", "sessions are")} left${bound}${unknown}.`
    : `Drained: nothing runs on it${bound}${unknown}.`;
  if (show(byId("drain-text"), text) && !left) say(`${nameOf(one)} is drained`);
}

function checks(list) {
  const rows = list.slice(-20).reverse().map((one) => {
    const [shape, kind, word] = one.passed ? ["pass", "good", "passed"] : ["fail", "bad", "failed"];
    const passed = make(
      "span", { class: "state", "data-state": shape, "data-kind": kind },
      make("span", { class: "word" }, word),
    );
    return make(
      "tr", {}, make("td", {}, clock(one.at)), make("td", {}, passed),
      make("td", { class: "took" }, latency(one.duration)),
      make("td", { class: "detail" }, [one.status, one.detail].filter(Boolean).join(" ")),
    );
  });
  byId("panel-no-checks").hidden = rows.length > 0;
  byId("panel-check-table").hidden = !rows.length;
  arrange(byId("panel-checks"), rows);
}

function events(list) {
  byId("panel-no-events").hidden = list.length > 0;
  const sorted = [...list].sort((one, other) => other.at - one.at).slice(0, 10);
  arrange(
    byId("panel-events"),
    sorted.map((one) =>
      make("li", {}, make("span", { class: "quiet" }, `${moment(one.at)} `), one.text)),
  );
}

function tell(problem) {
  byId("panel-problem").hidden = byId("problem").hidden = true;
  if (!problem) return;
  show(byId(panel.open ? "panel-problem" : "problem-text"), problem);
  byId(panel.open ? "panel-problem" : "problem").hidden = false;
}
byId("problem-close").addEventListener("click", () => tell(null));

function notice(text) {
  byId("panel-done").textContent = text;
}

const buttons = Object.fromEntries(
  Object.entries(DOES).map(([name, { word }]) => {
    const button = make("button", { type: "button", "data-does": name }, word);
    button.addEventListener("click", () => setState(shown.server, name));
    byId("panel-states").append(button);
    return [name, button];
  }),
);

for (const what of ["weight", "maxconn"]) {
  byId(`${what}-form`).addEventListener("submit", (event) => {
    event.preventDefault();
    setNumber(shown.server, what, byId(what));
  });
}

byId("panel-close").addEventListener("click", () => panel.close());
panel.addEventListener("click", (event) => {
  // Beside it.
  if (event.target === panel) panel.close();
});
panel.addEventListener("close", () => {
  shown = null;
  clearTimeout(timer);
});

/** @return the server that is shown, as the stream has it; null if none is. */
export const current = () => shown?.server ?? null;

/** After the stream has begun anew: whether the server is there still. */
export function verify() {
  if (shown && !live.servers.has(keyOf(shown.server.pool, shown.server.name))) panel.close();
}
