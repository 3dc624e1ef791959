"""Solve a table of doses twice: with the published scheme, and accurately."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fastcart.batch import solve
from fastcart.models import get
from fastcart.typing_names import Engine

PUBLISHED = "published scheme"
ACCURATE = "accurate"
ENGINES: dict[str, Engine] = {PUBLISHED: "published", ACCURATE: "lsoda"}
RTOL = 1e-9  # of the accurate solution


@dataclass(frozen=True)
class Runs:
    """Endpoints and trajectories of the same doses under both solutions.

    Parameters
    ----------
    endpoints, trajectories : DataFrame
        With a column ``solution``, the labels of each run, and what `fastcart.solve` returns;
        ``<state>_0`` are the doses and initial values (cells), ``t`` is in days.
    """

    endpoints: pd.DataFrame
    trajectories: pd.DataFrame

    def ends(self, solution: str) -> pd.DataFrame:
        """Return the endpoints of one solution, in the order of the doses."""
        chosen = self.endpoints[self.endpoints["solution"] == solution]
        return chosen.reset_index(drop=True)

    def paths(self, solution: str, **labels: Any) -> pd.DataFrame:
        """Return the trajectories of one solution, of the runs with these labels."""
        chosen = self.trajectories["solution"] == solution
        for name, value in labels.items():
            chosen &= self.trajectories[name] == value
        return self.trajectories[chosen]

    def at(self, solution: str, t: float, quantity: str, **labels: Any) -> float:
        """Return a state or observable of one run at one saved time (days)."""
        path = self.paths(solution, **labels)
        return float(path.loc[path["t"] == t, quantity].iloc[0])


_ENDPOINTS = ("status", "pfs", "progression", "censored", "nadir", "t_nadir", "final", "steps")


def solve_both(
    model: str,
    doses: pd.DataFrame,
    *,
    save_at: Sequence[float] | None = None,
    t_end: float | None = None,
    threads: int | None = None,
    progress: bool | None = None,
) -> Runs:
    """Solve a table of doses with both engines.

    Parameters
    ----------
    model : str
        Name of a shipped model.
    doses : DataFrame
        Columns that are states are doses and initial values (cells); those that are parameters are set for
        this run; all others are labels.
    save_at : sequence of float, optional
        Times (days) of the trajectories, on the grid of the published scheme.
    t_end : float, optional
        Horizon (days); default the model's.
    threads : int, optional
    progress : bool, optional

    Returns
    -------
    Runs

    Raises
    ------
    RuntimeError
        When a run fails; no figure is drawn from an incomplete set of runs.
    """
    states, parameters = get(model).state_names, get(model).default_parameters()
    patients = doses[[name for name in doses.columns if name in states or name in parameters]]
    labels = doses.rename(columns={name: f"{name}_0" for name in states})
    endpoints, trajectories = [], []
    for solution, engine in ENGINES.items():
        result = solve(
            model, patients, engine=engine, rtol=RTOL, save_at=save_at, t_end=t_end, threads=threads,
            progress=progress,
        )  # fmt: skip
        if len(result.failed):
            raise RuntimeError(f"{model}, {solution}: {result.explain(result.failed['patient'].iloc[0])}")
        endpoints.append(
            pd.concat([labels, result.endpoints[list(_ENDPOINTS)]], axis=1).assign(solution=solution)
        )
        if result.trajectories is not None:
            path = result.trajectories
            named = labels.iloc[path["patient"]].reset_index(drop=True)
            path = pd.concat([named, path.drop(columns="patient")], axis=1)
            trajectories.append(path.assign(solution=solution))
    return Runs(
        pd.concat(endpoints, ignore_index=True),
        pd.concat(trajectories, ignore_index=True) if trajectories else pd.DataFrame(),
    )
