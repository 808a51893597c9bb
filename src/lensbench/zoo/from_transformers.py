"""Image classifiers of transformers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForImageClassification, ConvNextV2Config
from transformers.utils import logging

from lensbench.errors import ModelError, WeightsError
from lensbench.zoo.adapter import Candidate, State, names_below
from lensbench.zoo.fetching import Hosts, fetch_from_hub, one_line
from lensbench.zoo.names import CONVNEXTV2_NAMES
from lensbench.zoo.preprocess import Size

_WEIGHTS = "model.safetensors"

_CONVNEXTV2 = {
    # Blocks of the four stages, and channels of the first one; each next stage doubles them.
    "atto": ((2, 2, 6, 2), 40),
    "femto": ((2, 2, 6, 2), 48),
    "pico": ((2, 2, 6, 2), 64),
    "nano": ((2, 2, 8, 2), 80),
    "tiny": ((3, 3, 9, 3), 96),
    "base": ((3, 3, 27, 3), 128),
    "large": ((3, 3, 27, 3), 192),
    "huge": ((3, 3, 27, 3), 352),
}


def candidates(name: str, n_classes: int, n_channels: int, size: Size) -> Iterator[Candidate]:
    """Yield networks for images of `size`, best first; the last resort resizes them.

    Args:
        name: A name of `CONVNEXTV2_NAMES`, another `owner/name` of the hub, or a local folder.
        n_classes: Number of logits.
        n_channels: Channels of the images.
        size: Height and width of the images.

    Raises:
        ModelError: The configuration cannot be had, or is not that of an image classifier.
    """
    try:
        config = _config(name, Hosts())
    except WeightsError as error:
        raise ModelError(f"transformers/{name} has no known configuration: {error}") from error
    native = _native_size(config)
    config.num_labels = n_classes
    config.num_channels = n_channels
    try:
        network: nn.Module = AutoModelForImageClassification.from_config(config)
    except (ValueError, TypeError) as error:
        raise ModelError(f"transformers/{name} is not an image classifier: {error}") from error
    network.register_forward_hook(_only_logits)
    backbone: nn.Module = network.base_model  # type: ignore[assignment]
    head = frozenset(network.state_dict()) - names_below(network, backbone)
    yield Candidate(network, head, size)
    if native is not None:
        yield Candidate(network, head, native)


def fetch(name: str, hosts: Hosts) -> None:
    """Make sure that the pretrained weights lie on this machine.

    Raises:
        WeightsError: They cannot be had; the message is the reason, in one line.
    """
    _file(name, _WEIGHTS, hosts)
    if name not in CONVNEXTV2_NAMES:
        _file(name, "config.json", hosts)


def read(name: str, hosts: Hosts) -> tuple[State, str]:
    """Fetch the pretrained weights and read them, with the names that transformers uses today.

    Raises:
        WeightsError: They cannot be had or are not those of an image classifier.
    """
    fetch(name, hosts)
    path = _file(name, _WEIGHTS, hosts)
    config = _config(name, hosts)
    try:
        with _silence():
            loaded, report = AutoModelForImageClassification.from_pretrained(
                path.parent,
                config=config,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except Exception as error:  # a damaged or foreign file breaks in every way there is
        raise WeightsError(f"{path} cannot be read: {one_line(error)}") from error
    wrong = [key for kind in report.values() for key in kind]
    if wrong:
        raise WeightsError(f"{path.name} does not fit the model: {', '.join(map(str, wrong[:3]))}")
    version = "" if Path(name).is_dir() else f"@{path.parent.name[:12]}"
    return dict(loaded.state_dict()), f"transformers: {name}{version}"


def _config(name: str, hosts: Hosts) -> Any:
    """Return a configuration with the number of classes and channels of the published weights."""
    if name in CONVNEXTV2_NAMES:
        _, size, _, pixels = name.split("/")[1].split("-")
        depths, width = _CONVNEXTV2[size]
        return ConvNextV2Config(
            depths=list(depths),
            hidden_sizes=[width * 2**stage for stage in range(4)],
            image_size=int(pixels),
            num_labels=1000,
        )
    folder = _file(name, "config.json", hosts).parent
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (ValueError, OSError, KeyError) as error:
        raise ModelError(f"transformers/{name} cannot be built: {error}") from error


def _file(name: str, filename: str, hosts: Hosts) -> Path:
    """Return the local path of one of the model's files."""
    if Path(name).is_dir():
        path = Path(name, filename)
        if not path.is_file():
            raise WeightsError(f"the folder has no {filename}")
        return path
    return fetch_from_hub(name, filename, hosts)


def _native_size(config: Any) -> Size | None:
    side = getattr(config, "image_size", None)
    if isinstance(side, int):
        return (side, side)
    return tuple(side) if side else None


def _only_logits(_network: nn.Module, _images: Any, output: Any) -> Tensor:
    logits: Tensor = output.logits
    return logits


@contextmanager
def _silence() -> Iterator[None]:
    """Keep transformers from drawing bars and tables on stderr; errors come as exceptions."""
    verbosity = logging.get_verbosity()
    had_bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bars:
            logging.enable_progress_bar()
