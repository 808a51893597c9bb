"""What a parameter may be: a number, a range, or a distribution with bounds."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    model_serializer,
    model_validator,
)

from lensbench.config import Spec

_Array = NDArray[np.float64]

_MOST_DECADES = 300
"""Between the least and the largest number that is computed with; float64 has 308 above 1."""


class _Bounded(Spec):
    """A distribution between two bounds, both of them included."""

    _dimensional: ClassVar[tuple[str, ...]] = ("low", "high")
    """The parameters that have the unit of the quantity."""

    low: float
    """No value lies below."""

    high: float
    """No value lies above."""

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if not self.low <= self.high:
            raise ValueError(f"a range runs from low to high, not from {self.low} to {self.high}")
        return self

    def draw(self, rng: Generator, size: int) -> _Array:
        """Draw values between the bounds, (size,) float64."""
        return self._draw(rng, size)

    def scaled(self, factor: float) -> Self:
        """Return the distribution of the quantity times a positive factor."""
        scaled = {name: getattr(self, name) * factor for name in self._dimensional}
        return type(self)(**vars(self) | scaled)

    @abstractmethod
    def _draw(self, rng: Generator, size: int) -> _Array: ...


class Uniform(_Bounded):
    """Every value between the bounds is as likely as another."""

    kind: Literal["uniform"] = "uniform"

    @model_serializer
    def _spelled_short(self) -> float | tuple[float, float]:
        return self.low if self.low == self.high else (self.low, self.high)

    def _draw(self, rng: Generator, size: int) -> _Array:
        return rng.uniform(self.low, self.high, size)


class _Tailed(_Bounded):
    """A distribution that is cut at its bounds."""

    def draw(self, rng: Generator, size: int) -> _Array:
        """Draw values, (size,) float64; whatever falls outside the bounds is drawn again."""
        values = self._draw(rng, size)
        while (outside := (values < self.low) | (values > self.high)).any():
            values[outside] = self._draw(rng, int(outside.sum()))
        return values

    @model_validator(mode="after")
    def _is_drawn_in_reasonable_time(self) -> Self:
        if (kept := self._share_below(self.high) - self._share_below(self.low)) < 0.01:
            raise ValueError(f"only {kept:.1%} of the distribution lie within its bounds")
        return self

    @abstractmethod
    def _share_below(self, value: float) -> float: ...


class Normal(_Tailed):
    """The normal distribution, cut at its bounds."""

    _dimensional: ClassVar[tuple[str, ...]] = ("low", "high", "mean", "sigma")

    kind: Literal["normal"] = "normal"
    mean: float
    sigma: float = Field(gt=0)

    def _draw(self, rng: Generator, size: int) -> _Array:
        return rng.normal(self.mean, self.sigma, size)

    def _share_below(self, value: float) -> float:
        return _normal_share((value - self.mean) / self.sigma)


class LogNormal(_Tailed):
    """The logarithm is normal; cut at the bounds."""

    _dimensional: ClassVar[tuple[str, ...]] = ("low", "high", "median")

    kind: Literal["log-normal"] = "log-normal"
    median: float = Field(gt=0)
    dex: float = Field(gt=0)
    """Standard deviation of the decadic logarithm."""

    def _draw(self, rng: Generator, size: int) -> _Array:
        return np.asarray(self.median * 10 ** rng.normal(0, self.dex, size))

    def _share_below(self, value: float) -> float:
        return _normal_share(math.log10(value / self.median) / self.dex) if value > 0 else 0.0


class Rayleigh(_Tailed):
    """The length of a vector whose two components are normal; cut at the bounds."""

    _dimensional: ClassVar[tuple[str, ...]] = ("low", "high", "sigma")

    kind: Literal["rayleigh"] = "rayleigh"
    sigma: float = Field(gt=0)
    """Standard deviation of each component."""

    def _draw(self, rng: Generator, size: int) -> _Array:
        return rng.rayleigh(self.sigma, size)

    def _share_below(self, value: float) -> float:
        return 1 - math.exp(-0.5 * (max(value, 0) / self.sigma) ** 2)


class PowerLaw(_Bounded):
    """A density that goes as the value to the power of `slope`; with -1, uniform in logarithm."""

    kind: Literal["power-law"] = "power-law"
    slope: float

    @model_validator(mode="after")
    def _is_positive(self) -> Self:
        if self.low <= 0:
            raise ValueError("the lowest value of a power law must be above 0")
        if (self.slope + 2) * math.log10(self.high / self.low) > _MOST_DECADES:
            raise ValueError(
                f"a slope of {self.slope:g} over this range exceeds all numbers: lower it, or "
                "narrow the range"
            )
        return self

    def _draw(self, rng: Generator, size: int) -> _Array:
        u, n = rng.random(size), self.slope + 1
        ratio = self.high / self.low
        if n == 0:
            values = self.low * ratio**u
        else:
            values = self.low * (1 + u * (ratio**n - 1)) ** (1 / n)
        return np.asarray(np.clip(values, self.low, self.high))  # rounding

    @property
    def mean(self) -> float:
        """The mean of the distribution."""
        if self.low == self.high:
            return self.low
        return self.low * self._moment(1) / self._moment(0)

    def _moment(self, order: int) -> float:
        """Return the integral of t ** (slope + order) from 1 to high / low."""
        n = self.slope + order + 1
        ratio = self.high / self.low
        return math.log(ratio) if n == 0 else (ratio**n - 1) / n


def _normal_share(deviation: float) -> float:
    return 0.5 * math.erfc(-deviation / math.sqrt(2))


def _spelled_out(value: Any) -> Any:
    """Read a number as a constant and a pair as the range of a uniform distribution."""
    if isinstance(value, bool | str) or (isinstance(value, tuple | list) and len(value) != 2):
        raise ValueError(
            "expected a number, a pair [low, high], or an object that says its kind, such as "
            '{"kind": "normal", ...}'
        )
    if isinstance(value, int | float):
        value = (value, value)
    if isinstance(value, tuple | list) and len(value) == 2:
        return Uniform(low=value[0], high=value[1])
    return value


_Any = Annotated[
    Uniform | Normal | LogNormal | Rayleigh | PowerLaw,
    Field(discriminator="kind"),
]

Distribution = Annotated[_Any, BeforeValidator(_spelled_out)]
"""One of the classes above; a number is a constant, a pair of numbers a uniform distribution."""


def within(
    low: float = -math.inf, high: float = math.inf, *, exclusive: bool = False
) -> AfterValidator:
    """Annotate a `Distribution` with the values that make sense.

    Args:
        low: Lowest one.
        high: Highest one.
        exclusive: Whether `low` itself makes none.
    """

    def check(distribution: _Any) -> _Any:
        if distribution.low < low or distribution.high > high:
            raise ValueError(f"values must lie between {low:g} and {high:g}")
        if exclusive and distribution.low <= low:
            raise ValueError(f"values must lie above {low:g}")
        return distribution

    checked: Callable[[Any], Any] = check
    return AfterValidator(checked)
