// Charts as SVG with a text alternative. Lines differ in their dashes as well as in their color.

import { element, shown, svg } from "./dom.js";

const HEIGHT = 260;
const EDGE = { left: 58, right: 12, top: 12, bottom: 28 };

// Return a chart that is redrawn whenever its width changes.
export function chart(build) {
  const place = element("div", { class: "chart" });
  let drawn = 0;
  new ResizeObserver(() => {
    const width = Math.round(Math.max(260, Math.min(900, place.clientWidth)));
    if (width !== drawn) place.replaceChildren(...build((drawn = width)));
  }).observe(place);
  return place;
}

// `lines`: [{name, values, start}], values at start, start + 1, ...; null and NaN are gaps.
export function lineChart(title, lines) {
  const points = lines.flatMap(({ values }) => values).filter(Number.isFinite);
  if (!points.length) return element("p", {}, `${title}: no numbers.`);
  const [low, high] = padded(extent(points));
  const first = Math.min(...lines.map(({ start }) => start));
  const last = Math.max(...lines.map(({ start, values }) => start + values.length - 1));
  const description = lines.map(({ name, values }) => `${name}: ${summary(values)}`).join("; ");
  return chart((width) => {
    const x = (step) => EDGE.left + ((step - first) / Math.max(1, last - first)) * (width - EDGE.left - EDGE.right);
    const y = (value) => EDGE.top + ((high - value) / (high - low)) * (HEIGHT - EDGE.top - EDGE.bottom);
    const drawing = picture(`${title}. ${description}`, width, HEIGHT, [
      ...ticks(low, high, 5).map((value) => horizontal(value, y(value), width)),
      ...ticks(first, last, Math.max(2, Math.floor(width / 90)))
        .filter(Number.isInteger)
        .map((step) => svg("text", { x: x(step), y: HEIGHT - 8, "text-anchor": "middle" }, shown(step))),
      ...lines.flatMap((line, index) => drawnLine(line, index, x, y)),
    ]);
    return [lines.length > 1 ? legend(lines) : "", drawing];
  });
}

function drawnLine({ values, start }, index, x, y) {
  let pen = "M";
  const path = values.map((value, step) => {
    const move = Number.isFinite(value) ? `${pen}${x(start + step).toFixed(1)} ${y(value).toFixed(1)}` : "";
    pen = move ? "L" : "M";
    return move;
  });
  const line = svg("path", { class: `line line-${index % 6}`, d: path.join(" ") });
  if (values.length > 1) return [line];
  return [svg("circle", { class: `dot line-${index % 6}`, cx: x(start), cy: y(values[0]), r: 4 })];
}

function legend(lines) {
  const sample = (index) => {
    const line = svg("path", { class: `line line-${index % 6}`, d: "M1 6 L33 6" });
    return svg("svg", { width: 34, height: 12, "aria-hidden": "true" }, line);
  };
  return element("ul", { class: "legend" }, ...lines.map(({ name }, index) => element("li", {}, sample(index), name)));
}

function picture(text, width, height, children) {
  return svg("svg", { role: "img", "aria-label": text, width, height, viewBox: `0 0 ${width} ${height}` }, ...children);
}

function horizontal(value, y, width) {
  const grid = svg("path", { class: "grid", d: `M${EDGE.left} ${y} H${width - EDGE.right}` });
  return svg("g", {}, grid, svg("text", { x: EDGE.left - 6, y: y + 4, "text-anchor": "end" }, shown(value)));
}

function summary(values) {
  const known = values.filter(Number.isFinite);
  if (!known.length) return "no numbers";
  const [first, last, least, most] = [known[0], known.at(-1), ...extent(known)].map(shown);
  return `${known.length} values from ${first} to ${last}, minimum ${least}, maximum ${most}`;
}

function padded([low, high]) {
  const space = (high - low) * 0.05 || Math.abs(high) * 0.05 || 1;
  return [low - space, high + space];
}

// Math.min(...values) fails for very long arrays.
function extent(values) {
  return values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
}

// Return about `count` round numbers between two numbers.
function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((size) => size * power >= rough) * power;
  const numbers = [];
  for (let place = Math.ceil(low / step); place * step <= high; place += 1)
    numbers.push(Number((place * step).toPrecision(12)));
  return numbers;
}
