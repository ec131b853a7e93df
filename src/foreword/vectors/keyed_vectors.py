"""KeyedVectors: words and their vectors, with the interface of gensim 4.4's class of that name.

Reading order: ``table.py`` keys, vectors, norms, means · ``neighbours.py`` the nearest keys · ``similarity.py``
comparing given keys.

Not for: training. Costs: opening a store takes milliseconds and no memory that grows with it.
"""

from __future__ import annotations

from foreword.vectors.neighbours import Neighbours
from foreword.vectors.similarity import Similarities

__all__ = ["KeyedVectors"]


class KeyedVectors(Neighbours, Similarities):
    """Words and their vectors.

    ``foreword.load`` opens pretrained ones; the constructor makes an empty table to fill, as gensim's does.

    Args:
        vector_size: D.
        count: rows to allocate at once; ``add_vector`` fills them.
        dtype: of the rows.
        mapfile_path: kept, without effect, as in gensim.
    """
