"""Original images of Common Test I, from their files to predictions."""

import numpy as np
import pytest
import torch

import lensbench
from lensbench.config import DataSpec, MachineSpec, ModelSpec, Recipe
from lensbench.data.catalogue import read_catalogue
from lensbench.data.pack import open_or_build_pack, verify
from lensbench.data.sources.open import open_source
from lensbench.outcome import Predictions
from lensbench.recipes import CONTRACT
from lensbench.training.fit import predict
from lensbench.training.module import Training
from lensbench.zoo.build import build

PLAIN = Recipe(name="plain", epochs=1, batch_size=4, learning_rate=1e-3, symmetry="none")


@pytest.fixture
def originals(shared):
    return shared / "data/common_test_1/exact"


def seen_by_the_network(originals, cache, recipe: Recipe) -> np.ndarray:
    """Return what arrives at the first layer for all images, in the order of the catalogue."""
    pack = open_or_build_pack(DataSpec(path=originals, cache=cache))
    model = ModelSpec(identifier="timm/test_resnet", pretrained=False)
    classifier = build(model, recipe, pack.classes, pack.image_shape, seed=0)
    seen: list[torch.Tensor] = []
    classifier.network.register_forward_pre_hook(lambda _, images: seen.append(images[0].clone()))
    predict(classifier, pack, np.arange(15), recipe, MachineSpec(accelerator="cpu"))
    return torch.cat(seen).numpy()


def test_a_network_sees_the_exact_values_of_the_files(originals, tmp_path):
    seen = seen_by_the_network(originals, tmp_path, PLAIN)
    files = sorted(
        originals.rglob("*.npy"), key=lambda path: path.relative_to(originals).as_posix()
    )
    on_disk = np.stack([np.load(path) for path in files])
    assert on_disk.dtype == np.float64
    np.testing.assert_array_equal(seen, on_disk.astype(np.float32))
    assert np.abs(seen - on_disk).max() < 2**-24


def test_the_contract_keeps_more_than_eight_bits(originals, tmp_path):
    seen = seen_by_the_network(originals, tmp_path, CONTRACT)
    assert seen.shape == (15, 3, 224, 224)
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    images = seen * deviation[:, None, None] + mean[:, None, None]
    np.testing.assert_allclose(images[:, 0], images[:, 2], atol=1e-6)
    assert -1e-6 < images.min() < 0.01
    assert 0.9 < images.max() <= 1 + 1e-6
    assert all(len(np.unique(image[0].round(6))) > 10_000 for image in images)


def test_the_originals_pass_the_audit(originals, tmp_path):
    assert verify(DataSpec(path=originals, cache=tmp_path)).findings == ()


def test_the_originals_train_and_are_predicted(originals, tmp_path, monkeypatch):
    losses = []
    step = Training.training_step

    def watched(self, batch, index):
        losses.append(step(self, batch, index))
        return losses[-1]

    monkeypatch.setattr(Training, "training_step", watched)
    result = lensbench.run(
        DataSpec(path=originals, cache=tmp_path / "cache"),
        ["tiny=timm/test_resnet"],
        recipe=PLAIN,
        out=tmp_path / "runs",
        pretrained=False,
        # One way alone: none has to be measured, which takes steps as well.
        machine=MachineSpec(precision="32-true", memory_format="contiguous", compile="no"),
        say=lambda _: None,
    )
    (outcome,) = result.outcomes
    assert outcome.what == "trained", outcome.record
    split = outcome.record.lensbench.split
    assert (split.convention, split.n_train, split.n_validation, split.n_test) == (
        "stratified",
        9,
        3,
        3,
    )
    assert len(losses) == 3  # of three images each
    assert all(torch.isfinite(loss) for loss in losses)
    test = Predictions.load(tmp_path / "runs/tiny/predictions_test.npz")
    assert test.classes == ("no", "sphere", "vort")
    assert sorted(test.labels) == [0, 1, 2]


def test_eight_bit_renderings_keep_their_integers_and_the_audit_says_so(shared, tmp_path):
    spec = DataSpec(path=shared / "data/common_test_1/rendered_8bit", cache=tmp_path)
    audit = verify(spec)
    assert audit.n_images == 42
    assert audit.is_sound
    assert "out-of-range" in {finding.code for finding in audit.findings}
    declared = verify(spec.model_copy(update={"value_range": (0, 255)}))
    assert "out-of-range" not in {finding.code for finding in declared.findings}


def test_jpeg_images_with_names_of_their_own(shared):
    catalogue = read_catalogue(open_source(shared / "data/lenses_2020"))
    assert catalogue.classes == ("no_sub", "sub")
    np.testing.assert_array_equal(np.bincount(catalogue.labels), [4000, 4000])
    assert catalogue.partitions == ()
