"""CAR-T cells in the T-cell model: products, virtual patients, and what makes patients differ.

Scans X1 to X5: composition and antigen load, theories, dose and fractionation, rest and boost, variance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fastcart.batch import solve
from fastcart.checks import count
from fastcart.dosing import DosingSchedule
from fastcart.errors import InputError, nearest, optional_import
from fastcart.events import Event
from fastcart.models import get
from fastcart.models.t_cell_presets import PRESETS, Preset
from fastcart.models.t_cell_scenarios import DOSE, ENGRAFTED, PRODUCTS, product

# Stein 2019, tisagenlecleucel in B-ALL: typical values, and variances of random effects of their logarithms
CLINIC = {"fold": 3900.0, "t_peak": 9.3, "alpha": 0.16, "beta": 0.0032, "FB": 0.0079}
CLINIC_VARIANCE = {"fold": 2.4, "t_peak": 0.38, "peak": 0.65, "alpha": 0.91, "FB": 0.8, "beta": 0.86}
CLEARED = 1.0  # antigen

_TAIL = (150.0, 180.0)  # days between which the slow decline is measured
_CONTRACTION = (3.0, 15.0)  # days after the peak between which the fast decline is measured
_GRID = np.r_[2.0, 7.0, np.arange(8.0, 80.5, 1.0), _TAIL]
_INPUTS = ("composition", "load", "growth", "potency", "dose", "fitness", "exhaustion", "contraction")

# cohorts of virtual patients: standard deviation of the logarithm of the rates of contraction
COHORTS = {"reference": 0.0, "contraction": 0.8}


def compositions(parts: int = 10) -> pd.DataFrame:
    """Return all products of Tscm, Tcm, Tem and Teff in steps of one part.

    Parameters
    ----------
    parts : int
        10 gives 286 products.
    """
    n = count(parts, "The number of parts")
    rows = [
        (i, j, k, n - i - j - k) for i in range(n + 1) for j in range(n + 1 - i) for k in range(n + 1 - i - j)
    ]
    return pd.DataFrame(rows, columns=["S", "C", "M", "E"]) / n


def kinetics(
    patients: pd.DataFrame, *, preset: str | Preset = "unified", threads: int | None = None
) -> pd.DataFrame:
    """Return what clinics measure of CAR-T cells, for patients of the scenario ``cart``.

    Parameters
    ----------
    patients : DataFrame
        Columns of the T-cell model.
    preset : str or Preset
    threads : int, optional

    Returns
    -------
    DataFrame
        ``peak`` (cells), ``t_peak`` (day), ``fold`` (peak over cells at the start), ``T180`` (cells),
        ``alpha`` and ``beta`` (fast and slow decline, 1/day), ``FB`` (share of the peak that the slow decline
        leads back to), ``cleared`` (day on which antigen falls below one, NaN for never), ``final_A``.
    """
    model = get("t_cell", preset=preset, scenario="cart")
    gone = Event("cleared", "A", CLEARED, direction="down")
    result = solve(
        model, patients if len(patients.columns) else len(patients), save_at=_GRID, peaks=("T",),
        events=[gone], threads=threads, progress=False,
    )  # fmt: skip
    ends = result.endpoints
    T = result.trajectories["T"].to_numpy().reshape(len(ends), len(_GRID))  # type: ignore[index]
    peak, day = ends["peak_T"].to_numpy(), ends["t_peak_T"].to_numpy()
    defaults = model.defaults()
    start = sum(patients[a] if a in patients else defaults[a] for a in "SCMEX")
    with np.errstate(all="ignore"):
        beta = np.log(T[:, -2] / T[:, -1]) / (_TAIL[1] - _TAIL[0])

        def slow(at: np.ndarray) -> np.ndarray:
            return T[:, -1] * np.exp(beta * (_TAIL[1] - at))

        first, last = (day + delay for delay in _CONTRACTION)
        fast = []
        for at in (first, last):
            logs = [np.interp(x, _GRID, row) for x, row in zip(at, np.log(T), strict=True)]
            fast.append(np.maximum(np.exp(logs) - slow(at), 0.0))
        alpha = np.log(fast[0] / fast[1]) / (last - first)
    return pd.DataFrame(
        {
            "peak": peak, "t_peak": day, "fold": peak / np.asarray(start, dtype=float), "T180": T[:, -1],
            "alpha": np.where(np.isfinite(alpha) & (alpha > 0), alpha, np.nan), "beta": beta,
            "FB": slow(day) / peak, "cleared": ends["event_cleared"].to_numpy(), "final_A": ends["final_A"],
        }
    )  # fmt: skip


# --- X1 and X2: composition, load, potency; theories


def scan_products(
    *, parts: int = 10, loads: Sequence[float] | None = None, kappas: Sequence[float] | None = None,
    threads: int | None = None,
) -> pd.DataFrame:  # fmt: skip
    """X1: all compositions at every antigen load and potency.

    Parameters
    ----------
    parts : int
        Steps of the composition.
    loads : sequence of float
        Antigen at the start; default 25 values from 1e8 to 1e13.
    kappas : sequence of float
        Killing per effector; default 5 values from 1e-10 to 1e-8.
    threads : int, optional

    Returns
    -------
    DataFrame
        Shares ``share_S`` to ``share_E``, ``A``, ``kappa``, and the columns of `kinetics`.
    """
    A = np.logspace(8, 12.3, 25) if loads is None else np.asarray(loads, float)
    kappa = np.logspace(-10, -8, 5) if kappas is None else np.asarray(kappas, float)
    shares = compositions(parts)
    place = np.indices((len(shares), len(A), len(kappa))).reshape(3, -1)
    shares = shares.iloc[place[0]].reset_index(drop=True)
    patients = shares * DOSE * ENGRAFTED
    patients["X"] = 0.0
    patients["A"], patients["kappa"] = A[place[1]], kappa[place[2]]
    return pd.concat(
        [shares.add_prefix("share_"), patients[["A", "kappa"]], kinetics(patients, threads=threads)], axis=1
    )


def compare_theories(presets: Sequence[str] = tuple(PRESETS), *, threads: int | None = None) -> pd.DataFrame:
    """X2: the five products under each theory, with the same rates of cells and antigen.

    Returns
    -------
    DataFrame
        ``preset``, ``product``, and the columns of `kinetics`.
    """
    patients = pd.DataFrame([product(name) for name in PRODUCTS])
    parts = []
    for name in presets:
        part = kinetics(patients, preset=name, threads=threads)
        part.insert(0, "preset", name)
        part.insert(1, "product", list(PRODUCTS))
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


# --- X3: dose and fractionation


def scan_doses(
    doses: Sequence[float] = tuple(np.logspace(6, 9, 13)), *, threads: int | None = None
) -> pd.DataFrame:
    """X3: dose of each of the five products.

    Returns
    -------
    DataFrame
        ``product``, ``dose``, and the columns of `kinetics`.
    """
    rows = [(name, dose) for name in PRODUCTS for dose in doses]
    patients = pd.DataFrame([product(name, dose=dose) for name, dose in rows])
    labels = pd.DataFrame(rows, columns=["product", "dose"])
    return pd.concat([labels, kinetics(patients, threads=threads)], axis=1)


SPLITS: dict[str, tuple[tuple[float, float], ...]] = {
    "single": ((0, 1.0),),
    "10/30/60 % on days 0, 1, 2": ((0, 0.1), (1, 0.3), (2, 0.6)),
    "thirds on days 0, 1, 2": ((0, 1 / 3), (1, 1 / 3), (2, 1 / 3)),
    "thirds on days 0, 7, 14": ((0, 1 / 3), (7, 1 / 3), (14, 1 / 3)),
}


def scan_splits(*, threads: int | None = None) -> pd.DataFrame:
    """X3: the same dose at once or in parts.

    Returns
    -------
    DataFrame
        ``product``, ``split``, ``peak``, ``t_peak``, ``T180``, ``relative`` (T180 over that of one infusion).
    """
    model = get("t_cell", scenario="cart")
    rows = []
    for name in PRODUCTS:
        single = np.nan
        for split, parts in SPLITS.items():
            schedule = DosingSchedule()
            for day, share in parts:
                for state, cells in product(name).items():
                    schedule = schedule.bolus(day, state, cells * share)
            none = dict.fromkeys("SCMEX", 0.0)
            ends = solve(model, none, doses=schedule, peaks=("T",), threads=threads, progress=False).endpoints
            row = ends.iloc[0]
            T180 = sum(row[f"final_{a}"] for a in "SCMEX")
            single = T180 if split == "single" else single
            rows.append((name, split, row["peak_T"], row["t_peak_T"], T180, T180 / single))
    return pd.DataFrame(rows, columns=["product", "split", "peak", "t_peak", "T180", "relative"])


# --- X4: rest and boost


def scan_boosts(
    kind: str = "live",
    *,
    days: Sequence[float] = tuple(range(15, 151, 5)),
    amounts: Sequence[float] = tuple(np.logspace(8, 12, 17)),
    products: Sequence[str] = tuple(PRODUCTS),
    d_V: float = 0.5,
    threads: int | None = None,
) -> pd.DataFrame:
    """X4: antigen once more, after a rest.

    Parameters
    ----------
    kind : {'live', 'vaccine'}
        Antigen that grows (cells that carry it), or a vaccine that only decays.
    days, amounts : sequence of float
        When, and how much antigen.
    products : sequence of str
    d_V : float
        Decay of the vaccine, 1/day.
    threads : int, optional

    Returns
    -------
    DataFrame
        ``product``, ``day``, ``amount``, ``T180`` and ``gain`` (over that without a boost), ``T365``,
        ``A365`` (antigen after a year), ``relapse`` (whether that is above one).

    Raises
    ------
    InputError
        For another kind or an unknown product.
    """
    if kind not in ("live", "vaccine"):
        raise InputError(f"A boost must be 'live' or 'vaccine', not {kind!r}.")
    for name in products:
        if name not in PRODUCTS:
            raise InputError(f"There is no product {name!r}." + nearest(name, PRODUCTS))
    model = get("t_cell", scenario="cart", vaccine=True)
    grid = [(name, day, amount) for name in products for day in days for amount in amounts]
    rows = [*((name, np.nan, 0.0) for name in products), *grid]
    patients = pd.DataFrame([product(name) for name, _, _ in rows])
    patients["d_V"] = d_V
    state = "A" if kind == "live" else "V"
    doses = pd.DataFrame(
        [(k, day, state, amount) for k, (_, day, amount) in enumerate(rows) if amount > 0],
        columns=["patient", "time", "state", "amount"],
    )
    result = solve(
        model, patients, doses=doses, t_end=365.0, save_at=[180.0, 365.0], threads=threads, progress=False
    )
    path = result.trajectories
    assert path is not None
    T = path["T"].to_numpy().reshape(len(rows), 2)
    frame = pd.DataFrame(rows, columns=["product", "day", "amount"])
    frame["T180"], frame["T365"] = T[:, 0], T[:, 1]
    frame["A365"] = path["A"].to_numpy().reshape(len(rows), 2)[:, 1]
    frame["relapse"] = frame["A365"] > CLEARED
    alone = frame.iloc[: len(products)].set_index("product")["T180"]
    frame["gain"] = frame["T180"] / frame["product"].map(alone).to_numpy(float)
    return frame.iloc[len(products) :].reset_index(drop=True)


# --- X5: virtual patients and variance


def patients_from_shares(u: np.ndarray, *, contraction: float = 0.0) -> pd.DataFrame:
    """Turn numbers from 0 to 1 into virtual patients; spreads are assumptions.

    Parameters
    ----------
    u : ndarray, shape (patients, 8)
        Quantiles of composition, load, growth, potency, dose, fitness, exhaustion, contraction.
    contraction : float
        Standard deviation of the logarithm of the death of effectors without drive; 0 as in the reference.

    Returns
    -------
    DataFrame
        Columns of the T-cell model. Logarithms are normal: load (median 1e11, sd 1.15), growth (0.06/day,
        0.3), potency (1e-9, 0.6), dose (1e8, 0.7); composition runs from Teff-rich over typical to Tscm-rich
        by the normal quantile of its logit; fitness scales all divisions by 1 +- 4 %; exhaustion P_EX is
        uniform from 0.15 to 0.35.
    """
    from scipy.special import ndtri

    z = ndtri(np.clip(u, 1e-6, 1 - 1e-6))
    names = ("Teff-rich", "Tem-rich", "typical", "Tcm-rich", "Tscm-rich")
    table = np.array([PRODUCTS[name] for name in names])
    place = np.clip(2.0 + z[:, 0], 0.0, 4.0)
    below = np.minimum(place.astype(int), 3)
    part = (place - below)[:, None]
    shares = (1 - part) * table[below] + part * table[below + 1]
    cells = shares * (DOSE * ENGRAFTED * np.exp(0.7 * z[:, 4]))[:, None]
    frame = pd.DataFrame(cells, columns=list("SCMEX"))
    defaults = get("t_cell", scenario="cart").defaults()
    frame["A"] = np.minimum(defaults["A"] * np.exp(1.15 * z[:, 1]), 0.9 * defaults["K_A"])
    frame["g"] = defaults["g"] * np.exp(0.3 * z[:, 2])
    frame["kappa"] = defaults["kappa"] * np.exp(0.6 * z[:, 3])
    for a in "SCME":
        frame[f"rho_{a}"] = defaults[f"rho_{a}"] * (1 + 0.04 * z[:, 5])
    frame["P_EX"] = 0.15 + 0.2 * u[:, 6]
    frame["doff_E"] = defaults["doff_E"] * np.exp(contraction * z[:, 7])
    frame["dXoff"] = defaults["dXoff"] * np.exp(contraction * z[:, 7])
    frame["doff_M"] = defaults["doff_M"] * np.exp(contraction * z[:, 7])
    return frame


def virtual_patients(patients: int, *, contraction: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Draw virtual patients; see `patients_from_shares`."""
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    u = rng.random((count(patients, "The number of patients"), len(_INPUTS)))
    return patients_from_shares(u, contraction=contraction)


_LOGARITHMS = ("peak", "fold", "T180", "FB", "alpha", "t_peak", "cleared")


def variances(numbers: pd.DataFrame) -> pd.Series:
    """Return the variance of the logarithm of each number over virtual patients."""
    logs = np.log(numbers[list(_LOGARITHMS)].where(numbers[list(_LOGARITHMS)] > 0))
    return logs.var()


def decompose(
    samples: int = 2048, *, contraction: float = 0.0, seed: int = 0, threads: int | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """X5: Sobol indices of peak, persistence and clearance over virtual patients.

    Parameters
    ----------
    samples : int
        A power of 2; 10 times as many courses are computed.
    contraction : float
        See `patients_from_shares`.
    seed : int
    threads : int, optional

    Returns
    -------
    indices : DataFrame
        ``output``, ``input``, ``S1``, ``S1_conf``, ``ST``, ``ST_conf``; ``undefined``, in how many of the
        ``courses`` the number does not exist. These take the median, a day of clearing that never comes the
        horizon.
    numbers : DataFrame
        Columns of `kinetics` of all courses.
    """
    sampler: Any = optional_import("SALib.sample.sobol", extra="sensitivity", purpose="Sobol indices")
    analyzer: Any = optional_import("SALib.analyze.sobol", extra="sensitivity", purpose="Sobol indices")
    problem: Mapping[str, Any] = {
        "num_vars": len(_INPUTS), "names": list(_INPUTS), "bounds": [[0.0, 1.0]] * len(_INPUTS)
    }  # fmt: skip
    u = sampler.sample(problem, samples, calc_second_order=False, seed=seed)
    numbers = kinetics(patients_from_shares(u, contraction=contraction), threads=threads)
    rows = []
    for output in ("peak", "T180", "FB", "alpha", "cleared"):
        values = numbers[output].to_numpy(float)
        if output == "cleared":  # never: as late as the horizon
            values = np.where(np.isfinite(values), values, _TAIL[1])
        values = np.log(np.where(values > 0, values, np.nan))
        undefined = int((~np.isfinite(numbers[output].to_numpy(float))).sum())
        values = np.where(np.isfinite(values), values, np.nanmedian(values))
        # from 1 on: SALib takes 0 for none, and resamples as it likes
        found = analyzer.analyze(problem, values, calc_second_order=False, seed=seed + 1)
        for k, name in enumerate(_INPUTS):
            rows.append(
                (
                    output,
                    name,
                    found["S1"][k],
                    found["S1_conf"][k],
                    found["ST"][k],
                    found["ST_conf"][k],
                    undefined,
                    len(values),
                )
            )
    columns = ["output", "input", "S1", "S1_conf", "ST", "ST_conf", "undefined", "courses"]
    return pd.DataFrame(rows, columns=columns), numbers
