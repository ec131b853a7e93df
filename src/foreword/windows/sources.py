"""The sources of a loader by name: do they fit together?

Not for: reading tokens (``source``). Costs: nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from foreword.errors import ArgumentError, ArgumentTypeError
from foreword.windows.dataset import WindowDataset

__all__ = ["by_name"]


def by_name(data: WindowDataset | Mapping[str, WindowDataset]) -> dict[str, WindowDataset]:
    """The sources by name, sorted, so that their order in the mapping does not matter.

    Raises:
        ArgumentError: there are none, or their batches would differ in shape, or their ids in meaning.
    """
    if isinstance(data, WindowDataset):
        return {"data": data}
    sources = {str(name): data[name] for name in sorted(data)} if isinstance(data, Mapping) else {"data": data}
    for name, source in sources.items():
        if not isinstance(source, WindowDataset):
            raise ArgumentTypeError(
                "a loader takes a WindowDataset, or several by name",
                got=f"{type(source).__name__} as {name!r}",
                fix="make windows of it first: WindowDataset(store_or_ids, context_length=…)",
            )
    if not sources:
        raise ArgumentError("a mixture needs a source", fix="give WindowDatasets by name")
    shapes = {name: (d.context_length, d.tail == "keep", d.segments) for name, d in sources.items()}
    if len(set(shapes.values())) > 1:
        raise ArgumentError(
            "the sources of a mixture must agree on context_length, segments and the tail 'keep'",
            got="; ".join(f"{name}: {d.context_length}, {d.segments}, {d.tail!r}" for name, d in sources.items()),
        )
    if len({d.ngrams for d in sources.values()}) > 1:
        raise ArgumentError(
            "the sources of a mixture must have the same n-grams",
            got="; ".join(f"{name}: {d.ngrams and d.ngrams.identity}" for name, d in sources.items()),
            fix="give them all one ngrams=",
        )
    stores = {name: d.source.manifest["tokenizer"] for name, d in sources.items() if d.source is not None}
    tokenizers = {name: about["fingerprint"] for name, about in stores.items() if about.get("fingerprint")}
    if len(set(tokenizers.values())) > 1:
        raise ArgumentError(
            "the stores of a mixture come from different tokenizers: an id would mean different tokens",
            got="; ".join(f"{name}: {fingerprint}" for name, fingerprint in tokenizers.items()),
            fix="prepare them all with one tokenizer",
        )
    return sources
