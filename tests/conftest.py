"""What every test shares: a cache of its own, the shared data, no network."""

import importlib.util
import json
import os
import re
import socket
from pathlib import Path

import pytest

if os.environ.get("FOREWORD_TEST_WITHOUT_POSIX") == "1":
    import without_posix

    without_posix.take_away()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish():
        without_posix.give_back()


TORCH = importlib.util.find_spec("torch") is not None
# Without torch, what imports it is left out, and what needs it in passing is skipped: all the rest must pass.
NEEDS_TORCH = re.compile(r"^(from|import) (torch|windows\.reference|windows import reference)\b", re.MULTILINE)
collect_ignore = [
    os.fspath(path)
    for path in Path(__file__).parent.rglob("*.py")
    if (not TORCH and NEEDS_TORCH.search(path.read_text("utf-8")))
    or path.name == "conftest.py"  # several modules of one name, which hold no examples
]


def pytest_collection_modifyitems(items):
    for item in items:
        example = isinstance(item, pytest.DoctestItem) and re.match(r"foreword\.(windows|recipes)", item.name)
        if not TORCH and (example or item.get_closest_marker("torch")):
            item.add_marker(pytest.mark.skip(reason="torch is not installed"))


SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Foreword's cache in a folder of this run, so that no test leans on what an earlier one left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOREWORD_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    """A connection to anything but this machine is an error."""
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test reached for the network: {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


def _shared(name):
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"the shared data is not beside the checkout: {name}")
    return path


@pytest.fixture(scope="session")
def verdict_path():
    """the-verdict.txt, the text that the notebook tokenizes."""
    return _shared("the-verdict.txt")


@pytest.fixture(scope="session")
def verdict(verdict_path):
    return verdict_path.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def notebook():
    """Every output of the notebook, as data."""
    return json.loads(_shared("notebook-outputs.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def far_store(tmp_path_factory):
    """A store of several shards and blocks, for ``far_server``."""
    from tokens import far

    return far.make(tmp_path_factory.mktemp("far") / "store")


@pytest.fixture
def far_server(far_store):
    """A server of ``far_store``, at /store."""
    import faulty_server
    from tokens import far

    with faulty_server.running() as running:
        far.publish(running, far_store)
        yield running
