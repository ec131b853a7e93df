"""Whole runs: what is learnt, corpora at the edges, random numbers, progress, and what is refused."""

import itertools
import threading

import numpy as np
import pytest

from foreword import KeyedVectors
from foreword.errors import ArgumentError, ArgumentTypeError, FormatError, MissingPackageError, StoreError
from foreword.vectors.store.subwords import subword_rows
from foreword.vectors.training.options import Layout, Subwords, TrainingOptions
from foreword.vectors.training.tables import alias_table, keep_thresholds
from foreword.vectors.training.trainer import Trainer
from vectors.training.corpora import START, bits, drawn, spellings

SMALL = {"dim": 16, "epochs": 1, "lanes": 4, "stretch": 64, "pool": 48}


def _analogies():
    """A corpus in which pair i's two words differ as those of any other pair do, its counts, and the words."""
    rng = np.random.default_rng(5)
    pairs, own, common = 12, 6, 8
    words = [f"{kind}{i}" for i in range(pairs) for kind in "ab"]
    words += [f"topic{i}.{j}" for i in range(pairs) for j in range(own)]
    words += [f"{kind}.{j}" for kind in "ab" for j in range(common)]
    index = {word: i for i, word in enumerate(words)}
    sentences = []
    for _ in range(9000):
        i, kind = rng.integers(pairs), "ab"[rng.integers(2)]
        sentence = [f"{kind}{i}", *(f"topic{i}.{j}" for j in rng.integers(own, size=3))]
        sentence += [f"{kind}.{j}" for j in rng.integers(common, size=3)]
        sentences.append([index[word] for word in rng.permutation(sentence)])
    order = np.argsort(-np.bincount(np.concatenate(sentences), minlength=len(words)), kind="stable")
    place = np.argsort(order)
    encoded = place[np.concatenate(sentences)].astype(np.uint32)
    counts = np.bincount(encoded, minlength=len(words)).astype(np.int64)
    encoded[:: len(sentences[0])] |= np.uint32(START)
    return encoded, counts, [words[i] for i in order], pairs


@pytest.mark.parametrize(
    "how",
    [{}, {"method": "cbow", "alpha": 0.05}, {"subwords": Subwords(min_n=3, max_n=4, buckets=5000), "alpha": 0.05}],
    ids=str,
)
def test_analogies_of_a_corpus_made_for_them(how):
    encoded, counts, words, pairs = _analogies()
    options = TrainingOptions(dim=24, epochs=12, sample=0, lanes=4, stretch=128, pool=64, **how)
    trainer = Trainer(encoded, counts, options, words=words)
    trainer.run()
    vectors = KeyedVectors(24)
    vectors.add_vectors(words, trainer.vectors())
    right = 0
    for i in range(pairs):
        other = (i + 5) % pairs
        found = vectors.most_similar(positive=[f"b{other}", f"a{i}"], negative=[f"a{other}"], topn=1)[0][0]
        right += found == f"b{i}"
    assert right >= pairs - 1


def test_loss_falls_and_progress_is_said():
    encoded, counts, *_ = _analogies()
    options = TrainingOptions(**SMALL | {"epochs": 4})
    trainer = Trainer(encoded, counts, options)
    said = []
    assert np.isnan(trainer.loss)
    trainer.run(epochs=1, report=said.append)
    assert (said[-1].epoch, said[-1].position, said[-1].words) == (1, 0, len(encoded))
    assert said[-1].seconds_left == 0
    assert said[-1].alpha == pytest.approx(0.025 - (0.025 - 1e-4) / 4)
    first = said[-1].loss
    said.clear()
    trainer.run(every=0, report=said.append)
    assert len(said) > 2
    assert [p.words for p in said] == sorted(p.words for p in said)
    assert all(p.words_per_second > 0 for p in said[:-1])
    assert said[-1].epoch == 4
    assert said[-1].alpha == pytest.approx(1e-4)
    assert said[-2].loss < first - 0.05
    assert said[-1].mean_loss == pytest.approx(trainer.loss)
    before = bits(trainer)
    trainer.run()  # nothing is left
    assert bits(trainer) == before


def test_more_epochs_than_the_options_have_stay_at_the_least_rate():
    encoded, counts = drawn()
    trainer = Trainer(encoded, counts, TrainingOptions(**SMALL))
    said = []
    trainer.run(epochs=2, report=said.append)
    assert said[-1].alpha == 1e-4
    assert said[-1].epoch == 2


# Corpora at the edges.


def test_an_empty_corpus_trains_nothing():
    trainer = Trainer(np.zeros(0, np.uint32), np.array([3, 2]), TrainingOptions(**SMALL))
    before, said = bits(trainer), []
    trainer.run(report=said.append)
    assert np.isnan(trainer.loss)
    assert np.isnan(said[-1].seconds_left)
    assert bits(trainer)[:10] == before[:10]


@pytest.mark.parametrize("length", [1, 2, 700])
def test_a_vocabulary_of_one_word(length):
    encoded = np.zeros(length, np.uint32)
    encoded[0] = START
    trainer = Trainer(encoded, np.array([length]), TrainingOptions(**SMALL, sample=0))
    trainer.run()
    assert np.isfinite(trainer.input_table).all()
    assert trainer.loss_sums()[1] == (0 if length == 1 else pytest.approx(length * 6, rel=1))


def test_sentences_of_one_word_have_no_contexts():
    encoded, counts = drawn(sentence=1)
    trainer = Trainer(encoded, counts, TrainingOptions(**SMALL))
    trainer.run()
    assert trainer.loss_sums() == (0, 0)


@pytest.mark.parametrize("length", [2_000_000, pytest.param(100_000_000, marks=pytest.mark.slow)])
def test_one_line_of_millions_of_words(length):
    encoded, counts = drawn(50, length, sentence=length)
    trainer = Trainer(encoded, counts, TrainingOptions(dim=16, epochs=1, lanes=8, stretch=1024, pool=32, negative=1))
    trainer.run()
    assert trainer.words_read == length
    assert np.isfinite(trainer.input_table).all()
    assert trainer.loss_sums()[1] > length / 20


@pytest.mark.parametrize("cut", [1, 63, 64, 65, 255, 257, 511])
def test_nothing_is_read_behind_the_end(cut):
    """A corpus is trained on alike whatever stands behind it in memory."""
    encoded, counts = drawn(100, 1024, sentence=2000)
    found = set()
    for rest in (0, START | 5, 0x7FFFFFFF):
        room = np.full(1024, rest, np.uint32)
        room[:cut] = encoded[:cut]
        trainer = Trainer(room[:cut], counts, TrainingOptions(**SMALL))
        trainer.run()
        found.add(bits(trainer))
    assert len(found) == 1


# Random numbers.


def test_noise_words_are_drawn_by_their_counts():
    counts = np.sort(np.random.default_rng(1).zipf(1.3, 300).clip(1, 10**6))[::-1].astype(np.int64)
    chance, other = alias_table(counts, 0.75)
    expected = counts**0.75 / (counts**0.75).sum()
    implied = np.bincount(other, weights=1 - chance.astype(np.float64), minlength=300) + chance
    assert np.allclose(implied / 300, expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("exponent", [0.75, 0.0, -0.5])
def test_noise_of_a_run_by_chi_square(exponent):
    """What a run trains as noise: with inputs that are zero, each drawn target's loss is log 2, and none moves."""
    from vectors.training.reference import GOLDEN, Reference, mix

    counts = np.array([4000, 900, 300, 90, 20, 7, 1])
    chance, other = alias_table(counts, exponent)
    empty = np.zeros((7, 4))
    reference = Reference(np.zeros(0), TrainingOptions(), keep_thresholds(counts, 0), chance, other, empty, empty)
    draws = 20_000
    found = np.bincount([reference.noise(mix(i * GOLDEN)) for i in range(1, draws + 1)], minlength=7)
    expected = counts**exponent / (counts**exponent).sum() * draws
    assert ((found - expected) ** 2 / expected).sum() < 22.5  # six degrees of freedom: one in a thousand


def test_frequent_words_are_left_out_by_chi_square():
    """Each word's predictions in CBOW are its kept occurrences that have a neighbour: all but a few."""
    counts = np.array([60_000, 20_000, 5_000, 1_000])
    encoded = np.random.default_rng(2).permutation(np.repeat(np.arange(4, dtype=np.uint32), counts))
    share = counts / counts.sum()
    keep = np.minimum(1, (np.sqrt(share / 0.01) + 1) * 0.01 / share)
    options = TrainingOptions(dim=16, epochs=1, sample=0.01, method="cbow", negative=1)
    trainer = Trainer(encoded, counts, options)
    trainer.run()
    kept, deviation = (keep * counts).sum(), np.sqrt((keep * (1 - keep) * counts).sum())
    assert abs(trainer.loss_sums()[1] - kept) < 4 * deviation
    assert (keep_thresholds(counts, 0.01) / 2**32 == pytest.approx(keep, abs=1e-6)) is True
    assert (keep_thresholds(counts, 0) == 0xFFFFFFFF).all()


# Subwords.


def test_subwords_are_those_of_fasttext():
    words = [*spellings(30), "</s>"]
    counts = np.arange(31, 0, -1)
    options = TrainingOptions(**SMALL, subwords=Subwords(min_n=3, max_n=5, buckets=700))
    trainer = Trainer(np.zeros(0, np.uint32), counts, options, words=words)
    vectors = trainer.vectors()
    for i, word in enumerate(words):
        rows = subword_rows(word.encode(), minn=3, maxn=5, bucket=700) if word != "</s>" else []
        expected = trainer.input_table[[i, *(31 + row for row in rows)]].mean(axis=0, dtype=np.float64)
        assert np.allclose(vectors[i], expected, atol=1e-6)


def test_subwords_by_gensims_hash():
    pytest.importorskip("gensim")
    from gensim.models.fasttext_inner import compute_ngrams_bytes, ft_hash_bytes

    options = TrainingOptions(**SMALL, subwords=Subwords(min_n=3, max_n=6, buckets=10_000))
    words = ["straße", "日本語学習", "a", "mañana's"]
    trainer = Trainer(np.zeros(0, np.uint32), np.array([4, 3, 2, 1]), options, words=words)
    offsets, rows = trainer._plan.gram_offsets, trainer._plan.gram_rows
    for i, word in enumerate(words):
        theirs = [4 + ft_hash_bytes(gram) % 10_000 for gram in compute_ngrams_bytes(word, 3, 6)]
        assert sorted(rows[offsets[i] : offsets[i + 1]]) == sorted([i, *theirs])


def test_a_word_of_ten_thousand_letters():
    words = ["long" * 2500, "b"]
    options = TrainingOptions(**SMALL, subwords=Subwords(buckets=50), sample=0)
    trainer = Trainer(np.array([START, 1, 0, 1], np.uint32), np.array([2, 2]), options, words=words)
    trainer.run()
    assert np.isfinite(trainer.vectors()).all()


# What is refused.


def test_a_word_out_of_the_vocabulary_is_named():
    encoded, counts = drawn()
    encoded[777] = 400
    with pytest.raises(FormatError, match=r"(?s)not in the vocabulary.*400.*777"):
        Trainer(encoded, counts, TrainingOptions(**SMALL)).run()


def _chain(words, length):
    """A chain of words, each of which two others follow, and its counts."""
    rng = np.random.default_rng(0)
    follows = rng.integers(0, words, (words, 2))
    encoded, coins = np.zeros(length, np.uint32), rng.integers(0, 2, length)
    for i in range(1, len(encoded)):
        encoded[i] = follows[encoded[i - 1], coins[i]] if i % 10 else rng.integers(words)
    return encoded, np.bincount(encoded, minlength=words).astype(np.int64)


@pytest.mark.parametrize("words", [20, 100])
def test_many_lanes_do_not_overshoot_a_small_vocabulary(words):
    """A chain of few words, which eight lanes learn about as well as one does."""
    encoded, counts = _chain(words, 60_000)
    losses = []
    for lanes in (1, 8):
        trainer = Trainer(encoded, counts, TrainingOptions(dim=32, epochs=4, lanes=lanes, alpha=0.05))
        trainer.run()
        losses.append(trainer.loss)
    assert losses[1] < losses[0] * 1.15


# How rounds are laid out.


@pytest.mark.parametrize(
    ("vocabulary", "words", "layout"),
    [
        (72_812, 27_000_000, Layout(8, 512, 256, 4)),
        (20_000, 131_072, Layout(8, 512, 256, 4)),
        (20_000, 131_071, Layout(1, 512, 256, 4)),
        (19_999, 27_000_000, Layout(4, 256, 48, 4)),
        (500, 131_072, Layout(4, 256, 48, 4)),
        (499, 27_000_000, Layout(1, 256, 48, 4)),
        (1, 0, Layout(1, 256, 48, 4)),
    ],
)
def test_a_round_is_laid_out_by_the_vocabulary(vocabulary, words, layout):
    options = TrainingOptions()
    assert options.layout(vocabulary, words) == layout
    assert options.settled(vocabulary, words).layout(5, 5) == layout
    given = TrainingOptions(lanes=3, stretch=77, pool=9, damping=2)
    assert given.layout(vocabulary, words) == Layout(3, 77, 9, 2)


def test_lanes_that_are_given_are_averaged_in_a_small_vocabulary():
    assert TrainingOptions(lanes=8).layout(1999, 10**6) == Layout(8, 256, 48, 1)
    assert TrainingOptions(lanes=8).layout(2000, 10**6) == Layout(8, 256, 48, 4)


@pytest.mark.parametrize("words", [499, 500, 2000])
def test_the_layout_of_a_small_vocabulary_learns_as_one_lane_does(words):
    encoded, counts = _chain(words, 140_000)
    losses = []
    for options in (TrainingOptions(dim=32, epochs=2), TrainingOptions(dim=32, epochs=2, lanes=1)):
        trainer = Trainer(encoded, counts, options)
        trainer.run()
        losses.append(trainer.loss)
    assert trainer.layout == Layout(1, 256, 48, 1 if words < 2000 else 4)
    assert losses[0] < losses[1] * 1.05


def test_what_is_laid_out_is_what_the_options_of_a_run_say():
    encoded, counts = drawn(3000, 132_000)
    found = []
    for layout in ({}, {"lanes": 4, "stretch": 256, "pool": 48, "damping": 4}):
        trainer = Trainer(encoded, counts, TrainingOptions(dim=16, epochs=1, **layout))
        trainer.run()
        found.append((bits(trainer), trainer.options))
    assert found[0] == found[1]


def test_a_training_that_diverges_says_so():
    encoded, counts = drawn(20)
    options = TrainingOptions(**SMALL | {"epochs": 20, "alpha": 1000.0, "method": "cbow", "cbow_mean": False})
    with pytest.raises(ArgumentError, match="diverged"):
        Trainer(encoded, counts, options).run()


@pytest.mark.parametrize(
    "wrong",
    [
        {"encoded": np.zeros(3, np.int32)},
        {"encoded": np.zeros((3, 3), np.uint32)},
        {"encoded": np.zeros(8, np.uint32)[::2]},
        {"counts": np.zeros(0, np.int64)},
        {"counts": np.array([1.5])},
        {"counts": np.array([-1])},
        {"options": TrainingOptions(subwords=Subwords())},
        {"options": TrainingOptions(subwords=Subwords()), "words": ["a"]},
        {"tables": (np.zeros((2, 99), np.float32), np.zeros((2, 100), np.float32))},
        {"tables": (np.zeros((2, 100), np.float32), np.zeros((2, 100)))},
        {"workers": 0},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_arguments_that_do_not_fit(wrong):
    right = {"encoded": np.zeros(3, np.uint32), "counts": np.array([3, 1]), "options": TrainingOptions()}
    with pytest.raises(ArgumentError):
        Trainer(**right | wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "hs"},
        {"negative": 0},
        {"negative": 32},
        {"shared_negatives": 0},
        {"dim": 0},
        {"dim": 2.0},
        {"alpha": float("nan")},
        {"alpha": "fast"},
        {"alpha": 1e-5},
        {"sample": -1},
        {"epochs": 0},
        {"subwords": True},
        {"seed": -1},
    ],
    ids=str,
)
def test_options_that_can_not_be_used(wrong):
    with pytest.raises((ArgumentError, ArgumentTypeError)):
        TrainingOptions(**wrong)


def test_without_kernels_training_is_refused(monkeypatch):
    import sys

    monkeypatch.delattr("foreword.vectors.training.kernels")
    monkeypatch.setitem(sys.modules, "foreword.vectors.training.kernels", None)
    with pytest.raises(MissingPackageError, match="compiled"):
        Trainer(*drawn(), TrainingOptions(**SMALL))


class Broken:
    """Kernels whose work fails in one of its calls."""

    def __init__(self, kernels, call):
        self._kernels, self._call, self._calls = kernels, call, itertools.count(1)

    def __getattr__(self, name):
        return getattr(self._kernels, name)

    def work(self, *arguments):
        if next(self._calls) == self._call:
            raise RuntimeError("broken")
        return self._kernels.work(*arguments)


@pytest.mark.parametrize("call", [1, 2, 3, 4])
def test_a_failing_thread_ends_the_run_and_leaves_the_last_checkpoint(monkeypatch, tmp_path, call):
    path = tmp_path / "run"
    encoded, counts = drawn()
    trainer = Trainer(encoded, counts, TrainingOptions(**SMALL), workers=2)
    trainer._segment(2, 2)
    trainer.save_checkpoint(path)
    before = path.read_bytes()
    monkeypatch.setattr("foreword.vectors.training.trainer.SEGMENT", 1e-9)
    kernels, trainer._kernels = trainer._kernels, Broken(trainer._kernels, call)
    with pytest.raises(RuntimeError, match="broken"):
        trainer.run(checkpoint=path)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("foreword-training")]
    trainer._kernels = kernels
    for use in (trainer.run, lambda: trainer.run(checkpoint=path), lambda: trainer.save_checkpoint(path)):
        with pytest.raises(StoreError, match="in the midst of a round"):
            use()
    assert path.read_bytes() == before
    again, whole = Trainer.resume(path, encoded, counts), Trainer(encoded, counts, TrainingOptions(**SMALL))
    again.run()
    whole.run()
    assert bits(again) == bits(whole)


def test_ctrl_c_after_a_thread_has_failed_writes_no_checkpoint(monkeypatch, tmp_path):
    trainer = Trainer(*drawn(), TrainingOptions(**SMALL), workers=2)
    trainer._kernels = Broken(trainer._kernels, 1)

    settle = trainer.settle

    def interrupted():
        team = trainer._team
        settle()
        if team:
            raise KeyboardInterrupt  # just as the threads have ended, and before anybody asks how

    monkeypatch.setattr(trainer, "settle", interrupted)
    with pytest.raises((StoreError, KeyboardInterrupt), match="in the midst of a round"):
        trainer.run(checkpoint=tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_what_has_diverged_or_met_an_unknown_word_is_no_checkpoint(tmp_path):
    encoded, counts = drawn(20)
    options = TrainingOptions(**SMALL | {"epochs": 20, "alpha": 1000.0, "method": "cbow", "cbow_mean": False})
    wild = Trainer(encoded, counts, options)
    encoded, counts = drawn()
    encoded = encoded.copy()
    encoded[7] = len(counts)
    for trainer in (wild, Trainer(encoded, counts, TrainingOptions(**SMALL))):
        with pytest.raises((ArgumentError, FormatError)) as first:
            trainer.run(checkpoint=tmp_path / "run")
        with pytest.raises(type(first.value)):
            trainer.save_checkpoint(tmp_path / "run")
    assert not list(tmp_path.iterdir())
