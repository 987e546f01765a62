// Each part of the board: from its piece of /api/status to elements.

import { link, node, prose, shape, table } from "./dom.js";
import { UNKNOWN, bytes, count, counted, limit, moment, money, percent, seconds, span } from "./format.js";

export const BASES = { closed: "closed trades", marked: "at market" };

const SIGNS = { ok: "✓", warning: "!", error: "✕", critical: "✕", unknown: "?" };
const GRAVITY = ["ok", "unknown", "warning", "error", "critical"];

export const sign = (level) => SIGNS[level] ?? SIGNS.unknown;
export const graver = (one, other) => (GRAVITY.indexOf(one) >= GRAVITY.indexOf(other) ? one : other);

export const tag = (level, text) => node("span", { class: "tag", "data-level": level }, `${sign(level)} ${text}`);
const empty = (...children) => node("p", { class: "empty" }, children);
const code = (text) => node("code", {}, text);
const words = (text) => String(text ?? UNKNOWN).replaceAll(/[_-]/g, " ").toLowerCase();
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

// ------------------------------------------------------------------------------------ verdict

// What the verdict says already is not said again, but for what to do about it.
export function reasons(status) {
  const { verdict, problems } = status;
  const problemOf = (text) => problems.find((problem) => text.toLowerCase().includes(problem.message.toLowerCase()));
  const told = verdict.reasons.map((reason) => ({ ...reason, nextStep: problemOf(reason.text)?.next_step }));
  for (const problem of problems) {
    if (told.some((reason) => problemOf(reason.text) === problem)) continue;
    const where = problem.what && !problem.message.includes(problem.what) ? `${problem.what}: ` : "";
    told.push({ level: "unknown", text: `${where}${problem.message}`, nextStep: problem.next_step });
  }
  return told
    .filter((reason) => reason.nextStep || !verdict.text.startsWith(reason.text))
    .map((reason) =>
      node("li", {}, tag(reason.level, reason.level), prose(reason.text), reason.nextStep ? [" → ", prose(reason.nextStep)] : null),
    );
}

export function facts(status) {
  const snapshot = status.snapshot_at
    ? ["Snapshot ", moment(status.snapshot_at, "ago"), " (", moment(status.snapshot_at), ")"]
    : ["No snapshot yet"];
  const checked = status.findings.checked_at
    ? [" · storage checked ", moment(status.findings.checked_at, "ago")]
    : [" · storage never checked"];
  return [...snapshot, ...checked];
}

// -------------------------------------------------------------------------------------- tiles

export function tiles(status, view) {
  const account = accountOf(status, view);
  const limits = status.limits;
  return [
    equityTile(account),
    drawdownTile(account, limits),
    breakerTile(status.breaker),
    findingsTile(status.findings),
    snapshotTile(status),
    archiveTile(status.archive),
  ];
}

function tile(name, level, value, ...below) {
  return node(
    "div",
    { class: "tile", "data-level": level },
    node("dt", {}, name),
    node("dd", { class: "value" }, value),
    node("dd", { class: "soft small" }, below),
  );
}

export const accountOf = (status, view) =>
  status.accounts.find((one) => one.mode === view.mode && one.basis === view.basis);

function equityTile(account) {
  if (!account) return tile("Equity", "unknown", UNKNOWN, "not known");
  return tile("Equity", "ok", money(account.equity), `${BASES[account.basis] ?? account.basis} · peak ${money(account.peak)}`);
}

function drawdownTile(account, limits) {
  if (!account) return tile("Drawdown", "unknown", UNKNOWN, "not known");
  const under = account.under_water_seconds > 0 ? ` · under water ${span(account.under_water_seconds)}` : "";
  return tile(
    "Drawdown",
    levelOf(account, limits),
    percent(account.drawdown_ratio),
    bar(account.drawdown_ratio, limits.critical, [limits.warning]),
    `worst ${percent(account.max_ratio)}${under}`,
  );
}

const reaches = (ratio, mark) => Number(ratio) >= Number(mark) - 1e-12;

function levelOf(account, limits) {
  if (reaches(account.drawdown_ratio, limits.critical)) return "critical";
  return reaches(account.drawdown_ratio, limits.warning) ? "warning" : "ok";
}

// How much of a limit is used; the tick marks are at other limits on the way.
export function bar(value, most, marks = []) {
  const share = (number) => Math.max(0, Math.min(1, Number(number) / Number(most))) * 100;
  const known = value !== null && value !== undefined;
  return shape(
    "svg",
    { class: "bar", viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" },
    shape("rect", { class: "track", width: 100, height: 6 }),
    known ? shape("rect", { class: reaches(value, most) ? "full" : "used", width: share(value).toFixed(2), height: 6 }) : null,
    marks.map((mark) => shape("rect", { class: "tickmark", x: share(mark) - 0.4, width: 0.8, height: 6 })),
  );
}

function breakerTile(states) {
  if (!states.length) return tile("Breaker", "unknown", UNKNOWN, "no state yet");
  const level = states.map((state) => state.level).reduce(graver);
  const those = states.filter((state) => state.level === level).map((state) => state.mode);
  return tile("Breaker", level, `${sign(level)} ${capital(level)}`, those.join(", "));
}

function findingsTile(findings) {
  const waived = findings.waived ? ` · ${count(findings.waived)} waived` : null;
  const storage = findings.checked_at ? ["checked ", moment(findings.checked_at, "ago")] : ["storage never checked"];
  const counting = findings.open.filter((finding) => finding.state !== "waived");
  const level = counting.map((finding) => finding.severity).reduce(graver, findings.checked_at ? "ok" : "unknown");
  const open = findings.total - findings.waived;
  return tile("Open findings", level, open || findings.checked_at ? count(open) : UNKNOWN, storage, waived);
}

function snapshotTile(status) {
  if (!status.snapshot_at) return tile("Snapshot", "unknown", UNKNOWN, "none yet");
  const level = status.snapshot_stale ? "warning" : "ok";
  const stale = status.snapshot_stale ? " · too old" : "";
  return tile("Snapshot", level, moment(status.snapshot_at, "ago"), moment(status.snapshot_at), stale);
}

function archiveTile(archive) {
  if (!archive) return tile("Archive", "unknown", UNKNOWN, "cannot be read");
  const late = archive.lag_seconds > 0 ? ` · oldest due waits ${span(archive.lag_seconds)}` : " · nothing waits";
  return tile("Archive", "ok", count(archive.rows), "rows", archive.lag_seconds === null ? null : late);
}

// ------------------------------------------------------------------------ breaker and holdings

export function breaker(states) {
  if (!states.length) return empty("No state yet: the first snapshot of an account sets it.");
  return node(
    "ul",
    { class: "plain-list" },
    states.map((state) =>
      node(
        "li",
        { class: "state" },
        node("b", {}, state.mode),
        tag(state.level, state.level),
        state.since ? node("span", { class: "soft small" }, "since ", moment(state.since)) : null,
        state.reason && state.level !== "ok" ? node("p", { class: "soft small" }, prose(state.reason)) : null,
        state.level === "critical"
          ? node("p", { class: "small" }, "Latched until ", code(`fluxhero breaker reset --mode ${state.mode} --reason …`))
          : null,
      ),
    ),
  );
}

export function holdings(status, view) {
  const held = status.positions.find((one) => one.mode === view.mode);
  if (!held) return empty("Nothing is known of open positions.");
  const broken = new Set(held.breached.map((name) => words(name)));
  const row = (name, value, most, shown, limited, ...keys) => {
    const over = keys.some((key) => broken.has(key));
    return [
      node("span", {}, name, over ? [" ", tag("critical", "over")] : null),
      shown,
      limited,
      most === null || most === undefined ? "" : bar(value, most),
    ];
  };
  const ratio = (name, value, most, ...keys) => row(name, value, most, percent(value), limit(most), ...keys);
  return table(
    `Positions of ${view.mode} against their limits`,
    [["", ""], ["Now", "number"], ["Limit", "number"], ["", "meter"]],
    [
      row("Open", held.open, held.limit, count(held.open), count(held.limit), "positions open"),
      ratio("Exposure", held.exposure_ratio, held.exposure_limit, "exposure"),
      ratio("Largest", held.largest_ratio, held.largest_limit, "position"),
      row("Risk at stops", null, null, percent(held.risk_at_stops_ratio, 2), "", "risk trend", "risk mean reversion"),
      row("Without a stop", null, null, count(held.without_stop), "", "no stop"),
    ],
  );
}

// ----------------------------------------------------------------------------------- findings

const SHOWN = 3;

export function findings(found) {
  if (!found.open.length) {
    return found.checked_at
      ? empty(tag("ok", "none open"), " The last storage check was ", moment(found.checked_at, "ago"), ".")
      : empty("The storage was never checked: ", code("fluxhero check"), " does it.");
  }
  const rest = found.open.slice(SHOWN);
  const unlisted = found.total - found.open.length;
  return [
    node("ul", { class: "findings" }, found.open.slice(0, SHOWN).map(finding)),
    rest.length
      ? node(
          "details",
          { "data-key": "more-findings" },
          node("summary", {}, `${count(rest.length)} more`),
          node("ul", { class: "findings" }, rest.map(finding)),
        )
      : null,
    unlisted > 0 ? node("p", { class: "soft small" }, `and ${count(unlisted)} more: `, code("fluxhero check")) : null,
  ];
}

function finding(one) {
  return node(
    "li",
    { class: "finding", "data-level": one.state === "waived" ? "plain" : one.severity },
    node(
      "p",
      { class: "finding-head" },
      tag(one.severity, one.severity),
      node("b", {}, one.rule),
      node("span", { class: "soft" }, one.object),
    ),
    node("p", {}, prose(one.observed), one.count > 1 && !one.observed.includes(count(one.count)) ? node("span", { class: "soft" }, ` (${counted(one.count, "row")})`) : null),
    one.remedy
      ? node(
          "details",
          { "data-key": `remedy-${one.area}-${one.rule}-${one.object}` },
          node("summary", {}, "What to do"),
          node("p", { class: "soft" }, prose(one.remedy)),
        )
      : null,
    node(
      "p",
      { class: "soft small when" },
      words(one.state),
      one.outcome === "errored" ? ", could not be told" : null,
      one.first_seen ? [", first seen ", moment(one.first_seen, "ago")] : null,
    ),
  );
}

// -------------------------------------------------------------------------------- runs and jobs

const RUN_LEVELS = {
  COMPLETED: "ok", RUNNING: "busy", FAILED: "critical", CRASHED: "critical", CANCELLED: "warning", CANCELLING: "warning",
};
const RUN_SIGNS = { ok: "✓", busy: "▸", critical: "✕", warning: "!", plain: "○" };

const RUN_WARNS = ["Late", "Completed with findings"];

function runState(run) {
  const level = RUN_WARNS.includes(run.state_name) ? "warning" : RUN_LEVELS[run.state] ?? "plain";
  return node("span", { class: "tag", "data-level": level, title: run.message }, `${RUN_SIGNS[level]} ${run.state_name}`);
}

export function runs(told) {
  const trouble = told.problem ? node("p", { class: "note" }, prose(told.problem)) : null;
  if (!told.last.length && !told.next.length) return [trouble ?? empty("No run yet, and none is planned.")];
  const last = table(
    "Last runs, newest first",
    [["Flow", ""], ["State", ""], ["Started", ""], ["Took", "number"]],
    told.last.slice(0, 8).map((run) => [
      link(run.url, run.flow, { "data-key": `run-${run.id}`, title: run.name }),
      runState(run),
      moment(run.started_at ?? run.expected_at),
      seconds(run.seconds),
    ]),
  );
  const next = table(
    "Next runs, soonest first",
    [["Next", ""], ["Due", ""]],
    told.next.slice(0, 8).map((run) => [
      link(run.url, run.flow, { "data-key": `run-${run.id}`, title: run.name }),
      node("span", {}, moment(run.expected_at), run.state_name === "Late" ? [" ", runState(run)] : null),
    ]),
  );
  return [
    trouble,
    node(
      "div",
      { class: "two" },
      told.last.length ? last : empty("No run yet."),
      told.next.length ? next : empty("None is planned."),
    ),
  ];
}

export function jobs(told) {
  if (!told.length) return empty("No job has run yet.");
  return table(
    "Jobs and when each last succeeded",
    [["Job", ""], ["Last success", ""], ["Took", "number"]],
    told.map((job) => [
      job.job,
      node(
        "span",
        {},
        job.last_success_at ? moment(job.last_success_at, "ago") : job.last_ok === false ? null : "never",
        job.last_ok === false ? [" ", tag("critical", job.last_success_at ? "not since" : "never")] : null,
      ),
      seconds(job.last_seconds),
    ]),
  );
}

export function archive(kept) {
  if (!kept) return empty("Its manifests cannot be read.");
  const hot = Object.entries(kept.hot_rows ?? {}).map(([name, rows]) => `${count(rows)} ${words(name)}`);
  const batch = kept.last_batch;
  return pairs([
    ["Archived", `${counted(kept.rows, "row")} in ${counted(kept.files, "file")}, ${bytes(kept.bytes)}`],
    ["Hot store", hot.length ? `${hot.join(", ")}${kept.hot_bytes === null ? "" : `, ${bytes(kept.hot_bytes)}`}` : UNKNOWN],
    ["Waiting", kept.lag_seconds > 0 ? `oldest due row ${span(kept.lag_seconds)}` : kept.lag_seconds === 0 ? "nothing" : UNKNOWN],
    ["Last batch", batch ? [moment(batch.created_at, "ago"), `, ${counted(batch.rows, "row")} of ${batch.mode} ${words(batch.table)}`] : "none"],
  ]);
}

const REPORTS = { check: "Storage check", evaluation: "Backtest evaluation", tearsheet: "Tearsheet" };

export function reports(told, open) {
  if (!told.length) return empty(prose("No report yet: `fluxhero check` and `fluxhero evaluate` write one each."));
  return table(
    "The latest reports",
    [["Report", ""], ["Written", ""]],
    told.map((report) => {
      const name = REPORTS[report.kind] ?? report.name;
      const button = node("button", { type: "button", class: "plain", "data-key": `report-${report.name}` }, name);
      button.addEventListener("click", () => open(report.name));
      return [button, moment(report.written_at, "ago")];
    }),
  );
}

const pairs = (rows) =>
  node("dl", { class: "pairs" }, rows.map(([name, value]) => [node("dt", {}, name), node("dd", {}, value)]).flat());

// ---------------------------------------------------------------------- latency, trades, orders

const EVENTS = { fill: "From submission to the last fill", ack: "From submission to the broker's acknowledgement" };
const WINDOWS = { "1d": "of the last day", "7d": "of the last 7 days", "30d": "of the last 30 days", all: "of all orders" };
const QUANTILES = ["p50", "p90", "p95", "p99"];

export function latency(status, view) {
  const rows = status.latency.filter(
    (one) => one.mode === view.mode && one.event === view.event && one.window === view.window,
  );
  if (!rows.length) return empty("No order has the times that latency is reckoned from.");
  const spoken = `${EVENTS[view.event] ?? view.event}, ${WINDOWS[view.window] ?? view.window}.`;
  const measured = table(
    `Order latency of ${view.mode} by order type`,
    [["Order type", ""], ["Orders", "number"], ...QUANTILES.map((name) => [name, "number"])],
    rows.map((one) => [
      words(one.order_type),
      count(one.samples),
      ...QUANTILES.map((name) =>
        one[name] === null ? node("span", { class: "soft", title: "too few orders to tell" }, "too few") : seconds(one[name]),
      ),
    ]),
  );
  return [node("p", { class: "soft small" }, spoken), measured];
}

export function trades(status, view) {
  const traded = status.trades.find((one) => one.mode === view.mode);
  const orders = status.orders.filter((one) => one.mode === view.mode);
  if (!traded && !orders.length) return empty("No trade and no order yet.");
  const byStatus = new Map();
  for (const one of orders) byStatus.set(one.status, (byStatus.get(one.status) ?? 0) + one.orders);
  const result = traded ? traded.profit - traded.loss : null;
  return [
    traded
      ? pairs([
          ["Won, lost, flat", `${count(traded.wins)}, ${count(traded.losses)}, ${count(traded.flat)}`],
          ["Win ratio", percent(traded.win_ratio)],
          ["Result", `${money(result)} (${money(traded.profit)} − ${money(traded.loss)})`],
          ["Fees, in the result", traded.fees === null ? "not recorded" : money(traded.fees)],
          ...(traded.unknown ? [["Without a result", counted(traded.unknown, "trade")]] : []),
          ...(traded.cancelled ? [["Cancelled", counted(traded.cancelled, "trade")]] : []),
        ])
      : null,
    byStatus.size
      ? pairs([...byStatus].sort((one, other) => other[1] - one[1]).map(([name, number]) => [`Orders ${words(name)}`, count(number)]))
      : null,
  ];
}
