// The square pictures: a slice with cursor and scale bar, and the picture in space.

import { askPicture, askSlice, newestOnly } from "./data.js";
import { cross, imageOf, isDark, scaleBar, valueAt } from "./paint.js";
import { tidy } from "./plot.js";

const FILL = 0.96; // of the square that the longest side of the volume takes
export const times = []; // ms from a wish to a slice on screen, the last 500

function made(name, className, parent) {
  const one = document.createElement(name);
  if (className) one.className = className;
  if (parent) parent.append(one);
  return one;
}

function frame(parent, title, className) {
  const figure = made("figure", "", parent);
  const caption = made("figcaption", "", figure);
  made("b", "", caption).textContent = title;
  const words = made("span", "", caption);
  const canvas = made("canvas", className, figure);
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  return { figure, caption, words, canvas };
}

function fitted(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const size = Math.max(40, Math.round(canvas.clientWidth * ratio));
  if (canvas.width !== size || canvas.height !== size) [canvas.width, canvas.height] = [size, size];
  return { size, ratio };
}

// Zoom and middle of a plane, shared by both sides: `scale` 1 shows all of it.
export class Window {
  constructor() {
    this.reset();
  }

  reset() {
    [this.scale, this.x, this.y] = [1, 0.5, 0.5];
  }

  zoom(factor, x, y) {
    const scale = Math.min(40, Math.max(1, this.scale * factor));
    this.x = x + (this.x - x) * (this.scale / scale);
    this.y = y + (this.y - y) * (this.scale / scale);
    this.scale = scale;
    const half = 0.5 / scale;
    this.x = Math.min(1 - half, Math.max(half, this.x));
    this.y = Math.min(1 - half, Math.max(half, this.y));
  }
}

export class SlicePanel {
  // `side` tells what is shown: volume(), query(), at(), look(); `act` is told of moves: move(axis, by), place(axes).
  constructor(parent, across, side, act, view) {
    Object.assign(this, { across, side, act, view, slice: null, shown: "" });
    this.axes = ["z", "y", "x"].filter((axis) => axis !== across); // rows, columns
    this.title = `${this.axes[1]}${this.axes[0]}`;
    Object.assign(this, frame(parent, this.title, "panel slice"));
    this.canvas.dataset.across = across;
    this.run = newestOnly(act.report);
    this.small = document.createElement("canvas");
    this.listen();
  }

  index() {
    return this.side.at()[this.across];
  }

  load() {
    const volume = this.side.volume();
    const index = volume.axes[this.across] ? this.index() : 0;
    const query = { ...this.side.query(), axis: this.across, index };
    const begun = performance.now();
    this.run(async () => {
      const slice = await askSlice(query);
      this.slice = slice;
      this.volume = volume;
      this.draw();
      this.canvas.dataset.index = index;
      if (this.side.wantsStart() && this.across === "z") this.begin();
      requestAnimationFrame(() => {
        times.push(performance.now() - begun);
        if (times.length > 500) times.shift();
      });
      this.look(query, index, volume.axes[this.across]?.n || 1);
    });
  }

  // Where nobody has chosen a voxel yet: the one with a value that is nearest to the middle.
  begin() {
    const { rows, columns } = this.slice;
    let best = null;
    for (let row = 0; row < rows; row += 1) {
      for (let column = 0; column < columns; column += 1) {
        const distance = (row - rows / 2) ** 2 + (column - columns / 2) ** 2;
        if ((!best || distance < best.distance) && valueAt(this.slice, row, column) !== null) best = { distance, row, column };
      }
    }
    if (best) this.act.place(this.side, { [this.axes[0]]: best.row, [this.axes[1]]: best.column });
  }

  // The neighbours, while nothing else is asked for.
  look(query, index, n) {
    clearTimeout(this.idle);
    this.idle = setTimeout(async () => {
      for (const next of [index + 1, index - 1]) if (next >= 0 && next < n) await askSlice({ ...query, index: next }).catch(() => {});
    }, 150);
  }

  // Where the slice lies in a square of `size` pixels: lower left corner, and pixels per voxel along columns and rows.
  layout(size) {
    const [rows, columns] = this.axes.map((axis) => this.volume.axes[axis]);
    const longest = Math.max(...Object.values(this.volume.axes).map((axis) => axis.n * Math.abs(axis.step)));
    const unit = (FILL * size * this.view.scale) / longest;
    const [wide, high] = [columns.n * Math.abs(columns.step) * unit, rows.n * Math.abs(rows.step) * unit];
    const left = size / 2 - wide / 2 - (this.view.x - 0.5) * size * this.view.scale;
    const bottom = size / 2 + high / 2 + (this.view.y - 0.5) * size * this.view.scale;
    return { left, bottom, across: wide / columns.n, up: high / rows.n, wide, high, unit };
  }

  draw() {
    if (!this.slice) return;
    const { size, ratio } = fitted(this.canvas);
    this.paint(this.canvas.getContext("2d", { willReadFrequently: true }), size, ratio);
    this.tell();
  }

  paint(context, size, ratio, dark = isDark()) {
    const look = this.side.look();
    if (!look) return;
    [this.small.width, this.small.height] = [this.slice.columns, this.slice.rows];
    this.small.getContext("2d").putImageData(imageOf(this.slice, look), 0, 0);
    const place = this.layout(size);
    context.clearRect(0, 0, size, size);
    context.imageSmoothingEnabled = place.across < 1;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.small, place.left, place.bottom - place.high, place.wide, place.high);
    const at = this.side.at();
    const over = dark || this.side.shown.kind === "grey"; // grey volumes are dark all around
    cross(context, place.left + (at[this.axes[1]] + 0.5) * place.across, place.bottom - (at[this.axes[0]] + 0.5) * place.up, size, ratio, over);
    scaleBar(context, size, 1 / place.unit, this.volume.unit, ratio, over);
  }

  tell() {
    const at = this.side.at();
    const value = valueAt(this.slice, at[this.axes[0]], at[this.axes[1]]);
    const axis = this.volume.axes[this.across];
    const where = axis ? `${this.across} ${at[this.across] + 1} of ${axis.n}${this.volume.unit === "µm" ? `, ${tidy(axis.first + at[this.across] * axis.step, 0.01)} µm` : ""}` : "image";
    this.words.textContent = where;
    this.canvas.setAttribute("aria-label", `slice ${this.title}, ${where}; at the cursor ${value === null ? "no value" : this.side.words(value)}`);
  }

  voxelAt(event) {
    const box = this.canvas.getBoundingClientRect();
    const { size } = fitted(this.canvas);
    const place = this.layout(size);
    const column = Math.floor((((event.clientX - box.left) / box.width) * size - place.left) / place.across);
    const row = Math.floor((place.bottom - ((event.clientY - box.top) / box.height) * size) / place.up);
    const [rows, columns] = this.axes.map((axis) => this.volume.axes[axis]);
    return { [this.axes[0]]: Math.min(rows.n - 1, Math.max(0, row)), [this.axes[1]]: Math.min(columns.n - 1, Math.max(0, column)) };
  }

  listen() {
    const { canvas } = this;
    let drags = false;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button || !this.slice) return;
      drags = true;
      canvas.setPointerCapture(event.pointerId);
      this.act.place(this.side, this.voxelAt(event));
    });
    canvas.addEventListener("pointermove", (event) => drags && this.act.place(this.side, this.voxelAt(event)));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { drags = false; });
    canvas.addEventListener("wheel", (event) => {
      if (!this.slice) return;
      event.preventDefault();
      if (event.ctrlKey || event.metaKey) {
        const box = canvas.getBoundingClientRect();
        const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
        this.zoom(Math.exp(-0.0025 * event.deltaY), this.view.x + (x - 0.5) / this.view.scale, this.view.y + (y - 0.5) / this.view.scale);
      } else this.act.move(this.across, event.deltaY > 0 ? -1 : 1);
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  zoom(factor, x = this.view.x, y = this.view.y) {
    this.view.zoom(factor, x, y);
    this.act.redraw();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.slice) return;
    const far = event.shiftKey ? 10 : 1;
    const moves = { ArrowRight: [this.axes[1], far], ArrowLeft: [this.axes[1], -far], ArrowUp: [this.axes[0], far], ArrowDown: [this.axes[0], -far], PageUp: [this.across, far], PageDown: [this.across, -far], Home: [this.across, -Infinity], End: [this.across, Infinity] };
    const zooms = { "+": 1.25, "=": 1.25, "-": 0.8, "−": 0.8 };
    if (moves[event.key]) this.act.move(...moves[event.key]);
    else if (zooms[event.key]) this.zoom(zooms[event.key]);
    else if (event.key === "0") { this.view.reset(); this.act.redraw(); } else return;
    event.preventDefault();
  }
}

export class SpacePanel {
  constructor(parent, side, act) {
    Object.assign(this, { side, act, picture: null });
    Object.assign(this, frame(parent, "in space", "panel space"));
    this.run = newestOnly((error) => { this.words.textContent = error.message.split("\n")[0]; this.picture = null; this.clear(); });
    this.small = document.createElement("canvas");
    this.listen();
  }

  // A small picture at once while the mouse turns it, the full one when it rests.
  load(turning = false) {
    const { size } = fitted(this.canvas);
    const pixels = turning ? 150 : Math.min(460, size);
    const volume = this.side.volume();
    const look = this.side.look();
    if (!volume.axes.z || !look) return;
    const { azimuth, elevation, cut } = this.act.turned();
    const brush = look.brush ? { from: look.brush[0], to: look.brush[1] } : {};
    const query = { ...this.side.query(), azimuth, elevation, cut, pixels, fine: turning ? 0 : 1, map: look.map.name, low: look.low, high: look.high, ...brush };
    const of = JSON.stringify(this.side.query());
    if (this.picture?.of !== of) this.words.textContent = "is being made …";
    this.canvas.classList.toggle("busy", !turning);
    this.run(async () => {
      const picture = await askPicture(query);
      this.picture = { ...picture, of, width: picture.pixelSize * pixels };
      this.canvas.classList.remove("busy");
      this.canvas.dataset.view = `${azimuth},${elevation}`;
      this.canvas.dataset.fine = query.fine;
      this.words.textContent = "";
      this.draw();
    });
    clearTimeout(this.rest);
    if (turning) this.rest = setTimeout(() => this.load(), 250);
  }

  clear() {
    const { size } = fitted(this.canvas);
    this.canvas.getContext("2d").clearRect(0, 0, size, size);
    this.canvas.classList.remove("busy");
  }

  draw() {
    if (!this.picture) return;
    const { size, ratio } = fitted(this.canvas);
    this.paint(this.canvas.getContext("2d", { willReadFrequently: true }), size, ratio);
    const { azimuth, elevation } = this.act.turned();
    this.canvas.setAttribute("aria-label", `picture in space, seen from azimuth ${Math.round(azimuth)} and elevation ${Math.round(elevation)} degrees; arrow keys turn it`);
  }

  paint(context, size, ratio, dark = isDark()) {
    const { image, width } = this.picture;
    [this.small.width, this.small.height] = [image.width, image.height];
    this.small.getContext("2d").putImageData(image, 0, 0);
    context.clearRect(0, 0, size, size);
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.small, 0, 0, size, size);
    scaleBar(context, size, width / size, this.side.volume().unit, ratio, dark);
  }

  listen() {
    const { canvas } = this;
    let last = null;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      last = [event.clientX, event.clientY];
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!last) return;
      const degrees = 200 / canvas.clientWidth;
      this.act.turn(-(event.clientX - last[0]) * degrees, (event.clientY - last[1]) * degrees, true);
      last = [event.clientX, event.clientY];
    });
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, () => {
        if (last) this.act.turn(0, 0, false);
        last = null;
      });
    }
    canvas.addEventListener("keydown", (event) => {
      const turns = { ArrowRight: [-10, 0], ArrowLeft: [10, 0], ArrowUp: [0, 10], ArrowDown: [0, -10] };
      if (!turns[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      this.act.turn(...turns[event.key], true);
    });
  }
}
