"""Text files: the compiled parser against the one in Python, and both against float."""

import gzip
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from foreword.errors import FormatError, TextDecodeError
from foreword.vectors.formats import text as module
from foreword.vectors.formats.text import guess_dim, parse_line
from vectors.formats import read, text

WORDS = [b"the", "naïve".encode(), b". . .", b"2010", b"a\xc2\xa0b"]
ROWS = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)


def both(data, dim):
    """A block parsed by each parser."""
    ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == 10)
    plain = module._parse(data, ends, dim, "file", 1)
    compiled = module._compiled_parse()
    assert compiled is not module._parse
    return plain, compiled(data, ends, dim, "file", 1)


DIGITS = st.text("0123456789", max_size=25)
NUMBER = (
    st.builds(
        lambda sign, whole, point, fraction, power: f"{sign}{whole or '0'}{point}{fraction if point else ''}{power}",
        st.sampled_from(["", "-", "+"]),
        DIGITS,
        st.sampled_from(["", "."]),
        DIGITS,
        st.one_of(
            st.just(""),
            st.builds("{}{}{}".format, st.sampled_from("eE"), st.sampled_from(["", "+", "-"]), st.integers(0, 70)),
        ),
    )
    | st.builds(repr, st.floats(width=32, allow_nan=False, allow_infinity=False))
    | st.builds(repr, st.floats(allow_nan=False, allow_infinity=False))
)


@settings(max_examples=400, deadline=None)
@given(st.lists(NUMBER, min_size=1, max_size=6))
@example(
    ["1.00000005960464477539062500", "1.0000000596046448", "1.17549435e-38", "1e-46", "7e-46", "3.4028235677973366e38"]
)
@example(["16777217", "16777219.0", "9007199254740993", "0." + "0" * 30 + "1", "-0", "1e5"])
@example(["18446744073709551615", "18446744073709551616", "99999999999999999999"])
def test_a_number_is_what_float_makes_of_it(numbers):
    with np.errstate(over="ignore"):
        wanted = np.array([float(n) for n in numbers]).astype(np.float32)
        for words, rows in both(f"word {' '.join(numbers)}\n".encode(), len(numbers)):
            assert words == [b"word"]
            assert np.float32(rows).tobytes() == wanted.tobytes()


@settings(deadline=None)
@given(st.lists(st.text("ab .-1e\t\r\x0b+_", max_size=12), min_size=1, max_size=4), st.integers(1, 3))
def test_both_parsers_agree_on_any_line(lines, dim):
    data = "".join(f"{line}\n" for line in lines).encode()
    ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == 10)
    results = []
    for parse in (module._parse, module._compiled_parse()):
        try:
            words, rows = parse(data, ends, dim, "file", 1)
        except FormatError as refused:
            results.append(str(refused))
        else:
            results.append((words, np.float32(rows).tobytes()))
    assert results[0] == results[1]


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize(("blank", "end"), [(b" ", b"\n"), (b"\t", b"\r\n"), (b" ", b" \n")])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_files_are_read_in_every_variant(tmp_path, header, blank, end, pack):
    file = tmp_path / "v.txt"
    data = text(WORDS, ROWS, header=header, blank=blank, end=end)
    file.write_bytes(pack(data.replace(b"5 4" + end, b"5 4\n") if header else data))
    keys, rows = read(file)
    assert keys == WORDS
    assert rows.tobytes() == ROWS.tobytes()


def test_large_files_go_through_the_kernel_in_blocks(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(3000, 7)).astype(np.float32)
    words = [b"w%d" % i if i % 5 else b"two words %d" % i for i in range(3000)]
    file = tmp_path / "v.txt"
    file.write_bytes(text(words, rows))
    plain = read(file)
    monkeypatch.setattr(module, "_COMPILED", 0)
    monkeypatch.setattr(module, "BLOCK_BYTES", 1000)
    keys, got = read(file)
    assert keys == plain[0] == words
    assert got.tobytes() == plain[1].tobytes() == rows.tobytes()


def test_without_numba_python_reads_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_COMPILED", 0)
    monkeypatch.setitem(__import__("sys").modules, "foreword.vectors.formats.text_kernel", None)
    assert module._compiled_parse() is module._parse


@pytest.mark.parametrize("limit", [1, 3, 5, 9])
@pytest.mark.parametrize("header", [True, False])
def test_a_limit_reads_that_many(tmp_path, monkeypatch, limit, header):
    monkeypatch.setattr(module, "BLOCK_BYTES", 60)
    file = tmp_path / "v.txt"
    file.write_bytes(text(WORDS, ROWS, header=header))
    assert read(file, limit=limit)[0] == WORDS[:limit]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"3 2\na 1 2\nb 1 2\n", "got:      2 words"),
        (b"2 2\na 1 2\nb 1 2\nc 1 2\n", "line 4"),
        (b"2 2\na 1 2\nb 1\n", "line 3"),
        (b"2 2\na 1 2\nb 1 x\n", "b'x' is not a number"),
        (b"2 2\na 1 2\n\nb 1 2\n", "line 3"),
        (b"a 1 2\nb 1_0 2\n", "line 2"),
        (b"2 2\na 1 2\n1 2\n", "2 fields"),
        (b"1000000000000 300\na 1 2\n", "1,000,000,000,000 words"),
        (b"5 99999999\na 1 2\n", "dimension makes no sense"),
        (b"5 0\na 1 2\n", "dimension makes no sense"),
        (b"just some words\nand no numbers\n", "not a file of vectors"),
        (b"\n\n\n", "not a file of vectors"),
        (b"", "is empty"),
    ],
)
def test_what_is_no_file_of_vectors_is_refused_with_its_line(tmp_path, data, problem):
    file = tmp_path / "v.txt"
    file.write_bytes(data)
    with pytest.raises(FormatError) as refused:
        read(file)
    assert problem in str(refused.value)
    assert str(file) in str(refused.value)


def test_a_line_without_an_end_takes_no_memory(tmp_path):
    file = tmp_path / "v.gz"
    file.write_bytes(gzip.compress(b"a 1 2\n" + b"7" * (30 << 20)))
    with pytest.raises(FormatError, match="line is too long"):
        read(file)


def test_words_are_decoded_as_asked(tmp_path):
    file = tmp_path / "v.txt"
    file.write_bytes(text(["Köln".encode("latin1"), b"ok"], ROWS[:2]))
    with pytest.raises(TextDecodeError, match="line 2"):
        read(file)
    assert read(file, encoding="latin1")[0] == ["Köln".encode(), b"ok"]
    assert read(file, unicode_errors="ignore")[0] == [b"Kln", b"ok"]
    assert read(file, unicode_errors="surrogateescape")[0] == [b"K\xed\xb3\xb6ln", b"ok"]


def test_words_are_not_joined_into_valid_text(tmp_path):
    file = tmp_path / "v.txt"
    file.write_bytes(text([b"a\xc3", b"\xa9b"], ROWS[:2]))
    with pytest.raises(TextDecodeError, match="line 2"):
        read(file)


def test_parse_line_and_guess_dim():
    assert parse_line(b" 0.5 1", 2) == (b"", [0.5, 1.0])
    assert guess_dim([b"2010 0.1 0.2"]) == 2
    assert guess_dim([b"a b c"]) == 0
    assert guess_dim([]) == 0


def test_compiling_loads_no_other_packages_extensions_of_numba():
    code = """
        from importlib import metadata
        real, asked = metadata.entry_points, []
        metadata.entry_points = lambda **named: asked.append(1) or real(**named)
        from foreword.vectors.formats.text_kernel import parse_lines
        ours = len(asked)
        import numba
        numba.njit("int64(int64)")(lambda x: x)
        print(ours, len(asked) > 0)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "True"]
