"""Who is treated in a trial: the population that its specification describes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fastcart.population import Population, calibrate, draws, sample

if TYPE_CHECKING:
    from fastcart.population.calibrate import Calibration
    from fastcart.trial.spec import TrialSpec


def calibrated(spec: TrialSpec, *, threads: int | None = None) -> Calibration:
    """Return the weighted sample from which the patients of a trial are drawn.

    Raises
    ------
    InputError
        For targets that cannot be met.
    """
    given = spec.population
    return calibrate(
        given.sample, seed=given.seed, targets=given.targets, prior=given.prior, het=given.het,
        model=spec.adapter, threads=threads, options=spec.options,
    )  # fmt: skip


def recruited(
    spec: TrialSpec, *, patients: int | None = None, fitted: Calibration | None = None,
    threads: int | None = None,
) -> Population:  # fmt: skip
    """Return the patients of a trial.

    Parameters
    ----------
    spec : TrialSpec
    patients : int, optional
        How many; default as specified. A population that was saved before has those that it has.
    fitted : Calibration, optional
        As `calibrated` returns it, where it is known.
    threads : int, optional
    """
    given = spec.population if patients is None else replace(spec.population, patients=patients)
    if given.folder is not None:
        return Population.load(given.folder)
    if given.calibrate:
        fitted = calibrated(spec, threads=threads) if fitted is None else fitted
        return fitted.resample(given.patients, seed=given.seed + 1)
    drawn = sample(given.patients, seed=given.seed, het=given.het, prior=given.prior)
    luck = draws(drawn, seed=given.seed + 1)
    table = pd.concat([drawn, luck.reset_index(drop=True)], axis=1)
    table.insert(1, "source", np.arange(len(table)))
    return Population(table, {"prior": given.prior.as_dict(), "het": given.het, "calibrated": False})
