"""What was saved in a folder, read again."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pandas as pd

from fastcart import result_files
from fastcart.errors import InputError
from fastcart.model import Model
from fastcart.optimization.optimize import OptimizationResult
from fastcart.optimization.pareto import ParetoResult
from fastcart.result import BatchResult
from fastcart.saved import Saved, model_of, read_saved


def load(folder: str | os.PathLike[str], *, model: Model | None = None) -> Any:
    """Read a result that was saved by its method ``save``.

    Parameters
    ----------
    folder : path
    model : Model, optional
        The model that the result is of; needed where fastcart does not ship it.

    Returns
    -------
    BatchResult, OptimizationResult or ParetoResult

    Raises
    ------
    InputError
        For a folder without a result, a damaged one, and a model that is not known.

    Warns
    -----
    UserWarning
        Where the model is no longer the one that the result was made with.

    Examples
    --------
    >>> import tempfile, fastcart
    >>> result = fastcart.solve("li_lei", 2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result.save(f"{folder}/mine").name, fastcart.load(f"{folder}/mine")
    ('mine', BatchResult('li_lei', 2 patients, all ok))
    """
    saved = read_saved(folder)
    if saved.kind not in _READERS:
        raise InputError(f"The folder {str(folder)!r} holds a {saved.kind}, which cannot be loaded.")
    return _READERS[saved.kind](saved, model)


def _batch(saved: Saved, model: Model | None) -> BatchResult:
    endpoints = _needed(saved, "endpoints")
    rest = {name: saved.table(name) for name in result_files.TABLES if name != "endpoints"}
    return BatchResult(
        endpoints=endpoints, model=model_of(saved, model), options=result_files.options_of(saved), **rest
    )


def _needed(saved: Saved, name: str) -> pd.DataFrame:
    table = saved.table(name)
    if table is None:
        raise InputError(f"The result in {str(saved.folder)!r} lacks its table {name!r}; it is damaged.")
    return table


def _optimization(saved: Saved, model: Model | None) -> OptimizationResult:
    tables = {name: _needed(saved, name) for name in ("best", "endpoints", "history")}
    return OptimizationResult(**tables, options=saved.content["options"], notes=tuple(saved.content["notes"]))


def _front(saved: Saved, model: Model | None) -> ParetoResult:
    tables = {name: _needed(saved, name) for name in ("front", "endpoints", "nearest")}
    content = saved.content
    return ParetoResult(
        **tables, failed=content["failed"], options=content["options"], notes=tuple(content["notes"])
    )


_READERS: dict[str, Callable[[Saved, Model | None], Any]] = {
    result_files.KIND: _batch, "optimization": _optimization, "front": _front,
}  # fmt: skip
