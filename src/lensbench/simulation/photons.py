"""The noise of a camera: photons are counted, and counts are read out.

Every pixel's number of photons is the quantile of its Poisson distribution at the probability of
one standard normal number. So the noise of an image is a field of normal numbers, which is the
same whatever the expected counts are: the shifted versions of a population differ by what was
shifted, not by luck.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.polynomial import Chebyshev, Polynomial
from numpy.typing import NDArray
from scipy.special import lambertw
from torch import Tensor

# Where the expansion is used; beyond, and below an expectation of 1, the quantile is searched.
_DOMAIN = (-0.9, 1.2)
_LEAST = 1.0

# Stands for a sky of 0 counts, which no Poisson distribution has as its mean.
_DARK = 1e-12


def _ratio(s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return r with sign(r - 1) sqrt(2 (1 - r + r ln r)) = s (Giles 2016, sect. 2)."""
    level = (s**2 / 2 - 1) / np.e
    return np.asarray(np.exp(1 + lambertw(level, np.where(s < 0, -1, 0)).real))


def _shift(s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the next term, ln(s sqrt(r) / (r - 1)) / ln(r)."""
    r = _ratio(s)
    return np.asarray(np.log(s * np.sqrt(r) / (r - 1)) / np.log(r))


def _polynomial(
    function: Callable[[NDArray[np.float64]], NDArray[np.float64]], degree: int
) -> tuple[float, ...]:
    """Return the coefficients of a polynomial through the function's Chebyshev points."""
    fit = Chebyshev.interpolate(function, degree, domain=_DOMAIN)
    return tuple(fit.convert(kind=Polynomial).coef)


_RATIO, _RATIO_ERROR = _polynomial(_ratio, 8), 1e-6
_SHIFT, _SHIFT_ERROR = _polynomial(_shift, 4), 2e-4
_EXPANSION_ERROR = 0.08


def poisson_quantile(normal: Tensor, mean: Tensor) -> Tensor:
    """Return the least count k with P(X <= k) >= Phi(normal), X being Poisson.

    Of standard normal numbers, these are exact Poisson deviates. The uniform expansion of Giles
    2016 (ACM Trans. Math. Softw. 42, 7, sect. 2; algorithm 955) gives a real number whose floor is
    the count, but for an error of -0.08 / mean to 0; where that could matter, for one pixel in
    a hundred, the incomplete gamma function decides.

    Args:
        normal: Standard normal numbers, float64, of any shape.
        mean: Expected counts above 0, float64, of the same shape.

    Returns:
        Whole numbers, float64, of the same shape. A CPU and a GPU disagree where the cumulative
        distribution is closer to Phi(normal) than rounding, which is about once in 10^12 pixels.
    """
    shape, normal, mean = mean.shape, normal.flatten(), mean.flatten()
    s = normal / mean.sqrt()
    inside = s.clamp(*_DOMAIN)
    half_error = _EXPANSION_ERROR / 2 / mean
    x = _horner(_RATIO, inside).mul_(mean).add_(_horner(_SHIFT, inside)).sub_(half_error)
    count = x.floor()
    # How near the next whole number is; what the expansion does not hold for is always near.
    doubt = x.sub_(count).sub_(0.5).abs_().add_(half_error)
    doubt.add_(mean, alpha=_RATIO_ERROR).add_((s - inside).abs_(), alpha=1e9)
    if float(mean.min()) < _LEAST:
        doubt.masked_fill_(mean < _LEAST, 1.0)
    near = torch.nonzero(doubt > 0.5 - _SHIFT_ERROR)[:, 0]
    count[near] = _searched(count[near].clamp_(min=0), normal[near], mean[near])
    return count.view(shape)


def expose(
    expected: Tensor, normal: Tensor, read: Tensor | None, sky_counts: float, read_noise: float
) -> Tensor:
    """Count the photons of images and of the sky, and read them out.

    Args:
        expected: Expected counts per pixel without sky, (B, H, W) float64.
        normal: Standard normal numbers for the photons, (B, H, W) float64.
        read: The same for reading out; None if that adds no noise.
        sky_counts: Expected counts per pixel of the sky.
        read_noise: Standard deviation of what reading adds, in counts, rounded to whole ones.

    Returns:
        Counts less the lowest of each image, (B, H, W) int64.
    """
    counts = poisson_quantile(normal, expected.clamp(min=0) + max(sky_counts, _DARK))
    if read is not None:
        counts += (read * read_noise).round_()
    counts -= counts.amin((1, 2), keepdim=True)
    return counts.long()


def _searched(count: Tensor, normal: Tensor, mean: Tensor) -> Tensor:
    """Walk from guesses to the quantiles, by the incomplete gamma function.

    P(X <= k) of a Poisson variable is Q(k + 1, mean) (Abramowitz & Stegun 1964, eq. 26.4.21).
    """
    probability = torch.special.ndtr(normal)
    while (more := torch.special.gammaincc(count + 1, mean) < probability).any():
        count = count + more.to(count)
    while (
        less := (count > 0) & (torch.special.gammaincc(count.clamp(min=1), mean) >= probability)
    ).any():
        count = count - less.to(count)
    return count


def _horner(coefficients: tuple[float, ...], at: Tensor) -> Tensor:
    """Return a polynomial's values; the coefficients rise in order."""
    *lower, second, highest = torch.tensor(coefficients, dtype=at.dtype, device=at.device)
    values = torch.addcmul(second, at, highest)
    for coefficient in reversed(lower):
        torch.addcmul(coefficient, values, at, out=values)
    return values
