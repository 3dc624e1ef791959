"""What lies in the folder of a run is used only as it was written; all else is made again, and said."""

from __future__ import annotations

import json
import logging
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numba import njit

import fastcart
from fastcart import Event, InputError, Limit, Model, Observable, Parameter, PublishedScheme, State
from fastcart.model import Sum
from fastcart.runs.files import checksum, read_sums
from fastcart.runs.identity import describe_model, environment, plain
from fastcart.runs.manifest import Manifest, read_manifest
from fastcart.runs.store import open_run


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(autouse=True)
def heard(caplog):
    caplog.set_level(logging.WARNING, logger="fastcart")
    return caplog


def sentences(heard) -> list[str]:
    said = [record.getMessage() for record in heard.records]
    heard.clear()
    return said


@njit
def rhs(t, y, p):
    (C,) = y
    growth, capacity = p
    return (growth * C * (1 - C / capacity),)


LOGISTIC = Model(
    "logistic", [State("C", default=1e6)], {"growth": 0.3, "capacity": 1e9}, rhs, t_end=20.0, burden="C"
)


def scan(folder, **options):
    rates = {"growth": np.linspace(0.1, 0.4, 40)}
    return fastcart.scan(LOGISTIC, rates, folder, chunk=10, engine="scipy", **options)


def sensitivity(folder, **options):
    return fastcart.sensitivity(LOGISTIC, outputs=["final"], n=20, folder=folder, engine="scipy", **options)


def optimize(folder, **options):
    return fastcart.optimize(
        LOGISTIC, {"growth": (0.1, 0.5)}, objective="final", seed=1, particles=4, iterations=4,
        engine="scipy", out=folder, **options,
    )  # fmt: skip


def pareto(folder, **options):
    pytest.importorskip("pymoo")
    return fastcart.pareto(
        LOGISTIC, {"growth": (0.1, 0.5)}, objectives={"final": "maximize", "growth": "minimize"}, seed=1,
        particles=4, iterations=3, engine="scipy", out=folder, **options,
    )  # fmt: skip


STUDIES = {
    "scan": (scan, "endpoints/part-00001.parquet"),
    "sensitivity": (sensitivity, "parts/000000.npz"),
    "optimize": (optimize, "batches/000001.npz"),
    "pareto": (pareto, "batches/000001.npz"),
}


def truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


DAMAGES = {
    "missing": lambda data: None, "truncated": truncated, "empty": lambda data: b"", "flipped": flipped,
    "longer": lambda data: data + b"\0", "text": lambda data: b"[]",
}  # fmt: skip


def damage(file: Path, how: str) -> None:
    new = DAMAGES[how](file.read_bytes())
    file.unlink()
    if new is not None:
        file.write_bytes(new)


@pytest.mark.parametrize("kind", STUDIES)
def test_damaged_part_is_computed_again(tmp_path, kind, heard):
    study, part = STUDIES[kind]
    study(tmp_path / "run")
    whole = contents(tmp_path / "run")
    assert sentences(heard) == []
    for how in DAMAGES:
        damage(tmp_path / "run" / part, how)
        study(tmp_path / "run", resume=True)
        assert contents(tmp_path / "run") == whole, how
        (sentence,) = sentences(heard)
        assert f"{part} is missing or damaged, so it is computed again." in sentence
    study(tmp_path / "run", resume=True)
    assert sentences(heard) == []


def test_flipped_byte_at_any_place_of_a_part(tmp_path, heard):
    scan(tmp_path / "run")
    whole = contents(tmp_path / "run")
    part = tmp_path / "run" / STUDIES["scan"][1]
    rng = np.random.default_rng(1)
    for place in rng.integers(part.stat().st_size, size=8):
        data = bytearray(part.read_bytes())
        data[place] ^= 1 << int(rng.integers(8))
        part.write_bytes(data)
        with pytest.raises(InputError, match="is not as it was written; --resume computes it again"):
            fastcart.scanning.scan.load(tmp_path / "run")
        scan(tmp_path / "run", resume=True)
        assert contents(tmp_path / "run") == whole


def test_many_damaged_parts_are_one_sentence(tmp_path, heard):
    scan(tmp_path / "run")
    whole = contents(tmp_path / "run")
    for part in (tmp_path / "run" / "endpoints").iterdir():
        part.write_bytes(b"")
    scan(tmp_path / "run", resume=True)
    (sentence,) = sentences(heard)
    assert "part-00002.parquet and 1 more are missing or damaged, so they are computed again." in sentence
    assert contents(tmp_path / "run") == whole


def test_parts_of_one_run_do_not_pass_for_those_of_another_place(tmp_path, heard):
    scan(tmp_path / "run")
    whole = contents(tmp_path / "run")
    parts = [tmp_path / "run" / "endpoints" / f"part-0000{k}.parquet" for k in (0, 1)]
    parts[1].write_bytes(parts[0].read_bytes())
    scan(tmp_path / "run", resume=True)
    assert len(sentences(heard)) == 1
    assert contents(tmp_path / "run") == whole


@pytest.mark.parametrize("how", DAMAGES)
def test_damaged_checksums(tmp_path, how):
    """Then parts count as damaged: more is computed than needed, and nothing wrong is taken."""
    scan(tmp_path / "run")
    whole = contents(tmp_path / "run")
    damage(tmp_path / "run" / "checksums.sha256", how)
    scan(tmp_path / "run", resume=True)
    assert contents(tmp_path / "run") == whole


def test_every_file_has_its_checksum(tmp_path):
    for kind, (study, _) in STUDIES.items():
        study(tmp_path / kind)
        files = {
            str(p.relative_to(tmp_path / kind)): checksum(p)
            for p in (tmp_path / kind).rglob("*")
            if p.is_file() and p.name not in ("manifest.json", "checksums.sha256")
        }
        assert read_sums(tmp_path / kind) == files
        assert list(read_sums(tmp_path / kind)) == sorted(files)


# --- the manifest -----------------------------------------------------------------------------------

OURS = {"empty": b"", "one byte": b"{", "cut": b'{\n  "kind": "scan",\n  "mod'}
FOREIGN = {
    "list": b"[]", "null": b"null", "number": b"3", "text": b'"scan"', "no kind": b"{}",
    "kind of another type": b'{"kind": 3}', "list as kind": b'{"kind": ["scan"]}', "no text": b"\xff\xfe\x00",
    "deep": b"[" * 100_000, "web page": b"<html>", "long number": b"1" * 10_000,
}  # fmt: skip


@pytest.mark.parametrize("text", OURS)
def test_damaged_manifest(tmp_path, text):
    scan(tmp_path / "run")
    whole = contents(tmp_path / "run")
    (tmp_path / "run" / "manifest.json").write_bytes(OURS[text])
    for options in ({"resume": True}, {}):
        with pytest.raises(
            InputError, match=r"manifest.json' is damaged, .* use --force to begin anew"
        ) as caught:
            scan(tmp_path / "run", **options)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="is damaged; begin the scan anew"):
        fastcart.scanning.scan.load(tmp_path / "run")
    scan(tmp_path / "run", force=True)
    assert contents(tmp_path / "run") == whole


@pytest.mark.parametrize("text", FOREIGN)
def test_manifest_of_something_else_is_left_alone(tmp_path, text):
    (tmp_path / "manifest.json").write_bytes(FOREIGN[text])
    (tmp_path / "indices.csv").write_text("mine")
    before = contents(tmp_path)
    for study in (scan, sensitivity):
        for options in ({"resume": True}, {}, {"force": True}):
            with pytest.raises(InputError, match=r"is no manifest of fastcart") as caught:
                study(tmp_path, **options)
            assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"is no manifest of fastcart"):
        read_manifest(tmp_path, "scan")
    assert contents(tmp_path) == before


def test_manifest_with_a_flipped_byte_is_not_gone_on_with(tmp_path):
    scan(tmp_path / "run")
    file = tmp_path / "run" / "manifest.json"
    whole = file.read_bytes()
    rng = np.random.default_rng(2)
    for place in rng.integers(len(whole), size=60):
        data = bytearray(whole)
        data[place] ^= 1 << int(rng.integers(7))
        if data.isspace() or json.loads(whole) == _json(data):
            continue  # only the spaces between its words
        file.write_bytes(data)
        with pytest.raises(InputError) as caught:
            scan(tmp_path / "run", resume=True)
        assert "\n" not in str(caught.value)


def _json(data: bytes):
    try:
        return json.loads(data)
    except ValueError:
        return None


def test_manifest_of_other_machine_code_is_not_gone_on_with(tmp_path, monkeypatch):
    scan(tmp_path / "run")
    from numba.core.registry import cpu_target

    codegen = type(cpu_target.target_context.codegen())
    triple, name, features = cpu_target.target_context.codegen().magic_tuple()
    for other in ((triple, "generic", features), (triple, name, features + ",+avx10")):
        with monkeypatch.context() as patch:
            patch.setattr(codegen, "magic_tuple", lambda self, other=other: other)
            with pytest.raises(InputError, match=r"cannot go on, .* processor is .* there and .* now"):
                scan(tmp_path / "run", resume=True)
    scan(tmp_path / "run", resume=True)


def test_environment_has_what_numba_compiles_for():
    from numba.core.registry import cpu_target

    assert cpu_target.target_context.codegen().magic_tuple()[1] in environment()["processor"]


# --- what results depend on -------------------------------------------------------------------------


@njit
def twice(t, y, p):
    return (2 * y[0],)


@njit
def thrice(t, y, p):
    return (3 * y[0],)


@njit
def faster(t, y, p):
    (C,) = y
    growth, capacity = p
    return (2 * growth * C * (1 - C / capacity),)


def state(**changes) -> list[State]:
    return [State(**{"name": "C", "unit": "cells", "default": 1e6, "scale": 2.0, **changes})]


def parameters(**changes) -> list[Parameter]:
    first = {"name": "growth", "default": 0.3, "range": (0.0, 1.0), "unit": "1/day"}
    return [Parameter(**{**first, **changes}), Parameter("capacity", 1e9)]


BASE = Model(
    "base", state(), parameters(), rhs, t_end=20.0, observables=[Observable("o", "cells")], observe=twice,
    burden="C", published=PublishedScheme(rhs, 0.1), options={"a": "b"},
    constraints=[Sum(("growth", "capacity"), 3.0)], method="tsit5",
)  # fmt: skip
CHANGES = {
    "name": {"name": "other"}, "rhs": {"rhs": faster}, "t_end": {"t_end": 21.0},
    "observe": {"observe": thrice},
    "name of an observable": {"observables": [Observable("q", "cells")]},
    "unit of an observable": {"observables": [Observable("o", "mg")]},
    "no observable": {"observables": (), "observe": None},
    "burden": {"burden": None}, "time unit": {"time_unit": "hour"},
    "step of the published scheme": {"published": PublishedScheme(rhs, 0.2)},
    "published right-hand side": {"published": PublishedScheme(faster, 0.1)},
    "no published scheme": {"published": None}, "options": {"options": {"a": "c"}},
    "total": {"constraints": [Sum(("growth", "capacity"), 4.0)]},
    "tolerance": {"constraints": [Sum(("growth", "capacity"), 3.0, 1e-3)]},
    "parameters of a sum": {"constraints": [Sum(("capacity", "growth"), 3.0)]},
    "no constraint": {"constraints": ()}, "method": {"method": "vern7"}, "no method": {"method": None},
    "state name": {"states": state(name="D"), "burden": "D"}, "state default": {"states": state(default=2e6)},
    "computed state default": {"states": state(default=lambda columns: 1e6)},
    "log": {"states": state(log=True)}, "scale": {"states": state(scale=3.0)},
    "state unit": {"states": state(unit="mg")}, "extinction": {"states": state(extinction=True)},
    "group of extinction": {"states": state(extinction="tumor")},
    "parameter name": {"parameters": parameters(name="rate"), "constraints": ()},
    "default": {"parameters": parameters(default=0.4)},
    "computed default": {"parameters": parameters(default=lambda columns: 0.3)},
    "lower end": {"parameters": parameters(range=(0.1, 1.0))},
    "upper end": {"parameters": parameters(range=(0.0, 2.0))}, "unit": {"parameters": parameters(unit="1/h")},
    "order": {"parameters": [parameters()[1], parameters()[0]]},
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_changed_model_is_another_model(change):
    assert describe_model(BASE.replace(**CHANGES[change])) != describe_model(BASE)


def test_every_part_of_a_model_counts_or_is_only_words():
    """A part that is added later counts unless somebody says otherwise."""
    words = {"doc": "words", "references": ("somebody",)}
    assert describe_model(BASE.replace(**words)) == describe_model(BASE)
    only = BASE.replace(
        states=state(description="words"), parameters=parameters(description="words", source="s", symbol="x")
    )
    assert describe_model(only) == describe_model(BASE)
    hashes = {describe_model(BASE.replace(**change))["hash"] for change in CHANGES.values()}
    assert len(hashes | {describe_model(BASE)["hash"]}) == len(CHANGES) + 1


@pytest.mark.parametrize(
    "change",
    ["observe", "default", "upper end", "lower end", "computed default", "extinction", "no constraint"],
)
@pytest.mark.parametrize("kind", ["scan", "sensitivity", "optimize"])
def test_study_of_a_changed_model_is_not_gone_on_with(tmp_path_factory, kind, change):
    base = BASE.replace(constraints=[Sum(("growth", "capacity"), 1e9 + 0.3)])
    studies = {
        "scan": lambda model, folder, **o: fastcart.scan(model, 2, folder, engine="scipy", **o),
        "sensitivity": lambda model, folder, **o: fastcart.sensitivity(
            model, outputs=["final"], ranges={"C": (1e5, 1e6)}, n=10, folder=folder, engine="scipy", **o
        ),
        "optimize": lambda model, folder, **o: fastcart.optimize(
            model, {"C": (1e5, 1e6)}, objective="final", seed=1, particles=2, iterations=1, engine="scipy",
            out=folder, **o,
        ),
    }  # fmt: skip
    folder = tmp_path_factory.getbasetemp() / f"begun-{kind}"
    if not folder.exists():
        studies[kind](base, folder)
    before = contents(folder)
    with pytest.raises(InputError, match=r"cannot go on, .* model.hash is"):
        studies[kind](base.replace(**{"constraints": (), **CHANGES[change]}), folder, resume=True)
    assert contents(folder) == before


def test_every_keyword_of_solve_is_in_the_manifest_of_a_scan(tmp_path):
    import inspect

    scan(tmp_path / "run")
    known = set(inspect.signature(fastcart.solve).parameters) - {"options", "keywords"}
    known |= {option.name for option in fields(fastcart.SolveOptions)}
    own = {
        "model",
        "patients",
        "doses",
        "save_at",
        "keep",
        "threads",
        "seed",
        "progress",
        "warn",
        "sensitivities",
    }
    manifest = read_manifest(tmp_path / "run", "scan")
    assert set(manifest["options"]) == known - own
    assert {"model", "doses"} <= set(manifest)
    assert manifest["options"]["breaks"] is None  # as in the folders of older versions, which can go on


def test_values_without_a_form_in_json_count_by_content():
    class Objective:
        def __init__(self, weight):
            self.weight = weight

        def __call__(self, table):
            return table["final"] * self.weight

    assert plain(Objective(1.0)) == plain(Objective(1.0)) != plain(Objective(2.0))
    assert "0x" not in str(plain([Objective(1.0), np.float64, Event("e", "C", 1.0), Limit("C", at_most=1)]))
    assert plain(pd.Series([1.0, 2.0])) == [1.0, 2.0]


def test_model_that_holds_a_pointer_is_not_gone_on_with(tmp_path):
    from numba import cfunc

    pointer = cfunc("f8(f8)")(lambda x: 2.0 * x).ctypes

    @njit
    def pointing(t, y, p):
        return (-pointer(p[0]) * y[0],)

    model = Model("pointing", {"y": 1.0}, {"k": 0.1}, pointing, t_end=1.0)
    fastcart.scan(model, 2, tmp_path / "run", engine="scipy")
    with pytest.raises(InputError, match="the model holds a CFunctionType, which cannot be compared"):
        fastcart.scan(model.replace(t_end=2.0), 2, tmp_path / "run", engine="scipy", resume=True)


def test_run_keeps_only_what_it_has_written(tmp_path):
    manifest = Manifest("scan", {"a": 1})
    with open_run(tmp_path / "run", manifest) as run:
        run.write("parts/0", b"abc")
        run.path("parts/1").write_bytes(b"not mine")
        assert run.has("parts/0")
        assert not run.has("parts/1")
        run.adopt("parts/1")
        assert run.has("parts/1")
    with open_run(tmp_path / "run", manifest, resume=True) as run:
        assert run.has("parts/0")
        assert run.has("parts/1")
