"""What every method of sensitivity says about itself and can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from fastcart.sampling.columns import Marginal
from fastcart.sensitivity_analysis.design import Design

Found = dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
"""By the name of an index: value, low and high, each of shape (k, outputs)."""


class Method(ABC):
    """A method of sensitivity: how it samples, what it estimates, and what is to be said about that.

    Attributes
    ----------
    name : str
        As users give it.
    indices : mapping
        Name of each index to its label in plots, in the order of tables.
    main : str
        The index that plots and summaries rank by.
    beside : str, optional
        The index that is drawn beside it.
    signed : bool
        Whether the main index has a sign.
    unit : str
        What is lost as a whole where one of its patients has no value.
    needed : int
        How many of these must be complete for any index.
    grouped : bool
        Whether it knows groups of parameters.
    nested : bool
        Whether the first rows of a design are a smaller design.
    selective : bool
        Whether patients may be left out, by conditions on their endpoints.
    censoring : bool
        Whether it takes censored patients as such.
    in_units : bool
        Whether indices are in the unit of the output.
    packages : sequence of str
        What must be installed for it.
    """

    name: ClassVar[str]
    indices: ClassVar[Mapping[str, str]]
    main: ClassVar[str]
    beside: ClassVar[str | None] = None
    signed: ClassVar[bool] = False
    unit: ClassVar[str] = "patients"
    needed: ClassVar[int] = 1
    grouped: ClassVar[bool] = False
    nested: ClassVar[bool] = True
    selective: ClassVar[bool] = False
    censoring: ClassVar[bool] = False
    in_units: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def check_size(self, n: int, k: int) -> None:
        """Refuse an ``n`` that the method cannot work with for k parameters or groups.

        Raises
        ------
        InputError
        """

    def check_groups(self, groups: tuple[str, ...]) -> None:
        """Refuse groups, one for each parameter, that make no sense; a method may have its own rules.

        Raises
        ------
        InputError
        """
        return None

    @abstractmethod
    def runs_needed(self, n: int, k: int) -> int:
        """Return how many patients are solved for k parameters or groups."""

    @abstractmethod
    def points(
        self, columns: Mapping[str, Marginal], n: int, *, seed: int, groups: tuple[str, ...]
    ) -> np.ndarray:
        """Return the points of a design, shape (rows, parameters); ``groups`` may be empty."""

    def block(self, design: Design) -> int:
        """Return how many rows belong together: what fails takes these rows with it."""
        return 1

    @abstractmethod
    def estimate(
        self,
        design: Design,
        rows: np.ndarray,
        y: np.ndarray,
        events: np.ndarray | None,
        confidence: float,
    ) -> Found:
        """Estimate the indices of outputs.

        Parameters
        ----------
        design : Design
        rows : ndarray of bool, shape (all rows,)
            Those that are complete.
        y : ndarray, shape (complete rows, outputs)
        events : ndarray of bool, shape (complete rows, outputs), or None
            Where an output is the time of an event, and not of the end of observation.
        confidence : float
            Of the intervals.
        """

    @abstractmethod
    def no_interval(self, design: Design, index: str, used: int, value: np.ndarray, low: np.ndarray) -> str:
        """Say why some values of an index, shape (k,), have no interval, of ``used`` patients."""

    def doubts(self, design: Design, found: Found) -> list[str]:
        """Say what the indices of one output, each of shape (k,), show of their own error."""
        return []

    def scattered(self, design: Design, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the points and their outputs that show how an output depends on parameters."""
        return design.x, y

    def nothing(self, design: Design, outputs: int) -> Found:
        """Return indices without values."""
        nothing = np.full((len(design.labels), outputs), np.nan)
        return dict.fromkeys(self.indices, (nothing, nothing, nothing))


def without_interval(design: Design, value: np.ndarray, low: np.ndarray) -> str:
    """Return the names of the first parameters whose value has no interval."""
    return ", ".join(np.array(design.labels)[np.isfinite(value) & ~np.isfinite(low)][:5])
