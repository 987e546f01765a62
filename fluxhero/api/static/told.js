// The alerts that were told, newest first, and whether they have arrived.

import { link, node, prose } from "./dom.js";
import { count, moment } from "./format.js";
import { tag } from "./panels.js";

const SHOWN = 3;
const LEVELS = { critical: "critical", warning: "warning", resolved: "ok" };

export function told(alerts) {
  const level = alerts.overdue || alerts.given_up ? "warning" : alerts.targets ? "ok" : "unknown";
  const rest = alerts.last.slice(SHOWN);
  return [
    node("p", { class: "soft" }, tag(level, level === "ok" ? "arriving" : level === "warning" ? "not arriving" : "sent nowhere"), " ", prose(`${alerts.text}.`)),
    alerts.last.length ? list(alerts.last.slice(0, SHOWN)) : null,
    rest.length
      ? node("details", { "data-key": "more-alerts" }, node("summary", {}, `${count(rest.length)} earlier`), list(rest))
      : null,
  ];
}

const list = (alerts) => node("ul", { class: "plain-list" }, alerts.map(line));

function line(alert) {
  return node(
    "li",
    { class: "state" },
    tag(LEVELS[alert.urgency] ?? "unknown", alert.urgency),
    link(alert.url, alert.title),
    node("span", { class: "soft small" }, moment(alert.at), `, ${alert.standing}`),
    alert.urgency === "resolved" ? null : node("p", { class: "soft small" }, prose(alert.next_step)),
    alert.problem ? node("p", { class: "soft small" }, prose(alert.problem)) : null,
  );
}
