"""What takes long is said on stderr: a bar on a terminal and in a notebook, a few lines elsewhere.

Asked for (``progress=True``) or not at all (``progress=False``, ``--quiet``), that holds for all that is
called within, too. The variable FASTCART_PROGRESS says what holds where nothing is asked: ``0`` for silence.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
import warnings
from contextlib import ExitStack
from typing import Any

from fastcart.solvers import compile_clock
from fastcart.solvers.compile import announce_by, announcements

VARIABLE = "FASTCART_PROGRESS"
_NOTICE_AFTER = 5.0  # seconds without a word, off a terminal
_AGAIN_AFTER = 60.0  # that something is compiled
_TOLD = 0.5  # seconds of compiling, from which on they are said
_BAR_AFTER = 1.0  # in a notebook, where what was shown leaves a gap

LINES = "fastcart lines"  # name of the thread that writes them

_last = -math.inf
_said_above = 0  # notices above a bar so far


def _shell() -> Any:
    """Return what runs the cells of a notebook, None where there is none."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None and hasattr(module, "get_ipython") else None
    return shell if type(shell).__name__ == "ZMQInteractiveShell" else None


def in_notebook() -> bool:
    """Return whether this runs in a notebook, where a bar can be drawn though there is no terminal."""
    return _shell() is not None


def wants_progress(progress: bool | None) -> bool:
    """Return whether to draw a bar: as asked, by default on a terminal and in a notebook."""
    if progress is not None:
        return bool(progress)
    if os.environ.get(VARIABLE) == "0":
        return False
    return in_notebook() or (sys.stderr is not None and sys.stderr.isatty())


def wants_lines(progress: bool | None) -> bool:
    """Return whether to say in lines what takes long: where nothing is asked and no bar is drawn."""
    silent = progress is not None or os.environ.get(VARIABLE) == "0" or sys.stderr is None
    return not silent and not wants_progress(progress)


def announced(progress: bool | None) -> Any:
    """Return a context in which it is said that kernels are compiled, as far as progress is wanted.

    Within another such context nothing changes; outside of all it is said as where nothing is asked.
    """
    if progress is None:
        return announcements(_by_default)
    return announcements(_above_the_bar if progress else None)


def _by_default(text: str) -> None:
    """Say it above the bar where there may be one, else in one line, however many kernels there are."""
    global _last
    if wants_progress(None):
        _above_the_bar(text)
    elif wants_lines(None):
        if time.monotonic() - _last > _AGAIN_AFTER:
            what = text.removesuffix(", once ...")
            _line(f"{what}, and what goes with it; this may take a minute, once: it is kept on disk")
        _last = time.monotonic()


announce_by(_by_default)


def progress_bar(total: int, progress: bool | None, unit: str = "patients") -> Bar:
    """Return a bar on stderr as a context; silent where progress is not wanted."""
    return Bar(total, progress, unit)


class Bar:
    """A bar of tqdm where one can be drawn, else lines, ever farther apart; with what is said of compiling.

    Parameters
    ----------
    total : int
    progress : bool, optional
        Show it; default: see `wants_progress`, `wants_lines`.
    unit : str
        Of what there are so many.
    """

    def __init__(self, total: int, progress: bool | None, unit: str):
        self._stack = ExitStack()
        self._announced = announced(progress)
        self._bar = _tqdm(total, unit) if wants_progress(progress) else None
        self._lines = _Lines(total, unit) if wants_lines(progress) else None
        self.n = 0
        self.total = total
        self.initial = 0
        self._compiled = compile_clock.seconds()
        self._said_above = _said_above

    def __enter__(self) -> Bar:
        self._stack.enter_context(self._announced)
        if self._lines is not None:
            self._lines.start()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._bar is not None:
            if _said_above > self._said_above:
                self._bar.delay = 0.0  # a notice draws it at once, and tqdm would think that it never was
            self._bar.close()
            _notice.take_away()
        if self._lines is not None:
            self._lines.stop()
        self._stack.close()

    def update(self, count: int = 1) -> None:
        """Say that so many more are done."""
        self.n += count
        if self._bar is not None:
            self._without_compiling(self._bar)
            self._bar.update(count)
        if self._lines is not None:
            self._lines.done = self.n

    def _without_compiling(self, bar: Any) -> None:
        """Let the clock of a bar stand still for as long as something was compiled."""
        before, self._compiled = self._compiled, compile_clock.seconds()
        passed = min(self._compiled - before, time.time() - bar.last_print_t)
        bar.start_t += passed
        bar.last_print_t += passed

    def _is_due(self) -> bool:
        """Whether the bar may be drawn: what is drawn before its time is not taken away at the end."""
        return self._bar is not None and time.time() >= self._bar.start_t + self._bar.delay

    def resume(self, done: int) -> None:
        """Say how many were done before, which took no time now."""
        self.n = self.initial = done
        if self._lines is not None:
            self._lines.done = self._lines.before = done
        if self._bar is not None:
            self._bar.initial = self._bar.n = done
            if self._is_due():
                self._bar.refresh()

    def expect(self, total: int) -> None:
        """Say how many there will be, where that is known better now."""
        self.total = total
        if self._bar is not None:
            self._bar.total = total
        if self._lines is not None:
            self._lines.total = total

    def set_description(self, text: str) -> None:
        """Say what is done now."""
        if self._bar is not None:
            self._bar.set_description(text, refresh=self._is_due())
        if self._lines is not None:
            self._lines.doing = text


class _Lines:
    """A line after five seconds, then each time that twice as long has passed, whatever is done meanwhile."""

    def __init__(self, total: int, unit: str):
        self.total, self.unit, self.doing = total, unit, ""
        self.done = self.before = 0
        self._over = threading.Event()
        self._begin, self._compiled = time.monotonic(), compile_clock.seconds()

    def start(self) -> None:
        """Begin to look at the clock."""
        self._begin, self._compiled = time.monotonic(), compile_clock.seconds()
        threading.Thread(target=self._watch, daemon=True, name=LINES).start()

    def stop(self) -> None:
        """Say no more."""
        self._over.set()

    def _watch(self) -> None:
        wait = _NOTICE_AFTER
        while not self._over.wait(wait):
            passed = time.monotonic() - self._begin
            wait = passed
            if self.done < self.total:
                _line(self.text(passed, compile_clock.seconds() - self._compiled))

    def text(self, passed: float, compiled: float = 0.0) -> str:
        """Return what is said after so many seconds, in which so many were spent on compiling."""
        doing = f"{self.doing}: " if self.doing else ""
        text = f"{doing}{self.done:,} of {self.total:,} {self.unit} after {passed:.0f} s"
        if compiled >= _TOLD:
            text += f", of which {compiled:.0f} s to compile"
        if self.done <= self.before:
            return text
        left = max(passed - compiled, 0.0) * (self.total - self.done) / (self.done - self.before)
        return f"{text}, about {left:.0f} s to go"


def _tqdm(total: int, unit: str) -> Any:
    how: dict[str, Any] = {
        "total": total, "unit": f" {unit}", "unit_scale": total > 10_000, "smoothing": 0.1, "leave": False,
    }  # fmt: skip
    if in_notebook():
        with warnings.catch_warnings():  # it falls back to text without ipywidgets, which is as good
            warnings.simplefilter("ignore")
            from tqdm.auto import tqdm as drawn

            return drawn(delay=_BAR_AFTER, **how)
    from tqdm import tqdm

    return tqdm(file=sys.stderr, **how)


class _Notice:
    """What is compiled now, as one line of a notebook that is gone once the study or the cell is done.

    What is written to stderr would stand in the notebook for ever, and be saved with it.
    """

    def __init__(self) -> None:
        self._line: Any = None
        self._watched: Any = None  # the shell that says when a cell is done

    def show(self, text: str, shell: Any) -> None:
        """Show it in place of what was shown before."""
        from IPython.display import display

        if self._watched is not shell:
            shell.events.register("post_run_cell", lambda *_: self.take_away())
            self._watched = shell
        if self._line is None:
            self._line = display({"text/plain": text}, raw=True, display_id=True)
        else:
            self._line.update({"text/plain": text}, raw=True)

    def take_away(self) -> None:
        """Leave an empty line of no height."""
        line, self._line = self._line, None
        if line is not None:
            line.update({"text/plain": ""}, raw=True)


_notice = _Notice()


def _above_the_bar(text: str) -> None:
    global _said_above
    shell = _shell()
    if shell is not None:
        _notice.show(text, shell)
        return
    from tqdm import tqdm

    _said_above += 1
    tqdm.write(text, file=sys.stderr)


def _line(text: str) -> None:
    if sys.stderr is not None:
        print(f"fastcart: {text}", file=sys.stderr, flush=True)
