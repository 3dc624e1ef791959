"""Arguments that several commands share, and how texts of the command line become values."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from fastcart.checks import number_in
from fastcart.errors import InputError
from fastcart.events import Event
from fastcart.options import SolveOptions

MODEL = "a name from 'fastcart models', an SBML file (.xml, .sbml), FILE.py, or FILE.py:NAME of several"


def packages_for(*files: Path | None) -> list[str]:
    """Return the packages that reading and writing these files needs, by their endings."""
    endings = {file.suffix.lower() for file in files if file is not None}
    return [package for ending, package in _PACKAGES.items() if ending in endings]


_PACKAGES = {".parquet": "pyarrow", ".xlsx": "openpyxl"}


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--option NAME=VALUE``."""
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a named option of the model, e.g. killing=free (may be repeated)",
    )


def model_options(texts: Sequence[str]) -> dict[str, str]:
    """Parse ``NAME=VALUE`` texts."""
    options = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"A model option must be given as NAME=VALUE, not {text!r}.")
        options[name] = value
    return options


def numbers(text: str, what: str) -> list[float]:
    """Parse a list of numbers separated by commas."""
    found = [number_in(part) for part in text.split(",")]
    if None in found:
        raise InputError(f"{what} must be numbers separated by commas, not {text!r}.")
    return [number for number in found if number is not None]


def breaks(text: str) -> list[float | str]:
    """Parse times, and names of what holds times, separated by commas."""
    found = [(number_in(part), part.strip()) for part in text.split(",")]
    return [name if time is None else time for time, name in found]


def strict_float(text: str) -> float:
    """Return the number that a text holds.

    Raises
    ------
    ValueError
        Where it holds none, as in tables: ``1_0`` is none.
    """
    found = number_in(text)
    if found is None:
        raise ValueError(f"{text!r} is no number")
    return found


def add_specification(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the file of a specification and ``--out``, which both are needed unless ``--init`` is given.

    ``what`` is in the file. The command itself may ask for them by other words, see `is_begun`.
    """
    parser.set_defaults(needed_without_init={"SPEC.toml": "spec", "--out": "out"})
    parser.add_argument(
        "spec", nargs="?", type=Path, metavar="SPEC.toml", help=f"{what}; --init writes one with comments"
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="for all that is written")
    parser.add_argument(
        "--init", type=Path, metavar="FILE", help="write a specification with comments, and do nothing else"
    )


def is_begun(options: argparse.Namespace, what: str, template: str) -> bool:
    """Write a specification where ``--init`` asks for one, and return whether that was all.

    Parameters
    ----------
    options : Namespace
        With what `add_specification` adds.
    what : str
        For the error, e.g. ``"A scan"``.
    template : str
        The module whose ``TEMPLATE`` it is.

    Raises
    ------
    InputError
        Where neither that nor a specification and a folder were given.
    """
    if options.init is not None:
        from importlib import import_module

        from fastcart.specification import write_new

        print(f"Specification: {write_new(options.init, import_module(template).TEMPLATE)}")
        return True
    if options.spec is None or options.out is None:
        raise InputError(f"{what} needs its specification and --out FOLDER; --init FILE writes one.")
    return False


def real_number(text: str) -> float:
    """Parse one number, as argparse's ``type``: as in tables, ``1_0`` is none."""
    try:
        return strict_float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def whole_number(text: str) -> int:
    """Parse a whole number, as argparse's ``type``: ``1_0`` is none."""
    digits = text.strip().removeprefix("-").removeprefix("+")
    if not (digits.isascii() and digits.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    return int(text)


def threshold(text: str) -> float | None:
    """Parse the number of cells of ``--extinction``; None for off."""
    if text == "off":
        return None
    found = number_in(text)
    if found is None:
        raise InputError(f"--extinction must be 'off' or a number of cells, not {text!r}.")
    return found


def event(text: str) -> Event:
    """Parse ``NAME:OF:THRESHOLD[:DIRECTION[:stop]]``."""
    parts = text.split(":")
    if not 3 <= len(parts) <= 5 or (len(parts) == 5 and parts[4] != "stop"):
        raise InputError(
            "An event must be given as NAME:OF:THRESHOLD, then perhaps :up, :down or :both, then perhaps "
            f":stop, not {text!r}."
        )
    name, of, level = parts[:3]
    found = number_in(level)
    at = level if found is None else found  # or the name of a parameter or column
    direction: Any = parts[3] if len(parts) > 3 else "both"
    return Event(name, of, at, direction, terminal=len(parts) == 5)


# how the text of an option of the solver becomes its value, by kind; argparse itself reads numbers
_READ: dict[str, Callable[[Any], Any]] = {
    "names": lambda text: text.split(","),
    "times": breaks,
    "cells": threshold,
    "events": lambda texts: [event(text) for text in texts],
}
_TYPES = {"number": real_number, "whole": whole_number}


def add_solver_options(
    parser: argparse.ArgumentParser, *, method: str = "--method", without: Sequence[str] = ()
) -> None:
    """Add a flag for each of `fastcart.SolveOptions`; the flag ``method`` where the command has another."""
    group = parser.add_argument_group("solving")
    for option in fields(SolveOptions):
        if option.name in without:
            continue
        about = option.metadata
        flag = about["flag"] or (method if option.name == "method" else f"--{option.name.replace('_', '-')}")
        given: dict[str, Any] = {"action": "append"} if about["kind"] == "events" else {}
        if about["kind"] in _TYPES:
            given["type"] = _TYPES[about["kind"]]
        group.add_argument(
            flag, dest=_PREFIX + option.name, default=argparse.SUPPRESS, metavar=about["metavar"],
            help=about["help"], **given,
        )  # fmt: skip


_PREFIX = "solve_"


def solver_options(namespace: argparse.Namespace) -> dict[str, Any]:
    """Return those options of the solver that were given, as keywords of `fastcart.SolveOptions`."""
    given = {}
    for option in fields(SolveOptions):
        value = getattr(namespace, _PREFIX + option.name, None)
        if value is not None:
            given[option.name] = _READ.get(option.metadata["kind"], _same)(value)
    return given


def _same(value: Any) -> Any:
    return value
