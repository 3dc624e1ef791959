"""Virtual patients: prior, sampling, calibration to trial aggregates, resampling; by default of ``b_all``."""

from __future__ import annotations

from fastcart.population.calibrate import Calibration, calibrate, reached_by
from fastcart.population.entropy import maximum_entropy
from fastcart.population.inputs import Inputs
from fastcart.population.population import Population
from fastcart.population.prior import PRIOR, Marginal, Prior, assay_noise, draws, sample
from fastcart.population.targets import (
    HAZARDS,
    QUANTITIES,
    SOURCES,
    TARGETS,
    Quantity,
    read_specification,
)

__all__ = [
    "HAZARDS",
    "PRIOR",
    "QUANTITIES",
    "SOURCES",
    "TARGETS",
    "Calibration",
    "Inputs",
    "Marginal",
    "Population",
    "Prior",
    "Quantity",
    "assay_noise",
    "calibrate",
    "draws",
    "maximum_entropy",
    "reached_by",
    "read_specification",
    "sample",
]
