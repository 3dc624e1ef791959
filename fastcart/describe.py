"""Models in words: the listing and the description that ``fastcart models`` prints."""

from __future__ import annotations

import json
from html import escape
from typing import Any

import pandas as pd

from fastcart.errors import InputError
from fastcart.model import Model, Parameter
from fastcart.models import get, names, option_names
from fastcart.models.core_variables import core_variables
from fastcart.representation import facts, section, table

_CORE = {
    "tumor": "tumor", "cart": "CAR-T cells", "effector": "effectors", "memory": "memory cells",
    "cytokine": "cytokine",
}  # fmt: skip


def listing(*, as_json: bool = False) -> str:
    """Return all models with one line each, or as JSON."""
    models = [get(name) for name in names()]
    if as_json:
        return json.dumps([_summary(m) for m in models], indent=2)
    width = max(len(m.name) for m in models)
    lines = [
        f"{m.name:<{width}}  {len(m.states):>2} states, {len(m.parameters):>2} parameters, "
        f"{m.t_end:g} {m.time_unit}s: {m.doc.splitlines()[0]}{_papers(m)}"
        for m in models
    ]
    return "\n".join(
        [
            *lines,
            "",
            "'fastcart models NAME' shows states, parameters and sources, with --equations what it computes.",
        ]
    )


def describe(model: Model, *, as_json: bool = False) -> str:
    """Return states, parameters, observables, options and sources of one model."""
    if as_json:
        return json.dumps(_full(model), indent=2, ensure_ascii=False)
    defaults = model.defaults()
    hidden = _hidden(model)
    parts = [model.name, "", *((model.doc, "") if model.doc else ())]
    parts.append(f"Horizon: {model.t_end:g} {model.time_unit}s.")
    if model.burden:
        parts.append(f"Progression: {model.burden} above its initial value.")
    else:
        parts.append("No tumor: there is no progression and no nadir, but the end of every state.")
    if model.method:
        parts.append(f"Method: engine auto begins with {model.method}, at every tolerance.")
    for option, value in model.options.items():
        parts.append(f"Option {option} = {value}")
    core = core_variables(model)
    if core is not None:
        named = {kind: " + ".join(getattr(core, kind)) for kind in _CORE}
        parts.append("Core variables: " + "; ".join(f"{_CORE[k]} {n}" for k, n in named.items() if n) + ".")
    parts += ["", "States (columns of initial values)"]
    parts += _table(
        [
            (s.name, f"{defaults[s.name]:g}", s.unit, "logarithm" if s.log else "", s.description)
            for s in model.states
            if s.name not in hidden
        ],
        ("name", "default", "unit", "integrated in", "description"),
    )
    parts += ["", "Parameters"]
    parts += _table(
        [
            (p.name, f"{defaults[p.name]:g}", p.unit, _range(p), p.source, p.description)
            for p in model.parameters
        ],
        ("name", "default", "unit", "allowed", "source", "description"),
    )
    if any(o.name not in hidden for o in model.observables):
        parts += ["", "Observables (columns of trajectories)"]
        parts += _table(
            [(o.name, o.unit, o.description) for o in model.observables if o.name not in hidden],
            ("name", "unit", "description"),
        )
    if model.references:
        parts += ["", "References", *[f"  {reference}" for reference in model.references]]
    return "\n".join(parts)


def as_html(model: Model) -> str:
    """Return a model as notebooks show it: what it is, its equations, states and parameters."""
    from fastcart.writing import written_equations

    try:
        equations = f"<pre>{escape(written_equations(model))}</pre>"
    except InputError as error:
        equations = f"<p>{escape(str(error))}</p>"
    full, hidden = _full(model), _hidden(model)
    states = pd.DataFrame(full["states"])
    if any(state.plausible for state in model.states):
        states["plausible"] = [
            "" if s.plausible is None else f"{s.plausible[0]:g} to {s.plausible[1]:g}"
            for s in model.states if s.name not in hidden
        ]  # fmt: skip
    parameters = pd.DataFrame(full["parameters"])
    names = [name for name in ("name", "default", "unit", "source", "description") if name in parameters]
    options = ", ".join(f"{name}={value}" for name, value in model.options.items())
    return section(
        f"fastcart model {model.name}",
        [
            f"<p>{escape(model.doc.splitlines()[0])}</p>" if model.doc else "",
            facts([("horizon", f"{model.t_end:g} {model.time_unit}s"), ("tumor", model.burden or "none"),
                   *([("options", options)] if options else [])]),
            equations, table(states.drop(columns="log"), rows=100),
            table(parameters[names], rows=200) if len(parameters) else "",
        ],
    )  # fmt: skip


def _papers(model: Model) -> str:
    """Say where a model comes from: by the digital identifiers of its papers, or as the model names them."""
    found = [reference.rpartition("doi:")[2].strip() for reference in model.references]
    return f" [{'; '.join(found)}]" if found else ""


def _range(parameter: Parameter) -> str:
    low, high = parameter.range
    return f"{low:g} to {high:g}"


def _table(rows: list[tuple[str, ...]], header: tuple[str, ...]) -> list[str]:
    widths = [max(len(str(r[k])) for r in [header, *rows]) for k in range(len(header))]
    return [
        "  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    ]


def _summary(model: Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "states": len(model.states),
        "parameters": len(model.parameters),
        "t_end": model.t_end,
        "time_unit": model.time_unit,
        "doc": model.doc,
        "references": list(model.references),
    }


def _hidden(model: Model) -> tuple[str, ...]:
    """Return the states and observables that only the model's own events use."""
    return model.moments.hidden if model.moments is not None else ()


def _full(model: Model) -> dict[str, Any]:
    defaults = model.defaults()
    hidden = _hidden(model)

    def limit(value: float) -> float | None:
        return value if abs(value) != float("inf") else None

    return {
        "name": model.name,
        "doc": model.doc,
        "t_end": model.t_end,
        "time_unit": model.time_unit,
        "burden": model.burden,
        "method": model.method,
        "options": dict(model.options),
        "option_names": option_names(model.name) if model.name in names() else [],
        "states": [
            {
                "name": s.name,
                "unit": s.unit,
                "default": defaults[s.name],
                "log": s.log,
                "description": s.description,
            }
            for s in model.states
            if s.name not in hidden
        ],
        "parameters": [
            {
                "name": p.name,
                "symbol": p.symbol,
                "unit": p.unit,
                "default": defaults[p.name],
                "range": [limit(p.range[0]), limit(p.range[1])],
                "source": p.source,
                "description": p.description,
            }
            for p in model.parameters
        ],
        "observables": [
            {"name": o.name, "unit": o.unit, "description": o.description}
            for o in model.observables
            if o.name not in hidden
        ],
        "references": list(model.references),
    }
