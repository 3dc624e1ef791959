"""What the report says in words: verdicts on arms, harm and benefit, definitions of endpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import Any

from fastcart.trial.frontier import JUDGED
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
_BY = {
    "CR90": ("more reach", "fewer reach", "remission"),
    "EFS": ("more are", "fewer are", "alive without relapse at {months} months"),
    "OS": ("more are", "fewer are", "alive at {months} months"),
    "crs3": ("more have", "fewer have", "severe CRS"),
    "toxic_death": ("more die", "fewer die", "of CRS"),
}


def percent(value: Any) -> str:
    """Return a share in percent."""
    number = 100 * float(value)
    return f"{number:.1f} %" if number < 5 else f"{number:.0f} %"


def instead_of(value: Any, other: Any) -> str:
    """Return two shares in percent, with as many digits as let their difference be seen in whole points."""
    numbers = [100 * float(value), 100 * float(other)]
    told = round(abs(numbers[0] - numbers[1]))
    for digits in (0, 1, 2):
        # small shares have a digit, as in `percent`
        shown = [f"{number:.{max(digits, int(number < 5))}f}" for number in numbers]
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
    return f"event-free at {months} months {instead_of(arm[name], control[name])}"


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


def in_short(result: TrialResult, name: str) -> str:
    """Say of one arm what it does, and whether a smaller single dose would do the same."""
    arm, control = (result.arms.loc[one].to_dict() for one in (name, result.spec.control.name))
    row = result.isotoxic.loc[name].to_dict()
    text = (
        f"<b>{escape(name)}</b> ({escape(str(arm['title']))}): severe CRS "
        f"{instead_of(arm['crs3'], control['crs3'])}, remission {instead_of(arm['CR90'], control['CR90'])}, "
        f"{event_free(arm, control)}. {_of_hundred(arm, control)}"
    )
    if math.isnan(float(row["dose"])):
        return text + "No single dose that was scanned has the same rate of severe CRS."
    known = _known(row)
    first = "EFS730" if "EFS730" in known else known[0]
    if any(math.isnan(float(row[f"gain_{one}{end}"])) for one in known for end in ("_low", "_high")):
        return text + (
            f"A single dose of {cells_in_words(row['dose'])} cells has the same rate of severe CRS, but in "
            f"{percent(row['unjudged'])} of the resamples of patients none that was scanned has: patients "
            "are few, or it lies near an end of the scan. So the gain of "
            f"{points(float(row[f'gain_{first}']))} points of {_JUDGED_WORDS[first]} has no interval."
        )
    if len(known) < len(JUDGED):
        return f"{text}{over_the_single_dose(row)} " + (
            "Patients are not followed to 24 months, so that survival then is not compared, and no verdict "
            "is given."
        )
    return f"{text}{over_the_single_dose(row)} <b>{conclusion(row)}</b>"


def _known(row: Mapping[Any, Any]) -> list[str]:
    """Return the endpoints that are judged and to which patients are followed."""
    return [name for name in JUDGED if not math.isnan(float(row[f"gain_{name}"]))]


def over_the_single_dose(row: Mapping[Any, Any]) -> str:
    """Say what an arm gains over the single dose of equal toxicity, in all that is judged and seen."""
    told = "; ".join(
        f"{_JUDGED_WORDS[one]} {points(gain)} ({points(low)} to {points(high)})"
        for one, (gain, low, high) in (
            (one, [float(row[f"gain_{one}{end}"]) for end in ("", "_low", "_high")]) for one in _known(row)
        )
    )
    return (
        f"A single dose of {cells_in_words(row['dose'])} cells has the same rate of severe CRS; compared "
        f"with it, in points with 95 % intervals: {told}."
    )


def conclusion(row: Mapping[Any, Any]) -> str:
    """Say in a sentence whether an arm is better than giving less."""
    word, better, worse = judged(row)
    more, less = (", ".join(_JUDGED_WORDS[name] for name in names) for names in (better, worse))
    return {
        "better": f"Better than giving less, in {more}.",
        "worse": f"Worse than giving less, in {less}.",
        "mixed": f"Better than giving less in {more}, worse in {less}.",
        "same": "The same as giving less: in none of the five a difference that matters.",
        "no better": "No better than giving less.",
        "unclear": "Not clearly different from giving less.",
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
        return "Of 100 patients fewer than one fares otherwise in any of these. "
    return f"Of 100 patients treated so, {', '.join(told)}. "


def definitions(spec: TrialSpec) -> str:
    """Return what the endpoints mean, as HTML."""
    marker = spec.adapter.marker.label or spec.adapter.marker.name
    levels = ", ".join(f"{level:g}" for level in spec.adapter.grades)
    told = (
        ("CR28, CR90", "Complete remission: alive with fewer than 100 million tumor cells (one in 10 000 of "
         "the marrow) on day 28; reached by day 90 and kept for four weeks."),
        ("RFS12", "Of those in remission: alive without relapse a year after it."),
        ("Relapse", "More than 50 billion tumor cells (5 % of the marrow) after remission; of kind CD19- "
         "where most of them have lost the target."),
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
