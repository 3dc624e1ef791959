"""What takes long is said where nobody draws a bar, and not where silence was asked for."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace

import pytest

from fastcart import telling
from fastcart.solvers import compile as compiling
from fastcart.telling import announced, progress_bar


@pytest.fixture(autouse=True)
def off_a_terminal(monkeypatch):
    monkeypatch.delenv(telling.VARIABLE, raising=False)
    monkeypatch.setattr(telling, "_last", -1e9)


def compiled():
    for label in ("m for lanes", "m for vern7"):
        compiling.announce(label)


def test_compiling_is_one_line(capsys):
    with progress_bar(10, None):
        compiled()
    out, err = capsys.readouterr()
    assert out == ""
    told = "compiling m for lanes, and what goes with it; this may take a minute, once: it is kept on disk"
    assert err == f"fastcart: {told}\n"


def test_it_is_said_outside_of_all_studies_too(capsys):
    compiled()
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("silence", ["asked", "outer", "variable"])
def test_silence_holds_within(capsys, monkeypatch, silence):
    if silence == "variable":
        monkeypatch.setenv(telling.VARIABLE, "0")
        with progress_bar(10, None):
            compiled()
    elif silence == "asked":
        with progress_bar(10, False):
            compiled()
    else:
        with announced(False), progress_bar(10, None):
            compiled()
    assert capsys.readouterr().err == ""


def test_what_is_asked_of_a_part_does_not_silence_the_whole(capsys):
    with progress_bar(10, None), progress_bar(10, False):
        compiled()
    assert "compiling" in capsys.readouterr().err


def test_lines_come_ever_farther_apart(capsys, monkeypatch):
    monkeypatch.setattr(telling, "_NOTICE_AFTER", 0.05)
    with progress_bar(100, None, "points") as bar:
        bar.set_description("searching")
        bar.update(20)
        time.sleep(0.6)
    lines = capsys.readouterr().err.splitlines()
    assert 1 <= len(lines) <= 5
    assert lines[0].startswith("fastcart: searching: 20 of 100 points after 0 s")


def test_a_short_study_says_nothing(capsys):
    with progress_bar(1, None) as bar:
        bar.update()
    assert capsys.readouterr().err == ""


def test_what_was_there_before_took_no_time(capsys, monkeypatch):
    lines = telling._Lines(100, "points")
    lines.done, lines.before = 60, 50
    assert lines.text(10.0) == "60 of 100 points after 10 s, about 40 s to go"
    lines.done = 50
    assert lines.text(10.0) == "50 of 100 points after 10 s"


def test_time_to_go_leaves_compiling_out():
    lines = telling._Lines(100, "points")
    assert lines.text(8.0, 7.0) == "0 of 100 points after 8 s, of which 7 s to compile"
    lines.done = 20
    assert lines.text(30.0, 20.0) == "20 of 100 points after 30 s, of which 20 s to compile, about 40 s to go"


def test_a_bar_stands_still_while_something_is_compiled(monkeypatch):
    clock = iter([0.0, 0.0, 30.0, 30.0])
    monkeypatch.setattr(telling.compile_clock, "seconds", lambda: next(clock))
    with progress_bar(10, True) as bar:
        begun = bar._bar.start_t
        bar._bar.last_print_t -= 100  # a minute and more ago
        bar.update()
        assert bar._bar.start_t == begun
        bar._bar.last_print_t = time.time() - 40
        bar.update()
        assert bar._bar.start_t == begun + 30


def test_a_bar_that_a_notice_drew_is_taken_away(capsys, monkeypatch):
    """In a notebook a bar waits a second; a notice draws it before, and tqdm would not know that it did."""
    monkeypatch.setattr(telling, "in_notebook", lambda: True)
    with progress_bar(10, True):
        compiling.announce("x")
    *_, last = capsys.readouterr().err.rstrip("\r").split("\r")
    assert not last.strip()


def test_a_short_study_with_parts_leaves_no_bar_in_a_notebook(capsys, monkeypatch):
    monkeypatch.setattr(telling, "in_notebook", lambda: True)
    with progress_bar(10, True) as bar:
        bar.resume(3)
        for part in ("drawing", "solving"):
            bar.set_description(part)
            bar.update()
    assert capsys.readouterr().err == ""


class Line:
    """A display of a notebook, which can be changed."""

    def __init__(self, shown):
        self.shown = [shown]

    def update(self, data, raw):
        self.shown.append(data["text/plain"])


class ZMQInteractiveShell:
    """What the shell of a notebook has of what is asked of it."""

    def __init__(self):
        self.events = SimpleNamespace(register=lambda name, call: self.calls.append((name, call)))
        self.calls = []


@pytest.fixture
def notebook(monkeypatch):
    """A notebook's shell, and the lines that it shows."""
    shell, lines = ZMQInteractiveShell(), []

    def display(data, raw, display_id):
        lines.append(Line(data["text/plain"]))
        return lines[-1]

    package = SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    monkeypatch.setattr(telling, "_notice", telling._Notice())
    return shell, lines


def test_notices_of_a_study_do_not_stay_in_a_notebook(notebook, capsys):
    _, lines = notebook
    with progress_bar(10, None):
        compiled()
    (line,) = lines
    assert line.shown == ["compiling m for lanes, once ...", "compiling m for vern7, once ...", ""]
    assert "compiling" not in capsys.readouterr().err


def test_notices_outside_of_all_studies_go_with_their_cell(notebook, capsys):
    """A fit of individuals draws no bar, whose end would be the end of them."""
    shell, lines = notebook
    for _ in range(2):
        compiled()
        assert lines[-1].shown[-1].startswith("compiling")
        ((name, call),) = shell.calls
        assert name == "post_run_cell"
        call("result of the cell")
    assert [line.shown[-1] for line in lines] == ["", ""]
    assert capsys.readouterr().err == ""


def test_the_clock_runs_while_numba_compiles_and_not_else():
    from numba import njit

    begun = telling.compile_clock.seconds()
    twice = njit(lambda x: 2 * x)
    time.sleep(0.02)
    assert telling.compile_clock.seconds() == begun
    assert twice(2) == 4
    first = telling.compile_clock.seconds()
    assert first > begun
    assert twice(3) == 6
    with telling.compile_clock.compiling(), telling.compile_clock.compiling():
        time.sleep(0.02)
        assert telling.compile_clock.seconds() >= first + 0.02
    assert twice(4) == 8
