"""The Ray engine: a real cluster on this machine, the same bytes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from foreword.errors import ArgumentError, MissingPackageError
from foreword.tokens import prepare

from .test_prepare import content, write_corpus

# In a process of its own: Ray changes signal handlers, and warns of what it leaves open.
CODE = """
import sys
from foreword.tokens import prepare
prepare(sys.argv[1], sys.argv[2], engine="ray", workers=2, shard_tokens=50_000, split={"val": 0.3})
"""


@pytest.mark.slow
def test_the_same_bytes_on_a_cluster(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    write_corpus(tmp_path / "corpus", 30)
    subprocess.run([sys.executable, "-c", CODE, tmp_path / "corpus", tmp_path / "ray"], check=True, timeout=300)
    prepare(tmp_path / "corpus", tmp_path / "local", shard_tokens=50_000, split={"val": 0.3})
    assert content(tmp_path / "ray") == content(tmp_path / "local")


def test_engines_that_are_not_there(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(ArgumentError, match="no such engine"):
        prepare(["x"], tmp_path / "s", engine="spark")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingPackageError, match=r"foreword\[ray\]"):
        prepare(["x"], tmp_path / "s", engine="ray")
    assert not (tmp_path / "s").exists()
