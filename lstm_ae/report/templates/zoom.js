"use strict";
// Zoom and pan for the charts of `interactive_chart.py`: by wheel, drag, buttons, keys, and the links of the table of
// events. The displayed range is from `low` to `high`, in units from the start of the data.
for (const chart of document.querySelectorAll(".zoom")) {
  const data = JSON.parse(chart.dataset.zoom), svg = chart.querySelector("svg"), status = chart.querySelector(".shown");
  const characterWidth = +svg.dataset.characterWidth, chartHeight = svg.viewBox.baseVal.height;
  const left = +svg.dataset.left, right = +svg.dataset.right;
  const marks = svg.querySelector(".ticks"), bands = svg.querySelector(".bands"), clip = svg.querySelector("clipPath rect");
  const lines = data.lines.map(({ x, y }, k) => {
    let at = 0;
    return { x: x.map((more) => (at += more)), y, path: svg.querySelectorAll(".line")[k] };
  });
  let low = 0, high = data.span, width = svg.viewBox.baseVal.width;
  const minimum = Math.min(data.span, 8 * data.step), room = () => width - left - right;
  const xOf = (at) => left + ((at - low) / (high - low)) * room();

  function show(first, last) {
    const size = Math.min(data.span, Math.max(minimum, last - first));
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
    status.textContent = `${whole ? "Full range" : `Shown: ${text(low)} to ${text(high)}`}; `
      + `${events} of ${data.events.length} events.`;
    chart.querySelector("[data-do=whole]").disabled = whole;
  }

  // The first, lowest, highest, and last point of each pixel column, and one point on either side for the line.
  function drawn(x, y) {
    let pieces = "", pen = "M", pixel = null, points = [];
    const from = Math.max(0, firstIndexAt(x, low) - 1), to = Math.min(x.length, firstIndexAt(x, high) + 2);
    const flush = () => {
      const lowest = points.reduce((a, b) => (y[b] > y[a] ? b : a), points[0]);
      const highest = points.reduce((a, b) => (y[b] < y[a] ? b : a), points[0]);
      const few = [...new Set([points[0], lowest, highest, points[points.length - 1]])].sort((a, b) => a - b);
      for (const k of few) {
        pieces += `${pen}${xOf(x[k]).toFixed(1)} ${y[k] / 10}`;
        pen = "L";
      }
      points = [];
    };
    for (let k = from; k < to; k++) {
      const now = Math.floor(xOf(x[k]));
      if (points.length && (now !== pixel || y[k] === null)) flush();
      if (y[k] === null) pen = "M";
      else points.push(k);
      pixel = now;
    }
    if (points.length) flush();
    return pieces;
  }

  function firstIndexAt(x, at) {
    let first = 0, last = x.length;
    while (first < last) {
      const middle = (first + last) >> 1;
      if (x[middle] < at) first = middle + 1;
      else last = middle;
    }
    return first;
  }

  function createElement(name, attributes, words) {
    const one = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
    if (words) one.textContent = words;
    return one;
  }

  function band([first, last]) {
    const x = xOf(first - data.step / 2), bandWidth = Math.max(2, xOf(last + data.step / 2) - x);
    return createElement("rect", { x: x.toFixed(1), y: 0, width: bandWidth.toFixed(1), height: svg.dataset.bottom });
  }

  function ticks() {
    const begin = data.begin + low * data.unit, span = (high - low) * data.unit;
    const step = stepOf(span / Math.max(3, Math.min(6, room() / 110))), elements = [];
    let occupied = 0;
    for (let at = Math.ceil(begin / step) * step; at <= begin + span; at += step) {
      const x = xOf((at - data.begin) / data.unit).toFixed(1), words = label(at, step);
      const labelWidth = characterWidth * words.length;
      const last = x > width - 50, first = x - (last ? labelWidth : labelWidth / 2);
      elements.push(createElement("line", { x1: x, x2: x, y1: svg.dataset.top, y2: svg.dataset.bottom }));
      if (first < occupied) continue;
      elements.push(createElement("text", { x, y: chartHeight - 8, "text-anchor": last ? "end" : "middle" }, words));
      occupied = first + labelWidth + characterWidth;
    }
    return elements;
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

  const scale = (by, center = (low + high) / 2) => show(center - (center - low) * by, center + (high - center) * by);
  const move = (by) => show(low + by * (high - low), high + by * (high - low));
  const actions = { in: () => scale(0.5), out: () => scale(2), back: () => move(-0.25), on: () => move(0.25),
    whole: () => show(0, data.span) };
  const keys = { "+": "in", "=": "in", "-": "out", "0": "whole", ArrowLeft: "back", ArrowRight: "on" };

  for (const button of chart.querySelectorAll("[data-do]")) button.addEventListener("click", actions[button.dataset.do]);
  const stage = chart.querySelector(".stage");
  stage.addEventListener("keydown", (event) => {
    if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    actions[keys[event.key]]();
  });
  const under = (event) => {
    const box = svg.getBoundingClientRect();
    return low + (((event.clientX - box.left) / box.width * width - left) / room()) * (high - low);
  };
  stage.addEventListener("wheel", (event) => {
    // At the limits of the zoom, the wheel scrolls the page.
    if (event.deltaY === 0 || (event.deltaY > 0 ? high - low >= data.span : high - low <= minimum)) return;
    event.preventDefault();
    scale(event.deltaY > 0 ? 1.25 : 0.8, Math.min(Math.max(under(event), low), high));
  }, { passive: false });
  let dragStart = null;
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    dragStart = under(event);
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (dragStart === null) return;
    const by = dragStart - under(event);
    show(low + by, high + by);
  });
  for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, () => (dragStart = null));

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
    svg.setAttribute("viewBox", `0 0 ${width} ${chartHeight}`);
    draw();
  }
  chart.classList.add("live");
  chart.querySelector(".controls").hidden = false;
  draw();
  fit();
  new ResizeObserver(fit).observe(stage);
}
