"""Blocks encoded on a Ray cluster: the same bytes, other machines.

The reading, the order and the writing stay where prepare runs; blocks of about a MiB of text go out and ids come back.
It pays where encoding is slow (tokenizer.json, SentencePiece), or where the cores of one machine are not enough.

Not for: one machine, where threads need no copies. Costs: starting or joining Ray, 2–10 s; a process for each worker.
"""

from __future__ import annotations

import time
import warnings
from concurrent.futures import Future
from typing import Any

from foreword._base.words import first_line
from foreword.errors import FileError, MissingPackageError
from foreword.tokens.preparing.blocks import Block, Encoded, Task, encode_block

__all__ = ["RayWorkers"]

# Seconds after which it is said what is waited for, and between looks for workers that have started since.
PATIENCE = 10.0
LOOK = 1.0


class _Encoder:
    """The actor: a process that keeps a warm tokenizer."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def ready(self) -> bool:
        """Whether the process runs, which the answer shows."""
        return True

    def encode(self, block: Block) -> Encoded:
        """See ``encode_block``."""
        return encode_block(self._task, block)


class RayWorkers:
    """``count`` processes of a Ray cluster: the one at ``address``, or one started on this machine.

    Each takes a processor. Where fewer are free, those that could start do the work, and a warning says what is waited
    for; the others join in when they have started.

    Raises:
        MissingPackageError: ray is not installed.
        FileError: no cluster answers at ``address``.
    """

    def __init__(self, task: Task, count: int, address: str | None) -> None:
        try:
            import ray
        except ImportError as cause:
            raise MissingPackageError("the engine ray needs the package ray", fix="pip install ray") from cause
        self.count = count
        self._ray: Any = ray
        self._started = not ray.is_initialized()
        if self._started:
            try:
                here: dict[str, Any] = {} if address else {"num_cpus": count, "include_dashboard": False}
                self._ray.init(address=address or "local", configure_logging=False, log_to_driver=False, **here)
            except Exception as cause:  # Ray raises its own kinds, and bare ones
                raise FileError(
                    "can't reach the Ray cluster",
                    got=first_line(cause),
                    where=address,
                    fix="start one: ray start --head",
                ) from cause
        self._actors: list[Any] = []
        try:
            actor = self._ray.remote(num_cpus=1)(_Encoder)
            for _ in range(count):
                self._actors.append(actor.remote(task))
            self._starting = {actor.ready.remote(): actor for actor in self._actors}
        except BaseException:  # a Ray that was left would be taken for the caller's own
            self.close()
            raise
        self._running: list[Any] = []
        self._next = 0
        self._looked = self._began = time.monotonic()
        self._warned = False

    def submit(self, block: Block) -> Future[Encoded]:
        """Send a block to the next worker that runs; waits for the first."""
        self._look()
        actor = self._running[self._next % len(self._running)]
        self._next += 1
        future: Future[Encoded] = actor.encode.remote(block).future()
        return future

    def _look(self) -> None:
        """Take in the workers that have started since, once in a while; wait until there is one."""
        if self._running and (not self._starting or time.monotonic() < self._looked + LOOK):
            return
        while True:
            started, _ = self._ray.wait(
                list(self._starting),
                num_returns=1 if not self._running else len(self._starting),
                timeout=0 if self._running else LOOK,
            )
            self._running += [self._starting.pop(reference) for reference in started]
            self._looked = time.monotonic()
            if self._starting and not self._warned and self._looked > self._began + PATIENCE:
                self._warn()
            if self._running:
                return

    def _warn(self) -> None:
        self._warned = True
        total, free = (
            found.get("CPU", 0) for found in (self._ray.cluster_resources(), self._ray.available_resources())
        )
        warnings.warn(
            f"prepare: {len(self._running)} of {self.count} workers run on the Ray cluster; the others wait for "
            f"processors: it has {total:g}, of which {free:g} are free (ask for fewer: workers, --workers)",
            stacklevel=2,
        )

    def close(self) -> None:
        """End the workers, and Ray if it was started here."""
        for actor in self._actors:
            self._ray.kill(actor)
        if self._started:
            self._ray.shutdown()
