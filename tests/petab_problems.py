"""Small problems with answers in closed form, written to folders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

SBML = """<?xml version="1.0" encoding="UTF-8"?>
<sbml xmlns="http://www.sbml.org/sbml/level3/version2/core" level="3" version="2">
<model id="conversion">
<listOfCompartments><compartment id="c" size="1" constant="true"/></listOfCompartments>
<listOfSpecies>
<species id="A" compartment="c" initialConcentration="1" hasOnlySubstanceUnits="false"
 boundaryCondition="false" constant="false"/>
<species id="B" compartment="c" initialConcentration="0" hasOnlySubstanceUnits="false"
 boundaryCondition="false" constant="false"/>
</listOfSpecies>
<listOfParameters>
<parameter id="k1" constant="true"/><parameter id="k2" value="0.5" constant="true"/>
<parameter id="a0" value="1" constant="true"/>
</listOfParameters>
<listOfInitialAssignments><initialAssignment symbol="A">
<math xmlns="http://www.w3.org/1998/Math/MathML"><ci> a0 </ci></math>
</initialAssignment></listOfInitialAssignments>
<listOfReactions>
<reaction id="there" reversible="false">
<listOfReactants><speciesReference species="A" stoichiometry="1" constant="true"/></listOfReactants>
<listOfProducts><speciesReference species="B" stoichiometry="1" constant="true"/></listOfProducts>
<kineticLaw><math xmlns="http://www.w3.org/1998/Math/MathML"><apply><times/><ci>c</ci><ci>k1</ci><ci>A</ci></apply>
</math></kineticLaw></reaction>
<reaction id="back" reversible="false">
<listOfReactants><speciesReference species="B" stoichiometry="1" constant="true"/></listOfReactants>
<listOfProducts><speciesReference species="A" stoichiometry="1" constant="true"/></listOfProducts>
<kineticLaw><math xmlns="http://www.w3.org/1998/Math/MathML"><apply><times/><ci>c</ci><ci>k2</ci><ci>B</ci></apply>
</math></kineticLaw></reaction>
</listOfReactions>
</model>
</sbml>
"""

PARAMETERS = [
    "parameterId\tparameterScale\tlowerBound\tupperBound\tnominalValue\testimate",
    "k1\tlog10\t0.01\t10\t0.8\t1",
    "k2\tlog\t0.01\t10\t0.6\t1",
    "a0\tlin\t0\t10\t2\t1",
    "scale\tlog10\t0.01\t100\t1.5\t1",
    "sd\tlog10\t0.001\t10\t0.2\t1",
    "fixed\tlin\t0\t10\t3\t0",
]
CONDITIONS = ["conditionId\tk1\tB", "plain\tk1\tNaN", "before\t0.3\t1", "after\tk1\tNaN", "filled\tk1\tfixed"]
OBSERVABLES = [
    "observableId\tobservableFormula\tnoiseFormula\tobservableTransformation\tnoiseDistribution",
    "a\tobservableParameter1_a * A\tnoiseParameter1_a\tlin\tnormal",
    "b\tB + 0.1\tsd\tlog10\tnormal",
    "l\tA\tsd + 0.1 * A\tlin\tlaplace",
]
MEASUREMENTS = [
    "observableId\tpreequilibrationConditionId\tsimulationConditionId\tmeasurement\ttime\t"
    "observableParameters\tnoiseParameters",
    "a\t\tplain\t2.2\t1\tscale\tsd",
    "a\t\tplain\t1.9\t3\t2\t0.3",
    "b\t\tfilled\t2.5\t2\t\t",
    "b\tbefore\tafter\t1.1\t1.5\t\t",
    "l\t\tplain\t1.0\t0.5\t\t",
    "l\t\tfilled\t2.0\tinf\t\t",
]


def write(folder: Path, **changed: Any) -> Path:
    """Write the problem, with other tables or another model, and return the path of its YAML file."""
    tables: Mapping[str, list[str]] = {
        "parameters": PARAMETERS, "conditions": CONDITIONS, "observables": OBSERVABLES,
        "measurements": MEASUREMENTS,
    }  # fmt: skip
    for name, rows in {**tables, **{k: v for k, v in changed.items() if k in tables}}.items():
        (folder / f"{name}.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "model.xml").write_text(changed.get("model", SBML), encoding="utf-8")
    path = folder / "problem.yaml"
    path.write_text(
        changed.get(
            "yaml",
            "format_version: 1\nparameter_file: parameters.tsv\nproblems:\n"
            "- condition_files: [conditions.tsv]\n"
            "  measurement_files: [measurements.tsv]\n  observable_files: [observables.tsv]\n"
            "  sbml_files: [model.xml]\n",
        ),
        encoding="utf-8",
    )
    return path
