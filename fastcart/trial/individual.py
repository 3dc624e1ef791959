"""Figures of single patients: swimmer plot of a trial, courses of the same patients in two arms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fastcart import plotting
from fastcart.protocols.controlled_arms import OpenLoop
from fastcart.trial.adapter import NEGATIVE, POSITIVE, TrialAdapter
from fastcart.trial.counterfactual import fixed
from fastcart.trial.paths import arm_paths

if TYPE_CHECKING:
    from fastcart.trial.result import TrialResult

SWIMMERS = 20
COURSES = 30
_COURSE_DAYS = 120.0
# told apart by lightness and hatches, too
_ACTIVE, _REMISSION, _RELAPSED = "#DADADA", plotting.SKY, plotting.ORANGE
_MARKS = {POSITIVE: "D", NEGATIVE: "s"}
_HATCHED: dict[str, Any] = {"hatch": "/////", "edgecolor": "white", "linewidth": 0.0}


def swimmer(
    trial: pd.DataFrame,
    outcomes: dict[str, pd.DataFrame],
    names: tuple[str, str],
    horizon: float,
    planned: np.ndarray,
    adapter: TrialAdapter | None = None,
) -> tuple[Any, pd.DataFrame]:
    """Draw the first patients of each arm of a trial as bars, until death or the end of follow-up.

    Parameters
    ----------
    trial : DataFrame
        From `fastcart.trial.observe.run_trial`.
    outcomes : dict of str to DataFrame
        By arm.
    names : (str, str)
        Of the control and the treatment.
    horizon : float
        Days.
    planned : ndarray
        For how long each patient of the trial would be followed if nobody dropped out (days).
    adapter : TrialAdapter, optional
        Its words for kinds of relapse and causes of death; default those of outcomes.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    figure = plotting.new_figure(7.2, 4.2)
    tables = []
    kinds = {POSITIVE: POSITIVE, NEGATIVE: NEGATIVE} if adapter is None else adapter.kinds_of_relapse
    causes = {} if adapter is None else adapter.causes_of_death
    for k, (axes, name) in enumerate(zip(figure.subplots(1, 2, sharex=True), names, strict=True)):
        members = trial[trial["treated"] == (k == 1)].head(SWIMMERS)
        told = outcomes[name].iloc[members["row"].to_numpy()].reset_index(drop=True)
        end = members["os"].to_numpy()
        died = members["os_event"].to_numpy(dtype=bool)
        left = ~died & (end < planned[members.index.to_numpy()])
        table = pd.DataFrame(
            {
                "arm": name,
                "patient": members["row"].to_numpy(),
                "followed": end,
                "remission": told["t_CR"].where(told["t_CR"] < end),
                "relapse": told["t_relapse"].where(told["t_relapse"] < end),
                "relapse_type": told["relapse_type"].where(told["t_relapse"] < end, ""),
                "crs_grade": told["grade"],
                "died": members["os_event"].to_numpy(),
                "dropped out": left,
                "cause": told["death_cause"].where(members["os_event"].to_numpy(dtype=bool), ""),
            }
        )
        table = table.sort_values("followed", ascending=False, kind="stable").reset_index(drop=True)
        _bars(axes, table)
        table["cause"] = table["cause"].replace(causes)
        table["relapse_type"] = table["relapse_type"].replace(kinds)
        table = table if kinds else table.drop(columns="relapse_type")
        axes.set_xlim(0, horizon * 1.04)
        axes.set_ylim(-max(len(members), 1) + 0.4, 0.6)
        axes.set_yticks([])
        plotting.panel(axes, "ab"[k], name, "Days after the first infusion", "Patients")
        tables.append(table)
    handles: list[Any] = [
        Patch(color=_ACTIVE, label="not in remission"),
        Patch(color=_REMISSION, label="in remission"),
        Patch(facecolor=_RELAPSED, label="after relapse", **_HATCHED),
    ]
    relapses = [(_MARKS[kind], f"{words} relapse") for kind, words in kinds.items()] or [("D", "relapse")]
    marks = (*relapses, ("X", "death"), (">", "alive at the end"), ("|", "dropped out alive"))
    handles += [
        Line2D([], [], color=plotting.BLACK, marker=m, linestyle="none", label=label) for m, label in marks
    ]
    handles.append(
        Line2D([], [], color="none", marker="$3$", markeredgecolor=plotting.BLACK, label="CRS grade")
    )
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure, pd.concat(tables, ignore_index=True)


def _bars(axes: Any, table: pd.DataFrame) -> None:
    y = -np.arange(len(table))
    end = table["followed"].to_numpy()
    remission = table["remission"].fillna(np.inf).to_numpy()
    relapse = table["relapse"].fillna(np.inf).to_numpy()
    stops = np.minimum(np.stack([remission, relapse, np.full(len(table), np.inf)]), end)
    axes.barh(y, stops[0], color=_ACTIVE, height=0.7)
    axes.barh(y, stops[1] - stops[0], left=stops[0], color=_REMISSION, height=0.7)
    axes.barh(y, end - stops[1], left=stops[1], color=_RELAPSED, height=0.7, **_HATCHED)
    for kind, marker in _MARKS.items():
        chosen = (table["relapse_type"] == kind).to_numpy() & (relapse < end)
        axes.plot(relapse[chosen], y[chosen], marker, color=plotting.BLACK, markersize=3, linestyle="none")
    died, left = (table[name].to_numpy(dtype=bool) for name in ("died", "dropped out"))
    for chosen, shift, marker, size in ((died, 0, "X", 4), (~died & ~left, 6, ">", 3), (left, 4, "|", 5)):
        if chosen.any():  # nothing, if it is not clipped, would be laid out at the origin
            axes.plot(
                end[chosen] + shift, y[chosen], marker, color=plotting.BLACK, markersize=size,
                linestyle="none", clip_on=False,
            )  # fmt: skip
    for place, grade in zip(y, table["crs_grade"], strict=True):
        if grade > 0:
            axes.text(4, place, f"{grade:g}", fontsize=5.5, va="center", ha="left")


def spaghetti(result: TrialResult, treatment: str, *, threads: int | None = None) -> tuple[Any, pd.DataFrame]:
    """Draw what is measured of the same patients under the control and one treatment."""
    spec = result.spec
    patients = result.patients.head(COURSES)
    days = np.linspace(0, _COURSE_DAYS, 241)
    arms = [spec.control, next(arm for arm in spec.arms if arm.name == treatment)]
    figure = plotting.new_figure(7.2, 4.7)
    panels = figure.subplots(2, 3, sharex=True, sharey="col")
    adapter = spec.adapter
    measures = (adapter.burden, adapter.cells, adapter.marker)
    tables = []
    known = {"patient", *adapter.model.state_names, *adapter.model.parameter_names}
    inputs = patients[[name for name in patients.columns if name in known]]
    for row, arm in enumerate(arms):
        options: dict[str, Any] = {"noise_seed": spec.noise_seed, "threads": threads, "options": spec.options}
        if isinstance(arm, OpenLoop):
            arm = fixed(arm, result.patients, dose=spec.dose, model=adapter, **options)
        path = arm_paths(
            arm, inputs, days, adapter=adapter, dose=spec.dose, assay_sd=spec.assay_sd, **options
        )
        for column, measure in enumerate(measures):
            name = measure.name
            axes = panels[row, column]
            values = np.maximum(path[name].to_numpy().reshape(len(patients), len(days)), 1e-3)
            color = plotting.BLUE if row == 0 else plotting.RED
            lines = axes.plot(days, values.T, color=color, linewidth=0.4, alpha=0.45, rasterized=True)
            lines[0].set_label(f"patient, {plotting.shortened(arm.name, 24)}")
            median = np.median(values, axis=0)
            axes.plot(days, median, color=plotting.BLACK, linewidth=1.6, label="median")
            label = measure.label or name
            plotting.log_axis(axes, *measure.limits)
            title = f"{arm.name}: {label}"
            plotting.panel(axes, "abcdef"[3 * row + column], title, "Time (days)" if row else "", label)
            if measure is adapter.marker:
                _grades(axes, adapter.grades, measure.limits)
            at = np.searchsorted(days, [0, 7, 14, 28, 60, 120])
            low, high = np.quantile(values, [0.1, 0.9], axis=0)
            tables.append(
                pd.DataFrame(
                    {
                        "arm": arm.name,
                        "quantity": label,
                        "day": days[at],
                        "median": median[at],
                        "10 %": low[at],
                        "90 %": high[at],
                    }
                )
            )
    plotting.legend_below(figure, (*panels[:, 0], panels[0, -1]))
    return figure, pd.concat(tables, ignore_index=True)


def _grades(axes: Any, levels: Sequence[float], limits: tuple[float, float]) -> None:
    """Draw the levels above which cytokine release syndrome has grade 1, 2, 3 and 4, and name them."""
    for grade, level in enumerate(levels, start=1):
        axes.axhline(
            level, color=plotting.GREY, linewidth=0.6, linestyle=":", label="threshold of a grade of CRS"
        )
        if limits[0] < level < limits[1]:
            axes.text(
                1.0, level, f"grade {grade}", transform=axes.get_yaxis_transform(), fontsize=5.5,
                color=plotting.GREY, ha="right", va="bottom",
            )  # fmt: skip
