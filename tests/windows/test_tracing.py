"""Provenance: what a step held and when a document comes, against logs of everything that was handed out."""

import json
import random

import numpy as np
import pytest

import foreword as fw
from foreword.errors import ArgumentError, ForewordError, OutOfRangeError, StoreError
from foreword.windows import Occurrence, TracedWindow
from windows.logged import Drawn, spans

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:the loader gives no batch"),
    pytest.mark.filterwarnings("ignore:a place that was loaded is given up"),
]


def check(seed):
    """A drawn run of some goes: every batch traced, every document asked for."""
    luck = random.Random(seed)
    run = Drawn(luck)
    loaders = run.go(luck.randint(0, 12))
    for _ in range(luck.randint(0, 3)):
        run.change()
        skipped_from = set(run.log)
        loaders = run.go(luck.randint(0, 12))
        for key in run.log.keys() - skipped_from:  # no text of a skipped document comes
            for name, where in run.log[key]:
                assert not set(run.documents(name, where)) & set(run.skip.get(name, ()))
    kept = sum(len(run.untouched(name, run.skip.get(name, ()))) for name in run.used)
    size = run.sizes["batch_size"] * run.sizes["world_size"]
    assert len(loaders[0]) == (kept // size if run.sizes["drop_last"] else -(-kept // size))
    loader = luck.choice(loaders)

    def traced(epoch, step, rank):
        try:
            return loader.trace(step, epoch=epoch, rank=rank)
        except ArgumentError as error:  # a window of a source that is not in this mixture any more
            if not any(f"the source {name!r} came here" in str(error) for name in run.lost):
                raise
            return None

    for (epoch, step, rank), rows in run.log.items():
        entries = traced(epoch, step, rank)
        if entries is None:
            assert any(name in run.lost for name, _ in rows)
            continue
        assert [(entry.source, spans(entry)) for entry in entries] == rows
        for entry, (name, where) in zip(entries, rows, strict=True):
            assert [document for document, _ in entry.documents] == run.documents(name, where)
            assert {file for _, file in entry.documents} <= {None}
            sample = run.sources[name][entry.window]
            inputs, targets = (sample["inputs"], sample["targets"]) if isinstance(sample, dict) else sample
            held = inputs[targets != -100] % 1_000_000
            assert sorted(held.tolist()) == sorted(p for a, b in where for p in range(a, b))

    for epoch in range(loader.epoch + 2):
        comes = {}  # by source and document, where it comes: as the traces tell
        step = 0
        while True:
            world_size = 1
            try:
                for rank in range(9):
                    for row, entry in enumerate(traced(epoch, step, rank) or ()):
                        for document in {document for document, _ in entry.documents}:
                            comes.setdefault((entry.source, document), []).append((epoch, step, rank, row))
                    world_size += 1
            except OutOfRangeError as error:
                if "no such step" in str(error):
                    break
            step += 1
        for name in run.used:
            for document in range(len(run.offsets[name]) - 1):
                found = loader.when(document, source=name, epoch=epoch)
                assert found == sorted(found)
                known = comes.get((name, document), [])
                if not run.lost:
                    assert found == known
                else:  # a batch in which windows of a lost source came can't be traced
                    assert set(known) <= set(found)
                for one in found:
                    rows = run.log.get(one[:3])
                    if rows is not None:
                        assert document in run.documents(*rows[one.row])


@pytest.mark.parametrize("start", range(0, 40, 10))
def test_traces_are_the_log_and_each_others_inverse(start):
    for seed in range(start, start + 10):
        check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(40, 1040, 50))
def test_traces_are_the_log_in_1_000_drawn_runs(start):
    for seed in range(start, start + 50):
        check(seed)


def numbered(windows, *, name=0, document=3, **options):
    """Window i has the inputs [k, k + 1] with k = 1000 · name + 2 · i; documents of some tokens each."""
    ids = 1000 * name + np.arange(2 * windows + 1)
    offsets = [*range(0, len(ids), document), len(ids)]
    return fw.WindowDataset(ids, context_length=2, offsets=offsets, **options)


def order(loader):
    """The windows of ``numbered`` of one epoch, by the start of their inputs."""
    return [int(row[0]) for inputs, _ in loader for row in inputs]


def untouched(starts, documents, document=3):
    return [s for s in starts if not {s // document, (s + 1) // document} & set(documents)]


@pytest.mark.parametrize("shuffle", [False, True])
def test_skipping_leaves_the_order_of_the_rest_as_it_is(shuffle):
    data, skip = numbered(5000), [0, 7, 8, 2001, 3333]
    options = {"batch_size": 1, "shuffle": shuffle}
    whole, rest = fw.WindowLoader(data, **options), fw.WindowLoader(data, skip=skip, **options)
    for _ in range(2):
        expected = untouched(order(whole), skip)
        assert len(rest) == len(rest.sampler) == len(expected) < 5000
        assert order(rest) == expected


def test_skipping_in_mid_run_takes_the_rest_of_the_epoch_without_what_it_touches():
    """What was handed out does not come again; what a skip passed over does not come back in this epoch."""
    data = numbered(5000)
    whole = order(fw.WindowLoader(data, batch_size=1, shuffle=True))
    skips = [[], [5, 60, 700], [60, 9, 1], [], list(range(0, 3000, 7))]
    seen, state, at = [], None, 0
    for skip in skips:
        loader = fw.WindowLoader(data, batch_size=10, shuffle=True, skip=skip, drop_last=False)
        if state is not None:
            loader.load_state_dict(json.loads(json.dumps(state)))
        batches = iter(loader)
        now = [int(row[0]) for _ in range(50) for row in next(batches)[0]]
        assert now == untouched(whole[at:], skip)[:500]
        at = whole.index(now[-1]) + 1
        state = loader.state_dict()
        seen += now
    rest = [int(row[0]) for inputs, _ in batches for row in inputs]
    assert rest == untouched(whole[at:], skips[-1])
    assert len(set(seen + rest)) == len(seen + rest)
    assert order(loader) == untouched(order(_at_epoch(data, 1)), skips[-1])
    for step in range(250):  # and all of it can be traced
        assert [entry.start for entry in loader.trace(step, epoch=0)] == seen[10 * step : 10 * step + 10]


def _at_epoch(data, epoch):
    loader = fw.WindowLoader(data, batch_size=1, shuffle=True)
    loader.set_epoch(epoch)
    return loader


def test_skipping_in_mid_run_keeps_the_shares_of_a_mixture_and_its_schedule():
    data = {name: numbered(2000, name=10 * i) for i, name in enumerate("ab")}
    weights = [(0, {"a": 3, "b": 1}), (1000, {"a": 1, "b": 3})]
    options = {"batch_size": 10, "shuffle": True, "weights": weights}
    plain = fw.WindowLoader(data, **options)
    batches = iter(plain)
    for _ in range(60):
        next(batches)
    loader = fw.WindowLoader(data, skip={"a": list(range(100))}, **options)
    loader.load_state_dict(plain.state_dict())
    given = np.array(
        [int(row[0]) >= 10_000 for _, (inputs, _) in zip(range(60), loader, strict=False) for row in inputs]
    )
    assert given[:400].sum() == 100
    assert given[400:].sum() == 150
    assert len(loader) == len(plain) - 15


def test_a_state_without_history_traces_what_it_knows():
    data = numbered(100)
    options = {"batch_size": 4, "shuffle": True}
    loader = fw.WindowLoader(data, **options)
    loader.set_epoch(2)
    batches = iter(loader)
    for _ in range(3):
        next(batches)
    state = loader.state_dict()
    old = {key: value for key, value in state.items() if key not in ("step", "history")} | {"version": 2}
    old["sources"] = {"data": state["sources"]["data"] | {"weight": "1"}}
    resumed = fw.WindowLoader(data, **options)
    resumed.load_state_dict(old)
    for epoch in (1, 2):
        with pytest.raises(ArgumentError, match=f"the steps of epoch {epoch} are not known") as caught:
            resumed.trace(0, epoch=epoch)
        assert "epoch 3 or a later one" in str(caught.value)
        with pytest.raises(ArgumentError, match="are not known"):
            resumed.when(0, epoch=epoch)
    next(iter(resumed))
    again = fw.WindowLoader(data, **options | {"batch_size": 5})
    again.load_state_dict(json.loads(json.dumps(resumed.state_dict())))
    with pytest.raises(ArgumentError, match="epoch 2 are not known"):
        again.trace(0)
    list(again)
    batch = next(iter(again))
    assert [entry.start for entry in again.trace(0)] == batch[0][:, 0].tolist()


def test_a_source_that_was_dropped_is_traced_where_it_is_given_again():
    data = {name: numbered(40, name=10 * i) for i, name in enumerate("ab")}
    loader = fw.WindowLoader(data, batch_size=4)
    next(iter(loader))
    without = fw.WindowLoader({"a": data["a"]}, batch_size=4)
    without.load_state_dict(loader.state_dict())
    next(iter(without))
    assert {entry.source for entry in without.trace(1)} == {"a"}
    with pytest.raises(ArgumentError, match="windows of the source 'b' came here, which the loader has no more"):
        without.trace(0)
    assert [one.row for one in without.when(0, source="a") if one.step == 0] == [0, 2]
    again = fw.WindowLoader(data, batch_size=4, weights={"a": 1, "b": 9})
    again.load_state_dict(without.state_dict())
    assert [entry.source for entry in again.trace(0)] == list("abab")


def test_documents_tell_their_files_where_a_store_knows_them(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "a.txt").write_text("first\nsecond\n")
    (folder / "b.txt").write_text("\nthird\n")
    (folder / "c.txt").write_text("second\nfourth\n")
    lines = {"tokenizer": "bytes", "documents": "line"}
    known = fw.prepare(folder, tmp_path / "known", **lines)
    loader = fw.WindowLoader(fw.WindowDataset(known, context_length=8), batch_size=3)
    assert [entry.documents for entry in loader.trace(0)] == [
        ((0, "a.txt"), (1, "a.txt")), ((1, "a.txt"), (2, "b.txt")), ((2, "b.txt"), (3, "c.txt"))
    ]  # fmt: skip
    assert loader.when(3) == [Occurrence(0, 0, 0, 2)]
    many = tmp_path / "many.txt"
    many.write_text("\n".join(map(str, range(40))))
    for store in (
        fw.prepare(folder, tmp_path / "fewer", deduplicate=True, **lines),
        fw.prepare(["first", "second"], tmp_path / "texts", tokenizer="bytes"),
        fw.prepare(many, tmp_path / "parts", split={"val": 0.5}, **lines),
    ):
        assert {store.file_of(i) for i in range(store.documents)} == {None}
    with pytest.raises(OutOfRangeError, match="no such document"):
        known.file_of(5)
    appended = folder / "d.txt"
    appended.write_text("fifth\n")
    more = fw.prepare(folder, tmp_path / "known", append=True, **lines)
    assert [more.file_of(i) for i in (0, 4, 5)] == ["a.txt", "c.txt", "d.txt"]
    (more.path / "sources.1.jsonl").write_bytes(b"")
    with pytest.raises(StoreError, match="the store is damaged"):
        fw.TokenStore.open(more.path).file_of(0)


def test_what_can_not_be_traced_is_refused():
    data = numbered(10)
    loader = fw.WindowLoader(data, batch_size=4, world_size=2, rank=1)
    bare = fw.WindowLoader(fw.WindowDataset(np.arange(9), context_length=2), batch_size=1)
    for call, problem in (
        (lambda: loader.trace(1), "epoch 0 has no such step"),
        (lambda: loader.trace(0, rank=2), "there was no such rank in step 0 of epoch 0"),
        (lambda: loader.when(7), "has no such document"),
        (lambda: loader.when(-1), "has no such document"),
    ):
        with pytest.raises(OutOfRangeError, match=problem):
            call()
    for call, problem in (
        (lambda: loader.trace(-1), "step must be at least 0"),
        (lambda: loader.trace(0, epoch=-1), "epoch must be at least 0"),
        (lambda: loader.when(0, source="web"), "there is no such source"),
        (lambda: fw.WindowLoader({"a": data, "b": data}, batch_size=1).when(0), "a document is one of a source"),
        (
            lambda: fw.WindowLoader(fw.WindowDataset(np.arange(9), context_length=2), batch_size=1).when(0),
            "no documents",
        ),
    ):
        with pytest.raises(ArgumentError, match=problem):
            call()
    assert bare.trace(3) == [TracedWindow("data", 3, 6, 8, ())]


@pytest.mark.parametrize(
    ("skip", "problem"),
    [
        ({"web": [0]}, "names sources that there are not"),
        ([7], "has no such document"),
        ([-1], "has no such document"),
        ([0.5], "takes a list of documents"),
        ("ab", "takes a list of documents"),
        (range(7), "leaves out every window of the source 'data'"),
    ],
)
def test_what_can_not_be_skipped_is_refused(skip, problem):
    with pytest.raises(ForewordError, match=problem):
        fw.WindowLoader(numbered(10), batch_size=1, skip=skip)
    with pytest.raises(ForewordError, match="a mixture has documents of several sources"):
        fw.WindowLoader({"a": numbered(10)}, batch_size=1, skip=[1])


def test_weights_that_do_not_repeat_themselves_are_refused_by_when_alone(monkeypatch):
    for module in ("timetable", "mixture", "tracing"):
        monkeypatch.setattr(f"foreword.windows.{module}.LONGEST", 5000)
    data = {name: numbered(3000, name=10 * i) for i, name in enumerate("ab")}
    loader = fw.WindowLoader(data, batch_size=10, weights={"a": 2**0.5, "b": 3**0.5})
    rows = [[int(row[0]) for row in inputs] for inputs, _ in loader]
    found = [entry.start + 10_000 * (entry.source == "b") for entry in loader.trace(433, epoch=0)]
    assert found == rows[433]
    with pytest.raises(ArgumentError, match="can't be found in reasonable time") as caught:
        loader.when(0, source="a")
    assert "0.449, 0.551" in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda history: "no",
        lambda history: [{}],
        lambda history: [history[0] | {"batch_size": 0}],
        lambda history: [history[0] | {"cursor": -1}],
        lambda history: [history[0] | {"windows": {"data": "many"}}],
        lambda history: [history[0] | {"windows": {"data": 9}}],
        lambda history: [history[0] | {"windows": {"data": 10, "web": "many"}, "weights": [[0, {"web": "1"}]]}],
        lambda history: [history[0] | {"weights": [[0, {"data": "1/2"}]]}],
        lambda history: [history[0] | {"skip": {"data": [999]}}],
        lambda history: [history[0] | {"skip": {"data": ["a"]}}],
    ],
)
def test_a_history_that_is_none_is_refused(change):
    loader = fw.WindowLoader(numbered(10), batch_size=1)
    state = loader.state_dict()
    with pytest.raises(ForewordError):
        loader.load_state_dict(state | {"history": change(state["history"])})


def test_an_account_tells_what_is_skipped():
    report = fw.WindowLoader(numbered(10), batch_size=2, skip=[1]).account()
    assert (report.skipped, report.samples, report.left_out) == (2, 8, 0)
    assert "2 of skipped documents do not come" in str(report)
