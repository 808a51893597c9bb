"""A classifier that cannot learn a handful of images by heart is broken."""

from pathlib import Path

import numpy as np
import pytest

from lensbench.config import MachineSpec, ModelSpec
from lensbench.data.pack import Pack
from lensbench.recipes import recipe_for
from lensbench.training.fit import fit, predict
from lensbench.zoo.build import build
from lensbench.zoo.names import resolve

CPU = MachineSpec(
    accelerator="cpu", precision="32-true", memory_format="contiguous", compile="no", threads=1
)


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    """Twelve images of noise, so that nothing but the images themselves tells the classes."""
    labels = np.arange(12) % 3
    np.savez(tmp_path / "columns.npz", labels=labels.astype(np.int64))
    return Pack(
        stored=np.random.default_rng(0).random((12, 1, 32, 32), dtype=np.float32),
        divisors=np.ones(12, dtype=np.float32),
        findings=(),
        classes=("no", "sphere", "vort"),
        fingerprint="",
        folder=tmp_path,
        source=tmp_path,
    )


@pytest.mark.parametrize(
    "identifier",
    ["timm/test_resnet", "timm/test_vit"],
)
def test_a_classifier_learns_a_handful_of_images_by_heart(pack, tmp_path, identifier):
    """With the recipe as it suits its family, but nothing drawn and more of each step."""
    name = str(resolve(identifier))
    recipe = recipe_for("lensbench", ModelSpec(identifier=name, pretrained=False)).model_copy(
        update={
            "symmetry": "none",
            "rotation_degrees": 0.0,
            "test_time_augmentation": "none",
            "epochs": 120,
            "learning_rate": 2e-3,
            "schedule": "constant",
            "warm_up": 0.0,
            "batch_size": 12,
            "reference_batch_size": 12,
            "weight_decay": 0.0,
        }
    )
    spec = ModelSpec(identifier=name, pretrained=False)
    classifier = build(spec, recipe, pack.classes, pack.image_shape, seed=0)
    rows = np.arange(12)
    fitted = fit(
        classifier,
        pack,
        rows,
        rows,
        recipe,
        machine=CPU,
        seed=0,
        folder=tmp_path / "work",
        cache=tmp_path / "cache.json",
        label=identifier,
    )
    assert fitted.history.epochs[-1].train_loss < 0.02
    (logits,) = predict(classifier, pack, rows, recipe, CPU)
    assert (logits.argmax(axis=1) == pack.labels).all()
