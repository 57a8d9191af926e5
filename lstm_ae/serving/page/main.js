// The list of models, and the panels of the selected model.

import { digitPanel, readsDigits } from "./digit.js";
import { choice, element, field, shown, table } from "./dom.js";
import { forecastPanel, forecasts } from "./forecast.js";
import { formPanel } from "./form.js";
import { missing, models, signatures } from "./server.js";

const SIGNATURES =
  "The operations of the model with their inputs and outputs. The first size is the number of samples.";
const main = document.getElementById("main");
let openings = 0;

async function start() {
  let listed, waiting;
  try {
    [listed, waiting] = await Promise.all([models(), missing()]);
  } catch (error) {
    main.replaceChildren(
      element("p", { class: "error", role: "alert" }, `The server does not respond: ${error.message}`),
    );
    return;
  }
  const names = waiting.length ? `Not loaded yet: ${waiting.join(", ")}` : "No model is loaded yet";
  const note = element("p", { role: "status" }, `${names}. Reload this page in a moment.`);
  if (!listed.length) {
    main.replaceChildren(note);
    return;
  }
  if (waiting.length) document.getElementById("models").after(note);
  const links = listed.map(({ name }) => element("li", {}, element("a", { href: hashOf(name) }, name)));
  document.getElementById("models").replaceChildren(...links);
  const follow = () => {
    const model = listed.find(({ name }) => hashOf(name) === location.hash) ?? listed[0];
    links.forEach((item, place) => item.firstChild.toggleAttribute("aria-current", listed[place] === model));
    open(model, model.versions[0]);
  };
  addEventListener("hashchange", follow);
  follow();
}

const hashOf = (name) => `#${encodeURIComponent(name)}`;

async function open(model, version) {
  const opening = (openings += 1);
  let called;
  try {
    called = await signatures(version.path);
  } catch (error) {
    called = error;
  }
  // The user may have selected another model in the meantime.
  if (opening !== openings) return;
  const parts =
    called instanceof Error
      ? [element("p", { class: "error", role: "alert" }, called.message)]
      : panels(version, called);
  main.replaceChildren(element("h2", {}, model.name), versionsOf(model, version), ...parts);
}

function versionsOf(model, version) {
  if (model.versions.length === 1) return element("p", {}, versionName(version));
  const select = choice(
    model.versions.map((one) => [one.about.version, versionName(one)]),
    (event) =>
      open(
        model,
        model.versions.find(({ about }) => about.version === event.target.value),
      ),
  );
  select.value = version.about.version;
  return field("Version", select);
}

const versionName = ({ about }) => [`Version ${about.version}`, ...about.labels].join(", ");

function panels(version, called) {
  const digits = called.find(readsDigits);
  const ahead = called.find(forecasts);
  return [
    aboutPanel(version.about),
    digits ? digitPanel(version, digits) : "",
    ahead ? forecastPanel(version, ahead) : "",
    formPanel(version, called),
    signaturePanel(called),
  ];
}

function aboutPanel({ data, licence, metrics }) {
  const known = typeof data === "object" && data !== null ? data : { text: data };
  const lines = [
    ["Trained on", known.text],
    ["License of the data", licence ?? known.licence],
  ].filter(([, text]) => typeof text === "string");
  const results = Object.entries(metrics?.test ?? {}).filter(([, one]) => typeof one?.value === "number");
  if (!lines.length && !results.length) return "";
  return element(
    "details",
    {},
    element("summary", {}, "About this model"),
    ...lines.map(([name, text]) => element("p", {}, `${name}: ${text}`)),
    results.length
      ? table("Results on test data", ["metric", "value", "baselines"], results.map(resultRow))
      : "",
  );
}

function resultRow([name, { value, unit, baselines }]) {
  const compared = Object.entries(baselines ?? {}).map(([other, number]) => `${other} ${shown(number)}`);
  return [name.replaceAll("_", " "), `${shown(value)} ${unit ?? ""}`.trim(), compared.join(", ")];
}

function signaturePanel(called) {
  const size = (shape) => (shape === null ? "any shape" : shape.map((one) => one ?? "any").join(" × "));
  const line = (role) => (one) => element("li", {}, `${role} ${one.name}: ${one.kind}, ${size(one.shape)}`);
  const parts = called.flatMap(({ name, inputs, outputs }) => [
    element("h4", {}, name),
    element("ul", {}, ...inputs.map(line("input")), ...outputs.map(line("output"))),
  ]);
  return element(
    "section",
    { "aria-label": "Signatures" },
    element("h3", {}, "Signatures"),
    element("p", {}, SIGNATURES),
    ...parts,
  );
}

start();
