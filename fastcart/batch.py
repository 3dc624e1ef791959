"""Solve a model for a batch of virtual patients: checks, chunks, engines, tables."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

import numpy as np

from fastcart.breaks import break_times, require_break_columns
from fastcart.checks import count, names
from fastcart.dose_tables import as_frame
from fastcart.dosing import Doses
from fastcart.engines import as_model as as_model
from fastcart.engines import begins_with, solve_rows
from fastcart.engines import compiling_errors as compiling_errors
from fastcart.engines import dose_plan as dose_plan
from fastcart.engines import resolve_engine as resolve_engine
from fastcart.errors import InputError, warn_failed
from fastcart.events import check_quantities, require_columns, result_columns
from fastcart.model import Model
from fastcart.options import ENGINES as ENGINES
from fastcart.options import SolveKeywords, SolveOptions, chosen_options
from fastcart.patients import Patients, PatientTable, check_patients, typical_patients
from fastcart.result import BatchResult, Tables
from fastcart.saving import SaveTimes, check_save_at
from fastcart.sensitivities import Sensitivities, check_sensitivities
from fastcart.solvers import interrupts
from fastcart.solvers.endpoints import endpoint_names
from fastcart.solvers.fingerprint import fingerprint
from fastcart.solvers.problem import Problem, Saves
from fastcart.solvers.system import shown
from fastcart.solvers.threads import in_threads
from fastcart.telling import progress_bar as progress_bar
from fastcart.telling import wants_progress as wants_progress
from fastcart.typing_names import ModelName

if TYPE_CHECKING:
    from fastcart.regimens import Regimen
    from fastcart.solvers.doses import DosePlan

_MAX_STEPS = 2**31 - 1  # what fits into the counters of every engine; no patient gets there

# Patients per call of an engine: small enough that a keypress is noticed, large enough to fill threads.
_CHUNK = {"auto": 32768, "lanes": 32768, "lsoda": 2048, "published": 512, "scipy": 8}
_SAVED_VALUES = 4_000_000  # saved numbers per chunk, at most
# Of large batches each thread takes so many patients from the table to the results: then nothing but the
# checks and the tables' heads is left to a single thread. With fewer, Python would be what threads wait for.
_PART = 8192
_ALONE = ("auto", "lanes")
_BAR, _KEEPING = threading.Lock(), threading.Lock()
_problems: dict[tuple[Any, ...], Problem] = {}  # the last ones, the oldest first
_MOST_KEPT, _FEW_TIMES = 16, 1000
_COLUMNS = "The columns of the trajectories"


def solve(
    model: ModelName | str | Model,
    patients: Patients = 1,
    *,
    doses: Doses | None = None,
    save_at: Any = None,
    save: Sequence[str] | None = None,
    keep: Sequence[str] = (),
    sensitivities: Sequence[str] = (),
    threads: int | None = None,
    seed: int | None = None,
    progress: bool | None = None,
    warn: bool = True,
    options: SolveOptions | None = None,
    **keywords: Unpack[SolveKeywords],
) -> BatchResult:
    """Solve a model for many virtual patients.

    Parameters
    ----------
    model : str or Model
        A name from `fastcart.models.names`, or a model of your own.
    patients : DataFrame, mapping, list of mappings, path or int
        Columns are names of parameters and of states (initial values) in the units of the model; what
        is missing takes its default; an optional ``patient`` column is the id, any number or text, which
        comes back as it is. A list has a mapping for each row, ``[{"TE": 1e7}, {"TE": 2e7}]``. A path names
        a table (``.csv``, ``.tsv``, ``.csv.gz``, ``.parquet``, ``.xlsx``); a number stands for so many
        default patients.
    doses : DosingSchedule, DataFrame, mapping, list of mappings or path, optional
        Columns ``time``, ``state``, ``amount`` (negative removes), optionally ``duration`` (an infusion at a
        constant rate; 0 for a bolus) or ``rate``, and ``patient`` (without it every patient gets every dose),
        in the units of the model; ``every`` and ``repeats``; ``lag`` and ``bioavailability``; ``steady`` (1:
        such doses have been given for ever, 2: add that state) and ``reset`` (1: as at the start); and
        parameters, which have these values from ``time`` on. Numbers of a dose may be names of parameters.
        Or the columns of NONMEM, see `fastcart.nonmem.nonmem_doses`. Doses at time 0 add to the initial
        values. Ids are compared as text: 1 and ``"1"`` are the same, ``"01"`` is not.
    save_at : sequence of float, list of sequences, DataFrame or mapping, optional
        Sorted times at which trajectories are kept; at a dose, the state after it. A time that is beyond the
        horizon by rounding alone, such as ``3 * 0.1`` beyond 0.3, is the horizon. Where patients have times
        of their own: a list with a row of times for each patient, or a table with the columns ``patient`` and
        ``time``.
    save : sequence of str, optional
        States and observables that the trajectories hold; default all.
    keep : sequence of str
        Columns of ``patients`` that are copied to the endpoints.
    sensitivities : sequence of str
        Parameters and states (their initial values) that states, areas and observables are differentiated
        by. The endpoints get ``d_final_<state>_d_<name>`` and ``d_auc_<quantity>_d_<name>``; with
        ``save_at`` the result has a table ``sensitivities`` over time. A default that is computed from the
        parameter moves with it. Each is known to ``rtol`` of the quantity, or of itself where that is
        larger, per change of the parameter by its own size (at least that of its default). Nothing may act
        at a time that moves: terminal events, actions, extinction, switches of the right-hand side and doses
        that depend on the parameter are refused.
    threads : int, optional
        Default: all processors that this process may use.
    seed : int, optional
        Recorded with the result; the models here are deterministic and draw no random numbers.
    progress : bool, optional
        Show progress on stderr; default: only on a terminal.
    warn : bool
        Warn where patients were not solved. Studies that count failures themselves say no.
    options : SolveOptions, optional
    **keywords
        Single options: ``t_end``, ``engine``, ``method``, ``rtol``, ``atol``, ``extinction``, ``peaks``,
        ``auc``, ``events``, ``max_steps``, ``max_step`` and ``breaks``, see `fastcart.SolveOptions`.

    Returns
    -------
    BatchResult

    Raises
    ------
    InputError
        For bad input, before anything is computed.

    Warns
    -----
    PatientsFailed
        Once, with counts by status, where patients were not solved.

    Examples
    --------
    >>> import fastcart
    >>> result = fastcart.solve("li_lei", {"TE": [1e7, 5e7]}, rtol=1e-9)
    >>> result.endpoints["pfs"].round(1).tolist()
    [75.6, 71.9]
    """
    model = as_model(model)
    chosen = chosen_options(options, keywords, solve, "A batch")
    doses = None if doses is None else as_frame(doses)
    times = check_save_at(save_at, chosen.horizon(model))
    problem = as_before(model, chosen, times, save)
    engine = resolve_engine(chosen.engine, problem)
    threads = check_threads(threads)
    table = check_patients(
        chosen.derive(model), patients, keep, taken=added_columns(problem), threads=threads
    )  # fmt: skip
    require_columns(model, problem.events, table.columns)
    require_break_columns(model, problem.breaks, table.columns)
    plan = dose_plan(problem, engine, doses, table.ids, breaks=break_times(problem.breaks, table))
    saves = times.of(table.ids)
    slopes = check_sensitivities(model, sensitivities, problem, engine, table, plan)
    if slopes is not None:
        problem = replace(problem, directions=slopes.directions)
    tables = Tables(problem, table, engine, saves)
    with progress_bar(table.size, progress) as bar:
        for _ in iterate(
            problem, table, engine, plan, saves, threads=threads, bar=bar, into=tables,
            slopes=slopes,
        ):  # fmt: skip
            pass
    result = BatchResult(
        endpoints=tables.endpoints_frame(),
        trajectories=tables.trajectories_frame(),
        model=model,
        options={
            **chosen.keywords(), "t_end": problem.t_end, "seed": seed, "doses": doses is not None,
            "begins_with": begins_with(engine, problem), "sensitivities": slopes.asked if slopes else (),
        },
        sensitivities=tables.sensitivities_frame(),
        doses=doses,
    )  # fmt: skip
    if warn and result.endpoints["status"].array.codes.any():
        warn_failed(result.summary())
    return result


def as_before(model: Model, options: SolveOptions, save_at: SaveTimes, save: Sequence[str] | None) -> Problem:
    """Return the problem; that of before where nothing differs, with all that engines keep with it.

    Of a small batch this is most of the work. Functions are compared by what they are made of, so that an
    edit of what they name is seen.
    """
    if save_at.times.size > _FEW_TIMES:
        return make_problem(model, options, save_at=save_at, save=save)
    own = replace(save_at, times=save_at.times.copy())  # the caller may change theirs
    save = None if save is None else tuple(names(save, _COLUMNS))
    system = options.derive(model).system
    defaults = [item.default for item in model.items if callable(item.default)]  # typical patients have these
    code = [fingerprint(f) for f in (system.rhs, system.observe, model.residual, *defaults) if f is not None]
    key = (model, options, own.times.tobytes(), save, *model.typical.items(), *endpoint_names(), *code)
    try:
        known = _problems.get(key)
    except (TypeError, ValueError):  # something in it has no hash, or is an array, which is not compared
        return make_problem(model, options, save_at=own, save=save)
    if known is None:
        known = make_problem(model, options, save_at=own, save=save)
        with _KEEPING:
            while len(_problems) >= _MOST_KEPT:
                del _problems[next(iter(_problems))]  # the oldest
            _problems[key] = known
    return known


def make_problem(
    model: Model, options: SolveOptions, *, save_at: Any = None, save: Sequence[str] | None = None
) -> Problem:
    """Check what is common to all patients against the model; see `solve`."""
    columns = None if save is None else check_quantities(model, save, _COLUMNS)
    derived = options.derive(model)
    system = derived.system
    if columns is None:
        own = shown(system, model.state_names), shown(system, model.observable_names)
        columns = (*own[0], *(f"auc_{x}" for x in options.auc), *own[1])
    horizon = options.horizon(model)
    budget = min(options.max_steps, _MAX_STEPS)
    scale = np.ones(len(system.states))
    scale[: len(model.states)] = (
        [state.scale for state in model.states] if options.atol is None else options.atol / options.rtol
    )
    times = check_save_at(save_at, horizon).times
    if save is not None and not len(times):
        raise InputError("The columns of the trajectories (save) were given, but no times; give save_at.")
    if options.extinction is not None and not any(state.extinction for state in model.states):
        raise InputError(
            f"Model {model.name!r} has no state that may die out; mark one with extinction=True."
        )
    return Problem(
        system, horizon, times, options.rtol, scale, budget, options.method, extinction=options.extinction,
        peaks=tuple(options.peaks), events=options.all_events(model), auc=tuple(options.auc), save=columns,
        integrands=options.integrands(model), breaks=options.all_breaks(model),
        max_step=_longest_step(options.max_step, horizon, budget),
        typical=partial(typical_patients, derived),
    )  # fmt: skip


def first_method(model: Model, options: SolveOptions) -> str | None:
    """Return the method with which every patient begins, for manifests; None where the engine has only one.

    Of engine ``auto`` it follows from the model and the options, see `fastcart.solvers.choice`.
    """
    problem = make_problem(model, options)
    return begins_with(resolve_engine(options.engine, problem), problem)


def _longest_step(max_step: float | None, horizon: float, budget: int) -> float:
    if max_step is None:
        return np.inf
    if horizon / max_step > budget:
        raise InputError(
            f"Steps of at most max_step {max_step:g} to the horizon {horizon:g} are more than max_steps "
            f"{budget}; raise one of them."
        )
    return max_step


def added_columns(problem: Problem) -> list[str]:
    """Return the columns of the endpoints that not every problem has."""
    return result_columns(problem.peaks, problem.auc, problem.asked_events)


def check_threads(threads: int | None) -> int:
    """Return how many threads to use: as asked, at most what this process may use."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if threads is None:
        return available or 1
    return min(count(threads, "The number of threads"), available or 1)


def iterate(
    problem: Problem,
    table: PatientTable,
    engine: str,
    doses: DosePlan | Regimen | None = None,
    saves: Saves | None = None,
    *,
    threads: int,
    bar: Any,
    into: Tables | None = None,
    slopes: Sensitivities | None = None,
) -> Iterator[Tables]:
    """Solve chunk by chunk; yield the tables of each chunk, in order, or those ``into`` which all go.

    ``doses`` and ``saves`` are those of the patients in ``table``, ``bar`` is told how many patients are
    done, ``slopes`` are the directions of the problem.

    Raises
    ------
    InputError
        At the first chunk, when numba cannot compile the model.
    """
    per_patient = len(problem.save_at) if saves is None else -(-int(saves.offsets[-1]) // table.size)
    size = chunk_size(problem, engine, per_patient)
    if slopes is not None:
        size = max(1, size // (1 + len(slopes.asked)))
    alone = _PART if size >= _PART else size  # patients that one thread takes
    work = _Work(problem, table, engine, doses, saves, bar, slopes)
    whole = into if into is not None and engine in _ALONE and table.size >= alone * threads else None
    if whole is not None:
        with compiling_errors(problem.model):
            parts = even_parts(table.size, alone, threads)
            jobs = [partial(work.solve, whole, 0, *part, 1) for part in parts]
            in_threads(jobs, threads, np.zeros(1, dtype=np.int64))
        interrupts.check()
        yield whole
        return
    for start in range(0, table.size, size):
        stop = min(start + size, table.size)
        tables = into
        if tables is None:
            tables = Tables(problem, table.rows(start, stop), engine)
        with compiling_errors(problem.model):
            work.solve(tables, 0 if into is not None else start, start, stop, threads)
        interrupts.check()
        yield tables


class _Work(NamedTuple):
    """What is to be solved, of which threads take parts."""

    problem: Problem
    table: PatientTable
    engine: str
    doses: DosePlan | Regimen | None
    saves: Saves | None
    bar: Any
    slopes: Sensitivities | None

    def solve(self, tables: Tables, before: int, start: int, stop: int, threads: int) -> None:
        """Solve patients ``start`` to ``stop``, into tables that begin with patient ``before``."""
        from fastcart.given import Chunk, plan_of

        problem, doses, saves = self.problem, self.doses, self.saves
        y0, p = self.table.arrays(start, stop)
        here = slice(start, stop)
        mine, lost = None, None
        if doses is not None:
            chunk = Chunk(self.table, start, stop, y0, p)
            mine, lost = plan_of(problem, self.engine, chunk, doses.take(here), threads)
        given = p if self.slopes is None else self.slopes.widened(start, stop, y0, p)
        times = None if saves is None else saves.take(here)
        result = solve_rows(problem, self.engine, y0, given, threads, mine, times, lost=lost)
        taken = p if mine is None else mine.parameters(p)
        tables.put(start - before, stop - before, result, taken, threads)
        with _BAR:
            self.bar.update(stop - start)


def even_parts(total: int, most: int, threads: int) -> list[tuple[int, int]]:
    """Return parts of at most so many rows, of about one size and so many that threads end together."""
    rounds = -(-total // (most * threads))
    size = -(-total // (rounds * threads))
    return [(start, min(start + size, total)) for start in range(0, total, size)]


def chunk_size(problem: Problem, engine: str, times: int) -> int:
    """Return how many patients go to the engine at once; results do not depend on it.

    ``times`` are saved of a patient.
    """
    saved = max(1, times) * max(1, len(problem.saved_states))
    return int(max(1, min(_CHUNK[engine], _SAVED_VALUES // saved)))
