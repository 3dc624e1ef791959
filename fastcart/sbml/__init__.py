"""Models of other people: SBML in, levels 1 to 3, as a `fastcart.Model`.

What is taken and what is refused is listed in docs/guides/sbml.md.
"""

from __future__ import annotations

from pathlib import Path

from fastcart.checks import number_in
from fastcart.errors import InputError
from fastcart.model import Model

__all__ = ["dump", "load", "write"]


def dump(model: Model) -> str:
    """Return a model as the text of an SBML file; see `fastcart.sbml.writing.dump`."""
    from fastcart.sbml import writing

    return writing.dump(model)


def write(model: Model, path: str | Path) -> None:
    """Write a model to an SBML file, or nothing where it cannot be written; see `dump`.

    Parameters
    ----------
    model : Model
    path : path or str
        What is there is replaced.
    """
    Path(path).write_text(dump(model), encoding="utf-8")


def load(source: str | Path, *, burden: str | None = None, t_end: float | str = 100.0) -> Model:
    """Return the model of an SBML file.

    Parameters
    ----------
    source : path or str
        A file, or the text of one.
    burden : str, optional
        The state that is the tumor, see `fastcart.Model`.
    t_end : float
        Horizon in the unit of time of the file; SBML has none.

    Returns
    -------
    Model
        States, parameters and observables are called as in the file. Parameters and initial values that
        follow from others still do when these are varied.

    Raises
    ------
    InputError
        For what is no SBML, and for what fastcart does not take, by name.
    MissingDependencyError
        Without libSBML.
    """
    from fastcart.sbml.building import model_of
    from fastcart.sbml.document import read
    from fastcart.sbml.equations import equations_of

    horizon = number_in(t_end) if isinstance(t_end, str) else t_end
    if horizon is None:
        raise InputError(f"The horizon t_end must be a number, not {t_end!r}.")
    try:
        return model_of(equations_of(read(source)), t_end=horizon, burden=burden)
    except RecursionError:
        raise InputError("SBML: expressions or initial values are nested too deeply.") from None
