// Convert pasted text, CSV or JSON, to the rows of an input.

import { parse } from "./server.js";

// Return the input's value, a list of samples. The first size of `shape` is the length of the list.
export function read(text, { name, shape, kind }) {
  if (!text.trim()) throw new Error(`${name} is empty. Paste or type numbers.`);
  if (/^\s*[[{"]/.test(text)) return fromJson(text, name, shape);
  if (kind === "string") return text.trim().split(/\r?\n/);
  if (shape === null || shape.length > 3) throw new Error(`${name} requires JSON: nested lists.`);
  return fit(table(text), name, shape.slice(1));
}

// Describe the values of an input.
export function hint({ shape, kind }) {
  const what = { string: "texts", bool: "true or false" }[kind] ?? (kind.includes("int") ? "whole numbers" : "numbers");
  if (shape === null) return `${what}, as nested JSON lists`;
  const sizes = shape.slice(1).map((size) => size ?? "any number of");
  if (sizes.length === 0) return `${what}, one per line`;
  if (sizes.length === 1) return `${sizes[0]} ${what}`;
  if (sizes.length === 2)
    return sizes[1] === 1 ? `${sizes[0]} ${what}, one per row` : `${sizes[0]} rows of ${sizes[1]} ${what}`;
  return `${what}, as nested JSON lists of shape ${sizes.join(" × ")}`;
}

function fromJson(text, name, shape) {
  let value;
  try {
    value = parse(text);
  } catch (error) {
    throw new Error(`${name} is not valid JSON: ${error.message}`);
  }
  if (!Array.isArray(value)) throw new Error(`${name} must be a list, such as [[1, 2], [3, 4]].`);
  if (shape === null) return value;
  const missing = shape.length - depth(value);
  // A column of numbers is a series of one feature, and a single sample is a list of one sample.
  if (missing === 2 && shape.length === 3 && shape[2] === 1) return [value.map((item) => [item])];
  return missing === 1 ? [value] : value;
}

const depth = (value) => (Array.isArray(value) ? 1 + depth(value[0]) : 0);

// Parse rows of numbers. A header and columns of text, such as dates, are ignored.
function table(text) {
  const lines = text.trim().split(/\s*\n\s*/);
  const separator = ["\t", ","].find((mark) => lines[0].includes(mark)) ?? /\s+/;
  const cells = lines.map((line) => line.split(separator).map((cell) => cell.trim().replace(/^"(.*)"$/, "$1")));
  const header = cells.length > 1 && cells[0].every((cell) => number(cell) === undefined);
  const rows = header ? cells.slice(1) : cells;
  const numeric = rows[0].map((_, column) => rows.some((row) => number(row[column] ?? "") !== undefined));
  return rows.flatMap((row, index) => {
    const line = index + 1 + (header ? 1 : 0);
    if (row.length !== rows[0].length)
      throw new Error(`Line ${line} has ${row.length} cells, but the first line has ${rows[0].length}.`);
    const numbers = row.map((cell, column) => [number(cell), cell, column]).filter(([, , column]) => numeric[column]);
    const wrong = numbers.find(([value]) => value === undefined);
    if (wrong) throw new Error(`Line ${line}, cell ${wrong[2] + 1} must be a number. Received: ${wrong[1] || "an empty cell"}`);
    if (!numbers.length) throw new Error(`Line ${line} contains no numbers: ${row.join(" ").slice(0, 80)}`);
    return [numbers.map(([value]) => value)];
  });
}

// Return undefined for a cell that is no number.
function number(cell) {
  if (/^[-+]?nan$/i.test(cell)) return NaN;
  return cell === "" || Number.isNaN(Number(cell)) ? undefined : Number(cell);
}

function fit(rows, name, sample) {
  if (sample.length === 0) return rows.flat();
  if (sample.length === 1) return rows[0].length === 1 ? [rows.flat()] : rows;
  const features = sample[1];
  if (features === 1 && rows.length === 1) return [rows[0].map((value) => [value])];
  if (features !== null && rows[0].length !== features) {
    throw new Error(`${name} requires ${features} number${features === 1 ? "" : "s"} per row. Received: ${rows[0].length}`);
  }
  return [rows];
}
