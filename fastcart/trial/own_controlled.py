"""Controlled arms that a user writes into the specification of a trial, ``kind = "controlled"``."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from fastcart.checks import number, shown
from fastcart.errors import InputError
from fastcart.protocols import Assays, Controlled, Design, Infusion, Start
from fastcart.protocols.controlled import rehearse
from fastcart.specification import Table, from_file

WORDS = ("target", "actuator", "memory")
NUMBERS = ("cells", "rise", "burden_power", "factor", "il6_hold", "il6_guard", "predictor")
ASSAYS = tuple(field.name for field in fields(Assays))
STARTS = {"memory_day": "day", "memory_burden": "burden", "memory_earliest": "earliest"}


def controlled_arm(table: Table, name: str, folder: Path) -> Controlled:
    """Return the controlled arm of a table; a file of a rule is looked for in the folder.

    Raises
    ------
    InputError
        For anything unknown or impossible.
    """
    what = f"the arm {name!r}"
    title = table.text("title", name)
    rule = table.take("rule", None)
    options = _options(table, what)
    if rule is not None:
        arm = _with_rule(table, name, title, rule, folder, options)
    else:
        given: dict[str, Any] = {word: table.text(word, getattr(Design, word)) for word in WORDS}
        for key in NUMBERS:
            if (value := table.take(key, None)) is not None:
                given[key] = _number(value, f"The entry {key!r} of {what}")
        start = {
            entry: number(value, f"The entry {entry!r} of {what}")
            for entry in STARTS
            if (value := table.take(entry, None)) is not None
        }
        design = Design(**given, start=Start(**{STARTS[entry]: value for entry, value in start.items()}))
        _has_effect(design, {*given, *start}, what)
        arm = design.arm(name, title=design.words if title == name else title, **options)
    table.done()
    return arm


def _has_effect(design: Design, given: set[str], what: str) -> None:
    """Check that all entries that are given do something.

    Raises
    ------
    InputError
        For one that another entry makes idle.
    """
    for word, value, idle in (
        ("actuator", "none", {"cells", "rise", "burden_power", "predictor"}),
        ("memory", "first", {"factor", *STARTS}),
        ("memory", "last", {"factor"}),
    ):
        useless = sorted(idle & given)
        if getattr(design, word) == value and useless:
            raise InputError(
                f"The entry {useless[0]!r} of {what} does nothing where {word} = {value!r}; leave it out, or "
                f"choose another {word}."
            )


def _number(value: Any, what: str) -> float:
    """Return a number, which may be infinite."""
    return float("inf") if value == float("inf") else number(value, what)


def _options(table: Table, what: str) -> dict[str, Any]:
    """Return what of an arm is no design: visits, assays, lag, leak."""
    options: dict[str, Any] = {}
    visits = table.take("visits", None)
    if visits is not None:
        if not isinstance(visits, list) or not visits:
            raise InputError(f"The visits of {what} must be a list of days, not {shown(visits)}.")
        options["visits"] = tuple(visits)
    for key in ("lag", "leak"):
        value = table.take(key, None)
        if value is not None:
            options[key] = number(value, f"The entry {key!r} of {what}")
    measured = {key: table.take(key, None) for key in ASSAYS}
    chosen = {key: value for key, value in measured.items() if value is not None}
    return options | ({"assays": Assays(**chosen)} if chosen else {})


def _with_rule(
    table: Table, name: str, title: str, rule: Any, folder: Path, options: dict[str, Any]
) -> Controlled:
    """Return an arm with a rule of the user's: ``rule(history)`` returns a Command."""
    if not isinstance(rule, str) or ":" not in rule:
        raise InputError(
            f"The rule of the controlled arm {name!r} must be 'FILE.py:FUNCTION', not {shown(rule)}."
        )
    file, _, function = rule.partition(":")
    switch = table.text("switch", "fraction")
    arm = Controlled(
        name=name, title=title, rule=from_file(folder / file, function, f"The rule of the arm {name!r}"),
        infusions=(Infusion(0, 1, 1),), switch=switch, **options,
    )  # fmt: skip
    rehearse(arm)  # before anything is computed
    return arm
