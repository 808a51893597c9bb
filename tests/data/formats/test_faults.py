"""What cannot be used is named, whatever its bytes are, and costs no memory."""

import gzip
import io
import pickle
import struct
import tracemalloc
import zipfile
import zlib

import files
import h5py
import numpy as np
import pytest
import tifffile
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from lensbench.data.formats.decode import decode
from lensbench.data.formats.fault import MAX_IMAGE_BYTES, ImageFault

CODES = {"unreadable", "object-array", "wrong-dtype", "wrong-shape", "too-large", "ambiguous"}
IMAGE = np.random.default_rng(0).random((6, 5))
NOISE = np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)
HUGE = 2**15
TABLE = fits.BinTableHDU.from_columns([fits.Column("flux", "D", array=[1.0, 2.0])])


def fault_of(content: bytes, name: str) -> ImageFault:
    with pytest.raises(ImageFault) as caught:
        decode(content, name)
    return caught.value


class Trap:
    """Fails the test if it is ever unpickled."""

    def __reduce__(self):
        return pytest.fail, ("unpickled",)


def objects(*items) -> np.ndarray:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def object_npy(*items) -> bytes:
    array = objects(*items)
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|O", "fortran_order": False, "shape": array.shape}
    )
    return file.getvalue() + pickle.dumps(array)


def linked(file: h5py.File) -> None:
    file["here"] = h5py.ExternalLink("elsewhere.h5", "image")


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((6, 5), "f8")
    layout[:] = h5py.VirtualSource("elsewhere.h5", "image", (6, 5))
    file.create_virtual_dataset("image", layout)


def two_sizes() -> bytes:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(NOISE)
        writer.write(NOISE[:5])
    return file.getvalue()


def without_strip() -> bytes:
    """A strip of no bytes, which tifffile fills with zeros."""
    content = bytearray(files.tiff(NOISE, rowsperstrip=8, compression="lzw"))
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        tag = file.pages[0].tags["StripByteCounts"]
    content[tag.valueoffset : tag.valueoffset + 2] = bytes(2)
    return bytes(content)


def tiff_claiming(n, **options) -> bytes:
    content = bytearray(files.tiff(NOISE, metadata=None, **options))
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        for name in ("ImageLength", "ImageWidth", "TileLength", "TileWidth"):
            tag = file.pages[0].tags.get(name)
            if tag is not None and name.startswith("Tile" if "tile" in options else "Image"):
                content[tag.valueoffset : tag.valueoffset + 2] = struct.pack("<H", n)
    return bytes(content)


def rgba(alpha: int) -> np.ndarray:
    return np.dstack([NOISE, NOISE, NOISE, np.full_like(NOISE, alpha)])


@pytest.mark.parametrize(
    ("content", "name", "code"),
    [
        (b"", "x.npy", "unreadable"),
        (b"\x93NUMPY", "x.npy", "unreadable"),
        (b"\x93NUMPY\x03\x00", "x.npy", "unreadable"),
        (files.npy(IMAGE) + b"\0", "x.npy", "unreadable"),
        (files.npy(IMAGE), "x.png", "unreadable"),
        (files.npy(IMAGE), "x.dat", "unreadable"),
        (object_npy(Trap()), "x.npy", "object-array"),
        (files.npz(image=objects(1, "a")), "x.npz", "object-array"),
        (files.npy(IMAGE.astype(complex)), "x.npy", "wrong-dtype"),
        (files.npy(IMAGE > 0.5), "x.npy", "wrong-dtype"),
        (files.npy(IMAGE.astype(str)), "x.npy", "wrong-dtype"),
        (files.npy(np.zeros((6, 5), "f4,f4")), "x.npy", "wrong-dtype"),
        (files.npy(IMAGE[0]), "x.npy", "wrong-shape"),
        (files.npy(np.float64(1)), "x.npy", "wrong-shape"),
        (files.npy(np.ones((17, 20, 17))), "x.npy", "wrong-shape"),
        (files.npy(np.ones((1, 1, 6, 5))), "x.npy", "wrong-shape"),
        (files.npy(np.ones((0, 5))), "x.npy", "wrong-shape"),
        (files.npz(a=IMAGE, b=IMAGE), "x.npz", "ambiguous"),
        (files.npz(), "x.npz", "wrong-dtype"),
        (files.zipped({"image.npy": b"no array"}), "x.npz", "unreadable"),
        (files.zipped({"a.npy": files.npy(IMAGE)}, zipfile.ZIP_BZIP2), "x.npz", "unreadable"),
        (files.with_first_member(files.npz(image=IMAGE), flags=1), "x.npz", "unreadable"),
        (files.hdf5(lambda file: file.update(a=IMAGE, b=IMAGE)), "x.h5", "ambiguous"),
        (
            files.hdf5(lambda file: file.update({"a/image": IMAGE, "image": IMAGE})),
            "x.h5",
            "ambiguous",
        ),
        (files.hdf5(lambda file: file.update(a="text")), "x.h5", "wrong-dtype"),
        (files.hdf5(lambda file: file.update(a=IMAGE > 0)), "x.h5", "wrong-dtype"),
        (files.hdf5(lambda file: file.update(a=3)), "x.h5", "wrong-shape"),
        (files.hdf5(linked), "x.h5", "wrong-dtype"),
        (files.hdf5(virtual), "x.h5", "unreadable"),
        (files.hdf5_image(IMAGE, external=[("/dev/zero", 0, 240)]), "x.h5", "unreadable"),
        (files.fits_file(fits.PrimaryHDU()), "x.fits", "wrong-shape"),
        (files.fits_image(np.ones((2, 2, 6, 5))), "x.fits", "wrong-shape"),
        (
            files.fits_file(fits.PrimaryHDU(IMAGE), fits.ImageHDU(IMAGE[1:])),
            "x.fits",
            "wrong-shape",
        ),
        (files.fits_file(fits.PrimaryHDU(), TABLE), "x.fits", "wrong-shape"),
        *(
            (files.fits_file(fits.PrimaryHDU(IMAGE), plane), "x.fits", "ambiguous")
            for plane in (
                fits.ImageHDU(IMAGE, name="wht"),
                fits.ImageHDU(IMAGE, name="NOISE_MAP"),
                fits.ImageHDU(IMAGE, name="PSF"),
                fits.ImageHDU(IMAGE, name="ERR_G"),
                fits.ImageHDU(IMAGE, name="rms-2"),
                fits.ImageHDU(IMAGE, name="VARIANCE"),
                fits.ImageHDU(NOISE[:6, :5]),  # of another BITPIX
                fits.CompImageHDU(NOISE[:6, :5]),
            )
        ),
        (gzip.compress(files.fits_image(IMAGE)), "x.fits", "unreadable"),
        (files.fits_compressed(NOISE, "HCOMPRESS_1"), "x.fits.fz", "unreadable"),
        (files.fits_compressed(NOISE, "PLIO_1"), "x.fits.fz", "unreadable"),
        (files.fits_image(IMAGE), "x.fits.gz", "unreadable"),
        (files.fits_image(IMAGE) + b"garbage", "x.fits", "unreadable"),
        (files.picture(rgba(254)), "x.png", "wrong-shape"),
        (files.picture(NOISE, transparency=int(NOISE[0, 0])), "x.png", "wrong-shape"),
        (files.picture(NOISE), "x.jpg", "unreadable"),
        (files.picture(NOISE, "jpeg", mode="CMYK"), "x.jpg", "wrong-shape"),
        (
            files.tiff(rgba(254), photometric="rgb", extrasamples=["unassalpha"]),
            "x.tif",
            "wrong-shape",
        ),
        (files.tiff(NOISE, photometric="miniswhite"), "x.tif", "wrong-dtype"),
        (files.tiff(NOISE > 9, photometric="minisblack"), "x.tif", "wrong-dtype"),
        (files.picture(NOISE, "tiff", mode="P"), "x.tif", "wrong-dtype"),
        (files.tiff(NOISE, compression="zstd"), "x.tif", "unreadable"),
        (files.tiff(NOISE.astype(complex)), "x.tif", "wrong-dtype"),
        (files.tiff(np.ones((17, 6, 5)), photometric="minisblack"), "x.tif", "wrong-shape"),
        (files.tiff(np.ones((40, 6, 5)), photometric="minisblack"), "x.tif", "wrong-shape"),
        (two_sizes(), "x.tif", "wrong-shape"),
        (without_strip(), "x.tif", "unreadable"),
        (tiff_claiming(300), "x.tif", "unreadable"),
    ],
)
def test_what_cannot_be_used_is_named(content, name, code):
    assert fault_of(content, name).code == code


def test_an_animation_is_no_image():
    from PIL import Image

    frames = [Image.fromarray(NOISE), Image.fromarray(255 - NOISE)]
    file = io.BytesIO()
    frames[0].save(file, "png", save_all=True, append_images=frames[1:])
    assert fault_of(file.getvalue(), "x.png").code == "wrong-shape"


def test_an_axion_file_is_told_its_way_out():
    fault = fault_of(object_npy(IMAGE, Trap()), "x.npy")
    assert fault.code == "object-array"
    assert "DeepLense" in str(fault)
    assert "np.save(path, np.load(path, allow_pickle=True)[0])" in str(fault)
    assert "DeepLense" not in str(fault_of(object_npy(IMAGE), "x.npy"))


def test_planes_that_are_no_bands_are_named_with_the_way_out():
    fault = fault_of(
        files.fits_file(fits.PrimaryHDU(IMAGE), fits.ImageHDU(IMAGE, name="ERR"), TABLE), "x.fits"
    )
    assert "0 PRIMARY (6, 5), 1 ERR (6, 5), 2  table" in str(fault)
    assert "call the image SCI" in str(fault)


def npy_claiming(shape) -> bytes:
    header = repr({"descr": "<f8", "fortran_order": False, "shape": shape}).encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


def png_claiming(width, height) -> bytes:
    def chunk(name, body):
        checksum = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + checksum

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b"")


def jpeg_claiming(width, height) -> bytes:
    content = files.picture(NOISE, "jpeg")
    size = content.index(b"\xff\xc0") + 5
    return content[:size] + struct.pack(">HH", height, width) + content[size + 4 :]


def fits_claiming(width, height) -> bytes:
    content = files.fits_image(IMAGE)
    content = content.replace(b"NAXIS1  =                    5", b"NAXIS1  = %20d" % width)
    return content.replace(b"NAXIS2  =                    6", b"NAXIS2  = %20d" % height)


def hdf5_claiming(shape, **options) -> bytes:
    return files.hdf5(lambda file: file.create_dataset("image", shape, "f8", **options))


def npz_lying() -> bytes:
    """Declares 368 bytes, inflates to 2**27."""
    sound = files.npy(IMAGE)
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("image.npy", "w") as member,
    ):
        member.write(sound)
        for _ in range(2**7):
            member.write(bytes(2**20))
    return files.with_first_member(file.getvalue(), size=len(sound))


@pytest.mark.parametrize(
    ("content", "name", "code"),
    [
        (npy_claiming((HUGE, HUGE)), "x.npy", "too-large"),
        (npy_claiming((5000, 5000)), "x.npy", "unreadable"),
        (npy_claiming((-5000, -5000)), "x.npy", "unreadable"),
        (files.zipped({"image.npy": npy_claiming((HUGE, HUGE))}), "x.npz", "too-large"),
        (
            files.with_first_member(files.npz(image=IMAGE), size=MAX_IMAGE_BYTES * 2),
            "x.npz",
            "too-large",
        ),
        (npz_lying(), "x.npz", "unreadable"),
        (png_claiming(HUGE, HUGE), "x.png", "too-large"),
        (png_claiming(100, 100), "x.png", "unreadable"),
        (jpeg_claiming(65000, 65000), "x.jpg", "too-large"),
        (tiff_claiming(65000), "x.tif", "too-large"),
        (tiff_claiming(65008, tile=(16, 16), compression="lzw"), "x.tif", "too-large"),
        (fits_claiming(HUGE, HUGE), "x.fits", "unreadable"),
        (fits_claiming(5000, 5000), "x.fits", "unreadable"),
        (hdf5_claiming((HUGE, HUGE)), "x.h5", "too-large"),
        (hdf5_claiming((5, 5), chunks=(HUGE, 2000), maxshape=(None, None)), "x.h5", "too-large"),
    ],
)
def test_what_a_file_claims_costs_no_memory(content, name, code):
    decode(*next((sound, other) for other, sound in files.SOUND.items() if other[-3:] == name[-3:]))
    tracemalloc.start()
    try:
        assert fault_of(content, name).code == code
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_a_gzipped_bomb_is_inflated_no_further_than_an_image(monkeypatch):
    monkeypatch.setattr("lensbench.data.formats.fits.MAX_FILE_BYTES", 2**20)
    sound = files.fits_image(IMAGE)
    assert decode(gzip.compress(sound), "x.fits.gz").pixels.shape == (1, 6, 5)
    tracemalloc.start()
    try:
        bomb = gzip.compress(bytes(2**16)) * 2**10
        assert fault_of(bomb, "x.fits.gz").code == "too-large"
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


def test_tiles_are_inflated_no_further_than_the_image():
    bomb = np.frombuffer(gzip.compress(bytes(2**24)), np.uint8)
    column = fits.Column("COMPRESSED_DATA", "1PB()", array=objects(bomb))
    table = fits.BinTableHDU.from_columns([column])
    table.header.update(ZIMAGE=True, ZCMPTYPE="GZIP_1", ZBITPIX=16, ZNAXIS=2)
    table.header.update(ZNAXIS1=8, ZNAXIS2=1, ZTILE1=8, ZTILE2=1)
    content = files.fits_file(fits.PrimaryHDU(), table)
    tracemalloc.start()
    try:
        assert fault_of(content, "x.fits.fz").code == "too-large"
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_a_file_beyond_the_limit_is_not_parsed(monkeypatch):
    monkeypatch.setattr("lensbench.data.formats.decode.MAX_FILE_BYTES", 367)
    assert fault_of(files.npy(IMAGE), "x.npy").code == "too-large"


@pytest.mark.parametrize("name", files.SOUND)
def test_a_file_that_is_cut_short_is_unreadable_or_whole(name):
    content = files.SOUND[name]
    expected = decode(content, name).pixels
    cuts = {
        *range(0, len(content), 1 + len(content) // 150),
        *range(len(content) - 20, len(content)),
    }
    for cut in cuts:
        try:
            found = decode(content[:cut], name).pixels
        except ImageFault as fault:
            assert fault.code in CODES  # noqa: PT017 - most cuts are faults, not all
        else:
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", files.SOUND)
def test_damaged_bytes_raise_nothing_else(name):
    @settings(max_examples=60, deadline=None, database=None)
    @given(st.data())
    def check(data):
        content = bytearray(files.SOUND[name])
        places = st.integers(0, len(content) - 1)
        for place in data.draw(st.lists(places, min_size=1, max_size=5)):
            content[place] = data.draw(st.integers(0, 255))
        try:
            decode(bytes(content), name)
        except ImageFault as fault:
            assert fault.code in CODES  # noqa: PT017 - some damage does not show

    check()
