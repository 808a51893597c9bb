"""Facts of all images -> findings, each with a code and the files."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from lensbench.config import DataSpec
from lensbench.data.catalogue import Catalogue, read_catalogue
from lensbench.data.copies import Copies, group_copies
from lensbench.data.encoding import Kind
from lensbench.data.finding import Finding, Severity, require_sound
from lensbench.data.formats.decode import SUFFIXES, suffix_of
from lensbench.data.near_duplicates import FALSE_ALARMS
from lensbench.data.signature import MIN_SIDE
from lensbench.data.sources.source import Source
from lensbench.data.split import WITHOUT_CONVENTION, fitting_convention
from lensbench.data.survey import STATISTICS, ImageFacts, survey
from lensbench.data.writer import PackWriter

_IMBALANCE = 1.5
_RARE = 5
_N_ENDINGS = 5
_ABSENT = "(absent)"
_FALSE_ALARM = 1e-3
"""Chance that a sound data set is suspected by a test of significance, all its tests together."""


@dataclass(frozen=True)
class AuditedImages:
    """What one pass over all files leaves, beside the pixels on disk.

    Attributes:
        catalogue: The N images.
        digests: N digests of their pixels.
        groups: (N,) int64; rows that are copies of each other share a number, the smallest.
        findings: What is wrong, errors first.
        dtype: How the pixels were stored.
        shape: (C, H, W) of most images; None if none could be read.
    """

    catalogue: Catalogue
    digests: tuple[str, ...]
    groups: NDArray[np.int64]
    findings: tuple[Finding, ...]
    dtype: Kind
    shape: tuple[int, ...] | None


def read_and_audit(spec: DataSpec, source: Source, folder: Path) -> AuditedImages:
    """Read every file of a data set once, store the pixels in `folder` and find what is wrong.

    Raises:
        DatasetError: There are no images, they are not labelled, or the disk is full.
    """
    catalogue = read_catalogue(source, spec.labels)
    writer = PackWriter(folder, len(catalogue))
    facts = survey(catalogue, source, writer.write)
    if writer.shortage is not None:
        # A first image of another size than the rest may have asked for too much.
        require_sound(spec.path, (*_faults(catalogue, facts), *_odd_shapes(catalogue, facts)))
        raise writer.shortage
    copies = group_copies(facts, writer.read)
    return AuditedImages(
        catalogue=catalogue,
        digests=tuple(fact.digest for fact in facts),
        groups=copies.near,
        findings=find(catalogue, facts, copies, spec.value_range),
        dtype=writer.close(),
        shape=next(iter(_shapes(facts)), None),
    )


def find(
    catalogue: Catalogue,
    facts: Sequence[ImageFacts],
    copies: Copies,
    value_range: tuple[float, float],
) -> tuple[Finding, ...]:
    """Turn the facts of a survey into findings, errors first."""
    findings = [
        *_faults(catalogue, facts),
        *_odd_shapes(catalogue, facts),
        *_suspicious_values(catalogue, facts, value_range),
        *_duplicates(catalogue, facts, copies),
        *_imbalance(catalogue),
        *_telling_headers(catalogue, facts),
        *_shifts(catalogue, facts),
        *_left_out(catalogue),
        *_undivided(catalogue),
    ]
    return tuple(sorted(findings, key=lambda finding: (finding.severity, finding.code)))


def _faults(catalogue: Catalogue, facts: Sequence[ImageFacts]) -> Iterator[Finding]:
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


def _shapes(facts: Sequence[ImageFacts]) -> list[tuple[int, ...]]:
    """Return the shapes of all images, the most frequent first."""
    shapes = Counter(fact.shape for fact in facts if fact.fault is None)
    return [shape for shape, _ in shapes.most_common()]


def _odd_shapes(catalogue: Catalogue, facts: Sequence[ImageFacts]) -> Iterator[Finding]:
    shapes = _shapes(facts)
    if len(shapes) > 1:
        usual, *odd = shapes
        yield Finding(
            code="shapes-differ",
            severity="error",
            message=f"most images are {usual}, others {', '.join(map(str, odd))}",
            ids=tuple(
                name
                for name, fact in zip(catalogue.ids, facts, strict=True)
                if fact.fault is None and fact.shape != usual
            ),
        )


def _suspicious_values(
    catalogue: Catalogue, facts: Sequence[ImageFacts], value_range: tuple[float, float]
) -> Iterator[Finding]:
    low, high = value_range
    extremes = [
        (name, fact.statistics[0], fact.statistics[1])
        for name, fact in zip(catalogue.ids, facts, strict=True)
        if fact.fault is None
    ]
    constant = tuple(name for name, lowest, highest in extremes if lowest == highest)
    if constant:
        yield Finding(
            code="constant",
            severity="warning",
            message=f"{len(constant)} images have one value everywhere",
            ids=constant,
        )
    outside = tuple(name for name, lowest, highest in extremes if lowest < low or highest > high)
    if outside:
        yield Finding(
            code="out-of-range",
            severity="warning",
            message=f"{len(outside)} images have values outside [{low:g}, {high:g}]; all together "
            f"span [{min(e[1] for e in extremes):g}, {max(e[2] for e in extremes):g}]; they are "
            "used as they are (--value-range says what is meant, --per-image rescales)",
            ids=outside,
        )
    dtypes = Counter(fact.header["dtype"] for fact in facts if "dtype" in fact.header)
    if len(dtypes) > 1:
        yield Finding(
            code="dtypes-differ",
            severity="warning",
            message=", ".join(f"{n} images are {dtype}" for dtype, n in dtypes.most_common()),
        )


_TURNED = f"turned, flipped, shifted or rescaled, or share their noise ({FALSE_ALARMS})"
_COPIES: Mapping[str, tuple[Severity, str]] = {
    "contradiction": ("error", "images are equal but labelled with different classes"),
    "leak": ("error", "images are equal but in different partitions"),
    "duplicate": ("warning", "images are equal, within their class; no split parts them"),
    "near-contradiction": ("error", f"images are copies, {_TURNED}, in different classes"),
    "near-leak": ("error", f"images are copies, {_TURNED}, in different partitions"),
    "near-duplicate": (
        "warning",
        f"images are copies, {_TURNED}, within their class; no split parts them",
    ),
}


def _duplicates(
    catalogue: Catalogue, facts: Sequence[ImageFacts], copies: Copies
) -> Iterator[Finding]:
    kinds: dict[str, list[int]] = {code: [] for code in _COPIES}
    for groups, prefix in ((copies.exact, ""), (copies.near, "near-")):
        members: dict[int, list[int]] = defaultdict(list)
        for row, group in enumerate(groups.tolist()):
            if facts[row].fault is None:
                members[group].append(row)
        for rows in members.values():
            if len({int(copies.exact[row]) for row in rows}) == 1 and (prefix or len(rows) == 1):
                continue  # alone, or already named as exact
            if len({int(catalogue.labels[row]) for row in rows}) > 1:
                kinds[f"{prefix}contradiction"] += rows
            elif catalogue.partitions and len({catalogue.partitions[row] for row in rows}) > 1:
                kinds[f"{prefix}leak"] += rows
            else:
                kinds[f"{prefix}duplicate"] += rows
    for code, rows in kinds.items():
        severity, message = _COPIES[code]
        if rows:
            yield Finding(
                code=code,
                severity=severity,
                message=f"{len(rows)} {message}",
                ids=tuple(catalogue.ids[row] for row in rows),
            )
    sides = {min(fact.shape[1:]) for fact in facts if fact.fault is None}
    if sides and min(sides) < MIN_SIDE:
        yield Finding(
            code="near-unchecked",
            severity="warning",
            message=f"images of fewer than {MIN_SIDE} pixels a side hold too little noise to "
            "recognise any copy by; only equal ones were looked for, flipped and in quarter turns",
        )
    if copies.n_unchecked:
        yield Finding(
            code="near-unchecked",
            severity="warning",
            message=f"{copies.n_unchecked:,} pairs of images look alike but were too many to be "
            "compared; there may be near duplicates among them",
        )


def _imbalance(catalogue: Catalogue) -> Iterator[Finding]:
    counts = np.bincount(catalogue.labels, minlength=len(catalogue.classes))
    if counts.max() > _IMBALANCE * counts.min():
        listed = ", ".join(f"{n} {name}" for name, n in zip(catalogue.classes, counts, strict=True))
        yield Finding(
            code="imbalance",
            severity="warning",
            message=f"the classes differ in size ({listed}); accuracy will favour the larger ones",
        )


def _telling_headers(catalogue: Catalogue, facts: Sequence[ImageFacts]) -> Iterator[Finding]:
    """Test each item of the headers, the file type included, for independence of the class."""
    sound = [row for row, fact in enumerate(facts) if fact.fault is None]
    items = [
        {"file type": suffix_of(catalogue.ids[row]) or "", **facts[row].header} for row in sound
    ]
    labels = [catalogue.classes[k] for k in catalogue.labels[sound]]
    keys = sorted({key for item in items for key in item})
    for key in keys:
        values = [item.get(key, _ABSENT) for item in items]
        p, how = min(_dependence(values, labels), _order(values, labels))
        if p * 2 * len(keys) < _FALSE_ALARM:
            yield Finding(
                code="header-tells-class",
                severity="warning",
                message=f"the {key} of a file {how}; see that files of all classes were written "
                "the same way",
            )


def _dependence(values: Sequence[str], labels: Sequence[str]) -> tuple[float, str]:
    """Return the p-value of a chi-square test of values against classes, and what they tell.

    Rare values, such as names and numbers, count as one.
    """
    frequency = Counter(values)
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for value, label in zip(values, labels, strict=True):
        table[value if frequency[value] >= _RARE else "(various)"][label] += 1
    classes = sorted(set(labels))
    # What a guess from this item alone gets right, and what a guess from nothing does.
    n_informed = sum(max(row.values()) for row in table.values())
    n_blind = max(Counter(labels).values())
    if min(len(table), len(classes)) < 2 or n_informed == n_blind:
        return 1.0, ""
    listed = "; ".join(
        f"{value}: {', '.join(f'{n} {name}' for name, n in sorted(row.items()))}"
        for value, row in sorted(table.items())[:4]
    )
    p = stats.chi2_contingency([[row[name] for name in classes] for row in table.values()]).pvalue
    return float(p), f"tells {n_informed / len(labels):.0%} of the classes ({listed})"


def _order(values: Sequence[str], labels: Sequence[str]) -> tuple[float, str]:
    """Return the p-value of a rank test of values that differ from file to file, and the medians.

    They are ordered as numbers if they are numbers, else as texts, as dates are written.
    """
    by_class: dict[str, list[str]] = defaultdict(list)
    for value, label in zip(values, labels, strict=True):
        if value != _ABSENT:
            by_class[label].append(value)
    present = [value for group in by_class.values() for value in group]
    if len(by_class) < 2 or 2 * len(set(present)) < len(present) or len(set(present)) < 2:
        return 1.0, ""
    try:
        place = {value: float(value) for value in present}
    except ValueError:
        place = {value: float(k) for k, value in enumerate(sorted(set(present)))}
    groups = {name: sorted(group, key=place.__getitem__) for name, group in by_class.items()}
    p = stats.kruskal(*([place[value] for value in group] for group in groups.values())).pvalue
    medians = ", ".join(
        f"{name} {group[len(group) // 2]}" for name, group in sorted(groups.items())
    )
    return float(np.nan_to_num(p, nan=1.0)), f"goes with the class (medians: {medians})"


def _shifts(catalogue: Catalogue, facts: Sequence[ImageFacts]) -> Iterator[Finding]:
    """Compare the training images of each class with those of the other partitions."""
    others = sorted(set(catalogue.partitions) - {"train"})
    sound = np.array([fact.fault is None for fact in facts])
    values = np.array([f.statistics or (np.nan,) * len(STATISTICS) for f in facts])
    partitions = np.array(catalogue.partitions)
    n_tests = len(others) * len(catalogue.classes) * len(STATISTICS)
    for other in others:
        for k, name in enumerate(catalogue.classes):
            of_class = sound & (catalogue.labels == k)
            train, test = (values[of_class & (partitions == p)] for p in ("train", other))
            if not (len(train) and len(test)):
                continue
            for statistic, ours, theirs in zip(STATISTICS, train.T, test.T, strict=True):
                result = stats.ks_2samp(ours, theirs)
                if result.pvalue * n_tests < _FALSE_ALARM:
                    yield Finding(
                        code="shift",
                        severity="warning",
                        message=f"the {statistic} of class {name} differs between train (median "
                        f"{np.median(ours):.4g}) and {other} ({np.median(theirs):.4g}): "
                        f"Kolmogorov-Smirnov distance {result.statistic:.3f}, p = "
                        f"{result.pvalue:.1g} before the correction for {n_tests} tests",
                    )


def _undivided(catalogue: Catalogue) -> Iterator[Finding]:
    if fitting_convention(set(catalogue.partitions)) is None:
        found = " and ".join(sorted(set(catalogue.partitions)))
        yield Finding(
            code="no-split",
            severity="warning",
            message=f"no recipe has a split for data that have {found} alone: {WITHOUT_CONVENTION}",
        )


def _ending(name: str) -> str:
    """Return the last two suffixes of a name, such as `.fits.bz2`; all of a name without any."""
    return "".join(PurePosixPath(name).suffixes[-2:]) or PurePosixPath(name).name


def _left_out(catalogue: Catalogue) -> Iterator[Finding]:
    listed = (*catalogue.members, *catalogue.unlabelled)
    folders = {PurePosixPath(name).parent for name in listed}
    beside = [name for name in catalogue.ignored if PurePosixPath(name).parent in folders]
    apart = [name for name in catalogue.ignored if PurePosixPath(name).parent not in folders]
    if beside:
        yield Finding(
            code="ignored-files",
            severity="warning",
            message=f"{len(beside)} files are of no format that is read "
            f"({', '.join(sorted({_ending(name) for name in beside})[:_N_ENDINGS])})",
            ids=tuple(beside),
        )
    if apart:
        names = ", ".join(sorted({str(PurePosixPath(name).parent) for name in apart}))
        yield Finding(
            code="folder-without-images",
            severity="error",
            message=f"{names} would be class folders, but hold none of "
            f"{', '.join(sorted(SUFFIXES))}: their {len(apart)} files would be missing. Convert "
            "them; if they are something else, move the folders, or accept them",
            ids=tuple(apart),
        )
    if catalogue.empty:
        yield Finding(
            code="empty-folder",
            severity="warning",
            message=f"{len(catalogue.empty)} folders beside those of the classes are empty, or "
            "are links to folders that have other names here",
            ids=catalogue.empty,
        )
    if catalogue.unlabelled:
        yield Finding(
            code="unlabelled",
            severity="warning",
            message=f"{len(catalogue.unlabelled)} images are not in the file of labels",
            ids=catalogue.unlabelled,
        )
