// Curves as SVG: axes with round ticks, lines, points, bands, marks; colours stand in attributes, so a copy keeps them.

const SVG = "http://www.w3.org/2000/svg";
const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif";

export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

const SERIES = () => [colour("a"), colour("b"), "#009e73", "#cc79a7", colour("fifth"), colour("sixth"), colour("soft"), colour("ink")];

export function element(name, attributes = {}, parent = null, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

export function ticks(low, high, count) {
  const rough = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((one) => one >= rough * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) found.push(i * step);
  return { values: found, step };
}

export function tidy(value, step) {
  return plain(value, step).replace("-", "\u2212");
}

function plain(value, step) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (step === undefined) return String(Number(value.toPrecision(6)));
  if (Math.abs(value) < step * 1e-6) return "0";
  if (step < 1e-3 || Math.abs(value) >= 1e5) return String(Number(value.toPrecision(4)));
  const digits = Math.max(0, Math.min(6, -Math.floor(Math.log10(step) + 1e-9)));
  const half = Math.abs(((step * 10 ** digits) % 1) - 0.5) < 1e-6; // steps of 2.5 need one more
  return value.toFixed(digits + (half ? 1 : 0));
}

const upTicks = (ys, frame) => ticks(ys[0], ys[1], Math.max(3, Math.floor((frame.bottom - frame.top) / 36)));

// Round places of an axis whose steps are factors.
function decades([low, high]) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) for (const m of [1, 2, 5]) found.push(m * 10 ** power);
  return { values: found.filter((value) => value >= low && value <= high) };
}

function reach(lines, key, more) {
  const values = more.filter((value) => Number.isFinite(value));
  for (const line of lines) {
    for (const value of line[key]) if (Number.isFinite(value)) values.push(value);
    if (key === "y" && line.upper) for (const value of line.upper) if (Number.isFinite(value)) values.push(value);
    if (key === "y" && line.std) line.y.forEach((value, i) => { if (Number.isFinite(value) && Number.isFinite(line.std[i])) values.push(value - line.std[i], value + line.std[i]); });
  }
  let low = values.reduce((a, b) => Math.min(a, b), Infinity);
  let high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  if (!(high >= low)) [low, high] = [0, 1];
  if (high === low) [low, high] = [low - 0.5 * (Math.abs(low) || 1) * 0.01, high + 0.5 * (Math.abs(low) || 1) * 0.01];
  return [low, high];
}

const WIDTHS = { faint: 1, thin: 0.9 };
const label = ([words, unit]) => (unit && words ? `${words} (${unit})` : words || unit);

// Draws `spec` into `box`: title, x and y as [words, unit], lines of {name, style, x, y, upper, std, colour},
// marks of {x, words, colour, band}, zero, bars. Gives the scales back, for what is drawn or dragged on top.
export function plot(box, spec) {
  const width = spec.width || 336;
  const least = spec.height || 190;
  const legend = legendOf(spec);
  const rows = legend.length ? legendRows(legend, width) : 0;
  const top = (spec.title ? 20 : 6) + 16 * rows;
  const height = least + 16 * Math.max(0, rows - 1);
  const frame = { left: 8, right: width - 8, top, bottom: height - 34 };
  const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": spec.title || label(spec.y), "font-family": FONT, "font-size": 11, fill: colour("ink") });
  const xs = spec.xRange || reach(spec.lines, "x", []);
  const seen = spec.xRange && !spec.bars ? spec.lines.map((line) => within(line, xs)) : spec.lines;
  const ys = spec.yRange || widened(reach(seen, "y", spec.zero ? [0] : []), spec.bars);
  if (spec.equal) [xs[0], xs[1]] = widened(xs);
  const up = upTicks(ys, frame);
  if (!spec.bars) frame.left = Math.max(spec.left || 0, 26 + 6.4 * Math.max(...up.values.map((value) => tidy(value, up.step).length), 2));
  if (spec.equal) equalise(xs, ys, frame);
  const even = spec.xLog && xs[0] > 0 ? Math.log10 : (value) => value;
  const scale = {
    x: (value) => frame.left + ((even(value) - even(xs[0])) / (even(xs[1]) - even(xs[0]))) * (frame.right - frame.left),
    y: (value) => frame.bottom - ((value - ys[0]) / (ys[1] - ys[0])) * (frame.bottom - frame.top),
    back: (pixel) => xs[0] + ((pixel - frame.left) / (frame.right - frame.left)) * (xs[1] - xs[0]),
    frame, width, height, xs, ys,
  };
  axes(svg, spec, scale, xs, ys);
  for (const mark of spec.marks || []) drawMark(svg, mark, scale);
  const series = paints(spec.lines);
  seen.forEach((line, number) => drawLine(svg, line, scale, series[number]));
  drawLegend(svg, legend, width, spec.title ? 30 : 14);
  if (spec.title) element("text", { x: 0, y: 12, "font-weight": 600, "font-size": 12 }, svg, spec.title);
  box.replaceChildren(svg);
  readout(svg, spec, seen, scale);
  if (spec.file) box.append(keepButton(svg, spec.file));
  return { svg, scale };
}

// What of a line lies in the range that is drawn.
function within(line, [low, high]) {
  const keep = line.x.map((x) => x >= low && x <= high);
  const part = (values) => values && values.filter((_, i) => keep[i]);
  return { ...line, x: part(line.x), y: part(line.y), upper: part(line.upper), std: part(line.std) };
}

function widened([low, high], bars) {
  const margin = 0.06 * (high - low);
  return bars ? [0, high * 1.06 || 1] : [low - margin, high + margin];
}

function equalise(xs, ys, frame) {
  const unit = Math.max((xs[1] - xs[0]) / (frame.right - frame.left), (ys[1] - ys[0]) / (frame.bottom - frame.top));
  const grow = (range, pixels) => { const more = (unit * pixels - (range[1] - range[0])) / 2; range[0] -= more; range[1] += more; };
  grow(xs, frame.right - frame.left);
  grow(ys, frame.bottom - frame.top);
}

function axes(svg, spec, scale, xs, ys) {
  const { frame } = scale;
  const soft = colour("soft");
  const line = colour("line");
  const across = spec.xLog && xs[0] > 0 ? decades(xs) : ticks(xs[0], xs[1], Math.floor((frame.right - frame.left) / 70));
  for (const value of across.values) {
    element("line", { x1: scale.x(value), x2: scale.x(value), y1: frame.bottom, y2: frame.bottom + 4, stroke: soft }, svg);
    element("text", { x: scale.x(value), y: frame.bottom + 15, "text-anchor": "middle", fill: soft }, svg, tidy(value, across.step));
  }
  element("line", { x1: frame.left, x2: frame.right, y1: frame.bottom, y2: frame.bottom, stroke: soft }, svg);
  element("text", { x: (frame.left + frame.right) / 2, y: frame.bottom + 30, "text-anchor": "middle", fill: soft }, svg, label(spec.x));
  if (spec.bars) return;
  const up = upTicks(ys, frame);
  for (const value of up.values) {
    element("line", { x1: frame.left, x2: frame.right, y1: scale.y(value), y2: scale.y(value), stroke: line, "stroke-width": value === 0 && spec.zero ? 1.4 : 0.7 }, svg);
    element("text", { x: frame.left - 5, y: scale.y(value) + 4, "text-anchor": "end", fill: soft }, svg, tidy(value, up.step));
  }
  const words = label(spec.y);
  const size = Math.min(11, Math.max(8, (frame.bottom - frame.top) / (0.58 * Math.max(1, words.length)))); // within the frame
  element("text", { transform: `translate(10 ${(frame.top + frame.bottom) / 2}) rotate(-90)`, "text-anchor": "middle", fill: soft, "font-size": size.toFixed(1) }, svg, words);
}

function drawMark(svg, mark, scale) {
  const { frame } = scale;
  if (!Number.isFinite(mark.x) || mark.x < scale.xs[0] || mark.x > scale.xs[1]) return;
  const paint = mark.colour || colour("accent");
  if (mark.band) {
    const left = Math.max(frame.left, scale.x(mark.x - mark.band));
    element("rect", { x: left, y: frame.top, width: Math.max(1, Math.min(frame.right, scale.x(mark.x + mark.band)) - left), height: frame.bottom - frame.top, fill: paint, opacity: 0.18 }, svg);
  }
  element("line", { x1: scale.x(mark.x), x2: scale.x(mark.x), y1: frame.top, y2: frame.bottom, stroke: paint, "stroke-width": 1.5, "stroke-dasharray": mark.solid ? "none" : "4 3", class: "mark" }, svg);
}

function drawLine(svg, line, scale, paint) {
  if (line.style === "bars") {
    drawBars(svg, line, scale);
  } else if (line.style === "band") {
    const up = line.x.map((x, i) => `${scale.x(x).toFixed(2)},${scale.y(line.upper[i]).toFixed(2)}`);
    const down = line.x.map((x, i) => `${scale.x(x).toFixed(2)},${scale.y(line.y[i]).toFixed(2)}`).reverse();
    element("polygon", { points: [...up, ...down].join(" "), fill: paint, opacity: 0.18 }, svg);
  } else if (line.style === "points") {
    const dots = element("g", { fill: paint }, svg);
    line.x.forEach((x, i) => {
      if (!Number.isFinite(line.y[i])) return;
      if (line.std && Number.isFinite(line.std[i])) {
        element("line", { x1: scale.x(x), x2: scale.x(x), y1: scale.y(line.y[i] - line.std[i]), y2: scale.y(line.y[i] + line.std[i]), stroke: paint, "stroke-width": 1, opacity: 0.7 }, dots);
      }
      element("circle", { cx: scale.x(x).toFixed(2), cy: scale.y(line.y[i]).toFixed(2), r: line.x.length > 400 ? 1.4 : line.x.length > 60 ? 1.2 : 2.2 }, dots);
    });
  } else {
    let path = "";
    line.x.forEach((x, i) => {
      if (Number.isFinite(line.y[i])) path += `${path && Number.isFinite(line.y[i - 1]) ? "L" : "M"}${scale.x(x).toFixed(2)} ${scale.y(line.y[i]).toFixed(2)}`;
    });
    element("path", { d: path, fill: "none", stroke: paint, "stroke-width": WIDTHS[line.style] || 1.6, opacity: line.style === "faint" ? 0.7 : 1 }, svg);
  }
}

function drawBars(svg, line, scale) {
  line.y.forEach((count, i) => {
    const left = scale.x(line.edges[i]);
    const right = scale.x(line.edges[i + 1]);
    const up = scale.y(count);
    element("rect", { x: left.toFixed(2), y: up.toFixed(2), width: Math.max(0.5, right - left - (right - left > 3 ? 0.5 : 0)).toFixed(2), height: Math.max(0, scale.frame.bottom - up).toFixed(2), fill: line.fills ? line.fills[i] : line.colour, stroke: colour("soft"), "stroke-width": count ? 0.35 : 0 }, svg);
  });
}

// A line's own colour, that of its series, or the next one; a band has the colour of the line that it belongs to.
function paints(lines) {
  const colours = SERIES();
  let next = 0;
  return lines.map((line) => {
    const number = line.series ?? next;
    if (line.style !== "band") next += 1;
    return line.colour || colours[number % colours.length];
  });
}

function legendOf(spec) {
  const seen = new Set();
  const series = paints(spec.lines);
  const found = spec.lines.map((line, i) => ({ words: line.name, style: line.style, paint: series[i] }));
  const named = found.filter((one) => one.words && !seen.has(one.words) && seen.add(one.words));
  return named.length > 1 ? named.slice(0, 9) : [];
}

const entryWidth = (entry) => 28 + 6.4 * entry.words.length;

function legendRows(legend, width) {
  let [rows, used] = [1, 0];
  for (const entry of legend) {
    if (used + entryWidth(entry) > width && used) [rows, used] = [rows + 1, 0];
    used += entryWidth(entry);
  }
  return rows;
}

function drawLegend(svg, legend, width, top) {
  let [x, y] = [0, top];
  for (const entry of legend) {
    if (x + entryWidth(entry) > width && x) [x, y] = [0, y + 16];
    if (entry.style === "points") element("circle", { cx: x + 6, cy: y - 4, r: 2.6, fill: entry.paint }, svg);
    else element("line", { x1: x, x2: x + 12, y1: y - 4, y2: y - 4, stroke: entry.paint, "stroke-width": entry.style === "band" ? 7 : 2, opacity: entry.style === "band" ? 0.3 : entry.style === "faint" ? 0.7 : 1 }, svg);
    element("text", { x: x + 17, y, fill: colour("soft") }, svg, entry.words);
    x += entryWidth(entry);
  }
}

// The value under the mouse, beside it.
function readout(svg, spec, seen, scale) {
  if (spec.bars) return;
  const text = element("text", { fill: colour("ink"), "font-weight": 600, visibility: "hidden", "paint-order": "stroke", stroke: colour("ground"), "stroke-width": 3 }, svg);
  const dot = element("circle", { r: 3.4, fill: "none", stroke: colour("ink"), visibility: "hidden" }, svg);
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * scale.width;
    const y = ((event.clientY - box.top) / box.height) * scale.height;
    let best = null;
    for (const line of seen) {
      if (line.style === "band") continue;
      line.x.forEach((one, i) => {
        if (!Number.isFinite(line.y[i])) return;
        const distance = (scale.x(one) - x) ** 2 + 0.3 * (scale.y(line.y[i]) - y) ** 2;
        if (!best || distance < best.distance) best = { distance, x: one, y: line.y[i] };
      });
    }
    const near = best && best.distance < 900;
    for (const mark of [text, dot]) mark.setAttribute("visibility", near ? "visible" : "hidden");
    if (!near) return;
    dot.setAttribute("cx", scale.x(best.x));
    dot.setAttribute("cy", scale.y(best.y));
    const right = scale.x(best.x) > 0.6 * scale.width;
    text.setAttribute("x", scale.x(best.x) + (right ? -7 : 7));
    text.setAttribute("y", Math.max(scale.frame.top + 8, scale.y(best.y) - 7));
    text.setAttribute("text-anchor", right ? "end" : "start");
    text.textContent = `${tidy(best.x)}, ${tidy(Number(best.y.toPrecision(5)))}`;
  });
  svg.addEventListener("pointerleave", () => { for (const mark of [text, dot]) mark.setAttribute("visibility", "hidden"); });
}

function keepButton(svg, file) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "keep";
  button.textContent = "PNG";
  button.title = "Save this figure";
  button.setAttribute("aria-label", `Save the figure ${file}`);
  button.addEventListener("click", async () => {
    const canvas = await canvasOf(svg, 3);
    download(canvas, file);
  });
  return button;
}

async function canvasOf(svg, factor) {
  const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  const address = URL.createObjectURL(new Blob([new XMLSerializer().serializeToString(svg)], { type: "image/svg+xml" }));
  const image = new Image();
  image.src = address;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = (width + 16) * factor;
  canvas.height = (height + 16) * factor;
  const context = canvas.getContext("2d");
  context.fillStyle = colour("ground");
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 8 * factor, 8 * factor, width * factor, height * factor);
  URL.revokeObjectURL(address);
  return canvas;
}

export function download(canvas, name) {
  canvas.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${name.replace(/[^\w.+-]+/g, "_")}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }, "image/png");
}
