// The list of models, and the panels of the selected model.

import { element } from "./dom.js";
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
    open(model);
  };
  addEventListener("hashchange", follow);
  follow();
}

const hashOf = (name) => `#${encodeURIComponent(name)}`;

async function open(model) {
  const opening = (openings += 1);
  let called;
  try {
    called = await signatures(model.path);
  } catch (error) {
    called = error;
  }
  // The user may have selected another model in the meantime.
  if (opening !== openings) return;
  const parts =
    called instanceof Error
      ? [element("p", { class: "error", role: "alert" }, called.message)]
      : [formPanel(model, called), signaturePanel(called)];
  main.replaceChildren(element("h2", {}, model.name), element("p", {}, `Version ${model.version}`), ...parts);
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
