// A window of days, and how it goes on: by the model, and by persistence, the last value carried on.

import { lineChart } from "./chart.js";
import { choice, element, field, latest, shown, table } from "./dom.js";
import { hint, read } from "./paste.js";
import { predict } from "./server.js";

const FARTHEST = 60;
const SHOWN = 60;

export const forecasts = (signature) => signature.name === "forecast" && signature.inputs.some(({ name }) => name === "horizon") && pastOf(signature) !== undefined;

const pastOf = ({ inputs }) => inputs.find(({ shape }) => shape?.length === 3);

export function forecastPanel(version, signature) {
  const past = pastOf(signature);
  const features = past.shape[2] ?? 1;
  const steps = past.shape[1] ?? 30;
  const others = signature.inputs.filter(({ name }) => name !== "horizon" && name !== past.name);
  const answer = element("div", { "aria-live": "polite" });
  let found = null;

  const text = element("textarea", { rows: 8, spellcheck: "false", oninput: () => ask() });
  const horizon = element("input", { type: "range", min: 1, max: FARTHEST, value: 10, oninput: () => moved() });
  const number = element("output", { class: "number" }, "10");
  const feature = choice(Array.from({ length: features }, (_, place) => [place, `number ${place + 1} of each row`]), () => tell(found));
  const extra = others.map((input) => ({ input, control: controlOf(input, version.about, () => ask()) }));
  const examples = [
    ...version.examples.filter((one) => one.signature === "forecast" || past.name in one.inputs).map(({ name, inputs }) => ({ name, rows: inputs[past.name][0] })),
    { name: "Made-up numbers, rising", rows: madeUp(steps, features, 0.4) },
    { name: "Made-up numbers, falling", rows: madeUp(steps, features, -0.4) },
  ];
  const pick = choice([["", "choose one"], ...examples.map(({ name }, place) => [place, name])], (event) => {
    if (event.target.value === "") return;
    text.value = examples[event.target.value].rows.map((row) => row.join(",")).join("\n");
    ask();
  });

  const ask = latest(
    async (signal) => {
      const windows = read(text.value, past);
      const more = extra.map(({ input, control }) => [input.name, read(control.value, input)]);
      const inputs = { [past.name]: windows, horizon: windows.map(() => Number(horizon.value)), ...Object.fromEntries(more) };
      const outputs = await predict(version.path, signature, inputs, signal);
      return { days: windows[0], future: outputs[signature.outputs[0].name][0] };
    },
    (answered) => tell((found = answered)),
    (error) => {
      found = null;
      answer.replaceChildren(element("p", { class: "error" }, error.message));
    },
  );
  const moved = () => {
    number.textContent = horizon.value;
    if (text.value.trim()) ask();
  };
  const tell = (answered) => {
    if (!answered) return;
    const place = Number(feature.value);
    const days = answered.days.map((row) => row[place]);
    const future = answered.future.map((row) => row[place]);
    const kept = future.map(() => days.at(-1));
    const recent = days.slice(-SHOWN);
    answer.replaceChildren(
      lineChart("The window and its forecast, by days from the last one known", [
        { name: "known", values: recent, start: 1 - recent.length },
        { name: "forecast", values: [recent.at(-1), ...future], start: 0 },
        { name: "persistence", values: [recent.at(-1), ...kept], start: 0 },
      ]),
      element("p", { class: "hint" }, "The numbers along the bottom are days from the last one known."),
      table("Forecast and persistence, day by day", ["day", "forecast", "persistence"], future.map((value, day) => [day + 1, shown(value), shown(kept[day])])),
    );
  };

  const panel = element("section", { "aria-label": "Forecast" }, element("h3", {}, "Forecast"));
  panel.append(
    element("p", {}, "Give the days up to today, one a row, the oldest first. The forecast is drawn beside persistence, which carries the last value on."),
    field("An example", pick),
    field("The window", text, `${hint(past)}; CSV with or without a header, or JSON.`),
    ...extra.map(({ input, control }) => field(input.name, control, control.tagName === "SELECT" ? "" : hint(input))),
    field("Days ahead", element("div", { class: "row" }, horizon, number)),
    features > 1 ? field("In the chart", feature) : "",
    answer,
  );
  horizon.setAttribute("aria-label", "Days ahead");
  return panel;
}

// A company is chosen by its symbol where the model tells symbols.
function controlOf(input, about, changed) {
  if (input.name !== "company" || !Array.isArray(about.symbols)) return element("input", { value: "0", oninput: changed });
  return choice(about.symbols.map((symbol, place) => [place, symbol || "none of those it knows"]), changed);
}

// The same numbers each time; the first of each row the highest, as prices of a day.
function madeUp(steps, features, slope) {
  return Array.from({ length: steps }, (_, step) => {
    const level = 100 + slope * step + 2 * Math.sin(step * 1.7) + 1.2 * Math.sin(step * 0.6);
    return Array.from({ length: features }, (_, feature) => Number((level - feature * 0.7 + 0.4 * Math.sin(step * 2.9 + feature)).toFixed(2)));
  });
}
