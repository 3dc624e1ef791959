"""Fixtures shared by all tests."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fastcart
from fastcart import plotting
from fastcart.solvers.compile import plain
from fastcart.solvers.named import arguments

os.environ.setdefault("FASTCART_PROGRESS", "0")  # nothing is said of what takes long, unless a test asks

# numba leaves millions of objects that stay: to walk through them as often as usual takes a twentieth of all
gc.set_threshold(20_000, 20, 20)

# hypothesis also draws numbers that it finds in whatever modules are loaded: which examples a test gets would
# depend on the tests before it, and on numbers anywhere in the package
with suppress(ImportError):
    from hypothesis.internal.conjecture import providers

    if hasattr(providers, "_get_local_constants"):
        providers._get_local_constants = providers.Constants

# The published result files lie beside a checkout of the authors of fastcart; an outsider has none.
PUBLISHED = Path(__file__).resolve().parents[1].parent / "shared" / "reference" / "li_lei_2025"

# Files that take longest, the longest first: they begin, so that none is left to one process at the end.
LONGEST = (
    "cli/test_notebooks.py", "papers/test_t_cell_studies.py", "differential/test_turning.py",
    "cli/test_readme.py", "differential/test_network.py", "differential/test_doses.py",
    "solvers/test_sensitivities.py", "solvers/test_blow_up.py", "solvers/test_integrals.py",
    "trial/test_trial.py", "papers/test_controlled_report.py", "fit/test_population_fits.py",
    "sensitivity_analysis/test_sensitivity.py", "solvers/test_events.py", "differential/test_quantities.py",
    "batch/test_regimens.py", "models/test_t_cell.py", "papers/test_reproduce.py",
    "models/test_names_in_equations.py", "solvers/test_algebraic.py", "sbml/test_sbml_events.py",
    "cli/test_kills.py", "differential/test_batches.py", "solvers/test_lsoda_quantities.py",
    "batch/test_dosing.py", "trial/test_controlled.py",
)  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Let processes take files in the order of below: by itself xdist begins with those of the most tests."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; processes take files in this order."""
    places = {name: place for place, name in enumerate(LONGEST)}
    here = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        inside = item.path.is_relative_to(here)
        return places.get(item.path.relative_to(here).as_posix(), len(places)) if inside else len(places)

    items.sort(key=place)
    gc.collect()
    gc.freeze()  # what is imported until now stays anyway


def slow_but(kept: Iterable[Any], values: Iterable[Any], *, several: bool = False) -> list[Any]:
    """Return values of a parametrization, of which all but those that are kept make a slow test.

    For methods and engines whose kernels take seconds to compile, where others show the same by default.
    With ``several`` each value is a tuple of several arguments.
    """
    kept, slow = list(kept), pytest.mark.slow
    return [
        value if value in kept else pytest.param(*(value if several else (value,)), marks=slow)
        for value in values
    ]


@contextmanager
def drawn_as_pixels() -> Iterator[None]:
    """Within the context, files of vector forms are empty: to draw each takes as long as the pixels do."""
    drawn = plotting._encoded

    def encoded(figure: Any, kind: str, *given: Any, **named: Any) -> bytes:
        return b"<svg></svg>" if kind in plotting.VECTORS else drawn(figure, kind, *given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plotting, "_encoded", encoded)
        yield


@pytest.fixture
def published_results() -> Path:
    folder = Path(os.environ.get("FASTCART_PUBLISHED_RESULTS", PUBLISHED))
    if not folder.is_dir():
        pytest.skip(f"the published result files are not in {folder}")
    return folder


@pytest.fixture(scope="session")
def references() -> Path:
    """Tables and answers that lie beside the project, or beside the folder of its working trees."""
    around = Path(__file__).resolve().parents[2]
    for folder in (around / "shared" / "reference", around.parent / "shared" / "reference"):
        if folder.is_dir():
            return folder
    pytest.skip(f"the references are not in {around / 'shared' / 'reference'}")


@pytest.fixture(scope="session")
def varied_patients() -> pd.DataFrame:
    """Sixty patients with every parameter of the full model drawn within 10% of its default."""
    return draw_patients(60, seed=1)


def in_python(model: fastcart.Model, what: str = "rhs") -> Callable:
    """Return the right-hand side, or ``"observe"``, as a Python function of tuples ``(t, y, p)``."""
    function = plain(getattr(model, what))
    return lambda t, y, p: function(t, *arguments(model, y, p))


def draw_patients(n: int, *, seed: int, model: str = "li_lei", spread: float = 0.1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    defaults = fastcart.models.get(model).default_parameters()
    factors = 1 + spread * (2 * rng.random((n, len(defaults))) - 1)
    return pd.DataFrame(factors * np.array(list(defaults.values())), columns=list(defaults))


pytest_plugins = ["explorer_pages"]  # a page in a browser, for those who ask for one
