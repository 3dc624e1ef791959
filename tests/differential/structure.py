"""Models of random structure: the right-hand side itself is drawn, as a text, and compiled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from families import EVERYTHING, numbers, powers
from hypothesis import strategies as st
from numba import njit

from fastcart import Model, Observable, Parameter, State

_MODELS: dict[str, Model] = {}


@dataclass(frozen=True)
class Drawn:
    """A model as a text, its parameters and some patients."""

    source: str
    log: tuple[bool, ...]
    parameters: tuple[str, ...]
    observables: int
    rows: tuple[Mapping[str, float], ...] = field(default=())

    @property
    def model(self) -> Model:
        key = f"{self.source} {self.log}"
        if key not in _MODELS:
            scope = {"math": math, "__name__": __name__}
            exec(self.source, scope)
            _MODELS[key] = Model(
                "drawn",
                [State(f"y{i}", default=1.0, log=log) for i, log in enumerate(self.log)],
                [Parameter(name, 1.0, range=EVERYTHING) for name in self.parameters],
                njit(scope["rhs"]),
                t_end=5.0,
                observables=[Observable(f"o{i}") for i in range(self.observables)],
                observe=njit(scope["observe"]),
                burden="y0",
            )
        return _MODELS[key]

    def __repr__(self) -> str:
        """As a program that can be pasted."""
        rows = ",\n    ".join(repr(dict(row)) for row in self.rows)
        shape = f"{self.log}, {self.parameters}, {self.observables}"
        return f"Drawn('''\n{self.source}\n''', {shape}, (\n    {rows},\n))"


class _Writer:
    """Writes terms of a right-hand side, and the names of their parameters."""

    def __init__(self, draw: st.DrawFn, states: int):
        self.draw = draw
        self.states = states
        self.parameters: list[str] = []

    def parameter(self) -> str:
        self.parameters.append(f"c{len(self.parameters)}")
        return self.parameters[-1]

    def state(self) -> int:
        return self.draw(st.integers(0, self.states - 1))

    def signal(self) -> str:
        """Something between 0 and 1 of time or of a state."""
        j, a = self.state(), self.parameter()
        power = self.draw(st.sampled_from(["1", "2", "4", "1.5"]))
        forms = [
            f"y{j}p ** {power} / ({a} ** {power} + y{j}p ** {power})",
            f"{a} / ({a} + y{j}p)",
            f"(1 - math.exp(-{a} * t))",
            f"(0.5 + 0.5 * math.sin(5 * {a} * t))",
            f"math.exp(-((t - {a}) / 0.5) ** 2)",
            f"{a} / (1 + {a})",
        ]
        return self.draw(st.sampled_from(forms))

    def term(self, log: bool) -> str:
        c = self.parameter()
        if not log:
            return f"{c} * {self.signal()}"
        if self.draw(st.booleans()):
            return f"{c} * math.cos(3 * {self.parameter()} * t)"
        return (
            f"-{c} * {self.signal()}"
            if self.draw(st.booleans())
            else f"{c} * {self.signal()} * (1 - SELF / 20)"
        )

    def derivative(self, i: int, log: bool) -> str:
        terms = " + ".join(self.term(log) for _ in range(self.draw(st.integers(1, 3))))
        if log:
            return f"y{i} * ({terms.replace('SELF', f'y{i}')})"
        return f"{terms} - {self.parameter()} * y{i}"


@st.composite
def drawn_models(draw: st.DrawFn, *, states: int = 12) -> Drawn:
    """Draw a model of up to so many states, whose solutions stay bounded, and up to three patients."""
    n = draw(st.integers(1, states))
    log = tuple(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    write = _Writer(draw, n)
    slopes = [write.derivative(i, log[i]) for i in range(n)]
    observed = [
        f"y{write.state()} * {write.signal()} + {write.signal()}" for _ in range(draw(st.integers(1, 2)))
    ]
    parameters = write.parameters
    head = [
        f"    {', '.join(parameters)}, = p",
        f"    {''.join(f'y{i}, ' for i in range(n))} = y",
        *(f"    y{i}p = max(y{i}, 0.0)" for i in range(n)),
    ]
    lines = ["def rhs(t, y, p):", *head, f"    return {''.join(f'{slope}, ' for slope in slopes)}"]
    lines += ["def observe(t, y, p):", *head, f"    return {''.join(f'{o}, ' for o in observed)}"]
    value = st.one_of(st.just(1.0), numbers(0.1, 3.0, 2))
    steep = st.one_of(value, value, value, powers(10.0, 1e4)) if draw(st.booleans()) else value
    rows = []
    for _ in range(draw(st.integers(1, 3))):
        row = {name: draw(steep if k == len(parameters) - 1 else value) for k, name in enumerate(parameters)}
        row |= {f"y{i}": draw(st.sampled_from([1.0, 0.0, 10.0, 1e-3])) for i in range(n)}
        rows.append(row)
    return Drawn("\n".join(lines), log, tuple(parameters), len(observed), tuple(rows))
