"""Phases of a grey stack learnt from a few strokes of a person: a random forest on features at several scales.

Features of a voxel: grey value smoothed by Gaussians of several widths, size of the gradient and eigenvalues of the
Hessian at each of them, all within the slice, and the smoothed slices before and behind. So what lies behind a pore is
known to the forest.

How good it is, is asked twice. Out of the bag: every voxel is judged by the trees that did not see it; but voxels
beside it, of the same stroke, they did see, and so this is an upper limit. By stroke: whole strokes are left out in
turn, which is what happens to voxels that nobody marked. Calibration: among voxels said to be of a phase with the
probability p, the share p should be; the mean difference over classes of p is stated, for strokes left out.

References
----------
.. [1] L. Breiman, Machine Learning 45 (2001) 5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from sklearn.ensemble import RandomForestClassifier  # type: ignore[import-untyped, unused-ignore]

from cathoscope.core.errors import MeasurementError

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
Images = Callable[[int], Float32Array]

_WIDTHS = (0.7, 1.5, 3.0, 6.0)  # px
_BESIDE = (-4, -2, -1, 1, 2, 4)  # slices
_TREES, _LEAF = 60, 3
_LEAST = 20  # voxels of a phase
_MOST = 20_000  # voxels of a phase that are learnt from
_FOLDS = 3
_CLASSES = 10  # of the probability


class Reliability(NamedTuple):
    """Of a forest.

    Attributes
    ----------
    out_of_bag
        Share of marked voxels judged rightly by trees that did not see them: an upper limit.
    by_stroke
        Share judged rightly when their stroke was left out, phases counting alike; NaN with fewer than two strokes of
        a phase.
    calibration
        Mean difference of stated probability and share that was right, strokes left out.
    curve
        Stated probability, share that was right, and number of voxels, [class, 3].
    """

    out_of_bag: float
    by_stroke: float
    calibration: float
    curve: Float64Array


class TrainedPhases(NamedTuple):
    """A forest that was trained, the labels of its phases, and how good it is."""

    forest: Any
    labels: tuple[int, ...]
    reliability: Reliability


def slice_features(images: Images, count: int, n: int) -> Float32Array:
    """Features of the pixels of slice n, [row, column, feature]."""
    image = np.asarray(images(n), dtype=np.float32)
    found = []
    for width in _WIDTHS:
        smooth = gaussian_filter(image, width, mode="nearest")
        gy, gx = np.gradient(smooth)
        yy, yx = np.gradient(gy)
        xx = np.gradient(gx, axis=1)
        middle, split = (yy + xx) / 2, np.hypot((yy - xx) / 2, yx)
        found += [smooth, width * np.hypot(gy, gx), width**2 * (middle - split), width**2 * (middle + split)]
    for step in _BESIDE:
        other = np.asarray(images(int(np.clip(n + step, 0, count - 1))), dtype=np.float32)
        found.append(gaussian_filter(other, _WIDTHS[1], mode="nearest"))
    return np.stack(found, axis=-1).astype(np.float32)


def train_phases(images: Images, labels: NDArray[np.integer[Any]], *, seed: int = 0) -> TrainedPhases:
    """A forest from marked voxels.

    Parameters
    ----------
    images
        Aligned slices [row, column] by number.
    labels
        0 where nothing is marked, else the phase, [slice, row, column]. A few strokes in a few slices are enough.
    seed
        Of the forest.

    Raises
    ------
    MeasurementError
        If fewer than two phases are marked, or one with fewer than 20 voxels.
    """
    labels = np.asarray(labels)
    kinds = _checked(labels)
    features, truth, stroke = _marked(images, labels, seed)
    forest = _forest(seed, out_of_bag=True).fit(features, truth)
    judged = _left_out(features, truth, stroke, kinds, seed)
    out_of_bag = float(np.mean(np.asarray(kinds)[forest.oob_decision_function_.argmax(axis=1)] == truth))
    return TrainedPhases(forest, kinds, _reliability(judged, truth, kinds, out_of_bag))


def predict_phases(trained: TrainedPhases, images: Images, count: int) -> tuple[NDArray[np.uint8], Float32Array]:
    """Phase of every voxel [slice, row, column], and its probability; slice by slice."""
    phases, sure = [], []
    for n in range(count):
        features = slice_features(images, count, n)
        probability = trained.forest.predict_proba(features.reshape(-1, features.shape[-1]))
        best = probability.argmax(axis=1)
        phases.append(np.asarray(trained.labels, dtype=np.uint8)[best].reshape(features.shape[:2]))
        sure.append(probability.max(axis=1).astype(np.float32).reshape(features.shape[:2]))
    return np.stack(phases), np.stack(sure)


def _forest(seed: int, *, out_of_bag: bool) -> Any:
    """An untrained forest in which phases count alike."""
    return RandomForestClassifier(
        _TREES, min_samples_leaf=_LEAF, class_weight="balanced", oob_score=out_of_bag, random_state=seed, n_jobs=1
    )


def _checked(labels: NDArray[np.integer[Any]]) -> tuple[int, ...]:
    """Phases that are marked."""
    if labels.ndim != 3 or not np.issubdtype(labels.dtype, np.integer):
        raise MeasurementError(
            "the labels are no volume of whole numbers",
            expected="[slice, row, column], 0 unmarked, 1, 2, ... phases",
            found=f"{labels.dtype} of shape {labels.shape}",
            cure="labels of one slice: put them into zeros of the shape of the stack",
        )
    kinds, counts = np.unique(labels[labels > 0], return_counts=True)
    if kinds.size < 2 or counts.min() < _LEAST or kinds.max() > 255:
        marked = ", ".join(f"{kind}: {number}" for kind, number in zip(kinds, counts, strict=True))
        raise MeasurementError(
            "too little is marked to learn from",
            expected=f"two phases or more, 1 to 255, of {_LEAST} voxels each",
            found=f"voxels by phase: {marked or 'none'}",
            cure="mark a few strokes of every phase in three slices or more",
        )
    return tuple(int(kind) for kind in kinds)


def _marked(
    images: Images, labels: NDArray[np.integer[Any]], seed: int
) -> tuple[Float32Array, NDArray[np.int64], NDArray[np.int64]]:
    """Features [voxel, feature], phase and stroke of the marked voxels; of long strokes a part drawn at random."""
    strokes = np.asarray(cc3d.connected_components(labels.astype(np.uint8), connectivity=26), dtype=np.int64)
    rng = np.random.default_rng(seed)
    share = {int(k): min(1.0, _MOST / int(np.count_nonzero(labels == k))) for k in np.unique(labels) if k > 0}
    features, truth, stroke = [], [], []
    for n in np.flatnonzero((labels > 0).any(axis=(1, 2))):
        here = labels[n] > 0
        drawn = rng.random(int(here.sum())) < np.array([share[int(k)] for k in labels[n][here]])
        features.append(slice_features(images, len(labels), int(n))[here][drawn])
        truth.append(labels[n][here][drawn].astype(np.int64))
        stroke.append(strokes[n][here][drawn])
    return np.concatenate(features), np.concatenate(truth), np.concatenate(stroke)


def _left_out(
    features: Float32Array, truth: NDArray[np.int64], stroke: NDArray[np.int64], kinds: tuple[int, ...], seed: int
) -> Float64Array | None:
    """Probability of every phase by forests that saw no voxel of the stroke, [voxel, phase]; None without enough."""
    fold = np.zeros(truth.size, dtype=np.int64)
    for kind in kinds:
        own = np.unique(stroke[truth == kind])
        if own.size < 2:
            return None
        order = np.random.default_rng(seed).permutation(own.size)
        of_stroke = dict(zip(own[order].tolist(), (np.arange(own.size) % min(_FOLDS, own.size)).tolist(), strict=True))
        chosen = truth == kind
        fold[chosen] = [of_stroke[int(s)] for s in stroke[chosen]]
    result = np.full((truth.size, len(kinds)), np.nan)
    for number in np.unique(fold):
        out = fold == number
        forest = _forest(seed, out_of_bag=False).fit(features[~out], truth[~out])
        result[out] = forest.predict_proba(features[out])
    return result


def _reliability(
    judged: Float64Array | None, truth: NDArray[np.int64], kinds: tuple[int, ...], out_of_bag: float
) -> Reliability:
    """Accuracy and calibration of voxels whose strokes were left out."""
    if judged is None:
        return Reliability(out_of_bag, float("nan"), float("nan"), np.zeros((0, 3)))
    right = np.asarray(kinds)[judged.argmax(axis=1)] == truth
    accuracy = float(np.mean([right[truth == kind].mean() for kind in kinds]))
    stated = judged.max(axis=1)
    place = np.minimum((stated * _CLASSES).astype(np.int64), _CLASSES - 1)
    rows = [
        (float(stated[place == k].mean()), float(right[place == k].mean()), float(np.count_nonzero(place == k)))
        for k in np.unique(place)
    ]
    curve = np.array(rows)
    gap = float(np.average(np.abs(curve[:, 0] - curve[:, 1]), weights=curve[:, 2]))
    return Reliability(out_of_bag, accuracy, gap, curve)
