"""Compare all finished runs: the table and the comparison plots."""

import config
from lens_utils import LAYOUT
from lensbench import compare
from lensbench.cli import finish, show_comparison

if __name__ == "__main__":
    finish(lambda: show_comparison(*compare([config.BASE_DIR], config.BASE_DIR, layout=LAYOUT)))
