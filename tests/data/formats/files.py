"""Valid files of each format, written by the libraries that everybody writes them with."""

import io
import zipfile
from collections.abc import Callable

import h5py
import numpy as np
import tifffile
from astropy.io import fits
from PIL import Image


def npy(array, version=None) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asanyarray(array), version=version)
    return file.getvalue()


def npz(_compress=False, **arrays) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if _compress else np.savez)(file, **arrays)
    return file.getvalue()


def hdf5(fill: Callable[[h5py.File], object]) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as content:
        fill(content)
    return file.getvalue()


def hdf5_image(array, **options) -> bytes:
    return hdf5(lambda file: file.create_dataset("image", data=array, **options))


def fits_file(*hdus) -> bytes:
    file = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(file)
    return file.getvalue()


def fits_image(array) -> bytes:
    return fits_file(fits.PrimaryHDU(array))


def fits_compressed(array, method, **options) -> bytes:
    hdu = fits.CompImageHDU(array, compression_type=method, **options)
    return fits_file(fits.PrimaryHDU(), hdu)


def picture(array, kind="png", mode=None, **options) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(file, kind, **options)
    return file.getvalue()


def tiff(array, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def with_first_member(content: bytes, **changes) -> bytes:
    """Return a zip file whose first entry, in the central directory, says something else."""
    places = {"method": (10, 2), "size": (24, 4), "flags": (8, 2)}
    directory = bytearray(content)
    start = directory.index(b"PK\x01\x02")
    for what, value in changes.items():
        place, n_bytes = places[what]
        directory[start + place : start + place + n_bytes] = value.to_bytes(n_bytes, "little")
    return bytes(directory)


def zipped(members, method=zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


_NOISE = np.random.default_rng(0).integers(0, 256, (12, 10), dtype=np.uint8)

SOUND = {
    "a.npy": npy(_NOISE / 7),
    "a.npz": npz(image=_NOISE),
    "compressed.npz": npz(_compress=True, image=_NOISE, mass=np.ones(3)),
    "a.h5": hdf5_image(_NOISE),
    "chunked.hdf5": hdf5_image(_NOISE, chunks=(5, 5), compression="gzip"),
    "a.fits": fits_image(_NOISE.astype(np.float32)),
    "integer.fit": fits_image(_NOISE.astype(np.uint16)),
    "rice.fits.fz": fits_compressed(_NOISE.astype(np.int16), "RICE_1"),
    "gzip.fits.fz": fits_compressed(_NOISE.astype(np.float32), "GZIP_2", quantize_level=0),
    # Larger than its file: most of what follows the header is pixels.
    "large.fits.fz": fits_compressed(
        np.random.default_rng(1).poisson(10, (120, 110)).astype(np.int32), "RICE_1"
    ),
    "a.png": picture(_NOISE),
    "rgb.png": picture(_NOISE, mode="RGB"),
    "a.jpg": picture(_NOISE, "jpeg"),
    "progressive.jpeg": picture(_NOISE, "jpeg", mode="RGB", progressive=True),
    "a.tif": tiff(_NOISE),
    "packed.tif": tiff(_NOISE, compression="lzw", predictor=True),
    "bits.tif": tiff(_NOISE // 128, compression="packbits"),
    "bands.tiff": tiff(np.stack([_NOISE] * 3), photometric="minisblack", compression="lzw"),
}
