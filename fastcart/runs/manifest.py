"""The manifest of a run: all that its results depend on, as a file that a later run is compared with."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastcart.checks import reason
from fastcart.errors import InputError
from fastcart.runs.identity import plain

MANIFEST = "manifest.json"
_BEGINNING = b'{\n  "kind": "'  # of every manifest
_MAX_SHOWN = 6  # differences named in one sentence
_MISSING = object()


@dataclass(frozen=True)
class Manifest:
    """What the results of a run depend on, and nothing else: no paths, times, threads or hosts.

    Parameters
    ----------
    kind : str
        What is run, e.g. ``"scan"``.
    content : mapping
        Names and values, nested as one likes; values that JSON has no form for go through `plain`.
    """

    kind: str
    content: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return what is written as JSON."""
        return {"kind": self.kind, **plain(self.content)}

    def text(self) -> str:
        """Return the text of the file; the same manifest always gives the same bytes."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False) + "\n"

    def differences(self, other: Mapping[str, Any]) -> list[str]:
        """Return what differs from a manifest read from a file, a phrase each."""
        there, now = _flat(other), _flat(json.loads(self.text()))
        names = [*there, *(name for name in now if name not in there)]
        return [
            f"{name} is {_shown(there, name)} there and {_shown(now, name)} now"
            for name in names
            if there.get(name, _MISSING) != now.get(name, _MISSING)
        ]


def read_manifest(folder: str | os.PathLike[str], kind: str) -> dict[str, Any]:
    """Read the manifest of a finished or unfinished run.

    Raises
    ------
    InputError
        Where the folder holds none, or that of another kind of run.
    """
    file = Path(folder) / MANIFEST
    if not file.is_file():
        raise InputError(f"The folder {str(folder)!r} holds no {kind}: there is no {MANIFEST}.")
    content = read_file(file)
    if content is None:
        raise InputError(f"The file {str(file)!r} is damaged; begin the {kind} anew with --force.")
    if content["kind"] != kind:
        raise InputError(f"The folder {str(folder)!r} holds a {content['kind']}, not a {kind}.")
    return content


def read_file(file: Path) -> dict[str, Any] | None:
    """Return the manifest in a folder; None where it is one of fastcart's, but damaged.

    Raises
    ------
    InputError
        For a file that fastcart never wrote: what lies beside it is somebody else's.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(f"The file {str(file)!r} cannot be read: {reason(error)}.") from error
    content = _parsed(data)
    if _is_manifest(content):
        return content
    if data.startswith(_BEGINNING[: max(len(data), 1)]) or not data:
        return None
    raise InputError(
        f"The file {str(file)!r} is no manifest of fastcart, so its folder is left alone; give another "
        "folder, or remove the file."
    )


def _is_manifest(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get("kind"), str)


def _parsed(data: bytes) -> Any:
    """Return what JSON says, None where it is none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def require_same(path: Path, manifest: Manifest, there: Mapping[str, Any]) -> None:
    """Check that the run in a folder, begun with the manifest ``there``, may go on with this one.

    Raises
    ------
    InputError
        With what differs.
    """
    differ = manifest.differences(there)
    opaque = _flat(manifest.as_dict()).get("model.not_comparable")
    if opaque:
        differ = [f"the model holds a {opaque[0]}, which cannot be compared with that of another process"]
    if differ:
        more = f"; and {len(differ) - _MAX_SHOWN} more" if len(differ) > _MAX_SHOWN else ""
        raise InputError(
            f"The {there.get('kind', 'run')} in {str(path)!r} cannot go on, because it was begun with other "
            f"inputs: {'; '.join(differ[:_MAX_SHOWN])}{more}. Give the same inputs, another folder, or "
            "--force to begin anew."
        )


def _flat(content: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, with names joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _shown(content: Mapping[str, Any], name: str) -> str:
    if name not in content:
        return "not given"
    text = json.dumps(content[name], ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
