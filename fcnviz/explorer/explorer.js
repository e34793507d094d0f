// The explorer: networks under one image size. One module, no library. It draws and reports; every number comes from
// the scene (see scene.py): formulas as trees, sentences as templates. Nothing in the scene is run as code, and every
// name in it is put on the page as text.
//
// In reading order: trees and sentences (no page needed) · a lane at a size · pieces of a page · the lanes as blocks ·
// the view and its state · controls · the selected step · its window · why it stops · the plane of sizes · the table ·
// render.

const NARROW = "\u202f";

// Trees: a number, a name, or [operator, …]; the same meaning as in expressions.py.

const floorMod = (a, b) => { const rest = a % b; return rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest; };
const even = (a) => { const f = Math.floor(a), d = a - f; return d > 0.5 || (d === 0.5 && f % 2 !== 0) ? f + 1 : f; };
const OPERATORS = {
  "-": (a, b) => a - b, "/": (a, b) => a / b, "//": (a, b) => Math.round((a - floorMod(a, b)) / b), "%": floorMod,
  "⌈/⌉": (a, b) => Math.ceil(a / b), "=": (a, b) => a === b, "≠": (a, b) => a !== b, "<": (a, b) => a < b,
  "≤": (a, b) => a <= b, ">": (a, b) => a > b, "≥": (a, b) => a >= b, "not": (a) => !a,
  "floor": Math.floor, "ceil": Math.ceil, "trunc": Math.trunc, "round": even,
};
const FOLDS = {
  "+": (a, b) => a + b,
  "*": (a, b) => a * b,
  "max": (a, b) => Math.max(a, b),
  "min": (a, b) => Math.min(a, b),
};

/** A tree as a function of H and W. */
export function compiled(tree) {
  if (tree === "H") return (h) => h;
  if (tree === "W") return (_, w) => w;
  if (!Array.isArray(tree)) return () => tree;
  const [head, ...rest] = tree, parts = rest.map(compiled);
  if (head === "and") return (h, w) => parts.every((part) => part(h, w));
  if (head === "or") return (h, w) => parts.some((part) => part(h, w));
  if (head === "if") return (h, w) => (parts[0](h, w) ? parts[1](h, w) : parts[2](h, w));
  const [a, b] = parts, operator = OPERATORS[head] ?? (parts.length === 2 ? FOLDS[head] : null);
  if (FOLDS[head] && !operator) return (h, w) => parts.map((part) => part(h, w)).reduce(FOLDS[head]);
  if (!operator) throw new Error(`no operator ${head}`);
  return b ? (h, w) => operator(a(h, w), b(h, w)) : (h, w) => operator(a(h, w));
}

const COMPILED = new WeakMap();

/** A tree of the scene, compiled once. */
function ready(tree) {
  if (!Array.isArray(tree)) return compiled(tree);
  if (!COMPILED.has(tree)) COMPILED.set(tree, compiled(tree));
  return COMPILED.get(tree);
}

/** Whether a tree speaks of this name; of any, if none is given. */
export function speaksOf(tree, name) {
  if (typeof tree === "string") return name === undefined || tree === name;
  return Array.isArray(tree) && tree.slice(1).some((part) => speaksOf(part, name));
}

/** A number as fcnviz writes it: thousands apart, a real minus sign. */
export function count(number) {
  const digits = String(Math.abs(number)),
    apart = Number.isInteger(number) ? digits.replace(/\B(?=(\d{3})+$)/g, NARROW) : digits;
  return number < 0 ? `−${apart}` : apart;
}

/** A sentence at a size: pieces {text, moves}, where a piece that moves is a number that follows H and W. */
export function pieces(text, h, w) {
  while (!Array.isArray(text)) text = ready(text.if)(h, w) ? text.yes : text.no;
  return text.map((part) => {
    if (typeof part === "string") return { text: part, moves: false };
    const grouped = "#" in part, value = ready(grouped ? part["#"] : part.d)(h, w);
    return { text: grouped ? count(value) : String(value), moves: true };
  });
}
export const spoken = (text, h, w) => pieces(text, h, w).map((piece) => piece.text).join("");

/** Pieces up to the first semicolon, and those after it. */
function clauses(list) {
  const at = list.findIndex((piece) => piece.text.includes("; "));
  if (at < 0) return [list, []];
  const { text } = list[at], cut = text.indexOf("; "), part = (words) => (words ? [{ ...list[at], text: words }] : []);
  return [
    [...list.slice(0, at), ...part(text.slice(0, cut))],
    [...part(text.slice(cut + 2)), ...list.slice(at + 1)],
  ];
}

/** Pieces as lines of fields, which stand apart by line ends and tabs. */
function fields(list) {
  const lines = [[[]]];
  for (const piece of list) {
    piece.text.split(/([\n\t])/).forEach((text) => {
      if (text === "\n") lines.push([[]]);
      else if (text === "\t") lines.at(-1).push([]);
      else if (text) lines.at(-1).at(-1).push({ ...piece, text });
    });
  }
  return lines.filter((line) => line.some((field) => field.length));
}

// A lane at a size.

const isShape = (output) => Number.isInteger(output);
const shapesIn = (output) => {
  if (output === null || output === undefined) return [];
  return isShape(output) ? [output] : Object.values(output).flatMap((part) => Object.values(part)).flatMap(shapesIn);
};

/** One network, ready to be asked what it does at a size. */
export class Lane {
  constructor(data) {
    this.data = data;
    this.label = data.label;
    this.reason = data.reason && `no law: ${data.reason}`;
    this.known = data.law
      ? null
      : new Map(Object.entries(data.traces ?? {}).map(([k, law]) => [k, this.prepared(law)]));
    this.law = data.law ? this.prepared(data.law) : null;
    this.refused = new Map();
    this.follow(data);
  }

  /** The steps this network is known to take. */
  follow({ law, plan }) {
    this.plan = new Map((law ? plan.map((place) => law.steps[place]) : plan).map((row) => [row.name, row]));
  }

  prepared(law) {
    const shapes = law.shapes.map((trees) =>
      following(trees.map((tree, i) => ({ value: compiled(tree), moves: this.moves(tree, i, law) }))),
    );
    const sights = this.data.sights ?? {};
    const steps = law.steps.map((row, place) => {
      const [sees = "", field = []] = sights[place] ?? [];
      return { ...row, sees, field, macsAt: compiled(row.macs ?? 0) };
    });
    return { shapes, steps, paths: law.paths.map((path) => ({ ...path, taken: compiled(path.if) })) };
  }

  /** Whether a size follows H and W. A single trace does not say; there height and width are taken to. */
  moves(tree, place, law) {
    return this.data.law ? speaksOf(tree) : place >= 2 && law.shapes.length > 0;
  }

  learn(h, w, law) { this.known?.set(`${h},${w}`, this.prepared(law)); }
  refuse(h, w, words) { this.refused.set(`${h},${w}`, words); }
  /** The step of this name in the last trace that has it. */
  seen(name) {
    const found = [...this.known.values()].map((law) => ({ law, row: law.steps.find((row) => row.name === name) }));
    return found.findLast(({ row }) => row);
  }

  answered(h, w) { return Boolean(this.lawAt(h, w)) || this.refused.has(`${h},${w}`); }
  lawAt(h, w) { return this.law ?? this.known.get(`${h},${w}`) ?? null; }

  pathAt(h, w) {
    const law = this.lawAt(h, w);
    return law ? law.paths.findIndex((path) => path.taken(h, w)) : -1;
  }

  /** What happens at a size, or null if nobody knows yet. */
  at(h, w) {
    const law = this.lawAt(h, w), path = law?.paths.find((one) => one.taken(h, w));
    return path ? Lane.along(law, path, h, w) : null;
  }

  /** What happens on a path of a law, with the sizes that this height and width would have there. */
  static along(law, path, h, w) {
    const shape = (place) => law.shapes[place](h, w);
    const steps = new Map(path.steps.map((place) => {
      const row = law.steps[place], outputs = shapesIn(row.output).map(shape);
      const failed = path.said !== null && place === path.steps.at(-1);
      return [row.name, { row, inputs: (row.inputs ?? []).map(shape), outputs, macs: row.macsAt(h, w), failed }];
    }));
    return {
      steps,
      outputs: shapesIn(path.output).map(shape),
      said: path.said,
      failing: path.said ? [...steps.keys()].at(-1) : null,
    };
  }

}

/** A shape as a function of H and W. Where its numbers are those of last time it is the same array: nothing to draw. */
function following(sizes) {
  let at = [], last = null;
  return (h, w) => {
    if (last && at[0] === h && at[1] === w) return last;
    at = [h, w];
    if (!last?.every(({ value }, i) => value === sizes[i].value(h, w)))
      last = sizes.map(({ value, moves }) => ({ value: value(h, w), moves }));
    return last;
  };
}

/** C×H×W for one image; the batch where it is not 1 or the tensor is no image. */
const shown = (shape) => (shape.length > 3 && shape[0].value === 1 ? shape.slice(1) : shape);
const shapeText = (shape) => shown(shape).map((size) => size.value).join("×") || "one number";
const outputText = (shapes) => (shapes.length === 1 ? shapeText(shapes[0]) : `(${shapes.map(shapeText).join(", ")})`);

/** Below each other: C, H and W of a map; in one line the sizes of anything else, without the batch. */
function labels(shape) {
  const sizes = shape.slice(1);
  if (shape.length === 4 || !sizes.length) return sizes;
  return [{ value: sizes.map((size) => size.value).join("×"), moves: sizes.some((size) => size.moves) }];
}

/** Width, height and depth of a shape as a box: what is no map is one cell with as many channels. */
function box(shape) {
  const sizes = shape.slice(1).map((size) => size.value);
  if (sizes.length >= 3) return { w: sizes.at(-1), h: sizes.at(-2), c: sizes.slice(0, -2).reduce((a, b) => a * b, 1) };
  if (sizes.length === 2) return { w: sizes[1], h: 1, c: sizes[0] };
  return { w: 1, h: 1, c: sizes[0] ?? 1 };
}

const asBox = (sizes) => box(sizes.map((value) => ({ value })));

// Pieces of a page.

const SVG = "http://www.w3.org/2000/svg";
function put(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "text") node.textContent = value;
    else if (key === "style") node.style.cssText = value; // an attribute would need a laxer policy
    else if (key === "on") for (const [event, act] of Object.entries(value)) node.addEventListener(event, act);
    else if (value === true && !key.startsWith("aria-")) node.setAttribute(key, "");
    else if (value !== undefined && value !== null && value !== false) node.setAttribute(key, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}
const html = (tag, attributes = {}, ...children) => put(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) => put(document.createElementNS(SVG, tag), attributes, children);
const WRITTEN = Symbol("what was written last");

/** Another text in the same node: a new one would have its ancestors styled anew. */
function write(node, text) {
  const only = node.firstChild;
  if (only?.nodeType === Node.TEXT_NODE && !only.nextSibling) only.data = text;
  else node.textContent = text;
}

/** Writes what is not written already: even the same words, written again, would be laid out and painted anew. */
function set(node, values) {
  const last = (node[WRITTEN] ??= {});
  for (const key in values) {
    if (last[key] === values[key]) continue;
    last[key] = values[key];
    if (key === "text") write(node, values[key]);
    else if (key === "style") node.style.cssText = values[key];
    else node.setAttribute(key, values[key]);
  }
}

/** Gives a node these children; those that say the same already stay where they are. */
function renew(node, children) {
  const wanted = children.filter((child) => (child ?? "") !== "");
  wanted.forEach((child, i) => {
    const next = typeof child === "string" ? document.createTextNode(child) : child, old = node.childNodes[i];
    if (!old) node.append(next);
    else if (old.isEqualNode(next)) return;
    else if (!alike(old, next)) old.replaceWith(next);
    else if (old.nodeType === Node.TEXT_NODE) old.data = next.data;
    else renew(old, [...next.childNodes]);
  });
  while (node.childNodes.length > wanted.length) node.lastChild.remove();
}

/** Gives each node room for the tallest of those that may stand in its place. */
function makeRoom(list) {
  list.forEach(({ node, others }) => node.after(...others));
  const highs = list.map(({ others }) => Math.max(0, ...others.map((other) => other.getBoundingClientRect().height)));
  list.forEach(({ node, others }, i) => {
    others.forEach((other) => other.remove());
    node.style.minHeight = `${highs[i]}px`;
  });
}

/** Whether two nodes differ in their children alone. */
function alike(a, b) {
  if (a.nodeName !== b.nodeName || a.nodeType === Node.TEXT_NODE) return a.nodeName === b.nodeName;
  const names = b.getAttributeNames();
  return a.attributes.length === names.length && names.every((name) => a.getAttribute(name) === b.getAttribute(name));
}

/** A shape with its numbers marked: those that follow the image, and those that the network fixes. */
function shapeNodes(shape) {
  const sizes = shown(shape);
  return sizes.flatMap((size, i) => [i ? "×" : "", html("b", { class: size.moves ? "s" : "c", text: size.value })]);
}
const outputNodes = (shapes) => shapes.flatMap((shape, i) => [i ? ", " : "", ...shapeNodes(shape)]);
const pieceNodes = (list) => list.map((p) => (p.moves ? html("b", { class: "s", text: p.text }) : p.text));

/** A sentence with what stands between backticks as code. */
function sentence(list) {
  const nodes = [];
  let code = null;
  for (const piece of list) {
    piece.text.split(/(`)/).forEach((text) => {
      if (text === "`") { if (code) { nodes.push(code); code = null; } else code = html("code"); return; }
      if (!text) return;
      const node = piece.moves ? html("b", { class: "s", text }) : document.createTextNode(text);
      if (code) code.append(node); else nodes.push(node);
    });
  }
  return code ? [...nodes, code] : nodes;
}

// Blocks: a face of W×H cells and a depth of C channels, sides drawn by the power 0.4, so that 224 and 7 fit one page.

const POWER = 0.4, DEEP = 0.17, SLANT = [0.72, -0.6], PLATE = 6, GAP = 5;
const side = (cells) => Math.max(cells, 0) ** POWER;
const fine = (pixels) => Math.round(2 * pixels) / 2; // what grows by less is not drawn anew
const NOTHING = []; // to be said: always the same array, so that it is not said again
const equal = (one, other) => { for (const key in one) if (one[key] !== other[key]) return false; return true; };
const points = (...list) => list.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");

/** Numbers below each other. No texts of SVG: each of those is laid out by itself, and leaves twice the garbage. */
const column = () => svg("g", { class: "size" }, ...[0, 1, 2].map(() => svg("foreignObject", { class: "label" })));

/** Writes sizes into a column, those of one kind as one text. */
function enter({ children }, sizes) {
  const parts = [];
  sizes.forEach(({ value, moves }, i) => {
    if (parts.at(-1)?.moves === moves) parts.at(-1).text += `\n${value}`;
    else parts.push({ moves, text: String(value), style: `padding-top:calc(var(--line) * ${i}em)` });
  });
  [...children].forEach((node, i) => {
    const { text = "", moves = false, style = "" } = parts[i] ?? {};
    set(node, { text, style, class: moves ? "label s" : "label" });
  });
}

/** A box, or, where a step keeps every size, a plate: a bar as high as the box before it. */
class Block {
  constructor(kind, on) {
    this.plate = kind === "plate";
    this.drawn = {};
    this.face = svg("rect", { class: "face" });
    this.hit = svg("rect", { class: "hit" });
    this.title = svg("title");
    const parts = this.plate ? [this.face] : this.box();
    this.node = svg("g", { class: `block ${kind}`, on }, this.title, this.hit, ...parts);
  }

  box() {
    [this.cells, this.mark] = ["cells", "mark"].map((kind) => svg("path", { class: kind }));
    [this.top, this.flank] = ["top", "flank"].map((kind) => svg("polygon", { class: kind }));
    this.window = svg("rect", { class: "window" });
    this.numbers = column();
    return [this.top, this.flank, this.face, this.cells, this.window, this.mark, this.numbers];
  }

  /** Draws a box of w×h pixels, d deep, around the middle (x, y). */
  draw(x, y, size, cells) {
    const [w, h, d] = size, few = isFew(cells, w, h) ? cells : null;
    const asked = { x, y, w, h, d, across: few?.w, down: few?.h };
    if (equal(asked, this.drawn)) return;
    this.drawn = asked;
    const left = x - w / 2, top = y - h / 2;
    set(this.face, { x: left.toFixed(1), y: top.toFixed(1), width: w.toFixed(1), height: h.toFixed(1) });
    if (this.plate) set(this.hit, { x: (x - PLATE / 2 - 2).toFixed(1), width: PLATE + 4 });
    else this.solid(left, top, size, few);
  }

  solid(left, top, [w, h, d], cells) {
    const [dx, dy] = [d * SLANT[0], d * SLANT[1]];
    set(this.top, { points: points([left, top], [left + dx, top + dy], [left + w + dx, top + dy], [left + w, top]) });
    set(this.flank, {
      points: points([left + w, top], [left + w + dx, top + dy], [left + w + dx, top + h + dy], [left + w, top + h]),
    });
    set(this.cells, { d: grid(left, top, w, h, cells) });
  }

  /** The numbers below the box. */
  label(sizes) {
    if (sizes === this.sizes) return;
    this.sizes = sizes;
    enter(this.numbers, labels(sizes));
  }

  /** The window that does not fit, as large as it is. */
  need(x, y, kernel, scale) {
    const [h = 0, w = 0] = kernel.map((cells) => fine(scale * side(cells)));
    set(this.window, { x: x - w / 2, y: y - h / 2, width: w, height: h });
  }
}

/** What is on the image: hills and a sun, stretched as the image is. */
function landscape(x, y, [w, h]) {
  const at = (u, v) => `${(x + w * (u - 0.5)).toFixed(1)} ${(y + h * (v - 0.5)).toFixed(1)}`,
    [rx, ry] = [w * 0.09, h * 0.09];
  const hills = `M${at(0.03, 0.97)}L${at(0.34, 0.42)}L${at(0.55, 0.75)}L${at(0.7, 0.55)}L${at(0.97, 0.97)}z`;
  const half = (dx) => `a${rx} ${ry} 0 1 0 ${dx} 0`;
  return `${hills}M${at(0.68, 0.27)}${half(2 * rx)}${half(-2 * rx)}z`;
}

/** A disc with a cross cut out of it. */
const cross = (x, y) => `M${x - 9} ${y}a9 9 0 1 0 18 0a9 9 0 1 0 -18 0zM${x - 4} ${y - 4}l8 8M${x + 4} ${y - 4}l-8 8`;

/** Whether the cells of a map can be told apart. */
const isFew = (cells, w, h) => cells && Math.max(cells.w, cells.h) <= 16 && Math.min(w / cells.w, h / cells.h) >= 2.2;

/** The lines between the cells of a small map. */
function grid(left, top, w, h, cells) {
  if (!cells) return "";
  let path = "";
  for (let i = 1; i < cells.w; i++)
    path += `M${(left + (w * i) / cells.w).toFixed(1)} ${top.toFixed(1)}v${h.toFixed(1)}`;
  for (let i = 1; i < cells.h; i++)
    path += `M${left.toFixed(1)} ${(top + (h * i) / cells.h).toFixed(1)}h${w.toFixed(1)}`;
  return path;
}

// The lanes: one drawing for each network, columns shared by all.

const LETTER = 0.66; // of the type: the width of a bold digit
const SMALLEST = 0.8, SCROLLED = 2.8, LARGEST = 22; // pixels of one cell
const TALLEST = 150; // of a lane: two, and what is said of a step, are seen at once
const THIN = 2.5; // pixels of a plate
const UNKNOWN = { cells: null, size: [14, 14, 0], plate: [THIN, 8, 0] }; // a step of which nothing is known

class Lanes {
  constructor(view) {
    this.view = view;
    const { scene, lanes } = view;
    this.plates = scene.columns.map((name) =>
      lanes.every((lane) => !lane.plan.has(name) || lane.plan.get(name).operation === "same"),
    );
    this.rows = lanes.map((lane, i) => this.row(lane, i));
    this.stages = svg("svg", { class: "stages", "aria-hidden": true });
    this.scroller = html(
      "div",
      {
        class: "lanes",
        tabindex: 0,
        role: "group",
        "aria-label": "Networks, step by step. Arrow keys go from step to step.",
        on: { keydown: (event) => { if (event.target === this.scroller) view.walk(event); } },
      },
      this.stages,
      ...this.rows.map((row) => row.node),
    );
    this.node = this.scroller;
  }

  row(lane, place) {
    const row = { lane, head: html("div", { class: "head" }), svg: svg("svg", { class: "blocks", role: "img" }) };
    row.wire = svg("line", { class: "wire" });
    row.image = new Block("image", { click: () => this.view.stepTo(0) });
    row.blocks = this.view.scene.columns.map((name, i) => (lane.plan.has(name) ? this.block(name, i, place) : null));
    row.never = svg("text", { class: "never", text: "not reached" });
    row.axes = column();
    enter(row.axes, ["C", "H", "W"].map((value, i) => ({ value, moves: i > 0 })));
    row.sun = svg("path", { class: "landscape" });
    row.sight = svg("rect", { class: "sight" });
    row.image.node.insertBefore(row.sun, row.image.cells);
    row.image.node.append(row.sight);
    row.svg.append(
      row.wire,
      row.axes,
      row.image.node,
      ...row.blocks.filter(Boolean).map((block) => block.node),
      row.never,
    );
    row.node = html("section", { class: "lane", "aria-label": lane.label }, row.head, row.svg);
    return row;
  }

  block(name, i, place) {
    const { view } = this;
    const block = new Block(this.plates[i] ? "plate" : "", {
      click: () => view.stepTo(i),
      pointerenter: () => {
        const here = view.facts[place]?.steps.get(name);
        set(block.title, { text: here ? `${name}: ${passage(here)}` : name });
      },
    });
    return block;
  }

  /** Where the columns stand: as wide as the largest map of the range makes them, so that dragging moves no block. */
  layout(width) {
    this.type = Math.min(17, Math.max(11.2, width / 96));
    this.measure();
    const room = Math.max(width, 320) - 6;
    this.scale = this.fitting(room);
    this.stand(room);
    this.high = this.scale * side(this.view.reach);
    this.middle = Math.max(this.high / 2, ...this.each((lane, name) => this.above(lane, name))) + 4;
    this.floor = this.middle + Math.max(this.high / 2, 15) + this.type;
    this.height = this.floor + this.type * 2.6;
    this.fresh = true;
    this.sized = new WeakMap(); // how shapes are drawn at this scale
    this.drawStages();
  }

  each(found) { return this.view.lanes.flatMap((lane) => this.view.scene.columns.map((name) => found(lane, name))); }

  /** For each column its largest map, its longest number and how many plates stand behind it. */
  measure() {
    const { scene, lanes } = this.view;
    const most = (found) => scene.columns.map((name) => Math.max(...lanes.map(found(name))));
    this.wide = most((name) => (lane) => this.widest(lane, name));
    this.deep = most((name) => (lane) => Math.max(this.biggest(lane, name).c, this.given(lane, name)));
    this.words = most((name) => (lane) => this.letters(lane, name)).map((letters) => letters * LETTER * this.type);
    this.behind = this.plates.map((_, i) => {
      const next = this.plates.findIndex((plate, j) => j > i && !plate);
      return (next < 0 ? this.plates.length : next) - i - 1;
    });
  }

  /** The largest scale at which all columns stand in the room; a network too long for any is scrolled. */
  fitting(room) {
    if (this.total(SMALLEST) > room) return SCROLLED;
    let [low, high] = [SMALLEST, Math.max(SMALLEST, Math.min(LARGEST, TALLEST / side(this.view.reach)))];
    for (let i = 0; i < 24; i++) {
      const middle = (low + high) / 2;
      if (this.total(middle) > room) high = middle; else low = middle;
    }
    return low;
  }

  total(scale) {
    const spans = this.spans(scale);
    return this.start(scale) + spans.reduce((sum, [left, right]) => sum + left + right, 0) + this.tail(scale, spans);
  }

  /** Half of what the image takes, and where the first step begins. */
  half(scale) {
    const { reach } = this.view;
    return Math.max(scale * side(reach), String(reach).length * LETTER * this.type) / 2;
  }

  start(scale) { return 2 * this.half(scale) + this.type * 1.8 + GAP; }

  /** What each column takes on both sides of its middle; a plate stands in the room of the step before it. */
  spans(scale) {
    return this.plates.map((plate, i) => {
      if (plate && i) return [0, 0];
      const half = (scale * side(this.wide[i])) / 2, words = this.words[i] / 2, behind = this.behind[i] * PLATE + 4;
      const right = Math.max(words + (this.behind[i] ? 0 : 5), half + 0.8 * scale + behind, 8);
      return [Math.max(words, half, 8) + GAP / 2, right + GAP / 2];
    });
  }

  /** The middle and the edges of each column; what room is left is shared among them. */
  stand(room) {
    const spans = this.spans(this.scale), boxes = this.plates.filter((plate, i) => !plate || !i).length;
    const spare = Math.max(0, room - this.total(this.scale)) / boxes / 2;
    let x = this.start(this.scale);
    this.edges = [x];
    this.x = spans.map(([left, right], i) => {
      if (this.plates[i] && i) { this.edges.push(x); return x - (this.behind[i] + 0.5) * PLATE; }
      const middle = x + spare + left;
      x = middle + right + spare;
      this.edges.push(x);
      return middle;
    });
    this.first = this.type * 1.7 + this.half(this.scale);
    this.width = Math.max(x + this.tail(this.scale, spans), room);
  }

  /** How many letters the longest number of a step has. */
  letters(lane, name) {
    const numbers = labels(this.sizes(lane, name).map((value) => ({ value }))).map(({ value }) => String(value).length);
    return numbers.length ? Math.max(...numbers) : 2;
  }

  /** How far the rods of the last columns lean beyond them. */
  tail(scale, spans) {
    let beyond = 0, behind = 0;
    for (let i = spans.length - 1; i >= 0; i--) {
      beyond = Math.max(beyond, this.depth(this.deep[i], scale) * SLANT[0] - behind - spans[i][1]);
      behind += spans[i][0] + spans[i][1];
    }
    return beyond + 8;
  }

  /** Pixels of so many channels: no rod rises above the image of the whole range. */
  depth(channels, scale = this.scale) {
    return scale * Math.min(DEEP * side(channels), side(this.view.reach) / 2 / -SLANT[1]);
  }

  /** How far a step rises above the middle at the largest image of the range. */
  above(lane, name) {
    const { h, c } = this.biggest(lane, name);
    return (this.scale * side(Math.min(h, this.view.reach))) / 2 - this.depth(c) * SLANT[1];
  }

  biggest(lane, name) { return asBox(this.sizes(lane, name)); }

  /** Channels of what a step refuses: where it fails it is drawn as what it was given. */
  given(lane, name) {
    const laws = lane.law ? [lane.law] : [...lane.known.values()];
    const stops = ({ paths, steps }) => paths.some((one) => one.said && steps[one.steps.at(-1)]?.name === name);
    return laws.some(stops) ? asBox(this.sizes(lane, name, true)).c : 0;
  }

  /** The sizes of what a step makes, or is given, at the largest image of the range. */
  sizes(lane, name, given = false) {
    const { reach } = this.view, found = lane.law ? { law: lane.law, row: lane.plan.get(name) } : lane.seen(name);
    const [input] = found?.row?.inputs ?? [], place = (given ? input : shapesIn(found?.row?.output)[0]) ?? input;
    if (place === undefined) return [];
    return found.law.shapes[place](reach, reach).map(({ value }) => (Number.isFinite(value) ? value : 1));
  }

  widest(lane, name) { return clamp(this.biggest(lane, name).w, 1, this.view.reach); }

  /** The heads in their longest words: with room for those, dragging moves no lane and no plane under the pointer. */
  heads() {
    return this.rows.map(({ lane, head }) => {
      const words = longest(lane, this.view.reach).map((end) => this.view.headline(lane, end));
      return { node: head, others: words.map((nodes) => html("div", { class: "head" }, ...nodes)) };
    });
  }

  drawStages() {
    const high = this.type * 1.9;
    let column = 0;
    const marks = this.view.scene.stages.flatMap((stage) => {
      const [left, right] = [this.edges[column], this.edges[column + stage.columns] - 4];
      column += stage.columns;
      return this.stage(stage.label, left, right, high);
    });
    this.stages.replaceChildren(...marks);
    set(this.stages, {
      width: this.width,
      height: high,
      viewBox: `0 0 ${this.width} ${high}`,
      style: `font-size:${this.type * 0.95}px`,
    });
  }

  /** A bracket over its columns with as much of its name as there is room for. */
  stage(label, left, right, high) {
    const room = Math.floor((right - left) / (this.type * 0.52)), ways = [label, label.split(" ").at(-1)];
    const text = ways.find((way) => way.length <= room + 1) ?? "";
    return [
      svg("path", { class: "bracket", d: `M${left} ${high - 1}v-5H${right}v5` }),
      svg("text", { class: "stage", x: (left + right) / 2, y: high - 10, text }, svg("title", { text: label })),
    ];
  }

  draw(glide) {
    this.targets = this.rows.map((row, i) => this.target(row, this.view.facts[i]));
    this.rows.forEach((row, i) => this.name(row, this.view.facts[i]));
    this.fresh = false;
    const from = this.boxes, to = this.targets.map((row) => row.boxes);
    cancelAnimationFrame(this.frame);
    if (glide && from && !matchMedia("(prefers-reduced-motion: reduce)").matches)
      this.glide(from, to, performance.now());
    else this.place(to);
  }

  glide(from, to, start) {
    const step = (now) => {
      // a frame may have begun before it was asked for
      const t = clamp((now - start) / 420, 0, 1), ease = 1 - (1 - t) ** 3;
      this.place(
        to.map((row, i) => row.map((one, j) => one.map((value, k) => from[i][j][k] + (value - from[i][j][k]) * ease))),
      );
      if (t < 1) this.frame = requestAnimationFrame(step);
    };
    step(start);
  }

  place(boxes) {
    this.boxes = boxes;
    boxes.forEach((row, i) => row.forEach((one, j) => {
      const { image, blocks } = this.rows[i], block = j ? blocks[j - 1] : image;
      block?.draw(this.middleOf(row, j), this.middle, one, this.targets[i].cells[j]);
      if (!j) this.paint(this.rows[i], one, this.targets[i].part);
    }));
  }

  /** What is on the image, and around its middle the part that one cell of the chosen step sees. */
  paint({ sun, sight }, [w, h], part) {
    set(sun, { d: landscape(this.first, this.middle, [w, h]) });
    set(sight, { visibility: part ? "visible" : "hidden" });
    if (!part) return;
    const [high, wide] = [part[0] * h, part[1] * w], at = (middle, side) => (middle - side / 2).toFixed(2);
    set(sight, { x: at(this.first, wide), y: at(this.middle, high), width: wide.toFixed(2), height: high.toFixed(2) });
  }

  /** How much of the image's height and width a cell of the chosen step sees; null where that goes by the size. */
  part(facts) {
    const { scene, step, h, w } = this.view, here = facts?.steps.get(scene.columns[step]);
    const field = here && !here.failed ? here.row.field : [];
    return field.length === 2 ? [Math.min(1, field[0] / h), Math.min(1, field[1] / w)] : null;
  }

  /** A plate stands right behind the block it belongs to. */
  middleOf(row, j) {
    if (j === 0) return this.first;
    let k = j;
    while (k > 0 && this.plates[k - 1]) k--;
    const x = k ? this.x[k - 1] : this.first;
    return k === j ? x : x + row[k][0] / 2 + row[k][2] * SLANT[0] + 4 + (j - k - 1) * PLATE;
  }

  /** For the image and each column of a lane the box to draw, and its cells. */
  target(row, facts) {
    const { h, w, scene } = this.view;
    const boxes = [this.measured({ w, h, c: scene.channels }).size], cells = [null];
    scene.columns.forEach((name, i) => {
      const step = facts?.steps.get(name), shape = step && (step.outputs[0] ?? step.inputs[0]);
      const drawn = shape ? this.sizeOf(shape) : UNKNOWN;
      boxes.push(this.plates[i] ? drawn.plate : drawn.size);
      cells.push(this.plates[i] ? null : drawn.cells);
    });
    return { boxes, cells, part: this.part(facts) };
  }

  /** A shape as it is drawn at this scale. */
  sizeOf(shape) {
    if (!this.sized.has(shape)) this.sized.set(shape, this.measured(box(shape)));
    return this.sized.get(shape);
  }

  /** A box in cells and in pixels, and the plate behind it. */
  measured(cells) {
    const [wide, high] = [cells.w, cells.h].map((number) => fine(this.scale * side(number)));
    return { cells, size: [wide, high, this.depth(cells.c)], plate: [THIN, Math.max(high, 5), 0] };
  }

  /** Labels, marks and words of a lane at this size. */
  name(row, facts) {
    const { scene, h, w } = this.view;
    if (this.fresh) this.settle(row);
    const verdict = this.view.verdict(row.lane, facts);
    set(row.svg, { "aria-label": verdict });
    row.image.label([1, scene.channels, h, w].map((value, i) => ({ value, moves: i > 1 })));
    const steps = scene.columns.map((name) => facts?.steps.get(name)), failed = steps.findIndex((here) => here?.failed);
    row.blocks.forEach((block, i) => { if (block) this.mark(block, steps[i], i); });
    const lost = this.x.filter((_, i) => failed >= 0 && i > failed && row.blocks[i] && !steps[i] && !this.plates[i]);
    set(row.never, {
      x: lost.length ? (lost[0] + lost.at(-1)) / 2 : 0,
      y: this.floor + this.type * 0.5,
      visibility: lost.length ? "visible" : "hidden",
    });
    set(row.node, { class: facts?.failing ? "lane stops" : "lane" });
    const message = facts?.said && spoken(facts.said.message, h, w);
    const told = [verdict, facts?.said, message, ...(facts?.outputs ?? [])];
    if (row.told?.length === told.length && told.every((one, i) => one === row.told[i])) return;
    row.told = told;
    renew(row.head, this.view.headline(row.lane, facts));
  }

  mark(block, here, i) {
    const end = here?.failed ? " failed" : here ? "" : " ghost", chosen = i === this.view.step ? " chosen" : "";
    set(block.node, { class: `block${block.plate ? " plate" : ""}${end}${chosen}` });
    if (block.plate) return;
    block.label(here?.outputs[0] ?? NOTHING);
    if (here?.failed) block.need(this.x[i], this.middle, windowOf(here) ? here.row.window.kernel : [], this.scale);
  }

  /** What only another width or range moves. */
  settle(row) {
    set(row.svg, {
      width: this.width,
      height: this.height,
      viewBox: `0 0 ${this.width} ${this.height}`,
      style: `font-size:${this.type * 0.95}px;--outline:${Math.min(0.75, this.scale / 4)}px`,
    });
    set(row.wire, { x1: 4, x2: this.x.at(-1), y1: this.middle, y2: this.middle });
    const below = ({ children }, x, half) => {
      const wide = half + 4 * this.type; // a longer number than was known of stays in the middle
      for (const part of children)
        set(part, { x: x - wide, width: 2 * wide, y: this.floor - 0.87 * this.type, height: 3.4 * this.type });
    };
    below(row.axes, 9, 9);
    below(row.image.numbers, this.first, this.half(this.scale));
    row.blocks.forEach((block, i) => {
      if (!block) return;
      set(block.hit, { y: 0, height: this.height });
      if (block.plate) return;
      below(block.numbers, this.x[i], Math.max(this.x[i] - this.edges[i], this.edges[i + 1] - this.x[i]));
      set(block.mark, { d: cross(this.x[i], this.middle) });
      set(block.hit, { x: this.edges[i], width: this.edges[i + 1] - this.edges[i] - 2 });
    });
  }
}

const SAMPLES = [1, 1 / 16, 0]; // of the range

/** The ends of a lane in their longest words: one that runs and one that stops. */
function longest(lane, reach) {
  const paths = lane.law?.paths ?? [], runs = paths.find((path) => !path.said);
  const sizes = SAMPLES.map((part) => Math.max(1, Math.round(part * reach)));
  const said = paths.filter((path) => path.said).flatMap(({ said: { explanation, message } }) =>
    sizes.flatMap((h) => sizes.map((w) => [clauses(pieces(explanation, h, w))[0], pieces(message, h, w)])));
  const most = (lists) => lists.reduce((long, list) => (plain(list).length > plain(long).length ? list : long), []);
  const [explanation, message] = [0, 1].map((i) => most(said.map((words) => words[i])).map((piece) => piece.text));
  const ends = runs ? [Lane.along(lane.law, runs, reach, reach)] : [];
  return said.length ? [...ends, { failing: true, said: { explanation, message } }] : ends;
}

// The view: state, and everything that is drawn from it.

const NEAR = 512; // up to here a slider has about a pixel for each size
const PAPER = 720; // pixels across a sheet of paper held upright
const PATIENCE = 20_000; // milliseconds until an answer of Python is taken for lost
const READ = 6_000; // milliseconds for which a sentence below a field stays
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

class View {
  constructor(root, scene, host) {
    Object.assign(this, { root, scene, host });
    this.lanes = scene.lanes.map((data) => new Lane(data));
    this.h = host.get("height") ?? scene.size[0];
    this.w = host.get("width") ?? scene.size[1];
    this.step = clamp(host.get("step") ?? 0, 0, scene.columns.length - 1);
    this.near = Math.min(NEAR, scene.within);
    this.reach = Math.max(this.h, this.w) > this.near ? scene.within : this.near;
    this.free = false;
    this.asked = new Map();
    this.build();
    this.size = new ResizeObserver(() => this.resized());
    this.size.observe(this.lanesBox);
    this.printing = [["beforeprint", () => this.fit(PAPER)], ["afterprint", () => this.fit(this.lanesBox.clientWidth)]];
    for (const [event, act] of this.printing) addEventListener(event, act);
  }

  /** Locked, unless somebody has asked for two sizes that move apart. */
  get square() { return !this.free && this.h === this.w; }

  build() {
    this.blocks = new Lanes(this);
    this.lanesBox = html("div", { class: "lanes-box" }, this.blocks.node);
    this.controls = new Controls(this);
    this.panel = new Panel(this);
    this.reasons = new Reasons(this);
    this.planes = new Planes(this);
    this.table = new Table(this);
    this.live = html("p", { class: "hidden", role: "status" });
    this.picture = html("div", { class: "picture" }, this.lanesBox, this.table.node,
      html("div", { class: "foot" }, this.reasons.node, this.panel.node, this.planes.node), key());
    this.root.append(this.controls.node, this.picture, this.live);
    this.know();
    this.draw();
  }

  resized() {
    if (!matchMedia("print").matches) this.fit(this.lanesBox.clientWidth);
  }

  fit(width) {
    if (!width || width === this.drawnAt) return;
    this.drawnAt = width;
    this.lay();
    this.draw();
    this.show();
  }

  lay() {
    this.blocks.layout(this.drawnAt);
    makeRoom([...this.blocks.heads(), ...this.planes.ends()]);
  }

  know() {
    this.facts = this.lanes.map((lane) => lane.at(this.h, this.w));
    this.lanes.forEach((lane, i) => { if (!lane.answered(this.h, this.w)) this.ask(i); });
  }

  /** Python has seen steps that were in no trace before. */
  grow(scene) {
    const name = this.scene.columns[this.step], held = this.blocks.node.contains(this.root.getRootNode().activeElement);
    this.scene = scene;
    this.step = Math.max(0, scene.columns.indexOf(name));
    this.lanes.forEach((lane, i) => lane.follow(scene.lanes[i]));
    cancelAnimationFrame(this.blocks.frame);
    const blocks = new Lanes(this);
    this.blocks.node.replaceWith(blocks.node);
    this.blocks = blocks;
    if (this.table.rows) this.table.fill();
    if (this.drawnAt) this.lay();
    if (held) blocks.node.focus();
    this.draw();
  }

  /** One question at a time: while Python is at one, only the last size is waited for. */
  ask(lane) {
    if (!this.host.ask || performance.now() - (this.asked.get(lane) ?? -Infinity) < PATIENCE) return;
    this.asked.set(lane, performance.now());
    this.host.ask(lane, this.h, this.w);
  }

  /** Python has traced a lane at a size. */
  told({ lane, height, width, law, error }) {
    this.asked.delete(lane);
    if (law) this.lanes[lane].learn(height, width, law); else this.lanes[lane].refuse(height, width, error);
    this.know();
    if (height !== this.h || width !== this.w) return;
    this.draw();
    this.say(() => this.summary());
  }

  resize(h, w, glide = false) {
    const most = this.scene.within;
    [h, w] = [clamp(Math.round(h), 1, most), clamp(Math.round(w), 1, most)];
    if (h === this.h && w === this.w) return;
    [this.h, this.w] = [h, w];
    this.know();
    if (Math.max(h, w) > this.reach) this.stretch(most);
    this.draw(glide);
    this.report({ height: h, width: w });
    this.say(() => this.summary());
  }

  stretch(reach) {
    this.reach = reach;
    if (this.drawnAt) this.lay();
    this.planes.stale = true;
    this.draw();
  }

  stepTo(step) {
    step = clamp(step, 0, this.scene.columns.length - 1);
    if (step === this.step) return;
    this.step = step;
    this.draw();
    this.show();
    this.report({ step, selected: this.scene.columns[step] });
    this.say(() => this.telling());
  }

  /** A key that goes from step to step. */
  walk(event) {
    const move = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
    if (!move || event.altKey || event.ctrlKey || event.metaKey) return;
    this.stepTo(this.step + move);
    event.preventDefault();
  }

  /** Scrolls sideways as far as the chosen step asks for. */
  show() {
    const box = this.blocks.scroller, x = this.blocks.x?.[this.step] ?? 0;
    if (x < box.scrollLeft + 30 || x > box.scrollLeft + box.clientWidth - 30) box.scrollLeft = x - box.clientWidth / 2;
  }

  report(values) {
    if (this.following && this.host.ask) return; // Python has set it: told it again, it would take it for new
    this.reporting = true; // what is reported comes back as a change, name by name
    this.host.set(values);
    this.reporting = false;
  }

  /** Tells those who do not see it, once it stands still. */
  say(words) {
    clearTimeout(this.saying);
    this.saying = setTimeout(() => { this.live.textContent = words(); }, 300);
  }

  /** The selected step in a sentence. */
  telling() {
    const { scene, step, lanes, facts } = this, name = scene.columns[step];
    const told = lanes.map((lane, i) => {
      const here = facts[i]?.steps.get(name);
      return `${lane.label}: ${here ? passage(here) : this.missing(lane, facts[i], name)}.`;
    });
    return `Step ${step + 1} of ${scene.columns.length}, ${name}. ${told.join(" ")}`;
  }

  summary() {
    return `${this.h} × ${this.w}. ${this.lanes.map((lane, i) => this.verdict(lane, this.facts[i])).join(" ")}`;
  }

  verdict(lane, facts) {
    if (!facts) return `${lane.label}: ${this.unknown(lane)}.`;
    if (facts.failing)
      return `${lane.label} stops at ${facts.failing}: ${spoken(facts.said.explanation, this.h, this.w)}.`;
    return `${lane.label} runs: ${outputText(facts.outputs)}.`;
  }

  headline(lane, facts) {
    const name = html("b", { class: "name", text: lane.label });
    const text = !facts ? "…" : facts.failing ? "✗" : "✓";
    const sign = html("span", { class: "sign", "aria-hidden": true, text });
    if (!facts) return [sign, name, html("span", { class: "said", text: this.unknown(lane) })];
    const [first] = facts.failing ? clauses(pieces(facts.said.explanation, this.h, this.w)) : [];
    const said = first
      ? sentence(first)
      : [...outputNodes(facts.outputs), html("span", { class: "answers", text: answers(facts.outputs) })];
    return [sign, name, html("span", { class: "said" }, ...said), this.second(lane, facts)];
  }

  /** PyTorch's own words where it stops, else the rule under which it runs. */
  second(lane, facts) {
    if (facts.failing) {
      const words = html("code", { text: spoken(facts.said.message, this.h, this.w) });
      return html("p", { class: "second" }, "PyTorch: ", words);
    }
    const [one, ...more] = lane.data.outcomes?.filter((end) => end.runs) ?? [];
    const rule = one?.rule && `runs where ${one.rule}${one.sizes ? `, that is ${one.sizes}` : ""}`;
    const text = !one || more.length ? (lane.reason ?? "") : rule || "runs at every size";
    return html("p", { class: "second soft", text });
  }

  /** Why a step does not happen here. */
  missing(lane, facts, name) {
    if (!facts) return this.unknown(lane);
    if (!lane.plan.has(name)) return "no such step in this network";
    return facts.failing ? `not reached: stopped at ${facts.failing}` : "no such step at this size";
  }

  unknown(lane) {
    if (lane.law) return "not decided at this size";
    if (lane.refused.has(`${this.h},${this.w}`)) return lane.refused.get(`${this.h},${this.w}`);
    return this.host.ask
      ? "asking Python for a trace at this size …"
      : `traced without a law, at ${[...lane.known.keys()].map((key) => key.replace(",", "×")).join(", ")} only`;
  }

  draw(glide = false) {
    this.controls.draw(); // a frame that is not in sight is not laid out, and its sliders can be moved
    if (!this.drawnAt) return;
    this.blocks.draw(glide);
    this.panel.draw();
    this.reasons.draw();
    this.planes.draw();
    this.table.draw();
  }

  /** New values from the other side. */
  follow(name) {
    if (this.reporting) return;
    const { host, scene } = this;
    this.following = true;
    if (name === "height" || name === "width") this.resize(host.get("height"), host.get("width"), true);
    const step = name === "selected" ? scene.columns.indexOf(host.get(name)) : host.get("step");
    if (step >= 0) this.stepTo(step);
    this.following = false;
  }

  close() {
    this.size.disconnect();
    for (const [event, act] of this.printing) removeEventListener(event, act);
    this.panel.stop();
    this.panel.slides.forEach(({ slide }) => slide?.stop());
    clearTimeout(this.saying);
    this.controls.axes.forEach(({ ends }) => clearTimeout(ends));
    notSoon(this.planes.later);
    cancelAnimationFrame(this.blocks.frame);
    this.root.replaceChildren();
  }
}

/** What the colours and the boxes mean. */
const key = () =>
  html(
    "p",
    { class: "key" },
    html("b", { class: "s", text: "blue" }),
    " follows the image’s H and W · ",
    html("b", { class: "c", text: "purple" }),
    " is fixed by the network; ",
    html("b", { class: "c", text: "dashed on the image" }),
    ": what one cell of the chosen step sees · ",
    html("b", { class: "bad", text: "✗ red" }),
    " does not fit · a box is H high, W wide and C deep, " +
      "its sides drawn by the power 0.4 · a thin bar keeps the size (ReLU, Dropout)",
  );

/** What a step makes of what, in words. */
function passage({ row, inputs, outputs, failed }) {
  const made = failed ? "fails here" : outputText(outputs);
  return `${`${row.kind} ${row.says}`.trim()}, ${inputs.map(shapeText).join(" and ")} → ${made}`;
}

/** How many answers an output holds. */
function answers(outputs) {
  const sizes = outputs.length === 1 ? outputs[0].map((size) => size.value) : [];
  if (sizes.length === 2) return " · one answer for the whole image";
  if (sizes.length !== 4) return "";
  const [, , h, w] = sizes;
  const word = h * w === 1 ? "answer" : "answers";
  return ` · ${count(h)} × ${count(w)} = ${count(h * w)} ${word}, one for each cell of the map`;
}

// The controls.

/** A closed padlock; its shackle stands open where the button is not pressed. */
const padlock = () =>
  svg(
    "svg",
    { viewBox: "0 0 16 16", width: 15, height: 15, "aria-hidden": true },
    svg("path", { class: "shackle", d: "M4.5 8V5a3.5 3.5 0 0 1 7 0v3" }),
    svg("rect", { x: 2.5, y: 7.5, width: 11, height: 7, rx: 1.5 }),
  );

const group = (name, label, ...children) =>
  html("div", { class: name, role: "group", "aria-label": label }, ...children);
const ranging = (reach) => ({
  "aria-label": `sliders up to ${reach}`,
  title: `the sliders go up to ${reach}`,
  text: `≤ ${reach}`,
});

class Controls {
  constructor(view) {
    this.view = view;
    const { scene } = view;
    const button = (name, act, more) => html("button", { type: "button", class: name, on: { click: act }, ...more });
    const square = "keep the image square";
    this.axes = ["Height", "Width"].map((word, axis) => this.axis(word, axis));
    this.lock = button("lock", () => this.toggle(), { "aria-label": square, title: square });
    this.lock.append(padlock());
    this.presets = scene.presets.map(([h, w]) => button("preset", () => this.preset(h, w), { text: `${h}×${w}` }));
    const reaches = scene.within > view.near ? [view.near, scene.within] : [];
    this.ranges = reaches.map((reach) => button("range", () => this.rescale(reach), ranging(reach)));
    const title = "the same facts as a plain table";
    this.mode = button("mode", () => this.turn(), { text: "Table", "aria-pressed": "false", title });
    this.node = group(
      "controls",
      "Image size",
      this.axes[0].node,
      this.lock,
      this.axes[1].node,
      group("presets", "Sizes to try", ...this.presets),
      group("ranges", "Range of the sliders", ...this.ranges),
      this.mode,
    );
  }

  axis(word, axis) {
    const typed = () => this.typed(axis, field.value === "" ? NaN : Number(field.value));
    const slider = html("input", {
      type: "range",
      min: 1,
      step: 1,
      "aria-label": `${word} of the image`,
      on: { input: () => this.move(axis, Number(slider.value)) },
    });
    const field = html("input", {
      type: "number",
      min: 1,
      max: this.view.scene.within,
      step: 1,
      "aria-label": `${word} of the image, typed`,
      on: {
        change: typed,
        keydown: (event) => {
          if (event.key === "Enter") typed();
          if (event.key === "Escape") this.draw(true);
        },
      },
    });
    const letter = html("span", { class: "letter", text: word[0] });
    const bound = html("p", { class: "bound" });
    return {
      slider,
      field,
      bound,
      node: html("div", { class: "axis" }, letter, html("span", { class: "word", text: word }), slider, field, bound),
    };
  }

  move(axis, size, glide) {
    const { view } = this;
    view.free = !view.square;
    if (view.square) view.resize(size, size, glide);
    else if (axis) view.resize(view.h, size, glide);
    else view.resize(size, view.w, glide);
  }

  typed(axis, size) {
    if (Number.isFinite(size)) this.move(axis, size, true);
    this.draw(true);
    const stands = axis ? this.view.w : this.view.h, whole = Math.round(size);
    if (whole < stands) this.explain(axis, stands, `${whole} is too small: ${stands} at least`);
    if (whole > stands) this.explain(axis, stands, `${whole} is too large: ${stands} at most`);
  }

  /** Says for a while below a field why another size stands in it than was typed. */
  explain(axis, stands, text) {
    const { view } = this, one = this.axes[axis];
    clearTimeout(one.ends);
    set(one.bound, { text });
    one.stands = stands;
    one.ends = setTimeout(() => set(one.bound, { text: "" }), READ);
    view.say(() => `${text}. ${view.summary()}`);
  }

  toggle() {
    const { view } = this;
    view.free = view.square;
    if (!view.free) view.resize(view.h, view.h, true);
    this.draw();
  }

  preset(h, w) {
    this.view.free = false;
    this.view.resize(h, w, true);
    this.draw();
  }

  /** The sliders never end below the size shown. */
  rescale(reach) {
    if (reach >= Math.max(this.view.h, this.view.w)) this.view.stretch(reach);
  }

  turn() {
    const on = this.mode.getAttribute("aria-pressed") !== "true";
    this.mode.setAttribute("aria-pressed", on);
    this.view.lanesBox.hidden = on;
    this.view.table.node.hidden = !on;
    this.view.draw();
  }

  draw(anew = false) {
    const { view } = this;
    [view.h, view.w].forEach((size, axis) => {
      const { slider, field, bound, stands } = this.axes[axis];
      if (stands !== size) set(bound, { text: "" });
      set(slider, { max: view.reach });
      if (Number(slider.value) !== size) slider.value = size;
      if (anew || field !== field.getRootNode().activeElement) this.fill(field, size);
    });
    set(this.lock, { "aria-pressed": view.square });
    this.presets.forEach((button, i) => {
      const [h, w] = view.scene.presets[i];
      set(button, { "aria-pressed": h === view.h && w === view.w });
    });
    this.ranges.forEach((button, i) => {
      const reach = i ? view.scene.within : view.near;
      set(button, { "aria-pressed": view.reach === reach });
      button.disabled = reach < Math.max(view.h, view.w);
    });
  }

  fill(field, size) { if (field.value !== String(size)) field.value = size; }
}

// The selected step.

class Panel {
  constructor(view) {
    this.view = view;
    const button = (word, glyph, act) =>
      html(
        "button",
        { type: "button", class: word, "aria-label": `${word} step`, title: `${word} step`, on: { click: act } },
        glyph,
      );
    this.buttons = {
      first: button("first", "⇤", () => view.stepTo(0)),
      back: button("back", "←", () => view.stepTo(view.step - 1)),
      play: button("play", "▶", () => this.play()),
      next: button("next", "→", () => view.stepTo(view.step + 1)),
      last: button("last", "⇥", () => view.stepTo(Infinity)),
    };
    this.slides = new Map();
    this.cards = [];
    this.where = html("span", { class: "where" });
    this.title = html("h2");
    this.body = html("div", { class: "sums" });
    this.node = html(
      "section",
      { class: "step", "aria-label": "The selected step" },
      html(
        "div",
        { class: "stepper", role: "group", "aria-label": "Steps", on: { keydown: (event) => view.walk(event) } },
        ...Object.values(this.buttons),
        this.where,
        this.title,
      ),
      this.body,
    );
  }

  play() {
    if (this.playing) { this.stop(); return; }
    const { view } = this, atEnd = () => view.step === view.scene.columns.length - 1;
    if (atEnd()) view.stepTo(0);
    this.playing = setInterval(() => { view.stepTo(view.step + 1); if (atEnd()) this.stop(); }, 900);
    this.mark(true);
  }

  stop() {
    clearInterval(this.playing);
    this.playing = null;
    this.mark(false);
  }

  mark(on) {
    this.buttons.play.textContent = on ? "❚❚" : "▶";
    this.buttons.play.setAttribute("aria-label", on ? "pause" : "play step");
  }

  draw() {
    const { view } = this, name = view.scene.columns[view.step], last = view.scene.columns.length - 1;
    set(this.title, { text: name });
    set(this.where, { text: `${view.step + 1} of ${last + 1}` });
    for (const [way, end] of [["first", 0], ["back", 0], ["next", last], ["last", last]]) {
      const button = this.buttons[way], there = view.step === end;
      if (button.disabled === there) continue;
      const held = button === button.getRootNode().activeElement;
      button.disabled = there;
      if (held) this.buttons[end ? "back" : "next"].focus(); // a button that is off takes no keys
    }
    const told = this.told(name), isIn = () => this.body.contains(this.body.getRootNode().activeElement), held = isIn();
    told.forEach((one, i) => this.write((this.cards[i] ??= card()), one));
    this.cards.splice(told.length).forEach((one) => one.node.remove());
    this.body.append(...this.cards.map((one) => one.node).filter((node) => !node.isConnected));
    if (held && !isIn()) (this.body.querySelector("[tabindex]") ?? view.blocks.node).focus(); // else it is with nobody
  }

  /** What is to be said of a step, once where lanes say the same. */
  told(name) {
    const { lanes, facts } = this.view, told = new Map();
    lanes.forEach((lane, i) => {
      const step = facts[i]?.steps.get(name), slide = this.slide(lane, step, facts[i]);
      const words = step ? saying(step) : this.view.missing(lane, facts[i], name), known = told.get(words);
      if (known) known.labels.push(lane.label);
      else told.set(words, { labels: [lane.label], rows: this.rows(step, words), failed: step?.failed, slide });
    });
    return [...told.values()];
  }

  write(card, { labels, rows, failed, slide }) {
    set(card.node, { class: failed ? "failed" : "" });
    set(card.head, { text: this.view.lanes.length > 1 ? labels.join(" and ") : "" });
    card.head.hidden = this.view.lanes.length < 2;
    renew(card.facts, rows);
    if (card.slide === slide) return;
    const held = card.slide?.node.contains(card.node.getRootNode().activeElement);
    card.slide?.node.remove();
    card.slide = slide;
    if (!slide) return;
    card.node.append(slide.node);
    if (held) slide.node.querySelector("[tabindex]")?.focus();
    slide.go();
  }

  rows(step, words) {
    if (!step) return [html("p", { text: words })];
    const { h, w } = this.view, { row } = step;
    const rows = [
      html("p", { class: "kind" }, html("b", { text: row.kind }), ` ${row.says}`),
      html(
        "p",
        { class: "flow" },
        ...step.inputs.flatMap((shape, i) => [i ? " and " : "", ...shapeNodes(shape)]),
        " → ",
        ...(step.failed ? [html("b", { class: "bad", text: "✗ stops here" })] : outputNodes(step.outputs)),
      ),
      row.formula ? html("p", { class: "formula", text: row.formula }) : null,
      this.sums(row, h, w),
      this.weights(row, step, step.failed ? null : this.sight(row)),
    ];
    return rows.filter(Boolean);
  }

  /** The picture of a window is kept, and comes to rest, where another size would be drawn the same from its corner. */
  slide(lane, step, facts) {
    const plan = step ? planned(step, facts) : null, kept = this.slides.get(lane);
    const key = JSON.stringify([step?.row.name, plan], (name, value) => (name === "whole" ? undefined : value));
    kept?.slide?.stop();
    if (kept?.key === key && !kept.slide?.isElsewhere?.(plan.axes)) {
      if (plan?.axes) kept.slide.follow(plan.axes);
      return kept.slide;
    }
    const slide = plan && (plan.axes ? new Slide(plan, (words) => this.view.say(words)) : counted(plan));
    this.slides.set(lane, { key, slide });
    return slide;
  }

  sums(row, h, w) {
    if (row.sums === null)
      return html("p", { class: "soft", text: "fcnviz has no formula for this step; its shapes are PyTorch's." });
    const lines = fields(pieces(row.sums, h, w));
    if (!lines.length)
      return row.operation === "same" ? html("p", { class: "soft", text: "keeps every size as it is" }) : null;
    const same = lines.length > 1 && lines.every((line) => plain(line[2]) === plain(lines[0][2]));
    const told = same ? [[[{ text: lines.map((line) => plain(line[0])).join(", ") }], ...lines[0].slice(1)]] : lines;
    return html(
      "table",
      { class: "arithmetic" },
      html(
        "tbody",
        {},
        ...told.flatMap(([axis, symbols, numbers, broken]) => [
          html(
            "tr",
            { class: "symbols" },
            html("th", { scope: "row", rowspan: 2, text: plain(axis) }),
            html("td", { text: same ? plain(symbols).replaceAll(plain(lines[0][0]), "n") : plain(symbols) }),
          ),
          html(
            "tr",
            { class: "numbers" },
            html("td", { class: broken?.length ? "bad" : "" }, broken?.length ? "✗ " : "", ...pieceNodes(numbers)),
          ),
        ]),
      ),
    );
  }

  /** What a cell sees; of an image smaller than that, all of it. */
  sight({ sees, field }) {
    const { h, w } = this.view;
    if (!sees) return null;
    const beyond = field.some((pixels, i) => pixels > [h, w][i]);
    return html("span", {}, sees, html("span", { class: "soft", text: ", the same at every size" }),
      ...(beyond ? ["; this image has ", html("b", { class: "s", text: `${h}×${w}` }), ", the rest is padding"] : []));
  }

  weights(row, step, sees) {
    const list = (row.weights ?? []).flatMap(([name, shape], i) => [
      i ? ", " : "",
      `${name} `,
      html("b", { class: "c", text: shape.join("×") }),
    ]);
    const facts = html("p", { class: "weights" });
    if (list.length)
      facts.append(
        ...list,
        html("span", { class: "soft", text: " · none of these numbers follows H or W" }),
        html("br"),
      );
    else facts.append(html("span", { class: "soft", text: "no weights" }), html("br"));
    if (row.params) facts.append(html("b", { class: "c", text: count(row.params) }), " parameters");
    if (step.macs)
      facts.append(row.params ? " · " : "", html("b", { class: "s", text: count(step.macs) }), " multiply-adds");
    if (sees) facts.append(row.params || step.macs ? html("br") : "", sees);
    return facts;
  }
}

/** All that the words of a step depend on at one size of the image. */
function saying({ row, inputs, outputs, macs, failed }) {
  const { kind, says, formula, operation, sums, weights, params, sees } = row;
  row.fixed ??= JSON.stringify([kind, says, formula, operation, sums, weights, params, sees]);
  const sizes = [...inputs, null, ...outputs].map((shape) => shape?.map(({ value }) => value).join("×"));
  return [row.fixed, ...sizes, macs, failed].join("; ");
}

/** What is said of the selected step in one lane, or in lanes that say the same. */
function card() {
  const head = html("h3"), facts = html("div", { class: "facts" });
  return { head, facts, slide: null, node: html("article", {}, head, facts) };
}

const plain = (field = []) => field.map((piece) => piece.text).join("");

// The window on the map: where it stands, and which cell it makes. Of a large map a part, at first the corner.

const CORNER = 9, CELL = 12, WIDEST = 150, WORDS = ["row", "column"]; // pixels: a cell, and the widest part
const HANDLED =
  "The window on its map. Arrow keys move it from cell to cell of the output, Home and End to the ends.";

/** What the picture of a step shows: of a window where it can stand, of a Linear what it counts, else null. */
function planned(step, facts) {
  const axes = windowOf(step);
  if (axes) return { failed: step.failed, axes };
  return step.row.operation === "linear" ? flattened(step, facts) : null;
}

/** Both axes of a window that makes a map of a map, or is too large for it; null where it stops for another reason. */
function windowOf(step) {
  const map = step.inputs[0]?.map((size) => size.value);
  if (!stands(step, map)) return null;
  const axes = [0, 1].map((i) => axisOf(step, map, i));
  if (step.failed && axes.every(({ span, whole }) => span <= whole.end)) return null;
  return axes.every(({ span }) => span <= WIDEST) ? axes : null;
}

/** Whether a window of known size makes a map of a map. */
function stands({ row: { window, operation }, failed, outputs }, map) {
  const known = window?.kernel?.length === 2 && [...window.kernel, ...window.stride].every(Number.isInteger);
  return known && map?.length === 4 && operation !== "conv_transpose" && (failed || outputs[0].length === 4);
}

/** One axis of a window on a map: how many cells are drawn, of how many, and which at first. */
function axisOf({ row: { window }, failed, outputs }, map, i) {
  const [before, after] = window.pads?.[i] ?? padding(window, i), size = map[2 + i], end = before + size + after;
  const [kernel, dilation, stride] = [window.kernel[i], window.dilation[i], window.stride[i]];
  const span = dilation * (kernel - 1) + 1, made = failed ? 0 : outputs[0].at(i - 2).value;
  const cells = made ? Math.max(end, (made - 1) * stride + span) : end; // in ceil mode the last window hangs over
  const part = Math.max(span, Math.min(Math.max(CORNER, span + 2 * stride), 3 * CORNER));
  const fits = Math.min(made, Math.floor((part - span) / stride) + 1);
  const further = Math.min(WIDEST, span + fits * stride - 1); // with the cells that no stride comes to
  const shown = Math.min(cells, made ? further : part);
  const start = before < shown - 1 ? 0 : clamp(Math.floor((before - 2) / stride), 0, made - fits); // wide padding
  const axis = { before, kernel, dilation, span, stride, shown, fits, start, whole: { size, end, cells, made } };
  return { ...axis, part: partOf(axis, start) }; // another size that is drawn the same keeps the picture
}

/** What is drawn of an axis from one place of the window on: of the padded map, and of the map itself. */
function partOf({ before, span, stride, shown, fits, whole: { size, end, cells, made } }, first) {
  const from = first * stride, drawn = Math.min(shown, cells - from), reach = Math.max(drawn, (fits - 1) * stride + span);
  const [low, high] = [before, before + size].map((edge) => clamp(edge - from, 0, drawn));
  const hidden = { before: from > 0, after: cells - from > drawn, made: made > first + fits };
  // the edges say nothing to the drawing, but the words of the places in sight depend on them
  return { drawn, low, high, hidden, edges: [before + size, end].map((edge) => Math.min(edge - from, reach)) };
}

/** Which cells of an axis the window reads where it makes a cell: in words, counted from 1. */
function reads({ before, kernel, dilation, stride, whole: { size, end } }, word, place) {
  const first = place * stride - before + 1, cell = (i) => first + i * dilation;
  const between = (low, high) => {
    const from = Math.max(0, Math.ceil((low - first) / dilation));
    const to = Math.min(kernel - 1, Math.floor((high - first) / dilation));
    return from <= to ? [cell(from), cell(to)] : null;
  };
  const [low, high] = between(1, size) ?? [], steps = dilation > 1 ? ` in steps of ${dilation}` : "";
  const parts = [
    between(-Infinity, 0) && "padding",
    low && (low < high ? `${word}s ${low}–${high}${steps}` : `${word} ${low}`),
    between(size + 1, end - before) && "padding",
    between(end - before + 1, Infinity) && "beyond the edge",
  ];
  return `${word === "row" ? "output " : ""}${word} ${place + 1} ← ${parts.filter(Boolean).join(", ")}`;
}

/** The places of which one has most to say: those first in sight, and from the last within the map to the end of it. */
function telling({ before, span, stride, start, fits, whole: { size, made } }) {
  const far = Math.ceil((before + size - span) / stride) - 1, places = new Set([made - 1]);
  for (let i = 0; i < fits; i++) places.add(start + i);
  for (let i = 0; i * stride <= span + stride; i++) places.add(clamp(far + i, 0, made - 1));
  return [...places];
}

/** The place in sight nearest to a cell at which the window can stand: it covers the cell, if any does. */
const nearest = ({ span, stride, fits }, cell) => clamp(Math.round((cell - (span - 1) / 2) / stride), 0, fits - 1);
/** From which place on a part of an axis is drawn that has the place in it: on the way there, the next part. */
const turned = ({ fits, whole: { made } }, first, place) =>
  place >= first && place < first + fits ? first : clamp(place < first ? place - fits + 1 : place, 0, made - fits);
const isWithin = (cells, sizes) => cells.every((cell, i) => cell >= 0 && cell < sizes[i]);

/** The cells that a window with gaps reads; no path without gaps. */
function gaps([down, across], cell) {
  const along = ({ kernel, dilation }) => Array.from({ length: kernel }, (_, i) => i * dilation);
  if (down.dilation * across.dilation === 1) return null;
  const one = (y, x) => `M${x * cell} ${y * cell}h${cell}v${cell}h${-cell}z`;
  return svg("path", { class: "taps", d: along(down).flatMap((y) => along(across).map((x) => one(y, x))).join("") });
}

class Slide {
  constructor({ axes, failed }, say) {
    Object.assign(this, { axes, failed, say });
    this.first = axes.map((axis) => axis.start);
    this.fits = axes.map((axis) => axis.fits);
    this.cell = Math.min(CELL, WIDEST / Math.max(...axes.flatMap(({ shown, span }) => [shown, span])));
    this.picture = this.draw();
    this.lines = failed ? [] : WORDS.map((word) => ({ word, text: html("span"), node: html("span", { class: "reads" }) }));
    this.lines.forEach(({ node, text }) => node.append(text));
    this.node = html("div", { class: "look" }, this.picture, ...this.told());
    this.keepRoom();
    this.stand(this.first);
  }

  /** Whether a part of the map is in sight that is another one on the map of these axes. */
  isElsewhere(axes) {
    const walked = axes.some((axis, i) => axis.start !== this.first[i]);
    return walked && axes.some((axis, i) => axis.whole.size !== this.axes[i].whole.size);
  }

  /** Another size of the map, drawn the same. */
  follow(axes) {
    this.axes = axes;
    this.keepRoom();
  }

  /** Whether there is anything to move to; with one place only, or none, there is not. */
  get moves() { return this.axes.some(({ whole }) => whole.made > 1) && !this.failed; }

  /** Whether some of it is out of sight. */
  get goesOn() { return this.axes.some(({ fits, whole }) => whole.made > fits); }

  /** Room for the longest that can be said of an axis, so that nothing jumps; all digits are as wide as a zero. */
  keepRoom() {
    this.lines.forEach(({ word, node }, i) => {
      const all = telling(this.axes[i]).map((place) => reads(this.axes[i], word, place));
      const longest = all.reduce((long, one) => (one.length > long.length ? one : long));
      set(node, { "data-room": longest.replace(/\d/g, "0") });
    });
  }

  told() {
    const hint = `point at a cell or use the arrow keys${this.goesOn ? "; the dots lead on" : ""}`;
    const last = this.moves ? html("span", { class: "hint", text: hint }) : null;
    return this.lines.length ? [html("p", { class: "line" }, ...this.lines.map(({ node }) => node), last)] : [];
  }

  handles() {
    if (!this.moves) return { "aria-hidden": true };
    const point = (event) => this.point(event);
    const on = {
      pointermove: point,
      pointerdown: point,
      pointerleave: () => { this.pointed = null; },
      click: () => { if (!this.finger) this.go(); },
      keydown: (event) => this.key(event),
    };
    return { tabindex: 0, role: "application", "aria-label": HANDLED, on };
  }

  draw() {
    const { cell, axes, fits } = this, [high, wide] = axes.map((axis) => axis.shown * cell);
    const reach = axes.map((axis) => axis.span * cell), gap = axes[1].part.hidden.after ? 44 : 34;
    this.taps = gaps(axes, cell);
    this.frame = svg("rect", { class: this.taps ? "window sparse" : "window", width: reach[1], height: reach[0] });
    this.made = svg("rect", { class: "made", width: cell, height: cell });
    const left = (this.left = Math.max(wide, reach[1]) + gap);
    const rim = (this.rim = this.goesOn ? 18 : 2);
    const width = rim + left + (this.failed ? -gap : fits[1] * cell) + (axes[1].part.hidden.made ? 16 : 2);
    const below = axes.some(({ part }) => part.hidden.after || part.hidden.made) ? 16 : 2;
    const height = rim + Math.max(high, reach[0], fits[0] * cell) + below;
    this.map = svg("g");
    this.dots = svg("g");
    this.look();
    return svg(
      "svg",
      {
        class: this.failed ? "slide broken" : "slide",
        width,
        height,
        viewBox: `${-rim} ${-rim} ${width} ${height}`,
        ...this.handles(),
      },
      this.map,
      this.frame,
      this.taps,
      ...(this.failed ? [] : this.output(left, high)),
    );
  }

  /** An arrow, and the cells that the window makes. */
  output(left, high) {
    const at = { transform: `translate(${left} 0)` };
    return [
      svg("path", { class: "arrow", d: `M${left - 30} ${high / 2}h20m-4 -4l5 4l-5 4` }),
      svg("g", at, squares(this.fits, this.cell, "output"), this.made, this.dots),
    ];
  }

  /** The part of the map that is in sight, within its padding, and dots where there is more. */
  look() {
    const { cell, axes, first, fits } = this, parts = axes.map((axis, i) => partOf(axis, first[i]));
    const [top, left] = parts.map(({ low }) => low * cell), drawn = parts.map((part) => part.drawn);
    const inside = squares(parts.map(({ low, high }) => high - low), cell, "input");
    const lead = (i, way) => (parts[i].hidden[way < 0 ? "before" : "made"] ? () => this.turn(i, way) : null);
    this.drawn = drawn;
    this.map.replaceChildren(
      squares(drawn, cell, "pad"),
      svg("g", { transform: `translate(${left} ${top})` }, inside),
      more(drawn, parts.map(({ hidden }) => [hidden.before, hidden.after]), cell, lead),
    );
    this.dots.replaceChildren(more(fits, parts.map(({ hidden }) => [false, hidden.made]), cell, lead));
  }

  /** Once over the places in sight; standing still for those who want no motion. */
  go() {
    this.stop();
    const [down, across] = this.fits, last = Math.min(down, Math.max(1, Math.floor(12 / across))) * across - 1;
    if (!this.moves || last < 1 || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    const [top, left] = this.first;
    let i = 0;
    this.stand(this.first);
    this.timer = setInterval(() => {
      i++;
      this.stand([top + Math.floor(i / across), left + (i % across)]);
      if (i >= last) this.stop();
    }, 380);
  }

  stand(place) {
    this.place = place;
    const { cell, axes } = this, [y, x] = place.map((one, i) => one - this.first[i]);
    const there = `translate(${x * axes[1].stride * cell}px,${y * axes[0].stride * cell}px)`;
    for (const node of [this.frame, this.taps]) if (node) node.style.transform = there;
    this.made.style.transform = `translate(${x * cell}px,${y * cell}px)`;
    this.lines.forEach(({ word, text }, i) => set(text, { text: reads(axes[i], word, place[i]) }));
  }

  /** The student moves the window, with the part in sight where it leaves that: it plays no longer, and says where. */
  take(asked) {
    this.stop();
    const { axes, first } = this, place = asked.map((one, i) => clamp(one, 0, axes[i].whole.made - 1));
    this.first = place.map((one, i) => turned(axes[i], first[i], one));
    if (String(this.first) !== String(first)) this.look();
    this.stand(place);
    this.say(() => this.lines.map(({ text }) => text.textContent).join("; "));
  }

  /** On to the next part of an axis, or back to the one before. */
  turn(i, way) {
    const { first, fits } = this, next = way > 0 ? first[i] + fits[i] : first[i] - 1;
    this.take(this.place.map((one, axis) => (axis === i ? next : one)));
  }

  /** A pointer takes over at each cell that it comes to; while a mouse rests there, a click plays again. */
  point(event) {
    const place = this.placeAt(event), here = String(place);
    this.finger = event.pointerType !== "mouse";
    if (place && (this.finger || here !== this.pointed)) this.take(place);
    this.pointed = here;
  }

  /** Where the window stands for a point of the picture: on a cell that it makes, or on one of the map; else null. */
  placeAt({ clientX, clientY }) {
    const { cell, left, axes, fits, first, drawn, picture, rim } = this, box = picture.getBoundingClientRect();
    const zoom = picture.width.baseVal.value / box.width;
    const [y, x] = [clientY - box.top, clientX - box.left].map((pixels) => pixels * zoom - rim);
    const [made, read] = [[y, x - left], [y, x]].map((at) => at.map((pixels) => Math.floor(pixels / cell)));
    const found = isWithin(made, fits) ? made
      : isWithin(read, drawn) ? read.map((one, i) => nearest(axes[i], one)) : null;
    return found?.map((one, i) => one + first[i]) ?? null;
  }

  key(event) {
    const [y, x] = this.place, end = this.axes.map(({ whole }) => whole.made - 1);
    const across = { ArrowRight: [y, x + 1], ArrowLeft: [y, x - 1], Home: [0, 0], End: end };
    const place = { ...across, ArrowDown: [y + 1, x], ArrowUp: [y - 1, x] }[event.key];
    if (event.altKey || event.ctrlKey || event.metaKey || (!place && event.key !== "Enter")) return;
    if (place) this.take(place); else this.go();
    event.preventDefault();
  }

  stop() { clearInterval(this.timer); }
}

/** Cells before and after an axis; the words "same" and "valid" as numbers. */
function padding(window, i) {
  if (window.padding === "valid") return [0, 0];
  if (window.padding !== "same") return [window.padding[i], window.padding[i]];
  const all = window.dilation[i] * (window.kernel[i] - 1);
  return [Math.floor(all / 2), Math.ceil(all / 2)];
}

function squares([high, wide], cell, kind) {
  let path = "";
  for (let i = 0; i <= wide && cell > 4.5; i++) path += `M${i * cell} 0v${high * cell}`;
  for (let i = 0; i <= high && cell > 4.5; i++) path += `M0 ${i * cell}h${wide * cell}`;
  return svg("g", { class: kind }, svg("rect", { width: wide * cell, height: high * cell }), svg("path", { d: path }));
}

/** Dots where a map goes on, before and after; pressed, they lead there. */
function more(shown, hidden, cell, lead) {
  const [h, w] = shown.map((cells) => cells * cell);
  const dots = ([y, x, glyph], i, way) => {
    const act = lead(i, way);
    if (!act) return svg("text", { x, y, text: glyph });
    const press = (event) => { event.stopPropagation(); act(); };
    const area = svg("rect", { x: i ? x - 9 : 0, y: i ? 0 : y - 9, width: i ? 18 : w, height: i ? h : 18 });
    return svg("g", { class: "onward", on: { click: press } }, area, svg("text", { x, y, text: glyph }));
  };
  const ends = [[[-9, w / 2, "⋮"], [h + 9, w / 2, "⋮"]], [[h / 2, -9, "…"], [h / 2, w + 9, "…"]]];
  const all = hidden.flatMap((pair, i) => pair.map((on, end) => (on ? dots(ends[i][end], i, end ? 1 : -1) : null)));
  return svg("g", { class: "more" }, ...all);
}

/** Of a Linear the map that was flattened before it, if that is small, and how many numbers it has columns for. */
function flattened(step, facts) {
  const before = [...facts.steps.values()], at = before.indexOf(step);
  const flatten = before.slice(0, at).reverse().find((one) => one.row.operation !== "same");
  const map = flatten?.row.operation === "flatten" ? flatten.inputs[0].map((size) => size.value) : null;
  const whole = map?.length === 4 && step.inputs[0].at(-1).value === map[1] * map[2] * map[3];
  if (!whole || Math.max(map[2], map[3]) > 64) return null;
  return { failed: step.failed, map, columns: step.row.weights?.[0]?.[1]?.at(-1) };
}

/** What a Linear counts: the cells of that map, and those it has columns for: where it stops, if they make a square. */
function counted({ failed, map: [, channels, high, wide], columns }) {
  const root = Math.sqrt(columns / channels), square = Number.isInteger(root) ? [root, root] : null;
  const fit = failed ? square : [high, wide], [down, across] = fit ?? [0, 0];
  const cell = Math.min(CELL, WIDEST / Math.max(high, wide, down, across));
  const [width, height] = [Math.max(wide, across), Math.max(high, down)].map((cells) => cells * cell + 4);
  const node = svg(
    "svg",
    {
      class: failed ? "slide broken" : "slide",
      width,
      height,
      viewBox: `-2 -2 ${width} ${height}`,
      "aria-hidden": true,
    },
    squares([high, wide], cell, "input"),
    ...(fit ? [svg("rect", { class: "columns", width: across * cell, height: down * cell })] : []),
  );
  const told = html(
    "p",
    { class: "soft" },
    `${channels} numbers in each of the `,
    html("b", { class: "s", text: `${high}×${wide}` }),
    " cells; ",
    ...(fit
      ? ["dashed: ", html("b", { class: "c", text: fit.join("×") }), " cells, as many as there are columns for"]
      : [`${count(columns)} columns`]),
  );
  return { node: html("div", { class: "counted" }, node, told), go() {}, stop() {} };
}

// Why a network stops, and the ways out.

class Reasons {
  constructor(view) {
    this.view = view;
    this.node = html("section", { class: "reasons", "aria-label": "Ways out" });
  }

  draw() {
    const { lanes, facts } = this.view, told = new Map();
    lanes.forEach((lane, i) => {
      if (!facts[i]?.failing) return;
      const words = this.words(facts[i].said), { rest, list, elsewhere } = words;
      const key = [elsewhere, plain(rest), ...list.map(plain)].join("\n"), known = told.get(key);
      if (known) known.lanes.push(lane); else told.set(key, { lanes: [lane], words });
    });
    const said = JSON.stringify([...told.values()].map((one) => [one.words, one.lanes.map((lane) => lane.label)]));
    if (said === this.said) return;
    this.said = said;
    renew(this.node, [...told.values()].map(({ lanes: same, words }) => {
      const head = `${same.map((lane) => lane.label).join(" and ")}: ways out`;
      const wholes = same.map((lane) => this.whole(lane, same.length > 1 ? lane.label : "The network"));
      return html("article", { class: "why" }, html("h2", { text: head }), this.ways(words), ...wholes);
    }));
  }

  /** What the head of the lane left out, what can be done, and the size of which this is said, if that is another. */
  words({ at, explanation, remedies }) {
    const { h, w } = this.view, [, rest] = clauses(pieces(explanation, h, w));
    const list = remedies.map((text) => pieces(text, h, w)).filter((one) => one.length);
    return { rest, list, elsewhere: at && (at[0] !== h || at[1] !== w) ? at.join("×") : null };
  }

  ways({ rest, list, elsewhere }) {
    return html(
      "div",
      {},
      elsewhere
        ? html("p", { class: "soft", text: `These are the words at ${elsewhere}; here the numbers differ.` })
        : null,
      rest.length ? html("p", {}, ...sentence(rest)) : null,
      html("ol", {}, ...list.map((one) => html("li", {}, ...sentence(one)))),
    );
  }

  /** A way out speaks of one step, and the next may be as narrow: where all of them run. */
  whole(lane, name) {
    const runs = (lane.data.outcomes ?? []).filter((end) => end.runs).map(brief).join(", or ");
    return runs ? html("p", { class: "soft", text: `${name} as a whole runs where ${runs}.` }) : null;
  }
}

// The plane of sizes: what becomes of each, and a cross-hair to choose one.

const SIDE = 176, GREY = [158, 158, 158, 255], CLEAR = [0, 0, 0, 0], VEIL = [128, 128, 128, 216];
const MOST = 5; // rows of a legend that are not folded
const GAPS = 64; // between sizes of one region: a network that shrinks its image so many times runs at multiples of it

class Planes {
  constructor(view) {
    this.view = view;
    this.stale = true;
    this.rows = view.lanes.filter((lane) => lane.law).map((lane) => this.plane(lane));
    this.node = html(
      "section",
      { class: "planes", "aria-label": "Which sizes run" },
      html("h2", {}, "Which sizes run? ", html("span", { class: "act", text: "Drag to choose." })),
      html("div", { class: "pair" }, ...this.rows.map((row) => row.node)),
    );
    this.node.hidden = !this.rows.length;
  }

  plane(lane) {
    const row = { lane, told: now(), legend: html("div", { class: "legend" }), items: new Map() };
    Object.assign(row, this.area(row));
    row.ends = html(
      "div",
      { class: "scale" },
      html("span", { text: "1" }),
      html("span", { class: "axis-name", text: "width →" }),
      html("span"),
    );
    row.node = html(
      "figure",
      { class: "plane" },
      html("figcaption", { text: lane.label }),
      html("div", { class: "frame" }, html("span", { class: "axis-name tall", text: "height →" }), row.area),
      row.ends,
      html("div", {}, row.told),
      row.legend,
    );
    return row;
  }

  /** The plane itself and its cross-hair. */
  area(row) {
    const map = sheet();
    const across = svg("line", { class: "hair", x1: 0, x2: SIDE });
    const up = svg("line", { class: "hair", y1: 0, y2: SIDE });
    const dot = svg("circle", { r: 4.5, class: "dot" });
    const hair = svg("svg", { viewBox: `0 0 ${SIDE} ${SIDE}`, "aria-hidden": true }, across, up, dot);
    const on = {
      pointerdown: (event) => this.press(event, area),
      pointermove: (event) => this.move(event, row),
      pointerleave: () => {
        set(row.area, { title: "" });
        this.point(row);
      },
      lostpointercapture: () => this.hold(false),
      keydown: (event) => this.key(event),
    };
    const area = html("div", { class: "area", tabindex: 0, role: "application", on }, map, hair);
    return { area, map, across, up, dot };
  }

  press(event, area) {
    if (event.button !== 0) return;
    area.setPointerCapture(event.pointerId);
    area.focus({ preventScroll: true });
    this.hold(true);
    this.choose(event, area);
    event.preventDefault();
  }

  /** While a point is dragged nothing gets shorter: a page scrolled to its end would move under the pointer. */
  hold(on) {
    const { style } = this.view.root;
    style.minHeight = on ? `${this.view.root.offsetHeight}px` : "";
  }

  move(event, row) {
    if (row.area.hasPointerCapture(event.pointerId)) this.choose(event, row.area); else this.hover(event, row);
  }

  /** Height and width of the size under the pointer. */
  under(event, area) {
    const box = area.firstChild.getBoundingClientRect(), { reach } = this.view;
    const at = (part) => clamp(Math.ceil(part * reach), 1, reach);
    return [at(1 - (event.clientY - box.top) / box.height), at((event.clientX - box.left) / box.width)];
  }

  choose(event, area) { this.go(this.under(event, area)); }

  go([h, w], glide) {
    if (h !== w) this.view.free = true;
    this.view.resize(h, w, glide);
  }

  /** What becomes of the size under the pointer: the plane says it, the legend shows it. */
  hover(event, row) {
    const [h, w] = this.under(event, row.area), end = endAt(row.lane, h, w);
    set(row.area, { title: `${h}×${w}: ${fate(end)}` });
    this.point(row, end);
  }

  point({ items }, end) { items.forEach((item, one) => item.classList.toggle("under", one === end)); }

  key(event) {
    const moves = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowUp: [1, 0], ArrowDown: [-1, 0] },
      move = moves[event.key];
    if (!move) return;
    const { view } = this, far = event.shiftKey ? 32 : 1;
    view.free = true;
    view.resize(view.h + far * move[0], view.w + far * move[1]);
    event.preventDefault();
  }

  draw() {
    const { view } = this;
    if (this.stale) {
      this.stale = false;
      notSoon(this.later);
      this.later = soon(() => this.paintEach(this.rows));
    }
    const x = ((view.w - 0.5) / view.reach) * SIDE, y = SIDE - ((view.h - 0.5) / view.reach) * SIDE;
    this.rows.forEach((row) => {
      set(row.across, { y1: y, y2: y });
      set(row.up, { x1: x, x2: x });
      set(row.dot, { cx: x, cy: y });
      set(row.ends.lastChild, { text: String(view.reach) });
      if (row.reach !== view.reach) this.fill(row);
      this.say(row);
    });
  }

  /** What becomes of this size, and which row of the legend says why. */
  say(row) {
    const { h, w } = this.view, { lane, told, area, items } = row, end = endAt(lane, h, w);
    tell(told, h, w, end);
    set(area, {
      "aria-label":
        `Sizes that ${lane.label} takes. ${h} high, ${w} wide: ${fate(end)}. Arrow keys change height and width.`,
    });
    if (row.end === end) return;
    items.get(row.end)?.removeAttribute("aria-current");
    items.get(end)?.setAttribute("aria-current", true);
    row.end = end;
  }

  /** What stands below each plane, at every end and the longest sizes. */
  ends() {
    const { reach } = this.view;
    return this.rows.map(({ lane, told }) => ({
      node: told.parentNode,
      others: lane.data.outcomes.map((end) => html("div", {}, tell(now(), reach, reach, end))),
    }));
  }

  /** What each colour means, in the order in which it is decided; of many regions the smallest are folded. */
  fill(row) {
    const { reach } = this.view, ends = row.lane.data.outcomes.filter((end) => Math.max(...end.first) <= reach);
    const order = [...ends].sort((a, b) => b.runs - a.runs || b.count - a.count);
    this.light(); // a row that is taken away is left by no pointer
    const small = new Set(order.slice(ends.length > MOST + 1 ? MOST : ends.length));
    Object.assign(row, { reach, end: null, items: new Map(ends.map((end) => [end, this.item(row, end)])) });
    const list = (folded) => html("ul", { "aria-label": `Colours of ${row.lane.label}` },
      ...ends.filter((end) => small.has(end) === folded).map((end) => html("li", {}, row.items.get(end))));
    row.legend.replaceChildren(
      ends[0].runs ? "" : html("p", { class: "rule", text: `no size up to ${reach} runs` }),
      list(false),
      ends.length > 2 ? html("p", { class: "rule", text: "✗ of the sizes that get there" }) : "",
      small.size ? html("details", {}, html("summary", { text: `${small.size} more, smaller` }), list(true)) : "",
    );
  }

  /** A row of the legend: its region stands out while it is pointed at, and is gone to when it is pressed. */
  item(row, end) {
    const on = {
      click: () => this.go(this.towards(row.lane, end), true),
      pointerenter: () => this.light(row, end), focus: () => this.light(row, end),
      pointerleave: () => this.light(), blur: () => this.light(),
    };
    const { name, output, runs, rule, sizes } = end, several = row.lane.data.outcomes[1]?.runs;
    const why = brief(end);
    return html(
      "button",
      { type: "button", class: "item", title: [...new Set([output, rule, sizes])].filter(Boolean).join("; "), on },
      html("span", { class: "swatch", style: `background:${end.colour}` }),
      html("span", { "aria-hidden": true, text: runs ? "✓ " : "✗ " }),
      runs ? null : html("span", { class: "hidden", text: "stops at " }),
      (runs ? (several ? `runs → ${output}` : "runs") : name) + (why && ": "),
      html("span", { class: "rule", text: why }),
    );
  }

  /** The size of a region nearest to the cross-hair of those that a walk there comes to. */
  towards(lane, end) {
    const { h, w } = this.view, [high, wide] = end.first, far = ([y, x]) => Math.abs(y - h) + Math.abs(x - w);
    const starts = [[h, w], [h, wide], [high, w], end.first].filter((one) => endAt(lane, ...one) === end);
    const ends = starts.map((one) => this.walked(lane, end, one));
    return ends.reduce((best, one) => (far(one) < far(best) ? one : best));
  }

  /** From a size of a region towards the cross-hair, as far as the region goes; small gaps are stepped over. */
  walked(lane, end, [y, x]) {
    const { h, w } = this.view;
    let far = 1;
    while (far <= GAPS) {
      const [a, b] = [y + clamp(h - y, -far, far), x + clamp(w - x, -far, far)];
      const next = [[a, b], [a, x], [y, b]].find((one) => String(one) !== `${y},${x}` && endAt(lane, ...one) === end);
      if (next) [y, x] = next;
      far = next ? 1 : far + 1;
    }
    return [y, x];
  }

  /** Lets one region of a plane stand out; without one, all are as they were. */
  light(row, end) {
    this.veil?.remove();
    if (!row?.taken) return;
    this.veil = sheet();
    colour(this.veil, row.taken, (path) => (end.paths.includes(path) ? CLEAR : VEIL));
    row.map.after(this.veil);
  }

  /** One plane at a time: a key pressed meanwhile need not wait for all. */
  paintEach([row, ...rest]) {
    if (!row) return;
    this.paint(row);
    this.later = soon(() => this.paintEach(rest));
  }

  /** Each point of the plane in the colour of what becomes of its size. */
  paint(row) {
    const { reach } = this.view, { map, lane } = row, n = SIDE * 2, colours = {};
    for (const end of lane.data.outcomes)
      for (const path of end.paths)
        colours[path] = [...[1, 3, 5].map((at) => parseInt(end.colour.slice(at, at + 2), 16)), 255];
    const size = Array.from({ length: n }, (_, i) => Math.min(reach, Math.max(1, Math.ceil(((i + 0.5) / n) * reach))));
    const taken = new Int16Array(n * n).fill(-1);
    lane.data.law.paths.forEach((path, index) => {
      for (const one of branches(path.if)) mark(taken, one, index, size, n);
    });
    row.taken = taken;
    colour(map, taken, (path) => colours[path] ?? GREY);
    set(map, { alt: `What becomes of each size in ${lane.label}, as a colour: heights go up, widths to the right.` });
  }
}

/** What becomes of a size. */
function endAt(lane, h, w) {
  const index = lane.pathAt(h, w);
  return lane.data.outcomes.find((end) => end.paths.includes(index));
}

const fate = (end) => (!end ? "not decided" : end.runs ? "runs" : `stops at ${end.name}`);
/** The sizes of a region in the shorter way. */
const brief = ({ rule, sizes }) => (!sizes.includes("; or ") && sizes) || rule;

/** What becomes of one size, in words. */
const now = () => html("p", { class: "now" }, html("span"), html("b"));
function tell(node, h, w, end) {
  set(node.firstChild, { text: `${h}×${w} ` });
  set(node.lastChild, { text: fate(end) });
  return node;
}

/**
 * Of a plane; without words until something is on it. No canvas: the browser keeps each as a layer of its own and puts
 * it on the page anew at every key.
 */
const sheet = () => html("img", { alt: "", draggable: "false", decoding: "sync" });

/** Gives each point of a plane the colour of the path that its size takes; heights grow upwards. */
function colour(map, taken, of) {
  const n = Math.sqrt(taken.length), canvas = html("canvas", { width: n, height: n });
  const context = canvas.getContext("2d"), image = context.createImageData(n, n);
  taken.forEach((path, i) => image.data.set(of(path), 4 * ((n - 1 - Math.floor(i / n)) * n + (i % n))));
  context.putImageData(image, 0, 0);
  map.src = canvas.toDataURL();
}

const branches = (tree) => (Array.isArray(tree) && tree[0] === "or" ? tree.slice(1) : [tree]);
const conditions = (tree) => (Array.isArray(tree) && tree[0] === "and" ? tree.slice(1).flatMap(conditions) : [tree]);
const soon = (act) => (window.requestIdleCallback ?? ((f) => setTimeout(f, 1)))(act);
const notSoon = (id) => id && (window.cancelIdleCallback ?? clearTimeout)(id);

/** Marks where all conditions hold: those on one axis are tried along that axis only. */
function mark(taken, tree, index, size, n) {
  const rows = new Uint8Array(n).fill(1), columns = new Uint8Array(n).fill(1), both = [];
  for (const condition of conditions(tree)) {
    const holds = compiled(condition), [high, wide] = [speaksOf(condition, "H"), speaksOf(condition, "W")];
    if (high && wide) both.push(holds);
    else for (let i = 0; i < n; i++) { if (!holds(size[i], size[i])) (wide ? columns : rows)[i] = 0; }
  }
  for (let y = 0; y < n; y++) {
    if (!rows[y]) continue;
    for (let x = 0; x < n; x++)
      if (columns[x] && taken[y * n + x] < 0 && both.every((holds) => holds(size[y], size[x])))
        taken[y * n + x] = index;
  }
}

// The table: the same facts, to be read.

class Table {
  constructor(view) {
    this.view = view;
    this.node = html("div", {
      class: "table",
      tabindex: 0,
      role: "region",
      "aria-label": "All steps as a table",
      hidden: true,
    });
  }

  /** The rows and their heads; cells are written by draw. */
  fill() {
    const { scene, lanes } = this.view, facts = ["kind", "output", "parameters", "multiply-adds"];
    const head = (scope, text, colspan) => html("th", { scope, colspan, text });
    this.caption = html("caption");
    this.image = html("tr", {}, head("row", "image"));
    this.rows = scene.columns.map((name, i) => html("tr", {}, html("th", { scope: "row" }, this.pick(name, i))));
    this.said = new Map();
    this.node.replaceChildren(html("table", {}, this.caption, html("thead", {},
      html("tr", {}, html("td"), ...lanes.map((lane) => head("colgroup", lane.label, 4))),
      html("tr", {}, head("col", "step"), ...lanes.flatMap(() => facts.map((text) => head("col", text))))),
    html("tbody", {}, this.image, ...this.rows)));
  }

  pick(name, i) {
    return html("button", { type: "button", class: "pick", text: name, on: { click: () => this.view.stepTo(i) } });
  }

  draw() {
    if (this.node.hidden) return;
    const { scene, lanes, facts, step, h, w } = this.view;
    if (!this.rows) this.fill();
    this.caption.textContent = this.view.summary();
    const image = [1, scene.channels, h, w].map((value, i) => ({ value, moves: i > 1 }));
    this.write(this.image, lanes.flatMap(() => [{}, { shapes: [image] }, {}, {}]));
    this.rows.forEach((row, i) => {
      row.className = i === step ? "chosen" : "";
      if (i === step) row.setAttribute("aria-current", "step"); else row.removeAttribute("aria-current");
      this.write(row, lanes.flatMap((lane, j) => this.cells(lane, facts[j], scene.columns[i])));
    });
  }

  /** Of each row only the cells that say something else than before. */
  write(row, cells) {
    const known = this.said.get(row) ?? [], said = cells.map((cell) => JSON.stringify(cell));
    this.said.set(row, said);
    const same = known.length === said.length;
    if (!same) while (row.cells.length > 1) row.lastChild.remove();
    cells.forEach((cell, i) => {
      if (!same) row.append(this.cell(cell));
      else if (said[i] !== known[i]) row.cells[i + 1].replaceWith(this.cell(cell));
    });
  }

  cell({ shapes, text = "", kind, span }) {
    return html(
      "td",
      { class: kind, colspan: span, text: shapes ? null : text },
      ...(shapes ? outputNodes(shapes) : []),
    );
  }

  cells(lane, facts, name) {
    const step = facts?.steps.get(name), number = (value) => ({ kind: "number", text: value ? count(value) : "" });
    if (!step) return [{ span: 4, kind: "none", text: lane.plan.has(name) ? "not reached" : "–" }];
    const out = step.failed ? { kind: "bad", text: "✗ stops here" } : { shapes: step.outputs };
    return [{ text: `${step.row.kind} ${step.row.says}`.trim() }, out, number(step.row.params), number(step.macs)];
  }
}

/**
 * Acts once nobody has asked for `pause` ms, and at the latest after `most`. So Python hears of a key that is held down
 * twice a second: at each message JupyterLab measures its whole toolbar, which takes as long as the picture.
 */
function rarely(act, pause, most) {
  let timer = 0, since = 0;
  const now = () => {
    if (!timer) return;
    clearTimeout(timer);
    timer = 0;
    act();
  };
  const ask = () => {
    const at = performance.now();
    if (!timer) since = at;
    clearTimeout(timer);
    timer = setTimeout(now, clamp(since + most - at, 0, pause));
  };
  return { ask, now };
}

// Render: for a notebook (`model` is the widget's) and, through the same few calls, for a page.

function render({ model, el }) {
  const root = html("div", { class: "fcnviz-explorer" });
  el.append(root);
  const unsaved = new Map(); // what the hand has chosen and has not been told to Python
  let back = false;
  const saving = rarely(() => { unsaved.clear(); model.save_changes(); }, 100, 500);
  const host = {
    get: (name) => model.get(name),
    set: (values) => {
      const moved = Object.entries(values).filter(([name, value]) => model.get(name) !== value);
      if (model.send) for (const [name, value] of moved) unsaved.set(name, value);
      for (const [name, value] of moved) model.set(name, value);
      saving.ask();
    },
    ask: model.send ? (lane, height, width) => model.send({ ask: lane, height, width }) : null,
  };
  // the page that is saved beside the widget is for a day without its kernel
  for (const page of document.getElementsByClassName(model.get("saved") ?? "")) page.replaceChildren();
  const view = new View(root, model.get("scene"), host);
  const told = (message) => { if (message?.lane !== undefined) view.told(message); };
  // where the hand is ahead, what comes is older: JupyterLab has each message answered with the values that stood in it
  const follow = (name) => {
    if (back) return;
    back = true; // another view of the same model may be ahead as well
    for (const [one, value] of unsaved) model.set(one, value);
    back = false;
    view.follow(name);
  };
  const heard = ["height", "width", "step", "selected"].map((name) => [`change:${name}`, () => follow(name)]);
  heard.push(["msg:custom", told], ["change:scene", () => view.grow(model.get("scene"))]);
  // JupyterLab takes arrow keys and letters for its own commands
  const keep = (event) => { if (event.key !== "Escape") event.stopPropagation(); };
  root.addEventListener("keydown", keep);
  for (const [event, act] of heard) model.on(event, act);
  return () => {
    for (const [event, act] of heard) model.off(event, act);
    root.removeEventListener("keydown", keep);
    saving.now();
    view.close();
    root.remove();
  };
}

export default { render };
