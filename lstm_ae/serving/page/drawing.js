// A field to draw a digit in, and its conversion to MNIST's format: 28 by 28 pixels from 0 to 255, light on dark.

import { element } from "./dom.js";

export const SIDE = 28;
const BOX = 20;
const PEN = 2.4;

// The lines of each digit, for use without a pointer: points from the left and the top, in percent.
export const DIGITS = [
  "50,10 63,13 72,24 76,42 75,58 71,76 62,87 50,90 38,87 29,76 25,58 24,42 28,24 37,13 50,10",
  "52,10 48,90",
  "25,28 35,14 52,10 68,17 72,32 62,50 40,70 24,87 50,86 78,86",
  "28,16 50,10 68,19 68,34 46,47 68,56 72,74 54,90 26,84",
  "32,10 26,52 74,50 / 70,12 64,90",
  "72,11 36,12 32,44 52,40 70,52 70,74 52,89 28,84",
  "62,10 42,30 32,56 34,80 50,90 66,80 66,62 52,54 34,66",
  "25,13 74,13 58,42 46,90",
  "66,20 50,10 35,20 40,38 62,58 66,78 50,90 34,78 40,58 62,38 66,20",
  "66,26 50,10 34,22 36,42 52,48 66,34 66,20 64,56 58,90",
].map((lines) => lines.split(" / ").map((line) => line.split(" ").map(point)));

function point(text) {
  return text.split(",").map((part) => Number(part) / 100);
}

// Return the element and functions that set it; `changed` is called with the pixels, or null without ink.
export function drawingField(changed) {
  const side = 280;
  const canvas = element("canvas", {
    width: side,
    height: side,
    class: "draw",
    role: "img",
    "aria-label": "Field to draw a digit in",
  });
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
    // The browser reports the moves of a fast pen in groups.
    const moves = event.getCoalescedEvents?.() ?? [];
    strokes.at(-1).push(...(moves.length ? moves : [event]).map(place));
    setTo(strokes, null);
  });
  paint();
  return {
    canvas,
    draw: (lines) => setTo(lines, null),
    clear: () => setTo([], null),
    showPixels: (pixels) => setTo([], pixels),
  };
}

// Scale the ink to a box of 20 pixels with its center of mass in the middle of 28, as MNIST does.
export function asMnist(strokes) {
  const points = strokes.flat();
  if (!points.length) return null;
  const [left, right, top, bottom] = [0, 1].flatMap((axis) => {
    const along = points.map((point) => point[axis]);
    return [Math.min(...along), Math.max(...along)];
  });
  const scale = (BOX - PEN) / Math.max(right - left, bottom - top, 0.05);
  const [x, y] = [SIDE / 2 - (scale * (left + right)) / 2, SIDE / 2 - (scale * (top + bottom)) / 2];
  const middle = centerOfMass(rendered(strokes, scale, x, y));
  return rendered(strokes, scale, x + Math.round(SIDE / 2 - middle.x), y + Math.round(SIDE / 2 - middle.y));
}

function rendered(strokes, scale, x, y) {
  const pen = element("canvas", { width: SIDE, height: SIDE }).getContext("2d", { willReadFrequently: true });
  ground(pen, SIDE);
  ink(pen, strokes, scale, x, y, PEN);
  const { data } = pen.getImageData(0, 0, SIDE, SIDE);
  return Array.from({ length: SIDE }, (_, row) =>
    Array.from({ length: SIDE }, (_, column) => data[4 * (row * SIDE + column)]),
  );
}

function centerOfMass(pixels) {
  let [mass, x, y] = [0, 0, 0];
  pixels.forEach((row, down) =>
    row.forEach((value, right) => {
      mass += value;
      x += value * (right + 0.5);
      y += value * (down + 0.5);
    }),
  );
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
    // A line of length 0 is a dot.
    [stroke[0], ...stroke].forEach(([right, down]) => pen.lineTo(x + scale * right, y + scale * down));
    pen.stroke();
  }
}

// Draw pixels on a canvas of any size.
export function show(canvas, pixels) {
  const small = element("canvas", { width: SIDE, height: SIDE });
  const image = new ImageData(SIDE, SIDE);
  pixels.flat().forEach((value, place) => image.data.set([value, value, value, 255], 4 * place));
  small.getContext("2d").putImageData(image, 0, 0);
  const pen = canvas.getContext("2d");
  pen.imageSmoothingEnabled = false;
  pen.drawImage(small, 0, 0, canvas.width, canvas.height);
}
