// A window of days, and how it goes on: by the model, and by persistence, the last value carried on.

import { lineChart } from "./chart.js";
import { choice, element, field, latest, shown, table } from "./dom.js";
import { hint, read } from "./paste.js";
import { predict } from "./server.js";

const FARTHEST = 60;
const SHOWN = 60;

const INTRODUCTION =
  "Give the days up to today, one a row, the oldest first. The forecast is drawn beside persistence, which carries " +
  "the last value on.";

export function forecasts(signature) {
  const asksHowFar = signature.inputs.some(({ name }) => name === "horizon");
  return signature.name === "forecast" && asksHowFar && pastOf(signature) !== undefined;
}

const pastOf = ({ inputs }) => inputs.find(({ shape }) => shape?.length === 3);

export function forecastPanel(version, signature) {
  const past = pastOf(signature);
  const features = past.shape[2] ?? 1;
  const others = signature.inputs.filter(({ name }) => name !== "horizon" && name !== past.name);
  const verdict = element("p", { class: "verdict", role: "status" });
  const place = element("div");
  let found = null;

  const text = element("textarea", { rows: 8, spellcheck: "false", oninput: () => ask() });
  const horizon = element("input", { type: "range", min: 1, max: FARTHEST, value: 10 });
  const number = element("output", { class: "number" }, "10");
  const named = Array.isArray(version.about.features) ? version.about.features : [];
  const nameOf = (column) => named[column] ?? `number ${column + 1} of each row`;
  const columns = Array.from({ length: features }, (_, column) => [column, nameOf(column)]);
  const feature = choice(columns, () => found && tell(found));
  const extra = others.map((input) => ({ input, control: controlOf(input, version.about, () => ask()) }));
  const examples = examplesOf(version, past);
  const pick = choice([["", "choose one"], ...examples.map(({ name }, row) => [row, name])], (event) => {
    const { inputs } = examples[event.target.value] ?? { inputs: { [past.name]: [[]] } };
    text.value = inputs[past.name][0].map((row) => row.join(",")).join("\n");
    extra.forEach(({ input, control }) => (control.value = inputs[input.name]?.[0] ?? control.value));
    ask();
  });

  const answered = async (signal) => {
    const windows = read(text.value, past);
    const inputs = { [past.name]: windows, horizon: windows.map(() => Number(horizon.value)) };
    for (const { input, control } of extra) inputs[input.name] = read(control.value, input);
    const outputs = await predict(version.path, signature, inputs, signal);
    return { days: windows[0], future: outputs[signature.outputs[0].name][0] };
  };
  const tell = (answer) => {
    found = answer;
    const [days, future] = [answer.days, answer.future].map((rows) => rows.map((row) => row[feature.value]));
    verdict.className = "verdict";
    verdict.textContent = `In ${daysOf(future)}: ${shown(future.at(-1))}. Persistence says ${shown(days.at(-1))}.`;
    place.replaceChildren(...drawn(days, future));
  };
  const fail = (error) => {
    found = null;
    verdict.className = "error";
    verdict.textContent = error.message;
    place.replaceChildren();
  };
  const ask = latest(answered, tell, fail);
  horizon.addEventListener("input", () => {
    number.textContent = horizon.value;
    if (text.value.trim()) ask();
  });

  return element(
    "section",
    { "aria-label": "Forecast" },
    element("h3", {}, "Forecast"),
    element("p", {}, INTRODUCTION),
    field("An example", pick),
    field("The window", text, `${hint(past)}; CSV with or without a header, or JSON.`),
    ...extra.map(({ input, control }) => field(input.name, control, control.tagName === "SELECT" ? "" : hint(input))),
    field(["Days ahead: ", number], horizon),
    features > 1 ? field("In the chart", feature) : "",
    verdict,
    place,
  );
}

const daysOf = ({ length }) => (length === 1 ? "1 day" : `${length} days`);

// The chart and the table of one feature.
function drawn(days, future) {
  const kept = future.map(() => days.at(-1));
  const recent = days.slice(-SHOWN);
  const rows = future.map((value, day) => [day + 1, shown(value), shown(kept[day])]);
  return [
    lineChart("The window and its forecast, by days from the last one known", [
      { name: "known", values: recent, start: 1 - recent.length },
      { name: "forecast", values: [recent.at(-1), ...future], start: 0 },
      { name: "persistence", values: [recent.at(-1), ...kept], start: 0 },
    ]),
    element("p", { class: "hint" }, "The numbers along the bottom are days from the last one known."),
    table("Forecast and persistence, day by day", ["day", "forecast", "persistence"], rows),
  ];
}

function examplesOf(version, past) {
  const [, steps, features] = past.shape;
  const made = (slope) => ({ [past.name]: [madeUp(steps ?? 30, features ?? 1, slope)] });
  return [
    ...version.examples.filter(({ inputs }) => past.name in inputs),
    { name: "Made-up numbers, rising", inputs: made(0.4) },
    { name: "Made-up numbers, falling", inputs: made(-0.4) },
  ];
}

// A company or series is chosen by its name where the model tells names.
function controlOf(input, about, changed) {
  if (!["company", "series"].includes(input.name) || !Array.isArray(about.symbols))
    return element("input", { value: "0", oninput: changed });
  return choice(
    about.symbols.map((symbol, place) => [place, symbol || "none of those it knows"]),
    changed,
  );
}

// The same numbers each time; the first of each row the highest, as prices of a day.
function madeUp(steps, features, slope) {
  return Array.from({ length: steps }, (_, step) => {
    const level = 100 + slope * step + 2 * Math.sin(step * 1.7) + 1.2 * Math.sin(step * 0.6);
    const value = (feature) => level - feature * 0.7 + 0.4 * Math.sin(step * 2.9 + feature);
    return Array.from({ length: features }, (_, feature) => Number(value(feature).toFixed(2)));
  });
}
