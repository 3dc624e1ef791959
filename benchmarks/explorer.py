"""Measure `fastcart explore` in headless Chromium: milliseconds from a slider to the picture.

``python benchmarks/explorer.py [MODEL]``; needs chromium, chromedriver and selenium.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import threading
import time

from browser import missing, open_browser

from fastcart.exploring.opening import Chosen, open_server

DRAG = """
const [name, patients, steps, done] = arguments;
(async () => {
  $('patients').value = Math.log10(patients);
  asking.stats.length = 0;
  changed();
  const until = k => new Promise(r => { const look = () => asking.stats.length >= k ? r() : setTimeout(look, 4); look(); });
  await until(1);
  const slider = ROWS.get(name).box.querySelector('input[type=range]');
  for (let k = 0; k < steps; k++) {
    slider.value = 0.45 + 0.0025 * k;
    slider.dispatchEvent(new Event('input'));
    await until(k + 2);
    await new Promise(r => setTimeout(r, 30));
  }
  done(asking.stats.slice(1));
})();
"""  # noqa: E501


def main() -> None:
    """Print medians and ranges for 1000 and for 3000 patients."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="li_lei")
    parser.add_argument("--steps", type=int, default=30)
    options = parser.parse_args()
    if missing():
        sys.exit(missing())
    server = open_server(Chosen(model=options.model))
    threading.Thread(target=server.run, daemon=True).start()
    page = open_browser(patience=600)
    page.get(server.address)
    while not page.execute_script("return asking.stats.length"):
        time.sleep(0.05)
    name = page.execute_script("return Object.keys(A.settings.spread)[1]")
    for patients in (1000, 3000):
        steps = page.execute_async_script(DRAG, name, patients, options.steps)
        told = []
        for key, words in (("paint", "slider to picture"), ("ms", "in the server"), ("cpu", "CPU there")):
            values = [step[key] for step in steps]
            told.append(
                f"{words} {statistics.median(values):.0f} ms ({min(values):.0f} to {max(values):.0f})"
            )
        print(f"{patients} patients, {name}: {', '.join(told)}; load {os.getloadavg()[0]:.1f}", flush=True)
    page.quit()
    server.shutdown()


if __name__ == "__main__":
    main()
