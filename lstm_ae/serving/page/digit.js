// Draw a digit: what the model takes it for, and what it gives back of it.

import { barChart } from "./chart.js";
import { choice, element, field, latest } from "./dom.js";
import { DIGITS, SIDE, drawingField, show } from "./drawing.js";
import { predict } from "./server.js";

// How a picture becomes the sequence that a model reads, and back.
const WAYS = {
  rows: { to: (image) => image, from: (rows) => rows },
  columns: { to: turned, from: turned },
  pixels: { to: (image) => image.flat().map((value) => [value]), from: (pixels) => folded(pixels.flat()) },
};

const MIXED =
  "This model reads the pixels in a mixed order of its own, so a digit cannot be drawn for it here. " +
  "The form below takes numbers.";

export function readsDigits(signature) {
  const outputs = signature.outputs.map(({ name }) => name);
  return (
    signature.inputs.length === 1 && way(signature) && outputs.includes("label") && outputs.includes("reconstruction")
  );
}

function way({ inputs: [{ shape }] }) {
  const sizes = shape?.slice(1).join();
  return { "28,28": "rows", "784,1": "pixels" }[sizes];
}

export function digitPanel(version, signature) {
  const [input] = signature.inputs;
  const panel = element("section", { "aria-label": "Draw a digit" }, element("h3", {}, "Draw a digit"));
  if (version.about.read === "permuted") {
    panel.append(element("p", {}, MIXED));
    return panel;
  }
  let read = version.about.read in WAYS ? version.about.read : way(signature);
  let pixels = null;
  const verdict = element("p", { class: "verdict", role: "status" });
  const bars = element("div");
  const back = element("canvas", { width: 140, height: 140, role: "img", "aria-label": "What the model gives back" });
  const seen = element("canvas", {
    width: 140,
    height: 140,
    role: "img",
    "aria-label": "What the model sees, 28 by 28 pixels",
  });

  const empty = () => {
    verdict.textContent = "Draw a digit from 0 to 9 in the field, or choose one below it.";
    bars.replaceChildren();
    [back, seen].forEach((canvas) => canvas.getContext("2d").clearRect(0, 0, 140, 140));
  };
  const tell = ({ label: [probabilities], reconstruction: [sequence] }) => {
    if (!pixels) return;
    const best = probabilities.indexOf(Math.max(...probabilities));
    verdict.textContent = `The model takes it for a ${best}, at ${(100 * probabilities[best]).toFixed(1)} %.`;
    const names = probabilities.map((_, digit) => String(digit));
    const percent = probabilities.map((part) => Math.round(1000 * part) / 10);
    bars.replaceChildren(barChart("How likely each digit is, in per cent", names, percent));
    show(back, WAYS[read].from(sequence));
  };
  const fail = (error) => (verdict.textContent = error.message);
  const answer = (signal) => predict(version.path, signature, { [input.name]: [WAYS[read].to(pixels)] }, signal);
  const ask = latest(answer, tell, fail, 60);
  const drawing = drawingField((drawn) => {
    pixels = drawn;
    if (!pixels) return empty();
    show(seen, pixels);
    return ask();
  });

  const button = (text, onclick, label) => element("button", { type: "button", onclick, "aria-label": label }, text);
  const ready = DIGITS.map((lines, digit) => button(String(digit), () => drawing.draw(lines), `Draw a ${digit}`));
  const pick = (name) => (sequence) => button(name, () => drawing.showPixels(WAYS[read].from(sequence)));
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
  const asksHow = !version.about.read && way(signature) === "rows";
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
        element("div", { class: "row", role: "group", "aria-label": "Digits to choose" }, ...ready, ...own),
        asksHow ? field("The model reads a digit", readers) : "",
      ),
      element(
        "div",
        { class: "grows" },
        verdict,
        bars,
        element("div", { class: "row" }, pictured(seen, "what the model sees"), pictured(back, "what it gives back")),
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
