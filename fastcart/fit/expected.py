"""How much of a population's fit is done and still to do, in solves, each of which takes about as long."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from fastcart.telling import Bar

_ROUNDS = 24  # of draws of every patient for the likelihood of a start, before one is known
_MORE = 4  # where it takes more than was expected


@dataclass
class Expected:
    """What a bar counts; several threads may tell it.

    Parameters
    ----------
    bar : Bar
    iteration : int
        Solves of an iteration.
    most : int
        Iterations of a start, at most.
    draws : int
        Solves of a round of draws of all patients.
    starts : int
    """

    bar: Bar
    iteration: int
    most: int
    draws: int
    starts: int

    def __post_init__(self) -> None:
        """Say how much is expected at first."""
        self._lock = threading.RLock()
        self._likelihood = _ROUNDS * self.draws
        self._every = [OneStart(self, k, self.most * self.iteration) for k in range(self.starts)]
        self._tell()

    def _tell(self) -> None:
        to_come = sum(one.left + (0 if one.drawing else self._likelihood) for one in self._every)
        self.bar.expect(self.bar.n + to_come)
        doing = ", ".join(one.doing for one in self._every if one.doing)
        self.bar.set_description(doing[:1].upper() + doing[1:])

    def start(self, number: int) -> OneStart:
        """Return what one start tells."""
        return self._every[number]

    def solved(self, count: int) -> None:
        """So many more solves are done."""
        with self._lock:
            self.bar.update(count)
            if self.bar.n > self.bar.total:
                self.bar.expect(self.bar.n + _MORE * self.draws)

    def further(self, rounds: float) -> None:
        """Of the best start so many rounds more are expected."""
        self.bar.set_description("Likelihood")
        self.bar.expect(self.bar.n + int(rounds * self.draws))


@dataclass
class OneStart:
    """What is to be expected of one start.

    Parameters
    ----------
    all : Expected
    number : int
    left : int
        Solves that are expected still, in its iterations or for its likelihood.
    """

    all: Expected
    number: int
    left: int
    doing: str = ""
    drawing: bool = False  # for the likelihood, or over
    _drawn: int = 0

    def solved(self, count: int) -> None:
        """So many more solves are done."""
        with self.all._lock:
            self.left = max(self.left - count, 0)
            self._drawn += count
            self.all.solved(count)

    def begin(self, before: int) -> None:
        """It begins, so many iterations being kept from before."""
        with self.all._lock:
            self.doing = f"start {self.number + 1}"
            if before:
                done = before * self.all.iteration
                self.left = max(self.left - done, 0)
                self.all.bar.resume(self.all.bar.n + done)
            self.all._tell()

    def likelihood(self) -> None:
        """Its iterations are over, maybe earlier than they might."""
        with self.all._lock:
            self.doing, self.drawing = f"likelihood of start {self.number + 1}", True
            self.left, self._drawn = self.all._likelihood, 0
            self.all._tell()

    def end(self) -> None:
        """It is over, and says how much the likelihood of others will take."""
        with self.all._lock:
            self.doing, self.left = "", 0
            self.all._likelihood = self._drawn
            self.all._tell()
