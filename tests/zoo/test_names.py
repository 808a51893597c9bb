from __future__ import annotations

import subprocess
import sys

import pytest

from lensbench.errors import ModelError
from lensbench.zoo.names import (
    CONTRACT_MODELS,
    CONVNEXTV2_NAMES,
    LIBRARIES,
    OWN_NAMES,
    list_models,
    resolve,
)

LIBRARY_OF = (
    {f"resnet{n}": "torchvision" for n in (18, 34, 50, 101, 152)}
    | {f"efficientnet_b{n}": "timm" for n in range(6)}
    | {"mobilenetv3_small_100": "timm", "mobilenetv3_large_100": "timm"}
    | {
        f"facebook/convnextv2-{size}-224": "transformers"
        for size in ("atto-1k", "femto-1k", "pico-1k", "nano-1k", "tiny-1k", "nano-22k", "tiny-22k")
    }
    | {f"vit_{size}_patch16_224": "timm" for size in ("tiny", "small", "base")}
)


def test_nobody_is_missing_from_the_contract() -> None:
    assert [row.identifier for row in CONTRACT_MODELS] == list(LIBRARY_OF)
    assert len({row.desc for row in CONTRACT_MODELS}) == 23


@pytest.mark.parametrize(("identifier", "library"), LIBRARY_OF.items())
def test_a_bare_name_and_its_full_name_are_one_model(identifier: str, library: str) -> None:
    assert str(resolve(identifier)) == f"{library}/{identifier}"
    assert resolve(f"{library}/{identifier}") == resolve(identifier)


def test_published_batch_sizes() -> None:
    sizes = {row.desc: row.batch_size for row in CONTRACT_MODELS}
    assert {desc for desc, n in sizes.items() if n == 128} == {
        "MobileNetV3-Small",
        "MobileNetV3-Large",
    }
    thirty_two = {"ResNet101", "ResNet152", "EfficientNet-B4", "EfficientNet-B5"}
    ours = {"ConvNeXtV2-Tiny-1k", "ConvNeXtV2-Tiny-22k", "ViT-Base-P16"}
    assert {desc for desc, n in sizes.items() if n == 32} == thirty_two | ours


def test_the_table_needs_no_torch() -> None:
    code = (
        "import sys; from lensbench.zoo.names import CONTRACT_MODELS, resolve; "
        "[(resolve(row.identifier), resolve(str(row.model))) for row in CONTRACT_MODELS]; "
        "sys.exit(any(name in sys.modules for name in "
        "('torch', 'torchvision', 'timm', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("identifier", "full"),
    [
        ("mobilenet_v2", "torchvision/mobilenet_v2"),
        ("resnet26", "timm/resnet26"),
        ("d4_resnet", "lensbench/d4_resnet"),
        ("lensbench/c8_densenet", "lensbench/c8_densenet"),
        ("timm/resnet18", "timm/resnet18"),
        ("timm/resnet18.a1_in1k", "timm/resnet18.a1_in1k"),
        ("resnet18.a1_in1k", "timm/resnet18.a1_in1k"),
        ("transformers/google/vit-base-patch16-224", "transformers/google/vit-base-patch16-224"),
        ("facebook/convnextv2-huge-22k-512", "transformers/facebook/convnextv2-huge-22k-512"),
    ],
)
def test_other_names_are_looked_up(identifier: str, full: str) -> None:
    assert str(resolve(identifier)) == full


def test_a_name_of_two_libraries_needs_a_prefix() -> None:
    with pytest.raises(ModelError, match="torchvision/vgg16 or timm/vgg16"):
        resolve("vgg16")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("resnet81", "resnet18"),
        ("ResNet18", "resnet18"),
        ("EfficientNet-B3", "efficientnet_b3"),
        ("vit_tiny_patch16_244", "vit_tiny_patch16_224"),
        ("torchvision/resnet_18", "resnet18"),
        ("facebook/convnextv2-ato-1k-224", "facebook/convnextv2-atto-1k-224"),
        ("transformers/facebook/convnextv2-atto-1k-244", "facebook/convnextv2-atto-1k-224"),
        ("timm/mobilenet_v2", "torchvision/mobilenet_v2"),
        ("D4-ResNet", "lensbench/d4_resnet"),
        ("lensbench/c4_densenet", "lensbench/c8_densenet"),
    ],
)
def test_a_near_miss_is_suggested(typed: str, meant: str) -> None:
    with pytest.raises(ModelError, match=rf"did you mean .*\b{meant}\b"):
        resolve(typed)


@pytest.mark.parametrize("typed", ["", "qqqqqq", "timm/", "transformers/qqqqqq", "lensbench/"])
def test_a_far_miss_is_an_error_too(typed: str) -> None:
    with pytest.raises(ModelError, match="there is no classifier"):
        resolve(typed)


def test_a_hub_name_without_its_library_says_what_to_type() -> None:
    with pytest.raises(ModelError, match="transformers/some/vit"):
        resolve("some/vit")


def test_every_listed_name_is_of_a_library_and_unique() -> None:
    names = list_models()
    assert len(names) == len(set(names))
    assert tuple(dict.fromkeys(name.partition("/")[0] for name in names)) == LIBRARIES
    assert {str(row.model) for row in CONTRACT_MODELS} <= set(names)
    assert not [name for name in names if "deeplab" in name or "rcnn" in name]


def test_our_own_names_are_of_no_other_library() -> None:
    """So that the bare names are not ambiguous."""
    others = [name for name in list_models() if not name.startswith("lensbench/")]
    assert not set(OWN_NAMES) & {name.partition("/")[2] for name in others}
    assert list_models("lensbench/*") == [f"lensbench/{name}" for name in OWN_NAMES]


def test_listing_by_pattern() -> None:
    atto = list_models("CONVNEXTV2-atto")
    assert atto == ["transformers/facebook/convnextv2-atto-1k-224"]
    assert list_models("torchvision/resnet1?") == ["torchvision/resnet18"]
    assert list_models("resnet18") == list_models("*resnet18*")
    assert "timm/resnet18" in list_models("resnet18")
    assert list_models("no such model") == []
    assert list_models("ViT-Tiny") == ["timm/vit_tiny_patch16_224"]  # as the contract calls it
    assert len(list_models("transformers/*")) == len(CONVNEXTV2_NAMES)
