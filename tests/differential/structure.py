"""Models of random structure: the right-hand side itself is drawn, as a text, and compiled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from families import free, numbers, powers
from hypothesis import strategies as st
from numba import njit

from fastcart import Model, Observable, State

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
                free(**dict.fromkeys(self.parameters, 1.0)),
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
        return f"Drawn('''\n{self.source}\n''', {self.log}, {self.parameters}, {self.observables}, (\n    {rows},\n))"


@st.composite
def drawn_models(draw: st.DrawFn, *, states: int = 12) -> Drawn:
    """Draw a model of up to so many states, whose solutions stay bounded, and up to three patients."""
    n = draw(st.integers(1, states))
    log = tuple(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    parameters: list[str] = []

    def parameter() -> str:
        parameters.append(f"c{len(parameters)}")
        return parameters[-1]

    def signal() -> str:
        """Something between 0 and 1 of time or of a state."""
        j = draw(st.integers(0, n - 1))
        kind = draw(st.sampled_from(["hill", "rise", "season", "bell", "one", "quotient"]))
        a = parameter()
        if kind == "hill":
            power = draw(st.sampled_from(["1", "2", "4", "1.5"]))
            return f"y{j}p ** {power} / ({a} ** {power} + y{j}p ** {power})"
        if kind == "rise":
            return f"(1 - math.exp(-{a} * t))"
        if kind == "season":
            return f"(0.5 + 0.5 * math.sin(5 * {a} * t))"
        if kind == "bell":
            return f"math.exp(-((t - {a}) / 0.5) ** 2)"
        if kind == "quotient":
            return f"{a} / ({a} + y{j}p)"
        return f"{a} / (1 + {a})"

    lines = ["def rhs(t, y, p):"]
    body = []
    for i in range(n):
        terms = []
        for _ in range(draw(st.integers(1, 3))):
            c = parameter()
            if log[i]:
                sort = draw(st.sampled_from(["growth", "death", "push"]))
                if sort == "growth":
                    terms.append(f"{c} * {signal()} * (1 - y{i} / 20)")
                elif sort == "death":
                    terms.append(f"-{c} * {signal()}")
                else:
                    terms.append(f"{c} * math.cos(3 * {parameter()} * t)")
            else:
                terms.append(f"{c} * {signal()}")
        if log[i]:
            body.append(f"    f{i} = y{i} * ({' + '.join(terms)})")
        else:
            body.append(f"    f{i} = {' + '.join(terms)} - {parameter()} * y{i}")
    body.append(f"    return {''.join(f'f{i}, ' for i in range(n))}")
    watched = draw(st.integers(1, 2))
    observed = [f"y{draw(st.integers(0, n - 1))} * {signal()} + {signal()}" for _ in range(watched)]
    head = [
        f"    {', '.join(parameters)}, = p",
        f"    {''.join(f'y{i}, ' for i in range(n))} = y",
        *(f"    y{i}p = max(y{i}, 0.0)" for i in range(n)),
    ]
    lines += [
        *head,
        *body,
        "def observe(t, y, p):",
        *head,
        f"    return {''.join(f'{o}, ' for o in observed)}",
    ]
    value = st.one_of(st.just(1.0), numbers(0.1, 3.0, 2))
    steep = st.one_of(value, value, value, powers(10.0, 1e4)) if draw(st.booleans()) else value
    rows = []
    for _ in range(draw(st.integers(1, 3))):
        row = {name: draw(steep if k == len(parameters) - 1 else value) for k, name in enumerate(parameters)}
        row |= {f"y{i}": draw(st.sampled_from([1.0, 0.0, 10.0, 1e-3])) for i in range(n)}
        rows.append(row)
    return Drawn("\n".join(lines), log, tuple(parameters), watched, tuple(rows))
