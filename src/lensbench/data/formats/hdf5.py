"""HDF5 files of one image."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lensbench.data.formats.fault import ImageFault, require_affordable
from lensbench.data.formats.image import Decoded, as_texts, channels_first, the_image

if TYPE_CHECKING:
    import h5py


def read_hdf5(content: bytes) -> Decoded:
    """Decode an HDF5 file of one numeric dataset, or the one called `image`, in any group.

    Nothing outside the file is read: links to other files, external storage and virtual datasets
    are not followed.

    Raises:
        ImageFault: With code `unreadable`, `wrong-dtype`, `wrong-shape`, `too-large` or
            `ambiguous`.
        Exception: Many kinds, if the file is damaged.
    """
    import h5py

    datasets: dict[str, h5py.Dataset] = {}

    def collect(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "fiu":
            datasets[name] = item

    with h5py.File(io.BytesIO(content), "r") as file:
        file.visititems(collect)  # visits no soft or external links
        dataset = the_image(datasets)
        require_self_contained(dataset)
        require_affordable(dataset.shape or (), dataset.dtype.itemsize)
        require_affordable(dataset.chunks or (), dataset.dtype.itemsize)
        if not dataset.shape:
            raise ImageFault("wrong-shape", f"{dataset.name} is a single value")
        return Decoded(
            pixels=channels_first(dataset[()]),
            full_scale=1.0,
            header=as_texts(
                {
                    "dtype": dataset.dtype.str,
                    "chunks": dataset.chunks,
                    "compression": dataset.compression,
                    **_attributes(file),
                    **_attributes(dataset),
                }
            ),
        )


def require_self_contained(dataset: h5py.Dataset) -> None:
    """Refuse a dataset whose values lie in other files.

    Raises:
        ImageFault: With code `unreadable`.
    """
    if dataset.is_virtual or dataset.external:
        raise ImageFault(
            "unreadable", f"{dataset.name} keeps its values in other files; copy them into this one"
        )


def _attributes(item: h5py.Group | h5py.Dataset) -> Mapping[str, object]:
    """Return the scalar attributes."""
    return {
        f"attribute {name}": item.attrs[name]
        for name in item.attrs
        if item.attrs.get_id(name).shape == ()
    }
