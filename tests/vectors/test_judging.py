"""Evaluation by file: the same numbers as gensim's on the usual lists."""

import logging
from pathlib import Path

import numpy as np
import pytest

import foreword as fw
from foreword.vectors.judging import judge


def gensims(name):
    path = Path(pytest.importorskip("gensim.test.utils", reason="gensim is not installed").datapath(name))
    if not path.exists():
        pytest.skip("gensim's test data is not there")
    return path


@pytest.fixture(scope="module")
def both():
    """The first 20,000 GloVe words, here and in gensim."""
    models = pytest.importorskip("gensim.models", reason="gensim is not installed")
    ours = fw.load("glove-wiki-gigaword-50", limit=20_000)
    theirs = models.KeyedVectors(ours.vector_size)
    theirs.add_vectors(list(ours.index_to_key), ours.vectors)
    logging.getLogger("gensim").setLevel(logging.WARNING)
    return ours, theirs


@pytest.mark.parametrize("name", ["wordsim353.tsv", "simlex999.txt"])
@pytest.mark.parametrize("dummy", [False, True])
def test_correlations_and_unknown_words_are_gensims(both, name, dummy):
    ours, theirs = both
    (pearson, pearson_p), (spearman, spearman_p), unknown = theirs.evaluate_word_pairs(
        str(gensims(name)), dummy4unknown=dummy
    )
    judged = judge(ours, gensims(name), dummy4unknown=dummy)
    assert judged.pearson == pytest.approx(pearson, abs=1e-6)
    assert judged.spearman == pytest.approx(spearman, abs=1e-5)  # gensim's float32 cosines tie where ours don't
    assert judged.pearson_p == pytest.approx(pearson_p, rel=1e-3)
    assert judged.spearman_p == pytest.approx(spearman_p, rel=1e-3)
    assert judged.unknown_percent == pytest.approx(unknown)


@pytest.mark.slow
@pytest.mark.parametrize("dummy", [False, True])
def test_every_section_of_the_analogies_is_gensims(both, dummy):
    ours, theirs = both
    _, sections = theirs.evaluate_word_analogies(str(gensims("questions-words.txt")), dummy4unknown=dummy)
    judged = judge(ours, gensims("questions-words.txt"), dummy4unknown=dummy)
    expected = [(s["section"], len(s["correct"]), len(s["correct"]) + len(s["incorrect"])) for s in sections]
    assert [(s.name, s.correct, s.questions) for s in judged.sections] == expected


def test_pairs_of_the_first_word_are_judged_with_the_others(tmp_path):
    """Row 0 is a word as any other, also where unknown words count as 0."""
    table = fw.KeyedVectors(2)
    table.add_vectors(["a", "b", "c", "d"], np.array([[1, 0], [1, 0.2], [0, 1], [1, 1]], np.float32))
    (tmp_path / "pairs").write_text("a\tb\t9\na\tc\t1\nc\td\t5\n")
    for dummy in (False, True):
        judged = judge(table, tmp_path / "pairs", dummy4unknown=dummy)
        assert judged.spearman == pytest.approx(1)
