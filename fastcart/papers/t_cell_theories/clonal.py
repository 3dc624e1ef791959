"""Families of single cells: a branching simulation on top of the T-cell model, for fate-mapping facts.

Every naive cell founds a family. The drive I(t) comes from the equations and the families do not feed back,
so the mean family follows the equations, and families are independent of each other: each has its own stream
of random numbers, made from the seed and its number.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numba import njit

from fastcart.batch import check_threads, solve
from fastcart.checks import count, number, seed_of, shown
from fastcart.errors import InputError
from fastcart.models import get
from fastcart.models.t_cell_parameters import FATES, PHENOTYPES
from fastcart.models.t_cell_presets import Preset
from fastcart.models.t_cell_presets import preset as find_preset
from fastcart.papers.t_cell_theories.draws import INNER, binomial, following, uniform
from fastcart.solvers.compile import EXACT, cached
from fastcart.solvers.threads import in_threads

STEP = 0.01  # days
_TYPES = len(FATES)
_FEW = 10  # events that are drawn one by one
_OUTCOMES = 6  # of an event: division, homeostatic division, death, conversions to the other phenotypes


def simulate_families(
    preset: str | Preset = "unified",
    families: int = 3000,
    *,
    t_end: float = 8.0,
    patient: Mapping[str, float] | None = None,
    scenario: str = "acute",
    correlation: int | None = None,
    step: float = STEP,
    seed: int = 0,
    threads: int | None = None,
) -> pd.DataFrame:
    """Simulate the families of naive cells that are driven by one patient's course.

    Tau-leaping with binomial numbers of events; the chance of an event in a step is chosen so that the mean
    grows exactly as in the equations.

    Parameters
    ----------
    preset : str or Preset
    families : int
        Naive cells at time 0.
    t_end : float
        Day at which families are counted.
    patient : mapping of str to float, optional
        Parameters and initial values that differ from the defaults.
    scenario : str
        Of the T-cell model; its doses are not given.
    correlation : int, optional
        Of the fates of the two first daughters, -1, 0 or 1; default the preset's.
    step : float
        Days per leap.
    seed : int
        The same seed gives the same families, whatever the number of threads and of other families.
    threads : int, optional

    Returns
    -------
    DataFrame
        A row per family: ``recruited`` (day of the first division, NaN for none), cells ``S, C, M, E, X``,
        and ``size``, their sum.

    Raises
    ------
    InputError
        For bad input, also of the model.
    """
    theory = find_preset(preset)
    n = count(families, "The number of families")
    horizon = number(t_end, "The horizon t_end", positive=True)
    leap = number(step, "The step", positive=True)
    model = get("t_cell", preset=theory, scenario=scenario)
    steps = max(1, int(np.ceil(horizon / leap * (1 - 1e-12))))
    leap = horizon / steps
    middles = (np.arange(steps) + 0.5) * leap
    result = solve(model, dict(patient or {}) or 1, t_end=horizon, save_at=middles, rtol=1e-8, progress=False)
    if result.summary() != {"ok": 1} or result.trajectories is None:
        raise InputError("The course of this patient cannot be computed, so it drives no families.")
    drive = np.clip(result.trajectories["I"].to_numpy(), 0.0, 1.0)
    values = _one_patient(model, patient)
    pair = theory.correlation if correlation is None else correlation
    cells, recruited = families_of(values, drive, leap, n, pair, seed=seed, threads=threads)
    frame = pd.DataFrame(cells, columns=list(FATES))
    frame.insert(0, "recruited", recruited)
    frame["size"] = cells.sum(axis=1)
    return frame


def _one_patient(model: Any, patient: Mapping[str, float] | None) -> dict[str, float]:
    from fastcart.patients import check_patients

    table = check_patients(model, dict(patient or {}) or 1)
    _, p = table.arrays(0, 1)
    return dict(zip(model.parameter_names, p[0].tolist(), strict=True))


def families_of(
    values: Mapping[str, float], drive: np.ndarray, step: float, families: int, correlation: int, *,
    seed: int = 0, threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Simulate families for given parameters and a given drive.

    Parameters
    ----------
    values : mapping of str to float
        All parameters of the T-cell model.
    drive : ndarray, shape (steps,)
        I in the middle of each step.
    step : float
        Days.
    families : int
    correlation : int
    seed : int
    threads : int, optional

    Returns
    -------
    cells : ndarray of int, shape (families, 5)
        S, C, M, E, X at the end.
    recruited : ndarray, shape (families,)
        Day of the first division, NaN for none.
    """
    if correlation not in (-1, 0, 1):
        raise InputError(f"The correlation of first daughters must be -1, 0 or 1, not {shown(correlation)}.")
    seed = seed_of(seed)
    course = _Course(drive, step, values["alpha"], values["d_N"], correlation)
    fates = _fates(values, drive)
    cells = np.zeros((families, _TYPES), dtype=np.int64)
    recruited = np.full(families, np.nan)
    start = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    kernel = cached(_families, "families of single cells", nogil=True, **EXACT)  # type: ignore[arg-type]
    control = np.zeros(2, dtype=np.int64)

    def run(a: int, b: int) -> None:
        kernel(a, b, start, course, fates, cells, recruited, control)

    threads = check_threads(threads)
    size = max(64, -(-families // (8 * threads)))  # a few pieces for each thread, so that none waits long
    jobs = [partial(run, a, min(a + size, families)) for a in range(0, families, size)]
    in_threads(jobs, threads, control)
    return cells, recruited


class _Course(NamedTuple):
    """What drives a family."""

    drive: np.ndarray  # I in the middle of each step
    step: float  # days
    alpha: float  # first divisions per day under full drive
    d_N: float  # death of naive cells, 1/day
    correlation: int  # of the first two daughters


class _Fates(NamedTuple):
    """What happens to a cell of each type in each step, as conditional chances."""

    total: np.ndarray  # (steps, 5): rate of all events
    net: np.ndarray  # (steps, 5): rate of growth
    outcome: np.ndarray  # (steps, 5, 7, 2): chance of each, given none of those before; see `_with_rest`
    targets: np.ndarray  # (5, 7): type that a conversion leads to
    daughter: np.ndarray  # (1, 5, 5, 2): chance of each fate of a daughter, given none of those before
    first: np.ndarray  # (steps, 4): cumulative fates of first daughters


def _fates(values: Mapping[str, float], drive: np.ndarray) -> _Fates:
    """Return what happens to a cell of each type in each step."""
    off = 1.0 - drive
    power = drive ** values["q"]
    rates = np.zeros((len(drive), _TYPES, _OUTCOMES))
    targets = np.zeros((_TYPES, _OUTCOMES), dtype=np.int64)
    daughters = np.zeros((_TYPES, _TYPES))
    for i, a in enumerate(PHENOTYPES):
        rates[:, i, 0] = values[f"rho_{a}"] * drive
        rates[:, i, 1] = values[f"h_{a}"]
        rates[:, i, 2] = values[f"don_{a}"] * drive + values[f"doff_{a}"] * off
        others = [b for b in PHENOTYPES if b != a]
        for k, b in enumerate(others):
            rates[:, i, 3 + k] = values[f"Kon_{a}{b}"] * power + values[f"Koff_{a}{b}"] * off
            targets[i, 3 + k] = PHENOTYPES.index(b)
        daughters[i] = [values[f"P_{a}{b}"] for b in FATES]
    # exhaustion: M and E become X; room for it beside the three conversions
    exhausted = np.zeros((len(drive), _TYPES, 1))
    exhausted[:, 2, 0] = exhausted[:, 3, 0] = values["xi"] * drive
    rates = np.concatenate([rates, exhausted], axis=2)
    targets = np.concatenate([targets, np.full((_TYPES, 1), FATES.index("X"))], axis=1)
    rates[:, 4, 2] = values["dXon"] * drive + values["dXoff"] * off
    rates[:, 4, 3] = values["omega"] * off
    targets[4, 3] = PHENOTYPES.index("M")
    total = rates.sum(axis=2)
    net = rates[:, :, 0] + rates[:, :, 1] - rates[:, :, 2]
    lo = np.array([values[f"flo_{b}"] for b in PHENOTYPES])
    hi = np.array([values[f"fhi_{b}"] for b in PHENOTYPES])
    first = np.cumsum(off[:, None] * lo + drive[:, None] * hi, axis=1)
    outcome, daughter = _with_rest(_conditional(rates)), _with_rest(_conditional(daughters[None]))
    return _Fates(total, net, outcome, targets, daughter, first)


def _conditional(weights: np.ndarray) -> np.ndarray:
    """Return the chance of each alternative (last axis), given that it is none of those before."""
    left = np.flip(np.cumsum(np.flip(weights, axis=-1), axis=-1), axis=-1)
    return np.divide(weights, left, out=np.zeros_like(weights), where=left > 0).clip(0.0, 1.0)


def _with_rest(chance: np.ndarray) -> np.ndarray:
    """Return chances with the logarithm of what they or the rest leave, whichever is smaller, beside them."""
    with np.errstate(divide="ignore"):
        return np.stack([chance, np.log1p(-np.minimum(chance, 1.0 - chance))], axis=-1)


# What happens to families takes whole tables and places in them: slices would be counted, one by one.


@njit(**INNER)
def _pick(state, table, k, i):
    """One of the alternatives in row ``k, i`` of a table of conditional chances."""
    u = uniform(state)
    last = table.shape[2] - 1
    for j in range(last):
        chance = table[k, i, j, 0]
        if chance > 0.0:
            if u < chance:
                return j
            u = (u - chance) / (1.0 - chance)
    return last


@njit(**INNER)
def _one_by_one(state, new, k, i, events, fates):
    """Let a few events happen to cells of type ``i``."""
    outcome, targets, daughter = fates.outcome, fates.targets, fates.daughter
    for _ in range(events):
        o = _pick(state, outcome, k, i)
        if o == 0:
            new[i] -= 1
            new[_pick(state, daughter, 0, i)] += 1
            new[_pick(state, daughter, 0, i)] += 1
        elif o == 1:
            new[i] += 1
        else:
            new[i] -= 1
            if o > 2:
                new[targets[i, o]] += 1


@njit(**INNER)
def _together(state, new, k, i, events, fates):
    """Let many events happen to cells of type ``i``; the law is the same."""
    outcome, targets, daughter = fates.outcome, fates.targets, fates.daughter
    for o in range(outcome.shape[2]):
        happened = binomial(state, events, outcome[k, i, o, 0], outcome[k, i, o, 1])
        events -= happened
        if o == 1:
            new[i] += happened
            continue
        new[i] -= happened
        if o > 2:
            new[targets[i, o]] += happened
        cells = 2 * happened if o == 0 else 0
        for j in range(_TYPES):
            born = binomial(state, cells, daughter[0, i, j, 0], daughter[0, i, j, 1])
            new[j] += born
            cells -= born


@njit(**INNER)
def _leap(state, x, family, new, chance, c, k, fates):
    """Let step ``k`` pass for one family of ``x``; ``chance[c]``: that something happens to a cell."""
    for i in range(_TYPES):
        new[i] = 0
    for i in range(_TYPES):
        cells = x[family, i]
        if cells == 0:
            continue
        events = binomial(state, cells, chance[c, i, 0], chance[c, i, 1])
        new[i] += cells
        if events <= _FEW:
            _one_by_one(state, new, k, i, events, fates)
        else:
            _together(state, new, k, i, events, fates)
    for i in range(_TYPES):
        x[family, i] = new[i]


@njit(**INNER)
def _chances(into, c, total, net, k, dt):
    """Chance that something happens to a cell within ``dt`` of step ``k``, so that the mean grows exactly."""
    for i in range(_TYPES):
        growth = net[k, i] * dt
        chance = min(1.0, total[k, i] * (dt if abs(growth) < 1e-12 else np.expm1(growth) / net[k, i]))
        into[c, i, 0], into[c, i, 1] = chance, np.log1p(-min(chance, 1.0 - chance))


def _families(begin, end, seed, course, fates, cells, recruited, control):
    """Simulate families ``begin`` to ``end``."""
    drive, step, alpha, d_N = course.drive, course.step, course.alpha, course.d_N
    total, net, first = fates.total, fates.net, fates.first
    state = np.zeros(1, np.uint64)
    new = np.zeros(_TYPES, np.int64)
    part = np.zeros((1, _TYPES, 2))
    chance = np.zeros((drive.size, _TYPES, 2))
    for k in range(drive.size):
        _chances(chance, k, total, net, k, step)
    for family in range(begin, end):
        if control[0] != 0:
            return
        # a stream of its own: the number of the family, scrambled, far from all others
        state[0] = seed ^ (np.uint64(family) * np.uint64(0xD1342543DE82EF95))
        state[0] = following(state)
        call = -np.log(uniform(state))  # the first division, in units of its cumulated hazard
        death = -np.log(uniform(state)) / d_N if d_N > 0.0 else np.inf
        passed = 0.0
        k = 0
        while k < drive.size and passed + alpha * drive[k] * step < call:
            passed += alpha * drive[k] * step
            k += 1
        if k == drive.size:
            continue
        into = (call - passed) / (alpha * drive[k])
        day = k * step + into
        if day >= death:
            continue
        recruited[family] = day
        u = uniform(state)
        v = u
        if course.correlation == 0:
            v = uniform(state)
        elif course.correlation == -1:
            v = u + 0.5 if u < 0.5 else u - 0.5
        for w in (u, v):
            i = 0
            while i < first.shape[1] - 1 and w >= first[k, i]:
                i += 1
            cells[family, i] += 1
        _chances(part, 0, total, net, k, step - into)
        _leap(state, cells, family, new, part, 0, k, fates)
        for s in range(k + 1, drive.size):
            _leap(state, cells, family, new, chance, s, s, fates)


def family_facts(families: pd.DataFrame) -> dict[str, float]:
    """Return what single-cell fate mapping measures, over families with cells.

    Parameters
    ----------
    families : DataFrame
        From `simulate_families`.

    Returns
    -------
    dict
        ``families``; ``spearman``, the rank correlation of size and memory share, the more negative of
        (S+C)/T and (S+C+M)/T; ``top_tenth``, what the largest 10 % hold; ``no_tcm`` and ``mostly_tcm``,
        shares of families without and with more than half S and C cells; ``mean_size`` over all founders.
    """
    alive = families[families["size"] > 0]
    size = alive["size"].to_numpy(float)
    if len(alive) < 3:
        return {"families": float(len(alive))} | dict.fromkeys(
            ("spearman", "top_tenth", "no_tcm", "mostly_tcm", "mean_size"), np.nan
        )
    central = (alive["S"] + alive["C"]).to_numpy(float) / size
    memory = central + alive["M"].to_numpy(float) / size
    largest = np.sort(size)[::-1]
    return {
        "families": float(len(alive)),
        "spearman": min(_rank_correlation(size, central), _rank_correlation(size, memory)),
        "top_tenth": float(largest[: max(1, round(len(largest) / 10))].sum() / largest.sum()),
        "no_tcm": float((central == 0).mean()),
        "mostly_tcm": float((central > 0.5).mean()),
        "mean_size": float(families["size"].mean()),
    }


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation; infinite, so never the smaller one, where one of the two is constant."""
    from scipy.stats import spearmanr

    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return np.inf
    return float(spearmanr(a, b).statistic)
