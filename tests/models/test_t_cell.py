"""The T-cell model: exact answers, reference numbers, and what holds for all parameters."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import in_python, slow_but
from scipy.linalg import expm
from t_cell_sets import random_sets

import fastcart
from fastcart import InputError, models
from fastcart.models.t_cell_parameters import PHENOTYPES
from fastcart.models.t_cell_presets import (
    PRESETS,
    Preset,
    convex,
    make_preset,
    scale_reverse,
    sums,
    union,
)
from fastcart.models.t_cell_scenarios import PRODUCTS, SCENARIOS, product

TIGHT = {"engine": "auto", "rtol": 1e-12}
TOP = 2 / 2.55  # the drive at full signal, lambda_I / (lambda_I + delta_I)
CLAMP = {"K_I": 0.0, "eta": 0.0, "K_T": 1e30}  # full signal at all times
EMPTY = {"N": 0.0, "s_N": 0.0}
SAME = {
    **{f"{rate}_{a}": value for rate, value in (("rho", 2.3), ("h", 0.01), ("don", 0.02), ("doff", 0.1))
       for a in PHENOTYPES},
    "g": 0.0, "delta_A": 0.8, "kappa": 0.0, "A": 1e6,
}  # fmt: skip


def close(value, expected, rtol=1e-9):
    np.testing.assert_allclose(value, expected, rtol=rtol)


def course(preset, patient, times, *, scenario="acute", shadows=False, doses=None, **options):
    model = models.get("t_cell", preset=preset, scenario=scenario, shadows=shadows)
    result = fastcart.solve(
        model, patient, doses=doses, t_end=max(times), save_at=times, **{**TIGHT, **options}
    )
    assert result.summary() == {"ok": 1}
    return result.trajectories


# --- reference numbers: preset, scenario, day, what, value

REFERENCE = [
    ("linear", "acute", 8, "E", 6.88348905e6),
    ("linear", "acute", 40, "M", 1.17087917e5),
    ("linear", "acute", 300, "C", 3.22986227e5),
    ("progressive", "acute", 8, "C", 1.64624014e5),
    ("progressive", "acute", 100, "T", 3.49009406e5),
    ("decreasing", "acute", 8, "M", 1.18135664e5),
    ("signal", "acute", 8, "E", 6.85321608e6),
    ("bifurcating", "acute", 40, "C", 4.74916772e5),
    ("precursor", "acute", 15, "M", 5.19649446e5),
    ("selfrenew", "acute", 300, "M", 6.20490913e5),
    ("linear", "chronic", 60, "A", 8.49729832e5),
    ("linear", "chronic", 60, "X", 3.70762770e6),
    ("unified", "acute", 5, "L", 1.67617196e1),
    ("unified", "acute", 8, "I", 1.93255452e-1),
    ("unified", "acute", 8, "E", 6.92881033e6),
    ("unified", "acute", 40, "C", 5.89471091e5),
    ("unified", "acute", 300, "S", 1.52683254e5),
    ("unified", "acute", 300, "T", 5.60330860e5),
    ("unified", "recall", 106, "T", 1.81596653e7),
    ("unified", "acute", 40, "G_C", 1.35535332e7),
    ("unified", "acute", 40, "U_M", 8.54141223e4),
    ("unified", "acute", 40, "W_C", 4.04207836e5),
    ("unified", "cart", 10, "T", 1.37213068e10),
    ("unified", "cart", 180, "C", 2.95436052e8),
]


def deviations(engine: str, rtol: float) -> dict[tuple, float]:
    found = {}
    groups = pd.DataFrame(REFERENCE, columns=["preset", "scenario", "day", "what", "value"])
    for (preset, scenario), group in groups.groupby(["preset", "scenario"]):
        times = sorted(set(group["day"].astype(float)))
        path = course(
            preset, 1, times, scenario=scenario, shadows=True, doses=SCENARIOS[scenario].doses,
            engine=engine, rtol=rtol,
        ).set_index("t")  # fmt: skip
        for row in group.itertuples():
            found[row[1:]] = abs(path.loc[row.day, row.what] / row.value - 1)
    return found


def test_reference_numbers_with_auto():
    assert max(deviations("auto", 1e-9).values()) < 1e-6


def test_reference_numbers_with_scipy():
    assert max(deviations("scipy", 1e-10).values()) < 1e-7


# --- exact answers (A1 to A8, A11 to A13 of the specification)


def test_bateman_chain_of_memory_made_from_effectors():
    E0, mE, mM, mC = 1e7, 0.477, 0.055, 0.001
    t = 20.0
    row = course("linear", {**EMPTY, "E": E0, "A": np.exp(-600.0)}, [t]).iloc[0]
    eE, eM, eC = np.exp([-mE * t, -mM * t, -mC * t])
    M = 0.027 * E0 * (eE - eM) / (mM - mE)
    C = 0.04 * 0.027 * E0 * (
        eE / ((mM - mE) * (mC - mE)) + eM / ((mE - mM) * (mC - mM)) + eC / ((mE - mC) * (mM - mC))
    )  # fmt: skip
    close([row.E, row.M, row.C], [E0 * eE, M, C])
    close([row.E, row.M, row.C], [7.1916847657e2, 2.1292837689e5, 2.5409324127e5])


def test_antigen_without_t_cells_grows_logistically():
    times = np.array([1.0, 3.0, 6.0])
    path = course("unified", {**EMPTY, "theta": 0.0, "delta_A": 0.0, "kappa": 0.0}, times)
    assert path["A"].to_numpy() == pytest.approx(1e8 / (1 + (1e8 / 1e5 - 1) * np.exp(-2.5 * times)), rel=1e-9)


def test_drive_at_full_signal():
    times = np.array([0.5, 2.0, 9.0])
    path = course("unified", {**EMPTY, **CLAMP}, times)
    assert path["I"].to_numpy() == pytest.approx(TOP * (1 - np.exp(-2.55 * times)), rel=1e-9)
    close(TOP, 0.7843137255)


def flow_matrix(preset: str) -> np.ndarray:
    """dx/dt = B x at the clamped drive, written as matrices: independent of the model's code."""
    v = PRESETS[preset].values
    p = models.get("t_cell", preset=preset).default_parameters()
    P = np.array([[v[f"P_{a}{b}"] for b in PHENOTYPES] for a in PHENOTYPES])
    rho, h, don, doff = (np.array([p[f"{k}_{a}"] for a in PHENOTYPES]) for k in ("rho", "h", "don", "doff"))
    w = np.zeros((4, 4))
    for i, a in enumerate(PHENOTYPES):
        for j, b in enumerate(PHENOTYPES):
            if a != b:
                w[i, j] = v[f"Kon_{a}{b}"] * TOP ** v["q"] + v[f"Koff_{a}{b}"] * (1 - TOP)
    loss = rho * TOP - h + don * TOP + doff * (1 - TOP) + w.sum(axis=1)
    return (2 * rho[:, None] * TOP * P + w).T - np.diag(loss)


CLAMPED = {**EMPTY, **CLAMP, "I": TOP, "kappa": 0.0, "S": 100.0, "C": 200.0, "M": 300.0, "E": 400.0}


@pytest.mark.parametrize("preset", list(PRESETS))
def test_constant_drive_gives_a_matrix_exponential(preset):
    expected = expm(flow_matrix(preset) * 5) @ [100, 200, 300, 400]
    row = course(preset, CLAMPED, [5.0]).iloc[0]
    assert row[list(PHENOTYPES)].to_numpy(float) == pytest.approx(expected, rel=1e-9)


def test_eigenvalues_at_constant_drive():
    unified = sorted(np.linalg.eigvals(flow_matrix("unified")).real)
    assert unified == pytest.approx([0.50168048, 0.74716081, 1.1086694, 2.05960696], rel=1e-7)
    progressive = np.diag(flow_matrix("progressive"))  # triangular: one way down
    assert progressive == pytest.approx([0.25098039, 1.09703922, 0.76931373, 2.05980392], rel=1e-7)
    row = course("unified", CLAMPED, [5.0]).iloc[0]
    numbers = [1.256546106e3, 8.108196305e4, 1.360676150e5, 2.307244618e7]
    assert row[list(PHENOTYPES)].to_numpy(float) == pytest.approx(numbers, rel=1e-9)


@pytest.mark.parametrize("preset", list(PRESETS))
def test_equal_rates_give_equal_totals_in_all_theories(preset):
    path = course(preset, SAME, [4.0, 8.0, 30.0])
    assert path["T"].to_numpy() == pytest.approx([2.585711725e4, 3.953363991e5, 9.458188741e4], rel=1e-9)


def test_arrows_between_phenotypes_cancel_in_the_total():
    model = models.get("t_cell")
    rhs = in_python(model)
    rng = np.random.default_rng(1)
    for _, row in random_sets(50).iterrows():
        p = {**model.default_parameters(), **row, "omega": rng.uniform(0, 0.1)}
        y = np.append(10 ** rng.uniform(0, 7, 7), rng.random())
        f = rhs(0.0, tuple(y), tuple(p[name] for name in model.parameter_names))
        N, x, X, drive = y[0], y[1:5], y[5], y[7]
        growth = np.array(
            [
                p[f"rho_{a}"] * drive + p[f"h_{a}"] - p[f"don_{a}"] * drive - p[f"doff_{a}"] * (1 - drive)
                for a in "SCME"
            ]
        )
        balance = 2 * p["alpha"] * drive * N + growth @ x - (p["dXon"] * drive + p["dXoff"] * (1 - drive)) * X
        assert sum(f[1:6]) == pytest.approx(balance, rel=1e-9, abs=1e-9 * x.sum())


def test_naive_cells_at_constant_drive():
    times = np.array([1.0, 4.0, 12.0])
    k = 0.005 + TOP
    rest = 0.75 / k
    path = course("unified", {**CLAMP, "I": TOP, "kappa": 0.0}, times)
    assert path["N"].to_numpy() == pytest.approx(rest + (150 - rest) * np.exp(-k * times), rel=1e-9)


def test_without_antigen_naive_cells_return_and_effectors_vanish():
    patient = {"A": np.exp(-50.0), "N": 10.0, "s_N": 0.75, "S": 1e4, "E": 1e6, "X": 1e5}
    row = course("progressive", patient, [5000.0], rtol=1e-9).iloc[0]
    close(row.N, 150, 1e-6)
    assert row[["E", "X"]].to_numpy(float) == pytest.approx([0, 0], abs=1e-6)
    close(row.S, 1e4, 1e-6)  # h_S = doff_S and no C to S


def test_tags_of_pure_theories():
    names = [f"U_{a}" for a in "SCM"]
    path = course("linear", 1, [8.0, 60.0], shadows=True, rtol=1e-10)
    assert path[names].to_numpy() == pytest.approx(path[["S", "C", "M"]].to_numpy(), rel=1e-9)
    for preset in ("progressive", "decreasing", "signal", "bifurcating"):
        assert (course(preset, 1, [8.0, 60.0], shadows=True, rtol=1e-8)[names] == 0).all(axis=None)


def test_mean_generation_at_constant_drive():
    patient = {**CLAMPED, **SAME, "A": 1e6}
    path = course("unified", patient, [3.0, 6.0], shadows=True)
    total = path[[f"G_{a}" for a in PHENOTYPES]].sum(axis=1) / path["T"]
    assert total.to_numpy() == pytest.approx(2 * (2.3 * TOP + 0.01) * path["t"].to_numpy(), rel=1e-9)


# --- presets, mixing, constraints (A14, A15)


def test_correlation_of_first_daughters_is_no_part_of_the_equations():
    theory = PRESETS["bifurcating"]
    for correlation in (-1, 0, 1):
        same = Preset("same", theory.values, correlation)
        assert models.get("t_cell", preset=same).defaults() == models.get("t_cell", preset=theory).defaults()


@pytest.mark.parametrize("w", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_convex_mixes_keep_the_sums(w):
    for a in PRESETS:
        for b in PRESETS:
            mixed = convex(a, b, w)
            for _, names in sums():
                assert sum(mixed.values[name] for name in names) == pytest.approx(1, abs=1e-14)
    assert convex("linear", "signal", 1).values == PRESETS["signal"].values
    assert convex("linear", "signal", 0).values == PRESETS["linear"].values


def test_union_keeps_divisions_and_adds_conversions():
    both = union("progressive", "linear", strength=0.5)
    assert both.values["P_CM"] == 0.15
    assert both.values["flo_S"] == 1
    assert both.values["Koff_EM"] == 0.027 / 2
    assert scale_reverse("unified", 2).values["Koff_MC"] == 0.08
    assert scale_reverse("unified", 0).values["P_SC"] == 0.3


def test_defaults_of_models_are_those_of_presets():
    for name, theory in PRESETS.items():
        defaults = models.get("t_cell", preset=name).defaults()
        for parameter, value in theory.values.items():
            assert defaults[parameter] == pytest.approx(value, abs=1e-15)
    # a theory's own rates stay its own in every scenario
    assert models.get("t_cell", preset="selfrenew", scenario="cart").defaults()["h_M"] == 0.005


def test_the_rest_of_a_row_follows():
    rows = fastcart.solve("t_cell", {"P_CM": [0.1, 0.2], "P_CE": [0.0, 0.1]}, t_end=1.0)
    assert rows.summary() == {"ok": 2}


@pytest.mark.parametrize(
    ("patients", "message"),
    [
        ({"P_SC": [0.3, 0.2], "P_SS": [0.7, 0.7]}, r"P_SS \+ P_SC \+ .* must be 1, but is 0.9 in row 2"),
        ({"P_SC": 0.6, "P_SM": 0.7}, "The computed default of 'P_SS' is -0.3 in row 1; allowed is from 0"),
        ({"flo_S": 0.5}, r"flo_S \+ flo_C \+ .* must be 1, but is 1.3 in row 1"),
        ({"P_SC": -0.1}, "'P_SC' holds -0.1 in row 1; allowed is from 0 to 1"),
        ({"P_SQ": 0.1}, "'P_SQ' is not a parameter or state"),
    ],
)
def test_patients_that_break_a_sum(patients, message):
    with pytest.raises(InputError, match=message):
        fastcart.solve("t_cell", patients, t_end=1.0)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: models.get("t_cell", preset="unifed"), "Did you mean 'unified'"),
        (lambda: models.get("t_cell", scenario="acut"), "Did you mean 'acute'"),
        (lambda: models.get("t_cell", shadows="maybe"), "'shadows' must be true or false"),
        (lambda: convex("linear", "unified", 1.5), "from 0 to 1"),
        (lambda: union("linear", "unified", strength=-1), "must not be negative"),
        (lambda: make_preset("bad", first={"S": 0.5}), "must be 1"),
        (lambda: make_preset("bad", first={"S": 1}, division={"S": {"Q": 1}}), "not a fate in row S"),
        (lambda: make_preset("bad", first={"S": 1}, on={"SS": 1}), "not a conversion"),
        (lambda: make_preset("bad", first={"S": 1}, rho_S=1.0), "not a rate that preset"),
        (lambda: Preset("bad", PRESETS["linear"].values, 2), "must be -1, 0 or 1"),
        (lambda: product("typicl"), "Did you mean 'typical'"),
        (lambda: product((0.5, 0.5, 0.5, 0, 0)), "sum to 1"),
    ],
)
def test_bad_options(build, message):
    with pytest.raises(InputError, match=message):
        build()


def test_products():
    for name in PRODUCTS:
        assert sum(product(name, dose=2e8).values()) == pytest.approx(1e7)


# --- inputs: doses into antigen, vaccine, treatment


def test_a_dose_adds_antigen_also_where_hardly_any_is_left():
    path = course("unified", 1, [99.0, 100.0], doses=SCENARIOS["recall"].doses, rtol=1e-8)
    assert path["A"].tolist() == pytest.approx([0.0, 1e6], rel=1e-12, abs=1e-290)
    assert path["L"].iloc[0] == -690.0  # the floor of logarithms, as the right-hand side has it


def test_vaccine_drives_but_does_not_grow():
    model = models.get("t_cell", vaccine=True)
    doses = fastcart.DosingSchedule().bolus(2, "V", 1e6)
    patient = {"A": 0.0, "d_V": 0.5}
    path = fastcart.solve(model, patient, doses=doses, t_end=8, save_at=[1, 2, 8], rtol=1e-9).trajectories
    assert path["V"].tolist() == pytest.approx([0, 1e6, 1e6 * np.exp(-3)], rel=1e-6)
    assert (path["A"] == 0).all()
    assert path["T"].tolist()[:2] == [0, 0]
    assert path["T"].iloc[2] > 1e3


def test_treatment_stops_growth():
    model = models.get("t_cell", scenario="brief")
    path = fastcart.solve(
        model, {**EMPTY}, doses=SCENARIOS["brief"].doses, t_end=3, save_at=[2, 3], rtol=1e-10
    ).trajectories
    assert np.log(path["A"].iloc[0] / path["A"].iloc[1]) == pytest.approx(10, rel=1e-8)


# --- for all parameters (A9)


@pytest.mark.parametrize(
    ("engine", "count"),
    slow_but(
        [("auto", 10_000), ("lsoda", 2000)],
        [("auto", 10_000), ("lanes", 10_000), ("lsoda", 2000), ("scipy", 30)],
        several=True,
    ),
)
def test_positive_and_ordered_for_random_sets(engine, count):
    rtol = 1e-8
    model = models.get("t_cell", shadows=True)
    result = fastcart.solve(
        model, random_sets(count), engine=engine, rtol=rtol, t_end=60, save_at=[1, 3, 6, 10, 20, 60]
    )
    assert result.summary() == {"ok": count}
    path = result.trajectories
    # errors relative to the largest number that a patient ever had
    top = 1 + path.groupby("patient")["T"].transform("max").to_numpy()
    slack = 1e-6 * (1 + 1e-3 * top)
    for name in ("N", *PHENOTYPES, "X"):
        assert (path[name] >= -slack).all(), name
    assert (path["A"] >= 0).all()
    assert path["I"].between(-1e-9, 1, inclusive="left").all()
    for a in "SC":
        tagged, more = path[f"U_{a}"], path[f"W_{a}"]
        assert (tagged >= -slack).all()
        assert (tagged <= more + slack).all()
        assert (more <= path[a] + slack).all()
    assert path["U_M"].between(-slack, path["M"] + slack).all()


# --- the command line


def test_command_line_gives_the_doses_of_a_scenario(tmp_path, capsys):
    from fastcart.cli import main

    table = tmp_path / "patients.csv"
    table.write_text("patient,alpha\n7,1.0\n", encoding="utf-8")
    paths = tmp_path / "paths.csv"
    options = ["--preset", "unified", "--rtol", "1e-9", "--quiet", "--save-at", "106"]
    code = main(
        ["run", "t_cell", "--patients", str(table), "--out", str(tmp_path / "out.csv"), *options,
         "--scenario", "recall", "--trajectories", str(paths)]
    )  # fmt: skip
    assert code == 0
    assert pd.read_csv(paths)["T"][0] == pytest.approx(1.81596653e7, rel=1e-6)
    assert main(["run", "t_cell", "--patients", str(table), "--out", "x.csv", "--preset", "unifed"]) == 2
    assert "Did you mean 'unified'" in capsys.readouterr().err
