"""What inclined walls say about drift: displacements of patches, solved together.

    u_p(n) = d(n) + e(n) (x_p - centre) + v_p(n) + noise,       cov v_p(n), v_p(m) = s² rho^|n-m|

u is the displacement of patch p from slice n to n + 1, from least squares on gradients [1]_; d is drift, e the growth
of the section, v the speed of the walls in the patch, which they keep over many slices. With v eliminated this is
generalised least squares for d and e. s and rho come from what the patches leave; patches that disagree with all others
count less (Student's distribution).

References
----------
.. [1] B. D. Lucas, T. Kanade, Proc. 7th IJCAI (1981) 674.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solveh_banded

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

_WEIGHTINGS = 3  # times that the system is solved, with weights and variances from the time before
_FREEDOM = 4.0  # degrees of freedom of Student's distribution of what patches leave
_LAGS = 12  # slices over which the memory of the walls is looked for
_LEAST_SHARE = 0.02  # of the strongest patch's information: weaker ones are left out
_RIDGE = 1e-6
_STEEP = 0.05  # least gradient of a wall, of the contrast per px


class Pairs(NamedTuple):
    """What the patches say: information [patch, pair, 2, 2], its product with the displacement [patch, pair, 2],
    and where the patches lie, relative to the middle and in units of the field, [patch, 2].
    """

    information: Float64Array
    product: Float64Array
    place: Float64Array


class Walls(NamedTuple):
    """Information on the drift of every pair (row, column of the first, of the second, ...), [2 pairs, 2 pairs], its
    product with the drift, [2 pairs]; s, rho, and the number of patches used.
    """

    information: Float64Array
    product: Float64Array
    speed: float
    memory: float
    patches: int


def patch_equations(
    first: Float32Array, second: Float32Array, inside: Float32Array, patch: int
) -> tuple[Float64Array, Float64Array]:
    """Sums over patches of g gᵀ, [patch, 2, 2], and of g (first - second), [patch, 2]; g is the mean gradient.

    Only steep pixels count, with the weight ``inside`` [row, column]; patches are ``patch`` px wide.
    """
    g = np.gradient(0.5 * (first + second))
    change = first - second
    # noise and curtains have gradients too, which do not go with the walls and would hold the patch where it is
    inside = inside * (np.hypot(*g) > _STEEP)
    size = [n // patch for n in first.shape]

    def sums(field: Float32Array) -> Float64Array:
        """Over patches."""
        blocks = (field * inside)[: size[0] * patch, : size[1] * patch].reshape(size[0], patch, size[1], patch)
        return np.asarray(blocks.sum(axis=(1, 3), dtype=np.float64).ravel())

    matrix = np.empty((size[0] * size[1], 2, 2))
    matrix[:, 0, 0], matrix[:, 1, 1] = sums(g[0] * g[0]), sums(g[1] * g[1])
    matrix[:, 0, 1] = matrix[:, 1, 0] = sums(g[0] * g[1])
    return matrix, np.stack([sums(g[0] * change), sums(g[1] * change)], axis=1)


def patch_places(shape: tuple[int, int], patch: int) -> Float64Array:
    """Middles of the patches relative to that of the field, in units of its longer edge, [patch, 2]."""
    rows, columns = (np.arange(n // patch) * patch + (patch - 1) / 2 - (n - 1) / 2 for n in shape)
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2) / max(shape)


def walls_information(pairs: Pairs) -> Walls:
    """What all patches say about the drift together; nothing, if none of them has an edge."""
    count = pairs.product.shape[1]
    strength = np.trace(pairs.information, axis1=2, axis2=3)
    used = strength.mean(axis=1) > _LEAST_SHARE * max(float(strength.mean(axis=1).max(initial=0.0)), 1e-9)
    if np.count_nonzero(used) < 4 or count < 4:
        return Walls(np.zeros((2 * count, 2 * count)), np.zeros(2 * count), 1.0, 0.5, 0)
    pairs = Pairs(pairs.information[used], pairs.product[used], pairs.place[used])
    noise, speed, memory = 1e-2, 1.0, 0.9
    weight = np.ones(pairs.product.shape[:2])
    for number in range(_WEIGHTINGS):
        normal, right = _normal_equations(pairs, weight, (noise, speed, memory))
        if number == _WEIGHTINGS - 1:
            break
        rest = _residual(pairs, np.asarray(np.linalg.solve(normal, right), dtype=np.float64))
        noise, speed, memory = _variances(pairs, rest)
        weight = _weights(pairs, rest, noise, speed)
    drift = np.arange(3 * count) % 3 < 2
    growth = np.linalg.inv(normal[np.ix_(~drift, ~drift)])
    beside = normal[np.ix_(drift, ~drift)] @ growth
    information = normal[np.ix_(drift, drift)] - beside @ normal[np.ix_(~drift, drift)]
    return Walls(information, right[drift] - beside @ right[~drift], speed, memory, int(np.count_nonzero(used)))


def _normal_equations(
    pairs: Pairs, weight: Float64Array, variances: tuple[float, float, float]
) -> tuple[Float64Array, Float64Array]:
    """Of generalised least squares for (d row, d column, e) of every pair, [3 pairs]; variances: noise, s, rho."""
    noise, speed, memory = variances
    count = weight.shape[1]
    normal, right = np.zeros((count, 3, count, 3)), np.zeros(3 * count)
    inverse = _memory_inverse(count, speed, memory)
    for information, product, place, w in zip(*pairs, weight, strict=True):
        scale = w / noise
        design = np.concatenate([np.eye(2), place[:, None]], axis=1)
        matrix, vector = _without_walls(information * scale[:, None, None], product * scale[:, None], inverse)
        half = np.tensordot(matrix.reshape(count, 2, count, 2), design, axes=(3, 0))
        normal += np.einsum("ai,namk->nimk", design, half)
        right += (vector.reshape(count, 2) @ design).ravel()
    full = normal.reshape(3 * count, 3 * count)
    full[np.diag_indices(3 * count)] += _RIDGE * np.trace(full) / (3 * count)
    return full, right


def _memory_inverse(count: int, speed: float, memory: float) -> tuple[Float64Array, float]:
    """Inverse of s² rho^|n-m|: its diagonal [pair] and what stands beside it."""
    scale = 1 / (speed**2 * (1 - memory**2))
    diagonal = np.full(count, (1 + memory**2) * scale)
    diagonal[[0, -1]] = scale
    return diagonal, -memory * scale


def _without_walls(
    information: Float64Array, product: Float64Array, inverse: tuple[Float64Array, float]
) -> tuple[Float64Array, Float64Array]:
    """Information L - L (L + K⁻¹)⁻¹ L and right side with the walls' motion eliminated; L block-diagonal."""
    count = len(product)
    band = np.zeros((3, 2 * count))  # upper form: two beside the diagonal, one beside it, diagonal
    band[2, 0::2] = information[:, 0, 0] + inverse[0]
    band[2, 1::2] = information[:, 1, 1] + inverse[0]
    band[1, 1::2] = information[:, 0, 1]
    band[0, 2:] = inverse[1]
    full = np.zeros((count, 2, count, 2))
    full[np.arange(count), :, np.arange(count), :] = information
    right = np.concatenate([full.reshape(2 * count, 2 * count), product.reshape(-1, 1)], axis=1)
    solution = solveh_banded(band, right)
    reduced = np.matmul(information, solution.reshape(count, 2, -1)).reshape(2 * count, -1)
    rest = right - reduced
    return rest[:, :-1], rest[:, -1]


def _residual(pairs: Pairs, found: Float64Array) -> Float64Array:
    """What the patches' products leave, [patch, pair, 2]: product - information (d + e place)."""
    parts = found.reshape(-1, 3)
    moved = parts[None, :, :2] + parts[None, :, 2:] * pairs.place[:, None, :]
    return np.asarray(pairs.product - np.einsum("pnab,pnb->pna", pairs.information, moved))


def _steepest(pairs: Pairs, rest: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Information along the steepest gradients [patch, pair], their direction, and the displacement left along it."""
    value, vector = np.linalg.eigh(pairs.information)
    strength, direction = value[..., 1], vector[..., 1]
    return strength, direction, np.einsum("pna,pna->pn", direction, rest) / np.maximum(strength, 1e-12)


def _variances(pairs: Pairs, rest: Float64Array) -> tuple[float, float, float]:
    """Noise of the products per information, s and rho, from the autocovariance of what is left.

    Along the direction of the steepest gradients, where a patch knows its displacement best.
    """
    strength, direction, left = _steepest(pairs, rest)
    good = strength > 0.1 * np.median(strength[strength > 0])
    level = np.median(np.abs(left[good])) / 0.6745
    left = np.clip(left, -4 * level, 4 * level)
    lags, products = range(min(_LAGS, left.shape[1] - 2) + 1), []
    for lag in lags:
        here, there = slice(0, left.shape[1] - lag), slice(lag, left.shape[1])
        turn = np.einsum("pna,pna->pn", direction[:, here], direction[:, there])
        both = good[:, here] & good[:, there] & (np.abs(turn) > 0.7)
        pairwise = left[:, here] * left[:, there] / np.where(both, turn, 1)
        products.append(float(np.mean(pairwise[both])) if both.any() else 0.0)
    start = max(products[1], 1e-4 * products[0], 1e-10)
    ratios = [(max(value, 1e-3 * start) / start) ** (1 / (k + 1)) for k, value in enumerate(products[2:])]
    memory = float(np.clip(np.median(ratios) if ratios else 0.5, 0.1, 0.99))
    speed = start / memory
    noise = max(products[0] - speed, 0.02 * products[0], 1e-10) / float(np.mean(1 / strength[good]))
    return float(noise), float(np.sqrt(speed)), memory


def _weights(pairs: Pairs, rest: Float64Array, noise: float, speed: float) -> Float64Array:
    """Weights of Student's distribution, [patch, pair]: patches that move unlike the others count less."""
    strength, _, left = _steepest(pairs, rest)
    expected = speed**2 + noise / np.maximum(strength, 1e-12)
    return np.asarray((_FREEDOM + 1) / (_FREEDOM + left**2 / expected))
