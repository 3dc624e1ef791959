"""Ids of patients: any numbers or text, compared as text, and given back as they came.

``1``, ``1.0`` and the text ``"1"`` are one id, so that a table that has gone through a spreadsheet, or whose
numbers became floats because a cell was empty, still fits. ``"01"``, ``"1.0"`` and ``" 1"`` as text are
others: text is never read as a number.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype, is_bool_dtype, is_integer_dtype

from fastcart.checks import is_whole, shown
from fastcart.errors import InputError


def id_text(value: Any) -> str:
    """Return the text that an id is compared by: whole numbers without a point.

    Raises
    ------
    InputError
        For lists and the like.
    """
    if isinstance(value, str):
        return value
    try:
        hash(value)
    except TypeError:
        raise InputError("The ids in the column 'patient' must be numbers or text.") from None
    number = value if isinstance(value, float | np.floating | Decimal) else None
    if number is not None and math.isfinite(number):
        whole = int(number)
        return str(whole) if whole == number else str(number)
    return str(int(value)) if is_whole(value) else str(value)


def id_shown(value: Any) -> str:
    """Return how an id is shown in a sentence: a whole number without quotes, also one that is text."""
    text = id_text(value)
    return text if re.fullmatch(r"-?[1-9]\d*|0", text, re.ASCII) else shown(value)


def _whole(values: Any) -> bool:
    return is_integer_dtype(values.dtype) and not is_bool_dtype(values.dtype)


def _texts(values: Any) -> pd.Index:
    if _whole(values):
        return pd.Index(np.asarray(values).astype(str).astype(object))
    objects = np.asarray(values, dtype=object)
    if infer_dtype(objects, skipna=False) == "string":
        return pd.Index(objects, dtype=object)
    return pd.Index([id_text(value) for value in objects], dtype=object)


def id_places(ids: Any, known: Any) -> np.ndarray:
    """Return the place of each id among the known ones, -1 for one that is not there.

    Parameters
    ----------
    ids, known : array
        Of any types; ``known`` without repetition.

    Raises
    ------
    InputError
        For ids that are neither numbers nor text.
    """
    if _whole(ids) and _whole(known):
        return pd.Index(np.asarray(known)).get_indexer(pd.Index(np.asarray(ids)))
    return _texts(known).get_indexer(_texts(ids))


def check_ids(ids: Any) -> None:
    """Check that no id stands twice.

    Raises
    ------
    InputError
        Naming the first id that does; for ids that are neither numbers nor text.
    """
    compared = pd.Index(np.asarray(ids)) if _whole(ids) else _texts(ids)
    duplicated = compared.duplicated()
    if not duplicated.any():
        return
    objects, place = np.asarray(ids, dtype=object), int(np.argmax(duplicated))
    first, given = objects[int(np.argmax(compared == compared[place]))], objects[place]
    likewise = "" if type(first) is type(given) else f", as {shown(first)} and as {shown(given)}"
    raise InputError(f"The id {id_shown(given)} stands more than once in the column 'patient'{likewise}.")
