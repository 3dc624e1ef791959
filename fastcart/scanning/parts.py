"""One chunk of a scan: patients in, the bytes of a Parquet file out; the same here and on a cluster."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fastcart.batch import solve
from fastcart.errors import InputError, nearest_quantity, optional_import
from fastcart.model import Model
from fastcart.runs.forms import encode_table
from fastcart.runs.identity import environment
from fastcart.scanning.doses import DoseTemplate

_ALWAYS = ("patient", "status")
_one_at_a_time = threading.Lock()

Part = tuple[bytes, Counter[str]]


@dataclass(frozen=True)
class ScanJob:
    """What all chunks of a scan have in common; it can be sent to another machine.

    Parameters
    ----------
    model : Model
    options : mapping
        Keywords of `fastcart.solve`.
    doses : DoseTemplate or None
    columns : sequence of str
        Columns of the patients, which are kept with the endpoints.
    outputs : sequence of str or None
        Endpoints to keep, beside ``patient`` and ``status``; None for all.
    """

    model: Model
    options: Mapping[str, Any]
    doses: DoseTemplate | None
    columns: Sequence[str]
    outputs: Sequence[str] | None

    def solve(self, rows: pd.DataFrame, *, threads: int | None, progress: bool | None) -> pd.DataFrame:
        """Return the endpoints of some patients, all of them."""
        doses = None if self.doses is None else self.doses.table(rows)
        result = solve(
            self.model, rows, doses=doses, keep=self.columns, threads=threads, progress=progress, warn=False,
            **self.options,
        )  # fmt: skip
        return result.endpoints

    def part(self, endpoints: pd.DataFrame) -> Part:
        """Return the file of a chunk from its endpoints, and how many ended with each status."""
        counts = Counter(endpoints["status"].astype(str).tolist())
        if self.outputs is not None:
            endpoints = endpoints[[*_ALWAYS, *self.outputs, *self.columns]]
        return encode_table(endpoints, "A scan"), counts


def part_elsewhere(job: ScanJob, rows: pd.DataFrame, expected: Mapping[str, Any]) -> Part:
    """Solve a chunk on a worker, whose versions and processor must be the expected ones; return its part.

    Raises
    ------
    InputError
        Where they are not: the bits of the result would differ.
    """
    here = environment()
    differ = [
        f"{name} is {here['versions'].get(name)} there and {version} here"
        for name, version in expected["versions"].items()
        if here["versions"].get(name) != version
    ]
    for name, what in (("processor", "the processor"), ("numba", "what is set for numba")):
        if name in expected and here[name] != expected[name]:
            differ.append(f"{what} is {here[name]} there and {expected[name]} here")
    if differ:
        raise InputError(
            f"A worker cannot give the same numbers to the last bit: {'; '.join(differ)}. Use workers like "
            "this machine."
        )
    from distributed import get_worker

    # one chunk at a time with all threads of the worker: engines do not share their threads
    with _one_at_a_time:
        return job.part(job.solve(rows, threads=get_worker().state.nthreads, progress=False))


def require_columns(names: Iterable[str], known: Iterable[str], where: str = "The scan") -> None:
    """Refuse columns that a scan does not have; ``where`` begins the sentence."""
    for name in names:
        if name not in known:
            raise InputError(f"{where} has no column {name!r}." + nearest_quantity(name, known))


def read_columns(path: Path, wanted: Sequence[str]) -> pd.DataFrame:
    """Return those of some columns that a finished part has."""
    parquet = optional_import("pyarrow.parquet", extra="parquet", purpose="A scan")
    with parquet.ParquetFile(path) as file:
        names = [name for name in wanted if name in file.schema_arrow.names]
        return file.read(columns=names).to_pandas()


def read_statuses(path: Path) -> Counter[str]:
    """Return how many patients of a finished part, which is as it was written, ended with each status."""
    parquet = optional_import("pyarrow.parquet", extra="parquet", purpose="A scan")
    with parquet.ParquetFile(path) as file:
        return Counter(file.read(columns=["status"])["status"].to_pylist())
