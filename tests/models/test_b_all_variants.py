"""Switches and actuators of the B-ALL model: reference values, identities, balance of cells."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import in_python
from hypothesis import given
from hypothesis import strategies as st

import fastcart
from fastcart.errors import InputError
from fastcart.models import for_trial, get

PLAIN = get("b_all")
DEFAULTS = PLAIN.default_parameters()
# a patient with the whole product of 1e8 cells engrafted on day 0
REF = {"L": 1e11, "R": 100.0, "B": 1e9, "E": 5.2e6, "M": 7e6, "N": 3e9, "hT": 0.04, "hL": np.log(2) / 220}
# activity until a day; then the conversion to memory is tenfold to day 60
LEVELS = ((5.0, 1.0), (10.0, 0.3), (14.0, 0.6), (28.0, 1.0))
cells = st.floats(0.0, 12.0).map(lambda x: 10.0**x)
shares = st.floats(0.0, 1.0)


@pytest.fixture(scope="module", params=[True, "fraction"], ids=["graded", "fraction"])
def switched(request):
    return get("b_all", switch=request.param, actuators=True)


def follow(model, levels=LEVELS, promoted_from=28.0) -> dict[float, dict[str, float]]:
    """Return the states of the reference patient on the days at which something is set, and on day 60."""
    now = {name: np.array([value]) for name, value in (model.default_states() | REF).items()}
    begin, days = 0.0, {}
    for end, level in (*levels, (60.0, 1.0)):
        now |= {"u": np.array([level]), "u_set": np.array([level]), "switch_rate": np.array([0.0])}
        now["promotion"] = np.array([10.0 if begin >= promoted_from else 1.0])
        ends = fastcart.solve(model, now, t_end=end - begin, rtol=1e-10, warn=False).endpoints
        assert ends["status"].eq("ok").all()
        now |= {name: ends[f"final_{name}"].to_numpy() for name in model.state_names}
        days[end] = {name: float(now[name][0]) for name in model.state_names}
        begin = end
    return days


# solved with DOP853 at a relative tolerance of 1e-11
EXPECTED = {
    True: {
        10: {"L": 8.6443266e10, "E": 1.3702411e10, "M": 1.1062157e8, "X": 7.1525257e9, "C": 445.4163},
        14: {"L": 3.8290185e10, "E": 1.8113795e10, "M": 1.0189792e8, "C": 934.24625},
        28: {"L": 23853540, "E": 4.861822e9, "M": 4.3905036e8, "C": 46.163881, "Ht": 1.1548857e-3},
        60: {"L": 42903.249, "M": 1.4318493e9, "R": 37690.352},
    },
    "fraction": {
        10: {"L": 5.0292028e10, "E": 1.4385468e10, "M": 1.122432e8, "X": 7.3978154e9, "C": 475.85885},
        14: {"L": 9.4240272e9, "E": 1.7936029e10, "M": 1.3553992e8, "C": 839.25858},
        28: {"L": 9886765.6, "E": 2.9553779e9, "M": 4.4003746e8, "C": 34.679534, "Ht": 6.0172339e-4},
        60: {"L": 57358.241, "M": 1.1374723e9, "R": 38231.468},
    },
}


def test_reference_values_of_both_switches(switched):
    found = follow(switched)
    for day, values in EXPECTED[switched.options["switch"]].items():
        for name, value in values.items():
            assert found[day][name] == pytest.approx(value, rel=3e-7), (day, name)


def test_memory_promoted_from_the_first_day(switched):
    found = follow(switched, levels=((28.0, 1.0),), promoted_from=0.0)
    assert found[28]["M"] == pytest.approx(8.5119354e9, rel=1e-7)
    assert found[28]["L"] == pytest.approx(895095.21, rel=1e-6)
    assert found[60]["L"] == pytest.approx(22.346475, rel=1e-6)
    assert found[60]["M"] == pytest.approx(9.7356968e9, rel=1e-7)


def slopes(model, states: dict[str, float], **parameters: float) -> dict[str, float]:
    p = model.default_parameters() | parameters
    y = tuple((model.default_states() | states)[name] for name in model.state_names)
    found = in_python(model)(0.0, y, tuple(p[name] for name in model.parameter_names))
    return dict(zip(model.state_names, found, strict=True))


@given(L=cells, B=cells, E=cells, M=cells, X=cells, N=cells, A=shares)
def test_a_car_that_is_on_is_the_model_without_switch(L, B, E, M, X, N, A):
    states = {"L": L, "R": 10.0, "B": B, "E": E, "M": M, "X": X, "N": N, "A": A, "C": 100.0}
    plain = slopes(PLAIN, states)
    for switch in (True, "fraction"):
        for actuators in (False, True):
            found = slopes(get("b_all", switch=switch, actuators=actuators), states)
            assert {name: found[name] for name in plain} == plain
            assert all(found[name] == 0.0 for name in found if name not in plain)


@given(L=cells, B=cells, E=cells, M=cells, X=cells, N=cells, u=shares, F=st.floats(1.0, 30.0))
def test_a_switch_moves_cells_between_kinds_and_loses_none(L, B, E, M, X, N, u, F):
    """All CAR-T cells together change by births and deaths; u and promotion move them between kinds."""
    p, Ag = DEFAULTS, L + B
    q, qc = (1 / (1 + lymphocytes / p["Kq"]) for lymphocytes in (N + E + M + X, p["KN"]))
    for switch, competing in ((True, E), ("fraction", u * E)):
        model = get("b_all", switch=switch, actuators=True)
        d = slopes(model, {"L": L, "B": B, "E": E, "M": M, "X": X, "N": N, "u": u, "promotion": F})
        a = u * Ag / (p["KA"] * (1 + competing / p["s"]) + Ag)
        born = p["kact"] * a * M + p["rhoE"] * (1 - p["nu"] + p["nu"] * q) * a * E + p["rhoM"] * (q - qc) * M
        dying = p["dE"] * E + p["dM"] * M + p["dX"] * X
        size = abs(born) + dying + p["xi"] * E * (1 + Ag / (p["KX"] + Ag)) + F * p["muEM"] * E
        assert abs(d["E"] + d["M"] + d["X"] - (born - dying)) <= 1e-12 * size


@given(L=cells, E=cells, u=shares)
def test_a_share_of_cells_that_acts_kills_as_so_many_cells(L, E, u):
    """Leukemia and IL-6 see of a fractional switch only the number of cells that act."""
    part = slopes(get("b_all", switch="fraction"), {"L": L, "E": E, "u": u})
    fewer = slopes(PLAIN, {"L": L, "E": u * E})
    for name in ("L", "B", "A"):
        assert part[name] == pytest.approx(fewer[name], rel=1e-12)


def test_the_activity_follows_its_drug_and_a_blockade_fades(switched):
    states = {
        "u": np.array([1.0]),
        "u_set": np.array([0.2]),
        "blockade": np.array([0.8]),
        "L": np.array([1e11]),
    }
    path = fastcart.solve(switched, states, t_end=2.0, save_at=[0.5, 2.0], rtol=1e-9).trajectories
    t = path["t"].to_numpy()
    np.testing.assert_allclose(path["u"], 0.2 + 0.8 * np.exp(-4.0 * t), rtol=1e-7)
    np.testing.assert_allclose(path["blockade"], 0.8 * np.exp(-t / 14.0), rtol=1e-7)
    np.testing.assert_allclose(path["felt"], path["C"] * (1 - path["blockade"]), rtol=1e-12)


def test_a_blockade_takes_away_what_is_felt_and_not_what_is_measured():
    model = get("b_all", switch=True, actuators=True)
    d = slopes(model, {"C": 1000.0, "blockade": 0.75})
    assert d["Ht"] == pytest.approx(slopes(PLAIN, {"C": 250.0})["Ht"])
    marker = for_trial(model).marker
    states = {"C": np.array([1000.0]), "blockade": np.array([0.75])}
    assert marker.of(states) == pytest.approx([250.0])
    assert marker.unblocked(states) == pytest.approx([1000.0])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"switch": "share"}, "'switch' must be True or False or 'fraction'"),
        ({"switch": 1}, "'switch' must be True or False"),
        ({"actuators": True}, "'actuators' needs a switch"),
        ({"actuators": 1, "switch": True}, "'actuators' must be True or False or 'activity'"),
    ],
)
def test_bad_options_get_one_sentence(options, sentence):
    with pytest.raises(InputError, match=sentence):
        get("b_all", **options)
