"""One pass over all files of a data set -> findings, each with a code and the files."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from tqdm.auto import tqdm

from lensbench.data.catalogue import Catalogue
from lensbench.data.images import ImageFault, as_float32, decode_image
from lensbench.errors import DatasetError

Severity = Literal["error", "warning"]

_N_SHOWN = 3
_IMBALANCE = 1.5


class Finding(BaseModel):
    """Something that is wrong, or may be wrong, with a data set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    severity: Severity
    message: str
    ids: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the finding in one line, with its first files."""
        shown = ", ".join(self.ids[:_N_SHOWN])
        more = f" and {len(self.ids) - _N_SHOWN} more" if len(self.ids) > _N_SHOWN else ""
        return f"{self.severity} {self.code}: {self.message}{f' ({shown}{more})' if shown else ''}"


@dataclass(frozen=True)
class ImageFacts:
    """What one pass learns of one file; `fault` is why it cannot be used."""

    digest: str
    shape: tuple[int, ...] | None = None
    dtype: str | None = None
    low: float = np.nan
    high: float = np.nan
    fault: ImageFault | None = None


ImageSink = Callable[[int, NDArray[np.float32]], None]
"""Takes the row and the (C, H, W) float32 pixels of each usable image as it is read."""


def survey(catalogue: Catalogue, sink: ImageSink | None = None) -> list[ImageFacts]:
    """Read every file once, in catalogue order, and hand the usable images to `sink`."""
    facts = []
    members = tqdm(catalogue.members, desc="reading images", unit="image", leave=False)
    for row, member in enumerate(members):
        fact, pixels = _examine(catalogue, member)
        facts.append(fact)
        if pixels is not None and sink is not None:
            sink(row, pixels)
    return facts


def verify(catalogue: Catalogue) -> tuple[Finding, ...]:
    """Audit a data set: read every file once and return all findings, errors first."""
    return find(catalogue, survey(catalogue))


def find(catalogue: Catalogue, facts: Sequence[ImageFacts]) -> tuple[Finding, ...]:
    """Turn the facts of a survey into findings, errors first."""
    findings = [
        *_faults(catalogue, facts),
        *_odd_shapes(catalogue, facts),
        *_suspicious_values(catalogue, facts),
        *_duplicates(catalogue, facts),
        *_imbalance(catalogue),
        *_ignored(catalogue),
    ]
    return tuple(sorted(findings, key=lambda finding: (finding.severity, finding.code)))


def require_sound(catalogue: Catalogue, findings: Iterable[Finding]) -> None:
    """Let training go on, unless there is an error among the findings.

    Raises:
        DatasetError: Names every finding that is an error.
    """
    errors = [str(finding) for finding in findings if finding.severity == "error"]
    if errors:
        raise DatasetError(
            f"{catalogue.source.path}: the data set is not fit for training:\n  "
            + "\n  ".join(errors)
            + f"\nMend or remove these files; `lensbench verify {catalogue.source.path}` "
            "lists all findings."
        )


def _examine(catalogue: Catalogue, member: str) -> tuple[ImageFacts, NDArray[np.float32] | None]:
    try:
        content = catalogue.source.read(member)
    except (OSError, DatasetError) as error:
        return ImageFacts(digest="", fault=ImageFault("unreadable", str(error))), None
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    try:
        image = decode_image(content, member)
    except ImageFault as fault:
        return ImageFacts(digest=digest, fault=fault), None
    pixels = as_float32(image)
    low, high = float(pixels.min()), float(pixels.max())
    if not np.isfinite([low, high]).all():
        n_bad = int((~np.isfinite(pixels)).sum())
        not_finite = ImageFault("not-finite", f"{n_bad} pixels are NaN or infinite as float32")
        return ImageFacts(digest, image.shape, str(image.dtype), low, high, not_finite), None
    return ImageFacts(digest, image.shape, str(image.dtype), low, high), pixels


def _faults(catalogue: Catalogue, facts: Sequence[ImageFacts]) -> Iterable[Finding]:
    by_code: dict[str, list[int]] = defaultdict(list)
    for row, fact in enumerate(facts):
        if fact.fault is not None:
            by_code[fact.fault.code].append(row)
    for code, rows in by_code.items():
        yield Finding(
            code=code,
            severity="error",
            message=f"{len(rows)} of {len(facts)} files, the first: {facts[rows[0]].fault}",
            ids=tuple(catalogue.ids[row] for row in rows),
        )


def _odd_shapes(catalogue: Catalogue, facts: Sequence[ImageFacts]) -> Iterable[Finding]:
    shapes = Counter(fact.shape for fact in facts if fact.fault is None)
    if len(shapes) > 1:
        (usual, _), *odd = shapes.most_common()
        yield Finding(
            code="shapes-differ",
            severity="error",
            message=f"most images are {usual}, others {', '.join(str(shape) for shape, _ in odd)}",
            ids=tuple(
                name
                for name, fact in zip(catalogue.ids, facts, strict=True)
                if fact.fault is None and fact.shape != usual
            ),
        )


def _suspicious_values(catalogue: Catalogue, facts: Sequence[ImageFacts]) -> Iterable[Finding]:
    sound = [
        (name, fact) for name, fact in zip(catalogue.ids, facts, strict=True) if fact.fault is None
    ]
    constant = tuple(name for name, fact in sound if fact.low == fact.high)
    if constant:
        yield Finding(
            code="constant",
            severity="warning",
            message=f"{len(constant)} images have one value everywhere",
            ids=constant,
        )
    outside = tuple(name for name, fact in sound if fact.low < 0 or fact.high > 1)
    if outside:
        yield Finding(
            code="out-of-range",
            severity="warning",
            message=f"{len(outside)} images have values outside [0, 1]; they are used as they are",
            ids=outside,
        )
    dtypes = Counter(fact.dtype for _, fact in sound)
    if len(dtypes) > 1:
        yield Finding(
            code="dtypes-differ",
            severity="warning",
            message=", ".join(f"{n} images are {dtype}" for dtype, n in dtypes.most_common()),
        )


def _duplicates(catalogue: Catalogue, facts: Sequence[ImageFacts]) -> Iterable[Finding]:
    rows_by_digest: dict[str, list[int]] = defaultdict(list)
    for row, fact in enumerate(facts):
        if fact.fault is None:
            rows_by_digest[fact.digest].append(row)
    kinds: dict[str, list[int]] = {"contradiction": [], "leak": [], "duplicate": []}
    for rows in rows_by_digest.values():
        if len(rows) == 1:
            continue
        if len({int(catalogue.labels[row]) for row in rows}) > 1:
            kinds["contradiction"] += rows
        elif catalogue.partitions and len({catalogue.partitions[row] for row in rows}) > 1:
            kinds["leak"] += rows
        else:
            kinds["duplicate"] += rows
    messages: dict[str, tuple[Severity, str]] = {
        "contradiction": ("error", "files with equal content in different classes"),
        "leak": ("error", "files with equal content in different partitions"),
        "duplicate": ("warning", "files with equal content in the same class"),
    }
    for code, rows in kinds.items():
        severity, message = messages[code]
        if rows:
            yield Finding(
                code=code,
                severity=severity,
                message=f"{len(rows)} {message}",
                ids=tuple(catalogue.ids[row] for row in rows),
            )


def _imbalance(catalogue: Catalogue) -> Iterable[Finding]:
    counts = np.bincount(catalogue.labels, minlength=len(catalogue.classes))
    if counts.max() > _IMBALANCE * counts.min():
        listed = ", ".join(f"{n} {name}" for name, n in zip(catalogue.classes, counts, strict=True))
        yield Finding(
            code="imbalance",
            severity="warning",
            message=f"the classes differ in size ({listed}); accuracy will favour the larger ones",
        )


def _ignored(catalogue: Catalogue) -> Iterable[Finding]:
    if catalogue.ignored:
        yield Finding(
            code="ignored-files",
            severity="warning",
            message=f"{len(catalogue.ignored)} files are no images",
            ids=catalogue.ignored,
        )
