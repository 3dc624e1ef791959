"""Rewrite the generated parts of the README and of the pages of the site, and their figures.

Run ``python benchmarks/readme.py`` for all of them, or name some: ``python benchmarks/readme.py plan-a``.
What examples print is a part with a name, too; pictures are ``figure`` (of reports) and ``pictures`` (of
examples).
Timings belong to the machine they are made on, so run it on a quiet one.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import compare
import pages
import pandas as pd
import work

import fastcart
from fastcart import plotting
from fastcart.bench_report import markdown_table
from fastcart.papers import srct
from fastcart.papers.li_lei_2025 import figure6, plans
from fastcart.papers.li_lei_2025 import published_values as paper
from fastcart.papers.li_lei_2025.published_values import RESPONSE_DAYS
from fastcart.papers.li_lei_2025.runs import ACCURATE, PUBLISHED, RTOL, solve_both
from fastcart.papers.srct import controlled_findings, controlled_job, controlled_mechanism, findings
from fastcart.papers.srct.experiments import amplification
from fastcart.papers.t_cell_theories.cuts import in_words, leads
from fastcart.papers.t_cell_theories.facts import t_cell_facts
from fastcart.papers.t_cell_theories.figures import facts as draw_facts
from fastcart.runs.store import open_run
from fastcart.solvers.status import Status
from fastcart.trial import run as trial_run
from fastcart.trial.figures import frontier_figure
from fastcart.trial.run import TrialResult
from fastcart.trial.spec import make_spec

ROOT = pages.ROOT
PICTURES = pages.DOCS / "pictures"
FIGURE_DPI = 110
FIGURE_LIMIT = 300_000  # bytes

POPULATION = 2000
COMPARED = 200  # patients whose accuracy is measured, against SciPy
REFERENCE_RTOL = 1e-12
TRIAL_PATIENTS = 3000
AMPLIFIED_PATIENTS = 1000  # each dose of each regime is solved for them
AMPLIFIED_RATES = (1.0, 1.4, 1.8, 2.95)


def status() -> str:
    """List what can become of a patient."""
    rows = [[f"`{item.name}`", item.sentence.replace("|", "\\|")] for item in Status]
    return markdown_table(["Status", "What happened, and what to do"], rows)


def accuracy() -> str:
    """Compare PFS and nadir with SciPy's at a tight tolerance."""
    patients = work.draw_patients(COMPARED)
    exact = fastcart.solve(work.MODEL, patients, engine="scipy", rtol=REFERENCE_RTOL).endpoints
    rows = []
    for engine in work.MEASURED:
        if engine == "published":
            continue
        for rtol in (1e-6, 1e-9):
            found = fastcart.solve(work.MODEL, patients, engine=engine, rtol=rtol).endpoints
            off = (found["pfs"] - exact["pfs"]).abs()
            nadir = (found["nadir"] / exact["nadir"] - 1).abs()
            numbers = [off.median(), off.max(), nadir.max()]
            rows.append([f"`{engine}`", f"{rtol:.0e}".replace("e-0", "e-"), *(f"{x:.1e}" for x in numbers)])
    head = ["Engine", "rtol", "PFS error, median (days)", "PFS error, largest (days)"]
    table = markdown_table([*head, "nadir, largest relative error"], rows, "lrrrr")
    note = (
        f"{COMPARED} patients, model `{work.MODEL}`, every parameter within {work.SPREAD:.0%} of its "
        "default. Unless you say otherwise, rtol is 1e-6."
    )
    return f"{table}\n\n{note}"


def speed() -> str:
    """Measure rates of all engines, and the times of a new process."""
    most = max(max(work.thread_counts(engine)) for engine in work.MEASURED)
    counts = sorted({1, most})
    rows = []
    loads, imports = [], []
    for engine in work.MEASURED:
        rates = {n: work.patients_per_second(engine, n) for n in work.thread_counts(engine)}
        cold, warm = work.first_solve_cold_and_warm(engine)
        loads.append(warm["load"])
        imports.append(warm["import"])
        shown = [f"{rates[n]:,.0f}" if n in rates else "" for n in counts]
        rows.append([f"`{engine}`", *shown, f"{cold['first']:.1f} s", f"{warm['first']:.1f} s"])
    threads = [f"patients/s, {n} thread{'s' if n > 1 else ''}" for n in counts]
    head = ["Engine", *threads, "compile, once", "take from the cache, each process"]
    note = (
        f"Model `{work.MODEL}`, every parameter within {work.SPREAD:.0%} of its default, 200 days, "
        f"rtol 1e-6 (`published`: step 1 day), endpoints only; best of five rounds. `scipy` is a check, no "
        f"rival: it solves closer than asked and looks at every step. `import fastcart` takes "
        f"{1000 * min(imports):.0f} ms, the first use of a model another {min(loads):.1f} s. Measured on "
        f"{today()}: {work.machine()}; {work.versions()}."
    )
    return markdown_table(head, rows, "l" + "r" * (len(head) - 1)) + f"\n\n{note}"


def work_precision() -> str:
    """Measure error against time of lanes, LSODA and the solvers of other packages; keep all tables."""
    measured = compare.measure()
    compare.write(measured)
    return f"{compare.brief(measured)}\n\n{compare.origin()}"


def plan_a() -> str:
    """Compare plan A of Figure 6: as printed, repeated, accurate."""
    doses = plans.plan_a()
    runs = solve_both("li_lei", doses)
    repeated, accurate = (runs.ends(solution)["pfs"] for solution in (PUBLISHED, ACCURATE))
    rows = [
        [
            plan, change, f"{paper.PFS_PLAN_A[plan].value:g}", f"{repeated[k]:g}", f"{accurate[k]:.2f}",
            f"{repeated[k] - accurate[k]:+.2f}",
        ]
        for k, (plan, change) in enumerate(zip(doses["plan"], doses["change"], strict=True))
    ]  # fmt: skip
    head = ["Plan", "Change", "Published", "`published`", "Accurate", "Difference"]
    note = (
        f"Published: the authors' result file. Accurate: `lsoda` at rtol {RTOL:.0e}. The published scheme "
        "gives the day after the last one at or below the start, so whole days and at least 1."
    )
    return markdown_table(head, rows, "llrrrr") + f"\n\n{note}".replace("e-0", "e-")


def population() -> str:
    """Compare both solutions on a population, and find out where the difference comes from."""
    model = fastcart.models.get(work.MODEL)
    assert model.published is not None
    better = replace(model, published=fastcart.PublishedScheme(model.rhs, step=model.published.step))
    patients = work.draw_patients(POPULATION)
    old = fastcart.solve(model, patients, engine="published").endpoints["pfs"]
    new = fastcart.solve(model, patients, engine="lsoda", rtol=RTOL).endpoints["pfs"]
    mixed = fastcart.solve(better, patients, engine="published").endpoints["pfs"]
    shift = old - new
    responds = old > RESPONSE_DAYS, new > RESPONSE_DAYS
    both = responds[0] & responds[1]
    flips = int((responds[0] != responds[1]).sum())
    return (
        f"Of {POPULATION} patients with every parameter within {work.SPREAD:.0%} of its default, "
        f"{(shift.abs() > 2).mean():.1%} have a published PFS that is more than two days from the accurate "
        f"one. {count(flips)} (PFS above {RESPONSE_DAYS:g} days) with one solution and not with the other. "
        f"Where both respond ({both.sum()} patients), published minus accurate is "
        f"{shift[both].median():+.2f} days in the median, and between {shift[both].quantile(0.01):+.2f} and "
        f"{shift[both].quantile(0.99):+.2f} days in 98% of the patients.\n\n"
        "Step and iteration can be told apart. The published iteration for the free tumor cells C* stops "
        "when it moves by less than one cell; with C* solved to rounding error and the same step of "
        f"{model.published.step:g} day, {(mixed - new).abs().gt(2).sum()} of the {POPULATION} patients are "
        f"more than two days from the accurate PFS, and {((mixed > RESPONSE_DAYS) != responds[1]).sum()} "
        "change between response and none."
    )


def cytokines() -> str:
    """Measure what the quasi-equilibrium of the cytokines changes."""
    patients = work.draw_patients(POPULATION)
    slow = fastcart.solve("li_lei", patients, engine="lsoda", rtol=RTOL).endpoints["pfs"]
    fast = fastcart.solve("li_lei_cytokines", patients, engine="lsoda", rtol=RTOL).endpoints["pfs"]
    move = (fast - slow).abs()
    same = (fast > RESPONSE_DAYS) == (slow > RESPONSE_DAYS)
    text = (
        f"With the cytokines as differential equations, the PFS of {POPULATION} patients (every parameter "
        f"within {work.SPREAD:.0%} of its default) moves by {move.median():.2f} days in the median and by "
        f"{move.quantile(0.99):.2f} days at the 99th percentile. "
    )
    if same.all():
        return text + f"The largest move is {move.max():.2f} days."
    return text + (
        f"{count(int((~same).sum()))} (PFS above {RESPONSE_DAYS:g} days) with one model and not with the "
        f"other, since PFS jumps at the threshold of response; among all others the largest move is "
        f"{move[same].max():.2f} days."
    )


def count(n: int) -> str:
    """Start a sentence on n patients that respond."""
    return {0: "No patient responds", 1: "One patient responds"}.get(n, f"{n} patients respond")


def today() -> str:
    """Return the date, UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%d")


@cache
def facts_by_theory() -> pd.DataFrame:
    """Score sixteen facts of T-cell differentiation for every theory."""
    return t_cell_facts(progress=False)


def t_cell() -> str:
    """Say in a table how many facts each theory meets, and how often `unified` leads under other cuts."""
    table = facts_by_theory()
    families = table.groupby("preset", sort=False)["holds"].agg(["sum", "size"])
    rows = [f"| `{name}` | {row['sum']} of {row['size']} |" for name, row in families.iterrows()]
    return "\n".join(["| Theory | Facts met |", "| --- | --- |", *rows, "", in_words(leads(table))])


@cache
def trial() -> TrialResult:
    """Treat the calibrated patients in every arm, and with a single infusion of every dose."""
    spec = make_spec(
        {
            "population": {"patients": TRIAL_PATIENTS, "sample": 2 * TRIAL_PATIENTS},
            "trial": {"treatments": ["A5"]},
            "power": {"sizes": [40], "replicates": 1},  # not shown
        }
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        open_run(Path(folder) / "trial", trial_run.manifest(spec), owns=trial_run.OWNS) as run,
    ):
        return trial_run.compute(spec, run, progress=False)


def claim() -> str:
    """Say what the simulated trial makes of the hypothesis that it tests."""
    result = trial()
    some = result.patients.head(AMPLIFIED_PATIENTS)
    regimes = amplification(some, rho_E=AMPLIFIED_RATES)
    sentences = [
        findings.equal_cells(result.arms),
        findings.equal_toxicity(result.isotoxic),
        findings.amplified(regimes),
    ]
    lines = "\n".join(f"- {sentence}" for sentence in sentences)
    note = (
        f"{TRIAL_PATIENTS} patients per arm, expected values over deaths; intervals by resampling patients. "
        f"Amplification: {AMPLIFIED_PATIENTS} of them, at growth rates of effectors of "
        f"{', '.join(f'{rate:g}' for rate in AMPLIFIED_RATES)} per day (default: the last)."
    )
    return f"{lines}\n\n{note}"


def by_parts() -> str:
    """Say what controlled concentrations make of each part of the claim, from a full reproduction.

    The variable ``FASTCART_SRCT`` may name the folder of one that is there.
    """
    with tempfile.TemporaryDirectory() as folder:
        given = os.environ.get("FASTCART_SRCT")
        tables = Path(given) if given else srct.reproduce(Path(folder) / "srct", progress=False).parent
        if json.loads((tables / "manifest.json").read_text("utf-8"))["quick"]:
            raise RuntimeError(f"{tables} is a quick look, which is not to be cited.")
        read = {
            f"controlled_{name}": pd.read_csv(tables / file) for name, file in controlled_job.FILES.items()
        }
    contrasts = read["controlled_contrasts"]
    parts = {str(name): table for name, table in contrasts.groupby("part", sort=False)}
    sentences = [
        *controlled_findings.claim(read["controlled_verdicts"]),
        *controlled_findings.sentences(parts),
        controlled_findings.not_at_the_end(read["controlled_memory"]),
        controlled_findings.lower_dose(parts),
        controlled_findings.best_survival(read["controlled_scans"]),
        *controlled_mechanism.why_patients_differ(
            *(read[f"controlled_{name}"] for name in ("variance", "frozen", "heterogeneity", "gainers"))
        ),
        *controlled_mechanism.regimes_in_words(parts, read["controlled_regimes"]),
    ]
    return "\n".join(f"- {sentence}" for sentence in sentences if sentence)


def of_notebook(name: str, variable: str) -> Any:
    """Run the code of a notebook until it has made something, and return that."""
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    notebook = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text("utf-8"))
    namespace: dict = {"__name__": "__main__"}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code" and variable not in namespace:
            source = "".join(line for line in cell["source"] if not line.startswith("%"))
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(source, f"<notebook {name}>", "exec"), namespace)
    return namespace[variable]


# name of the file in docs/pictures: function that draws the figure
FIGURES: dict[str, Callable[[], Any]] = {
    "figure6": lambda: figure6.make(progress=False).picture,
    "t_cell_facts": lambda: draw_facts(facts_by_theory()),
    "frontier": lambda: frontier_figure(trial())[0],
    "fit_to_trial": lambda: of_notebook("11_fit_to_trial", "readme_figure"),
}


def draw_figures() -> None:
    """Draw the figures of the page, small enough for a repository."""
    PICTURES.mkdir(exist_ok=True)
    for name, draw in FIGURES.items():
        with plotting.style():
            plotting.save_figure(draw(), PICTURES / f"{name}.png", dpi=FIGURE_DPI)
        size = (PICTURES / f"{name}.png").stat().st_size
        if size > FIGURE_LIMIT:
            raise RuntimeError(f"docs/pictures/{name}.png has {size} bytes; lower FIGURE_DPI.")


PARTS: dict[str, Callable[[], str]] = {
    "status": status,
    "accuracy": accuracy,
    "plan-a": plan_a,
    "population": population,
    "cytokines": cytokines,
    "speed": speed,
    "work-precision": work_precision,
    "t-cell": t_cell,
    "trial": claim,
    "claim": by_parts,
}


def examples_of(page: Path, *, pictures: bool) -> dict[str, str]:
    """Run the examples of a page; return what they print, and keep the pictures that pages show."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "fastcart"  # the same picture is the same file
    os.environ["SOURCE_DATE_EPOCH"] = "0"
    with tempfile.TemporaryDirectory() as folder:
        printed = pages.printed_by(page, Path(folder))
        for shown in pages.pictures_of(page) if pictures else ():
            if (Path(folder) / shown.name).exists():
                shutil.copy(Path(folder) / shown.name, PICTURES)
    return printed


def main() -> None:
    """Rewrite the parts that were asked for."""
    texts = {page: page.read_text("utf-8") for page in pages.pages()}
    marked = {page: pages.blocks(text) for page, text in texts.items()}
    names = ["figure", "pictures", *sorted({name for parts in marked.values() for name in parts})]
    parser = argparse.ArgumentParser(description="Rewrite the generated parts of the README and of the site.")
    parser.add_argument("part", nargs="*", help=f"of: {', '.join(names)}; default: all")
    wanted = parser.parse_args().part or names
    unknown = set(wanted) - set(names)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    new = {name: make() for name, make in PARTS.items() if name in wanted}
    for page, parts in marked.items():
        asked = {*parts} & {*wanted} - {*PARTS}
        pictures = "pictures" in wanted
        if asked or (pictures and pages.pictures_of(page)):
            printed = examples_of(page, pictures=pictures)
            new |= {name: text for name, text in printed.items() if name in asked}
        page.write_text(pages.replace_blocks(texts[page], new), encoding="utf-8")
    if "figure" in wanted:
        draw_figures()


if __name__ == "__main__":
    main()
