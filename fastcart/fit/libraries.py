"""A library of virtual patients, solved once: data give them weights, and nothing is solved anew.

Rows are drawn from a prior and predicted at the times of the data. A patient's posterior is the rows weighted
by the likelihood of its measurements; how many of them count is said with every number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fastcart.checks import seed_of
from fastcart.engines import as_model
from fastcart.errors import InputError
from fastcart.fit.data import FitData, check_data
from fastcart.fit.groups import grouped, slots
from fastcart.fit.keeping import describe_data
from fastcart.fit.likelihood import PreparedLikelihood, prepare
from fastcart.fit.observations import check_observations
from fastcart.fit.population_fit import PopulationFit
from fastcart.fit.weighted_library import Library
from fastcart.model import Model
from fastcart.options import SolveOptions
from fastcart.runs.chunks import Chunk as Part
from fastcart.runs.chunks import PartFiles, chunks, here, stream
from fastcart.runs.forms import decode_arrays, encode_arrays
from fastcart.runs.identity import describe_model, environment, plain
from fastcart.runs.manifest import Manifest
from fastcart.runs.store import open_run
from fastcart.sampling.columns import SMALLEST, Values
from fastcart.sampling.design import Design
from fastcart.typing_names import ModelName

OWNS = ("parts/*.npz",)
_PART = "parts/{:06d}.npz"
_HELD = 60_000_000  # predictions, of 8 bytes, that are held in memory; more are kept in a folder
_NUMBERS = 2_000_000  # predictions of a part


def library(
    model: ModelName | str | Model,
    data: FitData,
    prior: Mapping[str, Any] | PopulationFit,
    *,
    observations: Any,
    n: int = 100_000,
    seed: int = 1,
    correlation: Any = None,
    keep: Any = None,
    threads: int | None = None,
    options: SolveOptions | None = None,
) -> Library:
    """Draw virtual patients and predict what was measured, once for all patients of the data.

    Patients that are given the same doses, and have the same values of what the model reads, share solves: 90
    patients after one infusion cost ``n`` solves, 12 patients with doses by weight 12 n.

    Parameters
    ----------
    model : str or Model
    data : FitData
    prior : mapping or PopulationFit
        Distributions as of `fastcart.sample.Design`, ``{"CL": {"log_normal": (2.8, 0.5)}}``, also of error
        parameters (``a_cp``); a number is a constant. Or a fit, whose typical values and spread are taken,
        without covariates.
    observations : Observation or sequence of Observation
    n : int
        Draw k is the same for every n.
    seed : int
    correlation : optional
        As of `fastcart.sample.Design`.
    keep : path, optional
        A folder for the predictions. Called again with the same inputs, it goes on where it was. Without one
        they are held in memory, at most 60 million of them (480 MB).
    threads : int, optional
        Results do not depend on it.
    options : SolveOptions, optional
        As for `fastcart.fit.prepare`.

    Returns
    -------
    Library

    Raises
    ------
    InputError
        For bad input, and where the predictions are too many for memory.
    """
    model = as_model(model)
    check_data(data, measured=True)
    listed = check_observations(observations)
    given = _of_fit(prior) if isinstance(prior, PopulationFit) else (prior, correlation)
    design = Design(given[0], n, seed=seed_of(seed), correlation=given[1])
    errors = [name for one in listed for name in one.error_names]
    design.checked(model, dict.fromkeys(errors, (SMALLEST, np.inf)))
    if all(isinstance(item, Values) for item in design.columns.values()):
        raise InputError("The prior of a library draws nothing; give at least one distribution.")
    columns = [name for name in design.columns if name not in errors]
    prepared = prepare(model, data, columns, observations=listed, threads=threads, options=options)
    one, group = grouped(data, listed, model, columns)
    solving = prepare(model, one, columns, observations=listed, threads=threads, options=options)
    kinds = {x.dvid for x in listed}
    of = data.measurements
    observed = np.flatnonzero(np.array([x in kinds for x in data.kinds], dtype=bool)[of.kind])
    offset = solving.layout.of.begin
    places = [place + offset[g] for place, g in zip(slots(data, one, group, observed), group, strict=True)]
    parts, failed = _filled(solving, design, keep, _content(prepared, design, options))
    return Library(prepared, design, places, group, parts, failed)


def _of_fit(fit: PopulationFit) -> tuple[dict[str, Any], Any]:
    """Return distributions and correlations of a fitted population."""
    effects, values = fit.complete.effects, fit.values
    if "logit" in effects.scales or effects.fixed:
        raise InputError(
            "A prior from a fit must have random effects alone, in the scales 'log' and 'normal'; give "
            "distributions."
        )
    size, kinds = np.sqrt(np.diag(values.omega)), {"log": "log_normal", "normal": "normal"}
    center = np.array([values.b[effects.coefficients.index(name)] for name in effects.random])
    natural = effects.natural(center[np.newaxis])[0]
    columns = {
        name: {kinds[scale]: (float(middle), float(sd))}
        for name, scale, middle, sd in zip(effects.random, effects.scales, natural, size, strict=False)
    }
    pairs = {
        (effects.random[j], effects.random[k]): float(values.omega[j, k] / size[j] / size[k])
        for j, k in effects.pairs
    }
    return columns, pairs


def _content(prepared: PreparedLikelihood, design: Design, options: Any) -> dict[str, Any]:
    return {
        "model": describe_model(prepared.model),
        "data": describe_data(prepared.data),
        "observations": [[one.dvid, plain(one.prediction)] for one in prepared.observations],
        "options": plain(options), "prior": design.describe(), **environment(),
    }  # fmt: skip


def _filled(
    solving: PreparedLikelihood, design: Design, keep: Any, content: dict[str, Any]
) -> tuple[list[tuple[Part, Callable[[], np.ndarray]]], int]:
    """Solve all parts; return what reads each of them, and how many solves failed."""
    width = max(1, len(solving.layout.of.value))
    if keep is None and design.size * width > _HELD:
        raise InputError(
            f"{design.size} draws x {width} predictions are more than memory holds ({_HELD}): keep them in a "
            f"folder (keep=..., {8e-9 * design.size * width:.1f} GB), or draw at most {_HELD // width}."
        )
    every = np.arange(solving.patients)
    columns = list(solving.columns)

    def solve(part: Part) -> dict[str, np.ndarray]:
        theta = design.rows(part.start, part.stop)[columns].to_numpy()
        found, failed = [], 0
        for g in every:
            one = solving.predictions(theta, np.full(len(theta), g))
            found.append(one.values.reshape(len(theta), -1))
            failed += int(np.count_nonzero(one.status))
        return {"predicted": np.hstack(found), "failed": np.array(failed)}

    wanted = chunks(design.size, max(64, _NUMBERS // width))
    parts, failed = {}, 0
    with ExitStack() as stack:
        files = None
        if keep is not None:
            run = stack.enter_context(open_run(keep, Manifest("library", content), resume=True, owns=OWNS))
            files = PartFiles(run, _PART, encode_arrays, _failed_of_file, wanted=_failed)
        for part, kept in stream(wanted, here(solve), files=files):
            failed += kept if files is not None else _failed(kept)
            if files is None:
                parts[part] = partial(_same, kept["predicted"])
            else:
                parts[part] = partial(_predicted, run.path(_PART.format(part.number)))
    return [(part, parts[part]) for part in wanted], failed


def _same(values: np.ndarray) -> np.ndarray:
    return values


def _predicted(path: Path) -> np.ndarray:
    return decode_arrays(path)["predicted"]


def _failed(part: Mapping[str, np.ndarray]) -> int:
    return int(part["failed"])


def _failed_of_file(path: Path) -> int:
    with np.load(path) as file:  # without its predictions
        return int(file["failed"])
