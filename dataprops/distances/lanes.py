"""Vector code for loops that compilers do not vectorise well: numba intrinsics that emit LLVM IR.

Each function compiles to a few instructions inside a kernel. `vnni_sum` and `vnni_rest` require AVX-512 VNNI (`dots.choose_dots`
checks for it); `close_lanes` compiles for any processor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16  # 32-bit lanes of a vector
BYTES = 4 * LANES  # int8 values of a vector
UNROLLED = 2  # vectors per step, with independent accumulators
STEP = UNROLLED * BYTES  # int8 values per step
TO_UNSIGNED = -0x7F7F7F80  # 0x80 in each byte: x - 128 as int8 becomes x as uint8

# intrinsics are called without their first argument
compiled_in = cast("Callable[[Callable[..., Any]], Any]", intrinsic)

INT8, INT32, INT64 = (ir.IntType(bits) for bits in (8, 32, 64))
FLOATS, NUMBERS = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(INT32, LANES)
OF_BYTES = ir.VectorType(INT8, BYTES)


def supported(*names: str) -> bool:
    """Whether kernels are compiled with all these instructions."""
    asked = config.CPU_FEATURES
    if asked is None:
        features = get_host_cpu_features()
        return all(features.get(name, False) for name in names)
    return {f"+{name}" for name in names} <= set(asked.split(","))


def constant(kind: Any, value: float) -> Any:
    """A value in all lanes."""
    return ir.Constant(kind, [value] * kind.count)


def spread(builder: Any, kind: Any, value: Any) -> Any:
    """Broadcast a value to all lanes."""
    nothing = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(nothing, value, INT32(0))
    return builder.shuffle_vector(first, nothing, constant(ir.VectorType(INT32, kind.count), 0))


def called(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    """Call an LLVM intrinsic."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def data(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    """Data pointer of an array."""
    return context.make_array(kind)(context, builder, array).data


def load(builder: Any, place: Any, kind: Any, align: int) -> Any:
    """A value of this kind at a place."""
    return builder.load(builder.bitcast(place, kind.as_pointer()), align=align)


def _dot(builder: Any, sums: Any, unsigned: Any, signed: Any) -> Any:
    """vpdpbusd: per lane, add four uint8 x int8 products to an int32, without saturation."""
    return called(builder, "llvm.x86.avx512.vpdpbusd.512", NUMBERS, [sums, unsigned, signed])


def total(builder: Any, numbers: Any) -> Any:
    """Sum of the int32 lanes of a vector."""
    return called(builder, f"llvm.vector.reduce.add.v{numbers.type.count}i32", INT32, [numbers])


def places(context: Any, builder: Any, signature: Any, args: Any) -> list[Any]:
    """Pointers into the first two arguments, flat arrays, at the offsets that the next two give."""
    return [builder.gep(data(context, builder, signature.args[i], args[i]), [args[2 + i]]) for i in (0, 1)]


def summed(builder: Any, kind: Any, count: int, steps: Any, more: Callable[[Any, list[Any]], list[Any]]) -> list[Any]:
    """As many values of this kind, zero at first, after `steps` (>= 1) repetitions of more(step, sums), which returns them."""
    before, loop, after = builder.basic_block, builder.append_basic_block(), builder.append_basic_block()
    builder.branch(loop)
    builder.position_at_end(loop)
    step, sums = builder.phi(INT64), [builder.phi(kind) for _ in range(count)]
    values = more(step, sums)
    following = builder.add(step, INT64(1))
    begin = (INT64(0), *[constant(kind, 0)] * count)
    for phi, first, value in zip((step, *sums), begin, (following, *values), strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", following, steps), loop, after)
    builder.position_at_end(after)
    return values


@compiled_in
def vnni_sum(typing: Any, a: Any, b: Any, start_a: Any, start_b: Any, steps: Any) -> Any:
    """Inner product of `steps` (>= 1) x `STEP` int8 values of two flat arrays from the given offsets, as int32.

    The instruction multiplies uint8 by int8, so a + 128 is used in place of a, and 128 sum(b) is subtracted. Neither sum overflows
    int32 up to 65,536 features.
    """
    signature = types.int32(a, b, types.int64, types.int64, types.int64)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        flip, first = constant(NUMBERS, TO_UNSIGNED), places(context, builder, signature, args)

        def more(step: Any, sums: list[Any]) -> list[Any]:
            out = []
            for part in range(UNROLLED):
                place = builder.add(builder.mul(step, INT64(STEP)), INT64(BYTES * part))
                x, y = (load(builder, builder.gep(begin, [place]), NUMBERS, 1) for begin in first)
                out.append(_dot(builder, sums[2 * part], builder.xor(x, flip), y))
                out.append(_dot(builder, sums[2 * part + 1], flip, y))
            return out

        sums, whole = summed(builder, NUMBERS, 2 * UNROLLED, args[4], more), constant(NUMBERS, 0)
        for with_128, of_128 in zip(sums[::2], sums[1::2], strict=True):
            whole = builder.add(whole, builder.sub(with_128, of_128))
        return total(builder, whole)

    return signature, generate


@compiled_in
def vnni_rest(typing: Any, a: Any, b: Any, start_a: Any, start_b: Any, rest: Any) -> Any:
    """As `vnni_sum` for a remainder of at most `BYTES` features, with masked loads."""
    signature = types.int32(a, b, types.int64, types.int64, types.int8)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        inside = builder.icmp_signed("<", ir.Constant(OF_BYTES, list(range(BYTES))), spread(builder, OF_BYTES, args[4]))
        name, nothing = f"llvm.masked.load.v{BYTES}i8.p0v{BYTES}i8", constant(OF_BYTES, 0)
        begins = [builder.bitcast(place, OF_BYTES.as_pointer()) for place in places(context, builder, signature, args)]
        x, y = (
            builder.bitcast(called(builder, name, OF_BYTES, [begin, INT32(1), inside, nothing]), NUMBERS)
            for begin in begins
        )
        zero, flip = constant(NUMBERS, 0), constant(NUMBERS, TO_UNSIGNED)
        with_128, of_128 = (_dot(builder, zero, unsigned, y) for unsigned in (builder.xor(x, flip), flip))
        return total(builder, builder.sub(with_128, of_128))

    return signature, generate


@compiled_in
def close_lanes(typing: Any, g: Any, columns: Any, place: Any, of_row: Any, rise: Any, out: Any) -> Any:
    """Write the columns whose lower bound is within the limits of the row or the column; returns the new number of pairs.

    With step = min(abs(y_i - y_j) + least, most), 0 where a label is missing, and

        within = max(reach_i, reach_j, step * max(slope_i, slope_j)) + error_i + error_j,

    a column passes if norm_i + norm_j - 2 g_ij <= within^2. Branch-free: the time does not depend on how many pass.

    Parameters
    ----------
    g : int32 or float32 [m, n]
        Exact in float32.
    columns : bounds.Limits
    place : five int64
        Row; first and last column, a multiple of `LANES` apart; offset of the written column numbers; pairs already written.
    of_row : five float32
        Norm, error, reach, slope and label of the row.
    rise : bounds.Rise
    out : bounds.PairBuffers
        With room for `LANES` more pairs than pass.
    """
    signature = types.int64(g, columns, types.UniTuple(types.int64, 5), of_row, rise, out)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def arrays(at: int, length: int) -> list[Any]:
            values = cgutils.unpack_tuple(builder, args[at], length)
            return [
                data(context, builder, kind, value)
                for kind, value in zip(signature.args[at].types, values, strict=True)
            ]

        tile = context.make_array(signature.args[0])(context, builder, args[0])
        row, begin, end, name, found_before = cgutils.unpack_tuple(builder, args[2], 5)
        of_row = [spread(builder, FLOATS, value) for value in cgutils.unpack_tuple(builder, args[3], 5)]
        rise = [spread(builder, FLOATS, value) for value in cgutils.unpack_tuple(builder, args[4], 2)]
        products = builder.gep(tile.data, [builder.mul(row, builder.extract_value(tile.shape, 1))])
        of_columns, (rows_out, columns_out) = arrays(1, 5), arrays(5, 2)
        this_row = spread(builder, NUMBERS, builder.trunc(row, INT32))

        before, loop, after = builder.basic_block, builder.append_basic_block(), builder.append_basic_block()
        builder.cbranch(builder.icmp_signed("<", begin, end), loop, after)
        builder.position_at_end(loop)
        start, found = builder.phi(INT64), builder.phi(INT64)
        whole = signature.args[0].dtype != types.float32
        product = load(builder, builder.gep(products, [start]), NUMBERS if whole else FLOATS, 4)
        product = builder.sitofp(product, FLOATS) if whole else product
        here = [load(builder, builder.gep(first, [start]), FLOATS, 4) for first in of_columns]
        close = _is_close(builder, product, of_row, here, rise)
        names = spread(builder, NUMBERS, builder.trunc(builder.add(name, start), INT32))
        names = builder.add(names, ir.Constant(NUMBERS, list(range(LANES))))
        _store_chosen(builder, names, close, builder.gep(columns_out, [found]))
        at = builder.bitcast(builder.gep(rows_out, [found]), NUMBERS.as_pointer())
        builder.store(this_row, at, align=4)
        bits = builder.bitcast(close, ir.IntType(LANES))
        count = builder.zext(called(builder, f"llvm.ctpop.i{LANES}", bits.type, [bits]), INT64)
        more, following = builder.add(found, count), builder.add(start, INT64(LANES))
        for phi, first, value in ((start, begin, following), (found, found_before, more)):
            phi.add_incoming(first, before)
            phi.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed("<", following, end), loop, after)
        builder.position_at_end(after)
        total = builder.phi(INT64)
        total.add_incoming(found_before, before)
        total.add_incoming(more, loop)
        return total

    return signature, generate


def _store_chosen(builder: Any, numbers: Any, chosen: Any, place: Any) -> None:
    """Store the chosen lanes one after another; up to `LANES` numbers beyond them may be overwritten."""
    if supported("avx512f"):
        # in a register first: stored at once, it takes Zen 4 a hundred cycles
        kind = f"llvm.x86.avx512.mask.compress.v{LANES}i32"
        packed = called(builder, kind, NUMBERS, [numbers, constant(NUMBERS, 0), chosen])
        builder.store(packed, builder.bitcast(place, NUMBERS.as_pointer()), align=4)
    else:
        called(builder, f"llvm.masked.compressstore.v{LANES}i32", ir.VoidType(), [numbers, place, chosen])


def _is_close(builder: Any, product: Any, row: list[Any], columns: list[Any], rise: list[Any]) -> Any:
    """The test of `close_lanes`, for all lanes."""

    def larger(x: Any, y: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", x, y), x, y)

    norm_i, error_i, reach_i, slope_i, y_i = row
    norm, error, reach, slope, y = columns
    most, least = rise
    zero = constant(FLOATS, 0.0)
    apart = builder.fsub(y_i, y)
    step = builder.fadd(larger(apart, builder.fsub(zero, apart)), least)
    step = builder.select(builder.fcmp_ordered("<", step, most), step, most)
    step = builder.select(builder.fcmp_ordered("ord", apart, apart), step, zero)
    within = larger(larger(reach_i, reach), builder.fmul(step, larger(slope_i, slope)))
    within = builder.fadd(within, builder.fadd(error_i, error))
    bound = builder.fsub(builder.fadd(norm_i, norm), builder.fadd(product, product))
    return builder.fcmp_ordered("<=", bound, builder.fmul(within, within))
