"""Every public name is in the reference, with a docstring that says what each argument is."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
import types
from pathlib import Path

import pytest

import fastcart

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
# packages whose public names are in the reference; those without __all__ name what is public there
PACKAGES = (
    "fastcart",
    "fastcart.fit",
    "fastcart.petab",
    "fastcart.population",
    "fastcart.protocols",
    "fastcart.sbml",
    "fastcart.trial",
)
ENTRY = re.compile(r"^   ([A-Za-z_][\w.]*)$")


def listed() -> dict[str, set[str]]:
    """Return the names that the pages list, by package."""
    found: dict[str, set[str]] = {}
    for page in FOLDER.glob("*.md"):
        package = ""
        for line in page.read_text("utf-8").splitlines():
            if line.startswith(".. currentmodule:: "):
                package = line.split(":: ")[1]
            elif entry := ENTRY.match(line):
                found.setdefault(package, set()).add(entry[1])
    return found


LISTED = listed()
OBJECTS = sorted(f"{package}.{name}" for package, names in LISTED.items() for name in names)


def resolve(path: str):
    """Return the object of a dotted name."""
    parts = path.split(".")
    for k in range(len(parts) - 1, 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:k]))
        except ModuleNotFoundError:
            continue
        for part in parts[k:]:
            found = getattr(found, part)
        return found
    raise AssertionError(path)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_listed(package):
    module = importlib.import_module(package)
    public = {n for n in module.__all__ if not isinstance(getattr(module, n), types.ModuleType)} - {
        "__version__"
    }
    missing = {
        name
        for name in public - LISTED.get(package, set())
        if not any(getattr(module, name) is other for other in map(resolve, OBJECTS))  # under another name
    }
    assert not missing, f"name them on a page of docs/reference: {', '.join(sorted(missing))}"


def test_no_class_is_listed_twice():
    """Under each of two names it would have a page, and the site a warning."""
    classes = [found for found in map(resolve, OBJECTS) if isinstance(found, type)]
    twice = {found.__name__ for found in classes if classes.count(found) > 1}
    assert not twice


def test_every_public_module_has_its_names():
    modules = {n for n in dir(fastcart) if isinstance(getattr(fastcart, n), types.ModuleType)}
    assert {f"fastcart.{name}" for name in modules} <= LISTED.keys()


# where a docstring leaves its arguments to another one, or an object is made by a function
ELSEWHERE = re.compile(r"(?:as for|as in|see|made by|[Aa]s of a|read by|What) `")


def documented(text: str) -> set[str]:
    """Return the arguments that a numpydoc docstring names: in a section, or in the text."""
    names = set(re.findall(r"`(\w+)`", text)) if len(text.splitlines()) == 1 else set()
    for title in ("Parameters", "Attributes"):
        section = re.search(rf"^{title}\n-+\n(.*?)(?=^\w[\w ]*\n---|\Z)", text, flags=re.M | re.S)
        heads = re.findall(
            r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: :.*)?$", section[1] if section else "", flags=re.M
        )
        names |= {name.strip("* ") for head in heads for name in head.split(",")}
    return names


@pytest.mark.parametrize("path", OBJECTS)
def test_what_is_listed_is_documented(path):
    found = resolve(path)
    texts = [inspect.getdoc(kind) for kind in (inspect.getmro(found) if inspect.isclass(found) else (found,))]
    assert texts[0], "has no docstring"
    plain = not callable(found) or path.startswith("fastcart.math.")  # numbers in, a number out
    if plain or (inspect.isclass(found) and issubclass(found, Exception)):
        return
    arguments = inspect.signature(found).parameters
    names = {name for name in arguments if not name.startswith("_")} - {"self"}
    missing = names - set().union(*(documented(text) for text in texts if text))
    assert not missing or ELSEWHERE.search(texts[0]), f"says nothing of {', '.join(sorted(missing))}"


def with_examples() -> list[str]:
    """Return the modules whose docstrings have examples."""
    package = Path(fastcart.__file__).parent
    files = [path for path in package.rglob("*.py") if "    >>> " in path.read_text("utf-8")]
    return sorted(".".join(("fastcart", *path.relative_to(package).with_suffix("").parts)) for path in files)


@pytest.mark.parametrize("module", with_examples())
def test_examples_of_docstrings_print_what_they_show(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(importlib.import_module(module), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted
    assert not found.failed
