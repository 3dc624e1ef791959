"""Text of generated functions: what all that write it have in common.

Generated code earns its keep where numba would else unroll by hand what only a model or a method knows: one
line for each state, one term for each stage. It is to be read like other code, so no line has a number for a
place: places and weights are constants with names at the head of the text, which cost nothing, for numba
takes a constant of a module for the number itself. The text is kept beside its machine code.
"""

from __future__ import annotations

import re
import types
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from fastcart.solvers.compile import from_source
from fastcart.solvers.named import named_call, read_parameters
from fastcart.solvers.system import System
from fastcart.solvers.transform import LOG_FLOOR, LOG_ZERO

_OF_LOGARITHM = {"LOG_FLOOR": LOG_FLOOR, "LOG_ZERO": LOG_ZERO}
_NAME = re.compile(r"\w+")

Constants = Mapping[str, float]


def written(lines: Sequence[str], constants: Constants, namespace: Mapping[str, Any]) -> types.FunctionType:
    """Make a Python function of lines of text.

    Parameters
    ----------
    lines : sequence of str
        The first one is its ``def``.
    constants : mapping of str to number
        Those that the lines name become the head of the text.
    namespace : mapping
        What else the lines name.
    """
    text = "\n".join(lines)
    used = set(_NAME.findall(text))
    known = {**_OF_LOGARITHM, **constants}
    head = [f"{name} = {value!r}" for name, value in known.items() if name in used]
    name = text[len("def ") : text.index("(")]
    return from_source("\n".join([*head, *["", ""][: 2 * bool(head)], text]), name, dict(namespace))


def labels(names: Sequence[str]) -> list[str]:
    """Return names as parts of names in generated text, where no two may be the same to Python."""
    read = [unicodedata.normalize("NFKC", name) for name in names]
    return read if len(set(read)) == len(read) else [f"{i}_{name}" for i, name in enumerate(read)]


def places(prefix: str, names: Sequence[str], first: int = 0, apart: int = 1) -> dict[str, int]:
    """Return constants for the places of what has names, ``apart`` by so much."""
    return {f"{prefix}_{label}": first + i * apart for i, label in enumerate(labels(names))}


def natural(u: str, log: bool) -> str:
    """Return the text of a state in natural units, from what is integrated; it may name ``exp``."""
    return f"exp(max({u}, LOG_FLOOR)) if {u} != LOG_ZERO else 0.0" if log else u


def derivative_lines(model: System, log: Sequence[bool], infused: bool) -> tuple[list[str], dict[str, int]]:
    """Return lines that turn ``u``, ``p`` and ``scale`` (indexable) into ``du_<state>``, and their constants.

    The lines call ``rhs``; they need the names ``t``, ``u``, ``p``, ``scale``, ``exp`` and ``nan``, those of
    `fastcart.solvers.named.naming`, and where ``infused`` the rates of infusion ``r``, in natural units;
    states in logarithm have none. The derivative of each state is ``u[U_<state>]`` by its place.
    """
    states = labels(model.state_names)
    lines = []
    for x, logarithm in zip(states, log, strict=True):
        lines.append(
            f"    y_{x} = {natural(f'u[U_{x}]', logarithm)}" + ("" if logarithm else f" * scale[U_{x}]")
        )
    given = [f"y_{x}" for x in states], read_parameters(model, "p")
    lines.append(f"    f = {named_call('rhs', 't', *given)}")
    for x, logarithm in zip(states, log, strict=True):
        f = f"f[U_{x}]"
        if logarithm:
            # an inflow into an exact zero has no logarithm: NaN, which the engines report as such
            lines.append(f"    du_{x} = {f} / y_{x} if y_{x} > 0.0 else (0.0 if {f} == 0.0 else nan)")
        else:
            inflow = f"({f} + r[U_{x}])" if infused else f
            lines.append(f"    du_{x} = {inflow} / scale[U_{x}]")
    return lines, places("U", model.state_names)
