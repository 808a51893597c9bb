"""From the bytes of a file to float32."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from lensbench.data.images import ImageFault, as_float32, decode_image


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


@given(
    arrays.arrays(
        st.sampled_from([np.float64, np.float32, np.float16, np.int32, np.uint8, np.uint16]),
        st.sampled_from([(5, 7), (1, 5, 7), (3, 5, 7)]),
        elements={"allow_nan": False, "allow_infinity": False},
    )
)
def test_numpy_arrays_keep_every_value(array):
    decoded = decode_image(npy(array), "x.npy")
    assert decoded.dtype == array.dtype
    np.testing.assert_array_equal(decoded.reshape(array.shape), array)


def test_channels_last_becomes_channels_first():
    image = np.arange(6 * 5 * 3.0).reshape(6, 5, 3)
    np.testing.assert_array_equal(decode_image(npy(image), "x.npy"), image.transpose(2, 0, 1))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_integers_of_pictures_span_zero_to_one(dtype):
    top = np.iinfo(dtype).max
    values = as_float32(np.array([0, 1, top], dtype=dtype))
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, [0, 1 / top, 1], rtol=1e-7)


def test_floats_are_rounded_to_float32_and_nothing_else():
    image = np.random.default_rng(0).random((1, 4, 4))
    np.testing.assert_array_equal(as_float32(image), image.astype(np.float32))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_pictures_keep_their_values(mode):
    shape = (6, 5) if mode == "L" else (6, 5, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    decoded = decode_image(file.getvalue(), "x.PNG")
    np.testing.assert_array_equal(
        decoded.squeeze(), np.moveaxis(pixels, -1, 0) if mode == "RGB" else pixels
    )


@pytest.mark.parametrize(
    ("content", "name", "code"),
    [
        (npy(np.array([{"mass": 1}], dtype=object)), "x.npy", "object-array"),
        (npy(np.ones((4, 4)))[:-9], "x.npy", "unreadable"),
        (b"", "x.npy", "unreadable"),
        (b"no picture", "x.jpg", "unreadable"),
        (npy(np.ones((4, 4), dtype=complex)), "x.npy", "wrong-dtype"),
        (npy(np.ones(4)), "x.npy", "wrong-shape"),
        (npy(np.ones((9, 9, 9))), "x.npy", "wrong-shape"),
    ],
)
def test_what_cannot_be_used_is_named(content, name, code):
    with pytest.raises(ImageFault) as caught:
        decode_image(content, name)
    assert caught.value.code == code
