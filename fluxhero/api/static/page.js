// The operations page: logging in, asking, and showing the answers as they change.

import { Live, Refused, get } from "./connection.js";
import { follow, forgetCurve, showCurve } from "./curve.js";
import { byId, choose, forget, node, prose, show, webAddress } from "./dom.js";
import { clock, moment, setClock, tick } from "./format.js";
import * as panels from "./panels.js";
import { told } from "./told.js";

const TOKEN = "fluxhero.token";
const VIEW = "fluxhero.view";
const POLL_SECONDS = 60;
const LEAST_GAP = 2000; // a burst of events is one question
const ALERTS_KEPT = 3;

const MODES = ["live", "paper", "legacy"];
const EVENTS = { fill: "filled", ack: "acknowledged" };
const WINDOWS = { "1d": "1 day", "7d": "7 days", "30d": "30 days", all: "all" };
const BOARD = ["reasons", "facts", "tiles", "breaker", "holdings", "findings", "runs", "jobs", "archive", "told", "latency",
  "trades", "reports", "account", "mode-switch", "basis-switch", "span-switch", "event-switch", "window-switch"];

let token = null;
let live = null;
let status = null;
let equity = null;
let equityProblem = null;
let equityOld = true;
let session = 0;
let asking = null;
let askedAt = 0;
let laterTimer = 0;
let retryAt = 0;
let view = { mode: "live", basis: "closed", period: "year", event: "fill", window: "30d", ...stored() };

// ------------------------------------------------------------------------------------- session

function stored() {
  try {
    return JSON.parse(sessionStorage.getItem(VIEW)) ?? {};
  } catch {
    return {};
  }
}

function askForToken(problem = "") {
  session += 1;
  live?.stop();
  live = null;
  token = null;
  status = equity = equityProblem = null;
  sessionStorage.removeItem(TOKEN);
  byId("board").hidden = true;
  byId("tools").hidden = true;
  byId("login").hidden = false;
  forget(BOARD.map(byId));
  byId("alerts").replaceChildren();
  forgetCurve();
  byId("token").value = "";
  byId("login-problem").textContent = problem;
  document.title = "FluxHero operations";
  byId("token").focus();
}

async function logIn(event) {
  event.preventDefault();
  const given = byId("token").value.trim();
  const problem = (text) => {
    byId("login-problem").textContent = text;
    byId("token").focus();
  };
  if (!/^[\x21-\x7e]+$/.test(given)) {
    return problem("A token holds only letters, digits and signs, and no space.");
  }
  byId("log-in").disabled = true;
  try {
    const answer = await get("/api/status", given);
    if (answer === null) return problem("The server does not answer. Is `fluxhero serve` running?".replaceAll("`", ""));
    sessionStorage.setItem(TOKEN, given);
    enter(given);
  } catch (refused) {
    problem(refusal(refused));
  } finally {
    byId("log-in").disabled = false;
  }
}

function refusal(refused) {
  if (!(refused instanceof Refused)) throw refused;
  if (refused.status === 401) return "This is not a token of this API.";
  if (refused.status === 429) return `Too many attempts: wait ${Math.max(1, refused.retryAfter)} s.`;
  return [refused.message, refused.nextStep].filter(Boolean).join(" ");
}

function enter(given) {
  session += 1;
  token = given;
  equityOld = true;
  byId("login").hidden = true;
  byId("board").hidden = false;
  byId("tools").hidden = false;
  byId("token").value = "";
  tellLine("connecting");
  ask();
  live = new Live(given, { told: tellLine, heard, check });
  byId("main").focus({ preventScroll: true });
}

// -------------------------------------------------------------------------------------- asking

// Asks for the status, and for the curve if it may have changed. Never twice at once.
function ask() {
  asking ??= answerOf(session).finally(() => {
    asking = null;
  });
  return asking;
}

async function answerOf(mine) {
  askedAt = Date.now();
  try {
    const [answer] = await Promise.all([get("/api/status", token), equityOld ? askCurve(mine) : null]);
    if (mine !== session) return { outcome: "denied", wait: 0 };
    if (answer === null) return { outcome: "away", wait: 0 };
    status = answer;
    setClock(status.at);
    render();
    return { outcome: "ok", wait: 0 };
  } catch (refused) {
    if (!(refused instanceof Refused)) throw refused;
    if (mine !== session) return { outcome: "denied", wait: 0 };
    if (refused.status === 401) {
      askForToken("The token is no longer accepted: log in again.");
      return { outcome: "denied", wait: 0 };
    }
    if (refused.status !== 429) renderProblem(refused);
    return { outcome: "ok", wait: refused.retryAfter };
  }
}

// A curve that cannot be had for a moment leaves the last one; a damaged one does not.
async function askCurve(mine) {
  let curve = null;
  let problem = null;
  equityOld = false;
  try {
    curve = await get("/api/equity", token);
  } catch (refused) {
    if (!(refused instanceof Refused)) throw refused;
    problem = [429, 401].includes(refused.status) ? null : refusal(refused);
  }
  if (mine !== session) return;
  equityOld = curve === null || curve.curves.length === 0;
  equityProblem = problem;
  equity = problem === null ? curve ?? equity : null;
}

async function check() {
  clearTimeout(laterTimer);
  laterTimer = 0;
  if (asking) await asking;
  return token === null ? { outcome: "denied", wait: 0 } : ask();
}

function heard(event) {
  if (event.kind === "alert") tellAlert(event);
  if (event.kind === "snapshot") equityOld = true;
  askSoon();
}

function askSoon() {
  if (laterTimer) return;
  laterTimer = setTimeout(check, Math.max(150, askedAt + LEAST_GAP - Date.now()));
}

async function poll() {
  if (token === null || Date.now() - askedAt < (POLL_SECONDS - 1) * 1000) return;
  const { outcome } = await check();
  if (outcome === "away") live?.drop();
}

// ------------------------------------------------------------------------------------ the line

const LINES = {
  connecting: "connecting",
  live: "live",
  polling: "not live, asked every half minute",
  lost: "connection lost",
};

function tellLine(state, until = 0) {
  byId("line").dataset.state = state;
  byId("board").dataset.line = state;
  retryAt = until;
  byId("retry").hidden = state !== "lost";
  const since = state === "lost" && status ? `, data of ${clock(status.at)}` : "";
  const text = LINES[state] + since;
  if (byId("line-text").textContent !== text) byId("line-text").textContent = text;
  countDown();
}

// On the button, not in the live region: a screen reader is told once, not each second.
function countDown() {
  const left = Math.ceil((retryAt - Date.now()) / 1000);
  byId("retry").textContent = left > 0 ? `Try now (${left} s)` : "Trying …";
}

// ------------------------------------------------------------------------------------- reports

// The tab is opened in the click, since a browser allows it only there; where it leads to is asked after it.
async function openReport(name) {
  const opened = window.open("about:blank", "_blank");
  if (opened) opened.opener = null;
  const told = (text) => {
    byId("reports-problem").textContent = text;
  };
  told("");
  try {
    const link = await get(`/api/reports/${encodeURIComponent(name)}`, token);
    if (link === null) throw new Refused(0, { message: "The server does not answer." }, 0);
    (opened ?? window).location.replace(new URL(link.path, location.href).href);
  } catch (refused) {
    opened?.close();
    if (!(refused instanceof Refused)) throw refused;
    told(refusal(refused));
  }
}

// -------------------------------------------------------------------------------------- alerts

function tellAlert(event) {
  const { level = "unknown", title = "Alert", text = "" } = event.data ?? {};
  const close = node("button", { type: "button", class: "plain", "aria-label": `Dismiss: ${title}` }, "✕");
  const alert = node(
    "div",
    { class: "alert", "data-level": level },
    node("p", {}, node("b", {}, `${panels.sign(level)} ${title}`), " ", node("span", { class: "soft small" }, moment(event.at))),
    text ? node("p", {}, prose(text)) : null,
    close,
  );
  close.addEventListener("click", () => alert.remove());
  byId("alerts").prepend(alert);
  for (const old of [...byId("alerts").children].slice(ALERTS_KEPT)) old.remove();
}

// ----------------------------------------------------------------------------------- rendering

function render() {
  const { verdict } = status;
  tellVerdict(verdict.level, verdict.text);
  chooseView();
  show(byId("reasons"), [verdict, status.problems], () => panels.reasons(status));
  show(byId("facts"), [status.snapshot_at, status.findings.checked_at], () => panels.facts(status));
  show(byId("tiles"), [status, view.mode, view.basis].map(withoutNow), () => panels.tiles(status, view));
  show(byId("breaker"), status.breaker, () => panels.breaker(status.breaker));
  show(byId("holdings"), [status.positions, view.mode], () => panels.holdings(status, view));
  show(byId("findings"), status.findings, () => panels.findings(status.findings));
  show(byId("runs"), status.runs, () => panels.runs(status.runs));
  show(byId("jobs"), status.jobs, () => panels.jobs(status.jobs));
  show(byId("archive"), status.archive, () => panels.archive(status.archive));
  show(byId("told"), status.alerts, () => told(status.alerts));
  show(byId("reports"), status.reports, () => panels.reports(status.reports, openReport));
  show(byId("latency"), [status.latency, view], () => panels.latency(status, view));
  show(byId("trades"), [status.trades, status.orders, view.mode], () => panels.trades(status, view));
  const prefect = webAddress(status.runs.ui_url);
  byId("prefect").hidden = prefect === null;
  if (prefect) byId("prefect").href = prefect;
  showCurve({ equity, problem: equityProblem, accounts: status.accounts, unusable: status.unusable }, view, pick);
  byId("board").setAttribute("aria-busy", "false");
  tick();
}

const withoutNow = (part) => (part?.at ? { ...part, at: null, snapshot_age_seconds: null } : part);

function tellVerdict(level, text) {
  const known = ["ok", "warning", "critical"].includes(level) ? level : "unknown";
  byId("verdict").dataset.level = known;
  byId("verdict-sign").textContent = panels.sign(known);
  if (byId("verdict-text").textContent !== text) byId("verdict-text").textContent = text;
  document.title = `${panels.sign(known)} ${text} · FluxHero`;
}

// The server answers, but cannot tell.
function renderProblem(refused) {
  tellVerdict("unknown", "How the night shift is cannot be told.");
  show(byId("reasons"), [refused.message, refused.nextStep], () => [
    node("li", {}, prose(refused.message)),
    refused.nextStep ? node("li", {}, "→ ", prose(refused.nextStep)) : null,
  ]);
  byId("board").setAttribute("aria-busy", "false");
}

// Which accounts and windows there are decides what can be chosen.
function chooseView() {
  const has = (parts, key) => new Set(parts.map((one) => one[key]));
  const modes = has([...status.accounts, ...status.positions, ...status.trades, ...status.latency, ...status.unusable], "mode");
  const mode = pick("mode", MODES.filter((one) => modes.has(one)).map((one) => [one, one]));
  byId("toolbar").hidden = modes.size < 2;
  const bases = has(status.accounts.filter((one) => one.mode === mode), "basis");
  pick("basis", Object.entries(panels.BASES).filter(([key]) => bases.has(key)));
  const measured = status.latency.filter((one) => one.mode === mode);
  const events = has(measured, "event");
  const event = pick("event", Object.entries(EVENTS).filter(([key]) => events.has(key)));
  const windows = has(measured.filter((one) => one.event === event), "window");
  pick("window", Object.entries(WINDOWS).filter(([key]) => windows.has(key)));
}

// What is chosen stays chosen while it is not there for a moment.
const wanted = { ...view };

function pick(name, options) {
  const keys = options.map(([key]) => key);
  view[name] = keys.includes(wanted[name]) ? wanted[name] : keys.at(name === "window" ? -1 : 0) ?? wanted[name];
  choose(byId(`${name === "period" ? "span" : name}-switch`), options, view[name], (key) => {
    wanted[name] = view[name] = key;
    sessionStorage.setItem(VIEW, JSON.stringify(wanted));
    if (status) render();
  });
  return view[name];
}

// --------------------------------------------------------------------------------------- start

byId("login").addEventListener("submit", logIn);
byId("log-out").addEventListener("click", () => askForToken());
byId("retry").addEventListener("click", () => live?.retry());
follow();
window.addEventListener("online", () => live?.retry());
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState !== "visible") return;
  live?.retry();
  poll();
});
setInterval(() => {
  countDown();
  live?.dropIfSilent();
}, 1000);
setInterval(tick, 15_000);
setInterval(poll, 5000);

const kept = sessionStorage.getItem(TOKEN);
if (kept) enter(kept);
else askForToken();
