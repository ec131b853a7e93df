"""Token files of other libraries: Megatron, nanoGPT, llm.c, datatrove, NumPy, OLMo; opened as they are, and written.

    Megatron     X.idx + X.bin    sequences, documents; uint16 or int32
    llm.c        X.bin            1 KiB header; uint16, or uint32 in its Llama-3 variant
    nanoGPT      X.bin            uint16, no header
    datatrove    X.ds + X.ds.index (+ X.ds.metadata)   uint16 or uint32
    NumPy        X.npy            one dimension; read only
    OLMo         X.npy            ids without NumPy's header; read only

The layouts are those of the formats' own readers. A file is mapped, never copied; every count in a header is checked
against the sizes of the files before it is used, so that damage is an error and no read leaves a file.

Not for: checksums (these formats have none). Costs: opening reads headers and boundaries: 8–20 bytes a document.
"""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from foreword._base.files import DAMAGED_ARRAY, atomic_write, explained, output_path
from foreword._base.system import open_without_waiting
from foreword._base.words import counted
from foreword.errors import ArgumentError, MissingFileError, StoreError
from foreword.tokens.store.mapping import map_file

if TYPE_CHECKING:
    from foreword.tokens.store.store import TokenStore

__all__ = ["FORMATS", "ForeignTokens", "export", "open_foreign", "refuse_mixture", "token_files"]

MEGATRON_MAGIC = b"MMIDIDX\x00\x00"
MEGATRON_DTYPES = {1: "<u1", 2: "<i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2"}  # 6 and 7 are floating
LLMC_MAGIC = {20240520: (1, "<u2"), 20240801: (7, "<u4")}
# First bytes of other files that are called .bin.
_OTHERS = {
    b"PK\x03\x04": "a zip archive, as PyTorch writes",
    b"\x93NUMPY": "a NumPy array",
    MEGATRON_MAGIC: "an index of Megatron",
}
LLMC_HEADER = 256
PIECE = 1 << 22  # tokens written at a time
SAMPLES, SAMPLE = 16, 4096  # pieces that are looked at on opening, and ids of each
MOST_UPPER, MOST_IDS = 3, 1 << 24  # no vocabulary is known to come near
FEW = 16  # ids that say nothing of their dtype


@dataclass(frozen=True)
class ForeignTokens:
    """A token file of another library.

    Attributes:
        format: "megatron", "nanogpt", "llm.c", "datatrove", "numpy" or "olmo".
        path: its first file.
        tokens: the ids [n], mapped.
        offsets: where each document starts, and the end, uint64 [documents + 1].
    """

    format: str
    path: Path
    tokens: NDArray[Any]
    offsets: NDArray[np.uint64]

    def sample(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """A quick look at the ids: the first, the last, and some between, each with its place."""
        last = max(0, len(self.tokens) - SAMPLE)
        for start in sorted({round(last * i / (SAMPLES - 1)) // 2 * 2 for i in range(SAMPLES)}):
            yield start, self.tokens[start : start + SAMPLE]

    def refuse_other_dtype(self, *, stated: bool, known: bool) -> None:
        """Refuse a file without a header whose ids look as if they were of another dtype.

        Args:
            stated: whether the caller says the dtype.
            known: whether the tokenizer is known, whose vocabulary then decides.

        Raises:
            StoreError: of a dtype that wasn't stated, every second id is next to 0, as the upper halves of uint32 are;
                or ids, said to be uint32, are beyond any vocabulary, as pairs of uint16 are.
        """
        if self.format not in ("nanogpt", "olmo") or len(self.tokens) < FEW:
            return
        ids = np.concatenate([ids[: len(ids) // 2 * 2] for _, ids in self.sample()])
        other = None
        if self.tokens.dtype == np.uint16 and not stated:
            lower, upper = ids[::2], ids[1::2]
            if not len(self.tokens) % 2 and int(upper.max()) <= MOST_UPPER < int(lower.max()):
                other = "uint32"
        elif self.tokens.dtype == np.uint32 and stated and not known and int(ids.max(initial=0)) >= MOST_IDS:
            other = "uint16"
        if other is not None:
            raise StoreError(
                f"the ids look as if they were {other}",
                got=f"{', '.join(map(str, ids[:6].tolist()))}, …, read as {self.tokens.dtype}",
                where=self.path,
                fix=f'say their dtype: TokenStore.open(path, dtype="{other}") (--dtype {other})'
                + (', or dtype="uint16" if they are' if other == "uint32" else ", or the tokenizer that made them"),
            )

    def fingerprint(self) -> str:
        """A hash of its size, its counts and its first and last ids: these formats have no checksums."""
        size, tokens = self.path.stat().st_size, self.tokens
        counts = f"{self.format} {self.path.name} {size} {len(tokens)} {len(self.offsets)}".encode()
        return hashlib.sha256(counts + bytes(tokens[:4096]) + bytes(tokens[-4096:])).hexdigest()


def token_files(path: Path) -> list[Path] | None:
    """The token files that a pattern matches, by name, or those of a Megatron prefix; None where it is neither.

    Raises:
        MissingFileError: nothing matches.
    """
    prefixed = [path.with_name(path.name + suffix) for suffix in (".idx", ".bin")] if path.name else []
    if prefixed and all(os.path.isfile(file) for file in prefixed):  # noqa: PTH113 - the names may be too long
        return prefixed[1:]
    if path.exists() or not glob.has_magic(os.fspath(path)):
        return None
    found = sorted(map(Path, glob.glob(os.fspath(path))))  # noqa: PTH207 - an absolute pattern, too
    names = set(found)
    companions = {one.with_suffix(".idx") for one in found if one.suffix == ".bin"}
    companions |= {one.with_name(one.name + end) for one in found if one.suffix == ".ds" for end in _BESIDE_DS}
    if not found:
        raise MissingFileError("no file matches the pattern", where=path, fix="name token files, or a store")
    folder = next((one for one in found if one.is_dir()), None)
    if folder is not None:
        raise StoreError("not a token file", got=f"the folder {folder}", expected="files of one format", where=path)
    return sorted(names - companions)


_BESIDE_DS = (".index", ".metadata")


def refuse_mixture(files: Sequence[ForeignTokens]) -> None:
    """Refuse to take files of several formats or dtypes for shards of one store."""
    first = files[0]
    for file in files:
        if (file.format, file.tokens.dtype) != (first.format, first.tokens.dtype):
            raise StoreError(
                "the files are not of one format and dtype",
                got=f"{first.path.name}: {first.format}, {first.tokens.dtype}; "
                f"{file.path.name}: {file.format}, {file.tokens.dtype}",
                where=first.path.parent,
                fix="give a pattern that those of one kind match",
            )


def open_foreign(path: Path, *, dtype: str | None = None) -> ForeignTokens:
    """The token file ``path``; which format it is follows from its name and its first bytes.

    Raises:
        MissingFileError: a file that belongs to it is not there.
        StoreError: its bytes are not what the format promises.
    """
    if dtype not in (None, "uint16", "uint32"):
        raise ArgumentError("no such dtype of token ids", got=repr(dtype), expected="uint16 or uint32")
    if path.suffix == ".idx" or (path.suffix == ".bin" and path.with_suffix(".idx").exists()):
        return _open_megatron(path.with_suffix(".idx"))
    if path.suffix == ".ds":
        return _open_datatrove(path, dtype)
    if (head := _llmc_head(path)) is not None:
        return _open_llmc(path, head)
    if path.suffix == ".bin":
        _refuse_no_ids(path)
        kind = np.dtype("<u4" if dtype == "uint32" else "<u2")
        count = _whole(path, kind)
        return ForeignTokens("nanogpt", path, map_file(path, kind, count), np.array([0, count], "<u8"))
    if path.suffix == ".npy":
        return _open_npy(path, dtype)
    raise StoreError(
        "not a token file",
        got=path.name,
        expected=".idx or .bin (Megatron), .bin (llm.c, nanoGPT), .ds (datatrove), .npy, or a folder that prepare made",
        where=path,
    )


def _open_megatron(index: Path) -> ForeignTokens:
    data = _mapped_bytes(index)

    def wrong(what: str, **facts: object) -> StoreError:
        return StoreError(f"a Megatron index that {what}", where=index, **facts)

    if len(data) < 34 or bytes(data[:9]) != MEGATRON_MAGIC:
        raise wrong("does not begin as one", expected=repr(MEGATRON_MAGIC), got=repr(bytes(data[:9])))
    version, code = int(data[9:17].view("<u8")[0]), int(data[17])
    sequences, marks = (int(n) for n in data[18:34].view("<u8"))
    if version != 1 or code not in MEGATRON_DTYPES:
        raise wrong("is of a kind that holds no token ids", got=f"version {version}, dtype code {code}", expected="1")
    expected = 34 + 12 * sequences + 8 * marks
    if len(data) != expected:
        raise wrong(
            "has the wrong size",
            got=counted(len(data), "byte"),
            expected=f"{expected:,} ({sequences:,} sequences, {marks:,} document marks)",
        )
    kind = np.dtype(MEGATRON_DTYPES[code])
    path = index.with_suffix(".bin")
    tokens = map_file(path, kind, _whole(path, kind))
    lengths = data[34 : 34 + 4 * sequences].view("<i4")
    pointers = data[34 + 4 * sequences : 34 + 12 * sequences].view("<i8")
    documents = data[34 + 12 * sequences :].view("<i8")
    stops = np.cumsum(lengths, dtype=np.int64)
    starts = stops - lengths
    if (lengths < 0).any() or (sequences and int(stops[-1]) != len(tokens)):
        raise wrong("has lengths that do not add up to its tokens", expected=f"{len(tokens):,}, as {path.name} holds")
    if not np.array_equal(pointers, starts * kind.itemsize):
        raise wrong("has sequences that do not follow each other in their file")
    if marks and (documents[0] != 0 or documents[-1] != sequences or (documents[1:] < documents[:-1]).any()):
        raise wrong("has document marks out of order", expected=f"0 … {sequences:,}")
    ends = np.concatenate([starts, [len(tokens)]]).astype("<u8")
    # Without marks, or with one only, a sequence is a document.
    return ForeignTokens("megatron", path, tokens, ends[documents] if marks > 1 else ends)


def _open_llmc(path: Path, head: bytes) -> ForeignTokens:
    header = np.frombuffer(head, "<i4")
    if int(header[0]) not in LLMC_MAGIC:
        raise StoreError("an llm.c file that is big-endian", expected="little-endian, as llm.c reads it", where=path)
    version, kind = LLMC_MAGIC[int(header[0])]
    count, size = int(header[2]), path.stat().st_size
    expected = len(head) + count * np.dtype(kind).itemsize
    if header[1] != version or count < 0 or size != expected:
        raise StoreError(
            "an llm.c file whose header does not fit it",
            got=f"version {header[1]}, {counted(count, 'token')}, {counted(size, 'byte')}",
            expected=f"version {version}, and {counted(expected, 'byte')} for so many tokens",
            where=path,
        )
    tokens = _mapped_bytes(path)[len(head) :].view(kind)
    return ForeignTokens("llm.c", path, tokens, np.array([0, count], "<u8"))


def _open_npy(path: Path, dtype: str | None) -> ForeignTokens:
    """NumPy's own format, or OLMo's files of that suffix, which are ids alone."""
    with explained("read the tokens", path), open(path, "rb", opener=open_without_waiting) as file:
        try:
            version = np.lib.format.read_magic(file)
        except ValueError:
            version = None
        reads = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        try:
            shape, _, kind = reads[version](file) if version is not None else ((), False, np.dtype("u1"))
        except (KeyError, *DAMAGED_ARRAY) as cause:
            raise StoreError("a NumPy file whose header can't be read", got=str(cause)[:200], where=path) from None
        start = file.tell()
    if version is None:
        if dtype is None:
            raise StoreError(
                "a .npy file without NumPy's header: ids alone, as OLMo has them, or no token file",
                where=path,
                fix='say the dtype of its ids: TokenStore.open(path, dtype="uint16") (--dtype uint16)',
            )
        kind = np.dtype("<u4" if dtype == "uint32" else "<u2")
        count = _whole(path, kind)
        return ForeignTokens("olmo", path, map_file(path, kind, count), np.array([0, count], "<u8"))
    if len(shape) != 1 or kind.kind not in "ui" or kind != kind.newbyteorder("<"):
        raise StoreError(
            "a NumPy file that holds no token ids",
            got=f"shape {shape}, dtype {kind}",
            expected="integers in one dimension, little-endian",
            where=path,
        )
    if dtype not in (None, kind.name):
        raise ArgumentError("the file has another dtype", got=repr(dtype), expected=kind.name, fix="leave it out")
    data = _mapped_bytes(path)
    if len(data) != start + shape[0] * kind.itemsize:
        raise StoreError(
            "a NumPy file whose header does not fit it",
            got=counted(len(data), "byte"),
            expected=f"{start + shape[0] * kind.itemsize:,}, for {counted(shape[0], 'id')}",
            where=path,
        )
    return ForeignTokens("numpy", path, data[start:].view(kind), np.array([0, shape[0]], "<u8"))


def _open_datatrove(path: Path, dtype: str | None) -> ForeignTokens:
    kind = np.dtype("<u4" if dtype == "uint32" else "<u2")
    metadata = path.with_name(path.name + ".metadata")
    if dtype is None and metadata.exists():
        with explained("read the tokens", metadata), open(metadata, "rb", opener=open_without_waiting) as file:
            first = file.read(4096).split(b"\n")[0]
        size = first.rpartition(b"|")[2]
        if size not in (b"2", b"4"):
            raise StoreError(
                "a datatrove file of an unknown token size", got=repr(first), expected="…|2 or …|4", where=metadata
            )
        kind = np.dtype("<u2" if size == b"2" else "<u4")
    count = _whole(path, kind)
    tokens = map_file(path, kind, count)
    index = path.with_name(path.name + ".index")
    ends = map_file(index, np.dtype("<u8"), _whole(index, np.dtype("<u8")))
    if (ends[1:] < ends[:-1]).any() or (len(ends) and int(ends[-1]) != count) or (count and not len(ends)):
        raise StoreError(
            "a datatrove index that does not fit its tokens",
            got=f"the last document ends at {int(ends[-1]) if len(ends) else 0:,}",
            expected=f"ends in order, the last {count:,}, the tokens of {kind}",
            where=index,
            fix='if the ids are uint32, say so: TokenStore.open(path, dtype="uint32")' if dtype is None else None,
        )
    return ForeignTokens("datatrove", path, tokens, np.concatenate([[0], ends]).astype("<u8"))


def export(store: TokenStore, out: str | os.PathLike[str], *, format: str) -> list[Path]:  # noqa: A002
    """Write ``store`` in another library's format; gives the files written.

    Args:
        store: what to write.
        out: the file, without its suffix.
        format: a key of ``FORMATS``: "megatron", "nanogpt", "llmc" or "datatrove".

    Raises:
        ArgumentError: no such format, or one that can't hold the ids of the vocabulary, or which of them are trained
            on; files of another format are there by that name; ``out`` is a URL.
        FileError: a file can't be written; none that is incomplete is left.
    """
    if format not in FORMATS:
        raise ArgumentError("no such format of token files", got=repr(format), expected=", ".join(FORMATS))
    if store.supervised:
        raise ArgumentError(
            f"files of {format} can't say which tokens are trained on, as the store does",
            where=store.path,
            fix="train from the store itself; for the ids alone, prepare the texts without supervision",
        )
    stem = output_path(out)
    if not stem.name:
        raise ArgumentError("the files need a name", got=os.fspath(out), fix="name the file, without its suffix")
    with explained("write the tokens", stem):
        stem.parent.mkdir(parents=True, exist_ok=True)
        _refuse_other_format(stem, format)
    return FORMATS[format](store, stem)


def _refuse_other_format(stem: Path, format: str) -> None:  # noqa: A002
    """Refuse to write over, or beside, files of another format that go by the same name.

    They would be lost, or be taken for a part of what is written: a .bin beside an .idx is Megatron's.
    """
    there = {suffix: _with(stem, suffix) for suffix in (".bin", ".idx", ".ds", ".ds.index", ".ds.metadata")}
    there = {suffix: path for suffix, path in there.items() if path.exists()}
    kinds = {suffix: "datatrove" for suffix in there if suffix.startswith(".ds")}
    if ".idx" in there:
        kinds |= {suffix: "megatron" for suffix in there if suffix in (".idx", ".bin")}
    elif ".bin" in there:
        kinds[".bin"] = "nanogpt" if _llmc_head(there[".bin"]) is None else "llmc"
    # Names of datatrove's and of the others can't be taken for each other.
    others = [s for s, kind in kinds.items() if kind != format and (kind == "datatrove") == (format == "datatrove")]
    if others:
        raise ArgumentError(
            "there is a token file of another format by that name",
            got=", ".join(f"{there[suffix].name} ({kinds[suffix]})" for suffix in others),
            where=stem.parent,
            fix="name another file, or remove them first",
        )


def _llmc_head(path: Path) -> bytes | None:
    """The header of an llm.c file; None of another."""
    with explained("read the tokens", path), open(path, "rb") as file:
        head = file.read(4 * LLMC_HEADER)
    magics = {int.from_bytes(head[:4], order) for order in ("little", "big")}
    return head if len(head) == 4 * LLMC_HEADER and not magics.isdisjoint(LLMC_MAGIC) else None


def _refuse_no_ids(path: Path) -> None:
    """Refuse a file without a header of its own whose first bytes are another's; as ids those are rare."""
    with explained("read the tokens", path), open(path, "rb") as file:
        head = file.read(max(map(len, _OTHERS)))
    for magic, what in _OTHERS.items():
        if head.startswith(magic):
            raise StoreError("not a token file", got=what, expected="ids alone, as nanoGPT writes them", where=path)


def _export_megatron(store: TokenStore, stem: Path) -> list[Path]:
    """Its own writer takes uint16 below 65,500 ids; a document is one sequence."""
    kind = np.dtype("<u2" if store.vocab_size < 65500 else "<i4")
    code = {dtype: code for code, dtype in MEGATRON_DTYPES.items()}[kind.str]
    offsets = store.offsets.astype(np.int64)
    lengths = np.diff(offsets)
    if len(lengths) and int(lengths.max()) >= 1 << 31:
        raise ArgumentError("a document is too long for Megatron", got=f"{int(lengths.max()):,}", expected="below 2^31")
    with atomic_write(_with(stem, ".bin")) as file:
        _copy(store, file.write, kind)
    with atomic_write(_with(stem, ".idx")) as file:
        file.write(MEGATRON_MAGIC + np.array([1], "<u8").tobytes() + bytes([code]))
        file.write(np.array([len(lengths), len(lengths) + 1], "<u8").tobytes())
        file.write(lengths.astype("<i4").tobytes())
        file.write((offsets[:-1] * kind.itemsize).astype("<i8").tobytes())
        file.write(np.arange(len(lengths) + 1, dtype="<i8").tobytes())
    return [_with(stem, ".bin"), _with(stem, ".idx")]


def _export_nanogpt(store: TokenStore, stem: Path) -> list[Path]:
    _need_uint16(store, "nanoGPT")
    with atomic_write(_with(stem, ".bin")) as file:
        _copy(store, file.write, np.dtype("<u2"))
    return [_with(stem, ".bin")]


def _export_llmc(store: TokenStore, stem: Path) -> list[Path]:
    magic, (version, kind) = list(LLMC_MAGIC.items())[store.vocab_size > 1 << 16]
    if len(store) >= 1 << 31:
        raise ArgumentError("too many tokens for one llm.c file", got=f"{len(store):,}", expected="below 2^31")
    header = np.zeros(LLMC_HEADER, "<i4")
    header[:3] = magic, version, len(store)
    with atomic_write(_with(stem, ".bin")) as file:
        file.write(header.tobytes())
        _copy(store, file.write, np.dtype(kind))
    return [_with(stem, ".bin")]


def _export_datatrove(store: TokenStore, stem: Path) -> list[Path]:
    kind = np.dtype("<u2" if store.vocab_size <= 1 << 16 else "<u4")
    name = (store.manifest["tokenizer"]["name"] or "unknown").replace("|", "_").replace("\n", " ")
    with atomic_write(_with(stem, ".ds")) as file:
        _copy(store, file.write, kind)
    with atomic_write(_with(stem, ".ds.index")) as file:
        file.write(store.offsets[1:].astype("<u8").tobytes())
    with atomic_write(_with(stem, ".ds.metadata")) as file:
        file.write(f"{name}|{kind.itemsize}\n{len(store)}\n".encode())
    return [_with(stem, suffix) for suffix in (".ds", ".ds.index", ".ds.metadata")]


FORMATS: dict[str, Callable[[TokenStore, Path], list[Path]]] = {
    "megatron": _export_megatron,
    "nanogpt": _export_nanogpt,
    "llmc": _export_llmc,
    "datatrove": _export_datatrove,
}


def _with(stem: Path, suffix: str) -> Path:
    return stem.with_name(stem.name + suffix)


def _need_uint16(store: TokenStore, name: str) -> None:
    if store.vocab_size > 1 << 16:
        raise ArgumentError(
            f"{name} holds uint16 ids only",
            got=f"vocab_size {store.vocab_size:,}",
            expected="at most 65,536",
            fix="export to megatron, llmc or datatrove",
        )


def _copy(store: TokenStore, write: Callable[[bytes], object], kind: np.dtype[Any]) -> None:
    for shard, place in zip(store.shards, store.shard_starts.tolist(), strict=False):
        for start in range(0, len(shard), PIECE):
            ids = shard[start : start + PIECE]
            store.check_ids(ids, place + start)
            write(ids.astype(kind, copy=False).tobytes())


def _whole(path: Path, kind: np.dtype[Any]) -> int:
    """How many items of ``kind`` the file holds.

    Raises:
        MissingFileError: it is not there; StoreError: the last one is cut.
    """
    if not path.exists():
        raise MissingFileError("a file that belongs to the tokens is not there", where=path)
    size = path.stat().st_size
    if size % kind.itemsize:
        raise StoreError(
            "a file of the tokens is cut short",
            got=counted(size, "byte"),
            expected=f"a multiple of {kind.itemsize}",
            where=path,
        )
    return size // kind.itemsize


def _mapped_bytes(path: Path) -> NDArray[np.uint8]:
    kind = np.dtype("u1")
    return map_file(path, kind, _whole(path, kind))
