"""A chunk of patients and what they are given: plans are made out, steady states found, engines called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fastcart.engines import compiling_errors, module_of
from fastcart.errors import InputError
from fastcart.model import computed_default
from fastcart.patients import PatientTable, allowed_range
from fastcart.regimens import Regimen
from fastcart.solvers.doses import DosePlan
from fastcart.solvers.problem import Problem
from fastcart.solvers.reading import uses_time
from fastcart.solvers.steady import Repeated, steady_states


@dataclass(frozen=True)
class Chunk:
    """Some patients of a table, with their initial values and parameters, which doses at time 0 change."""

    table: PatientTable
    start: int
    stop: int
    y0: np.ndarray
    p: np.ndarray

    def computed(self, values: dict[str, np.ndarray], rows: int) -> Mapping[str, np.ndarray]:
        """Return the defaults that follow from other columns, for so many rows of values."""
        model, found = self.table.model, {}
        items = [x for x in model.items if callable(x.default) and x.name not in self.table.columns]
        for item in items:
            del values[item.name]
        for item in items:
            values[item.name] = found[item.name] = computed_default(model, item, values, (rows,))
        return found


def plan_of(
    problem: Problem, engine: str, chunk: Chunk, doses: DosePlan | Regimen, threads: int
) -> tuple[DosePlan | None, np.ndarray | None]:
    """Return what the patients of a chunk are given, and who of them has no steady state.

    What a parameter that is switched at time 0 makes of the chunk is put into its arrays.
    """
    if isinstance(doses, DosePlan):
        return doses, None
    check_switches(doses, chunk.table, problem)

    def steady(repeated: Repeated) -> tuple[np.ndarray, np.ndarray]:
        if uses_time(problem.model.rhs):
            raise InputError(
                f"The right-hand side of model {problem.model.name!r} depends on time, so it has no "
                "steady state; give the doses before one by one."
            )
        return steady_states(problem, module_of(engine).solve_chunk, repeated, threads)

    with compiling_errors(problem.model):
        return doses.plan(chunk.y0, chunk.p, chunk.computed, steady)


def check_switches(regimen: Regimen, table: PatientTable, problem: Problem) -> None:
    """Check the values that parameters get, and that none is a time or a level that is taken at the start."""
    records, model = regimen.records, table.model
    for values, k in zip(records.values.T, records.switched, strict=True):
        parameter = model.parameters[k]
        low, high = allowed_range(parameter)
        wrong = (values < low) | (values > high)
        if wrong.any():
            raise InputError(
                f"The parameter {parameter.name!r} is switched to {values[wrong][0]:g}; allowed is from "
                f"{low:g} to {high:g}."
            )
    fixed = {
        x for x in (*problem.breaks, *(event.threshold for event in problem.events)) if isinstance(x, str)
    }
    computed = {x.name for x in model.parameters if callable(x.default) and x.name not in table.columns}
    switched = {model.parameters[k].name for k in records.switched}
    for name in fixed & (switched | (computed if switched else set())):
        raise InputError(
            f"The parameter {name!r} is a threshold of an event or a break, which cannot switch; give that "
            "one a column of its own."
        )
