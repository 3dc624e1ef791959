"""The models that fastcart ships, by name: one file a model, or a few with its name.

``<model>_parameters`` holds the values with their sources, ``<model>_trial`` what a simulated trial needs to
know of it (`fastcart.trial.adapter`); what else a model brings, such as doses of its own, is listed here.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from fastcart.checks import shown
from fastcart.errors import InputError, nearest
from fastcart.model import Model
from fastcart.specification import from_file, only_one
from fastcart.trial.adapter import TrialAdapter
from fastcart.typing_names import ModelName

# name: (module, function that builds the model from its options)
_REGISTRY: dict[str, tuple[str, str]] = {
    "li_lei": ("fastcart.models.li_lei", "li_lei"),
    "li_lei_cytokines": ("fastcart.models.li_lei", "li_lei_cytokines"),
    "li_lei_coarse": ("fastcart.models.li_lei_coarse", "li_lei_coarse"),
    "b_all": ("fastcart.models.b_all_variants", "b_all"),
    "t_cell": ("fastcart.models.t_cell", "t_cell"),
    "cart_kinetics": ("fastcart.models.cart_kinetics", "cart_kinetics"),
    "carrgo": ("fastcart.models.carrgo", "carrgo"),
    "hanson": ("fastcart.models.zoo.hanson", "hanson"),
    "leon_triana": ("fastcart.models.zoo.leon_triana", "leon_triana"),
    "leon_triana_solid": ("fastcart.models.zoo.leon_triana", "leon_triana_solid"),
    "barros": ("fastcart.models.zoo.barros", "barros"),
    "chaudhury": ("fastcart.models.zoo.chaudhury", "chaudhury"),
    "kimmel": ("fastcart.models.zoo.kimmel", "kimmel"),
    "hardiansyah": ("fastcart.models.zoo.hardiansyah", "hardiansyah"),
    "mullinax": ("fastcart.models.zoo.mullinax", "mullinax"),
    "kirouac": ("fastcart.models.zoo.kirouac", "kirouac"),
    "crauste": ("fastcart.models.zoo.crauste", "crauste"),
}

# name: (module, function of the model); its doses where the caller gives none, and its adapter for trials
_DOSES = {
    "t_cell": ("fastcart.models.t_cell_scenarios", "doses_of"),
    "barros": ("fastcart.models.zoo.barros", "doses_of"),
    "hardiansyah": ("fastcart.models.zoo.hardiansyah", "doses_of"),
}
_SBML, _SBML_OPTIONS = (".xml", ".sbml"), ("burden", "t_end")
_TRIALS = {"b_all": ("fastcart.models.b_all_trial", "adapter")}


def names() -> list[str]:
    """Return the names of the models that fastcart ships."""
    return list(_REGISTRY)


def get(name: ModelName | str, **options) -> Model:
    """Return a model by name, or from a file.

    Parameters
    ----------
    name : str
        One of `names`; an SBML file, ``FILE.xml`` or ``FILE.sbml``, see `fastcart.sbml.load`; or
        ``FILE.py:NAME`` for a `fastcart.Model` that a file of Python holds, ``FILE.py`` where it holds only
        one.
    **options
        Named options of that model, e.g. ``killing="free"``; those of SBML files are ``burden`` and
        ``t_end``.

    Raises
    ------
    InputError
        For an unknown name, option, or value of an option, and for a file that holds no such model.
    """
    if isinstance(name, str) and is_file(name):
        return _of_file(name, options)
    if not isinstance(name, str) or name not in _REGISTRY:
        for file in (f"{name}{ending}" for ending in (".py", *_SBML) if isinstance(name, str)):
            if os.path.isfile(file):  # noqa: PTH113 - of a name that no file can have Path raises an error
                raise InputError(f"There is no model {shown(name)}, but a file; give {file!r}.")
        raise InputError(f"There is no model {shown(name)}." + nearest(name, names()))
    known = option_names(name)
    for option in options:
        if option not in known:
            raise InputError(f"Model {name!r} has no option {option!r}." + nearest(option, known))
    try:
        # with types, for 1 and True are one key, but not one value
        return _build(name, tuple((key, type(value), value) for key, value in sorted(options.items())))
    except TypeError:  # a value that cannot be hashed, e.g. a list; the builder says what is allowed
        return _builder(name)(**options)


def is_file(name: str) -> bool:
    """Whether a name of a model is that of a file that holds one."""
    return name.lower().endswith((*_SBML, ".py")) or ".py:" in name


def _of_file(name: str, options: dict[str, Any]) -> Model:
    if name.lower().endswith(_SBML):
        from fastcart.sbml import load

        for option in options:
            if option not in _SBML_OPTIONS:
                raise InputError(f"An SBML file has no option {option!r}." + nearest(option, _SBML_OPTIONS))
        return load(name, **options)
    if options:
        raise InputError(f"A model of a file of Python has no options, but {next(iter(options))!r} is given.")
    if name.lower().endswith(".py"):
        return only_one(Path(name), Model, "The model")
    file, _, what = name.rpartition(":")
    found = from_file(Path(file), what, "The model")
    if not isinstance(found, Model):
        raise InputError(f"The model must be a fastcart.Model, but {name!r} is {shown(found)}.")
    return found


def option_names(name: str) -> list[str]:
    """Return the names of the options of a model.

    Parameters
    ----------
    name : str
        One of `names`.
    """
    return list(inspect.signature(_builder(name)).parameters)


def doses(model: Model) -> Any:
    """Return the doses that a model brings with its options, e.g. those of a scenario; None for none.

    Parameters
    ----------
    model : Model

    Returns
    -------
    DataFrame or None
        As ``doses=`` of `fastcart.solve` takes them.
    """
    module, function = _DOSES.get(model.name, ("", ""))
    return getattr(import_module(module), function)(model) if module else None


def for_trial(model: str | Model | TrialAdapter) -> TrialAdapter:
    """Return a model as a trial sees it.

    Parameters
    ----------
    model : str, Model or TrialAdapter
        A name or a variant of a shipped model that has an adapter, or the adapter of another model.

    Raises
    ------
    InputError
        For a model without an adapter.
    """
    if isinstance(model, TrialAdapter):
        return model
    chosen = get(model) if isinstance(model, str) else model
    name = getattr(chosen, "name", None)
    if not isinstance(chosen, Model) or name not in _TRIALS:
        what = f"the model {name!r}" if isinstance(chosen, Model) else shown(model)
        raise InputError(
            f"A trial cannot use {what}: it has no adapter. Shipped with one: {', '.join(_TRIALS)}; for "
            "another model give a fastcart.TrialAdapter (docs/guides/own_trial.md has one)."
        )
    module, function = _TRIALS[name]
    return getattr(import_module(module), function)(chosen)


def _builder(name: str) -> Callable[..., Model]:
    module, function = _REGISTRY[name]
    return getattr(import_module(module), function)


@lru_cache(maxsize=64)
def _build(name: str, options: tuple) -> Model:
    return _builder(name)(**{key: value for key, _, value in options})
