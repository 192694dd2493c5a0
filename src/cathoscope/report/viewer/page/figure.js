// The figure that is saved: what is on screen, on white, with titles, scale bars and colour bars.

import { colourBar, FONT } from "./paint.js";
import { download, tidy } from "./plot.js";

const [PANEL, GAP, MARGIN, HEAD, BAR] = [620, 24, 36, 108, 96];

export function saveFigure(sides, title) {
  const flat = !sides[0].shown.axes.z;
  const columns = flat ? 1 : 2;
  const block = columns * PANEL + (columns - 1) * GAP;
  const canvas = document.createElement("canvas");
  canvas.width = 2 * MARGIN + sides.length * block + (sides.length - 1) * 2 * GAP;
  canvas.height = MARGIN + HEAD + columns * (PANEL + 34) + BAR;
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = "#1c2430";
  context.font = `600 30px ${FONT}`;
  context.fillText(title, MARGIN, MARGIN + 20, canvas.width - 2 * MARGIN);
  sides.forEach((side, number) => drawSide(context, side, MARGIN + number * (block + 2 * GAP), columns, block));
  download(canvas, `${title} ${sides.map((side) => side.title()).join(" and ")}`.slice(0, 150));
  return canvas;
}

function drawSide(context, side, left, columns, block) {
  context.font = `24px ${FONT}`;
  context.textAlign = "left";
  context.fillStyle = "#1c2430";
  const { brush } = side.look();
  const lit = brush ? `, lit: ${tidy(brush[0])} to ${tidy(brush[1])} ${side.shown.valueUnit}` : "";
  context.fillText(side.title() + lit, left, MARGIN + 64, block);
  const panels = [...side.slices, side.space].filter((panel) => !panel.figure.hidden && (panel.slice || panel.picture));
  panels.forEach((panel, k) => {
    const x = left + (k % columns) * (PANEL + GAP);
    const y = MARGIN + HEAD + Math.floor(k / columns) * (PANEL + 34);
    const own = document.createElement("canvas");
    [own.width, own.height] = [PANEL, PANEL];
    panel.paint(own.getContext("2d"), PANEL, 1.7, false);
    context.fillStyle = "#eceff2";
    context.fillRect(x, y, PANEL, PANEL);
    context.drawImage(own, x, y);
    context.fillStyle = "#5b6675";
    context.font = `20px ${FONT}`;
    context.textAlign = "left";
    context.fillText(panel.across ? `${panel.title}, ${panel.words.textContent}` : "in space", x, y - 8, PANEL);
  });
  const look = side.look();
  const words = side.shown.words + (side.shown.valueUnit ? ` (${side.shown.valueUnit})` : "");
  const width = Math.min(block, 760);
  colourBar(context, { left: left + (block - width) / 2, top: MARGIN + HEAD + columns * (PANEL + 34) - 12, width }, look, words, "#1c2430", 2);
}
