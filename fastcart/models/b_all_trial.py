"""The B-ALL model as a trial sees it: `fastcart.trial.adapter` for all variants of ``b_all``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastcart.model import Model
from fastcart.models import get
from fastcart.models.b_all import WAITING, engrafted, entry, lymphodeplete
from fastcart.models.b_all_variants import ACTIVITY, FRACTION
from fastcart.trial.adapter import Actuators, CarSwitch, Hazard, Measure, Recovery, TrialAdapter

RECOVERED_B = 0.2  # of the B cells at rest

LIMITS = (
    "The IL-6 levels that separate CRS grades are calibrated, not measured, and CRS is a function of one "
    "peak. Tocilizumab, steroids, infection and neurotoxicity are absent; deaths of CRS with sepsis, as in "
    "the adult high-dose cohort of Frey et al. 2020, are therefore not reproduced.",
    "In the default model CAR-T cells grow by about 2 per day at once, then slower; clinical curves show a "
    "lag and about 0.9 per day on average. How much a split over the first days costs is therefore "
    "uncertain. That such splits fall on the line of smaller single doses is not.",
    "That effectors multiply only while homeostatic cytokines are free (the niche: nu, Kq) is the assumption "
    "that decides. Relapse with B-cell recovery, reinfusion that needs lymphodepletion and the link with "
    "IL-15 speak for it; but the two numbers cannot be identified from aggregate data.",
    "How many infused cells engraft, that effector and memory cells can be sorted from one apheresis, and "
    "that they keep until they are infused, are assumed.",
    "Overall survival at 24 months is too low, because salvage transplant is absent. Marrow size and the "
    "conversion of residual disease use adult numbers of cells for children.",
    "Some of the published numbers that the population is calibrated to were recalled, and need confirmation "
    "from the full texts, as do survival after fractionated dosing and IL-6 by grade.",
)


def adapter(model: Model) -> TrialAdapter:
    """Return the adapter of a variant of the B-ALL model.

    Parameters
    ----------
    model : Model
        ``b_all`` with any of its options, or what `Model.replace` made of it.
    """
    lagging = set(WAITING) <= set(model.state_names)
    blocked = "blockade" if "blockade" in model.state_names else ""
    waiting = [(name,) if lagging else () for name in WAITING]
    return TrialAdapter(
        model=model,
        disease="B-cell leukemia",
        burden=Measure("S", ("L", "R"), "Leukemia (cells)", (0.3, 1e13)),
        cells=Measure("T", ("E", "M", "X", *(WAITING if lagging else ())), "CAR-T (cells)", (1e4, 3e12)),
        marker=Measure("felt" if blocked else "C", ("C",), "IL-6 (pg/mL)", (3, 1e5), blocked),
        entry=entry(model),
        engraft=engrafted,
        escaped=Measure("negative", ("R",)),
        recovery=Recovery("B", _recovered),
        toxic=Hazard("Ht", "hT"),
        disease_death=Hazard("Hl", "hL"),
        lymphocytes="N",
        lymphodeplete=lymphodeplete,
        switch=CarSwitch("u", _with_switch),
        actuators=Actuators(
            activity="u",
            wanted="u_set",
            rate="switch_rate",
            promotion="promotion",
            blockade="blockade",
            effectors=("E", "X", *waiting[0]),
            memory=("M", *waiting[1]),
            add=_with_actuators,
            add_activity=_with_activity,
        ),
        limits=LIMITS,
        antigen="CD19",
        organ="marrow",
    )


def _recovered(parameters: Mapping[str, np.ndarray]) -> Any:
    return RECOVERED_B * parameters["sB"] / parameters["dB"]


def _with_switch(model: Model) -> Model:
    return get("b_all", **{**model.options, "switch": True})


def _with_actuators(model: Model, switch: str) -> TrialAdapter:
    return _acted_on(model, switch, True)


def _with_activity(model: Model, switch: str) -> TrialAdapter:
    return _acted_on(model, switch, ACTIVITY)


def _acted_on(model: Model, switch: str, actuators: bool | str) -> TrialAdapter:
    kind = FRACTION if switch == FRACTION else True
    return adapter(get("b_all", **{**model.options, "switch": kind, "actuators": actuators}))
