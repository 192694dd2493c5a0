"""Grey levels of a volume: peaks of solid and void, the threshold between them and how far it can be argued about.

A flat wall, blurred by whatever is symmetric, crosses the middle between the two levels; walls are most numerous where
the grey value changes fastest. The threshold is the mean of two estimates that differ in what they assume: where the
Gaussians of the two peaks cross, and the grey value at which the gradient is largest. Its band reaches from the lower
of (crossing less one standard deviation of the peaks, edge) to the higher of (crossing plus one, edge). What such a
band states is how precisely a threshold can be chosen, not how right the result is: cracks narrower than the blur stay
invisible at every threshold.

References
----------
.. [1] T. W. Ridler, S. Calvard, IEEE Trans. Syst. Man Cybern. 8 (1978) 630.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.volume.checks import checked_voxel
from cathoscope.volume.segment_kernels import add_steps
from cathoscope.volume.smoothing import smoothed

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_BINS = 1024
_SATURATED = 0.02  # of the solid at its very largest value
_SMOOTHING = 1.0  # voxels
_EDGE_CLASSES = 40  # grey classes in which gradients are averaged
_SAMPLE, _FEWEST = 4_000_000, 32  # voxels, and planes, from which histograms are taken, at least


class GreyLevels(NamedTuple):
    """Peaks of a grey volume and the threshold between them, all in its own grey values.

    ``solid_spread`` and ``void_spread`` are standard deviations of the peaks, from the side that partial volumes do not
    reach. ``crossing`` is where the Gaussians of the two peaks cross, ``edge`` the value of largest mean gradient,
    ``low`` and ``high`` the band of the threshold. ``solid_share`` is the share of voxels above the threshold.
    """

    solid: float
    void: float
    solid_spread: float
    void_spread: float
    crossing: float
    edge: float
    threshold: float
    low: float
    high: float
    solid_share: float


def require_volume(volume: Float32Array, voxel_size: tuple[float, float, float] | None = None) -> None:
    """Refuse what is no grey volume [z, y, x] of finite values, or a voxel (um) that no microscope of particles has.

    Raises
    ------
    MeasurementError
        If the volume is not three-dimensional, empty or not finite; if the voxel is absurd.
    """
    if volume.ndim != 3 or min(volume.shape) < 3:
        raise MeasurementError(
            "this is no volume",
            expected="an array [z, y, x] of 3 voxels or more along each axis",
            found=f"shape {volume.shape}",
            cure="volume[None] for one slice makes no volume: give the whole stack",
        )
    bad = int(volume.size - np.count_nonzero(np.isfinite(volume)))
    if bad:
        raise MeasurementError(
            "the volume has values that are no numbers",
            expected="finite grey values",
            found=f"{bad} of {volume.size} voxels are NaN or infinite",
            cure="np.nan_to_num(volume, nan=void_level), or crop the field",
        )
    if voxel_size is not None:
        checked_voxel(voxel_size)


def grey_levels(volume: Float32Array) -> GreyLevels:
    """Peaks and threshold of a grey volume [z, y, x] in which the solid is bright.

    Raises
    ------
    MeasurementError
        If the volume is constant, has one peak only (empty, or all solid), is saturated, or shows dark particles
        within a bright field.
    """
    require_volume(volume)
    counts, middle = _histogram(volume)
    split = _split(volume)
    void, void_spread = _peak(counts, middle, middle < split, outer=-1)
    solid, solid_spread = _peak(counts, middle, middle >= split, outer=1)
    if solid - void < 2 * (solid_spread + void_spread):
        share = float(counts[middle >= split].sum() / counts.sum())
        raise MeasurementError(
            "the volume has one grey peak only: it is empty or all solid",
            expected="a peak of the solid and one of the void, apart by four standard deviations of the noise or more",
            found=f"peaks at {void:.4g} and {solid:.4g}, noise {max(solid_spread, void_spread):.2g}, "
            f"{100 * share:.0f} % in the brighter one",
            cure="widen the field until it holds particle and surroundings, or denoise the volume first",
        )
    _require_unsaturated(volume, void, solid, void_spread)
    crossing = _crossing((counts, middle), split, (void, void_spread), (solid, solid_spread))
    edge = _edge_level(volume, void, solid)
    threshold = (crossing + edge) / 2
    _require_bright_solid(volume, threshold)
    spread = max(np.hypot(solid_spread, void_spread) / np.sqrt(2), 0.01 * (solid - void))
    low, high = min(crossing - spread, edge), max(crossing + spread, edge)
    share = float(np.count_nonzero(volume > threshold) / volume.size)
    return GreyLevels(solid, void, solid_spread, void_spread, crossing, edge, threshold, float(low), float(high), share)


def _histogram(volume: Float32Array) -> tuple[Float64Array, Float64Array]:
    """Counts and middles of equal classes between the extreme 0.01 % at either end."""
    sample = volume.ravel()[:: max(volume.size // _SAMPLE, 1)]
    low, high = np.quantile(sample, [1e-4, 1 - 1e-4])
    if not high > low:
        raise MeasurementError(
            "the volume is constant: it is empty or all solid",
            expected="bright solid and dark void",
            found=f"grey value {float(low):.4g} everywhere",
            cure="look at the volume that the reconstruction wrote; widen the field",
        )
    margin = 0.02 * (high - low)
    counts, edges = np.histogram(sample, bins=_BINS, range=(float(low - margin), float(high + margin)))
    return counts.astype(np.float64), (edges[1:] + edges[:-1]) / 2


def _planes(volume: Float32Array) -> int:
    """Step between the planes of which a sample is made: all planes of a small volume."""
    return max(1, min(volume.size // _SAMPLE, len(volume) // _FEWEST))


def _split(volume: Float32Array) -> float:
    """Grey value between two classes of any size: in the slightly smoothed volume, halfway between their means [1]_.

    It starts halfway between the extremes; so a particle may be as small as a few thousandths of its field.
    """
    counts, middle = _histogram(smoothed(volume, _SMOOTHING, every=_planes(volume)))
    split = float(middle[0] + middle[-1]) / 2
    for _ in range(20):
        upper = middle >= split
        means = [float(counts[side] @ middle[side] / max(counts[side].sum(), 1)) for side in (upper, ~upper)]
        moved, split = abs(sum(means) / 2 - split), sum(means) / 2
        if moved < 1e-3 * abs(means[0] - means[1]):
            break
    return split


def _peak(counts: Float64Array, middle: Float64Array, side: BoolArray, *, outer: int) -> tuple[float, float]:
    """Mode and standard deviation of a peak, by a Gaussian through its mode and its ``outer`` side (+1 or -1)."""
    width = middle[1] - middle[0]
    if not counts[side].any():
        return float(middle[side].mean()), float(width)
    smooth = np.convolve(counts, np.full(9, 1 / 9), mode="same") * side
    mode = float(middle[int(np.argmax(smooth))])
    spread = width
    for _ in range(8):
        away = outer * (middle - mode)
        beyond = side & (away >= 0)
        weight = counts * beyond
        spread = max(float(np.sqrt(weight @ (middle - mode) ** 2 / max(weight.sum(), 1))), width)
        near = side & (away > -0.6 * spread) & (away < 1.8 * spread) & (counts > 0)
        if np.count_nonzero(near) < 6:
            break
        x, y = middle[near] - mode, np.log(counts[near])
        curve = np.polyfit(x, y, 2, w=np.sqrt(counts[near]))
        if curve[0] >= 0:
            break
        shift = float(np.clip(-curve[1] / (2 * curve[0]), -spread, spread))
        mode, spread = mode + shift, float(np.sqrt(-0.5 / curve[0]))
        if abs(shift) < 0.01 * spread:
            break
    return mode, max(spread, float(width) / np.sqrt(12))


def _crossing(
    histogram: tuple[Float64Array, Float64Array], split: float, void: tuple[float, float], solid: tuple[float, float]
) -> float:
    """Grey value between the peaks at which their Gaussians, each with its share of the voxels, are equally high."""
    counts, middle = histogram
    share = np.array([counts[middle < split].sum(), counts[middle >= split].sum()])
    grey = np.linspace(void[0], solid[0], 2001)[1:-1]
    heights = [
        np.log(n / spread) - 0.5 * ((grey - level) / spread) ** 2
        for n, (level, spread) in zip(share, (void, solid), strict=True)
    ]
    higher = np.flatnonzero(heights[1] > heights[0])
    return float(grey[higher[0]]) if higher.size else (void[0] + solid[0]) / 2


def _edge_level(volume: Float32Array, void: float, solid: float) -> float:
    """Grey value at which neighbouring voxels differ most: walls stand where the slope is steepest.

    Mean of the squared difference of neighbours over classes of their mean grey value: noise adds a constant, and the
    centre of mass of what rises above it is taken.
    """
    edges = np.linspace(void, solid, _EDGE_CLASSES + 1)
    square, number = np.zeros(_EDGE_CLASSES), np.zeros(_EDGE_CLASSES)
    add_steps(volume, _planes(volume), (void, solid), square, number)
    mean = square / np.maximum(number, 1)
    middle = (edges[1:] + edges[:-1]) / 2
    used = number > max(20, 1e-4 * number.sum())
    if np.count_nonzero(used) < 5:
        return (void + solid) / 2
    excess = np.where(used, mean, 0.0)
    excess = np.maximum(excess - 0.5 * excess.max(), 0.0)
    return float(excess @ middle / excess.sum())


def _require_unsaturated(volume: Float32Array, void: float, solid: float, noise: float) -> None:
    """Refuse a solid whose values are cut off at the largest one."""
    largest = volume.max()
    bright = volume > (void + solid) / 2
    share = int(np.count_nonzero(volume == largest)) / max(int(np.count_nonzero(bright)), 1)
    if share <= _SATURATED or not bright.any():
        return
    upper = volume[bright]
    distinct = np.unique(upper[:: max(upper.size // 20_000, 1)]).size
    # a volume without noise has many voxels at the level itself; one whose noise ends abruptly has lost part of it
    noisy = 1.5 * noise > 0.01 * (solid - void)
    if distinct > 10 and noisy:
        raise MeasurementError(
            "the grey values of the solid are saturated",
            expected="fewer than 2 % of the solid at its largest value",
            found=f"{100 * share:.0f} % at {float(largest):g}",
            cure="export the volume again with a wider range of grey values, best as 32-bit floats",
        )


def _require_bright_solid(volume: Float32Array, threshold: float) -> None:
    """Refuse a bright field around dark particles: corners and edges of the field bright, its middle dark."""
    corners = np.array([volume[z, y, x] > threshold for z in (0, -1) for y in (0, -1) for x in (0, -1)])
    faces = [volume[0], volume[-1], volume[:, 0], volume[:, -1], volume[:, :, 0], volume[:, :, -1]]
    frame = float(np.mean([np.count_nonzero(face > threshold) / face.size for face in faces]))
    whole = np.count_nonzero(volume > threshold) / volume.size
    if corners.sum() >= 7 and frame > 0.9 and whole < 0.9 * frame:
        raise MeasurementError(
            "the contrast is inverted: the field around the particle is bright",
            expected="bright solid in dark surroundings",
            found=f"{100 * frame:.0f} % of the faces of the field are bright, but {100 * whole:.0f} % of the volume",
            cure="volume = -volume; or, of a region inside the solid, grey_levels of the whole volume",
        )
