"use strict";
const NS = "http://www.w3.org/2000/svg", $ = id => document.getElementById(id);
const FACTS = JSON.parse($("facts").textContent);
const GREEK = {alpha: "α", beta: "β", gamma: "γ", delta: "δ", epsilon: "ε", zeta: "ζ", eta: "η", theta: "θ", kappa: "κ",
  lambda: "λ", mu: "μ", nu: "ν", xi: "ξ", pi: "π", rho: "ρ", sigma: "σ", tau: "τ", phi: "φ", chi: "χ", psi: "ψ", omega: "ω"};
const COLORS = {A: "#0072b2", B: "#b34700"}, DASHES = {A: "", B: "7 4"};

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes))
    name in made ? made[name] = value : made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function drawn(tag, attributes, text) {
  const made = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text != null) made.textContent = text;
  return made;
}

function shown(x, digits = 4) {
  if (x === 0) return "0";
  if (!Number.isFinite(x)) return "–";
  const size = Math.abs(x);
  return size >= 1e5 || size < 1e-2 ? x.toExponential(Math.min(2, digits - 1)).replace("e+", "e") : String(+x.toPrecision(digits));
}

// K_{Iγ} and lambda_C as a paper prints them
function symbol(text) {
  const [, head, below] = /^([^_]*)_?\{?([^}]*)\}?$/.exec(text) || [null, text, ""];
  const letter = part => part.split("_").map(x => GREEK[x] || x).join(",");
  const made = element("span", {className: "symbol"}, letter(head) || text);
  if (below) made.append(element("sub", {}, letter(below)));
  return made;
}

// as short as a field of numbers takes it: 1e7, not 10000000
function brief(x) {
  const size = Math.abs(x);
  return size >= 1e5 || (size > 0 && size < 1e-3) ? x.toExponential().replace("+", "") : String(x);
}

function inSeconds(seconds) { return `${Math.round(seconds)} s`; }

function plural(unit) { return unit + "s"; }

// places of ticks at 1, 2 or 5 times powers of ten
function ticks(low, high, count) {
  const rough = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find(k => k * power >= rough * 0.999) * power, found = [];
  for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + 1e-9 * step; v += step) found.push(Math.abs(v) < 1e-9 * step ? 0 : v);
  return found;
}

class Plot {
  constructor(id, height) {
    this.svg = $(id);
    this.height = height;
    this.readout = $(id + "_readout");
    this.rows = [];
    this.svg.addEventListener("pointermove", e => this.look((e.clientX - this.svg.getBoundingClientRect().left)));
    this.svg.addEventListener("pointerleave", () => this.look(null));
    this.svg.addEventListener("keydown", e => {
      const step = {ArrowLeft: -1, ArrowRight: 1}[e.key];
      if (!step || !this.X) return;
      e.preventDefault();
      const at = this.at ?? this.left;
      this.look(Math.min(this.right, Math.max(this.left, at + step * (this.right - this.left) / 100)));
    });
  }

  // x and y are [low, high]; of a logarithmic axis the exponents
  begin({x, y, log = false, xlabel, ylabel, title}) {
    const width = Math.max(240, Math.round(this.svg.clientWidth)), height = Math.round(this.height * (innerWidth > 820 ? 1 : 0.75));
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.setAttribute("aria-label", title);
    this.svg.replaceChildren();
    const left = 62, right = width - 14, top = 10, bottom = height - 38;
    Object.assign(this, {left, right, top, bottom, x, y, log, rows: [], note: null, at: null});
    this.X = v => left + (v - x[0]) / (x[1] - x[0] || 1) * (right - left);
    const place = v => bottom - (v - y[0]) / (y[1] - y[0] || 1) * (bottom - top);
    this.Y = v => place(log ? Math.log10(Math.max(v, 10 ** y[0])) : Math.min(Math.max(v, y[0]), y[1]));
    for (const v of ticks(x[0], x[1], width < 420 ? 4 : 7)) {
      this.add("line", {x1: this.X(v), x2: this.X(v), y1: bottom, y2: bottom + 4, stroke: "#555"});
      this.add("text", {x: this.X(v), y: bottom + 16, "text-anchor": "middle"}, shown(v));
    }
    const step = Math.max(1, Math.ceil((y[1] - y[0]) / 6));
    const levels = log ? Array.from({length: Math.floor((y[1] - y[0]) / step) + 1}, (_, k) => y[0] + k * step) : ticks(y[0], y[1], 5);
    for (const v of levels) {
      this.add("line", {x1: left, x2: right, y1: place(v), y2: place(v), stroke: "#e2e2e2"});
      const label = this.add("text", {x: left - 6, y: place(v) + 4, "text-anchor": "end"}, log ? "10" : shown(v));
      if (log) label.append(drawn("tspan", {dy: -5, "font-size": 9}, v));
    }
    this.add("line", {x1: left, x2: right, y1: bottom, y2: bottom, stroke: "#555"});
    this.add("text", {x: (left + right) / 2, y: height - 5, "text-anchor": "middle"}, xlabel);
    this.add("text", {transform: `translate(13 ${(top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle"}, ylabel);
  }

  add(tag, attributes, text) {
    const made = drawn(tag, attributes, text);
    this.svg.append(made);
    return made;
  }

  path(xs, ys, stepped = false) {
    let d = "", pen = "M";
    for (let k = 0; k < xs.length; k++) {
      if (!Number.isFinite(ys[k])) { pen = "M"; continue; }
      const px = this.X(xs[k]).toFixed(1), py = this.Y(ys[k]).toFixed(1);
      d += stepped && pen === "L" ? `H${px}V${py}` : pen + px + " " + py;
      pen = "L";
    }
    return d;
  }

  line(xs, ys, style = {}, stepped = false) {
    return this.add("path", {d: this.path(xs, ys, stepped), fill: "none", "stroke-width": 2, "stroke-linejoin": "round", ...style});
  }

  band(xs, low, high, style) {
    const back = this.path(Array.from(xs).reverse(), Array.from(low).reverse()).replaceAll("M", "L");
    this.add("path", {d: this.path(xs, high) + back + "Z", stroke: "none", ...style});
  }

  points(xs, ys, sds) {
    for (let k = 0; k < xs.length; k++) {
      if (xs[k] < this.x[0] || xs[k] > this.x[1]) continue;
      const px = this.X(xs[k]), py = this.Y(ys[k]);
      if (sds) this.add("line", {x1: px, x2: px, y1: this.Y(ys[k] - sds[k]), y2: this.Y(ys[k] + sds[k]), stroke: "#000"});
      this.add("circle", {cx: px, cy: py, r: 3.5, fill: "#fff", stroke: "#000", "stroke-width": 1.5});
    }
  }

  marks(xs) {
    for (const x of xs) if (x >= this.x[0] && x <= this.x[1])
      this.add("path", {d: `M${this.X(x) - 4} ${this.top}h8l-4 9z`, fill: "#000"});
  }

  // a row is {label, xs, of: k => [texts], ys: k => [heights]}; stepped curves hold until the next x
  look(at) {
    this.note?.remove();
    this.note = null;
    this.at = at;
    if (!this.readout || !this.X) return;
    if (at === null || at < this.left - 4 || at > this.right + 4 || !this.rows.length) { this.readout.textContent = this.rest || ""; return; }
    const x = this.x[0] + (Math.min(Math.max(at, this.left), this.right) - this.left) / (this.right - this.left) * (this.x[1] - this.x[0]);
    this.note = this.add("g", {});
    const texts = [];
    let where = x;
    for (const row of this.rows) {
      let k = row.xs.findIndex(v => v > x);
      k = k < 0 ? row.xs.length - 1 : Math.max(0, k - 1);
      if (!row.stepped) {
        if (k + 1 < row.xs.length && row.xs[k + 1] - x < x - row.xs[k]) k++;
        where = row.xs[k];
      }
      texts.push(row.label + row.text(k));
      for (const y of row.ys(k)) if (Number.isFinite(y)) this.note.append(drawn("circle", {cx: this.X(where), cy: this.Y(y), r: 3, fill: row.color}));
    }
    this.note.prepend(drawn("line", {x1: this.X(where), x2: this.X(where), y1: this.top, y2: this.bottom, stroke: "#555", "stroke-dasharray": "2 3"}));
    this.readout.textContent = this.where(where) + ": " + texts.join(" · ");
  }
}

// exponents, or numbers, between which an axis has all values
function span(values, log, {cells = false} = {}) {
  let low = Infinity, high = -Infinity;
  for (const v of values) if (Number.isFinite(v)) { if (v < low) low = v; if (v > high) high = v; }
  if (low > high) return log ? [0, 1] : [0, 1];
  if (!log) return [Math.min(0, low), high > 0 ? high * 1.04 : high === low ? low + 1 : high];
  const top = Math.ceil(Math.log10(Math.max(high, 1e-300)) - 1e-9), floor = cells ? Math.max(-2, top - 16) : top - 12;
  const least = low > 0 ? Math.floor(Math.log10(low) + 1e-9) : floor;
  return [Math.min(top - 1, Math.max(least, Math.min(floor, top - 1))), top];
}
