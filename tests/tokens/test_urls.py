"""URLs as people write them, and options of their file systems: each works, or is one error that says what is wrong."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import fsspec
import pytest

import foreword as fw
from foreword._base import remote
from foreword.errors import ArgumentError, ArgumentTypeError, ForewordError, MissingFileError

TEXTS = ["Every effort", "moves you"]
SECRET = "wJalrXUtnFEMI"


@pytest.mark.parametrize(
    "url",
    ["s3://", "s3:///x", "S3:///", "gs://", "az:///a/b", "file://", "memory://", "memory:///", "https:///x", "hf://"],
)
def test_urls_of_no_place(url: str, tmp_path: Path) -> None:
    if not url.startswith("http"):
        with pytest.raises(ArgumentError, match=r"names no place(.|\n)*FOLDER"):
            fw.prepare(TEXTS, url, tokenizer="bytes")
    with pytest.raises(ArgumentError, match="names no place"):
        fw.TokenStore.open(url)
    with pytest.raises((ArgumentError, MissingFileError), match=r"names no place|no such corpus"):
        fw.prepare(url, tmp_path / "store", tokenizer="bytes")


@pytest.mark.parametrize("protocol", ["file", "FILE", "memory", "Memory"])
def test_urls_that_need_no_network(protocol: str, tmp_path: Path) -> None:
    place, lower = (f"{name}://{tmp_path.as_posix()}" for name in (protocol, protocol.lower()))
    expected = fw.prepare(TEXTS, tmp_path / "near", tokenizer="bytes")
    store = fw.prepare(TEXTS, f"{place}/made/far", tokenizer="bytes")
    assert store[:].tolist() == expected[:].tolist() == fw.TokenStore.open(f"{place}/made/far")[:].tolist()
    assert fw.prepare(TEXTS, f"{lower}/made/far", tokenizer="bytes").fingerprint == store.fingerprint
    with fsspec.open(f"{lower}/a.txt", "w") as file:
        file.write("".join(TEXTS))
    corpus = fw.prepare(f"{place}/a.txt", tmp_path / "of a corpus", tokenizer="bytes")
    assert len(corpus) == sum(map(len, TEXTS)) + 1


WRONG = {
    "a typing error": ({"kye": SECRET}, "no such storage option: 'kye'(.|\n)*is 'key' meant"),
    "another library's": ({"key": "AKID", "aws_secret_access_key": SECRET}, "no such storage option: 'aws_secret_acc"),
    "a number for a key": ({"key": 7, "secret": SECRET}, "can't use the storage_options(.|\n)*types of"),
    "a list for a mapping": ({"client_kwargs": [SECRET]}, "can't use the storage_options"),
    "an unknown name within": (
        {"client_kwargs": {"endpoint": SECRET}},
        "can't use the storage_options(.|\n)*'endpoint'",
    ),
    "a list": ([("key", SECRET)], "storage_options are a mapping"),
    "a text": (SECRET, "storage_options are a mapping"),
    "numbers for names": ({7: SECRET}, "storage_options are a mapping"),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("use", ["prepare", "open"])
def test_wrong_storage_options(what: str, use: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("retried"))
    options: Any = WRONG[what][0]
    if isinstance(options, dict) and "client_kwargs" not in options and 7 not in options:
        options = {**options, "endpoint_url": "http://127.0.0.1:9"}
    with pytest.raises(ArgumentError, match=WRONG[what][1]) as refused:
        if use == "open":
            fw.TokenStore.open("s3://bucket/store", storage_options=options)
        else:
            fw.prepare(TEXTS, "s3://bucket/store", tokenizer="bytes", storage_options=options)
    assert SECRET not in str(refused.value)
    assert isinstance(refused.value, ArgumentTypeError) == ("mapping" in WRONG[what][1])


@pytest.mark.parametrize("url", ["memory://x/y", "file:///nothing/here", "hf://owner/repo/x"])
def test_unknown_options_of_other_protocols(url: str) -> None:
    if url.startswith("hf"):
        pytest.importorskip("huggingface_hub")
    with pytest.raises(ForewordError, match="no such storage option: 'tokne'"):
        fw.TokenStore.open(url, storage_options={"tokne": SECRET})


def test_without_options_they_are_not_to_blame(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that loses a connection may stumble over its own state: that is tried again."""
    monkeypatch.setattr(remote, "PAUSE", 0.0)
    tries: list[str] = []

    def request(_: Any, path: str) -> int:
        tries.append(path)
        if len(tries) < 3:
            raise AttributeError("'NoneType' object has no attribute 'write'")
        return len(tries)

    assert remote.RemoteFolder("memory://a-place")._patiently("read", "x", request) == 3
