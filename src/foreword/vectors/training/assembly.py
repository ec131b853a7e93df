"""The arithmetic of one centre word as machine code: products of small matrices, for one D and one number of targets.

``step`` trains m inputs (the contexts of skip-gram; of CBOW, their mean) against n targets (the centre word, then noise
words), all of them rows of a lane's own copies:

    dots       scores[x, k] = inputs[x] · targets[k], in 16 sums that are added up in a fixed tree
    errors     g[x, k] = (label − σ(score)) · alpha, and −log σ(± score) added to the loss
    updates    inputs[x] += Σₖ g[x, k] · targets[k] and targets[k] += Σₓ g[x, k] · inputs[x], of the rows as they were

Written with llvmlite rather than left to numba, whose loops over D come out with a remainder and without tiles: 16 sums
or 12 rows stay in registers here. Every operation on a number and its place in a sum is spelt out, and products are
fused with additions on every processor: so the bits don't depend on how wide its vectors are.

Not for: which words are trained (``kernels``). Costs: 0.1 s to build, most of it the import of llvmlite.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from foreword._base import system
from foreword._base.machine_code import MachineCode

__all__ = ["LANES", "Step", "step"]

LANES = 16
"""Sums of a dot product, and numbers that rows are padded to a multiple of."""

_TOGETHER = 4  # targets whose dot products are summed side by side
_guard = system.guard()
_built: dict[tuple[int, int], Step] = {}


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A compiled ``step``.

    Attributes:
        address: of ``double step(float *inputs, float *targets, int32 *x, int64 m, int32 *k, int64 right, float alpha,
            float *scratch)``, which gives the loss. ``x`` [m + 1] and ``k`` [n] are row numbers, the last ``x`` twice
            where m is odd; bits of ``right`` say which targets count (bit 0, the centre word, always does); ``scratch``
            holds (m + 1) · 48 numbers.
        dim: numbers of a row, a multiple of 16.
        count: n.
    """

    address: int
    dim: int
    count: int
    _code: Any = field(repr=False)


def step(dim: int, count: int, *, cpu: str = "") -> Step:
    """The function for rows of ``dim`` numbers, a multiple of 16, and ``count`` targets, a multiple of 4 up to 32.

    Args:
        dim: numbers of a row.
        count: targets of a centre word.
        cpu: LLVM's name of another processor to build for, for tests; its code must run here.

    Raises:
        ImportError: llvmlite is not there, or can't run here.
    """
    with _guard:
        if (dim, count) in _built and not cpu:
            return _built[dim, count]
        made = _compiled(dim, count, cpu)
        if not cpu:
            _built[dim, count] = made
        return made


def _compiled(dim: int, count: int, cpu: str) -> Step:
    from llvmlite import binding

    wide = cpu in ("znver4", "skylake-avx512") if cpu else bool(binding.get_host_cpu_features().get("avx512f"))
    code = MachineCode(str(_Module(dim, count, wide).module), cpu=cpu)
    return Step(code.address("step"), dim, count, code)


class _Module:
    """The text of ``step``, made by llvmlite's builder."""

    inputs: Any
    targets: Any
    x: Any
    m: Any
    k: Any
    right: Any
    alpha: Any
    scratch: Any

    def __init__(self, dim: int, count: int, wide: bool) -> None:
        from llvmlite import ir

        self.ir, self.dim, self.count, self.wide = ir, dim, count, wide
        self.float, self.double = ir.FloatType(), ir.DoubleType()
        self.i32, self.i64 = ir.IntType(32), ir.IntType(64)
        self.vector = ir.VectorType(self.float, LANES)
        self.module = ir.Module("foreword-training")
        floats, ints = self.float.as_pointer(), self.i32.as_pointer()
        kind = ir.FunctionType(self.double, [floats, floats, ints, self.i64, ints, self.i64, self.float, floats])
        self.function = ir.Function(self.module, kind, "step")
        names = ["inputs", "targets", "x", "m", "k", "right", "alpha", "scratch"]
        for argument, name in zip(self.function.args, names, strict=True):
            argument.name = name
            setattr(self, name, argument)
        for argument in (self.function.args[i] for i in (0, 1, 7)):
            argument.add_attribute("noalias")
        self.build = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.rows = [self._row(self.targets, self.k, self._int(k)) for k in range(count)]
        self.vectors = -(-count // LANES)
        self._dots()
        loss = self._errors()
        self._updates()
        self.build.ret(loss)

    # The three parts.

    def _dots(self) -> None:
        """Scores into scratch [m, 32]: two inputs at a time by four targets, eight vectors of sums in registers."""
        with self._loop(self.m, 2) as (x, _, _):
            inputs = [self._row(self.inputs, self.x, self.build.add(x, self._int(i))) for i in range(2)]
            sums: list[list[Any]] = [[], []]
            for first in range(0, self.count, _TOGETHER):
                rows = self.rows[first : first + _TOGETHER]
                start = [self._zero()] * (2 * len(rows))
                with self._loop(self._int(self.dim), LANES, start) as (at, now, out):
                    ours = [self._load(row, at) for row in inputs]
                    theirs = [self._load(row, at) for row in rows]
                    out += [
                        self._fma(a, b, now[i * len(rows) + j])
                        for i, a in enumerate(ours)
                        for j, b in enumerate(theirs)
                    ]
                for i in range(2):
                    sums[i] += out[i * len(rows) : (i + 1) * len(rows)]
            for i in range(2):
                place = self._place(self.scratch, self.build.mul(self.build.add(x, self._int(i)), self._int(2 * LANES)))
                for v in range(self.vectors):
                    self._store(self._totals(sums[i][v * LANES : (v + 1) * LANES]), place, self._int(v * LANES))

    def _errors(self) -> Any:
        """Scores to g, in place; gives the loss, double."""
        bits = [[self._constant_int(1 << (v * LANES + i)) for i in range(LANES)] for v in range(self.vectors)]
        right = self.build.trunc(self.right, self.i32)
        masks = []
        many = self.ir.VectorType(self.i32, LANES)
        for v in range(self.vectors):
            spread = self._splat(right, many)
            here = self.build.and_(spread, self.ir.Constant(many, bits[v]))
            masks.append(self.build.icmp_unsigned("!=", here, self.ir.Constant(many, [self._constant_int(0)] * LANES)))
        alpha = self._splat(self.alpha)
        label = [1.0] + [0.0] * (LANES - 1)
        with self._loop(self.m, 1, [self._zero()]) as (x, (before,), out):
            place = self._place(self.scratch, self.build.mul(x, self._int(2 * LANES)))
            for v in range(self.vectors):
                labels = self._numbers(label if v == 0 else [0.0] * LANES)
                score = self._load(place, self._int(v * LANES))
                sigma, log = self._logistic(score)
                g = self.build.fmul(self.build.fsub(labels, sigma), alpha)
                self._store(self.build.select(masks[v], g, self._zero()), place, self._int(v * LANES))
                # −log σ(s) = log(1 + e^−|s|) + max(−s, 0) where the label is 1; with s for −s where it is 0.
                signs = self._numbers([-1.0 if one else 1.0 for one in (label if v == 0 else [0.0] * LANES)])
                signed = self.build.fmul(score, signs)
                above = self.build.select(self.build.fcmp_ordered(">", signed, self._zero()), signed, self._zero())
                part = self.build.select(masks[v], self.build.fadd(log, above), self._zero())
                before = self.build.fadd(before, part)  # noqa: PLW2901
            out.append(before)
        (total,) = out
        wide = self.build.fpext(total, self.ir.VectorType(self.double, LANES))
        lanes = [self.build.extract_element(wide, self._constant_int(i)) for i in range(LANES)]
        while len(lanes) > 1:
            half = len(lanes) // 2
            lanes = [self.build.fadd(a, b) for a, b in zip(lanes[:half], lanes[half:], strict=True)]
        return lanes[0]

    def _updates(self) -> None:
        """Both updates in one walk over D; with as many registers as rows, each error is loaded once for both."""
        group, lanes = (12, LANES) if self.wide else (4, LANES // 2)
        groups = [range(i, min(i + group, self.count)) for i in range(0, self.count, group)]
        with self._loop(self._int(self.dim), lanes) as (at, _, _):
            changes = self._both(at, lanes) if len(groups) == 1 else self._one_after_the_other(at, lanes, groups)
            for row, change in zip(self.rows, changes, strict=True):  # a target may stand there twice
                self._store(self.build.fadd(self._load(row, at, lanes), change), row, at)

    def _both(self, at: Any, lanes: int) -> list[Any]:
        """Update the inputs; the changes of the targets. All targets and their changes are in registers."""
        targets = [self._load(row, at, lanes) for row in self.rows]
        with self._loop(self.m, 1, [self._zero(lanes)] * self.count) as (x, now, out):
            row = self._row(self.inputs, self.x, x)
            value = old = self._load(row, at, lanes)
            for k, (target, change) in enumerate(zip(targets, now, strict=True)):
                g = self._error(x, k, lanes)
                value = self._fma(g, target, value)
                out.append(self._fma(g, old, change))
            self._store(value, row, at)
        return out

    def _one_after_the_other(self, at: Any, lanes: int, groups: list[range]) -> list[Any]:
        """The same, operation by operation: the inputs first, which are kept as they were, then groups of targets."""
        with self._loop(self.m, 1) as (x, _, _):
            row = self._row(self.inputs, self.x, x)
            value = self._load(row, at, lanes)
            self._store(value, self._kept(x), self._int(0))
            for k in range(self.count):
                value = self._fma(self._error(x, k, lanes), self._load(self.rows[k], at, lanes), value)
            self._store(value, row, at)
        changes: list[Any] = []
        for ks in groups:
            with self._loop(self.m, 1, [self._zero(lanes)] * len(ks)) as (x, now, out):
                old = self._load(self._kept(x), self._int(0), lanes)
                out += [self._fma(self._error(x, k, lanes), old, change) for k, change in zip(ks, now, strict=True)]
            changes += out
        return changes

    # Words to say it with.

    @contextmanager
    def _loop(self, stop: Any, step: int, start: Sequence[Any] = ()) -> Iterator[tuple[Any, list[Any], list[Any]]]:
        """A loop of i from 0 below ``stop``; yields i, the values carried, and a list for their successors, which
        holds what they are in the end when the loop has been left.
        """
        build, outside = self.build, self.build.block
        head = self.function.append_basic_block("loop")
        after = self.function.append_basic_block("after")
        build.branch(head)
        build.position_at_end(head)
        i = build.phi(self.i64)
        i.add_incoming(self._int(0), outside)
        carried = []
        for value in start:
            carried.append(build.phi(value.type))
            carried[-1].add_incoming(value, outside)
        out: list[Any] = []
        yield i, list(carried), out
        following = build.add(i, self._int(step))
        i.add_incoming(following, build.block)
        for phi, value in zip(carried, out, strict=True):
            phi.add_incoming(value, build.block)
        build.cbranch(build.icmp_signed("<", following, stop), head, after)
        build.position_at_end(after)

    def _logistic(self, score: Any) -> tuple[Any, Any]:
        """σ(score) and log(1 + e^−|score|)."""
        build, many = self.build, self.ir.VectorType(self.i32, LANES)
        size = self._call("fabs", score)
        size = build.select(build.fcmp_ordered("<", size, self._number(80.0)), size, self._number(80.0))
        power = build.fmul(size, self._number(-1.4426950408889634))
        whole = build.fptosi(power, many)  # towards zero: what is left is in (−1, 0]
        rest = build.fsub(power, build.sitofp(whole, self.vector))
        value = self._polynomial(rest, _POWERS_OF_TWO)
        shifted = build.shl(whole, self.ir.Constant(many, [self._constant_int(23)] * LANES))
        e = build.bitcast(build.add(build.bitcast(value, many), shifted), self.vector)
        one = self._number(1.0)
        upper = build.fdiv(one, build.fadd(one, e))
        sigma = build.select(build.fcmp_ordered(">=", score, self._zero()), upper, build.fmul(e, upper))
        return sigma, build.fmul(e, self._polynomial(e, _LOGARITHM))

    def _polynomial(self, x: Any, coefficients: Sequence[float]) -> Any:
        value = self._number(coefficients[-1])
        for coefficient in reversed(coefficients[:-1]):
            value = self._fma(value, x, self._number(coefficient))
        return value

    def _totals(self, sums: list[Any]) -> Any:
        """The totals of up to 16 vectors of sums, each in its lane."""
        sums = sums + [self._zero()] * (LANES - len(sums))
        blocks = [range(i, i + 4) for i in range(0, LANES, 4)]

        def halves(low: Sequence[int], high: Sequence[int]) -> None:
            sums[:] = [
                self.build.fadd(self._shuffle(a, b, low), self._shuffle(a, b, high))
                for a, b in zip(sums[::2], sums[1::2], strict=True)
            ]

        halves(*([i for b in blocks for i in (b[j], b[j] + LANES, b[j + 1], b[j + 1] + LANES)] for j in (0, 2)))
        halves(*([i for b in blocks for i in (b[j], b[j + 1], b[j] + LANES, b[j + 1] + LANES)] for j in (0, 2)))
        halves([*range(8), *range(16, 24)], [*range(8, 16), *range(24, 32)])
        halves(*([i for s in (j, j + 8, j + 16, j + 24) for i in range(s, s + 4)] for j in (0, 4)))
        return sums[0]

    def _row(self, table: Any, numbers: Any, i: Any) -> Any:
        number = self.build.sext(self.build.load(self.build.gep(numbers, [i])), self.i64)
        return self._place(table, self.build.mul(number, self._int(self.dim)))

    def _error(self, x: Any, k: int, lanes: int) -> Any:
        """g[x, k] in every lane."""
        place = self._place(self.scratch, self.build.mul(x, self._int(2 * LANES)))
        return self._splat(self.build.load(self._place(place, self._int(k))), lanes=lanes)

    def _kept(self, x: Any) -> Any:
        """Where an input's part stands as it was: behind its scores, in numbers 32… of the scratch."""
        start = self.build.mul(self.build.add(self.m, self._int(1)), self._int(2 * LANES))
        return self._place(self.scratch, self.build.add(start, self.build.mul(x, self._int(LANES))))

    def _place(self, pointer: Any, at: Any) -> Any:
        return self.build.gep(pointer, [at])

    def _load(self, pointer: Any, at: Any, lanes: int = LANES) -> Any:
        kind = self.ir.VectorType(self.float, lanes).as_pointer()
        return self.build.load(self.build.bitcast(self._place(pointer, at), kind), align=4)

    def _store(self, value: Any, pointer: Any, at: Any) -> None:
        self.build.store(value, self.build.bitcast(self._place(pointer, at), value.type.as_pointer()), align=4)

    def _fma(self, a: Any, b: Any, c: Any) -> Any:
        return self._call("fma", a, b, c)

    def _call(self, name: str, *arguments: Any) -> Any:
        kind = arguments[0].type
        full = f"llvm.{name}.v{kind.count}f32"
        known = self.module.globals.get(full)
        if known is None:
            known = self.ir.Function(self.module, self.ir.FunctionType(kind, [kind] * len(arguments)), full)
        return self.build.call(known, arguments)

    def _shuffle(self, a: Any, b: Any, order: Sequence[int]) -> Any:
        many = self.ir.VectorType(self.i32, len(order))
        return self.build.shuffle_vector(a, b, self.ir.Constant(many, [self._constant_int(i) for i in order]))

    def _splat(self, value: Any, kind: Any = None, *, lanes: int = LANES) -> Any:
        kind = kind or self.ir.VectorType(value.type, lanes)
        one = self.build.insert_element(self.ir.Constant(kind, self.ir.Undefined), value, self._constant_int(0))
        return self._shuffle(one, one, [0] * kind.count)

    def _numbers(self, values: Sequence[float]) -> Any:
        return self.ir.Constant(self.ir.VectorType(self.float, len(values)), [_single(v) for v in values])

    def _number(self, value: float, lanes: int = LANES) -> Any:
        return self._numbers([value] * lanes)

    def _zero(self, lanes: int = LANES) -> Any:
        return self._number(0.0, lanes)

    def _int(self, value: int) -> Any:
        return self.ir.Constant(self.i64, value)

    def _constant_int(self, value: int) -> Any:
        return self.ir.Constant(self.i32, value if value < 1 << 31 else value - (1 << 32))


def _single(value: float) -> float:
    """The nearest single-precision number, which is what a constant of LLVM has to be."""
    return ctypes.c_float(value).value


# 2ˣ for −1 < x ≤ 0 and log(1 + x) / x for 0 ≤ x ≤ 1, fitted for the smallest largest error (2e-9, 3e-8), which is below
# a rounding of single precision.
_POWERS_OF_TWO = (
    0.9999999981441978,
    0.6931470127838625,
    0.24022396717397107,
    0.055489422438631246,
    0.009577011604137476,
    0.0012730520463575892,
    0.00010851127444313654,
)
_LOGARITHM = (
    0.9999999745319907,
    -0.49999552586094476,
    0.3332034349900875,
    -0.24852945332973814,
    0.1914511472218276,
    -0.13746618518210754,
    0.07921069657055979,
    -0.03011093807304855,
    0.0053840551589268955,
)
