"""What the report says in words: verdicts on arms, harm and benefit, definitions of endpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import Any

from fastcart.trial.adapter import NEGATIVE
from fastcart.trial.frontier import JUDGED, falls, why_incomparable
from fastcart.trial.html import cells_in_words, points
from fastcart.trial.result import TrialResult
from fastcart.trial.spec import TrialSpec
from fastcart.trial.verdict import EVIDENCE, LOWER_IS_BETTER, MARGINS

_JUDGED_WORDS = {
    "CR90": "remission",
    "EFS730": "event-free survival at 24 months",
    "OS730": "survival at 24 months",
    "crs4": "CRS of grade 4 or more",
    "toxic_death": "death from CRS",
}
_DIGITS = 1  # of all shares in percent, and differences in points, that the report tells
_LESS, _OTHER = "giving less", "that single dose"  # what an arm is judged against
_BY = {
    "CR90": ("more reach", "fewer reach", "remission"),
    "EFS": ("more are", "fewer are", "alive without relapse at {months} months"),
    "OS": ("more are", "fewer are", "alive at {months} months"),
    "crs3": ("more have", "fewer have", "severe CRS"),
    "toxic_death": ("more die", "fewer die", "of CRS"),
}


def percent(value: Any) -> str:
    """Return a share in percent."""
    return f"{100 * float(value):.{_DIGITS}f} %"


def instead_of(value: Any, other: Any, *, digits: int | None = None) -> str:
    """Return two shares in percent; without ``digits`` as many as show their difference in whole points."""
    numbers = [100 * float(value), 100 * float(other)]
    told = round(abs(numbers[0] - numbers[1]))
    for more in (0, 1, 2) if digits is None else (digits,):
        # small shares have a digit in any case
        shown = [f"{number:.{max(more, int(number < 5))}f}" for number in numbers]
        if abs(abs(float(shown[0]) - float(shown[1])) - told) < 0.5 - 1e-9:
            break
    return f"{shown[0]} % instead of {shown[1]} %"


def event_free(arm: Mapping[Any, Any], control: Mapping[Any, Any] | None = None) -> str:
    """Say how many are event-free at 24 months, or at 12 where patients are not followed so long."""
    name, months = _latest("EFS", arm)
    if math.isnan(float(arm[name])):
        return "how many are event-free is not known"
    if control is None:
        return f"{percent(arm[name])} are event-free at {months} months"
    return f"event-free at {months} months {instead_of(arm[name], control[name], digits=_DIGITS)}"


def _latest(name: str, arm: Mapping[Any, Any]) -> tuple[str, int]:
    """Return the column of an endpoint and its months, of survival the last that is followed."""
    if name not in ("EFS", "OS"):
        return name, 0
    short = math.isnan(float(arm[f"{name}730"])) and f"{name}365" in arm
    return (f"{name}365", 12) if short else (f"{name}730", 24)


def judged(row: Mapping[Any, Any]) -> tuple[str, list[str], list[str]]:
    """Return what intervals of gains over the single dose of equal toxicity say, by margins set before.

    Parameters
    ----------
    row : mapping
        ``gain_<endpoint>_low`` and ``_high`` of the endpoints of `fastcart.trial.frontier.JUDGED`.

    Returns
    -------
    word : str
        ``"better"``, ``"worse"``, ``"mixed"``, ``"same"`` where all limits are within the margins,
        ``"no better"`` where all upper ones are, else ``"unclear"``. Grade 4 alone is no evidence.
    better, worse : list of str
        Endpoints.
    """
    better, worse, within, below = [], [], True, True
    for name, margin in MARGINS.items():
        low, high = (float(row[f"gain_{name}_{end}"]) / margin for end in ("low", "high"))
        if name in LOWER_IS_BETTER:
            low, high = -high, -low
        better += [name] if low > 1 else []
        worse += [name] if high < -1 else []
        within &= low > -1 and high < 1
        below &= high < 1
    real_better, real_worse = ([n for n in names if n in EVIDENCE] for names in (better, worse))
    if better and worse and (real_better or real_worse):
        return "mixed", better, worse
    if real_worse:
        return "worse", better, worse
    if real_better:
        return "better", better, worse
    if within:
        return "same", better, worse
    return ("no better" if below else "unclear"), better, worse


def named(name: str, title: str) -> str:
    """Return the name of an arm with what it is, once where both are the same, as HTML."""
    return escape(name if title == name else f"{name} ({title})")


def in_short(result: TrialResult, name: str) -> str:
    """Say of one arm what it does, and whether a single dose as toxic would do the same, as HTML."""
    arm, control = (result.arms.loc[one].to_dict() for one in (name, result.spec.control.name))
    told = [
        f"Severe CRS {instead_of(arm['crs3'], control['crs3'], digits=_DIGITS)}, remission "
        f"{instead_of(arm['CR90'], control['CR90'], digits=_DIGITS)}, {event_free(arm, control)}.",
        _of_hundred(arm, control),
        *_against_the_single_dose(result, name),
    ]
    listed = "".join(f"<li>{sentence}</li>" for sentence in told)
    return f"<b>{named(name, str(arm['title']))}</b><ul>{listed}</ul>"


def _against_the_single_dose(result: TrialResult, name: str) -> list[str]:
    """Say of one arm what it does beyond the single dose of equal toxicity, and the verdict."""
    row = result.isotoxic.loc[name].to_dict()
    if math.isnan(float(row["dose"])):
        why = why_incomparable(float(row["crs3"]), result.frontier)
        return [f"Cannot be compared with a single dose of equal toxicity: {why}."]
    known = _known(row)
    first = "EFS730" if "EFS730" in known else known[0]
    if any(math.isnan(float(row[f"gain_{one}{end}"])) for one in known for end in ("_low", "_high")):
        return [
            f"A single dose of {cells_in_words(row['dose'])} cells has the same rate of severe CRS, but in "
            f"{percent(row['unjudged'])} of the resamples of patients no dose can be told: patients are "
            "few, or it lies near an end of the scan.",
            f"So the gain of {points(float(row[f'gain_{first}']))} points of {_JUDGED_WORDS[first]} has no "
            "interval.",
        ]
    sentences = [_as_toxic(row) + ".", f"Compared with it, {_gains(row)}."]
    if len(known) < len(JUDGED):
        return [
            *sentences,
            "Patients are not followed to 24 months, so that survival then is not compared, and no verdict "
            "is given.",
        ]
    return [*sentences, f"<b>{conclusion(row, _judged_against(result, name))}</b>"]


def _judged_against(result: TrialResult, name: str) -> str:
    """Return in words what the single dose of equal toxicity is: less, where less is less toxic."""
    smaller = float(result.isotoxic["dose"].loc[name]) < result.spec.dose
    return _LESS if smaller and not falls(result.frontier) else _OTHER


def how_judged(result: TrialResult) -> str:
    """Say by which rule the verdicts on arms are found, as HTML; nothing where there is none."""
    limits = ["gain_{}_low", "gain_{}_high"]
    rows = result.isotoxic.loc[list(result.spec.treatments)]
    found = rows[[text.format(name) for name in JUDGED for text in limits]].notna().all(axis=1)
    judged_ones = list(rows.index[found])
    if not judged_ones:
        return ""
    margins = ", ".join(f"{100 * margin:g} of {_JUDGED_WORDS[name]}" for name, margin in MARGINS.items())
    fewer = (
        " Severe CRS falls with the single dose here: fewer cells at once are more toxic."
        if falls(result.frontier)
        else ""
    )
    less = (
        f" <i>{_LESS.capitalize()}</i> is the smaller single dose with the same rate of severe CRS."
        if any(_judged_against(result, str(name)) == _LESS for name in judged_ones)
        else ""
    )
    return (
        f"<p class='note'>How verdicts are found: differences matter from so many points on: {margins}. "
        "<i>Better</i> or <i>worse</i>: a whole interval lies beyond, and not of grade 4 alone. "
        "<i>The same</i>: all intervals lie within. <i>No better</i>: no interval reaches a benefit that "
        "matters. <i>Not clearly different</i>: none of these, as the intervals are too wide to tell."
        f"{less}{fewer}</p>"
    )


def _known(row: Mapping[Any, Any]) -> list[str]:
    """Return the endpoints that are judged and to which patients are followed."""
    return [name for name in JUDGED if not math.isnan(float(row[f"gain_{name}"]))]


def over_the_single_dose(row: Mapping[Any, Any]) -> str:
    """Say what an arm gains over the single dose of equal toxicity, in all that is judged and seen."""
    return f"{_as_toxic(row)}; compared with it, {_gains(row)}."


def _as_toxic(row: Mapping[Any, Any]) -> str:
    return f"A single dose of {cells_in_words(row['dose'])} cells has the same rate of severe CRS"


def _gains(row: Mapping[Any, Any]) -> str:
    told = "; ".join(
        f"{_JUDGED_WORDS[one]} {points(gain)} ({points(low)} to {points(high)})"
        for one, (gain, low, high) in (
            (one, [float(row[f"gain_{one}{end}"]) for end in ("", "_low", "_high")]) for one in _known(row)
        )
    )
    return f"in points with 95 % intervals: {told}"


def conclusion(row: Mapping[Any, Any], against: str = _LESS) -> str:
    """Say in a sentence whether an arm is better than giving less, or than what else it is judged against."""
    word, better, worse = judged(row)
    more, less = (", ".join(_JUDGED_WORDS[name] for name in names) for names in (better, worse))
    return {
        "better": f"Better than {against}, in {more}.",
        "worse": f"Worse than {against}, in {less}.",
        "mixed": f"Better than {against} in {more}, worse in {less}.",
        "same": f"The same as {against}: in none of the five a difference that matters.",
        "no better": f"No better than {against}.",
        "unclear": f"Not clearly different from {against}.",
    }[word]


def _of_hundred(arm: Mapping[Any, Any], control: Mapping[Any, Any]) -> str:
    """Say what changes among a hundred patients, in whole patients, benefit and harm alike."""
    told = []
    for name, (more, fewer, what) in _BY.items():
        column, months = _latest(name, arm)
        change = 100 * (float(arm[column]) - float(control[column]))
        if math.isfinite(change) and abs(change) > 0.5:  # half a patient rounds to none
            told.append(f"{abs(change):.0f} {more if change > 0 else fewer} {what.format(months=months)}")
    if not told:
        return "Of 100 patients fewer than one fares otherwise in any of these."
    return f"Of 100 patients treated so, {', '.join(told)}."


def definitions(spec: TrialSpec) -> str:
    """Return what the endpoints mean, as HTML."""
    marker = spec.adapter.marker.label or spec.adapter.marker.name
    levels = ", ".join(f"{level:g}" for level in spec.adapter.grades)
    organ, lost = spec.adapter.organ, spec.adapter.kinds_of_relapse.get(NEGATIVE)
    few, many = (f" ({share} of the {organ})" if organ else "" for share in ("one in 10 000", "5 %"))
    kind = f"; of kind {lost} where most of them have lost the target" if lost else ""
    told = (
        ("CR28, CR90", f"Complete remission: alive with fewer than 100 million tumor cells{few} on day 28; "
         "reached by day 90 and kept for four weeks."),
        ("RFS12", "Of those in remission: alive without relapse a year after it."),
        ("Relapse", f"More than 50 billion tumor cells{many} after remission{kind}."),
        ("EFS, EFS24", "Event-free survival from day 0: alive without relapse; who is not in remission by "
         "day 90 has the event on that day. EFS24: at 24 months."),
        ("OS, OS24", "Survival from day 0; at 24 months."),
        ("CRS of grade 1 to 4", f"Cytokine release syndrome by the peak of {marker} while alive: above "
         f"{levels}. Severe: grade 3 or more, and death from it."),
        ("Toxic death", "Death from CRS before death from the disease."),
        ("Iso-toxic, equal CRS", "With the same share of patients with severe CRS."),
    )  # fmt: skip
    listed = "".join(f"<dt>{escape(term)}</dt><dd>{escape(words)}</dd>" for term, words in told)
    return f"<h2 id='definitions'>What the words mean</h2><dl>{listed}</dl>"
