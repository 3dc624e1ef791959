"""Methods as the loop of the lane engine takes them: a tableau, and what makes a step of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from fastcart.solvers import tableaus
from fastcart.solvers.lanes import step_explicit as explicit
from fastcart.solvers.lanes import step_rosenbrock as rosenbrock
from fastcart.solvers.lanes import step_traced as traced
from fastcart.solvers.lanes.dense_output import MAX_DEGREE
from fastcart.solvers.system import System
from fastcart.solvers.tableaus.base import ExplicitTableau

METHODS = tableaus.NAMES
DEFAULT_METHOD = "tsit5"
STIFF_METHOD = "rodas5p"

_TIGHT = 5e-6  # from this rtol down the method of order 7 does better than that of order 5
# Factors of safety of the step size; of steps of the stiff method few are taken back with either
_SAFETY, _SAFETY_STIFF = 0.85, 0.9


def default_method(model: System, rtol: float) -> str:
    """Return the explicit method that a model names, else the one that is fastest at a tolerance."""
    # dop853 needs a little less work for the same error at the ends of steps, but vern7 has the better
    # interpolant: in a population, the largest errors of crossings are ten times smaller
    return model.method or ("vern7" if rtol <= _TIGHT else "tsit5")


@dataclass(frozen=True)
class Method:
    """What the loop needs to know of a method."""

    step: Callable[..., Any]  # of states, parameters, integrals, and which states may not be negative
    blocks: int  # blocks of states among the stages, extra ones left out
    controller: np.ndarray  # its exponents and its factor of safety
    dense: np.ndarray  # with columns of zeros up to `MAX_DEGREE`
    degree: int
    scaled_by_step: bool
    extra: tuple[np.ndarray, np.ndarray, np.ndarray]  # see `fastcart.solvers.lanes.records.Scheme`
    calls_per_step: Callable[[int], int]
    work: Callable[[int], int]
    whole: WholeStep | None = None


@dataclass(frozen=True)
class WholeStep:
    """A method whose step can be code of one model."""

    step: Callable[..., Any]  # of the same sizes: what is around that code
    core: Callable[[System, tuple[bool, ...], bool, int], traced.Core]
    calls_per_step: int


@cache
def get_method(name: str) -> Method:
    """Return the method of that name, as the loop takes it."""
    tableau = tableaus.get(name)
    # Exponents for the square of the error norm. A little PI control (Hairer & Wanner IV.2) keeps steps
    # smooth where stability limits them; more of it takes more steps for the same error of these models.
    order = tableau.error_order + 1
    gains = (tableau.gains if isinstance(tableau, ExplicitTableau) else None) or (1.0, 0.1)
    safety = _SAFETY if isinstance(tableau, ExplicitTableau) else _SAFETY_STIFF
    controller = np.array([*(np.array(gains) / order / 2), safety])
    none = (np.empty(0), np.empty((0, 0)), np.empty((0, 0), dtype=np.int64))
    if isinstance(tableau, ExplicitTableau):
        table, stages = tableau, len(tableau.c)
        extra = none
        if table.extra_c is not None and table.extra_A is not None:
            extra = (table.extra_c.copy(), *_in_fours(table.extra_A))
        return Method(
            cache(lambda *sizes: explicit.step_function(table, *sizes)), stages, controller,
            _widened(table.dense), table.dense.shape[1], True, extra,
            lambda n: stages - 1 + (table.extra_stages + 1 if table.held else 0), lambda n: 0,
        )  # fmt: skip
    stiff = tableau
    return Method(
        cache(lambda *sizes: rosenbrock.step_function(stiff, *sizes)), rosenbrock.stage_rows(stiff),
        controller, _widened(rosenbrock.dense_weights(stiff)), stiff.dense.shape[1], False, none,
        lambda n: len(stiff.c) + n + 3, rosenbrock.work_size,
        WholeStep(
            cache(lambda *sizes: traced.step_function(stiff, *sizes)),
            lambda *asked: traced.step_core(stiff, *asked), len(stiff.c) + 1,
        ),
    )  # fmt: skip


def _in_fours(A: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each row the weights that are not zero, four by four, and whose they are.

    The last four are filled up by the first stage of the row with the weight 0.
    """
    width = 4 * -(-np.count_nonzero(A, axis=1).max() // 4)
    weights, used = np.zeros((len(A), width)), np.full((len(A), width), -1, dtype=np.int64)
    for x, row in enumerate(A):
        which = np.flatnonzero(row)
        weights[x, : len(which)] = row[which]
        used[x, : 4 * -(-len(which) // 4)] = which[0]
        used[x, : len(which)] = which
    return weights, used


def _widened(dense: np.ndarray) -> np.ndarray:
    return np.hstack([dense, np.zeros((len(dense), MAX_DEGREE - dense.shape[1]))])
