"""Figures of a trial: all that is drawn is named, also without colours, and long names stay in place."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from figure_contrast import faint_texts
from figure_layout import alike_but_for_colour, cut_off, legends, missing_labels

from fastcart import plotting
from fastcart.trial import figures
from fastcart.trial.individual import swimmer
from fastcart.trial.run import run_spec
from fastcart.trial.spec import make_spec

pytest.importorskip("matplotlib")

NAME = "calendar_of_infusions_with_a_long_name"
SPEC = {
    "arms": ["A0", "A5", NAME],
    "population": {"patients": 40, "calibrate": False, "seed": 4},
    "trial": {"n_per_arm": 15, "accrual": 365, "cutoff": 900},
    "power": {"sizes": [10, 20], "replicates": 10},
    "frontier": {"doses": [1e6, 1e7, 1e8]},
    "arm": [{"name": NAME, "infusions": [{"day": 0, "effectors": 0.5, "memory": 1.0},
                                         {"day": 7, "effectors": 0.5, "memory": 0.0}]}],
}  # fmt: skip


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Return the figures of a report, by name."""
    caught = {}

    def save(jobs, **_):
        for job in jobs:
            figure, path = job.args
            caught[path.stem] = figure
            job()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "in_two", save)
        patch.setattr(figures, "DPI", 40)
        run_spec(make_spec(SPEC), tmp_path_factory.mktemp("trial") / "out", progress=False)
    return caught


def texts(figure):
    return [text.get_text() for legend in legends(figure) for text in legend.get_texts()]


def test_nothing_is_cut_off_or_left_out_of_a_legend(drawn):
    assert len(drawn) == 7
    for name, figure in drawn.items():
        assert cut_off(figure) == [], name
        left_out = [label for label in missing_labels(figure) if not label.startswith("panel")]
        assert left_out == [], name


def test_arms_and_endpoints_differ_in_more_than_colour(drawn):
    for name in ("kaplan_meier_A5", "power"):
        for axes in drawn[name].axes:
            assert alike_but_for_colour(axes) == []


def test_texts_can_be_read(drawn):
    for name, figure in drawn.items():
        assert faint_texts(figure) == [], name


def test_grades_of_toxicity_have_their_names(drawn):
    figure = drawn["courses"]
    assert {"median", "threshold of a grade of CRS", "patient, A0", "patient, A5"} == set(texts(figure))
    for row in (0, 1):
        assert [text.get_text() for text in figure.axes[3 * row + 2].texts] == [
            f"grade {grade}" for grade in (1, 2, 3, 4)
        ]
    assert figure.axes[-1].get_xlabel() == "Time (days)"


def test_titles_of_neighbours_do_not_overlap(drawn):
    for name in ("power", "forest", "frontier"):
        figure = drawn[name]
        figure.draw_without_rendering()
        titles = [axes._left_title.get_window_extent() for axes in figure.axes if axes.get_title("left")]
        for k, one in enumerate(titles):
            assert not any(one.overlaps(other) for other in titles[k + 1 :]), name


def test_censored_patients_are_in_the_legend_of_survival(drawn):
    assert {"A0", "A5", "censored"} <= set(texts(drawn["kaplan_meier_A5"]))


def test_after_a_relapse_a_bar_is_hatched():
    trial = pd.DataFrame({"row": [0, 0], "treated": [False, True], "os": 200.0, "os_event": False})
    told = pd.DataFrame(
        {"t_CR": [20.0], "t_relapse": [90.0], "relapse_type": ["CD19+"], "grade": [3], "death_cause": [""]}
    )
    with plotting.style():
        figure, _ = swimmer(trial, {"A": told, "B": told}, ("A", "B"), 365.0, np.full(2, 365.0))
    bars = figure.axes[0].patches
    assert [bar.get_hatch() is not None for bar in bars] == [False, False, True]
