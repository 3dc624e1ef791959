"""SBML files: 10 000 varied patients on two threads, against libRoadRunner in a loop on one.

    python benchmarks/sbml_zoo.py FOLDER --patients 10000 --loop 100

Parameters are varied by up to 10 % around their values. RoadRunner solves the first ``--loop`` of the same
patients with the same tolerances, and its time is taken for all by their number; the ends are compared.
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

RTOL, HORIZON, SPREAD = 1e-6, 100.0, 0.1


def patients_of(model: fastcart.Model, count: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    values = model.defaults()
    names = [p.name for p in model.parameters if not callable(p.default) and values[p.name] != 0.0]
    return {name: values[name] * rng.uniform(1 - SPREAD, 1 + SPREAD, count) for name in names}


def ours(model: fastcart.Model, patients: dict[str, np.ndarray]) -> tuple[float, fastcart.BatchResult]:
    options = {"rtol": RTOL, "threads": 2, "progress": False, "warn": False}
    fastcart.solve(model, {name: values[:64] for name, values in patients.items()}, **options)
    best, result = np.inf, None
    for _ in range(3):
        start = time.perf_counter()
        result = fastcart.solve(model, patients, **options)
        best = min(best, time.perf_counter() - start)
    return best, result


def theirs(path: Path, model: fastcart.Model, patients: dict[str, np.ndarray], count: int):
    import roadrunner

    roadrunner.Logger.setLevel(roadrunner.Logger.LOG_CRITICAL)
    runner, source = roadrunner.RoadRunner(str(path)), read(path)
    scales = [state.scale for state in model.states]
    runner.integrator.relative_tolerance = RTOL
    runner.integrator.absolute_tolerance = RTOL * min(scales)
    runner.integrator.maximum_num_steps = 1_000_000
    own = [x for x in model.state_names if not x.startswith("_")]
    asked = [f"[{x}]" if x in source.species and not source.species[x].by_amount else x for x in own]
    ends = np.full((count, len(own)), np.nan)
    start = time.perf_counter()
    for i in range(count):
        runner.resetAll()
        for name, values in patients.items():
            runner[name] = values[i]
        runner.reset()
        try:
            ends[i] = runner.simulate(0.0, HORIZON, 2, asked)[-1]
        except RuntimeError:
            continue
    return (time.perf_counter() - start) / count, ends, own


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--patients", type=int, default=10_000)
    parser.add_argument("--loop", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    ratios = []
    for path in sorted(options.folder.glob("*.xml")):
        model = fastcart.sbml.load(path, t_end=HORIZON)
        patients = patients_of(model, options.patients, options.seed)
        seconds, result = ours(model, patients)
        each, ends, names = theirs(path, model, patients, options.loop)
        got = result.endpoints[[f"final_{name}" for name in names]].to_numpy()[: options.loop]
        off = np.nanmax(np.abs(got - ends) / (np.abs(ends) + RTOL * np.nanmax(np.abs(ends), axis=0) + 1e-300))
        ratio = each * options.patients / seconds
        ratios.append(ratio)
        print(
            f"{path.stem}  fastcart {seconds:.3f} s  RoadRunner {each * options.patients:.2f} s  "
            f"ratio {ratio:.1f}  begins with {result.options['begins_with']}  {result.summary()}  "
            f"not solved by RoadRunner {int(np.isnan(ends).any(axis=1).sum())}  largest difference {off:.1e}",
            flush=True,
        )
    print(f"least {min(ratios):.1f}, median {np.median(ratios):.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
