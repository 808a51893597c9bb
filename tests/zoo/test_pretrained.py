"""The libraries' own weights: from their real caches, and what happens where there is nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from http.client import BadStatusLine
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import huggingface_hub.constants
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModelForImageClassification, ConvNextV2Config, ViTConfig

from lensbench.config import ModelSpec
from lensbench.errors import ModelError, WeightsError
from lensbench.zoo import fetching
from lensbench.zoo.build import require_weights
from lensbench.zoo.classifier import Classifier
from lensbench.zoo.fetching import Hosts
from lensbench.zoo.names import CONTRACT_MODELS

Make = Callable[..., Classifier]

ATTO = "facebook/convnextv2-atto-1k-224"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches, and a network in which no host has an address."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def no_network(*_: Any, **__: Any) -> None:
        raise URLError("no network in this test")

    monkeypatch.setattr(fetching, "urlopen", no_network)
    return tmp_path


def put_into_hub_cache(cache: Path, repository: str) -> Path:
    folder = cache / "hub" / ("models--" + repository.replace("/", "--"))
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    snapshot = folder / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    return snapshot


def atto() -> Any:
    config = ConvNextV2Config(depths=[2, 2, 6, 2], hidden_sizes=[40, 80, 160, 320], num_labels=1000)
    return AutoModelForImageClassification.from_config(config)


def test_torchvision_weights_come_from_its_cache(
    make: Make, caches: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    network = torchvision.models.resnet18()
    folder = caches / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(network.state_dict(), folder / "resnet18-f37072fd.pth")
    require_weights([ModelSpec(identifier="resnet18")])
    classifier = make("resnet18", pretrained=True)
    assert classifier.weights_used == "torchvision: ResNet18_Weights.IMAGENET1K_V1"
    assert torch.equal(classifier.network.layer4[1].conv2.weight, network.layer4[1].conv2.weight)
    assert torch.equal(classifier.network.conv1.weight, network.conv1.weight.sum(1, keepdim=True))
    assert classifier.network.fc.weight.shape == (3, 512)
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_auxiliary_heads_of_a_checkpoint_are_left_out(make: Make, caches: Path) -> None:
    network = torchvision.models.googlenet(init_weights=False)
    folder = caches / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(network.state_dict(), folder / "googlenet-1378be20.pth")
    save_file(network.state_dict(), caches / "own.safetensors")
    for source in ({"pretrained": True}, {"weights": caches / "own.safetensors"}):
        classifier = make("torchvision/googlenet", channels=3, **source)
        body = {k: t for k, t in classifier.network.state_dict().items() if "fc." not in k}
        theirs = network.state_dict()
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in body.items())


@pytest.mark.parametrize("channels", [1, 3])
def test_timm_weights_come_from_the_hub_cache(
    make: Make, caches: Path, capfd: pytest.CaptureFixture[str], channels: int
) -> None:
    repository = timm.get_pretrained_cfg("vit_tiny_patch16_224").hf_hub_id
    snapshot = put_into_hub_cache(caches, repository)
    network = timm.create_model("vit_tiny_patch16_224")
    save_file(network.state_dict(), snapshot / "model.safetensors")
    require_weights([ModelSpec(identifier="vit_tiny_patch16_224")])
    classifier = make("vit_tiny_patch16_224", pretrained=True, channels=channels)
    assert classifier.weights_used == f"timm: {repository}@0123456789ab"
    stem = network.patch_embed.proj.weight
    wanted = stem if channels == 3 else stem.sum(1, keepdim=True)
    assert torch.equal(classifier.network.patch_embed.proj.weight, wanted)
    assert torch.equal(classifier.network.pos_embed, network.pos_embed)
    assert capfd.readouterr() == ("", "")


def test_timm_itself_renames_older_checkpoints(make: Make, caches: Path) -> None:
    """The original ConvNeXt names, which timm translates while it loads."""
    network = timm.create_model("test_convnext")
    renamed = {
        k.replace("stem.0", "downsample_layers.0.0")
        .replace("stem.1", "downsample_layers.0.1")
        .replace("head.norm.", "norm.")
        .replace("head.fc.", "head."): t
        for k, t in network.state_dict().items()
    }
    for stage in range(4):
        renamed = {
            k.replace(f"stages.{stage}.blocks.", f"stages.{stage}.")
            .replace(f"stages.{stage}.downsample.", f"downsample_layers.{stage}.")
            .replace("conv_dw.", "dwconv.")
            .replace("mlp.fc1.", "pwconv1.")
            .replace("mlp.fc2.", "pwconv2."): t
            for k, t in renamed.items()
        }
    path = caches / "original.safetensors"
    save_file(renamed, path)
    outside = torch.get_rng_state()
    classifier = make("timm/test_convnext", weights=path, channels=3)
    assert torch.equal(torch.get_rng_state(), outside)  # though timm builds a second network
    body = {k: t for k, t in network.state_dict().items() if not k.startswith("head.fc")}
    own = classifier.network.state_dict()
    assert all(torch.equal(own[k], t) for k, t in body.items())


@pytest.mark.parametrize("channels", [1, 3])
def test_transformers_weights_come_from_the_hub_cache(
    make: Make, caches: Path, capfd: pytest.CaptureFixture[str], channels: int
) -> None:
    network = atto()
    save_file(network.state_dict(), put_into_hub_cache(caches, ATTO) / "model.safetensors")
    require_weights([ModelSpec(identifier=ATTO)])
    classifier = make(ATTO, pretrained=True, channels=channels)
    assert classifier.weights_used == f"transformers: {ATTO}@0123456789ab"
    own, stem = classifier.network.state_dict(), "convnextv2.embeddings.patch_embeddings.weight"
    theirs = network.state_dict()
    wanted = theirs[stem] if channels == 3 else theirs[stem].sum(1, keepdim=True)
    assert torch.equal(own[stem], wanted)
    last = "convnextv2.encoder.stages.3.layers.1.pwconv2.weight"
    assert torch.equal(own[last], theirs[last])
    assert own["classifier.weight"].shape == (3, 320)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("identifier", ["resnet18", "mobilenetv3_small_100", ATTO])
def test_a_damaged_cache_is_an_error_with_the_file(
    make: Make, caches: Path, identifier: str
) -> None:
    if identifier == "resnet18":
        path = caches / "torch" / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
        path.parent.mkdir(parents=True)
    else:
        timm_id = "timm/mobilenetv3_small_100.lamb_in1k"
        repository = ATTO if identifier == ATTO else timm_id
        path = put_into_hub_cache(caches, repository) / "model.safetensors"
    path.write_bytes(b"half a download")
    with pytest.raises(WeightsError, match=r"cannot be read|not a readable") as caught:
        make(identifier, pretrained=True)
    assert str(path) in str(caught.value)


def test_incomplete_hub_weights_are_refused(make: Make, caches: Path) -> None:
    state = dict(atto().state_dict())
    del state["convnextv2.layernorm.weight"]
    save_file(state, put_into_hub_cache(caches, ATTO) / "model.safetensors")
    with pytest.raises(WeightsError, match=r"convnextv2\.layernorm\.weight"):
        make(ATTO, pretrained=True)


def test_a_local_folder_of_transformers(make: Make, caches: Path) -> None:
    config = ViTConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=64,
        num_labels=5,
    )
    folder = caches / "my-vit"
    folder.mkdir()
    network = AutoModelForImageClassification.from_config(config)
    (folder / "config.json").write_text(network.config.to_json_string())
    save_file(network.state_dict(), folder / "model.safetensors")
    classifier = make(f"transformers/{folder}", pretrained=True, image_size=150)
    assert classifier.preprocess.accepts == (64, 64)
    assert "resized to 64 x 64" in classifier.notes[0]
    assert classifier(torch.rand(2, 1, 150, 150)).shape == (2, 3)
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"no model\.safetensors"):
        make(f"transformers/{folder}", pretrained=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ModelError, match="not an image classifier"):
        make(f"transformers/{folder}")


@pytest.mark.parametrize("identifier", ["resnet18", "efficientnet_b0", ATTO])
def test_without_a_network_the_error_names_the_ways_out(make: Make, identifier: str) -> None:
    for attempt in (
        lambda: make(identifier, pretrained=True),
        lambda: require_weights([ModelSpec(identifier=identifier)]),
    ):
        with pytest.raises(WeightsError) as caught:
            attempt()
        message = str(caught.value)
        assert f"/{identifier}: " in message
        assert "cannot be reached (no network in this test)" in message
        assert "--weights FILE.safetensors" in message
        assert "--no-pretrained" in message


def test_every_missing_model_is_named_at_once(tmp_path: Path) -> None:
    models = [ModelSpec(identifier=row.identifier) for row in CONTRACT_MODELS]
    bad = ModelSpec(identifier="resnet26", weights=tmp_path / "none.safetensors")
    random = ModelSpec(identifier="timm/resnet10t", pretrained=False)
    with pytest.raises(WeightsError) as caught:
        require_weights([*models, bad, random])
    lines = str(caught.value).splitlines()
    assert len(lines) == 1 + 24 + 1
    assert all(
        any(line.startswith(f"  {row.model}: ") for line in lines) for row in CONTRACT_MODELS
    )
    assert any(line.startswith("  timm/resnet26: ") and "not exist" in line for line in lines)


def test_a_model_without_weights_in_its_library_is_an_error(make: Make) -> None:
    name = next(n for n in timm.list_models() if not timm.get_pretrained_cfg(n).has_weights)
    with pytest.raises(WeightsError, match="timm has no pretrained weights for it"):
        make(f"timm/{name}", pretrained=True)


def test_the_real_network_or_its_absence_answers_quickly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An address that no name server knows: seconds, where the libraries would need minutes."""
    monkeypatch.undo()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", "/nonexistent")
    monkeypatch.setattr(
        huggingface_hub.constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        "https://hub.invalid/{repo_id}/resolve/{revision}/{filename}",
    )
    models = [
        ModelSpec(identifier=row.identifier) for row in CONTRACT_MODELS if "resnet" not in row[1]
    ]
    start = time.monotonic()
    with pytest.raises(WeightsError, match=r"hub\.invalid cannot be reached"):
        require_weights(models)
    assert time.monotonic() - start < 15


def test_each_host_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(request: Any, timeout: float) -> None:
        asked.append(request.full_url)
        assert timeout == 3
        if "silent" in request.full_url:
            raise TimeoutError("timed out")
        if "login" in request.full_url:
            raise BadStatusLine("<html>")
        raise HTTPError(request.full_url, 403, "forbidden", None, None)  # type: ignore[arg-type]

    monkeypatch.setattr(fetching, "urlopen", answer)
    hosts = Hosts(timeout_seconds=3)
    for _ in range(2):
        hosts.require("https://there.example/a")
        for path in ("a", "b"):
            with pytest.raises(WeightsError, match=r"silent.example cannot .*timed out"):
                hosts.require(f"https://silent.example/{path}")
    assert asked == ["https://there.example/a", "https://silent.example/a"]
    with pytest.raises(WeightsError, match=r"login.example cannot be reached \(<html>\)"):
        hosts.require("https://login.example/a")


def test_what_the_hub_refuses_is_passed_on(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hosts, "require", lambda *_: None)

    def refuse(*_: Any, local_files_only: bool = False, **__: Any) -> str:
        if local_files_only:
            raise huggingface_hub.errors.LocalEntryNotFoundError("not here")
        raise OSError("401 Client Error\nmore words")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(WeightsError, match=r"model.safetensors: 401 Client Error\n"):
        make("efficientnet_b0", pretrained=True)


def test_offline_mode_of_the_hub_is_respected(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE is set"):
        make("efficientnet_b0", pretrained=True)


def test_an_unknown_hub_model_needs_its_configuration(make: Make) -> None:
    with pytest.raises(ModelError, match=r"configuration.*cannot be reached"):
        make("transformers/google/vit-base-patch16-224")
    with pytest.raises(ModelError, match="configuration"):
        make("transformers/not a/valid name")


def test_no_seed_of_ours_leaks(make: Make, caches: Path) -> None:
    """The head of a pretrained network depends on the seed alone."""
    save_file(atto().state_dict(), put_into_hub_cache(caches, ATTO) / "model.safetensors")
    heads: list[Tensor] = []
    for outside in (1, 2):
        torch.manual_seed(outside)
        before = torch.get_rng_state()
        heads.append(make(ATTO, pretrained=True, seed=7).network.classifier.weight)
        assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(*heads)
