"""Ranges of bytes received straight into memory: what fsspec would give, whatever the server does."""

from __future__ import annotations

import collections
import os
import random
import threading

import pytest

import faulty_server
from foreword._base import plain_http, remote
from foreword._base.remote import RemoteFolder
from foreword.errors import DownloadError, MissingFileError

pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")

NAME = "/folder/an object, ü.bin"
DATA = random.Random(0).randbytes(300_000)


@pytest.fixture
def server():
    with faulty_server.running() as running:
        running.files["/folder/an%20object,%20%C3%BC.bin"] = DATA
        yield running


@pytest.fixture(autouse=True)
def _hasty(monkeypatch) -> None:
    monkeypatch.setattr(remote, "PAUSE", 0.001)


def part(folder: RemoteFolder, start: int, room: int) -> bytes:
    memory = bytearray(room)
    return bytes(memory[: folder.read_into(NAME.rpartition("/")[2], start, memoryview(memory))])


def test_it_is_what_fsspec_gives(server) -> None:
    folder = RemoteFolder(server.url + "/folder")
    with_options = RemoteFolder(server.url + "/folder", {"headers": {"X-Of": "ours"}})
    rng = random.Random(1)
    for _ in range(50):
        start, room = rng.randrange(len(DATA) + 10), rng.randrange(1, 100_000)
        assert part(folder, start, room) == part(with_options, start, room) == DATA[start : start + room]


def test_a_connection_is_kept_and_one_that_the_server_closed_is_made_anew(server, monkeypatch) -> None:
    monkeypatch.setattr(remote, "TRIES", 1)
    folder = RemoteFolder(server.url + "/folder")
    connections: list[tuple[str, int]] = []

    def note(handler, data):
        connections.append(handler.client_address)

    def note_and_leave(handler, data):
        note(handler, data)
        handler.close_connection = True  # without a word

    server.faults[next(iter(server.files))] = [note, note, note_and_leave, note]
    for i in range(4):
        assert part(folder, i, 1000) == DATA[i : i + 1000]
    assert connections[0] == connections[1] == connections[2] != connections[3]
    assert len(server.asked) == 4


def test_threads_share_them_and_a_forked_child_has_its_own(server) -> None:
    folder = RemoteFolder(server.url + "/folder")
    right: list[bool] = []

    def ask() -> None:
        right.extend(part(folder, i, 20_000) == DATA[i : i + 20_000] for i in range(20))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 160
    mine = [connection for idle in plain_http._kept.values() for connection in idle]
    if hasattr(os, "fork"):
        child = os.fork()
        if not child:
            right = part(folder, 5, 10) == DATA[5:15]
            idle = [
                connection for key, kept in plain_http._kept.items() if key[0] == os.getpid() for connection in kept
            ]
            os._exit(0 if right and len(idle) == 1 and idle[0] not in mine else 1)
        assert os.waitpid(child, 0)[1] == 0
    assert part(folder, 7, 10) == DATA[7:17]
    assert [connection for idle in plain_http._kept.values() for connection in idle] == mine


def test_no_more_than_a_few_are_kept(monkeypatch) -> None:
    monkeypatch.setattr(plain_http, "_SERVERS", 2)
    monkeypatch.setattr(plain_http, "_IDLE", 1)
    with faulty_server.running() as first:
        first.files["/folder/an%20object,%20%C3%BC.bin"] = DATA
        for _ in range(4):
            with faulty_server.running() as other:
                other.files = first.files
                folder = RemoteFolder(other.url + "/folder")
                threads = [threading.Thread(target=part, args=(folder, i, 50_000)) for i in range(4)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            assert len(plain_http._kept) <= 2
            assert [len(idle) for idle in plain_http._kept.values()][-1] == 1


def test_a_redirect_is_followed(server) -> None:
    elsewhere, path = "/elsewhere", next(iter(server.files))
    server.files[elsewhere] = server.files[path]
    server.faults[path] = [faulty_server.fail(302, Location=elsewhere)] * 3
    folder = RemoteFolder(server.url + "/folder")
    assert part(folder, 5, 100) == DATA[5:105]
    assert part(folder, 9, 100) == DATA[9:109]
    assert [asked for asked, _ in server.asked].count(elsewhere) == 2
    assert len(server.asked) == 5  # once for us, and twice each for fsspec, which does it from then on


@pytest.mark.parametrize("manners", [{"chunked": True}, {"chunked": None}, {"cut": 100}, {"cut": 0}])
def test_other_ways_to_answer(server, manners) -> None:
    path = next(iter(server.files))
    server.faults[path] = [faulty_server.manners(**manners)]
    folder = RemoteFolder(server.url + "/folder")
    assert part(folder, 5, 100_000) == DATA[5:100_005]
    assert part(folder, 6, 100_000) == DATA[6:100_006]


def test_what_is_no_answer(server, monkeypatch) -> None:
    path = next(iter(server.files))
    folder = RemoteFolder(server.url + "/folder")
    server.faults[path] = [faulty_server.fail(503), faulty_server.fail(500)]
    assert part(folder, 5, 100) == DATA[5:105]
    server.faults[path] = [faulty_server.manners(ranges=False)]
    with pytest.raises(DownloadError, match="no ranges of bytes"):
        part(folder, 0, 100)
    server.faults[path] = [faulty_server.fail(403)]
    with pytest.raises(DownloadError, match="refuses"):
        part(folder, 0, 100)
    monkeypatch.setattr(remote, "SECONDS", 0.1)
    monkeypatch.setattr(remote, "TRIES", 2)
    silent = RemoteFolder(server.url.replace("127.0.0.1", "localhost") + "/folder")  # new connections
    server.faults[path] = [faulty_server.stall(10), lambda handler, data: handler.server.release.wait(20)]
    with pytest.raises(DownloadError):
        part(silent, 0, 100)
    del server.files[path]
    with pytest.raises(MissingFileError):
        part(folder, 0, 100)


def test_connections_are_closed_though_others_take_them_meanwhile():
    class Connection:
        def close(self):
            if idle:
                taken.append(idle.pop())
            closed.append(self)

    taken, closed = [], []
    idle = collections.deque(Connection() for _ in range(6))
    everything = set(idle)
    plain_http._close(idle)
    assert not idle
    assert set(taken) | set(closed) == everything
    assert not set(taken) & set(closed)
