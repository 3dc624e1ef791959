"""Parameters of models from patients' data: a table in, estimates with their errors out.

`read` checks a table of doses and measurements, `prepare` makes of it and a model a likelihood that takes
arrays, and the fits ask that for many patients, starts and directions at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastcart.fit.bootstrapping import bootstrap as bootstrap
    from fastcart.fit.data import FitData as FitData
    from fastcart.fit.individuals import individual as individual
    from fastcart.fit.libraries import library as library
    from fastcart.fit.likelihood import PreparedLikelihood as PreparedLikelihood
    from fastcart.fit.likelihood import prepare as prepare
    from fastcart.fit.observations import Observation as Observation
    from fastcart.fit.observations import additive as additive
    from fastcart.fit.observations import combined1 as combined1
    from fastcart.fit.observations import combined2 as combined2
    from fastcart.fit.observations import lognormal as lognormal
    from fastcart.fit.observations import measured as measured
    from fastcart.fit.observations import proportional as proportional
    from fastcart.fit.population_fit import PopulationFit as PopulationFit
    from fastcart.fit.population_profiles import PopulationProfile as PopulationProfile
    from fastcart.fit.populations import population as population
    from fastcart.fit.posteriors import posterior as posterior
    from fastcart.fit.profiles import Profile as Profile
    from fastcart.fit.profiles import profile as profile
    from fastcart.fit.reader import read as read
    from fastcart.fit.results import IndividualFit as IndividualFit
    from fastcart.fit.schedules import Designs as Designs
    from fastcart.fit.schedules import designs as designs
    from fastcart.fit.weighted_library import Library as Library

# Where each public name is; loaded on first use
_PUBLIC = {
    "FitData": "data",
    "Observation": "observations",
    "PreparedLikelihood": "likelihood",
    "additive": "observations",
    "bootstrap": "bootstrapping",
    "combined1": "observations",
    "combined2": "observations",
    "IndividualFit": "results",
    "individual": "individuals",
    "Library": "weighted_library",
    "library": "libraries",
    "Designs": "schedules",
    "designs": "schedules",
    "lognormal": "observations",
    "measured": "observations",
    "PopulationFit": "population_fit",
    "population": "populations",
    "posterior": "posteriors",
    "PopulationProfile": "population_profiles",
    "prepare": "likelihood",
    "Profile": "profiles",
    "profile": "profiles",
    "proportional": "observations",
    "read": "reader",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'fastcart.fit' has no attribute {name!r}")
    value = getattr(import_module(f"fastcart.fit.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
