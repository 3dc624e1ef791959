"""SBML files: 10 000 varied patients on two threads, against libRoadRunner in a loop on one.

    python benchmarks/sbml_zoo.py FOLDER --patients 10000 --loop 100

Parameters are varied by up to 10 % around their values, but compartments and what others are derived from.
RoadRunner solves the first ``--loop`` of the same patients with the same tolerances, and its time is taken
for all by number. Courses of the first ten are compared at tight tolerances, relative to the largest value.
Times are by the clock; with ``--cpu``, for a machine that does other work, by that of processors: both cores
are then taken to be busy all the time, so a call counts half of what its threads took together.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path

import numpy as np

import fastcart
from fastcart.sbml.document import read

RTOL, HORIZON, SPREAD, THREADS = 1e-6, 100.0, 0.1, 2


def patients_of(model: fastcart.Model, path: Path, count: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    values = model.defaults()
    # RoadRunner keeps amounts where sizes are set, and does not let what is derived follow
    left_out = {*read(path).compartments}
    left_out |= {name for item in model.items for name in getattr(item.default, "columns", ())}
    names = [
        p.name for p in model.parameters
        if not callable(p.default) and values[p.name] != 0.0 and p.name not in left_out
    ]  # fmt: skip
    return {name: values[name] * rng.uniform(1 - SPREAD, 1 + SPREAD, count) for name in names}


def ours(
    model: fastcart.Model, patients: dict[str, np.ndarray], cpu: bool
) -> tuple[float, fastcart.BatchResult]:
    options = {"rtol": RTOL, "threads": THREADS, "progress": False, "warn": False}
    clock = (lambda: time.process_time() / THREADS) if cpu else time.perf_counter
    fastcart.solve(model, {name: values[:64] for name, values in patients.items()}, **options)
    best, result = np.inf, None
    for _ in range(3):
        start = clock()
        result = fastcart.solve(model, patients, **options)
        best = min(best, clock() - start)
    return best, result


class Runner:
    """RoadRunner for one file."""

    def __init__(self, path: Path, model: fastcart.Model, rtol: float, atol: float):
        import roadrunner

        roadrunner.Logger.setLevel(roadrunner.Logger.LOG_CRITICAL)
        self.runner, source = roadrunner.RoadRunner(str(path)), read(path)
        self.runner.integrator.relative_tolerance = rtol
        self.runner.integrator.absolute_tolerance = atol
        self.runner.integrator.maximum_num_steps = 1_000_000
        self.names = [x for x in model.state_names if not x.startswith("_")]
        self.asked = [
            f"[{x}]" if x in source.species and not source.species[x].by_amount else x for x in self.names
        ]

    def course(self, patients: dict[str, np.ndarray], i: int, points: int) -> np.ndarray | None:
        self.runner.resetAll()
        for name, values in patients.items():
            self.runner[name] = values[i]
        self.runner.reset()
        try:
            return np.array(self.runner.simulate(0.0, HORIZON, points, self.asked))
        except RuntimeError:
            return None


def theirs(
    path: Path, model: fastcart.Model, patients: dict[str, np.ndarray], count: int, cpu: bool
) -> tuple[float, int]:
    runner = Runner(path, model, RTOL, RTOL * min(state.scale for state in model.states))
    clock = time.process_time if cpu else time.perf_counter
    start = clock()
    failed = sum(runner.course(patients, i, 2) is None for i in range(count))
    return (clock() - start) / count, failed


def difference(path: Path, model: fastcart.Model, patients: dict[str, np.ndarray], count: int = 10) -> float:
    runner, times = Runner(path, model, 1e-10, 1e-14), np.linspace(0.0, HORIZON, 21)
    few = {name: values[:count] for name, values in patients.items()}
    frame = fastcart.solve(model, few, rtol=1e-9, save_at=times, progress=False, warn=False).trajectories
    courses = frame[runner.names].to_numpy().reshape(count, len(times), -1)
    worst = 0.0
    for i in range(count):
        theirs = runner.course(patients, i, len(times))
        if theirs is not None:
            worst = max(worst, np.nanmax(np.abs(courses[i] - theirs) / np.abs(theirs).max(axis=0)))
    return worst


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--patients", type=int, default=10_000)
    parser.add_argument("--loop", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cpu", action="store_true", help="times of processors, not of the clock")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    ratios = []
    for path in sorted(options.folder.glob("*.xml")):
        model = fastcart.sbml.load(path, t_end=HORIZON)
        patients = patients_of(model, path, options.patients, options.seed)
        seconds, result = ours(model, patients, options.cpu)
        each, failed = theirs(path, model, patients, options.loop, options.cpu)
        ratio = each * options.patients / seconds
        ratios.append(ratio)
        print(
            f"{path.stem}  fastcart {seconds:.3f} s  RoadRunner {each * options.patients:.2f} s  "
            f"ratio {ratio:.1f}  begins with {result.options['begins_with']}  {result.summary()}  "
            f"RoadRunner failed {failed} of {options.loop}  "
            f"largest difference {difference(path, model, patients):.1e}",
            flush=True,
        )
    print(f"least {min(ratios):.1f}, median {np.median(ratios):.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
