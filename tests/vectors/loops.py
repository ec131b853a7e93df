"""What the compiled loops of searches do, in Python: the slow reference that tests compare them with.

All of float32 is rounded at each step, as the machine code rounds it.
"""

import heapq

import numpy as np

F = np.float32


def scan(codes, query, start, stop, k, floor):
    """(row, lower, upper) of each row that ``assembly``'s scan keeps, given room for all; one strip at a time."""
    best, kept = [-np.inf] * k, []
    for first in range(start, stop, 64):
        base = min(first, stop - 64)
        bound = max(best[0], floor)
        for group in range(base, base + 64, 16):
            ends = []
            for row in range(group, group + 16):
                dot = int(codes.codes[row].astype(np.int64) @ query.code.astype(np.int64))
                score = F(F(F(dot) * codes.scales[row]) * F(query.scale))
                slack = F(F(codes.errors[row] * F(F(query.error) + F(1))) + F(query.error))
                ends.append((row, F(score - slack), F(score + slack)))
            seen = [end for end in ends if end[2] >= bound]  # by the bound that the 16 rows found
            for row, low, high in seen:
                if row < first:
                    continue
                kept.append((row, low, high))
                if low > best[0]:
                    heapq.heapreplace(best, low)
                    bound = max(bound, best[0])
    return kept


def pairs(codes, queries, start, stop, bounds):
    """(row · count + query, lower, upper) of each pair whose interval reaches the query's bound."""
    kept = []
    for row in range(start, stop):
        for i, query in enumerate(queries):
            dot = int(codes.codes[row].astype(np.int64) @ query.code.astype(np.int64))
            score = F(F(F(dot) * codes.scales[row]) * F(query.scale))
            error = np.nextafter(F(query.error), F(np.inf))
            slack = F(F(F(codes.errors[row] * error) + error) + codes.errors[row])
            if F(score + slack) >= bounds[i]:
                kept.append((row * len(queries) + i, F(score - slack), F(score + slack)))
    return kept


def analogies(strip, pairs, pair, third):
    """The largest sum b + c − a of each question over a strip's rows."""
    a, b = pairs[pair].T
    return (strip[b].astype(np.int64) + strip[third] - strip[a]).max(axis=1)
