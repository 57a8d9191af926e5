// A field to draw a digit in, and the digit as MNIST has it: 28 by 28 pixels from 0 to 255, light on dark.

import { element } from "./dom.js";

export const SIDE = 28;
const BOX = 20;
const PEN = 2.4;

// Lines to draw each digit by, in a square of 0 to 1, for those who have no pointer.
export const DIGITS = [
  [ring(0.5, 0.5, 0.26, 0.4)],
  [[[0.52, 0.1], [0.48, 0.9]]],
  [[[0.25, 0.28], [0.35, 0.14], [0.52, 0.1], [0.68, 0.17], [0.72, 0.32], [0.62, 0.5], [0.4, 0.7], [0.24, 0.87], [0.5, 0.86], [0.78, 0.86]]],
  [[[0.28, 0.16], [0.5, 0.1], [0.68, 0.19], [0.68, 0.34], [0.46, 0.47], [0.68, 0.56], [0.72, 0.74], [0.54, 0.9], [0.26, 0.84]]],
  [[[0.32, 0.1], [0.26, 0.52], [0.74, 0.5]], [[0.7, 0.12], [0.64, 0.9]]],
  [[[0.72, 0.11], [0.36, 0.12], [0.32, 0.44], [0.52, 0.4], [0.7, 0.52], [0.7, 0.74], [0.52, 0.89], [0.28, 0.84]]],
  [[[0.62, 0.1], [0.42, 0.3], [0.32, 0.56], [0.34, 0.8], [0.5, 0.9], [0.66, 0.8], [0.66, 0.62], [0.52, 0.54], [0.34, 0.66]]],
  [[[0.25, 0.13], [0.74, 0.13], [0.58, 0.42], [0.46, 0.9]]],
  [[[0.66, 0.2], [0.5, 0.1], [0.35, 0.2], [0.4, 0.38], [0.62, 0.58], [0.66, 0.78], [0.5, 0.9], [0.34, 0.78], [0.4, 0.58], [0.62, 0.38], [0.66, 0.2]]],
  [[[0.66, 0.26], [0.5, 0.1], [0.34, 0.22], [0.36, 0.42], [0.52, 0.48], [0.66, 0.34], [0.66, 0.2], [0.64, 0.56], [0.58, 0.9]]],
];

function ring(x, y, width, height) {
  const angles = Array.from({ length: 33 }, (_, step) => (step / 32) * 2 * Math.PI);
  return angles.map((angle) => [x + width * Math.sin(angle), y - height * Math.cos(angle)]);
}

// The element, and how to set it from outside; `changed` is called with the pixels, or null where there is no ink.
export function drawingField(changed) {
  const side = 280;
  const canvas = element("canvas", { width: side, height: side, class: "draw", role: "img", "aria-label": "Field to draw a digit in" });
  let strokes = [];
  let shownPixels = null;

  const paint = () => {
    const pen = canvas.getContext("2d");
    if (shownPixels) return show(canvas, shownPixels);
    ground(pen, side);
    return ink(pen, strokes, side, 0, 0, side / 13);
  };
  const setTo = (lines, pixels) => {
    [strokes, shownPixels] = [lines, pixels];
    paint();
    changed(pixels ?? asMnist(strokes));
  };
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    setTo([...(shownPixels ? [] : strokes), [place(event)]], null);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!canvas.hasPointerCapture(event.pointerId)) return;
    // A fast pen is reported in bundles.
    const moves = event.getCoalescedEvents?.() ?? [];
    strokes.at(-1).push(...(moves.length ? moves : [event]).map(place));
    setTo(strokes, null);
  });
  paint();
  return { canvas, draw: (lines) => setTo(lines, null), clear: () => setTo([], null), showPixels: (pixels) => setTo([], pixels) };
}

// Scaled so that the ink fills a box of 20 pixels, its centre of mass in the middle of 28.
export function asMnist(strokes) {
  const points = strokes.flat();
  if (!points.length) return null;
  const [left, right, top, bottom] = [0, 1].flatMap((axis) => {
    const along = points.map((point) => point[axis]);
    return [Math.min(...along), Math.max(...along)];
  });
  const scale = (BOX - PEN) / Math.max(right - left, bottom - top, 0.05);
  const [x, y] = [SIDE / 2 - (scale * (left + right)) / 2, SIDE / 2 - (scale * (top + bottom)) / 2];
  const middle = centreOfMass(rendered(strokes, scale, x, y));
  return rendered(strokes, scale, x + Math.round(SIDE / 2 - middle.x), y + Math.round(SIDE / 2 - middle.y));
}

function rendered(strokes, scale, x, y) {
  const pen = element("canvas", { width: SIDE, height: SIDE }).getContext("2d", { willReadFrequently: true });
  ground(pen, SIDE);
  ink(pen, strokes, scale, x, y, PEN);
  const { data } = pen.getImageData(0, 0, SIDE, SIDE);
  return Array.from({ length: SIDE }, (_, row) => Array.from({ length: SIDE }, (_, column) => data[4 * (row * SIDE + column)]));
}

function centreOfMass(pixels) {
  let [mass, x, y] = [0, 0, 0];
  pixels.forEach((row, down) => row.forEach((value, right) => {
    mass += value;
    x += value * (right + 0.5);
    y += value * (down + 0.5);
  }));
  return { x: x / mass, y: y / mass };
}

function ground(pen, side) {
  pen.fillStyle = "#000";
  pen.fillRect(0, 0, side, side);
}

function ink(pen, strokes, scale, x, y, width) {
  Object.assign(pen, { strokeStyle: "#fff", lineWidth: width, lineCap: "round", lineJoin: "round" });
  for (const stroke of strokes) {
    pen.beginPath();
    // A line of no length is a dot.
    [stroke[0], ...stroke].forEach(([right, down]) => pen.lineTo(x + scale * right, y + scale * down));
    pen.stroke();
  }
}

// Pixels on a canvas of any size.
export function show(canvas, pixels) {
  const small = element("canvas", { width: SIDE, height: SIDE });
  const image = new ImageData(SIDE, SIDE);
  pixels.flat().forEach((value, place) => image.data.set([value, value, value, 255], 4 * place));
  small.getContext("2d").putImageData(image, 0, 0);
  const pen = canvas.getContext("2d");
  pen.imageSmoothingEnabled = false;
  pen.drawImage(small, 0, 0, canvas.width, canvas.height);
}
