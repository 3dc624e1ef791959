"""Global sensitivity of any output of a model to its parameters: samples, solves, indices, intervals."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import pandas as pd

from fastcart.batch import as_model, first_method, progress_bar, solve
from fastcart.checks import count, number, shown
from fastcart.dosing import NUMBERS, Doses, DosingSchedule
from fastcart.errors import InputError, nearest
from fastcart.model import Model
from fastcart.nonmem import is_nonmem
from fastcart.options import SolveOptions, SolverKeywords, chosen_options
from fastcart.runs.chunks import Chunk, PartFiles, chunks, here, stream
from fastcart.runs.forms import ARRAYS
from fastcart.runs.identity import describe_model, environment
from fastcart.runs.manifest import Manifest
from fastcart.runs.store import Run, open_run
from fastcart.sampling.columns import Marginal
from fastcart.sensitivity_analysis.design import Design
from fastcart.sensitivity_analysis.indices import Estimate, estimate
from fastcart.sensitivity_analysis.methods import METHODS, find
from fastcart.sensitivity_analysis.notes import find_notes, sentences
from fastcart.sensitivity_analysis.outputs import Outputs, parse_outputs
from fastcart.sensitivity_analysis.ranges import find_closures, parse_ranges
from fastcart.sensitivity_analysis.result import SensitivityResult
from fastcart.sensitivity_analysis.sampler import check_size, make_design
from fastcart.tables.storage import check_format, read_table
from fastcart.typing_names import Censored, ModelName, SensitivityMethod, TableFormat

KIND = "sensitivity study"
FORMATS = ("csv", "parquet")
OWNS = ("parts/*.npz", "*.csv", "*.parquet", "*.png", "*.svg", "*.pdf")  # what such a run makes in its folder
_PARTS = "parts/{:06d}.npz"
_PART = 32_768  # patients per part, at most
_SAVED_TIMES = 1_000_000  # patients times times per part, at most
_ALWAYS_RECORDED = ("t_end", "engine", "rtol", "extinction")  # options of the solver; others where changed
_CONVERGENCE = (8, 4, 2, 1)  # parts of n at which the indices are estimated again


def sensitivity(
    model: ModelName | str | Model,
    *,
    method: SensitivityMethod = "pearson",
    outputs: str | Sequence[str] = ("pfs",),
    n: int = 1000,
    ranges: float | Mapping[str, Any] | None = None,
    fixed: Mapping[str, float] | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    doses: Doses | None = None,
    where: str | Sequence[str] = (),
    censored: Censored = "keep",
    resamples: int = 500,
    confidence: float = 0.95,
    convergence: bool = True,
    seed: int = 0,
    folder: str | Path | None = None,
    table_format: TableFormat = "csv",
    keep_samples: bool = False,
    resume: bool = False,
    force: bool = False,
    threads: int | None = None,
    progress: bool | None = None,
    options: SolveOptions | None = None,
    **keywords: Unpack[SolverKeywords],
) -> SensitivityResult:
    """Measure how outputs of a model depend on its parameters and initial values.

    Who counts is stated for every output in ``counts``: a patient that fails has no outputs; one that does
    not meet ``where`` is left out; one without progression at the horizon counts with the horizon as ``pfs``
    (``censored="keep"``) or is left out of ``pfs`` (``"drop"``); a value that does not exist (``progression``
    of a patient without one, the logarithm of zero) is undefined. Correlations leave out such patients. A
    Sobol' index leaves out the whole base point, Morris' method the whole trajectory, FAST the search curve.

    Intervals are meant to cover the index of the model, not of the sample, with the probability
    ``confidence``, and measured to do so; an index has none where that cannot be had (FAST, ``sigma`` of
    Morris' method, small designs), and ``notes`` says why.

    Parameters that must add up to a total (`fastcart.Sum` of the model, such as chances of alternatives) are
    drawn as weights, each from its own range, and scaled so that the sum is right. An index of such a
    parameter says what happens when it gains weight against the others of its sum.

    Parameters
    ----------
    model : str or Model
    method : {'pearson', 'spearman', 'prcc', 'concordance', 'sobol', 'morris', 'fast'}
        Correlations on independent draws; Harrell's concordance and Somers' D = 2 C - 1, rank correlations
        that take censored survival as such; Sobol' first-order and total indices; elementary effects
        (screening); extended FAST. The designs of the last three are SALib's.
    outputs : str or sequence of str
        ``"pfs"``, ``"nadir"`` and other endpoints; ``"ln_C@80"``, ``"I6@0:200:5"``: states and observables at
        times, all from one run. See `fastcart.sensitivity_analysis.outputs.parse_outputs`.
    n : int
        Patients for correlations; base points (a power of 2, at least 64; n (k + 2) patients for k parameters
        or groups, in 16 independent scrambles of n / 16) for ``sobol``; trajectories (n (k + 1) patients) for
        ``morris``; points per search curve (at least 257; 4 n k patients) for ``fast``.
    ranges : float or mapping, optional
        Default 0.1: every parameter within ±10% of its default. A mapping names what is varied, with
        ``(low, high)``, a share, or a distribution: ``{"log_uniform": (low, high)}``, ``{"normal": (mean,
        sd)}`` and others of `fastcart.sample.latin_hypercube`. The key ``"*"`` stands for all others.
    fixed : mapping, optional
        Parameters and initial values that replace the defaults.
    groups : mapping, optional
        Name of a group to parameters that move together and get one index, for ``sobol`` and ``morris``;
        all others stay alone.
    doses : DosingSchedule, DataFrame or path, optional
        The same for every patient.
    where : str or sequence of str
        Conditions on endpoints, such as ``"pfs > 2"`` for responders. Only for correlations: the designs of
        the other methods must be complete.
    censored : {'keep', 'drop'}
    resamples : int
        Without effect since intervals are not made by resampling any more; accepted for older scripts.
    confidence : float
        Of the intervals.
    convergence : bool
        Estimate again with parts of the sample.
    seed : int
        Of the sample.
    folder : path, optional
        Keep what is solved there, part by part, so that a run can go on after a kill, and write the tables
        ``indices``, ``counts``, ``convergence`` and ``notes`` there.
    table_format : {'csv', 'parquet'}
        Of the tables in ``folder``.
    keep_samples : bool
        Also write the points with their outputs, as the table ``samples``.
    resume, force : bool
        Go on in ``folder``; replace what it holds.
    threads, progress
        As for `fastcart.solve`.
    options : SolveOptions, optional
    **keywords
        Single options of the solver, see `fastcart.SolveOptions`; its ``method`` can only be given within
        ``options``. Outputs get their peaks and areas by themselves.

    Returns
    -------
    SensitivityResult

    Raises
    ------
    InputError
        For bad input, before anything is computed.

    Warns
    -----
    UserWarning
        Where patients are censored in an output on survival, and where an output has no index at all.

    Examples
    --------
    >>> import fastcart
    >>> study = fastcart.sensitivity("li_lei", outputs=["pfs", "ln_C@80"], n=1000, where="pfs > 2", seed=1)
    >>> study.table("pfs").head()  # doctest: +SKIP
    """
    model = as_model(model)
    solver = chosen_options(options, keywords, sensitivity, "A sensitivity study")
    horizon = solver.horizon(model)
    asked = parse_outputs(model, outputs, t_end=horizon, where=where, censored=censored, events=solver.events)
    varied = parse_ranges(model, ranges, fixed)
    closures = find_closures(model, varied, fixed)
    chosen = find(method)
    if asked.where and not chosen.selective:
        selective = ", ".join(name for name in METHODS if find(name).selective)
        raise InputError(
            f"Conditions are for correlations ({selective}); the design of the method {method!r} must be "
            "complete."
        )
    resamples = count(resamples, "The number of resamples")
    if not 0 < number(confidence, "The confidence") < 1:
        raise InputError(f"The confidence must lie between 0 and 1, not {confidence:g}.")
    if table_format not in FORMATS:
        raise InputError(
            f"The format of the tables cannot be {shown(table_format)}." + nearest(table_format, FORMATS)
        )
    check_format(Path(f"tables.{table_format}"), "The format")
    if chosen.censoring and censored == "drop":
        raise InputError(f"The {method} takes censored patients as such; leave censored at 'keep'.")
    schedule = _dose_table(doses)
    design = make_design(method, varied, n, seed=seed, groups=groups, closures=closures)
    n = design.n
    fixed = {name: float(value) for name, value in (fixed or {}).items() if name not in varied}
    settings: dict[str, Any] = {
        "method": method, "outputs": asked.names, "where": [list(w) for w in asked.where],
        "censored": censored, "n": n, "ranges": _plain_ranges(varied), "fixed": fixed, "doses": schedule,
        "t_end": horizon, "engine": solver.engine, "rtol": solver.rtol, "extinction": solver.extinction,
        "seed": int(seed),
    }  # fmt: skip
    if design.groups:
        settings["groups"] = dict(zip(design.names, design.groups, strict=True))
    further = {name: value for name, value in solver.changed().items() if name not in _ALWAYS_RECORDED}
    if further:
        settings["solve"] = further
    solver = solver.watching(**asked.extras)
    how = dict(doses=schedule, threads=threads, options=solver)
    estimates: dict[str, Any] = dict(
        options=settings, resamples=resamples, confidence=confidence, convergence=convergence, seed=int(seed)
    )
    if folder is None:
        values = _evaluate(model, design, asked, fixed, how, None, progress)
        return _warned(_analysed(progress, model, design, asked, values, **estimates))
    content = {
        "model": describe_model(model), **settings, "begins_with": first_method(model, solver),
        "rows_per_part": _rows(asked), **environment(),
    }  # fmt: skip
    with open_run(folder, Manifest(KIND, content), resume=resume, force=force, owns=OWNS) as run:
        values = _evaluate(model, design, asked, fixed, how, run, progress)
        result = _analysed(progress, model, design, asked, values, **estimates)
        for name, table in result.tables(samples=keep_samples).items():
            run.write(f"{name}.{table_format}", _writer(table, table_format))
    return _warned(result)


def _analysed(progress: bool | None, *given: Any, **estimates: Any) -> SensitivityResult:
    """Estimate, saying so where it takes long."""
    with progress_bar(1, progress, unit="tables") as bar:
        bar.set_description("estimating indices")
        result = analyse(*given, **estimates)
        bar.update()
    return result


def _warned(result: SensitivityResult) -> SensitivityResult:
    """Warn of what is serious, and return the result."""
    for text in sentences(result.notes, serious=True):
        warnings.warn(text, stacklevel=3)
    return result


def _plain_ranges(ranges: Mapping[str, Any]) -> dict[str, Any]:
    """Return ranges and distributions in the types of JSON."""
    return {
        name: list(given.describe()) if isinstance(given, Marginal) else tuple(given)
        for name, given in ranges.items()
    }


def analyse(
    model: Model,
    design: Design,
    outputs: Outputs,
    values: dict[str, np.ndarray],
    *,
    options: dict[str, Any],
    resamples: int = 500,
    confidence: float = 0.95,
    convergence: bool = True,
    seed: int = 0,
) -> SensitivityResult:
    """Estimate the indices of a design that was evaluated; see `sensitivity`."""
    method = find(design.method)
    y = outputs.apply(values)
    events = outputs.events(values) if method.censoring else None
    found = estimate(design, y, events=events, confidence=confidence)
    steps = []
    if convergence and method.nested:
        for part in _CONVERGENCE:
            try:
                size = check_size(method, design.n // part, len(design.labels))
            except InputError:  # too few for this method
                continue
            rows = size * method.block(design)
            some = replace(design, n=size, x=design.x[:rows])
            seen = None if events is None else events[:rows]
            result = found if part == 1 else estimate(some, y[:rows], events=seen, confidence=confidence)
            table = _index_table(some, outputs, result)
            table.insert(0, "n", size)
            steps.append(table)
    return SensitivityResult(
        indices=_index_table(design, outputs, found),
        counts=outputs.counts(values, found.used),
        convergence=pd.concat(steps, ignore_index=True) if steps else pd.DataFrame(),
        design=design,
        values=values,
        outputs=outputs,
        model=model,
        options=options | {"confidence": confidence},
        notes=find_notes(design, outputs, values, y, found),
    )


def _dose_table(doses: Doses | None) -> pd.DataFrame | None:
    if doses is None:
        return None
    if isinstance(doses, str | os.PathLike):
        table = read_table(doses, "The table of doses", NUMBERS)
    else:
        table = doses.table() if isinstance(doses, DosingSchedule) else pd.DataFrame(doses)
    if "patient" in table.columns or (is_nonmem(table) and "ID" in table.columns):
        raise InputError(
            "The doses of a sensitivity study are the same for all; leave the patients' column off."
        )
    return table


def _rows(outputs: Outputs) -> int:
    """Return how many patients make a part; what they give does not depend on it."""
    return max(256, min(_PART, _SAVED_TIMES // max(1, len(outputs.times))))


def _evaluate(
    model: Model,
    design: Design,
    outputs: Outputs,
    fixed: Mapping[str, float],
    solver: dict[str, Any],
    run: Run | None,
    progress: bool | None,
) -> dict[str, np.ndarray]:
    """Solve the points of a design part by part; with a run, keep each part and take those that are there."""
    total, times = len(design.x), outputs.times

    def solved(chunk: Chunk) -> dict[str, np.ndarray]:
        patients = pd.DataFrame(design.values(chunk.start, chunk.stop), columns=list(design.names))
        result = solve(
            model,
            patients.assign(**fixed),
            save_at=times if len(times) else None,
            progress=False,
            warn=False,
            **solver,
        )
        return outputs.evaluate(result.endpoints, result.trajectories)

    files = None if run is None else PartFiles(run, _PARTS, *ARRAYS)
    with progress_bar(total, progress) as bar:
        bar.set_description(f"sensitivity by {design.method}")
        parts = dict(stream(chunks(total, _rows(outputs)), here(solved), files=files, bar=bar))
    in_order = [parts[chunk] for chunk in sorted(parts)]
    return {key: np.concatenate([part[key] for part in in_order]) for key in in_order[0]}


def _writer(table: pd.DataFrame, table_format: str) -> Callable[[Path], Any]:
    if table_format == "csv":
        return lambda path: table.to_csv(path, index=False, lineterminator="\n")
    return lambda path: table.to_parquet(path, index=False)


def _index_table(design: Design, outputs: Outputs, found: Estimate) -> pd.DataFrame:
    """Return indices as a tidy table: by output, then index, then parameter."""
    k = len(design.labels)
    tables = []
    for j, column in enumerate(outputs.columns):
        for name in found.value:
            tables.append(
                pd.DataFrame(
                    {
                        "output": column.name, "quantity": column.quantity, "t": column.t,
                        "parameter": list(design.labels), "index": name, "value": found.value[name][:, j],
                        "low": found.low[name][:, j], "high": found.high[name][:, j],
                        "used": np.full(k, found.used[j]),
                    }
                )
            )  # fmt: skip
    return pd.concat(tables, ignore_index=True)
