const plots = [new Plot("p0", 330), new Plot("p1", 260), new Plot("p2", 250), new Plot("p3", 250)];
let A = null, B = null, measured = FACTS.measured || [], exported = null;
const TIME = `time (${plural(FACTS.time_unit)})`, OUTPUTS = new Map(FACTS.outputs.map(o => [o.name, o]));

function bandsOf(answer, name) {
  const all = answer.of["band:" + name], n = answer.of.t.length;
  return all && Array.from({length: 5}, (_, k) => all.subarray(k * n, (k + 1) * n));
}

function linesOf(answer, name) {
  const all = answer.of["line:" + name], n = answer.of.t.length;
  return Array.from({length: all ? all.length / n : 0}, (_, k) => all.subarray(k * n, (k + 1) * n));
}

function sides() { return [["B", B], ["A", A]].filter(([, answer]) => answer); }

function drawOutput(plot, name, log) {
  const unit = OUTPUTS.get(name).unit, points = measured.filter(m => m.quantity === name);
  const shows = sides().map(([side, answer]) => [side, answer, bandsOf(answer, name)]).filter(x => x[2]);
  const heights = shows.flatMap(([, answer, b]) => [...b, ...linesOf(answer, name)].map(a => Array.from(a))).concat(points.map(m => m.value)).flat();
  const end = Math.max(A.settings.t_end, ...shows.map(x => x[1].settings.t_end));
  const last = bandsOf(A, name)?.[2].at(-1);
  plot.begin({
    x: [0, end], y: span(heights, log, {cells: unit === "cells"}), log, xlabel: TIME, ylabel: name + (unit ? ` (${unit})` : ""),
    title: `${name} over time${last == null ? "" : `; the median ends at ${shown(last)} ${unit}`}`,
  });
  plot.where = x => `${FACTS.time_unit} ${shown(x)}`;
  for (const [side, answer, b] of shows) {
    const t = answer.of.t, color = COLORS[side];
    if (side === "A") {
      plot.band(t, b[0], b[4], {fill: color, "fill-opacity": 0.16});
      plot.band(t, b[1], b[3], {fill: color, "fill-opacity": 0.26});
      for (const line of linesOf(answer, name)) plot.line(t, line, {stroke: color, "stroke-width": 0.7, "stroke-opacity": 0.55});
    } else for (const edge of [b[0], b[4]]) plot.line(t, edge, {stroke: color, "stroke-width": 1, "stroke-dasharray": "2 3"});
    plot.line(t, b[2], {stroke: color, "stroke-dasharray": DASHES[side]});
    const text = k => `${shown(b[2][k])} (${shown(b[1][k])} to ${shown(b[3][k])}; ${shown(b[0][k])} to ${shown(b[4][k])}) ${unit}`;
    plot.rows.push({label: B ? `${side} ` : "", xs: t, color, text, ys: k => [b[0][k], b[2][k], b[4][k]]});
  }
  if (log && unit === "cells" && plot.y[0] < 0) {
    plot.add("line", {x1: plot.left, x2: plot.right, y1: plot.Y(1), y2: plot.Y(1), stroke: "#b00020", "stroke-dasharray": "3 3"});
    plot.add("text", {x: plot.right - 4, y: plot.Y(1) - 4, "text-anchor": "end"}, "one cell");
  }
  for (const m of points) plot.points(m.time, m.value, m.sd);
  plot.marks(A.settings.doses.flatMap(d => Array.from({length: Math.min(500, d.repeats + 1)}, (_, k) => d.time + k * d.every)));
  plot.look(null);
}

function drawSurvival(plot) {
  const end = Math.max(...sides().map(([, answer]) => answer.settings.t_end));
  const median = A.median == null ? "not reached" : `${shown(A.median)} ${plural(FACTS.time_unit)}`;
  plot.begin({x: [0, end], y: [0, 1], xlabel: TIME, ylabel: "share", title: `Progression-free share of patients; median ${median}`});
  plot.where = x => `${FACTS.time_unit} ${shown(x, 3)}`;
  for (const [side, answer] of sides()) {
    if (!answer.of.day) continue;
    const xs = [0, ...answer.of.day, answer.settings.t_end], ys = [1, ...answer.of.share, answer.of.share.at(-1)];
    plot.line(xs, ys, {stroke: COLORS[side], "stroke-dasharray": DASHES[side]}, true);
    plot.rows.push({label: B ? `${side} ` : "", xs, color: COLORS[side], stepped: true, text: k => `${(100 * ys[k]).toFixed(1)} %`, ys: k => [ys[k]]});
  }
  plot.rest = `median ${median}`;
  plot.look(null);
}

function drawWaterfall(plot) {
  const shows = sides().filter(([, answer]) => answer.of.waterfall?.length);
  const all = shows.flatMap(([, answer]) => Array.from(answer.of.waterfall));
  plot.begin({x: [0, 100], y: [Math.floor(Math.min(-1, ...all)), Math.max(0, ...all)], xlabel: "patients (%)", ylabel: "log₁₀ of nadir / start", title: "Deepest response of each patient, from the least to the deepest"});
  plot.where = x => `patient at ${shown(x, 3)} %`;
  for (const [side, answer] of shows) {
    const ys = Array.from(answer.of.waterfall), n = ys.length, xs = ys.map((_, k) => 100 * k / n).concat(100), steps = ys.concat(ys.at(-1));
    const d = plot.path(xs, steps, true);
    if (side === "A") plot.add("path", {d: `M${plot.X(0)} ${plot.Y(0)}${d.replace("M", "L")}V${plot.Y(0)}Z`, fill: COLORS.A, "fill-opacity": 0.3});
    plot.line(xs, steps, {stroke: COLORS[side], "stroke-dasharray": DASHES[side]}, true);
    plot.rows.push({label: B ? `${side} ` : "", xs, color: COLORS[side], stepped: true, text: k => shown(steps[k], 3), ys: k => [steps[k]]});
  }
  plot.look(null);
}

function draw() {
  if (!A) return;
  const [first, second] = A.settings.outputs;
  drawOutput(plots[0], first, $("log0").checked);
  for (const part of [$("p1"), $("p1_readout"), $("log1_label")]) part.toggleAttribute("hidden", !second);
  if (second) drawOutput(plots[1], second, $("log1").checked);
  for (const figure of document.querySelectorAll(".burden")) figure.hidden = !FACTS.burden;
  if (FACTS.burden) { drawSurvival(plots[2]); drawWaterfall(plots[3]); }
}

function told(ms) {
  const failed = A.patients - A.ok, parts = [`${A.ok} ${A.ok === 1 ? "patient" : "patients"}`];
  if (A.draft) parts[0] += " (a draft, while you drag)";
  if (failed) parts.push(`${failed} NOT SOLVED (${Object.entries(A.status).filter(([k]) => k !== "ok").map(([k, n]) => `${n} ${k}`).join(", ")})`);
  if (FACTS.burden && A.censored != null) parts.push(A.median == null ? "median PFS not reached" : `median PFS ${shown(A.median)} ${plural(FACTS.time_unit)}`, `${Math.round(100 * A.censored)} % censored`);
  $("status").className = failed ? "bad" : "";
  $("status").textContent = parts.concat(`${Math.round(ms)} ms`).join(" · ");
}

const asking = new Asking({
  settings,
  show(answer, ms) {
    A = answer;
    draw();
    told(ms());
    if (!answer.draft) keep(settings());
  },
  fail(message) { $("status").className = "bad"; $("status").textContent = message; },
  busy(ms, compiling) {
    $("status").className = "";
    $("status").textContent = compiling ? `compiling the model, once on each machine: ${inSeconds(compiling)} so far, it may take a minute …`
      : `solving … ${inSeconds(ms / 1000)}`;
  },
});

changed = () => {
  const n = patients();
  $("patients_told").textContent = n;
  $("patients").setAttribute("aria-valuetext", `${n} patients`);
  asking.now();
};

function compared() {
  $("swap").disabled = $("drop").disabled = !B;
  $("bandKey").textContent = B ? "solid blue: A, now · dashed orange: B, kept · median, 25–75 % (A), 5–95 %" : "median, 25–75 % and 5–95 % of patients";
  $("key").textContent = B ? "Solid blue is A, what you change; dashed orange is B, as you kept it." : "Keeps what is shown as B, to be compared with what comes.";
  draw();
}

async function exportText(action) {
  try {
    exported = {text: await (await ask(action, settings())).text(), name: FACTS.model + (action === "python" ? ".py" : ".toml")};
    $("text").textContent = exported.text;
    $("texts").hidden = false;
  } catch (error) { asking.fail(error.message); }
}

async function readFile(input, action) {
  const file = input.files[0];
  input.value = "";
  if (!file) return null;
  try {
    return await (await ask(action, {text: await file.text()})).json();
  } catch (error) { asking.fail(`${file.name}: ${error.message}`); return null; }
}

function exportNumbers() {
  const names = A.settings.outputs, t = Array.from(A.of.t), quantiles = ["q05", "q25", "q50", "q75", "q95"];
  const header = ["t"], columns = [t];
  for (const name of names) bandsOf(A, name).forEach((b, k) => { header.push(`${name}_${quantiles[k]}`); columns.push(Array.from(b)); });
  saveCsv(`${FACTS.model}_bands`, header, columns);
  if (A.of.day) saveCsv(`${FACTS.model}_progression_free`, ["t", "share"], [Array.from(A.of.day), Array.from(A.of.share)]);
}

const visible = () => plots.filter(p => p.svg.getClientRects().length), naming = p => `${FACTS.model}_${["over_time", "second", "progression_free", "response"][plots.indexOf(p)]}`;

$("model").textContent = FACTS.model + Object.entries(FACTS.variant).map(([k, v]) => `, ${k} = ${v}`).join("");
document.title = `${FACTS.model} – fastcart explore`;
$("about").textContent = FACTS.about;
$("horizon_unit").textContent = plural(FACTS.time_unit);
for (const o of FACTS.outputs) for (const id of ["output0", "output1"]) $(id).append(element("option", {value: o.name}, o.name + (o.text ? `: ${o.text}` : "")));
$("output1").prepend(element("option", {value: ""}, "nothing else"));
if (FACTS.models?.length > 1) {
  $("others").hidden = false;
  for (const name of FACTS.models) $("switch").append(element("option", {value: name, selected: name === FACTS.given}, name));
  $("switch").onchange = () => go($("switch").value, "");
}
function go(name, hash) {
  const query = new URLSearchParams(location.search);
  query.set("model", name);
  location.href = `/?${query}${hash}`;
}
groups();
apply(FACTS.start);
const before = kept();
if (before?.model === FACTS.model) try { apply({...FACTS.start, ...before}); } catch { apply(FACTS.start); }

for (const id of ["patients", "seed", "horizon", "rtol", "output0", "output1", "lines"]) $(id).addEventListener("input", () => changed());
for (const id of ["log0", "log1"]) $(id).onchange = draw;
$("find").oninput = () => find($("find").value);
$("addDose").onclick = () => { doseRow({time: 0, state: FACTS.inputs.find(q => q.state && q.name !== FACTS.burden)?.name, amount: 1, duration: 0, every: 0, repeats: 0}); changed(); $("doses").lastChild.querySelector("select").focus(); };
$("pin").onclick = () => { if (A) { B = A; compared(); } };
$("swap").onclick = () => { const now = A; apply(B.settings); B = now; compared(); changed(); };
$("drop").onclick = () => { B = null; compared(); };
for (const button of document.querySelectorAll("[data-text]")) button.onclick = () => exportText(button.dataset.text);
$("copy").onclick = async () => { await navigator.clipboard?.writeText(exported.text).catch(() => {}); $("copy").textContent = "Copied"; setTimeout(() => { $("copy").textContent = "Copy"; }, 1500); };
$("saveText").onclick = () => save(exported.name, [exported.text], "text/plain");
$("svg").onclick = () => visible().forEach(p => saveSvg(p, naming(p)));
$("png").onclick = () => visible().forEach(p => savePng(p, naming(p)));
$("csv").onclick = () => A && exportNumbers();
$("load").onchange = async () => {
  const found = await readFile($("load"), "load");
  if (found) { apply(found); changed(); }
};
$("data").onchange = async () => {
  const found = await readFile($("data"), "measured");
  if (found) layOver(found);
};
$("noData").onclick = () => layOver([]);
function layOver(found) {
  measured = found;
  $("noData").hidden = !found.length;
  const names = found.map(m => `${m.value.length} of ${m.quantity}`).join(", ");
  $("dataTold").textContent = found.length ? `Laid over: ${names}.` : "CSV with the columns time, quantity, value (and sd), or time and a column for each quantity.";
  const hidden = found.find(m => ![$("output0").value, $("output1").value].includes(m.quantity));
  if (hidden) {
    const unseen = !found.some(m => m.quantity === $("output0").value);
    $($("output1").value && unseen ? "output0" : "output1").value = hidden.quantity;
    changed();
  }
  draw();
}
if (measured.length) layOver(measured);
$("form").onsubmit = e => e.preventDefault();
let wide = innerWidth;
addEventListener("resize", () => { if (innerWidth !== wide) { wide = innerWidth; draw(); } });
addEventListener("hashchange", () => { const s = kept(); if (s?.model === FACTS.model) { apply({...FACTS.start, ...s}); changed(); } });
changed();
