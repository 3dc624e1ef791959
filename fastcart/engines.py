"""Which engine runs, and rows of patients through it: arrays in, arrays and a status out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from traceback import walk_tb
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from fastcart.checks import first_line, located, shown
from fastcart.dosing import Doses, check_doses
from fastcart.equations import unknown_name
from fastcart.errors import InputError, nearest
from fastcart.model import Model
from fastcart.solvers.problem import ChunkResult, Problem, Saves
from fastcart.solvers.reading import functions
from fastcart.solvers.status import Status
from fastcart.solvers.system import PARAMETERS, STATES, System

if TYPE_CHECKING:
    from fastcart.regimens import Regimen
    from fastcart.solvers.doses import DosePlan

_NOT_RUN = int(Status.not_run)
_MODULES = {
    "auto": "fastcart.solvers.auto",
    "lanes": "fastcart.solvers.lanes.engine",
    "lsoda": "fastcart.solvers.lsoda",
    "published": "fastcart.solvers.published",
    "scipy": "fastcart.solvers.scipy_ivp",
}


def as_model(model: str | Model) -> Model:
    """Return the model itself, or the shipped model of that name."""
    if isinstance(model, Model):
        return model
    if isinstance(model, str):
        from fastcart.models import get

        return get(model)
    raise InputError(f"The model must be a name or a fastcart.Model, not {type(model).__name__}.")


def resolve_engine(engine: str, problem: Problem) -> str:
    """Return the engine that will run, having checked that it and its method exist for this problem."""
    module = module_of(engine)
    method = problem.method
    if method is not None and not (isinstance(method, str) and method in module.METHODS):
        raise InputError(
            f"Engine {engine!r} has no method {shown(method)}." + nearest(method, module.METHODS)
        )
    if engine == "published":
        if problem.extinction is not None:
            raise InputError(
                "Engine 'published' knows no extinction; use another, e.g. 'auto', or leave it off."
            )
        if problem.peaks or problem.events:
            raise InputError("Engine 'published' looks for no peaks and events; use another, e.g. 'auto'.")
        if problem.auc:
            raise InputError("Engine 'published' integrates no areas under curves; use another, e.g. 'auto'.")
        if problem.breaks or np.isfinite(problem.max_step):
            raise InputError(
                "Engine 'published' has the fixed step of its authors; leave off max_step and breaks, or use "
                "another, e.g. 'auto'."
            )
        module.grid_index(problem)
    return engine


def begins_with(engine: str, problem: Problem) -> str | None:
    """Return the method with which an engine begins every patient, None where it has only one."""
    if engine == "auto" and problem.method is None:
        from fastcart.solvers.auto import chosen

        with compiling_errors(problem.model):
            return chosen(problem).method
    if engine == "lanes" and problem.method is None:
        return str(module_of(engine).default_method(problem.model, problem.rtol))
    return problem.method


def module_of(name: str) -> ModuleType:
    """Return the module of an engine."""
    return import_module(_MODULES[name])


def dose_plan(
    problem: Problem, engine: str, doses: Doses | None, ids: Any, **options: Any
) -> DosePlan | Regimen | None:
    """Check doses, also against the engine; see `fastcart.dosing.check_doses`."""
    from fastcart.solvers.doses import DosePlan

    plan = check_doses(problem.model, doses, ids, problem.t_end, **options)
    if engine == "published" and plan is not None:
        if not isinstance(plan, DosePlan) or (plan.value < 0).any():
            raise InputError(
                "Engine 'published' knows boluses and infusions only; leave off what else the doses say, or "
                "use another, e.g. 'auto'."
            )
        module_of(engine).dose_index(problem, plan)
    return plan


def solve_rows(
    problem: Problem, engine: str, y0: np.ndarray, p: np.ndarray, threads: int,
    doses: DosePlan | None = None, saves: Saves | None = None, *, lost: np.ndarray | None = None,
) -> ChunkResult:  # fmt: skip
    """Solve patients given by arrays; those that failed have NaN.

    Parameters
    ----------
    problem : Problem
    engine : str
    y0 : ndarray, shape (patients, states)
        Initial values, natural units; doses at time 0 are added in place.
    p : ndarray, shape (patients, parameters)
        Followed by what `fastcart.solvers.sensitivities` needs where the problem has directions.
    threads : int
    doses : DosePlan, optional
        Those of these patients.
    saves : Saves, optional
        Which of the times to save are theirs; default all.
    lost : ndarray of bool, optional
        Who has no steady state.

    Raises
    ------
    InputError
        When numba cannot compile the model.
    """
    from fastcart.solvers.algebraic import finish
    from fastcart.solvers.dosed import solve_dosed

    solve_chunk = module_of(engine).solve_chunk
    if problem.directions is not None:
        from fastcart.solvers.sensitivities import WithSensitivities

        solve_chunk = WithSensitivities(solve_chunk).solve_chunk
    with compiling_errors(problem.model):
        result = solve_dosed(solve_chunk, problem, y0, p, threads, doses, saves)
        everyone = saves or Saves.all_of(problem.save_at, len(y0))
        finish(problem, y0, p, doses, everyone, result)
    if lost is not None:
        result.status[lost] = Status.no_steady_state
    _finish(problem, y0, result, everyone)
    return result


@contextmanager
def compiling_errors(model: Model | System) -> Iterator[None]:
    """Say in one sentence what numba cannot compile, instead of a page."""
    from numba.core.errors import NumbaError, UnsupportedBytecodeError

    from fastcart.solvers.compile import collector_paused

    try:
        with collector_paused():
            yield
    except (NumbaError, UnsupportedBytecodeError) as error:
        # the first lines name numba's own steps
        # numba paints its messages where it finds colorama
        plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
        text = re.sub(r"(?m)^Failed in .*$", "", plain)
        text = re.sub(r"\.*\s*Raised from .*$", "", text)
        place = _place(model, plain, error)
        where = located(*place) if place else ""
        unknown = re.search(rf"Unknown attribute '(\w+)' of type ({STATES}|{PARAMETERS})\b", text)
        if unknown:
            raise InputError(unknown_name(model, unknown[2], unknown[1], where)) from None
        raise InputError(
            f"Model {model.name!r} runs as Python, but numba cannot compile it: "
            f"{first_line(text)}{where}; use what numba supports."
        ) from None


def _place(model: Model | System, text: str, error: BaseException) -> tuple[str, int] | None:
    """Return file and line of the user's code that numba cannot compile, as far inside as can be told."""
    own = (model.rhs, getattr(model, "observe", None), getattr(model, "residual", None))
    files = {source.__code__.co_filename for function in own for source in functions(function)}
    named = {Path(file).resolve(): file for file in files if not file.startswith("<")}
    # numba goes from the inside out, through its own files too
    for place in re.finditer(r'File "([^"]+)", line (\d+)|Raised from (\S.*) \((\d+)\)', text):
        file = named.get(Path(place[1] or place[3]).resolve())
        if file:
            return file, int(place[2] or place[4])
    line = None
    for frame, _ in reversed(list(walk_tb(error.__traceback__))):  # what numba was reading then
        instruction = getattr(frame.f_locals.get("state"), "get_inst", None)
        line = line or (instruction().lineno if instruction else None)
        known = frame.f_locals.get("func_id")
        if known is not None and getattr(known, "filename", None) in files:
            return known.filename, line or known.firstlineno
    return None


def _finish(problem: Problem, y0: np.ndarray, result: ChunkResult, saves: Saves) -> None:
    """Give the start its exact values back, and mark what is not finite as failed."""
    lost = int(np.count_nonzero(result.status == _NOT_RUN))
    if lost:  # a request to stop raises, so nobody else may be without an answer
        raise RuntimeError(
            f"internal error: an engine left out {lost} of {len(result.status)} patients; please report it"
        )
    if result.saved.size:
        some = np.flatnonzero(saves.end > saves.begin)
        at_start = some[problem.save_at[saves.begin[some]] == 0.0]
        result.saved[:, result.offsets[at_start]] = y0[at_start][:, problem.saved_states].T
    if problem.model.burden_index >= 0:
        start = y0[:, problem.model.burden_index]
        result.above = result.final[:, problem.model.burden_index] > start * (1 + 1e-9)
    # a solution that is not finite at the horizon has failed, whatever the engine says
    finite = np.isfinite(result.final)
    if not finite.all():
        result.status[(result.status == Status.ok) & ~finite.all(axis=1)] = Status.non_finite
    result.blank_failed()
