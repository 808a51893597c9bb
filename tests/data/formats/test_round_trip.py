"""What is written by other libraries is read back, value for value."""

import gzip
import io
import warnings

import files
import numpy as np
import pytest
import tifffile
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from lensbench.data.formats.decode import SUFFIXES, as_float32, decode, suffix_of
from lensbench.data.formats.image import Decoded

NUMERIC = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.data_too_large])


def dtypes(*names):
    return st.sampled_from([np.dtype(order + name) for name in names for order in "<>"])


def images(dtype, *shapes):
    shapes = st.sampled_from(shapes or [(5, 7), (1, 5, 7), (3, 5, 7), (16, 16, 17)])
    return dtype.flatmap(lambda one: arrays.arrays(one, shapes))


def assert_same(decoded, array):
    """The same values, with the channels first."""
    np.testing.assert_array_equal(decoded.pixels, array.reshape(-1, *array.shape[-2:]))
    assert decoded.pixels.dtype.newbyteorder("=") == array.dtype.newbyteorder("=")


@quick
@given(images(dtypes(*NUMERIC)), st.booleans(), st.sampled_from([(1, 0), (2, 0)]))
def test_npy(array, in_fortran_order, version):
    array = np.asarray(array, order="F" if in_fortran_order else "C")
    content = files.npy(array, version)
    decoded = decode(content, "x.NPY")
    assert_same(decoded, array)
    np.testing.assert_array_equal(decoded.pixels.reshape(array.shape), np.load(io.BytesIO(content)))
    assert decoded.full_scale == 1
    assert np.shares_memory(decoded.pixels, np.frombuffer(content, np.uint8))


@quick
@given(images(dtypes(*NUMERIC)), st.booleans())
def test_npz(array, compress):
    assert_same(decode(files.npz(compress, anything=array), "x.npz"), array)
    assert_same(decode(files.npz(compress, z=np.ones(2), image=array), "x.npz"), array)


@quick
@given(images(dtypes(*NUMERIC)), st.sampled_from([{}, {"chunks": True, "compression": "gzip"}]))
def test_hdf5(array, options):
    assert_same(decode(files.hdf5_image(array, **options), "x.h5"), array)


@quick
@given(images(dtypes("f4", "f8", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "i1")))
def test_fits(array):
    content = files.fits_image(array)
    decoded = decode(content, "x.fits")
    assert_same(decoded, array)
    assert decoded.pixels.dtype.isnative
    assert_same(decode(gzip.compress(content, 1), "x.fits.gz"), array)


@quick
@given(images(dtypes("f4", "i2", "i4"), (9, 8), (24, 20)), st.sampled_from(["GZIP_1", "GZIP_2"]))
def test_fits_compressed_without_loss(array, method):
    array = array.astype(array.dtype.newbyteorder("="))
    content = files.fits_compressed(array, method, quantize_level=0)
    assert_same(decode(content, "x.fits.fz"), array)


@pytest.mark.parametrize("method", ["RICE_1", "GZIP_1", "GZIP_2"])
@pytest.mark.parametrize("dtype", ["i2", "i4", "u2", "f4"])
def test_fits_compressed_to_less_than_its_image(method, dtype):
    array = np.random.default_rng(2).poisson(300, (120, 110)).astype(dtype)
    content = files.fits_compressed(array, method, quantize_level=0)
    if (method, dtype) == ("RICE_1", "f4"):  # which packs integers, so it rounds
        array = fits.open(io.BytesIO(content))[1].data
    assert len(content) < 5760 + array.nbytes
    assert_same(decode(content, "x.fits.fz"), array)


@quick
@given(images(dtypes("u1", "u2"), (5, 7), (1, 1), (40, 3)))
def test_png(array):
    array = array.astype(array.dtype.newbyteorder("="))
    decoded = decode(files.picture(array), "x.png")
    assert_same(decoded, array)
    assert decoded.full_scale == np.iinfo(array.dtype).max


@quick
@given(images(dtypes("u1"), (5, 7, 3), (20, 20, 3), (3, 5, 3)))
def test_rgb_pictures_have_their_channels_last_on_disk_whatever_their_size(array):
    for content, name in ((files.picture(array), "x.png"), (files.tiff(array), "x.tif")):
        np.testing.assert_array_equal(decode(content, name).pixels, np.moveaxis(array, -1, 0))


@quick
@given(
    images(dtypes(*NUMERIC), (5, 7), (40, 3)),
    st.sampled_from([None, "lzw", "deflate", "packbits"]),
    st.booleans(),
    st.booleans(),
)
def test_tiff(array, compression, bigtiff, tiled):
    decoded = decode(
        files.tiff(
            array,
            compression=compression,
            byteorder="<" if array.dtype.isnative else ">",
            bigtiff=bigtiff,
            tile=(16, 16) if tiled else None,
        ),
        "x.tif",
    )
    assert_same(decoded, array)
    is_integer = array.dtype.kind in "iu"
    assert decoded.full_scale == (float(np.iinfo(array.dtype).max) if is_integer else 1)


@pytest.mark.parametrize(
    "options",
    [
        {"photometric": "minisblack"},
        {"photometric": "minisblack", "planarconfig": "separate"},
        {"photometric": "rgb", "planarconfig": "separate"},
        {"photometric": "minisblack", "compression": "deflate", "predictor": True},
    ],
)
def test_tiff_bands_are_pages_or_planes(options):
    bands = np.random.default_rng(0).integers(0, 2**16, (3, 6, 5), dtype=np.uint16)
    np.testing.assert_array_equal(decode(files.tiff(bands, **options), "x.tif").pixels, bands)


def test_a_small_copy_within_a_tiff_is_no_band():
    image = np.random.default_rng(0).random((8, 8))
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(image)
        writer.write(image[::2, ::2], subfiletype=1)
    assert_same(decode(file.getvalue(), "x.tif"), image)


@pytest.mark.parametrize("mode", ["L", "RGB", "1", "P"])
@pytest.mark.parametrize("shape", [(6, 5), (40, 33), (1, 1)])
def test_png_modes_agree_with_pillow(mode, shape):
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    content = files.picture(noise, mode=mode)
    oracle = Image.open(io.BytesIO(content)).convert("RGB" if mode in ("RGB", "P") else "L")
    decoded = decode(content, "x.png").pixels
    np.testing.assert_array_equal(np.moveaxis(decoded, 0, -1).squeeze(), np.squeeze(oracle))


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 30}, {"optimize": 1}])
@pytest.mark.parametrize("shape", [(6, 5), (41, 33)])
def test_jpeg_agrees_with_pillow(mode, options, shape):
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    content = files.picture(noise, "jpeg", mode=mode, **options)
    decoded = decode(content, "x.JPG")
    oracle = np.asarray(Image.open(io.BytesIO(content)))
    np.testing.assert_array_equal(np.moveaxis(decoded.pixels, 0, -1).squeeze(), oracle)
    assert decoded.full_scale == 255


def test_16_bit_rgb_keeps_its_16_bits():
    import imagecodecs

    rgb = np.random.default_rng(0).integers(0, 2**16, (6, 5, 3), dtype=np.uint16)
    decoded = decode(bytes(imagecodecs.png_encode(rgb)), "x.png")
    np.testing.assert_array_equal(decoded.pixels, np.moveaxis(rgb, -1, 0))
    assert decoded.full_scale == 65535


def test_an_opaque_alpha_channel_is_dropped():
    rgba = np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype=np.uint8)
    rgba[..., 3] = 255
    for content, name in (
        (files.picture(rgba), "x.png"),
        (files.tiff(rgba, photometric="rgb", extrasamples=["unassalpha"]), "x.tif"),
    ):
        np.testing.assert_array_equal(
            decode(content, name).pixels, np.moveaxis(rgba[..., :3], -1, 0)
        )


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((20, 30), (1, 20, 30)),
        ((20, 30, 3), (3, 20, 30)),
        ((16, 30, 3), (3, 16, 30)),
        ((16, 30, 16), (16, 30, 16)),
        ((17, 30, 16), (16, 17, 30)),
        ((3, 30, 3), (3, 30, 3)),
    ],
)
def test_the_channels_are_the_shorter_of_first_and_last_axis(shape, expected):
    array = np.arange(np.prod(shape)).reshape(shape)
    pixels = decode(files.npy(array), "x.npy").pixels
    assert pixels.shape == expected
    if len(shape) == 3 and shape[2] < shape[0]:
        np.testing.assert_array_equal(pixels, np.moveaxis(array, -1, 0))


def test_fits_bands_may_be_hdus_and_sci_wins():
    red, blue, mask = np.random.default_rng(0).random((3, 6, 5))
    bands = [fits.PrimaryHDU(), fits.ImageHDU(red), fits.ImageHDU(blue)]
    np.testing.assert_array_equal(decode(files.fits_file(*bands), "x.fits").pixels, [red, blue])
    named = [fits.PrimaryHDU(mask), fits.ImageHDU(red, name="SCI"), fits.ImageHDU(blue, name="ERR")]
    np.testing.assert_array_equal(decode(files.fits_file(*named), "x.fits").pixels, [red])


def test_a_lone_fits_image_called_image_wins_over_its_planes():
    red, blue, mask = np.random.default_rng(0).random((3, 6, 5))
    planes = [fits.ImageHDU(mask.astype("i4"), name="MASK"), fits.ImageHDU(blue, name="VARIANCE")]
    content = files.fits_file(fits.PrimaryHDU(), fits.ImageHDU(red, name="image"), *planes)
    np.testing.assert_array_equal(decode(content, "x.fits").pixels, [red])
    bands = [fits.ImageHDU(band, name="IMAGE") for band in (red, blue)]
    content = files.fits_file(fits.PrimaryHDU(), *bands)
    np.testing.assert_array_equal(decode(content, "x.fits").pixels, [red, blue])


@pytest.mark.parametrize("codec", ["RICE_1", "GZIP_2", "PLIO_1"])
@pytest.mark.parametrize("name", ["SCI", "IMAGE"])
def test_fits_planes_beside_the_image_may_be_compressed_anyhow(name, codec):
    """Nobody inflates them."""
    image = np.random.default_rng(2).normal(size=(120, 110)).astype(np.float32)
    plane = np.random.default_rng(3).integers(0, 4, (120, 110)).astype(np.int32)
    planes = [fits.CompImageHDU(plane, name=one, compression_type=codec) for one in ("DQ", "WHT")]
    for chosen in (
        fits.ImageHDU(image, name=name),
        fits.CompImageHDU(image, name=name, compression_type="GZIP_2", quantize_level=0),
    ):
        decoded = decode(files.fits_file(fits.PrimaryHDU(), chosen, *planes), "x.fits")
        np.testing.assert_array_equal(decoded.pixels[0], image)


def test_fits_is_scaled_as_its_header_says():
    hdu = fits.PrimaryHDU(np.arange(30, dtype=np.int16).reshape(6, 5))
    content = files.fits_file(hdu)
    cards = b"".join(
        card.ljust(80)
        for card in (b"BSCALE  =                  0.5", b"BZERO   =                  3.0")
    )
    content = content.replace(b"END".ljust(240), cards + b"END".ljust(80), 1)
    np.testing.assert_array_equal(
        decode(content, "x.fits").pixels[0], np.arange(30).reshape(6, 5) / 2 + 3
    )


@pytest.mark.parametrize("method", [None, "RICE_1"])
def test_fits_may_lack_its_padding_without_a_warning(method):
    array = np.random.default_rng(0).integers(0, 99, (60, 50), dtype=np.int32)
    content = files.fits_compressed(array, method) if method else files.fits_image(array)
    with warnings.catch_warnings(record=True, action="always") as caught:
        assert_same(decode(content[:-1], "x.fits"), array)
    assert caught == []


@pytest.mark.parametrize(("dtype", "blank"), [("i2", 3), ("u2", 3 - 2**15), ("u4", 3 - 2**31)])
@pytest.mark.parametrize("is_compressed", [False, True])
def test_blanks_of_fits_are_no_numbers_in_unsigned_integers_too(dtype, blank, is_compressed):
    array = np.arange(30, dtype=dtype).reshape(6, 5)
    hdu = fits.CompImageHDU(array) if is_compressed else fits.PrimaryHDU(array)
    hdu.header["BLANK"] = blank  # of the integers as they are stored
    content = files.fits_file(*([fits.PrimaryHDU()] if is_compressed else []), hdu)
    (found,) = decode(content, "x.fits.fz" if is_compressed else "x.fits").pixels
    assert np.isnan(found[0, 3])
    np.testing.assert_array_equal(found.ravel()[4:], array.ravel()[4:])


def test_hdf5_images_may_lie_in_groups():
    image = np.random.default_rng(0).random((6, 5))

    def fill(file):
        file["observation/image"] = image
        file["observation/error"] = image
        file["name"] = "a text is no image"

    assert_same(decode(files.hdf5(fill), "x.hdf5"), image)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a/b.NPY", ".npy"),
        ("x.fits.gz", ".fits.gz"),
        ("x.Fits.Fz", ".fits.fz"),
        ("x.fits.npy", ".npy"),
        ("x.gz", None),
        ("npy", None),
        ("x.npy.txt", None),
    ],
)
def test_suffixes(name, suffix):
    assert suffix_of(name) == suffix


def test_every_suffix_is_found():
    assert {suffix_of(f"x{suffix.upper()}") for suffix in SUFFIXES} == SUFFIXES


@given(arrays.arrays(np.uint16, (1, 3, 3)))
def test_samples_are_divided_once_in_float32(pixels):
    values = as_float32(Decoded(pixels, 65535.0, {}))
    np.testing.assert_array_equal(values, pixels.astype(np.float32) / np.float32(65535))
    assert values.dtype == np.float32


def test_float32_is_contiguous_native_and_ones_own():
    for pixels in (np.ones((2, 3, 4), ">f8").transpose(0, 2, 1), np.ones((1, 3, 4), np.float32)):
        values = as_float32(Decoded(pixels, 1.0, {}))
        assert values.flags.c_contiguous
        assert values.flags.writeable
        assert values.dtype.isnative
        assert not np.shares_memory(values, pixels)


def test_integers_of_arrays_keep_their_values_and_the_too_large_become_infinite():
    assert as_float32(decode(files.npy(np.full((2, 2), 200, np.uint8)), "x.npy")).max() == 200
    assert np.isinf(as_float32(decode(files.npy(np.full((2, 2), 1e300)), "x.npy"))).all()


def test_headers_say_what_may_give_a_class_away():
    image = np.ones((6, 5))
    assert decode(files.npy(image), "x.npy").header == {
        "dtype": "<f8",
        "order": "C",
        "version": "1.0",
        "shape": "(6, 5)",
    }
    assert decode(files.npz(True, image=image, z=image), "x.npz").header["names"] == "image z"
    hdu = fits.PrimaryHDU(image)
    hdu.header["OBJECT"] = ("vortex", "what it is")
    hdu.header["HISTORY"] = "long"
    header = decode(files.fits_file(hdu), "x.fits").header
    assert header["FITS OBJECT"] == "'vortex  '"
    assert header["FITS HISTORY"] == "long"

    def fill(file):
        file["image"] = image
        file["image"].attrs["mass"] = 3.5
        file.attrs["by"] = "x" * 200

    header = decode(files.hdf5(fill), "x.h5").header
    assert header["attribute mass"] == "3.5"
    assert header["attribute by"].startswith("x" * 60 + "… ")
    assert len(header["attribute by"]) < 80
    noise = np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)
    good, poor = (decode(files.picture(noise, "jpeg", quality=q), "x.jpg").header for q in (90, 50))
    assert good["segments"] == "APP0 DQT SOF0 DHT SOS"
    assert good["quantisation"] != poor["quantisation"]
    assert decode(files.picture(noise), "x.png").header["chunks"] == "IHDR IDAT IEND"
    header = decode(
        files.tiff(noise, software="it", description="no", metadata=None), "x.tif"
    ).header
    assert (header["Software"], header["ImageDescription"]) == ("it", "no")
