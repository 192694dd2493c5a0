"""A forest learns phases from strokes, and says how far it can be trusted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cathoscope.core.errors import MeasurementError
from cathoscope.volume.trained_phases import predict_phases, slice_features, train_phases

LEVELS = np.array([0.0, 1.0, 0.4])


def stack(noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Three slices of a striped three-phase picture, and its truth 1, 2, 3."""
    rng = np.random.default_rng(3)
    kind = np.broadcast_to((np.arange(48)[:, None] // 8 + np.arange(48) // 16) % 3, (3, 48, 48))
    grey = np.stack([gaussian_filter(LEVELS[one], 0.7) for one in kind])
    return (grey + noise * rng.standard_normal(grey.shape)).astype(np.float32), kind + 1


def strokes(truth: np.ndarray) -> np.ndarray:
    """Every third stripe marked in the middle."""
    labels = np.zeros(truth.shape, dtype=np.int64)
    for row in range(3, 48, 8):
        for column in (4, 20, 36):
            labels[1, row : row + 2, column : column + 8] = truth[1, row : row + 2, column : column + 8]
    return labels


def test_phases_are_learnt_from_strokes_and_the_stated_accuracy_is_that_of_unmarked_voxels() -> None:
    grey, truth = stack(0.15)
    trained = train_phases(grey.__getitem__, strokes(truth))
    found, sure = predict_phases(trained, grey.__getitem__, 1)
    right = found[0] == truth[0]
    assert right.mean() > 0.85
    assert trained.labels == (1, 2, 3)
    assert trained.reliability.out_of_bag > 0.9
    assert 0.8 < trained.reliability.by_stroke <= 1
    assert trained.reliability.calibration < 0.15
    assert trained.reliability.curve[:, 2].sum() == np.count_nonzero(strokes(truth))
    # where it is unsure it is more often wrong
    assert sure[0][right].mean() > sure[0][~right].mean()


def test_features_do_not_reach_beyond_the_stack() -> None:
    grey, _ = stack(0.0)
    features = slice_features(grey.__getitem__, 3, 0)
    assert features.shape == (48, 48, 22)
    np.testing.assert_array_equal(features[..., 16], features[..., 18])  # slices -4 and -1 are slice 0


def test_too_few_marks_are_answered() -> None:
    grey, truth = stack(0.1)
    one = np.where(truth == 1, strokes(truth), 0)
    with pytest.raises(MeasurementError, match="too little is marked"):
        train_phases(grey.__getitem__, one)
    with pytest.raises(MeasurementError, match="whole numbers"):
        train_phases(grey.__getitem__, truth[0])
