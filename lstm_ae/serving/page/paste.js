// From pasted text, CSV or JSON, to the rows of an input.

import { parse } from "./server.js";

// The input's value, a list of samples. `shape` is the input's, its first size that of the list.
export function read(text, { name, shape, kind }) {
  if (!text.trim()) throw new Error(`There is nothing in ${name} yet. Paste or type some numbers.`);
  if (/^\s*[[{"]/.test(text)) return fromJson(text, name, shape);
  if (kind === "string") return text.trim().split(/\r?\n/);
  if (shape === null || shape.length > 3) throw new Error(`${name} needs JSON: lists within lists.`);
  return fit(table(text), name, shape.slice(1));
}

// What an input takes, in words.
export function hint({ shape, kind }) {
  const what = { string: "texts", bool: "true or false" }[kind] ?? (kind.includes("int") ? "whole numbers" : "numbers");
  if (shape === null) return `${what}, as JSON in lists`;
  const sizes = shape.slice(1).map((size) => size ?? "any number of");
  if (sizes.length === 0) return `${what}, one a line`;
  if (sizes.length === 1) return `${sizes[0]} ${what}`;
  if (sizes.length === 2)
    return sizes[1] === 1 ? `${sizes[0]} ${what}, one a row` : `${sizes[0]} rows of ${sizes[1]} ${what}`;
  return `${what}, as JSON in lists of the shape ${sizes.join(" × ")}`;
}

function fromJson(text, name, shape) {
  let value;
  try {
    value = parse(text);
  } catch (error) {
    throw new Error(`${name} looks like JSON and is not: ${error.message}`);
  }
  if (!Array.isArray(value)) throw new Error(`${name} must be a list, such as [[1, 2], [3, 4]].`);
  if (shape === null) return value;
  const missing = shape.length - depth(value);
  // A column of numbers is a series of one feature, and a sample alone is a list of one sample.
  if (missing === 2 && shape.length === 3 && shape[2] === 1) return [value.map((item) => [item])];
  return missing === 1 ? [value] : value;
}

const depth = (value) => (Array.isArray(value) ? 1 + depth(value[0]) : 0);

// Rows of numbers; a header, and columns of text such as dates, are left out.
export function table(text) {
  const lines = text
    .trim()
    .split(/\r?\n/)
    .map((line) => line.trim());
  const separator = ["\t", ";", ","].find((mark) => lines[0].includes(mark)) ?? /\s+/;
  const number = (cell) => (cell === "" ? undefined : /^[-+]?nan$/i.test(cell) ? NaN : toNumber(cell, separator));
  const cells = lines.map((line) => line.split(separator).map((cell) => cell.trim().replace(/^"(.*)"$/, "$1")));
  const header = cells.length > 1 && cells[0].every((cell) => number(cell) === undefined);
  const rows = header ? cells.slice(1) : cells;
  const numeric = rows[0].map((_, column) => rows.some((row) => number(row[column] ?? "") !== undefined));
  return rows.flatMap((row, index) => {
    const line = index + 1 + (header ? 1 : 0);
    if (row.length === 1 && row[0] === "") return [];
    if (row.length !== rows[0].length)
      throw new Error(`Line ${line} has ${row.length} cells, the first ${rows[0].length}.`);
    const found = row.map((cell, column) => [number(cell), cell, column]).filter(([, , column]) => numeric[column]);
    const wrong = found.find(([value]) => value === undefined);
    if (wrong) throw new Error(`Line ${line}, cell ${wrong[2] + 1} must be a number. It is: ${wrong[1] || "empty"}`);
    if (!found.length) throw new Error(`There is no number in line ${line}: ${row.join(" ").slice(0, 80)}`);
    return [found.map(([value]) => value)];
  });
}

function toNumber(cell, separator) {
  const value = Number(separator === ";" ? cell.replace(",", ".") : cell);
  return Number.isNaN(value) ? undefined : value;
}

function fit(rows, name, sample) {
  if (sample.length === 0) return rows.flat();
  if (sample.length === 1) return rows[0].length === 1 ? [rows.flat()] : rows;
  const features = sample[1];
  if (features === 1 && rows.length === 1) return [rows[0].map((value) => [value])];
  if (features !== null && rows[0].length !== features) {
    throw new Error(`${name} takes ${features} number${features === 1 ? "" : "s"} a row. Here are ${rows[0].length}.`);
  }
  return [rows];
}
