"""
Rodas5P: the Rosenbrock-Wanner method of order 5(4) of Steinebach with an interpolant of order 4.

G. Steinebach, Construction of Rosenbrock-Wanner method Rodas5P and numerical benchmarks within the Julia
Differential Equations package, BIT Numerical Mathematics 63 (2023) 27, doi:10.1007/s10543-023-00967-x.

Eight stages; L-stable; the solution and the embedded solution are both stiffly accurate. The digits are those
of OrdinaryDiffEq.jl; those of diffrax are the same (it has no interpolant of its own for the method). The
error estimate is the last stage. The interpolant is published as
``(1 - theta) u0 + theta (u1 + (1 - theta) (g1 + theta (g2 + theta g3)))`` with three linear combinations g of
the stages; here it is expanded in powers of theta on import.
"""

from __future__ import annotations

import numpy as np

from fastcart.solvers.tableaus.base import RosenbrockTableau, lower_triangular

_GAMMA = 0.21193756319429014

_C_NODES = [
    0.0,
    0.6358126895828704,
    0.4095798393397535,
    0.9769306725060716,
    0.4288403609558664,
    1.0,
    1.0,
    1.0,
]

_D = [
    0.21193756319429014,
    -0.42387512638858027,
    -0.3384627126235924,
    1.8046452872882734,
    2.325825639765069,
    0.0,
    0.0,
    0.0,
]

# Stage 6 is the first at the end of the step; 7, 8 and the solution each add the stage before.
_A_6 = [
    -7.502846399306121,
    2.561846144803919,
    -11.627539656261098,
    -0.18268767659942256,
    0.030198172008377946,
]

_A = [
    [],
    [3.0],
    [2.849394379747939, 0.45842242204463923],
    [-6.954028509809101, 2.489845061869568, -10.358996098473584],
    [2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641],
    _A_6,
    [*_A_6, 1.0],
    [*_A_6, 1.0, 1.0],
]

_B = [*_A_6, 1.0, 1.0, 1.0]

_C = [
    [],
    [-14.155112264123755],
    [-17.97296035885952, -2.859693295451294],
    [147.12150275711716, -1.41221402718213, 71.68940251302358],
    [165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306],
    [24.854864614690072, -3.0009227002832186, 47.4931110020768, 5.5814197821558125, -0.6610691825249471],
    [
        30.91273214028599,
        -3.1208243349937974,
        77.79954646070892,
        34.28646028294783,
        -19.097331116725623,
        -28.087943162872662,
    ],
    [
        37.80277123390563,
        -3.2571969029072276,
        112.26918849496327,
        66.9347231244047,
        -40.06618937091002,
        -54.66780262877968,
        -9.48861652309627,
    ],
]

# weights of the stages in g1, g2, g3
_H = [
    [
        25.948786856663858,
        -2.5579724845846235,
        10.433815404888879,
        -2.3679251022685204,
        0.524948541321073,
        1.1241088310450404,
        0.4272876194431874,
        -0.17202221070155493,
    ],
    [
        -9.91568850695171,
        -0.9689944594115154,
        3.0438037242978453,
        -24.495224566215796,
        20.176138334709044,
        15.98066361424651,
        -6.789040303419874,
        -6.710236069923372,
    ],
    [
        11.419903575922262,
        2.8879645146136994,
        72.92137995996029,
        80.12511834622643,
        -52.072871366152654,
        -59.78993625266729,
        -0.15582684282751913,
        4.883087185713722,
    ],
]

# powers theta^1 ... theta^4 of theta, theta (1 - theta), theta^2 (1 - theta), theta^3 (1 - theta)
_BASIS = [[1, 0, 0, 0], [1, -1, 0, 0], [0, 1, -1, 0], [0, 0, 1, -1]]

RODAS5P = RosenbrockTableau(
    name="rodas5p",
    order=5,
    error_order=4,
    dense_order=4,
    source="Steinebach, BIT Numerical Mathematics 63 (2023) 27",
    gamma=_GAMMA,
    c=np.array(_C_NODES),
    A=lower_triangular(_A),
    C=lower_triangular(_C),
    d=np.array(_D),
    b=np.array(_B),
    error=np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]),
    dense=np.array([_B, *_H]).T @ np.array(_BASIS, dtype=np.float64),
)
