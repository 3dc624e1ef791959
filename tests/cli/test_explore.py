"""The command ``fastcart explore``."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request

import pytest

from fastcart.cli import main
from fastcart.exploring import opening


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lilei"], "Did you mean 'li_lei'"),
        (["none.py:model"], "none.py"),
        (["--settings", "none.toml"], "none.toml"),
        (["--data", "none.csv"], "none.csv"),
        (["--port", "70000"], "65535"),
        (["li_lei", "--trial", "a.toml"], "leave off"),
        (["--trial", "none.toml"], "none.toml"),
        (["none.toml"], "none.toml"),
    ],
)
def test_bad_input_is_one_sentence(arguments, words, capsys):
    assert main(["explore", "--no-browser", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert words in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_the_address_serves_it_and_ends_clean(number):
    command = [sys.executable, "-m", "fastcart", "explore", "leon_triana", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().split()[-1]
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address, timeout=60) as answer:
            assert b"leon_triana" in answer.read()
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.endswith("Ended.\n")
    assert err == ""


@pytest.mark.parametrize("wanted", [True, False])
def test_the_browser_is_opened_where_it_is_wanted(monkeypatch, wanted):
    opened = []
    monkeypatch.setattr(opening.webbrowser, "open", opened.append)

    class Ended(opening.ExplorerServer):
        def run(self):
            self.server_close()

    monkeypatch.setattr(opening, "ExplorerServer", Ended)
    arguments = ["explore", "leon_triana"] + ([] if wanted else ["--no-browser"])
    assert main(arguments) == 0
    for thread in opening.threading.enumerate():
        if thread.daemon and "open" in thread.name:
            thread.join(10)
    assert [address.startswith("http://127.0.0.1:") for address in opened] == ([True] if wanted else [])
