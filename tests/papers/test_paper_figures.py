"""Figures of papers: what differs is told by more than colour, and what is drawn has a name."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from figure_layout import alike_but_for_colour, cut_off, legends, missing_labels

from fastcart import plotting
from fastcart.models.t_cell_presets import PRESETS
from fastcart.models.t_cell_scenarios import PRODUCTS
from fastcart.papers.srct import controlled_figures, controlled_link_figures
from fastcart.papers.srct import figures as srct
from fastcart.papers.t_cell_theories import figures as theories

pytest.importorskip("matplotlib")


@pytest.fixture(autouse=True)
def in_style():
    with plotting.style():
        yield


def texts(figure):
    return [text.get_text() for legend in legends(figure) for text in legend.get_texts()]


def course():
    t = np.linspace(0, 300, 30)
    return pd.DataFrame({"t": t} | {name: 1e4 * np.exp(-t / 100) + k for k, name in enumerate("SCMEAT")})


def test_cells_and_theories_differ_in_more_than_colour():
    found = {name: course() for name in PRESETS}
    for axes in theories.courses(found).axes:
        assert alike_but_for_colour(axes) == []
    looks = {(line.get_color(), line.get_linestyle()) for line in theories.phase(found).axes[0].lines}
    assert len(looks) == len(found) > 8


def test_products_differ_in_more_than_colour():
    rows = [
        (preset, name, 1e8 * (1 + k), 1e9 * (1 + k)) for preset in PRESETS for k, name in enumerate(PRODUCTS)
    ]
    table = pd.DataFrame(rows, columns=["preset", "product", "T180", "peak"])
    for axes in theories.theories(table).axes:
        assert alike_but_for_colour(axes) == []


def test_crosses_of_a_map_are_named():
    rows = [(day, amount, 1.0 + day, amount < 1e9) for day in (10.0, 20.0) for amount in (1e8, 1e9)]
    table = pd.DataFrame(rows, columns=["day", "amount", "gain", "relapse"]).assign(product="typical")
    figure = theories.boosts(table, table)
    assert texts(figure) == ["antigen is back after a year (white in the map)"]
    assert cut_off(figure) == []


def test_splits_differ_in_more_than_colour():
    rows = [(arm, times) for arm in ("A3", "A4", "A5") for times in (2.0, 20.0)]
    table = pd.DataFrame(rows, columns=["arm", "amplification"])
    table = table.assign(gain_EFS730=0.1, gain_CR90=0.2, rhoE=1.0, dose=1e7, crs3=0.3, CR90=0.7, EFS730=0.5)
    figure, _ = srct.amplification(table)
    for axes in figure.axes:
        assert alike_but_for_colour(axes) == []


def test_bands_and_dashes_of_controlled_courses_are_named():
    courses = pd.DataFrame(
        [
            (family, quantity, day, 10.0**6, 10.0**7, 10.0**8, 1.0)
            for family in (*controlled_figures.COURSES, controlled_figures.ACUTE)
            for quantity in controlled_figures.QUANTITIES
            for day in (0.0, 7.0, 14.0)
        ],
        columns=["family", "quantity", "day", "low", "median", "high", "intensity"],
    )
    figure, _ = controlled_figures.serum(courses)
    assert missing_labels(figure) == []
    assert len(texts(figure)) == 3


def test_names_of_protocols_do_not_lie_on_each_other():
    names = ["single 1e8", "RISE_T 3e9", "promote x10 3e9", "LHM 1e8"]
    protocols = pd.DataFrame({"protocol": [*names, *(f"random {k}" for k in range(6))]})
    protocols["likeness"] = [-1.0, -1.02, -1.04, -1.06, *np.linspace(-3, -2, 6)]
    protocols = protocols.assign(CR90=0.6, crs3=0.3, EFS730=0.5, gain_EFS730=0.1)
    ranks = pd.DataFrame({"of": ["likeness"], "with": ["CR90"], "given": [""], "rank": [0.9]})
    figure, _ = controlled_link_figures.likeness(protocols, ranks)
    figure.draw_without_rendering()
    for axes in figure.axes:
        boxes = [text.get_window_extent() for text in axes.texts]
        assert len(boxes) == len(names)
        assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[k + 1 :])
