// Colours of slices, and what is drawn over pictures: scale bar, cross, colour bar.

import { ticks, tidy } from "./plot.js";

export const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif";
const UNTRUSTED = 158; // grey of what has no trusted value, as in the report
const DIMMED = 0.16; // what is left of the colours outside of a brushed range

const packed = (red, green, blue, alpha) => ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;

// Colour of each of the 65536 numbers that a pixel of a slice may have.
export function colourTable(slice, look) {
  const table = new Uint32Array(65536);
  table[1] = packed(UNTRUSTED, UNTRUSTED, UNTRUSTED, look.brush ? 60 : 255);
  const step = (slice.high - slice.low) / 65533;
  const { colours } = look.map;
  for (let i = 2; i < 65536; i += 1) {
    const value = slice.low + (i - 2) * step;
    const lit = !look.brush || (value >= look.brush[0] - step && value <= look.brush[1] + step);
    const k = 3 * indexOf(value, look);
    table[i] = packed(colours[k], colours[k + 1], colours[k + 2], lit ? 255 : Math.round(255 * DIMMED));
  }
  return table;
}

// Labels take the colours in turn; everything else goes from the low to the high end of the range.
export function indexOf(value, look) {
  if (look.map.name === "labels") return ((Math.round(value) % 256) + 256) % 256;
  return Math.max(0, Math.min(255, Math.floor(256 * ((value - look.low) / (look.high - look.low)))));
}

// A slice as an image whose first row is the lowest place: upwards is positive, as in the report.
export function imageOf(slice, look) {
  const table = colourTable(slice, look);
  const image = new ImageData(slice.columns, slice.rows);
  const pixels = new Uint32Array(image.data.buffer);
  for (let row = 0; row < slice.rows; row += 1) {
    const from = row * slice.columns;
    const to = (slice.rows - 1 - row) * slice.columns;
    for (let column = 0; column < slice.columns; column += 1) pixels[to + column] = table[slice.pixels[from + column]];
  }
  return image;
}

export function valueAt(slice, row, column) {
  const pixel = slice.pixels[row * slice.columns + column];
  return pixel < 2 ? null : slice.low + ((pixel - 2) / 65533) * (slice.high - slice.low);
}

export function roundLength(limit) {
  const power = 10 ** Math.floor(Math.log10(limit));
  return Math.max(...[1, 2, 5].map((m) => m * power).filter((one) => one <= limit * (1 + 1e-9)));
}

// Ink and halo of what is drawn over a picture: readable on any colour.
export function inks(dark) {
  return dark ? { ink: "rgba(255,255,255,.95)", halo: "rgba(0,0,0,.6)" } : { ink: "rgba(20,26,34,.9)", halo: "rgba(255,255,255,.7)" };
}

export const isDark = () => matchMedia("(prefers-color-scheme: dark)").matches;

// A bar of a round length at the lower left of a square of `size` pixels; `perPixel` is the length of a pixel.
export function scaleBar(context, size, perPixel, unit, ratio, dark) {
  const length = roundLength(0.3 * size * perPixel);
  const [left, base, thick] = [0.05 * size, 0.95 * size, 3.2 * ratio];
  const { ink, halo } = inks(dark);
  context.save();
  context.font = `600 ${11.5 * ratio}px ${FONT}`;
  context.textAlign = "center";
  context.lineJoin = "round";
  context.lineWidth = 3 * ratio;
  context.strokeStyle = halo;
  context.fillStyle = ink;
  const words = `${tidy(length)} ${unit}`;
  const middle = left + length / perPixel / 2;
  context.strokeRect(left, base - thick, length / perPixel, thick);
  context.strokeText(words, middle, base - thick - 5 * ratio);
  context.fillRect(left, base - thick, length / perPixel, thick);
  context.fillText(words, middle, base - thick - 5 * ratio);
  context.restore();
}

export function cross(context, x, y, size, ratio, dark) {
  const gap = 9 * ratio;
  const { ink, halo } = inks(dark);
  context.save();
  for (const [width, paint] of [[2.4 * ratio, halo.replace(".7", ".45")], [0.9 * ratio, ink]]) {
    context.lineWidth = width;
    context.strokeStyle = paint;
    context.beginPath();
    for (const [from, to] of [[[0, y], [x - gap, y]], [[x + gap, y], [size, y]], [[x, 0], [x, y - gap]], [[x, y + gap], [x, size]]]) {
      context.moveTo(...from);
      context.lineTo(...to);
    }
    context.stroke();
  }
  context.restore();
}

export function colourBar(context, box, look, words, ink, ratio) {
  const { left, top, width } = box;
  const height = 10 * ratio;
  const { colours } = look.map;
  for (let i = 0; i < 256; i += 1) {
    const k = 3 * indexOf(look.low + ((i + 0.5) / 256) * (look.high - look.low), look);
    context.fillStyle = `rgb(${colours[k]},${colours[k + 1]},${colours[k + 2]})`;
    context.fillRect(left + (i / 256) * width, top, width / 256 + 0.7, height);
  }
  context.fillStyle = ink;
  context.strokeStyle = ink;
  context.lineWidth = 0.8 * ratio;
  context.strokeRect(left, top, width, height); // white ends on white ground
  context.font = `${11 * ratio}px ${FONT}`;
  context.textAlign = "center";
  const { values, step } = ticks(look.low, look.high, Math.max(2, Math.floor(width / (80 * ratio))));
  for (const value of values) {
    const x = left + ((value - look.low) / (look.high - look.low)) * width;
    context.beginPath();
    context.moveTo(x, top + height);
    context.lineTo(x, top + height + 3 * ratio);
    context.stroke();
    context.fillText(tidy(value, step), Math.min(Math.max(x, left + 14 * ratio), left + width - 14 * ratio), top + height + 14 * ratio);
  }
  context.fillText(words, left + width / 2, top + height + 29 * ratio);
}
