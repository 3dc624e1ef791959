"""The report of a simulated trial: one HTML file with its pictures inside, readable without a network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

from fastcart._version import __version__
from fastcart.population import PRIOR, SOURCES, TARGETS
from fastcart.runs.store import Run
from fastcart.trial.adapter import NEGATIVE
from fastcart.trial.figures import ENDPOINT_NAMES, Picture
from fastcart.trial.frontier import RESAMPLES
from fastcart.trial.html import cells_in_words, figure_html, page, points, titled_table
from fastcart.trial.primary import unseen
from fastcart.trial.proportions import few_patients, nobody
from fastcart.trial.report_words import definitions, event_free, how_judged, in_short, named, percent
from fastcart.trial.result import TrialResult
from fastcart.trial.spec import TrialSpec
from fastcart.trial.stratified import STRATIFIED

FEW = 0.2  # a share of effective patients below which the report warns


def write_report(result: TrialResult, pictures: Sequence[Picture], run: Run) -> Path:
    """Write ``report.html`` into the folder of a run; return its path."""
    return run.write("report.html", page(result.spec.title, trial_parts(result, pictures, run)))


def trial_parts(
    result: TrialResult,
    pictures: Sequence[Picture],
    run: Run,
    *,
    found: Sequence[str] = (),
    experiments: Sequence[str] = (),
    limits: Sequence[str] = (),
) -> list[str]:
    """Return the parts of the report, as HTML.

    Other parts may go after the summary and before the limits; other ``limits`` after those of the model.
    """
    link = "<a href='#experiments'>Experiments</a>" if experiments else ""
    apart = ("frontier", "courses", "power")
    doubts = (*result.spec.adapter.limits, *limits)
    link += "<a href='#population'>Population</a>" + ("<a href='#limits'>Limits</a>" if doubts else "")
    return [
        _summary(result, link),
        *found,
        definitions(result.spec),
        _arms(result),
        *(figure_html(p) for p in pictures if p.name == "frontier"),
        "<h2 id='trials'>Randomized trials</h2>",
        _trial_words(result),
        *(figure_html(p) for p in pictures if p.name not in apart),
        "<h2 id='power'>How many patients a trial needs</h2>",
        titled_table("Patients per arm at which 80 % of trials are significant", _sizes(result)),
        *(figure_html(p) for p in pictures if p.name == "power"),
        _pairs(result),
        *(figure_html(p) for p in pictures if p.name == "courses"),
        *experiments,
        _population(result),
        *(["<h2 id='limits'>Limits and doubts</h2><ol>"] if doubts else []),
        *(f"<li>{escape(text)}</li>" for text in doubts),
        *(["</ol>"] if doubts else []),
        _methods(result, run),
    ]


def _summary(result: TrialResult, more: str) -> str:
    spec, arms = result.spec, result.arms
    control = arms.loc[spec.control.name].to_dict()
    lines = [
        "<nav aria-label='Parts of the report'><a href='#definitions'>Definitions</a>"
        "<a href='#arms'>Arms</a><a href='#trials'>Trials</a><a href='#power'>Power</a>"
        f"<a href='#pairs'>Pairs</a>{more}</nav>",
        "<p class='warn'><b>Virtual patients.</b> Every number below comes from a mathematical model, not "
        "from people. It can support or refute an idea about dosing; it cannot guide the treatment of "
        "anyone.</p>",
        f"<p>{len(result.patients)} virtual patients with {escape(spec.adapter.disease)} were each "
        f"treated in every arm with the same {cells_in_words(spec.dose)} CAR-T cells, for "
        f"{spec.horizon:g} days. Under {named(spec.control.name, spec.control.title)}, "
        f"{percent(control['CR90'])} reach remission within 90 days, {percent(control['crs3'])} have CRS "
        f"of grade 3 or more, {percent(control['toxic_death'])} die of it, and {event_free(control)}.</p>",
    ]
    saved = {} if spec.population.folder is None else {"where": "in the folder of the population"}
    few = few_patients(len(result.patients), **saved)
    lines += [f"<p class='warn'>{escape(few)}</p>"] if few else []
    lines.append("<h2>In short</h2><ul>")
    lines += [f"<li>{in_short(result, name)}</li>" for name in spec.treatments]
    lines.append(f"</ul>{how_judged(result)}")
    if result.failed:
        lines.append(
            f"<p class='warn'>{result.failed} patients could not be solved in every arm and are left out.</p>"
        )
    return "\n".join(lines)


def _arms(result: TrialResult) -> str:
    columns = [
        "title", "CR28", "CR90", "RFS12", "crs_any", "crs3", "crs4", "toxic_death", "EFS365", "EFS730",
        "OS365",
        "OS730", "negative_share",
    ]  # fmt: skip
    lost = result.spec.adapter.kinds_of_relapse.get(NEGATIVE)
    table = result.arms[columns if lost else columns[:-1]].reset_index()
    heads = {"negative_share": f"{lost} of relapses"}
    return (
        "<h2 id='arms'>Arms</h2><p>Expected values over all patients, before any randomization. Relapse-free "
        "survival after remission (RFS12) is not comparable across arms, since each selects its own "
        "responders; event-free survival from day 0 is. Arms that give cells late look worse on day 28 by "
        f"construction, so both CR28 and CR90 are shown.</p>"
        f"{titled_table('Arms, expected values', table, heads=heads)}"
    )


def _trial_words(result: TrialResult) -> str:
    spec, design = result.spec, result.spec.design
    ways = {"simple": "a coin for each patient", "blocks": "permuted blocks"}
    way = ways.get(design.randomization, "permuted blocks within strata of the baseline burden")
    follow = f"accrual over {design.accrual:g} days" if design.accrual else "all enter at once"
    if design.cutoff is not None:
        follow += f", analysis on day {design.cutoff:g}"
    if design.dropout:
        follow += f", {100 * design.dropout:g} % lost per year"
    within = (
        "Tests of shares and log-rank tests are within the strata of the randomization; estimates and "
        "intervals, differences of survival and restricted means are of all patients. "
        if design.randomization == STRATIFIED
        else "Tests look at all patients alike. "
    )
    primary = ENDPOINT_NAMES.get(spec.primary, spec.primary)
    return (
        f"<p>Each trial draws 2 × {design.n_per_arm} of the {len(result.patients)} virtual patients, with "
        "replacement, so that one of them may be in it more than once and counts each time; it randomizes "
        f"them by {way}; {follow}. What follows is <b>one trial as it might have come out</b>, one draw of "
        "the lottery; <b>the truth in this model</b> stands beside it. The power below says how often "
        "another trial would agree.</p>"
        "<p>Estimand: the difference between the arms in the share of all patients who were randomized, "
        f"deaths included. Primary endpoint: {escape(primary)}, tested at the level {spec.alpha:g}. The "
        "others are secondary, and their P values are adjusted for each other by Holm's procedure. "
        "Treatments are compared with the same control in patients of one population, so that their "
        "trials are not independent.</p>"
        f"{_unseen(spec)}{titled_table('One trial, and the truth in this model', _tests(result))}"
        f"<p>{within}Who is lost before day 90 counts as one without remission, who is lost before day 30 "
        "has no grade of CRS; deaths from CRS after the end of follow-up are not seen. Restricted means come "
        "first where the check of proportional hazards fails. NNT: how many must be treated for one more to "
        "benefit, NNH: for one more to be harmed; where the interval of the risk difference holds 0, "
        "theirs runs through infinity from one to the other.</p>"
        f"{titled_table('All contrasts of these trials', _contrasts(result))}{_empty_arms(result)}"
    )


def _unseen(spec: TrialSpec) -> str:
    """Say that no trial sees the primary endpoint, where that is so."""
    sentence = unseen(spec.primary, spec.horizon, spec.design)
    return "" if sentence is None else f"<p class='warn'>{escape(sentence)}</p>"


def _tests(result: TrialResult) -> pd.DataFrame:
    """Return one test for each endpoint, differences in points."""
    table = result.tests.copy()
    for name in ("estimate", "low", "high", "truth"):
        table[name] = [points(value) if math.isfinite(value) else "–" for value in table[name]]
    heads = {"role": "Role", "estimate": "Difference in this trial (points)", "p_holm": "P (Holm)", "p": "P",
             "truth": "Truth in this model (points)"}  # fmt: skip
    first = ["treatment", "endpoint", "role", "estimate", "low", "high", "truth", "p", "p_holm", "note"]
    return table[first].rename(columns=heads)


def _empty_arms(result: TrialResult) -> str:
    """Say of trials in which one arm got no patient, and in how many replicates that happens."""
    lines = []
    for name, trial in result.trials.items():
        treated = trial["treated"].to_numpy(dtype=bool)
        words = nobody(int((~treated).sum()), int(treated.sum()))
        if words:
            lines.append(
                f"<p class='warn'>The trial of {escape(name)} has {words}: nothing can be compared.</p>"
            )
    empty = result.power[result.power["empty_arm"] > 0].drop_duplicates(["treatment", "n_per_arm"])
    for row in empty.itertuples():
        lines.append(
            f"<p class='warn'>{row.empty_arm} of {row.replicates} replicates with {row.n_per_arm} patients "
            f"per arm ({escape(str(row.treatment))}) have an arm without patients; they count as not "
            "significant.</p>"
        )
    return "".join(lines)


def _contrasts(result: TrialResult) -> pd.DataFrame:
    parts = []
    for name, analysis in result.analyses.items():
        one = analysis.contrasts.assign(treatment=name)
        check = one[one["measure"] == "proportional hazards"].set_index("endpoint")["p"]
        fails = one["endpoint"].map(check) < result.spec.alpha
        first = fails & (one["measure"] == "restricted mean")
        late = fails & one["measure"].isin(["hazard ratio", "proportional hazards"])
        order = np.lexsort((np.where(late, 2, np.where(first, 0, 1)), pd.factorize(one["endpoint"])[0]))
        parts.append(one.iloc[order])
    table = pd.concat(parts, ignore_index=True)
    said = table["note"].astype(str)  # few rows have one: a column of its own would be mostly empty
    table["method"] = table["method"] + np.where(said != "", ". " + said, "")
    return table[["treatment", "endpoint", "measure", "estimate", "low", "high", "p", "method"]]


def _sizes(result: TrialResult) -> pd.DataFrame:
    table = result.sizes.pivot(index="treatment", columns="endpoint", values="note")
    order = list(dict.fromkeys(result.sizes["endpoint"]))
    table = table.loc[list(dict.fromkeys(result.sizes["treatment"])), order]
    return table.rename(columns=ENDPOINT_NAMES).reset_index()


def _pairs(result: TrialResult) -> str:
    columns = ["treatment", "endpoint", "avoided", "caused", "unchanged", "difference", "p", "variance_ratio"]
    return (
        "<h2 id='pairs'>The same patients in both arms</h2><p class='warn'>Not observable in a real trial: "
        "each virtual patient is seen in both arms. <i>Avoided</i>: only under the control; <i>caused</i>: "
        "only under the treatment; p by McNemar's test, for copies of one draw of the prior Obuchowski's; "
        "the last column is by which factor pairing lowers the variance.</p>"
        f"{titled_table('The same patients in both arms', result.pairs[columns])}"
    )


def _population(result: TrialResult) -> str:
    made = result.population.made
    lines = ["<h2 id='population'>Population</h2>"]
    if "targets" in made:
        whose = " of children with leukemia" if result.spec.adapter.model.name == PRIOR.inputs.model else ""
        lines.append(
            "<p>The patients were weighted by maximum entropy so that a single infusion meets published "
            f"results{whose}, then drawn anew; {made['effective_patients']:.0f} effective "
            f"patients of {made['sample']['size']}. The weighted sample meets the targets as if nobody died, "
            "since weights must not follow luck; only toxic death and overall survival count deaths there. "
            f"The last column is what the {len(result.patients)} patients of this trial reach under that "
            "single infusion with the deaths to be expected: who dies first reaches no remission.</p>"
            f"{titled_table('Targets of the calibration', _with_sources(result))}"
        )
        if made["effective_patients"] < FEW * made["sample"]["size"]:
            lines.append(
                "<p class='warn'>Few patients stand for all: the targets lie far from the prior, and small "
                "differences between arms may be those of single patients.</p>"
            )
        if made.get("unmet"):
            lines.append(f"<p class='warn'>Not met: {escape(', '.join(made['unmet']))}.</p>")
    else:
        whose = "follow the prior" if result.spec.population.folder is None else "are those that were saved"
        lines.append(f"<p>The patients {whose} and were not calibrated to published results.</p>")
    return "\n".join(lines)


def _with_sources(result: TrialResult) -> pd.DataFrame:
    """Return the targets with what is reached, and where those are from that are the usual ones."""
    table = result.reached.copy()
    table["Source"] = [
        SOURCES.get(name, "") if TARGETS.get(name) == value else "the specification of this trial"
        for name, value in zip(table["target"], table["wanted"], strict=True)
    ]
    return table


def _methods(result: TrialResult, run: Run) -> str:
    spec = result.spec
    rows = [
        ("fastcart", __version__),
        ("Made", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
        ("Population (SHA-256)", result.population.hash),
        ("Seeds", f"trials {spec.seed}, assay {spec.noise_seed}, population {spec.population.seed}"),
        ("Survival", "Kaplan-Meier, log-rank, Cox (Efron), restricted mean (Greenwood), Aalen-Johansen"),
        ("Shares", "statsmodels and SciPy: Wilson, Clopper-Pearson, Newcombe, Fisher, McNemar"),
        ("Score intervals", "Miettinen-Nurminen; of pairs Tango"),
        ("Iso-toxic gains", f"{RESAMPLES} bootstrap samples of the draws of the prior"),
        (
            "Intervals of gains",
            "hold who was drawn; neither parameters of the prior nor structures of the model",
        ),
        ("Tests", "one primary endpoint, Holm's procedure over the others"),
        ("All inputs", str(run.path("manifest.json").name)),
        ("Tables", "folder tables: CSV, and Parquet with a row per patient"),
    ]
    body = "".join(
        f"<tr><th class='text' scope='row'>{escape(name)}</th><td class='text'>{escape(value)}</td></tr>"
        for name, value in rows
    )
    return (
        "<h2>How this was made</h2><div class='wide' role='region' tabindex='0' aria-label='How this was "
        f"made'><table><caption>Inputs and methods</caption>{body}</table></div>"
    )
