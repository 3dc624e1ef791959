"""The study of controlled arms: its families, its sentences, published values of a population."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from fastcart.papers.srct.controlled import PARTS, families, study
from fastcart.papers.srct.controlled_findings import gain, sentences
from fastcart.population import calibrate, sample
from fastcart.protocols import mean_activity, without_measurement
from fastcart.trial.counterfactual import arm_course, controlled_course
from fastcart.trial.families import Comparing
from fastcart.trial.outcomes import expected


def test_every_part_is_a_contrast_of_families():
    known = {*families(), "OPEN"}
    assert {part.family for part in PARTS} | {part.versus for part in PARTS} <= known
    assert len({part.name for part in PARTS}) == len(PARTS)


def test_a_small_study_judges_the_parts_that_it_can():
    few = families(doses=(1e5, 1e8), cells=(1e9, 3e10))
    chosen = {name: few[name] for name in ("single", "RISE_T", "promote x10")}
    found = study(sample(20, seed=3), seed=1, chosen=chosen, how=Comparing(resamples=20), noise_seed=5)
    assert list(found.verdicts["part"]) == [
        "low then rising", "without feedback", "memory by promotion", "whole claim"
    ]  # fmt: skip
    assert set(found.scans) == {*chosen, "OPEN"}
    assert all(scan.ok.all() for scan in found.scans.values())
    assert found.gains["whole claim"]["gain"].notna().any()


def table(**gains: tuple[float, float, float]) -> pd.DataFrame:
    return pd.DataFrame(
        [{"on": "crs3", "level": 0.3, "endpoint": name, "gain": g[0] / 100, "low": g[1] / 100,
          "high": g[2] / 100, "value": 0.15} for name, g in gains.items()]
    )  # fmt: skip


FULL = {
    "low then rising": table(CR90=(10.5, 5.6, 14.0), EFS730=(4.0, 1.2, 5.2)),
    "without feedback": table(EFS730=(-1.0, -2.0, 1.9), crs4=(2.7, 0.8, 4.0)),
    "tying to burden": table(EFS730=(-3.5, -5.0, -1.5)),
    "memory by promotion": table(EFS730=(8.2, 5.8, 11.5)),
    "memory withheld to the end": table(EFS730=(-0.1, -0.5, 0.3)),
}


def test_sentences_say_the_numbers():
    rising, feedback, burden, memory = sentences(FULL)
    assert "remission by +10.5 points (5.6 to 14.0)" in rising
    assert feedback.startswith("75 % of the gain")
    assert "grade 4 or more changes by +2.7 points (0.8 to 4.0), to 15.0 %" in feedback
    assert "by -3.5 points (-5.0 to -1.5)" in burden
    assert "by +8.2 points (5.8 to 11.5)" in memory
    assert "by -0.1 points (-0.5 to 0.3)" in memory
    assert gain(FULL["tying to burden"], "CR90") == pytest.approx((math.nan,) * 3, nan_ok=True)


@pytest.mark.parametrize("part", FULL)
def test_a_sentence_without_its_number_is_not_said(part):
    unknown = FULL[part].assign(gain=np.nan, low=np.nan, high=np.nan)
    left = sentences(FULL | {part: unknown})
    assert len(left) < 4
    assert not any("nan" in text for text in left)
    assert sentences({name: known for name, known in FULL.items() if name != part}) == left


# CR90, CRS of grade 3 and 4, EFS and OS at 24 months of 1000 weighted draws of the prior, target 3e9
PUBLISHED = {
    "RISE_T": (0.6389, 0.2997, 0.1250, 0.4381, 0.5406),
    "FLAT": (0.3786, 0.1953, 0.0564, 0.2932, 0.4290),
    "RISE_B": (0.4441, 0.2075, 0.0621, 0.3301, 0.4421),
    "RISE_TB": (0.6500, 0.3131, 0.1382, 0.4408, 0.5414),
    "REV": (0.1048, 0.1903, 0.0527, 0.0472, 0.3002),
    "RISE_T graded": (0.6266, 0.3201, 0.1400, 0.4315, 0.5345),
    "RISE_T depletion": (0.5136, 0.2507, 0.0892, 0.3827, 0.5020),
    "mem last": (0.6274, 0.2967, 0.1184, 0.4355, 0.5376),
    "mem x10 d28": (0.6447, 0.2997, 0.1249, 0.4408, 0.5448),
    "promote x10": (0.6665, 0.3005, 0.1250, 0.5209, 0.6055),
    "promote x30": (0.6953, 0.3005, 0.1250, 0.5600, 0.6330),
    "niche d28": (0.8031, 0.3649, 0.1745, 0.4814, 0.5841),
    "RISE_T + IL6 guard 300": (0.4447, 0.2179, 0.0520, 0.3263, 0.4506),
}
# published as 1 - exp(-Ht), as if nobody died of leukemia before; here who does cannot die of CRS any more
TOXIC = {
    "RISE_T": 0.0113, "FLAT": 0.0075, "RISE_B": 0.0075, "REV": 0.0074, "RISE_T graded": 0.0137,
    "RISE_T depletion": 0.0089, "promote x10": 0.0117, "niche d28": 0.0179, "RISE_T + IL6 guard 300": 0.0066,
}  # fmt: skip
OPEN = (0.5650, 0.2524, 0.1217, 0.4199, 0.5224)
NAMES = ["CR90", "crs3", "crs4", "EFS730", "OS730"]


@pytest.mark.slow
def test_published_values_of_controlled_arms():
    cal = calibrate(1000, seed=11)
    patients = cal.sample.assign(hT=0.03203, hL=0.003264)
    found = {}
    for name, family in families().items():
        if name in PUBLISHED:
            arm, dose = family.make(3e9)
            course, session = controlled_course(arm, patients, dose=dose, noise_seed=5)
            found[name] = expected(course, cal.weights)[NAMES]
            if name in TOXIC:
                alone = float(np.average(-np.expm1(-course["Ht_730"]), weights=cal.weights))
                assert alone == pytest.approx(TOXIC[name], abs=0.0005), name
                competing = expected(course, cal.weights)["toxic_death"]
                assert alone - 0.004 < competing < alone, name
            if name == "RISE_T":
                loop = without_measurement(arm, mean_activity(session, cal.weights), "OPEN")
                course = arm_course(loop, patients, noise_seed=5)
                found["OPEN"] = expected(course, cal.weights)[NAMES]
    for name, values in (PUBLISHED | {"OPEN": OPEN}).items():
        np.testing.assert_allclose(found[name], values, atol=0.003, err_msg=name)
