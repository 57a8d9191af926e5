// A form for any signature: numbers as input, a chart and JSON as output.

import { lineChart } from "./chart.js";
import { choice, element, field, shown } from "./dom.js";
import { hint, read } from "./paste.js";
import { predict } from "./server.js";

const MOST_LINES = 6;

export function formPanel(model, signatures) {
  const place = element("div");
  const open = (name) => place.replaceChildren(formOf(model, signatures.find((one) => one.name === name)));
  const select = choice(signatures.map(({ name }) => name), (event) => open(event.target.value));
  select.value = (signatures.find(({ name }) => name === "serving_default") ?? signatures[0]).name;
  open(select.value);
  const title = "Call the model with your own data";
  return element("section", { "aria-label": title }, element("h3", {}, title), field("Operation", select), place);
}

function formOf(model, signature) {
  const areas = signature.inputs.map((input) => {
    const area = element("textarea", { rows: input.shape?.length === 1 ? 1 : 6, spellcheck: "false" });
    return { input, area };
  });
  const answer = element("div", { "aria-live": "polite" });
  const send = async () => {
    try {
      const inputs = Object.fromEntries(areas.map(({ input, area }) => [input.name, read(area.value, input)]));
      const outputs = await predict(model.path, signature, inputs);
      answer.replaceChildren(...signature.outputs.map(({ name }) => pictured(name, outputs[name])), asJson(outputs));
    } catch (error) {
      answer.replaceChildren(element("p", { class: "error" }, error.message));
    }
  };
  const onsubmit = (event) => {
    event.preventDefault();
    send();
  };
  return element(
    "form",
    { onsubmit },
    ...areas.map(({ input, area }) =>
      field(input.name, area, `${hint(input)}; CSV with or without a header, or JSON.`),
    ),
    element("button", { type: "submit" }, "Call the model"),
    answer,
  );
}

// Draw the first sample of an output.
function pictured(name, value) {
  const sample = Array.isArray(value) ? value[0] : value;
  const title = Array.isArray(value) && value.length > 1 ? `${name}, the first of ${value.length}` : name;
  return element("div", {}, element("h4", {}, title), drawn(name, sample));
}

function drawn(name, sample) {
  if (!Array.isArray(sample)) return element("p", { class: "number" }, shown(sample));
  const numbers = (row) => Array.isArray(row) && row.every((item) => typeof item === "number" || item === null);
  if (numbers(sample)) return lineChart(name, [{ name, values: sample, start: 1 }]);
  if (!sample.every(numbers) || !sample[0].length)
    return element("p", {}, "The output is not a series of numbers; see the JSON below.");
  const columns = sample[0].slice(0, MOST_LINES).map((_, column) => ({
    name: sample[0].length > 1 ? `${name}, column ${column + 1}` : name,
    values: sample.map((row) => row[column]),
    start: 1,
  }));
  const more = sample[0].length - columns.length;
  return element(
    "div",
    {},
    lineChart(name, columns),
    more > 0 ? element("p", {}, `The chart omits ${more} further columns; see the JSON below.`) : "",
  );
}

function asJson(outputs) {
  const word = (_, value) => (typeof value === "number" && !Number.isFinite(value) ? String(value) : value);
  return element(
    "details",
    {},
    element("summary", {}, "Response as JSON"),
    element("pre", { tabindex: "0", "aria-label": "JSON" }, JSON.stringify(outputs, word)),
  );
}
