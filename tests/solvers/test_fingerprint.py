"""Two things that may compute differently never share a kernel, and the same thing always does."""

from __future__ import annotations

import ctypes
import dis
import enum
import functools
import importlib
import os
import pickle
import subprocess
import sys
import threading
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, SimpleNamespace

import numpy as np
import pytest
from numba import cfunc, njit, typed, types
from numba.extending import overload

import fastcart
from fastcart import Model
from fastcart.solvers import compile as compiling
from fastcart.solvers.fingerprint import _loaded_globals, examine, fingerprint

ROOT = Path(__file__).resolve().parents[2]


def make(text: str, **names) -> FunctionType:
    """Define the function ``f`` of a text, with other globals."""
    scope = dict(names)
    exec(text, scope)
    return scope["f"]


def single(x):
    return x


def double(x):
    return 2.0 * x


def class_with(**attributes) -> type:
    return type("Settings", (), attributes)


@dataclass(frozen=True)
class Rates:
    a: float
    b: float


class Ordered(enum.Enum):
    LOW = 1
    HIGH = 2


class Factor:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, columns):
        return self.factor

    def scaled(self, columns):
        return self.factor * 2


class Frozen:
    __slots__ = ("x",)

    def __init__(self, x):
        self.x = x


class Listed(list):
    pass


def counting():
    count = [0]

    def f():
        return count[0]

    return f, count


def jitted_default(k):
    def f(x, k=k):
        return k * x

    return njit(f)


RECORD = np.dtype([("a", "f8"), ("b", "f8")])
SWAPPED = np.dtype([("b", "f8"), ("a", "f8")])
BIG = np.zeros(200_000)
BIG_EDITED = BIG.copy()
BIG_EDITED[123_456] = 1e-300
DEEP = [[[[1.0]]]]

# pairs of makers of things that differ in what they compute
DIFFERENT = {
    "order of the fields of a named tuple": (
        lambda: namedtuple("C", "a b"), lambda: namedtuple("C", "b a")
    ),
    "named tuples": (lambda: namedtuple("C", "a b")(1, 2), lambda: namedtuple("C", "b a")(1, 2)),
    "defaults of a named tuple": (
        lambda: namedtuple("C", "a b", defaults=(1.0,)), lambda: namedtuple("C", "a b", defaults=(2.0,))
    ),
    "attributes of a class": (lambda: class_with(k=1.0), lambda: class_with(k=2.0)),
    "attributes of a base class": (
        lambda: type("D", (class_with(k=1.0),), {}), lambda: type("D", (class_with(k=2.0),), {})
    ),
    "methods of a class": (lambda: class_with(f=single), lambda: class_with(f=double)),
    "properties of a class": (lambda: class_with(f=property(single)), lambda: class_with(f=property(double))),
    "static methods": (
        lambda: class_with(f=staticmethod(single)), lambda: class_with(f=staticmethod(double))
    ),
    "instances": (lambda: Rates(1.0, 2.0), lambda: Rates(1.0, 3.0)),
    "instances with slots": (lambda: Frozen(1.0), lambda: Frozen(2.0)),
    "name spaces": (lambda: SimpleNamespace(a=1), lambda: SimpleNamespace(a=2)),
    "callable objects": (lambda: Factor(1.0), lambda: Factor(2.0)),
    "bound methods": (lambda: Factor(1.0).scaled, lambda: Factor(2.0).scaled),
    "method and object": (lambda: Factor(1.0).scaled, lambda: Factor(1.0)),
    "partial arguments": (lambda: functools.partial(single, 1.0), lambda: functools.partial(single, 2.0)),
    "partial functions": (lambda: functools.partial(single, 1.0), lambda: functools.partial(double, 1.0)),
    "partial keywords": (lambda: functools.partial(single, x=1), lambda: functools.partial(single, x=2)),
    "members of an enumeration": (lambda: Ordered.LOW, lambda: Ordered.HIGH),
    "enumerations": (lambda: enum.Enum("E", {"A": 1, "B": 2}), lambda: enum.Enum("E", {"A": 2, "B": 1})),
    "flags": (lambda: enum.Flag("E", {"A": 1}), lambda: enum.Flag("E", {"A": 2})),
    "callbacks": (lambda: cfunc("f8(f8)")(single), lambda: cfunc("f8(f8)")(double)),
    "signatures of callbacks": (lambda: cfunc("f8(f8)")(single), lambda: cfunc("f4(f4)")(single)),
    "pointers": (lambda: cfunc("f8(f8)")(single).ctypes, lambda: cfunc("f8(f8)")(double).ctypes),
    "functions of a library": (lambda: ctypes.CDLL(None).labs, lambda: ctypes.CDLL(None).abs),
    "external functions": (
        lambda: types.ExternalFunction("sin", types.float64(types.float64)),
        lambda: types.ExternalFunction("cos", types.float64(types.float64)),
    ),
    "typed lists": (lambda: typed.List([1.0, 2.0]), lambda: typed.List([1.0, 3.0])),
    "fields of records": (lambda: np.zeros(1, RECORD)[0], lambda: np.zeros(1, SWAPPED)[0]),
    "records": (lambda: np.zeros(1, RECORD)[0], lambda: np.ones(1, RECORD)[0]),
    "arrays of records": (lambda: np.zeros(2, RECORD), lambda: np.zeros(2, SWAPPED)),
    "one number in a big array": (lambda: BIG, lambda: BIG_EDITED),
    "arrays of objects": (
        lambda: np.array([1.0, "a"], dtype=object), lambda: np.array([1.0, "b"], dtype=object)
    ),
    "masks": (lambda: np.ma.array([1, 2], mask=[0, 1]), lambda: np.ma.array([1, 2], mask=[1, 0])),
    "big numbers": (lambda: 10**5000, lambda: 10**5000 + 1),
    "sets of functions": (lambda: {single}, lambda: {double}),
    "keys of another type": (lambda: {1: 2.0}, lambda: {"1": 2.0}),
    "boundaries of texts": (lambda: ("ab", "c"), lambda: ("a", "bc")),
    "lists and tuples": (lambda: [1.0], lambda: (1.0,)),
    "nested lists": (lambda: [[[[1.0]]]], lambda: [[[[2.0]]]]),
    "lists with attributes": (lambda: Listed([1.0]), lambda: Listed([2.0])),
    "random streams": (lambda: np.random.default_rng(1), lambda: np.random.default_rng(2)),
    "zeros of either sign": (lambda: 0.0, lambda: -0.0),
    "defaults of a jitted function": (lambda: jitted_default(1.0), lambda: jitted_default(2.0)),
    "keyword defaults": (
        lambda: make("def f(*, k=1.0): return k"), lambda: make("def f(*, k=2.0): return k")
    ),
    "handlers of exceptions": (
        lambda: make("def f(x):\n  try:\n    y = g(x)\n    return h(x)\n  except E:\n    return 1.0"),
        lambda: make("def f(x):\n  y = g(x)\n  try:\n    return h(x)\n  except E:\n    return 1.0"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", DIFFERENT)
def test_what_differs_has_another_fingerprint(kind):
    one, two = DIFFERENT[kind]
    text = "def f(x): return K"
    assert fingerprint(make(text, K=one())) != fingerprint(make(text, K=two()))


NEVER_THE_SAME = ("pointers", "functions of a library")  # by what they are


@pytest.mark.parametrize("kind", [kind for kind in DIFFERENT if kind not in NEVER_THE_SAME])
def test_the_same_thing_made_twice_has_the_same_fingerprint(kind):
    for maker in DIFFERENT[kind]:
        one, two = examine(maker()), examine(maker())
        assert one == two
        assert one.opaque == ()  # so that its kernel is kept on disk


def test_one_pointer_is_itself():
    pointer = cfunc("f8(f8)")(single).ctypes
    assert fingerprint(pointer) == fingerprint(pointer)


@pytest.mark.parametrize(
    "maker", [threading.Lock, lambda: cfunc("f8(f8)")(single).ctypes, lambda: (i for i in "a")]
)
def test_what_has_no_content_counts_by_its_identity(maker):
    one, two = maker(), maker()
    assert examine(one).digest != examine(two).digest
    assert examine(one).opaque == (type(one).__name__,)
    assert examine([one]).opaque == (type(one).__name__,)


def test_identity_is_never_that_of_something_gone():
    assert len({fingerprint(threading.Lock()) for _ in range(100)}) == 100


def test_closure_that_changes_is_seen():
    f, count = counting()
    before = fingerprint(f)
    count[0] = 1
    assert fingerprint(f) != before


def test_a_variable_that_has_the_name_of_a_state_is_not_what_the_equation_reads():
    scope = {"m": 1.0}
    exec("def rhs(t, y, p):\n    return (-p.k * y.m,)", scope)
    before = fingerprint(scope["rhs"])
    scope["m"] = scope["k"] = object()
    assert fingerprint(scope["rhs"]) == before
    exec("def rhs(t, y, p):\n    return (-p.k * y.m * m,)", scope)
    scope["m"] = 1.0
    before = fingerprint(scope["rhs"])
    scope["m"] = 2.0
    assert fingerprint(scope["rhs"]) != before


def test_closure_that_is_not_filled_yet():
    def outer():
        def f():
            return later

        early = fingerprint(f)
        later = 1.0
        return early, fingerprint(f)

    early, late = outer()
    assert early != late


def test_things_that_hold_themselves_end():
    ring: list = [1.0]
    ring.append(ring)
    knot: dict = {}
    knot["self"] = knot
    twin = SimpleNamespace()
    twin.other = SimpleNamespace(other=twin)
    assert len({fingerprint(ring), fingerprint(knot), fingerprint(twin)}) == 3


def test_content_counts_and_not_whether_it_is_shared():
    part = [1.0, 2.0]
    assert fingerprint([part, part]) == fingerprint([[1.0, 2.0], [1.0, 2.0]])


def test_function_that_numba_replaces():
    prints = set()
    for implementation in (lambda x: lambda x: x, lambda x: lambda x: 2.0 * x):
        replaced = make("def f(x): raise NotImplementedError")
        overload(replaced)(implementation)
        prints.add(fingerprint(make("def f(x): return g(x)", g=replaced)))
    assert len(prints) == 2


PRINTS = """
import functools, enum
from collections import namedtuple
from dataclasses import dataclass
import numpy as np
from numba import cfunc
from fastcart.solvers.fingerprint import examine

C = namedtuple("C", "a b")

@dataclass
class Rates:
    a: float
    name: str = "x"

def f(x):
    return C(a=x, b=2.0)

things = [C, C(1, 2), Rates(1.0), functools.partial(f, 1), {"a", 1, ("b", 2)}, cfunc("f8(f8)")(lambda x: x),
          np.random.default_rng(1), f, enum.Enum("E", "A B"), {"b": 1, "a": 2},
          f.__get__(1), np.ma.array([1])]
for thing in things:
    print(examine(thing))
"""


def run(code: str, **environment) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT,
        env={**os.environ, **{name: str(value) for name, value in environment.items()}},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_process_finds_the_same():
    first, second = (run(PRINTS, PYTHONHASHSEED=seed) for seed in (1, 2))
    assert first == second
    assert len(set(first.splitlines())) == 12
    assert "Examined" in first
    assert first.count("opaque=()") == 12


def test_objects_that_travelled_between_processes_are_the_same():
    for thing in (Rates(1.0, 2.0), Factor(3.0), functools.partial(single, 1.0), Ordered.LOW):
        assert fingerprint(pickle.loads(pickle.dumps(thing))) == fingerprint(thing)


# --- kernels ----------------------------------------------------------------------------------------

MODEL = """
import sys
from collections import namedtuple
from numba import njit
import fastcart

C = namedtuple("C", sys.argv[1])

@njit
def rhs(t, y, p):
    rates = C({order})
    return (-rates.a * y[0],)

model = fastcart.Model("tuples", {{"y": 1.0}}, {{"k": 0.5}}, rhs, t_end=2.0)
print(float(fastcart.solve(model, engine="{engine}", rtol=1e-8).endpoints["final_y"][0]))
"""


@pytest.mark.parametrize("engine", ["scipy"])
def test_fields_in_another_order_are_another_kernel_in_a_new_process(tmp_path, engine):
    code = MODEL.format(order="0.5, 1.0", engine=engine)
    for fields, rate in (("a b", 0.5), ("b a", 1.0), ("a b", 0.5)):
        text = run(f"import sys; sys.argv[1:] = [{fields!r}]\n{code}", FASTCART_CACHE_DIR=tmp_path)
        assert float(text) == pytest.approx(np.exp(-2 * rate), rel=1e-6)


def model_with(pointer) -> Model:
    rhs = make("def f(t, y, p): return (-p[0] * pointer(1.0) * y[0],)", pointer=pointer)
    return Model("pointing", {"y": 1.0}, {"k": 0.5}, njit(rhs), t_end=2.0)


@pytest.mark.parametrize("kind", ["ctypes", "callback"])
def test_models_that_differ_in_a_pointer_give_different_results(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("FASTCART_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(compiling, "_memory", {})
    callbacks = {1.0: cfunc("f8(f8)")(single), 2.0: cfunc("f8(f8)")(double)}
    for rate in (1.0, 2.0, 1.0):
        pointer = callbacks[rate].ctypes if kind == "ctypes" else callbacks[rate]
        final = fastcart.solve(model_with(pointer), engine="scipy", rtol=1e-8).endpoints["final_y"][0]
        assert final == pytest.approx(np.exp(-rate), rel=1e-6)
    # an address means nothing to another process
    assert not list(tmp_path.rglob("*.nbc"))


def test_the_key_of_a_kernel_tells_modules_apart_that_hold_the_same_function(tmp_path, monkeypatch):
    """Compiled code on disk is read by importing the modules of its helpers."""
    monkeypatch.syspath_prepend(tmp_path)
    source = "from numba import njit\n@njit\ndef helper(x):\n    return x + 1.0\n"
    for name in ("helper_here", "helper_there"):
        (tmp_path / f"{name}.py").write_text(source)
    kernels = []
    for name in ("helper_here", "helper_there"):
        helper = importlib.import_module(name).helper
        scope = {"helper": helper}
        exec("def kernel(x):\n    return helper(x)", scope)
        kernels.append(scope["kernel"])
    first, second = (examine(kernel) for kernel in kernels)
    assert first.digest == second.digest  # a model is the same wherever its functions live
    assert first.modules != second.modules
    assert compiling.cached(kernels[0], "one") is not compiling.cached(kernels[1], "other")


def test_names_of_globals_are_read_as_the_disassembler_reads_them():
    many = "\n".join(f"    a{i} = b{i}() + c{i}" for i in range(400))  # more names than a byte numbers
    namespace = {}
    exec(f"def calls():\n{many}\n    class Inner:\n{many.replace('    ', '        ')}\n", namespace)
    calls = namespace["calls"].__code__
    inner = next(item for item in calls.co_consts if isinstance(item, type(calls)))
    ours = [item.__code__ for item in vars(compiling).values() if isinstance(item, FunctionType)]
    for code in [calls, inner, *ours]:
        named = {
            step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")
        }
        assert set(_loaded_globals(code)) == named
    assert {"b399", "c399"} <= set(_loaded_globals(calls))
