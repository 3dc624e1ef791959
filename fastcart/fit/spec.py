"""The specification of a fit: a TOML file, checked as a whole before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from fastcart.checks import count, read_toml, shown
from fastcart.errors import InputError, nearest
from fastcart.fit.observations import ERROR_MODELS, Observation
from fastcart.fit.simulated import BINS
from fastcart.fit.spec_designs import DesignsSpec, designs_of
from fastcart.model import Model
from fastcart.models import get, is_file
from fastcart.options import SolveOptions, options_of_table
from fastcart.specification import Table

_ENTRIES = (
    "title", "model", "data", "columns", "observables", "lag", "bioavailability", "ignore", "observation",
    "population", "start", "solve", "checks", "virtual_patients", "designs",
)  # fmt: skip
# entries of the table [population] and their defaults
_POPULATION = {
    "fixed": (), "omega": "diagonal", "covariates": None, "scales": None, "method": "saem", "chains": "auto",
    "iterations": None, "accuracy": 0.03, "draws": 65_536, "seed": 1,
}  # fmt: skip
_SOLVING = ("t_end", "rtol", "atol", "method", "max_steps", "breaks")


@dataclass(frozen=True)
class FitSpec:
    """A fit of a population.

    Parameters
    ----------
    title : str
    model : Model
    data : Path
    reading : mapping
        Keywords of `fastcart.fit.read`.
    observations : tuple of Observation
    population : mapping
        Keywords of `fastcart.fit.population`.
    options : SolveOptions or None
    replicates : int
        Of the checks by simulation.
    bins : int
        Of time, of each kind, in the predictive check.
    patients : int
        Virtual patients that are drawn from the fit; 0 for none.
    designs : DesignsSpec or None
        Schedules of visits to compare.
    """

    title: str
    model: Model
    data: Path
    reading: Mapping[str, Any]
    observations: tuple[Observation, ...]
    population: Mapping[str, Any]
    options: SolveOptions | None
    replicates: int
    bins: int
    patients: int
    designs: DesignsSpec | None = None


def read_spec(path: str | Path) -> FitSpec:
    """Read a specification.

    Raises
    ------
    InputError
        For a file that cannot be read, and for anything unknown or impossible in it.
    """
    source = Path(path)
    return make_spec(read_toml(source, "The fit"), folder=source.parent)


def make_spec(table: Mapping[str, Any], *, folder: Path = Path()) -> FitSpec:
    """Check a specification and fill in the defaults; files that it names are looked for in ``folder``.

    Raises
    ------
    InputError
    """
    root = Table(table, "the fit")
    root.expect(_ENTRIES)
    model = _model(root.text("model", ""), folder)
    data = folder / root.text("data", "")
    if not data.is_file():
        raise InputError(f"The table 'data' of the fit is not there: {str(data)!r} is no file.")
    reading = {
        "map": _texts(root, "columns"), "observables": _texts(root, "observables") or None,
        "lag": _texts(root, "lag") or None, "bioavailability": _texts(root, "bioavailability") or None,
        "ignore": root.take("ignore", []),
    }  # fmt: skip
    listed = root.take("observation", [])
    if not isinstance(listed, list) or not listed:
        raise InputError("The fit has no observation; write one as [[observation]].")
    observations = tuple(_observation(Table(entry, "an [[observation]]")) for entry in listed)
    checks, visits = root.table("checks"), root.peek("designs") is not None
    spec = FitSpec(
        root.text("title", "Fit of a population"), model, data, reading, observations,
        _population(root), _options(root.table("solve").rest()), checks.count("replicates", 1000),
        checks.count("bins", BINS), _whole(root.take("virtual_patients", 1000)),
        designs_of(root.table("designs"), model) if visits else None,
    )  # fmt: skip
    checks.done()
    root.done()
    return spec


def _whole(given: Any) -> int:
    if not isinstance(given, bool) and given == 0:
        return 0
    return count(given, "The entry 'virtual_patients' of the fit (0 for none)")


def _model(text: str, folder: Path) -> Model:
    """Return a model that fastcart ships, or that of a file beside the specification."""
    return get(str(folder / text) if is_file(text) else text)


def _texts(root: Table, name: str) -> dict[Any, Any]:
    """Return a table of texts."""
    given = root.take(name, {})
    if not isinstance(given, Mapping) or not all(isinstance(x, str) for x in given.values()):
        raise InputError(f"The table [{name}] of the fit must hold texts, not {shown(given)}.")
    return dict(given)


def _observation(table: Table) -> Observation:
    values = [name for make in ERROR_MODELS.values() for name in make().names]
    table.expect(["dvid", "prediction", "error", *values])
    dvid = table.take("dvid", None)
    if dvid is None:
        raise InputError("An [[observation]] lacks 'dvid': what is measured, as in the column DVID.")
    prediction = table.text("prediction", "")
    name = table.text("error", "")
    if name not in ERROR_MODELS:
        raise InputError(
            f"The error of observation {shown(dvid)} must be one of {', '.join(ERROR_MODELS)}, not "
            f"{shown(name)}." + nearest(name, ERROR_MODELS)
        )
    make = ERROR_MODELS[name]
    error = make(**{x: table.take(x, None) for x in make().names})
    table.done()
    return Observation(dvid, prediction, error)


def _two(given: Any) -> tuple[int, int]:
    """Return the iterations that explore and average."""
    if not isinstance(given, list) or len(given) != 2:
        raise InputError(
            "The entry 'iterations' of [population] must be two numbers, such as [300, 200], not "
            f"{shown(given)}."
        )
    first, second = (count(one, "An entry of 'iterations' in [population]") for one in given)
    return first, second


def _population(root: Table) -> dict[str, Any]:
    """Return the keywords of the fit."""
    table = root.table("population")
    table.expect(["random", *_POPULATION])
    found: dict[str, Any] = {"random": table.names("random", [])}
    for name, default in _POPULATION.items():
        found[name] = table.take(name, default)
    if found["iterations"] is not None:
        found["iterations"] = _two(found["iterations"])
    table.done()
    starts = root.take("start", None)
    found["starts"] = starts
    return found


def _options(table: Mapping[str, Any]) -> SolveOptions | None:
    others = [option.name for option in fields(SolveOptions) if option.name not in _SOLVING]
    given = options_of_table(table, "The fit", without=others)
    return SolveOptions(**given) if given else None
