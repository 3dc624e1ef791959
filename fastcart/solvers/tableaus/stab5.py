"""
Stab5: a stabilised explicit 5(4) pair for models with fast decays, with a free interpolant of order 4.

Derived for this project. A model whose fastest state decays at a rate lambda lets an explicit method take
steps of at most beta / lambda, however smooth the solution is. Nine stages, and the evaluation at the new
point as the tenth, buy the interval beta = 16.9 instead of the 3.5 of Tsit5 with six: 3.2 times as much for
each evaluation. The idea is that of Runge-Kutta-Chebyshev methods (W. Hundsdorfer, J. G. Verwer, Numerical
Solution of Time-Dependent Advection-Diffusion-Reaction Equations, Springer 2003, section V.1), at a higher
order and a fixed number of stages.

How the coefficients were found:

1. The stability polynomial of degree 9, ``R(z) = 1 + z + ... + z^5/5! + r_6 z^6 + ... + r_9 z^9``, has the
   smallest maximum of ``|R|`` over ``-16.8 <= z <= -1`` (a linear program): 0.51, so that each step damps
   what decays fast.
2. ``A`` and ``b`` are the least squares solution, from many random starts, of the 17 order conditions and the
   four conditions of the stability polynomial, with, as small as may be: the error coefficients of order 6,
   the stages' own stability polynomials beyond 1 on the interval, the local errors of the problem of
   Prothero and Robinson on the interval (``u' = -lambda (u - phi) + phi'``, where phi is quadratic or cubic:
   without this they grow hundreds of times larger), and the size of the entries. Newton's method then met
   the conditions to rounding.
3. The weights of the error estimate are zero under the eight conditions up to order 4, which leaves a plane.
   Of it they take the direction that, for the same coefficients of order 5, is smallest on the interval, with
   entries of moderate size. Their scale, with ``gains`` and the engine's factor of safety, makes the error of
   a model whose steps stability limits about the tolerance.
4. The interpolant meets the eight conditions of order 4 at every place, is continuously differentiable, and
   has the smallest error coefficients of order 5 of those.

Beyond the end of the interval R grows steeply. A controller that reacts as strongly as usual goes to and fro
over the end and rejects every fourth step; the smaller ``gains`` settle below it.
"""

from __future__ import annotations

import numpy as np

from fastcart.solvers.tableaus.base import ExplicitTableau, lower_triangular

_C = [
    0.0,
    0.00788006602930128,
    0.0715721070443805,
    0.1531476585400961,
    0.26480408689735163,
    0.3266574252817762,
    0.48025751341978823,
    0.7666107203844185,
    0.9138630991701263,
    1.0,
]

_A = [
    [],
    [0.00788006602930128],
    [-0.25541414643341287, 0.32698625347779336],
    [-0.2056812658033293, 0.2190191673203536, 0.1398097570230718],
    [-0.06532441419248551, 0.122491353418032, -0.028246926865531805, 0.23588407453733692],
    [0.089481590281238, 0.004696934981846046, -0.0942500522457196, 0.23668875081255145, 0.09004020145186033],
    [
        0.20084684009101977,
        0.14439673955878976,
        -0.4172953998839695,
        0.13517539045114632,
        0.20835731569312996,
        0.20877662750967194,
    ],
    [
        0.12829451556307125,
        0.16353443667404946,
        0.3499349649942585,
        -0.871337911829503,
        0.09930295508064589,
        0.36531637828143226,
        0.5315653816204642,
    ],
    [
        -0.6730201281945057,
        -0.043423601406299646,
        0.6472383508901296,
        1.0372994610005903,
        -0.34184720954429687,
        -0.3316577975672315,
        0.22049968471227116,
        0.398774339279469,
    ],
    [
        0.213038452492578,
        -0.09300266976923478,
        -0.2633716045775,
        0.4855946053402106,
        0.1919216181704517,
        -0.33212247208034323,
        0.47692620060520957,
        0.13261622817092464,
        0.18839964164770356,
    ],
]

_ERROR = [
    -0.17527824650397067,
    0.12841880924040505,
    0.18614255288205142,
    -0.2004936629066666,
    -0.052835232895854824,
    0.1784823083219615,
    -0.07928941787286439,
    0.02499048260425239,
    -0.01297870683225478,
    0.002841113962940903,
]

# powers theta^1 ... theta^4 for each stage
_DENSE = [
    [1.0, 5.758375542856149, -13.664597275741984, 7.119260185378412],
    [0.0, -6.599528691224275, 12.827046703371607, -6.320520681916568],
    [0.0, -11.674889213103066, 22.29629200789613, -10.884774399370565],
    [0.0, 16.119637305279284, -30.29689618919773, 14.662853489258655],
    [0.0, 2.308134543813447, -3.8485826149450895, 1.7323696893020941],
    [0.0, -9.21516915458503, 17.10184842084869, -8.218801738344002],
    [0.0, 4.671087025951877, -7.434469249482914, 3.2403084241362468],
    [0.0, -1.5280080705884147, 3.5864810538605267, -1.9258567551011878],
    [0.0, -0.9939807104102928, 2.741559987411399, -1.5591796353534026],
    [0.0, 1.1543414220103192, -3.3086828440206375, 2.1543414220103188],
]

STAB5 = ExplicitTableau(
    name="stab5",
    order=5,
    error_order=4,
    dense_order=4,
    source="derived for this project",
    c=np.array(_C),
    A=lower_triangular(_A),
    error=np.array(_ERROR),
    dense=np.array(_DENSE),
    gains=(0.35, 0.15),
)
