"""Pages of HTML that need nothing but themselves: tables, pictures inside, numbers as people read them."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

import pandas as pd

from fastcart.trial.figures import ENDPOINT_NAMES, Picture

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#1a1a1a;max-width:76rem;margin:0 auto;padding:1rem 1.2rem;
overflow-wrap:break-word}
h1{font-size:1.7rem;line-height:1.2}h2{font-size:1.25rem;margin-top:2.2rem;border-bottom:1px solid #ccc}
h3{font-size:1.05rem;margin-bottom:.3rem}p,li,dd{max-width:50rem}dt{font-weight:600}a{color:#00548c}
table{border-collapse:collapse;font-size:.82rem;font-variant-numeric:tabular-nums}
caption{text-align:left;font-weight:600;padding:.2rem .5rem}
th,td{padding:.2rem .5rem;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}
th{background:#f3f3f3;position:sticky;top:0}td.text,th.text{text-align:left}
th{white-space:normal;vertical-align:bottom;min-width:3.2rem}td.long{white-space:normal;min-width:9rem;overflow-wrap:anywhere}
.scroll{overflow:auto;max-height:27rem;border:1px solid #ccc;margin:.4rem 0}
figure{margin:.4rem 0}.drawing{overflow-x:auto}
.drawing svg,.drawing img{display:block;width:100%;min-width:44rem;max-width:62rem;height:auto}
figcaption,.note{font-size:.9rem;color:#444;max-width:50rem}
.warn{border-left:4px solid #D55E00;padding:.3rem .8rem;background:#fdf3ec}
.wide{overflow-x:auto}nav a{margin-right:1rem;display:inline-block;padding:.15rem 0}
:focus-visible{outline:3px solid #00548c}
@media print{.scroll{max-height:none;overflow:visible}}
"""

_LONG = 24  # letters of a text that breaks into lines

_HEADS = {
    "arm": "Arm",
    "title": "Schedule",
    "treatment": "Treatment",
    "endpoint": "Endpoint",
    "crs3": "CRS ≥ 3",
    "crs4": "CRS ≥ 4",
    "crs_any": "CRS",
    "toxic_death": "Toxic death",
    "EFS365": "EFS 12 mo",
    "EFS730": "EFS 24 mo",
    "OS365": "OS 12 mo",
    "OS730": "OS 24 mo",
    "negative_share": "CD19- of relapses",
    "t_peak_T": "Day of most CAR-T cells, in remission",
    "early_B_recovery": "B cells back in 6 months, in remission",
    "n_per_arm": "Patients per arm",
    "at_risk": "At risk",
    "frontier_CR90": "CR90, single dose",
    "frontier_EFS730": "EFS 24 mo, single dose",
    "gain_CR90": "Gain CR90 (points)",
    "gain_EFS730": "Gain EFS 24 mo (points)",
    "dose": "Dose (cells)",
    "isotoxic_dose": "Iso-toxic single dose (cells)",
    "measure": "Measure",
    "estimate": "Estimate",
    "low": "Low",
    "high": "High",
    "method": "Method",
    "avoided": "Avoided",
    "caused": "Caused",
    "unchanged": "Unchanged",
    "difference": "Difference",
    "variance_ratio": "Variance ratio",
    "day": "Day",
    "survival": "Survival",
    "power": "Power",
    "quantity": "Quantity",
    "median": "Median",
    "patient": "Patient",
    "followed": "Followed (days)",
    "remission": "Remission (day)",
    "relapse": "Relapse (day)",
    "relapse_type": "Kind of relapse",
    "crs_grade": "CRS grade",
    "died": "Died",
    "dropped out": "Dropped out",
    "cause": "Cause",
    "target": "Target",
    "wanted": "Wanted",
    "sample": "Weighted sample, as if nobody died",
    "treated": "Treated patients, with deaths",
    "note": "In words",
    "untested": "Trials without a test",
    "relapse_positive": "CD19+ relapse",
    "relapse_negative": "CD19- relapse",
    "clean730": "In remission without severe CRS, 24 mo",
    "family": "Family",
    "intensity": "Intensity (cells or pg/mL)",
    "part": "Part of the claim",
    "level": "Severe CRS",
    "variable": "Patients differ in",
    "quarter": "Quarter",
    "middle": "Median",
    "regime": "Regime",
    "het": "Spread (times the usual)",
    "amplification": "Amplification",
    "noise": "Noise (sd of logarithms)",
    "interval": "Days between visits",
    "delay": "Delay (days)",
    "lag": "Lag (days)",
    "leak": "Leak",
    "structure": "Structure",
    "protocol": "Protocol",
    "eligible": "Not worse",
    "best": "First in resamples",
    "likeness": "Likeness",
    "of": "Rank correlation of",
    "with": "With",
    "given": "Given",
    "rank": "Correlation",
    "protocols": "Protocols",
    "best_OS730": "Best OS 24 mo (%)",
    "gain_OS730": "Gain OS 24 mo (points)",
    "empty_arm": "Trials with an empty arm",
}
_SHARES = {
    "CR28", "CR90", "RFS12", "crs3", "crs4", "crs_any", "toxic_death", "EFS365", "EFS730", "OS365", "OS730",
    "negative_share", "survival", "power", "share", "control", "treatment_share", "avoided", "caused",
    "unchanged",
    "frontier_CR90", "frontier_EFS730", "difference", "unjudged", "relapse_positive", "relapse_negative",
    "clean730", "level", "leak", "best",
}  # fmt: skip
_POINTS = ("gain_CR90", "gain_EFS730")  # differences of shares
_P_VALUES = ("p", "P (CR)", "P (deaths)")


def page(title: str, parts: Iterable[str]) -> str:
    """Return a complete HTML page that needs nothing but itself."""
    return (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body><main>\n"
        f"<h1>{escape(title)}</h1>\n" + "\n".join(parts) + "\n</main></body></html>\n"
    )


def titled_table(
    title: str, table: pd.DataFrame, *, css: str = "scroll", heads: Mapping[str, str] | None = None
) -> str:
    """Return a table with a caption, in a region that scrolls and can be reached by keyboard.

    ``heads`` are other words for columns than the usual ones.
    """
    label = escape(title, quote=True)
    return (
        f"<div class='{css}' role='region' tabindex='0' aria-label='{label}'>"
        f"{table_html(table, caption=title, heads=heads)}</div>"
    )


def table_html(table: pd.DataFrame, *, caption: str = "", heads: Mapping[str, str] | None = None) -> str:
    """Return a table as HTML; shares as percentages, without a column of words where there are none."""
    if "note" in table and not table["note"].astype(bool).any():
        table = table.drop(columns="note")
    known = _HEADS | dict(heads or {})
    written, rows = [], []
    kinds = ["text" if table[name].dtype == object else "number" for name in table.columns]
    for name, kind in zip(table.columns, kinds, strict=True):
        css = " class='text'" if kind == "text" else ""
        written.append(f"<th scope='col'{css}>{escape(known.get(str(name), str(name)))}</th>")
    for values in table.itertuples(index=False):
        cells = []
        for name, kind, value in zip(table.columns, kinds, values, strict=True):
            text = _cell(str(name), value)
            css = "" if kind != "text" else " class='text long'" if len(text) > _LONG else " class='text'"
            cells.append(f"<td{css}>{escape(text)}</td>")
        rows.append("<tr>" + "".join(cells) + "</tr>")
    above = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{above}<thead><tr>{''.join(written)}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _cell(name: str, value: Any) -> str:
    if isinstance(value, str):
        return ENDPOINT_NAMES.get(
            value, _HEADS.get(value, value) if name in ("endpoint", "Endpoint", "target") else value
        )
    if isinstance(value, bool):
        return "yes" if value else "no"
    number = float(value)
    if math.isnan(number):
        return "–"
    if math.isinf(number):
        return "∞" if number > 0 else "-∞"
    if name in _SHARES:
        return f"{100 * number:.1f} %"
    if name in _POINTS:
        return points(number)
    if name in _P_VALUES:
        return "< 0.0001" if number < 1e-4 else f"{number:.2g}"
    if number == int(number) and abs(number) < 1e6:
        return f"{number:.0f}"
    return f"{number:.3g}"


def figure_html(picture: Picture) -> str:
    """Return a figure with its picture inside, and below it the numbers that it shows."""
    return (
        f"<h3>{escape(picture.title)}</h3><figure><div class='drawing' role='region' tabindex='0' "
        f"aria-label='Figure: {escape(picture.title, quote=True)}'>{_drawing(picture)}</div>"
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
        f"{titled_table(f'Numbers of the figure: {picture.title}', picture.table)}"
    )


def _drawing(picture: Picture) -> str:
    """Return the picture as a part of the page: an SVG itself, of any other kind its bytes."""
    told = escape(f"{picture.title}. {picture.caption}", quote=True)
    if picture.path.suffix != ".svg":
        data = base64.b64encode(picture.path.read_bytes()).decode("ascii")
        return f"<img alt='{told}' src='data:image/png;base64,{data}'>"
    text = picture.path.read_text(encoding="utf-8")
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    # names within a page are those of one thing
    for before in ('id="', 'href="#', "url(#"):
        text = text.replace(before, f"{before}{picture.name}-")
    head, rest = text.split(">", 1)
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    return f"{head} role='img' aria-label='{told}'>{rest}"


def points(share: float) -> str:
    """Return a difference of shares in points, with its sign; no sign where it rounds to 0."""
    text = f"{100 * share:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def cells_in_words(value: Any) -> str:
    """Return a number of cells in words that a reader takes in at once."""
    for size, word in ((1e9, "billion"), (1e6, "million")):
        if float(value) >= size:
            return f"{float(value) / size:.2g} {word}" if value < 100 * size else f"{value / size:.0f} {word}"
    return f"{float(value):.0f}"
