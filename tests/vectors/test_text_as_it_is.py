"""Text files as people have them: marks, tabs, blanks, wrong headers; read as gensim reads them, or refused."""

import contextlib
import gzip

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import foreword as fw
from foreword import KeyedVectors
from foreword.errors import ArgumentError, FormatError, TextDecodeError
from vectors.formats import read, text, word2vec_binary

Theirs = pytest.importorskip("gensim.models", reason="gensim isn't installed").KeyedVectors

# gensim leaves files open where it refuses them.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

WORDS = [b"king", b"queen", b"the"]
ROWS = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)


def put(folder, data, name="v.txt"):
    (folder / name).write_bytes(data)
    return folder / name


# Headers and columns.


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"2 2\nthe .1 .2 .3\nof .4 .5 .6\n", 2),
        (b"2 2\nthe 1 2 3\nof 4 5 6\n", 2),
        (b"2 2\nthe 1 .2 .3\nof 4 .5 .6\n", 2),
        (b"2 2\nthe .1 .2\nof .4 .5 .6\n", 3),
        (b"3 2\nthe .1 .2\nof .4 .5\nto 4 5 6", 4),
        (b"2 2\nthe\t.1\t.2\nof\t.4\t.5\t.6\n", 3),
        (b"2 3\nthe .1 .2\nof .4 .5\n", 2),
        (b"2 3\nthe .1 .2 .3\nof .4 .5\n", 3),
        (b"3 2\nthe .1 .2\n\nof .4 .5\n", 3),
        (b"the .1 .2\nof .4 .5\nto .4 .5 .6\n", 3),
        (b"the .1 .2\nof .4\n", 2),
        (b"2 2\n king .1 .2\nof .4 .5\n", 2),
        (b"2 2\nking \t.1\t.2\nof\t.4\t.5\n", 2),
        (b"2 2\n  .1 .2\nof .4 .5\n", 2),
    ],
)
def test_lines_that_do_not_fit_are_refused_with_their_number(tmp_path, data, line):
    for mark in (b"", b"\xef\xbb\xbf"):
        with pytest.raises(FormatError, match=rf"where: .*line {line}\b"):
            fw.load(put(tmp_path, mark + data))
        with pytest.raises(FormatError, match=rf"where: .*line {line}\b"):
            KeyedVectors.load_word2vec_format(put(tmp_path, mark + data))


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_byte_order_mark_is_no_part_of_the_first_word(tmp_path, header, pack):
    data = b"\xef\xbb\xbf" + text(WORDS, ROWS, header=header)
    file = put(tmp_path, pack(data))
    for wv in (fw.load(file), KeyedVectors.load_word2vec_format(file, no_header=not header)):
        assert list(wv.index_to_key) == ["king", "queen", "the"]
        assert np.asarray(wv.vectors).tobytes() == ROWS.tobytes()
    inside = text([b"\xef\xbb\xbfking"], ROWS[:1])  # not at the file's start it is the word's own
    assert read(put(tmp_path, inside))[0] == [b"\xef\xbb\xbfking"]


def test_the_words_of_an_array_may_begin_with_a_mark(tmp_path):
    np.save(tmp_path / "v.npy", ROWS)
    for data in (b"\xef\xbb\xbfking\r\nqueen\r\nthe\r\n", b'\xef\xbb\xbf["king", "queen", "the"]'):
        assert read(tmp_path / "v.npy", vocabulary=str(put(tmp_path, data, "words.json")))[0] == WORDS
        packed = put(tmp_path, gzip.compress(data), "words.json.gz")
        assert read(tmp_path / "v.npy", vocabulary=str(packed))[0] == WORDS


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_utf16_is_named(tmp_path, encoding):
    data = ("\ufeff" if encoding == "utf-16-be" else "") + text(WORDS, ROWS).decode()
    with pytest.raises(FormatError, match="UTF-16"):
        fw.load(put(tmp_path, data.encode(encoding)))


# gensim.

PIECES = st.one_of(
    st.sampled_from(["king", "a", "", " ", "\t", "\u00a0", "\r", "\x0b", "7", "-2", ".5", "1e5", "é", "\u2028", "nan"]),
    st.text("ab \t\u00a01.", max_size=4),
)
NUMBERS = st.one_of(st.integers(-3, 99).map(str), st.floats(-9, 9, width=32).map(repr))
LINES = st.builds(
    lambda word, numbers, end: word + " ".join(["", *numbers]) + end,
    st.lists(PIECES, max_size=3).map("".join),
    st.lists(NUMBERS, min_size=1, max_size=3),
    st.sampled_from(["", "", "", " ", "\r", "\t"]),
)


def told(theirs):
    """gensim's keys and rows, less the rows without a key that words which come twice leave."""
    keys = [key for key in theirs.index_to_key if key is not None]
    return keys, theirs.vectors[: len(keys)]


@settings(deadline=None, max_examples=150)
@given(st.lists(LINES, min_size=1, max_size=4), st.integers(1, 3), st.booleans())
@example(["\t 0.5 1.5", "a\t 1 2", "\u00a0 1 2", "a\u00a0b 2 3"], 2, True)
@example(["king 1 2", "king 3 4", " 1 2"], 2, True)
@example(["\t1 2"], 1, False)
@example(["a\t1 2", "b\t3 4"], 1, False)
def test_what_gensim_reads_is_read_the_same(tmp_path_factory, lines, dim, header):
    lines = [line.replace("\n", "") for line in lines]
    size = dim if header else len(lines[0].encode().rstrip().split(b" ")) - 1
    # gensim spreads a single number over a whole vector, and takes a dimension of none.
    whole = size > 0 and all(len(line.encode().rstrip().split(b" ")) == size + 1 for line in lines)
    data = "".join(f"{line}\n" for line in ([f"{len(lines)} {dim}"] if header else []) + lines).encode()
    path = put(tmp_path_factory.mktemp("g"), data)
    try:
        theirs = Theirs.load_word2vec_format(str(path), no_header=not header)
        wanted = told(theirs) if whole and np.isfinite(theirs.vectors).all() else None
    except (ValueError, EOFError, AssertionError, TypeError, IndexError):
        wanted = None
    if wanted is None:
        with contextlib.suppress(FormatError):
            KeyedVectors.load_word2vec_format(path, no_header=not header)
    else:
        try:
            ours = KeyedVectors.load_word2vec_format(path, no_header=not header)
        except FormatError:
            assert any(c.isspace() and c != " " for line in lines for c in line)  # what gensim doesn't part columns at
            return
        assert list(ours.index_to_key) == wanted[0]
        assert np.array_equal(np.asarray(ours.vectors), wanted[1])


def test_columns_that_gensim_takes_for_a_part_of_the_word_are_refused_where_it_would_read_them(tmp_path):
    path = put(tmp_path, b"king\t1 2\nqueen\t3 4\n")
    assert Theirs.load_word2vec_format(str(path), no_header=True).index_to_key == ["king\t1", "queen\t3"]
    with pytest.raises(FormatError, match=r"gensim(.|\n)*a word and 1 numbers(.|\n)*a word and 2 numbers"):
        KeyedVectors.load_word2vec_format(path, no_header=True)
    assert fw.load(path)["queen"].tolist() == [3, 4]
    with_header = put(tmp_path, b"2 2\n" + path.read_bytes())
    assert KeyedVectors.load_word2vec_format(with_header)["queen"].tolist() == [3, 4]


WORD = st.text(st.characters(codec="utf-8", exclude_characters=" \n"), max_size=4)


@settings(deadline=None, max_examples=100)
@given(st.lists(WORD, min_size=1, max_size=5), st.integers(1, 3), st.sampled_from([b"\n", b""]), st.data())
def test_binary_files_as_gensim_reads_them(tmp_path_factory, words, dim, newline, data):
    floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
    rows = data.draw(st.lists(st.lists(floats, min_size=dim, max_size=dim), min_size=len(words), max_size=len(words)))
    path = tmp_path_factory.mktemp("g") / "v"
    path.write_bytes(word2vec_binary([word.encode() for word in words], np.array(rows, np.float32), newline=newline))
    theirs = Theirs.load_word2vec_format(str(path), binary=True)
    ours = KeyedVectors.load_word2vec_format(path, binary=True)
    assert list(ours.index_to_key) == told(theirs)[0]
    assert np.asarray(ours.vectors).tobytes() == told(theirs)[1].tobytes()


def test_a_file_without_a_header_whose_words_are_numbers(tmp_path):
    path = put(tmp_path, b"5 2\n6 3\n")
    ours, theirs = (kind.load_word2vec_format(str(path), no_header=True) for kind in (KeyedVectors, Theirs))
    assert list(ours.index_to_key) == list(theirs.index_to_key) == ["5", "6"]
    assert ours.vectors.tolist() == theirs.vectors.tolist() == [[2], [3]]
    assert KeyedVectors.load_word2vec_format(put(tmp_path, text(WORDS, ROWS)), no_header=True).vector_size == 2
    with pytest.raises(ArgumentError, match="header"):
        KeyedVectors.load_word2vec_format(path, binary=True, no_header=True)


# Binary read as text, and the reverse.


@pytest.mark.parametrize("limit", [None, 1, 100])
@pytest.mark.parametrize("count", [3, 5000])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_the_other_kind_of_word2vec_file_is_named(tmp_path, count, limit, pack):
    words = [b"w%d" % i for i in range(count)]
    rows = np.random.default_rng(1).normal(size=(count, 20)).astype(np.float32)
    binary, plain = put(tmp_path, pack(word2vec_binary(words, rows)), "b"), put(tmp_path, pack(text(words, rows)), "t")
    glove = put(tmp_path, pack(text(words, rows, header=False)), "g")
    for call in (fw.load, KeyedVectors.load_word2vec_format):
        with pytest.raises(FormatError, match="binary=True"):
            call(binary, binary=False, limit=limit)
        with pytest.raises(FormatError, match="binary=False"):
            call(plain, binary=True, limit=limit)
        with pytest.raises(FormatError, match="binary=False, no_header=True"):
            call(glove, binary=True, limit=limit)


def test_another_format_is_named(tmp_path):
    wv = KeyedVectors(2)
    wv.add_vectors(["a"], ROWS[:1])
    wv.export(tmp_path / "v.safetensors")
    with pytest.raises(FormatError, match=r"safetensors.*foreword\.load"):
        KeyedVectors.load_word2vec_format(tmp_path / "v.safetensors", binary=True)


# Counts.


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("lines", [b"king 5\nqueen 6\nthe 7\n", b"king\t5\nthe\t7\r\nqueen \t 6\n"])
def test_counts(tmp_path, lines, pack):
    path = put(tmp_path, text(WORDS, ROWS))
    counts = put(tmp_path, pack(lines), "v.vocab.gz" if pack is gzip.compress else "v.vocab")
    for kind in (KeyedVectors, Theirs):
        wv = kind.load_word2vec_format(str(path), fvocab=str(counts))
        assert [wv.get_vecattr(word, "count") for word in ("king", "queen", "the")] == [5, 6, 7]


@pytest.mark.parametrize("errors", ["replace", "ignore"])
def test_counts_of_words_that_are_not_text(tmp_path, errors):
    path = put(tmp_path, text([b"k\xf6nig", b"king"], ROWS[:2]))
    counts = put(tmp_path, b"k\xf6nig 5\nking 6\n", "v.vocab")
    ours, theirs = (
        kind.load_word2vec_format(str(path), fvocab=str(counts), unicode_errors=errors)
        for kind in (KeyedVectors, Theirs)
    )
    assert list(ours.index_to_key) == list(theirs.index_to_key)
    assert ours.expandos["count"].tolist() == theirs.expandos["count"].tolist() == [5, 6]
    with pytest.raises(TextDecodeError, match=r"v\.vocab, line 1"):
        KeyedVectors.load_word2vec_format(put(tmp_path, text(WORDS, ROWS)), fvocab=counts)


def test_counts_in_utf8_beside_words_in_latin1(tmp_path):
    path = put(tmp_path, text([b"k\xf6nig", b"king"], ROWS[:2]))
    for encoding in ("utf-8", "latin1"):
        counts = put(tmp_path, "könig 5\nking 6\n".encode(encoding), "v.vocab")
        wv = KeyedVectors.load_word2vec_format(path, fvocab=counts, encoding="latin1")
        assert wv.expandos["count"].tolist() == [5, 6]


@pytest.mark.parametrize("line", [b"king", b"king five", b"king 5.0", b"5"])
def test_counts_that_are_none(tmp_path, line):
    path, counts = put(tmp_path, text(WORDS, ROWS)), put(tmp_path, b"queen 1\n" + line + b"\n", "v.vocab")
    with pytest.raises(FormatError, match="line 2"):
        KeyedVectors.load_word2vec_format(path, fvocab=counts)


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
@pytest.mark.parametrize("binary", [False, True])
def test_files_are_packed_by_their_names(tmp_path, suffix, binary):
    wv = KeyedVectors(2)
    wv.add_vectors(["a b" if not binary else "a", "b"], ROWS[:2], extras={"count": np.array([3, 4])})
    path, counts = tmp_path / f"v.bin{suffix}", tmp_path / f"v.vocab{suffix}"
    wv.save_word2vec_format(path, fvocab=counts, binary=binary, total_vec=4)
    wv.save_word2vec_format(path, fvocab=counts, binary=binary, write_header=False, append=True, prefix="x")
    assert not path.read_bytes().startswith(b"4 2")
    back = KeyedVectors.load_word2vec_format(path, fvocab=counts, binary=binary)
    names = ["b", wv.index_to_key[0]]
    assert list(back.index_to_key) == [*names, *(f"x{name}" for name in names)]
    assert back.expandos["count"].tolist() == [4, 3, 4, 3]
    if suffix == ".gz" and binary:
        assert (
            Theirs.load_word2vec_format(str(path), binary=True).vectors.tobytes() == np.asarray(back.vectors).tobytes()
        )


@pytest.mark.parametrize("name", ["v.zip", "v.tar", "v.tar.gz", "v.tgz", "v.txt.7z", "V.ZIP"])
def test_archives_are_not_written(tmp_path, name):
    wv = KeyedVectors(2)
    wv.add_vectors(["a"], ROWS[:1])
    for write in (wv.export, wv.save_word2vec_format):
        with pytest.raises(ArgumentError, match="can't be written"):
            write(tmp_path / name)
    assert not (tmp_path / name).exists()


def test_the_suffix_before_that_of_the_packing_says_the_format(tmp_path):
    wv = KeyedVectors(2)
    wv.add_vectors(["a"], ROWS[:1])
    formats = [wv.export(tmp_path / f"v{suffix}.gz") for suffix in (".bin", ".npy", ".safetensors", ".txt", "")]
    assert formats == ["word2vec-binary", "npy", "safetensors", "word2vec-text", "word2vec-text"]
    assert (tmp_path / "v.vocab").read_bytes() == b"a\n"
    for suffix in (".bin", ".npy", ".safetensors", ".txt", ""):
        assert fw.load(tmp_path / f"v{suffix}.gz")["a"].tobytes() == ROWS[0].tobytes()
