// The explorer: networks under one image size. One module, no library. It draws and reports; every number comes from
// the scene (see scene.py): formulas as trees, sentences as templates. Nothing in the scene is run as code, and every
// name in it is put on the page as text.
//
// In reading order: trees and sentences (no page needed) · a lane at a size · state · pieces of a page · the lanes as
// blocks · the selected step · why it stops · the plane of sizes · the table · controls · render.

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
  if (FOLDS[head]) return (h, w) => parts.map((part) => part(h, w)).reduce(FOLDS[head]);
  const operator = OPERATORS[head], [a, b] = parts;
  if (!operator) throw new Error(`no operator ${head}`);
  return b ? (h, w) => operator(a(h, w), b(h, w)) : (h, w) => operator(a(h, w));
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
  while (!Array.isArray(text)) text = compiled(text.if)(h, w) ? text.yes : text.no;
  return text.map((part) => {
    if (typeof part === "string") return { text: part, moves: false };
    const grouped = "#" in part, value = compiled(grouped ? part["#"] : part.d)(h, w);
    return { text: grouped ? count(value) : String(value), moves: true };
  });
}
export const spoken = (text, h, w) => pieces(text, h, w).map((piece) => piece.text).join("");

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
    this.follow(data.plan);
  }

  /** The steps this network is known to take. */
  follow(plan) { this.plan = new Map(plan.map((row) => [row.name, row])); }

  prepared(law) {
    const shapes = law.shapes.map((trees) =>
      trees.map((tree, i) => ({ value: compiled(tree), moves: this.moves(tree, i, law) })),
    );
    const steps = law.steps.map((row) => ({ ...row, macsAt: compiled(row.macs ?? 0) }));
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
    if (!path) return null;
    const shape = (place) => law.shapes[place].map((size) => ({ value: size.value(h, w), moves: size.moves }));
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
const set = (node, { style, ...attributes }) => {
  if (style) node.style.cssText = style;
  for (const key in attributes) node.setAttribute(key, attributes[key]);
};

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

const POWER = 0.4, DEEP = 0.17, SLANT = [0.72, -0.6], PLATE = 6, GAP = 8;
const side = (cells) => Math.max(cells, 0) ** POWER;
const points = (...list) => list.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");

class Block {
  constructor(column, pick) {
    this.column = column;
    this.top = svg("polygon", { class: "top" });
    this.flank = svg("polygon", { class: "flank" });
    this.face = svg("rect", { class: "face" });
    this.cells = svg("path", { class: "cells" });
    this.mark = svg("path", { class: "mark" });
    this.window = svg("rect", { class: "window" });
    this.labels = [0, 1, 2].map(() => svg("text", { class: "label" }));
    this.hit = svg("rect", { class: "hit" });
    this.title = svg("title");
    this.node = svg(
      "g",
      { class: "block", on: { click: () => pick(column) } },
      this.title,
      this.hit,
      this.top,
      this.flank,
      this.face,
      this.cells,
      this.window,
      this.mark,
      ...this.labels,
    );
  }

  /** Draws a box of w×h pixels, d deep, around the middle (x, y). */
  draw(x, y, [w, h, d], cells) {
    const left = x - w / 2, top = y - h / 2, [dx, dy] = [d * SLANT[0], d * SLANT[1]];
    set(this.face, { x: left.toFixed(1), y: top.toFixed(1), width: w.toFixed(1), height: h.toFixed(1) });
    set(this.top, { points: points([left, top], [left + dx, top + dy], [left + w + dx, top + dy], [left + w, top]) });
    set(this.flank, {
      points: points([left + w, top], [left + w + dx, top + dy], [left + w + dx, top + h + dy], [left + w, top + h]),
    });
    set(this.cells, { d: grid(left, top, w, h, cells) });
    set(this.mark, { d: cross(x, y) });
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

/** The lines between the cells of a small map. */
function grid(left, top, w, h, cells) {
  if (!cells || cells.w > 16 || cells.h > 16 || w / cells.w < 2.2 || h / cells.h < 2.2) return "";
  let path = "";
  for (let i = 1; i < cells.w; i++)
    path += `M${(left + (w * i) / cells.w).toFixed(1)} ${top.toFixed(1)}v${h.toFixed(1)}`;
  for (let i = 1; i < cells.h; i++)
    path += `M${left.toFixed(1)} ${(top + (h * i) / cells.h).toFixed(1)}h${w.toFixed(1)}`;
  return path;
}

// The lanes: one drawing for each network, columns shared by all.

class Lanes {
  constructor(view) {
    this.view = view;
    const { scene, lanes } = view;
    this.plates = scene.columns.map((name) =>
      lanes.every((lane) => (lane.plan.get(name)?.operation ?? "same") === "same"),
    );
    this.rows = lanes.map((lane) => this.row(lane));
    this.stages = svg("svg", { class: "stages", "aria-hidden": true });
    this.scroller = html(
      "div",
      {
        class: "lanes",
        tabindex: 0,
        role: "group",
        "aria-label": "Networks, step by step. Arrow keys go from step to step.",
        on: { keydown: (event) => this.key(event) },
      },
      this.stages,
      ...this.rows.map((row) => row.node),
    );
    this.node = this.scroller;
  }

  row(lane) {
    const row = { lane, head: html("div", { class: "head" }), svg: svg("svg", { class: "blocks", role: "img" }) };
    row.wire = svg("line", { class: "wire" });
    row.image = new Block(-1, () => this.view.stepTo(0));
    row.image.node.classList.add("image");
    row.blocks = this.view.scene.columns.map((name, i) =>
      lane.plan.has(name) ? new Block(i, (at) => this.view.stepTo(at)) : null,
    );
    row.never = svg("text", { class: "never", text: "not reached" });
    row.axes = ["C", "H", "W"].map((text, i) => svg("text", { class: i ? "label s" : "label", text }));
    row.sun = svg("path", { class: "landscape" });
    row.blocks.forEach((block, i) => block?.node.classList.toggle("plate", this.plates[i]));
    row.image.node.insertBefore(row.sun, row.image.cells);
    row.svg.append(
      row.wire,
      ...row.axes,
      row.image.node,
      ...row.blocks.filter(Boolean).map((block) => block.node),
      row.never,
    );
    row.node = html("section", { class: "lane", "aria-label": lane.label }, row.head, row.svg);
    return row;
  }

  key(event) {
    const moves = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity };
    if (event.key in moves && event.target === this.scroller) {
      this.view.stepTo(this.view.step + moves[event.key]);
      event.preventDefault();
    }
  }

  /** Where the columns stand: as wide as the largest map of the range makes them, so that dragging moves no block. */
  layout(width) {
    const { scene, reach, lanes } = this.view, type = Math.min(17, Math.max(11, width / 96)), letter = type * 0.6;
    this.type = type;
    const wide = scene.columns.map((name) => Math.max(...lanes.map((lane) => this.widest(lane, name, reach))));
    const words = scene.columns.map((name) => letter * Math.max(...lanes.map((lane) => this.letters(lane, name))) + 5);
    const deep = scene.columns.map((name) => Math.max(...lanes.map((lane) => this.deepest(lane, name))));
    const slot = (scale, i) => Math.max(scale * side(wide[i]) + 0.8 * scale + this.gap(i), words[i], 16);
    const slots = (scale) => wide.map((_, i) => (this.plates[i] ? PLATE + this.gap(i) : slot(scale, i)));
    const start = (scale) => scale * side(reach) + 22 + GAP, room = Math.max(width, 320) - 6;
    const sum = (list) => list.reduce((a, b) => a + b, 0);
    const total = (scale) => start(scale) + sum(slots(scale)) + this.tail(scale, slots(scale), deep);
    let [low, high] = [2.6, 22];
    for (let i = 0; i < 24; i++) {
      const middle = (low + high) / 2;
      if (total(middle) > room) high = middle;
      else low = middle;
    }
    const spare = Math.max(0, room - total(low)) / wide.filter((_, i) => this.gap(i) === GAP).length;
    this.scale = low;
    this.first = 20 + (low * side(reach)) / 2;
    let x = start(low);
    this.edges = [x];
    this.x = slots(low).map((slot, i) => {
      const at = x + (this.plates[i] ? PLATE / 2 : (slot - this.gap(i) - 0.8 * low) / 2);
      x += slot + (this.gap(i) === GAP ? spare : 0);
      this.edges.push(x);
      return at;
    });
    this.width = Math.max(x + this.tail(low, slots(low), deep), room);
    this.high = low * side(reach);
    this.middle =
      Math.max(this.high / 2, ...lanes.flatMap((lane) => scene.columns.map((name) => this.above(lane, name)))) + 4;
    this.floor = this.middle + Math.max(this.high / 2, 15) + type;
    this.height = this.floor + type * 2.6;
    this.fresh = true;
    this.drawStages();
  }

  /** Nothing stands between a step and the plate of the ReLU after it. */
  gap(i) { return this.plates[i + 1] ? 2 : GAP; }

  /** How many letters the longest number of a step has. */
  letters(lane, name) {
    const numbers = labels(this.sizes(lane, name).map((value) => ({ value }))).map(({ value }) => String(value).length);
    return numbers.length ? Math.max(...numbers) : 2;
  }

  /** How far the rods of the last columns lean beyond them. */
  tail(scale, slots, deep) {
    let beyond = 0, behind = 0;
    for (let i = slots.length - 1; i >= 0; i--) {
      beyond = Math.max(beyond, this.depth(deep[i], scale) * SLANT[0] - behind - slots[i] / 2);
      behind += slots[i];
    }
    return beyond + 8;
  }

  /** Pixels of so many channels: no rod rises above the image of the whole range. */
  depth(channels, scale = this.scale) {
    return scale * Math.min(DEEP * side(channels), side(this.view.reach) / 2 / -SLANT[1]);
  }

  deepest(lane, name) { return this.biggest(lane, name).c; }

  /** How far a step rises above the middle at the largest image of the range. */
  above(lane, name) {
    const { h, c } = this.biggest(lane, name);
    return (this.scale * side(Math.min(h, this.view.reach))) / 2 - this.depth(c) * SLANT[1];
  }

  biggest(lane, name) { return box(this.sizes(lane, name).map((value) => ({ value }))); }

  /** The sizes of a step at the largest image of the range. */
  sizes(lane, name) {
    const { reach } = this.view, found = lane.law ? { law: lane.law, row: lane.plan.get(name) } : lane.seen(name);
    const place = shapesIn(found?.row?.output)[0];
    if (place === undefined) return [];
    return found.law.shapes[place]
      .map((size) => size.value(reach, reach))
      .map((size) => (Number.isFinite(size) ? size : 1));
  }

  widest(lane, name, reach) {
    return clamp(this.biggest(lane, name).w, 1, reach);
  }

  drawStages() {
    const marks = [], high = this.type * 1.9;
    let column = 0;
    for (const stage of this.view.scene.stages) {
      const [left, right] = [this.edges[column] - 2, this.edges[column + stage.columns] - GAP / 2];
      column += stage.columns;
      const room = Math.floor((right - left) / (this.type * 0.5));
      const short = stage.label.length <= room ? stage.label : stage.label.split(" ").at(-1);
      marks.push(svg("path", { class: "bracket", d: `M${left} ${high - 1}v-5H${right}v5` }));
      marks.push(
        svg(
          "text",
          { class: "stage", x: (left + right) / 2, y: high - 10, text: short.length <= room + 1 ? short : "" },
          svg("title", { text: stage.label }),
        ),
      );
    }
    this.stages.replaceChildren(...marks);
    set(this.stages, {
      width: this.width,
      height: high,
      viewBox: `0 0 ${this.width} ${high}`,
      style: `font-size:${this.type * 0.9}px`,
    });
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
    this.frame = requestAnimationFrame(step);
  }

  place(boxes) {
    this.boxes = boxes;
    boxes.forEach((row, i) => row.forEach((one, j) => {
      const { image, blocks } = this.rows[i], block = j ? blocks[j - 1] : image;
      block?.draw(this.middleOf(row, j), this.middle, one, this.targets[i].cells[j]);
      if (!j) set(this.rows[i].sun, { d: landscape(this.first, this.middle, one) });
    }));
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
    const pixels = (one) => [this.scale * side(one.w), this.scale * side(one.h), this.depth(one.c)];
    const all = [{ w, h, c: scene.channels }];
    let last = all[0];
    scene.columns.forEach((name) => {
      const step = facts?.steps.get(name), shape = step && (step.outputs[0] ?? step.inputs[0]);
      if (shape) last = box(shape);
      all.push(shape ? last : null);
    });
    const boxes = all.map((one, j) => {
      if (j && this.plates[j - 1]) return [2.5, one ? Math.max(pixels(one)[1], 5) : 8, 0];
      return one ? pixels(one) : [14, 14, 0];
    });
    return { boxes, cells: all.map((one, j) => (j && !this.plates[j - 1] ? one : null)) };
  }

  /** Labels, marks and words of a lane at this size. */
  name(row, facts) {
    const { scene, step } = this.view;
    if (this.fresh) this.settle(row);
    set(row.svg, { "aria-label": this.view.verdict(row.lane, facts) });
    this.label(
      row.image,
      [1, scene.channels, this.view.h, this.view.w].map((value, i) => ({ value, moves: i > 1 })),
      "image",
    );
    let failed = false, lost = [];
    scene.columns.forEach((name, i) => {
      const block = row.blocks[i];
      if (!block) return;
      const here = facts?.steps.get(name), shape = here?.outputs[0];
      const unreached = Boolean(facts) && !here && failed;
      if (here?.failed) failed = true;
      if (unreached && !this.plates[i]) lost.push(this.x[i]);
      block.node.setAttribute(
        "class",
        ["block", this.plates[i] && "plate", here?.failed && "failed", !here && "ghost", i === step && "chosen"]
          .filter(Boolean)
          .join(" "),
      );
      this.label(block, shape && !this.plates[i] ? shape : [], this.words(name, here));
      this.need(block, this.x[i], here);
    });
    set(row.never, {
      x: lost.length ? (lost[0] + lost.at(-1)) / 2 : 0,
      y: this.floor + this.type * 0.5,
      visibility: lost.length ? "visible" : "hidden",
    });
    row.node.classList.toggle("stops", Boolean(facts?.failing));
    row.head.replaceChildren(...this.view.headline(row.lane, facts));
  }

  /** What only another width or range moves. */
  settle(row) {
    set(row.svg, {
      width: this.width,
      height: this.height,
      viewBox: `0 0 ${this.width} ${this.height}`,
      style: `font-size:${this.type * 0.95}px`,
    });
    set(row.wire, { x1: 4, x2: this.x.at(-1), y1: this.middle, y2: this.middle });
    const line = (texts, x) => texts.forEach((text, i) => set(text, { x, y: this.floor + i * this.type * 1.08 }));
    line(row.axes, 9);
    line(row.image.labels, this.first);
    row.blocks.forEach((block, i) => {
      if (!block) return;
      line(block.labels, this.x[i]);
      set(block.hit, { x: this.edges[i] - 1, y: 0, width: this.edges[i + 1] - this.edges[i], height: this.height });
    });
  }

  /** The window that does not fit, as large as it is. */
  need(block, x, here) {
    const kernel = here?.failed && here.row.window?.kernel, visibility = kernel?.length === 2 ? "visible" : "hidden";
    const [h, w] = kernel?.length === 2 ? kernel.map((cells) => this.scale * side(cells)) : [0, 0];
    set(block.window, { x: x - w / 2, y: this.middle - h / 2, width: w, height: h, visibility });
  }

  words(name, here) {
    return here ? `${name}: ${passage(here)}` : name;
  }

  label(block, sizes, title) {
    block.title.textContent = title;
    const told = labels(sizes);
    block.labels.forEach((text, i) => {
      text.textContent = told[i]?.value ?? "";
      text.classList.toggle("s", Boolean(told[i]?.moves));
    });
  }
}

// The view: state, and everything that is drawn from it.

const NEAR = 512; // up to here a slider has about a pixel for each size
const PAPER = 720; // pixels across a sheet of paper held upright
const PATIENCE = 20_000; // milliseconds until an answer of Python is taken for lost
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
      html("div", { class: "foot" }, this.panel.node, this.planes.node), this.reasons.node, key());
    this.root.append(this.controls.node, this.picture, this.live);
    this.know();
  }

  resized() {
    if (!matchMedia("print").matches) this.fit(this.lanesBox.clientWidth);
  }

  fit(width) {
    if (!width || width === this.drawnAt) return;
    this.drawnAt = width;
    this.blocks.layout(width);
    this.draw();
    this.show();
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
    this.lanes.forEach((lane, i) => lane.follow(scene.lanes[i].plan));
    cancelAnimationFrame(this.blocks.frame);
    const blocks = new Lanes(this);
    this.blocks.node.replaceWith(blocks.node);
    this.blocks = blocks;
    if (this.table.rows) this.table.fill();
    if (this.drawnAt) blocks.layout(this.drawnAt);
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
    if (Math.max(h, w) > this.reach) this.stretch(most);
    this.know();
    this.draw(glide);
    this.report({ height: h, width: w });
    this.say(() => this.summary());
  }

  stretch(reach) {
    this.reach = reach;
    if (this.drawnAt) this.blocks.layout(this.drawnAt);
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

  /** Scrolls sideways as far as the chosen step asks for. */
  show() {
    const box = this.blocks.scroller, x = this.blocks.x?.[this.step] ?? 0;
    if (x < box.scrollLeft + 30 || x > box.scrollLeft + box.clientWidth - 30) box.scrollLeft = x - box.clientWidth / 2;
  }

  report(values) {
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
    if (!facts)
      return [
        html("span", { class: "sign", text: "…" }),
        name,
        html("span", { class: "said", text: this.unknown(lane) }),
      ];
    const sign = html("span", { class: "sign", "aria-hidden": true, text: facts.failing ? "✗" : "✓" });
    const said = html("span", { class: "said" });
    if (facts.failing) said.append(...sentence(pieces(facts.said.explanation, this.h, this.w)));
    else said.append(...outputNodes(facts.outputs), html("span", { class: "answers", text: answers(facts.outputs) }));
    return [sign, name, said, this.second(lane, facts)];
  }

  /** PyTorch's own words where it stops, else the rule under which it runs. */
  second(lane, facts) {
    if (facts.failing)
      return html(
        "p",
        { class: "second" },
        "PyTorch: ",
        html("code", { text: spoken(facts.said.message, this.h, this.w) }),
      );
    const runs = lane.data.outcomes?.filter((end) => end.runs) ?? [];
    const words =
      runs.length === 1 && runs[0].rule
        ? `runs where ${runs[0].rule}${runs[0].sizes ? `, that is ${runs[0].sizes}` : ""}`
        : (lane.reason ?? "");
    return html("p", { class: "second soft", text: runs.length === 1 && !runs[0].rule ? "runs at every size" : words });
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
    if (!this.drawnAt) return;
    this.blocks.draw(glide);
    this.controls.draw();
    this.panel.draw();
    this.reasons.draw();
    this.planes.draw();
    this.table.draw();
  }

  /** New values from the other side. */
  follow(name) {
    if (this.reporting) return;
    const { host, scene } = this;
    if (name === "height" || name === "width") this.resize(host.get("height"), host.get("width"), true);
    const step = name === "selected" ? scene.columns.indexOf(host.get(name)) : host.get("step");
    if (step >= 0) this.stepTo(step);
  }

  close() {
    this.size.disconnect();
    for (const [event, act] of this.printing) removeEventListener(event, act);
    this.panel.stop();
    this.panel.slides.forEach(({ slide }) => slide?.stop());
    clearTimeout(this.saying);
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
    " is fixed by the network · ",
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

class Controls {
  constructor(view) {
    this.view = view;
    const { scene } = view;
    this.axes = ["Height", "Width"].map((word, axis) => this.axis(word, axis));
    this.lock = html(
      "button",
      {
        type: "button",
        class: "lock",
        "aria-label": "keep the image square",
        title: "keep the image square",
        on: { click: () => this.toggle() },
      },
      padlock(),
    );
    this.presets = scene.presets.map(([h, w]) =>
      html("button", { type: "button", class: "preset", text: `${h}×${w}`, on: { click: () => this.preset(h, w) } }),
    );
    this.ranges =
      scene.within > view.near
        ? [view.near, scene.within].map((reach) =>
            html("button", {
              type: "button",
              class: "range",
              "aria-label": `sliders up to ${reach}`,
              title: `the sliders go up to ${reach}`,
              text: `≤ ${reach}`,
              on: { click: () => this.rescale(reach) },
            }),
          )
        : [];
    this.mode = html("button", {
      type: "button",
      class: "mode",
      text: "Table",
      "aria-pressed": "false",
      title: "the same facts as a plain table",
      on: { click: () => this.turn() },
    });
    this.node = html(
      "div",
      { class: "controls", role: "group", "aria-label": "Image size" },
      this.axes[0].node,
      this.lock,
      this.axes[1].node,
      html("div", { class: "presets", role: "group", "aria-label": "Sizes to try" }, ...this.presets),
      html("div", { class: "ranges", role: "group", "aria-label": "Range of the sliders" }, ...this.ranges),
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
        },
      },
    });
    const letter = html("span", { class: "letter", text: word[0] });
    return {
      slider,
      field,
      node: html("div", { class: "axis" }, letter, html("span", { class: "word", text: word }), slider, field),
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
      const { slider, field } = this.axes[axis];
      slider.max = view.reach;
      slider.value = size;
      if (anew || field !== field.getRootNode().activeElement) field.value = size;
    });
    this.lock.setAttribute("aria-pressed", view.square);
    this.presets.forEach((button, i) =>
      button.setAttribute("aria-pressed", view.scene.presets[i][0] === view.h && view.scene.presets[i][1] === view.w),
    );
    this.ranges.forEach((button, i) => {
      const reach = i ? view.scene.within : view.near;
      button.setAttribute("aria-pressed", view.reach === reach);
      button.disabled = reach < Math.max(view.h, view.w);
    });
  }
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
    this.where = html("span", { class: "where" });
    this.title = html("h2");
    this.body = html("div", { class: "sums" });
    this.node = html(
      "section",
      { class: "step", "aria-label": "The selected step" },
      html(
        "div",
        { class: "stepper", role: "group", "aria-label": "Steps" },
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
    this.title.textContent = name;
    this.where.textContent = `${view.step + 1} of ${last + 1}`;
    this.buttons.first.disabled = this.buttons.back.disabled = view.step === 0;
    this.buttons.next.disabled = this.buttons.last.disabled = view.step === last;
    const told = new Map();
    view.lanes.forEach((lane, i) => {
      const node = this.lane(lane, view.facts[i], name);
      const known = told.get(node.textContent);
      if (known) known.labels.push(lane.label); else told.set(node.textContent, { labels: [lane.label], node });
    });
    this.body.replaceChildren(...[...told.values()].map(({ labels, node }) => {
      if (view.lanes.length > 1) node.prepend(html("h3", { text: labels.join(" and ") }));
      return node;
    }));
  }

  lane(lane, facts, name) {
    const step = facts?.steps.get(name);
    if (!step) return html("article", { class: "none" }, html("p", { text: this.view.missing(lane, facts, name) }));
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
      this.weights(row, step),
    ];
    return html(
      "article",
      { class: step.failed ? "failed" : "" },
      html("div", { class: "facts" }, ...rows.filter(Boolean)),
      this.slide(lane, name, step, facts),
    );
  }

  /** The picture of a window goes on moving while its step and its map stay the same. */
  slide(lane, name, step, facts) {
    const key = JSON.stringify([name, step.row.kind, step.inputs, step.failed]), kept = this.slides.get(lane);
    if (kept?.key !== key) {
      kept?.slide?.stop();
      this.slides.set(lane, { key, slide: Slide.of(step, facts) });
    }
    return this.slides.get(lane).slide?.node ?? null;
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

  weights(row, step) {
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
    if (row.sees && !step.failed) facts.append(row.params || step.macs ? html("br") : "", row.sees);
    return facts;
  }
}
const plain = (field = []) => field.map((piece) => piece.text).join("");

// The window on the map: where it stands, and which cell it makes. Of a large map the first corner.

const CORNER = 9, CELL = 12;

class Slide {
  /** Of a step with a window its input, the window over it and the output; null for any other step. */
  static of(step, facts) {
    const { row } = step, map = step.inputs[0]?.map((size) => size.value);
    if (row.window?.kernel?.length === 2 && map?.length === 4 && row.operation !== "conv_transpose")
      return new Slide(step, map);
    return row.operation === "linear" ? counted(step, facts) : null;
  }

  constructor(step, map) {
    const { window } = step.row, pads = window.pads ?? [0, 1].map((i) => padding(window, i));
    this.axes = [0, 1].map((i) => {
      const [before, after] = pads[i],
        cells = map[2 + i] + before + after,
        made = step.failed ? 0 : step.outputs[0].at(i - 2).value;
      return {
        before,
        cells,
        size: map[2 + i],
        span: window.dilation ? window.dilation[i] * (window.kernel[i] - 1) + 1 : window.kernel[i],
        stride: window.stride[i],
        made,
      };
    });
    this.failed = step.failed;
    this.shown = this.axes.map(({ cells, span, stride }) =>
      Math.min(cells, Math.max(CORNER, span + 2 * stride), 3 * CORNER),
    );
    this.fits = this.axes.map(({ span, stride, made }, i) =>
      Math.min(made, Math.max(1, Math.floor((this.shown[i] - span) / stride) + 1)),
    );
    this.cell = Math.min(CELL, 150 / Math.max(...this.shown, ...this.axes.map((axis) => Math.min(axis.span, 30))));
    this.node = this.draw();
    this.go();
  }

  draw() {
    const { cell, shown, axes, fits } = this,
      [high, wide] = shown.map((cells) => cells * cell),
      reach = axes.map((axis) => Math.min(axis.span, 30) * cell);
    this.frame = svg("rect", { class: "window", width: reach[1], height: reach[0] });
    this.made = svg("rect", { class: "made", width: cell, height: cell });
    const gap = 34, left = Math.max(wide, reach[1]) + gap, inner = this.inside();
    const output = this.failed
      ? []
      : [
          svg("path", { class: "arrow", d: `M${left - gap + 8} ${high / 2}h${gap - 18}m-4 -4l5 4l-5 4` }),
          svg(
            "g",
            { transform: `translate(${left} 0)` },
            squares(fits, cell, "output"),
            this.made,
            this.more(
              fits,
              axes.map((axis) => axis.made),
              cell,
            ),
          ),
        ];
    const width = left + (this.failed ? -gap : fits[1] * cell) + 14,
      height = Math.max(high, reach[0], fits[0] * cell) + 14;
    return svg(
      "svg",
      {
        class: this.failed ? "slide broken" : "slide",
        width,
        height,
        viewBox: `-2 -2 ${width} ${height}`,
        "aria-hidden": true,
        on: { click: () => this.go() },
      },
      squares(shown, cell, "pad"),
      inner,
      this.more(
        shown,
        axes.map((axis) => axis.cells),
        cell,
      ),
      this.frame,
      ...output,
    );
  }

  /** The map itself within its padding. */
  inside() {
    const [[top, high], [left, wide]] = this.axes.map(({ before, size }, i) => [
      before,
      Math.min(size, this.shown[i] - before),
    ]);
    return svg(
      "g",
      { transform: `translate(${left * this.cell} ${top * this.cell})` },
      squares([high, wide], this.cell, "input"),
    );
  }

  more(shown, whole, cell) {
    const [h, w] = shown.map((cells) => cells * cell);
    return svg(
      "g",
      { class: "more" },
      whole[1] > shown[1] ? svg("text", { x: w + 7, y: h / 2, text: "…" }) : "",
      whole[0] > shown[0] ? svg("text", { x: w / 2, y: h + 9, text: "⋮" }) : "",
    );
  }

  /** Once over the places that can be seen; standing still for those who want no motion. */
  go() {
    clearInterval(this.timer);
    let place = 0;
    const last = Math.min(this.fits[0] * this.fits[1], 12) - 1;
    this.stand(0);
    if (this.failed || last < 1 || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    this.timer = setInterval(() => { this.stand(++place); if (place >= last) clearInterval(this.timer); }, 380);
  }

  stand(place) {
    const [y, x] = [Math.floor(place / this.fits[1]), place % this.fits[1]], { cell, axes } = this;
    this.frame.style.transform = `translate(${x * axes[1].stride * cell}px,${y * axes[0].stride * cell}px)`;
    this.made.style.transform = `translate(${x * cell}px,${y * cell}px)`;
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

/** What a Linear counts: the cells of the map that was flattened, and those it has columns for if they are a square. */
function counted(step, facts) {
  const before = [...facts.steps.values()], at = before.indexOf(step);
  const flatten = before.slice(0, at).reverse().find((one) => one.row.operation !== "same");
  const map = flatten?.row.operation === "flatten" ? flatten.inputs[0].map((size) => size.value) : null,
    columns = step.row.weights?.[0]?.[1]?.at(-1);
  if (map?.length !== 4 || Math.max(map[2], map[3]) > 64) return null;
  const edge = Math.sqrt(columns / map[1]),
    cell = Math.min(CELL, 150 / Math.max(map[2], map[3], Number.isInteger(edge) ? edge : 1)),
    [high, wide] = [map[2] * cell, map[3] * cell];
  const fixed = Number.isInteger(edge)
    ? [svg("rect", { class: "columns", width: edge * cell, height: edge * cell })]
    : [];
  const width = Math.max(wide, edge * cell || 0) + 14, height = Math.max(high, edge * cell || 0) + 14;
  const node = svg(
    "svg",
    {
      class: step.failed ? "slide broken" : "slide",
      width,
      height,
      viewBox: `-2 -2 ${width} ${height}`,
      "aria-hidden": true,
    },
    squares([map[2], map[3]], cell, "input"),
    ...fixed,
  );
  const told = html(
    "p",
    { class: "soft" },
    `${map[1]} numbers in each of the `,
    html("b", { class: "s", text: `${map[2]}×${map[3]}` }),
    " cells; ",
    ...(fixed.length
      ? ["dashed: the ", html("b", { class: "c", text: `${edge}×${edge}` }), " cells that the columns were made for"]
      : [`${count(columns)} columns`]),
  );
  return { node: html("div", {}, node, told), stop() {} };
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
      const node = this.ways(facts[i].said), known = told.get(node.textContent);
      if (known) known.labels.push(lane.label); else told.set(node.textContent, { labels: [lane.label], node });
    });
    this.node.replaceChildren(...[...told.values()].map(({ labels, node }) =>
      html("article", { class: "why" }, html("h3", { text: `${labels.join(" and ")}: ways out` }), node)));
  }

  ways(said) {
    const { h, w } = this.view, elsewhere = said.at && (said.at[0] !== h || said.at[1] !== w);
    const list = said.remedies.map((text) => pieces(text, h, w)).filter((one) => one.length);
    return html(
      "div",
      {},
      elsewhere
        ? html("p", { class: "soft", text: `These are the words at ${said.at.join("×")}; here the numbers differ.` })
        : null,
      html("ol", {}, ...list.map((one) => html("li", {}, ...sentence(one)))),
    );
  }
}

// The plane of sizes: what becomes of each, and a cross-hair to choose one.

const SIDE = 176;

class Planes {
  constructor(view) {
    this.view = view;
    this.stale = true;
    this.rows = view.lanes.filter((lane) => lane.law).map((lane) => this.plane(lane));
    this.node = html(
      "section",
      { class: "planes", "aria-label": "Which sizes run" },
      html("h2", { text: "Which sizes run? Drag to choose." }),
      html("div", { class: "pair" }, ...this.rows.map((row) => row.node)),
    );
    this.node.hidden = !this.rows.length;
  }

  plane(lane) {
    const canvas = html("canvas", { width: SIDE, height: SIDE, "aria-hidden": true });
    const across = svg("line", { class: "hair" }),
      up = svg("line", { class: "hair" }),
      dot = svg("circle", { r: 4.5, class: "dot" });
    const hair = svg("svg", { viewBox: `0 0 ${SIDE} ${SIDE}`, "aria-hidden": true }, across, up, dot);
    const area = html(
      "div",
      {
        class: "area",
        tabindex: 0,
        role: "application",
        on: {
          pointerdown: (event) => this.press(event, area),
          pointermove: (event) => this.drag(event, area),
          keydown: (event) => this.key(event),
        },
      },
      canvas,
      hair,
    );
    const now = html("p", { class: "now" });
    const rule = html("p", { class: "rule" });
    const ends = html(
      "div",
      { class: "scale" },
      html("span", { text: "1" }),
      html("span", { class: "axis-name", text: "width →" }),
      html("span"),
    );
    const node = html(
      "figure",
      { class: "plane" },
      html("figcaption", { text: lane.label }),
      html("div", { class: "frame" }, html("span", { class: "axis-name tall", text: "height →" }), area),
      ends,
      now,
      rule,
    );
    return { lane, canvas, across, up, dot, area, now, rule, ends, node };
  }

  press(event, area) {
    if (event.button !== 0) return;
    area.setPointerCapture(event.pointerId);
    area.focus();
    this.choose(event, area);
    event.preventDefault();
  }

  drag(event, area) { if (area.hasPointerCapture(event.pointerId)) this.choose(event, area); }

  choose(event, area) {
    const box = area.getBoundingClientRect(), { view } = this;
    const at = (part) => clamp(Math.round(part * view.reach + 0.5), 1, view.reach);
    const w = at((event.clientX - box.left) / box.width), h = at(1 - (event.clientY - box.top) / box.height);
    if (h !== w) view.free = true;
    view.resize(h, w);
  }

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
      this.later = soon(() => this.rows.forEach((row) => this.paint(row)));
    }
    this.rows.forEach((row) => {
      const x = ((view.w - 0.5) / view.reach) * SIDE, y = SIDE - ((view.h - 0.5) / view.reach) * SIDE;
      set(row.across, { x1: 0, x2: SIDE, y1: y, y2: y });
      set(row.up, { x1: x, x2: x, y1: 0, y2: SIDE });
      set(row.dot, { cx: x, cy: y });
      row.ends.lastChild.textContent = view.reach;
      this.say(row);
    });
  }

  say(row) {
    const { lane, now, rule, area } = row, { h, w } = this.view, { outcomes } = lane.data;
    const index = lane.pathAt(h, w),
      one = outcomes.find((end) => end.paths.includes(index)),
      runs = outcomes.filter((end) => end.runs);
    const words = !one ? "not decided" : one.runs ? "runs" : `stops at ${one.name}`;
    now.replaceChildren(
      html("span", { class: "swatch", style: `background:${one?.colour ?? "#9e9e9e"}` }),
      `${h}×${w} `,
      html("b", { text: words }),
      one && !one.runs && one.rule ? `: ${one.rule}` : "",
    );
    rule.textContent =
      runs.length === 0
        ? "no size runs"
        : runs.length > 1
          ? ""
          : runs[0].rule
            ? `runs where ${runs[0].rule}`
            : "every size runs";
    rule.title = runs.map((end) => end.sizes).filter(Boolean).join("; ");
    area.setAttribute(
      "aria-label",
      `Sizes that ${lane.label} takes. ${h} high, ${w} wide: ${words}. Arrow keys change height and width.`,
    );
  }

  /** Each point of the plane in the colour of what becomes of its size. */
  paint(row) {
    const { reach } = this.view, { canvas, lane } = row, n = SIDE * 2, context = canvas.getContext("2d");
    canvas.width = canvas.height = n;
    const image = context.createImageData(n, n), colours = lane.law.paths.map(() => [158, 158, 158]);
    for (const end of lane.data.outcomes)
      for (const path of end.paths) colours[path] = [1, 3, 5].map((at) => parseInt(end.colour.slice(at, at + 2), 16));
    const size = Array.from({ length: n }, (_, i) => Math.min(reach, Math.max(1, Math.ceil(((i + 0.5) / n) * reach))));
    const taken = new Int16Array(n * n).fill(-1);
    lane.data.law.paths.forEach((path, index) => {
      for (const one of branches(path.if)) mark(taken, one, index, size, n);
    });
    for (let y = 0; y < n; y++) for (let x = 0; x < n; x++) {
      const path = taken[y * n + x], at = 4 * ((n - 1 - y) * n + x);
      image.data.set(path < 0 ? [158, 158, 158] : colours[path], at);
      image.data[at + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }
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

// Render: for a notebook (`model` is the widget's) and, through the same few calls, for a page.

function render({ model, el }) {
  const root = html("div", { class: "fcnviz-explorer" });
  el.append(root);
  const host = {
    get: (name) => model.get(name),
    set: (values) => {
      for (const [name, value] of Object.entries(values)) model.set(name, value);
      model.save_changes();
    },
    ask: model.send ? (lane, height, width) => model.send({ ask: lane, height, width }) : null,
  };
  const view = new View(root, model.get("scene"), host);
  const told = (message) => { if (message?.lane !== undefined) view.told(message); };
  const heard = ["height", "width", "step", "selected"].map((name) => [`change:${name}`, () => view.follow(name)]);
  heard.push(["msg:custom", told], ["change:scene", () => view.grow(model.get("scene"))]);
  // JupyterLab takes arrow keys and letters for its own commands
  const keep = (event) => { if (event.key !== "Escape") event.stopPropagation(); };
  root.addEventListener("keydown", keep);
  for (const [event, act] of heard) model.on(event, act);
  return () => {
    for (const [event, act] of heard) model.off(event, act);
    root.removeEventListener("keydown", keep);
    view.close();
    root.remove();
  };
}

export default { render };
