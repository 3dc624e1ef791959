"""The search over protocols: per regime of amplification and heterogeneity, and over other structures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fastcart import plotting
from fastcart.model import Model
from fastcart.models import get as get_model
from fastcart.papers.srct.experiments import DEFAULT_RHO_E, VARIANTS, changed
from fastcart.papers.srct.figures import short
from fastcart.papers.srct.protocol_families import FAMILIES, Family
from fastcart.papers.srct.protocol_search import (
    ITERATIONS,
    PARTICLES,
    REPLICATES,
    Setting,
    judge,
    search,
    setting,
)
from fastcart.papers.srct.tuning import tuned_dose, tuned_growth
from fastcart.population import sample
from fastcart.protocols import Arm, get
from fastcart.runs.forms import ARRAYS, CSV, Form
from fastcart.runs.sharing import in_order
from fastcart.trial.html import points

SEARCH_RHO_E = (1.4, 2.2, DEFAULT_RHO_E)
SEARCH_HET = (0.5, 1.0)
STRUCTURE_RHO_E = (1.4, DEFAULT_RHO_E)  # where protocols are tried in other structures, at het 1
NAMED = ("A0", "A3", "A4", "A5")
QUICK: dict[str, Any] = {  # a short search, in one regime
    "rho_E": (DEFAULT_RHO_E,), "het": (1.0,), "structures": False, "particles": 4, "iterations": 2,
}  # fmt: skip
GROWTH_LAG = 2.0  # days
_LAG_NAME = f"growth lag ({GROWTH_LAG:g} days)"
_DEFAULT = next(iter(VARIANTS))
_TRAINING, _HELD_OUT, _STRUCTURES = 24, 3, 12  # the size of the study over the patients of each part

_COLUMNS = [
    "het", "rhoE", "amplification", "dose", "structure", "arm", "protocol", "CR90", "crs3", "EFS730", "OS730",
    "isotoxic_share", "gain_CR90", "gain_EFS730", "gain_OS730", "eligible", "low", "high", "best", "unjudged",
    "training_gain", "keeps",
]  # fmt: skip


def _not_kept(_: str, make: Callable[[], Any], form: Form[Any]) -> Any:
    return make()


def protocol_search(
    size: int,
    *,
    seed: int,
    rho_E: Sequence[float] = SEARCH_RHO_E,
    het: Sequence[float] = SEARCH_HET,
    families: Sequence[Family] = FAMILIES,
    structures: bool = True,
    particles: int = PARTICLES,
    iterations: int = ITERATIONS,
    threads: int | None = None,
    keep: Callable[[str, Callable[[], Any], Form[Any]], Any] = _not_kept,
    backwards: bool = False,
) -> pd.DataFrame:
    """Search each family of protocols in each regime, and judge what is found in unseen patients.

    A regime is tuned as in the amplification experiment: 80 % remissions and 46 % severe CRS of the single
    infusion, in the patients of the search. What is found at heterogeneity 1 is then tried in other
    structures of the model, each tuned anew.

    Parameters
    ----------
    size : int
        Patients of the study: a 24th of them is searched in, a third judges.
    seed : int
        Of the population, of the search, and of the bootstrap.
    rho_E, het : sequence of float
        Growth rate of effectors (1/day, of the median patient) and multiplier of heterogeneity.
    families : sequence of Family
    structures : bool
        Whether to try other structures.
    particles, iterations : int
        Of each search.
    threads : int, optional
    keep : callable, optional
        ``keep(name, make, form)`` returns a part of the study, read where it is kept, else made and kept.
    backwards : bool
        Work on the last regime first, as who shares the work with another process; the table is the same.

    Returns
    -------
    DataFrame
        A row per regime or structure and arm: tuned dose and amplification, the protocol in words, expected
        outcomes in unseen patients, gains over the iso-toxic single infusion with a 95 % bootstrap interval
        (``low``, ``high``) of ``gain_EFS730``, ``best`` (share of the bootstrap in which no other arm gains
        more), and for protocols that were searched the gain in the patients of the search and whether they
        kept the limits there.
    """
    training, held_out = max(size // _TRAINING, 50), max(size // _HELD_OUT, 50)
    how = Search(families, seed, particles, iterations, threads, keep, backwards)
    parts: dict[tuple[float, float], list[pd.DataFrame]] = {}
    for spread, value in how.ordered([(spread, value) for spread in het for value in rho_E]):
        everyone = sample(training + held_out, seed=seed, het=spread)
        patients = changed(everyone, {"rhoE": ("times", value / DEFAULT_RHO_E)})
        tried = patients.iloc[training:].head(max(size // _STRUCTURES, 50))
        elsewhere = structures and spread == 1.0 and value in STRUCTURE_RHO_E
        label = {"het": spread, "rhoE": value}
        parts[spread, value] = _in_regime(patients, training, tried if elsewhere else None, label, how)
    listed = [part for spread in het for value in rho_E for part in parts[spread, value]]
    return pd.concat(listed, ignore_index=True)[_COLUMNS]


class Search(NamedTuple):
    """How protocols are searched."""

    families: Sequence[Family]
    seed: int
    particles: int
    iterations: int
    threads: int | None
    keep: Callable[[str, Callable[[], Any], Form[Any]], Any]
    backwards: bool

    def ordered(self, items: Sequence[Any]) -> Sequence[Any]:
        """Return items in the order in which they are worked on."""
        return in_order(items, backwards=self.backwards)


def _in_regime(
    patients: pd.DataFrame, training: int, tried: pd.DataFrame | None, label: dict[str, Any], how: Search
) -> list[pd.DataFrame]:
    """Search one regime in the first patients, judge in the others; in some of them in other structures."""
    name = f"{label['het']:g} {label['rhoE']:g}"
    first, unseen = patients.head(training), patients.iloc[training:]
    regime = how.keep(f"{name} tuned", lambda: tuned_dose(first, threads=how.threads).scales(first), ARRAYS)
    dose, scale = float(regime["dose"]), float(regime["pC"])
    arms, rows = _searched(first.assign(pC=first["pC"] * scale), dose, name, how)

    def judged() -> pd.DataFrame:
        # IL-6 as in the regime: its production was scaled by one factor for all
        where = setting(unseen.assign(pC=unseen["pC"] * scale), dose=dose, threads=how.threads)
        told = {"structure": _DEFAULT, "dose": dose, "amplification": float(regime["amplification"])}
        return _judged(where, arms, label | told, rows, how.seed)

    parts = [how.keep(f"{name} judged", judged, CSV)]
    if tried is not None:
        parts += _in_structures(tried, dose, arms, label, rows, how)
    return parts


def _searched(
    patients: pd.DataFrame, dose: float, name: str, how: Search
) -> tuple[dict[str, Arm], pd.DataFrame]:
    """Search all families in one regime; return the arms to be judged, and what the search says of them."""
    where = cache(lambda: setting(patients, dose=dose, threads=how.threads))
    arms: dict[str, Arm] = {name: get(name) for name in NAMED}
    rows: list[dict[str, Any]] = [{"arm": name, "protocol": get(name).title} for name in NAMED]

    def found_in(family: Family) -> dict[str, np.ndarray]:
        found = search(family, where(), seed=how.seed, particles=how.particles, iterations=how.iterations)
        numbers = np.array([found.numbers[name] for name in family.names])
        return {"numbers": numbers, "gain": np.array(found.gain), "keeps": np.array(found.keeps)}

    told = {
        family.name: how.keep(f"{name} {family.name}", partial(found_in, family), ARRAYS)
        for family in how.ordered(how.families)
    }
    for family in how.families:
        of = told[family.name]
        numbers = dict(zip(family.names, of["numbers"].tolist(), strict=True))
        arms[family.name] = family.make(numbers)
        rows.append({"arm": family.name, "protocol": family.say(numbers),
                     "training_gain": float(of["gain"]), "keeps": bool(of["keeps"])})  # fmt: skip
    return arms, pd.DataFrame(rows).reindex(columns=["arm", "protocol", "training_gain", "keeps"])


def _judged(
    where: Setting,
    arms: dict[str, Arm],
    label: dict[str, Any],
    rows: pd.DataFrame,
    seed: int,
    replicates: int = REPLICATES,
) -> pd.DataFrame:
    """Judge arms in unseen patients, and put what they are beside."""
    table = judge(arms, where, seed=seed, replicates=replicates).rename(columns={"dose": "isotoxic_share"})
    return table.merge(rows, on="arm", how="left").assign(**label)


def _in_structures(
    patients: pd.DataFrame,
    dose: float,
    arms: dict[str, Arm],
    label: dict[str, Any],
    rows: pd.DataFrame,
    how: Search,
) -> list[pd.DataFrame]:
    """Try protocols in other structures: with the dose tuned anew, or the growth where it is the default."""

    def tried(name: str) -> pd.DataFrame:
        model: str | Model = get_model("b_all", growth_lag=GROWTH_LAG) if name == _LAG_NAME else "b_all"
        some = changed(patients, VARIANTS.get(name, {}))
        if label["rhoE"] == DEFAULT_RHO_E:
            regime = tuned_growth(some, dose=dose, model=model, threads=how.threads)
        else:
            regime = tuned_dose(some, model=model, threads=how.threads)
        where = setting(regime.patients, dose=regime.dose, model=model, threads=how.threads)
        told = {"structure": name, "dose": regime.dose, "amplification": regime.amplification}
        return _judged(where, arms, label | told, rows, how.seed, REPLICATES // 3)

    names = [*list(VARIANTS)[1:], _LAG_NAME]
    made = {
        name: how.keep(f"{label['rhoE']:g} structure {names.index(name)}", partial(tried, name), CSV)
        for name in how.ordered(names)
    }
    return [made[name] for name in names]


def best_by_regime(table: pd.DataFrame) -> pd.DataFrame:
    """Return the eligible arm with the largest gain in each regime of the default structure.

    Returns
    -------
    DataFrame
        The rows of the table, one per regime; regimes in which no arm can be judged are left out.
    """
    regimes = table[(table["structure"] == _DEFAULT) & table["eligible"]]
    rows = regimes.groupby(["het", "rhoE"], sort=True)["gain_EFS730"].idxmax()
    return regimes.loc[rows].reset_index(drop=True)


def across_structures(table: pd.DataFrame) -> pd.DataFrame:
    """Return how the gain of each arm varies over structures of the model, at heterogeneity 1.

    Returns
    -------
    DataFrame
        ``rhoE, arm, structures`` (in which its gain can be judged), ``least, median, most`` gain,
        ``eligible`` (in how many it is not worse than the whole product at once), ``wins`` (in how many it is
        the eligible arm that gains most).
    """
    tried = table["rhoE"].isin(STRUCTURE_RHO_E) & (table["het"] == 1.0)
    part = table[tried & table["gain_EFS730"].notna()]
    among = part[part["eligible"]]
    top = among.loc[among.groupby(["rhoE", "structure"])["gain_EFS730"].idxmax(), ["rhoE", "arm"]]
    wins = top.value_counts()
    grouped = part.groupby(["rhoE", "arm"], sort=False)
    result = grouped["gain_EFS730"].agg(structures="size", least="min", median="median", most="max")
    result["eligible"] = grouped["eligible"].sum().astype(int)
    result["wins"] = [int(wins.get(key, 0)) for key in result.index]
    return result.reset_index()


def findings(table: pd.DataFrame) -> str:
    """Say in a paragraph which protocol is best where, from the numbers of the table."""
    said = [_said_of_regime(table, row) for row in best_by_regime(table).to_dict("records")]
    number = int(table.loc[table["het"] == 1.0, "structure"].nunique())
    if number > 1:
        for value, group in across_structures(table).groupby("rhoE", sort=True):
            top = group.sort_values(["wins", "median"], ascending=False).iloc[0].to_dict()
            said.append(
                f"Over {number} structures of the model at rhoE {value:g}, {_title(top['arm'])} is the "
                f"eligible arm that gains most in {top['wins']}; its gain is {points(top['least'])} to "
                f"{points(top['most'])} points in the {top['structures']} in which it can be judged."
            )
    return " ".join(said)


def _said_of_regime(table: pd.DataFrame, row: dict[Any, Any]) -> str:
    regime = f"At heterogeneity {row['het']:g} and a median amplification of {row['amplification']:.2g}"
    if not (math.isfinite(row["low"]) and math.isfinite(row["high"])):
        return f"{regime} it is not known which protocol is best: the largest gain has no interval."
    if row["low"] <= 0.0:
        return (
            f"{regime} no protocol gains beyond doubt over the iso-toxic single infusion; the largest gain "
            f"is {points(row['gain_EFS730'])} points ({points(row['low'])} to {points(row['high'])}), of "
            f"{_title(row['arm'])}."
        )
    same = table[
        (table["het"] == row["het"])
        & (table["rhoE"] == row["rhoE"])
        & (table["structure"] == row["structure"])
    ]
    single = same.set_index("arm").loc["A0"].to_dict()
    return (
        f"{regime} {_title(row['arm'])} is best: {points(row['gain_EFS730'])} points of event-free survival "
        f"at 24 months ({points(row['low'])} to {points(row['high'])}) over the iso-toxic single infusion, "
        f"first in {100 * row['best']:.0f} % of the bootstrap; severe CRS {100 * row['crs3']:.0f} % against "
        f"{100 * single['crs3']:.0f} %, event-free {100 * row['EFS730']:.0f} % against "
        f"{100 * single['EFS730']:.0f} % with the whole product at once."
    )


def _title(arm: str) -> str:
    titles = {family.name: family.title[0].lower() + family.title[1:] for family in FAMILIES}
    return f"the arm {arm!r} ({titles[arm]})" if arm in titles else f"the arm {arm}"


def figure(table: pd.DataFrame) -> tuple[Any, pd.DataFrame]:
    """Draw the gain of what was found, with intervals, per regime, and its range over structures."""
    canvas = plotting.new_figure(7.2, 3.4)
    regimes = table[table["structure"] == _DEFAULT]
    spreads = sorted(regimes["het"].unique())
    arms = [name for name in ("A3", "A5", *(family.name for family in FAMILIES)) if name in set(table["arm"])]
    looks = dict(zip(arms, zip(plotting.PALETTE, plotting.MARKERS, strict=False), strict=False))
    several = table["structure"].nunique() > 1
    panels = np.atleast_1d(canvas.subplots(1, len(spreads) + several, sharey=True))
    for k, spread in enumerate(spreads):
        _draw_regimes(panels[k], regimes[regimes["het"] == spread], looks)
        what = "Growth of effectors rhoE (1/day);\n×: median amplification"
        plotting.panel(panels[k], "abcdef"[k], f"Heterogeneity {spread:g}", what, "" if k else _GAIN)
    if several:
        _draw_structures(panels[-1], table, arms)
        plotting.panel(panels[-1], "abcdef"[len(spreads)], "Structures, heterogeneity 1", "Protocol", "")
    panels[0].legend(fontsize=6)
    told = table[_SHOWN].copy()
    told[["low", "high"]] = (100 * told[["low", "high"]]).round(2) + 0.0  # no -0.0
    return canvas, told.rename(columns={"low": "Low (points)", "high": "High (points)"})


_GAIN = "Gain of EFS at 24 months (points)"
_SHOWN = [
    "het", "rhoE", "amplification", "structure", "arm", "protocol", "crs3", "CR90", "EFS730", "gain_EFS730",
    "low", "high", "eligible", "best",
]  # fmt: skip


def _draw_regimes(axes: Any, part: pd.DataFrame, looks: dict[str, tuple[str, str]]) -> None:
    values = sorted(part["rhoE"].unique())
    for j, (arm, (color, marker)) in enumerate(looks.items()):
        mine = part[part["arm"] == arm].set_index("rhoE").reindex(values)
        places = np.arange(len(values)) + 0.11 * (j - (len(looks) - 1) / 2)
        gain, low, high = (100 * mine[name].to_numpy() for name in ("gain_EFS730", "low", "high"))
        reach = np.vstack([np.maximum(gain - low, 0.0), np.maximum(high - gain, 0.0)])
        axes.errorbar(places, gain, yerr=reach, fmt=marker, color=color, markersize=3, linewidth=1, label=arm)
    amplification = part.groupby("rhoE")["amplification"].first()
    axes.set_xticks(range(len(values)), [f"{v:g}\n×{short(amplification[v])}" for v in values], fontsize=6)
    axes.axhline(0, color=plotting.GREY, linewidth=0.6, linestyle=":")


def _draw_structures(axes: Any, table: pd.DataFrame, arms: list[str]) -> None:
    part = table[table["het"] == 1.0]
    for shift, value, marker, face in (
        (-0.15, STRUCTURE_RHO_E[0], "o", "none"), (0.15, STRUCTURE_RHO_E[1], "s", plotting.GREY),
    ):  # fmt: skip
        rows = part[(part["rhoE"] == value) & part["arm"].isin(arms)]
        places = rows["arm"].map(arms.index) + shift
        axes.plot(places, 100 * rows["gain_EFS730"], marker, color=plotting.BLACK, markerfacecolor=face,
                  markersize=3, markeredgewidth=0.5, label=f"rhoE {value:g}")  # fmt: skip
    axes.axhline(0, color=plotting.GREY, linewidth=0.6, linestyle=":")
    axes.set_xticks(range(len(arms)), arms, fontsize=6, rotation=45)
    axes.legend(fontsize=6)
