"""A population of virtual patients with all that it was made from, kept in a folder with its hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fastcart.checks import reason
from fastcart.errors import InputError
from fastcart.tables.storage import TableReader, TableWriter, write_text

NOT_OF_THE_MODEL = ("source", "U1", "U2")
_TABLE, _ABOUT = "patients.parquet", "population.json"
FILES = (_TABLE, _ABOUT)  # in the folder of a population


@dataclass(frozen=True)
class Population:
    """Virtual patients of equal weight.

    Parameters
    ----------
    patients : DataFrame
        ``patient`` (0, 1, ...), ``source`` (row of the calibrated sample), columns of the model ``b_all``,
        and ``U1``, ``U2``, the luck of each patient.
    made : mapping
        Prior, targets, seeds: what the patients were made from.
    """

    patients: pd.DataFrame
    made: Mapping[str, Any] = field(default_factory=dict)

    @property
    def model_columns(self) -> pd.DataFrame:
        """The patients without what the model does not know, for `fastcart.solve`."""
        return self.patients.drop(columns=[c for c in NOT_OF_THE_MODEL if c in self.patients])

    @property
    def hash(self) -> str:
        """Hash (SHA-256) of names and values, the same on every machine and in every file format."""
        digest = hashlib.sha256()
        for name in self.patients.columns:
            digest.update(str(name).encode())
            digest.update(np.ascontiguousarray(self.patients[name].to_numpy(), dtype="<f8").tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.patients)

    def save(self, folder: str | Path) -> Path:
        """Write ``patients.parquet`` and ``population.json`` (what it was made from, and the hash).

        Parameters
        ----------
        folder : path
            Created where it is missing.

        Returns
        -------
        Path
            The folder.
        """
        target = Path(folder)
        try:
            target.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"The folder {str(target)!r} cannot be made: {reason(error)}.") from None
        with TableWriter(target / _TABLE) as writer:
            writer.write(self.patients)
        about = {"hash": self.hash, "patients": len(self.patients), "made": dict(self.made)}
        write_text(target / _ABOUT, json.dumps(about, indent=2, allow_nan=False) + "\n")
        return target

    @classmethod
    def load(cls, folder: str | Path) -> Population:
        """Read a population, and check its hash.

        Raises
        ------
        InputError
            Where files are missing, cannot be read, or do not belong together.
        """
        source = Path(folder)
        reader = TableReader(source / _TABLE, "The population")
        patients = pd.concat(list(reader), ignore_index=True)
        patients = pd.DataFrame(
            {
                name: patients[name].to_numpy(dtype=np.int64 if name in ("patient", "source") else float)
                for name in patients.columns
            }
        )
        try:
            about = json.loads((source / _ABOUT).read_text(encoding="utf-8"))
            expected, made = about["hash"], about["made"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"{str(source / _ABOUT)!r} cannot be read: {reason(error)}.") from None
        population = cls(patients, made)
        if population.hash != expected:
            raise InputError(
                f"The patients in {str(source)!r} are not those that its {_ABOUT} describes (their hash "
                "differs); make the population anew."
            )
        return population
