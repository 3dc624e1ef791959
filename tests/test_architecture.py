"""The contract of the layout, see docs/architecture.md: who may import whom, no circles, few parameters.

What is not yet true stands in a list of exceptions; one that is no longer needed fails, so that they shrink.
"""

from __future__ import annotations

import ast
import importlib.util
import itertools
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import fastcart

ROOT = Path(fastcart.__file__).parent

# From below to above: a module imports from its own layer and from those below it. A name stands for all
# modules in it that no longer name stands for; those of one layer may import each other.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "checks", "math", "_version", "plotting", "expressions", "representation", "typing_names"),
    ("solvers",),
    ("tables",),
    (
        "model",
        "model_parts",
        "model_checks",
        "derivation",
        "equations",
        "events",
        "patients",
        "patient_rows",
        "rows",
        "saving",
        "breaks",
        "dosing",
        "dose_tables",
        "nonmem",
        "regimens",
        "options",
        "specification",
        "telling",
    ),
    ("sbml",),
    ("trial.adapter",),  # what a model that can be tried in a trial must say; models import it
    ("models", "describe", "writing"),
    ("runs.identity", "runs.files", "runs.forms"),  # what is kept of anything
    ("plausible", "saved"),
    (
        "engines",
        "result",
        "result_figures",
        "result_files",
        "given",
        "sensitivities",
        "batch",
        "prepared",
        "explain",
    ),
    ("runs", "sampling"),
    ("sample", "ahead", "bench", "bench_serial", "bench_report"),
    ("scanning", "sensitivity_analysis", "optimization", "comparing"),
    ("trial.course", "trial.segments", "trial.outcomes"),  # what befalls a patient; priors are made for it
    ("population", "protocols"),
    ("fit",),  # what it finds becomes a population
    ("petab",),  # problems of others, fitted by it
    ("trial",),
    ("loading",),  # what any of these saved
    ("exploring",),  # a page that shows what the rooms below solve
    ("fastcart",),  # the public names
    ("papers",),
    ("cli", "__main__"),
)

# Arrows upwards that are there still
UPWARDS = {("model", "describe")}  # by name: a notebook asks a model for its equations, written further up

# Modules that import each other in a circle
CIRCLES: set[frozenset[str]] = set()

# Functions with more than MOST positional parameters that have no default
MOST = 8
CROWDED: set[str] = set()

# Modules of more than 400 lines, see the end of docs/architecture.md
LONG: set[str] = {
    "solvers.lanes.lane",
    "solvers.lsoda_patient",
    "solvers.scipy_ivp",
    "solvers.trace.graph",
    "solvers.fingerprint",
    "result",
    "result_figures",
    "trial.course",
    "trial.families",
    "trial.run",
}

# Modules of models that read parameters or states by number
NUMBERED: set[str] = set()


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__").removesuffix("__init__") or "fastcart"


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def running(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes but those under ``if TYPE_CHECKING``, which never run."""
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        for child in node.orelse:
            yield from running(child)
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from running(child)


@cache
def imports(module: str) -> frozenset[str]:
    """Return the modules of fastcart that a module imports, also within functions."""
    found = set()
    for node in running(tree(module)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "fastcart":
                inner = name.removeprefix("fastcart").removeprefix(".")
                while inner and inner not in MODULES:
                    inner = inner.rpartition(".")[0]
                found.add(inner or "fastcart")
    return frozenset(found - {module})


def asked_for(module: str) -> set[str]:
    """Return the modules of fastcart that a module imports by their names, as texts."""
    texts = {node.value for node in ast.walk(tree(module)) if isinstance(node, ast.Constant)}
    return {text[9:] for text in texts if isinstance(text, str) and text[:9] == "fastcart."} & MODULES.keys()


def layer(module: str) -> int:
    """Return the layer of a module: that of the longest name that stands for it."""
    places = {name: k for k, names in enumerate(LAYERS) for name in names}
    prefix = module
    while prefix not in places:
        prefix, dot, _ = prefix.rpartition(".")
        assert dot, f"{module} has no layer; add it to LAYERS"
    return places[prefix]


def circles() -> set[frozenset[str]]:
    """Return the strongly connected components of more than one module (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: set[frozenset[str]] = set()

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in imports(module):
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            part = []
            while not part or part[-1] != module:
                part.append(stack.pop())
            if len(part) > 1:
                found.add(frozenset(part))

    for module in MODULES:
        if module not in index:
            visit(module)
    return found


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    for module in MODULES:
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.FunctionDef):
                yield f"{module}.{node.name}", node


def required(node: ast.FunctionDef) -> int:
    """Return the number of positional parameters without a default."""
    given = [*node.args.posonlyargs, *node.args.args]
    return len([a for a in given if a.arg not in ("self", "cls")]) - len(node.args.defaults)


def test_every_module_has_a_layer():
    for module in MODULES:
        layer(module)


def test_arrows_point_downwards():
    upwards = {
        (module, other)
        for module in MODULES
        for other in imports(module) | asked_for(module)
        if layer(other) > layer(module)
    }
    assert not upwards - UPWARDS, "these modules import what lies above them"
    assert not UPWARDS - upwards, "these exceptions are no longer needed; remove them"


def test_no_circles():
    found = circles()
    assert not found - CIRCLES, "these modules import each other in a circle"
    assert not CIRCLES - found, "these exceptions are no longer needed; remove them"


def test_nobody_but_the_command_line_knows_a_paper():
    knowing = {
        module
        for module in MODULES
        if any(other.split(".")[0] == "papers" for other in imports(module))
        and module.split(".")[0] not in ("papers", "cli")
    }
    assert not knowing


def test_papers_do_not_import_each_other():
    def paper(module: str) -> str:
        parts = module.split(".")
        return parts[1] if len(parts) > 1 and parts[0] == "papers" and parts[1] != "frame" else ""

    mixed = {
        (module, other)
        for module in MODULES
        for other in imports(module)
        if paper(module) and paper(other) and paper(module) != paper(other)
    }
    assert not mixed


def test_papers_use_no_private_name_of_the_package():
    private = {
        (module, f"{node.module}.{alias.name}")
        for module in MODULES
        if module.startswith("papers.")
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("fastcart")
        for alias in node.names
        if alias.name.startswith("_")
    }
    assert not private


@pytest.mark.parametrize("words", [("dissertation",), ("li-lei-2025", "li_lei_2025"), ("srct",)])
def test_no_paper_is_named_outside_of_papers(words):
    for module, path in MODULES.items():
        if not module.startswith(("papers", "models")):
            text = path.read_text(encoding="utf-8")
            assert not [word for word in words if word in text], module


def test_functions_have_few_parameters():
    crowded = {name for name, node in functions() if required(node) > MOST}
    assert not crowded - CROWDED, "group their parameters in a named tuple or in options"
    assert not CROWDED - crowded, "these exceptions are no longer needed; remove them"


def test_modules_are_short():
    long = {
        module for module, path in MODULES.items() if len(path.read_text(encoding="utf-8").splitlines()) > 400
    }
    assert not long - LONG, "part it, or say in docs/architecture.md why not"
    assert not LONG - long, "these exceptions are no longer needed; remove them"
    text = ROOT.parent / "docs" / "architecture.md"
    if text.is_file():
        names = {MODULES[module].name for module in LONG}
        assert not [name for name in names if f"{name}`" not in text.read_text(encoding="utf-8")]


def test_every_package_says_what_lives_in_it():
    packages = [module for module, path in MODULES.items() if path.name == "__init__.py"]
    silent = [module for module in packages if not ast.get_docstring(tree(module))]
    assert not silent


def test_equations_read_parameters_by_name():
    """No ``p[3]`` and no ``p[2:5]`` in a model."""
    numbered = {
        module
        for module in MODULES
        if module.startswith("models.")
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("p", "y")
        and not any(isinstance(part, ast.Name) for part in ast.walk(node.slice))
    }
    assert not numbered - NUMBERED, "unpack the tuple, or read it by name"
    assert not NUMBERED - numbered, "these exceptions are no longer needed; remove them"


def test_the_picture_shows_the_rooms_in_their_order():
    docs = ROOT.parent / "docs"
    if not docs.is_dir():
        pytest.skip("the documents are not beside the package")
    spec = importlib.util.spec_from_file_location("draw_architecture", docs / "draw_architecture.py")
    assert spec is not None
    assert spec.loader is not None
    drawing = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(drawing)
    shown = [[layer(name) for name in names.split(" · ")] for names, _ in drawing.ROOMS]
    for above, below in itertools.pairwise(shown):
        assert min(above) >= max(below)
    assert (docs / "architecture.svg").read_text(encoding="utf-8") == drawing.picture()


def test_the_longest_files_of_tests_are_there():
    from conftest import LONGEST

    assert not [name for name in LONGEST if not (Path(__file__).parent / name).is_file()]
