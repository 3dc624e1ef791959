"""In which form a part of a run lies in its file; the same value always gives the same bytes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import pandas as pd

from fastcart.errors import optional_import
from fastcart.tables.storage import TableReader, arrow_table

Value = TypeVar("Value")


class Form(NamedTuple, Generic[Value]):
    """How a value becomes the bytes of a file, and is read again.

    Parameters
    ----------
    encode : callable
        A value to bytes.
    decode : callable
        The path of a file, which is as it was written, to its value.
    """

    encode: Callable[[Value], bytes]
    decode: Callable[[Path], Value]


def encode_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return named arrays as the bytes of NumPy's ``.npz``."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def decode_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an ``.npz`` by name."""
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def encode_table(table: pd.DataFrame, purpose: str = "Keeping the tables of a run") -> bytes:
    """Return a table as the bytes of a Parquet file."""
    pa = optional_import("pyarrow", extra="parquet", purpose=purpose)
    parquet = optional_import("pyarrow.parquet", extra="parquet", purpose=purpose)
    arrow = arrow_table(table)
    sink = pa.BufferOutputStream()
    repeating = [field.name for field in arrow.schema if not pa.types.is_floating(field.type)]
    parquet.write_table(arrow, sink, compression="zstd", compression_level=1, use_dictionary=repeating)
    return sink.getvalue().to_pybytes()


def decode_table(path: Path) -> pd.DataFrame:
    """Return the table of a Parquet file, its columns in NumPy's types."""
    frame = pd.concat(list(TableReader(path, "The table")), ignore_index=True)
    return pd.DataFrame({name: _plain_column(frame[name]) for name in frame.columns})


def _plain_column(column: pd.Series) -> np.ndarray:
    if pd.api.types.is_bool_dtype(column.dtype):
        return column.to_numpy(dtype=bool)
    if pd.api.types.is_integer_dtype(column.dtype):
        return column.to_numpy(dtype=np.int64)
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    return column.to_numpy(dtype=object)


def encode_csv(table: pd.DataFrame) -> bytes:
    """Return a table as CSV with nine digits, for people to read."""
    return table.to_csv(index=False, float_format="%.9g", lineterminator="\n").encode()


def encode_cells(table: pd.DataFrame) -> bytes:
    """Return a table of any cells as JSON, each to the last bit and in its type."""
    cells = {str(name): table[name].tolist() for name in table.columns}
    return json.dumps(cells, default=np.generic.item).encode()


def decode_cells(path: Path) -> pd.DataFrame:
    """Return the table of `encode_cells`."""
    return pd.DataFrame(json.loads(path.read_bytes()))


ARRAYS: Form[dict[str, np.ndarray]] = Form(encode_arrays, decode_arrays)
TABLE: Form[pd.DataFrame] = Form(encode_table, decode_table)
CSV: Form[pd.DataFrame] = Form(encode_csv, pd.read_csv)
CELLS: Form[pd.DataFrame] = Form(encode_cells, decode_cells)
