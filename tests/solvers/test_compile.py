"""Kernels are compiled once, kept by content, and never confused with those of an edited model."""

from __future__ import annotations

import cmath
import enum
import json
import math
import operator
import os
import re
import subprocess
import sys
from pathlib import Path
from types import FunctionType, ModuleType

import numpy as np
import pytest
from numba import njit, types, vectorize
from numba.core import codegen

import fastcart
import fastcart.math as vector_math
from fastcart import Model
from fastcart.solvers import compile as compiling
from fastcart.solvers import inner_libraries
from fastcart.solvers.compile import EXACT, FAST, announcements, cached, from_source, plain, rebuild
from fastcart.solvers.fingerprint import fingerprint
from fastcart.solvers.inner_libraries import optimise_once

ROOT = Path(__file__).resolve().parents[2]


def make(text: str, **names) -> FunctionType:
    """Define the function ``f`` of a text, with other globals."""
    scope = dict(names)
    exec(text, scope)
    return scope["f"]


def module(name: str, **contents) -> ModuleType:
    made = ModuleType(name)
    made.__dict__.update(contents)
    return made


def single(x):
    return x


def double(x):
    return 2.0 * x


# --- the fingerprint --------------------------------------------------------------------------------


def test_the_same_text_has_the_same_fingerprint():
    text = "def f(x):\n    return helper(x) + K"
    assert fingerprint(make(text, helper=single, K=1.5)) == fingerprint(make(text, helper=single, K=1.5))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("return x + 1.0", "return x - 1.0"),
        ("return x + 1.0", "return x + 1.5"),
        ("return x * 1", "return x * 1.0"),
        ("return x * True", "return x * 1"),
        ("return x * 0.0", "return x * -0.0"),
        ("return x in (1, 2)", "return x in (1, 3)"),
        ("return x in {1, 2}", "return x in {1, 3}"),
        ("return sum(i for i in x)", "return sum(i + 1 for i in x)"),
        ("return [lambda: 1.0][0]()", "return [lambda: 2.0][0]()"),
    ],
)
def test_edit_of_the_body_is_seen(before, after):
    assert fingerprint(make(f"def f(x): {before}")) != fingerprint(make(f"def f(x): {after}"))


def test_edit_of_a_default_argument_is_seen():
    one, two = (make(f"def f(x, k={value}): return k") for value in ("1.0", "2.0"))
    assert fingerprint(one) != fingerprint(two)


@pytest.mark.parametrize("wrap", [lambda f: f, njit], ids=["plain", "jitted"])
def test_edit_of_a_helper_is_seen(wrap):
    text = "def f(x): return helper(x)"
    assert fingerprint(make(text, helper=wrap(single))) != fingerprint(make(text, helper=wrap(double)))


def test_edit_of_the_helper_of_a_helper_is_seen():
    text = "def f(x): return helper(x)"
    one, two = (make(text, helper=njit(make(text, helper=njit(h)))) for h in (single, double))
    assert fingerprint(one) != fingerprint(two)


def test_edit_of_a_vectorised_helper_is_seen():
    helpers = [make(f"def f(x): return {factor} * x") for factor in (1.0, 2.0)]
    one, two = (make("def f(x): return helper(x)", helper=vectorize(h)) for h in helpers)
    assert fingerprint(one) != fingerprint(two)


def test_exchange_of_two_helpers_is_seen():
    text = "def f(x): return a(x) - b(x)"
    assert fingerprint(make(text, a=single, b=double)) != fingerprint(make(text, a=double, b=single))


def test_exchange_of_helpers_of_the_same_name_is_seen():
    """Functions made by a factory often share one name, e.g. that of a lambda."""
    one, two = make("def f(x): return x"), make("def f(x): return 2.0 * x")
    text = "def f(x): return a(x) + b(x) * c(x)"
    assert fingerprint(make(text, a=one, b=two, c=one)) != fingerprint(make(text, a=one, b=two, c=two))


def test_options_of_the_jit_are_seen():
    assert fingerprint(njit(single)) != fingerprint(njit(fastmath=True)(single))


CONSTANTS = [
    (1.0, 2.0),
    (1, 1.0),
    (True, False),
    ((1.0, 2.0), (1.0, 3.0)),
    ("a", "b"),
    (np.array([1.0, 2.0]), np.array([1.0, 3.0])),
    (np.float64(1.0), np.float64(2.0)),
    (np.float32(1.0), np.float32(2.0)),
    (np.int64(1), np.int64(2)),
    (np.bool_(True), np.bool_(False)),
    ((1, np.int64(1)), (1, np.int64(2))),
    (range(3), range(4)),
    (math.sin, cmath.sin),
    (np.sin, np.cos),
    (types.float32, types.float64),
    (enum.IntEnum("Arm", "A B"), enum.IntEnum("Arm", "B A")),
]


def name_of_types(pair) -> str:
    return type(pair).__name__


@pytest.mark.parametrize(("before", "after"), CONSTANTS, ids=name_of_types)
def test_edit_of_a_constant_global_is_seen(before, after):
    text = "def f(x): return K"
    assert fingerprint(make(text, K=before)) != fingerprint(make(text, K=after))


@pytest.mark.parametrize(("before", "after"), CONSTANTS, ids=name_of_types)
def test_edit_of_a_constant_in_a_module_is_seen(before, after):
    text = "def f(x): return m.K"
    one, two = (make(text, m=module("m", K=value)) for value in (before, after))
    assert fingerprint(one) != fingerprint(two)


def test_global_that_is_not_named_does_not_count():
    text = "def f(x): return x"
    assert fingerprint(make(text, other=1.0)) == fingerprint(make(text, other=2.0))


def closing_over(value):
    def f(x):
        return value * x

    return f


def calling(helper):
    def f(x):
        return helper(x)

    return f


def test_edit_of_a_closure_value_is_seen():
    assert fingerprint(closing_over(1.0)) != fingerprint(closing_over(2.0))
    assert fingerprint(closing_over(1.0)) == fingerprint(closing_over(1.0))


def test_edit_of_a_helper_in_a_closure_is_seen():
    assert fingerprint(calling(njit(single))) != fingerprint(calling(njit(double)))


@pytest.mark.parametrize("wrap", [lambda f: f, njit], ids=["plain", "jitted"])
def test_edit_of_a_helper_reached_as_module_attribute_is_seen(wrap):
    text = "def f(x): return m.helper(x)"
    one, two = (make(text, m=module("m", helper=wrap(h))) for h in (single, double))
    assert fingerprint(one) != fingerprint(two)


def test_edit_of_a_helper_in_a_module_of_a_package_is_seen():
    text = "def f(x): return package.m.helper(x)"
    one, two = (
        make(text, package=module("package", m=module("m", helper=njit(h)))) for h in (single, double)
    )
    assert fingerprint(one) != fingerprint(two)


def test_edit_of_a_helper_in_a_module_in_a_closure_is_seen():
    def through(m):
        def f(x):
            return m.helper(x)

        return f

    one, two = (through(module("m", helper=njit(h))) for h in (single, double))
    assert fingerprint(one) != fingerprint(two)


def test_modules_that_hold_each_other_end():
    text = "def f(x): return a.b.a.b.K"
    prints = set()
    for value in (1.0, 2.0):
        a, b = module("a"), module("b", K=value)
        a.b, b.a = b, a
        prints.add(fingerprint(make(text, a=a)))
    assert len(prints) == 2


def test_functions_that_name_themselves_or_each_other_end():
    fingerprint(make("def f(n): return 1 if n < 1 else n * f(n - 1)"))
    fingerprint(make("def g(n): return f(n - 1)\ndef f(n): return g(n) if n else 0"))


def test_array_constants_count_by_shape_type_and_contents():
    text = "def f(x): return K"
    square = np.arange(4.0).reshape(2, 2)
    variants = [square, square.ravel(), square.T, square.astype(np.float32), square + 1.0]
    assert len({fingerprint(make(text, K=k)) for k in variants}) == len(variants)


# --- other processes --------------------------------------------------------------------------------


def in_new_process(code: str, **environment) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **{name: str(value) for name, value in environment.items()}},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


FINGERPRINTS = """
import fastcart
from fastcart.solvers.fingerprint import fingerprint
from fastcart.solvers.inner_libraries import optimise_once

def f(x):
    return x in {"a", "b", "c", 1, 2.5}

OPTIONS = {"fastmath": {"nsz", "arcp", "contract", "reassoc", "afn"}, "boundscheck": False}
model = fastcart.models.get("li_lei")
print(fingerprint(f, OPTIONS, frozenset("abc")), fingerprint(model.rhs), fingerprint(model.observe))
"""


def test_fingerprint_is_the_same_in_every_process():
    first, second = (in_new_process(FINGERPRINTS, PYTHONHASHSEED=seed) for seed in (1, 2))
    assert first == second
    assert len(set(first.split())) == 3


IMPORT = """
import json, sys, time
start = time.perf_counter()
import fastcart
seconds = time.perf_counter() - start
heavy = ("numba", "pandas", "matplotlib", "scipy", "numpy", "pyarrow")
print(json.dumps({"seconds": seconds, "heavy": [name for name in heavy if name in sys.modules]}))
"""


def test_import_is_quick_and_light_and_writes_nothing(tmp_path):
    answer = json.loads(in_new_process(IMPORT, FASTCART_CACHE_DIR=tmp_path))
    assert answer["seconds"] < 1.0
    assert answer["heavy"] == []
    assert list(tmp_path.iterdir()) == []


def test_building_every_model_writes_nothing(tmp_path):
    code = "import fastcart\nfor name in fastcart.models.names(): fastcart.models.get(name)"
    in_new_process(code, FASTCART_CACHE_DIR=tmp_path)
    assert list(tmp_path.iterdir()) == []


COMPILE = """
from fastcart.solvers.compile import announcements, cached

def kernel(x):
    return 3.0 * x

with announcements(print):
    print(cached(kernel, "a test")(2.0))
"""


def test_machine_code_is_found_by_the_next_process(tmp_path):
    path = tmp_path / "not" / "yet"
    assert in_new_process(COMPILE, FASTCART_CACHE_DIR=path) == "compiling a test, once ...\n6.0\n"
    files = {f: f.stat().st_mtime_ns for f in path.rglob("*") if f.is_file()}
    assert in_new_process(COMPILE, FASTCART_CACHE_DIR=path) == "6.0\n"
    assert {f: f.stat().st_mtime_ns for f in path.rglob("*") if f.is_file()} == files


# --- kernels ----------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache on disk and in memory."""
    monkeypatch.setenv("FASTCART_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(compiling, "_memory", {})
    return tmp_path / "cache"


def test_cache_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTCART_CACHE_DIR", str(tmp_path / "own"))
    assert compiling.cache_directory() == tmp_path / "own"
    monkeypatch.delenv("FASTCART_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compiling.cache_directory() == tmp_path / "fastcart"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert compiling.cache_directory() == Path.home() / ".cache" / "fastcart"


def test_kernel_is_compiled_once_and_kept_on_disk(cache):
    said: list[str] = []
    with announcements(said.append):
        first = cached(make("def f(x): return x + 11.0"), "a test")
        second = cached(make("def f(x): return x + 11.0"), "a test")
    assert first is second
    assert first(1.0) == 12.0
    assert said == ["compiling a test, once ..."]
    assert [f.suffix for f in cache.iterdir() if f.is_file()] == [".py"]
    assert {f.suffix for f in (cache / "__pycache__").iterdir()} == {".nbi", ".nbc"}


def test_kernels_with_other_options_are_other_kernels(cache):
    function = make("def f(x): return x + 12.0")
    assert cached(function, "a test") is not cached(function, "a test", fastmath=True)


def test_announcements_end_with_their_context(cache):
    said: list[str] = []
    with announcements(said.append):
        pass
    cached(make("def f(x): return x + 13.0"), "a test")(1.0)
    assert said == []


def test_cache_folder_that_cannot_be_created(cache, tmp_path, monkeypatch):
    blocker = tmp_path / "file"
    blocker.write_text("not a folder", encoding="utf-8")
    monkeypatch.setenv("FASTCART_CACHE_DIR", str(blocker / "below"))
    assert cached(make("def f(x): return x + 14.0"), "a test")(1.0) == 15.0
    assert blocker.read_text(encoding="utf-8") == "not a folder"


@pytest.mark.parametrize("name", ["NamedTemporaryFile", "TemporaryFile"])
def test_cache_folder_that_is_not_writable(cache, monkeypatch, name):
    """Both in the folder itself and in the one below; as root, permissions alone would not tell."""

    def denied(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(compiling.tempfile, name, denied)
    assert cached(make("def f(x): return x + 15.0"), "a test")(1.0) == 16.0
    assert not list(cache.rglob("*.nb?"))


def test_a_whole_run_works_without_a_cache_folder(cache, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("FASTCART_CACHE_DIR", str(tmp_path / "file" / "below"))
    model = decaying(njit(single))
    assert fastcart.solve(model, 3, engine="lsoda", t_end=1.0).summary() == {"ok": 3}


def test_interrupted_compilation_leaves_no_files_behind(cache, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    assert cached(make("def f(x): return x + 17.0"), "a test")(1.0) == 18.0
    assert not [f for f in cache.iterdir() if f.is_file()]


# --- rebuilt functions ------------------------------------------------------------------------------


def test_rebuilt_and_plain_functions_compute_the_same():
    helper = njit(make("def f(x): return x + 1.0"))
    function = njit(make("def f(x): return 2.0 * helper(x) + inner(x)", helper=helper, inner=njit(double)))
    assert function(3.0) == plain(function)(3.0) == rebuild(function, FAST)(3.0) == 14.0


def test_rebuilding_leaves_the_original_untouched():
    scope = {"helper": njit(single)}
    exec("def f(x): return helper(x)", scope)
    helper = scope["helper"]
    rebuild(scope["f"], FAST)
    plain(scope["f"])
    assert scope["helper"] is helper


@pytest.mark.parametrize("rework", [plain, lambda f: rebuild(f, FAST)], ids=["plain", "rebuild"])
def test_what_is_no_function_is_refused(rework):
    with pytest.raises(TypeError, match="not a Python function"):
        rework(5)


@pytest.mark.parametrize("rework", [plain, lambda f: rebuild(f, FAST)], ids=["plain", "rebuild"])
def test_default_arguments_survive(rework):
    function = make("def f(x, k=3.0): return k * x")
    assert rework(function)(2.0) == 6.0


def test_plain_handles_functions_that_name_themselves():
    function = njit(make("def f(n): return 1 if n < 1 else n * f(n - 1)"))
    assert plain(function)(4) == 24


WITH_POWERS = {operator.pow: vector_math.power}


@pytest.mark.parametrize(
    ("power", "x", "y"),
    [("x ** y", -2.0, 3.0), ("x ** y", -2.0, 3), ("x ** y", 3, 4), ("x ** y", 3, -2.0), ("x ** y", 0.0, 0.0),
     ("x ** y", True, 2.0), ("x ** y", -1.5 + 1j, 2.0), ("x ** 2", -3.0, 0.0), ("x ** 2", -3, 0.0),
     ("x ** -2.5", 4.0, 0.0), ("x ** K", 2.0, 0.0), ("x ** 0.3", 2.0, 0.0), ("x ** y ** y", 1.5, 2.5)],
)  # fmt: skip
def test_a_power_that_is_replaced_is_the_same_number(power, x, y):
    text = f"def f(x, y):\n    z = {power}\n    z **= y\n    return z"
    wanted = make(text, K=1.7)(x, y)
    found = rebuild(make(text, K=1.7), FAST, WITH_POWERS)(x, y)
    assert found == pytest.approx(wanted, rel=4e-15)
    assert type(found) is type(wanted)


def test_an_array_of_powers_stays_one():
    function = make("def f(x, y): return x ** y")
    x = np.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(rebuild(function, FAST, WITH_POWERS)(x, 2.0), x**2)


def test_powers_are_replaced_in_helpers_and_within_branches():
    helper = njit(make("def f(x, y): return x ** y if x > 0.0 else -((-x) ** y)"))
    function = rebuild(make("def f(x, y): return helper(x, y)", helper=helper), FAST, WITH_POWERS)
    assert function(-2.0, 1.5) == pytest.approx(-(2.0**1.5), rel=1e-15)
    assert not re.search(r"[$\s]pow\b", function.inspect_asm(function.signatures[0]))


def test_an_edit_of_the_power_is_seen(monkeypatch):
    function = make("def f(x, y): return x ** y")
    with_powers = fingerprint(rebuild(function, FAST, WITH_POWERS))
    assert with_powers == fingerprint(rebuild(function, FAST, WITH_POWERS))
    assert with_powers != fingerprint(rebuild(function, FAST))
    monkeypatch.setattr(vector_math, "_TWO_52", 2.0**51)
    assert with_powers != fingerprint(rebuild(function, FAST, WITH_POWERS))


def test_a_kernel_of_nested_functions_keeps_the_powers_of_its_parts():
    inner = rebuild(make("def f(x, y): return x ** y"), FAST, WITH_POWERS)
    kernel = optimise_once(make("def f(x, y): return inner(x, y)", inner=inner), FAST)
    assert kernel(-2.0, 3.0) == -8.0
    assert not re.search(r"[$\s]pow\b", kernel.inspect_asm(kernel.signatures[0]))


# --- edited models ----------------------------------------------------------------------------------


RHS = """
def f(t, y, p):
    return (-p[0] * {call} * y[0],)
"""


def decaying(helper, *, call: str = "helper(1.0)", **names) -> Model:
    """y' = -k helper(1) y, a model that always has the same name."""
    rhs = make(RHS.format(call=call), helper=helper, **names)
    return Model("decaying", {"y": 1.0}, {"k": 0.5}, njit(rhs), t_end=2.0)


def final(model: Model) -> float:
    return fastcart.solve(model, engine="lsoda", rtol=1e-8).endpoints["final_y"][0]


def test_models_that_differ_in_a_helper_alone_give_different_results():
    assert final(decaying(njit(single))) == pytest.approx(np.exp(-1.0), rel=1e-6)
    assert final(decaying(njit(double))) == pytest.approx(np.exp(-2.0), rel=1e-6)
    assert final(decaying(njit(single))) == pytest.approx(np.exp(-1.0), rel=1e-6)


def in_module(helper):
    return module("m", helper=helper)


def in_package(helper):
    return module("m", sub=module("m.sub", helper=helper))


@pytest.mark.parametrize(("place", "call"), [(in_module, "m.helper(1.0)"), (in_package, "m.sub.helper(1.0)")])
def test_models_that_differ_in_a_helper_of_a_module_give_different_results(place, call):
    for helper, rate in ((single, 1.0), (double, 2.0)):
        model = decaying(None, call=call, m=place(njit(helper)))
        assert final(model) == pytest.approx(np.exp(-rate), rel=1e-6)


@pytest.mark.parametrize("kind", [float, np.float32, np.int64], ids=lambda kind: kind.__name__)
def test_models_that_differ_in_a_constant_give_different_results(kind):
    for rate in (1, 2):
        model = decaying(None, call="K", K=kind(rate))
        assert final(model) == pytest.approx(np.exp(-rate), rel=1e-6)


def test_models_that_differ_in_their_observables_alone_give_different_observables():
    from fastcart import Observable

    values = []
    for factor in (1.0, 2.0):
        rhs = make(RHS.format(call="1.0"))
        observe = make("def f(t, y, p): return (K * y[0],)", K=factor)
        model = Model(
            "decaying", {"y": 1.0}, {"k": 0.5}, rhs, observables=[Observable("o")], observe=observe, t_end=2.0
        )
        result = fastcart.solve(model, engine="lsoda", save_at=[0.0])
        values.append(result.trajectories["o"][0])
    assert values == [1.0, 2.0]


def test_generated_code_keeps_its_line_numbers_on_disk():
    """Errors in a kernel name the line that is there, not its neighbour."""
    function = from_source("def numbered(x):\n    return x + 1", "numbered", {})
    code = cached(function, "a test", **EXACT).py_func.__code__
    lines = Path(code.co_filename).read_text().splitlines()
    assert lines[code.co_firstlineno - 1] == "def numbered(x):"


def test_a_kernel_of_nested_functions_is_optimised_once(monkeypatch):
    """Its inner functions are only inlined, and are its own: what others have stays as numba makes it."""
    optimised = []
    library = codegen.CPUCodeLibrary
    original = library._optimize_final_module

    def counted(self):
        optimised.append(self.name)
        original(self)

    monkeypatch.setattr(library, "_optimize_final_module", counted)
    text = """
def inner(x):
    return x * 2.0 + 1.0
def middle(x):
    return inner(x) * inner(x + 1.0)
def outer(x):
    return middle(x) - inner(x)
"""
    scope = {"__name__": "fastcart.solvers.for_a_test"}
    exec(text, scope)
    for name in ("inner", "middle"):
        scope[name] = njit(**compiling.INLINED)(scope[name])
    kernel = optimise_once(scope["outer"], FAST)
    assert kernel(3.0) == 7.0 * 9.0 - 7.0
    assert optimised == ["outer"]
    assert library._optimize_final_module is counted
    assert not scope["middle"].signatures
    assert not scope["inner"].signatures


def test_inner_functions_are_copied_where_a_kernel_is_compiled_alone(monkeypatch):
    """A hundred of them, which a kernel from disk has no use for."""
    copied = []
    make = inner_libraries._with_copies
    monkeypatch.setattr(inner_libraries, "_with_copies", lambda *given: copied.append(1) or make(*given))
    scope = {"__name__": "fastcart.solvers.for_a_test"}
    exec("def inner(x):\n    return x * 2.0 + 1.0\ndef outer(x):\n    return inner(x) - x\n", scope)
    scope["inner"] = njit(**compiling.INNER)(scope["inner"])
    kernel = optimise_once(scope["outer"], FAST)
    assert not copied
    assert kernel(3.0) == 4.0
    assert copied


def test_a_kernel_calls_its_own_copies_of_inner_functions():
    """By name, the process that compiles would call others than one that loads the kernel from disk."""
    scope = {"__name__": "fastcart.solvers.for_a_test"}
    exec("def inner(x):\n    return x * 2.0 + 1.0\ndef outer(x):\n    return inner(x) - x\n", scope)
    scope["inner"] = njit(**compiling.INNER)(scope["inner"])
    kernel = optimise_once(scope["outer"], FAST)
    assert kernel(3.0) == 4.0
    (compiled,) = kernel.overloads.values()
    assert "linkonce_odr" not in compiled.library.get_llvm_str()


def test_kernels_of_one_name_have_constants_of_their_own():
    """Code from disk brings the number along that told functions of one name apart in another process."""
    names = set()
    for text in ("def f(x):\n    return x + 1.0\n", "def f(x):\n    return x + 2.0\n"):
        scope = {"__name__": "fastcart.solvers.for_a_test"}
        exec(text, scope)
        kernel = compiling.cached(scope["f"], "a kernel of a test", **compiling.EXACT)
        kernel(np.ones(2))
        (compiled,) = kernel.overloads.values()
        names.add(compiled.fndesc.qualname)
    assert len(names) == 2
