// What is shown, as a short text in the address: reload it, bookmark it, send it.

export const state = {
  a: { m: "", q: "", i: {} }, b: null,
  at: null, // [z, y, x] of the first side
  map: "", low: null, high: null, brush: null,
  azimuth: 30, elevation: 28, cut: "octant",
};

const number = (text) => (text !== null && text !== "" && Number.isFinite(Number(text)) ? Number(text) : null);
const short = (value) => String(Number(value.toPrecision(7)));
const CUTS = ["octant", "quadrant", "half", "nothing"];

export function written() {
  const text = new URLSearchParams();
  const side = (name, { m, q, i }) => {
    text.set(name, m);
    text.set(`${name}.show`, q);
    for (const [dim, index] of Object.entries(i)) if (index) text.set(`${name}.${dim}`, index);
  };
  side("a", state.a);
  if (state.b) side("b", state.b);
  if (state.at) text.set("at", state.at.join(","));
  if (state.map) text.set("map", state.map);
  if (state.low !== null && state.high !== null) text.set("range", `${short(state.low)},${short(state.high)}`);
  if (state.brush) text.set("lit", state.brush.map(short).join(","));
  text.set("view", `${Math.round(state.azimuth)},${Math.round(state.elevation)}`);
  if (state.cut !== "octant") text.set("cut", state.cut);
  return text.toString().replaceAll("%2F", "/").replaceAll("%2C", ",");
}

export function read(fragment) {
  const text = new URLSearchParams(fragment.replace(/^#/, ""));
  const side = (name) => {
    if (!text.has(name)) return null;
    const i = {};
    for (const [key, value] of text) {
      const dim = key.startsWith(`${name}.`) && key.slice(name.length + 1);
      if (dim && dim !== "show" && number(value) !== null) i[dim] = Math.max(0, Math.round(number(value)));
    }
    return { m: text.get(name), q: text.get(`${name}.show`) || "", i };
  };
  const list = (name, count) => {
    const found = (text.get(name) || "").split(",").map(number);
    return found.length === count && found.every((one) => one !== null) ? found : null;
  };
  state.a = side("a") || state.a;
  state.b = side("b");
  state.at = list("at", 3)?.map((one) => Math.max(0, Math.round(one))) || null;
  state.map = text.get("map") || "";
  [state.low, state.high] = list("range", 2) || [null, null];
  if (!(state.high > state.low)) [state.low, state.high] = [null, null];
  state.brush = list("lit", 2);
  [state.azimuth, state.elevation] = list("view", 2) || [30, 28];
  state.cut = CUTS.includes(text.get("cut")) ? text.get("cut") : "octant";
}

let later = 0;

export function remember() {
  clearTimeout(later);
  later = setTimeout(() => history.replaceState(null, "", `${location.pathname}#${written()}`), 120);
}
