"""Tables of a population's fit, its summary, and the virtual patients that it stands for."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fastcart.checks import count, seed_of
from fastcart.fit.maximum import ENOUGH

if TYPE_CHECKING:
    from fastcart.fit.population_fit import PopulationFit

AGREE = 0.5  # of -2 ln L, by which two starts may differ
_QUANTILE = 1.959963984540054  # of the normal distribution, at 97.5 %
_GAIN = 0.05  # of -2 ln L, that a further step may promise


def problems(fit: PopulationFit) -> list[str]:
    """Return what speaks against the fit having converged, a sentence each."""
    best, found = fit.best.known, []
    if len(fit.ended) > 1:
        every = [one.known.minus2LL for one in fit.ended]
        if max(every) - min(every) > AGREE:
            found.append(f"The starts ended at different -2 ln L: {', '.join(f'{x:.2f}' for x in every)}.")
    if best.gain > _GAIN:
        found.append(f"A further step promises to lower -2 ln L by {best.gain:.2g}.")
    size = np.sqrt(np.diag(best.curvature))
    if np.linalg.eigvalsh(best.information / np.outer(size, size))[0] <= 0:
        found.append("The information is not positive: standard errors are not to be trusted.")
    few = best.rounds.effective < ENOUGH
    if few.any():
        found.append(
            f"{few.sum()} patients have fewer than {ENOUGH:g} effective draws, the least "
            f"{best.rounds.effective.min():.0f}: -2 ln L is not final."
        )
    if best.rounds.error > fit.accuracy:
        found.append(
            f"The Monte Carlo error of -2 ln L is {best.rounds.error:.2g}, more than the wanted "
            f"{fit.accuracy:g}; give more draws."
        )
    return found


def estimates(fit: PopulationFit) -> pd.DataFrame:
    """Return a row for each estimate; `PopulationFit.table` names the columns."""
    error = np.where(fit.known & ~fit.of_lost, np.sqrt(np.diag(fit.cov)), np.nan)
    natural, slope = fit.natural(fit.row), fit.slopes()
    low, high = (fit.natural(fit.row + side * _QUANTILE * error) for side in (-1.0, 1.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = slope * error / np.abs(natural)
    return pd.DataFrame(
        {
            "parameter": fit.names, "estimate": natural, "se": slope * error, "rse": relative, "low": low,
            "high": high, "scaled": fit.row, "scaled_se": error,
            "scale": np.array(fit.row_scales(), dtype=object),
            "says": np.where(
                ~fit.known, "not identifiable", np.where(fit.of_lost, "spread at zero", "ok")
            ),
            "method": "observed information (Louis)",
        }
    )  # fmt: skip


def individuals(fit: PopulationFit) -> pd.DataFrame:
    """Return a row for each patient; `PopulationFit.individuals` names the columns."""
    known, effects = fit.best.known, fit.complete.effects
    natural = effects.natural(fit.modes.phi)
    columns: dict[str, Any] = {
        "patient": fit.complete.prepared.data.ids,
        "minus2LL": -2.0 * known.rounds.log_likelihood,
    }
    for k, name in enumerate(effects.random):
        columns[f"{name}_mode"] = natural[:, k]
        columns[f"{name}_scaled_mode"] = fit.modes.phi[:, k]
        columns[f"{name}_scaled_mean"] = known.summary.mean[:, k]
        columns[f"{name}_scaled_sd"] = fit.deviations[:, k]
    return pd.DataFrame(columns)


def shrinkage(fit: PopulationFit) -> pd.DataFrame:
    """Return the shrinkage of each random effect, by both definitions, of conditional means and of modes.

    Columns: ``parameter``; ``variance`` (1 - variance / omega^2) and ``deviation`` (1 - SD / omega) of
    the means, ``mode_variance`` and ``mode_deviation`` of the modes. Of the errors `diagnostics` has the
    weighted residuals: 1 - SD of those, in the last rows.
    """
    effects, values = fit.complete.effects, fit.values
    centers = effects.centers(values.b)
    omega = np.sqrt(np.diag(values.omega))
    rows = []
    for k, name in enumerate(effects.random):
        part = [
            np.std(x[:, k] - centers[:, k]) / omega[k] for x in (fit.best.known.summary.mean, fit.modes.phi)
        ]
        rows.append((name, 1 - part[0] ** 2, 1 - part[0], 1 - part[1] ** 2, 1 - part[1]))
    table = fit.diagnostics()
    for one in fit.complete.prepared.observations:
        mine = table[(table["kind"] == one.dvid) & (table["censored"] == 0)]["IWRES"]
        part0 = float(np.std(mine)) if len(mine) else np.nan
        rows.append((f"residuals of {one.dvid}", np.nan, np.nan, 1 - part0**2, 1 - part0))
    names = ["parameter", "variance", "deviation", "mode_variance", "mode_deviation"]
    return pd.DataFrame(rows, columns=names)


def starts(fit: PopulationFit) -> pd.DataFrame:
    """Return a row for each start: where it ended, -2 ln L with its error, when it began to average."""
    rows = []
    for one in fit.ended:
        known = one.known
        rows.append(
            {
                "minus2LL": known.minus2LL, "error": known.rounds.error,
                "least_effective_draws": float(known.rounds.effective.min()),
                "still_to_gain": known.gain, "explored": one.switched, "stationary": one.stationary,
                "moved_from_average": float(
                    np.sqrt(np.diag((known.row - one.averaged)[None] @ known.curvature
                                    @ (known.row - one.averaged)[:, None]))[0]
                ),
                **dict(zip(fit.names, fit.natural(known.row), strict=True)),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def virtual_patients(fit: PopulationFit, n: int, *, uncertainty: bool = False, seed: int = 1) -> pd.DataFrame:
    """Draw virtual patients, as `fastcart.solve` takes them.

    Parameters
    ----------
    n : int
    uncertainty : bool
        Whether each patient comes from a population that is itself drawn, from the estimates and their
        covariance; else from the estimates. What the data do not say is not drawn: it keeps its estimate,
        and a warning names it unless it is a spread that went to nothing.
    seed : int

    Returns
    -------
    DataFrame
        A row for each patient: parameters that were estimated, natural, and what the data have of
        patients (covariates, other parameters), taken together from a patient drawn by chance.
    """
    effects, random = fit.complete.effects, np.random.default_rng(seed_of(seed))
    number = count(n, "The number of patients")
    of = random.integers(fit.complete.prepared.patients, size=number)
    normal = random.standard_normal((number, len(effects.random)))
    if uncertainty:
        size = np.sqrt(np.diag(fit.cov))  # of itself each estimate is of a size that eigenvalues see
        correlation = fit.cov / np.outer(size, size)
        none = np.zeros(len(size))
        rows = fit.row + size * random.multivariate_normal(none, correlation, size=number, method="eigh")
        rows[:, ~fit.known] = fit.row[~fit.known]
        anything = ~fit.known & ~fit.lost
        if anything.any():
            names = ", ".join(np.array(fit.names)[anything])
            warnings.warn(
                f"The data do not say what {names} is: virtual patients have its estimate, without "
                "uncertainty.",
                stacklevel=3,
            )
    else:
        rows = np.tile(fit.row, (number, 1))
    phi, fixed = np.empty((number, len(effects.random))), np.empty((number, len(effects.fixed)))
    for i, row in enumerate(rows):
        values = effects.unpack(row)
        phi[i] = effects.design[of[i]] @ values.b + np.linalg.cholesky(values.omega) @ normal[i]
        fixed[i] = values.fixed
    table = pd.DataFrame(effects.natural(phi), columns=list(effects.random))
    for k, name in enumerate(effects.fixed):
        table[name] = effects.natural(fixed[:, k : k + 1], len(effects.random) + k)[:, 0]
    others = fit.complete.prepared.data.covariates.iloc[of].reset_index(drop=True)
    return pd.concat([table, others[[x for x in others if x not in table]]], axis=1)


def summary(fit: PopulationFit) -> str:
    """Return in a few lines what was fitted, how well, and what speaks against it."""
    prepared, best = fit.complete.prepared, fit.best.known
    counts = {name: int(n) for name, n in prepared.counts.items() if name != "ok" and n}
    lines = [
        f"{prepared.patients} patients, {fit.measurements} measurements, {len(fit.row)} estimates",
        f"-2 ln L {fit.minus2LL:.3f} (Monte Carlo error {fit.minus2LL_error:.3f}; least effective "
        f"draws of a patient {best.rounds.effective.min():.0f}), "
        f"AIC {fit.aic:.2f}, BIC {fit.bic:.2f}, BICc {fit.bicc:.2f}",
        f"{len(fit.ended)} starts: " + ", ".join(f"{x.known.minus2LL:.3f}" for x in fit.ended),
        f"condition number of the estimates {fit.condition:.3g}",
        "converged" if fit.converged else "NOT converged",
        *prepared.data.not_used([one.dvid for one in prepared.observations]),
        *(
            f"the data do not say what {name} is"
            for name, known in zip(fit.names, fit.known, strict=True)
            if not known
        ),
        *fit.problems,
    ]
    if counts:
        solved = int(prepared.counts["ok"])
        lines.append(f"solves that failed, of {solved + sum(counts.values())}: " + ", ".join(
            f"{n} {name}" for name, n in sorted(counts.items())))  # fmt: skip
    return "\n".join(lines)
