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
from lensbench.simulation import CLASSES, COMMON_TEST_1
from lensbench.simulation.preview import contact_sheet

N_EXAMPLES = 3
SEED = 1


def main(records: Path) -> None:
    """Draw and save."""
    comparison, _ = lensbench.compare([records])
    figure = Figure(figsize=(13, 5), layout="constrained")
    left, right = np.asarray(figure.subfigures(1, 2, width_ratios=(1, 1.5)))
    axes = left.subplots(N_EXAMPLES, len(CLASSES))
    examples = contact_sheet(COMMON_TEST_1, SEED, N_EXAMPLES)
    for ax, example in zip(axes.T.flat, examples, strict=True):
        ax.imshow(np.sqrt(example.image), cmap="magma")
        ax.set_axis_off()
    for ax, label in zip(axes[0], CLASSES, strict=True):
        ax.set_title(label)
    draw_auc_ranking(comparison, right.subplots())
    save_figure(figure, Path(__file__).with_name("overview.png"), dpi=90)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
