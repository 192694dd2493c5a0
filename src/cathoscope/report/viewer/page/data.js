// What the server answers: numbers of slices and pictures, and everything else as JSON.

export class Refused extends Error {
  constructor(told) {
    super([told.problem, told.expected && `expected: ${told.expected}`, told.found && `found: ${told.found}`, told.cure && `cure: ${told.cure}`].filter(Boolean).join("\n"));
  }
}

async function ask(name, query) {
  const text = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== undefined && value !== null));
  let answer;
  try {
    answer = await fetch(`api/${name}?${text}`);
  } catch {
    throw new Refused({ problem: "the viewer does not answer any more", cure: "start it again: cathoscope view STUDY" });
  }
  if (answer.ok) return answer;
  if (answer.headers.get("content-type")?.includes("json")) throw new Refused(await answer.json());
  throw new Refused({ problem: answer.status === 500 ? "the viewer met an error of its own; see where it was started" : (await answer.text()).trim() });
}

export const askJson = async (name, query = {}) => (await ask(name, query)).json();

const kept = new Map(); // the last slices, newest last
let keptBytes = 0;
const MOST_BYTES = 48 << 20;

// One slice: lowest and highest value, rows, columns, 16 bits a pixel (0 outside, 1 no trusted value).
export async function askSlice(query) {
  const key = JSON.stringify(query);
  const found = kept.get(key);
  if (found) {
    kept.delete(key);
    kept.set(key, found);
    return found;
  }
  const content = await (await ask("slice", query)).arrayBuffer();
  const head = new DataView(content);
  const made = { low: head.getFloat64(0, true), high: head.getFloat64(8, true), rows: head.getInt32(16, true), columns: head.getInt32(20, true), pixels: new Uint16Array(content, 24) };
  kept.set(key, made);
  keptBytes += content.byteLength;
  for (const [old, slice] of kept) {
    if (keptBytes <= MOST_BYTES) break;
    kept.delete(old);
    keptBytes -= slice.pixels.byteLength + 24;
  }
  return made;
}

export async function askPicture(query) {
  const content = await (await ask("picture", query)).arrayBuffer();
  const head = new DataView(content);
  const [rows, columns] = [head.getInt32(8, true), head.getInt32(12, true)];
  return { pixelSize: head.getFloat64(0, true), image: new ImageData(new Uint8ClampedArray(content, 16), columns, rows) };
}

// Runs the newest task only: while one is on its way, of those that come meanwhile all but the last are dropped.
export function newestOnly(report) {
  let [running, waiting] = [false, null];
  return async function run(task) {
    if (running) {
      waiting = task;
      return;
    }
    running = true;
    while (task) {
      waiting = null;
      try {
        await task();
      } catch (error) {
        report(error);
      }
      task = waiting;
    }
    running = false;
  };
}
