// The page: what is chosen goes into `state`, every change draws what depends on it.

import { askJson } from "./data.js";
import { Curves, drawHistogram, VoxelFacts } from "./facts.js";
import { saveFigure } from "./figure.js";
import { times, Window } from "./panels.js";
import { colour, tidy } from "./plot.js";
import { Side } from "./side.js";
import { read, remember, state } from "./state.js";

const $ = (id) => document.getElementById(id);
const AXES = ["z", "y", "x"];
const CONDITIONS = ["temperature", "cycle", "step"];
const MOST_SPREADS = 6;

let study = null;
let sides = [];
const views = Object.fromEntries(AXES.map((axis) => [axis, new Window()]));
const spreads = new Map();
const voxel = new VoxelFacts(report);
const curves = new Curves(report);

function report(error) {
  $("problem").textContent = error.message;
  $("problem").hidden = false;
  console.error(error);
}

const act = {
  report,
  sideA: () => sides[0] || { shown: null },
  turned: () => state,
  // Sides that show one quantity have one range of colours.
  sharesRange: (side) => side === sides[0] || (side.shown.name === sides[0].shown?.name && side.shown.kind === sides[0].shown.kind),
  rangeOf(side) {
    if (state.low !== null && this.sharesRange(side)) return [state.low, state.high];
    return (this.sharesRange(side) ? sides[0].range : side.range) || null;
  },
  move(axis, by) {
    const shown = sides[0].shown;
    if (!shown.axes[axis]) return;
    const at = sides[0].at();
    const n = shown.axes[axis].n;
    this.place(sides[0], { [axis]: Math.min(n - 1, Math.max(0, by === Infinity ? n - 1 : by === -Infinity ? 0 : at[axis] + by)) });
  },
  place(side, where) {
    const first = sides[0].shown;
    const old = sides[0].at();
    const now = { ...old };
    for (const [axis, index] of Object.entries(where)) {
      const [mine, its] = [first.axes[axis], side.shown.axes[axis]];
      if (!mine) continue;
      const linked = side !== sides[0] && first.unit === "µm" && side.shown.unit === "µm";
      now[axis] = Math.min(mine.n - 1, Math.max(0, linked ? Math.round((its.first + index * its.step - mine.first) / mine.step) : index));
    }
    state.at = AXES.map((axis) => now[axis]);
    moved(AXES.filter((axis) => now[axis] !== old[axis]));
  },
  turn(azimuth, elevation, turning) {
    state.azimuth = (((state.azimuth + azimuth) % 360) + 360) % 360;
    state.elevation = Math.min(90, Math.max(-90, state.elevation + elevation));
    for (const side of sides) side.space.load(turning);
    remember();
  },
  light(range, rest) {
    state.brush = range;
    for (const side of sides) side.draw();
    if (rest) {
      drawSpread();
      for (const side of sides) side.space.load();
      remember();
    }
  },
  redraw() {
    for (const side of sides) side.draw();
  },
  changed(side, what) {
    if (what === "measurement" || what === "quantity") {
      const before = `${side.shown?.kind} ${side.shown?.name}`;
      const shape = `${side.shown?.shape}`;
      side.build();
      if (side === sides[0] && shape !== `${side.shown?.shape}`) state.at = null; // of another volume
      if (side === sides[0] && before !== `${side.shown?.kind} ${side.shown?.name}`) forget();
    }
    refresh();
  },
};

// -- drawing

function moved(axes) {
  for (const side of sides) {
    for (const panel of side.slices) {
      if (panel.figure.hidden) continue;
      if (axes.includes(panel.across)) panel.load();
      else panel.draw();
    }
  }
  voxel.load(sides, told);
  remember();
}

async function refresh() {
  $("problem").hidden = true;
  const flat = !sides.length || !sides[0].shown;
  $("page").classList.toggle("flat", flat);
  $("page").classList.toggle("compared", sides.length > 1 && !flat);
  $("views").classList.toggle("two", sides.length > 1);
  for (const id of ["compare", "save"]) $(id).hidden = flat;
  curves.load(sides);
  remember();
  if (flat) return;
  for (const side of sides) if (!side.shown) return dropSecond();
  try {
    await Promise.all(sides.map(setRange));
  } catch (error) {
    report(error);
    return;
  }
  for (const side of sides) {
    side.load();
    side.space.load();
  }
  $("space-controls").hidden = !sides[0].shown.axes.z;
  controls();
  drawSpread();
  voxel.load(sides, told);
}

function spreadOf(query) {
  const key = JSON.stringify(query);
  if (!spreads.has(key)) spreads.set(key, askJson("spread", query).catch((error) => { spreads.delete(key); throw error; }));
  return spreads.get(key);
}

// One range for all temperatures, cycles or steps, so that colours can be compared; energies differ too much for that.
async function setRange(side) {
  const query = side.query();
  side.spread = await spreadOf(query);
  side.range = [side.spread.low, side.spread.high];
  const axis = side.shown.lead.find((one) => CONDITIONS.includes(one.name) && one.values.length > 1);
  if (!axis || side.shown.lead.some((one) => one.name === "energy" || one.name === "coefficient")) return;
  const n = axis.values.length;
  const chosen = [...new Set([...Array(Math.min(n, MOST_SPREADS)).keys()].map((k) => Math.round((k * (n - 1)) / Math.max(1, Math.min(n, MOST_SPREADS) - 1))))];
  const all = (await Promise.all(chosen.map((k) => spreadOf({ ...query, [axis.name]: k })))).filter((one) => one.mean !== null);
  if (all.length) side.range = [Math.min(...all.map((one) => one.low)), Math.max(...all.map((one) => one.high))];
}

function drawSpread() {
  const side = sides[0];
  const values = voxel.last.filter((one) => sides.includes(one.side) && act.sharesRange(one.side) && one.facts.value !== null).map(({ facts, paint }) => ({ value: facts.value, paint }));
  drawHistogram(side, side.spread, values, state.brush, act);
}

function told(found) {
  drawSpread();
  const { side, facts, at } = found[0];
  $("said").textContent = `z ${at.z + 1}, y ${at.y + 1}, x ${at.x + 1}: ${facts.value === null ? "no value" : side.words(facts.value)}`;
  document.body.dataset.voxel = AXES.map((axis) => at[axis]).join(",");
}

function controls() {
  const range = act.rangeOf(sides[0]);
  const step = (range[1] - range[0]) / 100;
  $("low").value = tidy(range[0], step).replace("\u2212", "-");
  $("high").value = tidy(range[1], step).replace("\u2212", "-");
  $("map").value = sides[0].mapName();
  $("cut").value = state.cut;
}

// -- what a person does

function listen() {
  $("map").addEventListener("change", () => {
    state.map = $("map").value === sides[0].shown.map ? "" : $("map").value;
    recolour();
  });
  for (const id of ["low", "high"]) {
    $(id).addEventListener("change", () => {
      const [low, high] = [typed("low"), typed("high")];
      if (high > low) Object.assign(state, { low, high });
      recolour();
    });
  }
  $("auto").addEventListener("click", () => {
    Object.assign(state, { low: null, high: null });
    recolour();
  });
  $("unbrush").addEventListener("click", () => act.light(null, true));
  $("cut").addEventListener("change", () => {
    state.cut = $("cut").value;
    for (const side of sides) side.space.load();
    remember();
  });
  $("compare").addEventListener("click", compare);
  $("save").addEventListener("click", save);
  $("link").addEventListener("click", copyLink);
  $("help").addEventListener("click", () => $("keys").showModal());
  document.addEventListener("keydown", keys);
  window.addEventListener("hashchange", () => {
    read(location.hash);
    rebuild();
  });
  const again = () => {
    act.redraw();
    for (const side of sides) side.space.draw();
  };
  new ResizeObserver(again).observe($("views"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    again();
    drawSpread();
    voxel.last.forEach((one) => { one.paint = colour(one.side.letter); });
    voxel.draw();
    curves.draw();
  });
}

const typed = (id) => Number($(id).value.trim().replace(",", ".").replace("\u2212", "-") || NaN);

function recolour() {
  controls();
  for (const side of sides) {
    side.draw();
    side.space.load();
  }
  drawSpread();
  remember();
}

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) || $("keys").open) return;
  const steps = { "[": [CONDITIONS, -1], "]": [CONDITIONS, 1], ",": [["energy"], -1], ".": [["energy"], 1] };
  if (steps[event.key]) for (const side of sides) side.step(...steps[event.key]);
  else if (event.key === "c") compare();
  else if (event.key === "s") save();
  else if (event.key === "?") $("keys").showModal();
  else return;
  event.preventDefault();
}

function save() {
  if (sides.length && sides[0].shown) saveFigure(sides, study.title);
}

async function copyLink() {
  const button = $("link");
  try {
    await navigator.clipboard.writeText(location.href);
    button.textContent = "Copied";
  } catch {
    button.textContent = "It is in the address";
  }
  setTimeout(() => { button.textContent = "Copy link"; }, 1800);
}

// The next temperature of the same sample, else the next measurement with voxels.
function compare() {
  if (state.b) return dropSecond();
  if (!sides[0].shown) return undefined;
  const { m, q, i } = state.a;
  state.b = { m, q, i: { ...i } };
  const axis = sides[0].shown.lead.find((one) => CONDITIONS.includes(one.name) && one.values.length > 1);
  if (axis) state.b.i[axis.name] = i[axis.name] === axis.values.length - 1 ? 0 : axis.values.length - 1;
  else {
    const others = study.measurements.filter((one) => one.volumes.some((volume) => volume.name === q) && one.name !== m);
    if (others.length) state.b.m = others[0].name;
  }
  return rebuild();
}

function dropSecond() {
  state.b = null;
  return rebuild();
}

// The range of another quantity means nothing here, nor does its histogram until the new one is there.
function forget() {
  Object.assign(state, { low: null, high: null, brush: null, map: "" });
  $("histogram").replaceChildren();
  $("histogram-words").textContent = "";
}

function rebuild() {
  if (!study.maps.some((one) => one.name === state.map)) state.map = "";
  for (const side of sides) side.remove();
  sides = [];
  sides.push(new Side("a", study, state, act, views));
  if (state.b) sides.push(new Side("b", study, state, act, views));
  $("compare").setAttribute("aria-pressed", state.b ? "true" : "false");
  return refresh();
}

// -- beginning

function say(words, tag, parent) {
  const one = document.createElement(tag);
  one.textContent = words;
  parent.append(one);
}

function emptyState() {
  const box = $("empty");
  box.hidden = false;
  say("This study has no results yet", "h2", box);
  say(study.failed.length ? "The last run could not use its measurements:" : "Slices, spectra and curves appear here when a run has finished its first step.", "p", box);
  for (const { name, reason } of study.failed) say(`${name}: ${reason}`, "p", box);
  say("Compute them, then reload this page:", "p", box);
  say("cathoscope run RECIPE", "code", box);
}

async function begin() {
  // the token is kept as a cookie; it has no business in the address
  if (location.search) history.replaceState(null, "", location.pathname + location.hash);
  try {
    study = await askJson("study");
  } catch (error) {
    report(error);
    return;
  }
  document.title = `${study.title} · cathoscope`;
  $("title").textContent = study.title;
  $("where").textContent = study.folder;
  if (!study.measurements.length) {
    for (const id of ["compare", "save", "link"]) $(id).hidden = true;
    emptyState();
    document.body.dataset.ready = "empty";
    return;
  }
  $("page").hidden = false;
  for (const one of study.maps) $("map").append(new Option(one.words, one.name));
  if (study.failed.length) report(new Error(study.failed.map(({ name, reason }) => `${name} failed in the last run: ${reason.split("\n")[0]}`).join("\n")));
  const failed = $("problem").textContent;
  read(location.hash);
  listen();
  await rebuild();
  if (failed && $("problem").hidden) report(new Error(failed));
  document.body.dataset.ready = "yes";
}

window.cathoscope = { state, times };
begin();
