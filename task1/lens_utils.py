"""What the scripts of this folder share: the settings of `config.py`, handed to `lensbench`."""

from typing import Any

import config
import lensbench

LAYOUT = lensbench.contract_layout(
    results=config.RESULTS_DIR,
    weights=config.WEIGHTS_DIR,
    split=config.SPLIT_DIR,
    csv=config.RESULTS_CSV,
)

NO_DATASET = f"""{config.DATASET_DIR}/ does not exist. There are two ways to get one:
  the published one:  download {lensbench.DATASET_URL} as dataset.zip, then
                      unzip dataset.zip -d {config.DATASET_DIR}
  a simulated one:    lensbench simulate {config.DATASET_DIR}"""


def run(models: Any, **changes: Any) -> lensbench.SweepResult:
    """Train and test models as `config.py` says, with `changes` to the recipe."""
    dataset = config.BASE_DIR / config.DATASET_DIR
    if not dataset.exists():
        raise lensbench.LensbenchError(NO_DATASET)
    return lensbench.run(
        dataset,
        models,
        recipe=lensbench.choose_recipe(
            config.RECIPE,
            batch_size=config.BATCH_SIZE,
            learning_rate=config.LEARNING_RATE,
            weight_decay=config.WEIGHT_DECAY,
            epochs=config.NUM_EPOCHS,
            image_size=config.IMG_SIZE,
        ),
        out=config.BASE_DIR,
        pretrained=config.PRETRAINED,
        split=lensbench.SplitSpec(
            convention="halved", validation_fraction=config.VAL_FRACTION, seed=config.SEED
        ),
        seed=config.SEED,
        layout=LAYOUT,
        **changes,
    )
