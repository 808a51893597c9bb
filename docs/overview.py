"""Draw the picture of the README: simulated lenses, and the published ranking with its ties.

Usage: python docs/overview.py FOLDER_OF_PUBLISHED_RECORDS
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import lensbench
from lensbench.figures.ranking import draw_auc_ranking
from lensbench.figures.save import save_figure
from lensbench.simulation import CLASSES, COMMON_TEST_1, draw, generator
from lensbench.simulation.render import expected_counts, observe

N_EXAMPLES = 3
SEED = 7


def main(records: Path) -> None:
    """Draw and save."""
    comparison, _ = lensbench.compare([records])
    figure = Figure(figsize=(13, 5), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.5))
    axes = left.subplots(N_EXAMPLES, len(CLASSES))
    for column, label in enumerate(CLASSES):
        axes[0, column].set_title(label)
        for row in range(N_EXAMPLES):
            axes[row, column].imshow(np.sqrt(simulated(label, row)), cmap="magma", origin="upper")
            axes[row, column].set_axis_off()
    draw_auc_ranking(comparison, right.subplots())
    save_figure(figure, Path(__file__).with_name("overview.png"), dpi=90)


def simulated(label: str, number: int) -> np.ndarray:
    """Return one image of `common-test-1`, (150, 150) in [0, 1]."""
    scene = draw(COMMON_TEST_1, label, generator(SEED, "train", label, number, "scene"))
    expected = expected_counts(COMMON_TEST_1, [scene])[0].numpy()
    noise = generator(SEED, "train", label, number, "noise")
    return observe(expected, COMMON_TEST_1.sky_counts, noise)[0]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
