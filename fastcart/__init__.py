"""fastcart: CAR-T cell therapy models for thousands to millions of virtual patients at once.

The public names are loaded on first use, so that ``import fastcart`` compiles nothing and is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastcart._version import __version__

if TYPE_CHECKING:
    from fastcart import fit as fit
    from fastcart import math as math
    from fastcart import models as models
    from fastcart import nonmem as nonmem
    from fastcart import petab as petab
    from fastcart import plotting as plotting
    from fastcart import population as population
    from fastcart import protocols as protocols
    from fastcart import sample as sample
    from fastcart import sbml as sbml
    from fastcart import trial as trial
    from fastcart.batch import solve as solve
    from fastcart.comparing.compare import Comparison as Comparison
    from fastcart.comparing.compare import compare as compare
    from fastcart.dosing import DosingSchedule as DosingSchedule
    from fastcart.equations import derivatives as derivatives
    from fastcart.errors import InputError as InputError
    from fastcart.errors import PatientsFailed as PatientsFailed
    from fastcart.events import Action as Action
    from fastcart.events import Event as Event
    from fastcart.explain import explain_engine as explain_engine
    from fastcart.loading import load as load
    from fastcart.model import Algebraic as Algebraic
    from fastcart.model import Model as Model
    from fastcart.model import Observable as Observable
    from fastcart.model import Parameter as Parameter
    from fastcart.model import PublishedScheme as PublishedScheme
    from fastcart.model import State as State
    from fastcart.model import Sum as Sum
    from fastcart.optimization.optimize import Limit as Limit
    from fastcart.optimization.optimize import OptimizationResult as OptimizationResult
    from fastcart.optimization.optimize import optimize as optimize
    from fastcart.optimization.pareto import ParetoResult as ParetoResult
    from fastcart.optimization.pareto import pareto as pareto
    from fastcart.optimization.swarm import SwarmSettings as SwarmSettings
    from fastcart.options import SolveOptions as SolveOptions
    from fastcart.prepared import Solution as Solution
    from fastcart.prepared import Solver as Solver
    from fastcart.prepared import prepare as prepare
    from fastcart.result import BatchResult as BatchResult
    from fastcart.scanning.scan import ScanResult as ScanResult
    from fastcart.scanning.scan import scan as scan
    from fastcart.sensitivity_analysis.result import SensitivityResult as SensitivityResult
    from fastcart.sensitivity_analysis.sensitivity import sensitivity as sensitivity
    from fastcart.trial.adapter import TrialAdapter as TrialAdapter
    from fastcart.writing import written_equations as written_equations

_PUBLIC = {
    "Action": "fastcart.events",
    "Algebraic": "fastcart.model",
    "BatchResult": "fastcart.result",
    "Comparison": "fastcart.comparing.compare",
    "DosingSchedule": "fastcart.dosing",
    "Event": "fastcart.events",
    "InputError": "fastcart.errors",
    "Limit": "fastcart.optimization.optimize",
    "Model": "fastcart.model",
    "Observable": "fastcart.model",
    "OptimizationResult": "fastcart.optimization.optimize",
    "Parameter": "fastcart.model",
    "ParetoResult": "fastcart.optimization.pareto",
    "PatientsFailed": "fastcart.errors",
    "PublishedScheme": "fastcart.model",
    "ScanResult": "fastcart.scanning.scan",
    "SensitivityResult": "fastcart.sensitivity_analysis.result",
    "Solution": "fastcart.prepared",
    "SolveOptions": "fastcart.options",
    "Solver": "fastcart.prepared",
    "State": "fastcart.model",
    "Sum": "fastcart.model",
    "SwarmSettings": "fastcart.optimization.swarm",
    "TrialAdapter": "fastcart.trial.adapter",
    "compare": "fastcart.comparing.compare",
    "derivatives": "fastcart.equations",
    "explain_engine": "fastcart.explain",
    "load": "fastcart.loading",
    "optimize": "fastcart.optimization.optimize",
    "pareto": "fastcart.optimization.pareto",
    "prepare": "fastcart.prepared",
    "scan": "fastcart.scanning.scan",
    "sensitivity": "fastcart.sensitivity_analysis.sensitivity",
    "solve": "fastcart.batch",
    "written_equations": "fastcart.writing",
    "fit": "fastcart.fit",
    "math": "fastcart.math",
    "models": "fastcart.models",
    "nonmem": "fastcart.nonmem",
    "petab": "fastcart.petab",
    "plotting": "fastcart.plotting",
    "population": "fastcart.population",
    "protocols": "fastcart.protocols",
    "sample": "fastcart.sample",
    "sbml": "fastcart.sbml",
    "trial": "fastcart.trial",
}

_HIDING = "math"  # who takes all names at once does not mean this one instead of Python's
__all__ = [*(name for name in _PUBLIC if name != _HIDING), "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        from fastcart.errors import nearest

        hint = "" if name.startswith("_") else nearest(name, _PUBLIC)
        raise AttributeError(f"module 'fastcart' has no attribute {name!r}.{hint}", name=name)
    module = import_module(_PUBLIC[name])
    value = module if _PUBLIC[name] == f"fastcart.{name}" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*_PUBLIC, "__version__"])
