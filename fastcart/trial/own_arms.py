"""Arms that a user writes into the specification of a trial: calendars, and rules from files of Python."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from fastcart.checks import number, reason, shown
from fastcart.errors import InputError, nearest
from fastcart.protocols import Adaptive, Arm, Calendar, Infusion, Lymphodepletion, hold_if_crs, lhm_rule
from fastcart.specification import Table, from_file


def own_arm(table: Table, folder: Path) -> Arm:
    """Return the arm of a table ``[[arm]]``; files of rules are looked for in the folder.

    Raises
    ------
    InputError
        For anything unknown or impossible.
    """
    name = table.text("name", "")
    if not re.fullmatch(r"[A-Za-z0-9_.+-]{1,40}", name):  # it names files, too
        raise InputError(f"The name of an arm may have letters, digits and _.+-, but {name!r} does not fit.")
    title = table.text("title", name)
    equal = table.flag("equal_budget", True)
    what = f"the arm {name!r}"
    rule = table.take("rule", None)
    arm: Arm
    if rule is None:
        infusions = tuple(_infusion(entry, what) for entry in _listed(table, "infusions", what))
        events = tuple(
            Lymphodepletion(**_entries(entry, {"day": None, "phi": 1.0}, f"A lymphodepletion of {what}"))
            for entry in _listed(table, "lymphodepletions", what)
        )
        arm = Calendar(
            name=name, title=title, equal_budget=equal, infusions=infusions, lymphodepletions=events
        )
    else:
        start = _entries(table.take("start", {}), {"effectors": 0.0, "memory": 0.0}, f"The start of {what}")
        visits = table.take("visits", [])
        if not isinstance(visits, list) or not visits:
            raise InputError(f"The visits of {what} must be a list of days, not {shown(visits)}.")
        arm = Adaptive(
            name=name,
            title=title,
            equal_budget=equal,
            start=Infusion(0, **start),
            visits=tuple(visits),
            rule=_rule(rule, table.take("rule_options", {}), what, folder),
            complete=table.flag("complete", False),
        )
    table.done()
    return arm


def _listed(table: Table, name: str, what: str) -> list[Any]:
    value = table.take(name, [])
    if not isinstance(value, list):
        raise InputError(f"The {name} of {what} must be a list, not {shown(value)}.")
    return value


def _infusion(entry: Any, what: str) -> Infusion:
    values = _entries(entry, {"day": None, "effectors": 0.0, "memory": 0.0}, f"An infusion of {what}")
    return Infusion(**values)


def _entries(entry: Any, defaults: Mapping[str, float | None], what: str) -> dict[str, float]:
    """Return numbers by name; a fraction may be written as text, e.g. ``"1/3"``."""
    if not isinstance(entry, Mapping):
        raise InputError(f"{what} must be a table such as {{day = 0}}, not {shown(entry)}.")
    for name in entry:
        if name not in defaults:
            raise InputError(f"{what} has no entry {name!r}." + nearest(name, defaults))
    values = {}
    for name, default in defaults.items():
        given = entry.get(name, default)
        if given is None:
            raise InputError(f"{what} needs an entry {name!r}.")
        if isinstance(given, str):
            try:
                given = float(Fraction(given))
            except (ValueError, ArithmeticError):  # "1/0", or too many digits
                raise InputError(
                    f"{what} must give {name!r} as a number or as '1/3', not {given!r}."
                ) from None
        values[name] = number(given, f"{what}: {name!r}")
    return values


def _rule(rule: Any, options: Any, what: str, folder: Path) -> Callable:
    if not isinstance(rule, str):
        raise InputError(f"The rule of {what} must be 'lhm' or 'FILE.py:FUNCTION', not {shown(rule)}.")
    file, colon, name = rule.partition(":")
    if not colon:
        makers: dict[str, Callable] = {"lhm": lhm_rule, "hold": hold_if_crs}
        if rule not in makers:
            raise InputError(f"There is no rule {rule!r} for {what}." + nearest(rule, makers))
        try:
            if rule == "hold":
                fractions = {float(day): float(Fraction(f)) for day, f in options["fractions"].items()}
                return hold_if_crs(fractions, float(options.get("threshold", 400.0)))
            given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
            return lhm_rule(**given)
        except (TypeError, KeyError, ValueError, AttributeError, ArithmeticError) as error:
            raise InputError(f"The rule_options of {what} do not fit {rule!r}: {reason(error)}.") from None
    return from_file(folder / file, name, f"The rule of {what}")
