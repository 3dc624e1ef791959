"""Tables of doses with the columns of NONMEM, turned into fastcart's own.

Beal SL, Sheiner LB, Boeckmann AJ, Bauer RJ: NONMEM Users Guides, part VI (PREDPP), chapters II and III.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fastcart.checks import shown
from fastcart.errors import InputError, counted, nearest
from fastcart.patients import finite_numbers

if TYPE_CHECKING:
    from fastcart.model import Model
    from fastcart.solvers.system import System

_ITEMS = ("ID", "TIME", "AMT", "RATE", "DUR", "EVID", "CMT", "ADDL", "II", "SS", "MDV", "DV")
OBSERVATION, DOSE, OTHER, RESET, RESET_AND_DOSE = range(5)


def is_nonmem(frame: pd.DataFrame) -> bool:
    """Whether a table has the columns of NONMEM."""
    return "TIME" in frame.columns and "AMT" in frame.columns


def nonmem_doses(
    table: pd.DataFrame | Mapping[str, Any], model: Model | System, *, covariates: str = "forward",
    in_order: bool = True,
) -> pd.DataFrame:  # fmt: skip
    """Turn a table with NONMEM's columns into a table of doses.

    `fastcart.solve` does that by itself where a table has the columns ``TIME`` and ``AMT``. Columns are read
    as NONMEM reads them: ``ID``, ``TIME``, ``AMT``, ``RATE`` (-1 and -2: the parameters ``R1``, ``D1`` and so
    on, by compartment, are the rate or the duration), ``DUR`` (instead of ``RATE``), ``EVID`` (0
    observation, 1 dose, 2 other, 3 reset, 4 reset and dose; without it, rows with an amount are doses),
    ``CMT`` (the number or the name of a state; default 1, of which `fastcart.solve` warns where that is the
    burden), ``ADDL`` and ``II``, ``SS`` (1, or 2 to add),
    ``MDV``; ``DV`` is not looked at. Parameters of the model named ``ALAG1``, ``F1`` and so on are lag times
    and bioavailabilities. All other columns are parameters of the model that change in time. ``.`` and empty
    cells are nothing.

    Parameters
    ----------
    table : DataFrame or mapping
    model : Model
    covariates : {'forward', 'backward'}
        Whether the value of a parameter holds from its row on, or, as NONMEM itself has it, between the row
        before and its own.
    in_order : bool
        Whether times of a patient that fall are an error; else rows count in the order of their times.

    Returns
    -------
    DataFrame
        As `fastcart.solve` takes it, with times from 0 on.

    Raises
    ------
    InputError
        Naming column and row of the first cell that cannot be.

    Examples
    --------
    >>> from fastcart.models import get
    >>> rows = {"ID": [1, 1], "TIME": [0, 7], "AMT": [1e7, 1e6], "CMT": "TE", "ADDL": [0, 2], "II": [0, 7]}
    >>> nonmem_doses(rows, get("li_lei"))[["time", "state", "amount", "every", "repeats"]]
       time state      amount  every  repeats
    0   0.0    TE  10000000.0    0.0      0.0
    1   7.0    TE   1000000.0    7.0      2.0
    """
    frame = pd.DataFrame(table).reset_index(drop=True)
    if covariates not in ("forward", "backward"):
        raise InputError(f"Covariates are carried 'forward' or 'backward', not {shown(covariates)}.")
    changing = _check_columns(frame, model)
    time = _cells(frame, "TIME")
    _check_times(frame, time, in_order)
    amount, rate, duration = (_cells(frame, name) for name in ("AMT", "RATE", "DUR"))
    event = event_kinds(frame, amount, rate)
    dosed = np.isin(event, (DOSE, RESET_AND_DOSE))
    compartment = _compartments(frame, model, dosed)
    names = [state.name for state in model.states]
    doses = {
        "time": time,
        "state": [names[c] if d else None for c, d in zip(compartment, dosed, strict=True)],
        "amount": np.where(dosed, amount, 0.0),
        "duration": _modelled(duration, rate, -2.0, "D", compartment, model),
        "rate": _modelled(np.where(rate == -2.0, 0.0, rate), rate, -1.0, "R", compartment, model),
        "every": np.where(dosed, _cells(frame, "II"), 0.0),
        "repeats": np.where(dosed, _cells(frame, "ADDL"), 0.0),
        "steady": np.where(dosed, _cells(frame, "SS"), 0.0),
        "reset": (event >= RESET).astype(float),
        "lag": _reserved("ALAG", 0.0, compartment, model),
        "bioavailability": _reserved("F", 1.0, compartment, model),
    }
    if "ID" in frame:
        doses["patient"] = frame["ID"]
    for name in changing:
        doses[name] = _cells(frame, name, np.nan)
    result = pd.DataFrame(doses)
    if covariates == "backward" and changing:
        result = _carried_backward(result, changing)
    holds = result["state"].notna() | (result["reset"] > 0) | result[changing].notna().any(axis=1)
    return result[holds].reset_index(drop=True)


def note_on_compartments(table: pd.DataFrame, model: Model | System) -> str | None:
    """Return a sentence on doses that name no compartment, where they go into the tumor; else None.

    Such doses go into the first state, as in NONMEM. Where that is a depot they are meant to.
    """
    states = [state.name for state in model.states if not state.computed]
    if len(states) < 2 or states[0] != model.burden:
        return None
    frame = pd.DataFrame(table).reset_index(drop=True)
    amount, rate = _cells(frame, "AMT"), _cells(frame, "RATE")
    dosed = np.isin(event_kinds(frame, amount, rate), (DOSE, RESET_AND_DOSE))
    nameless = dosed & _nothing(frame["CMT"]) if "CMT" in frame else dosed
    if not nameless.any():
        return None
    where = "the cell CMT is empty" if "CMT" in frame else "the table has no column CMT"
    one = nameless.sum() == 1
    return (
        f"{counted(int(nameless.sum()), 'dose')} {'names' if one else 'name'} no compartment ({where}) and "
        f"{'goes' if one else 'go'} into the first state of model {model.name!r}, its burden {states[0]!r}; "
        "give the name or the number of a state as CMT."
    )


def _check_columns(frame: pd.DataFrame, model: Model | System) -> list[str]:
    parameters = list(model.parameter_names)
    known = [*_ITEMS, *parameters]
    for name in frame.columns:
        if name not in known:
            raise InputError(
                f"The column {shown(name)} of the table of doses is none of NONMEM's, and no parameter of "
                f"model {model.name!r}; drop it." + nearest(name, known)
            )
    for name in ("TIME", "AMT"):
        if name not in frame:
            raise InputError(f"The table of doses has no column {name!r}, which NONMEM's have.")
    if frame.empty:
        raise InputError("The table of doses is empty; give at least one row, or no table.")
    return [name for name in parameters if name in frame and name not in _ITEMS]


def _cells(frame: pd.DataFrame, name: str, default: float = 0.0) -> np.ndarray:
    """Return a column of numbers, the default for a dot, an empty cell and a column that is not there."""
    if name not in frame:
        return np.full(len(frame), default)
    nothing = _nothing(frame[name])
    filled = frame[name].astype(object).where(~nothing, 0.0)
    values = finite_numbers(filled, f"The column {name!r} of the doses holds", 0)
    return np.where(nothing, default, values)


def _nothing(column: pd.Series) -> np.ndarray:
    """Return which cells are empty or a dot."""
    return column.isna().to_numpy() | [isinstance(x, str) and x.strip() in ("", ".") for x in column]


def _check_times(frame: pd.DataFrame, time: np.ndarray, in_order: bool) -> None:
    negative = time < 0
    if negative.any():
        raise InputError(
            f"The column 'TIME' of the doses holds {time[negative][0]:g} in row "
            f"{int(np.argmax(negative)) + 1}; times count from 0, the start of the patient."
        )
    groups = [np.arange(len(time))] if in_order else []
    if "ID" in frame and in_order:
        groups = [np.asarray(rows) for rows in frame.groupby("ID", sort=False).indices.values()]
    for rows in groups:
        back = np.flatnonzero(np.diff(time[rows]) < 0)
        if back.size:
            raise InputError(
                f"The column 'TIME' of the doses goes back in row {rows[back[0] + 1] + 1}; times of a "
                "patient must not fall, also not after a reset."
            )


def event_kinds(frame: pd.DataFrame, amount: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """Return the kind of each row, from `OBSERVATION` to `RESET_AND_DOSE`, checked against what it holds.

    Raises
    ------
    InputError
        For another number, a dose without an amount, and an amount that is no dose.
    """
    gives = (amount != 0) | ((rate > 0) & (_cells(frame, "SS") > 0))
    if "EVID" not in frame:
        if "MDV" not in frame:
            return np.where(gives, DOSE, OBSERVATION)
        return np.where(_cells(frame, "MDV") == 0, OBSERVATION, np.where(gives, DOSE, OTHER))
    event = _cells(frame, "EVID")
    wrong = ~np.isin(event, range(5))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(
            f"The column 'EVID' of the doses holds {event[row]:g} in row {row + 1}; allowed is 0 "
            "observation, 1 dose, 2 other, 3 reset, 4 reset and dose."
        )
    dose = np.isin(event, (DOSE, RESET_AND_DOSE))
    wrong = dose != gives
    if wrong.any():
        row = int(np.argmax(wrong))
        holds = "an amount" if gives[row] else "no amount"
        raise InputError(
            f"Row {row + 1} of the doses has EVID {event[row]:g} and {holds}; change one of them."
        )
    return event.astype(np.int64)


def _compartments(frame: pd.DataFrame, model: Model | System, dosed: np.ndarray) -> np.ndarray:
    """Return the place of the state of each row, 0 where none is named."""
    names = [state.name for state in model.states if not state.computed]
    places = np.zeros(len(frame), dtype=np.int64)
    for row, cell in enumerate(frame.get("CMT", ())):
        if not dosed[row]:
            continue
        if isinstance(cell, str) and cell.strip() in names:
            places[row] = names.index(cell.strip())
            continue
        number = -1.0
        if not isinstance(cell, str) or _is_number(cell):
            number = float(_cells(frame.iloc[[row]], "CMT", 1.0)[0])
        if number not in range(1, len(names) + 1):
            raise InputError(
                f"The compartment {shown(cell)} of the dose in row {row + 1} is no state of model "
                f"{model.name!r}; give a number from 1 to {len(names)}, or a name." + nearest(cell, names)
            )
        places[row] = int(number) - 1
    return places


def _is_number(cell: str) -> bool:
    from fastcart.checks import number_in

    return cell.strip() in ("", ".") or number_in(cell) is not None


def _modelled(
    values: np.ndarray, rate: np.ndarray, code: float, letter: str, compartment: np.ndarray,
    model: Model | System,
) -> Any:  # fmt: skip
    """Return numbers, or the parameters that stand in their place where ``RATE`` holds the code."""
    wrong = (rate < 0) & ~np.isin(rate, (-1.0, -2.0))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(
            f"The column 'RATE' of the doses holds {rate[row]:g} in row {row + 1}; allowed is a rate from 0 "
            "on, -1 for a modelled rate, -2 for a modelled duration."
        )
    named = rate == code
    if not named.any():
        return np.where(rate == -1.0, 0.0, values) if letter == "D" else values
    cells = values.astype(object)
    for row in np.flatnonzero(named).tolist():
        name = f"{letter}{compartment[row] + 1}"
        if name not in model.parameter_names:
            raise InputError(
                f"RATE {code:g} in row {row + 1} of the doses asks for the parameter {name!r}, which model "
                f"{model.name!r} does not have; add it, or give a rate."
            )
        cells[row] = name
    return cells


def _reserved(letters: str, default: float, compartment: np.ndarray, model: Model | System) -> Any:
    """Return the parameter that NONMEM reserves for each compartment, or a number where there is none."""
    cells = [f"{letters}{c + 1}" for c in compartment]
    known = [cell in model.parameter_names for cell in cells]
    if not any(known):
        return np.full(len(cells), default)
    return [cell if has else default for cell, has in zip(cells, known, strict=True)]


def _carried_backward(doses: pd.DataFrame, changing: list[str]) -> pd.DataFrame:
    """Let the values of a row hold from the row before on; a dose has those of its own row."""
    nothing: dict[str, Any] = dict.fromkeys(doses.columns, 0.0) | {"state": None, "bioavailability": 1.0}
    groups = [doses] if "patient" not in doses else [x for _, x in doses.groupby("patient", sort=False)]
    parts = []
    for part in groups:
        values = part[changing].bfill().ffill()
        own = {"patient": part["patient"]} if "patient" in doses else {}
        begin = part.iloc[:1].assign(**nothing | {name: x.iloc[:1] for name, x in own.items()})
        behind = part.assign(**nothing | {"time": part["time"]} | own)
        begin[changing] = values.iloc[:1]
        behind[changing] = values.shift(-1)
        given = part.assign(**dict.fromkeys(changing, np.nan))
        both = pd.concat([given, behind[:-1]]).sort_index(kind="stable")  # a dose, then what changes there
        parts += [begin, both]
    return pd.concat(parts, ignore_index=True)
