"""Published models: what papers print, and independent solutions of the same equations.

Reference values were computed by SciPy's LSODA (rtol 1e-10) from the equations of the SBML files named here,
whose species and parameters are those on the right; where the files are at hand, this is done again.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from sbml_equations import Equations

import fastcart
from fastcart.models import doses, get
from fastcart.models.zoo.kirouac_patients import PARAMETERS, PATIENTS


class Case(NamedTuple):
    """A model, its independent solution, and the file that has its equations."""

    name: str
    options: dict[str, str]
    file: str
    times: list[float]
    values: dict[str, list[float]]  # of states
    species: dict[str, str]  # of states, where the names differ
    independent: dict[str, Any] | None = None
    scale: float = 1.0  # units of the file in one of fastcart's


CASES = [
    Case(
        "hanson", {}, "BIOMD0000000837", [100, 300, 1000],
        {
            "C_m": [9.73410216, 8.8960385, 8.60304033], "C_e": [21.4238964, 44.2921654, 6.24723994],
            "H_m": [9.18804398, 8.03478377, 7.38403365], "H_e": [49.8009858, 69.0700217, 16.0999258],
            "L": [1607.92053, 1623.29419, 1672.5077], "I": [161.73356, 150.723486, 134.924063],
            "B": [300.359056, 114.484701, 53.4116138],
        },
        {"I": "Inflam"},
    ),
    Case(
        "leon_triana", {}, "BIOMD0000001011", [10, 30, 100, 365],
        {
            "C": [1.33087023e10, 5.11002448e9, 34450807.4, 2.51489525],
            "L": [2.12176028e10, 2616591.1, 1101924.14, 7.39589364e9],
            "B": [6.4345633e9, 291920.195, 3712.35324, 43.8617916],
        },
        {"C": "CAR_T_cells", "L": "Leukaemic_B_cells", "B": "B_cells_healthy"},
    ),
    Case(
        "leon_triana", {"B_cells": "immature"}, "BIOMD0000001012", [10, 30, 100, 365],
        {
            "C": [1.33120818e10, 5.11058069e9, 34901673.3, 3.26758177],
            "L": [2.120955e10, 2613415.98, 1098064.53, 7.36653361e9],
            "B": [6.43490114e9, 1057245.93, 42694584.2, 99275865.9],
        },
        {"C": "CAR_T_cells", "L": "Leukaemic_B_cells", "B": "B_cells_healthy"},
    ),
    Case(
        "leon_triana_solid", {}, "BIOMD0000001013", [10, 30, 100, 365],
        {
            "C": [639983604.0, 112581025.0, 241739.776, 9146.76394],
            "T": [1.94557585e9, 519570494.0, 1.6169774e9, 2.08886612e9],
        },
        {"C": "CAR_T_cells", "T": "Tumour_cells"},
    ),
    Case(
        "leon_triana_solid", {"targets": "two"}, "BIOMD0000001014", [10, 30, 100],
        {
            "C": [4.46487751e9, 1.97925155e9, 113599.601], "T": [1.01676059e9, 2.3749638, 0.200874031],
            "C_B": [2.57165524e9, 284782157.0, 0.843475846], "B": [1.33414745e10, 1.33246831e9, 393802167.0],
        },
        {
            "C": "CAR_T_cells_on_tumour", "T": "Tumour_cells", "C_B": "CAR_T_cells_off_tumour",
            "B": "B_cells",
        },
        {"logarithm": ["Tumour_cells", "B_cells", "CAR_T_cells_off_tumour"], "atol": 1e-12},
    ),
    Case(
        "barros", {}, "BIOMD0000001019", [60, 100, 260],
        {
            "C_M": [2097126.11, 2475717.07, 1135930.05], "C_T": [515254.396, 17195.7241, 479105.356],
            "T": [3.71820266e-18, 1.2471964e-26, 2.4820729e-06],
        },
        {"C_M": "Cm", "C_T": "Ct"},
        {"jumps": {45.0: {"Ct": 2e6}, 250.0: {"T": 1e6}}, "logarithm": ["T"], "atol": 1e-10},
    ),
    Case(
        "barros", {"line": "Raji"}, "BIOMD0000001020", [10, 15, 20],
        {"T": [141450386.0, 940908824.0, 1.18811302e10]}, {},
        {"jumps": {7.0: {"Ct": 1e7}}},
    ),
    Case(
        "chaudhury", {}, "BIOMD0000001025", [5, 20, 50, 100, 365],
        {
            "C_E": [17839.5754, 4066.25285, 32.2809469, 0.0101984164, 0.0],
            "C_P": [0.0, 136.586978, 151.895216, 129.645409, 55.5233526],
            "U": [233.50557, 5.60840255, 0.111030222, 0.00867248367, 0.00922010471],
        },
        {"C_E": "Expanding_CAR_T_cells", "C_P": "Persistent_CAR_T_cells", "U": "Tumor_cells"},
        {"breaks": [9.3], "logarithm": ["Tumor_cells"], "atol": 1e-12},
    ),
    Case(
        "chaudhury", {"expansion": "first order"}, "MODEL2109110005", [5, 20, 50, 100],
        {
            "C_E": [1484.13159, 19491.7211, 154.739815, 0.0488864554],
            "C_P": [0.0, 654.734318, 728.114878, 621.459672],
            "U": [185.114115, 1.15620342e-200, 3.94034609e-237, 2.01281403e-237],
        },
        {},
        {"breaks": [9.3], "logarithm": ["U"], "atol": 1e-12},
    ),
    Case(
        "chaudhury", {"expansion": "Lotka-Volterra"}, "BIOMD0000001024", [10, 30, 60, 100],
        {
            "C_E": [7094.04795, 289.221413, 2.38414502, 0.00768427215],
            "U": [0.0587303164, 0.00199895218, 0.13750945, 55.350693],
        },
        {"C_E": "Expanding_CAR_T_cells", "U": "Tumor_cells"},
    ),
    Case(  # capacity and half-saturation as the paper has them; the file rounds them per microliter
        "kimmel", {}, "BIOMD0000001041", [7, 14, 28, 90],
        {}, {"N": "Normal_T_cells", "C": "CAR_T_cells", "B": "Antigen_presenting_tumour_cells"},
        {
            "changed": {"K_C": 139.2, "k_B": 4.048}, "atol": 1e-12,
            "logarithm": ["Antigen_presenting_tumour_cells", "CAR_T_cells"],
        },
        5e8,
    ),
    Case(
        "mullinax", {}, "MODEL2109110006", [5, 20, 50, 100],
        {
            "T": [0.977076893, 0.34243182, 0.00414790086, 3.48308478e-07],
            "E": [0.514557032, 0.508796861, 0.51844955, 0.476582193],
            "N": [0.0950614751, 0.184135327, 0.497600179, 0.569761945],
            "R": [0.302987683, 0.435585611, 0.526940667, 0.573113224],
        },
        {},
    ),
]  # fmt: skip
NAMES = ["-".join([case.name, *case.options.values()]).replace(" ", "_") for case in CASES]


@cache
def solved(name: str, *options: str, at: tuple[float, ...]) -> pd.DataFrame:
    """Return the course of a model; what is no variant by the engine that everyone uses."""
    model = get(name, **dict(option.split("=") for option in options))
    engine: dict[str, Any] = {"engine": "scipy", "method": "LSODA"} if options else {"engine": "auto"}
    if options == ("line=Raji",):
        engine = {"engine": "auto"}  # stiff, in states that come to nothing
    result = fastcart.solve(
        model.replace(t_end=at[-1]),
        1,
        save_at=list(at),
        doses=_until(doses(model), at[-1]),
        rtol=1e-9,
        **engine,
    )
    assert result.endpoints["status"].tolist() == ["ok"]
    return result.trajectories


def _until(given: Any, end: float) -> Any:
    if given is None:
        return None
    table = given.table()
    return table[table["time"] < end]


def course(case: Case) -> pd.DataFrame:
    options = [f"{key}={value}" for key, value in case.options.items()]
    return solved(case.name, *options, at=tuple(map(float, case.times)))


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_courses_are_those_of_an_independent_solution(case):
    found = course(case)
    for state, values in case.values.items():
        np.testing.assert_allclose(found[state], values, rtol=3e-5, atol=1e-14, err_msg=state)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_courses_are_those_of_the_sbml_file(case, references):
    settings = dict(case.independent or {})
    equations = Equations(references / "sbml_zoo" / f"{case.file}.xml", **settings.pop("changed", {}))
    independent = equations.solve(case.times, **settings)
    found = course(case)
    states = [state.name for state in get(case.name, **case.options).states]
    for state in states if case.name != "barros" or not case.options else ["T"]:
        expected = independent[case.species.get(state, state)]
        scale = (1e9 if state == "B" else case.scale) if case.name == "kimmel" else 1.0
        np.testing.assert_allclose(found[state] / scale, expected, rtol=3e-5, atol=1e-14, err_msg=state)


# --- numbers of the papers --------------------------------------------------------------------------------


def test_expansion_of_leon_triana_is_that_of_his_formula():
    """CAR-T cells that come of a kill, k, times the targets bound the expansion, death apart."""
    found = fastcart.solve("leon_triana", 1, peaks=["C"]).endpoints.iloc[0]
    bound = 1e7 + 0.25 * (5e10 + 2.5e10)
    assert 0.7 * bound < found["peak_C"] < bound
    nothing_dies = {"tau_C": 1e12, "tau_B": 1e12, "rho_L": 0.0}
    lossless = fastcart.solve("leon_triana", nothing_dies, peaks=["C"], rtol=1e-8).endpoints.iloc[0]
    np.testing.assert_allclose(lossless["peak_C"], bound, rtol=1e-5)


def test_kimmel_has_the_car_t_cells_of_zuma_1():
    """Medians and quartiles per microliter on days 7, 14, 28, 90 (section 3d of the paper)."""
    found = solved("kimmel", at=(7.0, 14.0, 28.0, 90.0))
    per_ul = found["C"].to_numpy() / 5e8
    assert ((per_ul > [16.5, 3.8, 0.6, 0.01]) & (per_ul < [57.5, 31.1, 6.1, 0.4])).all()


def test_car_t_cells_of_barros_control_the_tumor_and_its_return():
    found = solved("barros", at=(60.0, 100.0, 260.0))
    assert (found["T"] < 1.0).all()
    assert (found["C_M"] > 1e6).all()


def test_cytokines_of_hardiansyah_are_those_of_another_solver():
    """Peaks by rxode2, as the vignette of nlmixr2lib prints them, and its readings off the figures."""
    model = get("hardiansyah")
    both = pd.DataFrame([model.default_parameters(), get("hardiansyah", patient="UPN3").default_parameters()])
    both["B"] = [4.14, 0.93]
    both.insert(0, "patient", ["UPN1", "UPN3"])
    tables = [
        doses(get("hardiansyah", patient=name)).table().assign(patient=name) for name in both["patient"]
    ]
    result = fastcart.solve(
        model, both, doses=pd.concat(tables), peaks=["cart", "M", "IL6", "IL10", "IFNg"], save_at=[50, 350],
        rtol=1e-8,
    )  # fmt: skip
    ends = result.endpoints
    for name, values in {
        "cart": [2.5495, 0.0969], "M": [0.00734, 0.00718], "IL6": [2744.7, 49.3], "IL10": [915.3, 116.4],
        "IFNg": [828.4, 119.6],
    }.items():  # fmt: skip
        np.testing.assert_allclose(ends[f"peak_{name}"], values, rtol=2e-3, err_msg=name)
    # read off Figures 1b and S1 of the paper
    np.testing.assert_allclose(ends["peak_cart"], [2.3, 0.12], rtol=0.25)
    np.testing.assert_allclose(result.trajectories["B"].to_numpy()[:2], [0.30, 0.45], atol=0.1)


def test_cells_of_hardiansyah_only_move_where_none_is_born_or_dies():
    still = {"r_E": 0.0, "d_E": 0.0, "r_M": 0.0, "d_M": 0.0}
    model = get("hardiansyah")
    found = fastcart.solve(model, still, doses=doses(model), save_at=[0.5, 1.5, 300], rtol=1e-9).trajectories
    np.testing.assert_allclose(found[["E", "E_t", "M", "M_t"]].sum(axis=1), [0.11, 0.44, 1.1], rtol=1e-7)


def test_crauste_has_the_counts_at_the_maximum_of_the_likelihood():
    """As the Benchmark Models collection simulates them."""
    found = solved("crauste", at=(4.0, 6.0, 7.0, 8.0, 13.0, 15.0, 22.0, 28.0)).set_index("t")
    published = {
        "N": {4: 392.5227992745, 6: 83.7721232473},
        "E": {4: 274.4785423604, 7: 9788.8505315656, 8: 177098.729499603, 15: 1753.9038593417},
        "L": {6: 880.4512881766, 8: 32233.9961951573, 15: 27940.4207271249, 28: 6074.645941717},
        "M": {8: 321.0462560533, 15: 16148.9208662994, 28: 19813.5385185715},
    }
    for state, values in published.items():
        np.testing.assert_allclose(found[state][list(values)], list(values.values()), rtol=2e-4)


def test_crauste_has_the_likelihood_of_the_collection(references):
    data = pd.read_csv(
        references / "petab" / "Crauste_CellSystems2017" / "measurementData_Crauste_CellSystems2017.tsv",
        sep="\t",
    )
    times = tuple(float(t) for t in np.unique(data["time"]))
    found = solved("crauste", at=times).set_index("t")
    state = {"Naive": "N", "EarlyEffector": "E", "LateEffector": "L", "Memory": "M"}
    expected = [
        found[state[name.removeprefix("observable_")]][time]
        for name, time in zip(data["observableId"], data["time"], strict=True)
    ]
    sigma = data["noiseParameters"].to_numpy(float)
    misfit = (data["measurement"] - expected) / sigma
    objective = 0.5 * (np.log(2 * np.pi * sigma**2) + misfit**2).sum()
    assert objective == pytest.approx(190.964, abs=1e-2)


# --- Kirouac's virtual patients -----------------------------------------------------------------------------

# log10 of the most CAR-T cells and of the tumor on day 365, as the paper's runs give them
PUBLISHED = {
    "CR-1": (8.05781, 7.99044), "CR-3": (7.86666, 7.53319), "CR-5": (8.10887, 7.9828),
    "CR-7": (8.0239, 8.00094), "CR-9": (7.90789, 7.42876), "CR-11": (8.07549, 8.063),
    "PR-1": (7.75464, 8.35413), "PR-3": (7.86419, 8.09623), "PR-5": (7.4844, 8.0), "PR-7": (7.41642, 8.3505),
    "PR-9": (7.62072, 8.0), "PR-11": (7.43552, 8.82542), "NR-1": (5.78438, 10.1638),
    "NR-3": (5.8011, 10.2111), "NR-5": (5.8883, 10.2044), "NR-7": (5.72813, 10.1369),
    "NR-9": (5.77474, 10.2111), "NR-11": (5.78767, 10.2003),
}  # fmt: skip
DAYS = [7.0, 14.0, 28.0, 90.0, 180.0, 365.0]


@pytest.fixture(scope="module")
def virtual_patients():
    table = pd.DataFrame([PATIENTS[name] for name in PUBLISHED], columns=list(PARAMETERS))
    table.insert(0, "patient", list(PUBLISHED))
    return fastcart.solve("kirouac", table, peaks=["cart"], save_at=DAYS, rtol=1e-8)


def test_kirouac_has_the_published_maximum_and_tumor(virtual_patients):
    ends = virtual_patients.endpoints
    assert (ends["status"] == "ok").all()
    found = np.log10(ends[["peak_cart", "final_B"]].to_numpy())
    np.testing.assert_allclose(found, list(PUBLISHED.values()), atol=0.002)


def test_kirouac_has_the_accurate_courses(virtual_patients, references):
    table = pd.read_csv(references / "kirouac_2023" / "accurate_odd.csv")
    table["patient"] = table["group"] + "-" + table["patient"].astype(str)
    both = virtual_patients.trajectories.merge(table, on=["patient", "t"], suffixes=("", "_accurate"))
    assert len(both) == 108
    np.testing.assert_allclose(both["cart"], both["T_total"], rtol=1e-5)
    np.testing.assert_allclose(both["B"], both["B_accurate"], rtol=1e-5)


def test_there_are_twelve_virtual_patients_of_each_response():
    assert [name.partition("-")[0] for name in PATIENTS] == ["CR"] * 12 + ["PR"] * 12 + ["NR"] * 12
    assert all(len(values) == len(PARAMETERS) == 27 for values in PATIENTS.values())


# --- options and doses --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("leon_triana", "B_cells", "ripe"), ("leon_triana_solid", "targets", 2), ("barros", "line", "raji"),
        ("chaudhury", "expansion", "third order"), ("hardiansyah", "patient", "UPN2"),
        ("kirouac", "patient", "CR-13"),
    ],
)  # fmt: skip
def test_an_unknown_option_is_one_sentence(name, option, value):
    with pytest.raises(fastcart.InputError, match=f"option '{option}' must be one of") as caught:
        get(name, **{option: value})
    assert "\n" not in str(caught.value)


def test_models_bring_the_doses_of_their_experiments():
    assert doses(get("barros")).table()["time"].tolist() == [45.0, 250.0]
    assert doses(get("barros", line="Raji-IDO")).table()["amount"].tolist() == [1e7]
    assert doses(get("hardiansyah", patient="UPN3")).table()["amount"].sum() == pytest.approx(0.014)


def test_every_paper_can_be_found():
    for name in fastcart.models.names()[7:]:
        assert all("doi:10." in reference for reference in get(name).references), name
