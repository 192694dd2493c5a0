"""Products of small matrices with many vectors, eight rows at a time: the arithmetic of compressed fits."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload
from numpy.typing import ArrayLike, NDArray

Float32Array = NDArray[np.float32]

LANES = 8  # numbers that are treated side by side; tables are padded with zeros to multiples of it


def padded(table: ArrayLike) -> Float32Array:
    """The last axis filled with zeros to a multiple of LANES, single precision."""
    values = np.asarray(table, dtype=np.float32)
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, -values.shape[-1] % LANES)])


def tiled(matrices: ArrayLike) -> Float32Array:
    """Matrices [..., row, column] as flat tiles [..., row / LANES, column, LANES], padded with zeros."""
    by_column = padded(padded(matrices).swapaxes(-1, -2))
    tiles = by_column.reshape(*by_column.shape[:-1], -1, LANES).swapaxes(-2, -3)
    return np.ascontiguousarray(tiles).ravel()


def tile_product(tiles: Float32Array, begin: int, vector: Float32Array, start: int, n: int, out: Float32Array) -> None:
    """out[:LANES] = sum over k < n of vector[start + k] * tiles[begin + LANES k : begin + LANES (k + 1)].

    All arrays are flat float32, n is a multiple of 4. All the work of the fit is done here, eight numbers to an
    instruction; the compiler does not find that by itself in sums this short, so compiled code gets it spelled out.
    """
    out[:LANES] = vector[start : start + n] @ tiles[begin : begin + LANES * n].reshape(n, LANES)


@overload(tile_product, jit_options={"forceinline": True})
def _compiled_tile_product(tiles: Any, begin: Any, vector: Any, start: Any, n: Any, out: Any) -> Any:
    def product(tiles: Any, begin: Any, vector: Any, start: Any, n: Any, out: Any) -> Any:
        """What compiled code calls."""
        _vector_sums(tiles, begin, vector, start, n, out)  # type: ignore[call-arg]

    return product


@intrinsic
def _vector_sums(typing_context: Any, tiles: Any, begin: Any, vector: Any, start: Any, n: Any, out: Any) -> Any:
    signature = types.void(tiles, types.intp, vector, types.intp, types.intp, out)
    lanes = ir.VectorType(ir.FloatType(), LANES)
    indices = ir.VectorType(ir.IntType(32), LANES)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        """The instructions of the product."""
        tiles, vector, out = (context.make_array(signature.args[k])(context, builder, args[k]).data for k in (0, 2, 5))
        tiles, vector = builder.gep(tiles, [args[1]]), builder.gep(vector, [args[3]])
        # four partial sums hide the latency of an addition
        zero = ir.Constant(lanes, [0.0] * LANES)
        sums = [cgutils.alloca_once_value(builder, zero) for _ in range(4)]  # type: ignore[no-untyped-call]
        number = args[4].type
        with cgutils.for_range_slice(builder, number(0), args[4], number(4)) as (first, _):
            for offset, partial in enumerate(sums):
                k = builder.add(first, number(offset))
                factor = builder.load(builder.gep(vector, [k]))
                spread = builder.insert_element(ir.Constant(lanes, ir.Undefined), factor, ir.IntType(32)(0))
                spread = builder.shuffle_vector(spread, spread, ir.Constant(indices, [0] * LANES))
                row = builder.load(
                    builder.bitcast(builder.gep(tiles, [builder.mul(k, number(LANES))]), lanes.as_pointer()), align=4
                )
                term = builder.fmul(spread, row, flags=("contract",))
                builder.store(builder.fadd(builder.load(partial), term, flags=("contract",)), partial)
        low, high = (builder.fadd(builder.load(sums[k]), builder.load(sums[k + 1])) for k in (0, 2))
        builder.store(builder.fadd(low, high), builder.bitcast(out, lanes.as_pointer()), align=4)
        return context.get_dummy_value()

    return signature, generate
