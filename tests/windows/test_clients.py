"""Other people's training loops over a loader: each epoch is its own, and stopped and resumed is not stopped."""

import json
import logging
import os
import pickle
import subprocess
import sys
import warnings
from itertools import chain, islice, repeat
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

import foreword as fw
from foreword.errors import ArgumentTypeError, StoreError
from foreword.windows import trainer_callback

pytestmark = pytest.mark.filterwarnings("ignore")

SCRIPT = Path(__file__).with_name("ranks_of_clients.py")


def one_source(**options):
    """10 batches an epoch; window i starts with token 4 · i."""
    data = fw.WindowDataset(np.arange(161), context_length=4)
    return fw.WindowLoader(data, **{"batch_size": 4, "shuffle": True, **options})


def two_sources(**options):
    data = {name: fw.WindowDataset(np.arange(81) + 1000 * i, context_length=4) for i, name in enumerate("ab")}
    return fw.WindowLoader(data, **{"batch_size": 4, "shuffle": True, "weights": {"a": 0.7, "b": 0.3}, **options})


@pytest.fixture(params=[one_source, two_sources], ids=["single", "mixture"])
def make_loader(request):
    return request.param


def firsts(batch):
    return tuple(batch[0][:, 0].tolist())


@pytest.fixture
def epochs(make_loader):
    loader = make_loader()
    return [[firsts(batch) for batch in loader] for _ in range(3)]


# ---------------------------------------------------------------- Lightning


@pytest.fixture
def lightning():
    module = pytest.importorskip("lightning")
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    yield module
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def fit(pl, loader, folder, *, checkpoint=None, validation=None, **options):
    """What a run trains on, and validates on; a checkpoint of each step is left in ``folder``."""

    class Model(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer, self.seen, self.validated = torch.nn.Linear(4, 1), [], []

        def training_step(self, batch, _):
            self.seen.append(firsts(batch))
            return self.layer(batch[0].float()).mean()

        def validation_step(self, batch, _):
            self.validated.append(firsts(batch))

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.0)

    save = pl.pytorch.callbacks.ModelCheckpoint(folder, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    trainer = pl.Trainer(
        **{"max_epochs": 3, "accelerator": "cpu", "devices": 1, "logger": False, **options},
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=checkpoint is None,
        callbacks=[] if checkpoint else [save],
    )
    model = Model()
    trainer.fit(model, loader, validation, ckpt_path=checkpoint)
    return model


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"limit_train_batches": 3},
        {"val_check_interval": 0.3, "limit_val_batches": 2},
        {"accumulate_grad_batches": 3},
    ],
    ids=lambda options: next(iter(options), "fit"),
)
def test_lightning(lightning, make_loader, epochs, tmp_path, options):
    def validation():
        return make_loader() if "val_check_interval" in options else None

    whole = fit(lightning, make_loader(), tmp_path, validation=validation(), **options)
    taken = options.get("limit_train_batches", 10)
    assert whole.seen == [batch for epoch in epochs for batch in epoch[:taken]]
    every = options.get("accumulate_grad_batches", 1)
    steps = len(list(tmp_path.glob("*.ckpt")))
    assert steps == 3 * -(-taken // every)
    stops = [2, steps // 3, steps // 3 + 1, steps - 1] if every == 1 else [1, 4, 5]
    for stop in stops:
        seen = fit(
            lightning,
            make_loader(),
            tmp_path,
            checkpoint=tmp_path / f"step={stop}.ckpt",
            validation=validation(),
            **options,
        ).seen
        epoch, step = divmod(stop, -(-taken // every))
        assert seen == whole.seen[epoch * taken + step * every :]


def test_lightning_evaluates_on_the_loader_it_trains_on(lightning, make_loader, epochs, tmp_path):
    loader = make_loader()
    model = fit(lightning, loader, tmp_path, validation=loader, val_check_interval=5, num_sanity_val_steps=0)
    assert model.seen == [batch for epoch in epochs for batch in epoch]


def test_lightning_overfits_batches_in_order(lightning, tmp_path):
    model = fit(lightning, one_source(shuffle=False), tmp_path, overfit_batches=2)
    assert model.seen == 3 * [(0, 4, 8, 12), (16, 20, 24, 28)]


def test_lightning_takes_several_loaders(lightning, make_loader, epochs, tmp_path):
    """The shorter one begins its next epoch within the longer one's, or ends them both."""

    def two():
        return {"long": make_loader(), "short": make_loader(batch_size=8)}

    class Model(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer, self.seen = torch.nn.Linear(4, 1), []

        def training_step(self, batch, _):
            self.seen.append({name: firsts(one) for name, one in batch.items()})
            return self.layer(torch.ones(1, 4)).sum()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.0)

    short = make_loader(batch_size=8)
    shorts = [[firsts(batch) for batch in short] for _ in range(3)]
    for mode, want in (
        ("max_size_cycle", zip(epochs[0], shorts[0] + shorts[1], strict=True)),
        ("min_size", [*zip(epochs[0], shorts[0], strict=False), *zip(epochs[1], shorts[1], strict=False)]),
    ):
        trainer = lightning.Trainer(
            max_epochs=1 if mode == "max_size_cycle" else 2,
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )
        model = Model()
        trainer.fit(model, lightning.pytorch.utilities.CombinedLoader(two(), mode))
        assert [(step["long"], step["short"]) for step in model.seen] == list(want)


def test_fabric_saves_and_loads_the_loader(lightning, make_loader, epochs, tmp_path):
    fabric = lightning.Fabric(accelerator="cpu", devices=1)
    loader = make_loader(device=fabric.device)
    list(islice(loader, 3))
    list(islice(loader, 4))
    fabric.save(tmp_path / "state.ckpt", {"loader": loader})
    resumed = make_loader(device=fabric.device)
    fabric.load(tmp_path / "state.ckpt", {"loader": resumed})
    assert [firsts(batch) for batch in resumed] == epochs[1][4:]
    with pytest.raises(TypeError, match="Only PyTorch DataLoader"):
        fabric.setup_dataloaders(loader)


# ---------------------------------------------------------------- Hugging Face's Trainer


class Model(torch.nn.Module):
    """Keeps what it is given."""

    def __init__(self):
        super().__init__()
        self.layer, self.seen = torch.nn.Linear(4, 1), []

    def forward(self, inputs, targets=None):
        self.seen.append(tuple(inputs[:, 0].tolist()))
        return self.layer(inputs.float()).mean()


def hf_run(loader, folder, *, data=None, checkpoint=None, callback=True, memory_ends_at=None, **options):
    """What a run of Hugging Face's Trainer trains on; once, its memory is at an end after so many batches."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")

    class Trainer(transformers.Trainer):
        def get_train_dataloader(self):
            return super().get_train_dataloader() if loader is None else loader

        def compute_loss(self, model, inputs, **_):
            if not started_over and len(model.seen) == memory_ends_at:
                started_over.extend(model.seen)
                model.seen.clear()
                raise RuntimeError("CUDA out of memory. Tried to allocate all of it.")
            return model(*inputs)

    started_over = []
    arguments = transformers.TrainingArguments(
        str(folder),
        **{"num_train_epochs": 3, "save_strategy": "steps" if checkpoint is None else "no", "save_steps": 1, **options},
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        logging_strategy="no",
        per_device_train_batch_size=4,
        remove_unused_columns=False,
    )
    model = Model()
    callbacks = [trainer_callback(loader)] if loader and callback else []
    trainer = Trainer(model, arguments, train_dataset=data, data_collator=one_source().collate_fn, callbacks=callbacks)
    trainer.train(resume_from_checkpoint=checkpoint)
    return model.seen


@pytest.mark.parametrize("accumulate", [1, 4])
def test_hf_trainer(make_loader, epochs, tmp_path, accumulate):
    options = {"gradient_accumulation_steps": accumulate}
    whole = hf_run(make_loader(), tmp_path, **options)
    assert whole == [batch for epoch in epochs for batch in epoch]
    steps = -(-10 // accumulate)
    for stop in (steps + 1, 2 * steps):
        options_here = {**options, "checkpoint": str(tmp_path / f"checkpoint-{stop}")}
        expected = whole[stop // steps * 10 + stop % steps * accumulate :]
        assert hf_run(make_loader(), tmp_path, **options_here) == expected  # the Trainer skips batches
        assert hf_run(make_loader(), tmp_path, **options_here, ignore_data_skip=True) == expected
    resumed = hf_run(make_loader(), tmp_path / "second", checkpoint=str(tmp_path / f"checkpoint-{steps}"), **options)
    assert resumed == whole[10:]


def test_hf_trainer_saves_the_place_with_each_epoch(epochs, tmp_path):
    whole = hf_run(one_source(), tmp_path, save_strategy="epoch")
    again = hf_run(one_source(), tmp_path, checkpoint=str(tmp_path / "checkpoint-20"), ignore_data_skip=True)
    assert again == whole[20:]


@pytest.mark.parametrize("at", [3, 13])
def test_hf_trainer_starts_over_with_a_smaller_batch(make_loader, epochs, tmp_path, at):
    """auto_find_batch_size begins training again, and with it the epochs."""
    seen = hf_run(make_loader(), tmp_path, memory_ends_at=at, auto_find_batch_size=True, save_strategy="no")
    assert seen == [batch for epoch in epochs for batch in epoch]


def test_hf_trainer_does_not_go_on_without_a_place(tmp_path):
    hf_run(one_source(), tmp_path, callback=False, max_steps=3)
    checkpoint = str(tmp_path / "checkpoint-2")
    with pytest.raises(StoreError, match="does not say where the loader stood"):
        hf_run(one_source(), tmp_path, checkpoint=checkpoint, ignore_data_skip=True)
    skipped = hf_run(one_source(), tmp_path, checkpoint=checkpoint, max_steps=6, save_strategy="steps")  # as it says
    again = hf_run(
        one_source(), tmp_path, checkpoint=str(tmp_path / "checkpoint-4"), ignore_data_skip=True, max_steps=6
    )
    assert again == skipped[2:]


def test_hf_trainer_does_not_go_on_with_another_loader(tmp_path):
    hf_run(one_source(), tmp_path, max_steps=3)
    with pytest.raises(StoreError, match="seed differs"):
        hf_run(one_source(seed=1), tmp_path, checkpoint=str(tmp_path / "checkpoint-2"), ignore_data_skip=True)


def test_hf_trainer_over_the_dataset(tmp_path):
    data = one_source().dataset
    whole = hf_run(None, tmp_path, data=data)
    assert len(whole) == 30
    assert len(set(whole)) == 30
    for epoch in range(3):
        seen = [first for batch in whole[10 * epoch : 10 * epoch + 10] for first in batch]
        assert sorted(seen) == list(range(0, 160, 4))
    resumed = hf_run(None, tmp_path, data=data, checkpoint=str(tmp_path / "checkpoint-17"))
    assert resumed == whole[17:]


# ---------------------------------------------------------------- accelerate


@pytest.fixture
def accelerate():
    module = pytest.importorskip("accelerate")
    yield module
    module.state.AcceleratorState._reset_state(True)


def test_accelerate_skips_first_batches(accelerate, make_loader, epochs):
    loader = make_loader()
    skipping = accelerate.skip_first_batches(loader, 4)
    assert len(skipping) == 6
    assert [firsts(batch) for batch in skipping] == epochs[0][4:]
    assert loader.state_dict()["epoch"] == 1
    assert [firsts(batch) for batch in loader] == epochs[1]
    iterator = iter(accelerate.skip_first_batches(loader, 4))
    assert firsts(next(iterator)) == epochs[2][4]
    assert loader.state_dict()["cursor"] == 20
    fresh = make_loader()
    fresh.set_epoch(2)
    assert [firsts(batch) for batch in accelerate.skip_first_batches(fresh, 9)] == epochs[2][9:]


def test_batches_after_skipping_are_those_of_the_loader(accelerate):
    for options in ({"tail": "keep"}, {"tail": "pad"}, {"packing": "best-fit", "segments": True}):
        data = fw.WindowDataset(
            np.arange(400), context_length=8, within="document", offsets=range(0, 401, 20), **options
        )
        for given in (data, {"a": data, "b": data}):
            ours = fw.WindowLoader(given, batch_size=3, shuffle=True, drop_last=False)
            theirs = fw.WindowLoader(given, batch_size=3, shuffle=True, drop_last=False)
            for one, other in zip(islice(ours, 2, None), accelerate.skip_first_batches(theirs, 2), strict=True):
                assert type(one) is type(other)
                pairs = ((one[k], other[k]) for k in one) if isinstance(one, dict) else zip(one, other, strict=True)
                assert all(torch.equal(a, b) for a, b in pairs)


def test_accelerate_prepares_and_saves(accelerate, make_loader, epochs, tmp_path):
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=3)
    loader = accelerator.prepare(make_loader())
    accelerator.register_for_checkpointing(loader)
    list(loader)
    list(islice(loader, 3))
    accelerator.save_state(tmp_path)
    other = accelerate.Accelerator(cpu=True)
    resumed = other.prepare(make_loader())
    other.register_for_checkpointing(resumed)
    other.load_state(tmp_path)
    assert [firsts(batch) for batch in resumed] == epochs[1][3:]


@pytest.mark.parametrize("stop", [1, 4, 10, 13])  # between two steps of the optimizer, too, and at an epoch's end
def test_accelerate_accumulates_gradients_over_all_windows(accelerate, make_loader, epochs, tmp_path, stop):
    def run(batches, *, save_at=None, resume=False):
        accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=3)
        model = torch.nn.Linear(4, 1)
        model, optimizer, loader = accelerator.prepare(model, torch.optim.SGD(model.parameters()), make_loader())
        accelerator.register_for_checkpointing(loader)
        if resume:
            accelerator.load_state(tmp_path)
        seen, stepped = [], []
        while len(seen) < batches:
            for batch in loader:
                with accelerator.accumulate(model):
                    accelerator.backward(model(batch[0].float()).mean())
                    optimizer.step()
                    optimizer.zero_grad()
                seen.append(firsts(batch))
                stepped.append(accelerator.sync_gradients)
                if len(seen) == save_at:
                    accelerator.save_state(tmp_path)
                if len(seen) == batches:
                    break
        return seen, stepped

    whole = [batch for epoch in epochs[:2] for batch in epoch]
    seen, stepped = run(stop, save_at=stop)
    assert seen == whole[:stop]
    assert stepped == [(i + 1) % 3 == 0 for i in range(stop)]
    assert run(20 - stop, resume=True)[0] == whole[stop:]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="starts its processes by fork")
def test_accelerate_on_two_processes(tmp_path):
    pytest.importorskip("accelerate")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("ACCELERATE_", "MASTER_"))}
    done = subprocess.run(
        [sys.executable, SCRIPT, tmp_path], capture_output=True, text=True, timeout=120, env=environment
    )
    assert done.returncode == 0, done.stderr
    one, two = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))

    def together(steps, others):
        return [window for pair in zip(steps, others, strict=True) for batch in pair for window in batch]

    for name in ("prepared", "short"):
        every = [together(steps, others) for steps, others in zip(one[name], two[name], strict=True)]
        windows = 400 if name == "prepared" else 33
        assert all(sorted(order[:windows]) == list(range(windows)) for order in every)
        assert every[0] != every[1]
    assert [order[33:] for order in every] == [order[:1] for order in every]  # one repeats the epoch's first
    for seen in (one, two):
        assert seen["skipped"] == seen["prepared"][0][20:]
        assert seen["before"] + seen["after"] == seen["prepared"][0]
    assert one["given"] == two["prepared"][0]
    assert two["given"] == one["prepared"][0]


# ---------------------------------------------------------------- torch


def test_torchs_dataloader_over_what_the_loader_offers(make_loader, epochs):
    loader = make_loader()
    theirs = DataLoader(loader.dataset, batch_sampler=loader.batch_sampler, collate_fn=loader.collate_fn)
    one_by_one = DataLoader(loader.dataset, 4, sampler=loader.sampler, collate_fn=loader.collate_fn)
    assert (len(theirs), len(one_by_one), len(loader.sampler)) == (10, 10, 40)
    assert [firsts(batch) for batch in theirs] == epochs[0]
    assert [firsts(batch) for batch in one_by_one] == epochs[1]
    batch = next(iter(theirs))
    assert isinstance(batch, tuple)
    assert firsts(batch) == epochs[2][0]
    assert loader.state_dict()["cursor"] == 4
    with pytest.raises(IndexError, match="there is no window 40 of 40"):
        loader.dataset[40]


@pytest.mark.parametrize("options", [{}, {"batch_size": None}, {"shuffle": True}])
def test_a_loader_is_no_dataset(options):
    with pytest.raises(ArgumentTypeError, match=r"batch_sampler=loader\.batch_sampler"):
        next(iter(DataLoader(one_source(), **options)))


class Wrapped(IterableDataset):
    """A loader's batches, as many write it."""

    def __init__(self, **options):
        self.options = options

    def __iter__(self):
        worker = get_worker_info()
        shared = {"rank": worker.id, "world_size": worker.num_workers} if self.options.get("share") else {}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield from (firsts(batch) for batch in one_source(**shared))
        yield [str(warning.message) for warning in caught]


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("share", [False, True])
def test_a_loader_in_several_workers_of_a_dataloader_warns(workers, share):
    """Every worker would hand out every batch."""
    if share and not workers:
        return
    found = list(DataLoader(Wrapped(share=share), batch_size=None, num_workers=workers, collate_fn=lambda one: one))
    batches = [one for one in found if isinstance(one, tuple)]
    messages = [message for one in found if isinstance(one, list) for message in one]
    windows = sorted(window for batch in batches for window in batch)
    times = workers if workers > 1 and not share else 1
    assert windows == sorted(list(range(0, 160, 4)) * times)
    assert len(messages) == (workers if times > 1 else 0)
    assert all("every batch comes 2 times" in message for message in messages)


def test_batches_without_an_end(make_loader, epochs):
    """What to write for ``itertools.cycle``, which keeps the first epoch's batches and repeats them."""
    loader = make_loader()
    endless = chain.from_iterable(repeat(loader))
    assert [firsts(next(endless)) for _ in range(13)] == epochs[0] + epochs[1][:3]
    resumed = make_loader()
    resumed.load_state_dict(loader.state_dict())
    rest = chain.from_iterable(repeat(resumed))
    assert [firsts(next(rest)) for _ in range(17)] == epochs[1][3:] + epochs[2]


def test_workers_by_spawn_map_the_file_again(tmp_path):
    np.arange(4 * 4000 + 1, dtype=np.uint16).tofile(tmp_path / "ids.bin")
    data = fw.WindowDataset(np.memmap(tmp_path / "ids.bin", np.uint16, "r"), context_length=4)
    assert len(pickle.dumps(data)) < 2000
    theirs = DataLoader(data, batch_size=500, num_workers=1, multiprocessing_context="spawn")
    assert [first for batch in theirs for first in batch[0][:, 0].tolist()] == list(range(0, 16_000, 4))


def test_a_stateful_dataloader_over_the_loaders_sampler(make_loader, epochs):
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader

    def dataloader():
        loader = make_loader()
        return stateful(loader.dataset, batch_sampler=loader.batch_sampler, collate_fn=loader.collate_fn)

    stopped = dataloader()
    before = [firsts(batch) for batch in islice(stopped, 3)]
    state = stopped.state_dict()
    resumed = dataloader()
    resumed.load_state_dict(state)
    assert before + [firsts(batch) for batch in resumed] == epochs[0]
