"""The searches' inner loops in LLVM's assembly language: one text for each way a processor adds up products.

Three functions, which ``kernels`` compiles; tests/vectors/loops.py has each of them in Python:

    scan        one query: keeps the rows whose cosine may be among the best k
    pairs       a tile of queries at once: keeps (row, query) where the cosine may reach the query's bound
    analogies   the largest sum b + c − a of each question over a strip of rows

What differs are the products of bytes: four at once where there is an instruction for that (VNNI on x86, SDOT on ARM),
else two of 16 bits. All sums are of integers, so every text gives the same answers.

Why not numba, in which these could be Python: to import it and to load a cached function takes a process half a second,
and to compile one some seconds. This text is machine code in a hundredth of a second, and needs no cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from foreword.vectors.search import assembly_many
from foreword.vectors.search.instructions import Instructions, bias, declaration, dot, floats, numbers, splat

__all__ = ["STRIP", "text"]

STRIP = 64
"""Rows that ``scan`` works on at once: it needs as many, and room to keep as many."""


def text(how: Instructions) -> str:
    """The functions: all three, or ``scan`` and ``analogies`` where matrix products do better than ``pairs``."""
    if not how.lanes:
        return "\n".join([_REPLACE, _scan(_sums_of_words()), assembly_many.ANALOGIES])
    return "\n".join(
        [declaration(how), _REPLACE, _scan(_sums_of_bytes(how)), assembly_many.pairs(how), assembly_many.ANALOGIES]
    )


# Sums of products of a row of codes with one query, in a loop over the row's bytes. Names end in the number of the row.
# Rows are taken one after the other, as memory is read fastest, and their vectors of sums are added up four at a time.


@dataclass(frozen=True, slots=True)
class _Sums:
    """Such a loop: the bytes of a turn, and its text for row ``r``, which leaves ``lanes`` sums in ``%sums{r}``."""

    step: int
    lanes: int
    loop: Callable[[int], str]


def _sums_of_words() -> _Sums:
    """Of a query of 16-bit integers: x86 adds two products an instruction, ARM one."""
    wide, sums = "<32 x i32>", "<16 x i32>"

    def loop(r: int) -> str:
        return f"""
  %sum{r} = phi {sums} [zeroinitializer, %row.start{r}], [%sums{r}, %columns{r}]
  %query.at{r} = getelementptr i16, ptr %query, i64 %j{r}
  %query.words{r} = load <32 x i16>, ptr %query.at{r}, align 2
  %query{r} = sext <32 x i16> %query.words{r} to {wide}
  %at{r} = getelementptr i8, ptr %row{r}, i64 %j{r}
  %bytes{r} = load <32 x i8>, ptr %at{r}, align 1
  %codes{r} = sext <32 x i8> %bytes{r} to {wide}
  %products{r} = mul nsw {wide} %codes{r}, %query{r}
  %even{r} = shufflevector {wide} %products{r}, {wide} poison, <16 x i32> {numbers(range(0, 32, 2))}
  %odd{r} = shufflevector {wide} %products{r}, {wide} poison, <16 x i32> {numbers(range(1, 32, 2))}
  %pairs{r} = add {sums} %even{r}, %odd{r}
  %sums{r} = add {sums} %sum{r}, %pairs{r}"""

    return _Sums(32, 16, loop)


def _sums_of_bytes(how: Instructions) -> _Sums:
    """Of a query's upper and lower bytes, which stand one after the other: 256 · upper + lower."""
    words = f"<{how.lanes} x i32>"

    def loop(r: int) -> str:
        lines = f"""
  %at{r} = getelementptr i8, ptr %row{r}, i64 %j{r}
  %signed{r} = load {words}, ptr %at{r}, align 1
  %codes{r} = xor {words} %signed{r}, {splat(how, bias(how))}"""
        sums = ""
        for part, query in (("upper", "query"), ("lower", "second")):
            sums += f"\n  %{part}{r} = phi {words} [zeroinitializer, %row.start{r}], [%{part}.next{r}, %columns{r}]"
            lines += f"""
  %{part}.at{r} = getelementptr i8, ptr %{query}, i64 %j{r}
  %{part}.query{r} = load {words}, ptr %{part}.at{r}, align 1"""
            lines += dot(how, f"%{part}.next{r}", f"%{part}{r}", f"%codes{r}", f"%{part}.query{r}")
        return f"""{sums}{lines}
  %shifted{r} = shl {words} %upper.next{r}, {splat(how, 8)}
  %sums{r} = add {words} %shifted{r}, %lower.next{r}"""

    return _Sums(4 * how.lanes, how.lanes, loop)


def _total_of_four(lanes: int) -> str:
    """%total: the sum of each of four vectors of sums, by interleaving them as x86 does within 128 bits."""
    vector = f"<{lanes} x i32>"

    def mixed(name: str, one: str, other: str, order: Sequence[int]) -> str:
        """Within each 128 bits the given numbers, those from 4 on of the other vector."""
        places = [block + (i if i < 4 else i - 4 + lanes) for block in range(0, lanes, 4) for i in order]
        return f"\n  {name} = shufflevector {vector} {one}, {vector} {other}, {vector} {numbers(places)}"

    lines = ""
    for out, one, other, low, high in (
        ("%ab", "%sums0", "%sums1", (0, 4, 1, 5), (2, 6, 3, 7)),
        ("%cd", "%sums2", "%sums3", (0, 4, 1, 5), (2, 6, 3, 7)),
        (f"%part{lanes}", "%ab", "%cd", (0, 1, 4, 5), (2, 3, 6, 7)),
    ):
        lines += mixed(f"{out}.low", one, other, low) + mixed(f"{out}.high", one, other, high)
        lines += f"\n  {out} = add {vector} {out}.low, {out}.high"
    while lanes > 4:
        vector, lanes = f"<{lanes} x i32>", lanes // 2
        for half, first in (("low", 0), ("high", lanes)):
            places = numbers(range(first, first + lanes))
            lines += f"""
  %{half}{lanes} = shufflevector {vector} %part{2 * lanes}, {vector} poison, <{lanes} x i32> {places}"""
        lines += f"\n  %part{lanes} = add <{lanes} x i32> %low{lanes}, %high{lanes}"
    return lines


# A heap of the k largest lower ends, its smallest first. @replace puts ``low`` in the place of the smallest.

_REPLACE = """
define internal void @replace(ptr %best, i64 %k, float %low) {
entry:
  br label %sift
sift:
  %place = phi i64 [0, %entry], [%child, %up]
  %twice = shl i64 %place, 1
  %left = add i64 %twice, 1
  %right = add i64 %twice, 2
  %leaf = icmp sge i64 %left, %k
  br i1 %leaf, label %done, label %one
one:
  %left.at = getelementptr float, ptr %best, i64 %left
  %left.low = load float, ptr %left.at
  %alone = icmp sge i64 %right, %k
  br i1 %alone, label %compare, label %two
two:
  %right.at = getelementptr float, ptr %best, i64 %right
  %right.low = load float, ptr %right.at
  %less = fcmp olt float %right.low, %left.low
  %lesser = select i1 %less, i64 %right, i64 %left
  %lesser.low = select i1 %less, float %right.low, float %left.low
  br label %compare
compare:
  %child = phi i64 [%left, %one], [%lesser, %two]
  %child.low = phi float [%left.low, %one], [%lesser.low, %two]
  %settled = fcmp oge float %child.low, %low
  br i1 %settled, label %done, label %up
up:
  %place.at = getelementptr float, ptr %best, i64 %place
  store float %child.low, ptr %place.at
  br label %sift
done:
  %last.at = getelementptr float, ptr %best, i64 %place
  store float %low, ptr %last.at
  ret void
}
declare i16 @llvm.cttz.i16(i16, i1)
"""


def _scan(sums: _Sums) -> str:
    """Rows start…stop−1, a strip at a time: the sums of all its rows, then the intervals of 16 rows at once.

    A row whose interval ends at the bound or above is kept, and may raise the bound. The last strip of a part reaches
    back over rows that have been looked at, and leaves them out. Returns the row to go on from: ``stop``, or one before
    it where there is no room for a strip.
    """
    rows = ""
    for r in range(4):
        rows += f"""
  br label %row.start{r}
row.start{r}:
  %number{r} = add i64 %block, {r}
  %offset{r} = mul i64 %number{r}, %width
  %row{r} = getelementptr i8, ptr %codes, i64 %offset{r}
  br label %columns{r}
columns{r}:
  %j{r} = phi i64 [0, %row.start{r}], [%j.next{r}, %columns{r}]{sums.loop(r)}
  %j.next{r} = add i64 %j{r}, {sums.step}
  %more{r} = icmp slt i64 %j.next{r}, %width
  br i1 %more{r}, label %columns{r}, label %row.end{r}
row.end{r}:"""
    return f"""
define i64 @scan(ptr %codes, i64 %width, ptr %scales, ptr %errors, ptr %query, i32 %bias, float %scale, float %error,
                 float %floor, i64 %start, i64 %stop, ptr %best, i64 %k, ptr %kept, i64 %room,
                 ptr %rows.out, ptr %lower.out, ptr %upper.out) {{
entry:
  %dots = alloca [{STRIP} x i32], align 64
  %scores = alloca [16 x float], align 64
  %slacks = alloca [16 x float], align 64
  %second = getelementptr i8, ptr %query, i64 %width
  %wider = fadd float %error, 1.0
  %bias.one = insertelement <4 x i32> poison, i32 %bias, i64 0
  %bias.all = shufflevector <4 x i32> %bias.one, <4 x i32> poison, <4 x i32> zeroinitializer
  {floats("%scale.all", "%scale")}
  {floats("%error.all", "%error")}
  {floats("%wider.all", "%wider")}
  %kept.start = load i64, ptr %kept
  %best.start = load float, ptr %best
  %any = fcmp ogt float %best.start, %floor
  %bound.start = select i1 %any, float %best.start, float %floor
  %last = sub i64 %stop, {STRIP}
  br label %strip

strip:
  %first = phi i64 [%start, %entry], [%first.next, %strip.end]
  %n = phi i64 [%kept.start, %entry], [%n.group, %strip.end]
  %bound = phi float [%bound.start, %entry], [%bound.group, %strip.end]
  %finished = icmp sge i64 %first, %stop
  %filled = add i64 %n, {STRIP}
  %full = icmp sgt i64 %filled, %room
  %leave = or i1 %finished, %full
  br i1 %leave, label %leaving, label %strip.start
leaving:
  %went = select i1 %finished, i64 %stop, i64 %first
  store i64 %n, ptr %kept
  ret i64 %went
strip.start:
  %short = icmp sgt i64 %first, %last
  %base = select i1 %short, i64 %last, i64 %first
  %skipped = sub i64 %first, %base
  br label %rows

rows:
  %done.rows = phi i64 [0, %strip.start], [%done.next, %row.end3]
  %block = add i64 %base, %done.rows{rows}{_total_of_four(sums.lanes)}
  %dots.four = sub <4 x i32> %part4, %bias.all
  %dots.at = getelementptr i32, ptr %dots, i64 %done.rows
  store <4 x i32> %dots.four, ptr %dots.at, align 16
  %done.next = add i64 %done.rows, 4
  %more.rows = icmp slt i64 %done.next, {STRIP}
  br i1 %more.rows, label %rows, label %groups

groups:
  %group = phi i64 [0, %row.end3], [%group.next, %group.end]
  %n.in = phi i64 [%n, %row.end3], [%n.group, %group.end]
  %bound.in = phi float [%bound, %row.end3], [%bound.group, %group.end]
  %group.row = add i64 %base, %group
  %group.at = getelementptr i32, ptr %dots, i64 %group
  %scales.at = getelementptr float, ptr %scales, i64 %group.row
  %errors.at = getelementptr float, ptr %errors, i64 %group.row
  %dots.of = load <16 x i32>, ptr %group.at, align 64
  %scales.of = load <16 x float>, ptr %scales.at, align 4
  %errors.of = load <16 x float>, ptr %errors.at, align 4
  %dots.real = sitofp <16 x i32> %dots.of to <16 x float>
  %scaled = fmul <16 x float> %dots.real, %scales.of
  %score = fmul <16 x float> %scaled, %scale.all
  %widened = fmul <16 x float> %errors.of, %wider.all
  %slack = fadd <16 x float> %widened, %error.all
  %end = fadd <16 x float> %score, %slack
  {floats("%bound.all", "%bound.in")}
  %reaches = fcmp oge <16 x float> %end, %bound.all
  %seen = bitcast <16 x i1> %reaches to i16
  %none = icmp eq i16 %seen, 0
  br i1 %none, label %group.end, label %keep.start
keep.start:
  store <16 x float> %score, ptr %scores
  store <16 x float> %slack, ptr %slacks
  br label %keep
keep:
  %left = phi i16 [%seen, %keep.start], [%left.next, %keep.end]
  %n.keep = phi i64 [%n.in, %keep.start], [%n.next, %keep.end]
  %bound.keep = phi float [%bound.in, %keep.start], [%bound.next, %keep.end]
  %bit = call i16 @llvm.cttz.i16(i16 %left, i1 true)
  %lane = zext i16 %bit to i64
  %less = sub i16 %left, 1
  %left.next = and i16 %left, %less
  %in.strip = add i64 %group, %lane
  %fresh = icmp sge i64 %in.strip, %skipped
  br i1 %fresh, label %fresh.row, label %keep.end
fresh.row:
  %score.at = getelementptr float, ptr %scores, i64 %lane
  %slack.at = getelementptr float, ptr %slacks, i64 %lane
  %score.of = load float, ptr %score.at
  %slack.of = load float, ptr %slack.at
  %high = fadd float %score.of, %slack.of
  %low = fsub float %score.of, %slack.of
  %row.kept = add i64 %group.row, %lane
  %row.at = getelementptr i64, ptr %rows.out, i64 %n.keep
  %low.at = getelementptr float, ptr %lower.out, i64 %n.keep
  %high.at = getelementptr float, ptr %upper.out, i64 %n.keep
  store i64 %row.kept, ptr %row.at
  store float %low, ptr %low.at
  store float %high, ptr %high.at
  %n.more = add i64 %n.keep, 1
  %smallest = load float, ptr %best
  %better = fcmp ogt float %low, %smallest
  br i1 %better, label %raise, label %keep.end
raise:
  call void @replace(ptr %best, i64 %k, float %low)
  %raised = load float, ptr %best
  %higher = fcmp ogt float %raised, %bound.keep
  %bound.raised = select i1 %higher, float %raised, float %bound.keep
  br label %keep.end
keep.end:
  %n.next = phi i64 [%n.keep, %keep], [%n.more, %fresh.row], [%n.more, %raise]
  %bound.next = phi float [%bound.keep, %keep], [%bound.keep, %fresh.row], [%bound.raised, %raise]
  %over = icmp eq i16 %left.next, 0
  br i1 %over, label %group.end, label %keep
group.end:
  %n.group = phi i64 [%n.in, %groups], [%n.next, %keep.end]
  %bound.group = phi float [%bound.in, %groups], [%bound.next, %keep.end]
  %group.next = add i64 %group, 16
  %more.groups = icmp slt i64 %group.next, {STRIP}
  br i1 %more.groups, label %groups, label %strip.end
strip.end:
  %first.next = add i64 %base, {STRIP}
  br label %strip
}}
"""
