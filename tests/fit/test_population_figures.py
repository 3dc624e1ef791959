"""Figures of a fitted population: labels with units, a legend of all that is drawn, more than colours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from figure_contrast import faint_texts
from figure_layout import cut_off, drawn_panels, legends, missing_labels
from fit_models import LINE, line_table
from numba import njit

from fastcart import Observable, fit
from fastcart.fit import population_figures as figures
from fastcart.fit.simulated import PredictiveCheck

pytest.importorskip("matplotlib")

LONG = "ctDNA_of_the_bone_marrow_aspirate"
OF_FITS = ("observed_and_predicted", "distribution_errors", "traces", "starts", "courses")


@njit
def _line(t, y, p):
    return (p.a + p.b * t,)


def fitted(kinds):
    """Return a population whose measurements are the line and others, with an end that is cut off."""
    table = line_table(4, measurements=5)
    parts = []
    for place, kind in enumerate(kinds):
        noise = 0.3 * np.random.default_rng(place).standard_normal(len(table))
        parts.append(table.assign(DVID=kind, DV=(place + 1) * table["DV"] + noise))
    whole = pd.concat(parts, ignore_index=True)
    whole["ID"] = "patient-number-" + whole["ID"].astype(str) + "-of-the-hospital"
    whole["CENS"] = 0
    whole.loc[whole["DV"] > whole["DV"].quantile(0.9), "CENS"] = -1
    observations = [
        fit.Observation(kind, f"{place + 1} * (a + b * t)", fit.additive(0.3))
        for place, kind in enumerate(kinds)
    ]
    return fit.population(
        LINE, fit.read(whole, LINE), random=["a", "b"], scales={"a": "normal", "b": "normal"},
        observations=observations, iterations=(6, 4), accuracy=5.0, draws=512, chains=2,
    )  # fmt: skip


@pytest.fixture(scope="module")
def one():
    return fitted(["y"])


@pytest.fixture(scope="module")
def two():
    return fitted(["y", LONG])


def drawn(found):
    yield from (getattr(figures, name)(found) for name in OF_FITS)
    for corrected in (False, True):
        yield figures.predictive_check(found.vpc(replicates=40, corrected=corrected))


def names(figure):
    return [text.get_text() for legend in legends(figure) for text in legend.get_texts()]


@pytest.mark.parametrize("which", ["one", "two"])
def test_every_axis_has_a_label_and_every_mark_a_legend(which, request):
    for figure in drawn(request.getfixturevalue(which)):
        titled = {f"panel {k}: y" for k, axes in enumerate(drawn_panels(figure)) if axes.get_title("left")}
        ways = figure.axes[0].get_title("left") == "a"  # those of estimates have their names as titles
        assert set(missing_labels(figure)) <= (titled if ways else set())
        assert cut_off(figure) == []
        assert faint_texts(figure) == []


def test_times_have_the_unit_of_the_model(one):
    for figure in drawn(one):
        labels = [axes.get_xlabel() for axes in drawn_panels(figure) if axes.get_xlabel().startswith("Time")]
        assert set(labels) <= {"Time (days)"}
    assert figures.courses(one).axes[-1].get_xlabel() == "Time (days)"


def test_what_is_measured_has_the_unit_of_its_quantity(one):
    model = replace(LINE, observables=[Observable("y", "pg/ml")], observe=_line)
    observed = fit.population(
        model, fit.read(line_table(4, measurements=5), model), random=["a", "b"],
        scales={"a": "normal", "b": "normal"}, observations=fit.Observation(1, "y", fit.additive(0.3)),
        iterations=(6, 4), accuracy=5.0, draws=512, chains=2,
    )  # fmt: skip
    assert figures.courses(observed).axes[0].get_ylabel() == "y (pg/ml)"
    panel = figures.observed_and_predicted(observed).axes[0]
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("Population prediction (pg/ml)", "Measured (pg/ml)")
    assert figures.predictive_check(observed.vpc(replicates=40)).axes[0].get_ylabel() == "Measured (pg/ml)"


def test_predictions_of_populations_and_patients_differ_in_their_marks(two):
    looks = {}
    for axes in figures.observed_and_predicted(two).axes:
        for line in axes.lines:
            if "prediction" in str(line.get_label()):
                looks[line.get_label()] = (line.get_marker(), line.get_markerfacecolor() == "none")
    assert len(looks) == len(set(looks.values())) == 4  # two kinds, predicted in two ways


def test_measurements_are_seen_on_the_bands_of_a_predictive_check(one):
    figure = figures.predictive_check(one.vpc(replicates=40))
    points = next(line for line in figure.axes[0].lines if line.get_label() == "measurement")
    assert points.get_markeredgecolor() == "#000000"
    assert points.get_alpha() >= 0.5
    assert points.get_zorder() >= max(band.get_zorder() for band in figure.axes[0].collections)


def test_a_check_in_which_all_is_censored_can_be_drawn():
    bins = pd.DataFrame(
        [(t, level, 3, np.nan, np.nan, np.nan, np.nan, "y") for t in (1.0, 2.0) for level in (0.1, 0.5, 0.9)],
        columns=["time", "percentile", "measurements", "observed", "low", "median", "high", "kind"],
    )
    censored = pd.DataFrame(
        {"time": [1.0, 2.0], "measurements": 3, "observed": 1.0, "low": 0.9, "median": 1.0, "high": 1.0,
         "kind": "y"}
    )  # fmt: skip
    none = pd.DataFrame({"time": [], "DV": [], "kind": []})
    figure = figures.predictive_check(PredictiveCheck(bins, censored, none, False, 40, "day", {"y": "cells"}))
    assert missing_labels(figure) == []


def test_more_kinds_than_colours_can_be_drawn():
    found = fitted([f"kind {k}" for k in range(7)])
    assert missing_labels(figures.courses(found)) == []
