"""PEtab problems, version 1: objective, gradient and fits, all conditions and points as one batch.

What is taken and what is refused is listed in docs/guides/petab.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastcart.options import SolveOptions
    from fastcart.petab.problem import PetabProblem

__all__ = ["load"]


def load(
    path: str | Path, *, threads: int | None = None, options: SolveOptions | None = None
) -> PetabProblem:
    """Return the problem of a PEtab YAML file.

    Parameters
    ----------
    path : path or str
    threads : int, optional
        At most so many; default: all processors that this process may use.
    options : SolveOptions, optional
        How the model is solved; the default ``rtol`` here is 1e-8. The horizon is that of the measurements.

    Returns
    -------
    PetabProblem

    Raises
    ------
    InputError
        For files that are not there or do not fit together, and for what fastcart does not take, by name.
    MissingDependencyError
        Without the packages petab and libSBML.
    """
    from fastcart.batch import check_threads
    from fastcart.options import SolveOptions
    from fastcart.petab.building import likelihood_of
    from fastcart.petab.parameters import parameters_of
    from fastcart.petab.problem import PetabProblem
    from fastcart.petab.reading import read

    files = read(path)
    parameters = parameters_of(files.parameters)
    chosen = SolveOptions(rtol=1e-8) if options is None else options
    likelihood = likelihood_of(files, parameters, chosen, check_threads(threads))
    return PetabProblem(files, parameters, likelihood)
