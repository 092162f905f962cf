// Why a request would go where it goes: asks, and shows the decision as a path from the
// request to what becomes of it.

import { arrange, byId, make, mark, say } from "./dom.js";
import { ask } from "./live.js";
import { value } from "./words.js";

const CAME = {
  "not reached": "not asked any more",
  "does not hold": "no",
  later: "asked when the response comes",
  "not asked": "not asked here: it might wait",
  waits: "waits",
  done: "yes, it goes on",
};
const SKIPPED = new Set(["not reached", "later"]);

const quiet = (...text) => make("div", { class: "what" }, text);
const line = (...text) => make("div", { class: "rule" }, text);
const place = (step) => (step.where ? step.where.split("/").pop() : "");

/** A step as an item; `look` is a class, for what was decided or passed over. */
function item(kind, look, ...parts) {
  return make("li", { class: look || null, "data-kind": kind }, parts);
}

function conditionOf(part) {
  const given = part.asked ? value(part.value) : "not asked";
  const look = part.asked ? { true: "yes", false: "no" }[String(part.value)] : "unasked";
  const row = make(
    "div", { class: "part" }, make("span", {}, part.text), make("span", { class: look }, given),
  );
  const parts = part.parts ?? [];
  return make("li", {}, row, parts.length ? make("ul", {}, parts.map(conditionOf)) : null);
}

function cameOf(step) {
  let text = CAME[step.came] ?? "yes";
  if (step.decision) {
    text = step.came === "failed" ? step.decision : `yes: ${step.decision}`;
    if (step.waited) text = `yes, and after it has waited: ${step.decision}`;
  } else if (step.waited) {
    text = "yes, it goes on after it has waited";
  }
  return step.rewrites ? `${text}, and the response will be changed` : text;
}

function tlsOf(step) {
  if (step.how === "none") return ["none"];
  if (step.how === "refused") return ["refused"];
  const name = step.sni ? `for ${step.sni}` : "for no name";
  if (step.how === "passed through") return [`passed through, ${name}`];
  const said = [step.section ? `section ${step.section} (${place(step)})` : step.version, name];
  if (step.alpn) said.push(`alpn ${step.alpn}`);
  if (step.policy) said.push(`policy ${step.policy}, from ${step.minimum}`);
  if (step.certificate) said.push(`certificate for ${step.certificate.names.join(", ")}`);
  if (step.problem) said.push(`certificate not known: ${step.problem}`);
  return [said.filter(Boolean).join(", ")];
}

function headOf(step, names) {
  const before = names.map((name) => step[name].before).join(" ");
  const after = names.map((name) => step[name].after).join(" ");
  const changes = before === after ? [] : [["-", before], ["+", after]];
  for (const one of step.fields) {
    if (one.change !== " ") changes.push([one.change, `${one.name}: ${one.value}`]);
  }
  if (!changes.length) return [line("as it came")];
  return changes.map(([change, text]) =>
    make(
      "div", { class: "change" },
      make("span", { class: "unseen" }, change === "+" ? "added " : "removed "),
      make("span", { "aria-hidden": "true" }, change === "+" ? "+ " : "− "), text,
    ));
}

function serversOf(servers) {
  const rows = servers.map((one) => {
    const scored = one.score === null ? "" : `score ${value(one.score)}`;
    const verdict = one.chosen ? "chosen" : one.out || scored;
    const active = one.maxconn ? `${one.active}/${one.maxconn}` : String(one.active);
    return make(
      "tr", { class: one.chosen ? "came" : null },
      make("th", { scope: "row", class: one.chosen ? null : "quiet" }, one.name),
      make("td", {}, one.address), make("td", {}, String(one.weight)), make("td", {}, active),
      make("td", {}, one.chosen && scored ? `chosen, ${scored}` : verdict),
    );
  });
  const heads = ["server", "address", "weight", "active", "verdict"];
  return make(
    "table", { class: "candidates" },
    make("thead", {}, make("tr", {}, heads.map((text) => make("th", { scope: "col" }, text)))),
    make("tbody", {}, rows),
  );
}

const STEPS = {
  request: (step) => [
    quiet("Request"), line(`${step.method} ${step.target}`),
    quiet(`from ${step.src} to port ${step.port}`),
    step.fields.map(([name, text]) => quiet(`${name}: ${text}`)),
  ],
  session: (step) => [quiet("Session"), line(`from ${step.src} to port ${step.port}`)],
  frontend: (step) => [
    quiet(`Frontend (${place(step)})`), line(`${step.name} on ${step.bind}, mode ${step.mode}`),
    quiet(step.why),
  ],
  proxy: (step) => [
    quiet("PROXY header"),
    line(step.source
      ? `from ${step.source}${step.destination ? ` to ${step.destination}` : ""}; ${step.came}`
      : step.came),
  ],
  tls: (step) => [quiet("TLS"), line(tlsOf(step))],
  rule: (step) => [
    quiet(`Rule for the ${step.stage}, ${step.owner} (${place(step)})`), line(step.text),
    step.condition && !SKIPPED.has(step.came)
      ? make("ul", { class: "values" }, conditionOf(step.condition))
      : null,
    step.given ? quiet(`asked with ${Object.entries(step.given).map(([name, one]) =>
      `${name} = ${value(one)}`).join(", ")}`) : null,
    make("div", { class: "came" }, make("span", { "aria-hidden": "true" }, "→ "), cameOf(step)),
  ],
  departure: (step) => [quiet("Request as it leaves"), headOf(step, ["method", "target"])],
  response: (step) => [quiet("Response as it leaves"), headOf(step, ["status"])],
  pool: (step) => [
    quiet(`Pool (${place(step)})`), line(step.name), quiet(step.why),
    quiet(`balance = ${step.balance}${step.by ? `, ${step.by}` : ""}${
      step.score ? `, score: ${step.score}` : ""}`),
  ],
  persistence: (step) => [
    quiet("Persistence"),
    line(step.recalled
      ? `recalls ${step.recalled}, by ${step.known}`
      : `recalls no server${step.known ? `: ${step.known}` : ""}`),
  ],
  source: (step) => [
    quiet(`Servers from ${step.name}`), line(step.source),
    quiet(step.reason || (step.asked ? `names ${step.names}` : "it is not asked here")),
  ],
  timeouts: (step) => [
    quiet("Timeouts"),
    line(Object.entries(step.seconds).map(([name, seconds]) => {
      const by = step.set.includes(name) ? " (by a rule)" : "";
      return `${name} ${seconds ? `${seconds} s` : "none"}${by}`;
    }).join(", ")),
  ],
};

function lookOf(step) {
  if (step.kind !== "rule") return "";
  if (SKIPPED.has(step.came)) return "skipped";
  return step.came === "does not hold" ? "" : "decided";
}

/** @return the items of a path. */
export function pathOf({ steps, action }) {
  const items = [];
  const servers = steps.filter((step) => step.kind === "server");
  for (const step of steps) {
    if (step.kind === "server") {
      if (step === servers[0]) {
        const look = servers.some((one) => one.chosen) ? "decided" : "";
        items.push(item("servers", look, quiet("Servers"), serversOf(servers)));
      }
      continue;
    }
    // A kind that this page does not know yet is shown as it came.
    const tell = STEPS[step.kind] ?? ((one) => [quiet(one.kind), line(JSON.stringify(one))]);
    items.push(item(step.kind, lookOf(step), tell(step)));
  }
  const others = action.unless ?? [];
  const unless = others.length ? `; unless ${others.join(", ")} decides otherwise` : "";
  items.push(item("action", "verdict", make("p", {}, `${action.text}${unless}`)));
  return items;
}

const form = byId("explain-form");

function asked() {
  const data = new FormData(form);
  const text = (name) => String(data.get(name) ?? "").trim();
  const body = { request: `${text("method")} ${text("url")}` };
  for (const name of ["frontend", "src", "sni", "alpn", "proxied"]) {
    if (text(name)) body[name] = text(name);
  }
  const fields = text("fields").split("\n").filter((one) => one.trim());
  if (fields.length) {
    body.fields = fields.map((one) => {
      const at = one.indexOf(":");
      if (at < 1) throw new Error(`"${one}" is no field: write NAME: VALUE`);
      return [one.slice(0, at).trim(), one.slice(at + 1).trim()];
    });
  }
  return body;
}

/** Begin. */
export function start() {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const problem = byId("explain-problem");
    const button = form.querySelector("button[type=submit]");
    problem.hidden = true;
    button.disabled = true;
    try {
      const said = await ask(["explain"], { method: "POST", body: asked() });
      arrange(byId("explain-path"), pathOf(said));
      byId("explain-none").hidden = true;
      say(`It is ${said.action.text}`);
    } catch (failed) {
      problem.textContent = failed.message;
      problem.hidden = false;
    } finally {
      button.disabled = false;
    }
  });
  form.elements.method.addEventListener("change", () => {
    const bare = ["TCP", "CONNECT"].includes(form.elements.method.value);
    mark(form.elements.url, "placeholder", bare ? "HOST:PORT" : "http://HOST/PATH");
  });
}

let offered = "";

/** Offer the frontends there are. */
export function offer(frontends) {
  const names = JSON.stringify([...frontends.keys()]);
  if (names === offered) return;
  offered = names;
  const chooser = form.elements.frontend;
  const chosen = chooser.value;
  const options = [...frontends.keys()].map((name) => make("option", { value: name }, name));
  const any = make("option", { value: "" }, "the one that listens on the port");
  chooser.replaceChildren(any, ...options);
  chooser.value = frontends.has(chosen) ? chosen : "";
}
