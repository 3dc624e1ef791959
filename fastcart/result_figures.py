"""Pictures of a batch: courses of quantities with bands, progression-free survival."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from fastcart import plotting
from fastcart.checks import shown
from fastcart.dose_tables import as_frame
from fastcart.errors import InputError, nearest, nearest_quantity
from fastcart.nonmem import is_nonmem, nonmem_doses
from fastcart.tables.ids import id_text

if TYPE_CHECKING:
    from fastcart.model import Model
    from fastcart.result import BatchResult

BANDS = (0.05, 0.25, 0.75, 0.95)
_MOST_GROUPS = 8
_WITH_BANDS = 3  # groups; the edges of more would be a thicket
_DECADES, _FOLD = 1e3, 1e2  # a linear axis shows less
_DEEPEST = 1e-9  # part of the largest value below which what decays for ever is not followed
_ONE_CELL, _BELOW = 1.0, 1e-4  # of a cell there is nothing to see
_ALERT = "#b00020"
_COLORS = (*plotting.PALETTE, plotting.RED, plotting.GREY)  # as many as there may be groups
_ABREAST = 3  # panels in a row
_LONGEST = 32  # letters of the name of a group
_MOST_INSIDE, _LONGEST_INSIDE = 5, 44  # lines of a legend, and letters of them, for which a panel has room
_SINGLE = "single patients"
_PER_LETTER = 0.058  # inches
_MOST_TICKS = 200
_OF_PFS = ("pfs", "progression", "censored")
_NEAR = 1e-6  # of the times shown: nobody sees less


class Group(NamedTuple):
    """Patients that are drawn together: a name, and which rows they are."""

    label: str
    rows: np.ndarray


class Courses(NamedTuple):
    """Saved values of one quantity: times and values, of shape (times,) and (patients, times).

    Where patients have times of their own, a list of both, one of each patient.
    """

    t: Any
    y: Any

    @property
    def shared(self) -> bool:
        """Whether all patients have the same times."""
        return not isinstance(self.t, list)


def draw_courses(
    result: BatchResult, quantities: str | Sequence[str] | None = None, *, by: Any = None,
    bands: Sequence[float] = BANDS, patients: Any = 0, observed: Any = None, doses: Any = None,
    ax: Any = None,
) -> Any:  # fmt: skip
    """Draw courses, see `fastcart.BatchResult.plot`."""
    _refuse_endpoints(result, quantities)
    saved = result.trajectories
    if saved is None:
        raise InputError("There are no courses to draw; solve with save_at, e.g. save_at=range(201).")
    columns = [name for name in saved.columns if name not in ("patient", "t")]
    names = _quantities(result.model, quantities, columns)
    edges = _edges(bands)
    groups = groups_of(result, by)
    seen = _observed(observed, names)
    given = result.doses if doses is None else (None if doses is False else doses)
    schedule = dose_times(result.model, given)
    with plotting.style():
        axes = _axes(ax, len(names))
        for axis, name in zip(axes, names, strict=True):
            courses, jumps = courses_of(result, name), schedule.jumps(result.model, name)
            for place, group in enumerate(groups):
                _draw_group(
                    axis, courses, group, _look(place), edges if courses.shared else (), len(groups), jumps
                )
                _draw_observed(axis, seen, name, by, group, len(groups), _look(place))
            rows = _chosen(result, patients, np.concatenate([group.rows for group in groups]))
            for place, group in enumerate(groups):
                mine = np.intersect1d(group.rows, rows)
                _draw_patients(axis, courses, mine, _look(place)["color"], jumps, label=_SINGLE)
            _finish(axis, result.model, name, courses, groups, edges)
            _draw_zeros(axis, seen, name)
            for t in schedule.times[:_MOST_TICKS]:
                axis.axvline(t, ymax=0.035, color=plotting.BLACK, linewidth=1.4, clip_on=False)
        _say(axes, result, by, doses=len(schedule.times) > 0, own=ax is None)
    alone = quantities is None or isinstance(quantities, str)
    return axes[0] if alone else np.array(axes, dtype=object)


def draw_pfs(result: BatchResult, *, by: Any = None, ax: Any = None) -> Any:
    """Draw progression-free survival, see `fastcart.BatchResult.plot_pfs`."""
    if result.model.burden is None:
        raise InputError(
            f"Model {result.model.name!r} has no tumor (no burden), so there is no progression to draw."
        )
    groups = groups_of(result, by)
    table = result.endpoints
    with plotting.style():
        axis = _axes(ax, 1)[0]
        for place, group in enumerate(groups):
            time = table["pfs"].to_numpy(dtype=float)[group.rows]
            censored = table["censored"].to_numpy(dtype=bool)[group.rows]
            t, share = survival(time, ~censored)
            below = np.flatnonzero(share <= 0.5)
            unit = result.model.time_unit
            median = f"median {t[below[0]]:.3g} {unit}s" if len(below) else "median not reached"
            label = f"{plotting.shortened(group.label, _LONGEST)} (n = {len(time)}, {median})"
            axis.step(t, share, where="post", label=label, **_look(place))
        horizon = float(result.options.get("t_end", table["t_reached"].max()))
        axis.set(
            xlim=(0, horizon), ylim=(0, 1.02), xlabel=plotting.time_label(result.model.time_unit),
            ylabel="Share without progression",
        )  # fmt: skip
        _say([axis], result, by, own=ax is None)
    return axis


def survival(time: np.ndarray, event: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps of Kaplan and Meier: times from 0 on, and the share without event from there on.

    Parameters
    ----------
    time : ndarray
        Of the event, or until when there was none.
    event : ndarray of bool
    """
    at, where = np.unique(time, return_inverse=True)
    happened = np.bincount(where, event, len(at))
    gone = np.bincount(where, minlength=len(at))
    at_risk = len(time) - np.concatenate([[0], np.cumsum(gone)[:-1]])
    share = np.cumprod(1.0 - happened / np.maximum(at_risk, 1))
    if len(at) and at[0] == 0.0:
        return at, share
    return np.concatenate([[0.0], at]), np.concatenate([[1.0], share])


def groups_of(result: BatchResult, by: Any) -> list[Group]:
    """Return the patients that were solved, by a column of the endpoints or by values given, one each.

    Raises
    ------
    InputError
        For a column that is not there, values of another number, and too many groups.
    """
    ok = (result.endpoints["status"] == "ok").to_numpy()
    if by is None:
        return [Group("all patients", np.flatnonzero(ok))]
    if isinstance(by, str):
        if by not in result.endpoints:
            raise InputError(
                f"There is no column {by!r} among the endpoints; keep it from the patients by keep=[{by!r}]."
                + nearest_quantity(by, result.endpoints.columns)
            )
        values = result.endpoints[by]
    else:
        values = pd.Series(np.asarray(by, dtype=object)) if not isinstance(by, pd.Series) else by
        if len(values) != len(ok):
            raise InputError(
                f"'by' has {len(values)} values for {len(ok)} patients; give one of each, or the name of a "
                "column of the endpoints."
            )
    codes, labels = pd.factorize(
        values.reset_index(drop=True), sort=isinstance(values.dtype, pd.CategoricalDtype)
    )
    if len(labels) > _MOST_GROUPS:
        raise InputError(
            f"'by' has {len(labels)} different values, of which a picture can show {_MOST_GROUPS}; put them "
            "into classes first, e.g. by pandas.cut."
        )
    return [Group(id_text(label), np.flatnonzero(ok & (codes == k))) for k, label in enumerate(labels)]


def courses_of(result: BatchResult, name: str) -> Courses:
    """Return what was saved of one quantity, from the columns as they are."""
    saved, size = result.trajectories, len(result.endpoints)
    assert saved is not None
    t, y = saved["t"].to_numpy(), saved[name].to_numpy()
    if size and len(t) % size == 0:
        times = t.reshape(size, -1)
        if len(saved) and (times == times[0]).all():
            return Courses(times[0], y.reshape(size, -1))
    ids = saved["patient"].to_numpy()
    starts = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]])) if len(ids) else np.empty(0, int)
    parts = dict(
        zip(
            map(id_text, ids[starts]),
            zip(np.split(t, starts[1:]), np.split(y, starts[1:]), strict=True),
            strict=True,
        )
    )
    none = (np.empty(0), np.empty(0))
    mine = [parts.get(id_text(value), none) for value in result.endpoints["patient"]]
    return Courses([a for a, _ in mine], [b for _, b in mine])


class Given(NamedTuple):
    """Times of doses, repeated ones too; those with a lag by name are where they would be without it.

    Parameters
    ----------
    times : ndarray
        Of all, sorted.
    boluses : list of (state, time)
    """

    times: np.ndarray
    boluses: list[tuple[str, float]]

    def jumps(self, model: Model, name: str) -> np.ndarray:
        """Return when a quantity jumps: a state at its own boluses, what is computed of states at all."""
        plain = name in model.differential
        return np.unique([t for state, t in self.boluses if state == name or not plain])


def dose_times(model: Model, doses: Any) -> Given:
    """Return when something is given."""
    if doses is None:
        return Given(np.empty(0), [])
    frame = as_frame(doses)
    if is_nonmem(frame):
        frame = nonmem_doses(frame, model)
    if "amount" in frame:
        frame = frame[pd.to_numeric(frame["amount"], errors="coerce").fillna(1.0) != 0]
    frame = frame[frame["state"].notna()]
    begin = pd.to_numeric(frame["time"], errors="coerce").to_numpy(dtype=float)
    every = _numbers(frame, "every")
    repeats = np.where(every > 0, _numbers(frame, "repeats"), 0).astype(int)
    begin = begin + _numbers(frame, "lag")
    lasting = (_numbers(frame, "duration", 1.0) > 0) | (_numbers(frame, "rate", 1.0) > 0)
    times: list[float] = []
    boluses: list[tuple[str, float]] = []
    for state, t, step, n, long in zip(frame["state"], begin, every, repeats, lasting, strict=True):
        mine = [t + k * step for k in range(n + 1)]
        times += mine
        if not long:
            boluses += [(str(state).strip(), at) for at in mine]
    return Given(np.unique(np.asarray(times, dtype=float)), boluses)


def with_gaps(t: np.ndarray, y: np.ndarray, jumps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a course that is interrupted before each bolus, where it would else seem to rise beforehand.

    What is saved at a bolus is the state after it. Where a time just before it was saved, too (see
    `fastcart.DosingSchedule.save_times`), the line goes straight up; else it ends and starts anew.
    """
    near = _NEAR * (t[-1] - t[0]) if len(t) else 0.0
    places = np.searchsorted(t, jumps)
    at = [k for k, d in zip(places, jumps, strict=True) if 0 < k < len(t) and t[k - 1] < d - near]
    return np.insert(t, at, t[at]), np.insert(y, at, np.nan, axis=-1)


def _numbers(frame: pd.DataFrame, name: str, named: float = 0.0) -> np.ndarray:
    """Return a column of numbers, ``named`` where it names a parameter, 0 where there is nothing."""
    if name not in frame:
        return np.zeros(len(frame))
    column = (
        frame[name].fillna(0.0)
        if frame[name].dtype != object
        else frame[name].where(frame[name].notna(), 0.0)
    )
    return pd.to_numeric(column, errors="coerce").fillna(named).to_numpy(dtype=float)


def _refuse_endpoints(result: BatchResult, asked: Any) -> None:
    """Say of an endpoint, which has no course, where it is drawn."""
    quantities = {*result.model.state_names, *(item.name for item in result.model.observables)}
    for name in [asked] if isinstance(asked, str) else list(asked or ()):
        if isinstance(name, str) and name in result.endpoints and name not in {*quantities, "patient"}:
            where = "result.plot_pfs() draws it" if name in _OF_PFS else "it stands in result.endpoints"
            raise InputError(f"There is no course of {name!r}, which is one value for each patient; {where}.")


def _quantities(model: Model, asked: Any, saved: Sequence[str]) -> list[str]:
    if asked is None:
        return [model.burden if model.burden is not None and model.burden in saved else saved[0]]
    names = [asked] if isinstance(asked, str) else list(asked)
    if not names:
        raise InputError("Name at least one quantity to draw.")
    for name in names:
        if name not in saved:
            known = {*model.state_names, *(item.name for item in model.observables)}
            more = f" Solve with save=[..., {shown(name)}]." if name in known else ""
            raise InputError(
                f"There is no course of {shown(name)} in this result." + nearest(name, saved) + more
            )
    return names


def _edges(bands: Sequence[float]) -> tuple[float, ...]:
    edges = tuple(float(edge) for edge in bands)
    if len(edges) % 2 or list(edges) != sorted(edges) or any(not 0 <= edge <= 1 for edge in edges):
        raise InputError(
            f"'bands' must be quantiles in pairs from low to high, such as {BANDS}, not {shown(bands)}."
        )
    return edges


def _axes(ax: Any, number: int) -> list[Any]:
    if ax is None:
        plotting.require_matplotlib()
        from matplotlib import pyplot

        columns, rows = min(number, _ABREAST), -(-number // _ABREAST)
        size, grid = (4.4 * columns, 3.2 * rows), (rows, columns)
        _, axes = pyplot.subplots(*grid, figsize=size, squeeze=False, layout="constrained")
        flat = list(axes.flat)
        for spare in flat[number:]:
            spare.set_visible(False)
        return flat[:number]
    given = list(np.ravel(np.asarray(ax, dtype=object)))
    if len(given) != number:
        raise InputError(f"There are {number} quantities to draw, but {len(given)} axes.")
    return given


def _look(place: int) -> dict[str, Any]:
    """Return how a group is drawn: by colour and dashes, so that neither is needed alone."""
    return {
        "color": _COLORS[place % len(_COLORS)],
        "linestyle": plotting.DASHES[place % len(plotting.DASHES)],
    }


def _draw_group(
    axis: Any, courses: Courses, group: Group, look: Mapping[str, Any], edges: Sequence[float], groups: int,
    doses: np.ndarray,
) -> None:  # fmt: skip
    """Draw the median, with bands where it is alone and their outer edges where there are few."""
    if not courses.shared:
        name = plotting.shortened(group.label, _LONGEST) if groups > 1 else None
        _draw_patients(axis, courses, group.rows, look["color"], doses, label=name)
        return
    if not len(group.rows):
        return
    values = courses.y[group.rows]
    if len(values) == 1:
        edges = ()
    t, quantiles = with_gaps(courses.t, np.quantile(values, [*edges, 0.5], axis=0), doses)
    half = len(edges) // 2
    if groups == 1:
        for k in range(half):
            high = quantiles[len(edges) - 1 - k]
            band = f"{edges[k]:.0%} to {edges[-1 - k]:.0%}"
            axis.fill_between(
                t, quantiles[k], high, color=look["color"], alpha=0.16 + 0.1 * k, linewidth=0, label=band
            )
    elif groups <= _WITH_BANDS and half:
        for edge in (quantiles[0], quantiles[len(edges) - 1]):
            thin = f"thin: {edges[0]:.0%} and {edges[-1]:.0%}"
            axis.plot(t, edge, **{**look, "linewidth": 0.6}, label=thin)
    median = "median" if len(values) > 1 else None
    label = f"{plotting.shortened(group.label, _LONGEST)} (n = {len(values)})" if groups > 1 else median
    marker = {"marker": "o"} if len(t) == 1 else {}  # a line of one point is not seen
    axis.plot(t, quantiles[-1], **look, linewidth=1.6, label=label, **marker)


def _draw_patients(
    axis: Any, courses: Courses, rows: np.ndarray, color: str, doses: np.ndarray, label: str | None = None
) -> None:
    for number, row in enumerate(rows):
        t = courses.t if courses.shared else courses.t[row]
        times, values = with_gaps(t, courses.y[row], doses)
        marker = {} if courses.shared and len(t) > 1 else {"marker": "."}
        line = {"color": color, "linewidth": 0.5, "alpha": 0.6, **marker}
        axis.plot(times, values, **line, label=label if number == 0 else None)


def _chosen(result: BatchResult, patients: Any, solved: np.ndarray) -> np.ndarray:
    """Return the rows of single patients to draw: so many, evenly taken, or those named."""
    if isinstance(patients, int | np.integer) and not isinstance(patients, bool):
        if patients <= 0 or not len(solved):
            return np.empty(0, dtype=int)
        ordered = np.sort(solved)
        return ordered[np.linspace(0, len(ordered) - 1, min(int(patients), len(ordered))).astype(int)]
    return result.places([patients] if isinstance(patients, str) else list(patients))


def _observed(observed: Any, names: Sequence[str]) -> pd.DataFrame | None:
    if observed is None:
        return None
    frame = pd.DataFrame(observed)
    if "t" not in frame:
        frame = frame.rename(columns={"time": "t", "TIME": "t"})
    if "t" not in frame or not any(name in frame for name in names):
        raise InputError(
            f"The table 'observed' needs the column t and one of {', '.join(names)}; for bars also "
            f"{names[0]}_low and {names[0]}_high, or {names[0]}_sd."
        )
    return frame


def _draw_observed(
    axis: Any, observed: pd.DataFrame | None, name: str, by: Any, group: Group, groups: int, look: Any
) -> None:
    if observed is None or name not in observed:
        return
    table = observed
    if groups > 1 and isinstance(by, str) and by in table:
        table = table[[id_text(value) == group.label for value in table[by]]]
    elif groups > 1:  # of no group: once, in black
        if axis.get_gid() == f"observed {name}":
            return
        axis.set_gid(f"observed {name}")
        look = {"color": plotting.BLACK}
    else:
        look = {"color": plotting.BLACK}
    value, bars = table[name].to_numpy(dtype=float), None
    if f"{name}_low" in table and f"{name}_high" in table:
        bars = np.abs([value - table[f"{name}_low"], table[f"{name}_high"] - value])
    elif f"{name}_sd" in table:
        bars = table[f"{name}_sd"].to_numpy(dtype=float)
    axis.errorbar(
        table["t"], value, bars, fmt="o", markersize=4, color=look["color"], markeredgecolor="white",
        markeredgewidth=0.6, linewidth=1.0, capsize=2, zorder=5, label="observed",
    )  # fmt: skip


def _draw_zeros(axis: Any, observed: pd.DataFrame | None, name: str) -> None:
    """Mark where nothing was found at the bottom of a logarithmic axis, which has no place for it."""
    if observed is None or name not in observed or axis.get_yscale() != "log":
        return
    none = observed.loc[observed[name] <= 0, "t"]
    if len(none):
        axis.plot(
            none, np.zeros(len(none)), "v", transform=axis.get_xaxis_transform(), color=plotting.BLACK,
            markerfacecolor="none", markersize=5, clip_on=False, label="observed: none",
        )  # fmt: skip


def _finish(
    axis: Any, model: Model, name: str, courses: Courses, groups: Sequence[Group], edges: Sequence[float]
) -> None:
    units = {item.name: item.unit for item in model.quantities}
    logs = {state.name: state.log for state in model.states}
    rows = np.concatenate([group.rows for group in groups])
    if courses.shared:
        values = courses.y[rows]
        outer = np.quantile(values, edges[0] if edges else 0.5, axis=0) if len(rows) else values
        times = courses.t
    else:
        values = outer = np.concatenate([courses.y[row] for row in rows]) if len(rows) else np.empty(0)
        times = np.concatenate([np.asarray(t) for t in courses.t])
    positive = values[np.isfinite(values) & (values > 0)]
    wide = False
    if len(positive):  # a zero has no place on a logarithmic axis, so that there most must range over decades
        least = positive.min() if (values > 0).all() else max(float(np.median(positive)), positive.min())
        wide = bool(positive.max() > _DECADES * least)
    cells = units.get(name) == "cells" and len(positive) > 0 and positive.max() > _FOLD * positive.min()
    negative = bool((values < 0).any())
    if len(positive) and not negative and (logs.get(name) or name == model.burden or wide or cells):
        axis.set_yscale("log")
        lowest = outer[np.isfinite(outer) & (outer > 0)]
        low = float(lowest.min()) if len(lowest) else float(positive.min())
        if units.get(name) == "cells" and (low < _ONE_CELL or (values == 0).any()):
            axis.axhline(_ONE_CELL, color=plotting.GREY, linewidth=0.8, linestyle=(0, (3, 3)))
            axis.annotate(
                "one cell", (0.01, _ONE_CELL), xycoords=("axes fraction", "data"), ha="left", va="bottom",
                fontsize=6.5, color=plotting.GREY,
            )  # fmt: skip
            axis.set_ylim(bottom=max(low, _ONE_CELL * _BELOW))
        elif wide and low < _DEEPEST * positive.max() and not logs.get(name):
            axis.set_ylim(bottom=_DEEPEST * positive.max())
    plotting.from_zero(axis)
    unit = units.get(name) or (f"of {name.removeprefix('auc_')}" if name.startswith("auc_") else "")
    axis.set_xlabel(plotting.time_label(model.time_unit))
    axis.set_ylabel(f"{name} ({unit})" if unit else name)
    if len(times) and times.min() < times.max():
        axis.set_xlim(float(times.min()), float(times.max()))


def _say(
    axes: Sequence[Any], result: BatchResult, by: Any, *, doses: bool = False, own: bool = False
) -> None:
    """Write what lines are, and how many patients are not among them.

    Beside the panels of a figure of our own where the legend is large, else where it covers least.
    """
    found = plotting.entries(axes)
    # what holds for all groups comes behind them
    common = [label for label in found if label.startswith(("thin: ", _SINGLE, "observed"))]
    found |= {label: found.pop(label) for label in common}
    if doses:
        found["dose"] = _tick()
    axis = axes[0]
    if found:
        title = by if isinstance(by, str) else None
        # on white, for it may have to stand on lines
        where: dict[str, Any] = {
            "frameon": True,
            "framealpha": 0.8,
            "facecolor": "white",
            "edgecolor": "none",
        }
        if own and (len(found) > _MOST_INSIDE or max(map(len, found)) > _LONGEST_INSIDE):
            where |= {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
            axis = axes[min(len(axes), _ABREAST) - 1]
            figure = axis.figure
            figure.set_figwidth(figure.get_figwidth() + _PER_LETTER * max(map(len, found)) + 0.4)
        axis.legend(list(found.values()), list(found), title=title, **where)
    failed = len(result.failed)
    if failed:
        text = f"{failed} of {len(result.endpoints)} patients not solved, left out"
        axes[0].set_title(text, color=_ALERT, fontsize=8)


def _tick() -> Any:
    """Return what stands for the tick of a dose in a legend."""
    from matplotlib.lines import Line2D

    return Line2D(
        [], [], color=plotting.BLACK, marker="|", markersize=5, markeredgewidth=1.4, linestyle="none"
    )
