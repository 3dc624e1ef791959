"""The specification of a simulated trial: a TOML file, checked as a whole before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fastcart.checks import count, number, read_toml, shown
from fastcart.errors import InputError, nearest
from fastcart.models import for_trial
from fastcart.options import OF_A_COURSE, SolveOptions, options_of_table
from fastcart.population import PRIOR, TARGETS, Prior, read_specification
from fastcart.protocols import STANDARD, Arm, OpenLoop, get
from fastcart.protocols.arms import arm_names
from fastcart.specification import Table, from_file, only_one
from fastcart.trial.adapter import TrialAdapter
from fastcart.trial.course import HORIZON, OPTIONS, trial_options
from fastcart.trial.frontier import DOSES, check_doses
from fastcart.trial.needs import check_needs
from fastcart.trial.own_arms import own_arms
from fastcart.trial.primary import PRIMARY, check_primary, unseen
from fastcart.trial.randomize import Design

_MOST_REPLICATES = 1_000_000
_SHORTEST = 365.0  # days of follow-up


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
    adapter : TrialAdapter
        The model, as the trial sees it.
    options : SolveOptions
        How it is solved, see `fastcart.trial.course.trial_options`; ``t_end`` is the follow-up in days, at
        least 365.
    primary : str
        The endpoint that is tested at the whole level, one of `fastcart.trial.primary.ENDPOINTS`; the others
        are adjusted for each other.

    Raises
    ------
    InputError
        For options that a trial cannot be solved with.
    """

    title: str
    dose: float
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
    adapter: TrialAdapter
    options: SolveOptions = OPTIONS
    primary: str = PRIMARY

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", trial_options(self.options, {}, TrialSpec))
        if self.horizon < _SHORTEST:
            raise InputError(f"The horizon must be at least {_SHORTEST:g} days, not {self.horizon:g}.")

    @property
    def horizon(self) -> float:
        """Days of follow-up."""
        return self.options.horizon(self.adapter.model)

    @property
    def control(self) -> Arm:
        """The arm that all others are compared with."""
        return self.arms[0]


def read_spec(path: str | Path) -> TrialSpec:
    """Read a specification.

    Parameters
    ----------
    path : str or Path
        Of a TOML file.

    Returns
    -------
    TrialSpec

    Raises
    ------
    InputError
        For a file that cannot be read, for anything unknown or impossible in it, and with all that the model
        and its patients lack.
    """
    source = Path(path)
    spec = make_spec(read_table(source), folder=source.parent)
    check_lacking(spec)
    return spec


def check_lacking(spec: TrialSpec) -> None:
    """Check that the model of a trial and its patients have what it needs, see `fastcart.trial.needs`."""
    check_needs(spec.adapter, spec.arms, folder=spec.population.folder, dose=spec.dose, options=spec.options)


def read_table(path: Path) -> dict[str, Any]:
    """Return what the TOML file of a trial holds, unchecked.

    Raises
    ------
    InputError
        For a file that cannot be read.
    """
    try:
        return read_toml(path, "The trial")
    except InputError as error:
        if "('arms',)" not in str(error):  # TOML takes one name for a list of names or for tables
            raise
        raise InputError(
            f"The trial {str(path)!r} mixes two ways to give arms: write arms = [...] with a table [[arm]] "
            "for each own arm, or every arm as a table [[arms]]."
        ) from None


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
    root = Table(table, "the trial")
    named, tables = _arm_entries(root)
    own = own_arms([*root.tables("arm"), *tables], folder)
    control = root.text("control", "A0")
    if named:
        _all_listed(own, [control, *named])
    listed = named or [*(() if tables else (arm.name for arm in STANDARD)), *own]
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
    solving = root.table("solve").rest()
    endpoint_given = trial.peek("primary") is not None
    spec = TrialSpec(
        title=root.text("title", "Simulated randomized trial"),
        dose=number(root.take("dose", 1e8), "The dose of the trial", positive=True),
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
        adapter=_adapter(root.text("model", "b_all"), folder),
        options=_options(solving, root.number("horizon", HORIZON)),
        primary=check_primary(trial.take("primary", PRIMARY)),
    )
    sentence = unseen(spec.primary, spec.horizon)
    if endpoint_given and sentence is not None:  # a short trial may be run for the others than the usual one
        raise InputError(sentence)
    made_for = spec.population.prior.inputs.model
    if spec.population.folder is None and spec.adapter.model.name != made_for:
        raise InputError(
            f"The population is one of the model {made_for!r}; for {spec.adapter.model.name!r} give the "
            "folder of a population of its own."
        )
    if spec.assay_sd < 0:
        raise InputError(f"The noise assay_sd must not be negative, not {spec.assay_sd:g}.")
    trial.done()
    root.done()
    return spec


def _arm_entries(root: Table) -> tuple[list[str], list[Table]]:
    """Return the names of arms in their order, and the tables among them, of ``arms`` or ``[[arms]]``."""
    given = root.take("arms", [])
    if not isinstance(given, list) or not any(isinstance(entry, Mapping) for entry in given):
        return (Table({"arms": given}, "the trial").names("arms", []) if given != [] else []), []
    tables, names = [], []
    for entry in given:
        if isinstance(entry, Mapping) and set(entry) != {"name"}:
            tables.append(Table(entry, "an own [[arms]]"))
            names.append(entry.get("name"))
        else:
            names.append(entry["name"] if isinstance(entry, Mapping) else entry)
    texts = [name if isinstance(name, str) else "" for name in names]
    return (Table({"arms": texts}, "the trial").names("arms", []) if all(texts) else []), tables


def _all_listed(own: Mapping[str, Arm], listed: list[str]) -> None:
    """Refuse own arms that the list of arms leaves out, unless an open loop that is in it repeats them."""
    repeated = [arm.of for name, arm in own.items() if name in listed and isinstance(arm, OpenLoop)]
    for name, arm in own.items():
        if name not in listed and arm not in repeated:
            raise InputError(
                f"The arm {name!r} has a table of its own but is not listed in 'arms', so that nobody would "
                "be treated so; list it there, or leave 'arms' out (the standard arms and all own ones)."
            )


def _options(table: Mapping[str, Any], horizon: float) -> SolveOptions:
    """Return how to solve, of the table [solve]; the horizon is an entry of the trial itself."""
    given = options_of_table(table, "The trial", without=("t_end", *OF_A_COURSE))
    return replace(OPTIONS, **given, t_end=horizon)


def _adapter(model: str, folder: Path) -> TrialAdapter:
    """Return the model of a trial: that of fastcart, or of the adapter in ``FILE.py`` or ``FILE.py:NAME``."""
    file, colon, name = model.partition(":")
    if not colon and model.endswith(".py"):
        return only_one(folder / model, TrialAdapter, "The adapter of the trial")
    if not colon:
        return for_trial(model)
    found = from_file(folder / file, name, "The adapter of the trial")
    if not isinstance(found, TrialAdapter):
        raise InputError(f"The adapter of the trial must be a TrialAdapter, but {model!r} is {shown(found)}.")
    return found


def _known(name: str, own: Mapping[str, Arm]) -> Arm:
    try:
        return get(name)
    except InputError as error:
        more = f" Own arms: {', '.join(own)}." if own else ""
        raise InputError(f"{error}{more}") from None


def _population(table: Table, folder: Path) -> PopulationSpec:
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


def _design(table: Table) -> Design:
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


def _power(table: Table) -> PowerSpec:
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
