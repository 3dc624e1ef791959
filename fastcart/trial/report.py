"""The report of a simulated trial: one HTML file with its pictures inside, readable without a network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from fastcart._version import __version__
from fastcart.runs.store import Run
from fastcart.trial.figures import ENDPOINT_NAMES, Picture
from fastcart.trial.frontier import RESAMPLES
from fastcart.trial.html import cells_in_words, figure_html, page, points, table_html
from fastcart.trial.proportions import nobody
from fastcart.trial.result import TrialResult

SMALL = 0.01  # a difference in event-free survival that matters to nobody
FEW = 0.2  # a share of effective patients below which the report warns


def write_report(result: TrialResult, pictures: Sequence[Picture], run: Run) -> Path:
    """Write ``report.html`` into the folder of a run; return its path."""
    return run.write("report.html", page(result.spec.title, trial_parts(result, pictures, run)))


def trial_parts(
    result: TrialResult,
    pictures: Sequence[Picture],
    run: Run,
    *,
    in_short: Sequence[str] = (),
    experiments: Sequence[str] = (),
    limits: Sequence[str] = (),
) -> list[str]:
    """Return the parts of the report, as HTML.

    Other parts may go after the summary and before the limits; other ``limits`` after those of the model.
    """
    link = "<a href='#experiments'>Experiments</a>" if experiments else ""
    apart = ("frontier", "courses", "power")
    return [
        _summary(result, link),
        *in_short,
        _arms(result),
        *(figure_html(p) for p in pictures if p.name == "frontier"),
        "<h2 id='trials'>Randomized trials</h2>",
        _trial_words(result),
        *(figure_html(p) for p in pictures if p.name not in apart),
        "<h2 id='power'>How many patients a trial needs</h2>",
        f"<p>Patients per arm at which 80 % of trials are significant:</p>{table_html(_sizes(result))}",
        *(figure_html(p) for p in pictures if p.name == "power"),
        _pairs(result),
        *(figure_html(p) for p in pictures if p.name == "courses"),
        *experiments,
        _population(result),
        "<h2 id='limits'>Limits and doubts</h2><ol>",
        *(f"<li>{escape(text)}</li>" for text in (*result.spec.adapter.limits, *limits)),
        "</ol>",
        _methods(result, run),
    ]


def _percent(value: Any) -> str:
    percent = 100 * float(value)
    return f"{percent:.1f} %" if percent < 5 else f"{percent:.0f} %"


def _summary(result: TrialResult, more: str) -> str:
    spec, arms = result.spec, result.arms
    control = arms.loc[spec.control.name].to_dict()
    lines = [
        "<nav><a href='#arms'>Arms</a><a href='#trials'>Trials</a><a href='#power'>Power</a>"
        f"<a href='#pairs'>Pairs</a>{more}<a href='#population'>Population</a>"
        "<a href='#limits'>Limits</a></nav>",
        "<p class='warn'><b>Virtual patients.</b> Every number below comes from a mathematical model, not "
        "from people. It can support or refute an idea about dosing; it cannot guide the treatment of "
        "anyone.</p>",
        f"<p>{len(result.patients)} virtual patients with {escape(spec.adapter.disease)} were each "
        f"treated in every arm with the same {cells_in_words(spec.dose)} CAR-T cells, for "
        f"{spec.horizon:g} days. Under "
        f"{escape(spec.control.name)} ({escape(spec.control.title)}), {_percent(control['CR90'])} reach "
        f"remission within 90 days, {_percent(control['crs3'])} have CRS of grade 3 or more, "
        f"{_percent(control['toxic_death'])} die of it, and {_event_free(control)}.</p>",
        "<h2>In short</h2><ul>",
    ]
    lines += [f"<li>{_verdict(result, name)}</li>" for name in spec.treatments]
    lines.append("</ul>")
    if result.failed:
        lines.append(
            f"<p class='warn'>{result.failed} patients could not be solved in every arm and are left out.</p>"
        )
    return "\n".join(lines)


def _event_free(arm: Mapping[Any, Any], control: Mapping[Any, Any] | None = None) -> str:
    """Say how many are event-free at 24 months, or at 12 where patients are not followed so long."""
    for name, months in (("EFS730", 24), ("EFS365", 12)):
        if not math.isnan(float(arm[name])):
            if control is None:
                return f"{_percent(arm[name])} are event-free at {months} months"
            return f"event-free at {months} months {_percent(arm[name])} instead of {_percent(control[name])}"
    return "how many are event-free is not known"


def _verdict(result: TrialResult, name: str) -> str:
    """Say of one arm what it does, and whether a smaller single dose would do the same."""
    arm, control = (result.arms.loc[one].to_dict() for one in (name, result.spec.control.name))
    row = result.isotoxic.loc[name].to_dict()
    text = (
        f"<b>{escape(name)}</b> ({escape(str(arm['title']))}): severe CRS {_percent(arm['crs3'])} instead of "
        f"{_percent(control['crs3'])}, remission {_percent(arm['CR90'])} instead of "
        f"{_percent(control['CR90'])}, {_event_free(arm, control)}. "
    )
    low, high, gain = (float(row[f"gain_EFS730{end}"]) for end in ("_low", "_high", ""))
    if math.isnan(float(row["dose"])):
        return text + "No single dose that was scanned has the same rate of severe CRS."
    if math.isnan(gain):
        return text + "Patients are not followed to 24 months, so that it is not compared with a single dose."
    if math.isnan(low):
        return text + (
            "The single dose with the same rate of severe CRS lies at the end of those that were scanned: in "
            f"{_percent(row['unjudged'])} of the resamples there is none, so that the gain of {points(gain)} "
            "points of event-free survival has no interval."
        )
    same = cells_in_words(row["dose"])
    text += f"A single dose of {same} cells has the same rate of severe CRS; compared with it, "
    span = f"{points(gain)} points of event-free survival ({points(low)} to {points(high)})"
    return (
        text
        + {
            "better": f"this arm gains {span}: <b>better than giving less</b>.",
            "worse": f"this arm loses {span}: <b>worse than giving less</b>.",
            "same": f"the difference is {span}: <b>the same as giving less</b>.",
            "unclear": f"the difference is {span}: not clearly different from giving less.",
        }[verdict(low, high)]
    )


def verdict(low: float, high: float) -> str:
    """Return what an interval of a gain over the single dose of equal toxicity says.

    Returns
    -------
    str
        ``"better"``, ``"worse"``, ``"same"`` where all of it is small, or ``"unclear"``.
    """
    if low > SMALL:
        return "better"
    if high < -SMALL:
        return "worse"
    return "same" if low >= -SMALL and high <= SMALL else "unclear"


def _arms(result: TrialResult) -> str:
    columns = [
        "title", "CR28", "CR90", "RFS12", "crs_any", "crs3", "crs4", "toxic_death", "EFS365", "EFS730",
        "OS365",
        "OS730", "negative_share",
    ]  # fmt: skip
    table = result.arms[columns].reset_index()
    return (
        "<h2 id='arms'>Arms</h2><p>Expected values over all patients, before any randomization. Relapse-free "
        "survival after remission (RFS12) is not comparable across arms, since each selects its own "
        "responders; event-free survival from day 0 is. Arms that give cells late look worse on day 28 by "
        "construction, so both CR28 and CR90 are shown.</p><div class='wide arms'>"
        f"{table_html(table)}</div>"
    )


def _trial_words(result: TrialResult) -> str:
    design = result.spec.design
    ways = {"simple": "a coin for each patient", "blocks": "permuted blocks"}
    way = ways.get(design.randomization, "permuted blocks within three strata of the baseline burden")
    follow = f"accrual over {design.accrual:g} days" if design.accrual else "all enter at once"
    if design.cutoff is not None:
        follow += f", analysis on day {design.cutoff:g}"
    if design.dropout:
        follow += f", {100 * design.dropout:g} % lost per year"
    return (
        f"<p>Each trial draws 2 × {design.n_per_arm} patients and randomizes them by {way}; {follow}. One "
        "trial is one draw of the lottery: the power below says how often another one would agree. Where the "
        "check of proportional hazards fails, read the restricted mean survival time instead of the hazard "
        "ratio. NNT: how many must be treated for one more to benefit, NNH: for one more to be harmed; where "
        "the interval of the risk difference holds 0, theirs runs through infinity from one to the other. "
        "Tests look at all patients alike, not within strata.</p>"
        f"<div class='scroll'>{table_html(_contrasts(result))}</div>{_empty_arms(result)}"
    )


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
    parts = [a.contrasts.assign(treatment=name) for name, a in result.analyses.items()]
    table = pd.concat(parts, ignore_index=True)
    return table[["treatment", "endpoint", "measure", "estimate", "low", "high", "p", "method", "note"]]


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
        f"<div class='scroll'>{table_html(result.pairs[columns])}</div>"
    )


def _population(result: TrialResult) -> str:
    made = result.population.made
    lines = ["<h2 id='population'>Population</h2>"]
    if "targets" in made:
        lines.append(
            "<p>The patients were weighted by maximum entropy so that a single infusion meets published "
            f"results of children with leukemia, then drawn anew; {made['effective_patients']:.0f} effective "
            f"patients of {made['sample']['size']}. The weighted sample meets the targets as if nobody died, "
            "since weights must not follow luck; only toxic death and overall survival count deaths there. "
            f"The last column is what the {len(result.patients)} patients of this trial reach under that "
            "single infusion with the deaths to be expected: who dies first reaches no remission.</p>"
            f"{table_html(result.reached)}"
        )
        if made["effective_patients"] < FEW * made["sample"]["size"]:
            lines.append(
                "<p class='warn'>Few patients stand for all: the targets lie far from the prior, and small "
                "differences between arms may be those of single patients.</p>"
            )
        if made.get("unmet"):
            lines.append(f"<p class='warn'>Not met: {escape(', '.join(made['unmet']))}.</p>")
    else:
        lines.append("<p>The patients follow the prior and were not calibrated to published results.</p>")
    return "\n".join(lines)


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
        ("All inputs", str(run.path("manifest.json").name)),
        ("Tables", "folder tables: CSV, and Parquet with a row per patient"),
    ]
    body = "".join(
        f"<tr><th class='text' scope='row'>{escape(name)}</th><td class='text'>{escape(value)}</td></tr>"
        for name, value in rows
    )
    return f"<h2>How this was made</h2><table>{body}</table>"
