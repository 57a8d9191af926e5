// Draw a digit: its classification and its reconstruction by the model.

import { barChart } from "./chart.js";
import { choice, element, field, latest } from "./dom.js";
import { DIGITS, SIDE, drawingField, show } from "./drawing.js";
import { predict } from "./server.js";

// Conversions between an image and the sequence that a model reads.
const ORDERS = {
  rows: { to: (image) => image, from: (rows) => rows },
  columns: { to: turned, from: turned },
  pixels: { to: (image) => image.flat().map((value) => [value]), from: (pixels) => folded(pixels.flat()) },
};

const PERMUTED =
  "This model reads the pixels in a permuted order, so digits cannot be drawn here. Use the form below.";

export function readsDigits(signature) {
  const outputs = signature.outputs.map(({ name }) => name);
  return (
    signature.inputs.length === 1 && orderOf(signature) && outputs.includes("label") && outputs.includes("reconstruction")
  );
}

function orderOf({ inputs: [{ shape }] }) {
  const sizes = shape?.slice(1).join();
  return { "28,28": "rows", "784,1": "pixels" }[sizes];
}

export function digitPanel(version, signature) {
  const [input] = signature.inputs;
  const panel = element("section", { "aria-label": "Draw a digit" }, element("h3", {}, "Draw a digit"));
  if (version.about.read === "permuted") {
    panel.append(element("p", {}, PERMUTED));
    return panel;
  }
  let read = version.about.read in ORDERS ? version.about.read : orderOf(signature);
  let pixels = null;
  const verdict = element("p", { class: "verdict", role: "status" });
  const bars = element("div");
  const back = element("canvas", { width: 140, height: 140, role: "img", "aria-label": "Reconstruction" });
  const seen = element("canvas", {
    width: 140,
    height: 140,
    role: "img",
    "aria-label": "Input of the model, 28 by 28 pixels",
  });

  const empty = () => {
    verdict.textContent = "Draw a digit from 0 to 9 in the field, or select one below it.";
    bars.replaceChildren();
    [back, seen].forEach((canvas) => canvas.getContext("2d").clearRect(0, 0, 140, 140));
  };
  const report = ({ label: [probabilities], reconstruction: [sequence] }) => {
    if (!pixels) return;
    const best = probabilities.indexOf(Math.max(...probabilities));
    verdict.textContent = `Predicted digit: ${best} (${(100 * probabilities[best]).toFixed(1)}%).`;
    const names = probabilities.map((_, digit) => String(digit));
    const percent = probabilities.map((part) => Math.round(1000 * part) / 10);
    bars.replaceChildren(barChart("Probability of each digit in percent", names, percent));
    show(back, ORDERS[read].from(sequence));
  };
  const fail = (error) => (verdict.textContent = error.message);
  const answer = (signal) => predict(version.path, signature, { [input.name]: [ORDERS[read].to(pixels)] }, signal);
  const ask = latest(answer, report, fail, 60);
  const drawing = drawingField((drawn) => {
    pixels = drawn;
    if (!pixels) return empty();
    show(seen, pixels);
    return ask();
  });

  const button = (text, onclick, label) => element("button", { type: "button", onclick, "aria-label": label }, text);
  const ready = DIGITS.map((lines, digit) => button(String(digit), () => drawing.draw(lines), `Draw a ${digit}`));
  const pick = (name) => (sequence) => button(name, () => drawing.showPixels(ORDERS[read].from(sequence)));
  const own = version.examples
    .filter((example) => example.signature === signature.name)
    .flatMap(({ name, inputs }) => inputs[input.name].map(pick(name)));
  const readers = choice(
    [
      ["rows", "row by row, from the top"],
      ["columns", "column by column, from the left"],
    ],
    (event) => {
      read = event.target.value;
      if (pixels) ask();
    },
  );
  const choosesOrder = !version.about.read && orderOf(signature) === "rows";
  empty();
  panel.append(
    element(
      "div",
      { class: "side-by-side" },
      element(
        "div",
        {},
        drawing.canvas,
        element("div", { class: "row" }, button("Clear", drawing.clear)),
        element("div", { class: "row", role: "group", "aria-label": "Sample digits" }, ...ready, ...own),
        choosesOrder ? field("Reading order", readers) : "",
      ),
      element(
        "div",
        { class: "grows" },
        verdict,
        bars,
        element("div", { class: "row" }, pictured(seen, "Input"), pictured(back, "Reconstruction")),
      ),
    ),
  );
  return panel;
}

const pictured = (canvas, caption) => element("figure", {}, canvas, element("figcaption", {}, caption));

function turned(image) {
  return image[0].map((_, column) => image.map((row) => row[column]));
}

function folded(pixels) {
  return Array.from({ length: SIDE }, (_, row) => pixels.slice(row * SIDE, (row + 1) * SIDE));
}
