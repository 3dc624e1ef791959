"""Measure what of a solve is left to one thread, and how far many threads can then get."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd

from fastcart.batch import as_model, solve
from fastcart.bench import ROUNDS, varied_patients
from fastcart.model import Model
from fastcart.solvers import threads

CORES = (8, 16, 64)


def serial_share(
    model: str | Model = "li_lei", *, patients: int = 200_000, rtol: float = 1e-6, seed: int = 5
) -> pd.DataFrame:
    """Measure the part of a solve that threads do not share, with one thread, endpoints only.

    Counted is the wall time outside of what is handed to threads (`fastcart.solvers.threads.spent`): checks
    of the input, heads of the tables. Where threads wait for each other, for memory or for Python's lock, is
    not in it.

    Parameters
    ----------
    model : str or Model
    patients : int
        With every parameter within 10% of its default.
    rtol : float
    seed : int

    Returns
    -------
    DataFrame
        One row: ``us_per_patient``, ``serial_us`` of them, ``share``, of the round of `fastcart.bench.ROUNDS`
        with the smallest share, and for each of `CORES` the ``speedup_<cores>`` that this part allows
        (Amdahl).
    """
    model = as_model(model)
    population = varied_patients(model, patients, seed=seed)
    solve(model, population[:64], rtol=rtol, progress=False)  # compile
    best = (np.inf, 0.0)
    for _ in range(ROUNDS):
        start, shared = time.perf_counter(), threads.spent[0]
        solve(model, population, rtol=rtol, threads=1, progress=False)
        wall = time.perf_counter() - start
        best = min(best, (1 - (threads.spent[0] - shared) / wall, wall))
    share, wall = best
    us = wall / patients * 1e6
    row = {"us_per_patient": us, "serial_us": share * us, "share": share}
    row |= {f"speedup_{cores}": 1 / (share + (1 - share) / cores) for cores in CORES}
    return pd.DataFrame([row])


def serial_note(shares: pd.DataFrame) -> str:
    """Say what `serial_share` measured."""
    row = shares.iloc[0]
    gains = ", ".join(f"{row[f'speedup_{cores}']:.1f} times on {cores}" for cores in CORES)
    return (
        f"Outside of the threads are {row['share']:.2%} of the time of one thread ({row['serial_us']:.3f} of "
        f"{row['us_per_patient']:.1f} µs a patient); that alone allows {gains} cores."
    )
