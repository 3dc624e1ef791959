"""Arms that a user writes into the specification of a trial: calendars, rules, control."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from fastcart.checks import number, reason, shown
from fastcart.errors import InputError, nearest
from fastcart.protocols import (
    Adaptive,
    Arm,
    Calendar,
    Controlled,
    Infusion,
    Lymphodepletion,
    OpenLoop,
    hold_if_crs,
    lhm_rule,
)
from fastcart.protocols.arms import check_fractions
from fastcart.specification import Table, from_file
from fastcart.trial.own_controlled import controlled_arm

KINDS = {
    "calendar": "infusions on fixed days",
    "rule": "infusions that follow a rule at visits",
    "controlled": "active cells held near a target by what is measured",
    "open-loop": "the mean activity of a controlled arm, the same for everybody",
}


def own_arms(tables: list[Table], folder: Path) -> dict[str, Arm]:
    """Return the arms of tables by name; an open loop may name a controlled arm before or after it.

    Raises
    ------
    InputError
        For anything unknown or impossible.
    """
    found: dict[str, Arm] = {}
    later = [table for table in tables if table.peek("kind") == "open-loop"]
    for table in (*(table for table in tables if table not in later), *later):
        arm = own_arm(table, folder, {name: a for name, a in found.items() if isinstance(a, Controlled)})
        if arm.name in found:
            raise InputError(f"The arm {arm.name!r} is given twice; each arm needs its own name.")
        found[arm.name] = arm
    return found


def own_arm(table: Table, folder: Path, controlled: Mapping[str, Controlled] | None = None) -> Arm:
    """Return the arm of a table ``[[arm]]``; files of rules are looked for in the folder.

    Raises
    ------
    InputError
        For anything unknown or impossible.
    """
    name = table.text("name", "")
    if not re.fullmatch(r"[A-Za-z0-9_.+-]{1,40}", name):  # it names files, too
        raise InputError(f"The name of an arm may have letters, digits and _.+-, but {name!r} does not fit.")
    what = f"the arm {name!r}"
    kind = table.take("kind", None)
    if kind is not None and (not isinstance(kind, str) or kind not in KINDS):
        raise InputError(f"There is no kind {shown(kind)} of arms for {what}." + nearest(str(kind), KINDS))
    if kind == "controlled":
        return controlled_arm(table, name, folder)
    title = table.text("title", name)
    if kind == "open-loop":
        return _open_loop(table, name, title, controlled or {})
    equal = table.flag("equal_budget", True)
    rule = table.take("rule", None)
    arm: Arm
    if rule is None:
        infusions = tuple(_infusion(entry, what) for entry in _listed(table, "infusions", what))
        events = tuple(
            Lymphodepletion(**_entries(entry, {"day": None, "phi": 1.0}, f"A lymphodepletion of {what}"))
            for entry in _listed(table, "lymphodepletions", what)
        )
        if equal and infusions:
            check_fractions(infusions, name, unequal="equal_budget = false")
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


def _open_loop(table: Table, name: str, title: str, controlled: Mapping[str, Controlled]) -> OpenLoop:
    """Return the open loop of a controlled arm."""
    of = table.text("of", "")
    table.done()
    if of not in controlled:
        known = f" Controlled ones: {', '.join(controlled)}." if controlled else ""
        raise InputError(f"The open loop {name!r} must name a controlled arm in 'of', not {of!r}." + known)
    return OpenLoop.after(controlled[of], name, "" if title == name else title)


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
