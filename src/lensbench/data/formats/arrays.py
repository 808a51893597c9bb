"""NumPy's own files: `.npy` and `.npz`, never unpickled."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from lensbench.data.formats.fault import MAX_FILE_BYTES, ImageFault, require_affordable
from lensbench.data.formats.image import Decoded, as_texts, channels_first, the_image
from lensbench.data.formats.zipped import read_member

_LENGTH_BYTES = {b"\x93NUMPY\x01": 2, b"\x93NUMPY\x02": 4}  # of the header's length, by version


class NpyHeader(NamedTuple):
    """What a `.npy` file says of its array."""

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype[np.generic]
    n_bytes: int  # of the header itself
    texts: Mapping[str, str]  # for `Decoded.header`


def read_npy(content: bytes) -> Decoded:
    """Decode a `.npy` file; its pixels are a view of `content`.

    Raises:
        ImageFault: With any code but `ambiguous`.
        ValueError: The header is damaged.
    """
    header = npy_header(content)
    if header.dtype.kind not in "fiu":
        raise ImageFault("wrong-dtype", f"dtype {header.dtype} is neither integer nor floating")
    return Decoded(
        pixels=channels_first(npy_array(content, header)),
        full_scale=1.0,
        header=header.texts,
    )


def read_npz(content: bytes) -> Decoded:
    """Decode a `.npz` file of one array, or the array called `image`.

    Raises:
        ImageFault: With any code.
        zipfile.BadZipFile, ValueError: The file is damaged.
        EOFError, zlib.error, RuntimeError: As `read_member`.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {
            member.filename.removesuffix(".npy"): member
            for member in archive.infolist()
            if member.filename.endswith(".npy")
        }
        member = the_image(members)
        if member.file_size > MAX_FILE_BYTES:
            raise ImageFault("too-large", f"{member.filename} claims {member.file_size:,} bytes")
        image = read_npy(read_member(archive, member))
    is_compressed = member.compress_type != zipfile.ZIP_STORED
    return Decoded(
        image.pixels,
        image.full_scale,
        as_texts({**image.header, "names": " ".join(members), "compressed": is_compressed}),
    )


def npy_header(start: bytes) -> NpyHeader:
    """Read the header of a `.npy` file from its first bytes.

    Raises:
        ImageFault: With code `unreadable` or `object-array`.
        ValueError: The header is damaged.
    """
    n_length = _LENGTH_BYTES.get(start[:7])
    if n_length is None:
        raise ImageFault("unreadable", "no .npy file of version 1 or 2")
    header = _parse(start[: 8 + n_length + int.from_bytes(start[8 : 8 + n_length], "little")])
    if header.dtype.hasobject:
        raise ImageFault("object-array", _object_message(header.shape))
    return header


def npy_array(content: bytes, header: NpyHeader) -> NDArray[np.generic]:
    """View the content of a `.npy` file as the array that it holds, of any shape and dtype.

    Raises:
        ImageFault: With code `too-large`, or `unreadable` if the file is longer or shorter than
            its header says.
    """
    require_affordable(header.shape, header.dtype.itemsize)
    n_there = len(content) - header.n_bytes
    n_said = math.prod(header.shape) * header.dtype.itemsize
    if n_there != n_said:
        raise ImageFault("unreadable", f"holds {n_there:,} bytes of pixels, says {n_said:,}")
    return np.ndarray(
        header.shape,
        header.dtype,
        buffer=content,
        offset=header.n_bytes,
        order="F" if header.is_fortran else "C",
    )


@lru_cache(maxsize=1024)  # the files of a data set share a few headers
def _parse(header: bytes) -> NpyHeader:
    file = io.BytesIO(header)
    major, minor = npy.read_magic(file)
    read = npy.read_array_header_1_0 if major == 1 else npy.read_array_header_2_0
    shape, is_fortran, dtype = read(file)
    order = "F" if is_fortran else "C"
    texts = {"dtype": dtype.str, "order": order, "version": f"{major}.{minor}", "shape": shape}
    return NpyHeader(shape, is_fortran, dtype, len(header), as_texts(texts))


def _object_message(shape: tuple[int, ...]) -> str:
    message = (
        "holds Python objects, which are never unpickled; save the image alone: "
        "np.save(path, image)"
    )
    if shape == (2,):
        message += (
            ". It looks like an image-and-mass file of DeepLense's axion sets "
            "(no_sub, cdm, axion). If you trust the file, take the image out yourself: "
            "np.save(path, np.load(path, allow_pickle=True)[0])"
        )
    return message
