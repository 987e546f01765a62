// Numbers and times as people read them. What is not known is a dash, never a zero.

import { node } from "./dom.js";

export const UNKNOWN = "–";
const LOCALE = "en-GB";

const whole = new Intl.NumberFormat(LOCALE);
const dollars = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD", maximumFractionDigits: 0 });
const cents = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD" });
const compact = new Intl.NumberFormat("en-US", {
  style: "currency", currency: "USD", notation: "compact", maximumSignificantDigits: 4,
});
const hour = new Intl.DateTimeFormat(LOCALE, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "short" });
const year = new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "short", year: "numeric" });
const utcDay = new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });

const known = (value) => value !== null && value !== undefined && value !== "" && Number.isFinite(Number(value));

export const count = (value) => (known(value) ? whole.format(value) : UNKNOWN);
export const counted = (value, noun) => `${count(value)} ${noun}${Number(value) === 1 ? "" : "s"}`;
export const money = (value) =>
  known(value) ? (Math.abs(value) < 1000 ? cents : dollars).format(value).replace("-", "−") : UNKNOWN;
export const shortMoney = (value) => (known(value) ? compact.format(value).replace("-", "−") : UNKNOWN);

// Rounded down, so that what has not reached a limit never reads as if it had.
export function percent(ratio, digits = 1) {
  if (!known(ratio)) return UNKNOWN;
  const scale = 10 ** (digits + 2);
  return `${(Math.floor(Number(ratio) * scale + 1e-7) / (scale / 100)).toFixed(digits)} %`;
}

export const limit = (ratio) => (known(ratio) ? `${Number((Number(ratio) * 100).toFixed(2))} %` : UNKNOWN);

export function bytes(value) {
  if (!known(value)) return UNKNOWN;
  let size = Number(value);
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (size < 1000) return `${size < 10 && unit !== "B" ? size.toFixed(1) : Math.round(size)} ${unit}`;
    size /= 1000;
  }
  return `${size.toFixed(1)} TB`;
}

export function seconds(value) {
  if (!known(value)) return UNKNOWN;
  const time = Number(value);
  if (time < 0.9995) return `${Math.round(time * 1000)} ms`;
  if (time < 9.995) return `${time.toFixed(2)} s`;
  if (time < 99.5) return `${time.toFixed(time < 59.95 ? 1 : 0)} s`;
  if (time < 3599.5) return `${Math.floor(Math.round(time) / 60)} min ${Math.round(time) % 60} s`;
  return span(time);
}

// A length of time in one or two units: 4 min, 2 h 5 min, 12 d.
export function span(value) {
  if (!known(value)) return UNKNOWN;
  const minutes = Math.floor(Number(value) / 60);
  if (minutes < 1) return `${Math.round(Number(value))} s`;
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 10 && minutes % 60) return `${hours} h ${minutes % 60} min`;
  return hours < 48 ? `${hours} h` : `${Math.floor(hours / 24)} d`;
}

// Times are told from the server's clock: the one of this device may be wrong.
let ahead = 0;
export function setClock(iso) {
  const server = Date.parse(iso);
  if (Number.isFinite(server)) ahead = server - Date.now();
}
export const now = () => Date.now() + ahead;

export function clock(iso) {
  const time = new Date(iso);
  const today = new Date(now());
  if (time.toDateString() === today.toDateString()) return hour.format(time);
  if (Math.abs(today - time) < 180 * 86_400_000) return `${day.format(time)}, ${hour.format(time)}`;
  return year.format(time);
}

export function ago(iso) {
  const past = (now() - Date.parse(iso)) / 1000;
  if (past < -59) return `in ${span(-past)}`;
  return past < 60 ? "just now" : `${span(past)} ago`;
}

export const utc = (iso) => `${new Date(iso).toISOString().slice(0, 19).replace("T", " ")} UTC`;
export const dateUtc = (iso) => utcDay.format(new Date(iso));

// A time in the zone of this device, with UTC at hand; `style` is clock or ago.
export function moment(iso, style = "clock") {
  if (!iso || !Number.isFinite(Date.parse(iso))) return document.createTextNode(UNKNOWN);
  const text = (style === "ago" ? ago : clock)(iso);
  return node("time", { datetime: iso, title: utc(iso), "data-style": style }, text);
}

// Times grow old while nothing else happens.
export function tick() {
  for (const time of document.querySelectorAll("time[data-style]")) {
    const text = (time.dataset.style === "ago" ? ago : clock)(time.dateTime);
    if (time.textContent !== text) time.textContent = text;
  }
}
