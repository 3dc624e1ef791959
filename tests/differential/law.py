"""Laws: properties that hold for whatever is drawn. Each is a test, and a part of the long run `fuzz.py`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import fastcart
from fastcart import Model

EXPLICIT = ("tsit5", "vern7", "dop853", "stab5")
LANES = [("lanes", method) for method in (*EXPLICIT, "rodas5p")]
# all engines and methods
RUNS = [("auto", None), *LANES, ("lsoda", None), ("scipy", None)]
COUNTERS = ["engine", "steps", "rejected", "rhs_calls"]

PHASES = [Phase.explicit, Phase.generate]
CHECKS = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


@dataclass(frozen=True)
class Law:
    """A property, what it is given, and the engines that it is about."""

    name: str
    body: Callable[..., None]
    drawn: dict[str, st.SearchStrategy]
    runs: list
    turn: int  # examples in a turn of the long run


LAWS: list[Law] = []


def law(
    examples: int, *, run: list | None = None, shrink: bool = True, turn: int = 30, **drawn: st.SearchStrategy
) -> Callable:
    """Make a test of a property: so many examples, always the same ones, for each engine in ``run``.

    Without ``shrink`` a test that fails shows the example as it was drawn, which saves minutes.
    """

    def decorate(body: Callable[..., None]) -> Callable[..., None]:
        everything = {**drawn, "run": st.sampled_from(run)} if run else drawn
        LAWS.append(Law(body.__name__.removeprefix("test_"), body, everything, run or [], turn))
        fixed = settings(
            max_examples=examples,
            derandomize=True,
            deadline=None,
            phases=[*PHASES, Phase.shrink] if shrink else PHASES,
            suppress_health_check=CHECKS,
        )
        test = fixed(given(**drawn)(body))
        if run:
            names = [method or engine for engine, method in run]
            test = pytest.mark.parametrize("run", run, ids=names)(test)
        return test

    return decorate


def solve(
    model: str | Model, patients: Any = 1, run: tuple[str, str | None] = ("auto", None), **options: Any
):
    """Solve with an engine and its method; that patients fail is no reason to warn here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", getattr(fastcart, "PatientsFailed", UserWarning))
        return fastcart.solve(model, patients, engine=run[0], method=run[1], **options)
