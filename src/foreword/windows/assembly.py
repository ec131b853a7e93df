"""The loops of ``kernels`` in LLVM's assembly language, with vectors that LLVM fits to the processor.

``order.Permutation`` and numpy's indexing are the same in Python. Why not numba: it takes half a second to load.
"""

from __future__ import annotations

__all__ = ["GATHER", "LANES", "VECTOR", "order"]

LANES = 16
"""Places that ``order`` maps at once, of which it needs as many."""

VECTOR = 64
"""Bytes that ``gather`` copies at once, of which a window needs as many."""

_V, _M = f"<{LANES} x i64>", f"<{LANES} x i1>"


def _splat(name: str, value: str, kind: str = "i64") -> str:
    """``name`` = the value in every lane."""
    vector = f"<{LANES} x {kind}>"
    return f"""
  {name}.one = insertelement {vector} poison, {kind} {value}, i64 0
  {name} = shufflevector {vector} {name}.one, {vector} poison, <{LANES} x i32> zeroinitializer"""


def _network() -> str:
    """%y = the network of %x.

    The quotient by b, below 2³², comes from doubles, so that it is one too small or too large at most: the rest shows.
    """
    lines = f"""
  %x.double = sitofp {_V} %x to <{LANES} x double>
  %quotient = fmul <{LANES} x double> %x.double, %inverse
  %about = fptosi <{LANES} x double> %quotient to {_V}
  %about.b = mul {_V} %about, %b
  %rest = sub {_V} %x, %about.b
  %is.under = icmp slt {_V} %rest, zeroinitializer
  %is.over = icmp sge {_V} %rest, %b
  %under = sext {_M} %is.under to {_V}
  %over = zext {_M} %is.over to {_V}
  %about.less = add {_V} %about, %under
  %left = add {_V} %about.less, %over
  %left.b = mul {_V} %left, %b
  %right = sub {_V} %x, %left.b"""
    halves, moduli = ["%left", "%right"], ("%a", "%b")
    for i in range(6):
        half, other, modulus = halves[i % 2], halves[1 - i % 2], moduli[i % 2]
        lines += f"""
  %keyed{i} = add {_V} {other}, %key{i}
  %once{i} = mul {_V} %keyed{i}, %multiply1
  %high{i} = lshr {_V} %once{i}, %thirty.two
  %mixed{i} = xor {_V} %once{i}, %high{i}
  %twice{i} = mul {_V} %mixed{i}, %multiply2
  %hash{i} = lshr {_V} %twice{i}, %thirty.two
  %scaled{i} = mul {_V} %hash{i}, {modulus}
  %below{i} = lshr {_V} %scaled{i}, %thirty.two
  %sum{i} = add {_V} {half}, %below{i}
  %round{i} = sub {_V} %sum{i}, {modulus}
  %half{i} = call {_V} @llvm.umin.v{LANES}i64({_V} %sum{i}, {_V} %round{i})"""
        halves[i % 2] = f"%half{i}"
    return f"""{lines}
  %left.y = mul {_V} {halves[0]}, %b
  %y = add {_V} %left.y, {halves[1]}"""


def order() -> str:
    """The text of ``order``: of ``LANES`` places at least; the last ones are taken together, some of them twice."""
    keys = "".join(
        f"""
  %key.at{i} = getelementptr i64, ptr %keys, i64 {i}
  %key.value{i} = load i64, ptr %key.at{i}, align 8{_splat(f"%key{i}", f"%key.value{i}")}"""
        for i in range(6)
    )
    return f"""
declare {_V} @llvm.umin.v{LANES}i64({_V}, {_V})

define i64 @order(ptr %places, ptr %windows, ptr %keys, i64 %count, i64 %n, i64 %a.given, i64 %b.given,
                  i64 %multiply1.value, i64 %multiply2.value) {{
entry:
  %a.value = and i64 %a.given, {(1 << 32) - 1}
  %b.value = and i64 %b.given, {(1 << 32) - 1}
  %b.double = uitofp i64 %b.value to double
  %inverse.value = fdiv double 1.0, %b.double
  %last = sub i64 %count, {LANES}{_splat("%inverse", "%inverse.value", "double")}
{_splat("%a", "%a.value")}{_splat("%b", "%b.value")}{_splat("%end", "%n")}{_splat("%thirty.two", "32")}
{_splat("%multiply1", "%multiply1.value")}{_splat("%multiply2", "%multiply2.value")}{keys}
  br label %vectors
vectors:
  %i = phi i64 [0, %entry], [%i.next, %found]
  %from = getelementptr i64, ptr %places, i64 %i
  %start = load {_V}, ptr %from, align 8
  br label %walk
walk:
  %x = phi {_V} [%start, %vectors], [%x.next, %walk]
  %outside = phi {_M} [<{", ".join(["i1 true"] * LANES)}>, %vectors], [%outside.next, %walk]{_network()}
  %x.next = select {_M} %outside, {_V} %y, {_V} %x
  %outside.next = icmp uge {_V} %x.next, %end
  %bits = bitcast {_M} %outside.next to i{LANES}
  %again = icmp ne i{LANES} %bits, 0
  br i1 %again, label %walk, label %found
found:
  %to = getelementptr i64, ptr %windows, i64 %i
  store {_V} %x.next, ptr %to, align 8
  %following = add i64 %i, {LANES}
  %beyond = icmp sgt i64 %following, %last
  %i.next = select i1 %beyond, i64 %last, i64 %following
  %is.last = icmp eq i64 %i, %last
  br i1 %is.last, label %out, label %vectors
out:
  ret i64 %count
}}
"""


# From each start, ``size`` bytes, the last of them together, some twice; gives how many windows it copied until a start
# was beyond ``limit``. Of the window that comes ``ahead`` later, the first page is fetched, into the second cache.
GATHER = f"""
declare void @llvm.prefetch.p0(ptr, i32, i32, i32)

define i64 @gather(ptr %stream, i64 %limit, ptr %starts, i64 %count, ptr %ids, i64 %size, i64 %item, i64 %ahead) {{
entry:
  %last = sub i64 %size, {VECTOR}
  %is.short = icmp slt i64 %size, 4096
  %reach = select i1 %is.short, i64 %size, i64 4096
  %end = sub i64 %count, %ahead
  br label %windows
windows:
  %i = phi i64 [0, %entry], [%i.next, %copied]
  %start.at = getelementptr i64, ptr %starts, i64 %i
  %start = load i64, ptr %start.at, align 8
  %is.outside = icmp ugt i64 %start, %limit
  br i1 %is.outside, label %stop, label %inside
inside:
  %is.followed = icmp slt i64 %i, %end
  br i1 %is.followed, label %follower, label %copy
follower:
  %follower.at = getelementptr i64, ptr %start.at, i64 %ahead
  %follower.start = load i64, ptr %follower.at, align 8
  %follower.offset = mul i64 %follower.start, %item
  %follower.from = getelementptr i8, ptr %stream, i64 %follower.offset
  br label %fetch
fetch:
  %f = phi i64 [0, %follower], [%f.next, %fetch]
  %line = getelementptr i8, ptr %follower.from, i64 %f
  call void @llvm.prefetch.p0(ptr %line, i32 0, i32 2, i32 1)
  %f.next = add i64 %f, 64
  %f.more = icmp slt i64 %f.next, %reach
  br i1 %f.more, label %fetch, label %copy
copy:
  %offset = mul i64 %start, %item
  %from = getelementptr i8, ptr %stream, i64 %offset
  %row = mul i64 %i, %size
  %to = getelementptr i8, ptr %ids, i64 %row
  br label %bytes
bytes:
  %j = phi i64 [0, %copy], [%j.next, %bytes]
  %read = getelementptr i8, ptr %from, i64 %j
  %written = getelementptr i8, ptr %to, i64 %j
  %vector = load <{VECTOR} x i8>, ptr %read, align 1
  store <{VECTOR} x i8> %vector, ptr %written, align 1
  %following = add i64 %j, {VECTOR}
  %beyond = icmp sgt i64 %following, %last
  %j.next = select i1 %beyond, i64 %last, i64 %following
  %is.last = icmp eq i64 %j, %last
  br i1 %is.last, label %copied, label %bytes
copied:
  %i.next = add i64 %i, 1
  %more = icmp slt i64 %i.next, %count
  br i1 %more, label %windows, label %stop
stop:
  %done = phi i64 [%i, %windows], [%i.next, %copied]
  ret i64 %done
}}
"""
