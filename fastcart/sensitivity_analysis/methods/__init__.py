"""The methods of sensitivity, each in a file of its own; to add one, write its file and name it here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastcart.checks import registered

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
    return registered(name, METHODS, "method {} of sensitivity")
