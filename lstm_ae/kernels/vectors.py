"""Define SIMD vectors of float32 for Numba, as wide as the registers, with arithmetic, loads, stores, and products.

LLVM's automatic vectorization yields slow code for an LSTM cell's step. A `Vector` is one register, so that kernels
control vectorization explicitly. LLVM provides vector types on every processor; only the number of lanes differs.
"""

import operator
from collections.abc import Callable, Sequence

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.base import BaseContext as TargetContext
from numba.core.datamodel import DataModelManager
from numba.core.typing.context import BaseContext as TypingContext
from numba.core.typing.templates import Signature
from numba.extending import intrinsic, models, overload, register_model

_FEATURES = llvmlite.binding.get_host_cpu_features()
# AVX-512, AVX, and the minimum of all other processors.
LANES: int = 16 if _FEATURES.get("avx512f") else 8 if _FEATURES.get("avx") else 4
# Rows of a tile of a product: its sums must fit into the registers, 16 of them with AVX, 32 elsewhere.
TILE_ROWS = 2 if LANES == 8 else 4

_FLOAT, _INT = ir.FloatType(), ir.IntType(32)
_VECTOR, _INTS = ir.VectorType(_FLOAT, LANES), ir.VectorType(_INT, LANES)
_LENGTH = ir.IntType(64)


# The signature of an intrinsic, and the function that generates its code.
Intrinsic = tuple[Signature, Callable[[TargetContext, ir.IRBuilder, Signature, Sequence[ir.Value]], ir.Value]]


class Vector(types.Type):
    """Numba type of `LANES` float32 values."""

    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


vector = Vector()
# Compiled functions use a vector like a number, so that this is the type of its value for type checkers.
Lanes = float


@register_model(Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: DataModelManager, kind: types.Type) -> None:
        super().__init__(manager, kind, _VECTOR)


def _every(value: float, kind: ir.VectorType = _VECTOR) -> ir.Constant:
    """Return a constant in all lanes."""
    return ir.Constant(kind, [ir.Constant(kind.element, value)] * LANES)


def _spread(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Return a scalar in all lanes."""
    single = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, ir.Constant(_INT, 0))
    return builder.shuffle_vector(single, single, ir.Constant(_INTS, [0] * LANES))


def _pointer(
    context: TargetContext, builder: ir.IRBuilder, kind: types.Array, array: ir.Value, index: ir.Value
) -> ir.Value:
    """Return the address of an element of a one-dimensional array."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.gep(data, [index])


def _wide(builder: ir.IRBuilder, pointer: ir.Value) -> ir.Value:
    return builder.bitcast(pointer, _VECTOR.as_pointer())


@intrinsic
def load(typing: TypingContext, array: types.Type, index: types.Type) -> Intrinsic:
    """Load `LANES` values from `index`."""

    def generate(
        context: TargetContext, builder: ir.IRBuilder, signature: Signature, arguments: Sequence[ir.Value]
    ) -> ir.Value:
        pointer = _pointer(context, builder, array, *arguments)
        return builder.load(_wide(builder, pointer), align=4)

    return vector(array, types.intp), generate


@intrinsic
def store(typing: TypingContext, array: types.Type, index: types.Type, value: types.Type) -> Intrinsic:
    """Store a vector from `index`."""

    def generate(
        context: TargetContext, builder: ir.IRBuilder, signature: Signature, arguments: Sequence[ir.Value]
    ) -> ir.Value:
        pointer = _pointer(context, builder, array, *arguments[:2])
        builder.store(arguments[2], _wide(builder, pointer), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


def _binary(name: str) -> Callable[..., Lanes]:
    """Return an arithmetic operation on two vectors, or a vector and a scalar; products and sums may be fused."""

    @intrinsic
    def operation(typing: TypingContext, left: types.Type, right: types.Type) -> Intrinsic:
        def generate(
            context: TargetContext, builder: ir.IRBuilder, signature: Signature, arguments: Sequence[ir.Value]
        ) -> ir.Value:
            sides = [
                value if kind is vector else _spread(builder, context.cast(builder, value, kind, types.float32))
                for kind, value in zip(signature.args, arguments, strict=True)
            ]
            return getattr(builder, name)(*sides, flags=("contract",))

        return vector(left, right), generate

    result: Callable[..., Lanes] = operation
    return result


def _overload(python: Callable[..., object], name: str) -> None:
    operation = _binary(name)

    @overload(python, strict=False)
    def choose(left: types.Type, right: types.Type) -> Callable[..., Lanes] | None:
        if vector in (left, right) and {left, right} <= {vector, types.float32, types.float64}:
            return lambda left, right: operation(left, right)
        return None


for _python, _name in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _overload(_python, _name)

# Taylor series of exp(r) - 1 for |r| <= ln 2 / 2: the first omitted term is below 6e-9 of the result.
_TAYLOR = (1 / 5040, 1 / 720, 1 / 120, 1 / 24, 1 / 6, 1 / 2, 1.0)
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4


# exp(x) - 1 for |x| up to this limit, to which x is clipped, so that float32's exponential is a normal number.
_LARGEST = 87.0


@intrinsic
def _expm1(typing: TypingContext, value: types.Type) -> Intrinsic:
    def generate(
        context: TargetContext, builder: ir.IRBuilder, signature: Signature, arguments: Sequence[ir.Value]
    ) -> ir.Value:
        def fused(a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
            return builder.fadd(builder.fmul(a, b, flags=("contract",)), c, flags=("contract",))

        (x,) = arguments
        for bound, sign in ((_LARGEST, ">"), (-_LARGEST, "<")):
            limit = _every(bound)
            x = builder.select(builder.fcmp_ordered(sign, x, limit), limit, x)
        kind = ir.FunctionType(_VECTOR, [_VECTOR])
        nearest = cgutils.get_or_insert_function(builder.module, kind, f"llvm.rint.v{LANES}f32")
        power = builder.call(nearest, [builder.fmul(x, _every(1.4426950408889634))])
        reduced = fused(power, _every(-_LN2_HIGH), x)
        reduced = fused(power, _every(-_LN2_LOW), reduced)
        tail = _every(_TAYLOR[0])
        for coefficient in _TAYLOR[1:]:
            tail = fused(tail, reduced, _every(coefficient))
        tail = builder.fmul(tail, reduced)
        # 2**power by setting the bits of the exponent.
        bits = builder.shl(builder.add(builder.fptosi(power, _INTS), _every(127, _INTS)), _every(23, _INTS))
        scale = builder.bitcast(bits, _VECTOR)
        return fused(tail, scale, builder.fsub(scale, _every(1.0)))

    return vector(vector), generate


# exp(x) - 1 in all lanes, accurate to a few units in the last place, also for small x; NaN stays NaN.
expm1: Callable[[Lanes], Lanes] = _expm1


def tile(rows: int, wide: int) -> Callable[..., None]:
    """Return a product's tile of `rows` rows and `wide` vectors that keeps its sums in registers.

    Returns:
        A function that computes out = start + left x right, with the arguments (out, its first index, and row stride;
        start, its first index, and row stride; left, its first index, row stride, and stride of the sum; right, its
        first index, and stride of the sum; length of the sum). All arrays are one-dimensional.
    """

    @intrinsic
    def product(
        typing: TypingContext,
        out: types.Type,
        out_at: types.Type,
        out_row: types.Type,
        start: types.Type,
        start_at: types.Type,
        start_row: types.Type,
        left: types.Type,
        left_at: types.Type,
        left_row: types.Type,
        left_sum: types.Type,
        right: types.Type,
        right_at: types.Type,
        right_sum: types.Type,
        length: types.Type,
    ) -> Intrinsic:
        n = types.intp

        def generate(
            context: TargetContext, builder: ir.IRBuilder, signature: Signature, arguments: Sequence[ir.Value]
        ) -> ir.Value:
            outs, out_at, out_row, starts, start_at, start_row, lefts, left_at, left_row, left_sum = arguments[:10]
            rights, right_at, right_sum, length = arguments[10:]

            def places(kind: types.Array, array: ir.Value, first: ir.Value, step: ir.Value) -> list[ir.Value]:
                """Return the addresses of the tile's rows."""
                pointer = _pointer(context, builder, kind, array, first)
                return [builder.gep(pointer, [builder.mul(step, ir.Constant(_LENGTH, row))]) for row in range(rows)]

            def across(pointer: ir.Value, number: int) -> ir.Value:
                return _wide(builder, builder.gep(pointer, [ir.Constant(_LENGTH, number * LANES)]))

            before = builder.block
            sums = [
                builder.load(across(pointer, number), align=4)
                for pointer in places(start, starts, start_at, start_row)
                for number in range(wide)
            ]
            rows_left = places(left, lefts, left_at, left_row)
            row_right = _pointer(context, builder, right, rights, right_at)
            loop, after = builder.append_basic_block("sum"), builder.append_basic_block("summed")
            builder.branch(loop)
            builder.position_at_end(loop)
            count = builder.phi(_LENGTH)
            running = [builder.phi(_VECTOR) for _ in sums]
            at_left = builder.mul(count, left_sum)
            from_right = builder.gep(row_right, [builder.mul(count, right_sum)])
            columns = [builder.load(across(from_right, number), align=4) for number in range(wide)]
            added = []
            for row, pointer in enumerate(rows_left):
                factor = _spread(builder, builder.load(builder.gep(pointer, [at_left]), align=4))
                for number in range(wide):
                    part = builder.fmul(factor, columns[number], flags=("contract",))
                    added.append(builder.fadd(running[row * wide + number], part, flags=("contract",)))
            following = builder.add(count, ir.Constant(_LENGTH, 1))
            builder.cbranch(builder.icmp_signed("<", following, length), loop, after)
            count.add_incoming(ir.Constant(_LENGTH, 0), before)
            count.add_incoming(following, loop)
            for phi, first, new in zip(running, sums, added, strict=True):
                phi.add_incoming(first, before)
                phi.add_incoming(new, loop)
            builder.position_at_end(after)
            for row, pointer in enumerate(places(out, outs, out_at, out_row)):
                for number in range(wide):
                    builder.store(added[row * wide + number], across(pointer, number), align=4)
            return context.get_dummy_value()

        return types.void(out, n, n, start, n, n, left, n, n, n, right, n, n, n), generate

    result: Callable[..., None] = product
    return result
