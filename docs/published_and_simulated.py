"""Draw published images of Common Test I beside simulated ones, five of each class.

Usage: python docs/published_and_simulated.py FOLDER

FOLDER holds .npy files in folders called no, sphere and vort.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from lensbench.figures.save import save_figure
from lensbench.figures.style import styled
from lensbench.simulation import CLASSES, COMMON_TEST_1
from lensbench.simulation.preview import contact_sheet

N_EXAMPLES = 5
SEED = 1


@styled()
def main(published: Path) -> None:
    """Draw and save."""
    examples = contact_sheet(COMMON_TEST_1, SEED, N_EXAMPLES)
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    left, right = np.asarray(figure.subfigures(1, 2, wspace=0.02))
    left.suptitle("Published")
    right.suptitle("Simulated")
    left_axes, right_axes = (side.subplots(len(CLASSES), N_EXAMPLES) for side in (left, right))
    for label, of_published, of_simulated in zip(CLASSES, left_axes, right_axes, strict=True):
        files = sorted((published / label).glob("*.npy"), key=lambda file: int(file.stem))
        simulated = [example.image for example in examples if example.label == label]
        draw_row(of_published, label, [np.load(file)[0] for file in files[:N_EXAMPLES]])
        draw_row(of_simulated, label, simulated)
    save_figure(figure, Path(__file__).with_suffix(".png"), dpi=90)


def draw_row(axes: np.ndarray, label: str, images: list[np.ndarray]) -> None:
    """Draw images of one class, square-root stretched."""
    for ax, image in zip(axes, images, strict=True):
        ax.imshow(np.sqrt(image), cmap="magma", vmin=0, vmax=1)
        ax.grid(visible=False)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    axes[0].set_ylabel(label, weight="bold")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
