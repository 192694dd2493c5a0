// One of the two things side by side: what it shows, its controls, its pictures.

import { SlicePanel, SpacePanel } from "./panels.js";
import { colourBar } from "./paint.js";
import { colour, tidy } from "./plot.js";

const ACROSS = ["z", "y", "x"];
const WORDS = { temperature: "temperature", cycle: "cycle", energy: "energy", step: "change", half: "half of the projections", coefficient: "coefficient", component: "component", spectrum: "spectrum" };

function made(name, className, parent, text = "") {
  const one = document.createElement(name);
  if (className) one.className = className;
  if (parent) parent.append(one);
  if (text) one.textContent = text;
  return one;
}

// Axes of a volume by name, with their first place and step.
function prepared(volume) {
  const dims = ACROSS.slice(-volume.shape.length);
  const axes = Object.fromEntries(dims.map((dim, k) => [dim, { n: volume.shape[k], first: volume.space[k][0], step: volume.space[k][1] || 1 }]));
  return { ...volume, axes, unit: volume.space_unit, valueUnit: volume.unit };
}

export class Side {
  constructor(letter, study, state, act, views) {
    Object.assign(this, { letter, study, state, act, range: null });
    this.controls = made("fieldset", `side ${letter}`, document.getElementById("sides"));
    this.box = made("div", letter, null);
    this.heading = made("p", "side-title", this.box);
    this.grid = made("div", "grid", this.box);
    this.slices = ACROSS.map((across) => new SlicePanel(this.grid, across, this, act, views[across]));
    this.space = new SpacePanel(this.grid, this, act);
    this.bar = made("canvas", "bar", this.box);
    this.bar.setAttribute("role", "img");
    document.getElementById("views").append(this.box);
    this.build();
  }

  get chosen() {
    return this.state[this.letter];
  }

  measurement() {
    return this.study.measurements.find((one) => one.name === this.chosen.m);
  }

  volume() {
    return this.shown;
  }

  // Puts what cannot be shown right: an unknown name, an index beyond the end.
  settle() {
    const measurement = this.measurement() || this.study.measurements.find((one) => one.volumes.length) || this.study.measurements[0];
    this.chosen.m = measurement.name;
    const volume = measurement.volumes.find((one) => one.name === this.chosen.q) || measurement.volumes[0];
    this.chosen.q = volume ? volume.name : "";
    this.shown = volume ? prepared(volume) : null;
    for (const axis of this.axes()) {
      this.chosen.i[axis.name] = Math.min(axis.values.length - 1, Math.max(0, this.chosen.i[axis.name] || 0));
    }
  }

  // What can be chosen besides: the axes in front of the voxels, or the conditions of curves.
  axes() {
    return this.shown ? this.shown.lead : this.measurement().conditions;
  }

  query() {
    const places = Object.fromEntries(this.shown.lead.map((axis) => [axis.name, this.chosen.i[axis.name] || 0]));
    return { measurement: this.chosen.m, array: this.chosen.q, ...places };
  }

  // The place of the cursor, {z, y, x}; the second side is where the first one is in space.
  at() {
    const first = this.act.sideA().shown || this.shown;
    const found = { z: 0, y: 0, x: 0 };
    ACROSS.forEach((axis, k) => {
      const mine = this.shown.axes[axis];
      if (!mine) return;
      const other = first.axes[axis];
      let index = this.state.at ? this.state.at[k] : Math.floor(mine.n / 2);
      if (other && this.shown !== first && first.unit === "µm" && this.shown.unit === "µm") index = Math.round((other.first + index * other.step - mine.first) / mine.step);
      found[axis] = Math.min(mine.n - 1, Math.max(0, index));
    });
    return found;
  }

  wantsStart() {
    return !this.state.at && this === this.act.sideA();
  }

  mapName() {
    const first = this.act.sideA();
    const like = this === first || first.shown?.kind === this.shown.kind;
    return (like && this.state.map) || this.shown.map;
  }

  look() {
    const range = this.act.rangeOf(this);
    if (!range) return null;
    return { map: this.study.maps.find((one) => one.name === this.mapName()), low: range[0], high: range[1], brush: this.act.sharesRange(this) ? this.state.brush : null };
  }

  words(value) {
    return `${tidy(value)}${this.shown.valueUnit ? ` ${this.shown.valueUnit}` : ""}`;
  }

  condition() {
    return this.shown.lead.map((axis) => placeWords(axis, this.chosen.i[axis.name] || 0)).join(", ");
  }

  title() {
    return [this.measurement().words, this.shown.words, this.condition()].filter(Boolean).join(" · ");
  }

  // -- controls

  build() {
    this.settle();
    this.controls.replaceChildren();
    const legend = made("legend", "", this.controls);
    made("i", "", legend);
    legend.append(this.state.b ? (this.letter === "a" ? "Left" : "Right") : "Shown");
    this.select("measurement", this.measurementOptions(), this.chosen.m, (value) => { this.chosen.m = value; });
    this.steppers = {};
    if (!this.shown) {
      for (const axis of this.axes()) this.stepper(axis);
      return;
    }
    const quantities = this.measurement().volumes.map((one) => ({ value: one.name, words: one.words }));
    this.select("quantity", quantities, this.chosen.q, (value) => { this.chosen.q = value; });
    for (const axis of this.shown.lead) if (axis.values.length > 1) this.stepper(axis);
  }

  measurementOptions() {
    return this.study.measurements.map((one) => ({ value: one.name, words: one.words, group: `${one.sample}`, none: !one.volumes.length }));
  }

  select(words, options, value, change) {
    const label = made("label", "row", this.controls, words);
    const select = made("select", "", label);
    select.id = `${this.letter}-${words}`;
    const groups = new Map();
    for (const one of options) {
      let parent = select;
      if (one.group) {
        if (!groups.has(one.group)) {
          const group = made("optgroup", "", select);
          group.label = one.group;
          groups.set(one.group, group);
        }
        parent = groups.get(one.group);
      }
      const option = made("option", "", parent, one.none ? `${one.words} (curves)` : one.words);
      option.value = one.value;
      option.selected = one.value === value;
    }
    select.addEventListener("change", () => {
      change(select.value);
      this.act.changed(this, words);
    });
  }

  stepper(axis) {
    const row = made("div", "row", this.controls);
    const label = made("label", "", row, WORDS[axis.name] || axis.name);
    const told = made("output", "", label, placeWords(axis, this.chosen.i[axis.name] || 0));
    const box = made("div", "stepper", row);
    const back = made("button", "", box, "‹");
    const slider = made("input", "", box);
    const on = made("button", "", box, "›");
    Object.assign(slider, { type: "range", min: 0, max: axis.values.length - 1, step: 1, id: `${this.letter}-${axis.name}` });
    slider.value = this.chosen.i[axis.name] || 0;
    label.htmlFor = slider.id;
    back.type = on.type = "button";
    back.setAttribute("aria-label", `previous ${axis.name}`);
    on.setAttribute("aria-label", `next ${axis.name}`);
    const set = (index) => {
      const now = Math.min(axis.values.length - 1, Math.max(0, index));
      slider.value = now;
      slider.setAttribute("aria-valuetext", placeWords(axis, now));
      told.textContent = placeWords(axis, now);
      if (this.chosen.i[axis.name] === now) return;
      this.chosen.i[axis.name] = now;
      this.act.changed(this, axis.name);
    };
    slider.setAttribute("aria-valuetext", placeWords(axis, Number(slider.value)));
    slider.addEventListener("input", () => set(Number(slider.value)));
    back.addEventListener("click", () => set(Number(slider.value) - 1));
    on.addEventListener("click", () => set(Number(slider.value) + 1));
    this.steppers[axis.name] = { set, now: () => Number(slider.value) };
  }

  // One on or back along the first of these axes that there is.
  step(names, by) {
    const name = names.find((one) => this.steppers[one]);
    if (name) this.steppers[name].set(this.steppers[name].now() + by);
  }

  // -- pictures

  load() {
    this.heading.replaceChildren();
    if (this.state.b) made("i", "", this.heading);
    this.heading.append(this.title());
    const flat = !this.shown.axes.z;
    this.slices.forEach((panel) => { panel.figure.hidden = flat && panel.across !== "z"; });
    this.space.figure.hidden = flat;
    this.grid.style.gridTemplateColumns = flat ? "minmax(0, 1fr)" : "";
    for (const panel of this.slices) if (!panel.figure.hidden) panel.load();
    this.drawBar();
  }

  draw() {
    for (const panel of this.slices) if (!panel.figure.hidden) panel.draw();
    this.drawBar();
  }

  drawBar() {
    const look = this.look();
    if (!look) return;
    const ratio = window.devicePixelRatio || 1;
    this.bar.width = Math.round(this.bar.clientWidth * ratio);
    this.bar.height = Math.round(44 * ratio);
    const words = this.shown.words + (this.shown.valueUnit ? ` (${this.shown.valueUnit})` : "");
    this.bar.setAttribute("aria-label", `colours: ${words} from ${tidy(look.low)} to ${tidy(look.high)}`);
    const width = Math.min(this.bar.width, 460 * ratio);
    colourBar(this.bar.getContext("2d"), { left: (this.bar.width - width) / 2, top: 2, width }, look, words, colour("soft"), ratio);
  }

  remove() {
    this.controls.remove();
    this.box.remove();
  }
}

export function placeWords(axis, index) {
  if (axis.names[index]) return axis.names[index];
  const value = tidy(axis.values[index]);
  return axis.unit ? `${value} ${axis.unit}` : axis.name === "temperature" || axis.name === "energy" ? value : `${axis.name} ${value}`;
}
