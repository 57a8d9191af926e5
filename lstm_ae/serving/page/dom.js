// Create elements from data. Text is never interpreted as HTML.

export function element(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

export function svg(tag, properties = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), properties, children);
}

function fill(made, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

let labelled = 0;

// Return a control below its label, which is a text or several parts.
export function field(text, control, note = "") {
  control.id = `field-${(labelled += 1)}`;
  const label = element("label", { for: control.id }, ...[text].flat());
  if (!note) return element("div", { class: "field" }, label, control);
  const hint = element("p", { class: "hint", id: `${control.id}-hint` }, note);
  control.setAttribute("aria-describedby", hint.id);
  return element("div", { class: "field" }, label, hint, control);
}

export function choice(options, onchange) {
  return element("select", { onchange }, ...options.map((name) => element("option", { value: name }, name)));
}

export function shown(value) {
  if (typeof value !== "number") return value === null || value === undefined ? "none" : String(value);
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(5)));
}
