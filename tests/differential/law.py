"""Laws: properties that hold for whatever is drawn. Each is a test, and a part of the long run `fuzz.py`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
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

# By default the laws of a file are tried with `ALWAYS` and with these; with all others they are slow tests.
# The methods left out differ by their numbers alone, but each is compiled for each count of states; LSODA is
# compiled for each model and for whatever is watched; SciPy takes its steps in Python.
ALWAYS = ("auto", "rodas5p")
FURTHER = {
    "test_batches": ("vern7", "lsoda"), "test_doses": ("tsit5", "scipy"),
    "test_endpoints": ("lsoda", "scipy"),
    "test_network": ("tsit5", "lsoda"), "test_quantities": ("dop853", "lsoda"),
    "test_refusals": ("dop853", "lsoda"), "test_structure": ("tsit5", "lsoda"),
    "test_switches": ("vern7", "scipy"), "test_turning": ("stab5", "lsoda"),
}  # fmt: skip

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


def each_of(runs: list[tuple[str, str | None]], module: str) -> Callable:
    """Parametrize a test of a module by ``run``; see `FURTHER` for which of them are slow tests."""
    kept = (*ALWAYS, *FURTHER[module.rpartition(".")[2]])
    named = [(method or engine, (engine, method)) for engine, method in runs]
    return pytest.mark.parametrize(
        "run",
        [pytest.param(run, id=name, marks=() if name in kept else pytest.mark.slow) for name, run in named],
    )


def law(
    examples: int, *, run: list | None = None, shrink: bool = True, turn: int = 30, scipy: int | None = None,
    **drawn: st.SearchStrategy,
) -> Callable:  # fmt: skip
    """Make a test of a property: so many examples, always the same ones, for each engine in ``run``.

    Those that are not in `ALWAYS` or `FURTHER` are slow tests.

    ``scipy`` is for how many of them SciPy gets, where it takes seconds for each, step by step in Python.
    Without ``shrink`` a test that fails shows the example as it was drawn, which saves minutes.
    """

    def decorate(body: Callable[..., None]) -> Callable[..., None]:
        everything = {**drawn, "run": st.sampled_from(run)} if run else drawn
        LAWS.append(Law(body.__name__.removeprefix("test_"), body, everything, run or [], turn))

        def fixed(count: int) -> Callable[..., None]:
            chosen = settings(
                max_examples=count,
                derandomize=True,
                deadline=None,
                phases=[*PHASES, Phase.shrink] if shrink else PHASES,
                suppress_health_check=CHECKS,
            )
            return chosen(given(**drawn)(body))

        test = fixed(examples)
        if run:
            fewer = fixed(scipy or examples)

            @each_of(run, body.__module__)
            @wraps(body, assigned=("__module__", "__name__", "__qualname__", "__doc__"))
            def each(run: tuple[str, str | None]) -> None:
                (fewer if run[0] == "scipy" else test)(run=run)

            del each.__wrapped__  # pytest would ask for what is drawn
            return each
        return test

    return decorate


def solve(
    model: str | Model, patients: Any = 1, run: tuple[str, str | None] = ("auto", None), **options: Any
):
    """Solve with an engine and its method; that patients fail is no reason to warn here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", getattr(fastcart, "PatientsFailed", UserWarning))
        return fastcart.solve(model, patients, engine=run[0], method=run[1], **options)
