"""Simulated randomized trials: the course of each patient under each arm, outcomes, and what trials show."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastcart.trial.adapter import TrialAdapter as TrialAdapter
    from fastcart.trial.analysis import Analysis as Analysis
    from fastcart.trial.analysis import analyse as analyse
    from fastcart.trial.analysis import compare_pairs as compare_pairs
    from fastcart.trial.counterfactual import arm_course as arm_course
    from fastcart.trial.counterfactual import counterfactuals as counterfactuals
    from fastcart.trial.frontier import isotoxic as isotoxic
    from fastcart.trial.observe import run_trial as run_trial
    from fastcart.trial.outcomes import expected as expected
    from fastcart.trial.power import power_table as power_table
    from fastcart.trial.randomize import Design as Design
    from fastcart.trial.result import TrialResult as TrialResult
    from fastcart.trial.run import run_spec as run_spec
    from fastcart.trial.spec import TrialSpec as TrialSpec
    from fastcart.trial.spec import make_spec as make_spec
    from fastcart.trial.spec import read_spec as read_spec
    from fastcart.trial.template import write_template as write_template

# Where each public name is; loaded on first use. Modules keep their own: ``fastcart.trial.outcomes.outcomes``
_PUBLIC = {
    "Analysis": "analysis",
    "Design": "randomize",
    "TrialAdapter": "adapter",
    "TrialResult": "result",
    "TrialSpec": "spec",
    "analyse": "analysis",
    "arm_course": "counterfactual",
    "compare_pairs": "analysis",
    "counterfactuals": "counterfactual",
    "expected": "outcomes",
    "isotoxic": "frontier",
    "make_spec": "spec",
    "power_table": "power",
    "read_spec": "spec",
    "run_spec": "run",
    "run_trial": "observe",
    "write_template": "template",
}
_MODULES = (
    "adapter", "analysis", "counterfactual", "course", "families", "frontier", "observe", "outcomes", "power",
    "randomize", "run", "spec", "survival", "verdict",
)  # fmt: skip

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"fastcart.trial.{name}")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'fastcart.trial' has no attribute {name!r}")
    value = getattr(import_module(f"fastcart.trial.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES})
