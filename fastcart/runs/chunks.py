"""The loop under all studies: make patients, solve, keep; in chunks, with progress, and resumable."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from fastcart.runs.store import Run
from fastcart.solvers import interrupts


class Chunk(NamedTuple):
    """Patients that are solved together: rows ``start`` to ``stop``."""

    number: int
    start: int
    stop: int


# each chunk as it is solved, in any order, with what finishes its part
Solved = Generator[tuple[Chunk, Callable[[], Any]], None, None]


def chunks(total: int, size: int) -> list[Chunk]:
    """Return ``total`` patients in chunks of ``size``; what they give must not depend on it."""
    return [Chunk(k, start, min(start + size, total)) for k, start in enumerate(range(0, total, size))]


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class PartFiles:
    """How the parts of a study lie in its run, a file for each chunk.

    Parameters
    ----------
    run : Run
    name : str
        With a place for the number of the chunk, e.g. ``"parts/{:06d}.npz"``.
    encode : callable
        A part to the bytes of its file.
    decode : callable
        The path of a file to what the study wants of its part.
    wanted : callable
        A part, as it was solved, to the same; default the part itself.
    """

    run: Run
    name: str
    encode: Callable[[Any], bytes]
    decode: Callable[[Path], Any]
    wanted: Callable[[Any], Any] = _same

    def has(self, chunk: Chunk) -> bool:
        """Return whether the part of a chunk is there."""
        return self.run.has(self.name.format(chunk.number))

    def read(self, chunk: Chunk) -> Any:
        """Return what is wanted of a part that is there."""
        return self.decode(self.run.path(self.name.format(chunk.number)))

    def finish(self, chunk: Chunk, finish: Callable[[], Any]) -> tuple[Chunk, Any]:
        """Finish a part and write it; return what is wanted of it."""
        part = finish()
        self.run.write(self.name.format(chunk.number), self.encode(part))
        return chunk, self.wanted(part)


def here(
    solve: Callable[[Chunk], Any], finish: Callable[[Any], Any] = _same
) -> Callable[[Sequence[Chunk]], Solved]:
    """Return what solves chunks here, in order; ``finish`` makes a part of what ``solve`` gives."""

    def solved(wanted: Sequence[Chunk]) -> Solved:
        for chunk in wanted:
            interrupts.check()
            yield chunk, partial(finish, solve(chunk))

    return solved


def stream(
    wanted: Sequence[Chunk],
    solve: Callable[[Sequence[Chunk]], Solved],
    *,
    files: PartFiles | None = None,
    bar: Any = None,
) -> Iterator[tuple[Chunk, Any]]:
    """Solve chunks; yield each with what is wanted of it: first those that are kept, then as they are solved.

    Parameters
    ----------
    wanted : sequence of Chunk
    solve : callable
        Chunks to `Solved`; see `here`.
    files : PartFiles, optional
        Where parts are kept; each is finished and written in a thread, while the next one is solved.
    bar : fastcart.telling.Bar, optional
        Is told how many patients are done.

    Raises
    ------
    KeyboardInterrupt
        Between chunks; what was solved is written before.
    OutputError
        When a part cannot be written.
    """
    there = [] if files is None else [chunk for chunk in wanted if files.has(chunk)]
    if bar is not None and there:
        # as where the bar begins, so that the rate is that of now
        bar.resume(sum(chunk.stop - chunk.start for chunk in there))
    if files is not None:
        yield from ((chunk, files.read(chunk)) for chunk in there)
    missing = sorted(set(wanted) - set(there))
    with closing(solve(missing)) as solved, closing(_finished(solved, files)) as finished:
        for chunk, value in finished:
            if bar is not None:
                bar.update(chunk.stop - chunk.start)
            yield chunk, value


def _finished(solved: Solved, files: PartFiles | None) -> Generator[tuple[Chunk, Any], None, None]:
    """Finish each part; where it is kept, in a thread that writes it while the next one is solved."""
    if files is None:
        for chunk, finish in solved:
            yield chunk, finish()
        return
    with ThreadPoolExecutor(1) as writer:
        previous = None
        for chunk, finish in solved:
            if previous is not None:
                yield previous.result()
            previous = writer.submit(files.finish, chunk, finish)
        if previous is not None:
            yield previous.result()
