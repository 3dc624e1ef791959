"""The semantic cases of the SBML Test Suite: passed, failed, or refused with the construct.

``make sbml-suite SUITE=FOLDER``, where FOLDER holds a folder for each case. A case passes if every printed
value is within the absolute and relative tolerance of the case itself. ``--engine python`` solves with SciPy
and compiles nothing.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

import fastcart
from fastcart.errors import InputError
from fastcart.sbml.document import read
from fastcart.solvers.compile import plain
from fastcart.solvers.moments import (
    AGAIN,
    DONE,
    begin_moment,
    look_again,
    next_of_moment,
    room_for,
)
from fastcart.solvers.named import arguments

VERSIONS = ("l3v2", "l3v1", "l2v5", "l2v4", "l2v3", "l2v2", "l2v1", "l1v2")
PASSED, FAILED, REFUSED = "passed", "failed", "refused"
RTOL = 1e-9


def settings_of(folder: Path) -> dict[str, str]:
    path = next(folder.glob("*-settings.txt"))
    pairs = (line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def expected_of(folder: Path) -> tuple[list[str], np.ndarray]:
    special = {"INF": "inf", "-INF": "-inf", "NaN": "nan"}
    with next(folder.glob("*-results.csv")).open(newline="") as file:
        rows = [[cell.strip() for cell in row] for row in csv.reader(file) if row]
    return rows[0], np.array([[float(special.get(x, x)) for x in row] for row in rows[1:]])


def file_of(folder: Path) -> Path:
    for version in VERSIONS:
        found = list(folder.glob(f"*-sbml-{version}.xml"))
        if found:
            return found[0]
    raise FileNotFoundError(f"{folder}: no SBML file")


def courses(path: Path, times: np.ndarray, engine: str, rtol: float) -> tuple[dict, str]:
    """Return all that is printed by name, and what the solver says where it fails."""
    model = fastcart.sbml.load(path, t_end=float(times[-1]))
    if engine == "python":
        return InPython(model, rtol).solve(times), "ok"
    result = fastcart.solve(
        model, save_at=times, engine=engine, rtol=rtol, threads=1, progress=False, warn=False,
        max_step=float(times[-1]) / 20, max_steps=1_000_000,
    )  # fmt: skip
    frame = result.trajectories
    values = {name: frame[name].to_numpy() for name in frame.columns if name not in ("patient", "t")}
    values |= {name: np.full(len(times), x) for name, x in model.default_parameters().items()}
    return values, str(result.endpoints["status"].iloc[0])


class InPython:
    """A model solved by SciPy without compiling it: for work on what is read."""

    def __init__(self, model: fastcart.Model, rtol: float):
        self.model, self.rtol = model, rtol
        self.p = np.array(list(model.default_parameters().values()), dtype=float)
        self.watch = model.moments.watch if model.moments else ()

    def of(self, function: Callable, t: float, y: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            given = arguments(self.model, list(y), list(self.p))
            return np.array(function.py_func(t, *given), dtype=float)

    def settle(self, t: float, y: np.ndarray) -> None:
        moments = self.model.moments
        table = moments.table
        f, now = np.empty(max(1, moments.needed)), np.empty(len(table.true))
        due, values = plain(room_for)(table)
        moments.say.py_func(t, y, self.p, f, now)
        plain(begin_moment)(y, f, table, due, values)
        done, rounds = AGAIN, 0
        while done == AGAIN and rounds < 1000:
            moments.say.py_func(t, y, self.p, f, now)
            if rounds:
                plain(look_again)(y, before, f, table)  # noqa: F821
                moments.say.py_func(t, y, self.p, f, now)
            before = f.copy()  # noqa: F841
            done = plain(next_of_moment)(t, y, f, now, table, due, values)
            rounds += 1
        assert done == DONE

    def level(self, k: int) -> Callable:
        name = self.model.observable_names.index(self.watch[k].of)

        def value(t: float, y: np.ndarray) -> float:
            return float(self.of(self.model.observe, t, y)[name])

        value.terminal, value.direction = True, 1
        return value

    def solve(self, times: np.ndarray) -> dict[str, np.ndarray]:
        from scipy.integrate import solve_ivp

        model, t, end = self.model, 0.0, float(times[-1])
        y = np.array(list(model.default_states().values()), dtype=float)
        if self.watch:
            self.settle(t, y)
        levels = [self.level(k) for k in range(len(self.watch))]
        saved = np.full((len(y), len(times)), np.nan)
        saved[:, times <= 0] = y[:, None]
        while t < end:
            inside = (times > t) & (times <= end)
            solution = solve_ivp(
                lambda t, y: self.of(model.rhs, t, y), (t, end), y, t_eval=times[inside], method="LSODA",
                rtol=self.rtol, atol=1e-14, max_step=end / 50, events=levels or None,
            )  # fmt: skip
            assert solution.status >= 0, solution.message
            saved[:, np.flatnonzero(inside)[: len(solution.t)]] = solution.y
            if solution.status == 0:
                break
            k = next(k for k, found in enumerate(solution.t_events) if len(found))
            t, y = float(solution.t_events[k][0]), solution.y_events[k][0].copy()
            for _ in range(100):
                action = self.watch[k].actions[0]
                if action.kind == "scale":
                    y[model.state_names.index(action.state)] *= -1.0
                self.settle(t, y)
                above = [k for k, level in enumerate(levels) if level(t, y) > 1e-9]
                if not above:
                    break
                k = above[0]
            saved[:, np.abs(times - t) <= 1e-9 * end] = y[:, None]
            t = np.nextafter(t, np.inf)
        values = dict(zip(model.state_names, saved, strict=True))
        if model.observe is not None:
            rows = np.array([self.of(model.observe, t, y) for t, y in zip(times, saved.T, strict=True)])
            values |= dict(zip(model.observable_names, rows.T, strict=True))
        return values | {name: np.full(len(times), x) for name, x in model.default_parameters().items()}


def verdict(folder: Path, engine: str, rtol: float) -> tuple[str, str]:
    path, settings = file_of(folder), settings_of(folder)
    start, steps = float(settings["start"]), int(settings["steps"])
    times = np.linspace(start, start + float(settings["duration"]), steps + 1)
    header, expected = expected_of(folder)
    try:
        values, status = courses(path, times, engine, rtol)
    except InputError as refusal:
        return REFUSED, str(refusal)
    if status != "ok":
        return FAILED, f"status {status}"
    absolute, relative = float(settings["absolute"]), float(settings["relative"])
    amounts, concentrations = listed(settings.get("amount", "")), listed(settings.get("concentration", ""))
    source = read(path)
    worst, where = 0.0, ""
    for name, column in zip(header[1:], expected.T[1:], strict=True):
        got = values.get(name, values.get(f"{name}_"))
        if got is None:
            got = np.full(len(times), np.nan)
        species = source.species.get(name)
        if species is not None:
            size = values.get(species.compartment, np.ones(len(times)))
            if name in amounts and not species.by_amount:
                got = got * size
            elif name in concentrations and species.by_amount:
                got = got / size
        with np.errstate(all="ignore"):
            off = np.abs(got - column) / (absolute + relative * np.abs(column))
        off[(got == column) | (np.isnan(got) & np.isnan(column))] = 0.0
        off[np.isnan(off)] = np.inf
        if off.max() > worst:
            worst, where = off.max(), f"{name} at {times[off.argmax()]:g}"
    return (PASSED, "") if worst <= 1.0 else (FAILED, f"{where}, {worst:.3g} tolerances off")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--rtol", type=float, default=RTOL)
    parser.add_argument("--out", type=Path, help="table of all cases (.csv)")
    parser.add_argument("--only", nargs="*", help="names of cases")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    cases = sorted(path for path in options.folder.iterdir() if path.is_dir())
    rows, began = [], time.perf_counter()
    for folder in cases:
        if options.only and folder.name not in options.only:
            continue
        start = time.perf_counter()
        try:
            what, why = verdict(folder, options.engine, options.rtol)
        except Exception as error:
            what, why = FAILED, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        kind = "events" if "<event " in file_of(folder).read_text() else "plain"
        rows.append((folder.name, kind, what, why))
        if what != PASSED:
            print(*rows[-1][:3], why[:150], f"{time.perf_counter() - start:.1f} s", flush=True)
    if options.out:
        with options.out.open("w", newline="") as file:
            csv.writer(file).writerows([("case", "kind", "result", "why"), *rows])
    for kind in ("plain", "events"):
        counts = Counter(row[2] for row in rows if row[1] == kind)
        print(kind, *(f"{counts[what]} {what}" for what in (PASSED, FAILED, REFUSED)), sep="  ")
    print(f"engine {options.engine}, rtol {options.rtol:g}, {time.perf_counter() - began:.0f} s")
    return 0 if all(row[2] == PASSED for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
