"""Physics -> images of strong gravitational lenses on disk.

`simulate` writes a data set of one of the `POPULATIONS`, or of any other `Population`:
parameters are drawn (`draw`), rays traced (`lensing`, `render`), photons counted (`photons`),
files written (`write`). Nothing here imports torch before the first image is rendered.

>>> sorted(POPULATIONS)
['common-test-1', 'demo', 'physical']
"""

from lensbench.simulation.draw import PARTITIONS, draw, generator
from lensbench.simulation.knobs import KNOBS, shifted
from lensbench.simulation.named import named_population
from lensbench.simulation.population import (
    CLASSES,
    COMMON_TEST_1,
    DEMO,
    PHYSICAL,
    POPULATIONS,
    Population,
)
from lensbench.simulation.scene import Scene
from lensbench.simulation.write import simulate

__all__ = [
    "CLASSES",
    "COMMON_TEST_1",
    "DEMO",
    "KNOBS",
    "PARTITIONS",
    "PHYSICAL",
    "POPULATIONS",
    "Population",
    "Scene",
    "draw",
    "generator",
    "named_population",
    "shifted",
    "simulate",
]
