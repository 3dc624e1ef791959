"""The semantic cases of the SBML Test Suite: passed, failed, or refused with the construct.

``make sbml-suite SUITE=FOLDER``, where FOLDER holds a folder for each case. A case passes if every printed value
is within the absolute and relative tolerance of the case itself.
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
        return in_python(model, times, rtol), "ok"
    result = fastcart.solve(
        model, save_at=times, engine=engine, rtol=rtol, threads=1, progress=False, warn=False,
        max_step=float(times[-1]) / 20,
    )  # fmt: skip
    frame = result.trajectories
    values = {name: frame[name].to_numpy() for name in frame.columns if name not in ("patient", "t")}
    values |= {name: np.full(len(times), x) for name, x in model.default_parameters().items()}
    return values, str(result.endpoints["status"].iloc[0])


def in_python(model: fastcart.Model, times: np.ndarray, rtol: float) -> dict[str, np.ndarray]:
    """Solve a model without events and compile nothing: for work on what is read."""
    from scipy.integrate import solve_ivp

    from fastcart.solvers.named import arguments

    p = list(model.default_parameters().values())

    def of(function: Callable, t: float, y: np.ndarray) -> np.ndarray:
        return np.array(function.py_func(t, *arguments(model, map(float, y), p)), dtype=float)

    solution = solve_ivp(
        lambda t, y: of(model.rhs, t, y), (0.0, times[-1]), list(model.default_states().values()),
        t_eval=times, method="LSODA", rtol=rtol, atol=1e-14, max_step=times[-1] / 50,
    )  # fmt: skip
    values = dict(zip(model.state_names, solution.y, strict=True))
    if model.observe is not None:
        rows = np.array([of(model.observe, t, y) for t, y in zip(times, solution.y.T, strict=True)])
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
