"""Scans: any number of virtual patients in chunks, to a folder of Parquet files, resumable at any moment."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, Unpack

import pandas as pd

from fastcart.batch import as_model, check_threads, first_method, progress_bar
from fastcart.checks import count, held_to, names
from fastcart.errors import InputError, counted, nearest_quantity, optional_import
from fastcart.model import Model
from fastcart.options import SolveKeywords, SolveOptions, chosen_options
from fastcart.plausible import outside, ranges_of, together
from fastcart.representation import alert, in_brief, section
from fastcart.runs.chunks import Chunk, PartFiles, chunks, here, stream
from fastcart.runs.files import is_intact, read_sums
from fastcart.runs.identity import describe_model, environment
from fastcart.runs.manifest import Manifest, read_manifest
from fastcart.runs.store import Run, open_run
from fastcart.scanning.doses import dose_template
from fastcart.scanning.parts import ScanJob, read_columns, read_statuses, require_columns
from fastcart.scanning.patients import Source, patient_source
from fastcart.solvers.status import Status
from fastcart.typing_names import ModelName

ENDPOINTS = "endpoints"  # the folder of the parts: a data set that other programs read as a whole
_PART = f"{ENDPOINTS}/part-{{:05d}}.parquet"
_SUMMARY = "summary.json"
_PICTURES = tuple(f"{kind}_*.{form}" for kind in ("heatmap", "line") for form in ("png", "svg", "pdf"))
_OWNS = (f"{ENDPOINTS}/part-*.parquet", _SUMMARY, *_PICTURES)
_CHUNK = {"auto": 32768, "lanes": 32768, "lsoda": 8192, "published": 2048, "scipy": 256}


@dataclass(frozen=True, repr=False)
class ScanResult:
    """A finished scan.

    Attributes
    ----------
    folder : Path
    counts : mapping
        How many patients ended with each status.
    inputs : sequence of str
        Columns of the patients, which stand beside the endpoints.
    """

    folder: Path
    counts: Mapping[str, int]
    inputs: Sequence[str]

    @property
    def size(self) -> int:
        """Number of patients."""
        return sum(self.counts.values())

    @property
    def failed(self) -> int:
        """Number of patients that were not solved; their endpoints are NaN."""
        return self.size - self.counts.get("ok", 0)

    def __repr__(self) -> str:
        bad = ", ".join(f"{n} {name}" for name, n in sorted(self.counts.items()) if name != "ok")
        return in_brief("ScanResult", [str(self.folder), counted(self.size, "patient"), bad or "all ok"])

    def _repr_html_(self) -> str:
        """Show where the scan is, and how many patients ended how."""
        ok, *bad = self.summary().splitlines()
        return section(repr(self), [alert(line) for line in (bad[:-1] if self.failed else [])])

    def plot(self, output: str, *, axes: Sequence[str] | None = None, model: Model | None = None) -> Any:
        """Draw an endpoint of a scan: over a grid as a heat map, over one column as a line.

        Of patients that share a value of that column the median is drawn, with a band from 5 to 95%.

        Parameters
        ----------
        output : str
        axes : sequence of str, optional
            One column or two; default the one or two inputs that vary.
        model : Model, optional
            Gives the units.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from fastcart.scanning.plot import draw, drawn_axes

        found = self.load()
        return draw(found, output, drawn_axes(found, self.inputs, axes), model=model)

    def load(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the endpoints; see `load`."""
        return load(self.folder, columns)

    def implausible(self, model: Model) -> pd.DataFrame:
        """Return which quantities leave what their model holds plausible, as `BatchResult.implausible`.

        Parameters
        ----------
        model : Model
            That of the scan.
        """
        wanted = [f"{kind}_{name}" for name in ranges_of(model) for kind in ("final", "peak")]
        found = []
        for path in sorted((self.folder / ENDPOINTS).glob("part-*.parquet")):
            part = read_columns(path, wanted)
            if len(part.columns):
                found.append(outside(model, part))
        return together(found)

    def summary(self) -> str:
        """Say how many patients ended how, and where the output is."""
        lines = [f"{counted(self.size, 'patient')}: {self.counts.get('ok', 0)} ok, {self.failed} failed."]
        for name, patients in sorted(self.counts.items()):
            if name != "ok":
                lines.append(f"{patients} {name}: {Status[name].sentence}.")
        lines.append(f"Endpoints: {self.folder / ENDPOINTS}")
        return "\n".join(lines)


def scan(
    model: ModelName | str | Model,
    patients: Any,
    out: str | os.PathLike[str],
    *,
    doses: Any = None,
    outputs: Sequence[str] | None = None,
    needs: Sequence[str] = (),
    accept: Callable[[Source], Any] | None = None,
    keep: Sequence[str] = (),
    chunk: int | None = None,
    resume: bool = False,
    force: bool = False,
    scheduler: str | None = None,
    client: Any = None,
    threads: int | None = None,
    progress: bool | None = None,
    options: SolveOptions | None = None,
    **keywords: Unpack[SolveKeywords],
) -> ScanResult:
    """Solve any number of virtual patients in chunks and write their endpoints to a folder of Parquet files.

    The folder gets ``manifest.json`` (hash of the model, patients, seed, options, versions),
    ``endpoints/part-00000.parquet`` and so on, and at the end ``summary.json``. After a kill at any moment,
    the same call with ``resume=True`` goes on; the files are the same, byte for byte, as without the kill.

    Parameters
    ----------
    model : str or Model
    patients : Design, path, DataFrame, mapping, list of mappings or int
        A `fastcart.sample.Design` and a Parquet file need memory for one chunk only. All columns are kept
        with the endpoints.
    out : path
        The folder; made where it does not exist.
    doses : DosingSchedule, DataFrame, path or sequence of mappings, optional
        Rows with ``time``, ``state``, ``amount``, and optionally the other columns that `fastcart.solve`
        names, without ``patient``. A text as a number (of ``every`` and ``repeats`` alone not) names a column
        of the patients: ``{"time": 7, "state": "TE", "amount": "dose_TE"}`` gives each patient the amount in
        their column ``dose_TE``, and ``{"time": 24, "k_TE": "later"}`` switches a parameter to theirs; so do
        ``DosingSchedule().bolus(7, "TE", "dose_TE").switch(24, "k_TE", "later")``.
    outputs : sequence of str, optional
        Endpoints to write, beside ``patient``, ``status`` and the columns of the patients; default all.
    needs : sequence of str
        Columns that will be needed later, e.g. for a plot: an error now, rather than after the last chunk, if
        the scan will not have them.
    accept : callable, optional
        Gets the patients before anything is solved, and raises an error where they will not do.
    keep : sequence of str
        Columns of a table of patients that are neither parameters nor states, but go along.
    chunk : int, optional
        Patients per file; default 32768 for the fast engines.
    resume : bool
        Go on with a scan in this folder; where there is none yet, begin it.
    force : bool
        Replace a scan in this folder.
    scheduler : str, optional
        Address of a Dask scheduler, whose workers solve the chunks; the result is the same, bit for bit.
    client : distributed.Client, optional
        In place of ``scheduler``.
    threads : int, optional
        On this machine; default all processors. A worker of a cluster uses those it was started with.
    progress : bool, optional
        Show progress, rate and time left on stderr; default: only on a terminal.
    options : SolveOptions, optional
    **keywords
        Single options of the solver, see `fastcart.SolveOptions`.

    Returns
    -------
    ScanResult

    Raises
    ------
    InputError
        For bad input, before anything is written; for a folder that cannot be written or a full disk; for
        a resumed scan that does not match, with what differs.

    Examples
    --------
    >>> import fastcart
    >>> from fastcart.sample import Design
    >>> axes = {"C": {"geomspace": (1e5, 1e8, 100)}, "k_TE": {"linspace": (2, 5, 100)}}
    >>> burdens = Design(axes, method="grid")
    >>> result = fastcart.scan("li_lei", burdens, "burdens")  # doctest: +SKIP
    """
    model = as_model(model)
    chosen = chosen_options(options, keywords, scan, "A scan")
    template = dose_template(model, doses)
    chosen.derive(model)  # which checks
    known = model.derived({}, chosen.columns(model))  # thresholds of events, and breaks, may be columns
    dose_columns = None if template is None else template.ranges
    source = patient_source(
        known, patients, dose_columns=dose_columns, keep=names(keep, "The columns to keep")
    )
    if accept is not None:
        accept(source)
    threads = check_threads(threads)
    job = ScanJob(model, chosen.keywords(), template, source.names, outputs)
    _check_late(job, source)
    job = _probe(job, source, threads, progress, needs)
    rows = _CHUNK[chosen.engine] if chunk is None else count(chunk, "The number of patients per chunk")
    manifest = Manifest("scan", {
        "model": describe_model(model), "patients": source.describe(), "chunk": rows,
        "doses": None if template is None else template.describe(),
        "options": {"save": None, **chosen.keywords(), "breaks": chosen.breaks or None},
        "begins_with": first_method(model, chosen), "outputs": job.outputs, **environment(),
    })  # fmt: skip
    with ExitStack() as stack:
        cluster = None
        if scheduler is not None or client is not None:
            from fastcart.scanning.cluster import connect

            cluster = stack.enter_context(connect(scheduler, client))
        run = stack.enter_context(open_run(out, manifest, resume=resume, force=force, owns=_OWNS))
        counts = _fill(run, job, source, rows, threads=threads, client=cluster, progress=progress)
        run.write(_SUMMARY, Manifest("summary of a scan", {"patients": source.size, "status": counts}).text())
    return ScanResult(run.folder, counts, source.names)


def _probe(
    job: ScanJob, source: Source, threads: int, progress: bool | None, needs: Sequence[str]
) -> ScanJob:
    """Solve the first patient: it finds what is wrong with options, and compiles; check the outputs."""
    wanted = None if job.outputs is None else names(job.outputs, "The outputs")
    columns = list(job.solve(source.rows(0, 1), threads=threads, progress=progress).columns)
    written = columns if wanted is None else [*wanted, *job.columns]
    require_columns(needs, written)
    if wanted is None:
        return job
    known = [name for name in columns if name not in job.columns]
    for name in wanted:
        if name not in known:
            raise InputError(f"There is no output {name!r}." + nearest_quantity(name, known))
    outputs = [name for name in wanted if name not in ("patient", "status")]
    return ScanJob(job.model, job.options, job.doses, job.columns, outputs)


def _check_late(job: ScanJob, source: Source) -> None:
    """Refuse doses after the horizon, which would otherwise be left out patient by patient."""
    if job.doses is None:
        return
    t_end = job.options["t_end"] or job.model.t_end
    latest = float(held_to(job.doses.latest(source.highest()), t_end))
    if latest > t_end:
        raise InputError(
            f"A dose is given at {latest:g}, after the horizon {t_end:g}; raise t_end or leave it out."
        )


def _fill(
    run: Run, job: ScanJob, source: Source, rows: int, *, threads: int, client: Any, progress: bool | None
) -> dict[str, int]:
    """Write the parts that are missing; return how many patients ended with each status."""

    def endpoints(chunk: Chunk) -> pd.DataFrame:
        return job.solve(source.rows(chunk.start, chunk.stop), threads=threads, progress=False)

    solve = here(endpoints, job.part)
    if client is not None:
        from fastcart.scanning.cluster import on_cluster

        solve = partial(on_cluster, client, job, source)
    files = PartFiles(run, _PART, encode=itemgetter(0), wanted=itemgetter(1), decode=read_statuses)
    counts: Counter[str] = Counter()
    with progress_bar(source.size, progress) as bar:
        for _, statuses in stream(chunks(source.size, rows), solve, files=files, bar=bar):
            counts.update(statuses)
    return dict(sorted(counts.items()))


def load(folder: str | os.PathLike[str], columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the endpoints of a finished scan, all patients in order.

    Parameters
    ----------
    folder : path
    columns : sequence of str, optional
        Default: all.

    Raises
    ------
    InputError
        Where the folder holds no scan, or one that is not finished; for an unknown column.
    """
    manifest = read_manifest(folder, "scan")
    path = Path(folder)
    parts = sorted((path / ENDPOINTS).glob("part-*.parquet"))
    if not (path / _SUMMARY).is_file() or not parts:
        raise InputError(
            f"The scan in {str(path)!r} is not finished ({len(parts)} parts of {manifest['chunk']} patients "
            "are there); go on with --resume."
        )
    pa = optional_import("pyarrow", extra="parquet", purpose="Reading a scan")
    parquet = optional_import("pyarrow.parquet", extra="parquet", purpose="Reading a scan")
    known = parquet.read_schema(parts[0]).names
    require_columns(columns or (), known, f"The scan in {str(path)!r}")
    sums = read_sums(path)
    for part in parts:
        if not is_intact(part, sums.get(f"{ENDPOINTS}/{part.name}")):
            raise InputError(f"The part {str(part)!r} is not as it was written; --resume computes it again.")
    tables = [parquet.read_table(part, columns=None if columns is None else list(columns)) for part in parts]
    return pa.concat_tables(tables, promote_options="default").to_pandas()
