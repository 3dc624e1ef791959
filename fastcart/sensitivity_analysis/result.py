"""What a sensitivity study returns: tables of indices, and who was counted."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from html import escape
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from fastcart.checks import shown
from fastcart.errors import InputError, counted, nearest
from fastcart.model import Model
from fastcart.representation import alert, in_brief, section, table
from fastcart.sensitivity_analysis.design import Design
from fastcart.sensitivity_analysis.methods import find
from fastcart.sensitivity_analysis.outputs import Output, Outputs

_SAME = 1e-13  # part of the largest value by which all may differ and yet be the same

PlotKind = Literal["tornado", "scatter", "heatmap"]
PLOTS = get_args(PlotKind)


def _notes(notes: pd.DataFrame) -> list[tuple[str, bool]]:
    """Return each note once, and whether it is serious."""
    if not len(notes):
        return []
    return list(dict.fromkeys(zip(notes["note"].astype(str), notes["serious"].astype(bool), strict=True)))


@dataclass(repr=False)
class SensitivityResult:
    """What `sensitivity` returns.

    Attributes
    ----------
    indices : DataFrame
        One row per output, parameter and index: ``output``, ``quantity``, ``t`` (NaN for endpoints),
        ``parameter`` (or group), ``index`` (``pearson``, ``spearman``, ``prcc``; ``somers_d``,
        ``concordance``; ``S1``, ``ST``; ``mu``, ``mu_star``, ``sigma``), ``value``, ``low``, ``high`` (NaN
        where there is no honest interval; ``notes`` says why), ``used`` (patients that went into it).
    counts : DataFrame
        One row per output: how many patients there are, were used, failed, were left out and why.
    convergence : DataFrame
        ``indices`` for the first eighth, quarter and half of the sample and for all of it, with ``n``; empty
        for FAST, whose designs are not nested.
    design : Design
        The points, and ``values``, what came of each.
    values : dict of str to ndarray
        ``y`` (rows, outputs), ``failed``, ``censored``, ``left_out`` (rows,).
    outputs : Outputs
    model : Model
    options : dict
    notes : DataFrame
        What to know before indices are used, one row per ``output`` and ``index`` (empty for all of them):
        ``note`` says why a value or an interval is missing, or how many patients are censored; ``serious``.
    """

    indices: pd.DataFrame
    counts: pd.DataFrame
    convergence: pd.DataFrame
    design: Design
    values: dict[str, np.ndarray]
    outputs: Outputs
    model: Model
    options: dict[str, Any] = field(default_factory=dict)
    notes: pd.DataFrame = field(default_factory=pd.DataFrame)

    def __repr__(self) -> str:
        names = self.outputs.names
        shown = ", ".join(names[:3]) + (f", ... ({len(names)})" if len(names) > 3 else "")
        patients = int(self.counts["patients"].iloc[0])
        parts = [repr(self.model.name), self.design.method, counted(patients, "patient")]
        return in_brief("SensitivityResult", [*parts, f"{len(self.design.labels)} varied", f"of {shown}"])

    def _repr_html_(self) -> str:
        """Show what was studied, what to know of it, and the largest indices of the first output."""
        first = self.outputs.names[0]
        serious = [note for note, bad in _notes(self.notes) if bad]
        other = [note for note, bad in _notes(self.notes) if not bad]
        return section(
            repr(self),
            [
                *(alert(text) for text in serious), *(f"<p>{escape(text)}</p>" for text in other),
                f"<p>{escape(self.main_index)} of {escape(first)}</p>",
                table(self.table(first), index=True),
            ],
        )  # fmt: skip

    def plot(self, output: str | None = None, *, kind: PlotKind = "tornado", top: int = 20) -> Any:
        """Draw indices of one output.

        Parameters
        ----------
        output : str, optional
            Default the first; for ``"heatmap"`` a quantity over time, such as ``ln_C``.
        kind : {'tornado', 'scatter', 'heatmap'}
            Bars with intervals, points against the four most influential parameters, or indices over time.
        top : int
            How many parameters at most.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        InputError
            For another kind, and an output that is not there.
        """
        from fastcart.sensitivity_analysis import plots

        if kind not in PLOTS:
            raise InputError(f"There is no plot {shown(kind)} of sensitivity." + nearest(kind, PLOTS))
        if kind == "heatmap":
            first = next((c.quantity for c in self.outputs.columns if not math.isnan(c.t)), "")
            return plots.heatmap(self, first if output is None else output, top=top)
        name = self.outputs.names[0] if output is None else output
        return plots.scatter(self, name) if kind == "scatter" else plots.tornado(self, name, top=top)

    @property
    def main_index(self) -> str:
        """The index that plots and summaries rank by: a correlation, ``ST``, ``mu_star``, ``somers_d``."""
        return find(self.design.method).main

    def output(self, name: str) -> Output:
        """Return one output by name.

        Raises
        ------
        InputError
            Where there is none.
        """
        for column in self.outputs.columns:
            if column.name == name:
                return column
        raise InputError(
            f"There is no output {shown(name)} in this study." + nearest(name, self.outputs.names)
        )

    def has_indices(self, output: str) -> bool:
        """Whether an output differs between patients and has an index; where not, `notes` say why."""
        place = self.outputs.names.index(self.output(output).name)
        values = self.outputs.apply(self.values)[:, place]
        kept = values[np.isfinite(values)]
        varies = len(kept) > 0 and bool(np.ptp(kept) > _SAME * np.abs(kept).max())
        return varies and bool(np.isfinite(self.table(output)["value"]).any())

    def table(self, output: str, index: str | None = None) -> pd.DataFrame:
        """Return ``value``, ``low``, ``high`` by parameter for one output, the largest in size first."""
        name = self.output(output).name
        rows = self.indices[(self.indices["output"] == name) & (self.indices["index"] == self._index(index))]
        table = rows.set_index("parameter")[["value", "low", "high"]]
        return table.reindex(table["value"].abs().sort_values(ascending=False, kind="stable").index)

    def matrix(self, quantity: str, index: str | None = None) -> pd.DataFrame:
        """Return the index of every parameter (rows) at every time (columns) of a quantity, e.g. ``ln_C``."""
        times = [c.t for c in self.outputs.columns if c.quantity == quantity and not math.isnan(c.t)]
        if not times:
            known = {c.quantity: None for c in self.outputs.columns if not math.isnan(c.t)}
            raise InputError(f"There is no quantity {shown(quantity)} over time." + nearest(quantity, known))
        rows = self.indices[self.indices["quantity"] == quantity]
        rows = rows[(rows["index"] == self._index(index)) & rows["t"].notna()]
        return rows.pivot(index="parameter", columns="t", values="value").loc[list(self.design.labels)]

    def samples(self) -> pd.DataFrame:
        """Return the points: parameters, ``failed``, ``censored``, ``left_out``, and outputs.

        Parameters are those that patients were solved with; where some must add up to a total, their weights
        stand beside them as ``weight_<name>``.
        """
        flags = {name: self.values[name] for name in ("failed", "censored", "left_out")}
        names = self.design.names
        weights = [j for closure in self.design.closures for j in closure.places]
        return pd.concat(
            [
                pd.DataFrame(self.design.values(), columns=list(self.design.names)),
                pd.DataFrame({f"weight_{names[j]}": self.design.x[:, j] for j in weights}),
                pd.DataFrame(flags),
                pd.DataFrame(self.values["y"], columns=self.outputs.names),
            ],
            axis=1,
        )

    def tables(self, *, samples: bool = False) -> dict[str, pd.DataFrame]:
        """Return all tables by name."""
        tables = {"indices": self.indices, "counts": self.counts, "convergence": self.convergence}
        if len(self.notes):
            tables["notes"] = self.notes
        if samples:
            tables["samples"] = self.samples()
        return {name: table for name, table in tables.items() if len(table)}

    def _index(self, index: str | None) -> str:
        name = self.main_index if index is None else index
        known = find(self.design.method).indices
        if name not in known:
            raise InputError(f"The method has no index {shown(name)}." + nearest(name, known))
        return name
