"""Numbers that carry their derivatives: forward differentiation of formulas as they are written.

A `Dual` is an array together with its derivatives with respect to P parameters. Sums, products, powers and the
elementary functions of numpy propagate them exactly by the chain rule, so a law that is written once,

    width = np.sqrt(u * np.tan(theta) ** 2 + v * np.tan(theta) + w)

gives its values from plain arrays and its values with derivatives from duals. Nothing is differenced, nothing is
differentiated by hand twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class Dual:
    """Values (...) with their derivatives ``slope`` (..., P) with respect to P parameters."""

    __slots__ = ("slope", "value")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: ArrayLike, slope: ArrayLike) -> None:
        self.value: Array = np.asarray(value, dtype=np.float64)
        self.slope: Array = np.asarray(slope, dtype=np.float64)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values."""
        return self.value.shape

    @property
    def parameters(self) -> int:
        """P, how many parameters the derivatives are with respect to."""
        return int(self.slope.shape[-1])

    def __len__(self) -> int:
        return len(self.value)

    def __repr__(self) -> str:
        return f"Dual({self.value!r}, {self.parameters} parameters)"

    def __getitem__(self, key: Any) -> Dual:
        """Elements; the key stands for the axes of the values."""
        if isinstance(key, tuple) and Ellipsis in key:
            key = (*key, slice(None))
        return Dual(self.value[key], self.slope[key])

    def sum(self, axis: int) -> Dual:
        """Sum over one axis of the values."""
        axis = axis % self.value.ndim
        return Dual(self.value.sum(axis=axis), self.slope.sum(axis=axis))

    def __add__(self, other: Any) -> Dual:
        return _dual(np.add, self, other)

    def __radd__(self, other: Any) -> Dual:
        return _dual(np.add, other, self)

    def __sub__(self, other: Any) -> Dual:
        return _dual(np.subtract, self, other)

    def __rsub__(self, other: Any) -> Dual:
        return _dual(np.subtract, other, self)

    def __mul__(self, other: Any) -> Dual:
        return _dual(np.multiply, self, other)

    def __rmul__(self, other: Any) -> Dual:
        return _dual(np.multiply, other, self)

    def __truediv__(self, other: Any) -> Dual:
        return _dual(np.divide, self, other)

    def __rtruediv__(self, other: Any) -> Dual:
        return _dual(np.divide, other, self)

    def __pow__(self, other: float) -> Dual:
        return _dual(np.power, self, other)

    def __lt__(self, other: Any) -> Any:
        return np.less(self.value, value_of(other))

    def __gt__(self, other: Any) -> Any:
        return np.greater(self.value, value_of(other))

    def __le__(self, other: Any) -> Any:
        return np.less_equal(self.value, value_of(other))

    def __ge__(self, other: Any) -> Any:
        return np.greater_equal(self.value, value_of(other))

    def __neg__(self) -> Dual:
        return Dual(-self.value, -self.slope)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """Numpy's functions and operators on duals."""
        if method != "__call__" or options:
            return NotImplemented
        if ufunc in _COMPARISONS:
            return ufunc(*(value_of(one) for one in inputs))
        return _ufunc(ufunc, *inputs)


Graded = Array | Dual
"""An array, or an array with its derivatives."""

_COMPARISONS = {np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal, np.isfinite}

_DERIVATIVE: dict[np.ufunc, Callable[[Array, Array], Array]] = {  # of the argument and the result
    np.sqrt: lambda x, y: 0.5 / y,
    np.exp: lambda x, y: y,
    np.expm1: lambda x, y: y + 1,
    np.log: lambda x, y: 1 / x,
    np.sin: lambda x, y: np.cos(x),
    np.cos: lambda x, y: -np.sin(x),
    np.tan: lambda x, y: 1 + y * y,
    np.arcsin: lambda x, y: 1 / np.sqrt(1 - x * x),
    np.arccos: lambda x, y: -1 / np.sqrt(1 - x * x),
    np.arctan: lambda x, y: 1 / (1 + x * x),
    np.square: lambda x, y: 2 * x,
    np.negative: lambda x, y: np.full_like(x, -1.0),
    np.absolute: lambda x, y: np.sign(x),
    np.reciprocal: lambda x, y: -y * y,
    np.radians: lambda x, y: np.full_like(x, np.pi / 180),
    np.degrees: lambda x, y: np.full_like(x, 180 / np.pi),
}


def seeded(values: ArrayLike) -> Dual:
    """Parameters (P,) as duals: each has the derivative one with respect to itself."""
    point = np.asarray(values, dtype=np.float64)
    return Dual(point, np.eye(point.size))


def value_of(x: ArrayLike | Dual) -> Array:
    """The values of an array or a dual."""
    return x.value if isinstance(x, Dual) else np.asarray(x, dtype=np.float64)


def graded(x: ArrayLike | Dual) -> Graded:
    """An array, or a dual as it is."""
    return x if isinstance(x, Dual) else np.asarray(x, dtype=np.float64)


def slope_of(x: ArrayLike | Dual, parameters: int) -> Array:
    """The derivatives (..., ``parameters``) of an array, which has none, or a dual."""
    return x.slope if isinstance(x, Dual) else np.zeros((*np.shape(x), parameters))


def chained(value: ArrayLike, *parts: tuple[ArrayLike, ArrayLike | Dual]) -> Graded:
    """A ``value`` whose partial derivative with respect to each argument is known, as pairs of these."""
    slopes = [_scaled(partial, one) for partial, one in parts if isinstance(one, Dual)]
    value = np.asarray(value, dtype=np.float64)
    if not slopes:
        return value
    return Dual(value, np.broadcast_to(sum(slopes[1:], slopes[0]), (*value.shape, slopes[0].shape[-1])))


def mapped(matrix: ArrayLike, x: ArrayLike | Dual) -> Graded:
    """A ``matrix`` (..., n) without derivatives times values (n,): linear maps and contractions."""
    factor = np.asarray(matrix, dtype=np.float64)
    if isinstance(x, Dual):
        return Dual(factor @ x.value, factor @ x.slope)
    return factor @ np.asarray(x, dtype=np.float64)


def selected(condition: NDArray[np.bool_], yes: ArrayLike | Dual, no: ArrayLike | Dual) -> Graded:
    """``yes`` where the condition holds and ``no`` elsewhere, like `numpy.where`."""
    value = np.where(condition, value_of(yes), value_of(no))
    parameters = max(one.parameters if isinstance(one, Dual) else 0 for one in (yes, no))
    if not parameters:
        return value
    slopes = [np.broadcast_to(_aligned(one, parameters, value.ndim), (*value.shape, parameters)) for one in (yes, no)]
    return Dual(value, np.where(np.broadcast_to(condition, value.shape)[..., None], *slopes))


def stacked(parts: Sequence[ArrayLike | Dual], axis: int = -1) -> Graded:
    """Arrays and duals of one shape side by side along a new axis of their values."""
    axis = axis % (value_of(parts[0]).ndim + 1)
    value = np.stack([value_of(one) for one in parts], axis=axis)
    parameters = max(one.parameters if isinstance(one, Dual) else 0 for one in parts)
    if not parameters:
        return value
    return Dual(value, np.stack([slope_of(one, parameters) for one in parts], axis=axis))


def _aligned(x: ArrayLike | Dual, parameters: int, ndim: int) -> Array:
    """Derivatives with axes of length one in front, so that values of ``ndim`` axes broadcast against them."""
    slope = slope_of(x, parameters)
    return slope.reshape((1,) * (ndim + 1 - slope.ndim) + slope.shape)


def _scaled(partial: ArrayLike, x: Dual) -> Array:
    """Derivatives of ``x`` times a partial derivative; both broadcast over the axes of the values."""
    factor = np.asarray(partial, dtype=np.float64)
    return factor[..., None] * _aligned(x, x.parameters, max(factor.ndim, x.value.ndim))


def _ufunc(ufunc: np.ufunc, *inputs: Any) -> Any:
    """A function of numpy with the chain rule."""
    if ufunc not in _DERIVATIVE and ufunc not in _PARTIALS:
        raise TypeError(f"the derivative of numpy.{ufunc.__name__} is not known here")
    values = [value_of(one) for one in inputs]
    out = ufunc(*values)
    if ufunc in _DERIVATIVE:
        return chained(out, (_DERIVATIVE[ufunc](values[0], out), inputs[0]))
    partials = _PARTIALS[ufunc](*values, out)
    known = zip(partials, inputs, strict=True)
    return chained(out, *((partial(), one) for partial, one in known if isinstance(one, Dual)))


def _dual(ufunc: np.ufunc, *inputs: Any) -> Dual:
    """The same for operators of duals, which give duals."""
    return cast(Dual, _ufunc(ufunc, *inputs))


def _power(x: Array, n: Array, y: Array) -> tuple[Callable[[], Array], Callable[[], Array]]:
    """Partial derivatives of x^n."""
    return lambda: n * np.power(x, n - 1), lambda: y * np.log(x)


_PARTIALS: dict[np.ufunc, Callable[..., tuple[Callable[[], Array], Callable[[], Array]]]] = {
    np.add: lambda a, b, y: (lambda: np.ones_like(y), lambda: np.ones_like(y)),
    np.subtract: lambda a, b, y: (lambda: np.ones_like(y), lambda: -np.ones_like(y)),
    np.multiply: lambda a, b, y: (lambda: b, lambda: a),
    np.divide: lambda a, b, y: (lambda: 1 / b, lambda: -y / b),
    np.power: _power,
    np.arctan2: lambda a, b, y: (lambda: b / (a * a + b * b), lambda: -a / (a * a + b * b)),
}
