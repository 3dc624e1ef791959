"""What a trial needs of a model and its patients, looked for before anything is computed, all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fastcart.errors import InputError
from fastcart.patients import check_patients
from fastcart.population import Population
from fastcart.protocols.arms import product_cells
from fastcart.protocols.controlled import Controlled, actuators_of
from fastcart.protocols.controlled_arms import OpenLoop
from fastcart.trial.adapter import TrialAdapter
from fastcart.trial.counterfactual import interventions_of, switched_on
from fastcart.trial.spec import TrialSpec

_FEW = 3  # patients that functions of the user are asked about
_MOST_COLUMNS = 50


def check_needs(spec: TrialSpec) -> None:
    """Check that a model, its patients and the arms have what the trial needs.

    Patients that are drawn for the trial come with all of it; those of a folder are looked at.

    Raises
    ------
    InputError
        With all that is missing.
    """
    folder = spec.population.folder
    if folder is None or not Path(folder).is_dir():
        return
    lacking = list(dict.fromkeys(_lacking(spec, Population.load(folder).patients)))
    if len(lacking) == 1:
        raise InputError(f"{lacking[0]}.")
    if lacking:
        listed = "; ".join(f"({k}) {text}" for k, text in enumerate(lacking, start=1))
        raise InputError(f"The trial lacks {len(lacking)} things: {listed}.")


def _lacking(spec: TrialSpec, patients: pd.DataFrame) -> Iterator[str]:
    """Yield a sentence, without its full stop, for each thing that is missing."""
    model = spec.adapter.model
    if spec.options.extinction is not None and not any(state.extinction for state in model.states):
        yield (
            f"The model {model.name!r} has no state that may die out; mark those of the burden with "
            "extinction=True"
        )
    known = {*model.parameter_names, *model.state_names, "patient"}
    yield from _refused(check_patients, model, patients[[n for n in patients if n in known]])
    few = patients.head(_FEW)
    columns, other = _columns_missing(spec.adapter, few, spec.dose)
    if "fM" in model.parameter_names and "fM" not in patients and "fM" not in columns:
        columns.append("fM")  # the cells of a product that are infused are told by it
    if columns:
        yield (
            f"The patients in {spec.population.folder!r} need "
            f"{'a column' if len(columns) == 1 else 'columns'} {', '.join(map(repr, columns))}"
        )
    if other:
        yield other
    if columns or other:
        return
    cells = np.full(len(few), spec.dose)
    for arm in spec.arms:
        yield from _refused(product_cells, arm, few, spec.dose)
        yield from _refused(interventions_of, arm, few, spec.adapter, spec.horizon)
        yield from _refused(switched_on, arm, few, cells, spec.adapter)
        one = arm.of if isinstance(arm, OpenLoop) else arm
        if isinstance(one, Controlled):
            yield from _refused(actuators_of, one, spec.adapter)


def _columns_missing(adapter: TrialAdapter, few: pd.DataFrame, dose: float) -> tuple[list[str], str]:
    """Return the columns that engraftment reads and patients lack, and what else is wrong with it."""
    table = few.copy()
    missing: list[str] = []
    while len(missing) < _MOST_COLUMNS:
        try:
            adapter.engrafted(table, 1.0, 1.0, D=np.full(len(table), dose))
        except InputError as error:
            name = _name_of(error.__cause__)
            if name is None or name in table:
                return missing, str(error).rstrip(".")
            missing.append(name)
            table[name] = 0.5
        else:
            break
    return missing, ""


def _name_of(error: BaseException | None) -> str | None:
    """Return the column that a table lacks, where an error is about one."""
    if isinstance(error, KeyError) and error.args and isinstance(error.args[0], str):
        return error.args[0]
    if isinstance(error, AttributeError) and isinstance(error.obj, pd.DataFrame):
        return error.name
    return None


def _refused(ask: Callable[..., Any], *given: Any) -> list[str]:
    """Return the sentence with which something is refused, without its full stop."""
    try:
        ask(*given)
    except InputError as error:
        return [str(error).rstrip(".")]
    return []
