// The list of models, and the panels of the selected model.

import { element } from "./dom.js";
import { formPanel } from "./form.js";
import { models, signatures } from "./server.js";

const main = document.getElementById("main");
let openings = 0;

async function start() {
  const listed = await models().catch((error) => error);
  if (listed instanceof Error) {
    main.replaceChildren(problem(`The server does not respond: ${listed.message}`));
    return;
  }
  if (!listed.length) {
    const note = "No model is loaded yet. Reload this page in a moment.";
    main.replaceChildren(element("p", { role: "status" }, note));
    return;
  }
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
  const called = await signatures(model.path).catch((error) => error);
  // The user may have selected another model in the meantime.
  if (opening !== openings) return;
  const panel = called instanceof Error ? problem(called.message) : formPanel(model, called);
  main.replaceChildren(element("h2", {}, model.name), element("p", {}, `Version ${model.version}`), panel);
}

const problem = (text) => element("p", { class: "error", role: "alert" }, text);

start();
