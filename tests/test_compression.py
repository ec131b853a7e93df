"""Compression: every kind is packed and unpacked, and damage never passes for the end."""

import bz2
import gzip
import io
import lzma
import random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword._base import compression
from foreword._base.files import read_bytes, read_text
from foreword.errors import FormatError

PACK = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstandard": lambda data: pa.compress(data, codec="zstd", asbytes=True),
}
DATA = random.Random(0).randbytes(100_000) + bytes(200_000)


def unpacked(data, kind, size=-1):
    stream = compression.unpack(io.BytesIO(data), kind, "file")
    if size < 0:
        return stream.read()
    return b"".join(iter(lambda: stream.read(size), b""))


@pytest.mark.parametrize("kind", PACK)
def test_what_was_packed_is_unpacked(kind):
    assert compression.by_content(PACK[kind](DATA)) == kind
    assert unpacked(PACK[kind](DATA), kind) == DATA
    assert unpacked(PACK[kind](DATA), kind, 777) == DATA
    assert unpacked(PACK[kind](b""), kind) == b""
    file = io.BytesIO()
    with compression.packing(file, kind) as stream:
        for i in range(0, len(DATA), 9999):
            stream.write(DATA[i : i + 9999])
    assert unpacked(file.getvalue(), kind) == DATA


@pytest.mark.parametrize("kind", PACK)
def test_the_same_is_packed_the_same(kind, monkeypatch):
    packed = []
    for now in (1.0, 2e9):
        monkeypatch.setattr("time.time", lambda now=now: now)
        file = io.BytesIO()
        with compression.packing(file, kind) as stream:
            stream.write(DATA)
        packed.append(file.getvalue())
    assert packed[0] == packed[1]


@pytest.mark.parametrize("kind", PACK)
def test_streams_one_after_another(kind):
    parts = [DATA[:1000], b"", DATA[1000:50_000], DATA[50_000:]]
    whole = b"".join(map(PACK[kind], parts))
    assert unpacked(whole, kind) == DATA
    if kind == "xz":
        assert unpacked(bytes(4).join(map(PACK[kind], parts)) + bytes(8), kind) == DATA


@pytest.mark.parametrize("kind", PACK)
def test_damage_is_never_the_end(kind):
    one, two = PACK[kind](DATA[:3000]), PACK[kind](DATA[3000:6000])
    for wrong in (one[:-1], one[: len(one) // 2], one + two[:-3], one + b"more", one + b"\1" + two[1:], one + two[:5]):
        with pytest.raises(FormatError, match=f"{kind} file is damaged"):
            unpacked(wrong, kind)
    if kind == "zstandard":  # Arrow writes no checksums
        return
    flipped = bytearray(one)
    flipped[len(one) // 2] ^= 0x55
    with pytest.raises(FormatError):
        unpacked(bytes(flipped), kind)


@pytest.mark.parametrize("kind", ["bzip2", "xz"])
def test_a_file_of_no_bytes_is_no_packed_file(kind):
    with pytest.raises(FormatError):
        unpacked(b"", kind)


@settings(deadline=None)
@given(st.binary(max_size=20) | st.text(max_size=20).map(str.encode))
def test_text_is_not_taken_for_packed(data):
    if compression.by_content(data):
        assert data.startswith((b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"))


@pytest.mark.parametrize("kind", PACK)
def test_whole_files(tmp_path, kind):
    (tmp_path / "words").write_bytes(PACK[kind](b"\xef\xbb\xbfto be\r\n"))
    assert read_bytes(tmp_path / "words", "read") == b"\xef\xbb\xbfto be\r\n"
    assert read_text(tmp_path / "words") == "to be\r\n"
    (tmp_path / "words").write_bytes(PACK[kind](b"to be or not to be" * 9)[:-4])
    with pytest.raises(FormatError, match="cut short"):
        read_text(tmp_path / "words")
