"""Figure 2 of Li & Lei 2025: which parameters decide progression-free survival and the tumor over time."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fastcart.papers.frame import Job
from fastcart.papers.li_lei_2025 import published_values as paper
from fastcart.papers.li_lei_2025.comparison import FigureResult, Row, format_number, verdict
from fastcart.papers.li_lei_2025.figure2_drawing import SCATTERED, draw
from fastcart.papers.li_lei_2025.figure2_study import (
    COMPARED_DAY,
    EVERY,
    KEY_PARAMETERS,
    LAMBDA_T4_I2,
    LARGE_SAMPLE,
    LAST_DAY,
    Study,
    pfs_of,
    run_study,
)
from fastcart.papers.li_lei_2025.runs import ACCURATE, PUBLISHED
from fastcart.papers.li_lei_2025.statements import Assessment, assess
from fastcart.papers.li_lei_2025.statements import figure2 as statements

FILES = (
    "figure2.png",
    "figure2_pfs.csv",
    "figure2_tumor.csv",
    "figure2_patients.csv",
    "figure2_sobol.csv",
    "figure2_boundary.csv",
)
_WRITTEN = 1000  # patients in the table of panel (b), as many as in the paper
_SHARE = "fraction of patients"


def make(
    *,
    threads: int | None = None,
    progress: bool | None = None,
    sample: int = LARGE_SAMPLE,
    job: Job | None = None,
) -> FigureResult:
    """Solve, draw and compare Figure 2; ``sample`` is the number of patients solved accurately."""
    study = run_study(sample=sample, threads=threads, progress=progress, job=job)
    return FigureResult(
        2,
        "Sensitivity to the parameters",
        _caption(study),
        draw(study),
        _tables(study),
        _rows(study),
        _notes(study),
        judged(study),
    )


def _caption(study: Study) -> str:
    patients = {s: f"{len(study.of(s).design.x):,}" for s in (PUBLISHED, ACCURATE)}
    return (
        f"All 41 parameters vary independently by ±10%; Pearson correlations with 95% intervals of the "
        f"bootstrap. (a) With PFS over responders (PFS above 2 days): published patients ({PUBLISHED}, "
        f"{paper.PUBLISHED_RESPONDERS} responders, with the interval that so few have), {PUBLISHED} with "
        f"{patients[PUBLISHED]} new patients, accurate with {patients[ACCURATE]}. (b) PFS of "
        f"{_WRITTEN} new patients, {PUBLISHED}. (c) With ln C at day {COMPARED_DAY}, over all patients. "
        f"(d) The same every day, {PUBLISHED}. (e), (f) are not in the paper. (e) Sobol' total indices, "
        "accurate: the share of the variance that a parameter takes part in. (f) Share of responders by "
        f"tumor growth and killing, accurate, {patients[ACCURATE]} patients; dashed: k_TE / λ_C = "
        f"{study.boundary.threshold:.3f}."
    )


def _tables(study: Study) -> dict[str, pd.DataFrame]:
    pfs, tumor, patients = [], [], []
    for solution in (PUBLISHED, ACCURATE):
        table = study.over_responders(solution).rename_axis("parameter").reset_index()
        used = int(study.responders[solution].used[0])
        pfs.append(table.assign(solution=solution, responders=used))
        result = study.of(solution)
        rows = result.indices[result.indices["quantity"] == "ln_C"]
        tumor.append(
            rows[["t", "parameter", "value", "low", "high"]].assign(solution=solution, patients=rows["used"])
        )
        names = list(result.design.names)
        some = pd.DataFrame(result.design.x[:_WRITTEN], columns=names).assign(pfs=pfs_of(result)[:_WRITTEN])
        patients.append(some[[*SCATTERED, "pfs"]].assign(solution=solution))
    sobol = study.sobol.indices[["output", "parameter", "index", "value", "low", "high"]]
    return {
        "figure2_pfs.csv": pd.concat(pfs, ignore_index=True),
        "figure2_tumor.csv": pd.concat(tumor, ignore_index=True),
        "figure2_patients.csv": pd.concat(patients, ignore_index=True),
        "figure2_sobol.csv": sobol.assign(solution=ACCURATE),
        "figure2_boundary.csv": study.boundary.fraction.assign(solution=ACCURATE),
    }


with_interval = statements.shown


def sampling_intervals(study: Study) -> pd.DataFrame:
    """Return where a coefficient of as few responders as were published lies with 95% probability.

    The interval of the published scheme's own sample, widened by the root of the ratio of the sample sizes.
    """
    table = study.over_responders(PUBLISHED)
    wider = np.sqrt(study.responders[PUBLISHED].used[0] / paper.PUBLISHED_RESPONDERS)
    return pd.DataFrame(
        {end: table["value"] + wider * (table[end] - table["value"]) for end in ("low", "high")}
    )


def _within(study: Study) -> pd.Series:
    expected = sampling_intervals(study)
    published = pd.Series(paper.PFS_CORRELATION)[list(expected.index)]
    return (published >= expected["low"]) & (published <= expected["high"])


def _rows(study: Study) -> list[Row]:
    scheme, accurate = study.over_responders(PUBLISHED), study.over_responders(ACCURATE)
    within = _within(study)
    order = accurate["value"].abs().sort_values(ascending=False).index
    source = f"result file, {paper.PUBLISHED_RESPONDERS} responders"
    rows = [
        Row(
            f"(a) correlation of PFS with {name}", "", format_number(paper.PFS_CORRELATION[name], 3), source,
            with_interval(scheme.loc[name]), with_interval(accurate.loc[name]),
            "yes" if within[name] else "no, sampling",
        )
        for name in order
    ]  # fmt: skip
    return [*rows, _responders(study), *_tumor_rows(study), *_additions(study)]


def _responders(study: Study) -> Row:
    share = [float(np.mean(pfs_of(study.of(s)) > paper.RESPONSE_DAYS)) for s in (PUBLISHED, ACCURATE)]
    published = paper.PUBLISHED_RESPONDERS / paper.PUBLISHED_PATIENTS
    return Row(
        "responders (PFS above 2 days)", _SHARE, f"{published:.3f}", "result file, 500 patients",
        f"{share[0]:.4f}", f"{share[1]:.4f}",
        verdict(bool(abs(published - share[0]) < 1.96 * (share[0] * (1 - share[0]) / 500) ** 0.5)),
    )  # fmt: skip


def _tumor_rows(study: Study) -> list[Row]:
    """Show the correlations with the tumor at days 80 and 200; one is printed, of 1000 patients."""
    rows = []
    for day, letter in ((COMPARED_DAY, "c"), (LAST_DAY, "d")):
        tables = [study.at_day(solution, day) for solution in (PUBLISHED, ACCURATE)]
        for name in KEY_PARAMETERS:
            found = [table.loc[name] for table in tables]
            shown, source, agrees = "not stated", "", ""
            if (day, name) == (LAST_DAY, "k_TE"):
                printed = paper.K_TE_DAY_200
                shown, source = format_number(printed.value), printed.source
                near = abs(found[0]["value"] - printed.value) < 1.96 / _WRITTEN**0.5
                agrees = "yes" if near else "no, sampling"
            rows.append(
                Row(
                    f"({letter}) correlation of ln C at day {day} with {name}", "", shown, source,
                    with_interval(found[0]), with_interval(found[1]), agrees,
                )
            )  # fmt: skip
    return rows


def correlations(study: Study, solution: str) -> statements.Correlations:
    """Return what the statements on Figure 2 are judged by."""
    days = range(EVERY, LAST_DAY + 1, EVERY)
    return statements.Correlations(
        study.over_responders(solution), {day: study.at_day(solution, day) for day in days}
    )


def judged(study: Study) -> list[Assessment]:
    """Judge what the text says of Figure 2."""
    responders = statements.Correlations(statements.exact(paper.PFS_CORRELATION), {})
    printed = statements.sampled({"k_TE": paper.K_TE_DAY_200.value}, _WRITTEN)
    source = f"result file, patients 1 to {paper.PUBLISHED_PATIENTS}"
    files = dict.fromkeys(("2.1", "2.2", "2.3"), (source, responders))
    text = {"2.6": ("text", statements.Correlations(responders.pfs, {LAST_DAY: printed}))}
    found = assess(
        statements.STATEMENTS,
        correlations(study, PUBLISHED),
        correlations(study, ACCURATE),
        published=files | text,
    )
    return found + assess([statements.TABLE_3], paper.TABLE_3, paper.TABLE_3)


def _additions(study: Study) -> list[Row]:
    rows = []
    for output in study.sobol.outputs.names:
        for name, row in study.sobol.table(output).head(4).iterrows():
            quantity = f"(e) Sobol' total index of {name}, {output}"
            rows.append(Row(quantity, "", "not stated", "", "", with_interval(row), ""))
    boundary = study.boundary
    rows.append(
        Row("(f) ratio k_TE / λ_C above which a patient responds", "", "not stated", "", "",
            f"{boundary.threshold:.4f}", "")
    )  # fmt: skip
    rows.append(
        Row("(f) patients for whom that rule fails", _SHARE, "not stated", "", "",
            f"{boundary.wrong:.4f}", "")
    )  # fmt: skip
    return rows


def _notes(study: Study) -> list[str]:
    within = _within(study)
    outside = ", ".join(str(name) for name in within.index[~within])
    counts = {solution: study.of(solution).counts.iloc[0] for solution in (PUBLISHED, ACCURATE)}
    table_1 = study.boundary_table_1
    sobol = study.sobol.counts.iloc[0]
    late = study.at_day(ACCURATE, LAST_DAY).loc["k_TE"]
    return [
        f"Published coefficients of (a) are those of the published parameters and PFS of patients 1 to "
        f"{paper.PUBLISHED_PATIENTS}, of which the published scheme repeats every PFS. New draws cannot "
        "repeat them to the digits: \"yes\" means that the published one lies where 95% of the coefficients "
        f"of {paper.PUBLISHED_RESPONDERS} responders lie. That holds for {int(within.sum())} of "
        f"{len(within)}" + (f"; not for {outside}." if outside else "."),
        f"The printed correlation of k_TE with the tumor at day {LAST_DAY} lies within the error of a sample "
        f"of {_WRITTEN} patients, ±{1.96 / _WRITTEN**0.5:.2f}; the large sample gives {with_interval(late)}.",
        *(
            f"Patients, {solution}: {int(row['patients'])} drawn, {int(row['failed'])} failed, "
            f"{int(row['censored'])} without progression at day {LAST_DAY} (counted with {LAST_DAY} days)."
            for solution, row in counts.items()
        ),
        f"The large sample and the {int(sobol['patients'])} patients of (e) are solved with engine `auto` at "
        f"rtol 1e-6; {int(sobol['failed'])} of (e) failed.",
        f"λ_T4I2 varies around {LAMBDA_T4_I2:g} per day as in the published file (erratum 9). Around 0.25, "
        f"as in Table 1, {table_1.responders:.4f} of {int(table_1.fraction['patients'].sum())} patients "
        f"respond, and the ratio of (f) is {table_1.threshold:.4f}.",
    ]  # fmt: skip
