"""Train, test and compare every model of `config.py`, one after another."""

import config
from lens_utils import run
from lensbench.cli import finish, show

if __name__ == "__main__":
    finish(lambda: show(run(config.MODELS_TO_RUN)))
