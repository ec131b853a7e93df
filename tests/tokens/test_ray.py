"""The Ray engine: a real cluster on this machine, the same bytes."""

from __future__ import annotations

import subprocess
import sys
import types
from concurrent.futures import Future
from pathlib import Path

import pytest

from foreword.errors import ArgumentError, FileError, MissingPackageError
from foreword.tokens import prepare
from foreword.tokens.preparing import blocks, ray_engine

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


class _FakeRay(types.ModuleType):
    """As much of Ray as is used: of its actors, ``cpus`` run, and one more each time that is looked."""

    def __init__(self, cpus: int) -> None:
        super().__init__("ray")
        self.cpus, self.looks, self.actors, self.used = cpus, 0, [], set()

    def is_initialized(self) -> bool:
        return True

    def remote(self, **_):
        ray = self

        class Method:
            def __init__(self, actor, call) -> None:
                self.actor, self.call = actor, call

            def remote(self, *arguments):
                ray.used.add(self.actor.number)
                return Reference(self.actor, lambda: self.call(*arguments))

        class Reference:
            def __init__(self, actor, work) -> None:
                self.actor, self.work = actor, work

            def future(self):
                assert self.actor.number < ray.cpus, "this would wait for ever"
                done = Future()
                done.set_result(self.work())
                return done

        class Actor:
            def __init__(self, kind, task) -> None:
                self.number, self.real = len(ray.actors), kind(task)
                ray.actors.append(self)

            @property
            def ready(self):
                return types.SimpleNamespace(remote=lambda: Reference(self, self.real.ready))

            @property
            def encode(self):
                return Method(self, self.real.encode)

        return lambda kind: types.SimpleNamespace(remote=lambda task: Actor(kind, task))

    def wait(self, references, *, num_returns, timeout):
        self.looks += 1
        ready = [one for one in references if one.actor.number < self.cpus][:num_returns]
        return ready, [one for one in references if one not in ready]

    def cluster_resources(self):
        return {"CPU": float(self.cpus)}

    available_resources = cluster_resources

    def kill(self, actor) -> None:
        self.actors.remove(actor)


def test_fewer_processors_than_workers(tmp_path: Path, monkeypatch) -> None:
    """What can run runs, what is waited for is said; before, a block sent to a worker without one never came back."""
    ray = _FakeRay(2)
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(ray_engine, "PATIENCE", -1.0)
    monkeypatch.setattr(ray_engine, "LOOK", -1.0)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 100)
    texts = ["seventeen bottles of beer on the wall"] * 50
    with pytest.warns(UserWarning, match=r"1 of 5 workers run on the Ray cluster.* has 2, of which 2 are free"):
        prepare(texts, tmp_path / "ray", engine="ray", workers=5)
    assert ray.used == {0, 1}
    assert not ray.actors, "all are ended"
    prepare(texts, tmp_path / "local")
    assert content(tmp_path / "ray") == content(tmp_path / "local")


def test_a_cluster_without_a_free_processor_says_so(tmp_path: Path, monkeypatch) -> None:
    ray = _FakeRay(0)
    wait = ray.wait

    def patient(*arguments, **options):
        ray.cpus = int(ray.looks == 3)
        return wait(*arguments, **options)

    monkeypatch.setattr(ray, "wait", patient)
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(ray_engine, "PATIENCE", -1.0)
    with pytest.warns(UserWarning, match="0 of 3 workers run"):
        prepare(["text"], tmp_path / "ray", engine="ray", workers=3)


def test_engines_that_are_not_there(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(ArgumentError, match="no such engine"):
        prepare(["x"], tmp_path / "s", engine="spark")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingPackageError, match="pip install ray"):
        prepare(["x"], tmp_path / "s", engine="ray")
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("started", [True, False])
def test_a_ray_that_was_started_here_ends_with_a_start_that_fails(monkeypatch, started) -> None:
    ray, done = _FakeRay(2), []

    def fails(**_):
        raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(ray, "is_initialized", lambda: not started)
    monkeypatch.setattr(ray, "init", lambda **_: done.append("init"), raising=False)
    monkeypatch.setattr(ray, "shutdown", lambda: done.append("shutdown"), raising=False)
    monkeypatch.setattr(ray, "remote", fails)
    with pytest.raises(KeyboardInterrupt):
        ray_engine.RayWorkers(None, 2, None)
    assert done == ["init", "shutdown"] * started


def test_a_cluster_that_fails_without_a_word(monkeypatch) -> None:
    ray = _FakeRay(2)

    def fails(**_):
        raise ConnectionError

    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", fails, raising=False)
    with pytest.raises(FileError, match=r"(?s)can't reach the Ray cluster.*ConnectionError"):
        ray_engine.RayWorkers(None, 2, "far")
