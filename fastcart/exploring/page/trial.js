const plots = [new Plot("p0", 360), new Plot("p1", 300)];
// colour, dash and mark of each arm, so that none is told by its colour alone
const HUES = ["#0072b2", "#b34700", "#00735a", "#a03a78", "#1a1a1a", "#7a5c00", "#4b3fb0"], LINES = ["", "8 4", "2 3", "10 3 2 3", "14 4"];
const SHAPES = ["M-5 -5h10v10h-10z", "M0 -6.5L6 5H-6z", "M0 -6.5L6.5 0L0 6.5L-6.5 0z", "M-6 -2H-2V-6H2V-2H6V2H2V6H-2V2H-6z", "M0 6.5L6 -5H-6z"];
const NAMES = {CR90: "CR within 90 days", EFS365: "event-free at 1 year", EFS730: "event-free at 2 years", OS365: "alive at 1 year", OS730: "alive at 2 years",
  crs3: "CRS of grade ≥ 3", crs4: "CRS of grade ≥ 4", toxic_death: "death from CRS"};
const ARMS = new Map(), percent = x => x == null ? "–" : (100 * x).toFixed(1);
let A = null, B = null, begun = false, exported = null;

const place = name => [...ARMS.keys()].indexOf(name);
const hue = name => HUES[place(name) % HUES.length], dash = name => LINES[place(name) % LINES.length], shape = name => SHAPES[place(name) % SHAPES.length];

function fieldRow(arm, f) {
  const id = `${arm}.${f.name}`, log = f.log, u = v => log ? Math.log10(v / f.low) / Math.log10(f.high / f.low) : (v - f.low) / (f.high - f.low);
  const slider = element("input", {type: "range", min: 0, max: 1, step: 0.005, ariaLabel: `${arm}: ${f.label}, slider`});
  const value = element("input", {type: "number", step: "any", id});
  const row = {
    f, get value() { return value.value === "" ? f.value : +value.value; },
    set(v) { value.value = brief(v); slider.value = u(v); slider.setAttribute("aria-valuetext", `${value.value} ${f.unit}`); },
  };
  slider.oninput = () => {
    const v = log ? f.low * (f.high / f.low) ** +slider.value : f.low + +slider.value * (f.high - f.low);
    row.set(f.name === "every" ? Math.round(v) : +v.toPrecision(3));
    changed();
  };
  value.oninput = () => { if (value.value !== "") { slider.value = u(+value.value); changed(); } };
  row.set(f.value);
  row.box = element("div", {className: "input"}, element("div", {className: "name"}, element("label", {htmlFor: id}, f.label)),
    element("div", {className: "value"}, slider, value, element("span", {className: "unit"}, f.unit)));
  return row;
}

function armBox(arm) {
  const tick = element("input", {type: "checkbox", checked: arm.shown, ariaLabel: `solve ${arm.name}`}), rows = arm.fields.map(f => fieldRow(arm.name, f));
  ARMS.set(arm.name, {...arm, tick, rows});
  tick.onchange = () => changed();
  const mark = drawn("svg", {viewBox: "-7 -7 14 14", class: "mark", "aria-hidden": "true"});
  mark.append(drawn("path", {d: shape(arm.name), fill: hue(arm.name)}));
  const box = element("details", {className: "group", open: rows.length > 4 && place(arm.name) < 3}, element("summary", {}, mark, arm.name), element("p", {className: "small"}, arm.title), ...rows.map(r => r.box));
  $("arms").append(element("div", {className: "arm"}, tick, box));
}

function settings() {
  const arms = {};
  for (const [name, arm] of ARMS) if (arm.tick.checked) arms[name] = Object.fromEntries(arm.rows.filter(r => r.value !== r.f.value).map(r => [r.f.name, r.value]));
  return {arms, patients: +$("patients").value, draft: 0, frontier: begun && !asking.dragging};
}

function apply(s) {
  $("patients").value = s.patients;
  for (const [name, arm] of ARMS) {
    arm.tick.checked = name in s.arms;
    for (const row of arm.rows) row.set(s.arms[name]?.[row.f.name] ?? row.f.value);
  }
}

function drawFrontier(plot) {
  const x = $("harm").value, y = $("benefit").value, sides = [B, A].filter(Boolean), scan = A.frontier.filter(r => r[x] != null && r[y] != null);
  const all = sides.flatMap(s => s.arms).concat(scan), xs = all.map(r => r[x]).filter(v => v != null), ys = all.map(r => r[y]).filter(v => v != null);
  const pad = v => { const low = Math.min(...v), high = Math.max(...v), gap = Math.max(0.02, 0.08 * (high - low)); return [Math.max(0, low - gap), Math.min(1, high + gap)]; };
  if (!xs.length) return;
  plot.begin({x: pad(xs), y: pad(ys), xlabel: NAMES[x], ylabel: NAMES[y], title: `${NAMES[y]} against ${NAMES[x]}: ${A.arms.map(r => `${r.arm} ${percent(r[y])} % and ${percent(r[x])} %`).join("; ")}`});
  plot.line(scan.map(r => r[x]), scan.map(r => r[y]), {stroke: "#767676", "stroke-width": 1.5});
  scan.forEach(r => plot.add("circle", {cx: plot.X(r[x]), cy: plot.Y(r[y]), r: 2.5, fill: "#767676"}));
  for (const r of [scan[0], scan.at(-1)]) if (r) {
    const left = plot.X(r[x]) > (plot.left + plot.right) / 2;
    plot.add("text", {x: plot.X(r[x]) + (left ? -8 : 5), y: plot.Y(r[y]) + (left ? -2 : 14), "text-anchor": left ? "end" : "start"}, `${brief(r.dose)} cells`);
  }
  for (const side of sides) for (const r of side.arms) {
    if (r[x] == null || r[y] == null) continue;
    plot.add("path", {d: shape(r.arm), transform: `translate(${plot.X(r[x])} ${plot.Y(r[y])}) scale(1.2)`, fill: side === A ? hue(r.arm) : "#fff", stroke: hue(r.arm), "stroke-width": 1.5});
    if (side === A) plot.add("text", {x: plot.X(r[x]) + 9, y: plot.Y(r[y]) - 7, "font-weight": 600}, r.arm);
  }
  const points = A.arms.concat(scan).filter(r => r[x] != null).sort((a, b) => a[x] - b[x]);
  plot.rows = [{label: "", xs: points.map(r => r[x]), color: "#1a1a1a", ys: k => [points[k][y]],
    text: k => `${points[k].arm || `single infusion of ${brief(points[k].dose)} cells`}, ${NAMES[y]} ${percent(points[k][y])} %`}];
  plot.where = v => `${NAMES[x]} ${percent(v)} %`;
  $("scanTold").textContent = A.left ? `grey: the single infusion, ${A.left} doses to come` : "grey: the single infusion at doses of the specification";
}

function drawSurvival(plot) {
  const kind = $("curve").value;
  plot.begin({x: [0, FACTS.horizon], y: [0, 1], xlabel: "time (days)", ylabel: kind === "os" ? "alive" : "event-free", title: `${kind === "os" ? "Overall" : "Event-free"} survival, Kaplan-Meier, of ${A.arms.map(r => r.arm).join(", ")}`});
  plot.where = x => `day ${shown(x, 3)}`;
  const ends = [];
  for (const side of [B, A].filter(Boolean)) for (const {arm} of side.arms) {
    const day = side.of[`${kind}:${arm}:day`], share = side.of[`${kind}:${arm}:share`];
    if (!day) continue;
    const xs = [...day, FACTS.horizon], ys = [...share, share.at(-1)];
    plot.line(xs, ys, {stroke: hue(arm), "stroke-dasharray": side === A ? dash(arm) : "2 4", "stroke-width": side === A ? 2 : 1.2}, true);
    if (side !== A) continue;
    ends.push([plot.Y(ys.at(-1)), arm]);
    plot.rows.push({label: `${arm} `, xs, color: hue(arm), stepped: true, text: k => `${percent(ys[k])} %`, ys: k => [ys[k]]});
  }
  let above = -Infinity;
  for (const [y, arm] of ends.sort((a, b) => a[0] - b[0])) {
    above = Math.max(y - 4, above + 13);
    plot.add("text", {x: plot.right - 4, y: above, "text-anchor": "end", "font-weight": 600}, arm);
  }
  plot.look(null);
}

function table() {
  const columns = [...FACTS.benefits, ...FACTS.harms, "gain_CR90", "gain_EFS730", "equal_dose"];
  const heads = {...NAMES, gain_CR90: "gain in CR", gain_EFS730: "gain in 2-year EFS", equal_dose: "as toxic: cells at once"};
  $("head").replaceChildren(element("tr", {}, element("th", {scope: "col"}, "arm"), element("th", {scope: "col"}, "cells"), ...columns.map(c => element("th", {scope: "col"}, heads[c]))));
  const text = (r, c) => r[c] == null ? "–" : c === "equal_dose" ? shown(r[c], 3) : c.startsWith("gain") ? (r[c] > 0 ? "+" : "") + percent(r[c]) + " %" : percent(r[c]) + " %";
  const row = (r, side) => element("tr", {}, element("th", {scope: "row"}, r.arm + side), element("td", {}, brief(r.dose)), ...columns.map(c => element("td", {}, text(r, c))));
  $("body").replaceChildren(...A.arms.map(r => row(r, "")), ...(B ? B.arms.map(r => row(r, " (B)")) : []));
}

function draw() {
  if (!A) return;
  drawFrontier(plots[0]);
  drawSurvival(plots[1]);
  table();
}

const asking = new Asking({
  settings,
  draft: (whole, share) => ({...whole, draft: Math.max(50, Math.round(whole.patients * share))}),
  show(answer, ms) {
    A = answer;
    draw();
    const failed = Object.entries(A.solved).filter(([, [ok, all]]) => ok < all).map(([name, [ok, all]]) => `${all - ok} of ${name}`);
    const few = Object.values(A.solved).some(([, all]) => all < A.patients);
    $("status").className = failed.length ? "bad" : "";
    $("status").textContent = [`${A.patients} patients`, few && "a draft of fewer, while you drag", failed.length && `NOT SOLVED: ${failed.join(", ")}`, `${Math.round(ms())} ms`].filter(Boolean).join(" · ");
    begun = true;
    if (!answer.draft) keep(settings());
    if (answer.left && !asking.dragging) setTimeout(() => asking.now());
  },
  fail(message) { $("status").className = "bad"; $("status").textContent = message; },
  busy(ms, compiling) {
    if (begun && ms < 4000) return;
    $("status").className = "";
    $("status").textContent = compiling ? `compiling the model, once on each machine: ${inSeconds(compiling)} so far, it may take a minute …`
      : `solving … ${inSeconds(ms / 1000)}${begun ? "" : "; at first patients are calibrated, which may take minutes"}`;
  },
});

function changed() {
  $("patients_told").textContent = $("patients").value;
  asking.now();
}

$("title").textContent = `fastcart explore: ${FACTS.trial}`;
document.title = `${FACTS.trial} – fastcart explore`;
$("about").textContent = `Model ${FACTS.model}, ${FACTS.horizon} days. Expected outcomes over the deaths; curves with each patient's own luck.`;
Object.assign($("patients"), {min: Math.min(100, FACTS.patients), max: FACTS.most_patients, step: FACTS.patients % 10 ? 1 : 10});
$("patients").value = FACTS.patients;
FACTS.arms.forEach(armBox);
for (const [id, names] of [["benefit", FACTS.benefits], ["harm", FACTS.harms]]) for (const name of names) $(id).append(element("option", {value: name}, NAMES[name]));
const before = kept();
if (before?.arms) try { apply(before); } catch { /* of another trial */ }
$("patients").oninput = changed;
for (const id of ["benefit", "harm", "curve"]) $(id).onchange = draw;
$("pin").onclick = () => { B = A; $("drop").disabled = !B; draw(); };
$("drop").onclick = () => { B = null; $("drop").disabled = true; draw(); };
$("toml").onclick = async () => {
  try {
    exported = await (await ask("toml", settings())).text();
    $("text").textContent = exported;
    $("texts").hidden = false;
  } catch (error) { asking.fail(error.message); }
};
$("saveText").onclick = () => save("trial.toml", [exported], "text/plain");
$("svg").onclick = () => { saveSvg(plots[0], "frontier"); saveSvg(plots[1], "survival"); };
$("png").onclick = () => { savePng(plots[0], "frontier"); savePng(plots[1], "survival"); };
$("csv").onclick = () => {
  if (!A) return;
  const names = Object.keys(A.arms[0] || {});
  saveCsv("arms", names, names.map(n => A.arms.map(r => r[n] ?? NaN)));
  const scanned = Object.keys(A.frontier[0] || {});
  if (scanned.length) saveCsv("frontier", scanned, scanned.map(n => A.frontier.map(r => r[n] ?? NaN)));
};
$("form").onsubmit = e => e.preventDefault();
let wide = innerWidth;
addEventListener("resize", () => { if (innerWidth !== wide) { wide = innerWidth; draw(); } });
changed();
