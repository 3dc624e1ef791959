"""What is measured, as a function of states and parameters, and how measurements scatter around it."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from numba.extending import is_jitted

from fastcart.checks import number, shown
from fastcart.errors import InputError, nearest
from fastcart.expressions import Expression
from fastcart.fit.cells import text_of
from fastcart.model import Model, Observable

ADDITIVE, PROPORTIONAL, COMBINED1, COMBINED2, LOGNORMAL, MEASURED = range(6)
_TIME = "t"


@dataclass(frozen=True)
class ErrorModel:
    """How a measurement scatters around its prediction ``f``.

    Parameters
    ----------
    kind : int
    names : tuple of str
        Its parameters, of which each is positive.
    values : tuple of float or None
        Their values; None where they are to be estimated, and nothing is known of them.
    """

    kind: int
    names: tuple[str, ...]
    values: tuple[float | None, ...]


def additive(a: float | None = None) -> ErrorModel:
    """Return the error model with the standard deviation ``a``.

    Parameters
    ----------
    a : float, optional
        In the unit of the measurement, positive; none has it estimated.
    """
    return _model(ADDITIVE, a=a)


def proportional(b: float | None = None) -> ErrorModel:
    """Return the error model with the standard deviation ``b f``, where ``f`` is the prediction.

    Parameters
    ----------
    b : float, optional
        Without a unit, positive; none has it estimated.
    """
    return _model(PROPORTIONAL, b=b)


def combined1(a: float | None = None, b: float | None = None) -> ErrorModel:
    """Return the error model with the standard deviation ``a + b f``.

    Parameters
    ----------
    a, b : float, optional
        As of `additive` and `proportional`.
    """
    return _model(COMBINED1, a=a, b=b)


def combined2(a: float | None = None, b: float | None = None) -> ErrorModel:
    """Return the error model with the variance ``a**2 + (b f)**2``.

    Parameters
    ----------
    a, b : float, optional
        As of `additive` and `proportional`.
    """
    return _model(COMBINED2, a=a, b=b)


def lognormal(s: float | None = None) -> ErrorModel:
    """Return the error model with ``ln DV`` around ``ln f``, with the standard deviation ``s``.

    Likelihoods are densities of ``ln DV``, see `fastcart.fit.PreparedLikelihood`.

    Parameters
    ----------
    s : float, optional
        Of the natural logarithm, without a unit, positive; None has it estimated.
    """
    return _model(LOGNORMAL, s=s)


def measured() -> ErrorModel:
    """Return the error model whose standard deviations are in the table, in the column mapped to DVSD."""
    return ErrorModel(MEASURED, (), ())


ERROR_MODELS: dict[str, Callable[..., ErrorModel]] = {
    model.__name__: model for model in (additive, proportional, combined1, combined2, lognormal, measured)
}


def _model(kind: int, **parameters: float | None) -> ErrorModel:
    values = tuple(
        None if value is None else number(value, f"The error parameter {name!r}", positive=True)
        for name, value in parameters.items()
    )
    return ErrorModel(kind, tuple(parameters), values)


@dataclass(frozen=True)
class Observation:
    """One kind of measurement.

    Parameters
    ----------
    dvid : str or number
        Which: as in ``DVID``, or as `fastcart.fit.read` was told to call it.
    prediction : str or jitted function
        A state, an observable, or a formula of these, parameters and ``t``, e.g. ``"center / V"``; or
        ``f(t, y, p)``, which returns a number.
    error : ErrorModel
        `additive`, `proportional`, `combined1`, `combined2`, `lognormal` or `measured`.

    Raises
    ------
    InputError
        For anything else.
    """

    dvid: Any
    prediction: str | Callable[..., Any]
    error: ErrorModel

    def __post_init__(self) -> None:
        """Check what can be checked without a model, and let ``dvid`` be a text."""
        object.__setattr__(self, "dvid", text_of(self.dvid))
        if not isinstance(self.error, ErrorModel):
            raise InputError(
                f"The error of observation {self.dvid!r} must be additive(), proportional(), combined1(), "
                f"combined2(), lognormal() or measured() of fastcart.fit, not {shown(self.error)}."
            )
        if isinstance(self.prediction, str):
            Expression(self.prediction)
        elif not is_jitted(self.prediction):
            raise InputError(
                f"The prediction of observation {self.dvid!r} must be a formula or a jitted function "
                f"f(t, y, p), not {shown(self.prediction)}."
            )

    @property
    def error_names(self) -> tuple[str, ...]:
        """The parameters of the error model, as tables name them: ``a_cells``."""
        return tuple(f"{name}_{self.dvid}" for name in self.error.names)


def check_observations(observations: Any) -> tuple[Observation, ...]:
    """Return observations in a tuple.

    Raises
    ------
    InputError
        For anything else, for none, and for two of the same kind.
    """
    listed = [observations] if isinstance(observations, Observation) else observations
    if not isinstance(listed, Sequence) or isinstance(listed, str) or not listed:
        raise InputError(
            f"The observations must be a list of fastcart.fit.Observation, not {shown(observations)}."
        )
    for one in listed:
        if not isinstance(one, Observation):
            raise InputError(f"An observation must be a fastcart.fit.Observation, not {shown(one)}.")
    found = [one.dvid for one in listed]
    for name in found:
        if found.count(name) > 1:
            raise InputError(f"The observation {name!r} is given twice.")
    return tuple(listed)


def check_distinct(model: Model, estimated: Sequence[str]) -> None:
    """Check that no parameter or state of a model has the name of an error, a spread or a coefficient.

    Raises
    ------
    InputError
    """
    for name in (*model.parameter_names, *model.state_names):
        if name in estimated:
            raise InputError(
                f"{name!r} of model {model.name!r} has the name of what a fit estimates besides parameters "
                "(a_DVID, omega_NAME, corr_NAME_NAME, beta_NAME_COVARIATE); rename it, or what is measured "
                "by observables=."
            )


def observing(model: Model, observations: Sequence[Observation]) -> Model:
    """Return a model whose observables are the predictions of the observations.

    Behind these are what the model's own events look at, where it has any.

    Raises
    ------
    InputError
        For a formula that names what the model does not have.
    """
    from numba import njit

    from fastcart.solvers.compile import from_source

    functions: dict[str, Any] = {}
    hidden = () if model.moments is None else model.moments.hidden
    kept = [one for one in model.observables if one.name in hidden]
    values, watched = [], bool(kept)
    for k, one in enumerate(observations):
        if isinstance(one.prediction, str):
            text, watches = _written(one, model)
            values.append(text)
            watched = watched or watches
        else:
            functions[f"predict_{k}"] = one.prediction
            values.append(f"predict_{k}(t, y, p)")
    values += [f"o[{model.observable_names.index(one.name)}]" for one in kept]
    lines = ["def observe(t, y, p):"]
    if watched:
        functions["watched"] = model.observe
        lines.append("    o = watched(t, y, p)")
    lines.append(f"    return ({''.join(f'{value}, ' for value in values)})")
    functions |= {"exp": math.exp, "log": math.log, "log10": math.log10, "sqrt": math.sqrt}
    observe = njit(from_source("\n".join(lines), "observe", functions))
    predictions = [Observable(f"prediction_{k}") for k in range(len(observations))]
    return model.replace(observables=[*predictions, *kept], observe=observe)


def _written(one: Observation, model: Model) -> tuple[str, bool]:
    """Return a formula as code that reads states, parameters and observables, and if it reads the last."""
    formula = str(one.prediction).strip()
    known = [*model.state_names, *model.parameter_names, *model.observable_names, _TIME]
    for name in Expression(formula).names:
        if name not in known:
            raise InputError(
                f"The prediction of observation {one.dvid!r} uses {name!r}, which is no state, parameter or "
                f"observable of model {model.name!r}." + nearest(name, known)
            )
    tree = _Reads(model).visit(ast.parse(formula, mode="eval"))
    return f"({ast.unparse(tree)}) * 1.0", any(
        name in model.observable_names for name in Expression(formula).names
    )


class _Reads(ast.NodeTransformer):
    """Puts in what a name reads."""

    def __init__(self, model: Model):
        self.model = model

    def visit_Call(self, node: ast.Call) -> ast.Call:
        node.args = [self.visit(argument) for argument in node.args]
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        name, model = node.id, self.model
        if name in model.state_names:
            text = f"y.{name}"
        elif name in model.parameter_names:
            text = f"p.{name}"
        elif name in model.observable_names:
            text = f"o[{model.observable_names.index(name)}]"
        else:
            return node
        return ast.parse(text, mode="eval").body
