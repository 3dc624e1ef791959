"""What is refused, and that one sentence names it."""

from __future__ import annotations

import petab_problems
import pytest

pytest.importorskip("petab")
pytest.importorskip("libsbml")

import fastcart.petab
from fastcart.cli import main
from fastcart.errors import InputError

OBS, C, M, P = (petab_problems.OBSERVABLES, petab_problems.CONDITIONS, petab_problems.MEASUREMENTS,
              petab_problems.PARAMETERS)  # fmt: skip
YAML = "format_version: 1\nparameter_file: parameters.tsv\nproblems:\n- condition_files: [conditions.tsv]\n"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"yaml": "format_version: 2.0.0\n"}, "takes 1"),
        ({"yaml": "- 1\n"}, "format_version"),
        ({"yaml": "a: [\n"}, "no YAML"),
        ({"yaml": YAML}, "sbml_files"),
        (
            {"yaml": YAML + "  sbml_files: [lost.xml]\n  measurement_files: [a]\n  observable_files: [b]\n"},
            "not there",
        ),
        ({"observables": [OBS[0], OBS[1].replace("* A", "* Z"), *OBS[2:]]}, "'Z'"),
        ({"observables": [OBS[0], OBS[1].replace("* A", "* (A"), *OBS[2:]]}, "cannot be read"),
        ({"observables": [OBS[0], OBS[1].replace("normal", "cauchy"), *OBS[2:]]}, "cauchy"),
        ({"observables": [*OBS[:2], OBS[2].replace("log10", "log7"), OBS[3]]}, "log7"),
        ({"observables": OBS[:3]}, "'l'"),
        ({"measurements": [M[0], M[1].replace("scale", "lost"), *M[2:]]}, "'lost'"),
        ({"measurements": [M[0], M[1].replace("plain", "lost"), *M[2:]]}, "'lost'"),
        ({"measurements": [M[0], M[1].replace("\tscale\t", "\t\t"), *M[2:]]}, "observableParameter1"),
        ({"measurements": [*M[:3], M[3].replace("2.5", "-2.5"), *M[4:]]}, "not positive"),
        ({"conditions": [C[0], C[1].replace("k1", "lost"), *C[2:]]}, "'lost'"),
        ({"conditions": [x.replace("\tB", "\tthere") for x in C]}, "'there'"),
        ({"parameters": [P[0], P[1].replace("0.01", "20"), *P[2:]]}, "bounds"),
        ({"parameters": [P[0], P[1].replace("log10", "log3"), *P[2:]]}, "log3"),
        ({"parameters": [*P[:-1], P[-1].replace("\t3\t", "\t\t")]}, "'fixed'"),
        ({"parameters": [row[:-1] + "0" if k else row for k, row in enumerate(P)]}, "no parameter"),
        ({"model": "<sbml/>"}, "SBML"),
    ],
)
def test_one_sentence_names_it(tmp_path, changed, words):
    path = petab_problems.write(tmp_path, **changed)
    with pytest.raises(InputError) as caught:
        fastcart.petab.load(path, threads=1)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command_ends_with_2_and_writes_nothing(tmp_path, capsys):
    path = petab_problems.write(tmp_path, yaml="format_version: 2\n")
    assert main(["petab", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "takes 1" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("theta", [[1.0], [[float("nan")] * 5], "x", [[]]])
def test_points_that_are_none(tmp_path, theta):
    problem = fastcart.petab.load(petab_problems.write(tmp_path), threads=1)
    with pytest.raises(InputError):
        problem.objective(theta)
