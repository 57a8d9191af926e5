"use strict";
// Lets a reader look into the charts that `zoom.py` has drawn: by wheel, drag, buttons and keys, and by the links of a
// table of events. What is shown is a stretch of time, from `low` to `high`, in units from the beginning.
for (const chart of document.querySelectorAll(".zoom")) {
  const data = JSON.parse(chart.dataset.zoom), svg = chart.querySelector("svg"), told = chart.querySelector(".shown");
  const letter = +svg.dataset.letter, left = +svg.dataset.left, right = +svg.dataset.right, high_ = svg.viewBox.baseVal.height;
  const marks = svg.querySelector(".ticks"), bands = svg.querySelector(".bands"), clip = svg.querySelector("clipPath rect");
  const lines = data.lines.map(({ x, y }, k) => {
    let at = 0;
    return { x: x.map((more) => (at += more)), y, path: svg.querySelectorAll(".line")[k] };
  });
  let low = 0, high = data.span, width = svg.viewBox.baseVal.width;
  const least = Math.min(data.span, 8 * data.step), room = () => width - left - right;
  const across = (at) => left + ((at - low) / (high - low)) * room();

  function show(first, last) {
    const size = Math.min(data.span, Math.max(least, last - first));
    low = Math.min(Math.max(0, first + (last - first - size) / 2), data.span - size);
    high = low + size;
    draw();
  }

  function draw() {
    for (const { x, y, path } of lines) path.setAttribute("d", drawn(x, y));
    bands.replaceChildren(...data.events.map(band));
    marks.replaceChildren(...ticks());
    clip.setAttribute("width", room());
    const whole = high - low >= data.span, events = data.events.filter(([a, b]) => b >= low && a <= high).length;
    told.textContent = `${whole ? "The whole is shown" : `Shown: ${text(low)} to ${text(high)}`}; `
      + `${events} of ${data.events.length} events.`;
    chart.querySelector("[data-do=whole]").disabled = whole;
  }

  // Of what falls on one pixel, the first, lowest, highest and last; a point more on either side, so that lines go on.
  function drawn(x, y) {
    let pieces = "", pen = "M", pixel = null, kept = [];
    const from = Math.max(0, place(x, low) - 1), to = Math.min(x.length, place(x, high) + 2);
    const flush = () => {
      const lowest = kept.reduce((a, b) => (y[b] > y[a] ? b : a), kept[0]);
      const highest = kept.reduce((a, b) => (y[b] < y[a] ? b : a), kept[0]);
      const few = [...new Set([kept[0], lowest, highest, kept[kept.length - 1]])].sort((a, b) => a - b);
      for (const k of few) {
        pieces += `${pen}${across(x[k]).toFixed(1)} ${y[k] / 10}`;
        pen = "L";
      }
      kept = [];
    };
    for (let k = from; k < to; k++) {
      const now = Math.floor(across(x[k]));
      if (kept.length && (now !== pixel || y[k] === null)) flush();
      if (y[k] === null) pen = "M";
      else kept.push(k);
      pixel = now;
    }
    if (kept.length) flush();
    return pieces;
  }

  function place(x, at) {
    let first = 0, last = x.length;
    while (first < last) {
      const middle = (first + last) >> 1;
      if (x[middle] < at) first = middle + 1;
      else last = middle;
    }
    return first;
  }

  function made(name, attributes, words) {
    const one = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
    if (words) one.textContent = words;
    return one;
  }

  function band([first, last]) {
    const x = across(first - data.step / 2), wide = Math.max(2, across(last + data.step / 2) - x);
    return made("rect", { x: x.toFixed(1), y: 0, width: wide.toFixed(1), height: svg.dataset.bottom });
  }

  function ticks() {
    const begin = data.begin + low * data.unit, span = (high - low) * data.unit;
    const step = stepOf(span / Math.max(3, Math.min(6, room() / 110))), found = [];
    let taken = 0;
    for (let at = Math.ceil(begin / step) * step; at <= begin + span; at += step) {
      const x = across((at - data.begin) / data.unit).toFixed(1), words = label(at, step), wide = letter * words.length;
      const last = x > width - 50, first = x - (last ? wide : wide / 2);
      found.push(made("line", { x1: x, x2: x, y1: svg.dataset.top, y2: svg.dataset.bottom }));
      if (first < taken) continue;
      found.push(made("text", { x, y: high_ - 8, "text-anchor": last ? "end" : "middle" }, words));
      taken = first + wide + letter;
    }
    return found;
  }

  function stepOf(wanted) {
    const longest = data.steps[data.steps.length - 1], unit = data.dated ? longest : 1;
    if (data.dated && wanted <= longest) return data.steps.find((step) => step >= wanted);
    const power = 10 ** Math.floor(Math.log10(Math.max(wanted / unit, 1)));
    return unit * power * [1, 2, 5, 10].find((k) => k * power >= wanted / unit);
  }

  function label(at, step) {
    if (!data.dated) return at.toLocaleString("en");
    const iso = new Date(at).toISOString();
    if (step >= 86400000) return iso.slice(0, 10);
    if (step >= 60000) return iso.slice(5, 16).replace("T", " ");
    return iso.slice(11, step >= 1000 ? 19 : 23);
  }

  function text(at) {
    const time = data.begin + at * data.unit;
    return data.dated ? new Date(time).toISOString().slice(0, 19).replace("T", " ") : `row ${Math.round(time)}`;
  }

  const scale = (by, around = (low + high) / 2) => show(around - (around - low) * by, around + (high - around) * by);
  const move = (by) => show(low + by * (high - low), high + by * (high - low));
  const acts = { in: () => scale(0.5), out: () => scale(2), back: () => move(-0.25), on: () => move(0.25),
    whole: () => show(0, data.span) };
  const keys = { "+": "in", "=": "in", "-": "out", "0": "whole", ArrowLeft: "back", ArrowRight: "on" };

  for (const button of chart.querySelectorAll("[data-do]")) button.addEventListener("click", acts[button.dataset.do]);
  const stage = chart.querySelector(".stage");
  stage.addEventListener("keydown", (event) => {
    if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    acts[keys[event.key]]();
  });
  const under = (event) => {
    const box = svg.getBoundingClientRect();
    return low + (((event.clientX - box.left) / box.width * width - left) / room()) * (high - low);
  };
  stage.addEventListener("wheel", (event) => {
    // Nothing is left to be zoomed: the page may scroll.
    if (event.deltaY === 0 || (event.deltaY > 0 ? high - low >= data.span : high - low <= least)) return;
    event.preventDefault();
    scale(event.deltaY > 0 ? 1.25 : 0.8, Math.min(Math.max(under(event), low), high));
  }, { passive: false });
  let held = null;
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    held = under(event);
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (held === null) return;
    const by = held - under(event);
    show(low + by, high + by);
  });
  for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, () => (held = null));

  for (const link of document.querySelectorAll(`a[href="#${chart.id}"][data-event]`)) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      const [first, last] = data.events[+link.dataset.event];
      const more = Math.max(last - first, 20 * data.step);
      show(first - more, last + more);
      chart.scrollIntoView();
      stage.focus({ preventScroll: true });
    });
  }

  function fit() {
    const now = Math.round(stage.clientWidth);
    if (now < 100 || now === width) return;
    width = now;
    svg.setAttribute("viewBox", `0 0 ${width} ${high_}`);
    draw();
  }
  chart.classList.add("live");
  chart.querySelector(".controls").hidden = false;
  draw();
  fit();
  new ResizeObserver(fit).observe(stage);
}
