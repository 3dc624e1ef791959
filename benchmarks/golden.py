"""Keep what fastcart gives for many small cases, and compare: nothing may change where only code moves.

``python benchmarks/golden.py save FOLDER`` before, ``python benchmarks/golden.py check FOLDER`` afterwards.
Only public names are used, and the same machine must do both: bits depend on its instructions.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

import fastcart
from fastcart import DosingSchedule, Event

Case = Callable[[], dict[str, pd.DataFrame]]

METHODS = ("tsit5", "vern7", "dop853", "stab5", "rodas5p")
OBSERVED = {
    "li_lei": ("I6", "TE"),
    "b_all": ("T", "C"),
    "t_cell": ("L", "E"),
    "li_lei_coarse": ("C_free", "TE"),
}


def patients(model: str, count: int) -> pd.DataFrame:
    """Draw patients 5 % around the defaults; t_cell as it is, for its fractions must add up to one."""
    if model == "t_cell":
        return pd.DataFrame({"A": np.geomspace(1e3, 1e8, count)})
    rng = np.random.default_rng(7)
    defaults = fastcart.models.get(model).default_parameters()
    factors = 1 + 0.05 * (2 * rng.random((count, len(defaults))) - 1)
    return pd.DataFrame(factors * np.array(list(defaults.values())), columns=list(defaults))


def tables(result: fastcart.BatchResult) -> dict[str, pd.DataFrame]:
    """Return the tables of a result."""
    found = {"endpoints": result.endpoints}
    if result.trajectories is not None:
        found["trajectories"] = result.trajectories
    return found


def solving(model: str, count: int, **options) -> Case:
    """Return a case that solves patients of a model."""
    return lambda: tables(fastcart.solve(model, patients(model, count), **options))


def cases() -> Iterator[tuple[str, Case]]:
    """Yield each case with its name."""
    for model in fastcart.models.names():
        days = fastcart.models.get(model).t_end
        times = np.linspace(0, days, 21)
        yield f"{model} plain", solving(model, 70)
        yield f"{model} saved", solving(model, 35, save_at=times)
        yield f"{model} lsoda", solving(model, 8, engine="lsoda", save_at=times)
        yield f"{model} scipy", solving(model, 2, engine="scipy", save_at=times)
        for method in METHODS:
            yield f"{model} {method}", solving(model, 34, engine="lanes", method=method, save_at=times)
    for model, (first, second) in OBSERVED.items():
        m = fastcart.models.get(model)
        burden = m.burden
        watched = dict(
            peaks=[first, second], auc=[first, second],
            events=[Event("half", burden, 1e6, "down"), Event("again", burden, 1e7, "up", after=10.0)],
        )  # fmt: skip
        doses = DosingSchedule().bolus(5.0, second if second in m.state_names else "C", 1e5)
        doses = doses.infusion(20.0, second if second in m.state_names else "C", 1e6, 2.0)
        yield f"{model} watched", solving(model, 40, **watched)
        for method in METHODS:
            yield f"{model} watched {method}", solving(model, 33, engine="lanes", method=method, **watched)
        for engine in ("lanes", "lsoda", "scipy"):
            count = 2 if engine == "scipy" else 33
            yield (
                f"{model} doses {engine}",
                solving(model, count, engine=engine, doses=doses, breaks=[7.0], max_step=5.0, auc=[first]),
            )
        yield (
            f"{model} all",
            solving(model, 40, doses=doses, save_at=[1.0, 5.0, 21.0, 50.0], threads=1, rtol=1e-4, **watched),
        )
    yield "li_lei published", solving("li_lei", 8, engine="published")
    yield "b_all extinction", solving("b_all", 40, extinction=1.0, peaks=["C"])
    yield "li_lei cured", solving("li_lei", 40, extinction=1e3, peaks=["TE"])
    yield "sample", lambda: {"table": fastcart.sample.sobol({"a": (0, 1), "b": (1, 9)}, 64, seed=3)}
    yield "scan", scanned
    for method, n in (("prcc", 80), ("sobol", 64), ("morris", 100)):
        yield (
            f"sensitivity {method}",
            lambda method=method, n=n: {
                "indices": fastcart.sensitivity("li_lei", method=method, n=n, seed=1).indices
            },
        )
    for method in ("pso", "cmaes", "de"):
        yield f"optimize {method}", lambda method=method: {"history": optimized(method)}


def optimized(method: str) -> pd.DataFrame:
    """Return the course of a small search."""
    study = fastcart.optimize(
        "li_lei", {"TE": (1e3, 3e6, "log"), "TM": (1e3, 3e6, "log")}, method=method, particles=12,
        iterations=4, constraints=["TE + TM <= 4e6"], seed=1,
    )  # fmt: skip
    return study.history


def scanned() -> dict[str, pd.DataFrame]:
    """Return the endpoints of a small scan."""
    with tempfile.TemporaryDirectory() as folder:
        grid = fastcart.sample.grid({"K_TP": [3e7, 5e7], "C": [1e5, 1e6, 1e7]})
        result = fastcart.scan("li_lei", grid, Path(folder) / "scan", chunk=4)
        return {"endpoints": result.load()}


def main() -> int:
    """Save or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["save", "check"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", help="part of the names of the cases")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    args.folder.mkdir(parents=True, exist_ok=True)
    changed = 0
    for name, case in cases():
        if args.only not in name:
            continue
        for table, frame in case().items():
            path = args.folder / f"{name} {table}.pkl".replace(" ", "_")
            if args.action == "save":
                frame.to_pickle(path)
            else:
                told = difference(pd.read_pickle(path), frame)
                changed += bool(told)
                if told:
                    print(f"{name}, {table}: {told}", flush=True)
    print(f"{changed} tables differ" if args.action == "check" else f"saved into {args.folder}")
    return int(changed > 0)


def difference(before: pd.DataFrame, after: pd.DataFrame) -> str:
    """Return in words how two tables differ, nothing where they are equal to the bit."""
    if list(before.columns) != list(after.columns):
        return f"columns {sorted(set(before.columns) ^ set(after.columns)) or 'in another order'}"
    if len(before) != len(after):
        return f"{len(before)} and {len(after)} rows"
    worst: dict[str, float] = {}
    for column in before.columns:
        a, b = before[column], after[column]
        if a.dtype.kind != "f" or b.dtype.kind != "f":
            if not a.astype(str).equals(b.astype(str)):
                worst[str(column)] = np.inf
            continue
        x, y = a.to_numpy(float), b.to_numpy(float)
        if x.tobytes() != y.tobytes():
            with np.errstate(all="ignore"):
                gap = np.abs(x - y) / np.maximum(np.abs(x), 1e-300)
            unlike = (np.isnan(x) != np.isnan(y)).any()
            worst[str(column)] = np.inf if unlike else float(np.nanmax(gap, initial=0.0))
    listed = sorted(worst.items(), key=lambda item: -item[1])
    return ", ".join(f"{column} {gap:.1e}" for column, gap in listed[:6])


if __name__ == "__main__":
    sys.exit(main())
