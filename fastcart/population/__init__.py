"""Virtual patients of B-cell leukemia: prior, sampling, calibration to trial aggregates, resampling."""

from __future__ import annotations

from fastcart.population.calibrate import Calibration, calibrate, maximum_entropy, reached_by
from fastcart.population.population import Population
from fastcart.population.prior import PRIOR, Marginal, Prior, assay_noise, draws, sample
from fastcart.population.targets import HAZARDS, QUANTITIES, TARGETS, Quantity, read_specification

__all__ = [
    "HAZARDS",
    "PRIOR",
    "QUANTITIES",
    "TARGETS",
    "Calibration",
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
