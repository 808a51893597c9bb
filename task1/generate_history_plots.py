"""Draw the training histories, ROC curves and confusion matrices that are missing."""

import config
from lens_utils import LAYOUT
from lensbench import plots
from lensbench.cli import finish, show_plots

if __name__ == "__main__":
    finish(lambda: show_plots(*plots(config.BASE_DIR, layout=LAYOUT)))
