"""Rows of a mapped table: against a dictionary in memory, at any number of threads; damaged, torn, full and shared."""

import errno
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import interrupts
from foreword import errors
from foreword._base import files, system
from foreword.embeddings import ngram_rows, row_file, row_file_kernel, row_file_plain
from foreword.embeddings.ngram_rows import MappedRows
from foreword.embeddings.row_file import PAGE, Layout, State

pytestmark = pytest.mark.portable
OPTIONS = {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-8}
SCRIPT = Path(__file__).with_name("killed_rows.py")


class InMemory:
    """The slow reference: rows in a dictionary, Adam one row at a time, in numpy's float32."""

    def __init__(self, dim):
        self.dim, self.rows, self.steps = dim, {}, 0

    def row(self, i):
        return self.rows.get(i, np.zeros((3, self.dim), np.float32))

    def gather(self, ids):
        return np.array([self.row(i)[0] for i in ids], np.float32).reshape(len(ids), self.dim)

    def step(self, ids, grads, *, lr, betas, eps):
        self.steps += 1
        size = lr * np.sqrt(1 - betas[1] ** self.steps) / (1 - betas[0] ** self.steps)
        keep1, keep2 = (np.float32(1 - beta) for beta in betas)
        for i, g in zip(ids.tolist(), grads, strict=True):
            w, m, v = self.row(i)
            m = m + (g - m) * keep1
            v = v + (g * g - v) * keep2
            self.rows[i] = np.array([w + m / (np.sqrt(v) + np.float32(eps)) * np.float32(-size), m, v])


def opened(folder, rows=100, dim=5, identity="seed=0", **options):
    table = MappedRows.open(folder, identity=identity, rows=rows, dim=dim, **options)
    table.load_state_dict(table.state_dict())
    return table


def some(rng, rows, most, dim):
    """Ids that rise, and gradients for them."""
    ids = np.sort(rng.choice(rows, size=int(rng.integers(0, min(most, rows) + 1)), replace=False)).astype(np.int64)
    return ids, rng.normal(size=(len(ids), dim)).astype(np.float32)


def same(table, reference, rows):
    everything = np.arange(rows)
    np.testing.assert_array_equal(table.gather(everything), reference.gather(everything))
    assert table.steps == reference.steps


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 999),
    dim=st.sampled_from([1, 2, 5, 16, 64, 169, 500]),
    rows=st.integers(1, 40),
    plain=st.booleans(),
    actions=st.lists(st.sampled_from(["step", "step", "checkpoint", "reopen", "back", "expect"]), max_size=25),
)
def test_it_is_a_dictionary_of_rows_with_checkpoints(tmp_path_factory, seed, dim, rows, plain, actions):
    folder = tmp_path_factory.mktemp("rows") / "table"
    rng = np.random.default_rng(seed)
    now, kept = InMemory(dim), [None, (InMemory(dim), None)]  # the last two checkpoints
    table = opened(folder, rows, dim)
    kept[1] = now_copy(now), table.state_dict()
    for action in actions:
        table._kernel = row_file_plain if plain and rng.random() < 0.5 else row_file_kernel
        if action == "step":
            ids, grads = some(rng, rows, 12, dim)
            for each in (table, now):
                each.step(ids, grads, **OPTIONS)
            kept[0] = None
        elif action == "checkpoint":
            changed = now.steps != kept[1][0].steps or table._file.state.writing is not None
            table.checkpoint()
            if changed:
                kept = [kept[1], (now_copy(now), table.state_dict())]
                kept[0] = kept[0] if table._file.state.previous else None
        elif action == "reopen":
            table.close()
            table, now = opened(folder, rows, dim), now_copy(kept[1][0])
        elif action == "back" and kept[0] is not None:
            table.load_state_dict(kept[0][1])
            kept, now = [None, kept[0]], now_copy(kept[0][0])
        elif action == "back":
            table.load_state_dict(kept[1][1])
            now = now_copy(kept[1][0])
        else:
            table.expect(some(rng, rows, 12, dim)[0])
        same(table, now, rows)
    table.close()


def now_copy(reference):
    copy = InMemory(reference.dim)
    copy.rows, copy.steps = dict(reference.rows), reference.steps
    return copy


@pytest.mark.parametrize("kernel", [row_file_kernel, row_file_plain])
def test_any_number_of_threads_gives_the_same_bits(tmp_path, monkeypatch, kernel):
    bits = []
    for count in (1, 2, 3, 7):
        monkeypatch.setenv("FOREWORD_THREADS", str(count))
        monkeypatch.setattr(ngram_rows, "_kernel", lambda: kernel)
        rng = np.random.default_rng(0)
        with opened(tmp_path / str(count), 5000, 8) as table:
            for _ in range(5):
                table.step(*some(rng, 5000, 5000, 8), **OPTIONS)
            table.checkpoint()
        bits.append((tmp_path / str(count) / "rows").read_bytes()[PAGE:])
    assert len(bits[0]) > 5000 * 8
    assert len(set(bits)) == 1


def test_the_compiled_and_the_plain_kernels_write_the_same_bytes_and_read_each_other(tmp_path):
    rng = np.random.default_rng(1)
    words, layout = np.zeros(Layout.of(7).size(50) // 8, np.uint64), np.array(Layout.of(7), np.int64)
    ours, theirs = words.copy(), words.copy()
    for number, dead in ((1, []), (2, []), (2, []), (5, [3, 4]), (7, [3, 4, 6])):
        ids = np.sort(rng.choice(50, 20, replace=False))
        rows, numbers = rng.normal(size=(3, 20, 7)).astype(np.float32), np.array([number, *dead], np.uint64)
        for kernel, into in ((row_file_kernel, ours), (row_file_plain, theirs)):
            kernel.write(into, into.view(np.float32), layout, numbers, ids, rows, 0, 20)
        np.testing.assert_array_equal(ours, theirs)
        for limit in ([number, *dead], [2], [6, 5]):
            read = []
            for kernel in (row_file_kernel, row_file_plain):
                read.append(np.full((3, 20, 7), np.nan, np.float32))
                args = ours, ours.view(np.float32), layout, np.array(limit, np.uint64), ids, read[-1], 3, 19
                assert kernel.read(*args) == -1
            np.testing.assert_array_equal(*read)
        assert row_file_kernel.touch(ours, layout, ids) is not None
        assert row_file_plain.touch(ours, layout, ids) is not None


@pytest.mark.parametrize("kernel", [row_file_kernel, row_file_plain])
def test_every_flipped_bit_of_a_row_is_noticed(tmp_path, kernel, monkeypatch):
    monkeypatch.setattr(ngram_rows, "_kernel", lambda: kernel)
    rng, ids = np.random.default_rng(0), np.array([3, 4])
    with opened(tmp_path / "t") as table:
        for _ in range(2):  # both slots of each
            table.step(ids, rng.normal(size=(2, 5)).astype(np.float32), **OPTIONS)
            table.checkpoint()
    layout = Layout.of(5)
    begin, path = int(row_file_plain.places(np.array(layout, np.int64), ids)[0]) * 8, tmp_path / "t" / "rows"
    whole = path.read_bytes()
    with opened(tmp_path / "t") as table:
        want = table.gather(ids)
    noticed = set()
    slot = 64 * layout.slot
    bits = [*range(64), *range(64, slot, 29), *range(slot, 2 * slot, 3)]
    for bit in bits:
        data = bytearray(whole)
        data[begin + bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        with opened(tmp_path / "t", writable=False) as table:
            try:
                np.testing.assert_array_equal(table.gather(ids), want)
            except errors.StoreError as error:
                noticed.add(bit if "row 3" in str(error) else None)
    assert noticed >= {bit for bit in bits if bit >= slot}, "of the slot that counts"
    assert noticed >= set(range(64)), "and of the other's number, which could else win"


def damaged(folder, name, change):
    """A copy of a table whose file ``name`` went through ``change``."""
    copy = folder.with_name("damaged")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    (copy / name).write_bytes(change((copy / name).read_bytes()))
    return copy


def small_table(folder, steps=3):
    rng = np.random.default_rng(0)
    with opened(folder) as table:
        for _ in range(steps):
            table.step(*some(rng, 100, 50, 5), **OPTIONS)
            table.checkpoint()
    return folder


@pytest.mark.parametrize(
    ("given", "got", "expected"),
    [
        ({"identity": "seed=1"}, "seed=0", "seed=1"),
        ({"rows": 99}, "rows=100", "rows=99"),
        ({"dim": 6, "rows": 99}, "rows=100 dim=5", "rows=99 dim=6"),
        ({"identity": "seed=0 vocabulary=ab"}, "seed=0 rows=100 dim=5", "vocabulary=ab"),
    ],
)
def test_another_table_is_refused_and_what_differs_is_said(tmp_path, given, got, expected):
    opened(tmp_path / "t").close()
    with pytest.raises(errors.StoreError, match="another one") as error:
        opened(tmp_path / "t", **given)
    assert (error.value.fact("got"), error.value.fact("expected")) == (got, expected)
    opened(tmp_path / "t").close()  # it holds no lock


def test_a_table_cut_or_lengthened_or_mixed_of_two_is_refused(tmp_path):
    folder, other = small_table(tmp_path / "t"), small_table(tmp_path / "u")
    for change, says in (
        (lambda data: data[:-1], "cut short"),
        (lambda data: data[: len(data) // 2], "cut short"),
        (lambda data: data + b"\0", "too many"),
        (lambda data: data[:100], "damaged"),
        (lambda data: b"", "not a table"),
        (lambda data: data.replace(b"rows 1", b"rows 2"), "version"),
    ):
        with pytest.raises(errors.StoreError, match=says):
            opened(damaged(folder, "rows", change))
    with pytest.raises(errors.StoreError, match="state is that of another"):
        opened(damaged(folder, "state", lambda _: (other / "state").read_bytes()))
    for name in ("state", *(["lock"] if system._locks() is not None else []), "rows"):
        copy = damaged(folder, "rows", lambda data: data)
        (copy / name).unlink()
        with pytest.raises(errors.MissingFileError):
            opened(copy)
    (copy / "rows").mkdir()
    with pytest.raises(errors.MissingFileError):
        opened(copy)
    with pytest.raises(errors.MissingFileError, match="no table"):
        opened(tmp_path / "nothing", writable=False)


def fuzz(folder, count, seed):
    """Bits flipped, bytes cut out, put in and set in the header and the state: all of it is noticed."""
    rng = random.Random(seed)
    sizes = {"rows": PAGE, "state": len((folder / "state").read_bytes())}
    for _ in range(count):
        name = rng.choice(list(sizes))
        at = rng.randrange(sizes[name])
        size = min(rng.randrange(1, 40), sizes[name] - at)  # beyond the header are rows, and zeros there are no damage
        junk = rng.choice([rng.randbytes(size), b"\0" * size, b"9" * size])
        kind = rng.randrange(4)

        def change(data, at=at, kind=kind, size=size, junk=junk):
            if kind == 0:
                return data[:at] + bytes([data[at] ^ 1 << size % 8]) + data[at + 1 :]
            return data[:at] + (b"" if kind == 1 else junk) + data[at + (0 if kind == 2 else size) :]

        copy = damaged(folder, name, change)
        if (copy / name).read_bytes() == (folder / name).read_bytes():
            continue
        with pytest.raises(errors.StoreError):
            opened(copy)


def test_no_damaged_header_or_state_is_taken(tmp_path):
    fuzz(small_table(tmp_path / "t"), 150, seed=0)


@pytest.mark.slow
def test_no_damaged_header_or_state_is_taken_many_times(tmp_path):
    fuzz(small_table(tmp_path / "t"), 5000, seed=1)


def test_bad_arguments(tmp_path):
    with opened(tmp_path / "t") as table:
        for ids in ([2, 1], [1, 1], [-1, 3], [3, 100], [[1]]):
            with pytest.raises(errors.ArgumentError):
                table.gather(np.array(ids))
        for ids in (np.array([1.0]), np.array([1], np.int32)):
            with pytest.raises(errors.ArgumentError, match="not ids"):
                table.gather(ids)
        for grads in (np.zeros((1, 5)), np.zeros((2, 5), np.float32), np.zeros((1, 4), np.float32)):
            with pytest.raises(errors.ArgumentError, match="gradients"):
                table.step(np.array([1]), grads, **OPTIONS)
        assert table.steps == 0
        assert table.gather(np.array([], np.int64)).shape == (0, 5)
    for call in (lambda: table.gather(np.array([1])), table.checkpoint, lambda: table.load_state_dict({})):
        with pytest.raises(errors.StoreError, match="closed"):
            call()
    table.close()
    for options in ({"rows": 0}, {"dim": 0}, {"behind_bytes": 0}):
        with pytest.raises(errors.ArgumentError):
            opened(tmp_path / "u", **options)
    with pytest.raises(errors.ArgumentError, match="identity"):
        opened(tmp_path / "u", identity="a" * 4000)
    assert not (tmp_path / "u").exists()


def test_one_process_writes_or_some_read(tmp_path):
    folder = tmp_path / "t"
    hold = (
        "import sys; from foreword.embeddings.ngram_rows import MappedRows;"
        "t = MappedRows.open(sys.argv[1], identity='seed=0', rows=100, dim=5); print(flush=True); sys.stdin.read()"
    )
    opened(folder).close()
    if system._locks() is not None:  # a process that is started here has locks of POSIX
        command = [sys.executable, "-c", hold, str(folder)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            for writable in (True, False):
                with pytest.raises(errors.StoreError, match=r"open already|being written to"):
                    opened(folder, writable=writable)
            process.kill()  # and its lock is free
    with opened(folder, writable=False), pytest.raises(errors.StoreError, match=r"open already|being written to"):
        opened(folder)
    if system._locks() is not None:
        with opened(folder, writable=False), opened(folder, writable=False):
            pass
    opened(folder).close()


def test_a_table_that_is_read_is_not_written(tmp_path):
    folder = small_table(tmp_path / "t")
    before = {name: (folder / name).read_bytes() for name in ("rows", "state", "lock")}
    with opened(folder, writable=False) as table:
        last = table.state_dict()
        newest = table.gather(np.arange(100))
        table.checkpoint()
        with pytest.raises(errors.StoreError, match="read only"):
            table.step(np.array([1]), np.ones((1, 5), np.float32), **OPTIONS)
        table.load_state_dict({**last, "checkpoint": last["checkpoint"] - 1})
        assert not np.array_equal(table.gather(np.arange(100)), newest)
        assert table.steps == 2
    assert {name: (folder / name).read_bytes() for name in before} == before


def test_a_full_disk_is_an_error_and_changes_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with opened(tmp_path / "t") as table:
        table.step(np.array([1]), np.ones((1, 5), np.float32), **OPTIONS)
        before = table.gather(np.arange(100))
        with monkeypatch.context() as patch:
            patch.setattr(system, "reserve", full)
            with pytest.raises(errors.FileError, match="no space") as error:
                table.step(np.array([1, 50]), np.ones((2, 5), np.float32), **OPTIONS)
            assert error.value.errno == errno.ENOSPC
            assert np.array_equal(table.gather(np.arange(100)), before)
            assert table.steps == 1
            table.step(np.array([1]), np.ones((1, 5), np.float32), **OPTIONS)  # a row that has its place
        for name in ("sync", "_write_state"):
            with monkeypatch.context() as patch:
                patch.setattr(*((row_file.RowFile, name) if name == "sync" else (row_file, name)), full)
                with pytest.raises(OSError, match="space"):
                    table.checkpoint()
            with pytest.raises(errors.StoreError, match="since its last checkpoint"):
                table.state_dict()
        table.checkpoint()
        after = table.gather(np.arange(100))
    with opened(tmp_path / "t") as table:
        assert np.array_equal(table.gather(np.arange(100)), after)
        assert table.steps == 2


def test_what_a_thread_could_not_write_is_an_error_of_the_next_call(tmp_path, monkeypatch):
    def broken(_):
        raise errors.FileError("can't write the table: input/output error")

    monkeypatch.setattr(row_file.RowFile, "sync", broken)
    with opened(tmp_path / "t", behind_bytes=PAGE) as table:
        table.step(np.array([1]), np.ones((1, 5), np.float32), **OPTIONS)
        while table._behind.failure is None:
            time.sleep(0.001)
        for call in (table.checkpoint, table.state_dict, lambda: table.gather(np.array([1]))):
            with pytest.raises(errors.StoreError, match="could not be written") as error:
                call()
            assert "input/output" in error.value.fact("got")
    monkeypatch.undo()
    with opened(tmp_path / "t") as table:
        assert table.steps == 0
        assert not table.gather(np.arange(100)).any()


def test_a_step_that_stopped_in_the_midst_is_gone_back_from(tmp_path, monkeypatch):
    monkeypatch.setenv("FOREWORD_THREADS", "1")
    rng = np.random.default_rng(0)
    everything, grads = np.arange(3000), rng.normal(size=(3000, 5)).astype(np.float32)
    with opened(tmp_path / "t", rows=3000) as table:
        table.step(everything, grads, **OPTIONS)
        table.checkpoint()
        last, before = table.state_dict(), table.gather(everything)
        write, calls = table._kernel.write, []

        def stopped(*args):
            calls.append(args)
            if len(calls) == 2:
                raise KeyboardInterrupt
            write(*args)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(table._kernel, "write", stopped)
            table.step(everything, grads, **OPTIONS)
        for call in (table.checkpoint, table.state_dict, lambda: table.gather(everything)):
            with pytest.raises(errors.StoreError, match="midst"):
                call()
        table.load_state_dict(last)
        assert np.array_equal(table.gather(everything), before)
        assert table.steps == 1
        table.step(everything, grads, **OPTIONS)
        assert table.steps == 2


def test_rows_that_have_learned_learn_on_only_from_a_known_checkpoint(tmp_path):
    """Killed after the first checkpoint of the table, before that of the model: a new model would begin with them."""
    options = {"identity": "seed=0", "rows": 100, "dim": 5}
    small_table(tmp_path / "t", steps=1)
    with MappedRows.open(tmp_path / "t", **options) as table:
        assert table.gather(np.arange(100)).any()
        with pytest.raises(errors.StoreError, match="have learned") as error:
            table.step(np.array([1]), np.ones((1, 5), np.float32), **OPTIONS)
        assert error.value.fact("got") == "checkpoint 1, after 1 step"
        table.load_state_dict({**table.state_dict(), "checkpoint": 0})
        table.step(np.array([1]), np.ones((1, 5), np.float32), **OPTIONS)
        assert table.steps == 1


def test_a_checkpoint_of_another_table_or_one_that_is_gone_is_refused(tmp_path):
    one = np.array([1])
    with opened(tmp_path / "t") as table:
        states = [table.state_dict()]
        for _ in range(3):
            table.step(one, np.ones((1, 5), np.float32), **OPTIONS)
            with pytest.raises(errors.StoreError, match="changed since"):
                table.state_dict()
            table.checkpoint()
            table.checkpoint()  # of what is there already
            states.append(table.state_dict())
        assert [state["checkpoint"] for state in states] == [0, 1, 2, 3]
        assert json.loads(json.dumps(states)) == states
        with pytest.raises(errors.StoreError, match="no longer") as error:
            table.load_state_dict(states[1])
        assert error.value.fact("expected").startswith("checkpoint 3 or 2")
        with pytest.raises(errors.StoreError, match="another table"):
            table.load_state_dict({**states[3], "table": "0"})
        table.step(one, np.ones((1, 5), np.float32), **OPTIONS)
        with pytest.raises(errors.StoreError, match="no longer"):
            table.load_state_dict(states[2])  # a row has been written since the last


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_reads_and_does_not_write(tmp_path):
    with opened(tmp_path / "t") as table:
        table.step(np.array([1]), np.ones((1, 5), np.float32), **OPTIONS)
        want = table.gather(np.array([1]))
        if not (child := os.fork()):
            try:
                assert np.array_equal(table.gather(np.array([1])), want)
                for call in (
                    lambda: table.step(np.array([1]), np.ones((1, 5), np.float32), **OPTIONS),
                    table.checkpoint,
                    lambda: table.load_state_dict({}),
                ):
                    with pytest.raises(errors.StoreError, match="process"):
                        call()
            except BaseException:
                os._exit(1)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0


def test_numbers_run_out_with_an_error(tmp_path):
    with opened(tmp_path / "t") as table:
        table._file.state = State(checkpoint=(1 << 32) - 1)
        with pytest.raises(errors.StoreError, match="numbered"):
            table.step(np.array([1]), np.ones((1, 5), np.float32), **OPTIONS)


def power_cut(folder, seed):
    """Of what was written after a checkpoint any sectors may have come to the disk, when the power goes."""
    rng = np.random.default_rng(seed)
    everything, rows = np.arange(100), folder / "rows"
    after = [some(rng, 100, 60, 5) for _ in range(4)]
    with opened(folder) as table:
        for _ in range(int(rng.integers(0, 4))):
            table.step(*some(rng, 100, 60, 5), **OPTIONS)
            if rng.random() < 0.5:
                table.checkpoint()
            elif rng.random() < 0.5:
                table.load_state_dict(
                    {"table": table._file.id, "checkpoint": table._file.state.checkpoint}
                )  # numbers that are dead
        table.checkpoint()
        want, at_checkpoint = table.gather(everything), np.frombuffer(rows.read_bytes(), np.uint8).reshape(-1, 512)
        for ids, grads in after:
            table.step(ids, grads, **OPTIONS)
        learned, at_the_end = table.gather(everything), np.frombuffer(rows.read_bytes(), np.uint8).reshape(-1, 512)
    for _ in range(3):  # the second and third meet what the first left
        came = rng.random((len(at_checkpoint), 1)) < rng.random()
        rows.write_bytes(np.where(came, at_the_end, at_checkpoint).tobytes())
        with opened(folder) as table:
            np.testing.assert_array_equal(table.gather(everything), want)
            for ids, grads in after:
                table.step(ids, grads, **OPTIONS)
            np.testing.assert_array_equal(table.gather(everything), learned)
            at_the_end = np.frombuffer(rows.read_bytes(), np.uint8).reshape(-1, 512)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_came_to_the_disk_before_the_power_went_the_checkpoint_is_whole(tmp_path, seed):
    power_cut(tmp_path / "t", seed)


@pytest.mark.slow
def test_whatever_came_to_the_disk_before_the_power_went_the_checkpoint_is_whole_many_times(tmp_path):
    for seed in range(4, 300):
        power_cut(tmp_path / str(seed), seed)


def test_ctrl_c_at_any_line_of_a_checkpoint(tmp_path):
    """Whatever was interrupted, what comes after it is no part of a checkpoint that was before."""
    table = opened(tmp_path / "table", rows=6, dim=2)
    ids, grads = np.arange(6), np.ones((6, 2), np.float32)
    rows, wrong = {0: table.gather(ids)}, []
    table.step(ids, grads, **OPTIONS)
    for number in interrupts.at_each_line([row_file, files, ngram_rows], table.checkpoint):
        before = table.gather(ids)
        table.step(ids, grads, **OPTIONS)
        shutil.rmtree(tmp_path / "killed", ignore_errors=True)
        shutil.copytree(tmp_path / "table", tmp_path / "killed")
        with MappedRows.open(tmp_path / "killed", identity="seed=0", rows=6, dim=2, writable=False) as killed:
            found, checkpoint = killed.gather(ids), killed.state_dict()["checkpoint"]
            rows.setdefault(checkpoint, before)  # it came to be, though it was interrupted
            if not np.array_equal(found, rows[checkpoint]):
                wrong.append(number)
    assert not wrong
    table.close()


def test_a_state_that_was_written_counts_though_the_disk_failed_then(tmp_path, monkeypatch):
    table = opened(tmp_path / "table", rows=6, dim=2)
    ids, grads = np.arange(6), np.ones((6, 2), np.float32)
    table.step(ids, grads, **OPTIONS)
    was = table.gather(ids)
    with monkeypatch.context() as patch:
        patch.setattr(system, "sync_folder", failing)  # the file has its name by then
        with pytest.raises(errors.FileError):
            table.checkpoint()
    table.step(ids, grads, **OPTIONS)
    table.close()
    with opened(tmp_path / "table", rows=6, dim=2) as again:
        assert np.array_equal(again.gather(ids), was)


def failing(_):
    raise OSError(errno.EIO, "Input/output error")


def test_what_is_expected_of_a_closed_table_is_nothing(tmp_path):
    table = opened(tmp_path / "table")
    table.close()
    table.expect(np.arange(100))
    assert table._behind._thread is None


def test_a_table_is_collected_in_its_own_thread(tmp_path):
    """Garbage is collected in any thread; what that thread reads stays mapped meanwhile."""
    table = opened(tmp_path / "table")
    went, done, problems = threading.Event(), threading.Event(), []

    def task():
        went.wait(20)
        try:
            table._finish()
        except RuntimeError as problem:
            problems.append(problem)
        done.set()

    table._behind.do(task)
    table.expect(np.arange(100))
    went.set()
    assert done.wait(20)
    assert not problems
    opened(tmp_path / "table").close()


def test_ctrl_c_while_a_table_is_closed_lets_go_of_it(tmp_path, monkeypatch):
    table = opened(tmp_path / "table")

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(table._behind, "stop", interrupted)
    with pytest.raises(KeyboardInterrupt):
        table.close()
    opened(tmp_path / "table").close()
