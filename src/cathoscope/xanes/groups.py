"""Means of groups of measurements, such as all spectra of one composition at one voltage, and their differences."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import MeasurementError

Array = NDArray[np.float64]
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class GroupMeans(Generic[Key]):
    """Mean of every group, in the order in which the groups first appear.

    Attributes
    ----------
    keys
        What the members of each group share.
    mean, mean_std
        [group]; NaN for a group without a value.
    count
        Values in each group, [group].
    scatter
        Standard deviation of single values about the mean of their group, all groups together; NaN if no group has
        two values.
    """

    keys: tuple[Key, ...]
    mean: Array
    mean_std: Array
    count: NDArray[np.int64]
    scatter: float

    def difference(self, key: Key, other: Key) -> tuple[float, float]:
        """Mean of group ``key`` minus that of group ``other``, and its standard uncertainty; 0 and 0 for one group."""
        if key == other:
            return 0.0, 0.0
        a, b = self.keys.index(key), self.keys.index(other)
        return float(self.mean[a] - self.mean[b]), float(np.hypot(self.mean_std[a], self.mean_std[b]))


def means_of_groups(*, values: ArrayLike, std: ArrayLike, keys: Sequence[Key]) -> GroupMeans[Key]:
    r"""Plain means of groups.

    The standard uncertainty of the mean of :math:`n` values is :math:`s / \sqrt n`. :math:`s` is the scatter of single
    values about the mean of their group, pooled over all groups, so that a group of one has an uncertainty too; it
    holds what the samples differ by. It is not allowed below the root mean square of the stated uncertainties, and is
    that where no group has two values.

    Parameters
    ----------
    values, std
        Values and their standard uncertainty, [value]; NaN where there is none.
    keys
        The group of each value.

    Raises
    ------
    MeasurementError
        If the lengths differ.
    """
    data, noise = np.asarray(values, dtype=np.float64), np.asarray(std, dtype=np.float64)
    if data.ndim != 1 or noise.shape != data.shape or len(keys) != data.size:
        raise MeasurementError(
            "values, uncertainties and groups do not match",
            expected="one list each, of one length",
            found=f"shapes {data.shape} and {noise.shape}, {len(keys)} groups",
        )
    groups = tuple(dict.fromkeys(keys))
    member = np.array([[key == group for key in keys] for group in groups]) & np.isfinite(data)
    count = member.sum(axis=1)
    filled = np.where(np.isfinite(data), data, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (member @ filled) / count
    squares = float(np.sum(member * (filled - np.where(count > 0, mean, 0.0)[:, None]) ** 2))
    degrees = int((count - 1).clip(min=0).sum())
    scatter = float(np.sqrt(squares / degrees)) if degrees else np.nan
    stated = noise[np.isfinite(data) & np.isfinite(noise)]
    single = max(scatter if degrees else 0.0, float(np.sqrt(np.mean(stated**2))) if stated.size else 0.0)
    mean_std = np.where(count > 0, single / np.sqrt(np.maximum(count, 1)), np.nan)
    return GroupMeans(groups, mean, mean_std, count, scatter)
