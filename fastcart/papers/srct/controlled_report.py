"""What the report says of the experiment on controlled concentrations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import pandas as pd

from fastcart.papers.srct import (
    controlled_figures,
    controlled_findings,
    controlled_lethality,
    controlled_likeness,
    controlled_link_figures,
    controlled_mechanism,
    controlled_regime_figures,
    controlled_zoo,
)
from fastcart.papers.srct.controlled_findings import LEVEL, LIMITS
from fastcart.papers.srct.controlled_job import FILES
from fastcart.papers.srct.figures import Drawn
from fastcart.trial.figures import Picture
from fastcart.trial.html import figure_html, titled_table

__all__ = ["LIMITS", "TITLE", "drawn", "findings", "parts"]

TITLE = "Controlled concentrations"
_WORDS = (
    "A switch lets a share of the infused cells act, all or none each, by a rule that sees daily, late and "
    "noisy readings of cells, burden and IL-6; effectors may be made memory cells. Each arm is a family "
    "with one intensity, a dose or a target of active cells, which is the same for all patients. Families "
    "are compared where their rates of severe CRS are equal, in weighted draws of the prior; the difference "
    "is that of expected outcomes of all patients, deaths included."
)
_HEADS = {
    "part": "Part of the claim",
    "family": "Family",
    "versus": "Against",
    "words": "What differs",
    "verdict": "Verdict",
    "better": "Better in",
    "worse": "Worse in",
    "levels": "Compared at",
    "not_comparable": "Not comparable at",
    "robust": "Holds in other regimes",
    "fails_in": "Fails in",
    "if_narrower": "With margins 5 % smaller",
    "if_wider": "With margins 5 % larger",
    "on": "Equal",
    "wanted": "Rate wanted",
    "reached": "Rate reached",
    "intensity": "Intensity (cells or pg/mL)",
}
_EQUAL = {"crs3": "CRS ≥ 3", "crs4": "CRS ≥ 4"}


def _own(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the tables of the experiment by name; an empty text, which CSV cannot tell, is one again."""
    own = {name: tables[f"controlled_{name}"] for name in FILES}
    told = {name: own[name].copy() for name in ("zoo", "likeness")}
    for name, columns in (("zoo", ("agrees", "reason")), ("likeness", ("given",))):
        for column in columns:
            told[name][column] = told[name][column].astype(object).fillna("")
    return own | told | {"verdicts": own["verdicts"].fillna("")}


def drawn(tables: Mapping[str, pd.DataFrame]) -> dict[str, Drawn]:
    """Return the figures of the experiment by name of file."""
    own = _own(tables)
    return {
        name: figure
        for module in (controlled_figures, controlled_regime_figures, controlled_link_figures)
        for name, figure in module.drawn(own).items()
    }


def _gains(own: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    return {str(name): table for name, table in own["contrasts"].groupby("part", sort=False)}


def findings(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """Return what the experiment says about the hypothesis, all from its tables."""
    own = _own(tables)
    parts = _gains(own)
    texts = [
        *controlled_findings.claim(own["verdicts"]),
        *controlled_findings.sentences(parts),
        controlled_findings.not_at_the_end(own["memory"]),
        controlled_findings.lower_dose(parts),
        controlled_findings.best_survival(own["scans"]),
        controlled_lethality.in_words(own["lethality"]),
        *controlled_mechanism.why_patients_differ(
            own["variance"], own["frozen"], own["heterogeneity"], own["gainers"]
        ),
        *controlled_mechanism.regimes_in_words(parts, own["regimes"]),
        controlled_likeness.in_words(own["likeness"]),
        *controlled_zoo.in_words(own["zoo"]),
    ]
    return [text for text in texts if text]


def parts(tables: Mapping[str, pd.DataFrame], shown: Mapping[str, pd.DataFrame], folder: Path) -> list[str]:
    """Return the section of the report, as HTML.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Of all experiments.
    shown : mapping of str to DataFrame
        The numbers of each figure.
    folder : Path
        Of the figures.
    """
    own = _own(tables)
    captions: dict[str, tuple[str, str]] = {}
    for known in (
        controlled_figures.CAPTIONS, controlled_regime_figures.CAPTIONS, controlled_link_figures.CAPTIONS
    ):  # fmt: skip
        captions |= known
    pictures = {}
    for name in (name for name in _ORDER if name in shown):
        title, caption = captions[name]
        pictures[name] = figure_html(Picture(name, title, caption, folder / f"{name}.svg", shown[name]))
    parts = _gains(own)
    verdicts = own["verdicts"][[name for name in _HEADS if name in own["verdicts"]]].rename(columns=_HEADS)
    told = {
        "controlled_ladder": (
            f"<p>The verdicts, by rules set before:</p>"
            f"{_listed(controlled_findings.parts_in_words(parts, own['verdicts']))}"
            f"{titled_table('Verdicts on the parts of the claim', verdicts)}"
        ),
        "controlled_gainers": _individual(own["individual"]),
        "controlled_mechanism": _listed(
            controlled_mechanism.why_patients_differ(
                own["variance"], own["frozen"], own["heterogeneity"], own["gainers"]
            )
        ),
        "controlled_regimes": _listed(controlled_mechanism.regimes_in_words(parts, own["regimes"]))
        + _wider(controlled_mechanism.wider(parts, own["regimes"])),
        "controlled_lethality": _listed([controlled_lethality.in_words(own["lethality"])]),
        "controlled_likeness": _listed([controlled_likeness.in_words(own["likeness"])])
        + (titled_table("Rank correlations of protocols", own["likeness"]) if len(own["likeness"]) else ""),
        "controlled_zoo": _listed(controlled_zoo.in_words(own["zoo"])) + _not_asked(own["zoo"]),
    }
    return [
        f"<h3>{TITLE}</h3><p>{_WORDS}</p>",
        *(html + told.get(name, "") for name, html in pictures.items()),
        _toxicity(own["toxicity"]),
    ]


_ORDER = (
    "controlled_frontier", "controlled_ladder", "controlled_courses", "controlled_memory",
    "controlled_gainers", "controlled_mechanism", "controlled_heterogeneity", "controlled_regimes",
    "controlled_clinics", "controlled_lethality", "controlled_likeness", "controlled_zoo",
)  # fmt: skip


def _listed(texts: Sequence[str]) -> str:
    kept = "".join(f"<li>{escape(text)}</li>" for text in texts if text)
    return f"<ul>{kept}</ul>" if kept else ""


def _wider(table: pd.DataFrame) -> str:
    """Return intervals by drawn patients beside ranges over regimes, where both are known."""
    if not len(table):
        return ""
    words = f"Gains in points at {100 * LEVEL:g} % severe CRS: 95 % by drawn patients, and range over regimes"
    return titled_table(words, table)


def _individual(table: pd.DataFrame) -> str:
    """Return how many patients gain and lose, as a table."""
    if not len(table):
        return ""
    heads = {"endpoint": "Endpoint", "more": "More likely (%)", "less": "Less likely (%)", "same": "Same (%)",
             "predicted": "Change that inputs predict (% of its variance)"}  # fmt: skip
    told = table.copy()
    told[list(heads)[1:]] *= 100
    words = f"Patients by what the rising target changes, both arms at {100 * LEVEL:g} % severe CRS"
    return titled_table(words, told.rename(columns=heads))


def _not_asked(table: pd.DataFrame) -> str:
    """Return which models were not asked, and why."""
    rows = table[table["reason"] != ""]
    if not len(rows):
        return ""
    listed = "; ".join(f"{row['model']}: {row['reason']}" for row in rows.to_dict("records"))
    return f"<p>Not asked: {escape(listed)}.</p>"


def _toxicity(table: pd.DataFrame) -> str:
    told = table.copy()
    told["on"] = told["on"].map(_EQUAL)
    for name in ("wanted", "reached"):
        told[name] = [f"{100 * rate:.1f} %" if rate == rate else "–" for rate in told[name]]
    return (
        f"<p>The intensity of each family at each rate. Each is solved once more at {100 * LEVEL:g} % severe "
        "CRS, which shows the rate that is reached there; –: outside of the scan, or not solved again.</p>"
        f"{titled_table('Equal toxicity', told.rename(columns=_HEADS))}"
    )
