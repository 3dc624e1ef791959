"""Numbers of the specification's prototype (n = 3000, D = 1e8), to be compared with.

An independent implementation calibrates another population: what the two may differ by is the spread over
four populations of the specification, here as standard deviations.
"""

from __future__ import annotations

import pandas as pd

# section 8.1; EFS and OS at 365 and 730 days
ARMS = pd.DataFrame(
    [
        ("A0", 0.726, 0.793, 0.620, 0.777, 0.462, 0.247, 0.013, 0.499, 0.468, 0.758, 0.571, 0.46),
        ("A1", 0.592, 0.690, 0.676, 0.719, 0.404, 0.198, 0.011, 0.469, 0.453, 0.711, 0.545, 0.56),
        ("A2", 0.662, 0.742, 0.651, 0.750, 0.437, 0.222, 0.012, 0.485, 0.463, 0.735, 0.559, 0.50),
        ("A3", 0.645, 0.729, 0.659, 0.745, 0.426, 0.220, 0.012, 0.484, 0.461, 0.728, 0.558, 0.51),
        ("A4", 0.542, 0.656, 0.698, 0.691, 0.378, 0.186, 0.010, 0.460, 0.447, 0.700, 0.538, 0.62),
        ("A5", 0.506, 0.621, 0.711, 0.655, 0.349, 0.169, 0.009, 0.443, 0.434, 0.685, 0.524, 0.65),
        ("A6", 0.507, 0.621, 0.711, 0.655, 0.349, 0.169, 0.009, 0.443, 0.434, 0.685, 0.524, 0.65),
    ],
    columns=["arm", "CR28", "CR90", "RFS12", "crs_any", "crs3", "crs4", "toxic_death", "EFS365", "EFS730",
             "OS365", "OS730", "negative_share"],
).set_index("arm")  # fmt: skip

# section 10.4: mean and standard deviation over four calibrated populations of 2000
RANGES: dict[tuple[str, str], tuple[float, float]] = {
    ("A0", "CR90"): (0.793, 0.013), ("A0", "RFS12"): (0.617, 0.014), ("A0", "crs3"): (0.452, 0.006),
    ("A0", "crs4"): (0.248, 0.005), ("A0", "EFS365"): (0.498, 0.017), ("A0", "EFS730"): (0.466, 0.014),
    ("A0", "OS730"): (0.572, 0.014), ("A1", "CR90"): (0.690, 0.012), ("A1", "crs3"): (0.395, 0.007),
    ("A1", "EFS730"): (0.444, 0.011), ("A3", "CR90"): (0.729, 0.014), ("A3", "crs3"): (0.418, 0.007),
    ("A3", "EFS730"): (0.453, 0.012), ("A4", "CR90"): (0.649, 0.012), ("A4", "crs3"): (0.371, 0.008),
    ("A4", "EFS730"): (0.434, 0.010), ("A5", "CR90"): (0.613, 0.013), ("A5", "crs3"): (0.346, 0.009),
    ("A5", "EFS730"): (0.422, 0.014), ("A5", "OS730"): (0.522, 0.010),
}  # fmt: skip

# section 8.3: gain of EFS at 24 months over the iso-toxic single dose, by rhoE
GAINS = pd.DataFrame(
    [
        (0.6, 1.3, 0.23, 0.23, 0.08),
        (1.0, 1.7, 0.25, 0.29, 0.21),
        (1.4, 2.9, 0.22, 0.32, 0.31),
        (1.8, 8.4, 0.16, 0.21, 0.22),
        (2.2, 38.0, 0.05, 0.05, 0.06),
        (2.6, 365.0, 0.00, 0.00, 0.01),
        (2.95, 3500.0, 0.00, 0.00, 0.00),
    ],
    columns=["rhoE", "amplification", "A3", "A4", "A5"],
).set_index("rhoE")

# section 8.4: A0 and A5 by heterogeneity
HETEROGENEITY = pd.DataFrame(
    [
        (0.10, 0.999, 0.999, 0.935, 0.715, 0.999, 0.999),
        (0.25, 0.999, 0.996, 0.721, 0.569, 0.970, 0.981),
        (0.50, 0.983, 0.896, 0.601, 0.471, 0.783, 0.777),
        (0.75, 0.900, 0.753, 0.528, 0.407, 0.637, 0.599),
        (1.00, 0.793, 0.648, 0.474, 0.367, 0.534, 0.481),
        (1.50, 0.620, 0.508, 0.413, 0.327, 0.393, 0.348),
    ],
    columns=["het", "CR90_A0", "CR90_A5", "crs3_A0", "crs3_A5", "EFS730_A0", "EFS730_A5"],
).set_index("het")
