"""Sixteen facts about T-cell responses, and how the theories do on them.

Cuts are choices; the evidence is cited. A table of passes is no model selection: theories differ in the
number of free values, and some facts were chosen after seeing early scores (see the report of
``t-cell-theories``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fastcart.batch import solve
from fastcart.checks import count
from fastcart.errors import InputError
from fastcart.models import get
from fastcart.models.t_cell_presets import PRESETS, Preset
from fastcart.models.t_cell_presets import preset as find_preset
from fastcart.models.t_cell_scenarios import SCENARIOS
from fastcart.papers.t_cell_theories.clonal import STEP, family_facts, simulate_families

RTOL = 1e-6
_CELLS = ["N", "S", "C", "M", "E", "X"]
_NEAR_PEAK = np.arange(3.0, 30.01, 0.25)  # where the composition at the peak is looked up
_DAYS = (40.0, 60.0, 150.0, 300.0)
_RECALL_DAY = 100.0
_FAMILY_DAY = 8.0
_PIECE = 4096  # patients at once, for the memory of saved courses
_FEWEST = 1.0  # cells; with fewer there is no Tem or no Tcm to speak of


@dataclass(frozen=True)
class Fact:
    """One fact: what is measured, and the cut.

    Parameters
    ----------
    name : str
    text : str
    columns : tuple of str
        Numbers that are measured.
    low, high : tuple of float
        Allowed range of each number.
    evidence : str
    """

    name: str
    text: str
    columns: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    evidence: str

    @property
    def cut(self) -> str:
        """The allowed ranges in words."""
        parts = []
        for low, high in zip(self.low, self.high, strict=True):
            if np.isinf(high):
                parts.append(f">= {low:g}")
            elif np.isinf(low):
                parts.append(f"<= {high:g}")
            else:
                parts.append(f"{low:g} to {high:g}")
        return "; ".join(parts)

    def holds(self, numbers: pd.DataFrame) -> np.ndarray:
        """Return for each row whether the fact is reproduced; a number that does not exist contradicts it."""
        result = np.ones(len(numbers), dtype=bool)
        for column, low, high in zip(self.columns, self.low, self.high, strict=True):
            values = numbers[column].to_numpy(float)
            result &= (values >= low) & (values <= high)
        return result


_INF = np.inf


def _fact(name: str, text: str, column: str, low: float, high: float, evidence: str) -> Fact:
    return Fact(name, text, (column,), (low,), (high,), evidence)


FACTS: tuple[Fact, ...] = (
    _fact("F1", "peak / naive cells", "expansion", 1e4, 1.5e5, "Blattman 2002"),
    _fact("F2", "day of the peak", "peak_day", 6.5, 9, "Blattman 2002; De Boer 2001"),
    _fact("F3", "T(40) / peak", "contraction", 0.04, 0.11, "Kretschmer 2020; Badovinac 2004; Blattman 2002"),
    _fact("F4", "T(300) / T(60)", "stability", 0.7, _INF, "Choo 2010"),
    Fact("F5", "S+C share at the peak; on day 150", ("central_peak", "central_150"), (0.01, 0.5), (0.2, _INF),
         "Schlub 2009; Wherry 2003"),
    _fact("F6", "pure M without antigen: S+C share on day 30", "transfer", 0.2, _INF,
          "Wherry 2003; disputed: Bouneaud 2005, Marzo 2005"),
    _fact("F7", "recall peak earlier by, days", "earlier", 1.5, _INF, "textbook; Whitmire 2008"),
    Fact("F8", "recall / primary peak (10 x dose); of antigen", ("recall", "recall_antigen"), (1, -_INF),
         (_INF, 1), "textbook; Badovinac 2003 found equal numbers"),
    _fact("F9", "brief antigen: memory per peak / full", "brief_share", 2, _INF,
          "Badovinac 2004; Badovinac & Harty 2007"),
    _fact("F10", "day-60 memory with an E ancestor", "from_E", 0.10, _INF, "Herndler-Brandstetter 2018"),
    _fact("F11", "day-60 Tcm with no M or E ancestor", "pure", 0.20, _INF, "Pais Ferreira 2020"),
    _fact("F12", "day-60 memory via M or E", "via_ME", 0.50, _INF, "Youngblood 2017; Akondy 2017"),
    _fact("F13", "mean generation Tcm - Tem, day 60", "generations", 0, _INF, "Bresser 2022"),
    _fact("F14", "rank correlation of family size and memory share, day 8", "spearman", -_INF, -0.3,
          "Buchholz 2013; Gerlach 2013"),
    _fact("F15", "largest 10 % of families hold", "top_tenth", 0.4, _INF, "Buchholz 2013; Gerlach 2013"),
    _fact("F16", "brief antigen: memory on day 60 / full", "brief_number", 1 / 3, _INF, "Badovinac 2004"),
)  # fmt: skip
BY_NAME = {fact.name: fact for fact in FACTS}
CLONAL = ("F14", "F15")
POPULATION = tuple(fact.name for fact in FACTS if fact.name not in CLONAL)
ANCESTRY = ("F10", "F11", "F12")  # which no single path can meet together, by construction


def t_cell_facts(
    presets: Sequence[str | Preset] | None = None,
    *,
    patient: Mapping[str, float] | None = None,
    families: int = 3000,
    seed: int = 0,
    variant: Mapping[str, Any] | None = None,
    threads: int | None = None,
    progress: bool | None = False,
) -> pd.DataFrame:
    """Return how theories do on the sixteen facts.

    Parameters
    ----------
    presets : sequence of str or Preset, optional
        Default: all shipped ones.
    patient : mapping of str to float, optional
        Common rates that differ from the defaults.
    families : int
        Single-cell families for F14 and F15; 0 leaves these out.
    seed : int
        Of the families.
    variant : mapping, optional
        Further options of the model, e.g. ``{"blasts": True}``.
    threads : int, optional
    progress : bool, optional

    Returns
    -------
    DataFrame
        A row for each theory and fact: ``preset``, ``fact``, ``text``, ``value``, ``second`` (where a fact
        has two numbers), ``cut``, ``holds``, ``evidence``.

    Raises
    ------
    InputError
        For an unknown preset or bad rates.
    """
    from fastcart.batch import progress_bar

    theories = [find_preset(p) for p in (PRESETS if presets is None else presets)]
    if not theories:
        raise InputError("No preset is given; leave 'presets' out for all of them.")
    rows = []
    frame = pd.DataFrame([dict(patient or {})], index=[0])
    with progress_bar(len(theories), progress, unit="theories") as bar:
        for theory in theories:
            numbers = fact_numbers(
                theory, frame, families=families, seed=seed, variant=variant, threads=threads
            )
            for fact in FACTS:
                if fact.columns[0] not in numbers:
                    continue
                values = [float(numbers[column].iloc[0]) for column in fact.columns]
                rows.append(
                    {
                        "preset": theory.name, "fact": fact.name, "text": fact.text, "value": values[0],
                        "second": values[1] if len(values) > 1 else np.nan, "cut": fact.cut,
                        "holds": bool(fact.holds(numbers)[0]), "evidence": fact.evidence,
                    }
                )  # fmt: skip
            bar.update()
    return pd.DataFrame(rows)


def passes(numbers: pd.DataFrame, facts: Sequence[str] | None = None) -> np.ndarray:
    """Return for each row of `fact_numbers` how many of the facts hold, by default of all that are there."""
    names = [fact.name for fact in FACTS if fact.columns[0] in numbers] if facts is None else facts
    return np.sum([BY_NAME[name].holds(numbers) for name in names], axis=0)


def fact_numbers(
    preset: str | Preset,
    patients: pd.DataFrame,
    *,
    families: int = 0,
    step: float = STEP,
    seed: int = 0,
    variant: Mapping[str, Any] | None = None,
    threads: int | None = None,
) -> pd.DataFrame:
    """Measure the numbers behind the facts for many parameter sets of one theory.

    Parameters
    ----------
    preset : str or Preset
    patients : DataFrame
        Parameters that differ from the preset's; a row each.
    families : int
        Families for F14 and F15 for each row; 0 for none.
    step : float
        Days per leap of the families.
    seed : int
    variant : mapping, optional
        Further options of the model.
    threads : int, optional

    Returns
    -------
    DataFrame
        The columns named in `FACTS`; a patient whose course failed has NaN.
    """
    theory = find_preset(preset)
    options = dict(variant or {})
    parts = [
        _numbers(theory, patients.iloc[a : a + _PIECE].reset_index(drop=True), options, threads)
        for a in range(0, len(patients), _PIECE)
    ]
    result = pd.concat(parts, ignore_index=True)
    if families:
        clonal = [
            _clonal_numbers(theory, row, count(families, "The number of families"), seed + k, step, threads)
            for k, (_, row) in enumerate(patients.iterrows())
        ]
        result = pd.concat([result, pd.DataFrame(clonal)], axis=1)
    return result


def _numbers(theory: Preset, patients: pd.DataFrame, options: dict, threads: int | None) -> pd.DataFrame:
    """The numbers that follow from the equations."""
    size = len(patients)
    common: dict[str, Any] = {"threads": threads, "rtol": RTOL, "progress": False}
    given: Any = patients if len(patients.columns) else size
    acute_model = get("t_cell", preset=theory, shadows=True, **options)
    times = np.array(sorted({*_NEAR_PEAK.tolist(), *_DAYS, _RECALL_DAY}))
    acute = solve(acute_model, given, save_at=times, peaks=("T", "A"), **common)
    course = _Course(acute, times)
    ends = acute.endpoints
    peak, peak_day = ends["peak_T"].to_numpy(), ends["t_peak_T"].to_numpy()

    # recall: the state of day 100 and ten times the first dose of antigen, as a new start
    defaults = acute_model.defaults()
    first_dose = _column(patients, "A", defaults, size)
    again = patients.drop(columns=[c for c in patients if c in acute_model.state_names])
    naive = _column(patients, "N", defaults, size)
    again["s_N"] = _column(patients, "s_N", {"s_N": _column(patients, "d_N", defaults, size) * naive}, size)
    model = get("t_cell", preset=theory, **options)
    for name in model.state_names:
        again[name] = course.at(_RECALL_DAY, name)
    cells = [
        name for name in model.state_names if model.states[model.state_names.index(name)].unit == "cells"
    ]
    again[cells] = again[cells].clip(lower=0.0)
    again["A"] += 10 * first_dose
    # who failed before starts from nothing; the ratios below stay NaN
    recall = solve(model, again.fillna(0.0), t_end=30.0, peaks=("T", "A"), **common).endpoints

    brief_model = get("t_cell", preset=theory, scenario="brief", **options)
    treated = SCENARIOS["brief"].doses
    brief = solve(
        brief_model, given, doses=treated, t_end=60.0, peaks=("T",), save_at=[60.0], **common
    )  # fmt: skip
    brief_60 = _Course(brief, np.array([60.0])).at(60.0, "T")
    brief_peak = brief.endpoints["peak_T"].to_numpy()

    transfer_model = get("t_cell", preset=theory, scenario="transfer", **options)
    moved = patients.drop(columns=[c for c in patients if c in (*_CELLS, "A", "s_N")])
    transfer = solve(transfer_model, moved if len(moved.columns) else size, **common).endpoints
    at_30 = {a: transfer[f"final_{a}"].to_numpy() for a in "SCMEX"}

    with np.errstate(all="ignore"):
        total = {day: course.at(day, "T") for day in _DAYS}
        S, C, M = (course.at(60.0, a) for a in "SCM")
        central, memory = S + C, S + C + M
        generation_C = _safe(course.at(60.0, "G_S") + course.at(60.0, "G_C"), central)
        generation_M = _safe(course.at(60.0, "G_M"), M)
        full_share = total[60.0] / peak
        W = course.at(60.0, "W_S") + course.at(60.0, "W_C")
        U = sum(course.at(60.0, f"U_{a}") for a in "SCM")
        return pd.DataFrame(
            {
                "expansion": peak / naive,
                "peak_day": peak_day,
                "contraction": total[40.0] / peak,
                "stability": total[300.0] / total[60.0],
                "central_peak": course.central_share(peak_day),
                "central_150": (course.at(150.0, "S") + course.at(150.0, "C")) / total[150.0],
                "transfer": (at_30["S"] + at_30["C"]) / sum(at_30.values()),
                "earlier": peak_day - recall["t_peak_T"].to_numpy(),
                "recall": recall["peak_T"].to_numpy() / peak,
                "recall_antigen": recall["peak_A"].to_numpy() / ends["peak_A"].to_numpy(),
                "brief_share": brief_60 / brief_peak / full_share,
                "from_E": U / memory,
                "pure": np.where(central >= _FEWEST, 1 - W / central, 0.0),
                "via_ME": (W + M) / memory,
                "generations": generation_C - generation_M,
                "brief_number": brief_60 / total[60.0],
            }
        )


def _safe(sums: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Mean per cell, NaN where there are none."""
    return np.where(cells >= _FEWEST, sums / np.where(cells > 0, cells, 1.0), np.nan)


def _column(patients: pd.DataFrame, name: str, defaults: Mapping[str, Any], size: int) -> np.ndarray:
    return patients[name].to_numpy(float) if name in patients else np.broadcast_to(defaults[name], size)


class _Course:
    """Saved courses of many patients, looked up by day and name."""

    def __init__(self, result: Any, times: np.ndarray):
        self.times = times
        self.frame = result.trajectories
        self.shape = (len(result.endpoints), len(times))

    def all(self, name: str) -> np.ndarray:
        return self.frame[name].to_numpy().reshape(self.shape)

    def at(self, day: float, name: str) -> np.ndarray:
        return self.all(name)[:, int(np.searchsorted(self.times, day))]

    def central_share(self, days: np.ndarray) -> np.ndarray:
        """Share of S and C at a day of each patient's own, linear between saved times."""
        share = (self.all("S") + self.all("C")) / self.all("T")
        return np.array([np.interp(day, self.times, row) for day, row in zip(days, share, strict=True)])


def _clonal_numbers(
    theory: Preset, row: pd.Series, families: int, seed: int, step: float, threads: int | None
) -> dict[str, float]:
    """The numbers that follow from families of single cells."""
    cells = simulate_families(
        theory,
        families,
        t_end=_FAMILY_DAY,
        patient={str(k): v for k, v in row.items()},
        seed=seed,
        step=step,
        threads=threads,
    )
    facts = family_facts(cells)
    return {name: facts[name] for name in ("spearman", "top_tenth", "no_tcm", "mostly_tcm")}
