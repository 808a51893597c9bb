"""Physics -> images of strong gravitational lenses on disk.

`simulate` writes a data set of one of the `POPULATIONS`, or of any other `Population`:
parameters are drawn (`draw`), rays traced and photons counted (`render`), files written
(`write`). Nothing here imports torch before the first image is rendered.

>>> sorted(POPULATIONS)
['common-test-1', 'demo']
"""

from lensbench.simulation.draw import PARTITIONS, Scene, draw, generator
from lensbench.simulation.population import CLASSES, COMMON_TEST_1, DEMO, POPULATIONS, Population
from lensbench.simulation.write import simulate

__all__ = [
    "CLASSES",
    "COMMON_TEST_1",
    "DEMO",
    "PARTITIONS",
    "POPULATIONS",
    "Population",
    "Scene",
    "draw",
    "generator",
    "simulate",
]
