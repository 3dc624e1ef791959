"""What the published models share: tables of parameters, and the check of a named option."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fastcart.checks import shown
from fastcart.errors import InputError, nearest
from fastcart.model import Parameter

POSITIVE = (1e-300, float("inf"))

Row = tuple[str, float, str, str]  # name, value, unit, meaning


def parameters(source: str, rows: Iterable[Row], *, positive: Sequence[str] = ()) -> list[Parameter]:
    """Return parameters of one source, whose symbols are their names.

    Parameters
    ----------
    source : str
    rows : iterable of (name, value, unit, meaning)
    positive : sequence of str
        Those that must not be 0, e.g. what is divided by.
    """
    return [
        Parameter(
            name, value, unit, name, POSITIVE if name in positive else (0.0, float("inf")), source, text
        )
        for name, value, unit, text in rows
    ]


def chosen(option: str, value: object, known: Iterable[str]) -> str:
    """Return the value of an option of a model.

    Raises
    ------
    InputError
        For one that the model does not know.
    """
    names = list(known)
    if value not in names:
        raise InputError(
            f"The option {option!r} must be one of {', '.join(names)}, not {shown(value)}."
            + nearest(str(value), names)
        )
    return str(value)
