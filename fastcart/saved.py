"""Results in a folder: tables as Parquet, all else as JSON, with a fingerprint of the model; never pickle."""

from __future__ import annotations

import json
import os
import platform
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fastcart._version import __version__
from fastcart.checks import reason
from fastcart.errors import InputError, optional_import
from fastcart.model import Model
from fastcart.models import get
from fastcart.models import names as shipped
from fastcart.runs.files import checksum, make_folder, write_whole
from fastcart.runs.forms import decode_table, encode_table
from fastcart.runs.identity import describe_model, plain

DESCRIPTION = "result.json"
FORMAT = 1
_TABLES = (".csv", ".csv.gz", ".parquet")
_MOST_NAMED = 8  # tables in a sentence
_PACKAGES = ("numpy", "numba", "scipy", "pandas")


@dataclass(frozen=True)
class Saved:
    """What a folder holds.

    Parameters
    ----------
    folder : Path
    kind : str
        What it is, e.g. ``"batch"``.
    content : dict
        All that is no table.
    """

    folder: Path
    kind: str
    content: dict[str, Any]

    def table(self, name: str) -> pd.DataFrame | None:
        """Read a table, its columns in the types they had; None where it was not saved.

        Raises
        ------
        InputError
            Where the file is missing or not what was written.
        """
        about = self.content["tables"].get(name)
        if about is None:
            return None
        path = self.folder / f"{name}.parquet"
        try:
            intact = checksum(path) == about["sha256"]
        except OSError as error:
            raise InputError(f"The table {str(path)!r} cannot be read: {reason(error)}.") from None
        if not intact:
            raise InputError(f"The table {str(path)!r} is not what was saved; it was changed or damaged.")
        frame = decode_table(path)
        return pd.DataFrame({name: _restored(frame[name], how) for name, how in about["columns"].items()})


def versions() -> dict[str, str]:
    """Return the versions of fastcart and of what computes for it."""
    from importlib import metadata

    found = {"fastcart": __version__, "python": platform.python_version()}
    return found | {name: metadata.version(name) for name in _PACKAGES}


def save_tables(
    folder: str | os.PathLike[str],
    kind: str,
    model: Model | None,
    content: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame | None],
    *,
    force: bool = False,
) -> Path:
    """Write tables and what belongs to them into a folder; the description last, so that half a save is none.

    Parameters
    ----------
    folder : path
        Made where it does not exist, its parent must.
    kind : str
    model : Model, optional
    content : mapping
        All else, in the types of JSON.
    tables : mapping of str to DataFrame or None
    force : bool
        Replace a result that is there.

    Raises
    ------
    InputError
        For a folder that holds a result already, unless ``force``, and for one that cannot be written.
    MissingDependencyError
        Without pyarrow.
    """
    optional_import("pyarrow", extra="parquet", purpose="Saving a result")
    path = Path(folder)
    make_folder(path)
    description = path / DESCRIPTION
    if description.exists() and not force:
        raise InputError(
            f"The folder {str(path)!r} holds a result already; give another, or force=True to replace it."
        )
    description.unlink(missing_ok=True)
    kept = {}
    for name, table in tables.items():
        file = path / f"{name}.parquet"
        file.unlink(missing_ok=True)
        if table is None:
            continue
        columns, frame = _stored(table)
        write_whole(file, encode_table(frame, "Saving a result"))
        kept[name] = {"rows": len(table), "sha256": checksum(file), "columns": columns}
    text = {
        "kind": f"fastcart {kind}", "format": FORMAT,
        **({"model": describe_model(model)} if model is not None else {}),
        **plain(content), "versions": versions(), "tables": kept,
    }  # fmt: skip
    write_whole(description, json.dumps(text, indent=2, ensure_ascii=False) + "\n")
    return path


def read_saved(folder: str | os.PathLike[str]) -> Saved:
    """Return what a folder holds.

    Raises
    ------
    InputError
        For a folder without a result, or with one of a later version of fastcart.
    """
    path = Path(folder)
    file = path / DESCRIPTION
    if not path.exists():
        raise InputError(f"The folder {str(path)!r} does not exist; check the path.")
    if not path.is_dir():
        raise InputError(f"{str(path)!r} is a file; give the folder that 'save' wrote.")
    if not file.is_file():
        raise InputError(
            f"The folder {str(path)!r} holds no saved result: there is no {DESCRIPTION}{_tables_of(path)}."
        )
    try:
        content = json.loads(file.read_bytes())
        kind = content["kind"].removeprefix("fastcart ")
        form = content["format"]
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InputError(f"The file {str(file)!r} is damaged, or none of fastcart.") from None
    if form != FORMAT:
        raise InputError(f"The result in {str(path)!r} was saved by another version of fastcart; update it.")
    return Saved(path, kind, content)


def _tables_of(folder: Path) -> str:
    """Return how the tables are read that a folder holds, such as that of a command's run."""
    found = [file for where in (folder, folder / "tables") for file in sorted(where.glob("*.*"))]
    names = [str(file.relative_to(folder)) for file in found if file.name.endswith(_TABLES)]
    if not names:
        return ""
    more = ", ..." if len(names) > _MOST_NAMED else ""
    return f", which 'save' writes; read its tables with pandas: {', '.join(names[:_MOST_NAMED])}{more}"


def model_of(saved: Saved, model: Model | None) -> Model:
    """Return the model that a result is of; warn where it is no longer what it was.

    Parameters
    ----------
    saved : Saved
    model : Model, optional
        Given by the caller; needed where fastcart does not ship it.

    Raises
    ------
    InputError
        For a model that is not shipped and not given, and for one of another name.

    Warns
    -----
    UserWarning
        Where the fingerprint differs: the numbers are those of the model as it was.
    """
    then = saved.content["model"]
    name = then["name"]
    if model is None:
        if name not in shipped():
            raise InputError(
                f"The result in {str(saved.folder)!r} is of the model {name!r}, which fastcart does not "
                "ship; give it: fastcart.load(folder, model=...)."
            )
        model = get(name, **then["options"])
    if model.name != name:
        raise InputError(
            f"The result in {str(saved.folder)!r} is of the model {name!r}, not of {model.name!r}."
        )
    now = describe_model(model)
    if "not_comparable" in now or "not_comparable" in then:
        warnings.warn(
            f"The model {name!r} holds what cannot be compared with another process; whether it is the one "
            f"that the result in {str(saved.folder)!r} was made with is not known.",
            stacklevel=4,
        )  # fmt: skip
    elif now["hash"] != then["hash"]:
        warnings.warn(
            f"The model {name!r} is no longer the one that the result in {str(saved.folder)!r} was made with "
            f"(fastcart {saved.content['versions']['fastcart']}); its numbers are those of the model as it "
            "was.", stacklevel=4,
        )  # fmt: skip
    return model


def _stored(table: pd.DataFrame) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return how each column is to be read again, and the table as it is written."""
    columns: dict[str, Any] = {}
    written = {}
    for name in table.columns:
        column = table[name]
        how: dict[str, Any] = {"type": str(column.dtype)}
        if isinstance(column.dtype, pd.CategoricalDtype):
            how = {"type": "category", "categories": column.cat.categories.tolist()}
            column = pd.Series(column.cat.codes.to_numpy())
        elif column.dtype == object and pd.api.types.infer_dtype(column, skipna=False) != "string":
            how = {"type": "json"}  # cells of several types
            column = pd.Series([json.dumps(value, default=_item) for value in column], dtype=object)
        columns[str(name)] = how
        written[str(name)] = column.array
    return columns, pd.DataFrame(written)


def _item(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)


def _restored(column: pd.Series, how: Mapping[str, Any]) -> Any:
    if how["type"] == "category":
        return pd.Categorical.from_codes(column.to_numpy(), categories=how["categories"])
    if how["type"] == "json":
        return pd.Series([json.loads(text) for text in column], dtype=object)
    return column.astype(how["type"])
