"""Named variants of the T-cell model beside the reference, and what each one changes.

``blasts``: a division programme of the cell itself, for F16. ``contraction``: rates of contraction that
differ between patients. ``clinic``: fewer cells kept as memory, for the memory share of tisagenlecleucel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from fastcart.models.t_cell_presets import Preset, make_preset
from fastcart.papers.t_cell_theories import cart as cart
from fastcart.papers.t_cell_theories.facts import BY_NAME, POPULATION, fact_numbers, passes
from fastcart.papers.t_cell_theories.scans import SPACES

# `blasts`: topology and rates from the third random search over the free values of ``unified``, rho_B and
# kappa (about 24 000 trials in all), rounded by hand; two other roundings met one fact fewer. It was tuned
# far more than the preset ``unified``: `compare_searches` gives both the same search. F10 and F13 lie just
# within their cuts.
BLAST_PRESET: Preset = make_preset(
    "unified_blasts", first={"S": 0.02, "C": 0.98},
    division={"S": {"S": 0.888, "C": 0.112}, "C": {"C": 0.2, "M": 0.8}, "M": {"M": 0.284, "E": 0.716}},
    off={"EM": 0.0022, "MC": 0.065, "CS": 0.0004},
    theory="unified, after a division programme of the naive cell itself",
)  # fmt: skip
BLAST_RATES = {"rho_B": 2.96, "kappa": 3.4e-5}

# `clinic`: values of the scenario ``cart`` under ``unified``, from the second of two random searches (7000
# trials in all) for the typical fold, day of the peak, contraction and memory share of Stein 2019, then
# rounded. All divisions are 11 % faster than in the reference.
CLINIC_VALUES = {
    "P_SC": 0.60, "P_CM": 0.47, "P_ME": 0.124, "rho_S": 1.11, "rho_C": 1.277, "rho_M": 1.443, "rho_E": 1.499
}  # fmt: skip


def compare_variants(*, patients: int = 4000, seed: int = 0, threads: int | None = None) -> pd.DataFrame:
    """Return what each variant changes, beside the reference.

    Parameters
    ----------
    patients : int
        Virtual patients of the variant ``contraction``.
    seed : int
    threads : int, optional

    Returns
    -------
    DataFrame
        ``variant``, ``quantity``, ``reference``, ``with_variant``, ``target``.
    """
    rows: list[tuple[str, str, float, float, Any]] = []
    here: dict[str, Any] = {"threads": threads}
    plain = fact_numbers("unified", pd.DataFrame(index=[0]), **here)
    blasts = fact_numbers(BLAST_PRESET, pd.DataFrame([BLAST_RATES]), variant={"blasts": True}, **here)
    for name in POPULATION:
        fact = BY_NAME[name]
        signs = ["+" if fact.holds(numbers)[0] else "-" for numbers in (plain, blasts)]
        for column in fact.columns:
            rows.append(
                ("blasts", f"{name} {column} ({' to '.join(signs)})", plain[column].iloc[0],
                 blasts[column].iloc[0], fact.cut)
            )  # fmt: skip
    before, held = (sum(bool(BY_NAME[name].holds(n)[0]) for name in POPULATION) for n in (plain, blasts))
    rows.append(("blasts", "facts of 14", before, held, ""))

    spread = [
        cart.variances(cart.kinetics(cart.virtual_patients(patients, contraction=c, seed=seed), **here))
        for c in (cart.COHORTS["reference"], cart.COHORTS["contraction"])
    ]
    for name in ("alpha", "t_peak", "peak", "fold", "FB"):
        rows.append(
            ("contraction", f"variance of ln {name}", spread[0][name], spread[1][name],
             cart.CLINIC_VARIANCE[name])
        )  # fmt: skip

    typical = cart.kinetics(pd.DataFrame(index=[0]), **here)
    clinic = cart.kinetics(pd.DataFrame([CLINIC_VALUES]), **here)
    for name, target in cart.CLINIC.items():
        rows.append(("clinic", name, typical[name].iloc[0], clinic[name].iloc[0], target))
    return pd.DataFrame(rows, columns=["variant", "quantity", "reference", "with_variant", "target"])


def compare_searches(
    *, trials: int = 4000, searches: int = 3, seed: int = 0, threads: int | None = None
) -> pd.DataFrame:
    """Tune ``unified`` with and without blasts by the same search, to see what the blasts themselves do.

    Half of the trials are drawn over the whole range, the others in three narrowing rounds around the best.

    Parameters
    ----------
    trials : int
        Per search, about.
    searches : int
        Independent searches for each.
    seed : int
    threads : int, optional

    Returns
    -------
    DataFrame
        ``model``, ``search``, ``trials``, ``best`` (facts of 14), ``failed`` (by the best), ``meet_F16`` and
        ``meet_F8_F16`` (trials that do).
    """
    rows = []
    for k, stream in enumerate(np.random.SeedSequence(seed).spawn(searches)):
        for name, blasts in (("unified", False), ("unified with blasts", True)):
            tried = _search(np.random.default_rng(stream), trials, blasts, threads)
            held = {fact: BY_NAME[fact].holds(tried) for fact in POPULATION}
            best = int(np.argmax(passes(tried, POPULATION)))
            rows.append(
                {
                    "model": name, "search": k, "trials": len(tried),
                    "best": int(passes(tried, POPULATION)[best]),
                    "failed": " ".join(fact for fact in POPULATION if not held[fact][best]),
                    "meet_F16": int(held["F16"].sum()),
                    "meet_F8_F16": int((held["F8"] & held["F16"]).sum()),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def _search(rng: np.random.Generator, trials: int, blasts: bool, threads: int | None) -> pd.DataFrame:
    """One search; with and without blasts it draws the same numbers."""
    space = SPACES["unified"]
    low = np.log([*space.low[:2], 0.05, *space.low[3:], 7e-6, 1.8])
    high = np.log([*space.high[:2], 0.8, 0.98, *space.high[4:], 8e-5, 3.0])

    def measure(logarithms: np.ndarray) -> pd.DataFrame:
        values = np.exp(logarithms)
        candidates = pd.DataFrame(space.columns(values)).assign(kappa=values[:, 7])
        if blasts:
            candidates["rho_B"] = values[:, 8]
        return fact_numbers("unified", candidates, variant={"blasts": blasts}, threads=threads)

    places = rng.uniform(low, high, (max(10, trials // 2), len(low)))
    tried = measure(places)
    for width in (0.2, 0.1, 0.05):
        best = np.argsort(-passes(tried, POPULATION), kind="stable")[:10]
        steps = rng.uniform(-width, width, (10, max(1, trials // 60), len(low))) * (high - low)
        near = np.clip((places[best][:, None, :] + steps).reshape(-1, len(low)), low, high)
        places = np.concatenate([places, near])
        tried = pd.concat([tried, measure(near)], ignore_index=True)
    return tried
