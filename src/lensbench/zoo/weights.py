"""Weights in files: safetensors only, so that nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from lensbench.errors import WeightsError
from lensbench.whole_file import written_whole
from lensbench.zoo.adapter import State
from lensbench.zoo.classifier import Classifier

_KEY = "lensbench"
_PREFIX = "network."


def save_weights(classifier: Classifier, path: Path) -> None:
    """Write the weights and all that is needed to use them; the file appears whole or not at all.

    Args:
        classifier: What to keep.
        path: A name that ends in `.safetensors`.

    Raises:
        WeightsError: The name ends differently.
    """
    _require_suffix(path)
    # Copies, because the format refuses tensors that share memory.
    state = {name: t.detach().cpu().contiguous().clone() for name, t in _state(classifier).items()}
    # Not `save_file`, which hides the file from everyone but its owner.
    content = save(state, metadata={"format": "pt", _KEY: json.dumps(describe(classifier))})
    with written_whole(path) as partial:
        partial.write_bytes(content)


def describe(classifier: Classifier) -> dict[str, Any]:
    """Return what weights alone do not say about a classifier, ready for JSON."""
    return {
        "model": classifier.name,
        "classes": classifier.classes,
        "image_shape": classifier.preprocess.image_shape,
        "view": asdict(classifier.preprocess.view),
        "symmetry": asdict(classifier.symmetry),
        "weights_used": classifier.weights_used,
    }


def load_weights(classifier: Classifier, path: Path) -> None:
    """Read what `save_weights` wrote into a classifier of the same model and classes.

    Raises:
        WeightsError: The file is missing or damaged, or belongs to another model, to other
            classes or to another view of the images. The classifier is then unchanged.
    """
    state, about = read_weights(path)
    own = {
        "model": classifier.name,
        "classes": list(classifier.classes),
        "view": asdict(classifier.preprocess.view),
    }
    for what, wanted in own.items():
        if about.get(what, wanted) != wanted:
            raise WeightsError(f"{path}: its {what} is {about[what]}, not {wanted}")
    fitting, problems = fit_state(classifier.network, frozenset(), state, sum_stem=False)
    if problems:
        raise WeightsError(f"{path} does not fit {classifier.name}: {_first(problems)}")
    _load(classifier.network, fitting)


def read_weights(path: Path) -> tuple[State, dict[str, Any]]:
    """Read a file of weights, of lensbench or of anyone.

    Returns:
        Tensors by their names within the network, and what `save_weights` wrote about them
        (nothing for files of others).

    Raises:
        WeightsError: The file is missing, is not a safetensors file, or is damaged.
    """
    _require_suffix(path)
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except FileNotFoundError as error:
        raise WeightsError(f"{path} does not exist") from error
    except (OSError, SafetensorError, ValueError) as error:
        raise WeightsError(f"{path} is not a readable safetensors file ({error})") from error
    if state and all(name.startswith(_PREFIX) for name in state):
        state = {name.removeprefix(_PREFIX): tensor for name, tensor in state.items()}
    return state, about


def require_file(path: Path) -> None:
    """Check that a file of weights can be opened, without reading the weights.

    Raises:
        WeightsError: It is missing, is not a safetensors file, or is damaged.
    """
    _require_suffix(path)
    if not path.is_file():
        raise WeightsError(f"{path} does not exist")
    try:
        with safe_open(path, framework="pt"):
            pass
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} is not a readable safetensors file ({error})") from error


def fingerprint(path: Path) -> str:
    """Return the first 12 hexadecimal digits of a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def transplant(
    network: nn.Module,
    head: frozenset[str],
    state: State,
    *,
    keep_head: bool,
    convert: Callable[[State], State],
    source: str,
) -> bool:
    """Give a network the weights of a checkpoint, strictly but for the head and the stem.

    A head that is missing, of another size, or not to be kept stays as the network drew it. A
    stem for three channels is summed for a network of one, which then gives what the original
    gives for the repeated image.

    Args:
        network: What is changed.
        head: Names of the tensors of its last layer.
        state: The checkpoint.
        keep_head: Whether a head of the right size is taken too.
        convert: The library's way to make an older or differently sized checkpoint fit.
        source: What the checkpoint is called in an error.

    Returns:
        Whether the head was taken.

    Raises:
        WeightsError: Other tensors are missing, too many or of the wrong shape; the message lists
            the first of them.
    """
    fitting, problems = fit_state(network, head, state)
    if problems:
        try:
            fitting, remaining = fit_state(network, head, convert(state))
        except (RuntimeError, KeyError, ValueError, TypeError, AttributeError):
            remaining = problems  # a foreign checkpoint; what the library stumbles over is chance
        if remaining:
            raise WeightsError(f"{source} does not fit the model: {_first(problems)}")
    has_head = keep_head and head <= fitting.keys()
    taken = fitting if has_head else {k: t for k, t in fitting.items() if k not in head}
    _load(network, taken)
    return has_head


def fit_state(
    network: nn.Module, head: frozenset[str], state: State, *, sum_stem: bool = True
) -> tuple[State, list[str]]:
    """Select and adapt the tensors of a checkpoint that a network can take.

    Returns:
        The tensors, and a line for each that stands in the way.
    """
    own: State = network.state_dict()
    fitting: State = {}
    problems: list[str] = []
    for name, tensor in own.items():
        given = state.get(name)
        if given is None:
            # Counters of normalisation layers: absent from old checkpoints, and never used here.
            if name not in head and not name.endswith("num_batches_tracked"):
                problems.append(f"{name} is missing")
        elif given.shape == tensor.shape:
            fitting[name] = given
        elif sum_stem and _is_coloured_stem(given, tensor):
            fitting[name] = given.sum(1, keepdim=True)
        elif name not in head:
            problems.append(f"{name} is {tuple(given.shape)}, not {tuple(tensor.shape)}")
    problems += [f"{name} is unknown" for name in state if name not in own and name not in head]
    return fitting, problems


def _load(network: nn.Module, tensors: State) -> None:
    """Replace some of a network's tensors by those of the same names and shapes."""
    state = network.state_dict()
    # Not a new dict: some layers look for the format's version in an attribute of this one.
    state.update(tensors)
    network.load_state_dict(state)


def _is_coloured_stem(given: Tensor, wanted: Tensor) -> bool:
    """Whether a convolution of three channels meets one of one channel, otherwise equal."""
    same = (given.shape[0], *given.shape[2:]) == (wanted.shape[0], *wanted.shape[2:])
    return same and given.ndim == 4 and (given.shape[1], wanted.shape[1]) == (3, 1)


def _state(classifier: Classifier) -> State:
    return {f"{_PREFIX}{name}": t for name, t in classifier.network.state_dict().items()}


def _first(problems: list[str]) -> str:
    rest = f" and {len(problems) - 4} more" if len(problems) > 4 else ""
    return "; ".join(problems[:4]) + rest


def _require_suffix(path: Path) -> None:
    if path.suffix == ".safetensors":
        return
    raise WeightsError(
        f"{path}: weights are kept in .safetensors files only, because others can run code when "
        'they are opened. Convert it with: python -c "import torch, safetensors.torch as s; '
        f"s.save_file(torch.load('{path}', map_location='cpu', weights_only=True), "
        f"'{path.with_suffix('.safetensors')}')\""
    )
