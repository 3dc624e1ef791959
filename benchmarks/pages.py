"""The README and the pages of the site: what their examples are, and how they are run.

On each page, in the order in which a reader meets them,

- ```` ```python ```` is run, all of a page in one namespace and in an empty folder;
- ```` ```sh ```` holds commands; lines that begin with ``fastcart`` are run;
- ```` ```{code-block} toml ```` with ``:caption: scan.toml`` is a file that the reader writes, and so is a
  block below ``<!-- file: scan.toml -->``;
- ```` ```console ```` is shown and not run, for what takes long;
- a generated part behind an example of Python holds what that prints.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PYTHON, COMMANDS, FILE = "python", "commands", "file"

BLOCK = re.compile(r"(<!-- begin generated: (\S+) -->\n)(.*?)(<!-- end generated -->)", re.DOTALL)
_FENCE = re.compile(
    r"^(?:<!-- file: (?P<file>\S+) -->\n```\w+|"
    r"```(?:(?P<kind>python|sh)|\{code-block\} \w+\n:caption: (?P<name>\S+)\n))\n"
    r"(?P<source>.*?)^```$"
    r"(?:\n\n<!-- begin generated: (?P<printed>\S+) -->)?",
    re.DOTALL | re.MULTILINE,
)


class Example(NamedTuple):
    """What a reader types, or writes into a file.

    Parameters
    ----------
    kind : str
        `PYTHON`, `COMMANDS` or `FILE`.
    name : str
        Of the file, or of the generated part that holds what is printed; empty for none.
    source : str
    """

    kind: str
    name: str
    source: str

    @property
    def commands(self) -> list[list[str]]:
        """The arguments of each command of fastcart."""
        lines = self.source.replace("\\\n", " ").splitlines()
        return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("fastcart ")]


def pages() -> list[Path]:
    """Return the README and all pages that are written by hand."""
    made = {DOCS / "models", DOCS / "reference" / "generated", DOCS / "_build"}
    found = sorted(path for path in DOCS.rglob("*.md") if not made & {*path.parents})
    return [README, DOCS / "models" / "index.md", *found]


def examples(text: str) -> list[Example]:
    """Return the examples of a page, in their order."""
    found = []
    for match in _FENCE.finditer(text):
        file = match["file"] or match["name"]
        if file:
            found.append(Example(FILE, file, match["source"]))
        elif match["kind"] == "python":
            found.append(Example(PYTHON, match["printed"] or "", match["source"]))
        else:
            found.append(Example(COMMANDS, "", match["source"]))
    return found


def run(page: Path) -> Iterator[tuple[Example, str]]:
    """Run the examples of a page in the present folder; yield each with what it prints.

    Raises
    ------
    RuntimeError
        For a command that does not end with 0.
    """
    from fastcart import cli

    namespace: dict = {"__name__": "__main__"}  # as in a script
    for example in examples(page.read_text("utf-8")):
        out = io.StringIO()
        if example.kind == FILE:
            Path(example.name).write_text(example.source, encoding="utf-8")
        elif example.kind == PYTHON:
            with contextlib.redirect_stdout(out), pd.option_context("display.width", 100):
                exec(compile(example.source, f"<{page.name}: {example.name}>", "exec"), namespace)
        else:
            for line in example.commands:
                if line[0] == "explore":  # it would wait for ever
                    raise RuntimeError(f"{page.name}: 'explore' ends by itself never; show it as 'console'.")
                with contextlib.redirect_stdout(out):
                    code = cli.main(line)
                if code != 0:
                    raise RuntimeError(f"{page.name}: 'fastcart {shlex.join(line)}' ends with {code}.")
        yield example, out.getvalue()


def printed_by(page: Path, folder: Path) -> dict[str, str]:
    """Run the examples of a page in a folder; return what its generated parts are to hold."""
    here = Path.cwd()
    os.chdir(folder)
    try:
        return {
            example.name: f"```text\n{text.rstrip()}\n```"
            for example, text in run(page)
            if example.kind == PYTHON and example.name
        }
    finally:
        os.chdir(here)


def pictures_of(page: Path) -> list[Path]:
    """Return the pictures that a page shows."""
    found = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text("utf-8"))
    return [(page.parent / target).resolve() for target in found]


def blocks(text: str) -> dict[str, str]:
    """Return the generated parts of a Markdown text, by name."""
    return {name: body for _, name, body, _ in BLOCK.findall(text)}


def replace_blocks(text: str, new: dict[str, str]) -> str:
    """Put new text between the comments of the parts that ``new`` names."""
    return BLOCK.sub(
        lambda m: f"{m[1]}{new[m[2]].strip()}\n{m[4]}" if m[2] in new else m[0],
        text,
    )
