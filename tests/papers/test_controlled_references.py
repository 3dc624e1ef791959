"""Every family of controlled arms against the scans that lie beside the project, made by independent code."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fastcart.papers.srct.controlled import families, solved
from fastcart.population import calibrate
from fastcart.trial.outcomes import contributions

# names here and there
COLUMNS = {
    "CR90": "CR90", "crs3": "crs3", "crs4": "crs4", "toxic_death": "toxic_death", "EFS730": "EFS730",
    "OS730": "OS730", "clean730": "clean24", "relapse_positive": "relp", "relapse_negative": "reln",
}  # fmt: skip
NEAR = 0.003  # of a share


def as_if_nobody_died_of_leukemia(course, **how):
    """Toxic death as it is there, 1 - exp(-Ht): deaths of leukemia forestall none."""
    alone = -np.expm1(-course["Ht_730"].to_numpy())
    assert (contributions(course, **how)["toxic_death"] <= alone + 1e-12).all()
    return contributions(course, **how).assign(toxic_death=alone)


@pytest.mark.slow
def test_every_intensity_of_every_family_is_that_of_independent_code(references, monkeypatch):
    monkeypatch.setattr("fastcart.trial.families.contributions", as_if_nobody_died_of_leukemia)
    there = pd.read_csv(references / "srct" / "controlled_concentration.csv").rename(
        columns={"theta": "intensity"}
    )
    scanned = there.groupby("family", sort=False)["intensity"].agg(tuple)
    chosen = {name: replace(family, intensities=scanned[name]) for name, family in families().items()}
    assert {*chosen, "OPEN"} == set(scanned.index)
    cal = calibrate(1000, seed=11)
    # hazards as calibrated there, where deaths did not compete
    patients = cal.sample.assign(hT=0.03203, hL=0.003264)
    found = solved(chosen, patients, weights=cal.weights, noise_seed=5)
    assert all(scan.ok.all() for scan in found.scans.values())
    here = pd.concat([scan.table(cal.weights) for scan in found.scans.values()])
    both = here.merge(there, on=["family", "intensity"], suffixes=("", "_there"))
    assert len(both) == len(there)
    far = {}
    for name, other in COLUMNS.items():
        away = (both[name] - both[f"{other}_there" if other == name else other]).abs()
        rows = both.loc[away > NEAR, ["family", "intensity"]].to_numpy().tolist()
        far |= {name: [(*row, value) for row, value in zip(rows, away[away > NEAR], strict=True)]}
    assert not any(far.values()), far
