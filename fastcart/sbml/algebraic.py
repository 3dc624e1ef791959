"""Which variables the algebraic rules of a file determine."""

from __future__ import annotations

from fastcart.errors import InputError
from fastcart.sbml import trees
from fastcart.sbml.document import Source


def determined(source: Source, moved: set[str], targets: set[str]) -> list[str]:
    """Return a variable for each algebraic rule, one that stands in it and that nothing else determines.

    Parameters
    ----------
    source : Source
    moved : set of str
        Species that reactions change.
    targets : set of str
        What events change.

    Raises
    ------
    InputError
        Where there is no such variable for a rule, and where there are events, too.
    """
    if not source.algebraic:
        return []
    if source.events:
        raise InputError("SBML: the file has an algebraic rule and events; fastcart takes either, not both.")
    free = {x.id for x in source.parameters.values() if not x.constant}
    free |= {x.id for x in source.compartments.values() if not x.constant}
    free |= {x.id for x in source.species.values() if not x.constant}
    free -= {*source.assigned, *source.rates, *moved, *targets}
    rule_of: dict[str, int] = {}

    def give(rule: int, tried: set[str]) -> bool:
        """Find a variable for a rule, and others for those that have it (augmenting paths)."""
        for name in sorted(_seen_by(source, rule) & free):
            if name not in tried:
                tried.add(name)
                if name not in rule_of or give(rule_of[name], tried):
                    rule_of[name] = rule
                    return True
        return False

    for rule in range(len(source.algebraic)):
        if not give(rule, set()):
            raise InputError(
                "SBML: an algebraic rule has no variable of its own that it could determine; such rules "
                "between states of reactions are not taken."
            )
    return sorted(rule_of, key=lambda name: rule_of[name])


def _seen_by(source: Source, rule: int) -> set[str]:
    """Return the names in a rule, those that assignment rules read for it, too."""
    found: set[str] = set()
    waiting = list(trees.names(source.algebraic[rule]))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            if name in source.assigned:
                waiting += trees.names(source.assigned[name])
    return found
