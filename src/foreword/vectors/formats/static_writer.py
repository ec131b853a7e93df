"""Writing a static embedding model: the folder that model2vec or sentence-transformers reads, and ``foreword.load``.

Which of the two the vectors came from says the layout, for each has its own rules of unknown tokens and long texts.

Not for: what the files mean (``static_model``). Costs: the vectors once in memory.
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword._base.files import atomic_folder, output_path
from foreword.errors import FileError
from foreword.vectors.formats.static_model import MODEL
from foreword.vectors.store.encoder import TOKENIZER, TextEncoder

__all__ = ["write_static_model"]


def write_static_model(
    path: str | os.PathLike[str], ids: NDArray[np.int64], rows: NDArray[np.floating[Any]], encoder: TextEncoder
) -> None:
    """Write the folder ``path``, whole or not at all.

    Args:
        path: the folder, which isn't there yet, or is empty.
        ids: int64 [V], the tokens' ids, rising.
        rows: float [V, D], their vectors.
        encoder: how they make vectors of texts.

    Raises:
        FileError: the folder can't be written, or holds something.
    """
    from safetensors.numpy import save_file

    folder = output_path(path)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileError("can't write a model here", got="something is there", where=folder, fix="name another folder")
    gaps = len(ids) <= ids[-1]
    if encoder.library == "model2vec":
        tensors = {"embeddings": np.ascontiguousarray(rows)}
        if gaps:  # the library goes by the number of tokens
            tensors["mapping"] = np.zeros(ids[-1] + 1, dtype=np.int64)
            tensors["mapping"][ids] = np.arange(len(ids))
        config = {"model_type": "model2vec", "normalize": encoder.normalize, "max_length": encoder.max_length}
        files = {"config.json": {**config, "embedding_dtype": rows.dtype.name}}
    else:
        matrix = np.zeros((ids[-1] + 1, rows.shape[1]), dtype=rows.dtype)
        matrix[ids] = rows
        tensors = {"embedding.weight": matrix}
        prompts = {"prompts": {"default": encoder.prompt}, "default_prompt_name": "default"} if encoder.prompt else {}
        files = {"config_sentence_transformers.json": {**prompts, "similarity_fn_name": "cosine"}}
    kinds = ["StaticEmbedding", *(["Normalize"] if encoder.normalize else [])]
    modules = [
        {"idx": i, "name": str(i), "path": f"{i}_{kind}" if i else "", "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(kinds)
    ]
    with atomic_folder(folder) as partial:
        save_file(tensors, partial / MODEL)
        (partial / TOKENIZER).write_bytes(encoder.json())
        for name, content in {**files, "modules.json": modules}.items():
            (partial / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
