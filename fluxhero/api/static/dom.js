// Making elements. Data becomes text, never markup; a link leads to http or https or is no link.

export const byId = (id) => document.getElementById(id);

const SVG = "http://www.w3.org/2000/svg";

export function node(tag, attributes = {}, ...children) {
  return furnished(document.createElement(tag), attributes, children);
}

export function shape(tag, attributes = {}, ...children) {
  return furnished(document.createElementNS(SVG, tag), attributes, children);
}

function furnished(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

export function link(url, text, attributes = {}) {
  const safe = webAddress(url);
  if (safe === null) return node("span", attributes, text);
  return node("a", { href: safe, target: "_blank", rel: "noopener noreferrer", ...attributes }, text);
}

export function webAddress(url) {
  try {
    const parsed = new URL(url);
    return ["http:", "https:"].includes(parsed.protocol) ? parsed.href : null;
  } catch {
    return null;
  }
}

// What stands between backticks is shown as code.
export function prose(text) {
  return String(text)
    .split(/`([^`]+)`/)
    .map((part, index) => (index % 2 ? node("code", {}, part) : part));
}

const shown = new WeakMap();

// Shows `nodes()` in a panel if `data` is not what it shows already. The focus and what is unfolded stay.
export function show(panel, data, nodes) {
  const signature = JSON.stringify(data ?? null);
  if (shown.get(panel) === signature) return;
  shown.set(panel, signature);
  const active = panel.contains(document.activeElement) ? keyOf(document.activeElement) : null;
  const open = new Set([...panel.querySelectorAll("details[open]")].map(keyOf));
  panel.replaceChildren(...[nodes()].flat().filter(Boolean));
  for (const details of panel.querySelectorAll("details")) {
    if (open.has(keyOf(details))) details.open = true;
  }
  if (active !== null) {
    const again = [...panel.querySelectorAll("a, button, summary, input")].find((one) => keyOf(one) === active);
    again?.focus({ preventScroll: true });
  }
}

// Forgets what the panels show, so that the next data is shown whatever it is.
export function forget(panels) {
  for (const panel of panels) {
    shown.delete(panel);
    panel.replaceChildren();
  }
}

const keyOf = (element) => element.closest("[data-key]")?.dataset.key ?? null;

// A table with a caption for those who hear it. Columns: [heading, class]; cells: nodes or text.
export function table(caption, columns, rows) {
  const cell = (value, index) =>
    index === 0
      ? node("th", { scope: "row", class: columns[0][1] }, value)
      : node("td", { class: columns[index][1] }, value);
  return node(
    "div",
    { class: "scroll" },
    node(
      "table",
      {},
      node("caption", { class: "away" }, caption),
      node("thead", {}, node("tr", {}, columns.map(([text, kind]) => node("th", { scope: "col", class: kind }, text)))),
      node("tbody", {}, rows.map((row) => node("tr", {}, row.map(cell)))),
    ),
  );
}

// One choice out of a few, as radio buttons: arrow keys work, and so do screen readers.
export function choose(fieldset, options, value, changed) {
  fieldset.hidden = options.length < 2;
  show(fieldset, options, () => [
    node("legend", { class: "away" }, fieldset.dataset.legend),
    ...options.map(([key, text]) => {
      const id = `${fieldset.id}-${key}`;
      const radio = node("input", { type: "radio", name: fieldset.id, id, value: key, "data-key": id });
      radio.addEventListener("change", () => changed(key));
      return [radio, node("label", { for: id }, text)];
    }).flat(),
  ]);
  const radio = byId(`${fieldset.id}-${value}`);
  if (radio) radio.checked = true;
}
