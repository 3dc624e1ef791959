"""How firm the table of facts is: equal tuning effort, mixtures, strength of reverse arrows, common rates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fastcart.batch import progress_bar
from fastcart.checks import count
from fastcart.models import get
from fastcart.models.t_cell_presets import PRESETS, Preset, convex, scale_reverse, union
from fastcart.models.t_cell_presets import preset as find_preset
from fastcart.papers.t_cell_theories.facts import ANCESTRY, FACTS, POPULATION, fact_numbers, passes

ALL = tuple(fact.name for fact in FACTS)
WITHOUT_ANCESTRY = tuple(name for name in ALL if name not in ANCESTRY)
WEIGHTS = tuple(np.round(np.linspace(0, 1, 11), 10).tolist())
FACTORS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0)
PURE = tuple(name for name in PRESETS if name != "unified_edge")
ONE_WAY = tuple(name for name in PURE if name != "unified")  # without the reverse arrows of `unified`

# common rates: name, lowest, highest, drawn in logarithm (sec. 4 of the sources: see the model's parameters)
_RANGES = (
    ("alpha", 0.6, 1.6, False), ("lambda_I", 1.3, 3.0, False), ("delta_I", 0.45, 0.7, False),
    ("K_I", 3e4, 3e5, True), ("A", 2e4, 3e5, True), ("g", 2.0, 3.2, False), ("kappa", 7e-6, 3e-5, True),
    ("doff_E", 0.19, 0.85, False),
)  # fmt: skip
_SPREAD = {"rho_S": 0.10, "rho_C": 0.10, "rho_M": 0.07, "rho_E": 0.07}


def draw_common_rates(draws: int, *, seed: int = 0) -> pd.DataFrame:
    """Draw common rates at random over the ranges that the literature leaves.

    Parameters
    ----------
    draws : int
    seed : int

    Returns
    -------
    DataFrame
        A row per draw: columns of the T-cell model.
    """
    n = count(draws, "The number of draws")
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    columns = {}
    for name, low, high, logarithmic in _RANGES:
        ends = np.log([low, high]) if logarithmic else np.array([low, high])
        values = rng.uniform(ends[0], ends[1], n)
        columns[name] = np.exp(values) if logarithmic else values
    defaults = get("t_cell").default_parameters()
    for name, spread in _SPREAD.items():
        columns[name] = defaults[name] * rng.uniform(1 - spread, 1 + spread, n)
    return pd.DataFrame(columns)


def scan_mixtures(
    a: str | Preset = "linear", b: str | Preset = "progressive", weights: Sequence[float] = WEIGHTS, *,
    families: int = 1000, seed: int = 0, threads: int | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Count the facts that weighted means of two theories meet.

    Returns
    -------
    DataFrame
        Columns ``weight``, ``passes``, and one column per fact.
    """
    return _scan("weight", weights, [convex(a, b, w) for w in weights], families, seed, threads)


def scan_reverse(
    theory: str | Preset = "unified", factors: Sequence[float] = FACTORS, *, families: int = 1000,
    seed: int = 0, threads: int | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Count the facts that a theory meets when its reverse arrows are multiplied by a factor.

    Returns
    -------
    DataFrame
        Columns ``factor``, ``passes``, and one column per fact.
    """
    return _scan("factor", factors, [scale_reverse(theory, f) for f in factors], families, seed, threads)


def _scan(name, values, theories, families, seed, threads) -> pd.DataFrame:
    rows = []
    for value, theory in zip(values, theories, strict=True):
        numbers = fact_numbers(theory, pd.DataFrame(index=[0]), families=families, seed=seed, threads=threads)
        held = {fact.name: bool(fact.holds(numbers)[0]) for fact in FACTS}
        rows.append({name: value, "passes": sum(held.values()), **held})
    return pd.DataFrame(rows)


def robustness(
    presets: Sequence[str] = PURE,
    draws: int = 10_000,
    *,
    clonal_draws: int = 50,
    families: int = 300,
    seed: int = 0,
    threads: int | None = None,
    progress: bool | None = False,
) -> pd.DataFrame:
    """Count the facts that each theory meets under random common rates, its own values held.

    Parameters
    ----------
    presets : sequence of str
    draws : int
        Draws on which the fourteen facts of the equations are measured.
    clonal_draws : int
        The first draws, on which the two facts of families are measured as well.
    families : int
        Families for each of these.
    seed : int
    threads : int, optional
    progress : bool, optional

    Returns
    -------
    DataFrame
        A row per theory and draw: ``preset``, ``draw``, ``passes`` (of 14), ``all`` (of 16, NaN beyond the
        first draws), and one column per fact.
    """
    rates = draw_common_rates(draws, seed=seed)
    some = min(clonal_draws, draws)
    parts = []
    with progress_bar(len(presets), progress, unit="theories") as bar:
        for name in presets:
            numbers = fact_numbers(name, rates, threads=threads)
            part = pd.DataFrame({fact: _holds(fact, numbers) for fact in POPULATION})
            part.insert(0, "preset", name)
            part.insert(1, "draw", np.arange(draws))
            part.insert(2, "passes", passes(numbers, POPULATION))
            part.insert(3, "all", np.nan)
            if some:
                full = fact_numbers(
                    name, rates.head(some), families=families, step=0.02, seed=seed, threads=threads
                )
                part.loc[: some - 1, "all"] = passes(full)
            parts.append(part)
            bar.update()
    return pd.concat(parts, ignore_index=True)


def _holds(fact: str, numbers: pd.DataFrame) -> np.ndarray:
    from fastcart.papers.t_cell_theories.facts import BY_NAME

    return BY_NAME[fact].holds(numbers)


def summarise(frame: pd.DataFrame) -> pd.DataFrame:
    """Return what `robustness` says of each theory.

    Returns
    -------
    DataFrame
        ``preset``; ``mean``, ``sd`` of passes of 14; ``best_alone``, the share of draws in which the theory
        passes more than every other; ``mean_16``, ``sd_16`` on the draws with families; and the share of
        draws in which each fact holds.
    """
    table = frame.pivot(index="draw", columns="preset", values="passes")
    rows = []
    for name, group in frame.groupby("preset", sort=False):
        others = table.drop(columns=name)
        alone = (table[name] > others.max(axis=1)).mean() if len(others.columns) else 1.0
        full = group["all"].dropna()
        rows.append(
            {
                "preset": name, "draws": len(group), "mean": group["passes"].mean(),
                "sd": group["passes"].std(), "best_alone": alone, "draws_16": len(full),
                "mean_16": full.mean(), "sd_16": full.std(),
                **{fact: group[fact].mean() for fact in POPULATION},
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def reverse_robustness(
    theory: str | Preset = "unified", factors: Sequence[float] = FACTORS, *, draws: int = 2000,
    seed: int = 0, threads: int | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Return the facts of the equations that hold, by strength of the reverse arrows, under random rates.

    Returns
    -------
    DataFrame
        ``factor``, ``mean`` and ``sd`` of passes of 14, and the share of draws in which each fact holds.
    """
    rates = draw_common_rates(draws, seed=seed)
    rows = []
    for factor in factors:
        numbers = fact_numbers(scale_reverse(theory, factor), rates, threads=threads)
        shares = {fact: _holds(fact, numbers).mean() for fact in POPULATION}
        rows.append({"factor": factor, **_mean_passes(numbers), **shares})
    return pd.DataFrame(rows)


def union_map(
    presets: Sequence[str] = ONE_WAY, factors: Sequence[float] = FACTORS, *, draws: int = 1000, seed: int = 0,
    threads: int | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Add the reverse arrows of ``unified`` to other theories, at several strengths, under random rates.

    Parameters
    ----------
    presets : sequence of str
    factors : sequence of float
        Strength of the added arrows; 0 is the theory itself.
    draws : int
        Random common rates, the same for all.
    seed : int
    threads : int, optional

    Returns
    -------
    DataFrame
        ``preset``, ``factor``, ``mean`` and ``sd`` of the facts met, of the 14 of the equations.
    """
    rates = draw_common_rates(draws, seed=seed)
    rows = []
    for name in presets:
        for factor in factors:
            numbers = fact_numbers(union(name, "unified", strength=factor), rates, threads=threads)
            rows.append({"preset": name, "factor": factor, **_mean_passes(numbers)})
    return pd.DataFrame(rows)


def _mean_passes(numbers: pd.DataFrame) -> dict[str, float]:
    score = passes(numbers, POPULATION)
    return {"mean": score.mean(), "sd": score.std(ddof=1)}


# --- equal tuning effort for every theory


@dataclass(frozen=True)
class _Space:
    """Free values of a theory: limits (in logarithm), and the columns that they set."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    columns: Callable[[np.ndarray], dict[str, np.ndarray]]


def _plain(*names: str) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    return lambda v: {name: v[:, k] for k, name in enumerate(names)}


def _signal(v: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "fhi_C": 1 - v[:, 0], "fhi_E": v[:, 0], "Kon_SC": v[:, 1], "Kon_CM": v[:, 2], "Kon_ME": v[:, 3]
    }  # fmt: skip


def _precursor(v: np.ndarray) -> dict[str, np.ndarray]:
    columns = {"flo_M": 1 - v[:, 0], "flo_E": v[:, 0], "fhi_M": 1 - v[:, 1], "fhi_E": v[:, 1]}
    for a in "SC":  # the rest of the rows is the chance to be M
        columns |= {f"P_{a}M": 1 - v[:, 2], f"P_{a}E": v[:, 2]}
    return columns | {"P_ME": v[:, 2], "Koff_MC": v[:, 3]}


def _unified(v: np.ndarray) -> dict[str, np.ndarray]:
    names = ("P_SC", "P_CM", "P_ME", "Koff_EM", "Koff_MC", "Koff_CS")
    first = {f"{block}_{a}": x for block in ("flo", "fhi") for a, x in (("S", v[:, 0]), ("C", 1 - v[:, 0]))}
    return first | {name: v[:, k + 1] for k, name in enumerate(names)}


SPACES: dict[str, _Space] = {
    "linear": _Space((0.003, 0.003), (0.1, 0.2), _plain("Koff_EM", "Koff_MC")),
    "progressive": _Space((0.1, 0.03, 0.05), (0.7, 0.5, 0.8), _plain("P_SC", "P_CM", "P_ME")),
    "decreasing": _Space((0.3, 0.1, 0.3), (3.0, 2.0, 4.0), _plain("Kon_SC", "Kon_CM", "Kon_ME")),
    "signal": _Space((0.03, 0.3, 0.1, 0.3), (0.9, 4.0, 2.0, 5.0), _signal),
    "bifurcating": _Space((0.005,), (0.4,), lambda v: {"P_CE": v[:, 0], "P_ME": v[:, 0]}),
    "precursor": _Space((0.01, 0.03, 0.03, 0.005), (0.5, 0.9, 0.4, 0.2), _precursor),
    "selfrenew": _Space((0.03,), (0.5,), _plain("P_ME")),
    "unified": _Space(
        (0.02, 0.1, 0.03, 0.05, 0.001, 0.005, 1e-4), (0.9, 0.7, 0.4, 0.8, 0.05, 0.15, 0.01), _unified
    ),
}


def equal_budget(
    presets: Sequence[str] = tuple(SPACES),
    *,
    trials: int = 400,
    searches: int = 2,
    families: int = 500,
    finalists: int = 12,
    seed: int = 0,
    threads: int | None = None,
    progress: bool | None = False,
) -> pd.DataFrame:
    """Tune every theory with the same algorithm and the same number of trials.

    Each search draws half of its trials at random over the free values, and the other half around the best so
    far, within a fifth of the range. The facts of the equations are scored on every trial, those of families
    on the best few.

    Parameters
    ----------
    presets : sequence of str
    trials, searches : int
        Trials per search, independent searches.
    families : int
        Families for each finalist.
    finalists : int
        Trials of each theory on which families are simulated.
    seed : int
    threads : int, optional
    progress : bool, optional

    Returns
    -------
    DataFrame
        A row per theory: ``preset``, ``free`` (number of free values), ``best`` (of 16), ``best_13`` (without
        F10 to F12, the best trial for that count), ``failed`` (facts missed by the best), ``values``.
    """
    rows = []
    with progress_bar(len(presets), progress, unit="theories") as bar:
        for k, name in enumerate(presets):
            streams = np.random.SeedSequence([seed, k]).spawn(searches)
            tried = pd.concat(
                [_search(name, trials, np.random.default_rng(s), threads) for s in streams], ignore_index=True
            )
            rows.append(_judge(name, tried, families, finalists, seed, threads))
            bar.update()
    return pd.DataFrame(rows)


def _search(name: str, trials: int, rng: np.random.Generator, threads: int | None) -> pd.DataFrame:
    """One search: candidates, and the numbers behind their facts."""
    space = SPACES[name]
    low, high = np.log(space.low), np.log(space.high)
    half = max(1, trials // 2)
    wide = rng.uniform(low, high, (half, len(low)))
    first = _measure(name, wide, threads)
    best = wide[int(np.argmax(passes(first, POPULATION)))]
    near = best + rng.uniform(-0.2, 0.2, (max(1, trials - half), len(low))) * (high - low)
    return pd.concat([first, _measure(name, np.clip(near, low, high), threads)], ignore_index=True)


def _measure(name: str, logarithms: np.ndarray, threads: int | None) -> pd.DataFrame:
    candidates = pd.DataFrame(SPACES[name].columns(np.exp(logarithms)))
    return pd.concat([candidates, fact_numbers(name, candidates, threads=threads)], axis=1)


def _judge(
    name: str, tried: pd.DataFrame, families: int, finalists: int, seed: int, threads: int | None
) -> dict:
    """Score the best trials on all facts."""
    columns = [c for c in tried.columns if c in find_preset(name).values]
    without = [fact for fact in POPULATION if fact not in ANCESTRY]
    half = max(1, finalists // 2)
    order = np.concatenate(
        [
            np.argsort(-passes(tried, POPULATION), kind="stable")[:half],
            np.argsort(-passes(tried, without), kind="stable")[: finalists - half],
        ]
    )
    chosen = tried[columns].iloc[list(dict.fromkeys(order.tolist()))].reset_index(drop=True)
    full = fact_numbers(name, chosen, families=families, step=0.02, seed=seed, threads=threads)
    score = passes(full)
    best = int(np.argmax(score))
    failed = [fact.name for fact in FACTS if not fact.holds(full)[best]]
    values = ", ".join(f"{column}={chosen[column].iloc[best]:.3g}" for column in columns)
    return {
        "preset": name, "free": len(SPACES[name].low), "best": int(score[best]),
        "best_13": int(passes(full, WITHOUT_ANCESTRY).max()), "failed": " ".join(failed), "values": values,
    }  # fmt: skip
