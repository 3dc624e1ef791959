"""The partial rank correlation: the other inputs are removed from input and output."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fastcart.sensitivity_analysis.methods.correlation import Correlation
from fastcart.sensitivity_analysis.methods.ranks import ranked


class PartialRank(Correlation):
    """The partial rank correlation: the other inputs are removed from input and output."""

    name = main = "prcc"
    indices: ClassVar = {"prcc": "Partial rank correlation"}
    removes_others = True

    def correlate(
        self, x: np.ndarray, y: np.ndarray, events: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        return ranked(x, y, partial=True)


METHOD = PartialRank()
