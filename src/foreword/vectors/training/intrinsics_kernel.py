"""What numba has no words for: a call by address, counters that threads share, waiting, and what to fetch ahead.

Not for: anything else. Costs: an instruction or two.
"""

# ruff: noqa: ARG001  numba reads the arguments' types from the names

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import platform
from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["add", "call", "fetch", "look"]


@intrinsic
def call(
    typing: Any, function: Any, inputs: Any, targets: Any, x: Any, m: Any, k: Any, right: Any, alpha: Any, scratch: Any
) -> Any:
    """``assembly``'s step, by its address."""
    i64 = numba.types.int64
    signature = numba.types.float64(i64, i64, i64, i64, i64, i64, i64, numba.types.float32, i64)

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer, integer = ir.IntType(8).as_pointer(), ir.IntType(64)
        kind = ir.FunctionType(
            ir.DoubleType(), [pointer, pointer, pointer, integer, pointer, integer, ir.FloatType(), pointer]
        )
        places = {i: builder.inttoptr(arguments[i], pointer) for i in (1, 2, 3, 5, 8)}
        return builder.call(
            builder.inttoptr(arguments[0], kind.as_pointer()), [places.get(i, arguments[i]) for i in range(1, 9)]
        )

    return signature, build


@intrinsic
def add(typing: Any, numbers: Any, at: Any, value: Any) -> Any:
    """Add to a number that other threads use, too; gives what it was."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.atomic_rmw("add", builder.gep(array.data, [arguments[1]]), arguments[2], "seq_cst")

    return numba.types.int64(numbers, numba.types.int64, numba.types.int64), build


@intrinsic
def look(typing: Any, numbers: Any, at: Any) -> Any:
    """A number that other threads change, and with it what they wrote before."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.load_atomic(builder.gep(array.data, [arguments[1]]), "acquire", 8)

    return numba.types.int64(numbers, numba.types.int64), build


@intrinsic
def rest(typing: Any) -> Any:
    """Wait for some cycles as a processor wants it, which else slows down who shares its core; only on x86."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if platform.machine().lower() in ("x86_64", "amd64"):
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return numba.types.void(), build


@intrinsic
def fetch(typing: Any, table: Any, row: Any) -> Any:
    """Have the processor fetch a row of a table that will be needed soon."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        rows, column = cgutils.unpack_tuple(builder, array.shape)[-1], ir.IntType(64)
        first = builder.gep(array.data, [builder.mul(arguments[1], rows)])
        pointer = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, *[ir.IntType(32)] * 3])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        read, keep, data = (ir.Constant(ir.IntType(32), value) for value in (0, 3, 1))
        with cgutils.for_range_slice(builder, column(0), rows, column(64 // 4), intp=column) as (at, _):
            builder.call(function, [builder.bitcast(builder.gep(first, [at]), pointer), read, keep, data])
        return context.get_dummy_value()

    return numba.types.void(table, numba.types.int64), build
