"""What a trial needs of a model and its patients, looked for before anything is computed, all at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fastcart.errors import InputError
from fastcart.model import Model
from fastcart.options import SolveOptions
from fastcart.patients import check_patients
from fastcart.population import Population
from fastcart.protocols.arms import Arm, product_cells
from fastcart.protocols.controlled import Controlled, actuators_of
from fastcart.protocols.controlled_arms import OpenLoop
from fastcart.trial.adapter import TrialAdapter
from fastcart.trial.counterfactual import interventions_of, switched_on

_FEW = 3  # patients that functions of the user are asked about
_MOST_COLUMNS = 50


def check_needs(
    adapter: TrialAdapter, arms: Sequence[Arm], *, folder: str | None, dose: float, options: SolveOptions
) -> None:
    """Check that a model, its patients and the arms have what a trial needs.

    Patients that are drawn for the trial come with all of it; those of a folder are looked at.

    Parameters
    ----------
    adapter : TrialAdapter
    arms : sequence of Arm
    folder : str, optional
        Of a population; nothing is checked without one, or where it is not there.
    dose : float
        Total cells of a product.
    options : SolveOptions
        How the trial is solved.

    Raises
    ------
    InputError
        With all that is missing.
    """
    if folder is None or not Path(folder).is_dir():
        return
    model, patients = adapter.model, Population.load(folder).patients
    lacking = _of_the_model(model, patients, options)
    few = patients.head(_FEW)
    columns, other = _columns_missing(adapter, few, dose)
    if "fM" in model.parameter_names and "fM" not in patients and "fM" not in columns:
        columns.append("fM")  # the cells of a product that are infused are told by it
    if columns:
        what = "a column" if len(columns) == 1 else "columns"
        lacking.append(f"The patients in {folder!r} need {what} {', '.join(map(repr, columns))}")
    lacking += [other] if other else _of_the_arms(adapter, arms, few, dose, options) if not columns else []
    lacking = list(dict.fromkeys(lacking))
    if len(lacking) == 1:
        raise InputError(f"{lacking[0]}.")
    if lacking:
        listed = "; ".join(f"({k}) {text}" for k, text in enumerate(lacking, start=1))
        raise InputError(f"The trial lacks {len(lacking)} things: {listed}.")


def _of_the_model(model: Model, patients: pd.DataFrame, options: SolveOptions) -> list[str]:
    """Return what a model lacks and what of the patients does not fit it, sentences without full stops."""
    known = {*model.parameter_names, *model.state_names, "patient"}
    lacking = _refused(check_patients, model, patients[[name for name in patients if name in known]])
    if options.extinction is not None and not any(state.extinction for state in model.states):
        lacking.append(
            f"The model {model.name!r} has no state that may die out; mark those of the burden with "
            "extinction=True"
        )
    return lacking


def _of_the_arms(
    adapter: TrialAdapter, arms: Sequence[Arm], few: pd.DataFrame, dose: float, options: SolveOptions
) -> list[str]:
    """Return what arms need that the model or the patients have not."""
    lacking, cells = [], np.full(len(few), dose)
    for arm in arms:
        lacking += _refused(product_cells, arm, few, dose)
        lacking += _refused(interventions_of, arm, few, adapter, options.horizon(adapter.model))
        lacking += _refused(switched_on, arm, few, cells, adapter)
        one = arm.of if isinstance(arm, OpenLoop) else arm
        if isinstance(one, Controlled):
            lacking += _refused(actuators_of, one, adapter)
    return lacking


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
