"""The runs behind Figure 2 of Li & Lei 2025: correlations, Sobol' indices, and who responds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fastcart.checks import count
from fastcart.errors import InputError, optional_import
from fastcart.papers.frame import Job, within
from fastcart.papers.li_lei_2025.published_values import RESPONSE_DAYS
from fastcart.papers.li_lei_2025.runs import ACCURATE, PUBLISHED
from fastcart.sensitivity_analysis.design import Design
from fastcart.sensitivity_analysis.indices import Estimate, estimate
from fastcart.sensitivity_analysis.result import SensitivityResult
from fastcart.sensitivity_analysis.sensitivity import sensitivity

SPREAD = 0.1
LAMBDA_T4_I2 = 0.35  # 1/day, the middle of the published parameter file, not of Table 1: erratum 9
# the thirteen parameters of panels (c) and (d), in the order of the paper
KEY_PARAMETERS = (
    "lambda_TM", "lambda_C", "lambda_TPE", "lambda_TEM", "lambda_TME", "k_TE", "k_T4", "d_T4", "d_TP", "d_TE",
    "d_C", "K_1", "K_3",
)  # fmt: skip
COMPARED_DAY, LAST_DAY = 80, 200
LARGE_SAMPLE = 1_000_000  # patients solved accurately
SCHEME_PATIENTS = 10_000  # patients solved with the published scheme, every day
_SMALLEST_SAMPLE = 1000
EVERY = 20  # days between the times of the large sample
_SOBOL_BASE = 1024
_TABLE_1_PATIENTS = 100_000
_SEED = 2025
_CELLS = 40  # of the plane of the responders, each way


@dataclass(frozen=True)
class Boundary:
    """Who responds, in the plane of tumor growth and killing.

    Parameters
    ----------
    threshold : float
        The ratio k_TE / lambda_C above which a patient most often responds.
    wrong : float
        The share of patients for whom that rule fails.
    responders : float
        Share of all patients.
    fraction : DataFrame
        ``lambda_C``, ``k_TE`` (middles of cells), ``patients``, ``responders`` (share; NaN in empty cells).
    """

    threshold: float
    wrong: float
    responders: float
    fraction: pd.DataFrame


@dataclass(frozen=True)
class Study:
    """All runs of Figure 2.

    Parameters
    ----------
    scheme, large : SensitivityResult
        Published scheme, every day; accurate, with the large sample. Pearson correlations over all patients.
    sobol : SensitivityResult
        Accurate; PFS and ln C at day 80.
    responders : dict of str to Estimate
        By solution: correlations of PFS over responders only.
    boundary, boundary_table_1 : Boundary
        From the large sample; and with lambda_T4_I2 as in Table 1.
    """

    scheme: SensitivityResult
    large: SensitivityResult
    sobol: SensitivityResult
    responders: dict[str, Estimate]
    boundary: Boundary
    boundary_table_1: Boundary

    def of(self, solution: str) -> SensitivityResult:
        """Return the correlations over all patients of one solution."""
        return self.scheme if solution == PUBLISHED else self.large

    def over_responders(self, solution: str) -> pd.DataFrame:
        """Return ``value``, ``low``, ``high`` of PFS by parameter, over responders."""
        found = self.responders[solution]
        columns = {"value": found.value, "low": found.low, "high": found.high}
        names = list(self.of(solution).design.names)
        return pd.DataFrame({key: part["pearson"][:, 0] for key, part in columns.items()}, index=names)

    def at_day(self, solution: str, day: float) -> pd.DataFrame:
        """Return ``value``, ``low``, ``high`` of ln C at one day by parameter, over all patients."""
        return self.of(solution).table(f"ln_C@{day:g}")


def run_study(
    *,
    sample: int = LARGE_SAMPLE,
    threads: int | None = None,
    progress: bool | None = None,
    job: Job | None = None,
) -> Study:
    """Solve and analyse everything that Figure 2 shows.

    Parameters
    ----------
    sample : int
        Patients of the large sample, at least 1000; the other samples are at most as large.
    threads : int, optional
    progress : bool, optional
    job : Job, optional
        Keeps all samples, so that they can go on.

    Raises
    ------
    InputError
        For a large sample that is too small.
    MissingDependencyError
        When SALib is not installed.
    """
    sample = count(sample, "The large sample of Figure 2")
    if sample < _SMALLEST_SAMPLE:
        raise InputError(f"The large sample of Figure 2 must have at least {_SMALLEST_SAMPLE} patients.")
    optional_import("SALib", extra="sensitivity", purpose="Figure 2")
    common: dict[str, Any] = dict(
        ranges={"*": SPREAD, "lambda_T4_I2": SPREAD}, fixed={"lambda_T4_I2": LAMBDA_T4_I2}, seed=_SEED,
        convergence=False, threads=threads, progress=progress,
    )  # fmt: skip
    scheme = sensitivity(
        "li_lei", outputs=["pfs", f"ln_C@0:{LAST_DAY}:1"], n=min(SCHEME_PATIENTS, sample), engine="published",
        **common, **within(job, "scheme", argument="folder"),
    )  # fmt: skip
    large = sensitivity(
        "li_lei", outputs=["pfs", f"ln_C@0:{LAST_DAY}:{EVERY}"], n=sample, **common,
        **within(job, "large", argument="folder"),
    )  # fmt: skip
    sobol = sensitivity(
        "li_lei", method="sobol", outputs=["pfs", f"ln_C@{COMPARED_DAY}"],
        n=min(_SOBOL_BASE, 1 << max(6, (sample // 40).bit_length())), **common,
        **within(job, "sobol", argument="folder"),
    )  # fmt: skip
    table_1 = sensitivity(
        "li_lei", outputs="pfs", n=min(_TABLE_1_PATIENTS, sample),
        **(common | {"fixed": None, "ranges": SPREAD}), **within(job, "table-1", argument="folder"),
    )  # fmt: skip
    return Study(
        scheme,
        large,
        sobol,
        {PUBLISHED: responders_only(scheme), ACCURATE: responders_only(large)},
        find_boundary(large),
        find_boundary(table_1),
    )


def pfs_of(result: SensitivityResult) -> np.ndarray:
    """Return the PFS of every patient (days)."""
    return result.values["y"][:, result.outputs.names.index("pfs")]


def responders_only(result: SensitivityResult) -> Estimate:
    """Estimate the correlations of PFS with every parameter over the patients that respond."""
    return responder_correlations(result.design, pfs_of(result))


def responder_correlations(design: Design, pfs: np.ndarray) -> Estimate:
    """Estimate Pearson correlations of a PFS (days) with the columns of a design, over responders."""
    return estimate(design, np.where(pfs > RESPONSE_DAYS, pfs, np.nan)[:, None], seed=_SEED)


def find_boundary(result: SensitivityResult) -> Boundary:
    """Find the ratio k_TE / lambda_C that best tells responders from the others, and where they lie."""
    names = result.design.names
    growth, killing = (result.design.x[:, names.index(name)] for name in ("lambda_C", "k_TE"))
    pfs = pfs_of(result)
    solved = np.isfinite(pfs)
    growth, killing, responds = growth[solved], killing[solved], pfs[solved] > RESPONSE_DAYS
    ratio = killing / growth
    order = np.argsort(ratio)
    # with the threshold above the first j patients, responders below it and others above it are wrong
    sorted_response = responds[order]
    wrong = np.concatenate([[0], np.cumsum(sorted_response)])
    wrong = wrong + np.concatenate([np.cumsum(~sorted_response[::-1])[::-1], [0]])
    best = int(wrong.argmin())
    limits = [result.design.bounds[names.index(name)] for name in ("lambda_C", "k_TE")]
    patients, x, y = np.histogram2d(growth, killing, bins=_CELLS, range=limits)
    hits, _, _ = np.histogram2d(growth[responds], killing[responds], bins=_CELLS, range=limits)
    with np.errstate(invalid="ignore"):
        share = np.where(patients > 0, hits / patients, np.nan)
    middle_x, middle_y = np.meshgrid((x[1:] + x[:-1]) / 2, (y[1:] + y[:-1]) / 2, indexing="ij")
    fraction = pd.DataFrame(
        {
            "lambda_C": middle_x.ravel(), "k_TE": middle_y.ravel(),
            "patients": patients.ravel().astype(int), "responders": share.ravel(),
        }
    )  # fmt: skip
    threshold = float(ratio[order[min(best, len(order) - 1)]])
    return Boundary(threshold, float(wrong[best] / len(order)), float(responds.mean()), fraction)
