"""Train and test one model, with the settings of `config.py` unless a flag says otherwise."""

import argparse

import config
from lens_utils import run
from lensbench.cli import finish, show
from lensbench.zoo.names import resolve


def main() -> int:
    """Read the flags, run the model, return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model_desc", required=True, help="name in files, tables and plots")
    parser.add_argument("--model_identifier", required=True, help="see `lensbench models`")
    parser.add_argument("--batch_size", type=int, help="images per training step")
    parser.add_argument("--epochs", type=int, help="passes over the training images")
    flags = parser.parse_args()
    wanted = resolve(flags.model_identifier)
    own_row = [row for row in config.MODELS_TO_RUN if resolve(row[1]) == wanted]
    model = (flags.model_desc, flags.model_identifier, *(own_row[0][2:] if own_row else ()))
    return show(run([model], batch_size=flags.batch_size, epochs=flags.epochs))


if __name__ == "__main__":
    finish(main)
