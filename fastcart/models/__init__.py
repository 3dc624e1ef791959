"""The models that fastcart ships, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module

from fastcart.checks import shown
from fastcart.errors import InputError, nearest
from fastcart.model import Model

# name: (module, function that builds the model from its options)
_REGISTRY: dict[str, tuple[str, str]] = {
    "li_lei": ("fastcart.models.li_lei", "li_lei"),
    "li_lei_cytokines": ("fastcart.models.li_lei", "li_lei_cytokines"),
    "li_lei_coarse": ("fastcart.models.li_lei_coarse", "li_lei_coarse"),
    "b_all": ("fastcart.models.b_all", "b_all"),
    "t_cell": ("fastcart.models.t_cell", "t_cell"),
}


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


def _builder(name: str) -> Callable[..., Model]:
    module, function = _REGISTRY[name]
    return getattr(import_module(module), function)


@lru_cache(maxsize=64)
def _build(name: str, options: tuple) -> Model:
    return _builder(name)(**{key: value for key, _, value in options})
