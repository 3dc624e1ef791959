"""Segments of a course: what is shared, what is copied, and that parts of a batch are the whole."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fastcart import SolveOptions
from fastcart.models import get
from fastcart.trial import segments as module
from fastcart.trial.segments import Patients, Segment, Segments

OPTIONS = SolveOptions(rtol=1e-5, auc=("C",))


@pytest.fixture
def patients() -> Patients:
    model = get("b_all")
    table = pd.DataFrame([model.default_states()] * 5)
    return Patients(table.assign(E=np.linspace(1e6, 5e6, 5), M=1e6))


def test_columns_and_values_are_one(patients):
    patients.now["E"][2] = 7.0
    assert patients.values[2, patients.names.index("E")] == 7.0
    states = patients.states(["M", "E"])
    states["E"] = 3.0
    assert patients.now["E"][2] == 7.0
    patients.put(states[::-1].assign(M=[5.0, 4.0, 3.0, 2.0, 1.0]), ["E", "M"])
    assert (patients.now["E"] == 3.0).all()
    assert patients.now["M"].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]  # by the patient, not by the place
    assert np.shares_memory(patients.of(patients.names[:2]), patients.values)
    np.testing.assert_array_equal(patients.of(["M", "E"])[:, 0], patients.now["M"])


def test_the_table_of_the_caller_is_left_alone():
    table = pd.DataFrame(np.ones((3, 2), order="F"), columns=["a", "b"])
    Patients(table).now["a"][:] = 2.0
    assert (table == 1.0).all(axis=None)


@pytest.mark.parametrize("doses", [None, {"patient": [3, 1], "time": 0.5, "state": "E", "amount": 1e7}])
def test_parts_of_a_batch_are_the_whole(patients, monkeypatch, doses):
    given = None if doses is None else pd.DataFrame(doses)
    segments = Segments(get("b_all"), OPTIONS, np.arange(5), 1)
    segment = Segment(1.0, (0.25, 1.0), ("E", "C"), ())
    whole = segments(patients, segment, given)
    monkeypatch.setattr(module, "_TOGETHER", 2)
    parts = segments(patients, segment, given)
    np.testing.assert_array_equal(whole.final, parts.final)
    np.testing.assert_array_equal(whole.offsets, parts.offsets)
    for name in ("auc_C", "nadir"):
        np.testing.assert_array_equal(whole.endpoints[name], parts.endpoints[name])
    for name in ("E", "C"):
        np.testing.assert_array_equal(whole.of(4)[name], parts.of(4)[name])


def test_segments_that_are_alike_share_a_solver(patients, monkeypatch):
    made = []
    prepare = module.prepare
    monkeypatch.setattr(module, "prepare", lambda *given, **how: made.append(1) or prepare(*given, **how))
    segments = Segments(get("b_all"), OPTIONS, np.arange(5), 1)
    for length in (1.0, 1.0, 2.0, 1.0):
        segments(patients, Segment(length, (), (), ()), None)
    assert len(made) == 2
