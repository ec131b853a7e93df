"""Blocks encoded on a Ray cluster: the same bytes, other machines.

The reading, the order and the writing stay where prepare runs; blocks of about a MiB of text go out and ids come back.
It pays where encoding is slow (tokenizer.json, SentencePiece), or where the cores of one machine are not enough.

Not for: one machine, where threads need no copies. Costs: starting or joining Ray, 2–10 s; a process for each worker.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from foreword.errors import FileError, MissingPackageError
from foreword.tokens.preparing.blocks import Block, Encoded, Task, encode_block

__all__ = ["RayWorkers"]


class _Encoder:
    """The actor: a process that keeps a warm tokenizer."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def encode(self, block: Block) -> Encoded:
        """See ``encode_block``."""
        return encode_block(self._task, block)


class RayWorkers:
    """``count`` processes of a Ray cluster: the one at ``address``, or one started on this machine.

    Raises:
        MissingPackageError: ray is not installed.
        FileError: no cluster answers at ``address``.
    """

    def __init__(self, task: Task, count: int, address: str | None) -> None:
        try:
            import ray
        except ImportError as cause:
            raise MissingPackageError(
                "the engine ray needs the package ray", fix="pip install 'foreword[ray]'"
            ) from cause
        self.count = count
        self._ray: Any = ray
        self._started = not ray.is_initialized()
        if self._started:
            try:
                here: dict[str, Any] = {} if address else {"num_cpus": count, "include_dashboard": False}
                self._ray.init(address=address or "local", configure_logging=False, log_to_driver=False, **here)
            except (ConnectionError, RuntimeError, ValueError) as cause:
                raise FileError(
                    "can't reach the Ray cluster",
                    got=str(cause).splitlines()[0][:200],
                    where=address,
                    fix="start one: ray start --head",
                ) from cause
        actor = self._ray.remote(num_cpus=1)(_Encoder)
        self._actors = [actor.remote(task) for _ in range(count)]
        self._next = 0

    def submit(self, block: Block) -> Future[Encoded]:
        """Send a block to the next worker."""
        actor = self._actors[self._next % self.count]
        self._next += 1
        future: Future[Encoded] = actor.encode.remote(block).future()
        return future

    def close(self) -> None:
        """End the workers, and Ray if it was started here."""
        for actor in self._actors:
            self._ray.kill(actor)
        if self._started:
            self._ray.shutdown()
