// The curve of one account: equity over its high-water mark, and below it the drawdown with both limits.

import { node, shape, table } from "./dom.js";
import { dateUtc, limit, money, percent, shortMoney } from "./format.js";

const DAY = 86_400_000;
const EQUITY = 190;
const GAP = 30;
const DRAWDOWN = 116;
const TOP = 10;
const BOTTOM = 24;
const LEFT = 56;
const RIGHT = 10;
const HEIGHT = TOP + EQUITY + GAP + DRAWDOWN + BOTTOM;

// Points as the API sends them: [time, equity, peak, drawdown].
export const readPoints = (points) =>
  points.map(([at, equity, peak, drawdown]) => ({
    at: Date.parse(at),
    equity: Number(equity),
    peak: Number(peak),
    drawdown: Number(drawdown),
  }));

// At most a handful of round numbers from low to high.
export function roundTicks(low, high, most) {
  const raw = (high - low) / most || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= raw);
  const ticks = [];
  for (let index = Math.ceil(low / step); index * step <= high + step / 1e6; index += 1) {
    ticks.push(Number((index * step).toPrecision(12)) + 0); // no dust of binary fractions, and no −0
  }
  return ticks;
}

// Firsts of months, or days when the curve is short; UTC, as the points are.
function timeTicks(first, last, most) {
  const ticks = [];
  const months = (last - first) / (30.44 * DAY);
  if (months > 2.5) {
    const step = [1, 2, 3, 6, 12, 24, 60, 120].find((size) => months / size <= most) ?? 120;
    const start = new Date(first);
    const index = Math.ceil((start.getUTCFullYear() * 12 + start.getUTCMonth()) / step) * step;
    for (let month = index; ; month += step) {
      const time = Date.UTC(Math.floor(month / 12), month % 12);
      if (time > last) break;
      if (time >= first) ticks.push({ at: time, text: monthText(time, step) });
    }
    return ticks;
  }
  const step = [1, 2, 5, 7, 14, 28].find((size) => (last - first) / DAY / size <= most) ?? 28;
  for (let time = Math.ceil(first / DAY) * DAY; time <= last; time += step * DAY) {
    ticks.push({ at: time, text: dayText.format(time) });
  }
  return ticks;
}

const dayText = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
const shortMonth = new Intl.DateTimeFormat("en-GB", { month: "short", timeZone: "UTC" });

function monthText(time, step) {
  const date = new Date(time);
  return date.getUTCMonth() === 0 || step >= 12 ? String(date.getUTCFullYear()) : shortMonth.format(time);
}

// Draws into the plot; returns a function that moves the cross-hair to a point.
export function draw(plot, points, limits) {
  const width = Math.max(260, Math.floor(plot.clientWidth));
  const view = scales(points, limits, width);
  const picture = shape(
    "svg",
    { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, "aria-hidden": "true", focusable: "false" },
    gradient(view, limits),
    grid(view, width),
    curves(points, view),
    limitLines(limits, view, width),
  );
  const cross = crossHair(view);
  picture.append(cross.element);
  plot.querySelector("svg")?.remove();
  plot.append(picture);
  return { at: (x) => nearest(points, view.timeAt(x)), move: (index) => cross.move(points[index]) };
}

function scales(points, limits, width) {
  const first = points[0].at;
  const last = Math.max(points.at(-1).at, first + DAY);
  const highs = points.map((point) => Math.max(point.equity, point.peak));
  const lows = points.map((point) => point.equity);
  let low = Math.min(...lows);
  let high = Math.max(...highs);
  const air = (high - low || Math.abs(high) || 1) * 0.06;
  low -= air;
  high += air;
  const deepest = Math.max(limits.critical * 1.25, ...points.map((point) => point.drawdown * 1.08));
  const inner = width - LEFT - RIGHT;
  const base = TOP + EQUITY + GAP;
  return {
    first, last, low, high, deepest, base,
    x: (at) => LEFT + ((at - first) / (last - first)) * inner,
    y: (value) => TOP + EQUITY - ((value - low) / (high - low)) * EQUITY,
    depth: (ratio) => base + (Math.max(ratio, 0) / deepest) * DRAWDOWN,
    timeAt: (x) => first + ((x - LEFT) / inner) * (last - first),
  };
}

// The deeper, the graver: the colours of the area change exactly at the limits.
function gradient(view, limits) {
  const stop = (ratio, kind) => shape("stop", { offset: Math.min(1, ratio / view.deepest), class: kind });
  return shape(
    "defs",
    {},
    shape(
      "linearGradient",
      { id: "depth", gradientUnits: "userSpaceOnUse", x1: 0, x2: 0, y1: view.base, y2: view.base + DRAWDOWN },
      stop(0, "shallow"),
      stop(limits.warning, "shallow"),
      stop(limits.warning, "warned"),
      stop(limits.critical, "warned"),
      stop(limits.critical, "grave"),
      stop(view.deepest, "grave"),
    ),
  );
}

function grid(view, width) {
  const group = shape("g", { class: "axes" });
  const label = (x, y, text, anchor) => shape("text", { x, y, "text-anchor": anchor }, text);
  const rule = (y, kind) => shape("line", { x1: LEFT, x2: width - RIGHT, y1: y, y2: y, class: kind });
  for (const value of roundTicks(view.low, view.high, 4)) {
    group.append(rule(view.y(value)), label(LEFT - 8, view.y(value) + 4, shortMoney(value), "end"));
  }
  group.append(rule(view.base, "zero"));
  for (const ratio of roundTicks(0, view.deepest, 3)) {
    if (ratio > 0) group.append(rule(view.depth(ratio)));
    const text = ratio > 0 ? `−${limit(ratio)}` : "0 %";
    group.append(label(LEFT - 8, view.depth(ratio) + 4, text, "end"));
  }
  const foot = view.base + DRAWDOWN;
  for (const tick of timeTicks(view.first, view.last, Math.floor((width - LEFT) / 64))) {
    const x = view.x(tick.at);
    group.append(
      shape("line", { x1: x, x2: x, y1: TOP, y2: TOP + EQUITY }),
      shape("line", { x1: x, x2: x, y1: view.base, y2: foot }),
    );
    if (x < width - 22) group.append(label(Math.max(x, LEFT + 8), foot + 17, tick.text, "middle"));
  }
  return group;
}

function curves(points, view) {
  const at = (point, y) => `${view.x(point.at).toFixed(1)},${y.toFixed(1)}`;
  const line = (y) => `M${points.map((point) => at(point, y(point))).join("L")}`;
  const mark = `M${at(points[0], view.y(points[0].peak))}${points.slice(1).map((point, index) => rise(points[index], point, view)).join("")}`;
  const bottom = line((point) => view.depth(point.drawdown));
  const closed = `${bottom}L${at(points.at(-1), view.base)}L${at(points[0], view.base)}Z`;
  return shape(
    "g",
    {},
    shape("path", { d: closed, class: "depth", fill: "url(#depth)" }),
    shape("path", { d: bottom, class: "bottom" }),
    shape("path", { d: mark, class: "mark" }),
    shape("path", { d: line((point) => view.y(point.equity)), class: "equity" }),
    points.length === 1 ? shape("circle", { cx: view.x(points[0].at), cy: view.y(points[0].equity), r: 3, class: "dot" }) : null,
  );
}

// From one high-water mark to the next: level until the equity is there, then along with it; a step where a
// deposit moved it.
function rise(before, point, view) {
  const gained = point.equity - before.equity;
  const [x, y] = [view.x(point.at).toFixed(1), view.y(point.peak).toFixed(1)];
  if (point.equity < point.peak || gained <= 0) return `H${x}V${y}`;
  const share = Math.min(1, Math.max(0, (before.peak - before.equity) / gained));
  return `H${view.x(before.at + share * (point.at - before.at)).toFixed(1)}L${x},${y}`;
}

function limitLines(limits, view, width) {
  const line = (ratio, kind, below) => {
    const y = view.depth(ratio);
    const text = `${kind} at ${limit(ratio)}`;
    return shape(
      "g",
      { class: `limit ${kind}` },
      shape("line", { x1: LEFT, x2: width - RIGHT, y1: y, y2: y }),
      shape("text", { x: LEFT + 6, y: below ? y + 13 : y - 5 }, text),
    );
  };
  return shape("g", {}, line(limits.warning, "warning", false), line(limits.critical, "critical", true));
}

function crossHair(view) {
  const line = shape("line", { y1: TOP, y2: view.base + DRAWDOWN });
  const dots = [shape("circle", { r: 3.5 }), shape("circle", { r: 3.5 })];
  const element = shape("g", { class: "cross", visibility: "hidden" }, line, dots);
  const move = (point) => {
    element.setAttribute("visibility", point ? "visible" : "hidden");
    if (!point) return;
    const x = view.x(point.at);
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
    [view.y(point.equity), view.depth(point.drawdown)].forEach((y, index) => {
      dots[index].setAttribute("cx", x);
      dots[index].setAttribute("cy", y);
    });
  };
  return { element, move };
}

function nearest(points, at) {
  let low = 0;
  let high = points.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (points[middle].at <= at) low = middle;
    else high = middle;
  }
  return at - points[low].at <= points[high].at - at ? low : high;
}

// What the cross-hair points at, in words.
export function reading(point) {
  const part = (name, value, kind) =>
    node("span", { class: kind }, node("span", { class: "soft" }, `${name} `), node("b", {}, value));
  return [
    part("Day", dateUtc(point.at), "when"),
    part("Equity", money(point.equity), "key-equity"),
    part("High-water mark", money(point.peak), "key-mark"),
    part("Worst drawdown", percent(point.drawdown), "key-depth"),
  ];
}

export const spoken = (point) =>
  `${dateUtc(point.at)}: equity ${money(point.equity)}, high-water mark ${money(point.peak)}, drawdown ${percent(point.drawdown)}`;

// The curve in a sentence, for whoever does not see it.
export function sentence(points, limits, name) {
  const last = points.at(-1);
  const worst = points.reduce((deepest, point) => (point.drawdown > deepest.drawdown ? point : deepest));
  const reached = (ratio) => points.filter((point) => point.drawdown >= ratio - 1e-12).length;
  const days = `${points.length} day${points.length === 1 ? "" : "s"} of the curve`;
  return (
    `${name}, ${dateUtc(points[0].at)} to ${dateUtc(last.at)}: equity ends at ${money(last.equity)}, its high-water` +
    ` mark is ${money(last.peak)}. The largest drawdown was ${percent(worst.drawdown)} on ${dateUtc(worst.at)};` +
    ` the warning limit of ${limit(limits.warning)} was reached on ${reached(limits.warning)}, the critical` +
    ` one of ${limit(limits.critical)} on ${reached(limits.critical)} of the ${days}. Days are UTC; one on which nothing was` +
    ` booked is none of them.`
  );
}

// One row a month: where it ended, and how deep it was.
export function byMonth(points, name) {
  const months = new Map();
  for (const point of points) {
    const key = new Date(point.at).toISOString().slice(0, 7);
    const worst = Math.max(point.drawdown, months.get(key)?.worst ?? 0);
    months.set(key, { ...point, worst });
  }
  const rows = [...months].reverse().map(([key, month]) => [
    key, money(month.equity), money(month.peak), percent(month.worst),
  ]);
  const columns = [["Month", ""], ["Equity at its end", "number"], ["High-water mark", "number"], ["Worst drawdown", "number"]];
  return table(`${name} by month`, columns, rows);
}
