"""The files of a PEtab problem, read by the package petab and checked: what they say, or one sentence."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fastcart.checks import check_file, first_line
from fastcart.errors import InputError, require

_FILES = ("sbml_files", "measurement_files", "condition_files", "observable_files")
_SCALES = ("lin", "log", "log10")
_NOISES = ("normal", "laplace")


@dataclass(frozen=True)
class Files:
    """The tables of a problem.

    Parameters
    ----------
    name : str
        Of the file that lists the others.
    model : str
        The SBML file as text.
    parameters, conditions, observables : DataFrame
        With the ids as index.
    measurements : DataFrame
    """

    name: str
    model: str
    parameters: pd.DataFrame
    conditions: pd.DataFrame
    observables: pd.DataFrame
    measurements: pd.DataFrame


def read(path: str | Path) -> Files:
    """Read the files of a problem.

    Raises
    ------
    InputError
        For files that are not there or no PEtab, and for what fastcart does not take, by name.
    MissingDependencyError
        Without the packages petab and libSBML.
    """
    require("Reading PEtab", ["petab", "libsbml"])
    path = Path(path)
    config = _config(path)
    part = config["problems"][0]
    folder = path.parent
    with _quietly(path):
        from petab import v1

        tables = [
            v1.get_parameter_df(_all_of(config.get("parameter_file"), folder)),
            *(
                v1.concat_tables(_all_of(part[kind], folder), reader)
                for kind, reader in zip(
                    _FILES[1:],
                    (v1.get_measurement_df, v1.get_condition_df, v1.get_observable_df),
                    strict=True,
                )
            ),
        ]
    parameters, measurements, conditions, observables = tables
    from fastcart.sbml.document import text_of

    files = Files(
        path.stem, text_of(folder / part["sbml_files"][0]), parameters, conditions,
        _with_defaults(observables), _with_columns(measurements),
    )  # fmt: skip
    _check(files)
    return files


def _config(path: Path) -> dict[str, Any]:
    """Return what the YAML file says, checked."""
    import yaml

    check_file(path, "The PEtab file")
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "no UTF-8"
        raise InputError(f"The PEtab file {str(path)!r} cannot be read: {why}.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f"line {mark.line + 1}, "
        why = getattr(error, "problem", None) or first_line(str(error))
        raise InputError(f"PEtab: {path.name} is no YAML: {line}{first_line(why)}.") from None
    if not isinstance(config, dict) or "format_version" not in config:
        raise InputError(f"PEtab: {path.name} has no 'format_version'; give the YAML file of a problem.")
    version = str(config["format_version"]).split(".")[0]
    if version != "1":
        raise InputError(f"PEtab: {path.name} is of version {config['format_version']}; fastcart takes 1.")
    if config.get("extensions"):
        raise InputError(
            f"PEtab: {path.name} uses the extension {next(iter(config['extensions']))!r}, which fastcart "
            "does not take."
        )
    listed = config.get("problems")
    if not isinstance(listed, list) or len(listed) != 1 or not isinstance(listed[0], dict):
        raise InputError(f"PEtab: {path.name} must list one problem; fastcart takes them one by one.")
    _check_files(path, config, listed[0])
    return config


def _check_files(path: Path, config: dict[str, Any], part: dict[str, Any]) -> None:
    for kind in _FILES:
        if not isinstance(part.get(kind), list) or not part[kind]:
            raise InputError(f"PEtab: {path.name} lists no {kind}.")
    if len(part["sbml_files"]) > 1:
        raise InputError(f"PEtab: {path.name} has several models; fastcart takes a problem with one.")
    every = [config.get("parameter_file"), *(part[kind] for kind in _FILES)]
    for name in [name for names in every for name in (names if isinstance(names, list) else [names])]:
        if not isinstance(name, str) or not (path.parent / name).is_file():
            raise InputError(f"PEtab: {path.name} names the file {str(name)!r}, which is not there.")


def _all_of(names: Any, folder: Path) -> list[str]:
    return [str(folder / name) for name in (names if isinstance(names, list) else [names])]


@contextlib.contextmanager
def _quietly(path: Path) -> Iterator[None]:
    """Say in one sentence what the package says in several ways."""
    logging.getLogger("petab").setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except Exception as error:  # of whatever kind: petab, pandas and libSBML raise their own
        raise InputError(f"PEtab: {path.name}: {first_line(str(error)).rstrip('.')[:300]}.") from None


def _with_defaults(observables: pd.DataFrame) -> pd.DataFrame:
    """Return the observables with columns that may be left off."""
    found = observables.copy()
    for column, default in (("observableTransformation", "lin"), ("noiseDistribution", "normal")):
        given = found[column] if column in found else pd.Series(np.nan, found.index)
        found[column] = given.astype(object).where(given.notna() & (given != ""), default)
    return found


def _with_columns(measurements: pd.DataFrame) -> pd.DataFrame:
    found = measurements.reset_index(drop=True).copy()
    for column in ("preequilibrationConditionId", "observableParameters", "noiseParameters"):
        if column not in found:
            found[column] = np.nan
    return found


def _check(files: Files) -> None:
    """Refuse tables that do not fit together, and what fastcart does not take."""
    for name, table in (("parameter", files.parameters), ("condition", files.conditions),
                        ("observable", files.observables)):  # fmt: skip
        twice = table.index[table.index.duplicated()]
        if len(twice):
            raise InputError(f"PEtab: the {name} table has {twice[0]!r} twice.")
    _check_observables(files.observables)
    measurements = files.measurements
    if not len(measurements):
        raise InputError("PEtab: the measurement table is empty.")
    for column, known in (
        ("observableId", files.observables.index), ("simulationConditionId", files.conditions.index),
        ("preequilibrationConditionId", files.conditions.index),
    ):  # fmt: skip
        given = measurements[column].dropna()
        lost = given[~given.isin(known) & (given != "")]
        if len(lost):
            raise InputError(f"PEtab: a measurement names the {column} {lost.iloc[0]!r}, which no table has.")
    for column in ("measurement", "time"):
        values = pd.to_numeric(measurements[column], errors="coerce")
        if values.isna().any() or (column == "measurement" and np.isinf(values).any()):
            row = int(np.argmax(values.isna() | np.isinf(values))) + 1
            raise InputError(f"PEtab: the {column} in row {row} of the measurement table is no number.")
        measurements[column] = values.astype(float)
    if (measurements["time"] < 0).any():
        raise InputError("PEtab: a time of the measurement table is negative; fastcart starts at 0.")


def _check_observables(observables: pd.DataFrame) -> None:
    for name, row in observables.iterrows():
        if row["observableTransformation"] not in _SCALES:
            raise InputError(
                f"PEtab: the observable {name!r} has the transformation {row['observableTransformation']!r}; "
                f"known are {', '.join(_SCALES)}."
            )
        if row["noiseDistribution"] not in _NOISES:
            raise InputError(
                f"PEtab: the observable {name!r} has the noise {row['noiseDistribution']!r}; known are "
                f"{', '.join(_NOISES)}."
            )
        for column in ("observableFormula", "noiseFormula"):
            if column not in observables or pd.isna(row[column]) or str(row[column]).strip() == "":
                raise InputError(f"PEtab: the observable {name!r} has no {column}.")
