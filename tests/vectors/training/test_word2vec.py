"""Word2Vec: gensim's arguments and results, growing, callbacks, and models on disk."""

import inspect
import json
import logging
import os
import random
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import foreword as fw
from foreword.errors import ArgumentError, ArgumentTypeError, FileError, ForewordError, FormatError, MissingFileError
from foreword.vectors.training.fasttext import FastText
from foreword.vectors.training.word2vec import Word2Vec

SMALL = {"vector_size": 12, "min_count": 1, "seed": 3}


def topics(count=300, seed=1):
    """Sentences of either of two topics, whose words never meet but for a common one."""
    rng = random.Random(seed)
    return [["the", *(f"{topic}{rng.randint(0, 9)}" for _ in range(8))]
            for topic in (rng.choice("ab") for _ in range(count))]  # fmt: skip


SENTENCES = topics()


@pytest.fixture(scope="module")
def model():
    return Word2Vec(SENTENCES, **SMALL, epochs=20, alpha=0.05, sample=0, sg=1)


def same(a, b):
    return (
        list(a.wv.index_to_key) == list(b.wv.index_to_key)
        and np.array_equal(a.wv.vectors, b.wv.vectors)
        and np.array_equal(a.syn1neg, b.syn1neg)
    )


@pytest.mark.parametrize("ours", [Word2Vec, FastText])
def test_every_argument_of_gensims_is_there_with_its_default_and_in_its_place(ours):
    gensim = pytest.importorskip("gensim.models")
    theirs = getattr(gensim, ours.__name__)
    for name in ("__init__", "build_vocab", "build_vocab_from_freq", "train", "predict_output_word", "estimate_memory"):
        expected = inspect.signature(getattr(theirs, name)).parameters
        found = inspect.signature(getattr(ours, name)).parameters
        named = [each for each in expected.values() if each.kind == each.POSITIONAL_OR_KEYWORD]
        assert [(each.name, each.default) for each in named] == [
            (each.name, each.default) for each in found.values() if each.kind == each.POSITIONAL_OR_KEYWORD
        ]


@pytest.mark.parametrize("ours", [Word2Vec, FastText])
def test_every_method_of_gensims_is_there_or_named_in_the_docs(ours):
    gensim = pytest.importorskip("gensim.models")
    docs = (Path(__file__).parents[3] / "docs" / "training.md").read_text(encoding="utf-8")
    for name in dir(getattr(gensim, ours.__name__)):
        assert name.startswith("_") or hasattr(ours, name) or f"`{name}`" in docs, name


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"hs": 1}, "hs is not followed: hierarchical softmax"),
        ({"hs": 1, "negative": 0}, "hs is not followed"),
        ({"negative": 0}, "negative"),
        ({"hashfxn": len}, "hashfxn is not followed"),
        ({"null_word": 1}, "null_word is not followed"),
        ({"vector_size": 0}, "vector_size"),
        ({"window": 0}, "window"),
        ({"workers": 0}, "workers"),
        ({"epochs": 0}, "epochs"),
        ({"epochs": 2.5}, "epochs"),
        ({"alpha": float("nan")}, "alpha"),
        ({"alpha": "x"}, "alpha must be a number"),
        ({"min_alpha": None}, "min_alpha must be a number"),
        ({"seed": "x"}, "seed"),
        ({"sg": 2}, "sg is 0 or 1"),
        ({"cbow_mean": "x"}, "cbow_mean is 0 or 1"),
        ({"vector_size": 5000}, "vector_size must be at most 4,096"),
        ({"max_vocab_size": "x"}, "max_vocab_size"),
        ({"max_vocab_size": -1}, "max_vocab_size"),
        ({"min_count": None}, "min_count"),
        ({"comment": b"x"}, "comment is a text"),
        ({"callbacks": None}, "callbacks is a list"),
        ({"callbacks": [object()]}, "no method that is called"),
    ],
)
def test_what_is_not_followed_or_makes_no_sense_is_refused_by_name(options, says):
    with pytest.raises(ArgumentError, match=says):
        Word2Vec(**options)


@pytest.mark.parametrize(
    ("options", "says"),
    [({"min_n": "3"}, "min_n"), ({"max_n": None}, "max_n"), ({"bucket": None}, "bucket"), ({"bucket": -1}, "bucket")],
)
def test_what_makes_no_sense_of_n_grams_is_refused(options, says):
    with pytest.raises(ArgumentError, match=f"{says} must be"):
        FastText(**options)


def test_what_later_calls_refuse(model):
    fresh = Word2Vec(min_count=1)
    for word_freq in (["a"], {"a": 1.5}, {"a": "x"}, {"a": -1}, {("a",): 1}):
        with pytest.raises(ArgumentTypeError):
            fresh.build_vocab_from_freq(word_freq)
    for call in (fresh.build_vocab, fresh.build_vocab_from_freq):
        with pytest.raises(ArgumentTypeError, match="trim_rule"):
            call({"a": 1}, trim_rule=5)
    for options in ({"total_examples": "x"}, {"total_words": 1.5}, {"start_alpha": "x"}, {"end_alpha": "x"}):
        with pytest.raises(ArgumentTypeError):
            model.train(SENTENCES, **{"total_examples": 1, "epochs": 1} | options)
    with pytest.raises(ArgumentTypeError, match="context words are a list"):
        model.predict_output_word("a1")


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes with names")
def test_a_pipe_which_would_be_empty_when_it_is_read_again_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileError, match="no regular file"):
        Word2Vec(corpus_file=tmp_path / "pipe")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"sentences": [["a"]], "corpus_file": "x"}, "both of"),
        ({"corpus_file": "x.txt.gz"}, "packed"),
        ({"corpus_file": 5}, "path"),
        ({"sentences": "one text"}, "iterable"),
        ({"sentences": (words for words in [["a"]])}, "6 times"),
    ],
)
def test_corpora_that_cannot_be_meant(arguments, says):
    with pytest.raises(ArgumentTypeError, match=says):
        Word2Vec(**arguments)
    with pytest.raises(MissingFileError):
        Word2Vec(corpus_file="/no/such/file")


@pytest.mark.parametrize("sentences", [[], [[]], [["rare", "words"]]])
def test_a_corpus_without_frequent_words_has_nothing_to_train(sentences):
    with pytest.raises(ArgumentError, match="no vocabulary"):
        Word2Vec(sentences)


def test_one_word_is_a_vocabulary():
    model = Word2Vec([["word"] * 9] * 3, **SMALL)
    assert model.wv.index_to_key == ["word"]
    assert np.isfinite(model.wv.vectors).all()


def test_words_of_a_topic_come_out_near(model):
    for topic in "ab":
        near = [word for word, _ in model.wv.most_similar(f"{topic}0", topn=9)]
        assert sum(word[0] == topic for word in near) >= 8
    assert {word[0] for word, _ in model.predict_output_word(["a1", "a2"], topn=5)} <= {"a", "t"}
    assert model.predict_output_word(["none", "known"]) is None


def test_the_bits_do_not_depend_on_workers_nor_on_how_the_corpus_is_given(model, tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(" ".join(words) for words in SENTENCES))
    options = {**SMALL, "epochs": 20, "alpha": 0.05, "sample": 0, "sg": 1}
    for again in (
        Word2Vec(SENTENCES, **options, workers=1),
        Word2Vec(corpus_file=path, **options, workers=2),
        Word2Vec(iter_anew(SENTENCES), **options, workers=8),
    ):
        assert same(again, model)


class iter_anew:  # noqa: N801 - read as a function
    def __init__(self, items):
        self.items = items

    def __iter__(self):
        return iter(self.items)


def test_step_by_step_is_the_same_as_at_once(model):
    steps = Word2Vec(**SMALL, alpha=0.05, sample=0, sg=1)
    steps.build_vocab(words for words in SENTENCES)
    assert len(steps.wv) == len(model.wv)
    assert not steps.syn1neg.any()
    trained, read = steps.train(SENTENCES, total_examples=steps.corpus_count, epochs=20)
    assert (trained, read) == (20 * steps.corpus_total_words,) * 2
    assert same(steps, model)
    assert steps.train_count == 1


def test_vocabulary_counts_and_totals_are_gensims():
    gensim = pytest.importorskip("gensim.models")
    theirs, ours = gensim.Word2Vec(min_count=2), Word2Vec(min_count=2)
    for each in (theirs, ours):
        each.build_vocab(SENTENCES, keep_raw_vocab=True)
    assert ours.wv.index_to_key == theirs.wv.index_to_key
    assert ours.wv.expandos["count"].tolist() == theirs.wv.expandos["count"].tolist()
    assert dict(theirs.raw_vocab) == ours.raw_vocab
    for name in ("corpus_count", "corpus_total_words", "min_count", "effective_min_count"):
        assert getattr(ours, name) == getattr(theirs, name), name
    for each in (theirs, ours):
        each.build_vocab([["new", "new", "a1", "seldom"]], update=True)
    assert ours.wv.index_to_key == theirs.wv.index_to_key
    assert ours.wv.expandos["count"].tolist() == theirs.wv.expandos["count"].tolist()
    for each in (theirs, ours):
        each.build_vocab_from_freq({"x": 5, "y": 7, "z": 1}, corpus_count=3)
    assert ours.wv.index_to_key == theirs.wv.index_to_key == ["y", "x"]


def test_a_vocabulary_that_grows_keeps_its_rows(model):
    grown = Word2Vec(SENTENCES, **SMALL, epochs=2)
    before, output = grown.wv.vectors.copy(), grown.syn1neg.copy()
    grown.build_vocab([["brand", "new", "a1"]], update=True)
    assert grown.wv.index_to_key[-2:] == ["brand", "new"]
    assert np.array_equal(grown.wv.vectors[:-2], before)
    assert np.array_equal(grown.syn1neg[:-2], output)
    assert grown.wv.vectors[-2:].any()
    assert not grown.syn1neg[-2:].any()
    grown.train([["brand", "new", "a1"]] * 50, total_examples=50, epochs=3)
    assert grown.syn1neg[-2:].any()
    assert grown.wv.get_vecattr("a1", "count") == 1 + sum(words.count("a1") for words in SENTENCES)
    with pytest.raises(ArgumentError, match="no vocabulary to update"):
        Word2Vec().build_vocab(SENTENCES, update=True)


def test_vectors_that_were_put_in_are_trained_on():
    model = Word2Vec(**SMALL)
    model.build_vocab(SENTENCES)
    model.wv.vectors[:] = 0.25
    model.train(SENTENCES, total_examples=300, epochs=1, start_alpha=0.001)
    assert np.abs(model.wv.vectors - 0.25).max() < 0.1


@pytest.mark.parametrize("change", ["add", "sort", "other"])
def test_words_that_were_changed_behind_the_models_back_are_refused(change, tmp_path):
    model = Word2Vec([["b", "a", "a", "c"]] * 5, **SMALL, sorted_vocab=0)
    if change == "add":
        model.wv.add_vectors(["new"], np.ones((1, 12)))
    elif change == "sort":
        model.wv.sort_by_descending_frequency()
    else:
        model.wv = Word2Vec(SENTENCES, **SMALL).wv
    for call in (
        lambda: model.train([["a", "b"]], total_examples=1, epochs=1),
        lambda: model.build_vocab([["d"]], update=True),
        lambda: model.predict_output_word(["a"]),
        lambda: model.save(tmp_path / "model"),
    ):
        with pytest.raises(ArgumentError, match="wv has other words"):
            call()


def test_locked_vectors_are_refused_rather_than_trained():
    model = Word2Vec(**SMALL)
    model.build_vocab(SENTENCES)
    model.wv.vectors_lockf = np.ones(len(model.wv), np.float32)
    model.train(SENTENCES, total_examples=300, epochs=1)
    model.wv.vectors_lockf[3] = 0
    with pytest.raises(ArgumentError, match="vectors_lockf is not followed"):
        model.train(SENTENCES, total_examples=300, epochs=1)


@pytest.mark.parametrize("missing", [{"epochs": None}, {"total_examples": None}])
def test_train_needs_what_gensims_needs(model, missing):
    arguments = {"total_examples": 1, "epochs": 1} | missing
    with pytest.raises(ArgumentError, match="training needs"):
        model.train(SENTENCES, **arguments)
    with pytest.raises(ArgumentTypeError, match="neither of"):
        model.train(total_examples=1, epochs=1)


class Recorder:
    def __init__(self):
        self.events = []

    def __getattr__(self, name):
        if not name.startswith("on_"):
            raise AttributeError(name)
        return lambda model: self.events.append((name, model.get_latest_training_loss(), model.wv.vectors.copy()))


def test_callbacks_see_each_epoch_and_a_loss_that_adds_up():
    recorder = Recorder()
    model = Word2Vec(SENTENCES, **SMALL, epochs=3, compute_loss=True, callbacks=[recorder])
    names = [name for name, *_ in recorder.events]
    assert names == ["on_train_begin", *["on_epoch_begin", "on_epoch_end"] * 3, "on_train_end"]
    losses = [loss for name, loss, _ in recorder.events if name == "on_epoch_end"]
    assert 0 < losses[0] < losses[1] < losses[2] == model.get_latest_training_loss()
    assert losses[2] - losses[1] < losses[0]
    ends = [vectors for name, _, vectors in recorder.events if name == "on_epoch_end"]
    assert not np.array_equal(ends[0], ends[1])
    assert np.array_equal(ends[2], model.wv.vectors)
    assert same(model, Word2Vec(SENTENCES, **SMALL, epochs=3))  # whoever looks on


def test_gensims_own_callbacks_will_do():
    gensim = pytest.importorskip("gensim.models.callbacks")
    seen = []

    class Mine(gensim.CallbackAny2Vec):
        def on_epoch_end(self, model):
            seen.append(len(model.wv))

    Word2Vec(SENTENCES, **SMALL, epochs=2, callbacks=[Mine()])
    assert seen == [21, 21]


def test_totals_that_are_wrong_are_told_in_the_log(caplog):
    model = Word2Vec(SENTENCES, **SMALL, epochs=1)
    with caplog.at_level(logging.WARNING):
        model.train(SENTENCES, total_words=5, epochs=1)
        model.train([["unknown"]], total_examples=1, epochs=1, start_alpha=1e-5)
    assert "not 5 as total_words says" in caplog.text
    assert "nothing is trained" in caplog.text
    assert "stays at 1e-05" in caplog.text


def test_a_callback_has_the_methods_that_it_needs():
    class Some:
        seen = 0

        def on_epoch_end(self, _):
            self.seen += 1

    some = Some()
    Word2Vec(SENTENCES, **SMALL, epochs=2, callbacks=[some])
    assert some.seen == 2


def test_order_of_appearance_where_it_is_wanted():
    model = Word2Vec([["b", "a", "a"]] * 5, **SMALL, sorted_vocab=0)
    assert model.wv.index_to_key == ["b", "a"]
    assert model.wv.expandos["count"].tolist() == [5, 10]


def test_score_says_why_not(model):
    with pytest.raises(ArgumentError, match="hierarchical softmax"):
        model.score([["a1"]])


def test_a_vocabulary_taken_from_another_model(model):
    other = Word2Vec(vector_size=5)
    other.reset_from(model)
    assert other.wv.index_to_key == model.wv.index_to_key
    assert other.wv.vectors.shape == (21, 5)


# Files.


@pytest.mark.parametrize("options", [{}, {"comment": "of mine", "sg": 1, "sample": 0.01, "max_final_vocab": 9}])
def test_a_model_comes_back_and_goes_on_as_if_it_had_never_left(tmp_path, options):
    model = Word2Vec(SENTENCES, **SMALL, epochs=2, **options)
    model.save(tmp_path / "model")
    again = Word2Vec.load(tmp_path / "model")
    assert same(again, model)
    for name in [*inspect.signature(Word2Vec).parameters][2:]:
        if name not in ("hashfxn", "trim_rule", "callbacks"):
            assert getattr(again, name) == getattr(model, name), name
    for name in ("corpus_count", "corpus_total_words", "train_count", "total_train_time", "effective_min_count"):
        assert getattr(again, name) == getattr(model, name)
    for each in (model, again):
        each.train(SENTENCES, total_examples=300, epochs=2)
        each.build_vocab([["new"]], update=True)
    assert same(again, model)
    model.save(tmp_path / "model")  # over the old one
    assert len(Word2Vec.load(tmp_path / "model").wv) == len(model.wv)
    assert np.array_equal(fw.load(tmp_path / "model" / "vectors").vectors, model.wv.vectors)


def test_integers_as_words_survive(tmp_path):
    model = Word2Vec([[5, 7, 5, 9]] * 20, **SMALL)
    model.save(tmp_path / "model")
    assert list(Word2Vec.load(tmp_path / "model").wv.index_to_key) == [5, 9, 7]


def test_an_untrained_model_is_saved_too(tmp_path):
    Word2Vec(vector_size=7, negative=9).save(tmp_path / "model")
    again = Word2Vec.load(tmp_path / "model")
    assert (again.vector_size, again.negative, len(again.wv)) == (7, 9, 0)


def test_saving_over_something_else_is_refused(tmp_path, model):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("…")
    with pytest.raises(FileError, match="something else"):
        model.save(tmp_path / "mine")
    (tmp_path / "file").write_text("…")
    with pytest.raises(FileError):
        model.save(tmp_path / "file")
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


@pytest.mark.portable
def test_a_failure_while_saving_leaves_the_old_model(tmp_path, model, monkeypatch):
    from foreword.vectors.training import model_files

    model.save(tmp_path / "model")
    before = {file: file.read_bytes() for file in (tmp_path / "model").rglob("*") if file.is_file()}

    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model_files, "_write", fails)
    with pytest.raises(FileError, match="no space"):
        model.save(tmp_path / "model")
    assert {file: file.read_bytes() for file in (tmp_path / "model").rglob("*") if file.is_file()} == before
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "longer header", "nan"])
def test_damaged_tables_are_refused(tmp_path, model, damage):
    model.save(tmp_path / "model")
    file = tmp_path / "model" / "output.npy"
    data = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        made = {"empty": b"", "cut": data[:-4], "longer header": data[:6] + b"\x02" + data[7:]}
        file.write_bytes(made.get(damage, data[:-4] + b"\0\0\xc0\x7f"))
    with pytest.raises(MissingFileError if damage == "gone" else FormatError):
        Word2Vec.load(tmp_path / "model")


def test_damaged_descriptions_are_refused(tmp_path, model):
    model.save(tmp_path / "model")
    file = tmp_path / "model" / "model.json"
    right = json.loads(file.read_text())
    for change in (
        {"format": "x"},
        {"version": 2},
        {"class": "os.system"},
        {"class": ["x"]},
        {"words": 20},
        {"words": None},
        {"options": {"hs": 1}},
        {"options": {"nothing": 1}},
        {"options": [1]},
        {"options": right["options"] | {"vector_size": 13}},
        {"options": right["options"] | {"vector_size": "13"}},
        {"state": {"wv": 1}},
        {"state": {"corpus_count": "many"}},
    ):
        file.write_text(json.dumps(right | change))
        with pytest.raises(FormatError):
            Word2Vec.load(tmp_path / "model")
    for text in ("", "[]", "{", "null", json.dumps({"format": right["format"]})):
        file.write_text(text)
        with pytest.raises(FormatError):
            Word2Vec.load(tmp_path / "model")


def test_what_is_no_model(tmp_path):
    with pytest.raises(MissingFileError):
        Word2Vec.load(tmp_path / "nothing")
    with pytest.raises(MissingFileError, match="read the model"):
        Word2Vec.load(tmp_path)
    (tmp_path / "text").write_text("2 2\na 1 2\nb 3 4\n")
    with pytest.raises(FormatError, match="no model"):
        Word2Vec.load(tmp_path / "text")


def test_a_model_of_another_class_is_refused(tmp_path, model):
    model.save(tmp_path / "model")
    with pytest.raises(ArgumentError, match="no FastText"):
        FastText.load(tmp_path / "model")

    class Mine(Word2Vec):
        def __init__(self, *args, corpus, **options):
            super().__init__(*args, **options)
            self.corpus = corpus

    mine = Mine.load(tmp_path / "model")
    assert type(mine) is Mine
    with pytest.raises(ArgumentError, match="load makes a new model"):
        mine.load(tmp_path / "model")  # whose caller would go on with the old one
    assert (mine.alpha, mine.sg, mine.sample) == (model.alpha, model.sg, model.sample)
    Mine(SENTENCES, corpus="mine", **SMALL, window=7).save(tmp_path / "mine")
    assert Word2Vec.load(tmp_path / "mine").window == Mine.load(tmp_path / "mine").window == 7


# gensim's files.


def gensim_data(name):
    return Path(pytest.importorskip("gensim").__file__).parent / "test" / "test_data" / name


TRAINABLE = ["word2vec_3.3", "word2vec_old", "word2vec_old_sep", "word2vec_pre_kv_py2", "word2vec_pre_kv_py3",
             "word2vec_pre_kv_sep_py3", "word2vec_pre_kv_py3_4"]  # fmt: skip


@pytest.mark.parametrize("name", TRAINABLE)
def test_models_of_old_gensims_are_trained_on(name):
    model = Word2Vec.load(gensim_data(name))
    vectors = fw.load(gensim_data(name))
    assert list(model.wv.index_to_key) == list(vectors.index_to_key)
    assert np.array_equal(model.wv.vectors, vectors.vectors)
    assert model.syn1neg.any() == (name != "word2vec_3.3")  # two sentences of rare words: never trained
    before = model.wv.vectors.copy()
    sentences = [list(model.wv.index_to_key[:5])] * 30
    model.train(sentences, total_examples=30, epochs=model.epochs)
    assert not np.array_equal(model.wv.vectors, before)
    model.build_vocab([["brand-new"] * 9], update=True)
    assert "brand-new" in model.wv


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("model-from-gensim-3.8.0.w2v", "hierarchical softmax"),
        ("w2v-lee-v0.12.0", "hierarchical softmax"),
        ("large_tag_doc_10_iter50", "Doc2Vec"),
        ("fasttext_old", "hashed"),
        ("word2vec_old_sep.syn1neg.npy", "no model"),
    ],
)
def test_what_cannot_be_trained_on_says_why(name, says):
    with pytest.raises((ArgumentError, FormatError), match=says):
        Word2Vec.load(gensim_data(name))


@pytest.mark.parametrize("sep_limit", [10**9, 1])
def test_gensims_own_model_goes_on_here(tmp_path, sep_limit):
    gensim = pytest.importorskip("gensim.models")
    theirs = gensim.Word2Vec(SENTENCES, **SMALL, epochs=2, sg=1, window=3, ns_exponent=0.5, sample=0.01)
    theirs.save(str(tmp_path / "model"), sep_limit=sep_limit)
    ours = Word2Vec.load(tmp_path / "model")
    assert ours.wv.index_to_key == theirs.wv.index_to_key
    assert np.array_equal(ours.wv.vectors, theirs.wv.vectors)
    assert np.array_equal(ours.syn1neg, theirs.syn1neg)
    assert ours.wv.expandos["count"].tolist() == theirs.wv.expandos["count"].tolist()
    for name in ("sg", "window", "ns_exponent", "sample", "epochs", "negative", "min_count", "corpus_count", "seed"):
        assert getattr(ours, name) == getattr(theirs, name), name
    expected = theirs.predict_output_word(["a1", "a2"])
    assert [word for word, _ in ours.predict_output_word(["a1", "a2"])] == [word for word, _ in expected]
    ours.train(SENTENCES, total_examples=300, epochs=1)
    if sep_limit == 1:
        (tmp_path / "model.syn1neg.npy").unlink()
        with pytest.raises(MissingFileError, match="syn1neg"):
            Word2Vec.load(tmp_path / "model")
    theirs.wv.save(str(tmp_path / "vectors"))
    with pytest.raises(ArgumentError, match="nothing to train on"):
        Word2Vec.load(tmp_path / "vectors")


def fuzz(tmp_path, count, seed):
    gensim = pytest.importorskip("gensim.models")
    rng = random.Random(seed)
    gensim.Word2Vec(SENTENCES[:20], vector_size=2, min_count=1, epochs=1).save(str(tmp_path / "g"))
    ngrams = gensim.FastText(SENTENCES[:20], vector_size=2, min_count=1, epochs=1, bucket=9)
    ngrams.save(str(tmp_path / "f"))
    gensim.fasttext.save_facebook_model(ngrams, str(tmp_path / "b"))
    Word2Vec(SENTENCES[:20], vector_size=2, min_count=1, epochs=1).save(tmp_path / "own")
    originals = {name: (tmp_path / name).read_bytes() for name in ("g", "f", "b")}
    refused = 0
    for _ in range(count):
        name = rng.choice(["g", "f", "b", "own"])
        if name == "own":
            shutil.copytree(tmp_path / "own", tmp_path / "damaged", dirs_exist_ok=True)
            file = rng.choice(sorted(each for each in (tmp_path / "damaged").rglob("*") if each.is_file()))
            data = bytearray(file.read_bytes())
        else:
            file, data = tmp_path / "x", bytearray(originals[name])
        for _ in range(rng.randint(1, 3)):
            kind = rng.random()
            if kind < 0.6 and data:
                data[rng.randrange(len(data))] = rng.randrange(256)
            elif kind < 0.8:
                del data[rng.randrange(len(data) + 1) :]
            else:
                at = rng.randrange(len(data) + 1)
                data[at:at] = rng.randbytes(rng.randint(1, 9))
        file.write_bytes(data)
        try:
            model = (FastText if name in "fb" else Word2Vec).load(tmp_path / "damaged" if name == "own" else file)
        except ForewordError:
            refused += 1
        else:
            assert model.wv.vectors.shape == (len(model.wv), model.vector_size)
            assert model.syn1neg.shape == model.wv.vectors.shape
            assert np.isfinite(model.wv.vectors).all()
    assert count // 10 < refused


def test_damaged_models_are_refused_or_whole(tmp_path):
    fuzz(tmp_path, 150, 1)


@pytest.mark.slow
def test_damaged_models_are_refused_or_whole_many_times(tmp_path):
    fuzz(tmp_path, 4000, 2)
