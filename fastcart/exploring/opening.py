"""From the command to the page: what was chosen is checked, served, and opened in the browser."""

from __future__ import annotations

import threading
import webbrowser
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastcart import models
from fastcart.checks import check_file, reason, shown
from fastcart.errors import InputError, nearest
from fastcart.exploring.measured import read_measured
from fastcart.exploring.models import ModelExplorer
from fastcart.exploring.server import Explored, ExplorerServer
from fastcart.exploring.settings import read_toml_text
from fastcart.exploring.trials import TrialExplorer
from fastcart.solvers import interrupts

DEFAULT = "li_lei"
MOST_PORTS = 65_535


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What is explored, as the command line has it.

    Parameters
    ----------
    model : str, optional
        What `fastcart.models.get` takes, or the specification of a trial, ``FILE.toml``. Default `DEFAULT`.
    options : mapping
        Of the model.
    trial : Path, optional
        The specification of a trial, instead of a model.
    settings, data : Path, optional
        Settings that the page exported; measurements. Both for models alone.
    """

    model: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    trial: Path | None = None
    settings: Path | None = None
    data: Path | None = None


def serve(chosen: Chosen, *, port: int = 0, browser: bool = True) -> None:
    """Serve the page until Ctrl-C or SIGTERM, which are how it is meant to end.

    Parameters
    ----------
    chosen : Chosen
    port : int
        0 for one that is free.
    browser : bool
        Whether to open the page.

    Raises
    ------
    InputError
        For a bad choice, and for a port that is taken.
    """
    server = open_server(chosen, port=port)
    print(f"Explore at {server.address}\nCtrl-C ends it.", flush=True)
    if browser:
        threading.Thread(target=webbrowser.open, args=(server.address,), daemon=True).start()
    try:
        server.run()
    except KeyboardInterrupt:
        interrupts.forget()
        print("\nEnded.", flush=True)


def open_server(chosen: Chosen, *, port: int = 0) -> ExplorerServer:
    """Check what was chosen, and return its server, which does not run yet.

    Raises
    ------
    InputError
        For a bad choice, and for a port that is taken.
    """
    if not 0 <= port <= MOST_PORTS:
        raise InputError(f"The port must be a number from 0 to {MOST_PORTS}, not {port}.")
    trial = chosen.trial
    if trial is None and chosen.model is not None and chosen.model.lower().endswith(".toml"):
        trial = Path(chosen.model)
    elif trial is not None and chosen.model is not None:
        raise InputError("Explore a model or a trial: leave off MODEL or --trial.")
    if trial is not None:
        return _served(*_of_trial(chosen, trial), port)
    return _served(*_of_model(chosen), port)


def _of_model(chosen: Chosen) -> tuple[Any, dict[str, Any]]:
    """Return what answers for models, and what every page is to know."""
    text = None if chosen.settings is None else _text(chosen.settings, "The file of settings")
    given = None if text is None else read_toml_text(text)
    name = chosen.model or (given or {}).get("model") or DEFAULT
    if not isinstance(name, str):
        raise InputError(f"The model of the settings must be a name, not {shown(name)}.")
    options = dict(chosen.options) or ((given or {}).get("options") or {} if chosen.model is None else {})
    first = ModelExplorer(models.get(name, **options), name, options)
    more: dict[str, Any] = {"models": list(dict.fromkeys([name, *models.names()]))}
    start = None if given is None else first.read(given).plain()
    measured = None
    if chosen.data is not None:
        measured = read_measured(_text(chosen.data, "The table of measurements"), first.model)
    known = {name: _Opened(first, start, measured)}

    def explored(asked: str | None) -> Explored:
        asked = name if asked is None else asked
        if asked not in known:
            if asked not in models.names():  # a page may ask for what fastcart ships, and for no file
                raise InputError(
                    f"There is no model {shown(asked)} to explore." + nearest(asked, models.names())
                )
            known[asked] = _Opened(ModelExplorer(models.get(asked), asked))
        return known[asked]

    return explored, more


class _Opened(ModelExplorer):
    """A model with settings and measurements that the command line gave."""

    def __init__(self, of: ModelExplorer, start: Any = None, measured: Any = None):
        super().__init__(of.model, of.name, of.options)
        self._first = {k: v for k, v in (("start", start), ("measured", measured)) if v is not None}

    def facts(self) -> dict[str, Any]:
        """Return what the page needs to know."""
        return {**super().facts(), **self._first}


def _of_trial(chosen: Chosen, path: Path) -> tuple[Any, dict[str, Any]]:
    """Return what answers for a trial."""
    for name in ("settings", "data"):
        if getattr(chosen, name) is not None:
            raise InputError(f"--{name} is for models; a trial has its specification.")
    if chosen.options:
        raise InputError("--option is for models; a trial names its model in its specification.")
    explorer = TrialExplorer(path)
    return (lambda asked: explorer), {}


def _served(explored: Any, more: Mapping[str, Any], port: int) -> ExplorerServer:
    try:
        return ExplorerServer(explored, port=port, more=more)
    except OSError as error:
        raise InputError(
            f"The port {port} cannot be used: {reason(error)}; give another, or leave it off."
        ) from None


def _text(path: Path, what: str) -> str:
    check_file(path, what)
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(f"{what} {str(path)!r} cannot be read: {reason(error)}.") from None
