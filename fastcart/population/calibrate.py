"""Calibration: a sample of virtual patients is weighted so that it meets the aggregates of trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Unpack

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from fastcart.checks import count, seeded
from fastcart.errors import InputError
from fastcart.model import Model
from fastcart.models import for_trial
from fastcart.options import SolveKeywords, SolveOptions
from fastcart.population.entropy import MET, maximum_entropy
from fastcart.population.population import Population
from fastcart.population.prior import PRIOR, Prior, draws, picks, sample
from fastcart.population.targets import HAZARDS, QUANTITIES, TARGETS, check_targets
from fastcart.trial.adapter import TrialAdapter
from fastcart.trial.course import HORIZON, course, trial_options
from fastcart.trial.outcomes import contributions, deaths_expected, expected, moments

_ROUNDS = 200  # of scaling one hazard after the other; a few are enough where both targets can be met
_FEW = 0.05  # effective share of the sample below which a few patients stand for all


@dataclass(frozen=True)
class Calibration:
    """A weighted sample that meets the targets.

    Attributes
    ----------
    sample : DataFrame
        Patients drawn from the prior.
    course : DataFrame
        Their death-free course under a single infusion, with the default hazards.
    weights : ndarray, shape (n,)
        They sum to 1; 0 where the solver failed.
    multipliers : dict of str to float
        ``lambda`` of each target, for residuals divided by their standard deviation.
    hT, hL : float
        Calibrated largest hazards, 1/day.
    targets : dict of str to float
    unmet : tuple of str
        Targets that no weights meet together with the others.
    prior, seed, het
        What the sample was drawn from.
    rates : (str, str)
        Parameters of the model that ``hT`` and ``hL`` are.
    defaults : (float, float)
        Their values in the course of the sample.
    """

    sample: pd.DataFrame
    course: pd.DataFrame
    weights: np.ndarray
    multipliers: dict[str, float]
    hT: float
    hL: float
    targets: dict[str, float]
    unmet: tuple[str, ...]
    prior: Prior
    seed: int
    het: float
    rates: tuple[str, str] = ("hT", "hL")
    defaults: tuple[float, float] = (1.0, 1.0)

    @property
    def ess(self) -> float:
        """Effective number of patients, ``1 / sum(w^2)``."""
        return float(1.0 / np.sum(self.weights**2))

    @property
    def ess_share(self) -> float:
        """Effective share of the sample; below a few percent a few patients stand for all."""
        return self.ess / len(self.weights)

    @property
    def largest_weight(self) -> float:
        """The largest weight, in units of an equal one."""
        return float(self.weights.max() * len(self.weights))

    def table(self) -> pd.DataFrame:
        """Return each target with its value in the prior and after calibration, and whether it is met.

        Of the weighted sample as if nobody died, but for toxic death and survival; `reached_by` tells what
        patients reach who do die.
        """
        m = moments(self.course)
        equal = m["ok"].to_numpy(dtype=float) / m["ok"].sum()
        rows = []
        for name, value in self.targets.items():
            if name in QUANTITIES:
                quantity = QUANTITIES[name]
                before, after = quantity.reached(m, equal), quantity.reached(m, self.weights)
                text = quantity.description
            else:
                before = _hazard_value(name, self.course, equal, 1.0, 1.0)
                factors = self.hT / self.defaults[0], self.hL / self.defaults[1]
                after, text = _hazard_value(name, self.course, self.weights, *factors), HAZARDS[name]
            met = abs(after - value) <= MET * value
            rows.append({"target": name, "value": value, "prior": before, "calibrated": after, "met": met,
                         "description": text})  # fmt: skip
        return pd.DataFrame(rows)

    def shifts(self) -> pd.Series:
        """Return how far the weights move the mean of each varied quantity, in standard deviations."""
        result = {}
        n = len(self.weights)
        for marginal in self.prior.marginals:
            name = self.prior.inputs.initial.get(marginal.name, marginal.name)
            if name in self.sample and marginal.sd > 0:
                scores = marginal.scores(self.sample[name].to_numpy())
                result[marginal.name] = float((self.weights - 1.0 / n) @ scores) / max(self.het, 1e-12)
        return pd.Series(result)

    def summary(self) -> str:
        """Say in words how well the calibration went."""
        shifts = self.shifts().abs()
        text = (
            f"{len(self.weights)} patients, effective {self.ess:.0f} ({self.ess_share:.0%}); largest weight "
            f"{self.largest_weight:.1f} times an equal one; largest shift of a mean {shifts.max():.2f} sd "
            f"({shifts.idxmax()}); hT = {self.hT:.4g}, hL = {self.hL:.4g} per day."
        )
        failed = int((self.course["status"] != "ok").sum())
        if failed:
            text += f" {failed} patients could not be solved and have weight 0."
        if self.unmet:
            text += f" Not met: {', '.join(self.unmet)}."
        if self.ess_share < _FEW:
            text += " Few patients stand for all: the targets lie far from the prior."
        return text

    def resample(self, n: int = 3000, *, seed: int) -> Population:
        """Draw patients of equal weight, with replacement and with fresh luck.

        Parameters
        ----------
        n : int
        seed : int

        Returns
        -------
        Population
            Patient k is the same whatever the number.
        """
        n = count(n, "The number of patients")
        rows = picks(self.weights, n, seed=seed)
        patients = self.sample.iloc[rows].reset_index(drop=True)
        patients = patients.rename(columns={"patient": "source"})
        patients.insert(0, "patient", np.arange(n))
        for name, value in zip(self.rates, (self.hT, self.hL), strict=True):
            patients[name] = value
        patients = pd.concat([patients, draws(n, seed=seed)], axis=1)
        made: dict[str, Any] = {
            "prior": self.prior.as_dict(),
            "het": self.het,
            "sample": {"size": len(self.sample), "seed": self.seed},
            "resampling": {"size": n, "seed": int(seed)},
            "targets": self.targets,
            "reached": dict(zip(self.table()["target"], self.table()["calibrated"], strict=True)),
            "unmet": list(self.unmet),
            "multipliers": self.multipliers,
            "effective_patients": self.ess,
            "hT": self.hT,
            "hL": self.hL,
        }
        return Population(patients, made)


@seeded
def calibrate(
    n: int = 6000,
    *,
    seed: int,
    targets: Mapping[str, float] = TARGETS,
    prior: Prior = PRIOR,
    het: float = 1.0,
    allow_unmet: bool = False,
    model: str | Model | TrialAdapter = "b_all",
    threads: int | None = None,
    options: SolveOptions | None = None,
    **keywords: Unpack[SolveKeywords],
) -> Calibration:
    """Draw a sample, solve it under a single infusion, and weight it so that it meets the targets.

    The moments depend on the parameters alone; see `fastcart.trial.outcomes.moments`. After the weights,
    ``hT`` and ``hL`` are scaled together to the targets ``toxic_death`` and ``OS12``: each death forestalls
    the other.

    Parameters
    ----------
    n : int
        Patients in the sample.
    seed : int
    targets : mapping of str to float
        Names of `fastcart.population.QUANTITIES`, ``toxic_death`` and ``OS12``.
    prior : Prior
    het : float
        As for `fastcart.population.sample`.
    allow_unmet : bool
        Go on with the nearest that can be reached, instead of an error, where targets cannot be met.
    model : str, Model or TrialAdapter
        As for `fastcart.models.for_trial`; with both hazards, and the inputs that the prior names.
    threads : int, optional
    options, **keywords
        How to solve, see `fastcart.trial.course.trial_options`; the horizon is always 730 days, for the
        targets are of these.

    Returns
    -------
    Calibration

    Raises
    ------
    InputError
        For unknown targets; for targets that no weights of the sample meet, naming them and the nearest that
        can be reached.
    """
    targets = check_targets(targets)
    adapter = for_trial(model)
    rates, defaults = _rates(adapter)
    chosen = replace(trial_options(options, keywords, calibrate), t_end=HORIZON)
    patients = sample(n, seed=seed, het=het, prior=prior)
    doses = adapter.infusions(patients, [(0.0, 1.0, 1.0)])
    path = course(patients, doses, model=adapter, threads=threads, options=chosen)
    m = moments(path)
    names = [name for name in targets if name in QUANTITIES]
    weights, multipliers, unmet = maximum_entropy(m, {k: targets[k] for k in names}, allow_unmet=allow_unmet)
    factor_T, factor_L = _hazard_factors(path, weights, targets)
    return Calibration(
        patients, path, weights, multipliers, factor_T * defaults[0], factor_L * defaults[1], targets,
        unmet, prior, seed, het, rates, defaults,
    )  # fmt: skip


def _rates(adapter: TrialAdapter) -> tuple[tuple[str, str], tuple[float, float]]:
    """Return the parameters that both hazards are in proportion to, and their defaults."""
    if adapter.toxic is None or adapter.disease_death is None:
        raise InputError(f"A calibration needs both hazards, which {adapter.model.name!r} has not.")
    names = adapter.toxic.rate, adapter.disease_death.rate
    defaults = adapter.model.default_parameters()
    return names, (defaults[names[0]], defaults[names[1]])


def reached_by(course: pd.DataFrame, names: Sequence[str]) -> dict[str, float]:
    """Return what treated patients reach of the targets, with deaths as they are to be expected.

    A calibration weights a sample by what it would do if nobody died, so that weights do not follow luck; of
    the patients that it makes, some die before they can reach remission.

    Parameters
    ----------
    course : DataFrame
        Under the single infusion, with the calibrated hazards; see `fastcart.trial.course.course`.
    names : sequence of str
        Targets.

    Returns
    -------
    dict of str to float
        NaN where the horizon is too short. The geometric means of CAR-T cells are of those in remission, the
        one of the peak of IL-6 of everyone.
    """
    found, m = expected(course), moments(course)
    in_remission = contributions(course)["CR90"].fillna(0.0).to_numpy()
    equal = m["ok"].to_numpy(dtype=float)
    result = {}
    for name in names:
        if name in found:
            result[name] = float(found[name])
        elif name == "OS12":
            result[name] = float(found["OS365"])
        else:
            quantity = QUANTITIES[name]
            result[name] = quantity.reached(m, in_remission if quantity.whole == "CR90" else equal)
    return result


def _hazard_value(
    name: str, path: pd.DataFrame, weights: np.ndarray, factor_T: float, factor_L: float
) -> float:
    """Return the expected share of toxic deaths, or the expected survival at 12 months."""
    rows = weights > 0
    toxic, alive = deaths_expected(path[rows], 365.0, hT_factor=factor_T, hL_factor=factor_L)
    return float(weights[rows] @ (toxic if name == "toxic_death" else alive))


def _hazard_factors(
    path: pd.DataFrame, weights: np.ndarray, targets: Mapping[str, float]
) -> tuple[float, float]:
    """Return the factors of both hazards at which the targets of deaths are met together."""
    factor_T = factor_L = 1.0
    for _ in range(_ROUNDS):
        before = factor_T, factor_L
        if "toxic_death" in targets:
            factor_T = _root(
                "toxic_death",
                targets,
                lambda f, L=factor_L: _hazard_value("toxic_death", path, weights, f, L),
            )
        if "OS12" in targets:
            factor_L = _root(
                "OS12",
                targets,
                lambda f, T=factor_T: _hazard_value("OS12", path, weights, T, f),
            )
        if np.allclose(before, (factor_T, factor_L), rtol=1e-11, atol=0.0):
            return factor_T, factor_L
    both = ", ".join(f"{name!r} = {targets[name]:g}" for name in HAZARDS if name in targets)
    raise InputError(f"The targets {both} cannot be met together by any hazards; change one of them.")


def _root(name: str, targets: Mapping[str, float], value: Any) -> float:
    """Return the factor of a hazard at which a target is met."""

    def miss(ln_factor: float) -> float:
        return value(math.exp(ln_factor)) - targets[name]

    low, high = -30.0, 30.0
    if miss(low) * miss(high) > 0:
        others = [
            f"{other!r} = {targets[other]:g}" for other in HAZARDS if other in targets and other != name
        ]
        together = f" together with {others[0]}" if others else ""
        raise InputError(
            f"The target {name!r} = {targets[name]:g} cannot be met{together} by any hazard; reachable is "
            f"{min(value(math.exp(low)), value(math.exp(high))):.3g} to "
            f"{max(value(math.exp(low)), value(math.exp(high))):.3g}."
        )
    return math.exp(brentq(miss, low, high, xtol=1e-12))
