"""Words out of vocabulary: fastText's own vectors, and every policy in lookup, queries, batches, evaluation."""

import pickle
import random
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import foreword as fw
from foreword.errors import ArgumentError, UnknownKeyError
from foreword.vectors.oov import POLICIES, infer, spellings, without_accents
from foreword.vectors.store.subwords import Subwords, fnv1a
from vectors.formats import fasttext, ngrams

UNSEEN = [
    "qwertyuiop",
    "zzz",
    "漢字東京",
    "नमस्ते",
    "👑🙂",
    "Ξένος",
    "naïve",
    "a",
    "x y",
    "مرحبا",
    "\u202eabc",
    "e\u0301",
    "",
]


def table(oov=None, seed=0):
    wv = fw.KeyedVectors(8)
    words = ["king", "queen", "man", "woman", "cafe", "Paris", "éclair"]
    wv.add_vectors(words, np.random.default_rng(seed).normal(size=(len(words), 8)).astype(np.float32))
    wv.oov = oov
    return wv


@pytest.fixture
def model(tmp_path):
    """A fastText file with words of several scripts."""
    words = [word.encode() for word in ("</s>", "king", "queen", "漢字", "Ξένο", "man")]
    matrix = np.random.default_rng(1).normal(size=(len(words) + 50, 8)).astype(np.float32)
    path = tmp_path / "ft.bin"
    path.write_bytes(fasttext(words, range(len(words), 0, -1), matrix, minn=2, maxn=4, bucket=50))
    return path, words, matrix


# The vectors.


@given(st.text(max_size=12), st.integers(1, 4), st.integers(0, 3), st.integers(1, 40))
def test_inferred_vectors_are_the_mean_of_the_ngrams(word, minn, more, bucket):
    rows = np.random.default_rng(bucket).normal(size=(bucket, 5)).astype(np.float32)
    grams = ngrams(word, minn, minn + more)
    plain = sum((rows[fnv1a(gram.encode()) % bucket].astype(float) for gram in grams), np.zeros(5)) / max(1, len(grams))
    assert np.allclose(infer(word, Subwords(minn, minn + more, rows)), plain, atol=1e-6)


def test_unknown_words_of_a_fasttext_file(model):
    path, words, matrix = model
    wv = fw.load(path)
    assert wv.oov == "subwords"
    grams = matrix[len(words) :]
    for word in UNSEEN:
        rows = [fnv1a(gram.encode()) % 50 for gram in ngrams(word, 2, 4)]
        expected = grams[rows].mean(axis=0) if rows else np.zeros(8)
        assert np.allclose(wv[word], expected, atol=1e-6)
        assert word not in wv
        assert wv[word].dtype == np.float32
    assert not infer("</s>", wv._subwords).any()


def _gensims(name):
    data = pytest.importorskip("gensim.test.utils", reason="gensim is not installed").datapath(name)
    if not Path(data).exists():
        pytest.skip("gensim's test data is not there")
    return data


@pytest.mark.parametrize(
    "name", ["lee_fasttext.bin", "lee_fasttext_new.bin", "crime-and-punishment.bin", "non_ascii_fasttext.bin"]
)
def test_old_and_new_files_as_gensim_reads_them(name):
    from_gensim = pytest.importorskip("gensim.models.fasttext", reason="gensim is not installed").load_facebook_vectors
    path = _gensims(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = from_gensim(path)
    ours = fw.load(path)
    assert list(ours.index_to_key) == theirs.index_to_key
    for word in [*theirs.index_to_key, *UNSEEN]:
        if word == "</s>":
            continue  # has no n-grams in fastText, and here; gensim gives it some
        assert np.abs(ours[word] - theirs[word]).max() <= 1e-6
    for word in UNSEEN[:6]:
        assert ours.similarity(word, theirs.index_to_key[1]) == pytest.approx(
            theirs.similarity(word, theirs.index_to_key[1]), abs=1e-6
        )
        near = theirs.most_similar(word, topn=5)
        assert [key for key, _ in ours.most_similar(word, topn=5)] == [key for key, _ in near]
    assert ours.n_similarity(UNSEEN[:2], ["zzzz"]) == pytest.approx(theirs.n_similarity(UNSEEN[:2], ["zzzz"]), abs=1e-6)


def test_vectors_of_every_script_are_fasttexts_own(tmp_path):
    theirs = pytest.importorskip("fasttext", reason="fasttext is not installed")
    letters = random.Random(0)
    scripts = ["abcdefgh", "αβγδεζηθ", "абвгдежз", "漢字東京日本語", "éèüöñß", "मनसतपक", "👑🙂🚀", "ابجده"]
    words = ["".join(letters.choices(script, k=letters.randint(1, 9))) for script in scripts for _ in range(40)]
    words = list(dict.fromkeys(words))
    matrix = np.random.default_rng(0).normal(size=(len(words) + 500, 12)).astype(np.float32)
    counts = range(len(words), 0, -1)
    data = fasttext([word.encode() for word in words], counts, matrix, minn=2, maxn=5, bucket=500)
    output = struct.pack("<?qq", False, len(words), 12) + bytes(4 * len(words) * 12)
    (tmp_path / "ft.bin").write_bytes(data.removesuffix(b"the output matrix, which nobody reads") + output)
    trained = theirs.load_model(str(tmp_path / "ft.bin"))
    assert trained.words == words
    ours = fw.load(tmp_path / "ft.bin")
    unseen = ["".join(letters.choices(script, k=7)) for script in scripts for _ in range(10)]
    for word in [*words, *UNSEEN, *unseen, "</s>"]:
        assert np.abs(ours[word] - trained.get_word_vector(word)).max() <= 1e-6


# The policies.


@pytest.mark.parametrize("policy", POLICIES)
def test_in_means_the_vocabulary(model, policy):
    wv = fw.load(model[0], oov=policy)
    assert wv.oov == policy
    assert "KING" not in wv
    assert "kin" not in wv
    assert not wv.has_index_for("KING")
    with pytest.raises(UnknownKeyError):
        wv.get_index("KING")
    assert "KING" not in wv.key_to_index


def test_error_names_the_nearest_spellings():
    wv = table()
    assert wv.oov == "error"
    for ask in (
        lambda: wv["kinf"],
        lambda: wv["king", "kinf"],
        lambda: wv.most_similar("kinf"),
        lambda: wv.most_similar(["king"], ["kinf"]),
        lambda: wv.most_similar_batch(["king", "kinf"]),
        lambda: wv.similarity("king", "kinf"),
        lambda: wv.distances("king", ["kinf"]),
        lambda: wv.most_similar_cosmul("kinf"),
        lambda: wv.rank("king", "kinf"),
    ):
        with pytest.raises(UnknownKeyError, match="did you mean 'king'"):
            ask()
    assert wv.n_similarity(["king", "kinf"], ["man"]) == wv.similarity("king", "man")  # as gensim's


def test_skip_leaves_unknown_words_out_of_lists():
    wv = table("skip")
    assert np.array_equal(wv["king", "kinf", "man"], wv["king", "man"])
    assert wv[["kinf"]].shape == (0, 8)
    assert wv.most_similar(["king", "kinf"], ["man", "xx"]) == wv.most_similar("king", "man")
    assert wv.most_similar([("king", 2.0), ("kinf", 3.0)]) == wv.most_similar([("king", 2.0)])
    assert wv.most_similar("kinf") == []
    assert wv.most_similar_cosmul("kinf") == []
    assert wv.most_similar_cosmul(["king", "kinf"]) == wv.most_similar_cosmul("king")
    batch = wv.most_similar_batch(["king", "kinf", ["man", "xx"], {"positive": "woman", "negative": "xx"}], topn=3)
    assert batch == [wv.most_similar("king", topn=3), [], *(wv.most_similar(w, topn=3) for w in ("man", "woman"))]
    assert wv.distances("king", ["man", "kinf"]).tolist() == wv.distances("king", ["man"]).tolist()
    assert wv.most_similar_to_given("king", ["kinf", "man"]) == "man"
    assert wv.most_similar("king", among=["queen", "kinf"]) == wv.most_similar("king", among=["queen"])
    assert wv.n_similarity(["king", "kinf"], ["man"]) == wv.similarity("king", "man")
    assert wv.doesnt_match(["king", "kinf", "man"]) in ("king", "man")
    for ask in (lambda: wv["kinf"], lambda: wv.similarity("king", "kinf"), lambda: wv.rank("kinf", "king")):
        with pytest.raises(UnknownKeyError, match="did you mean 'king'"):  # alone, nothing is left without it
            ask()
    with pytest.raises(ArgumentError, match="nothing to search for"):
        wv.most_similar([])


@pytest.mark.parametrize(
    ("policy", "asked", "found"),
    [
        ("lower", "KING", "king"),
        ("lower", "PARIS", None),
        ("lower", "Café", None),
        ("fold", "KING", "king"),
        ("fold", "Café", "cafe"),
        ("fold", "Éclair", "éclair"),
        ("fold", "Pàris", "Paris"),
        ("fold", "ｋｉｎｇ", "king"),  # full width
    ],
)
def test_other_spellings_stand_in(policy, asked, found):
    wv = table(policy)
    if found is None:
        with pytest.raises(UnknownKeyError):
            wv[asked]
        return
    assert np.array_equal(wv[asked], wv[found])
    assert np.array_equal(wv[asked, "man"], wv[found, "man"])
    assert np.array_equal(wv.get_vector(asked, norm=True), wv.get_vector(found, norm=True))
    assert wv.most_similar(asked) == wv.most_similar(found)  # what stands in is not part of the answer
    assert found not in dict(wv.most_similar("man", exclude=[asked]))
    assert wv.most_similar_batch([asked]) == [wv.most_similar(found)]
    assert wv.most_similar_cosmul(asked) == wv.most_similar_cosmul(found)
    assert wv.similarity(asked, "man") == wv.similarity(found, "man")
    assert wv.n_similarity([asked, "man"], ["woman"]) == wv.n_similarity([found, "man"], ["woman"])
    assert wv.rank(asked, "man") == wv.rank(found, "man")
    assert wv.distances(asked, ["man"]) == wv.distances(found, ["man"])


def test_subwords_are_asked_everywhere(model):
    wv = fw.load(model[0])
    unseen = wv["kingly"]
    assert np.array_equal(wv["king", "kingly"], np.stack([wv["king"], unseen]))
    unit = wv.get_vector("kingly", norm=True)
    assert np.linalg.norm(unit) == pytest.approx(1, abs=1e-6)
    assert wv.most_similar("kingly") == wv.similar_by_vector(unseen)
    both, given = wv.most_similar(["king", "kingly"], ["man"]), wv.most_similar(["king", unit], ["man"])
    assert [key for key, _ in both] == [key for key, _ in given]
    assert [score for _, score in both] == pytest.approx([score for _, score in given], abs=1e-6)
    assert wv.most_similar_batch(["kingly", "king"]) == [wv.most_similar("kingly"), wv.most_similar("king")]
    assert wv.similarity("kingly", "king") == wv.cosine_similarities(unseen, wv[["king"]])[0]
    assert wv.distances("kingly", ["queenly"]) == pytest.approx(1 - wv.similarity("kingly", "queenly"), abs=1e-6)
    mean = (wv["king"].astype(float) + unseen) / 2
    assert wv.n_similarity(["king", "kingly"], ["man"]) == pytest.approx(
        wv.cosine_similarities(mean, wv[["man"]])[0], abs=1e-6
    )
    assert wv.doesnt_match(["king", "kingly", "man"]) in ("king", "kingly", "man")
    every = wv.vectors_for_all(["king", "kingly"])
    assert np.array_equal(every["kingly"], unseen)
    assert wv.vectors_for_all(["king", "kingly"], allow_inference=False).index_to_key == ["king"]
    for ask in (lambda: wv.most_similar("king", among=["kingly"]), lambda: wv.rank("king", "kingly")):
        with pytest.raises(UnknownKeyError):  # these need a row
            ask()


def test_subwords_outlive_copies_edits_and_files(model, tmp_path):
    wv = fw.load(model[0])
    unseen = np.array(wv["kingly"])
    assert np.array_equal(pickle.loads(pickle.dumps(wv))["kingly"], unseen)
    assert len(pickle.dumps(wv)) < 10_000
    wv.save(tmp_path / "saved")
    assert np.array_equal(fw.load(tmp_path / "saved")["kingly"], unseen)
    wv.add_vectors(["new"], np.ones((1, 8)))
    assert np.array_equal(wv["kingly"], unseen)
    assert np.array_equal(pickle.loads(pickle.dumps(wv))["kingly"], unseen)
    wv.vectors = np.ones((len(wv), 3), np.float32)  # of another size: the n-grams no longer fit
    assert wv.oov == "error"


def test_a_policy_can_be_changed(model):
    wv = fw.load(model[0], oov="error")
    with pytest.raises(UnknownKeyError):
        wv["KING"]
    wv.oov = "lower"
    assert np.array_equal(wv["KING"], wv["king"])
    assert pickle.loads(pickle.dumps(wv)).oov == "lower"
    wv.oov = None
    assert wv.oov == "subwords"


def test_policies_that_can_not_be():
    with pytest.raises(ArgumentError, match="error, skip, subwords, lower, fold"):
        table("guess")
    with pytest.raises(ArgumentError, match="no subwords"):
        table("subwords")


@pytest.mark.parametrize("policy", ["error", "skip", "lower", "fold"])
def test_evaluation_under_each_policy(tmp_path, policy):
    wv = table(policy)
    (tmp_path / "pairs").write_text("king\tqueen\t9\nman\tMAN\t10\nCafé\tking\t2\nman\twoman\t8\nking\tnobody\t1\n")
    (tmp_path / "questions").write_text(": all\nman king woman queen\nMan king woman queen\nCafé king man queen\n")
    known = {"error": 2, "skip": 2, "lower": 3, "fold": 4}[policy]
    _, _, unknown = wv.evaluate_word_pairs(tmp_path / "pairs", case_insensitive=False)
    assert unknown == pytest.approx(100 * (5 - known) / 5)
    _, sections = wv.evaluate_word_analogies(tmp_path / "questions", case_insensitive=False)
    asked = len(sections[-1]["correct"]) + len(sections[-1]["incorrect"])
    assert asked == {"error": 1, "skip": 1, "lower": 2, "fold": 3}[policy]


def test_evaluation_judges_the_vocabulary_of_fasttext_files(model, tmp_path):
    (tmp_path / "pairs").write_text("king\tqueen\t9\nking\tman\t3\nkingly\tqueen\t8\n")
    results = [
        fw.load(model[0], oov=policy).evaluate_word_pairs(tmp_path / "pairs") for policy in ("error", "subwords")
    ]
    assert results[0] == results[1]
    assert results[0][2] == pytest.approx(100 / 3)


@given(st.text())
def test_spellings_never_fail(word):
    for policy in POLICIES:
        assert all(isinstance(spelling, str) for spelling in spellings(policy, word))
    assert without_accents(without_accents(word)) == without_accents(word)
