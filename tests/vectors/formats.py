"""Files of vectors in every format, written byte by byte for the tests, and the plainest ways to read them."""

import json
import pickle
import struct
import sys
import types

import numpy as np

from foreword.vectors.formats import Options, open_vectors
from foreword.vectors.sources.convert import convert
from foreword.vectors.store.store import VectorStore

MAGIC = 793712314


def read(path, **options):
    """(keys as bytes, rows float32, counts) of a file, by its reader alone."""
    with open_vectors(path, Options(**options)) as (_, reader):
        blocks = [make() for _, make in reader.blocks()]
    keys = []
    for block in blocks:
        ends = np.cumsum(block.lengths).tolist()
        keys += [block.blob[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    with np.errstate(over="ignore", invalid="ignore"):
        rows = np.concatenate([np.empty((0, reader.dim), np.float32), *(np.float32(block.rows) for block in blocks)])
    return keys, rows


def store_of(path, folder, *, dtype="float32", **options):
    """The store that a file converts to."""
    convert(path, folder, Options(**options), np.dtype(dtype), source={})
    return VectorStore.open(folder)


def word2vec_binary(words, rows, *, newline=b"\n", count=None):
    head = b"%d %d\n" % (len(words) if count is None else count, rows.shape[1])
    return head + b"".join(w + b" " + np.float32(r).tobytes() + newline for w, r in zip(words, rows, strict=True))


def text(words, rows, *, header=True, number=repr, blank=b" ", end=b"\n"):
    lines = [b"%d %d" % rows.shape] if header else []
    lines += [blank.join([w, *(number(float(x)).encode() for x in r)]) for w, r in zip(words, rows, strict=True)]
    return end.join(lines) + end


def fasttext(
    words,
    counts,
    matrix,
    *,
    minn,
    maxn,
    bucket,
    old=False,
    labels=(),
    quantised=0,
    pruned=-1,
    model=2,
    word_ngrams=1,
    version=12,
    pairs=(),
    dim=None,
    loss=2,
    output=None,
):
    """A fastText model: matrix float32 [words + bucket, D], or the bytes of a quantised one, with its dim; output
    float32 [words, D].
    """
    dim = dim or matrix.shape[1]
    data = b"" if old else struct.pack("<ii", MAGIC, version)
    data += struct.pack("<12id", dim, 5, 5, 1, 5, word_ngrams, loss, model, bucket, minn, maxn, 100, 1e-4)
    data += struct.pack("<iiiq", len(words) + len(labels), len(words), len(labels), sum(counts))
    data += b"" if old else struct.pack("<q", pruned)
    for word, count in zip(words, counts, strict=True):
        data += word + b"\0" + struct.pack("<qb", count, 0)
    for label in labels:
        data += label + b"\0" + struct.pack("<qb", 1, 1)
    data += b"".join(struct.pack("<ii", *pair) for pair in pairs)
    data += b"" if old else struct.pack("<b", quantised)
    if isinstance(matrix, bytes):
        return data + matrix + b"the output matrix, which nobody reads"
    data += struct.pack("<qq", *matrix.shape) + np.float32(matrix).tobytes()
    if output is not None:
        return data + (b"" if old else b"\0") + struct.pack("<qq", *output.shape) + np.float32(output).tobytes()
    return data + b"the output matrix, which nobody reads"


def product_quantised(rows, dim, dsub, *, qnorm, seed=0):
    """A quantised matrix of drawn codes and centroids: its bytes, and the rows as fastText's addcode makes them."""
    rng = np.random.default_rng(seed)

    def quantiser(dim, dsub):
        count = (dim + dsub - 1) // dsub
        last = dim - (count - 1) * dsub
        centroids = rng.normal(size=256 * dim).astype(np.float32)
        return struct.pack("<4i", dim, count, dsub, last) + centroids.tobytes(), centroids, count, last

    def centroid(centroids, count, dsub, last, part, code):
        at = part * 256 * dsub + code * last if part == count - 1 else (part * 256 + code) * dsub
        return centroids[at : at + (last if part == count - 1 else dsub)]

    head, centroids, count, last = quantiser(dim, dsub)
    codes = rng.integers(0, 256, (rows, count)).astype(np.uint8)
    data = struct.pack("<Bqqi", qnorm, rows, dim, codes.size) + codes.tobytes() + head
    dense = np.zeros((rows, dim), np.float32)
    norms = np.ones(rows, np.float32)
    if qnorm:
        norm_codes = rng.integers(0, 256, rows).astype(np.uint8)
        norm_head, norm_centroids, *_ = quantiser(1, 1)
        data += norm_codes.tobytes() + norm_head
        norms = norm_centroids[norm_codes]
    for i in range(rows):
        for part in range(count):
            for j, value in enumerate(centroid(centroids, count, dsub, last, part, int(codes[i, part]))):
                dense[i, part * dsub + j] += norms[i] * value
    return data, dense


def ngrams(word, minn, maxn):
    """The n-grams of a word in fastText's sense, the plain way."""
    padded = f"<{word}>"
    found = []
    for start in range(len(padded)):
        for n in range(minn, maxn + 1):
            gram = padded[start : start + n]
            if len(gram) == n and not (n == 1 and start in (0, len(padded) - 1)):
                found.append(gram)
    return found


def native(state, *, module="gensim.models.keyedvectors", name="KeyedVectors", protocol=4):
    """A pickle of an object of a class that isn't there, as gensim would make it."""
    names = ["gensim", "gensim.models", module]
    modules = {each: types.ModuleType(each) for each in names}
    kind = type(name, (), {"__module__": module})
    setattr(modules[module], name, kind)
    made = kind()
    vars(made).update(state)
    saved = {each: sys.modules.get(each) for each in names}
    sys.modules.update(modules)
    try:
        return pickle.dumps(made, protocol=protocol)
    finally:
        for each, module_ in saved.items():
            if module_ is None:
                del sys.modules[each]
            else:
                sys.modules[each] = module_


def safetensors(tensors):
    """A safetensors file of {name: (kind, shape, bytes)}."""
    header, at = {}, 0
    for name, (kind, shape, data) in tensors.items():
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
    told = json.dumps(header).encode()
    return len(told).to_bytes(8, "little") + told + b"".join(data for _, _, data in tensors.values())
