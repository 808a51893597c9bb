"""How well does a classifier that was trained on images of ours do on labelled published ones?

Usage: python benchmarks/simulated_to_published.py WEIGHTS.safetensors FOLDER...

Each folder holds labelled images in class folders; all of them are judged together as well. No
setting may be chosen by what this prints.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from lensbench.config import DataSpec, JudgeSpec, MachineSpec, Recipe
from lensbench.data.pack import open_or_build_pack
from lensbench.evaluation.evaluate import evaluate
from lensbench.outcome import Predictions
from lensbench.training.fit import predict
from lensbench.zoo.build import load_classifier

PREDICTING = Recipe(name="predicting", epochs=1, batch_size=64, learning_rate=1.0)


def main(weights: Path, folders: list[Path]) -> None:
    """Predict each folder and print its AUC and accuracy with their intervals."""
    judged = {str(folder): predictions(weights, folder) for folder in folders}
    if len(judged) > 1:
        judged["together"] = joined(list(judged.values()))
    for name, made in judged.items():
        estimates = evaluate(made, JudgeSpec()).estimates
        print(f"{name}: {len(made.ids)} images")
        print(f"  macro AUC {estimates['auc_ovr_macro']}  accuracy {estimates['accuracy']}")


def predictions(weights: Path, folder: Path) -> Predictions:
    """Let the classifier predict all images of a folder."""
    classifier = load_classifier(weights)
    with tempfile.TemporaryDirectory() as cache:
        spec = DataSpec(path=folder, cache=Path(cache))
        pack = open_or_build_pack(spec)
        catalogue = pack.catalogue
        if catalogue.classes != classifier.classes:
            sys.exit(f"{folder}: classes {catalogue.classes}, trained on {classifier.classes}")
        if pack.stored.dtype == np.uint8 and (pack.divisors == 1).all():
            print(f"{folder}: integers of 8 bits, divided by 255")
            pack = replace(pack, divisors=pack.divisors * 255)
        rows = np.arange(len(catalogue))
        logits = predict(classifier, pack, rows, PREDICTING, MachineSpec())
    ids = [f"{folder}/{name}" for name in catalogue.ids]
    return Predictions.of(ids, catalogue.labels, logits, catalogue.classes)


def joined(parts: list[Predictions]) -> Predictions:
    """Put several predictions into one."""
    return Predictions.of(
        [name for part in parts for name in part.ids],
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.logits for part in parts]),
        parts[0].classes,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
