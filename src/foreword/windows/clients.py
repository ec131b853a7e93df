"""What a loader shows to those who expect torch's DataLoader: samplers; and a callback for Hugging Face's Trainer.

Lightning tells the sampler which epoch begins. accelerate, and HF Trainer with it, builds a DataLoader of its own from
dataset, batch sampler and ``collate_fn`` when it skips batches. What is taken from a sampler moves the loader's place
as what its own iterators hand out does.

Not for: training (iterate the loader). Costs: a list of indices a batch; of the callback, the loader's state a step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from foreword.errors import ArgumentTypeError, StoreError
from foreword.windows.plan import my_places

if TYPE_CHECKING:
    from foreword.windows.loader import WindowLoader

__all__ = ["BatchSampler", "LikeDataLoader", "sampler", "trainer_callback"]

KEPT = "WindowLoader"  # the name of the loader's state in a checkpoint's trainer_state.json


def sampler(loader: WindowLoader, batches: Callable[[], Iterator[list[int]]], samples: int) -> Any:
    """The windows of this rank, one by one: a torch ``Sampler``, or ``SequentialSampler`` where nothing is shuffled.

    ``samples`` are the windows of an epoch of all ranks.
    """
    return _sampler_class(loader.shuffle)(loader, batches, samples)


class LikeDataLoader:
    """What is read of torch's DataLoader beside its batches, and the error for who takes a loader for a dataset."""

    # Read by those who build another DataLoader from it.
    num_workers: ClassVar[int] = 0
    prefetch_factor: ClassVar[int | None] = None
    # accelerate then leaves the loader as it is, which splits its windows among the ranks itself, and saves its state.
    _is_accelerate_prepared: ClassVar[bool] = True
    use_stateful_dataloader: ClassVar[bool] = True

    def __getitem__(self, index: Any) -> NoReturn:
        """Raise ArgumentTypeError: torch's DataLoader asks what it takes for a dataset."""
        raise ArgumentTypeError(
            "a loader gives batches in its order, and none by number",
            got=f"loader[{index!r}]",
            expected="for batch in loader",
            fix="iterate it; torch's DataLoader takes loader.dataset, with batch_sampler=loader.batch_sampler and "
            "collate_fn=loader.collate_fn",
        )


class BatchSampler:
    """Indices into ``loader.dataset``, a list for each of this rank's batches.

    Attributes:
        batch_size, drop_last: the loader's.
    """

    def __init__(self, loader: WindowLoader, batches: Callable[[], Iterator[list[int]]]) -> None:
        self._loader, self._batches = loader, batches
        self.batch_size, self.drop_last = loader.batch_size, loader.drop_last

    @property
    def sampler(self) -> Any:
        """The same windows one by one."""
        return self._loader.sampler

    def set_epoch(self, epoch: int) -> None:
        """``WindowLoader.set_epoch``."""
        self._loader.set_epoch(epoch)

    def __iter__(self) -> Iterator[list[int]]:
        return self._batches()

    def __len__(self) -> int:
        return len(self._loader)


@functools.cache
def _sampler_class(shuffle: bool) -> type:
    from torch.utils import data

    base: Any = data.Sampler if shuffle else data.SequentialSampler

    class WindowSampler(base):  # type: ignore[misc]
        """Indices into ``loader.dataset``, one by one, of this rank's batches; a batch's are taken together."""

        def __init__(self, loader: WindowLoader, batches: Callable[[], Iterator[list[int]]], samples: int) -> None:
            self._loader, self._batches, self._samples = loader, batches, samples
            self.data_source = loader.dataset

        def set_epoch(self, epoch: int) -> None:
            """``WindowLoader.set_epoch``."""
            self._loader.set_epoch(epoch)

        def __iter__(self) -> Iterator[int]:
            for batch in self._batches():
                yield from batch

        def __len__(self) -> int:
            return my_windows(self._samples, self._loader)

    return WindowSampler


def my_windows(samples: int, loader: WindowLoader) -> int:
    """How many windows of an epoch of ``samples`` are handed out on this rank."""
    B, rank, world_size = loader.batch_size, loader.rank, loader.world_size
    steps, rest = divmod(samples, B * world_size)
    return steps * B + (len(my_places(rest, B, rank, world_size)) if rest and not loader.drop_last else 0)


def trainer_callback(loader: WindowLoader) -> Any:
    """A callback for Hugging Face's ``Trainer`` that keeps the loader's place in each checkpoint.

    For ``ignore_data_skip=True``, with which the Trainer skips nothing when it resumes: the callback then loads the
    place, so that training goes on with the batch after the checkpoint, at once however late in an epoch that is.
    Without ``ignore_data_skip`` the Trainer skips batches itself, and the callback loads nothing. The place stands in
    the checkpoint's trainer_state.json, with the rest of the Trainer's state.

    Args:
        loader: what ``get_train_dataloader`` returns.

    Returns:
        A ``transformers.TrainerCallback``, for ``Trainer(callbacks=[…])``. When the Trainer resumes from a checkpoint
        that has no place, or one of another loader, it raises StoreError.
    """
    return _callback_class()(loader)


@functools.cache
def _callback_class() -> type:
    from transformers import TrainerCallback

    class KeepsPlace(TrainerCallback):
        """``trainer_callback``."""

        def __init__(self, loader: WindowLoader) -> None:
            self._loader = loader

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            if not state.global_step or not args.ignore_data_skip:
                return
            if KEPT not in state.stateful_callbacks:
                raise StoreError(
                    "the checkpoint does not say where the loader stood",
                    got=f"one of step {state.global_step:,}, saved without trainer_callback(loader)",
                    fix="resume without ignore_data_skip once: the Trainer then skips what was trained on",
                )
            self._loader.load_state_dict(state.stateful_callbacks[KEPT])

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            state.stateful_callbacks[KEPT] = self._loader.state_dict()

        def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            state.stateful_callbacks[KEPT] = self._loader.state_dict()

    return KeepsPlace
