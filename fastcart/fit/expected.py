"""How much of a population's fit is done and still to do, in solves, each of which takes about as long."""

from __future__ import annotations

from dataclasses import dataclass

from fastcart.telling import Bar

_ROUNDS = 24  # of draws of every patient for the likelihood of a start, before one is known
_MORE = 4  # where it takes more than was expected


@dataclass
class Expected:
    """What a bar counts.

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
        That are still to come.
    """

    bar: Bar
    iteration: int
    most: int
    draws: int
    starts: int
    _likelihood: int = 0
    _began: int = 0

    def __post_init__(self) -> None:
        """Say how much is expected at first."""
        self._likelihood = _ROUNDS * self.draws
        self.bar.expect(self._starts_to_come())

    def _starts_to_come(self) -> int:
        return self.starts * (self.most * self.iteration + self._likelihood)

    def solved(self, count: int) -> None:
        """So many more solves are done."""
        self.bar.update(count)
        if self.bar.n > self.bar.total:
            self.bar.expect(self.bar.n + _MORE * self.draws)

    def begin(self, before: int) -> None:
        """A start begins, of which so many iterations are kept from before."""
        self.starts -= 1
        if before:
            self.bar.resume(self.bar.n + before * self.iteration)

    def likelihood(self) -> None:
        """The iterations of a start are over, maybe earlier than they might."""
        self._began = self.bar.n
        self.bar.expect(self.bar.n + self._likelihood + self._starts_to_come())

    def end(self) -> None:
        """A start is over, and says how much the likelihood of others will take."""
        self._likelihood = self.bar.n - self._began
        self.bar.expect(self.bar.n + self._starts_to_come())

    def further(self, rounds: float) -> None:
        """Of the best start so many rounds more are expected."""
        self.bar.expect(self.bar.n + int(rounds * self.draws))
