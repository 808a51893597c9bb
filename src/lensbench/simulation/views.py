"""What there is to see of simulated lenses, as numbers: `preview` computes, `figures` draws.

Arrays are float64; row 0 is the top, as in images, and coordinates rise to the right and upwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lensbench.simulation.scene import Scene

_Array = NDArray[np.float64]


@dataclass(frozen=True)
class Example:
    """An image, and what was drawn for it.

    Attributes:
        name: Its path in a data set of the same population and seed.
        label: Its class.
        scene: Its parameters.
        image: Pixels in [0, 1], (n, n).
    """

    name: str
    label: str
    scene: Scene
    image: _Array


@dataclass(frozen=True)
class Anatomy:
    """One lens taken apart; whatever is (n, n) is so on the pixels of the camera.

    Attributes:
        name: The image's path in a data set of the same population and seed.
        label: Its class.
        scene: Its parameters.
        pixel_scale_arcsec: Side of a pixel.
        convergence: Mean convergence in each pixel, (n, n).
        deflection_x_arcsec: Reduced deflection at the centre of each pixel, (n, n).
        deflection_y_arcsec: The same, upwards.
        critical_x_arcsec: Ends of the straight pieces of the critical curves, (C, 2) in no order.
        critical_y_arcsec: The same, upwards.
        caustic_x_arcsec: Where these come from in the source plane, (C, 2).
        caustic_y_arcsec: The same, upwards.
        source: The source without a lens, in counts per pixel of the camera, (S, S).
        source_half_width_arcsec: Half the side of the square that `source` fills.
        expected: The image without noise and sky, in counts, (n, n).
        observed: The image that is written, in counts above the lowest, (n, n).
        difference: `expected` less that of the lens without substructure, over the standard
            deviation of the noise, (n, n).
    """

    name: str
    label: str
    scene: Scene
    pixel_scale_arcsec: float
    convergence: _Array
    deflection_x_arcsec: _Array
    deflection_y_arcsec: _Array
    critical_x_arcsec: _Array
    critical_y_arcsec: _Array
    caustic_x_arcsec: _Array
    caustic_y_arcsec: _Array
    source: _Array
    source_half_width_arcsec: float
    expected: _Array
    observed: _Array
    difference: _Array

    @property
    def half_width_arcsec(self) -> float:
        """Half the side of the frame."""
        return len(self.expected) * self.pixel_scale_arcsec / 2
