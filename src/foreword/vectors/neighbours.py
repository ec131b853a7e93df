"""Neighbours: the keys nearest to words, to means of words, to vectors, by cosine.

Every method here searches all rows, or those that ``restrict_vocab``, ``clip_start``, ``clip_end``, ``among``,
``exclude`` and ``min_similarity`` leave. Answers are exact and ordered by falling score, ties by index; ``search.py``
tells how.

Not for: comparing two given words (``similarity.py``). Costs: see docs/vectors.md; one query over 400,000 × 300 about 4
ms.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword._base.checks import integer
from foreword.errors import ArgumentError, ArgumentTypeError
from foreword.vectors.search.index import Hits, float_slack, rising, unit_query
from foreword.vectors.table import BYTES, VectorTable, _checked_vector, as_array, is_key, listed

__all__ = ["Neighbours"]

_COSMUL_ADDEND = 1e-6
"""Keeps the 3CosMul objective finite, as in gensim."""

_AT_ONCE = 4096
"""Queries of a batch that are worked on at once, so that memory doesn't grow with the batch."""

Neighbour = tuple[str, float]
Unit = NDArray[np.float64]


class Neighbours(VectorTable):
    """Search by word and vector; the options that all methods share are those of ``most_similar``."""

    def most_similar(
        self,
        positive: Any = None,
        negative: Any = None,
        topn: int | None = 10,
        clip_start: int = 0,
        clip_end: int | None = None,
        restrict_vocab: int | None = None,
        indexer: Any = None,
        *,
        among: Iterable[Any] | None = None,
        exclude: Iterable[Any] = (),
        min_similarity: float | None = None,
    ) -> Any:
        """The keys whose vectors are nearest to Σ positive − Σ negative, with their cosines.

        Vectors of words are scaled to length 1 before they are added. Words asked about are never part of the answer.

        Args:
            positive: a word, an index, a vector, or a list of them, each alone or as (key, weight); the weight is 1
                where not given. A matrix is a list of its rows.
            negative: the same; the weight is −1 where not given.
            topn: how many; None for the cosine of every row of the range, in order, as float32.
            clip_start: search rows from here on.
            clip_end: search rows before this one; None for all.
            restrict_vocab: search the first so many rows only; overrides the clips.
            indexer: an approximate index to ask instead, with a method ``most_similar(vector, topn)``.
            among: search these keys only.
            exclude: leave these keys out; ones that aren't there leave nothing out.
            min_similarity: leave out what scores less.

        Returns:
            A list of (key, cosine), best first, ties by index; shorter than ``topn`` where fewer keys qualify. With
            ``topn=None`` float32 [rows of the range], −inf for rows that among, exclude or min_similarity leave out.
            Empty where the policy ``oov="skip"`` leaves no word to ask about.

        Raises:
            UnknownKeyError: a word isn't there, and nothing stands in for it (``oov``).
            ArgumentError: nothing was given, or an option can't be used.

        Mikolov et al., Linguistic Regularities in Continuous Space Word Representations (2013).
        """
        topn = None if topn is None else integer("topn", topn)
        if topn is not None and topn < 1:
            return []
        keys, weights, own = self._terms(positive, negative)
        if not keys and topn is not None:
            return []
        mean = self._mean(keys, weights, pre_normalize=True, ignore_missing=False, rows=own)
        if indexer is not None and topn is not None:
            if not callable(getattr(indexer, "most_similar", None)):
                raise ArgumentTypeError(
                    "not an index to ask",
                    got=f"indexer={indexer!r}"[:80],
                    expected="an object with a method most_similar(vector, topn)",
                )
            if among is not None or min_similarity is not None or listed(exclude):
                raise ArgumentError(
                    "an indexer searches all keys", got="among, exclude or min_similarity", fix="leave indexer out"
                )
            return indexer.most_similar(unit_query(mean, self.vector_size).astype(np.float32), topn)
        start, stop = self._range(clip_start, clip_end, restrict_vocab)
        chosen = None if among is None else self._chosen(among)
        if topn is None:
            return self._all_scores(mean, start, stop, chosen, self._left_out(exclude), min_similarity)
        hits = self._search().nearest(
            mean,
            topn,
            start=start,
            stop=stop,
            among=chosen,
            exclude=self._left_out(exclude, own),
            at_least=_floor(min_similarity),
        )
        return self._named(hits)

    def most_similar_batch(
        self,
        queries: Sequence[Any],
        topn: int = 10,
        *,
        clip_start: int = 0,
        clip_end: int | None = None,
        restrict_vocab: int | None = None,
        among: Iterable[Any] | None = None,
        exclude: Iterable[Any] = (),
        min_similarity: float | None = None,
    ) -> list[list[Neighbour]]:
        """The answers of ``most_similar`` to many queries, by matrix products: sooner for all than one by one.

        Args:
            queries: each a word, an index, a vector, or a list of positive ones as ``most_similar`` takes, or a mapping
                ``{"positive": …, "negative": …}``. A matrix is a list of its rows.
            topn: how many, for each query.
            clip_start: as in ``most_similar``, for all queries; so are the others.
            clip_end: as there.
            restrict_vocab: as there.
            among: as there.
            exclude: as there.
            min_similarity: as there.

        Returns:
            One list of (key, cosine) a query, equal to what ``most_similar`` gives.
        """
        if is_key(queries):
            raise ArgumentError("a batch is a list of queries", got=repr(queries), fix=f"give [{queries!r}]")
        topn = integer("topn", topn)
        start, stop = self._range(clip_start, clip_end, restrict_vocab)
        options: dict[str, Any] = {
            "start": start,
            "stop": stop,
            "among": None if among is None else self._chosen(among),
            "exclude_all": self._left_out(exclude),
            "at_least": _floor(min_similarity),
        }
        answers: list[list[Neighbour]] = []
        left = queries if isinstance(queries, Iterator) else iter(listed(queries))
        while part := list(itertools.islice(left, _AT_ONCE)):
            means = np.zeros((len(part), self.vector_size))
            terms, own = [], []
            for mean, query in zip(means, part, strict=True):
                parts = query if isinstance(query, dict) else {"positive": query}
                if unknown := set(parts) - {"positive", "negative"}:
                    raise ArgumentError("a query has positive and negative parts only", got=sorted(map(str, unknown)))
                keys, weights, rows = self._terms(parts.get("positive"), parts.get("negative"))
                if keys:
                    mean[:] = self._mean(keys, weights, pre_normalize=True, ignore_missing=False, rows=rows)
                terms.append(keys)
                own.append(np.array([row for row in rows if row >= 0], dtype=np.int64))
            if topn < 1:
                answers += [[] for _ in part]
                continue
            found = self._search().nearest_batch(means, topn, exclude=own, **options)
            answers += [self._named(hits) if keys else [] for hits, keys in zip(found, terms, strict=True)]
        return answers

    def similar_by_key(self, key: Any, topn: int | None = 10, restrict_vocab: int | None = None, **options: Any) -> Any:
        """The keys nearest to ``key``; options as in ``most_similar``."""
        return self.most_similar(positive=[key], topn=topn, restrict_vocab=restrict_vocab, **options)

    def similar_by_word(
        self, word: Any, topn: int | None = 10, restrict_vocab: int | None = None, **options: Any
    ) -> Any:
        """The keys nearest to ``word``; another name of ``similar_by_key``."""
        return self.similar_by_key(word, topn, restrict_vocab, **options)

    def similar_by_vector(
        self, vector: Any, topn: int | None = 10, restrict_vocab: int | None = None, **options: Any
    ) -> Any:
        """The keys nearest to a vector [D]; options as in ``most_similar``."""
        return self.most_similar(positive=[as_array(vector)], topn=topn, restrict_vocab=restrict_vocab, **options)

    def most_similar_cosmul(
        self,
        positive: Any = None,
        negative: Any = None,
        topn: int | None = 10,
        restrict_vocab: int | None = None,
        *,
        clip_start: int = 0,
        clip_end: int | None = None,
        among: Iterable[Any] | None = None,
        exclude: Iterable[Any] = (),
        min_similarity: float | None = None,
    ) -> Any:
        """The keys w that maximise Π(1 + cos(w, p))/2 over positive p, divided by the same over negative ones + 1e-6.

        Options and result as in ``most_similar``, without weights; ``min_similarity`` bounds this score, not a cosine.

        Levy and Goldberg, Linguistic Regularities in Sparse and Explicit Word Representations (2014), equation 4.
        """
        topn = None if topn is None else integer("topn", topn)
        if topn is not None and topn < 1:
            return []
        ours, theirs = _listed(positive), _listed(negative)
        if not ours:
            raise ArgumentError("can't compare with no positive key", expected="at least one positive key or vector")
        (kept, our_rows), (their_kept, their_rows) = self._asked(ours), self._asked(theirs)
        ours, theirs = [ours[i] for i in kept], [theirs[i] for i in their_kept]
        if not ours and topn is not None:
            return []
        start, stop = self._range(clip_start, clip_end, restrict_vocab)
        chosen = None if among is None else self._chosen(among)
        rows = np.arange(start, stop) if chosen is None else chosen[(chosen >= start) & (chosen < stop)]
        own = our_rows + their_rows
        rows = rows[~np.isin(rows, self._left_out(exclude, own if topn is not None else ()))]
        floor = _floor(min_similarity)
        every_unit = [self._unit(term, row) for term, row in zip(ours + theirs, own, strict=True)]
        units = every_unit[: len(ours)], every_unit[len(ours) :]
        if topn is None:
            scores, lower, upper = self._rough_cosmul(*units, start, stop)
            every = np.full(stop - start, -np.inf, dtype=np.float32)
            at = rows - start
            near = at[(lower[at] < floor) & (upper[at] >= floor)]
            fits = lower[at] >= floor
            fits[np.isin(at, near)] = self._cosmul(*units, near + start) >= floor
            every[at[fits]] = scores[at[fits]]
            return every
        if len(rows) > 4 * topn + 64:
            _, lower, upper = self._rough_cosmul(*units, start, stop)
            lower, upper = lower[rows - start], upper[rows - start]
            rows = rows[upper >= max(floor, np.partition(lower, len(lower) - topn)[len(lower) - topn])]
        scores = self._cosmul(*units, rows)
        rows, scores = rows[scores >= floor], scores[scores >= floor]
        order = np.lexsort((rows, -scores))[:topn]
        return self._named(Hits(rows[order], scores[order]))

    def _cosmul(self, ours: list[Unit], theirs: list[Unit], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """The scores of chosen rows, float64."""
        over, under = (
            _product((self._search().exact(unit, rows) for unit in side), len(rows)) for side in (ours, theirs)
        )
        return over / (under + _COSMUL_ADDEND)

    def _rough_cosmul(
        self, ours: list[Unit], theirs: list[Unit], start: int, stop: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """The scores of start…stop−1 by float32 products, and the ends of the interval that each one's score lies in.

        δ is what such a product can cost a factor (1 + cos)/2, so m factors in 0…1 cost mδ at most.
        """
        delta = (self.vector_size + 16) * 2.0**-24
        over, under = (
            _product((self._search().scores(unit, start, stop) for unit in side), stop - start)
            for side in (ours, theirs)
        )
        error_over, error_under = len(ours) * delta, len(theirs) * delta
        lower = np.maximum(over - error_over, 0) / (under + _COSMUL_ADDEND + error_under)
        divisor = under + _COSMUL_ADDEND - error_under
        upper = np.divide(over + error_over, divisor, out=np.full(len(over), np.inf), where=divisor > 0)
        return over / (under + _COSMUL_ADDEND), lower, upper

    def rank(self, key1: Any, key2: Any) -> int:
        """1 + how many keys are nearer to ``key1`` than ``key2`` is."""
        return len(self.closer_than(key1, key2)) + 1

    def closer_than(self, key1: Any, key2: Any) -> list[str]:
        """The keys nearer to ``key1`` than ``key2`` is, in the order of their rows."""
        first, second = self._row_of(key1), self._row_of(key2)
        index = self._search()
        unit = unit_query(self._rows[first], self.vector_size)
        bar = index.exact(unit, np.array([second]))[0]
        rough = index.scores(unit)
        near = np.flatnonzero(rough >= bar - 4 * (self.vector_size + 8) * 2.0**-24)
        near = near[index.exact(unit, near) > bar]
        return [self.index_to_key[row] for row in near if row != first]

    def words_closer_than(self, word1: Any, word2: Any) -> list[str]:
        """Another name of ``closer_than``, as in gensim."""
        return self.closer_than(word1, word2)

    def relative_cosine_similarity(self, wa: Any, wb: Any, topn: int = 10) -> float:
        """The cosine of two words divided by the sum of the ``topn`` best cosines of the first.

        Above 0.1 for topn=10 the words are nearer than an arbitrary pair. Leeuwenberg et al., A Minimally Supervised
        Approach for Synonym Extraction with Word Embeddings (2016), equation 1.
        """
        neighbours = self.similar_by_key(wa, integer("topn", topn))
        if not neighbours:
            raise ArgumentError("no neighbours to compare with", got=f"topn={topn}", expected="topn ≥ 1 and other keys")
        first, second = self._vector(wa), np.array([self._row_of(wb)])
        cosine = self._search().exact(unit_query(first, self.vector_size), second)[0]
        total = sum(score for _, score in neighbours)
        if total == 0:
            raise ArgumentError(
                "the cosines of the neighbours sum to 0", got=f"topn={topn}", fix="take more neighbours"
            )
        return float(cosine / total)

    # The parts of a query.

    def _terms(self, positive: Any, negative: Any) -> tuple[list[Any], list[float], list[int]]:
        """All keys and vectors asked about, with their weights and rows, less those skipped; −1 for what has no row."""
        keys, weights = _weighted(positive, negative)
        kept, rows = self._asked(keys)
        return [keys[i] for i in kept], [weights[i] for i in kept], rows

    def _asked(self, terms: list[Any]) -> tuple[list[int], list[int]]:
        """Which of keys and vectors count, by their places: not those that the policy "skip" leaves out.

        And the row of each that does, or of what stands in for it: −1 where there is none, and for a vector.
        """
        rows = [-1 if isinstance(term, np.ndarray) else self._row(term) for term in terms]
        kept = list(range(len(terms)))
        if self._oov == "skip":
            kept = [i for i in kept if rows[i] >= 0 or isinstance(terms[i], np.ndarray)]
        return kept, [rows[i] for i in kept]

    def _unit(self, term: Any, row: int) -> NDArray[np.float64]:
        """The vector of a key, of which the row is known, or a vector itself, scaled to length 1."""
        if isinstance(term, np.ndarray):
            return unit_query(_checked_vector(term, self.vector_size), self.vector_size)
        return unit_query(self._vector_at(row, term), self.vector_size)

    def _range(self, clip_start: int, clip_end: int | None, restrict_vocab: int | None) -> tuple[int, int]:
        first = integer("clip_start", clip_start)
        last = None if clip_end is None else integer("clip_end", clip_end)
        if restrict_vocab is not None and (count := integer("restrict_vocab", restrict_vocab, at_least=0)):
            first, last = 0, count
        start, stop, _ = slice(first, last or None).indices(len(self._rows))
        return start, max(start, stop)

    def _chosen(self, keys: Iterable[Any]) -> NDArray[np.int64]:
        return rising(self._indices(keys))

    def _left_out(self, exclude: Iterable[Any], own: Sequence[int] = ()) -> NDArray[np.int64]:
        """The rows that no answer may have: those of keys to exclude, of a query's own, and those without a key."""
        asked = np.array([row for row in own if row >= 0], dtype=np.int64)
        return np.concatenate([self._rows_of(listed(exclude)), asked, self._unused])

    def _rows_of(self, keys: Iterable[Any]) -> NDArray[np.int64]:
        """The rows of those keys that have one."""
        return np.fromiter((row for row in map(self._row, keys) if row >= 0), dtype=np.int64)

    @property
    def _unused(self) -> NDArray[np.int64]:
        """Rows allocated by the constructor that have no key yet."""
        if self.next_index >= len(self.index_to_key) or not isinstance(self.index_to_key, list):
            return np.empty(0, np.int64)
        return np.array([i for i, key in enumerate(self.index_to_key) if key is None], dtype=np.int64)

    def _all_scores(
        self,
        mean: NDArray[np.float64],
        start: int,
        stop: int,
        among: NDArray[np.int64] | None,
        exclude: NDArray[np.int64],
        min_similarity: float | None,
    ) -> NDArray[np.float32]:
        index, floor = self._search(), _floor(min_similarity)
        scores = index.scores(mean, start, stop)
        rows = np.arange(start, stop)
        low = scores < floor
        near = np.flatnonzero(np.abs(scores.astype(np.float64) - floor) <= 2 * float_slack(self.vector_size))
        if len(near):  # float32 can't tell: the exact score does
            low[near] = index.exact(unit_query(mean, self.vector_size), near + start) < floor
        if among is not None:
            low |= ~np.isin(rows, among)
        scores[low | np.isin(rows, exclude)] = -np.inf
        return scores

    def _named(self, hits: Hits) -> list[Neighbour]:
        names = self.index_to_key
        return [(names[row], score) for row, score in zip(hits.rows.tolist(), hits.scores.tolist(), strict=True)]


def _product(cosines: Iterable[NDArray[np.floating[Any]]], count: int) -> NDArray[np.float64]:
    """The product of (1 + cos)/2 over arrays [count] of cosines, in float64; of none ones."""
    result = np.ones(count)
    for cosine in cosines:
        result *= (1 + cosine.astype(np.float64)) / 2
    return result


def _floor(min_similarity: float | None) -> float:
    if min_similarity is None:
        return -np.inf
    if not isinstance(min_similarity, Real) or isinstance(min_similarity, bool) or np.isnan(min_similarity):
        raise ArgumentError("min_similarity must be a number", got=repr(min_similarity), expected="−1…1")
    return float(min_similarity)


def _listed(items: Any) -> list[Any]:
    """Keys and vectors as a list: a single one in it, the rows of a matrix."""
    if items is None:
        return []
    if is_key(items) or (isinstance(items, np.ndarray) and items.ndim == 1 and items.dtype.kind in "fiu"):
        return [items]
    try:
        return listed(items)
    except ArgumentError:
        raise _unusable(items) from None


def _unusable(item: object) -> ArgumentError:
    return ArgumentError(
        "can't search for this", got=repr(item), expected="a word, an index, a vector, or (one of them, weight)"
    )


def _weighted(positive: Any, negative: Any) -> tuple[list[Any], list[float]]:
    """All keys and vectors with their weights."""
    keys, weights = [], []
    for items, default in ((_listed(positive), 1.0), (_listed(negative), -1.0)):
        for item in items:
            key, weight = item, default
            if not is_key(item) and not isinstance(item, np.ndarray):
                try:
                    key, weight = item
                except (TypeError, ValueError):
                    key = None
                named = is_key(key) or isinstance(key, np.ndarray)
                if isinstance(item, BYTES) or not named or not isinstance(weight, Real):
                    raise _unusable(item)
            keys.append(key)
            weights.append(weight)
    if not keys:
        raise ArgumentError("nothing to search for", expected="at least one positive or negative key or vector")
    return keys, weights
