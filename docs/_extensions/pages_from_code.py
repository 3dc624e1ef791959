"""Pages that are never written by hand: one for each model, with its equations, and the notebooks.

They go into ``docs/models``, ``docs/notebooks`` and ``docs/_generated``, which git ignores, whenever a build
starts. The equations are those that ``fastcart models NAME --equations latex`` prints, read off the
right-hand side.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

import fastcart
from fastcart.describe import _hidden as hidden_names
from fastcart.model import Model
from fastcart.models.core_variables import core_variables
from fastcart.protocols import ARMS, STANDARD, Adaptive, Arm, Infusion
from fastcart.protocols.controlled_arms import ACTUATORS, MEMORY
from fastcart.protocols.controllers import TARGET_WORDS, TARGETS

DOCS = Path(__file__).resolve().parents[1]
CORE = {
    "tumor": "tumor",
    "cart": "CAR-T cells",
    "effector": "effectors",
    "memory": "memory cells",
    "cytokine": "cytokine",
}


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a table in Markdown."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def plain(text: str) -> str:
    """Return text in which stars, underscores and brackets mean nothing to Markdown."""
    return re.sub(r"([*_\[\]<>`$^~{}\\])", r"\\\1", text)


def named(reference: str) -> str:
    """Return a reference with a link to its digital identifier."""
    words, found, identifier = reference.rpartition("doi:" if "doi:" in reference else "doi ")
    if not found:
        return plain(reference)
    identifier = identifier.strip()
    return f"{plain(words)}[doi:{plain(identifier)}](https://doi.org/{identifier})"


def what_it_is(model: Model) -> str:
    """Return the first sentence of a description, or what stands before its equations."""
    return " ".join(re.split(r"\.\s+(?=[A-Z])|:\n", model.doc)[0].split()).rstrip(".")


def core(model: Model) -> str:
    """Say what in a model is the tumor, the CAR-T cells, ..."""
    found = core_variables(model)
    if found is None:
        return ""
    words = {CORE[kind]: " + ".join(f"`{name}`" for name in getattr(found, kind)) for kind in CORE}
    return "; ".join(f"{kind} {names}" for kind, names in words.items() if names)


def equations(model: Model) -> str:
    """Return the equations of a model as Markdown, or why there are none."""
    written = fastcart.written_equations(model, style="latex")
    if written.startswith("\\begin"):
        return f"```{{math}}\n{written}\n```"
    why = written.split("Its description says:")[0]
    return f"{plain(why.strip())} What it computes is described above, and in its paper."


def page(name: str) -> str:
    """Return the page of a model."""
    model = fastcart.models.get(name)
    defaults, hidden = model.defaults(), hidden_names(model)
    unit = model.time_unit
    facts = [f"- Horizon: {model.t_end:g} {unit}s."]
    if model.burden:
        facts.append(f"- Progression: `{model.burden}` above its initial value.")
    if core(model):
        facts.append(f"- What is what: {core(model)}.")
    options = fastcart.models.option_names(name)
    if options:
        chosen = ", ".join(
            f"`{option}`" + (f" (here `{model.options[option]}`)" if option in model.options else "")
            for option in options
        )
        facts.append(
            f'- Options: {chosen}, as `fastcart.models.get("{name}", {options[0]}=...)` or `--option`.'
        )
    states = [
        (
            f"`{s.name}`",
            f"{defaults[s.name]:g}",
            plain(s.unit),
            "logarithm" if s.log else "",
            plain(s.description),
        )
        for s in model.states
        if s.name not in hidden
    ]
    parameters = [
        (
            f"`{p.name}`",
            plain(p.symbol or ""),
            f"{defaults[p.name]:g}",
            plain(p.unit),
            plain(p.source),
            plain(p.description),
        )
        for p in model.parameters
    ]
    observables = [
        (f"`{o.name}`", plain(o.unit), plain(o.description))
        for o in model.observables
        if o.name not in hidden
    ]
    parts = [
        f"# {name}",
        f"```{{code-block}} text\n:class: description\n\n{model.doc.strip()}\n```",
        "\n".join(facts),
        "## Equations",
        equations(model),
        "## States",
        table(("Name", "Default", "Unit", "Integrated in", "What it is"), states),
        "## Parameters",
        table(("Name", "Symbol", "Default", "Unit", "Source", "What it is"), parameters),
    ]
    if observables:
        parts += ["## Observables", table(("Name", "Unit", "What it is"), observables)]
    if model.references:
        parts += ["## References", "\n".join(f"- {named(reference)}" for reference in model.references)]
    parts += [f"On the command line: `fastcart models {name}`, `fastcart models {name} --equations`."]
    return "\n\n".join(parts) + "\n"


def listing() -> str:
    """Return the table of all models."""
    rows = []
    for name in fastcart.models.names():
        model = fastcart.models.get(name)
        numbers = (len(model.states), len(model.parameters))
        rows.append(
            (
                f"[{name}]({name}.md)",
                *map(str, numbers),
                f"{model.t_end:g} {model.time_unit}s",
                plain(what_it_is(model)),
            )
        )
    head = ("Model", "States", "Parameters", "Horizon", "What it is")
    return table(head, rows)


def arms() -> str:
    """Return the table of all arms of the library."""
    rows = []
    for name, arm in ARMS.items():
        kind = "standard" if arm in STANDARD else "exploratory"
        rows.append((f"`{name}`", kind, plain(arm.title), given(arm), "yes" if arm.equal_budget else "no"))
    return table(("Arm", "Kind", "What it is", "Effectors / memory cells on day", "Same cells"), rows)


def given(arm: Arm) -> str:
    """Say what an arm infuses when, in percent of the product."""
    if isinstance(arm, Adaptive):
        days = f"{len(arm.visits)} visits, days {arm.visits[0]:g} to {arm.visits[-1]:g}"
        return f"0: {percent(arm.start)}; then by a rule at {days}"
    return "; ".join(f"{infusion.day:g}: {percent(infusion)}" for infusion in arm.infusions)


def percent(infusion: Infusion) -> str:
    """Return the shares of effectors and memory cells."""
    return f"{round(100 * infusion.effectors)} / {round(100 * infusion.memory)} %"


def control() -> str:
    """Return the table of the words for controlled arms."""
    targets = {
        name: f"{TARGET_WORDS[name]}: rise {rise:g} per day, power {power:g} of the burden's fall"
        for name, (rise, power) in TARGETS.items()
    }
    listed = {"target": targets, "actuator": ACTUATORS, "memory": MEMORY}
    rows = [
        (f"`{entry}`", f"`{name}`", plain(words))
        for entry, known in listed.items()
        for name, words in known.items()
    ]
    return table(("Entry", "Value", "What it does"), rows)


def write(path: Path, text: str) -> None:
    """Write a file where it is another: Sphinx reads anew what was touched."""
    if not path.exists() or path.read_text("utf-8") != text:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


def write_pages(_: Any = None) -> None:
    """Write the pages of all models, and copy the notebooks."""
    for name in fastcart.models.names():
        write(DOCS / "models" / f"{name}.md", page(name))
    for name, text in {"models": listing(), "arms": arms(), "control": control()}.items():
        write(DOCS / "_generated" / f"{name}.txt", text + "\n")
    for notebook in (DOCS.parent / "notebooks").glob("*.ipynb"):
        write(DOCS / "notebooks" / notebook.name, notebook.read_text("utf-8"))


def list_all_guides(_: Sphinx, name: str, source: list[str]) -> None:
    """Put guides that the list does not name behind those that it puts in an order."""
    if name == "guides/index":
        others = {path.stem for path in (DOCS / "guides").glob("*.md")} - {"index"}
        others -= set(re.findall(r"^\w+$", source[0], flags=re.M))
        source[0] = source[0].replace("\ntrials\n", "\n" + "\n".join(["trials", *sorted(others)]) + "\n")


def setup(app: Sphinx) -> dict[str, Any]:
    """Write the pages before Sphinx looks for documents."""
    app.connect("builder-inited", write_pages)
    app.connect("source-read", list_all_guides)
    app.connect("env-get-outdated", lambda *_: ["guides/index"])  # another guide may have come or gone
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
