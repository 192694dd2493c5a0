"""Single peaks: place, area, width and asymmetry in a window of a pattern, without a phase.

A peak is that of the bank at its spacing, S(t) of area one around its place p, with a Lorentzian of the full width b
folded in, which is what small or strained crystallites do:

    f(x) = S_b(t) / N,    t = (x - p) / (1 - a) to the left and (x - p) / (1 + a) to the right of p

b is 0 for a peak as wide as the instrument, and the asymmetry a is 0 for the instrument's; N keeps the area one. Under
the peaks of a window is a straight line. Peaks of one group are fitted together.

A peak that does not stand out has an area with its uncertainty, which may be below zero, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.bank import Bank
from cathoscope.numerics.dual import Dual, Graded, chained, mapped, stacked, value_of
from cathoscope.powder.model import Pattern, spacings_of
from cathoscope.powder.parameters import Parameter, Parameters, Values, search_of
from cathoscope.powder.position import tof_from_spacing, two_theta_from_spacing
from cathoscope.powder.profile_cw import cw_profile
from cathoscope.powder.profile_tof import LorentzPart, tof_profile
from cathoscope.powder.refine import Compare, Fit, Residual, refined
from cathoscope.powder.resolution import full_width, place_of_spacing
from cathoscope.powder.width import cw_shape, tof_shape

Array = NDArray[np.float64]

_KINDS = ("d", "blur", "asymmetry")

STANDS_OUT = 6.0
"""Area over its uncertainty from which on a peak has a place and a width."""

_WINDOW, _WIDTHS = 0.008, 6.0  # half of a window: share of the spacing, and full widths of the bank, the larger of both
_FEWEST = 8  # points of a window
_MOST_BLUR = 60.0  # full widths of the bank
_ASYMMETRY = 0.7
_REWEIGHTED = 2
_FAINT = 0.02  # of the highest calculated intensity: what a weight is taken from at least
_FINE = 400  # points of a shape on which its width is measured
_BLURS = (0.05, 0.5, 1.2, 2.5, 5.0)  # full widths of the bank
_SHIFTS = np.linspace(-0.5, 0.5, 9)


@dataclass(frozen=True)
class Group:
    """Peaks that are fitted together.

    Attributes
    ----------
    spacings
        Where they are looked for, A.
    window
        Points of the pattern reach so far beyond the first and the last, A; None: 0.8 % of the spacing, or six widths
        of the bank if that is more.
    asymmetry
        Whether the asymmetry is free.
    """

    spacings: tuple[float, ...]
    window: float | None = None
    asymmetry: bool = False


@dataclass(frozen=True, eq=False)
class Cut:
    """The window of a group in one pattern: places (us or deg), intensity, standard uncertainty, [m]."""

    bank: Bank
    profile: LorentzPart
    group: Group
    x: Array
    y: Array
    std: Array


@dataclass(frozen=True)
class Shape:
    """Where the peaks of a group are and how they look, one value for each: ``blur`` in full widths of the bank."""

    spacing: tuple[float, ...]
    blur: tuple[float, ...]
    asymmetry: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class PeakFit:
    """Peaks of a group in one pattern; values and standard uncertainties, [peak, 2]; NaN where there is none.

    Attributes
    ----------
    spacing
        A, by the file of the bank.
    area
        In units of the pattern times us or deg; at K-alpha 1 and 2 that of K-alpha 1.
    width
        Full width at half maximum, A.
    asymmetry
        a of the module; 0 +- 0 where it is held.
    centre
        Mean spacing of what is above the straight line in the window, weighted with it, A, [2].
    shape
        To start a neighbour from; None if no peak stands out.
    gof
        Goodness of fit.
    """

    spacing: Array
    area: Array
    width: Array
    asymmetry: Array
    centre: Array
    shape: Shape | None
    gof: float


def cut_of(pattern: Pattern, group: Group, *, wider: float = 1.0) -> Cut | None:
    """The window of a group in a pattern, or one ``wider``; None where it has too few points or not all peaks."""
    bank, x = pattern.bank, pattern.x
    d = np.full(x.size, np.nan)
    sound = np.isfinite(x) & (x > (bank.values["zero"] if bank.kind == "cw" else 0.0))
    d[sound] = spacings_of(bank, x[sound])
    inside = _inside(bank, d, group, wider)
    if inside is None:
        return None
    inside &= pattern.used
    cut = Cut(bank, pattern.lorentz, group, x[inside], pattern.y[inside], pattern.std[inside])
    return cut if _is_enough(cut, group) else None


def narrowed(cut: Cut, spacings: tuple[float, ...]) -> Cut | None:
    """The window of the same group at other places, cut from a wider one."""
    group = replace(cut.group, spacings=spacings)
    inside = _inside(cut.bank, spacings_of(cut.bank, cut.x), group, 1.0)
    if inside is None:
        return None
    found = replace(cut, group=group, x=cut.x[inside], y=cut.y[inside], std=cut.std[inside])
    return found if _is_enough(found, group) else None


def _inside(bank: Bank, d: Array, group: Group, wider: float) -> NDArray[np.bool_] | None:
    """Which points, by their spacings, lie in the window of a group; None where the bank shows no such spacing."""
    ends = np.array([min(group.spacings), max(group.spacings)])
    place = place_of_spacing(bank, ends)
    if not np.all(np.isfinite(place)):
        return None
    beyond = np.full(2, group.window or 0.0)
    if group.window is None:
        per_spacing = np.abs(place_of_spacing(bank, ends * (1 + 1e-6)) - place) / (ends * 1e-6)
        beyond = np.maximum(_WINDOW * ends, _WIDTHS * full_width(bank, ends) / per_spacing)
    with np.errstate(invalid="ignore"):
        return np.asarray((d > ends[0] - wider * beyond[0]) & (d < ends[1] + wider * beyond[1]))


def _is_enough(cut: Cut, group: Group) -> bool:
    """Whether a window has points for all that is fitted, and on both sides of every peak."""
    if cut.x.size < _FEWEST + 4 * len(group.spacings):
        return False
    d = spacings_of(cut.bank, cut.x[[0, -1]])
    return all(d.min() < one < d.max() for one in group.spacings)


@dataclass(frozen=True, eq=False)
class _Bell:
    """The peak of a bank at a spacing, as wide as the instrument.

    Attributes
    ----------
    cut
        For which window.
    spacing
        A.
    full
        Its full width, us or deg, about.
    lean
        Share of its area to the right of its place minus that to the left.
    """

    cut: Cut
    spacing: float
    full: float
    lean: float

    def at(self, t: Array, blur: float) -> tuple[Array, Array, Array]:
        """S and its derivatives to t and to the blur at the distances t (us or deg) from the place."""
        value, per_t, per_gamma = _bank_shape(self.cut, self.spacing, t, blur * self.full)
        return value, per_t, per_gamma * self.full

    def width(self, blur: float, asymmetry: float) -> float:
        """Full width at half maximum, us or deg."""
        t = self.full * (1 + blur) * np.linspace(-4.0, 4.0, _FINE)
        value, x = self.at(t, blur)[0], t * (1 + asymmetry * np.sign(t))
        above = np.flatnonzero(value > 0.5 * value.max())
        first, last = above[[0, -1]]
        half = 0.5 * value.max()
        left = np.interp(half, value[first - 1 : first + 1], x[first - 1 : first + 1])
        right = np.interp(half, value[last : last + 2][::-1], x[last : last + 2][::-1])
        return float(right - left)


def _bell(cut: Cut, spacing: float) -> _Bell:
    full = float(full_width(cut.bank, np.array([spacing]))[0])
    # the wings of a Lorentzian are far: even steps of asinh
    u = np.linspace(-9.0, 9.0, 4 * _FINE + 1)
    value, weight = _bank_shape(cut, spacing, full * np.sinh(u), 0.0)[0], np.cosh(u)
    share = value * weight / (value @ weight)
    return _Bell(cut, spacing, full, float(share[u > 0].sum() - share[u < 0].sum()))


def _bank_shape(cut: Cut, spacing: float, t: Array, blur: float) -> tuple[Array, Array, Array]:
    """The peak of the bank of a window at a spacing, blurred (us or deg), and its derivatives to t and to the blur."""
    d, values = np.array([spacing]), cut.bank.values
    if cut.bank.kind == "tof":
        alpha, beta, sigma2, gamma = (float(value_of(one)[0]) for one in tof_shape(values=values, d=d))
        rows = tof_profile(
            t=t, alpha=alpha, beta=beta, sigma2=max(sigma2, 1e-3), gamma=max(gamma, 0.0) + blur, lorentz=cut.profile
        )
        return rows[0], -rows[1], rows[5]
    angle = float(value_of(two_theta_from_spacing(d=d, wavelength=values["wavelength"]))[0])
    sigma2, gamma = (float(value_of(one)[0]) for one in cw_shape(values=values, two_theta=np.array([angle])))
    rows = cw_profile(
        two_theta=angle + t,
        position=angle,
        sigma2=max(sigma2, 1e-7),
        gamma=max(gamma, 0.0) + blur,
        axial=max(values["axial"], 0.0),
        law=cut.profile,
    )
    # of the derivative to the position, less than a per cent is that axial divergence changes with the angle
    return rows[0], -rows[1], rows[3]


def _lines(bank: Bank) -> list[tuple[str, float]]:
    """Name of the wavelength and intensity of the peaks that a spacing has; of time of flight one without a name."""
    if bank.kind == "tof":
        return [("", 1.0)]
    two = bank.values["wavelength2"] > 0 and bank.values["ratio"] > 0
    return [("wavelength", 1.0), *([("wavelength2", bank.values["ratio"])] if two else [])]


def _peak(cut: Cut, bell: _Bell, values: Values, prefix: str) -> Graded:
    """One peak of area one at the points of its window."""
    d, blur, lean = (values[f"{prefix}.{name}"] for name in _KINDS)
    b, a = float(value_of(blur)), float(value_of(lean))
    total: Graded = np.zeros(cut.x.size)
    for wavelength, share in _lines(cut.bank):
        if wavelength:
            place = two_theta_from_spacing(d=d, wavelength=cut.bank.values[wavelength], zero=cut.bank.values["zero"])
        else:
            place = tof_from_spacing(d=d, values=cut.bank.values)
        t = cut.x - float(value_of(place))
        side = np.where(t < 0, -1.0, 1.0)
        t = t / (1 + a * side)
        s, per_t, per_blur = bell.at(t, b)
        area = 1 + a * bell.lean
        per_place = -per_t / (1 + a * side) / area
        per_lean = -per_t * t * side / (1 + a * side) / area - s * bell.lean / area**2
        parts = ((per_place, place), (per_blur / area, blur), (per_lean, lean))
        total = total + share * chained(s / area, *parts)
    return total


@dataclass(frozen=True, eq=False)
class _Problem:
    """The window, its peaks and its straight line."""

    cut: Cut
    bells: tuple[_Bell, ...]
    line: Array

    def calculated(self, values: Values) -> Graded:
        """Peaks on the line, [m]."""
        made = mapped(self.line, stacked([values["line.0"], values["line.1"]]))
        for k, bell in enumerate(self.bells):
            made = made + values[f"{k}.area"] * _peak(self.cut, bell, values, f"{k}")
        return made

    def residual(self, values: Values, std: Array) -> Residual:
        """Observed against calculated."""
        made = self.calculated(values)
        slope = made.slope if isinstance(made, Dual) else np.zeros((made.size, 0))
        return Residual((self.cut.y - value_of(made)) / std, slope / std[:, None])

    def against(self, std: Array) -> Compare:
        """The comparison with these uncertainties."""
        return lambda values: [self.residual(values, std)]


def _problem(cut: Cut) -> _Problem:
    span = cut.x[-1] - cut.x[0]
    line = np.stack([np.ones(cut.x.size), (cut.x - cut.x[0]) / span - 0.5], axis=1)
    return _Problem(cut, tuple(_bell(cut, one) for one in cut.group.spacings), line)


def start_shape(cut: Cut) -> tuple[float, Shape]:
    """Where peaks are looked for first: by linear fits with the group moved and blurred; and how much it stands out.

    That is the root of what the peaks take off the sum of squares of a straight line.
    """
    problem, spacings = _problem(cut), np.array(cut.group.spacings)
    d = spacings_of(cut.bank, cut.x[[0, -1]])
    room = min(spacings.min() - d.min(), d.max() - spacings.max())
    bare = _linear(problem, None, cut.std)[1]
    best, found = np.inf, Shape(cut.group.spacings, (_BLURS[0],) * spacings.size, (0.0,) * spacings.size)
    for shift in _SHIFTS * room:
        for blur in _BLURS:
            tried = Shape(tuple(spacings + shift), (blur,) * spacings.size, (0.0,) * spacings.size)
            area, chi2 = _linear(problem, tried, cut.std)
            if chi2 < best and area[: spacings.size].sum() > 0:
                best, found = chi2, tried
    return float(np.sqrt(max(bare - best, 0.0))) if np.isfinite(best) else 0.0, found


def _linear(problem: _Problem, shape: Shape | None, std: Array) -> tuple[Array, float]:
    """Areas and line that fit best with everything else held, and the sum of squares."""
    peaks = []
    if shape is not None:
        values = _numbers(shape)
        peaks = [value_of(_peak(problem.cut, bell, values, f"{k}")) for k, bell in enumerate(problem.bells)]
    design = np.column_stack([*peaks, problem.line]) / std[:, None]
    found, *_ = np.linalg.lstsq(design, problem.cut.y / std, rcond=None)
    left = problem.cut.y / std - design @ found
    return np.asarray(found), float(left @ left)


def _numbers(shape: Shape) -> dict[str, float]:
    three = zip(shape.spacing, shape.blur, shape.asymmetry, strict=True)
    return {f"{k}.{name}": value for k, values in enumerate(three) for name, value in zip(_KINDS, values, strict=True)}


def fit_peaks(cut: Cut, start: Shape) -> PeakFit:
    """The peaks of a window, from a shape that a neighbour had or that `start_shape` finds."""
    problem, count = _problem(cut), len(cut.group.spacings)
    parameters = _parameters(problem, start)
    held = (*(f"{k}.area" for k in range(count)), "line.0", "line.1")
    fit, std = _searched(problem, parameters, held)
    kinds = _KINDS if cut.group.asymmetry else _KINDS[:2]
    # where peaks are off their start the misfit is no reason to leave them there
    out = [k for k in range(count) if _strength(fit, k, widened=False) > STANDS_OUT]
    free = tuple(f"{k}.{kind}" for k in out for kind in kinds)
    if free:
        whole, renewed = _searched(problem, parameters.starting(fit.numbers()), (*held, *free))
        sound = whole.outcome in ("converged", "bound", "stalled")
        out = [k for k in out if sound and _strength(whole, k) > STANDS_OUT]
        fit, std = (whole, renewed) if out else (fit, std)
    return _result(problem, fit, std, out)


def _parameters(problem: _Problem, start: Shape) -> Parameters:
    """All numbers of a window, with areas and line from a linear fit."""
    cut = problem.cut
    low, high = sorted(float(one) for one in spacings_of(cut.bank, cut.x[[0, -1]]))
    count = len(start.spacing)
    linear = _linear(problem, start, cut.std)[0]
    numbers = {f"{k}.area": Parameter(float(linear[k])) for k in range(count)}
    numbers |= {f"line.{k}": Parameter(float(linear[count + k])) for k in range(2)}
    for name, value in _numbers(start).items():
        kind = name.split(".")[1]
        if kind == "d":
            numbers[name] = Parameter(value, low=low, high=high)
        elif kind == "blur":
            numbers[name] = Parameter(value, low=0.0, high=_MOST_BLUR)
        else:
            numbers[name] = Parameter(value, low=-_ASYMMETRY, high=_ASYMMETRY)
    return Parameters(numbers)


def _searched(problem: _Problem, parameters: Parameters, free: Sequence[str]) -> tuple[Fit, Array]:
    """The fit of the free numbers, with the weights of what it calculates in the end, and these uncertainties."""
    std = problem.cut.std
    fit = refined(search_of(parameters, free), problem.against(std))
    for _ in range(_REWEIGHTED):
        std = _expected_std(problem, fit)
        parameters = parameters.starting(fit.numbers())
        fit = refined(search_of(parameters, free), problem.against(std))
    return fit, std


def _expected_std(problem: _Problem, fit: Fit) -> Array:
    """Counting noise of what is calculated: weights of what was counted draw a fit to its low points."""
    cut = problem.cut
    sound = cut.y > 0
    if np.count_nonzero(sound) < 0.5 * cut.y.size:
        return cut.std
    worth = float(np.median(cut.std[sound] ** 2 / cut.y[sound]))
    made = value_of(problem.calculated(fit.numbers()))
    return np.sqrt(worth * np.maximum(made, _FAINT * float(np.abs(made).max())))


def _strength(fit: Fit, k: int, *, widened: bool = True) -> float:
    """Area of a peak over its uncertainty."""
    return fit.numbers()[f"{k}.area"] / max(fit.std(f"{k}.area", widened=widened), 1e-300)


def _result(problem: _Problem, fit: Fit, std: Array, out: Sequence[int]) -> PeakFit:
    """What a fit says; of peaks that do not stand out the area alone."""
    count, values, numbers = len(problem.bells), fit.values(), fit.numbers()
    nothing = np.full((count, 2), np.nan)
    spacing, width, asymmetry = nothing.copy(), nothing.copy(), nothing.copy()
    area = np.array([(numbers[f"{k}.area"], fit.std(f"{k}.area")) for k in range(count)])
    for k in out:
        d, blur, lean = (values[f"{k}.{name}"] for name in _KINDS)
        spacing[k] = numbers[f"{k}.d"], fit.std_of(d)
        width[k] = _width(problem, k, (numbers[f"{k}.blur"], fit.std_of(blur)), float(value_of(lean)))
        width[k] *= _spacing_per_place(problem.cut, numbers[f"{k}.d"])
        asymmetry[k] = numbers[f"{k}.asymmetry"], fit.std_of(lean)
    shape = None
    if out:
        found = [tuple(numbers[f"{k}.{name}"] for k in range(count)) for name in _KINDS]
        shape = Shape(*found)
    return PeakFit(spacing, area, width, asymmetry, _centre(problem, fit, std) if out else nothing[0], shape, fit.gof)


def _width(problem: _Problem, k: int, blur: tuple[float, float], asymmetry: float) -> Array:
    """Full width at half maximum of a peak and its uncertainty by that of its blur, us or deg."""
    bell, (value, std) = problem.bells[k], blur
    step = 0.02 * (1 + value)
    rise = (bell.width(value + step, asymmetry) - bell.width(value, asymmetry)) / step
    return np.array([bell.width(value, asymmetry), rise * std])


def _spacing_per_place(cut: Cut, d: float) -> float:
    """A per us or deg at a spacing."""
    near = place_of_spacing(cut.bank, np.array([d * (1 - 1e-6), d * (1 + 1e-6)]))
    return float(2e-6 * d / (near[1] - near[0])) if near[1] > near[0] else float(2e-6 * d / (near[0] - near[1]))


def _centre(problem: _Problem, fit: Fit, std: Array) -> Array:
    """Mean spacing of what is above the line, weighted with it, and its uncertainty by counting.

    The line is one of the fit, so noise of a point moves the mean by itself and through the line.
    """
    cut = problem.cut
    step, d = np.gradient(cut.x), spacings_of(cut.bank, cut.x)
    values = fit.values()
    line = mapped(problem.line, stacked([values["line.0"], values["line.1"]]))
    above = (cut.y - value_of(line)) * step
    total = above.sum()
    centre = float(above @ d / total)
    lever = step * (d - centre) / total
    residual = problem.residual(values, std)
    through = fit.covariance @ residual.jacobian.T / std  # what noise of each point does to the free numbers
    slope = line.slope if isinstance(line, Dual) else np.zeros((cut.x.size, fit.u.size))
    moved = lever - (lever @ slope) @ through
    return np.array([centre, float(np.sqrt(np.sum((moved * std) ** 2))) * max(fit.gof, 1.0)])
