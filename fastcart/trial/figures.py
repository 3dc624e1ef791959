"""Figures of a simulated trial, each with the numbers that it shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fastcart import plotting
from fastcart.batch import check_threads
from fastcart.runs.sharing import in_two
from fastcart.runs.store import Run
from fastcart.trial.curves import kaplan_meier, landmark_survival
from fastcart.trial.individual import spaghetti, swimmer
from fastcart.trial.randomize import follow_up

if TYPE_CHECKING:
    from fastcart.trial.result import TrialResult

DPI = 200
_COINCIDE = 0.4  # points; arms that lie nearer share a label
ENDPOINT_NAMES = {
    "CR28": "CR on day 28",
    "CR90": "CR within 90 days",
    "crs_any": "CRS of any grade",
    "crs3": "CRS of grade ≥ 3",
    "crs4": "CRS of grade ≥ 4",
    "toxic_death": "Death from CRS",
    "efs": "Event-free survival",
    "efs_rmst": "EFS, restricted mean",
    "os": "Overall survival",
    "EFS12": "Event-free at 12 months",
    "EFS24": "Event-free at 24 months",
    "OS12": "Alive at 12 months",
    "OS24": "Alive at 24 months",
}
_COLORS = {"control": plotting.BLUE, "treatment": plotting.RED}
_STROKES: dict[str, Any] = {"control": "-", "treatment": (0, (5, 1.5))}
_LOST = "censored"
_LONGEST, _BESIDE = 28, 16  # letters of the name of an arm, and of one beside a panel


@dataclass(frozen=True)
class Picture:
    """A figure of the report.

    Parameters
    ----------
    name : str
        Of the file, without ending.
    title, caption : str
    path : Path
    table : DataFrame
        What the figure shows.
    """

    name: str
    title: str
    caption: str
    path: Path
    table: pd.DataFrame


_CAPTIONS = {
    "frontier": (
        "The line is the single infusion over a range of doses (labels: cells). An arm on the line does no "
        "better than a single infusion of fewer or more cells; an arm above it does. Expected values over "
        "the whole population."
    ),
    "kaplan_meier": (
        "Kaplan-Meier curves of one randomized trial, with pointwise confidence bands; ticks mark censored "
        "patients. Below: numbers at risk."
    ),
    "forest": (
        "Risk differences (Newcombe intervals) and hazard ratios of one simulated trial per treatment. Right "
        "of the line: more of it under the treatment (a, b), or more events (c, d). An arrow: all events are "
        "in one arm."
    ),
    "power": (
        "Share of simulated trials with a significant result, with Monte Carlo intervals. The last panel "
        "gives the control to both groups and shows the type I error. Dotted: 80 % and the level of the "
        "tests."
    ),
    "swimmer": (
        "One bar per patient until death or the end of follow-up: the first patients that the trial enrolled "
        "into each group, sorted by follow-up; one virtual patient may have been drawn more than once. The "
        "number in a bar is the grade of CRS."
    ),
    "courses": (
        "{measured} of the same virtual patients in both arms; black: median of those "
        "shown; dotted: thresholds of CRS grades. No real trial sees one patient in both arms."
    ),
}


def make_figures(
    result: TrialResult,
    run: Run,
    *,
    threads: int | None = None,
    also: Sequence[str] = plotting.BESIDE_SVG,
) -> list[Picture]:
    """Draw all figures of a trial into the folder ``figures`` of its run, ``also`` in forms beside SVG."""
    folder = run.path("figures")
    folder.mkdir(exist_ok=True)
    spec = result.spec
    control, first = spec.control.name, spec.treatments[0]
    adapter = spec.adapter
    one, two, three = (m.plain_label for m in (adapter.burden, adapter.cells, adapter.marker))
    measured = f"{one}, {two} and {three}"
    pictures: list[Picture] = []
    saved: list[Callable[[], Path]] = []

    def draw(kind: str, title: str, drawn: tuple[Any, pd.DataFrame], *, suffix: str = "") -> None:
        figure, table = drawn
        path = folder / f"{kind}{suffix}.svg"
        saved.append(partial(plotting.save_figure, figure, path, dpi=DPI, also=also))
        caption = _CAPTIONS[kind].format(measured=measured)
        pictures.append(Picture(f"{kind}{suffix}", title, caption, path, table))

    with plotting.style():
        draw("frontier", "Efficacy against toxicity", frontier_figure(result))
        draw("forest", "What one trial would report", forest_figure(result))
        for name, trial in result.trials.items():
            drawn = kaplan_meier_figure(trial, (control, name), spec.horizon, spec.alpha)
            draw("kaplan_meier", f"{name} against {control} in one trial", drawn, suffix=f"_{name}")
        draw("power", "Power and type I error", power_figure(result))
        pair = (control, first)
        planned = follow_up(replace(spec.design, dropout=0.0), spec.horizon, seed=spec.seed)
        draw(
            "swimmer",
            f"Patients of the trial of {first} against {control}",
            swimmer(result.trials[first], result.outcomes, pair, spec.horizon, planned, adapter),
        )
        draw("courses", f"Courses under {control} and {first}", spaghetti(result, first, threads=threads))
        in_two(saved, threads=check_threads(threads))
    return pictures


def frontier_figure(result: TrialResult) -> tuple[Any, pd.DataFrame]:
    """Draw remission and event-free survival against severe CRS: single infusion by dose, and every arm.

    Event-free survival is that at 24 months, or at 12 where patients are not followed so long.
    """
    figure = plotting.new_figure(7.2, 3.6)
    panels = figure.subplots(1, 2)
    scan = result.frontier.sort_values("dose")
    survival, months = ("EFS365", 12) if result.spec.horizon < 730 else ("EFS730", 24)
    for axes, letter, endpoint, title, ylabel in (
        (panels[0], "a", "CR90", "Remission", "CR within 90 days (%)"),
        (panels[1], "b", survival, "Event-free survival", f"Event-free at {months} months (%)"),
    ):
        x, y = 100 * scan["crs3"].to_numpy(), 100 * scan[endpoint].to_numpy()
        axes.plot(x, y, ".-", color=plotting.GREY, zorder=1, label="single infusion (cells)")
        for k, dose in enumerate(scan["dose"]):
            if k % 3 == 0:
                axes.annotate(
                    f"{dose:.1e}".replace(".0e", "e").replace("e+0", "e").replace("e+", "e"), (x[k], y[k]),
                    xytext=(5, -8), textcoords="offset points", fontsize=6, color=plotting.GREY,
                )  # fmt: skip
        places = 100 * result.arms[["crs3", endpoint]].to_numpy(dtype=np.float64)
        axes.plot(places[:, 0], places[:, 1], "o", color=plotting.RED, markersize=4, label="arm")
        plotting.panel(axes, letter, title, "CRS of grade ≥ 3 (%)", ylabel)
        label_arms(axes, list(result.arms.index), places, along=np.column_stack([x, y]))
    panels[0].legend(loc="lower right")
    table = result.isotoxic.reset_index().rename(columns={"dose": "isotoxic_dose"})
    shown = ["arm", "crs3", "isotoxic_dose", "frontier_CR90", "gain_CR90"]
    shown += ["frontier_EFS730", "gain_EFS730"] if months == 24 else []  # no single dose is judged at 12
    return figure, table[shown]


def label_arms(
    axes: Any, names: list[str], places: np.ndarray, *, along: np.ndarray, fontsize: float = 6.5,
    coincide: float = _COINCIDE,
) -> None:  # fmt: skip
    """Write the name of each arm beside its point, where it covers least; arms that coincide share a label.

    Parameters
    ----------
    axes : matplotlib Axes
        With all else drawn and limits that stay.
    names : list of str
    places, along : ndarray, shape (k, 2)
        The points of the arms, and of other lines that labels should not cover.
    fontsize : float
    coincide : float
        Arms that differ by less, in units of the axes, share a label.
    """
    axes.figure.draw_without_rendering()  # the layout, which places in points depend on
    labels: list[tuple[str, np.ndarray]] = []
    for name, place in zip(names, places, strict=True):
        for k, (other, there) in enumerate(labels):
            if np.abs(place - there).max() < coincide:
                labels[k] = (f"{other}, {plotting.shortened(name, _BESIDE)}", there)
                break
        else:
            labels.append((plotting.shortened(name, _BESIDE), place))

    def points(values: np.ndarray) -> np.ndarray:
        return axes.transData.transform(values) * 72 / axes.figure.dpi

    line = points(along)
    steps = np.linspace(0, 1, 12)[:, None, None]
    dots = np.concatenate([points(places), ((1 - steps) * line[:-1] + steps * line[1:]).reshape(-1, 2)])
    # left, bottom, right, top
    boxes = [text.get_window_extent().extents * 72 / axes.figure.dpi for text in axes.texts]
    for label, place in labels:
        width, height = 0.6 * fontsize * len(label), fontsize
        best, chosen = (np.inf, 0.0, 0.0), np.zeros(4)
        for distance in (5.0, 11.0, 18.0, 26.0):
            for angle in np.radians([150, 30, 210, 330, 90, 270, 180, 0]):
                x, y = distance * np.cos(angle), distance * np.sin(angle)
                left = x - width / 2 * (1 - np.cos(angle))
                box = np.array([left, y - height / 2, left + width, y + height / 2])
                box += np.tile(points(place[None])[0], 2)
                inside = (dots >= box[:2] - 1) & (dots <= box[2:] + 1)
                cost = 2.0 * inside.all(axis=1).sum() + 0.12 * distance
                for other in boxes:
                    sides = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
                    cost += 10.0 * bool((sides > -0.5).all())
                if cost < best[0]:
                    best, chosen = (cost, left + width / 2, y), box
        boxes.append(chosen)
        leader = {"arrowstyle": "-", "color": plotting.GREY, "linewidth": 0.4, "shrinkA": 0, "shrinkB": 2}
        axes.annotate(
            label, place, xytext=best[1:], textcoords="offset points", fontsize=fontsize, ha="center",
            va="center", color=plotting.BLACK, arrowprops=leader if np.hypot(*best[1:]) > 14 else None,
        )  # fmt: skip


def kaplan_meier_figure(
    trial: pd.DataFrame, names: tuple[str, str], horizon: float, alpha: float
) -> tuple[Any, pd.DataFrame]:
    """Draw event-free and overall survival of one trial with numbers at risk."""
    figure = plotting.new_figure(7.2, 3.6)
    panels = figure.subplots(2, 2, height_ratios=(5, 1))
    treated = trial["treated"].to_numpy(dtype=bool)
    days = [day for day in (0.0, 90.0, 180.0, 365.0, 545.0, 730.0) if day <= horizon]
    rows = []
    for column, (endpoint, label) in enumerate((("efs", "Event-free survival"), ("os", "Overall survival"))):
        upper, lower = panels[0, column], panels[1, column]
        for y, (kind, group) in enumerate((("control", ~treated), ("treatment", treated))):
            name = names[0] if kind == "control" else names[1]
            time, event = trial[endpoint].to_numpy()[group], trial[f"{endpoint}_event"].to_numpy(bool)[group]
            color = _COLORS[kind]
            told = landmark_survival(time, event, days, alpha=alpha)
            if len(time):
                curve = kaplan_meier(time, event, alpha=alpha)
                upper.step(
                    curve.day, 100 * curve.survival, where="post", color=color, linestyle=_STROKES[kind],
                    label=plotting.shortened(name, _LONGEST),
                )  # fmt: skip
                upper.fill_between(
                    curve.day, 100 * curve.low, 100 * curve.high, step="post", color=color, alpha=0.15,
                    linewidth=0,
                )  # fmt: skip
                lost = np.sort(time[~event & (time < horizon)])
                upper.plot(lost, 100 * curve.at(lost), "|", color=color, markersize=4, label=_LOST)
            else:
                upper.plot([], [], color=color, label=f"{name}: no patient")
            for row in told:
                day, count = row["day"], row["at_risk"]
                lower.text(day, -y, str(count), ha="center", va="center", fontsize=6.5)
                rows.append(
                    {
                        "endpoint": label,
                        "arm": name,
                        "day": day,
                        "survival": row["survival"],
                        "at_risk": count,
                    }
                )
            lower.text(
                -0.03, -y, plotting.shortened(name, _BESIDE), ha="right", va="center", fontsize=6.5,
                transform=lower.get_yaxis_transform(),
            )  # fmt: skip
        upper.set_ylim(0, 102)
        upper.set_xlim(-20, horizon + 20)
        upper.set_xticks(days)
        plotting.panel(upper, "ab"[column], label, "Days after the first infusion", "Patients (%)")
        known = plotting.entries((upper,))
        if _LOST in known:
            known[_LOST] = known.pop(_LOST)  # behind the arms
        upper.legend(list(known.values()), list(known), loc="lower left", handlelength=2.6)
        lower.set_xlim(upper.get_xlim())
        lower.set_ylim(-1.6, 0.6)
        lower.set_axis_off()
        lower.set_title("At risk", fontsize=6.5)
    return figure, pd.DataFrame(rows)


def forest_figure(result: TrialResult) -> tuple[Any, pd.DataFrame]:
    """Draw risk differences and hazard ratios of one trial per treatment."""
    shown = []
    for name, analysis in result.analyses.items():
        table = analysis.contrasts
        newcombe = table["measure"].eq("risk difference") & table["method"].str.startswith("Newcombe")
        chosen = table[
            newcombe & table["endpoint"].isin(["CR90", "crs3"]) | table["measure"].eq("hazard ratio")
        ]
        shown.append(chosen.assign(treatment=name))
    rows = pd.concat(shown, ignore_index=True)[
        ["treatment", "endpoint", "measure", "estimate", "low", "high", "p"]
    ]
    groups = (("CR90", "Remission (CR90)"), ("crs3", "CRS of grade ≥ 3"), ("efs", "EFS"), ("os", "OS"))
    names = list(result.analyses)
    figure = plotting.new_figure(7.2, 1.4 + 0.24 * len(names))
    for k, (axes, (endpoint, title)) in enumerate(
        zip(figure.subplots(1, 4, sharey=True), groups, strict=True)
    ):
        part = rows[rows["endpoint"] == endpoint].set_index("treatment").reindex(names)
        ratio = endpoint in ("efs", "os")
        scale = 1.0 if ratio else 100.0
        y = -np.arange(len(names))
        places = part[["low", "estimate", "high"]].to_numpy(dtype=np.float64)
        if ratio:
            axes.set_xscale("log")
            finite = places[np.isfinite(places) & (places > 0)]
            low, high = min([0.7, *finite]), max([1.5, *finite])
            axes.set_xlim(low / 1.2, high * 1.2)
            # a ratio of 0 or infinity, and a limit there, is an arrow at the edge
            for edge, marker, beyond in (
                (low / 1.15, "<", places[:, 1] == 0),
                (high * 1.15, ">", np.isposinf(places[:, 1])),
            ):
                axes.plot(np.full(beyond.sum(), edge), y[beyond], marker, color=plotting.BLUE, markersize=4)
            inside = np.where((places[:, 1] > 0) & np.isfinite(places[:, 1]), places[:, 1], np.nan)
            places = np.clip(places, low / 1.2, high * 1.2)
            places[:, 1] = inside
        axes.hlines(
            y, scale * places[:, 0], scale * places[:, 2], color=plotting.BLUE, linewidth=1.2,
            label=f"{100 * (1 - result.spec.alpha):g} % interval",
        )  # fmt: skip
        axes.plot(scale * places[:, 1], y, "s", color=plotting.BLUE, markersize=4, label="estimate")
        axes.axvline(
            1.0 if ratio else 0.0, color=plotting.GREY, linewidth=0.7, linestyle=":", label="no difference"
        )
        if ratio:
            near = (0.25, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0)
            steps = near if high < 10 * low else tuple(10.0 ** np.arange(-9, 10))
            ticks = [t for t in steps if low / 1.05 <= t <= high * 1.05]
            axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
            axes.minorticks_off()
        axes.set_yticks(y, [plotting.shortened(name, _BESIDE) for name in names])
        axes.set_ylim(-len(names) + 0.4, 0.6)
        plotting.panel(axes, "abcd"[k], title, "Hazard ratio" if ratio else "Difference (points)", "")
    plotting.legend_below(figure, figure.axes)
    return figure, rows


def power_figure(result: TrialResult) -> tuple[Any, pd.DataFrame]:
    """Draw power against the size of the trial, a panel per treatment; the last is the type I error."""
    names = list(dict.fromkeys(result.power["treatment"]))
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure = plotting.new_figure(7.2, 0.7 + 1.9 * rows)
    panels = np.atleast_2d(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False))
    endpoints = list(dict.fromkeys(result.power["endpoint"]))
    for axes in panels.ravel()[len(names) :]:
        axes.set_axis_off()
    for axes, name in zip(panels.ravel(), names, strict=False):
        part = result.power[result.power["treatment"] == name]
        for place, endpoint in enumerate(endpoints):
            line = part[part["endpoint"] == endpoint]
            errors = np.stack([line["power"] - line["low"], line["high"] - line["power"]])
            axes.errorbar(
                line["n_per_arm"], line["power"], np.maximum(errors, 0),
                color=plotting.PALETTE[place % len(plotting.PALETTE)],
                marker=plotting.MARKERS[place % len(plotting.MARKERS)],
                linestyle=plotting.DASHES[place % len(plotting.DASHES)], elinewidth=0.7,
                label=ENDPOINT_NAMES[endpoint], linewidth=1.0,
            )  # fmt: skip
        for level in (0.8, result.spec.alpha):
            axes.axhline(
                level, color=plotting.GREY, linewidth=0.6, linestyle=":", label="80 %, and level of the tests"
            )
        same = name == result.spec.control.name
        short = plotting.shortened(name, _BESIDE)
        plotting.panel(axes, "", f"{short} (type I error)" if same else f"{short} against control", "", "")
        axes.set_ylim(-0.03, 1.03)
    for axes in panels.ravel()[max(0, len(names) - columns) : len(names)]:
        axes.set_xlabel("Patients per arm")  # the lowest panel of each column
        axes.tick_params(labelbottom=True)
    figure.supylabel("Share of trials with significance", fontsize=8)
    plotting.legend_below(figure, (panels[0, 0],), columns=6)
    told = result.power[["treatment", "endpoint", "n_per_arm", "power", "low", "high"]].copy()
    told[["low", "high"]] *= 100
    return figure, told.rename(columns={"low": "Low (%)", "high": "High (%)"})
