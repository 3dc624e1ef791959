"""What the report says of the experiment on controlled concentrations."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

import pandas as pd

from fastcart.papers.srct import controlled_figures, controlled_findings
from fastcart.papers.srct.controlled_findings import LEVEL, LIMITS
from fastcart.papers.srct.controlled_job import FILES
from fastcart.papers.srct.figures import Drawn
from fastcart.trial.figures import Picture
from fastcart.trial.html import figure_html, table_html

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
    "on": "Equal",
    "wanted": "Rate wanted",
    "reached": "Rate reached",
    "intensity": "Intensity (cells or pg/mL)",
}
_EQUAL = {"crs3": "CRS ≥ 3", "crs4": "CRS ≥ 4"}


def _own(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the tables of the experiment by name; an empty text, which CSV cannot tell, is one again."""
    own = {name: tables[f"controlled_{name}"] for name in FILES}
    return own | {"verdicts": own["verdicts"].fillna("")}


def drawn(tables: Mapping[str, pd.DataFrame]) -> dict[str, Drawn]:
    """Return the figures of the experiment by name of file."""
    return controlled_figures.drawn(_own(tables))


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
    pictures = {
        name: figure_html(Picture(name, *words, folder / f"{name}.png", shown[name]))
        for name, words in controlled_figures.CAPTIONS.items()
        if name in shown
    }
    told = controlled_findings.parts_in_words(_gains(own), own["verdicts"])
    verdicts = own["verdicts"][[name for name in _HEADS if name in own["verdicts"]]].rename(columns=_HEADS)
    toxicity = own["toxicity"].copy()
    toxicity["on"] = toxicity["on"].map(_EQUAL)
    for name in ("wanted", "reached"):
        toxicity[name] = [f"{100 * rate:.1f} %" if rate == rate else "–" for rate in toxicity[name]]
    listed = "".join(f"<li>{escape(text)}</li>" for text in told)
    return [
        f"<h3>{TITLE}</h3><p>{_WORDS}</p>",
        *(pictures[name] for name in ("controlled_frontier", "controlled_ladder") if name in pictures),
        f"<p>The verdicts, by rules set before:</p><ul>{listed}</ul>"
        f"<div class='scroll'>{table_html(verdicts)}</div>",
        *(
            html
            for name, html in pictures.items()
            if name not in ("controlled_frontier", "controlled_ladder")
        ),
        f"<p>The intensity of each family at each rate. Each is solved once more at {100 * LEVEL:g} % severe "
        "CRS, which shows the rate that is reached there; –: outside of the scan, or not solved again.</p>"
        f"<div class='scroll'>{table_html(toxicity.rename(columns=_HEADS))}</div>",
    ]
