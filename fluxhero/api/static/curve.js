// The card with the curve: which account and period it shows, the cross-hair, and its text for those who hear it.

import { byMonth, draw, reading, readPoints, sentence, spoken } from "./chart.js";
import { byId, node, prose, show } from "./dom.js";
import { BASES } from "./panels.js";

const SPANS = { quarter: ["3 months", 92], year: ["1 year", 366], all: ["all", Infinity] };
const DAY = 86_400_000;
const NO_RESULT = { no_result: "no result", no_time: "no time" };

let drawn = null; // the picture, or null
let drawnOf = ""; // what it was drawn of
let redraw = null;
let points = [];

// Shows the curve of the account in view. `told` is what is known: equity (what /api/equity said, or null),
// problem (why it said nothing), accounts and unusable (of the status). `pick` offers the periods there are.
export function showCurve(told, view, pick) {
  const curve = told.equity?.curves.find((one) => one.mode === view.mode && one.basis === view.basis);
  const all = curve ? readPoints(curve.points) : [];
  show(byId("account"), [all.length, told.unusable, told.problem, view.mode], () => notes(told, view, all));
  byId("chart").hidden = all.length === 0;
  points = [];
  if (all.length === 0) return pick("period", []);
  const last = all.at(-1).at;
  const spans = Object.entries(SPANS).filter(([key, [, most]]) => key === "all" || (last - all[0].at) / DAY > most);
  const period = pick("period", spans.map(([key, [text]]) => [key, text]));
  points = all.filter((point) => point.at >= last - SPANS[period][1] * DAY);
  const limits = { warning: Number(told.equity.warning), critical: Number(told.equity.critical) };
  redraw = () => drawCurve(limits, `${view.mode}, ${BASES[view.basis]}`);
  return redraw();
}

function notes(told, view, all) {
  const note = (text) => node("p", { class: "note" }, text);
  const shown = told.unusable
    .filter((one) => one.mode === view.mode)
    .map((one) => {
      const have = one.trades === 1 ? "has" : "have";
      return note(
        `The closed trades of ${one.mode} give no equity: ${one.trades} of them ${have} ${NO_RESULT[one.reason] ?? one.reason}.`,
      );
    });
  if (told.problem) return [...shown, note(prose(told.problem))];
  if (all.length || told.equity === null || shown.length) return shown;
  const why = told.accounts.length
    ? "No curve yet: the next snapshot draws it."
    : "No closed trade, cash flow or recorded value yet. `fluxhero ingest` brings a ledger in, `fluxhero snapshot` measures it.";
  return node("p", { class: "empty" }, prose(why));
}

function drawCurve(limits, name) {
  const plot = byId("plot");
  const same = JSON.stringify([plot.clientWidth, limits, points, name]);
  if (same === drawnOf) return;
  drawnOf = same;
  drawn = draw(plot, points, limits);
  byId("chart-says").textContent = sentence(points, limits, name);
  byId("months").replaceChildren(byMonth(points, name));
  const scrub = byId("scrub");
  scrub.max = String(points.length - 1);
  scrub.value = scrub.max;
  rest();
}

function point(index, marked = true) {
  const one = points[index];
  if (!one) return;
  byId("readout").replaceChildren(...reading(one));
  byId("scrub").setAttribute("aria-valuetext", spoken(one));
  drawn.move(marked ? index : -1);
}

// Without a pointer on it, the day that the keyboard chose, else the last.
function rest() {
  if (document.activeElement === byId("scrub")) point(Number(byId("scrub").value));
  else point(points.length - 1, false);
}

// Leaves nothing of an account behind.
export function forgetCurve() {
  points = [];
  drawnOf = "";
  byId("chart").hidden = true;
  byId("plot").querySelector("svg")?.remove();
  byId("scrub").removeAttribute("aria-valuetext");
  for (const part of ["readout", "chart-says", "months"]) byId(part).replaceChildren();
}

// Follows the pointer, the keyboard and the width of the window.
export function follow() {
  const [plot, scrub] = [byId("plot"), byId("scrub")];
  scrub.addEventListener("input", () => point(Number(scrub.value)));
  scrub.addEventListener("focus", rest);
  scrub.addEventListener("blur", rest);
  plot.addEventListener("pointerleave", rest);
  plot.addEventListener("pointermove", (event) => {
    if (points.length && event.pointerType !== "touch") {
      point(drawn.at(event.clientX - plot.getBoundingClientRect().left));
    }
  });
  new ResizeObserver(() => {
    if (points.length) redraw();
  }).observe(plot);
}
