"""Training to a file: formats, resuming after kills and Ctrl-C, and the command."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from typer.testing import CliRunner

import foreword as fw
from foreword.cli import app
from foreword.errors import ArgumentError, FileError, FormatError, StoreError, TextDecodeError
from foreword.recipes import train_vectors, vector_training

SMALL = {"dim": 8, "epochs": 2, "min_count": 1, "workers": 1}


@pytest.fixture
def corpus(tmp_path):
    rng = random.Random(1)
    path = tmp_path / "corpus.txt"
    lines = [" ".join(f"w{int(rng.paretovariate(1.0)) % 200}" for _ in range(12)) for _ in range(400)]
    path.write_text("\n".join(lines))
    return path


def left(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir())


def test_the_vectors_are_those_of_word2vec(corpus, tmp_path):
    done = train_vectors(corpus, tmp_path / "out", **SMALL)
    model = fw.Word2Vec(corpus_file=corpus, vector_size=8, epochs=2, min_count=1, sg=1)
    wv = fw.load(tmp_path / "out")
    assert list(wv.index_to_key) == model.wv.index_to_key
    assert np.array_equal(wv.vectors, model.wv.vectors)
    assert wv.expandos["count"].tolist() == model.wv.expandos["count"].tolist()
    assert (done.words, done.dim, done.format, done.resumed) == (len(wv), 8, "store", False)
    assert done.corpus_words == 4800
    assert 0 < done.loss < 10
    assert left(tmp_path) == ["corpus.txt", "out"]


@pytest.mark.parametrize("method", ["cbow", "fasttext", "fasttext-cbow"])
def test_other_methods_are_those_of_the_classes(corpus, tmp_path, method):
    options = {"buckets": 300} if "fast" in method else {}
    train_vectors(corpus, tmp_path / "out", method=method, **SMALL, **options)
    cls, options = (fw.FastText, {"bucket": 300}) if "fast" in method else (fw.Word2Vec, {})
    model = cls(corpus_file=corpus, vector_size=8, epochs=2, min_count=1, sg=int(method == "fasttext"), **options)
    wv = fw.load(tmp_path / "out")
    assert np.array_equal(wv.vectors, model.wv.vectors)
    if "fast" in method:
        assert np.array_equal(wv["unheard-of"], model.wv["unheard-of"])


@pytest.mark.parametrize(
    ("name", "out_format", "format"),
    [
        ("v.bin", None, "word2vec-binary"),
        ("v.txt", None, "word2vec-text"),
        ("v.vec.gz", None, "word2vec-text"),
        ("v.npy", None, "npy"),
        ("v.safetensors", None, "safetensors"),
        ("v", "glove", "glove"),
        ("v.of.mine", None, "store"),
        ("v.bin", "store", "store"),
    ],
)
def test_every_format_is_one_that_load_reads(corpus, tmp_path, name, out_format, format):  # noqa: A002
    done = train_vectors(corpus, tmp_path / name, **SMALL, out_format=out_format)
    assert done.format == format
    assert len(fw.load(tmp_path / name)) == done.words


def test_a_store_of_tokens(tmp_path):
    store = fw.prepare(["some words of a text, " * 5] * 30, tmp_path / "store", tokenizer="gpt2")
    done = train_vectors(tmp_path / "store", tmp_path / "out", **SMALL)
    wv = fw.load(tmp_path / "out")
    assert set(wv.index_to_key) == set(np.unique(store[:]).tolist())
    assert done.corpus_words == len(store)
    with pytest.raises(ArgumentError, match="no n-grams"):
        train_vectors(store, tmp_path / "out2", method="fasttext")


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"method": "glove"}, ArgumentError, "no such method"),
        ({"out_format": "csv"}, ArgumentError, "no such format"),
        ({"min_count": 10**6}, ArgumentError, "no word occurs 1,000,000 times"),
        ({"negative": 0}, ArgumentError, "negative"),
        ({"evaluate": ["/no/such/file"]}, FileError, "evaluate"),
        ({"workers": 0}, ArgumentError, "workers"),
        ({"max_vocab": 0}, ArgumentError, "max_vocab must be at least 1"),
        ({"every": "often"}, ArgumentError, "every must be a number"),
        ({"evaluate": "questions.txt"}, ArgumentError, "a list of files"),
        ({"reading": "line"}, ArgumentError, "documents end"),
        ({"alpha": "x"}, ArgumentError, "alpha must be a number"),
    ],
)
def test_what_cannot_be_done_is_refused(corpus, tmp_path, options, error, says):
    with pytest.raises(error, match=says):
        train_vectors(corpus, tmp_path / "out", **{**SMALL, **options})
    assert not (tmp_path / "out").exists()
    train_vectors(corpus, tmp_path / "out", **SMALL)  # a run that came to nothing is in nobody's way


def test_text_in_another_encoding_is_named(corpus, tmp_path):
    text = corpus.read_text()
    for encoding in ("utf-16", "utf-16-le"):  # the one without a mark is ASCII with zeros
        corpus.write_text(text, encoding=encoding)
        with pytest.raises(TextDecodeError, match="UTF-16"):
            train_vectors(corpus, tmp_path / "out", **SMALL)


def test_no_more_threads_than_processors(corpus, tmp_path, monkeypatch):
    original, asked = vector_training._vocabulary, []

    def counted(folder, corpus, workers, *rest):
        asked.append(workers)
        return original(folder, corpus, min(workers, 8), *rest)

    monkeypatch.setattr(vector_training, "_vocabulary", counted)
    train_vectors(corpus, tmp_path / "out", **{**SMALL, "workers": 10**6})
    assert asked == [vector_training.threads.count()]


def test_what_is_read_once_is_refused(corpus, tmp_path):
    lines = corpus.read_text().splitlines()
    with pytest.raises(ArgumentError, match="gone through 2 times, which a generator can't be"):
        train_vectors((line for line in lines), tmp_path / "out", **SMALL)
    train_vectors(lines, tmp_path / "out", **SMALL)


def test_other_texts_are_not_taken_for_those_of_the_run(corpus, tmp_path, monkeypatch):
    lines = corpus.read_text().splitlines()
    interrupted(lines, tmp_path / "out", monkeypatch, "_write")
    with pytest.raises(StoreError, match="corpus differ"):
        train_vectors(lines[::-1], tmp_path / "out", **SMALL)  # the same words, as often
    assert train_vectors(lines, tmp_path / "out", **SMALL).resumed
    train_vectors(corpus, tmp_path / "whole", **SMALL)
    assert np.array_equal(fw.load(tmp_path / "out").vectors, fw.load(tmp_path / "whole").vectors)


def test_a_corpus_that_changes_while_it_is_read_is_refused(corpus, tmp_path, monkeypatch):
    original = vector_training._encoded

    def grown(*arguments):
        with corpus.open("a") as file:
            file.write(" w1")
        return original(*arguments)

    monkeypatch.setattr(vector_training, "_encoded", grown)
    with pytest.raises(FormatError, match="has changed"):
        train_vectors(corpus, tmp_path / "out", **SMALL)


@pytest.mark.parametrize("name", ["vectors", "vectors.txt"])
def test_the_output_is_no_part_of_the_corpus(corpus, tmp_path, monkeypatch, name):
    (tmp_path / "texts").mkdir()
    corpus = corpus.rename(tmp_path / "texts" / "a.txt")
    expected = train_vectors(tmp_path / "texts", tmp_path / "elsewhere", **SMALL).words
    for source in (tmp_path / "texts", tmp_path / "texts" / "**" / "*"):
        out = tmp_path / "texts" / name
        interrupted(source, out, monkeypatch, "_write")
        assert train_vectors(source, out, **SMALL).resumed
        assert train_vectors(source, out, restart=True, **SMALL).words == expected
        shutil.rmtree(out) if out.is_dir() else out.unlink()


def test_the_corpus_is_not_overwritten_nor_a_folder_of_other_things(corpus, tmp_path, monkeypatch):
    before = corpus.read_bytes()
    with pytest.raises(ArgumentError, match="the corpus is the output"):
        train_vectors(corpus, corpus, restart=True, **SMALL)
    assert corpus.read_bytes() == before
    (tmp_path / "mine.bin").mkdir()
    monkeypatch.setattr(vector_training, "_vocabulary", None)  # nothing is counted before that is refused
    monkeypatch.chdir(tmp_path)
    for out in (tmp_path, tmp_path / "mine.bin", "."):
        with pytest.raises(FileError, match="no store of vectors"):
            train_vectors(corpus, out, restart=True, **SMALL)


def test_nothing_is_overwritten_unless_it_is_said(corpus, tmp_path):
    (tmp_path / "out.bin").write_text("mine")
    with pytest.raises(FileError, match="already"):
        train_vectors(corpus, tmp_path / "out.bin", **SMALL)
    assert (tmp_path / "out.bin").read_text() == "mine"
    train_vectors(corpus, tmp_path / "out.bin", **SMALL, restart=True)
    assert len(fw.load(tmp_path / "out.bin"))


def test_a_complete_store_is_left_as_it_is(corpus, tmp_path):
    first = train_vectors(corpus, tmp_path / "out", **SMALL)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    again = train_vectors(corpus, tmp_path / "out", **SMALL)
    assert (again.complete, again.words, again.corpus_words) == (True, first.words, first.corpus_words)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before
    with pytest.raises(FileError, match="already"):
        train_vectors(corpus, tmp_path / "out", **{**SMALL, "dim": 9})
    assert not train_vectors(corpus, tmp_path / "out", **{**SMALL, "dim": 9}, restart=True).complete


def test_a_run_killed_while_it_wrote_goes_on(corpus, tmp_path, monkeypatch):
    out = tmp_path / "out.bin"
    interrupted(corpus, out, monkeypatch, "_write")
    out.write_bytes(b"half")  # as if the rename had been the last that it did
    train_vectors(corpus, out, **SMALL)
    assert len(fw.load(out))


def interrupted(corpus, out, monkeypatch, at, **options):
    """Train, and press Ctrl-C before a step."""
    original = getattr(vector_training, at)

    def stop(*arguments, **named):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(vector_training, at, stop)
        with pytest.raises(KeyboardInterrupt):
            train_vectors(corpus, out, **{**SMALL, **options})
    assert getattr(vector_training, at) is original
    assert not out.exists()


@pytest.mark.parametrize("step", ["_vocabulary", "_encoded", "_trainer", "_run", "_write"])
def test_whatever_step_it_was_in_it_goes_on(corpus, tmp_path, monkeypatch, step):
    whole = train_vectors(corpus, tmp_path / "whole", **SMALL)
    interrupted(corpus, tmp_path / "out", monkeypatch, step)
    done = train_vectors(corpus, tmp_path / "out", **{**SMALL, "workers": 2})
    assert done.resumed == (step != "_vocabulary")
    assert np.array_equal(fw.load(tmp_path / "out").vectors, fw.load(tmp_path / "whole").vectors)
    assert done.words == whole.words
    assert left(tmp_path) == ["corpus.txt", "out", "whole"]


def test_a_run_of_other_options_or_another_corpus_is_not_taken_up(corpus, tmp_path, monkeypatch):
    out = tmp_path / "out"
    interrupted(corpus, out, monkeypatch, "_write")
    with pytest.raises(StoreError, match=r"had other dim\n  got: +dim=9\n  expected: dim="):
        train_vectors(corpus, out, **{**SMALL, "dim": 9})
    with pytest.raises(StoreError, match="had other min_count"):
        train_vectors(corpus, out, **{**SMALL, "min_count": 2})
    corpus.write_text("another one " * 100)
    with pytest.raises(StoreError, match="had other corpus"):
        train_vectors(corpus, out, **SMALL)
    done = train_vectors(corpus, out, **SMALL, restart=True)
    assert (done.words, done.resumed) == (2, False)


@pytest.mark.parametrize("file", ["run.json", "vocabulary.json", "corpus.u32", "checkpoint"])
def test_a_damaged_rest_is_refused_not_trained_on(corpus, tmp_path, monkeypatch, file):
    out = tmp_path / "out"
    interrupted(corpus, out, monkeypatch, "_write")
    path = tmp_path / "out.training" / file
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises((FormatError, StoreError)):
        train_vectors(corpus, out, **SMALL)
    train_vectors(corpus, out, **SMALL, restart=True)


def test_evaluations_come_after_each_epoch(corpus, tmp_path):
    (tmp_path / "pairs.tsv").write_text("w1\tw2\t9\nw1\tw3\t5\nw2\tw4\t2\nw5\tw1\t1\n")
    (tmp_path / "questions.txt").write_text(": all\nw1 w2 w3 w4\nw4 w3 w2 w1\n")
    seen = []
    files = [tmp_path / "pairs.tsv", tmp_path / "questions.txt"]
    done = train_vectors(corpus, tmp_path / "out", **SMALL, evaluate=files, evaluated=lambda *of: seen.append(of))
    assert [epoch for epoch, _ in seen] == [1, 2]
    assert [scores for _, scores in seen] == done.evaluations
    assert [score.data()["kind"] for score in done.evaluations[0]] == ["pairs", "analogies"]
    plain = train_vectors(corpus, tmp_path / "plain", **SMALL)
    assert np.array_equal(fw.load(tmp_path / "out").vectors, fw.load(tmp_path / "plain").vectors)
    assert plain.evaluations == []


@pytest.mark.parametrize("text", ["this is\nno file to judge by\n", "nobody\tknows\t5\n"])
def test_what_cannot_be_judged_by_is_refused_before_the_first_epoch(corpus, tmp_path, monkeypatch, text):
    monkeypatch.setattr(vector_training, "_run", None)
    (tmp_path / "file").write_text(text)
    with pytest.raises(FormatError):
        train_vectors(corpus, tmp_path / "out", **SMALL, evaluate=[tmp_path / "file"])
    monkeypatch.undo()
    assert train_vectors(corpus, tmp_path / "out", **SMALL).resumed


# The command.


def run(*arguments):
    return CliRunner().invoke(app, ["vectors", "train", *map(str, arguments)])


def test_the_command(corpus, tmp_path):
    (tmp_path / "pairs.tsv").write_text("w1\tw2\t9\nw1\tw3\t5\nw2\tw4\t2\nw5\tw1\t1\n")
    common = ["--dim", 8, "--epochs", 2, "--min-count", 1, "--workers", 2]
    done = run(corpus, tmp_path / "out", *common, "--evaluate", tmp_path / "pairs.tsv")
    assert done.exit_code == 0, done.output
    first, second, last = done.stdout.splitlines()
    assert first.startswith("epoch 1: pairs.tsv ")
    assert second.startswith("epoch 2: pairs.tsv ")
    assert "words of 8 dimensions, store, loss" in last
    done = run(corpus, tmp_path / "out.bin", *common, "--json", "--method", "cbow")
    about = json.loads(done.stdout)
    assert (about["format"], about["dim"], about["evaluations"]) == ("word2vec-binary", 8, [])
    (tmp_path / "lines.jsonl").write_text('{"body": "a b"}\n{"body": "a b"}\n')
    assert run(tmp_path / "lines.jsonl", tmp_path / "o2", "--field", "body", "--min-count", 1).exit_code == 0
    assert list(fw.load(tmp_path / "o2").index_to_key) == ["b", "a"]


def test_ctrl_c_says_that_it_goes_on(corpus, tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(vector_training, "_run", stop)
        done = run(corpus, tmp_path / "out")
    assert done.exit_code == 130
    assert "Run the same command again" in done.stderr
    assert run(corpus, tmp_path / "out").exit_code == 0


def written(path):
    """When the file was written; 0 where there is none."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_mtime_ns
    return 0


def killed(corpus, tmp_path, count, signals, epochs):
    """Kill a training ``count`` times, at any moment; what it comes to in the end."""
    rng = random.Random(4)
    command = [sys.executable, "-m", "foreword", "vectors", "train", str(corpus), str(tmp_path / "out"),
               "--dim", "8", "--epochs", epochs, "--min-count", "1", "--every", "0", "--workers", "2"]  # fmt: skip
    checkpoint = tmp_path / "out.training" / "checkpoint"
    kills = 0
    while kills < count:
        before = written(checkpoint)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ))
        start = time.monotonic()
        # Until it trains: while Python imports, it may drop a Ctrl-C that comes within a callback.
        while process.poll() is None and written(checkpoint) == before and time.monotonic() < start + 60:
            time.sleep(0.01)
        time.sleep(rng.random() * 0.3)
        if process.poll() is None:
            process.send_signal(signals[kills % len(signals)])
        process.communicate(timeout=60)
        assert process.returncode, "it ended before it was killed"
        assert not (tmp_path / "out").exists()
        kills += 1
    subprocess.run(command, check=True, capture_output=True)
    return fw.load(tmp_path / "out").vectors


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_killed_training_goes_on_to_the_same_bits(corpus, tmp_path):
    vectors = killed(corpus, tmp_path, 2, [signal.SIGKILL, signal.SIGINT], "300")
    train_vectors(corpus, tmp_path / "whole", **{**SMALL, "epochs": 300})
    assert np.array_equal(vectors, fw.load(tmp_path / "whole").vectors)
    assert left(tmp_path) == ["corpus.txt", "out", "whole"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_training_killed_twenty_times(corpus, tmp_path):
    corpus.write_text("\n".join(corpus.read_text().splitlines() * 4))
    vectors = killed(corpus, tmp_path, 20, [signal.SIGKILL, signal.SIGINT], "300")
    train_vectors(corpus, tmp_path / "whole", **{**SMALL, "epochs": 300})
    assert np.array_equal(vectors, fw.load(tmp_path / "whole").vectors)


def test_an_option_mended_before_anything_was_counted(corpus, tmp_path):
    (tmp_path / "empty.txt").touch()
    with pytest.raises(ArgumentError, match="the corpus holds no word"):
        train_vectors(tmp_path / "empty.txt", tmp_path / "none", **SMALL)
    with pytest.raises(ArgumentError, match=r"no word occurs 10,000 times"):
        train_vectors(corpus, tmp_path / "out", **{**SMALL, "min_count": 10_000})
    (tmp_path / "once.txt").write_text("king", encoding="utf-8")
    with pytest.raises(ArgumentError, match=r"got: +1 word, 1 different, the most frequent 1 time\n"):
        train_vectors(tmp_path / "once.txt", tmp_path / "out", **{**SMALL, "min_count": 2})
    assert list(tmp_path.glob("*.training")) == []  # nor anything else
    assert train_vectors(corpus, tmp_path / "out", **SMALL).words  # no "unfinished training of another kind"
