"""Tables: what they say, what is refused with its row, and doses that are written in two ways."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from fit_models import LINE, ORAL

from fastcart import SolveOptions, fit
from fastcart.errors import InputError

GOOD = {
    "ID": [1, 1, 1, 2, 2], "TIME": [0, 2, 5, 0, 3], "DV": [".", 4.0, 3.0, ".", 2.5],
    "AMT": [300, 0, 0, 200, 0], "WT": [70, 70, 70, 55, 55], "SEX": ["f", "f", "f", "m", "m"],
    "CMT": [1, 1, 1, 1, 1],
}  # fmt: skip


def test_what_a_table_says():
    rows = {name: [*values, values[-1]] for name, values in GOOD.items()}
    rows["ID"][-1], rows["AMT"][-1], rows["TIME"][-1] = 3, 0, 1
    more = {"ID": 3, "TIME": 2, "DV": ".", "AMT": 100, "WT": 55, "SEX": "m", "CMT": 1}
    table = pd.concat([pd.DataFrame(rows), pd.DataFrame([more])])
    with pytest.warns(UserWarning, match=r"1 measurements lie before the first dose: row 6"):
        data = fit.read(table, ORAL, observables={1: "conc"})
    assert data.ids.tolist() == [1, 2, 3]
    assert data.measurements.patient.tolist() == [0, 0, 1, 2]
    assert data.measurements.value.tolist() == [4.0, 3.0, 2.5, 2.5]
    assert data.measurements.row.tolist() == [2, 3, 5, 6]
    assert data.doses["amount"].tolist() == [300, 200, 100]
    assert data.covariate("wt").tolist() == [70, 55, 55]
    assert data.covariate("SEX").tolist() == ["f", "m", "m"]
    said = data.summary()
    for words in ("3 patients, 4 measurements", "conc: 4", "3 into depot", "covariates: WT, SEX"):
        assert words in said
    with pytest.raises(InputError, match="no constant covariate 'AGE'"):
        data.covariate("AGE")


def test_data_show_themselves_in_a_line():
    data = fit.read(GOOD, ORAL, observables={1: "conc"})
    assert repr(data) == "<FitData: 2 patients; 3 measurements of conc; doses: 2 into depot (0 infusions)>"
    assert "conc: 3 measurements" in data._repr_html_()
    alone = fit.read({"ID": [1, 1], "TIME": [0, 1], "DV": [1.0, 2.0], "DVID": ["a", "b"]}, LINE)
    assert repr(alone) == "<FitData: 1 patient; 1 measurement of a; 1 measurement of b; no doses>"


def test_columns_by_other_names_and_rows_in_any_order():
    table = pd.DataFrame(GOOD).rename(columns={"TIME": "day", "DV": "copies", "ID": "id"})
    mixed = table.iloc[[2, 4, 0, 3, 1]]
    data = fit.read(mixed, ORAL, map={"TIME": "day", "DV": "copies"})
    assert data.ids.tolist() == [1, 2]
    assert data.measurements.time.tolist() == [2, 5, 3]
    assert data.measurements.row.tolist() == [5, 1, 2]


def test_kinds_by_dvid_or_compartment():
    rows = {"ID": [1] * 3, "TIME": [1, 1, 2], "DV": [1.0, 2.0, 3.0], "DVID": [1, 2.0, "1"]}
    data = fit.read(rows, ORAL, observables={1: "conc", 2: "depot"})
    assert data.kinds == ("conc", "depot")
    assert data.measurements.kind.tolist() == [0, 1, 0]
    rows = {**rows, "CMT": rows.pop("DVID")}
    assert fit.read(rows, ORAL).kinds == ("1", "2")


def test_a_measurement_above_a_dose_was_taken_before_it():
    """Troughs see nothing of the dose at their time, also at the start."""
    rows = {
        "ID": [1] * 6, "TIME": [0, 0, 0, 12, 12, 12], "DV": [1.0, ".", 1.0, 1.0, ".", 1.0],
        "AMT": [0, 300, 0, 0, 300, 0], "CMT": [2, 2, 2, 2, 2, 2],
    }  # fmt: skip
    data = fit.read(rows, ORAL)
    assert data.measurements.before.tolist() == [True, False, True, False]
    one = fit.Observation("2", "center", fit.additive(1.0))
    prepared = fit.prepare(ORAL, data, ["CL", "V"], observations=one, options=SolveOptions(rtol=1e-9))
    found = prepared.predictions([[3.0, 30.0]], [0]).values
    left = 300 * np.exp(-0.1 * 12)
    np.testing.assert_allclose(found, [0, 300, left, left + 300], rtol=1e-8)


def test_a_parameter_that_the_table_changes_in_time():
    rows = {
        "ID": [1, 1, 1, 1], "TIME": [0, 2, 4, 6], "DV": [".", 1.0, 1.0, 1.0], "AMT": [100, 0, 0, 0],
        "CMT": [2, 2, 2, 2], "CL": [3.0, 3.0, 6.0, 6.0],
    }  # fmt: skip
    data = fit.read(rows, ORAL)
    assert data.changing == ("CL",)
    assert "carried forward: CL" in data.summary()
    one = fit.Observation("2", "center / CL", fit.additive(1.0))
    prepared = fit.prepare(ORAL, data, ["V"], observations=one, options=SolveOptions(rtol=1e-9))
    found = prepared.predictions([[30.0]], [0]).values
    left = 100 * np.exp([-0.2, -0.4, -0.8])
    np.testing.assert_allclose(found, left / [3.0, 6.0, 6.0], rtol=1e-8)
    with pytest.raises(InputError, match="changes 'CL' in time"):
        fit.prepare(ORAL, data, ["CL"], observations=one)


def test_a_parameter_that_changes_is_the_same_for_rows_in_any_order():
    rows = pd.DataFrame(
        {
            "ID": [1, 1, 1, 1, 2, 2], "TIME": [0, 2, 4, 6, 0, 5], "DV": [".", 1.0, 1.0, 1.0, ".", 2.0],
            "AMT": [100, 0, 0, 0, 50, 0], "CMT": [2] * 6, "CL": [3.0, 3.0, 6.0, 7.0, 2.0, 4.0],
        }
    )  # fmt: skip
    found = []
    for table in (rows, rows.iloc[[3, 2, 1, 0, 5, 4]]):
        data = fit.read(table, ORAL)
        assert data.covariate("CL").tolist() == [3.0, 2.0]
        one = fit.Observation("2", "center / V", fit.additive(1.0))
        prepared = fit.prepare(ORAL, data, ["V"], observations=one)
        found.append(prepared.predictions([[30.0], [30.0]], [0, 1]).values)
    np.testing.assert_array_equal(found[0], found[1])


def predicted(rows: dict, theta=((1.0, 3.0, 30.0),), names=("ka", "CL", "V"), **how) -> np.ndarray:
    data = fit.read(rows, ORAL, observables={1: "conc"}, **how)
    one = fit.Observation("conc", "center / V", fit.additive(1.0))
    prepared = fit.prepare(ORAL, data, names, observations=one, options=SolveOptions(rtol=1e-11))
    found = prepared.predictions(np.array(theta), np.zeros(len(theta), dtype=int))
    assert (found.status == 0).all()
    return found.values.reshape(len(theta), -1)


TIMES = np.array([1.0, 9.0, 20.0, 33.0, 47.0])


def rows_of(doses: dict, times: np.ndarray = TIMES) -> dict:
    """A table of doses, then measurements."""
    count, size = len(doses["TIME"]), len(times)
    more = {name: [*values, *[0] * size] for name, values in doses.items() if name != "TIME"}
    return {
        "ID": [7] * (count + size), "TIME": [*doses["TIME"], *times], "DV": ["."] * count + [1.0] * size,
        "DVID": 1, **more,
    }  # fmt: skip


def test_repeated_doses_are_those_written_out():
    short = {"TIME": [0.0], "AMT": [100], "ADDL": [3], "II": [8.0], "RATE": [50.0], "CMT": [1]}
    long = {"TIME": [0.0, 8.0, 16.0, 24.0], "AMT": [100] * 4, "RATE": [50.0] * 4, "CMT": [1] * 4}
    np.testing.assert_allclose(predicted(rows_of(short)), predicted(rows_of(long)), rtol=1e-9)


def test_steady_state_is_what_many_doses_lead_to():
    steady = {"TIME": [0.0], "AMT": [100], "II": [8.0], "SS": [1], "ADDL": [2], "CMT": [1]}
    number = 60
    many = {"TIME": 8.0 * np.arange(number + 3), "AMT": [100] * (number + 3), "CMT": [1] * (number + 3)}
    later = rows_of(many, TIMES + 8.0 * number)
    np.testing.assert_allclose(predicted(rows_of(steady)), predicted(later), rtol=1e-8)


def test_a_reset_starts_anew():
    doses = {"TIME": [0.0, 10.0], "AMT": [100, 80], "EVID": [1, 4], "CMT": [1, 1]}
    alone = {"TIME": [0.0], "AMT": [80], "EVID": [1], "CMT": [1]}
    found = predicted(rows_of(doses, np.array([12.0, 30.0])))
    np.testing.assert_allclose(found, predicted(rows_of(alone, np.array([2.0, 20.0]))), rtol=1e-9)


def test_lag_and_bioavailability_by_parameters():
    """Each solve has its own: the dose is later, and smaller."""
    plain = {"TIME": [0.0], "AMT": [100], "CMT": [1]}
    theta = np.array([[0.5, 0.7, 1.0], [2.0, 0.4, 1.3]])
    names = ("tlag", "F", "ka")
    found = predicted(
        rows_of(plain, TIMES + 2.0), theta, names, lag={"depot": "tlag"}, bioavailability={"depot": "F"}
    )
    for row, (lag, part, ka) in zip(found, theta, strict=True):
        shifted = {"TIME": [lag], "AMT": [100 * part], "CMT": [1]}
        alone = predicted(rows_of(shifted, TIMES + 2.0), [[ka]], ("ka",))
        np.testing.assert_allclose(row, alone[0], rtol=1e-9)


# ---- tables that are refused ---------------------------------------------------------------------------


def changed(**columns) -> dict:
    return {**GOOD, **columns}


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (changed(SS=[99] * 5), "'SS' holds 99 in row 1; tables of nlmixr2data carry 99"),
        (changed(SS=[3, 0, 0, 0, 0]), "'SS' holds 3 in row 1; give 0, 1"),
        (changed(EVID=[1, 0, 4, 1, 0]), "Row 3 of the doses has EVID 4 and no amount"),
        (changed(EVID=[0, 0, 0, 1, 0]), "Row 1 of the doses has EVID 0 and an amount"),
        (changed(EVID=[1, 0, 7, 1, 0]), "'EVID' of the doses holds 7 in row 3"),
        (changed(DV=[".", "high", 3, ".", 2]), "'DV' holds 'high' in row 2, where a number belongs"),
        (changed(DV=[".", np.inf, 3, ".", 2]), "'DV' holds inf in row 2"),
        (changed(TIME=[0, -2, 5, 0, 3]), "'TIME' holds -2 in row 2; every patient starts at time 0"),
        (changed(TIME=[0, ".", 5, 0, 3]), "'TIME' is empty in row 2"),
        (changed(ID=[1, None, 1, 2, 2]), "'ID' is empty in row 2"),
        (changed(WT=[70, 71, 70, 55, 55]), "'WT' changes from 70 to 71 in row 2"),
        (changed(MDV=[1, 0, 0, 1, 0], DV=[".", ".", 3, ".", 2]), "row 2 has no DV; give one, or MDV 1"),
        (changed(CENS=[0, 1, 0, 0, 0], DV=[".", ".", 3, ".", 2]), "row 2 is censored (CENS 1) and has no DV"),
        (changed(CENS=[0, 2, 0, 0, 0]), "'CENS' holds 2 in row 2"),
        (changed(CENS=[0, 1, 0, 0, 0], LIMIT=[".", 9, ".", ".", "."]), "'LIMIT' holds 9 in row 2"),
        (changed(CENS=[0, -1, 0, 0, 0], LIMIT=[".", 1, ".", ".", "."]), "must lie above DV"),
        (changed(RATE=[-2, 0, 0, 0, 0]), "asks for the parameter 'D1'"),
        (changed(RATE=[-1, 0, 0, 0, 0]), "asks for the parameter 'R1'"),
        (changed(CMT=[5, 1, 1, 1, 1]), "The compartment 5 of the dose in row 1"),
        (changed(DVID=[1, 3, 1, 1, 1]), "row 2, DVID 3, is not among the observables"),
        (changed(DVID=[1, ".", 1, 1, 1]), "'DVID' is empty in row 2"),
        (changed(V=[30, 30, 30, ".", "."]), "'V', a parameter of the model, has no number for patient 2"),
        ({k: x for k, x in GOOD.items() if k != "TIME"}, "no column 'TIME'"),
        ({**GOOD, "time": [1] * 5}, "'TIME' is given twice"),
        ({"ID": [], "TIME": [], "DV": []}, "The table is empty"),
        (3, "The table must be a DataFrame, a mapping of columns or a path, not int."),
    ],
)  # fmt: skip
def test_bad_tables_get_one_sentence_with_the_row(rows, says):
    with pytest.raises(InputError) as caught:
        fit.read(rows, ORAL, observables={1: "conc"})
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_two_measurements_at_one_time_are_named():
    rows = changed(TIME=[0, 2, 2, 0, 3])
    with pytest.warns(UserWarning, match=r"1 measurements have the patient, time and kind of another.*row 3"):
        data = fit.read(rows, ORAL, observables={1: "conc"})
    assert "row 3" in data.summary()


def test_what_may_be_meant_otherwise_is_said():
    with pytest.warns(UserWarning, match=r"1 rows of doses have a DV other than 0, which is not read.*row 4"):
        data = fit.read(changed(DV=[0.0, 4.0, 3.0, 1.0, 2.5]), ORAL)
    assert "2 rows of doses with a value, which is not read" in data.summary()
    assert len(data.measurements.time) == 3
    # a dose at which nothing was measured often has 0 there
    assert fit.read(changed(DV=[0.0, 4.0, 3.0, ".", 2.5]), ORAL).doses_with_value == 1
    marked = fit.read(changed(DV=[0.0, 4.0, 3.0, 1.0, 2.5], MDV=[1, 0, 0, 1, 0]), ORAL)
    assert marked.doses_with_value == 0
    with pytest.warns(UserWarning, match=r"1 rows have a 'C' in the column 'C'.*row 2"):
        fit.read(
            {
                "C": [".", "C", "."], "ID": [1, 1, 2], "TIME": [1, 2, 1], "DV": [1, 9, 2], "SEX": "f"
            }, LINE, ignore=[],
        )  # fmt: skip


def test_a_column_that_nobody_wants():
    assert fit.read(changed(SS=[99] * 5), ORAL, map={"SS": None}).patients == 2
    assert "WT" not in fit.read(changed(WT=[1, 2, 3, 4, 5]), ORAL, ignore=["WT"]).covariates
    for how, says in (
        (dict(ignore=["wt"]), "'wt' is not there. Did you mean 'WT'?"),
        (dict(map="TIME"), "'map' must be a mapping such as {'TIME': 'day'}, not 'TIME'"),
        (dict(observables=["x"]), "'observables' must be a mapping such as {1: 'cells'}, not ['x']"),
        (dict(lag="tlag"), "'lag' must be a mapping such as {'depot': 'tlag'}, not 'tlag'"),
        (dict(bioavailability=["F"]), "'bioavailability' must be a mapping"),
        (dict(map={"TIM": "TIME"}), "The map names 'TIM'"),
        (dict(map={"TIME": "day"}), "TIME is the column 'day', which is not there"),
        (dict(lag={"depot": "lag"}), "lag names 'lag', which is no parameter"),
        (dict(lag={"gut": "tlag"}), "lag names 'gut', which is no state"),
    ):
        with pytest.raises(InputError) as caught:
            fit.read(GOOD, ORAL, **how)
        assert says in str(caught.value)


def test_a_column_that_is_missing_names_those_that_are_there():
    table = {("day" if name == "TIME" else name): values for name, values in GOOD.items()}
    with pytest.raises(InputError) as caught:
        fit.read(table, ORAL)
    text = str(caught.value)
    assert text.startswith(f"The table has no column 'TIME', but {', '.join(table)}; name the one")
    assert text.endswith("by map={'TIME': ...}, in a specification by columns = { TIME = ... }.")


def test_text_and_files(tmp_path):
    path = tmp_path / "table.csv"
    pd.DataFrame(GOOD).to_csv(path, index=False)
    data, same = fit.read(path, ORAL), fit.read(GOOD, ORAL)
    np.testing.assert_array_equal(data.measurements.value, same.measurements.value)
    assert data.ids.tolist() == [1, 2]


@pytest.mark.parametrize(("cells", "says"), [
    (None, r"2 doses name no compartment \(the table has no column CMT\) and go into .*'depot'"),
    ([1, 1, 1, ".", 1], r"1 dose names no compartment \(the cell CMT is empty\) and goes into .*'depot'"),
])  # fmt: skip
def test_doses_into_no_named_state_are_said_to_go_into_the_tumor(cells, says):
    rows = {**GOOD, "CMT": cells, "DVID": 1}
    if cells is None:
        del rows["CMT"]
    assert fit.read(rows, ORAL).notes == ()  # into the depot they are meant to go
    with pytest.warns(UserWarning, match=says) as caught:
        data = fit.read(rows, ORAL.replace(burden="depot"))
    assert data.notes == tuple(str(warning.message) for warning in caught)
    assert len(caught) == 1
    assert set(data.doses["state"]) == {"depot"}
