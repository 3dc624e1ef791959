"""The models that fastcart ships, by name: one file a model, or a few with its name.

``<model>_parameters`` holds the values with their sources, ``<model>_trial`` what a simulated trial needs to
know of it (`fastcart.trial.adapter`); what else a model brings, such as doses of its own, is listed here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Any

from fastcart.checks import shown
from fastcart.errors import InputError, nearest
from fastcart.model import Model
from fastcart.trial.adapter import TrialAdapter

# name: (module, function that builds the model from its options)
_REGISTRY: dict[str, tuple[str, str]] = {
    "li_lei": ("fastcart.models.li_lei", "li_lei"),
    "li_lei_cytokines": ("fastcart.models.li_lei", "li_lei_cytokines"),
    "li_lei_coarse": ("fastcart.models.li_lei_coarse", "li_lei_coarse"),
    "b_all": ("fastcart.models.b_all_variants", "b_all"),
    "t_cell": ("fastcart.models.t_cell", "t_cell"),
    "cart_kinetics": ("fastcart.models.cart_kinetics", "cart_kinetics"),
    "carrgo": ("fastcart.models.carrgo", "carrgo"),
}

# name: (module, function of the model); its doses where the caller gives none, and its adapter for trials
_DOSES = {"t_cell": ("fastcart.models.t_cell_scenarios", "doses_of")}
_TRIALS = {"b_all": ("fastcart.models.b_all_trial", "adapter")}


def names() -> list[str]:
    """Return the names of the models that fastcart ships."""
    return list(_REGISTRY)


def get(name: str, **options) -> Model:
    """Return a model by name.

    Parameters
    ----------
    name : str
        One of `names`.
    **options
        Named options of that model, e.g. ``killing="free"``.

    Raises
    ------
    InputError
        For an unknown name, option, or value of an option.
    """
    if not isinstance(name, str) or name not in _REGISTRY:
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


def option_names(name: str) -> list[str]:
    """Return the names of the options of a model."""
    return list(inspect.signature(_builder(name)).parameters)


def doses(model: Model) -> Any:
    """Return the doses that a model brings with its options, e.g. those of a scenario; None for none."""
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
            "another model give a fastcart.trial.adapter.TrialAdapter."
        )
    module, function = _TRIALS[name]
    return getattr(import_module(module), function)(chosen)


def _builder(name: str) -> Callable[..., Model]:
    module, function = _REGISTRY[name]
    return getattr(import_module(module), function)


@lru_cache(maxsize=64)
def _build(name: str, options: tuple) -> Model:
    return _builder(name)(**{key: value for key, _, value in options})
