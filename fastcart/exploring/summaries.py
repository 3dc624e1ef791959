"""What a page draws of many patients: bands, survival, waterfalls, straight from arrays."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastcart.trial.curves import kaplan_meier

STEPS, BARS = 400, 250  # of curves and waterfalls, which no screen shows finer
_SORTED = 16  # times whose values are sorted together
DEEPEST = -12.0  # powers of ten to which a burden falls in a waterfall, where its unit is none of cells


def bands(values: np.ndarray, quantiles: Sequence[float]) -> np.ndarray:
    """Return quantiles over patients at each time, shape (quantiles, times), as `numpy.quantile` does.

    Parameters
    ----------
    values : ndarray, shape (patients, times)
        At least one patient.
    quantiles : sequence of float
    """
    patients, times = values.shape
    found = np.empty((len(quantiles), times))
    ordered = np.empty((min(times, _SORTED), patients))
    for first in range(
        0, times, _SORTED
    ):  # sorts what stays in the cache: a fifth of the time of numpy.quantile
        some = slice(first, min(first + _SORTED, times))
        rows = ordered[: some.stop - some.start]
        rows[:] = values[:, some].T
        rows.sort(axis=1)
        for k, q in enumerate(quantiles):
            place = q * (patients - 1)
            low = int(place)
            share = place - low
            below, above = rows[:, low], rows[:, min(low + 1, patients - 1)]
            found[k, some] = below if share == 0 else below + share * (above - below)
    return found


def survival(time: np.ndarray, censored: np.ndarray) -> tuple[np.ndarray, np.ndarray, float | None]:
    """Return days and shares of the curve without progression, and its median; None: not reached."""
    curve = kaplan_meier(time, ~censored)
    keep = thinned(len(curve.day), STEPS)
    return curve.day[keep], curve.survival[keep], finite(curve.median)


def waterfall(start: np.ndarray, nadir: np.ndarray, *, cells: bool) -> np.ndarray:
    """Return the logarithm to base 10 of nadir over start, from the least response to the deepest.

    Below one cell nothing is left to respond; where the unit is no cell, the fall ends at `DEEPEST`.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        least = -np.log10(np.maximum(start, 1.0)) if cells else DEEPEST
        change = np.maximum(np.log10(nadir / start), least)
    change = np.sort(change[np.isfinite(change)])[::-1]
    return change[thinned(len(change), BARS)]


def thinned(count: int, most: int) -> np.ndarray:
    """Return at most so many places of ``count``, evenly spaced, with the first and the last."""
    return np.unique(np.linspace(0, max(count - 1, 0), min(count, most)).astype(int))


def finite(value: float) -> float | None:
    """Return a number as JSON has it."""
    return float(value) if np.isfinite(value) else None


def packed(meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return an answer for the page: the length of a JSON, that JSON filled up to 8 bytes, float64 numbers.

    The JSON has the names and lengths of the arrays, which follow one after the other, in ``arrays``.
    """
    flat = {name: np.ravel(np.asarray(values, dtype="<f8")) for name, values in arrays.items()}
    listed = [[name, len(values)] for name, values in flat.items()]
    head = json.dumps({**meta, "arrays": listed}, allow_nan=False).encode()
    head += b" " * (-(len(head) + 8) % 8)
    return struct.pack("<Q", len(head)) + head + b"".join(values.tobytes() for values in flat.values())
