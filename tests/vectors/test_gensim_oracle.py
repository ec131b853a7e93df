"""The same answers as gensim 4.4, method by method; skipped where gensim isn't installed (extra `bench`)."""

import inspect

import numpy as np
import pytest

from foreword import KeyedVectors

gensim = pytest.importorskip("gensim", reason="gensim isn't installed: pip install gensim")
from gensim.models import KeyedVectors as Theirs  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated `init_sims`", "ignore::ResourceWarning")

N, D = 3000, 40


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(0)
    rows = (rng.standard_normal((60, D))[rng.integers(0, 60, N)] + 0.6 * rng.standard_normal((N, D))).astype(np.float32)
    tables = KeyedVectors(D), Theirs(D)
    for table in tables:
        table.add_vectors([f"w{i}" for i in range(N)], rows)
        for i in range(N):
            table.set_vecattr(f"w{i}", "count", N - i)
    return tables


def close(ours, theirs, tolerance=1e-6):
    """Equal keys and scores within 1e-6 (keys may swap where their scores are nearer than float32 can tell)."""
    if isinstance(theirs, list) and theirs and isinstance(theirs[0], tuple):
        words, scores = (list(column) for column in zip(*ours, strict=True))
        their_words, their_scores = (list(column) for column in zip(*theirs, strict=True))
        if not isinstance(words[0], str):
            words, scores, their_words, their_scores = scores, words, their_scores, their_words
        assert np.allclose(scores, their_scores, atol=tolerance)
        for i, (word, their_word) in enumerate(zip(words, their_words, strict=True)):
            twin = words.index(their_word) if their_word in words else -1
            assert word == their_word or abs(scores[i] - scores[twin]) < 1e-6
    elif isinstance(theirs, list | str):
        assert ours == theirs
    else:
        assert np.allclose(ours, theirs, atol=tolerance)


def draw(rng):
    words = [f"w{i}" for i in rng.choice(N, 7, replace=False)]
    return words[: rng.integers(1, 5)], words[4 : 4 + rng.integers(0, 4)]


@pytest.mark.parametrize("seed", range(40))
def test_drawn_queries(pair, seed):
    rng = np.random.default_rng(seed)
    positive, negative = draw(rng)
    weighted = [(word, float(rng.random())) for word in positive]
    calls = [
        lambda wv: wv.most_similar(positive, negative, topn=int(rng_topn)),
        lambda wv: wv.most_similar(positive, negative, topn=20, restrict_vocab=int(restrict)),
        lambda wv: wv.most_similar(positive, negative, topn=20, clip_start=100, clip_end=900),
        lambda wv: wv.most_similar(weighted, negative),
        lambda wv: wv.most_similar([wv[word] for word in positive], negative),
        lambda wv: wv.most_similar(positive, negative, topn=None),
        lambda wv: wv.most_similar(positive, negative, topn=0),
        lambda wv: wv.most_similar(17, topn=5),
        lambda wv: wv.similar_by_word(positive[0], topn=7, restrict_vocab=800),
        lambda wv: wv.similar_by_vector(wv[positive[0]], topn=7),
        lambda wv: wv.get_mean_vector([*positive, "unknown"], pre_normalize=True, post_normalize=True),
        lambda wv: wv.get_mean_vector(positive, weights=list(range(1, len(positive) + 1)), pre_normalize=False),
        lambda wv: wv.rank_by_centrality(positive + negative),
        lambda wv: wv.doesnt_match([*positive, "w1", "w2"]),
        lambda wv: wv.similarity(positive[0], "w9"),
        lambda wv: wv.distance(positive[0], "w9"),
        lambda wv: wv.distances(positive[0]),
        lambda wv: wv.distances(wv[positive[0]], ["w1", "w2"]),
        lambda wv: wv.n_similarity(positive, ["w1", "w2", "unknown"]),
        lambda wv: wv.most_similar_to_given(positive[0], ["w3", "w4", "w5"]),
        lambda wv: wv.rank(positive[0], "w9"),
        lambda wv: wv.closer_than(positive[0], "w9"),
        lambda wv: wv.relative_cosine_similarity(positive[0], "w9"),
        lambda wv: wv.cosine_similarities(wv["w1"], wv[["w2", "w3"]]),
        lambda wv: wv.get_vector("w5", norm=True),
        lambda wv: wv.get_normed_vectors(),
        lambda wv: wv.vectors_for_all([*positive, "unknown"]).vectors,
        lambda wv: wv[positive],
    ]
    rng_topn, restrict = rng.integers(1, 100), rng.integers(50, N + 100)
    for call in calls:
        close(call(pair[0]), call(pair[1]))
    for topn in (5, None):  # its scores reach hundreds, so the tolerance is relative
        ours, theirs = (wv.most_similar_cosmul(positive, negative, topn=topn) for wv in pair)
        if topn is None:
            assert np.allclose(ours, theirs, rtol=1e-3)
        else:
            assert [key for key, _ in ours] == [key for key, _ in theirs]
            assert np.allclose([s for _, s in ours], [s for _, s in theirs], rtol=1e-3)


def test_word_movers_distance(pair):
    pytest.importorskip("ot", reason="POT isn't installed")
    one, two = ["w1", "w2", "w2", "w3", "unknown"], ["w3", "w4"]
    for norm in (True, False):
        close(*(wv.wmdistance(one, two, norm=norm) for wv in pair))
    close(*(wv.wmdistance(one, ["unknown"]) for wv in pair))


@pytest.mark.parametrize("kinds", ["ff", "fd", "df", "dd"])
def test_cosine_similarities_have_the_wider_dtype(pair, kinds):
    one, several = np.ones(D, kinds[0]), np.arange(3 * D, dtype=kinds[1]).reshape(3, D)
    ours, theirs = (table.cosine_similarities(one, several) for table in pair)
    close(ours, theirs)


def test_the_whole_interface_is_there():
    """Every public name of gensim's class, with its parameters in their order and with their defaults."""
    for name in dir(Theirs):
        if name.startswith("_"):
            continue
        assert hasattr(KeyedVectors, name) or name in ("vectors_norm", "vocab", "index2word", "index2entity"), name
        theirs = inspect.getattr_static(Theirs, name)
        if not callable(getattr(Theirs, name, None)) or name in ("word_vec", "save", "similarity_unseen_docs"):
            continue
        theirs, ours = (list(inspect.signature(getattr(c, name)).parameters.values()) for c in (Theirs, KeyedVectors))
        for a, b in zip(theirs, ours, strict=False):
            assert (a.name, a.kind) == (b.name, b.kind), name
            assert a.default == b.default or name in ("evaluate_word_pairs",), (name, a, b)
        assert len(ours) >= len(theirs), name


def test_instances_have_the_attributes(pair):
    ours, theirs = pair
    for name in vars(theirs):
        assert hasattr(ours, name), name
    assert ours.next_index == len(ours)
    assert list(ours.index_to_key) == theirs.index_to_key
    assert dict(ours.key_to_index) == theirs.key_to_index
    assert np.array_equal(ours.expandos["count"], theirs.expandos["count"])
    theirs.fill_norms()
    assert np.allclose(ours.norms, theirs.norms)


@pytest.mark.parametrize("binary", [False, True])
def test_files_go_both_ways(pair, tmp_path, binary):
    ours, theirs = pair
    theirs.save_word2vec_format(tmp_path / "theirs", fvocab=tmp_path / "counts", binary=binary)
    back = KeyedVectors.load_word2vec_format(tmp_path / "theirs", fvocab=tmp_path / "counts", binary=binary)
    assert list(back.index_to_key) == theirs.index_to_key
    assert np.array_equal(back.vectors, theirs.vectors)
    assert np.array_equal(back.expandos["count"], theirs.expandos["count"])
    ours.save_word2vec_format(tmp_path / "ours", fvocab=tmp_path / "counts", binary=binary)
    back = Theirs.load_word2vec_format(str(tmp_path / "ours"), fvocab=str(tmp_path / "counts"), binary=binary)
    assert back.index_to_key == list(ours.index_to_key)
    assert np.array_equal(back.vectors, ours.vectors)
    theirs.save(str(tmp_path / "native.kv"))
    back = KeyedVectors.load(tmp_path / "native.kv")
    assert np.array_equal(back.vectors, theirs.vectors)
    assert back.most_similar("w1") == ours.most_similar("w1")


def test_editing_alike(pair):
    rng = np.random.default_rng(1)
    tables = []
    for kind in (KeyedVectors, Theirs):
        wv = kind(4)
        wv.add_vectors(["a", "b"], np.eye(2, 4, dtype=np.float32))
        wv.add_vectors(["b", "c"], np.ones((2, 4), dtype=np.float32))
        wv["b"] = np.full(4, 2.0, dtype=np.float32)
        wv[["c", "d"]] = np.arange(8, dtype=np.float32).reshape(2, 4)
        for i, key in enumerate("abcd"):
            wv.set_vecattr(key, "count", (i * 7) % 4)
        wv.sort_by_descending_frequency()
        wv.unit_normalize_all()
        tables.append(wv)
    ours, theirs = tables
    assert ours.index_to_key == theirs.index_to_key
    assert ours.key_to_index == theirs.key_to_index
    assert np.allclose(ours.vectors, theirs.vectors)
    assert ours.expandos.keys() == theirs.expandos.keys()
    for wv in tables:
        wv.index_to_key.append("e")
        wv.key_to_index["e"] = 4
        wv.resize_vectors(seed=3)
    assert np.allclose(ours.vectors, theirs.vectors)
    del rng


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    """Analogies whose words are in the table, partly in other case, partly unknown."""
    rng = np.random.default_rng(2)
    lines = [": first"]
    for i in range(300):
        words = [f"w{j}" for j in rng.integers(0, N, 4)]
        if i % 7 == 0:
            words[2] = words[2].upper()
        if i % 11 == 0:
            words[3] = "unknown"
        lines.append(" ".join(words))
        if i == 150:
            lines += [": second", "a line of more than four words", ""]
    path = tmp_path_factory.mktemp("questions") / "questions.txt"
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize(
    "options", [{}, {"restrict_vocab": 1500}, {"case_insensitive": False}, {"dummy4unknown": True}]
)
def test_analogies(pair, questions, options):
    ours, theirs = (wv.evaluate_word_analogies(str(questions), **options) for wv in pair)
    assert ours == theirs


def test_analogies_with_right_answers(tmp_path):
    """Rows on a line, so that b + c − a has answers; and keys that differ in case only, to fill the neighbours."""
    rng = np.random.default_rng(3)
    base, step = rng.standard_normal((60, 16)), rng.standard_normal(16) * 0.7
    keys = [f"m{i}" for i in range(60)] + [f"other{i}" for i in range(900)] + [f"F{i}" for i in range(60)]
    rows = np.concatenate([base, rng.standard_normal((900, 16)), base + step]).astype(np.float32)
    for variant in ("f1", "M2", "m1x"):
        keys.append(variant)
        rows = np.concatenate([rows, rows[[961 if variant == "f1" else 2]] * np.float32(1.01)])
    copies = ["quick"[:i].upper() + "quick"[i:] for i in range(1, 6)] + ["qUick", "quIck"]
    keys += ["quick", *copies]
    rows = np.concatenate([rows, np.repeat(rows[[5]] + 0.01, 8, axis=0)])
    text = (
        [": line"]
        + [f"m{i} f{i} m{j} f{j}" for i in range(12) for j in range(12)]
        + ["m5 f5 quick f5", "m5 m6 quick m6"]
    )
    (tmp_path / "q").write_text("\n".join(text))
    results = []
    for kind in (KeyedVectors, Theirs):
        wv = kind(16)
        wv.add_vectors(keys, rows)
        results.append(
            [wv.evaluate_word_analogies(str(tmp_path / "q"), case_insensitive=case) for case in (True, False)]
        )
    assert results[0] == results[1]
    assert results[0][0][0] > 0.5


@pytest.mark.parametrize("dummy", [False, True])
def test_word_pairs(pair, tmp_path, dummy):
    rng = np.random.default_rng(4)
    lines = ["# a comment", "broken line"]
    lines += [
        f"w{a}\tW{b}\t{score:.1f}"
        for a, b, score in zip(*rng.integers(0, N, (2, 80)), rng.random(80) * 10, strict=True)
    ]
    lines += ["unknown\tw3\t5.0"] * 4
    (tmp_path / "pairs").write_text("\n".join(lines) + "\n")
    ours, theirs = (wv.evaluate_word_pairs(str(tmp_path / "pairs"), dummy4unknown=dummy) for wv in pair)
    for a, b in zip(ours[:2], theirs[:2], strict=True):
        assert np.allclose(a, [b.statistic, b.pvalue], atol=1e-6)
    assert ours[2] == pytest.approx(theirs[2])
