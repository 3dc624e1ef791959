// the sliders, the doses, and the settings that they stand for
const INPUTS = new Map(FACTS.inputs.map(q => [q.name, q])), ROWS = new Map();
let changed = () => {};

// slider places 0 to 1: linear for shares, else logarithmic around a reference, with 0 at the left where 0 is usual
function scale(q) {
  const low = q.low ?? -Infinity, high = q.high ?? Infinity, sign = q.default < 0 ? -1 : 1;
  if (low === 0 && high <= 1) return {to: u => u * high, from: v => v / high};
  const ends = q.default === 0 ? [-4, 1] : [-2, 2], first = Math.log10(q.reference) + ends[0];
  const last = Math.min(Math.log10(q.reference) + ends[1], high > 0 && sign > 0 ? Math.log10(high) : Infinity);
  const zero = q.default === 0 ? 0.02 : -1;
  return {
    to: u => u <= zero ? 0 : sign * Math.max(10 ** (first + u * (last - first)), sign > 0 ? low : -Infinity),
    from: v => sign * v > 0 ? (Math.log10(sign * v) - first) / (last - first) : 0,
  };
}

function inputRow(q) {
  const map = scale(q), id = "v_" + q.name, sums = FACTS.sums.filter(s => s.names.includes(q.name));
  const slider = element("input", {type: "range", min: 0, max: 1, step: 0.0025, ariaLabel: `${q.name}, slider`});
  const value = element("input", {type: "number", step: "any", id});
  const spread = element("input", {type: "range", min: 0, max: 1, step: 0.01, value: 0, id: "c_" + q.name, ariaLabel: `${q.name}, spread`});
  const told = element("output", {htmlFor: spread.id}), reset = element("button", {type: "button", ariaLabel: `reset ${q.name}`, title: "back to the default"}, "reset");
  const text = q.name + (q.computed ? ", follows from others until it is set" : "") + (q.source ? ` (${q.source})` : "");
  const sign = symbol(q.symbol);
  const words = q.text || (sign.textContent === q.name.replace(/[_{}]/g, "") ? "" : q.name); // the name once
  const box = element("div", {className: "input"},
    element("div", {className: "name"}, element("label", {htmlFor: id, title: text}, sign, " ", element("span", {className: "text"}, words)), reset),
    element("div", {className: "value"}, slider, value, element("span", {className: "unit"}, q.unit)),
    element("div", {className: "spread"}, element("label", {htmlFor: spread.id}, "spread"), spread, told));
  box.dataset.find = `${q.name} ${q.symbol} ${q.text}`.toLowerCase();
  const row = {
    q, box, touched: false,
    get value() { return value.value === "" ? NaN : +value.value; },
    get spread() { return spread.disabled ? 0 : +spread.value; },
    set(v, sigma, touched) {
      value.value = brief(+v);
      slider.value = map.from(+v);
      if (sigma != null) spread.value = sigma;
      row.touched = touched;
      row.told();
    },
    told() {
      spread.disabled = !(row.value > 0) || sums.length > 0;
      told.textContent = row.spread ? `± ${Math.round(100 * row.spread)} %` : "none";
      slider.setAttribute("aria-valuetext", `${value.value} ${q.unit}`);
      spread.setAttribute("aria-valuetext", told.textContent);
      reset.hidden = !row.touched && !row.spread;
    },
  };
  const moved = () => { row.touched = true; balance(row, sums); row.told(); count(); changed(); };
  slider.oninput = () => { value.value = brief(+map.to(+slider.value).toPrecision(4)); moved(); };
  value.oninput = () => { if (value.value !== "") { slider.value = map.from(row.value); moved(); } };
  spread.oninput = () => { row.told(); count(); changed(); };
  reset.onclick = () => { row.set(q.default, 0, false); balance(row, sums); count(); changed(); value.focus(); };
  row.set(q.default, 0, false);
  ROWS.set(q.name, row);
  return box;
}

// parameters that add up to a total: the others share what one leaves
function balance(row, sums) {
  for (const sum of sums) {
    const others = sum.names.filter(n => n !== row.q.name).map(n => ROWS.get(n));
    const before = others.reduce((all, r) => all + r.value, 0), left = sum.total - row.value;
    for (const r of others) r.set(Math.max(0, before > 0 ? r.value * left / before : left / others.length), 0, true);
  }
}

function groups() {
  FACTS.groups.forEach((group, k) => {
    const box = element("details", {className: "group", open: k === 0 && group.names.length < 5},
      element("summary", {}, group.title, " ", element("span", {className: "count"})));
    box.dataset.names = group.names.join(" ");
    for (const name of group.names) if (INPUTS.has(name)) box.append(inputRow(INPUTS.get(name)));
    $("groups").append(box);
  });
}

function count() {
  for (const box of $("groups").children) {
    const rows = box.dataset.names.split(" ").map(n => ROWS.get(n)).filter(Boolean), used = rows.filter(r => r.touched || r.spread).length;
    box.querySelector(".count").textContent = `(${rows.length}${used ? `, ${used} set` : ""})`;
  }
}

function find(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const box of $("groups").children) {
    let any = false;
    for (const row of box.querySelectorAll(".input")) any = !(row.hidden = !words.every(w => row.dataset.find.includes(w))) || any;
    box.hidden = !any;
    if (words.length) box.open = any;
  }
}

let doses = 0;
function doseRow(dose) {
  const id = ++doses, box = element("div", {className: "dose", role: "group", ariaLabel: `dose ${id}`});
  const states = FACTS.inputs.filter(q => q.state).map(q => q.name), fields = {};
  const add = (name, label, input) => { fields[name] = input; box.append(element("label", {}, label, input)); };
  const number = (name, more = {}) => element("input", {type: "number", step: "any", value: brief(dose[name] ?? 0), ...more});
  add("time", `at (${plural(FACTS.time_unit)})`, number("time", {min: 0}));
  add("state", "into", element("select", {}, ...states.map(n => element("option", {value: n, selected: n === dose.state}, n))));
  add("amount", "amount", number("amount"));
  add("duration", "lasting", number("duration", {min: 0}));
  add("every", "again every", number("every", {min: 0}));
  add("repeats", "so many times", number("repeats", {min: 0, step: 1}));
  const gone = element("button", {type: "button", ariaLabel: `remove dose ${id}`}, "remove");
  gone.onclick = () => { box.remove(); changed(); $("addDose").focus(); };
  box.append(gone);
  box.oninput = () => changed();
  box.read = () => Object.fromEntries(Object.entries(fields).map(([k, f]) => [k, k === "state" ? f.value : k === "repeats" ? Math.round(+f.value) : +f.value]));
  $("doses").append(box);
}

function settings() {
  const values = {}, spread = {};
  for (const [name, row] of ROWS) {
    if (row.touched && Number.isFinite(row.value)) values[name] = row.value;
    if (row.spread) spread[name] = row.spread;
  }
  const outputs = [...new Set([$("output0").value, $("output1").value].filter(Boolean))];
  return {
    model: FACTS.model, options: FACTS.options, patients: patients(), seed: Math.max(0, Math.round(+$("seed").value || 0)), t_end: +$("horizon").value || FACTS.t_end,
    times: 101, rtol: +$("rtol").value, lines: $("lines").checked ? 40 : 0, outputs, values, spread, doses: [...$("doses").children].map(box => box.read()),
  };
}

function patients() { return Math.min(FACTS.most_patients, Math.round(10 ** +$("patients").value)); }

function apply(s) {
  $("patients").value = Math.log10(s.patients);
  $("seed").value = s.seed;
  if (![...$("rtol").options].some(o => +o.value === s.rtol)) $("rtol").append(element("option", {value: s.rtol}, brief(s.rtol)));
  for (const o of $("rtol").options) o.selected = +o.value === s.rtol;
  $("horizon").value = s.t_end;
  $("lines").checked = s.lines > 0;
  $("output0").value = s.outputs[0];
  $("output1").value = s.outputs[1] || "";
  for (const [name, row] of ROWS) row.set(s.values[name] ?? row.q.default, s.spread[name] ?? 0, name in s.values);
  $("doses").replaceChildren();
  doses = 0;
  s.doses.forEach(doseRow);
  for (const box of $("groups").children) if (box.dataset.names.split(" ").some(n => n in s.spread || n in s.values)) box.open = true;
  count();
}
