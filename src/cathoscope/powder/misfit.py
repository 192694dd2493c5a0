"""What the misfit of peaks adds to uncertainties: a covariance that does not trust the model, from blocks of a pattern.

Where cells of a phase differ from place to place, or the law of its peaks is not quite theirs, what a refinement leaves
is no noise: it goes up and down with the peaks, point after point alike, and the goodness of fit, a mean over all
points, hardly shows it. So every pattern is cut into blocks of a few peak widths. With the Jacobian J_b and the
residual r_b of block b in units of its noise, and C the inverse of the normal matrix of all,

    V = C [ sum_b J_b^T (1 - H_b)^(-1/2) r_b r_b^T (1 - H_b)^(-1/2) J_b + K ] C,        H_b = J_b C J_b^T,

where K is the normal matrix of what was known before. Residuals of one block may depend on each other in any way, and
peaks that pull a number to different sides count as uncertainty. H_b is what a block has drawn the fit to itself; with
it, V is C in the mean where there is nothing but counting noise.

V of a number rests on few blocks: with the share l_b of block b in the information on it, V / C scatters by the root of
2 sum l_b^2. Only what is above 1 by more than that widens an uncertainty.

References
----------
.. [1] H. White, Econometrica 48 (1980) 817 and 50 (1982) 1 (covariance of a model that is not quite true).
.. [2] K.-Y. Liang, S. L. Zeger, Biometrika 73 (1986) 13 (blocks).
.. [3] R. M. Bell, D. F. McCaffrey, Surv. Methodol. 28 (2002) 169 (1 - H_b; how far V scatters).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cathoscope.numerics.dual import value_of
from cathoscope.powder.model import Model, reflections_of
from cathoscope.powder.parameters import Values
from cathoscope.powder.pattern import TofReflections
from cathoscope.powder.refine import Fit, Misfit, Residual
from cathoscope.powder.width import EIGHT_LN2

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

BLOCK = 4.0
"""Length of a block in full widths of its peaks."""

_OWN = 1e-3  # of a block's noise: what is left of it where the block alone tells a number is no residual
_FEWEST = 3  # points of a block


def with_misfit(fit: Fit, model: Model) -> Fit:
    """The fit with what local misfit adds to its covariance; needs the residuals that the search ended with."""
    patterns = fit.residuals[: len(model.patterns)]
    if not patterns or not fit.search.free:
        return fit
    numbers = fit.numbers()
    starts = [block_starts(model, number, numbers) for number in range(len(patterns))]
    return replace(fit, misfit=misfit_of(fit.covariance, fit.residuals, starts))


def misfit_of(covariance: Array, residuals: Sequence[Residual], starts: Sequence[Indices]) -> Misfit:
    """The covariance V of the first lines, and on how many blocks it rests.

    Parameters
    ----------
    covariance
        C, [P, P]; infinite where a number is not determined, and so is V there.
    residuals
        Of the patterns, and after them of what was known before.
    starts
        First point of every block of every pattern.
    """
    known = np.isfinite(np.diag(covariance))
    root, middle = _root(covariance[np.ix_(known, known)]), np.zeros((known.sum(), known.sum()))
    std = np.sqrt(np.diag(covariance)[known])
    scatter = np.zeros(std.size)
    for block in _blocks(residuals, starts):
        seen = block.jacobian[:, known] @ root
        push, unseen = _freed(seen, block.difference)
        middle += np.outer(push, push) + unseen
        scatter += (np.sum((seen @ root.T) ** 2, axis=0) / np.maximum(std, 1e-300) ** 2) ** 2
    for one in residuals[len(starts) :]:
        seen = one.jacobian[:, known] @ root
        middle += seen.T @ seen
    out, blocks = np.full(covariance.shape, np.inf), np.ones(known.size)
    out[np.ix_(known, known)] = root @ middle @ root.T
    blocks[known] = 1 / np.maximum(scatter, 1e-12)
    return Misfit(out, blocks)


def _root(covariance: Array) -> Array:
    """L with L L^T = C."""
    size = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    values, vectors = np.linalg.eigh(covariance / np.outer(size, size))
    return np.asarray(size[:, None] * vectors * np.sqrt(np.maximum(values, 0.0)))


def _blocks(residuals: Sequence[Residual], starts: Sequence[Indices]) -> Iterator[Residual]:
    for one, first in zip(residuals, starts, strict=False):
        for begin, end in zip(first, [*first[1:], one.difference.size], strict=True):
            yield Residual(one.difference[begin:end], one.jacobian[begin:end])


def _freed(seen: Array, difference: Array) -> tuple[Array, Array]:
    """Push of one block on the numbers, free of how much it has drawn them to itself; and what of it is not to be seen.

    ``seen`` is J_b L, so that H_b is seen seen^T. Along directions that the block alone decides nothing is left of its
    residual: there the push has the variance that counting gives it.
    """
    share, across = np.linalg.eigh(seen @ seen.T)
    left = 1.0 - share
    told = left > _OWN
    along = seen.T @ across
    push = along[:, told] @ ((across.T @ difference)[told] / np.sqrt(left[told]))
    return push, along[:, ~told] @ along[:, ~told].T


def block_starts(model: Model, number: int, values: Values) -> Indices:
    """First point of every block of pattern ``number``: ``BLOCK`` full widths of its peaks long."""
    x = model.grids[number].x
    place, width = widths_of(model, number, values)
    here = np.interp(x, place, width) if place.size else np.full(x.size, np.ptp(x))
    step = np.diff(x, prepend=x[0])
    passed = np.floor(np.cumsum(step / np.maximum(here, 1e-12)) / BLOCK)
    first = np.flatnonzero(np.diff(passed, prepend=-1.0) > 0)
    kept = [0]
    for one in first[1:]:
        if one - kept[-1] >= _FEWEST and x.size - one >= _FEWEST:
            kept.append(int(one))
    return np.array(kept, dtype=np.int64)


def widths_of(model: Model, number: int, values: Values) -> tuple[Array, Array]:
    """Places and full widths (us or deg) of all reflections of a pattern, by place."""
    places, widths = [np.zeros(0)], [np.zeros(0)]
    for table in (one for seen in model.seen[number] for one in reflections_of(seen, values)):
        pulse = np.zeros(1)
        if isinstance(table, TofReflections):
            pulse = np.log(2.0) * (1 / value_of(table.alpha) + 1 / value_of(table.beta))
        gauss = np.hypot(np.sqrt(EIGHT_LN2 * np.maximum(value_of(table.sigma2), 0.0)), pulse)
        places.append(value_of(table.position))
        widths.append(gauss + np.maximum(value_of(table.gamma), 0.0))
    place, width = np.concatenate(places), np.concatenate(widths)
    order = np.argsort(place)
    return place[order], width[order]
