"""Classifiers as files that other programs run, without lensbench and without its settings."""

from __future__ import annotations

import importlib.util
import io
import json
import warnings
from pathlib import Path

import torch
from torch.export import Dim, ExportedProgram

from lensbench.errors import ConfigError, ModelError
from lensbench.whole_file import written_whole
from lensbench.zoo.classifier import Classifier
from lensbench.zoo.equivariant.networks import as_plain
from lensbench.zoo.fetching import one_line
from lensbench.zoo.weights import describe

KEY = "lensbench"
"""Where `describe` stands in the metadata of ONNX; the extra file of a `.pt2` is KEY.json."""

_SUFFIXES = (".onnx", ".pt2")
_MAX_ONNX_BYTES = 2**31 - 2**24
"""What one protobuf message may hold, less some room for the graph."""


def export(classifier: Classifier, path: Path) -> None:
    """Write a whole classifier, its preprocessing included; the file appears whole or not at all.

    The file's one input `images` is (B, C, H, W) float32 as on disk, its one output `logits` is
    (B, K) float32, for any B. Class names and all else that `describe` says about the classifier
    are in it, as JSON. Symmetric filters are written out, see `as_plain`.

    Args:
        classifier: What to write; it is left as it is.
        path: A name that ends in `.onnx`, or in `.pt2` for what `torch.export.load` reads.

    Raises:
        ConfigError: The name ends differently, packages are missing, or one file cannot hold it.
        ModelError: torch cannot export this network.
    """
    if path.suffix not in _SUFFIXES:
        raise ConfigError(f"{path}: export writes {' and '.join(_SUFFIXES)} files only")
    as_onnx = path.suffix == ".onnx"
    if as_onnx:
        _require_onnx(classifier, path)
    about = json.dumps(describe(classifier))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about itself
            program = _trace(classifier)
            content = _onnx(program, about) if as_onnx else _pt2(program, about)
    except Exception as error:  # what cannot be exported fails in every way there is
        raise ModelError(
            f"{classifier.name} cannot be exported to {path.suffix}: {one_line(error)}"
        ) from error
    with written_whole(path) as partial:
        partial.write_bytes(content)


def _require_onnx(classifier: Classifier, path: Path) -> None:
    """Check what only ONNX needs, before the work."""
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"{path} needs {' and '.join(missing)}: pip install lensbench[onnx], or name a .pt2 "
            "file"
        )
    n_bytes = sum(tensor.nbytes for tensor in classifier.state_dict().values())
    if n_bytes > _MAX_ONNX_BYTES:
        raise ConfigError(f"{path}: one ONNX file holds no more than 2 GB; name a .pt2 file")


def _trace(classifier: Classifier) -> ExportedProgram:
    """Record what happens to a batch, as operations of torch."""
    plain = as_plain(classifier).cpu()
    images = torch.zeros(2, *classifier.preprocess.image_shape)  # of one, torch would take note
    program = torch.export.export(plain, (images,), dynamic_shapes=({0: Dim("batch")},))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # the folders of whoever exports
    return program


def _pt2(program: ExportedProgram, about: str) -> bytes:
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={f"{KEY}.json": about})
    return content.getvalue()


def _onnx(program: ExportedProgram, about: str) -> bytes:
    exported = torch.onnx.export(
        program, dynamo=True, verbose=False, input_names=["images"], output_names=["logits"]
    )
    if exported is None:
        raise RuntimeError("torch returned no ONNX program")
    model = exported.model
    # How each node came about, in words of torch and in folders of whoever exports.
    model.graph.metadata_props.clear()
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
    model.metadata_props[KEY] = about
    content: bytes = exported.model_proto.SerializeToString()
    return content
