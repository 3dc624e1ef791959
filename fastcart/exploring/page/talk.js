const PAGE = crypto.getRandomValues(new Uint32Array(2)).join("-");
const PATIENCE = 250, DRAFT = 120; // ms: after which a newer question stops an older one; what a draft may take
let questions = 0;

class Outdated extends Error {}

async function ask(action, given, signal) {
  const query = new URLSearchParams({model: FACTS.given, page: PAGE, number: ++questions});
  const send = () => fetch(`/${action}?${query}`, {
    method: "POST", headers: {"X-Token": FACTS.token, "Content-Type": "application/json"}, body: JSON.stringify(given), signal,
  });
  // once more where the server was just about to close a connection that was idle
  const response = await send().catch(error => signal?.aborted ? Promise.reject(error) : send()).catch(() => {
    throw signal?.aborted ? new Outdated() : Error("fastcart explore does not answer; start it again.");
  });
  if (response.status === 409) throw new Outdated();
  if (!response.ok) throw Error((await response.text()).trim());
  return response;
}

function unpacked(buffer) {
  const size = Number(new DataView(buffer).getBigUint64(0, true));
  const answer = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, size)));
  let at = 8 + size;
  answer.of = {};
  for (const [name, length] of answer.arrays) {
    answer.of[name] = new Float64Array(buffer, at, length);
    at += 8 * length;
  }
  return answer;
}

// One question at a time; the newest wins. While a slider is dragged, drafts of fewer patients stand in for what is slow.
class Asking {
  constructor({settings, show, fail, busy, draft = (whole, share) => ({...whole, patients: Math.max(50, Math.round(whole.patients * share))})}) {
    Object.assign(this, {settings, show, fail, busy, draft, flight: null, wanted: false, dragging: false, took: 0, since: 0});
    this.stats = [];
    addEventListener("pointerdown", e => { this.dragging = e.target.type === "range"; });
    addEventListener("pointerup", () => this.released());
    addEventListener("pointercancel", () => this.released());
  }

  released() {
    if (!this.dragging) return;
    this.dragging = false;
    if (this.drafted) this.now();
  }

  now() {
    if (!this.since) this.since = performance.now();
    this.wanted = true;
    if (!this.flight) return this.next();
    const left = PATIENCE - (performance.now() - this.flight.begun);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => { if (this.wanted && this.flight) this.flight.abort.abort(); }, Math.max(0, left));
  }

  async next() {
    this.wanted = false;
    const since = this.since || performance.now(), flight = {begun: performance.now(), abort: new AbortController()};
    this.since = 0;
    this.flight = flight;
    const whole = this.settings();
    let asked = whole;
    this.drafted = this.dragging && this.took > 1.5 * DRAFT && whole.patients > 100;
    const share = DRAFT / this.took;
    if (this.drafted) asked = this.draft(whole, share);
    const slow = setTimeout(() => this.wait(flight), 500);
    try {
      const answer = unpacked(await (await ask("solve", asked, flight.abort.signal)).arrayBuffer());
      answer.draft = this.drafted;
      const took = performance.now() - flight.begun;
      this.took = this.drafted ? took / share : took;
      this.show(answer, () => performance.now() - since);
      this.painted(answer, since, took);
    } catch (error) {
      if (!(error instanceof Outdated)) this.fail(error.message);
      else if (!this.wanted) this.wanted = true;
    } finally {
      clearTimeout(slow);
      this.flight = null;
    }
    if (this.drafted && !this.dragging) this.wanted = true;
    if (this.wanted) this.next();
  }

  // say twice a second what is done while an answer is awaited: the server tells for how long it has compiled
  async wait(flight) {
    const before = await this.compiled();
    for (let last = before; this.flight === flight;) {
      const now = await this.compiled();
      if (this.flight === flight) this.busy(performance.now() - flight.begun, now > last ? now - before + 0.5 : 0);
      last = now;
      await new Promise(done => setTimeout(done, 500));
    }
  }

  async compiled() { return ask("compiled", {}).then(answer => answer.json()).catch(() => 0); }

  // what tests measure: milliseconds from the slider to the picture
  painted(answer, since, took) {
    requestAnimationFrame(() => {
      const channel = new MessageChannel();
      channel.port1.onmessage = () => this.stats.push({paint: performance.now() - since, took, ms: answer.ms, cpu: answer.cpu_ms, patients: answer.patients});
      channel.port2.postMessage(0);
    });
  }
}
