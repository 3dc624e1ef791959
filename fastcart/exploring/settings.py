"""What a page asks a model for: read from its form or from TOML, written as TOML or as a program."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from fastcart.checks import number, shown
from fastcart.dosing import DosingSchedule
from fastcart.errors import InputError, first_line, nearest
from fastcart.model import Model, Observable, State
from fastcart.options import SolveOptions
from fastcart.patient_rows import allowed_range
from fastcart.specification import Table

MOST_PATIENTS, MOST_TIMES, MOST_OUTPUTS, MOST_DOSES = 20_000, 2001, 2, 200
RTOL = SolveOptions.rtol
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
WHAT = "the settings"


@dataclass(frozen=True)
class DoseRow:
    """A row of the dose table; ``duration`` 0 is a bolus, ``repeats`` doses follow in intervals ``every``."""

    time: float
    state: str
    amount: float
    duration: float = 0.0
    every: float = 0.0
    repeats: int = 0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is to be solved and shown.

    Parameters
    ----------
    patients, seed : int
    t_end : float
        Horizon, in the model's unit of time.
    times : int
        At which quantities are shown, evenly spaced from 0 on.
    outputs : tuple of str
        States and observables that are shown, one or two.
    lines : int
        Of so many patients the course is shown, too.
    rtol : float
        Relative tolerance of the solver.
    values : mapping of str to float
        Parameters and initial values that are not at their defaults; the medians of those that vary.
    spread : mapping of str to float
        Standard deviations of the logarithms of those that vary.
    doses : tuple of DoseRow
    """

    t_end: float
    outputs: tuple[str, ...]
    patients: int = 1000
    seed: int = 1
    times: int = 101
    lines: int = 0
    rtol: float = RTOL
    values: Mapping[str, float] = field(default_factory=dict)
    spread: Mapping[str, float] = field(default_factory=dict)
    doses: tuple[DoseRow, ...] = ()

    def schedule(self) -> DosingSchedule | None:
        """Return the doses; None for none."""
        if not self.doses:
            return None
        schedule = DosingSchedule()
        for dose in self.doses:
            repeated: Any = {"every": dose.every, "repeats": dose.repeats} if dose.repeats else {}
            if dose.duration:
                schedule = schedule.infusion(dose.time, dose.state, dose.amount, dose.duration, **repeated)
            else:
                schedule = schedule.bolus(dose.time, dose.state, dose.amount, **repeated)
        return schedule

    def plain(self) -> dict[str, Any]:
        """Return the settings in the types of JSON."""
        found = asdict(self)
        return {**found, "outputs": list(self.outputs), "doses": [asdict(dose) for dose in self.doses]}


def read_settings(given: Any, model: Model, options: Mapping[str, Any] | None = None) -> Settings:
    """Check settings as JSON or TOML have them.

    Parameters
    ----------
    given : mapping
    model : Model
    options : mapping, optional
        That the model was made with; settings of others are refused.

    Raises
    ------
    InputError
        For anything unknown or impossible; values beyond their ranges are said by the solver.
    """
    table = Table(given, WHAT)
    named = table.text("model", model.name)
    if named != model.name:
        raise InputError(
            f"The settings are of the model {named!r}, not of {model.name!r}; open that one with them."
        )
    of = {str(k): v for k, v in _mapping(table.take("options", {}), "options").items()}
    if of not in (dict(options or {}), plain_options(model)):
        raise InputError(
            f"The settings are of the model with the options {shown(of)}, not {shown(dict(options or {}))}; "
            "start fastcart explore with these, --option NAME=VALUE."
        )
    known = [s.name for s in model.states if not s.computed] + model.parameter_names
    settings = Settings(
        patients=_count(table.take("patients", 1000), "The number of patients", 1, MOST_PATIENTS),
        seed=table.seed("seed", 1),
        t_end=number(table.take("t_end", model.t_end), "The horizon t_end", positive=True),
        times=_count(table.take("times", 101), "The number of times", 2, MOST_TIMES),
        lines=_count(table.take("lines", 0), "The number of lines", 0, MOST_PATIENTS),
        rtol=SolveOptions(rtol=table.take("rtol", RTOL)).rtol,
        outputs=_outputs(table.take("outputs", None), model),
        values=_numbers(table.take("values", {}), "values", known),
        spread={k: v for k, v in _numbers(table.take("spread", {}), "spread", known).items() if v},
        doses=_doses(table.take("doses", []), model),
    )
    table.done()
    defaults = model.defaults()
    for name, sigma in settings.spread.items():
        value = settings.values.get(name, defaults[name])
        if sigma < 0:
            raise InputError(f"The spread of {name!r} must not be negative, not {sigma:g}.")
        if not value > 0:
            raise InputError(
                f"The spread of {name!r} is that of its logarithm, but it is {value:g}; set it to 0."
            )
    return settings


def read_toml_text(text: str) -> dict[str, Any]:
    """Return what a text of TOML holds.

    Raises
    ------
    InputError
        Where it is none.
    """
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"The settings are no TOML: {first_line(str(error))}.") from None


def outputs_of(model: Model) -> list[State | Observable]:
    """Return the states and observables that can be shown."""
    hidden = model.moments.hidden if model.moments is not None else ()
    items: list[State | Observable] = [*model.states, *model.observables]
    return [item for item in items if item.name not in hidden]


def plain_options(model: Model) -> dict[str, Any]:
    """Return the options that a variant of a model was built with, in the types of JSON."""
    return json.loads(json.dumps(dict(model.options), default=str))


def log_normal_of(settings: Settings, model: Model) -> dict[str, tuple[float, ...]]:
    """Return the columns that vary, as `fastcart.sample.log_normal` takes them, within their ranges."""
    items, defaults = {item.name: item for item in model.items}, model.defaults()
    found: dict[str, tuple[float, ...]] = {}
    for name in sorted(settings.spread):
        column = (settings.values.get(name, defaults[name]), settings.spread[name])
        low, high = allowed_range(items[name])
        limited = high < math.inf or low > 0
        found[name] = (*column, low, high) if limited else column
    return found


# --- reading ------------------------------------------------------------------------------------------------


def _count(value: Any, what: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError(f"{what} must be a whole number from {low} to {high}, not {shown(value)}.")
    return value


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"The entry {what!r} of the settings must be a table, not {shown(value)}.")
    return value


def _numbers(value: Any, what: str, known: Sequence[str]) -> dict[str, float]:
    given = _mapping(value, what)
    for name in given:
        if name not in known:
            raise InputError(f"There is no parameter or state {shown(name)} to give." + nearest(name, known))
    return {name: number(x, f"The entry {name!r} of [{what}]") for name, x in given.items()}


def _outputs(value: Any, model: Model) -> tuple[str, ...]:
    known = [item.name for item in outputs_of(model)]
    if value is None:
        return (model.burden or known[0],)
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_OUTPUTS:
        raise InputError(f"The outputs must be a list of one or two names, not {shown(value)}.")
    for name in value:
        if name not in known:
            raise InputError(f"There is no state or observable {shown(name)} to show." + nearest(name, known))
    return tuple(dict.fromkeys(value))


def _doses(value: Any, model: Model) -> tuple[DoseRow, ...]:
    if not isinstance(value, list) or len(value) > MOST_DOSES:
        raise InputError(f"The doses must be a list of at most {MOST_DOSES} tables, not {shown(value)}.")
    rows = []
    for entry in value:
        table = Table(entry, "a dose")
        rows.append(DoseRow(
            time=table.number("time", 0.0), state=table.text("state", ""), amount=table.number("amount", 0.0),
            duration=table.number("duration", 0.0), every=table.number("every", 0.0),
            repeats=_count(table.take("repeats", 0), "The repeats of a dose", 0, 10_000),
        ))  # fmt: skip
        table.done()
    known = [state.name for state in model.states if not state.computed]
    for row in rows:
        if row.state not in known:
            raise InputError(f"There is no state {shown(row.state)} to dose." + nearest(row.state, known))
        if row.duration < 0:
            raise InputError(f"The duration of a dose must not be negative, not {row.duration:g}.")
    return tuple(rows)


# --- writing ------------------------------------------------------------------------------------------------


def as_toml(settings: Settings, model: Model, options: Mapping[str, Any]) -> str:
    """Return settings as TOML, which `read_settings` takes."""
    lines = [
        '# fastcart explore MODEL --settings THIS FILE, or "Load" on the page',
        f"model = {json.dumps(model.name)}",
        f"patients = {settings.patients}",
        f"seed = {settings.seed}",
        f"t_end = {settings.t_end!r}",
        f"times = {settings.times}",
        f"lines = {settings.lines}",
        f"rtol = {settings.rtol!r}",
        f"outputs = {json.dumps(list(settings.outputs))}",
    ]
    for head, table in (("options", dict(options)), ("values", settings.values), ("spread", settings.spread)):
        if table:
            lines += ["", f"[{head}]", *(f"{_key(k)} = {_toml(v)}" for k, v in table.items())]
    for dose in settings.doses:
        lines += ["", "[[doses]]", *(f"{name} = {_toml(value)}" for name, value in asdict(dose).items())]
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def _toml(value: Any) -> str:
    return repr(value) if type(value) in (int, float) else json.dumps(value)


def as_python(settings: Settings, model: Model, name: str, options: Mapping[str, Any]) -> str:
    """Return a program that solves the same patients and prints the same bands.

    Parameters
    ----------
    settings : Settings
    model : Model
    name : str
        What `fastcart.models.get` takes, with these ``options``.
    options : mapping
    """
    varied = log_normal_of(settings, model)
    fixed = {k: v for k, v in settings.values.items() if k not in varied}
    given = "".join(f", {k}={v!r}" for k, v in options.items())
    lines = [
        "import numpy as np",
        "import pandas as pd",
        "",
        "import fastcart",
        "from fastcart import sample",
        "",
    ]
    lines.append(f"model = fastcart.models.get({name!r}{given})")
    if varied:
        columns = "".join(f"\n    {k!r}: {v!r}," for k, v in varied.items())
        lines.append("# medians and standard deviations of the logarithms")
        lines.append(f"columns = {{{columns}\n}}")
        lines.append(
            f"patients = sample.log_normal(columns, {settings.patients}, seed={settings.seed}, model=model)"
        )
        lines += [f"patients[{k!r}] = {v!r}" for k, v in fixed.items()]
    else:
        lines.append(f"patients = {'pd.DataFrame([' + repr(fixed) + '])' if fixed else '1'}")
    lines += _python_doses(settings)
    lines += [
        f"times = np.linspace(0, {settings.t_end!r}, {settings.times})",
        f"result = fastcart.solve(model, patients, doses=doses, t_end={settings.t_end!r},",
        f"                        save_at=times, save={list(settings.outputs)!r}, rtol={settings.rtol!r})",
        "print(result.summary())",
    ]
    if model.burden:
        lines.append('print("median PFS:", result.endpoints["pfs"].median())')
    for output in settings.outputs:
        lines.append(
            f"bands = result.trajectories.groupby('t')[{output!r}].quantile({list(QUANTILES)!r}).unstack()"
        )
        lines.append(f"print({output!r}, bands, sep='\\n')")
    used = "\n".join(lines)
    return used.replace("import pandas as pd\n", "" if "pd." not in used else "import pandas as pd\n") + "\n"


def _python_doses(settings: Settings) -> list[str]:
    if not settings.doses:
        return ["doses = None"]
    lines = ["doses = fastcart.DosingSchedule()"]
    for dose in settings.doses:
        more = f", every={dose.every!r}, repeats={dose.repeats}" if dose.repeats else ""
        given = f"{dose.time!r}, {dose.state!r}, {dose.amount!r}"
        if dose.duration:
            lines.append(f"doses = doses.infusion({given}, {dose.duration!r}{more})")
        else:
            lines.append(f"doses = doses.bolus({given}{more})")
    return lines
