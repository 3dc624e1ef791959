"""The question to other models: whether few, then more effectors, and memory last help at equal toxicity.

Every shipped model that says what its tumor, its effectors and a dose are can be asked in a plain form, and
so is ``b_all``, in the same form. What a clinic does are jumps of states at visits, which no equation has to
know: effectors above a target are taken away; from day 28 on a share of them is made memory cells. Toxicity
is the peak of a cytokine where the model has one, else that of effectors; it is severe above the level that
45 % of patients exceed under a usual dose. Parameters vary by a fifth, tumors by half.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fastcart.model import Model
from fastcart.models import for_trial, get
from fastcart.models.core_variables import DISH, CoreVariables, core_variables
from fastcart.options import SolveOptions
from fastcart.papers.srct.controlled import Arrays, KeepArrays
from fastcart.papers.srct.controlled_findings import LEVEL
from fastcart.protocols.controlled import VISITS
from fastcart.runs.sharing import in_order
from fastcart.solvers.status import Status
from fastcart.trial.families import ENDPOINTS, Comparing, Scan, gains
from fastcart.trial.html import points
from fastcart.trial.segments import Patients, Segment, Segments

SEED = 17
USUAL = 1e8  # cells
OURS = "b_all"
DOSES = tuple(USUAL * 10.0**k for k in (-4, -3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 2))
TARGETS = (1e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0)  # in the median peak of effectors of the usual dose
RISE = 0.1  # 1/day
_SPREADS = (0.2, 0.5)  # of parameters, of the tumor
_SEVERE = 0.45  # of patients, under the usual dose
_RESPONSE = 0.01  # share of the tumor that is left at most, by day 90
_BY = 90.0
_FROM = 28.0  # day from which effectors are made memory cells
_MADE = 0.03  # a day, ten times the usual rate of b_all
_LEAST_KEPT = 0.05  # of effectors, at a visit
_MATTERS = 0.03  # difference of shares


class Asked(NamedTuple):
    """A model, and what is needed to ask it."""

    name: str
    model: Model
    core: CoreVariables
    enters: dict[str, float]  # states that a dose enters, cells of the model for each cell


class Family(NamedTuple):
    """What is done: infusions as (day, share of the dose), and whether there is a target, and memory made."""

    infusions: tuple[tuple[float, float], ...] = ((0.0, 1.0),)
    target: bool = False
    rise: float = 0.0
    memory: bool = False


FAMILIES = {
    "single": Family(),
    "low, high": Family(((0.0, 0.1), (7.0, 0.3), (14.0, 0.6))),
    "FLAT": Family(target=True),
    "RISE_T": Family(target=True, rise=RISE),
    "RISE_T, memory": Family(target=True, rise=RISE, memory=True),
}
CONTRASTS = (
    ("infusions timed", "low, high", "single"),
    ("held flat", "FLAT", "single"),
    ("rising", "RISE_T", "single"),
    ("rise instead of flat", "RISE_T", "FLAT"),
    ("memory made at the end", "RISE_T, memory", "RISE_T"),
)


def reason(name: str) -> str:
    """Say why a model cannot be asked; nothing where it can."""
    core = core_variables(get(name))
    if core is None:
        return "what its tumor and its CAR-T cells are is not known"
    if core.reason:
        return core.reason
    if core.subject == DISH:
        return "it is a dish"
    return "" if core.tumor and core.effector else "it has no tumor, or no effectors"


def asked(name: str) -> Asked:
    """Return a model that can be asked."""
    model = get(name)
    core = core_variables(model)
    assert core is not None
    if core.infused is None:
        adapter = for_trial(model)
        entered = adapter.engraft(pd.DataFrame({"patient": [0]}), 1.0, 1.0, D=1.0)
        enters = {state: float(cells[0]) for state, cells in zip(adapter.entry, entered, strict=True)}
    else:
        enters = {state: share / float(core.cells or 1.0) for state, share in core.infused.items()}
    return Asked(name, model, core, enters)


def patients_of(one: Asked, n: int, *, seed: int = SEED) -> pd.DataFrame:
    """Draw patients: parameters times a lognormal number each, within their ranges; the tumor, too.

    Patient k and parameter j are the same whatever the number of patients.
    """
    columns: dict[str, Any] = {"patient": np.arange(n)}
    places = [*one.model.parameter_names, *one.core.tumor]
    defaults = {**one.model.default_parameters(), **one.model.default_states()}
    ranges = {parameter.name: parameter.range for parameter in one.model.parameters}
    for j, name in enumerate(places):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(j,)))
        spread = _SPREADS[name in one.core.tumor]
        low, high = ranges.get(name, (0.0, np.inf))
        columns[name] = np.clip(defaults[name] * np.exp(spread * rng.standard_normal(n)), low, high)
    for name in one.model.state_names:
        if name not in columns:
            gone = name in one.core.cart or name in one.enters
            columns[name] = np.full(n, 0.0 if gone else defaults[name])
    return pd.DataFrame(columns)


def _course(one: Asked, patients: pd.DataFrame, what: Family, intensities: np.ndarray, dose: np.ndarray,
            threads: int | None) -> dict[str, np.ndarray]:  # fmt: skip
    """Follow patients, each with a target and a dose of its own; return what is read of the courses."""
    core, horizon = one.core, float(one.model.t_end)
    everyone = Patients(patients.drop(columns="patient"))
    options = SolveOptions(rtol=1e-5, t_end=horizon)
    segments = Segments(one.model, options, patients["patient"].to_numpy(), threads)
    n = len(patients)

    def total(table: Any, states: Sequence[str]) -> np.ndarray:
        return np.asarray(sum((np.asarray(table[name]) for name in states), np.zeros(n)))

    start = total(everyone.now, core.tumor)
    effectors, marker, nadir = np.zeros(n), np.zeros(n), start.copy()
    ok = np.ones(n, dtype=bool)
    days = sorted({0.0, *(day for day, _ in what.infusions), *VISITS, _BY, horizon})
    days = [day for day in days if day <= horizon]
    for k, day in enumerate(days[:-1]):
        _act(one, everyone.now, what, day, days[k + 1] - day, intensities, dose)
        length = days[k + 1] - day
        saves = tuple(length * np.linspace(0.25, 1.0, 4))
        kept = tuple(dict.fromkeys([*core.tumor, *core.effector, *core.cytokine]))
        solution = segments(everyone, Segment(length, saves, kept, ()), None)
        ok &= solution.status == Status.ok
        path = {name: values.reshape(n, -1) for name, values in solution.saved.items()}
        wide = np.zeros((n, len(saves)))
        here = [np.asarray(sum((path[name] for name in states), wide)) for states in
                (core.effector, core.cytokine or core.effector, core.tumor)]  # fmt: skip
        effectors, marker = (np.fmax(most, values.max(axis=1)) for most, values in
                             zip((effectors, marker), here[:2], strict=True))  # fmt: skip
        if day < _BY:
            nadir = np.fmin(nadir, here[2].min(axis=1))
        for j, name in enumerate(one.model.state_names):
            now = everyone.now[name]
            now[:] = np.where(solution.status == Status.ok, np.maximum(solution.final[:, j], 0.0), now)
    left = total(everyone.now, core.tumor)
    told = {"effectors": effectors, "marker": marker, "response": nadir < _RESPONSE * start,
            "free": left < _RESPONSE * start}  # fmt: skip
    return {name: np.where(ok, values.astype(np.float64), np.nan) for name, values in told.items()}


def _act(
    one: Asked, now: dict[str, np.ndarray], what: Family, day: float, until: float, target: np.ndarray,
    dose: np.ndarray,
) -> None:  # fmt: skip
    """Change the states of patients at a visit: infuse, take effectors away, make memory cells."""
    for infused, share in what.infusions:
        if infused == day:
            for state, cells in one.enters.items():
                now[state][:] += share * dose * cells
    if day not in (0.0, *VISITS):
        return
    if what.target and day > 0:
        there = np.asarray(sum(now[name] for name in one.core.effector))
        wanted = target * np.exp(what.rise * day)
        kept = np.clip(
            np.divide(wanted, there, out=np.ones(len(there)), where=there > wanted), _LEAST_KEPT, 1.0
        )
        for name in one.core.effector:
            now[name][:] *= kept
    if what.memory and day >= _FROM:
        moved = 1.0 - np.exp(-_MADE * until)
        for name in one.core.effector:
            now[one.core.memory[0]][:] += moved * now[name]
            now[name][:] *= 1.0 - moved


def _family(
    one: Asked, name: str, patients: pd.DataFrame, intensities: Sequence[float], threads: int | None
) -> Arrays:
    """Solve a family at all intensities as one batch; what is read, (intensities, patients)."""
    what, count, n = FAMILIES[name], len(intensities), len(patients)
    table = pd.concat([patients] * count, ignore_index=True).assign(patient=np.arange(count * n))
    each = np.repeat(np.asarray(intensities), n)
    dose = np.full(count * n, USUAL) if what.target else each
    found = _course(one, table, what, each, dose, threads)
    return {key: values.reshape(count, n) for key, values in found.items()}


def _scan(name: str, intensities: np.ndarray, found: Arrays, severe: float) -> Scan:
    parts = np.full((*found["marker"].shape, len(ENDPOINTS)), 0.0)
    lost = np.isnan(found["marker"])
    for endpoint, values in (("CR90", found["response"]), ("EFS730", found["free"]),
                             ("crs3", np.where(lost, np.nan, found["marker"] > severe))):  # fmt: skip
        parts[:, :, ENDPOINTS.index(endpoint)] = values
    return Scan(name, intensities, parts)


def answer(name: str, n: int, keep: KeepArrays, *, threads: int | None = None) -> pd.DataFrame:
    """Ask one model; return a row for each contrast and endpoint with the gain at the rate `LEVEL`."""
    one = asked(name)
    patients = patients_of(one, n)
    make: Callable[..., Arrays] = partial(_family, one, threads=threads)

    def solved(family: str, intensities: Sequence[float]) -> Arrays:
        return keep(f"{name} {family}", partial(make, family, patients, intensities))

    single = solved("single", DOSES)
    usual = DOSES.index(USUAL)
    severe = float(np.nanquantile(single["marker"][usual], 1.0 - _SEVERE))
    most = float(np.nanmedian(single["effectors"][usual]))
    scans = {"single": _scan("single", np.array(DOSES), single, severe)}
    for family, what in FAMILIES.items():
        if family == "single" or (what.memory and not one.core.memory):
            continue
        intensities = tuple(most * share for share in TARGETS) if what.target else DOSES
        found = solved(family, intensities)
        scans[family] = _scan(family, np.array(intensities), found, severe)
    rows = []
    how = Comparing(levels={"crs3": (LEVEL,)}, resamples=0)
    for words, family, versus in CONTRASTS:
        if family not in scans:
            continue
        table = gains(scans[family], scans[versus], patients, seed=0, how=how)
        for endpoint in ("CR90", "EFS730"):
            row = table[table["endpoint"] == endpoint].iloc[0]
            rows.append({"model": name, "contrast": words, "endpoint": endpoint, "gain": float(row["gain"])})
    toxicity = "cytokine" if one.core.cytokine else "effectors"
    return pd.DataFrame(rows).assign(toxicity=toxicity)


def zoo(
    chosen: Sequence[str], n: int, keep: KeepArrays, *, threads: int | None = None, backwards: bool = False
) -> pd.DataFrame:
    """Ask models, ``b_all`` among them; those that cannot be asked have a row with the reason.

    Where ``backwards`` the last is asked first, as by who shares the work with another process.

    Columns: ``model, contrast, endpoint, gain, toxicity, agrees`` (with ``b_all`` in the same plain question:
    yes, no, or empty where one of them does not know), ``reason``.
    """
    parts = {}
    names = list(dict.fromkeys([OURS, *chosen]))
    for name in in_order(names, backwards=backwards):
        why = reason(name)
        if why:
            parts[name] = pd.DataFrame([{"model": name, "reason": why}])
        else:
            parts[name] = answer(name, n, keep, threads=threads).assign(reason="")
    table = pd.concat([parts[name] for name in names], ignore_index=True)
    ours = table[table["model"] == OURS].set_index(["contrast", "endpoint"])["gain"]
    agrees = []
    for row in table.to_dict("records"):
        key = (row.get("contrast"), row.get("endpoint"))
        mine = float(ours.get(key, np.nan)) if row["model"] != OURS else np.nan
        agrees.append(_agreement(float(row.get("gain", np.nan)), mine))
    return table.assign(agrees=agrees)


def _agreement(gain: float, ours: float) -> str:
    """Say whether two gains say the same: better, worse, or no difference that matters."""
    if not np.isfinite([gain, ours]).all():
        return ""
    return "yes" if _sign(gain) == _sign(ours) else "no"


def _sign(gain: float) -> int:
    return 0 if abs(gain) < _MATTERS else 1 if gain > 0 else -1


def in_words(table: pd.DataFrame) -> list[str]:
    """Say of each contrast how many models agree with ``b_all``; of remission."""
    texts = []
    for words, _, _ in CONTRASTS:
        rows = table[(table["contrast"] == words) & (table["endpoint"] == "CR90")]
        ours = rows.loc[rows["model"] == OURS, "gain"]
        others = rows[(rows["model"] != OURS)]
        known = others[others["agrees"].isin(["yes", "no"])]
        if not len(ours) or not np.isfinite(float(ours.iloc[0])) or not len(known):
            continue
        agree = int((known["agrees"] == "yes").sum())
        better = known.loc[known["gain"] >= _MATTERS, "model"].tolist()
        helped = f"; it helps in {', '.join(better)}" if better else "; it helps in none of them"
        texts.append(
            f"{words[0].upper()}{words[1:]}: {points(float(ours.iloc[0]))} points of response in "
            f"{OURS}, asked plainly; {agree} of {len(known)} other models that can be compared say the "
            f"same{helped}."
        )
    return texts
