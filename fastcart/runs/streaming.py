"""A table of patients in a file, tables of endpoints and trajectories in files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Unpack

import numpy as np
import pandas as pd

from fastcart.batch import (
    added_columns,
    as_model,
    check_threads,
    dose_plan,
    iterate,
    make_problem,
    progress_bar,
    resolve_engine,
)
from fastcart.breaks import Breaks, break_times, require_break_columns
from fastcart.checks import number
from fastcart.dosing import NUMBERS, DosingSchedule
from fastcart.errors import InputError, counted, warn_failed
from fastcart.events import require_columns
from fastcart.model import Model
from fastcart.options import SolveKeywords, SolveOptions, chosen_options
from fastcart.patients import PatientTable, check_keep, check_patients, number_columns
from fastcart.plausible import outside, sentences, together
from fastcart.sensitivities import check_sensitivities
from fastcart.solvers.status import Status
from fastcart.tables.ids import check_ids
from fastcart.tables.storage import (
    TableReader,
    TableWriter,
    check_format,
    check_output,
    check_writable,
    read_table,
)

_MAX_TIMES = 1_000_000


def run_files(
    model: str | Model,
    patients: Path,
    out: Path,
    *,
    doses: Path | DosingSchedule | None = None,
    threads: int | None = None,
    trajectories: Path | None = None,
    save_every: float | None = None,
    save_at: Sequence[float] | None = None,
    save: Sequence[str] | None = None,
    sensitivities: Sequence[str] = (),
    slopes: Path | None = None,
    keep: Sequence[str] = (),
    force: bool = False,
    progress: bool | None = None,
    warn: Callable[[str], None] | None = None,
    options: SolveOptions | None = None,
    **keywords: Unpack[SolveKeywords],
) -> str:
    """Solve the patients of a file and write their endpoints, batch by batch.

    Parameters are those of `fastcart.solve` and `fastcart.SolveOptions`, and paths of tables, see
    `fastcart.tables.storage`; ``slopes`` gets the derivatives over time of what is saved. ``warn`` is told
    about doses that are left out, by default through `warnings.warn`. Ids and kept columns of a table of text
    come back exactly as they are written there, but in Parquet kept columns that hold numbers of the model,
    of thresholds or of breaks are numbers.

    Returns
    -------
    str
        How many patients ended how, and where the output went.

    Raises
    ------
    InputError
        For bad input, before anything is computed.
    OSError
        Where an output cannot be written, e.g. because the disk is full; then neither is there.
    """
    model = as_model(model)
    chosen = chosen_options(options, keywords, run_files, "A run")
    paths = {"output": out, "trajectories": trajectories, "slopes": slopes}
    files = {what: path for what, path in paths.items() if path is not None}
    if slopes is not None and not sensitivities:
        raise InputError("A --slopes file needs what to differentiate by: give --sensitivities.")
    times = save_times(chosen.horizon(model), list(files)[1:], save_every, save_at, save)
    problem = make_problem(model, chosen, save_at=times, save=save)
    name = resolve_engine(chosen.engine, problem)
    known = chosen.derive(model)
    threads = check_threads(threads)
    keep = check_keep(model, keep, added_columns(problem))
    _check_files(files, patients, force)
    as_text = keep if check_format(out, "The output file") != ".parquet" else ()
    source = TableReader(patients, "The table of patients", number_columns(known), as_text=as_text)
    ids, stops, first = _check_all(chosen, model, source, keep, files)
    given = _doses(doses, files)
    plan = dose_plan(problem, name, given, ids, breaks=stops, **({} if warn is None else {"warn": warn}))
    by = check_sensitivities(model, sensitivities, problem, name, first, plan)
    if by is not None:
        problem = replace(problem, directions=by.directions)

    counts: Counter[str] = Counter()
    odd: list[pd.DataFrame] = []
    with ExitStack() as stack:
        bar = stack.enter_context(progress_bar(source.rows, progress))
        writers = {what: stack.enter_context(TableWriter(path)) for what, path in files.items()}
        done = 0
        for batch in source:
            table = check_patients(known, batch, keep, first_id=done)
            table = replace(table, kept=table.kept.assign(**source.written))
            mine = None if plan is None else plan.take(slice(done, done + len(batch)))
            for tables in iterate(
                problem, table, name, mine, threads=threads, bar=bar,
                slopes=None if by is None else replace(by, table=table),
            ):  # fmt: skip
                ends = tables.endpoints_frame()
                over_time = {"trajectories": tables.trajectories_frame, "slopes": tables.sensitivities_frame}
                courses = over_time["trajectories"]() if "trajectories" in writers else None
                odd.append(outside(model, ends, courses))
                for what, writer in writers.items():
                    part = {"output": ends, "trajectories": courses}.get(what)
                    part = over_time[what]() if part is None else part
                    if part is not None:
                        writer.write(part)
                counts.update(ends["status"].astype(str))
            done += len(batch)
    warn_failed(counts)
    return _summary(counts, files, sentences(together(odd), model))


def _check_files(files: Mapping[str, Path], patients: Path, force: bool) -> None:
    """Check that all outputs may be written, each to a file of its own."""
    seen: dict[Path, str] = {}
    for what, path in files.items():
        check_output(path, f"The {what} file", source=patients, force=force)
        other = seen.setdefault(path.resolve(), what)
        if other != what:
            names = {"output": "Endpoints"}
            raise InputError(f"{names.get(other, other.title())} and {what} must go to different files.")


def _doses(doses: Path | DosingSchedule | None, files: Mapping[str, Path]) -> pd.DataFrame | None:
    """Return the table of doses, which no output may replace."""
    if doses is None or isinstance(doses, DosingSchedule):
        return None if doses is None else doses.table()
    for file in files.values():
        if file.resolve() == doses.resolve():
            raise InputError(f"The output {str(file)!r} is the table of doses itself; give another name.")
    return read_table(doses, "The table of doses", NUMBERS)


def save_times(
    horizon: float,
    files: Sequence[str],
    save_every: float | None,
    save_at: Sequence[float] | None,
    save: Sequence[str] | None = None,
) -> np.ndarray | Sequence[float] | None:
    """Return the times that are saved to some ``files``, checked against the other options."""
    if not files:
        if save_every is not None or save_at is not None:
            raise InputError("Times to save were given, but no --trajectories file to save them to.")
        if save is not None:
            raise InputError("Columns to save were given, but no --trajectories file to save them to.")
        return None
    if save_at is not None:
        return save_at
    if save_every is None:
        raise InputError(f"A --{files[0]} file needs times: give --save-every or --save-at.")
    save_every = number(save_every, "The interval --save-every", positive=True)
    if horizon / save_every > _MAX_TIMES:
        raise InputError(
            f"The interval --save-every {save_every:g} gives more than {_MAX_TIMES} times up to "
            f"{horizon:g}; make it larger."
        )
    count = int(np.floor(horizon / save_every * (1 + 1e-12)))
    return np.minimum(np.arange(count + 1) * save_every, horizon)


def _check_all(
    options: SolveOptions,
    model: Model,
    source: TableReader,
    keep: Sequence[str],
    files: Mapping[str, Path],
) -> tuple[np.ndarray, Breaks | None, PatientTable]:
    """Read the whole file once and check it, before anything is computed; return ids, breaks and a part."""
    ids = []
    stops = []
    known, breaks = options.derive(model), options.all_breaks(model)
    done = 0
    for batch in source:
        table = check_patients(known, batch, keep, first_id=done)
        require_columns(model, options.events, table.columns)
        require_break_columns(model, breaks, table.columns)
        stops.append(break_times(breaks, table))
        named = [name for name in ("patient",) if name in batch.columns]
        for what, path in files.items():
            check_writable(batch[[*named, *keep] if what == "output" else named], path)
        ids.append(np.asarray(table.ids))
        done += len(batch)
    joined = np.concatenate(ids)
    check_ids(joined)
    if not breaks:
        return joined, None, table
    found = [stop for stop in stops if stop is not None]
    return joined, (found[0][0], np.concatenate([own for _, own in found], axis=1)), table


def _summary(counts: Counter[str], files: Mapping[str, Path], notes: Sequence[str]) -> str:
    total = sum(counts.values())
    lines = [f"{counted(total, 'patient')}: {counts['ok']} ok."]
    for name, count in sorted(counts.items()):
        if name != "ok":
            lines.append(f"{count} {name}: {Status[name].sentence}.")
    lines += notes
    titles = {"output": "Endpoints", "trajectories": "Trajectories", "slopes": "Slopes"}
    lines += [f"{titles[what]}: {path}" for what, path in files.items()]
    return "\n".join(lines)
