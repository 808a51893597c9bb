"""Exported files against the classifiers they are of, run by torch and by ONNX Runtime."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

from lensbench.errors import ConfigError, ModelError
from lensbench.zoo.classifier import Classifier
from lensbench.zoo.export import export

Images = Callable[..., Tensor]
Make = Callable[..., Classifier]

# Of each library one, and each step of the preprocessing somewhere.
CASES: dict[str, dict[str, Any]] = {
    "d4_resnet": {"stretch": "log", "per_image": "min-max"},
    "c8_densenet": {"per_image": "standardise"},
    "resnet18": {"image_size": 40, "channels": 3, "normalise": "imagenet", "stretch": "asinh"},
    "facebook/convnextv2-atto-1k-224": {"image_size": 64},
}
QUICK = "d4_resnet"


@pytest.fixture
def small(make: Make, images: Images) -> Callable[..., Classifier]:
    """Build for images of 32 pixels, with statistics that are not those of a fresh network."""

    def build(identifier: str, **settings: Any) -> Classifier:
        classifier = make(identifier, image_shape=(1, 32, 32), **settings)
        with torch.no_grad():
            classifier(images(4, side=32, seed=9))
        return classifier.eval()

    return build


def run_onnx(path: Path, images: Tensor) -> Tensor:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": images.numpy()})
    return torch.from_numpy(logits)


@pytest.mark.parametrize(
    ("identifier", "settings"),
    [
        pytest.param(*case, marks=[] if case[0] == QUICK else [pytest.mark.slow])
        for case in CASES.items()
    ],
)
def test_other_programs_get_the_same_logits(
    small: Make, images: Images, tmp_path: Path, identifier: str, settings: dict[str, Any]
) -> None:
    classifier = small(identifier, **settings)
    classifier.train()
    for name in ("a.onnx", "a.pt2"):
        export(classifier, tmp_path / "folder" / name)
    assert classifier.training  # and otherwise left as it was
    classifier.eval()
    assert sorted(file.name for file in (tmp_path / "folder").iterdir()) == ["a.onnx", "a.pt2"]
    program = torch.export.load(tmp_path / "folder/a.pt2").module()
    for n in (1, 3):
        batch = images(n, side=32)
        with torch.no_grad():
            wanted, loaded = classifier(batch), program(batch)
        torch.testing.assert_close(loaded, wanted, rtol=1e-5, atol=1e-5)
        theirs = run_onnx(tmp_path / "folder/a.onnx", batch)
        torch.testing.assert_close(theirs, wanted, rtol=1e-4, atol=1e-4)


def test_files_say_whose_they_are_and_not_where(small: Make, tmp_path: Path) -> None:
    classifier = small("c8_resnet", stretch="sqrt", classes=("no", "ünïcode"))
    wanted = {
        "model": "lensbench/c8_resnet",
        "classes": ["no", "ünïcode"],
        "image_shape": [1, 32, 32],
        "view": {
            "image_size": None,
            "channels": 1,
            "per_image": "none",
            "stretch": "sqrt",
            "normalise": "none",
        },
        "symmetry": {"knows_d4": True, "test_time_augmentation": "none"},
        "weights_used": "none (random, seed 0)",
    }
    export(classifier, tmp_path / "a.onnx")
    export(classifier, tmp_path / "a.pt2")
    model = onnx.load(tmp_path / "a.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert {p.key: json.loads(p.value) for p in model.metadata_props} == {"lensbench": wanted}
    extra = {"lensbench.json": ""}
    torch.export.load(tmp_path / "a.pt2", extra_files=extra)
    assert json.loads(extra["lensbench.json"]) == wanted
    here = str(Path(torch.__file__).parents[1]).encode()
    for name in ("a.onnx", "a.pt2"):
        assert here not in (tmp_path / name).read_bytes()
    # Filters are constants: nothing but what an ordinary network does is left.
    assert {node.op_type for node in model.graph.node} <= {
        *("Sqrt", "Clip", "Conv", "BatchNormalization", "Relu", "AveragePool", "Add", "Max"),
        *("Concat", "Shape", "Reshape", "ReduceMean", "Gemm"),
    }
    batch, *rest = model.graph.input[0].type.tensor_type.shape.dim
    assert batch.dim_param
    assert [dim.dim_value for dim in rest] == [1, 32, 32]


def test_what_cannot_be_written_says_why(
    small: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = small("d4_densenet")
    with pytest.raises(ConfigError, match=r"a\.pt: export writes \.onnx and \.pt2 files only"):
        export(classifier, tmp_path / "a.pt")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "onnxscript", None)
        with pytest.raises(ConfigError, match=r"needs onnxscript: pip install lensbench\[onnx\]"):
            export(classifier, tmp_path / "a.onnx")
    with monkeypatch.context() as patch:
        patch.setattr("lensbench.zoo.export._MAX_ONNX_BYTES", 1000)
        with pytest.raises(ConfigError, match=r"no more than 2 GB; name a \.pt2 file"):
            export(classifier, tmp_path / "a.onnx")

    def fail(*_: Any) -> None:
        raise NotImplementedError("no such kernel\nmore words")

    monkeypatch.setattr(classifier.network, "forward", fail)
    with pytest.raises(
        ModelError, match=r"lensbench/d4_densenet cannot be exported to \.pt2: .*no such kernel$"
    ):
        export(classifier, tmp_path / "a.pt2")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(
    small: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.pt2"
    path.write_bytes(b"old")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        export(small("timm/test_vit"), path)
    assert path.read_bytes() == b"old"
