"""The stored form of an image gives every value back, and is as small as it can be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lensbench.data.encoding import Encoded, common_kind, decode, encode, widen

KINDS = ("uint8", "uint16", "float16", "float32")


def decoded(image: Encoded) -> np.ndarray:
    return decode(image.values[np.newaxis], np.array([image.divisor], dtype=np.float32))[0]


@given(
    arrays.arrays(
        np.float32,
        arrays.array_shapes(min_dims=3, max_dims=3, max_side=6),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    )
)
def test_any_finite_image_comes_back_exactly(pixels):
    image = encode(pixels)
    assert image.kind in KINDS
    np.testing.assert_array_equal(decoded(image), pixels)


@given(
    st.integers(2, 2**12).flatmap(
        lambda divisor: st.tuples(
            st.just(divisor),
            arrays.arrays(np.int64, (1, 7, 9), elements=st.integers(0, divisor)),
            st.integers(0, divisor - 1),
        )
    ),
    st.sampled_from([np.float32, np.float64]),
)
def test_counts_over_a_whole_number_are_stored_as_integers(case, dtype):
    """Whether they were divided in float32 or in float64, if two values are one count apart."""
    divisor, counts, one = case
    counts[0, 3, 4:6] = one, one + 1
    pixels = (counts.astype(dtype) / dtype(divisor)).astype(np.float32)
    image = encode(pixels)
    assert image.kind in ("uint8", "uint16")
    np.testing.assert_array_equal(decoded(image), pixels)


@pytest.mark.parametrize("top", [255, 65535])
def test_pictures_are_integers_whatever_levels_they_use(top):
    image = encode((np.full((1, 9, 9), top - 1) / top).astype(np.float32))
    assert image.kind == f"uint{8 if top == 255 else 16}"


def test_every_quotient_of_the_originals_is_the_same_in_float32_and_through_float64():
    """All of them: peaks of originals lie between 669 and 921 counts above the lowest pixel."""
    for divisor in range(600, 1000):
        counts = np.arange(divisor + 1)
        through_float64 = (counts / divisor).astype(np.float32)
        np.testing.assert_array_equal(
            decode(
                counts.astype(np.uint16)[np.newaxis, np.newaxis, np.newaxis],
                np.array([divisor], dtype=np.float32),
            ).ravel(),
            through_float64,
        )


RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("pixels", "kind", "divisor"),
    [
        (RNG.integers(40, 256, (1, 150, 150)) / 255, "uint8", 255),
        (RNG.integers(0, 65536, (1, 150, 150)) / 65535, "uint16", 65535),
        (RNG.poisson(10_000, (1, 150, 150)), "uint16", 1),
        (RNG.integers(0, 2, (1, 9, 9)) * 2, "uint8", 1),
        (RNG.random((1, 9, 9)).astype(np.float16), "float16", 1),
        (-RNG.random((1, 9, 9)).astype(np.float16), "float16", 1),
        (RNG.random((1, 150, 150)), "float32", 1),
        (RNG.integers(0, 10**6, (1, 9, 9)), "float32", 1),
        (np.zeros((1, 9, 9)), "uint8", 1),
        (RNG.random((1, 9, 9)) * 1e30, "float32", 1),
    ],
)
def test_the_smallest_dtype_is_taken(pixels, kind, divisor):
    image = encode(pixels.astype(np.float32))
    assert (image.kind, image.divisor) == (kind, divisor)


def test_a_step_that_a_sample_of_the_pixels_does_not_show_is_found():
    """All pixels are even counts but one, which the sample misses."""
    counts = 2 * RNG.integers(0, 400, (1, 150, 150))
    counts[0, 0, 1] = 799
    counts[0, 0, 0] = 801
    image = encode((counts / 801).astype(np.float32))
    assert (image.kind, image.divisor) == ("uint16", 801)


@pytest.mark.parametrize("place", [1, 77, 149])
def test_a_pixel_that_is_no_count_is_kept_though_a_sample_does_not_show_it(place):
    pixels = (RNG.integers(0, 801, (1, 150, 150)) / 800).astype(np.float32)
    pixels[0, 3, place] = np.float32(1 / np.pi)
    image = encode(pixels)
    assert image.kind == "float32"
    np.testing.assert_array_equal(decoded(image), pixels)


def test_the_originals_are_counts(shared):
    files = sorted((shared / "data/common_test_1").glob("exact*/**/*.npy"))
    assert len(files) == 315
    divisors = []
    for file in files:
        pixels = np.load(file).astype(np.float32)
        image = encode(pixels)
        np.testing.assert_array_equal(decoded(image), pixels)
        assert image.kind == "uint16"
        assert image.values.max() == image.divisor
        divisors.append(image.divisor)
    assert 600 < min(divisors) < max(divisors) < 1000


@pytest.mark.parametrize("one", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_the_common_kind_holds_both(one, other):
    kind = common_kind(one, other)
    assert kind == common_kind(other, one)
    for narrow in (one, other):
        values = np.array([[[0, 1, 3]]]).astype(narrow)
        divisor = 3.0 if narrow.startswith("uint") else 1.0
        wide = widen(Encoded(values, divisor), kind)
        assert wide.kind == kind
        np.testing.assert_array_equal(decoded(wide), decoded(Encoded(values, divisor)))


def test_the_common_kind_is_no_larger_than_needed():
    assert common_kind("uint8", "uint16") == "uint16"
    assert common_kind("float16", "float16") == "float16"
    assert common_kind("uint8", "float16") == "float32"  # 255/255 fits, 254/255 does not
