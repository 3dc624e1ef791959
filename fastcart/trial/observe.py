"""What a trial would see of the counterfactual outcomes: one arm of each patient, until follow-up ends."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from fastcart.trial.randomize import Design, draw

HORIZON = 730.0  # days
CRS_DAY = 30.0  # by then the grade of nearly every patient is known

# why a patient left event-free survival
CAUSES = ("censored", "CD19+ relapse", "CD19- relapse", "no response or death")

NEEDED = (
    "CR28", "CR90", "crs3", "crs4", "toxic_death", "efs", "efs_event", "os", "os_event", "t_relapse",
    "relapse_type",
)  # fmt: skip


def observe(outcomes: Mapping[str, np.ndarray], followed: np.ndarray) -> dict[str, np.ndarray]:
    """Censor outcomes at the end of follow-up, patient by patient.

    Parameters
    ----------
    outcomes : mapping of str to ndarray
        The columns `NEEDED` of what `fastcart.trial.outcomes.outcomes` returns; arrays of any one shape.
    followed : ndarray
        Days of follow-up, of the same shape.

    Returns
    -------
    dict of str to ndarray
        ``efs``, ``efs_event``, ``os``, ``os_event``, ``cause`` (0 censored, 1 CD19+ relapse, 2 CD19- relapse,
        3 no response or death) and the binary endpoints. A patient lost before day 28 or day 90 counts as one
        without remission, one lost before day 30 has no grade of CRS (``grade_known`` is False), and who dies
        of it after the end of follow-up is not seen to die.
    """
    seen = {}
    for name in ("efs", "os"):
        time, event = outcomes[name], outcomes[f"{name}_event"].astype(bool)
        seen[name] = np.minimum(time, followed)
        seen[f"{name}_event"] = event & (time <= followed)
    relapsed = outcomes["t_relapse"] <= outcomes["efs"]  # infinite where there is none
    negative = outcomes["relapse_type"] == "CD19-"
    cause = np.where(relapsed, np.where(negative, 2, 1), 3)
    seen["cause"] = np.where(seen["efs_event"], cause, 0)
    dead = seen["os_event"]
    for name, day in (("CR28", 28.0), ("CR90", 90.0)):
        seen[name] = outcomes[name].astype(bool) & (dead | (followed >= day))
    for name in ("crs3", "crs4"):
        seen[name] = outcomes[name].astype(bool)
    seen["toxic_death"] = outcomes["toxic_death"].astype(bool) & dead
    seen["grade_known"] = dead | (followed >= CRS_DAY)
    return seen


def run_trial(
    control: pd.DataFrame,
    treatment: pd.DataFrame,
    burden: np.ndarray,
    design: Design,
    *,
    seed: int,
    replicate: int = 0,
    horizon: float = HORIZON,
) -> pd.DataFrame:
    """Run one randomized trial on the counterfactual outcomes of a population.

    Parameters
    ----------
    control, treatment : DataFrame
        Outcomes of all patients of the population in either arm, in the same order.
    burden : ndarray, shape (population,)
        Baseline burden (cells), for the strata.
    design : Design
    seed, replicate : int
        Everything random in the trial follows from these two.
    horizon : float
        Days.

    Returns
    -------
    DataFrame
        One row per enrolled patient in the order of entry: ``row`` of the population, ``stratum``,
        ``treated``, ``followed``, and what `observe` returns.
    """
    rows, strata, treated, followed = draw(burden, design, seed=seed, replicate=replicate, horizon=horizon)
    given = {
        name: np.where(treated, treatment[name].to_numpy()[rows], control[name].to_numpy()[rows])
        for name in NEEDED
    }
    start = {"row": rows, "stratum": strata, "treated": treated, "followed": followed}
    return pd.DataFrame({**start, **observe(given, followed)})
