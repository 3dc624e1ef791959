"""Small SBML files for tests, from formulas."""

from __future__ import annotations

import libsbml


def math_of(formula: str) -> str:
    settings = libsbml.L3ParserSettings()
    tree = libsbml.parseL3FormulaWithSettings(formula, settings)
    assert tree is not None, libsbml.getLastParseL3Error()
    text = libsbml.writeMathMLToString(tree)
    return text[text.index("<math") :]


def sbml(*parts: str, head: str = "") -> str:
    """Return a model of lists, e.g. ``listed("Parameter", ...)``."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><sbml xmlns="http://www.sbml.org/sbml/level3/version2/core" '
        f'level="3" version="2"><model id="small" {head}>{"".join(parts)}</model></sbml>'
    )


def listed(kind: str, *items: str) -> str:
    return f"<listOf{kind}>{''.join(items)}</listOf{kind}>"


def parameters(**values: float | str) -> str:
    """Return parameters; a name that ends with a bar is not constant."""
    made = []
    for name, value in values.items():
        constant = str(not name.endswith("_v")).lower()
        made.append(f'<parameter id="{name}" value="{value}" constant="{constant}"/>')
    return listed("Parameters", *made)


def rule(kind: str, of: str, formula: str) -> str:
    return f'<{kind}Rule variable="{of}">{math_of(formula)}</{kind}Rule>'


def initial(of: str, formula: str) -> str:
    return f'<initialAssignment symbol="{of}">{math_of(formula)}</initialAssignment>'


def function(name: str, formula: str) -> str:
    return f'<functionDefinition id="{name}">{math_of(formula)}</functionDefinition>'


def compartment(name: str, size: float, *, constant: bool = True) -> str:
    return (
        f'<compartment id="{name}" spatialDimensions="3" size="{size}" constant="{str(constant).lower()}"/>'
    )


def species(name: str, amount: float, where: str = "V", *, by_amount: bool = False, more: str = "") -> str:
    return (
        f'<species id="{name}" compartment="{where}" initialAmount="{amount}" constant="false" '
        f'hasOnlySubstanceUnits="{str(by_amount).lower()}" boundaryCondition="false" {more}/>'
    )


def reaction(
    name: str, formula: str, reactants: dict[str, str], products: dict[str, str], local: str = ""
) -> str:
    """Return a reaction; stoichiometries are attributes, e.g. ``{"S": 'stoichiometry="2"'}``."""

    def references(kind: str, listing: dict[str, str]) -> str:
        items = (f'<speciesReference species="{x}" constant="false" {y}/>' for x, y in listing.items())
        return listed(kind, *items) if listing else ""

    law = f"<kineticLaw>{math_of(formula)}{local}</kineticLaw>"
    return (
        f'<reaction id="{name}" reversible="false">{references("Reactants", reactants)}'
        f"{references('Products', products)}{law}</reaction>"
    )


def event(
    name: str, trigger: str, *, delay: str = "", priority: str = "", persistent: bool = True,
    before: bool = True, from_trigger: bool = True, **values: str,
) -> str:  # fmt: skip
    """Return an event."""
    flags = f'persistent="{str(persistent).lower()}" initialValue="{str(before).lower()}"'
    parts = [f"<trigger {flags}>{math_of(trigger)}</trigger>"]
    parts += [f"<priority>{math_of(priority)}</priority>"] if priority else []
    parts += [f"<delay>{math_of(delay)}</delay>"] if delay else []
    assignments = (
        f'<eventAssignment variable="{x}">{math_of(y)}</eventAssignment>' for x, y in values.items()
    )
    return (
        f'<event id="{name}" useValuesFromTriggerTime="{str(from_trigger).lower()}">{"".join(parts)}'
        f"{listed('EventAssignments', *assignments)}</event>"
    )
