// Forecasts of a window by the model and by persistence, which repeats the last value.

import { lineChart } from "./chart.js";
import { choice, element, field, latest, shown, table } from "./dom.js";
import { hint, read } from "./paste.js";
import { predict } from "./server.js";

const FARTHEST = 60;
const SHOWN = 60;

const INTRODUCTION =
  "Enter the days up to today, one per row, the oldest first. The chart compares the forecast with persistence, which " +
  "repeats the last value.";

export function forecasts(signature) {
  const hasHorizon = signature.inputs.some(({ name }) => name === "horizon");
  // Values that are known in advance need a field of rows, which the general form has.
  const hasKnown = signature.inputs.some(({ name }) => name === "known");
  return signature.name === "forecast" && hasHorizon && !hasKnown && pastOf(signature) !== undefined;
}

const pastOf = ({ inputs }) => inputs.find(({ shape }) => shape?.length === 3);

export function forecastPanel(version, signature) {
  const past = pastOf(signature);
  const features = past.shape[2] ?? 1;
  const targets = signature.outputs[0].shape?.[2] ?? features;
  const others = signature.inputs.filter(({ name }) => name !== "horizon" && name !== past.name);
  const verdict = element("p", { class: "verdict", role: "status" });
  const place = element("div");
  let latestForecast = null;

  const text = element("textarea", { rows: 8, spellcheck: "false", oninput: () => ask() });
  const horizon = element("input", { type: "range", min: 1, max: FARTHEST, value: 10 });
  const number = element("output", { class: "number" }, "10");
  const named = Array.isArray(version.about.features) ? version.about.features : [];
  const nameOf = (column) => named[column] ?? `column ${column + 1}`;
  const columns = Array.from({ length: targets }, (_, column) => [column, nameOf(column)]);
  const feature = choice(columns, () => latestForecast && report(latestForecast));
  const extra = others.map((input) => ({ input, control: controlOf(input, version.about, () => ask()) }));
  const examples = examplesOf(version, past);
  const pick = choice([["", "Select an example"], ...examples.map(({ name }, row) => [row, name])], (event) => {
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
  const report = (answer) => {
    latestForecast = answer;
    const [days, future] = [answer.days, answer.future].map((rows) => rows.map((row) => row[feature.value]));
    verdict.className = "verdict";
    verdict.textContent = `In ${daysOf(future)}: ${shown(future.at(-1))}. Persistence: ${shown(days.at(-1))}.`;
    place.replaceChildren(...drawn(days, future));
  };
  const fail = (error) => {
    latestForecast = null;
    verdict.className = "error";
    verdict.textContent = error.message;
    place.replaceChildren();
  };
  const ask = latest(answered, report, fail);
  horizon.addEventListener("input", () => {
    number.textContent = horizon.value;
    if (text.value.trim()) ask();
  });

  return element(
    "section",
    { "aria-label": "Forecast" },
    element("h3", {}, "Forecast"),
    element("p", {}, INTRODUCTION),
    field("Example", pick),
    field("Window", text, `${hint(past)}; CSV with or without a header, or JSON.`),
    ...extra.map(({ input, control }) => field(input.name, control, control.tagName === "SELECT" ? "" : hint(input))),
    field(["Days ahead: ", number], horizon),
    targets > 1 ? field("Column in the chart", feature) : "",
    verdict,
    place,
  );
}

const daysOf = ({ length }) => (length === 1 ? "1 day" : `${length} days`);

// Return the chart and the table of one feature.
function drawn(days, future) {
  const repeated = future.map(() => days.at(-1));
  const recent = days.slice(-SHOWN);
  const rows = future.map((value, day) => [day + 1, shown(value), shown(repeated[day])]);
  return [
    lineChart("The window and its forecast by days after the last known day", [
      { name: "known", values: recent, start: 1 - recent.length },
      { name: "forecast", values: [recent.at(-1), ...future], start: 0 },
      { name: "persistence", values: [recent.at(-1), ...repeated], start: 0 },
    ]),
    element("p", { class: "hint" }, "The horizontal axis counts the days after the last known day."),
    table("Forecast and persistence by day", ["day", "forecast", "persistence"], rows),
  ];
}

function examplesOf(version, past) {
  const [, steps, features] = past.shape;
  const made = (slope) => ({ [past.name]: [syntheticWindow(steps ?? 30, features ?? 1, slope)] });
  return [
    ...version.examples.filter(({ inputs }) => past.name in inputs),
    { name: "Synthetic values, rising", inputs: made(0.4) },
    { name: "Synthetic values, falling", inputs: made(-0.4) },
  ];
}

// A company or series is selected by name if the model has names.
function controlOf(input, about, changed) {
  if (!["company", "series"].includes(input.name) || !Array.isArray(about.symbols))
    return element("input", { value: "0", oninput: changed });
  return choice(
    about.symbols.map((symbol, place) => [place, symbol || "unknown"]),
    changed,
  );
}

// Return the same values each time; the first of each row is the highest, like the prices of a day.
function syntheticWindow(steps, features, slope) {
  return Array.from({ length: steps }, (_, step) => {
    const level = 100 + slope * step + 2 * Math.sin(step * 1.7) + 1.2 * Math.sin(step * 0.6);
    const value = (feature) => level - feature * 0.7 + 0.4 * Math.sin(step * 2.9 + feature);
    return Array.from({ length: features }, (_, feature) => Number(value(feature).toFixed(2)));
  });
}
