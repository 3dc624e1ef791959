"""Whether what is estimated drifts, or only scatters."""

from __future__ import annotations

import numpy as np
from scipy.special import stdtrit


def is_stationary(trace: np.ndarray, *, level: float = 0.05, parts: int = 8) -> bool:
    """Whether no column drifts: the slope through means of parts of the trace is within its error.

    Means of parts, since neighbouring iterations are alike; of several columns the largest slope counts, by
    Bonferroni's rule.
    """
    rows = len(trace) // parts * parts
    if rows < 8 * parts:
        return False
    means = trace[len(trace) - rows :].reshape(parts, -1, trace.shape[1]).mean(axis=1)
    x = np.arange(parts) - (parts - 1) / 2
    slope = x @ means / (x @ x)
    rest = means - means.mean(axis=0) - np.outer(x, slope)
    error = np.sqrt((rest**2).sum(axis=0) / (parts - 2) / (x @ x))
    limit = stdtrit(parts - 2, 1.0 - level / (2 * trace.shape[1]))
    return bool((np.abs(slope) <= limit * error + 1e-12).all())
