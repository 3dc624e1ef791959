"""The file that describes a scan: TOML in, the arguments of `fastcart.scan` out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from fastcart.checks import read_toml, shown
from fastcart.errors import InputError, nearest
from fastcart.events import Event
from fastcart.options import options_of_table
from fastcart.sampling.design import Design

_KEYS = (
    "model",
    "model_options",
    "patients",
    "sample",
    "doses",
    "events",
    "outputs",
    "keep",
    "chunk",
    "solve",
)
_EVENT = tuple(field.name for field in fields(Event))
_SAMPLE = ("method", "n", "seed", "columns", "correlation")


def read_spec(path: Path) -> dict[str, Any]:
    """Read the description of a scan.

    Parameters
    ----------
    path : Path
        A TOML file with ``model`` (a name), and either ``patients`` (a table of patients, relative to the
        folder of the file) or a table ``[sample]`` with ``method``, ``n``, ``seed``, ``[sample.columns]`` and
        ``correlation``, see `fastcart.sample.Design`. Optional: ``[model_options]``, ``[[doses]]``,
        ``outputs``, ``keep``, ``chunk`` as in `fastcart.scan`, ``[[events]]`` with the arguments of
        `fastcart.Event`, and ``[solve]`` with further keywords of `fastcart.solve`.

    Returns
    -------
    dict
        Arguments of `fastcart.scan`.

    Raises
    ------
    InputError
        For a file that is missing or no TOML, an unknown or a missing key.
    """
    from fastcart.models import get, is_file

    content = read_toml(path, "The scan")
    where = f"The scan {str(path)!r}"
    _check_keys(content, _KEYS, where)
    if "model" not in content:
        raise InputError(f"{where} names no model; add e.g.: model = 'li_lei'.")
    if ("patients" in content) == ("sample" in content):
        raise InputError(f"{where} must have either 'patients' (a file) or a table [sample].")
    if not isinstance(content["model"], str):
        raise InputError(f"{where}: 'model' must be a name, not {shown(content['model'])}.")
    named = content["model"]
    arguments: dict[str, Any] = {
        "model": get(
            str(path.parent / named) if is_file(named) else named, **_table(content, "model_options", where)
        ),
        **options_of_table(_table(content, "solve", where), where),
    }
    arguments |= {key: content[key] for key in ("doses", "outputs", "keep", "chunk") if key in content}
    if "events" in content:
        arguments["events"] = _events(content["events"], where)
    if "sample" in content:
        sample = _table(content, "sample", where)
        _check_keys(sample, _SAMPLE, f"{where}: the table [sample]")
        arguments["patients"] = Design(sample.pop("columns", None), **sample)
    else:
        if not isinstance(content["patients"], str):
            raise InputError(f"{where}: 'patients' must name a file, not {shown(content['patients'])}.")
        arguments["patients"] = path.parent / content["patients"]
    return arguments


def _events(given: Any, where: str) -> list[Event]:
    if not isinstance(given, list) or not all(isinstance(event, Mapping) for event in given):
        raise InputError(f"{where}: 'events' must be a list of tables [[events]], not {shown(given)}.")
    for event in given:
        _check_keys(event, _EVENT, f"{where}: an event")
        for key in ("name", "of", "threshold"):
            if key not in event:
                raise InputError(f"{where}: an event needs 'name', 'of' and 'threshold'; {key!r} is missing.")
    return [Event(**event) for event in given]


def _check_keys(given: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in given:
        if key not in known:
            raise InputError(f"{where} has no key {key!r}." + nearest(key, known))


def _table(content: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    value = content.get(key, {})
    if not isinstance(value, Mapping):
        raise InputError(f"{where}: {key!r} must be a table, not {shown(value)}.")
    return dict(value)
