// What stands beside the pictures: the histogram with its brush, the voxel, the curves of other measurements.

import { askJson, newestOnly } from "./data.js";
import { indexOf } from "./paint.js";
import { colour, element, plot, tidy } from "./plot.js";
import { placeWords } from "./side.js";

const $ = (id) => document.getElementById(id);

// -- histogram

let brushing = false; // a drag ends where it began only if nothing draws the histogram anew meanwhile

export function drawHistogram(side, spread, values, brush, act) {
  const look = side.look();
  if (!spread || !look || brushing) return;
  const fills = spread.counts.map((_, i) => {
    const k = 3 * indexOf((spread.edges[i] + spread.edges[i + 1]) / 2, look);
    return `rgb(${look.map.colours[k]},${look.map.colours[k + 1]},${look.map.colours[k + 2]})`;
  });
  const root = side.shown.kind === "grey"; // what surrounds the particle would hide all else
  const heights = root ? spread.counts.map(Math.sqrt) : spread.counts;
  const marks = values.map(({ value, paint }) => ({ x: value, colour: paint, solid: true }));
  const { svg, scale } = plot($("histogram"), {
    width: 248, height: 128, bars: true, x: ["", side.shown.valueUnit], y: ["voxels", ""], xRange: [spread.edges[0], spread.edges.at(-1)],
    lines: [{ name: "", style: "bars", x: [], y: heights, edges: spread.edges, fills }], marks,
  });
  svg.setAttribute("aria-label", `histogram of ${side.shown.words}`);
  svg.dataset.low = spread.edges[0];
  svg.dataset.high = spread.edges.at(-1);
  svg.style.cursor = "ew-resize";
  svg.style.touchAction = "none";
  listenBrush(svg, scale, brush, act);
  const share = spread.voxels < spread.of ? `, of ${Math.round((100 * spread.voxels) / spread.of)} % of the volume` : "";
  $("histogram-words").textContent = Number.isFinite(spread.mean) && !["label", "flag", "mask"].includes(side.shown.kind) ? `mean ${tidy(Number(spread.mean.toPrecision(6)))}, spread ${tidy(Number(spread.width.toPrecision(3)))} ${side.shown.valueUnit}`.trim() + `${share}${root ? "; heights are roots" : ""}` : "";
  $("unbrush").hidden = !brush;
}

function listenBrush(svg, scale, brush, act) {
  const { frame } = scale;
  const shade = element("g", {}, svg);
  const draw = (range) => {
    shade.replaceChildren();
    if (!range) return;
    const [left, right] = range.map((value) => Math.min(frame.right, Math.max(frame.left, scale.x(value))));
    const paint = colour("ground");
    element("rect", { x: frame.left, y: frame.top, width: left - frame.left, height: frame.bottom - frame.top, fill: paint, opacity: 0.7 }, shade);
    element("rect", { x: right, y: frame.top, width: frame.right - right, height: frame.bottom - frame.top, fill: paint, opacity: 0.7 }, shade);
    for (const x of [left, right]) element("line", { x1: x, x2: x, y1: frame.top, y2: frame.bottom, stroke: colour("accent"), "stroke-width": 1.5 }, shade);
  };
  draw(brush);
  const place = (event) => {
    const box = svg.getBoundingClientRect();
    const pixel = Math.min(frame.right, Math.max(frame.left, ((event.clientX - box.left) / box.width) * scale.width));
    return scale.back(pixel);
  };
  let from = null;
  let range = null;
  svg.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    event.preventDefault(); // no text is selected
    from = place(event);
    range = null;
    brushing = true;
    svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointermove", (event) => {
    if (from === null) return;
    const now = place(event);
    range = [Math.min(from, now), Math.max(from, now)];
    draw(range);
    act.light(range, false);
  });
  const end = () => {
    if (from === null) return;
    from = null;
    brushing = false;
    const wide = range && scale.x(range[1]) - scale.x(range[0]) > 3;
    act.light(wide ? range : null, true);
  };
  for (const ended of ["pointerup", "pointercancel"]) svg.addEventListener(ended, end);
}

// -- voxel

export class VoxelFacts {
  constructor(report) {
    this.run = newestOnly(report);
    this.last = [];
  }

  load(sides, then) {
    const asked = sides.map((side) => ({ side, at: side.at(), query: { ...side.query(), ...only(side.at(), side.shown.axes) } }));
    this.run(async () => {
      const found = await Promise.all(asked.map(({ query }) => askJson("voxel", query)));
      this.last = asked.map((one, i) => ({ ...one, facts: found[i], paint: colour(one.side.letter) }));
      this.draw();
      then(this.last);
    });
  }

  draw() {
    if (!this.last.length) return;
    this.table();
    this.spectrum();
    this.course();
  }

  table() {
    const list = $("values");
    list.replaceChildren();
    const row = (words, values) => {
      const term = document.createElement("dt");
      term.textContent = words;
      list.append(term);
      values.forEach(({ text, letter }) => {
        const told = document.createElement("dd");
        told.textContent = text;
        if (this.last.length > 1) told.className = letter;
        told.style.gridColumn = "2";
        list.append(told);
      });
    };
    const each = (make) => this.last.map((one) => ({ text: make(one), letter: one.side.letter }));
    const { side: first, at } = this.last[0];
    const names = Object.keys(first.shown.axes).reverse();
    row("voxel", [{ text: names.map((axis) => `${axis} ${at[axis] + 1}`).join(", "), letter: "" }]);
    if (first.shown.unit === "µm") row("position", [{ text: `${names.map((axis) => tidy(first.shown.axes[axis].first + at[axis] * first.shown.axes[axis].step, 0.01)).join(", ")} µm`, letter: "" }]);
    row(this.last[0].side.shown.words.toLowerCase(), each(({ side, facts }) => (facts.value === null ? (facts.inside ? "no trusted value" : "outside") : `${withError(facts.value, facts.std)} ${side.shown.valueUnit}`)));
    if (this.last.length > 1 && this.last.every((one) => one.facts.value !== null) && this.last[0].side.shown.name === this.last[1].side.shown.name) {
      const [one, other] = this.last.map(({ facts }) => facts);
      const std = one.std !== null && other.std !== null ? Math.hypot(one.std, other.std) : null;
      row("right − left", [{ text: `${withError(other.value - one.value, std)} ${this.last[0].side.shown.valueUnit}`, letter: "" }]);
    }
    if (this.last.some(({ facts }) => facts.flag)) row("flag", each(({ facts }) => facts.flag || "good"));
    row("condition", each(({ side }) => side.condition() || "–"));
    if (this.last.some(({ facts, side }) => facts.spectrum?.line && side.shown.name !== "white_line_energy")) row("white line", each(({ facts }) => (facts.spectrum?.line ? `${withError(facts.spectrum.line, facts.spectrum.line_std)} eV` : "–")));
  }

  spectrum() {
    const there = this.last.filter(({ facts }) => facts.spectrum);
    for (const id of ["spectrum", "residual"]) $(id).hidden = !there.length;
    if (!there.length) return;
    const [lines, left, marks] = [[], [], []];
    for (const { facts: { spectrum }, paint, side } of there) {
      const name = there.length > 1 ? (side.letter === "a" ? "left" : "right") : "voxel ± σ";
      lines.push({ name, style: "points", x: spectrum.x, y: spectrum.y.map(orNaN), std: spectrum.std, colour: paint });
      if (spectrum.fit) lines.push({ name: there.length > 1 ? "" : "fit", style: "line", x: spectrum.fit.x, y: spectrum.fit.y.map(orNaN), colour: there.length > 1 ? paint : colour("b") });
      if (spectrum.residual) left.push({ name: "", style: "points", x: spectrum.x, y: spectrum.residual.map(orNaN), std: spectrum.std, colour: paint });
      if (spectrum.line) marks.push({ x: spectrum.line - spectrum.offset, band: spectrum.line_std || 0, colour: paint });
    }
    const { spectrum } = there[0].facts;
    const energy = there[0].side.shown.lead.find((axis) => axis.name === "energy");
    if (energy) marks.push({ x: energy.values[there[0].side.chosen.i.energy || 0], colour: colour("soft") });
    const x = ["energy", "eV"];
    const xRange = focus(lines);
    plot($("spectrum"), { title: "Spectrum", width: 336, height: 215, x, y: [spectrum.words.toLowerCase(), spectrum.unit], lines, marks, xRange, left: 58, file: "spectrum" });
    $("residual").hidden = !left.length;
    if (left.length) plot($("residual"), { title: "Left by the fit", width: 336, height: 130, x, y: ["", spectrum.unit], lines: left, zero: true, xRange, left: 58, file: "residual" });
  }

  course() {
    const there = this.last.filter(({ facts }) => facts.course && facts.course.y.some((value) => value !== null));
    $("course").hidden = !there.length;
    if (!there.length) return;
    const { course } = there[0].facts;
    const { side } = there[0];
    const lines = there.map(({ facts, paint, side: one }) => ({ name: there.length > 1 ? (one.letter === "a" ? "left" : "right") : "", style: "points", x: facts.course.names.length ? facts.course.x.map((_, i) => i + 1) : facts.course.x, y: facts.course.y.map(orNaN), std: facts.course.std?.map(orNaN), colour: paint }));
    const joined = lines.map((line) => ({ ...line, name: "", style: "faint" }));
    const unit = course.dim === "temperature" ? "°C" : "";
    plot($("course"), { title: `${side.shown.words} against ${course.dim}`, width: 336, height: 165, x: [course.dim, unit], y: ["", side.shown.valueUnit], lines: [...joined, ...lines], file: "voxel" });
  }
}

const orNaN = (value) => (value === null ? NaN : value);
const only = (at, axes) => Object.fromEntries(Object.keys(axes).map((axis) => [axis, at[axis]]));

// Most points of a spectrum lie around the edge: the rest would only squeeze them.
function focus(lines) {
  const fit = lines.find((line) => line.style === "line");
  if (!fit) return undefined;
  const x = lines[0].x;
  const [low, high] = [fit.x[0], fit.x.at(-1)];
  return [Math.max(x[0], low - 0.9 * (high - low)), Math.min(x.at(-1), high + 0.9 * (high - low))];
}

function withError(value, std) {
  if (std === null || std === undefined || !(std > 0)) return tidy(value);
  const digits = Math.max(0, Math.min(8, 1 - Math.floor(Math.log10(std))));
  return `${value.toFixed(digits).replace("-", "\u2212")} ± ${std.toFixed(digits)}`;
}

// -- other measurements

export class Curves {
  constructor(report) {
    this.run = newestOnly(report);
    this.groups = [];
  }

  // Of both sides: the curves of the second are those that the first does not show.
  load(sides) {
    const asked = sides.map((side) => ({ letter: side.letter, first: side.chosen.m, flat: !side.shown, ...wanted(side) }));
    const key = JSON.stringify(asked.map((one) => one.query));
    if (key === this.key) {
      this.groups.forEach((group, i) => Object.assign(group, asked[i]));
      this.draw();
      return;
    }
    if (!this.groups.length) this.tell("being read …");
    this.run(async () => {
      const found = await Promise.all(asked.map((one) => askJson("curves", one.query)));
      const seen = new Set();
      const isNew = ({ mark, ...one }) => !seen.has(JSON.stringify(one)) && seen.add(JSON.stringify(one));
      this.groups = asked.map((one, i) => ({ ...one, plots: found[i].filter(isNew) }));
      this.key = key;
      this.draw();
    });
  }

  tell(words) {
    made("p", "soft", $("curves"), words);
  }

  draw() {
    $("curves").replaceChildren();
    $("others-title").textContent = this.groups.length === 1 ? `Measurements of ${this.groups[0].words}` : "Measurements of these samples";
    for (const group of this.groups) this.drawGroup(group);
  }

  drawGroup({ letter, first, flat, words, plots }) {
    const box = $("curves");
    if (this.groups.length > 1 && plots.length) {
      const heading = made("h3", `side-title ${letter}`, box);
      made("i", "", heading);
      heading.append(words);
    }
    const mine = (one) => one.measurement === first; // comes before other measurements of the sample
    if (flat && !plots.some(mine)) this.tell(`${plain(first)} has no curve; its numbers are in the report.`);
    else if (!plots.length && this.groups.length === 1) this.tell("Of this sample there is no other measurement whose curves can be drawn.");
    for (const one of [...plots.filter(mine), ...plots.filter((other) => !mine(other))]) {
      const holder = made("div", "plot", box);
      const marks = one.mark === null ? [] : [{ x: one.mark }];
      const lines = one.lines.map((line) => ({ ...line, y: line.y.map(orNaN), upper: line.upper?.map(orNaN) }));
      plot(holder, { title: `${one.title} · ${plain(one.measurement)}`, width: 330, height: one.equal ? 240 : 205, x: one.x, y: one.y, lines, marks, equal: one.equal, xLog: one.x_log, file: `${one.measurement.replace("/", "-")}-${one.title}` });
    }
  }
}

const plain = (measurement) => measurement.replace(/^(result|truth)\//, "");

function made(name, className, parent, text = "") {
  const one = document.createElement(name);
  one.className = className;
  one.textContent = text;
  parent.append(one);
  return one;
}

// What is asked for a side: its sample and its conditions.
function wanted(side) {
  const sample = side.measurement().sample;
  const axes = side.axes().filter((axis) => ["temperature", "cycle", "energy"].includes(axis.name));
  const place = (axis) => side.chosen.i[axis.name] || 0;
  const heated = axes.find((axis) => axis.name === "temperature");
  return {
    query: { sample, ...Object.fromEntries(axes.map((axis) => [axis.name, axis.values[place(axis)]])) },
    words: heated ? `${sample}, nearest to ${placeWords(heated, place(heated))}` : sample,
  };
}
