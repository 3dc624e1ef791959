"""The specification of a simulated trial: a TOML file, checked as a whole before anything is computed."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from fastcart.checks import count, number, reason, shown
from fastcart.errors import InputError, nearest
from fastcart.population import PRIOR, TARGETS, Prior, read_specification
from fastcart.protocols import Adaptive, Arm, Calendar, Infusion, Lymphodepletion, get, hold_if_crs, lhm_rule
from fastcart.protocols.arms import arm_names
from fastcart.trial.frontier import DOSES, check_doses
from fastcart.trial.randomize import Design

_STANDARD = ("A0", "A1", "A1h", "A2", "A3", "A4", "A5", "A6")
_MOST_REPLICATES = 1_000_000


@dataclass(frozen=True)
class PopulationSpec:
    """Who is treated.

    Parameters
    ----------
    patients : int
        Virtual patients, of equal weight.
    sample : int
        Patients that the calibration weights; without calibration it is not used.
    seed : int
    het : float
        Multiplies the spread of every parameter.
    calibrate : bool
        Whether to weight the sample so that the single infusion meets the targets.
    folder : str, optional
        A population saved before, instead of all this.
    prior : Prior
    targets : mapping of str to float
    """

    patients: int = 3000
    sample: int = 6000
    seed: int = 1
    het: float = 1.0
    calibrate: bool = True
    folder: str | None = None
    prior: Prior = PRIOR
    targets: Mapping[str, float] = field(default_factory=lambda: dict(TARGETS))


@dataclass(frozen=True)
class PowerSpec:
    """Which sizes of a trial are replicated how often."""

    sizes: tuple[int, ...] = (40, 80, 160, 320)
    replicates: int = 1000


@dataclass(frozen=True)
class TrialSpec:
    """A simulated trial.

    Parameters
    ----------
    title : str
    dose : float
        Total cells of a product.
    horizon : float
        Days of follow-up, at least 365.
    arms : tuple of Arm
        The control is the first.
    treatments : tuple of str
        Arms that are compared with the control in randomized trials.
    population : PopulationSpec
    design : Design
    seed : int
        Of the randomized trials.
    alpha : float
    power : PowerSpec
    frontier : tuple of float
        Doses of the single infusion.
    noise_seed : int
        Of the assay that adaptive arms see.
    assay_sd : float
    """

    title: str
    dose: float
    horizon: float
    arms: tuple[Arm, ...]
    treatments: tuple[str, ...]
    population: PopulationSpec
    design: Design
    seed: int
    alpha: float
    power: PowerSpec
    frontier: tuple[float, ...]
    noise_seed: int
    assay_sd: float

    @property
    def control(self) -> Arm:
        """The arm that all others are compared with."""
        return self.arms[0]


def read_spec(path: str | Path) -> TrialSpec:
    """Read a specification.

    Raises
    ------
    InputError
        For a file that cannot be read, and for anything unknown or impossible in it.
    """
    source = Path(path)
    try:
        table = tomllib.loads(source.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"The trial {str(source)!r} cannot be read: {reason(error)}.") from None
    return make_spec(table, folder=source.parent)


def make_spec(table: Mapping[str, Any], *, folder: Path = Path()) -> TrialSpec:
    """Check a specification and fill in the defaults.

    Parameters
    ----------
    table : mapping
        As read from TOML.
    folder : Path
        Files that it names are looked for here.

    Raises
    ------
    InputError
        For anything unknown or impossible.
    """
    root = _Table(table, "the trial")
    own = {arm.name: arm for arm in (_own_arm(entry, folder) for entry in root.tables("arm"))}
    control = root.text("control", "A0")
    listed = root.names("arms", (*_STANDARD, *own))
    arms = [own[name] if name in own else _known(name, own) for name in dict.fromkeys([control, *listed])]
    arm_names([*arms])
    if len(arms) < 2:
        raise InputError("The trial has one arm; name at least one other than the control in 'arms'.")
    trial = root.table("trial")
    treatments = trial.names("treatments", [arm.name for arm in arms[1:]])
    for name in treatments:
        if name not in [arm.name for arm in arms[1:]]:
            raise InputError(
                f"The treatment {name!r} is not among the arms besides the control." + nearest(name, listed)
            )
    horizon = root.number("horizon", 730.0)
    if horizon < 365:
        raise InputError(f"The horizon must be at least 365 days, not {horizon:g}.")
    spec = TrialSpec(
        title=root.text("title", "Simulated randomized trial"),
        dose=number(root.take("dose", 1e8), "The dose of the trial", positive=True),
        horizon=horizon,
        arms=tuple(arms),
        treatments=tuple(treatments),
        population=_population(root.table("population"), folder),
        design=_design(trial),
        seed=trial.seed("seed", 2024),
        alpha=_share(trial.number("alpha", 0.05), "The level alpha"),
        power=_power(root.table("power")),
        frontier=check_doses(root.table("frontier").take_last("doses", list(DOSES))),
        noise_seed=root.seed("noise_seed", 1),
        assay_sd=root.number("assay_sd", 0.35),
    )
    if spec.assay_sd < 0:
        raise InputError(f"The noise assay_sd must not be negative, not {spec.assay_sd:g}.")
    trial.done()
    root.done()
    return spec


class _Table:
    """A table of TOML from which entries are taken; what is left over at the end is a mistake."""

    def __init__(self, table: Any, what: str):
        if not isinstance(table, Mapping):
            raise InputError(f"{what.capitalize()} must be a table, not {shown(table)}.")
        self._left = dict(table)
        self._known: list[str] = []
        self._what = what

    def take(self, name: str, default: Any) -> Any:
        self._known.append(name)
        return self._left.pop(name, default)

    def take_last(self, name: str, default: Any) -> Any:
        value = self.take(name, default)
        self.done()
        return value

    def table(self, name: str) -> _Table:
        return _Table(self.take(name, {}), f"the table [{name}]")

    def tables(self, name: str) -> list[_Table]:
        given = self.take(name, [])
        if not isinstance(given, list):
            raise InputError(f"Own arms are written as [[{name}]], not {shown(given)}.")
        return [_Table(entry, f"an own [[{name}]]") for entry in given]

    def number(self, name: str, default: float) -> float:
        return number(self.take(name, default), f"The entry {name!r} of {self._what}")

    def count(self, name: str, default: int) -> int:
        return count(self.take(name, default), f"The entry {name!r} of {self._what}")

    def seed(self, name: str, default: int) -> int:
        value = self.take(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise InputError(f"The entry {name!r} must be a whole number from 0 on, not {shown(value)}.")
        return value

    def text(self, name: str, default: str) -> str:
        value = self.take(name, default)
        if not isinstance(value, str) or not value.strip():
            raise InputError(f"The entry {name!r} of {self._what} must be a text, not {shown(value)}.")
        return value

    def flag(self, name: str, default: bool) -> bool:
        value = self.take(name, default)
        if not isinstance(value, bool):
            raise InputError(f"The entry {name!r} of {self._what} must be true or false, not {shown(value)}.")
        return value

    def names(self, name: str, default: Any) -> list[str]:
        value = self.take(name, list(default))
        if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
            raise InputError(
                f"The entry {name!r} of {self._what} must be a list of names, not {shown(value)}."
            )
        for item in value:
            if value.count(item) > 1:
                raise InputError(f"The entry {name!r} of {self._what} lists {item!r} twice.")
        return value

    def done(self) -> None:
        for name in self._left:
            raise InputError(f"There is no entry {name!r} in {self._what}." + nearest(name, self._known))


def _known(name: str, own: Mapping[str, Arm]) -> Arm:
    try:
        return get(name)
    except InputError as error:
        more = f" Own arms: {', '.join(own)}." if own else ""
        raise InputError(f"{error}{more}") from None


def _population(table: _Table, folder: Path) -> PopulationSpec:
    saved = table.take("folder", None)
    if saved is not None:
        table.done()
        if not isinstance(saved, str):
            raise InputError(f"The folder of the population must be a text, not {shown(saved)}.")
        return PopulationSpec(folder=str(folder / saved))
    given = {name: table.take(name, None) for name in ("marginals", "correlations", "targets")}
    prior, targets = read_specification({name: value for name, value in given.items() if value is not None})
    het = table.number("het", 1.0)
    if het < 0:
        raise InputError(f"The heterogeneity het must not be negative, not {het:g}.")
    spec = PopulationSpec(
        patients=table.count("patients", 3000),
        sample=table.count("sample", 6000),
        seed=table.seed("seed", 1),
        het=het,
        calibrate=table.flag("calibrate", True),
        prior=prior,
        targets=targets,
    )
    table.done()
    return spec


def _design(table: _Table) -> Design:
    defaults = Design()
    options: dict[str, Any] = {"cutoff": table.take("cutoff", None)}
    for name in ("n_per_arm", "randomization", "block_sizes", "strata_edges", "accrual", "dropout"):
        value = table.take(name, getattr(defaults, name))
        if name in ("block_sizes", "strata_edges"):
            if not isinstance(value, list | tuple):
                raise InputError(f"The entry {name!r} of [trial] must be a list, not {shown(value)}.")
            value = tuple(value)
        options[name] = value
    return Design(**options)


def _power(table: _Table) -> PowerSpec:
    sizes = table.take("sizes", [40, 80, 160, 320])
    if not isinstance(sizes, list) or not sizes:
        raise InputError(f"The entry 'sizes' of [power] must be a list of numbers, not {shown(sizes)}.")
    checked = sorted({count(size, "A size of the trials in [power]") for size in sizes})
    replicates = table.count("replicates", 1000)
    if replicates > _MOST_REPLICATES:
        raise InputError(f"There are at most {_MOST_REPLICATES} replicates, not {replicates}.")
    table.done()
    return PowerSpec(tuple(checked), replicates)


def _share(value: float, what: str) -> float:
    if not 0 < value < 1:
        raise InputError(f"{what} must lie between 0 and 1, not {value:g}.")
    return value


def _own_arm(table: _Table, folder: Path) -> Arm:
    name = table.text("name", "")
    if not re.fullmatch(r"[A-Za-z0-9_.+-]{1,40}", name):  # it names files, too
        raise InputError(f"The name of an arm may have letters, digits and _.+-, but {name!r} does not fit.")
    title = table.text("title", name)
    equal = table.flag("equal_budget", True)
    what = f"the arm {name!r}"
    rule = table.take("rule", None)
    arm: Arm
    if rule is None:
        infusions = tuple(_infusion(entry, what) for entry in _listed(table, "infusions", what))
        events = tuple(
            Lymphodepletion(**_entries(entry, {"day": None, "phi": 1.0}, f"A lymphodepletion of {what}"))
            for entry in _listed(table, "lymphodepletions", what)
        )
        arm = Calendar(
            name=name, title=title, equal_budget=equal, infusions=infusions, lymphodepletions=events
        )
    else:
        start = _entries(table.take("start", {}), {"effectors": 0.0, "memory": 0.0}, f"The start of {what}")
        visits = table.take("visits", [])
        if not isinstance(visits, list) or not visits:
            raise InputError(f"The visits of {what} must be a list of days, not {shown(visits)}.")
        arm = Adaptive(
            name=name,
            title=title,
            equal_budget=equal,
            start=Infusion(0, **start),
            visits=tuple(visits),
            rule=_rule(rule, table.take("rule_options", {}), what, folder),
            complete=table.flag("complete", False),
        )
    table.done()
    return arm


def _listed(table: _Table, name: str, what: str) -> list[Any]:
    value = table.take(name, [])
    if not isinstance(value, list):
        raise InputError(f"The {name} of {what} must be a list, not {shown(value)}.")
    return value


def _infusion(entry: Any, what: str) -> Infusion:
    values = _entries(entry, {"day": None, "effectors": 0.0, "memory": 0.0}, f"An infusion of {what}")
    return Infusion(**values)


def _entries(entry: Any, defaults: Mapping[str, float | None], what: str) -> dict[str, float]:
    """Return numbers by name; a fraction may be written as text, e.g. ``"1/3"``."""
    if not isinstance(entry, Mapping):
        raise InputError(f"{what} must be a table such as {{day = 0}}, not {shown(entry)}.")
    for name in entry:
        if name not in defaults:
            raise InputError(f"{what} has no entry {name!r}." + nearest(name, defaults))
    values = {}
    for name, default in defaults.items():
        given = entry.get(name, default)
        if given is None:
            raise InputError(f"{what} needs an entry {name!r}.")
        if isinstance(given, str):
            try:
                given = float(Fraction(given))
            except (ValueError, ZeroDivisionError):
                raise InputError(
                    f"{what} must give {name!r} as a number or as '1/3', not {given!r}."
                ) from None
        values[name] = number(given, f"{what}: {name!r}")
    return values


def _rule(rule: Any, options: Any, what: str, folder: Path) -> Callable:
    if not isinstance(rule, str):
        raise InputError(f"The rule of {what} must be 'lhm' or 'FILE.py:FUNCTION', not {shown(rule)}.")
    file, colon, name = rule.partition(":")
    if not colon:
        makers: dict[str, Callable] = {"lhm": lhm_rule, "hold": hold_if_crs}
        if rule not in makers:
            raise InputError(f"There is no rule {rule!r} for {what}." + nearest(rule, makers))
        try:
            if rule == "hold":
                fractions = {float(day): float(Fraction(f)) for day, f in options["fractions"].items()}
                return hold_if_crs(fractions, float(options.get("threshold", 400.0)))
            given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
            return lhm_rule(**given)
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise InputError(f"The rule_options of {what} do not fit {rule!r}: {reason(error)}.") from None
    return _function(folder / file, name, what)


def _function(path: Path, name: str, what: str) -> Callable:
    """Load a user's function from a file of Python."""
    from importlib.util import module_from_spec, spec_from_file_location

    found = spec_from_file_location(f"fastcart_rule_{path.stem}", path)
    if found is None or found.loader is None or not path.is_file():
        raise InputError(f"The rule of {what} is not there: {str(path)!r} is no file of Python.")
    module = module_from_spec(found)
    try:
        found.loader.exec_module(module)
        function = getattr(module, name)
    except Exception as error:
        raise InputError(
            f"The rule of {what} cannot be loaded from {str(path)!r}: {reason(error)}."
        ) from None
    return function
