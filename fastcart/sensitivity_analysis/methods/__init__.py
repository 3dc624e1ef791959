"""The methods of sensitivity, each in a file of its own; to add one, write its file and name it here."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastcart.sensitivity_analysis.methods.base import Method

# name to the module that holds it as METHOD; loaded when it is used
METHODS = {
    "pearson": "fastcart.sensitivity_analysis.methods.pearson",
    "spearman": "fastcart.sensitivity_analysis.methods.spearman",
    "prcc": "fastcart.sensitivity_analysis.methods.prcc",
    "concordance": "fastcart.sensitivity_analysis.methods.concordance",
    "sobol": "fastcart.sensitivity_analysis.methods.sobol",
    "morris": "fastcart.sensitivity_analysis.methods.morris",
    "fast": "fastcart.sensitivity_analysis.methods.fast",
}


def find(name: Any) -> Method:
    """Return a method by its name.

    Raises
    ------
    InputError
        Where there is none.
    """
    from fastcart.checks import shown
    from fastcart.errors import InputError, nearest

    if not isinstance(name, str) or name not in METHODS:
        raise InputError(f"There is no method {shown(name)} of sensitivity." + nearest(name, METHODS))
    return import_module(METHODS[name]).METHOD
