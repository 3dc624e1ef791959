"""Spearman's rank correlation."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fastcart.sensitivity_analysis.methods.correlation import Correlation
from fastcart.sensitivity_analysis.methods.ranks import ranked


class Spearman(Correlation):
    """Spearman's rank correlation."""

    name = main = "spearman"
    indices: ClassVar = {"spearman": "Spearman rank correlation"}

    def correlate(
        self, x: np.ndarray, y: np.ndarray, events: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        return ranked(x, y, partial=False)


METHOD = Spearman()
