"""What sliders an arm of a trial has, and the specification that they stand for."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any

from fastcart.checks import number, shown
from fastcart.errors import InputError, nearest
from fastcart.protocols import Adaptive, Arm, Assays, Controlled
from fastcart.protocols.controlled_arms import CELLS, FACTOR
from fastcart.protocols.controllers import TARGETS

_WEEKLY = range(35, 120, 7)  # visits behind day 28
_CLOSE = 28


@dataclass(frozen=True)
class Field:
    """A slider of an arm.

    Parameters
    ----------
    name : str
        ``dose`` and ``assay_sd`` as of the trial, ``every`` for visits, others as in ``[[arms]]``.
    label, unit : str
    low, high : float
        Ends of the slider, which is logarithmic for ``log``.
    value : float
        In the specification.
    """

    name: str
    label: str
    unit: str
    low: float
    high: float
    value: float
    log: bool = False


def fields_of(arm: Arm, entry: Mapping[str, Any], *, dose: float, assay_sd: float) -> list[Field]:
    """Return the sliders of an arm; ``entry`` is its table of the specification, empty for a named one."""
    found = [Field("dose", "cells of a product", "cells", 1e5, 1e10, dose, log=True)]
    if isinstance(arm, Adaptive):
        found.append(_sd("assay_sd", "error of the measured burden", assay_sd))
    if not isinstance(arm, Controlled):
        return found
    if "rule" not in entry:
        found += _of_design(entry)
    usual = {x: entry.get(x, getattr(Assays, x)) for x in ("cells_sd", "burden_sd", "il6_sd", "delay")}
    found += [
        _sd("cells_sd", "error of measured CAR-T cells", usual["cells_sd"]),
        _sd("burden_sd", "error of the measured burden", usual["burden_sd"]),
        _sd("il6_sd", "error of measured IL-6", usual["il6_sd"]),
        Field("delay", "until a result is known", "days", 0, 14, usual["delay"]),
    ]
    if "visits" not in entry:
        found.append(Field("every", "between visits, up to day 28", "days", 1, 14, 1))
    return found


def _sd(name: str, label: str, value: float) -> Field:
    return Field(name, label, "of the logarithm", 0, 1.5, value)


def _of_design(entry: Mapping[str, Any]) -> list[Field]:
    """Return the sliders of a controlled arm by words."""
    found = []
    if entry.get("actuator") != "none":
        rise, power = TARGETS[entry.get("target", "RISE_T")]
        cells = float(entry.get("cells", CELLS))
        if math.isfinite(cells):
            found.append(Field("cells", "target: active cells on day 0", "cells", 1e7, 1e12, cells, log=True))
        found += [
            Field("rise", "rise of the target", "1/day", -0.2, 0.5, float(entry.get("rise", rise))),
            Field(
                "burden_power",
                "power of the fallen burden",
                "",
                -1,
                1,
                float(entry.get("burden_power", power)),
            ),
        ]
    if entry.get("memory") in ("promote", "extra"):
        found.append(Field("factor", "promotion, or products of extra memory cells", "times", 0.1, 100,
                           float(entry.get("factor", FACTOR)), log=True))  # fmt: skip
    if math.isfinite(hold := float(entry.get("il6_hold", math.inf))):
        found.append(
            Field("il6_hold", "IL-6 above which the cells are off", "pg/mL", 30, 1e4, hold, log=True)
        )
    return found


def as_json(fields: list[Field]) -> list[dict[str, Any]]:
    """Return sliders in the types of JSON."""
    return [asdict(field) for field in fields]


def entries_of(raw: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the tables of own arms by name; those of the specification itself, to be changed in place."""
    tables = [entry for key in ("arm", "arms") for entry in raw.get(key, []) if isinstance(entry, dict)]
    return {str(entry.get("name")): entry for entry in tables if set(entry) != {"name"}}


def changed(
    raw: Mapping[str, Any], given: Mapping[str, Mapping[str, float]], known: Mapping[str, list[Field]]
) -> dict[str, Any]:
    """Return the specification with sliders where they were moved; dose and assay_sd are left to the solver.

    Raises
    ------
    InputError
        For an arm or a slider that is not there.
    """
    made = deepcopy(dict(raw))
    entries = entries_of(made)
    for name, values in given.items():
        if name not in known:
            raise InputError(f"There is no arm {shown(name)} in the trial." + nearest(name, known))
        fields = {field.name: field for field in known[name]}
        for key, value in values.items():
            if key not in fields:
                raise InputError(f"The arm {name!r} has no slider {shown(key)}." + nearest(key, fields))
            found = number(value, f"The {key} of the arm {name!r}")
            if key in ("dose", "assay_sd") or found == fields[key].value:
                continue
            if key == "every":
                entries[name]["visits"] = visits_every(found)
            else:
                entries[name][key] = found
    return made


def visits_every(days: float) -> list[float]:
    """Return visits in such intervals up to day 28, and weekly ones behind."""
    if not 0.5 <= days <= _CLOSE:
        raise InputError(f"Visits must be 0.5 to {_CLOSE} days apart, not {days:g}.")
    close = [k * days for k in range(1, int(_CLOSE / days + 1e-9) + 1)]
    return [*close, *(float(day) for day in _WEEKLY)]


def as_toml(raw: Mapping[str, Any]) -> str:
    """Return a specification as TOML: entries, then tables, then lists of tables."""
    plain, tables, lists = [], [], []
    for key, value in raw.items():
        if isinstance(value, Mapping):
            tables += ["", f"[{key}]", *(f"{_key(k)} = {_inline(v)}" for k, v in value.items())]
        elif isinstance(value, list) and any(isinstance(entry, Mapping) for entry in value):
            for entry in value:
                table = entry if isinstance(entry, Mapping) else {"name": entry}
                lists += ["", f"[[{key}]]", *(f"{_key(k)} = {_inline(v)}" for k, v in table.items())]
        else:
            plain.append(f"{_key(key)} = {_inline(value)}")
    return "\n".join([*plain, *tables, *lists]) + "\n"


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else json.dumps(name)


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(k)} = {_inline(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return repr(value) if type(value) in (int, float) else json.dumps(value)
