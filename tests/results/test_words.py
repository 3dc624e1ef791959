"""Words: those that options take as types, public names, and what is nearest to a misspelt one."""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext
from typing import get_args

import pytest
from numba import njit

import fastcart
from fastcart import typing_names
from fastcart.cli import main
from fastcart.errors import InputError
from fastcart.solvers.status import Status

MODEL = """
from numba import njit
from fastcart import Model

@njit
def rhs(t, y, p):
    return (-p.k * y.x,)

mine = Model("mine", {"x": 1.0}, {"k": 1.0}, rhs, t_end=1.0)
"""


@njit
def decay(t, y, p):
    return (-p.r * y.E,)


def test_types_are_what_is_checked():
    from fastcart.events import ACTIONS, DIRECTIONS
    from fastcart.optimization import methods as optimizers
    from fastcart.optimization.problem import GOALS
    from fastcart.optimization.swarm import TOPOLOGIES
    from fastcart.optimization.variables import AGGREGATES
    from fastcart.sampling.design import METHODS as SAMPLERS
    from fastcart.sensitivity_analysis import methods
    from fastcart.sensitivity_analysis.outputs import CENSORED
    from fastcart.solvers import lsoda, published, scipy_ivp
    from fastcart.solvers.lanes import engine as lanes
    from fastcart.trial.randomize import METHODS as RANDOMIZATIONS
    from fastcart.writing import STYLES

    every = {
        "ModelName": fastcart.models.names(),
        "Method": [*lanes.METHODS, *lsoda.METHODS, *published.METHODS, *scipy_ivp.METHODS],
        "SensitivityMethod": methods.METHODS, "OptimizationMethod": optimizers.METHODS, "Goal": GOALS,
        "Topology": TOPOLOGIES, "AggregateName": AGGREGATES, "Sampler": SAMPLERS, "Direction": DIRECTIONS,
        "ActionKind": ACTIONS, "EquationStyle": STYLES, "Randomization": RANDOMIZATIONS, "Censored": CENSORED,
    }  # fmt: skip
    for name, known in every.items():
        assert sorted(get_args(getattr(typing_names, name))) == sorted(set(known)), name


def test_public_names_are_there():
    # to take all names at once does not hide the math of Python
    assert sorted([*fastcart.__all__, "math"]) == dir(fastcart)
    for name in fastcart.__all__:
        assert getattr(fastcart, name) is not None
    assert fastcart.trial.run_spec is fastcart.trial.run.run_spec
    assert fastcart.SwarmSettings().particles > 0
    for name in fastcart.trial.__all__:
        assert getattr(fastcart.trial, name) is not None


def test_importing_loads_nothing_heavy():
    code = "import fastcart, sys; print([m for m in ('numpy', 'numba', 'pandas') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_nearest_name_is_said():
    with pytest.raises(AttributeError, match="Did you mean 'optimize'"):
        _ = fastcart.optimise
    with pytest.raises(InputError, match=r"no option 'tend'\. Did you mean 't_end'"):
        fastcart.solve("li_lei", tend=5)


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("optimise", "there is no command 'optimise' (did you mean 'optimize'?); see 'fastcart --help'."),
        ("run li_lei --tend 5 --patients a.csv --out b.csv", "--tend 5 (did you mean '--t-end'?)"),
        ("run li_lei b --patients a.csv --out b.csv", "unknown argument: b;"),
        (
            "run li_lei --patient a.csv --out b.csv",
            "unknown argument: --patient (did you mean '--patients'?)",
        ),
        ("fit --ot=a", "unknown argument: --ot (did you mean '--out'?)"),
        ("scan --outt a --fore", "unknown arguments: --outt --fore (did you mean '--out'?)"),
        ("scan -- --outt", "the following arguments are required: --out;"),
        ("models li_lei --equations latx", "'latx' (did you mean 'latex'?)"),
    ],
)
def test_the_command_line_says_it_too(capsys, command, sentence):
    with pytest.raises(SystemExit) as ended:
        main(command.split())
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


def test_a_file_with_one_model_needs_no_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mymodel.py").write_text(MODEL + "same = mine\n_hidden = mine.replace(name='b')\n")
    assert fastcart.models.get("./mymodel.py").name == "mine"
    assert main(["models", "./mymodel.py", "--equations"]) == 0
    assert "dx/dt = -k*x" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (
            "other = mine.replace(name='b')",
            "mine, other; say which, e.g. mymodel.py:mine",
        ),
        ("del mine", "holds no fastcart.Model"),
        ("1 / 0", "cannot be loaded"),
    ],
)
def test_else_it_is_said_what_there_is(tmp_path, monkeypatch, more, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mymodel.py").write_text(MODEL + more + "\n")
    with pytest.raises(InputError, match=sentence):
        fastcart.models.get("mymodel.py")


def test_a_misspelt_model_of_a_file_is_answered_with_the_nearest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mymodel.py").write_text(MODEL)
    with pytest.raises(InputError, match=r"'mymodel\.py' has no 'mien'\. Did you mean 'mine'\?"):
        fastcart.models.get("mymodel.py:mien")


def test_a_column_to_carry_along_says_how():
    with pytest.raises(InputError, match=r"keep it: keep=\['arm'\], or --keep arm\.$"):
        fastcart.solve("li_lei", {"C": [1e6], "arm": [1]})


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(
        InputError, match=r"none\.py' is no file of Python, for it does not exist; check the path\.$"
    ):
        fastcart.models.get(str(tmp_path / "none.py"))
    (tmp_path / "some.py").mkdir()
    with pytest.raises(InputError, match=r"some\.py' is no file of Python\.$"):
        fastcart.models.get(str(tmp_path / "some.py"))


def test_a_name_without_its_ending_is_answered_with_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mymodel.py").write_text(MODEL)
    with pytest.raises(InputError, match=r"no model 'mymodel', but a file; give 'mymodel\.py'\.$"):
        fastcart.models.get("mymodel")
    with pytest.raises(InputError, match=r"no model 'kimmell'\. Did you mean 'kimmel'"):
        fastcart.models.get("kimmell")
    for name in ("x" * 300, "a\0b"):  # no file can have such a name
        with pytest.raises(InputError, match="There is no model"):
            fastcart.models.get(name)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a = 1\n\nb = a / 0\n", r"mymodel\.py', line 3: ZeroDivisionError: division by zero\.$"),
        ("def f():\n    return q\nf()\n", r"mymodel\.py', line 2: NameError: name 'q' is not defined\.$"),
        ("a = (1,\n", r"mymodel\.py': '\(' was never closed \(mymodel\.py, line 1\)\.$"),
        (
            MODEL + "mine.replace(burden='tumour')\n",
            r"mymodel\.py', line \d+: .* not a state.*\.$",
        ),
        ("import fastcart\nfastcart.models.get('kimmell')\n", r"line 2: .* \(did you mean 'kimmel'\?\)\.$"),
    ],
)
def test_a_file_that_fails_names_its_line(tmp_path, monkeypatch, text, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mymodel.py").write_text(text)
    with pytest.raises(InputError, match=sentence):
        fastcart.models.get("mymodel.py")


def test_a_folder_of_a_run_says_which_tables_it_holds(tmp_path):
    with pytest.raises(InputError, match=r"there is no result\.json\.$"):
        fastcart.load(tmp_path)
    (tmp_path / "tables").mkdir()
    for file in ("endpoints.parquet", "tables/best.csv", "tables/notes.txt"):
        (tmp_path / file).write_text("")
    told = r"no result\.json, .* read its tables with pandas: endpoints\.parquet, tables.best\.csv\.$"
    with pytest.raises(InputError, match=told):
        fastcart.load(tmp_path)


def test_a_burden_that_is_a_sum_is_told_its_recipe():
    told = (
        r"burden 'tumor' is not a state; for a sum of states add one whose derivative is the sum of theirs\."
    )
    with pytest.raises(InputError, match=told):
        fastcart.models.get("li_lei").replace(burden="tumor")


@pytest.mark.parametrize(("marked", "status"), [(True, "negative"), (False, "ok")])
def test_cells_that_are_not_there_are_missed_in_marked_states(marked, status):
    """As the guide to doses says."""
    states = [fastcart.State("E", "cells", 0.0, nonnegative=marked)]
    model = fastcart.Model(f"removal_{marked}", states, {"r": 0.1}, decay, t_end=10)
    doses = fastcart.DosingSchedule().bolus(7, "E", -1e7)
    with nullcontext() if status == "ok" else pytest.warns(fastcart.PatientsFailed):
        found = fastcart.solve(model, doses=doses, progress=False).endpoints
    assert found["status"].tolist() == [status]
    assert marked or found["final_E"].iloc[0] < 0


def test_an_endpoint_has_no_course():
    result = fastcart.solve("li_lei", save_at=[0, 1], progress=False)
    with pytest.raises(InputError, match=r"no course of 'pfs', .*; result\.plot_pfs\(\) draws it\.$"):
        result.plot("pfs")
    with pytest.raises(InputError, match=r"no course of 'nadir', .* stands in result\.endpoints\.$"):
        result.plot(["nadir"])


def test_an_infection_has_no_endpoints_of_a_tumor(capsys):
    columns = fastcart.solve("t_cell", progress=False).endpoints.columns
    assert not {"pfs", "progression", "censored", "nadir", "t_nadir", "final", "cured"} & set(columns)
    tumor = fastcart.solve(fastcart.models.get("t_cell", scenario="cart"), progress=False)
    assert {"pfs", "cured"} <= set(tumor.endpoints.columns)
    with pytest.raises(InputError, match="has no tumor"):
        fastcart.sensitivity("t_cell")
    with pytest.raises(InputError, match="no progression to draw"):
        fastcart.solve("t_cell", progress=False).plot_pfs()
    main(["models", "t_cell"])
    assert "No tumor" in capsys.readouterr().out


def test_commands_say_who_leaves_what_is_plausible(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = MODEL.replace('{"x": 1.0}', '[State("x", "cells", 1.0, plausible=(0, 10))]')
    (tmp_path / "mymodel.py").write_text(text.replace("import Model", "import Model, State"))
    (tmp_path / "p.csv").write_text("patient,x\na,1\nb,100\n")
    assert main(["run", "mymodel.py", "--patients", "p.csv", "--out", "e.csv"]) == 0
    said = capsys.readouterr().out
    assert "In 1 patient x is above what is plausible (10 cells; up to 37)." in said
    (tmp_path / "p.csv").write_text("patient,x\na,1\n")
    assert main(["run", "mymodel.py", "--patients", "p.csv", "--out", "e.csv", "--force"]) == 0
    assert "plausible" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "asked",
    [
        lambda: fastcart.optimize("li_lei", {"T4": (1e3, 1e7)}, constraints="I6 <= 1", seed=1),
        lambda: fastcart.optimize("li_lei", {"T4": (1e3, 1e7)}, objective="I6", seed=1),
        lambda: fastcart.optimize("li_lei", {"T4": (1e3, 1e7)}, objective="IL6", seed=1),
        lambda: fastcart.sensitivity("li_lei", outputs="I6", n=64),
        lambda: fastcart.sensitivity("li_lei", outputs="pfs", where="I6 < 1", n=64),
    ],
)
def test_a_state_where_a_quantity_is_wanted(asked):
    """All that is computed of it is named, for which one is meant only the user knows."""
    with pytest.raises(InputError, match="peak_I6, t_peak_I6, auc_I6") as said:
        asked()
    assert "Did you mean" not in str(said.value)


def test_quantities_of_a_state_are_those_that_there_are():
    from fastcart.errors import nearest_quantity, quantities_of

    known = ["pfs", "final_C", "peak_C", "event_late", "count_late", "final_E"]
    assert quantities_of("C", known) == ["final_C", "peak_C"]
    assert nearest_quantity("C", known) == " Of 'C' there are final_C, peak_C; name the one that is meant."
    assert "event_late, count_late" in nearest_quantity("latte", known)
    assert nearest_quantity("E", known) == " Did you mean 'final_E'?"
    assert nearest_quantity("pf", known) == " Did you mean 'pfs'?"
    assert nearest_quantity("peak_c", known) == " Did you mean 'peak_C'?"


def test_known_quantities_are_told_by_state():
    with pytest.raises(InputError, match=r"Known: pfs, .*; final_, peak_, t_peak_, auc_ before T4, ") as said:
        fastcart.sensitivity("li_lei", outputs="ZZ", n=64)
    assert "; peak_, t_peak_, auc_ before I2, " in str(said.value)
    assert len(str(said.value)) < 300


@pytest.mark.parametrize(
    ("command", "what"),
    [("scan", "The scan"), ("fit", "The fit"), ("trial", "The trial"), ("petab", "The PEtab file")],
)
def test_files_that_hold_no_specification(command, what, tmp_path, monkeypatch, capsys):
    """Each is answered in one sentence, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    kind = "yaml" if command == "petab" else "toml"
    (tmp_path / "folder").mkdir()
    (tmp_path / f"broken.{kind}").write_text('model = "li_lei\n' if kind == "toml" else "a: 1\nb: [\n")
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    told = {
        "none": f"{what} 'none' does not exist; check the path.",
        "folder": f"{what} 'folder' is a folder; give the name of a file.",
        "binary": "cannot be read: ",
        "broken.toml": "(at line 1, column 16); a quotation mark may be missing there.",
        "broken.yaml": "broken.yaml is no YAML: line 3, ",
    }
    for file in ("none", "folder", "binary", f"broken.{kind}"):
        assert main([command, file, "--out", "out"]) == 2
        said = capsys.readouterr().err
        assert told[file] in said
        assert said.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_a_file_of_sbml_that_is_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.xml").write_text("\n")
    with pytest.raises(InputError, match=r"'none\.xml' does not exist; check the path\.$"):
        fastcart.models.get("none.xml")
    with pytest.raises(InputError, match=r"'empty\.xml' is empty; give one that holds a model\.$"):
        fastcart.models.get("empty.xml")


def test_bounds_of_the_command_line_are_told_in_its_spelling(capsys):
    for given in ("T4=1:2:lg", "T4", "T4=1", "T4=1:2:log:3"):
        arguments = ["optimize", "li_lei", "--vary", given, "--seed", "1", "--out", "x"]
        assert main(arguments) == 2
        assert f"must be NAME=LOW:HIGH or NAME=LOW:HIGH:log, not {given!r}." in capsys.readouterr().err


def test_no_starts_are_a_number_of_starts(tmp_path):
    from fastcart.petab.run import run_problem

    with pytest.raises(InputError, match=r"The number of starts \(0 for no fit\) must be a whole number"):
        run_problem(tmp_path / "none.yaml", tmp_path / "out", starts=-1)


def test_a_sample_without_a_seed_says_what_one_is_for():
    with pytest.raises(
        InputError, match=r"from 0 on, not None; give one, e\.g\. seed = 1: the same seed gives"
    ):
        fastcart.sample.Design({"C": {"uniform": (1, 2)}}, 5)


def test_numbers_of_a_fits_file_are_told_in_its_spelling(tmp_path):
    from fastcart.fit.spec import read_spec
    from fastcart.fit.template import TEMPLATE

    (tmp_path / "patients.csv").write_text("ID,TIME,DV,DVID\n1,2,300,1\n")
    for old, new, told in (
        ("virtual_patients = 1000", "virtual_patients = -1", r"of the fit \(0 for none\) must be a whole"),
        ("virtual_patients = 1000", "virtual_patients = false", r"\(0 for none\) must be a whole"),
        (
            "# iterations = [300, 150]",
            "iterations = [300]",
            r"two numbers, such as \[300, 200\], not \[300\]",
        ),
        ("# iterations = [300, 150]", "iterations = 300", r"two numbers, such as \[300, 200\], not 300"),
        ("# iterations = [300, 150]", "iterations = [0, 1]", "An entry of 'iterations' .* from 1 on, not 0"),
    ):
        (tmp_path / "fit.toml").write_text(TEMPLATE.replace(old, new, 1))
        with pytest.raises(InputError, match=told):
            read_spec(tmp_path / "fit.toml")
    (tmp_path / "fit.toml").write_text(TEMPLATE.replace("virtual_patients = 1000", "virtual_patients = 0"))
    assert read_spec(tmp_path / "fit.toml").patients == 0


def test_a_budget_of_steps_speaks_of_jumps_too():
    assert "stiff" in Status.max_steps.sentence
    assert "make that an Event, or a smooth function" in Status.max_steps.sentence
