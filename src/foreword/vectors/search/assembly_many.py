"""The inner loops for many queries at once, in LLVM's assembly language; see ``assembly``."""

from __future__ import annotations

from foreword.vectors.search.instructions import Instructions, bias, dot, floats

__all__ = ["ANALOGIES", "COLUMNS", "ROWS", "pairs"]

ROWS = 4
"""Rows that ``pairs`` works on at once: it needs as many, and room to keep a tile's pairs with each."""

COLUMNS = 32
"""A strip of ``analogies`` has a multiple of so many rows."""


def pairs(how: Instructions) -> str:
    """Rows start…stop−1 with a tile of queries: each row's bytes, four at a time, meet those of all queries at once.

    A pair is kept as row · count + query where its interval ends at the query's bound or above. Returns the row to go
    on from, as ``scan`` does; the last rows, too, may reach back.
    """
    lanes, groups, tile = how.lanes, how.groups, how.tile
    words, reals = f"<{lanes} x i32>", f"<{lanes} x float>"
    rows, body, stores = "", "", ""
    for r in range(ROWS):
        rows += f"""
  %number{r} = add i64 %base, {r}
  %offset{r} = mul i64 %number{r}, %width
  %row{r} = getelementptr i8, ptr %codes, i64 %offset{r}"""
    starts = "".join(
        f"""
  %starts.at{g} = getelementptr i32, ptr %starts, i64 {g * lanes}
  %start{g} = load {words}, ptr %starts.at{g}, align 4"""
        for g in range(groups)
    )
    sums = "".join(
        f"\n  %sum{r}.{g} = phi {words} [%start{g}, %rows], [%next{r}.{g}, %columns]"
        for r in range(ROWS)
        for g in range(groups)
    )
    body += "\n  %tile.row = mul i64 %j, " + str(tile)
    for g in range(groups):
        body += f"""
  %tile.offset{g} = add i64 %tile.row, {4 * lanes * g}
  %tile.at{g} = getelementptr i8, ptr %tile, i64 %tile.offset{g}
  %query{g} = load {words}, ptr %tile.at{g}, align 4"""
    for r in range(ROWS):
        body += f"""
  %at{r} = getelementptr i8, ptr %row{r}, i64 %j
  %signed{r} = load i32, ptr %at{r}, align 4
  %word{r} = xor i32 %signed{r}, {bias(how)}
  %one{r} = insertelement {words} poison, i32 %word{r}, i64 0
  %codes{r} = shufflevector {words} %one{r}, {words} poison, {words} zeroinitializer"""
        for g in range(groups):
            body += dot(how, f"%next{r}.{g}", f"%sum{r}.{g}", f"%codes{r}", f"%query{g}")
            stores += f"""
  %dots.at{r}.{g} = getelementptr i32, ptr %dots, i64 {r * tile + g * lanes}
  store {words} %next{r}.{g}, ptr %dots.at{r}.{g}, align 64"""
    return f"""
define i64 @pairs(ptr %codes, i64 %width, ptr %scales, ptr %errors, ptr %tile, ptr %starts, ptr %query.scales,
                  ptr %query.errors, ptr %bounds, i64 %start, i64 %stop, i64 %count, i64 %first.query, ptr %kept,
                  i64 %room, ptr %pairs.out, ptr %lower.out, ptr %upper.out) {{
entry:
  %dots = alloca [{ROWS * tile} x i32], align 64
  %scores = alloca [{lanes} x float], align 64
  %slacks = alloca [{lanes} x float], align 64
  %kept.start = load i64, ptr %kept
  %last = sub i64 %stop, {ROWS}{starts}
  br label %block

block:
  %first = phi i64 [%start, %entry], [%first.next, %block.end]
  %n = phi i64 [%kept.start, %entry], [%n.group, %block.end]
  %finished = icmp sge i64 %first, %stop
  %filled = add i64 %n, {ROWS * tile}
  %full = icmp sgt i64 %filled, %room
  %leave = or i1 %finished, %full
  br i1 %leave, label %leaving, label %rows
leaving:
  %went = select i1 %finished, i64 %stop, i64 %first
  store i64 %n, ptr %kept
  ret i64 %went

rows:
  %short = icmp sgt i64 %first, %last
  %wished = select i1 %short, i64 %last, i64 %first
  %before = icmp slt i64 %wished, 0
  %base = select i1 %before, i64 0, i64 %wished{rows}
  br label %columns
columns:
  %j = phi i64 [0, %rows], [%j.next, %columns]{sums}{body}
  %j.next = add i64 %j, 4
  %more.columns = icmp slt i64 %j.next, %width
  br i1 %more.columns, label %columns, label %groups.start
groups.start:{stores}
  br label %groups

groups:
  %group = phi i64 [0, %groups.start], [%group.next, %group.end]
  %n.in = phi i64 [%n, %groups.start], [%n.group, %group.end]
  %in.block = udiv i64 %group, {groups}
  %in.row = urem i64 %group, {groups}
  %query = mul i64 %in.row, {lanes}
  %row = add i64 %base, %in.block
  %place = mul i64 %group, {lanes}
  %dots.at = getelementptr i32, ptr %dots, i64 %place
  %scale.at = getelementptr float, ptr %scales, i64 %row
  %error.at = getelementptr float, ptr %errors, i64 %row
  %query.scales.at = getelementptr float, ptr %query.scales, i64 %query
  %query.errors.at = getelementptr float, ptr %query.errors, i64 %query
  %bounds.at = getelementptr float, ptr %bounds, i64 %query
  %dots.of = load {words}, ptr %dots.at, align {4 * lanes}
  %scale = load float, ptr %scale.at
  %error = load float, ptr %error.at
  %query.scales.of = load {reals}, ptr %query.scales.at, align 4
  %query.errors.of = load {reals}, ptr %query.errors.at, align 4
  %bounds.of = load {reals}, ptr %bounds.at, align 4
  {floats("%scale.all", "%scale", lanes)}
  {floats("%error.all", "%error", lanes)}
  %dots.real = sitofp {words} %dots.of to {reals}
  %scaled = fmul {reals} %dots.real, %scale.all
  %score = fmul {reals} %scaled, %query.scales.of
  %product = fmul {reals} %error.all, %query.errors.of
  %sum = fadd {reals} %product, %query.errors.of
  %slack = fadd {reals} %sum, %error.all
  %end = fadd {reals} %score, %slack
  %reaches = fcmp oge {reals} %end, %bounds.of
  %seen = bitcast <{lanes} x i1> %reaches to i{lanes}
  %none = icmp eq i{lanes} %seen, 0
  %again = icmp slt i64 %row, %first
  %beyond = icmp sge i64 %row, %stop
  %outside = or i1 %again, %beyond
  %nothing = or i1 %none, %outside
  br i1 %nothing, label %group.end, label %keep.start
keep.start:
  store {reals} %score, ptr %scores
  store {reals} %slack, ptr %slacks
  %number = mul i64 %row, %count
  %query.first = add i64 %first.query, %query
  %pair.first = add i64 %number, %query.first
  {"%bits = or i16 %seen, 0" if lanes == 16 else f"%bits = zext i{lanes} %seen to i16"}
  br label %keep
keep:
  %left = phi i16 [%bits, %keep.start], [%left.next, %keep]
  %n.keep = phi i64 [%n.in, %keep.start], [%n.more, %keep]
  %bit = call i16 @llvm.cttz.i16(i16 %left, i1 true)
  %lane = zext i16 %bit to i64
  %less = sub i16 %left, 1
  %left.next = and i16 %left, %less
  %score.at = getelementptr float, ptr %scores, i64 %lane
  %slack.at = getelementptr float, ptr %slacks, i64 %lane
  %score.of = load float, ptr %score.at
  %slack.of = load float, ptr %slack.at
  %high = fadd float %score.of, %slack.of
  %low = fsub float %score.of, %slack.of
  %pair = add i64 %pair.first, %lane
  %pair.at = getelementptr i64, ptr %pairs.out, i64 %n.keep
  %low.at = getelementptr float, ptr %lower.out, i64 %n.keep
  %high.at = getelementptr float, ptr %upper.out, i64 %n.keep
  store i64 %pair, ptr %pair.at
  store float %low, ptr %low.at
  store float %high, ptr %high.at
  %n.more = add i64 %n.keep, 1
  %over = icmp eq i16 %left.next, 0
  br i1 %over, label %group.end, label %keep
group.end:
  %n.group = phi i64 [%n.in, %groups], [%n.more, %keep]
  %group.next = add i64 %group, 1
  %more.groups = icmp slt i64 %group.next, {ROWS * groups}
  br i1 %more.groups, label %groups, label %block.end
block.end:
  %first.next = add i64 %base, {ROWS}
  br label %block
}}
"""


# Sums of 16 bits, as many at once as fit; questions are sorted by their pair (a, b), whose difference is taken once.

ANALOGIES = f"""
declare <{COLUMNS} x i16> @llvm.smax.v{COLUMNS}i16(<{COLUMNS} x i16>, <{COLUMNS} x i16>)
declare i16 @llvm.vector.reduce.smax.v{COLUMNS}i16(<{COLUMNS} x i16>)
define i64 @analogies(ptr %strip, i64 %rows, ptr %pairs, ptr %pair, ptr %third, i64 %questions, ptr %turned,
                       ptr %tops) {{
entry:
  br label %questions.loop
questions.loop:
  %question = phi i64 [0, %entry], [%question.next, %best.end]
  %before = phi i64 [-1, %entry], [%now, %best.end]
  %finished = icmp sge i64 %question, %questions
  br i1 %finished, label %leave, label %question.start
leave:
  ret i64 %questions
question.start:
  %pair.at = getelementptr i64, ptr %pair, i64 %question
  %third.at = getelementptr i64, ptr %third, i64 %question
  %now = load i64, ptr %pair.at
  %c = load i64, ptr %third.at
  %c.row = mul i64 %c, %rows
  %same = icmp eq i64 %now, %before
  br i1 %same, label %best, label %turn.start
turn.start:
  %twice = shl i64 %now, 1
  %a.at = getelementptr i64, ptr %pairs, i64 %twice
  %b.at = getelementptr i64, ptr %a.at, i64 1
  %a = load i64, ptr %a.at
  %b = load i64, ptr %b.at
  %a.row = mul i64 %a, %rows
  %b.row = mul i64 %b, %rows
  br label %turn
turn:
  %i = phi i64 [0, %turn.start], [%i.next, %turn]
  %a.place = add i64 %a.row, %i
  %b.place = add i64 %b.row, %i
  %a.from = getelementptr i16, ptr %strip, i64 %a.place
  %b.from = getelementptr i16, ptr %strip, i64 %b.place
  %turned.to = getelementptr i16, ptr %turned, i64 %i
  %a.of = load <{COLUMNS} x i16>, ptr %a.from, align 2
  %b.of = load <{COLUMNS} x i16>, ptr %b.from, align 2
  %difference = sub <{COLUMNS} x i16> %b.of, %a.of
  store <{COLUMNS} x i16> %difference, ptr %turned.to, align 2
  %i.next = add i64 %i, {COLUMNS}
  %turning = icmp slt i64 %i.next, %rows
  br i1 %turning, label %turn, label %best
best:
  br label %best.loop
best.loop:
  %j = phi i64 [0, %best], [%j.next, %best.loop]
  %top = phi <{COLUMNS} x i16> [{"<" + ", ".join(["i16 -32768"] * COLUMNS) + ">"}, %best], [%top.next, %best.loop]
  %c.place = add i64 %c.row, %j
  %c.from = getelementptr i16, ptr %strip, i64 %c.place
  %turned.from = getelementptr i16, ptr %turned, i64 %j
  %c.of = load <{COLUMNS} x i16>, ptr %c.from, align 2
  %turned.of = load <{COLUMNS} x i16>, ptr %turned.from, align 2
  %total = add <{COLUMNS} x i16> %turned.of, %c.of
  %top.next = call <{COLUMNS} x i16> @llvm.smax.v{COLUMNS}i16(<{COLUMNS} x i16> %top, <{COLUMNS} x i16> %total)
  %j.next = add i64 %j, {COLUMNS}
  %going = icmp slt i64 %j.next, %rows
  br i1 %going, label %best.loop, label %best.end
best.end:
  %largest = call i16 @llvm.vector.reduce.smax.v{COLUMNS}i16(<{COLUMNS} x i16> %top.next)
  %top.at = getelementptr i16, ptr %tops, i64 %question
  store i16 %largest, ptr %top.at
  %question.next = add i64 %question, 1
  br label %questions.loop
}}
"""
