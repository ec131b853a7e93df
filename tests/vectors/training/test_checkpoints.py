"""Checkpoints: runs that are killed or interrupted go on to the same bits; damaged and foreign ones are refused."""

import _thread
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import interrupts
from foreword._base import files
from foreword.errors import FileError, ForewordError, FormatError, MissingFileError, StoreError
from foreword.vectors.training import checkpoints, helper
from foreword.vectors.training import options as module
from foreword.vectors.training import trainer as trainer_module
from foreword.vectors.training.corpus import FIRST
from foreword.vectors.training.options import Layout, Subwords, TrainingOptions
from foreword.vectors.training.trainer import Trainer
from vectors.training.corpora import bits, drawn, spellings

SMALL = {"dim": 16, "epochs": 3, "lanes": 4, "stretch": 64, "pool": 48}
HOW = [{}, {"method": "cbow"}, {"subwords": Subwords(buckets=500)}]

_CHILD = """
import os, signal, sys
import numpy as np
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background ignores it
from foreword.vectors.training import trainer as module
from foreword.vectors.training.options import TrainingOptions
path, seconds = sys.argv[1], float(sys.argv[2])
module.SEGMENT = seconds
data = np.load(path + ".npz")
options = TrainingOptions(**eval(sys.argv[3]))
if os.path.exists(path):
    trainer = module.Trainer.resume(path, data["encoded"], data["counts"], options=options)
else:
    trainer = module.Trainer(data["encoded"], data["counts"], options)
print("ready", flush=True)
trainer.run(checkpoint=path, every=0)
print("done", trainer.rounds, flush=True)
"""


_AT_WORK = """
segment = trainer._segment
def first(*arguments):
    trainer._segment = segment
    print("at work", flush=True)
    segment(*arguments)
trainer._segment = first
"""


@pytest.mark.parametrize("how", HOW, ids=str)
def test_a_run_goes_on_to_the_same_bits(tmp_path, how):
    encoded, counts = drawn()
    words, options = spellings(400), TrainingOptions(**SMALL | how)
    whole = Trainer(encoded, counts, options, words=words)
    whole.run()
    trainer = Trainer(encoded, counts, options, words=words, workers=1)
    path = tmp_path / "run"
    for number in (1, 5, 23, 24, 60):
        trainer._segment(number, 2)
        trainer.save_checkpoint(path)
        trainer = Trainer.resume(path, encoded, counts, words=words, options=options, workers=3)
        assert trainer.rounds == number
    trainer.run()
    assert bits(trainer) == bits(whole)


def test_a_checkpoint_says_how_its_rounds_are_laid_out(tmp_path, monkeypatch):
    """What options leave open is of the run that began, whatever a later version would choose for the same corpus."""
    encoded, counts = drawn()
    options = TrainingOptions(dim=16, epochs=3)
    whole = Trainer(encoded, counts, options)
    whole.run()
    trainer, path = Trainer(encoded, counts, options), tmp_path / "run"
    trainer.run(epochs=1, checkpoint=path)
    assert bits(trainer) != bits(whole)
    again = Trainer.resume(path, encoded, counts, options=options)
    again.run()
    assert bits(again) == bits(whole)
    monkeypatch.setattr(module, "SHORT", 0)
    monkeypatch.setattr(module, "FEW", 0)
    assert Trainer(encoded, counts, options).layout.lanes == 4
    again = Trainer.resume(path, encoded, counts)
    again.run()
    assert bits(again) == bits(whole)
    with pytest.raises(StoreError, match="options"):
        Trainer.resume(path, encoded, counts, options=options)


@pytest.mark.parametrize("vocabulary", [400, 3000])
def test_a_checkpoint_of_before_layouts_goes_on(tmp_path, vocabulary):
    """Its options name lanes, stretch and pool, and leave damping to the vocabulary."""
    encoded, counts = drawn(vocabulary)
    options = TrainingOptions(dim=16, epochs=2, lanes=8, stretch=512, pool=256)
    trainer, path = Trainer(encoded, counts, options), tmp_path / "run"
    trainer.run(epochs=1)
    header = {**trainer._identity(), "options": options.as_dict(), "rounds": trainer.rounds}
    checkpoints.write(path, header, [trainer.input_table, trainer.output_table, trainer._lanes.loss])
    for given in (None, options):
        again = Trainer.resume(path, encoded, counts, options=given)
        assert again.layout == Layout(8, 512, 256, 1 if vocabulary == 400 else 4)
        assert bits(again) == bits(trainer)
    with pytest.raises(StoreError, match="options"):
        Trainer.resume(path, encoded, counts, options=options.replace(lanes=None))


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_any_moment(tmp_path, kills):
    encoded, counts = drawn(2000, 60_000)
    how = SMALL | {"epochs": 200}
    path = tmp_path / "run"
    np.savez(f"{path}.npz", encoded=encoded, counts=counts)
    rng, rounds = random.Random(kills), []
    for _ in range(kills):
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(path), "0.01", repr(how)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0.05, 0.4))
        child.kill()
        child.communicate()
        if path.exists():
            rounds.append(Trainer.resume(path, encoded, counts).rounds)
    assert rounds == sorted(rounds)
    assert rounds[-1] > 0
    trainer = Trainer.resume(path, encoded, counts)
    goal = trainer.rounds // trainer.epoch_rounds + 1
    trainer.run(epochs=goal)
    whole = Trainer(encoded, counts, TrainingOptions(**how))
    whole.run(epochs=goal)
    assert bits(trainer) == bits(whole)


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C of another process")
def test_ctrl_c_leaves_a_checkpoint(tmp_path):
    encoded, counts = drawn(2000, 60_000)
    how = SMALL | {"epochs": 100_000}
    path = tmp_path / "run"
    np.savez(f"{path}.npz", encoded=encoded, counts=counts)
    code = _CHILD.replace("every=0", "every=1e9").replace('print("ready", flush=True)\n', _AT_WORK)
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(path), "0.05", repr(how)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "at work\n"
    time.sleep(0.5)
    child.send_signal(signal.SIGINT)
    try:
        _, error = child.communicate(timeout=60)
    finally:
        child.kill()
        child.communicate()
    assert child.returncode != 0
    assert "KeyboardInterrupt" in error
    trainer = Trainer.resume(path, encoded, counts)
    whole = Trainer(encoded, counts, TrainingOptions(**how))
    whole._segment(trainer.rounds, 2)
    assert trainer.rounds > 0
    assert bits(trainer) == bits(whole)


def test_ctrl_c_while_threads_are_started_leaves_none_behind(tmp_path, monkeypatch):
    encoded, counts = drawn()
    trainer = Trainer(encoded, counts, TrainingOptions(**SMALL), workers=2)
    trainer._segment(2, 2)
    before, path = bits(trainer), tmp_path / "run"
    begin, seen = threading.Thread._bootstrap_inner, []

    def late(thread):
        time.sleep(0.1)
        begin(thread)
        seen.append(thread)

    def interrupted(thread):
        threading._limbo[thread] = thread
        _thread.start_new_thread(thread._bootstrap, ())
        raise KeyboardInterrupt  # before start() has heard of the thread

    monkeypatch.setattr(threading.Thread, "_bootstrap_inner", late)
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainer.run(checkpoint=path)
    while not seen:
        time.sleep(0.01)
    assert (trainer.rounds, bits(trainer)) == (2, before)
    assert bits(Trainer.resume(path, encoded, counts)) == before
    monkeypatch.undo()
    trainer.run()
    whole = Trainer(encoded, counts, TrainingOptions(**SMALL))
    whole.run()
    assert bits(trainer) == bits(whole)


def test_a_corpus_that_differs_in_the_order_of_two_words_is_another(tmp_path):
    encoded, counts = drawn(2000, 3_000_000)
    path = tmp_path / "run"
    Trainer(encoded, counts, TrainingOptions(**SMALL)).save_checkpoint(path)
    other = encoded.copy()
    places = np.flatnonzero(encoded[:-1] & ~np.uint32(FIRST) != encoded[1:] & ~np.uint32(FIRST))
    at = places[(places > 1500) & (places < 2900)][0]  # once between the pieces that were compared
    other[[at, at + 1]] = encoded[[at + 1, at]]
    with pytest.raises(StoreError, match="corpus differ"):
        Trainer.resume(path, other, counts)
    assert Trainer.resume(path, encoded, counts).rounds == 0


def test_an_interrupted_write_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    encoded, counts = drawn()
    path = tmp_path / "run"
    trainer = Trainer(encoded, counts, TrainingOptions(**SMALL))
    trainer.run(epochs=1, checkpoint=path)
    before = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match="no space"):
        trainer.run(epochs=2, checkpoint=path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    monkeypatch.undo()
    trainer.run(checkpoint=path)  # the run itself is none the worse
    whole = Trainer(encoded, counts, TrainingOptions(**SMALL))
    whole.run()
    assert bits(trainer) == bits(whole)


def test_another_training_is_refused(tmp_path):
    encoded, counts = drawn()
    words, options = spellings(400), TrainingOptions(**SMALL, subwords=Subwords(buckets=500))
    path = tmp_path / "run"
    Trainer(encoded, counts, options, words=words).run(epochs=1, checkpoint=path)
    other = encoded.copy()
    other[1000], other[1001] = other[1001], other[1000]
    for changed in (other, encoded[:-1]):
        if (changed == encoded[: len(changed)]).all() and len(changed) == len(encoded):
            continue
        with pytest.raises(StoreError, match="corpus"):
            Trainer.resume(path, changed, counts, words=words)
    more = counts.copy()
    more[0] += 1
    with pytest.raises(StoreError, match="corpus"):
        Trainer.resume(path, encoded, more, words=words)
    with pytest.raises(StoreError, match="options"):
        Trainer.resume(path, encoded, counts, words=words, options=options.replace(seed=2))
    with pytest.raises(StoreError, match="words"):
        Trainer.resume(path, encoded, counts, words=words[::-1])
    with pytest.raises(MissingFileError):
        Trainer.resume(tmp_path / "none", encoded, counts)


@pytest.mark.parametrize("count", [150, pytest.param(3000, marks=pytest.mark.slow)])
def test_damaged_checkpoints_are_refused(tmp_path, count):
    """Bytes changed, cut off, put in or taken out anywhere: an error of Foreword's, never a run with other numbers."""
    encoded, counts = drawn(30, 500)
    path = tmp_path / "run"
    trainer = Trainer(encoded, counts, TrainingOptions(**SMALL | {"dim": 2, "lanes": 1}))
    trainer.run(epochs=1, checkpoint=path)
    data = path.read_bytes()
    rng = random.Random(count)
    for _ in range(count):
        at, kind = rng.randrange(len(data)), rng.randrange(4)
        if rng.random() < 0.5:
            at = rng.randrange(data.index(b"\n", 90) + 1)  # the header
        piece = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 9)))
        damaged = [
            data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :],
            data[:at],
            data[:at] + piece + data[at:],
            data[:at] + data[at + len(piece) :],
        ][kind]
        path.write_bytes(damaged)
        with pytest.raises(ForewordError):
            Trainer.resume(path, encoded, counts)
    path.write_bytes(data)
    assert bits(Trainer.resume(path, encoded, counts)) == bits(trainer)


@pytest.mark.parametrize(
    "content", [b"", b"word2vec", b"foreword-training 2\n", b"foreword-training 1\n" + b"{" * 70_000]
)
def test_other_files_are_no_checkpoints(tmp_path, content):
    path = tmp_path / "run"
    path.write_bytes(content)
    with pytest.raises(FormatError, match="checkpoint"):
        Trainer.resume(path, *drawn(30, 500))


def test_the_state_is_tables_and_a_few_numbers(tmp_path):
    encoded, counts = drawn()
    path = tmp_path / "run"
    trainer = Trainer(encoded, counts, TrainingOptions(**SMALL))
    trainer.save_checkpoint(path)
    tables = trainer.input_table.nbytes + trainer.output_table.nbytes
    assert tables < path.stat().st_size < tables + 2000
    header = json.loads(path.read_bytes().split(b"\n")[2])
    assert sorted(header) == ["corpus", "options", "rounds", "words"]


def interrupt_at(tmp_path, *, start, step, monkeypatch):
    """A run that is interrupted at one line in so many, and goes on, itself or from its checkpoint: the same bits."""
    monkeypatch.setattr(trainer_module, "SEGMENT", 1e-4)
    encoded, counts = drawn()
    options = TrainingOptions(**SMALL | {"epochs": 1})
    whole = Trainer(encoded, counts, options, workers=2)
    whole.run()
    path, trainer = tmp_path / "run", None

    def work():
        trainer.run(checkpoint=path, every=0.0)

    for number in itertools.count(start, step):
        path.unlink(missing_ok=True)
        trainer = Trainer(encoded, counts, options, workers=2)
        modules = [trainer_module, checkpoints, helper, files]
        if not list(itertools.islice(interrupts.at_each_line(modules, work, start=number, step=10**9), 1)):
            return
        again = [trainer]
        if path.exists():
            again.append(Trainer.resume(path, encoded, counts, options=options, workers=2))
        for each in again:
            each.run()
            assert bits(each) == bits(whole), number


def test_ctrl_c_at_some_lines(tmp_path, monkeypatch):
    interrupt_at(tmp_path, start=31, step=283, monkeypatch=monkeypatch)


@pytest.mark.slow
def test_ctrl_c_at_any_line(tmp_path, monkeypatch):
    interrupt_at(tmp_path, start=1, step=1, monkeypatch=monkeypatch)
