"""Copies of an exposure are found; other exposures, of the same lens or another, are not."""

import io
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

import lensbench.data.near_duplicates as module
from lensbench.data.exposure import _incoherence, is_copy, unexplained
from lensbench.data.near_duplicates import near_duplicates
from lensbench.data.signature import SIGNATURE_SIZE, signature

SIDE = 96


def exposure(scene: int, noise: int = 0, side: int = SIDE) -> np.ndarray:
    """A lopsided ring on a faint sky, in counts stretched to [0, 1]: (1, side, side) float32."""
    rng = np.random.default_rng([1, scene])
    radius, width = rng.uniform(0.3, 0.6), rng.uniform(0.06, 0.12)
    ellipticity, lopsided, direction = rng.uniform(0, 0.2), rng.uniform(0.3, 0.9), rng.uniform(0, 6)
    at = np.linspace(-1, 1, side)
    y, x = np.meshgrid(at, at, indexing="ij")
    ring = np.exp(-0.5 * ((np.hypot(x, y * (1 + ellipticity)) - radius) / width) ** 2)
    light = 400 * ring * (1 + lopsided * np.cos(np.arctan2(y, x) - direction))
    counts = np.random.default_rng([2, scene, noise]).poisson(light + 10)
    image = (counts - counts.min()) / (counts.max() - counts.min())
    return image[None].astype(np.float32)


def in_8_bits(image: np.ndarray) -> np.ndarray:
    return np.round(255 * image[0]).astype(np.uint8)


def as_jpeg(image: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(in_8_bits(image)).save(file, "JPEG", quality=90)
    return np.asarray(Image.open(file))[None] / 255


def resized(image: np.ndarray, *sides: int) -> np.ndarray:
    picture = Image.fromarray(image[0])
    for side in sides:
        picture = picture.resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(picture)[None]


def turned(image: np.ndarray, degrees: float) -> np.ndarray:
    return ndimage.rotate(image, degrees, (1, 2), reshape=False, order=1, mode="nearest")


COPIES = {
    "quarter turn": lambda image: np.rot90(image, 1, (1, 2)),
    "half turn": lambda image: np.rot90(image, 2, (1, 2)),
    "flip": lambda image: image[:, :, ::-1],
    "transposition": lambda image: image.transpose(0, 2, 1),
    "any angle": lambda image: turned(image, 37.3),
    "any angle, flipped": lambda image: turned(image[:, ::-1], 201.9),
    "brightness": lambda image: 3 * image - 0.7,
    "8 bits": lambda image: in_8_bits(image)[None] / 255,
    "JPEG": as_jpeg,
    "down and up": lambda image: resized(image, SIDE // 2, SIDE),
    "smaller": lambda image: resized(image, 60),
    "larger": lambda image: resized(image, 150),
    "shift": lambda image: np.roll(image, (1, -1), (1, 2)),
    "colour": lambda image: np.repeat(image, 3, axis=0),
    "wider frame": lambda image: np.pad(image, ((0, 0), (0, 0), (10, 10)), mode="edge"),
}


@pytest.fixture(scope="module")
def exposures() -> list[np.ndarray]:
    return [exposure(scene) for scene in range(12)]


def search(images: list[np.ndarray], **limits: int):
    return near_duplicates(
        np.stack([signature(image) for image in images]), images.__getitem__, **limits
    )


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_found_among_others(exposures, kind):
    copies = [COPIES[kind](image).astype(np.float32) for image in exposures[:2]]
    assert search([*exposures, *copies]).pairs == [(0, 12), (1, 13)]


def test_other_lenses_are_no_copies(exposures):
    assert search(exposures).pairs == []
    assert min(unexplained(a, b) for a, b in combinations(exposures[:5], 2)) > 0.9


def test_a_second_exposure_differs_by_what_noise_makes_differ():
    values = [unexplained(exposure(scene), exposure(scene, noise=1)) for scene in range(12)]
    assert np.mean(values) == pytest.approx(1, abs=0.05)
    assert min(values) > 0.8


def test_a_second_exposure_is_no_copy_after_turning_and_compressing():
    other = as_jpeg(turned(exposure(0, noise=1), 37.3)).astype(np.float32)
    assert not is_copy(exposure(0), other)


def test_an_image_explains_itself(exposures):
    assert unexplained(exposures[0], exposures[0]) == pytest.approx(0, abs=1e-6)


def test_a_negative_is_no_copy(exposures):
    assert not is_copy(exposures[0], 1 - exposures[0])
    assert _incoherence(exposures[0][0], -exposures[0][0].astype(float)) > 0.9


def test_two_noiseless_lenses_are_no_copies():
    at = np.linspace(-1, 1, SIDE)
    radius = np.hypot(*np.meshgrid(at, at))
    first, second = (
        np.exp(-0.5 * ((radius - place) / 0.1) ** 2)[None].astype(np.float32)
        for place in (0.5, 0.502)
    )
    assert len(list(module._candidates(np.stack([signature(first), signature(second)])))) == 1
    assert not is_copy(first, second)
    assert is_copy(first, first[:, ::-1])


def test_images_of_too_different_sizes_are_not_compared(exposures):
    assert unexplained(exposures[0], exposure(0, side=2 * SIDE + 1)) == np.inf


@settings(max_examples=30, deadline=None)
@given(
    scene=st.integers(0, 50),
    side=st.integers(48, 150),
    n_quarters=st.integers(0, 3),
    flips=st.booleans(),
    gain=st.floats(0.01, 100),
    offset=st.floats(-10, 10),
)
def test_a_signature_ignores_symmetries_and_brightness(
    scene, side, n_quarters, flips, gain, offset
):
    image = exposure(scene, side=side)
    copy = np.rot90(image, n_quarters, (1, 2)) * np.float32(gain) + np.float32(offset * gain)
    copy = copy[:, ::-1] if flips else copy
    found = signature(copy)
    assert found.shape == (SIGNATURE_SIZE,)
    assert found.dtype == np.float32
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-5)
    assert np.linalg.norm(found - signature(image)) < 2e-3


@settings(max_examples=30, deadline=None)
@given(scene=st.integers(0, 50), degrees=st.floats(0, 360), dy=st.integers(-2, 2))
def test_a_signature_hardly_changes_with_angle_and_shift(scene, degrees, dy):
    image = exposure(scene)
    copy = np.roll(turned(image, degrees), dy, axis=1)
    assert np.linalg.norm(signature(copy) - signature(image)) < module._RADIUS


@pytest.mark.parametrize("pixels", [np.zeros((1, 64, 64)), np.full((3, 70, 50), 0.1)])
def test_constant_images_match_nothing(pixels):
    images = [pixels.astype(np.float32)] * 3
    assert not signature(images[0]).any()
    assert search(images).pairs == []
    assert not is_copy(images[0], images[0])


def test_small_images_match_nothing():
    image = exposure(0, side=47)
    assert not signature(image).any()
    assert not is_copy(image, image)


def random_signatures(n: int, spread: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    made = 1 + spread * rng.normal(size=(n, 6)) @ rng.normal(size=(6, SIGNATURE_SIZE))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("block_elements", [1, 1000, 4_000_000])
def test_candidates_are_those_of_all_pairs(monkeypatch, block_elements):
    monkeypatch.setattr(module, "_BLOCK_ELEMENTS", block_elements)
    signatures = random_signatures(120, 0.02)
    signatures[[7, 50]] = 0
    exact = signatures.astype(np.float64)
    distance = {
        (i, j): np.linalg.norm(exact[i] - exact[j])
        for i, j in combinations(range(120), 2)
        if not {i, j} & {7, 50}
    }
    close = {pair: value for pair, value in distance.items() if value < module._RADIUS}
    assert len(close) > 50
    found = list(module._candidates(signatures))
    assert set(found) == set(close)
    assert np.diff([close[pair] for pair in found]).min() > -1e-4


def test_a_crowded_image_keeps_its_closest_partners():
    signatures = random_signatures(100, 0.003)
    found = list(module._candidates(signatures))
    partners = [j for i, j in found if i == 0]
    distance = np.linalg.norm(signatures.astype(float) - signatures[0], axis=1)
    assert len(partners) == module._MAX_PARTNERS
    farthest = np.sort(distance)[module._MAX_PARTNERS]
    assert distance[partners].max() == pytest.approx(farthest, rel=0.02)
    assert len(found) <= 100 * module._MAX_PARTNERS


@pytest.mark.parametrize("spread", [0, 1e-5, 1e-3])
def test_a_thousand_copies_cost_a_thousand_comparisons(monkeypatch, spread):
    n_calls = 0

    def always(*_: object) -> bool:
        nonlocal n_calls
        n_calls += 1
        return True

    monkeypatch.setattr(module, "is_copy", always)
    found = near_duplicates(random_signatures(1000, spread), lambda row: np.empty(0, np.float32))
    groups = [{row} for row in range(1000)]
    for i, j in found.pairs:
        assert i < j
        first, second = (next(group for group in groups if row in group) for row in (i, j))
        groups.remove(second)
        first |= second
    assert len(groups) == 1
    assert n_calls == 999


def test_a_copy_in_a_crowd_of_look_alikes_is_found(monkeypatch):
    """It is none of the 16 closest, which are compared first and differ."""
    signatures = random_signatures(60, 0.0005)
    distance = np.linalg.norm(signatures.astype(float) - signatures[0], axis=1)
    farthest = int(distance.argmax())
    assert distance[farthest] < module._RADIUS
    compared = []

    def only_these(first, second):
        compared.append((int(first[0]), int(second[0])))
        return {int(first[0]), int(second[0])} == {0, farthest}

    def read(row):
        return np.array([row], np.float32)

    monkeypatch.setattr(module, "is_copy", only_these)
    assert near_duplicates(signatures, read) == ([(0, farthest)], 0)
    assert len(compared) == len(set(compared)) > 60 * 16 / 2
    n_pairs = 60 * 59 // 2
    found = near_duplicates(signatures, read, max_checks=100)
    assert found.n_unchecked == n_pairs - 100


@pytest.mark.parametrize("unit", [1e-30, 1e30])
def test_the_unit_of_brightness_does_not_matter(unit):
    image = exposure(0, 0)
    turned = np.rot90(image, 1, (1, 2)) * np.float32(unit)
    assert search([image, turned.astype(np.float32)]).pairs == [(0, 1)]


def test_what_lies_beyond_the_limit_is_counted():
    images = [exposure(0, noise) for noise in range(6)]
    assert search(images) == ([], 0)
    assert search(images, max_checks=4) == ([], 11)


def test_no_images_have_no_copies():
    assert near_duplicates(np.empty((0, SIGNATURE_SIZE), np.float32), lambda row: 1 / 0) == ([], 0)


def test_real_lenses_are_no_copies_of_each_other_but_of_their_8_bits(shared):
    files = sorted((shared / "data/common_test_1/exact").glob("*/*.npy"))
    images = [np.load(file).astype(np.float32) for file in files]
    copies = [np.rot90(in_8_bits(image)[None] / np.float32(255), 1, (1, 2)) for image in images]
    expected = [(i, i + len(images)) for i in range(len(images))]
    assert search([*images, *copies]).pairs == expected
