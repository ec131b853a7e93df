"""The tables of figures in README.md and docs/: which results of which benchmark stand in which row.

``make_tables.py`` writes them. A claim here is spelt as its script in benchmarks/ prints it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence


@dataclasses.dataclass(frozen=True)
class Row:
    """A claim as a row: the work in words, and how each rival is named in the table."""

    work: str
    script: str
    claim: str
    rivals: Mapping[str, str]
    ours: str = "Foreword"


@dataclasses.dataclass(frozen=True)
class Claims:
    """A table with a row for each claim: the work, Foreword's figure, the rivals', and the ratio."""

    rows: Sequence[Row]
    packages: Sequence[str]

    def figures(self) -> Iterator[tuple[str, str, str]]:
        """Script, claim and contender of every figure."""
        for row in self.rows:
            yield from ((row.script, row.claim, name) for name in (row.ours, *row.rivals))


@dataclasses.dataclass(frozen=True)
class Systems:
    """A table with a row for each system and a column for each claim: the figure, in brackets the ratio."""

    script: str
    claims: Mapping[str, str]  # by claim, the head of its column
    systems: Mapping[str, str]  # by contender, how it is named
    packages: Sequence[str] = ()
    head: str = "system"
    bare: bool = False  # figures without their unit, which the page says
    ratios: bool = True

    def figures(self) -> Iterator[tuple[str, str, str]]:
        """Script, claim and contender of every figure."""
        yield from ((self.script, claim, name) for claim in self.claims for name in self.systems)


GENSIM = {"gensim": "gensim"}
MAPPED = {"gensim, mapped": "gensim, mapped"}
OPEN = Row(
    "open 400,000 × 300 and answer, fresh process",
    "vectors/open.py",
    "open + first most_similar, 400,000 × 300",
    MAPPED,
)
WARM = Row("one warm `most_similar`, 400,000 × 300", "vectors/query.py", "warm most_similar, 400,000 × 300", GENSIM)
ANALOGIES = Row("19,544 analogies, 400,000 × 50", "vectors/analogies.py", "19,544 analogies, 400,000 × 50", GENSIM)
TEXT = Row(
    "read word2vec text, 100,000 × 300 (346 MB), to a store",
    "vectors/read_text.py",
    "read word2vec text, 100,000 × 300",
    GENSIM,
)
IDS = Row(
    "20 MB of text → GPT-2 ids, one thread, words not seen before",
    "corpus/text_to_ids.py",
    "text → ids, new text",
    {"tiktoken, list": "tiktoken, a list", "tiktoken, numpy": "a numpy array"},
)
STORE = Row(
    "75 MB in 3,750 files → token store, one worker",
    "corpus/files_to_store.py",
    "files → store, one worker",
    {"tiktoken + tofile": "tiktoken + `tofile`"},
)
SHUFFLED = Row(
    "a shuffled epoch of batches [8, 4]",
    "loader/notebook_epoch.py",
    "an epoch shuffled, [8, 4] stride 4",
    {"the notebook's": "the notebook's Dataset + DataLoader"},
)
LARGE = Row(
    "the same at [32, 256], a longer epoch",
    "loader/epoch.py",
    "a shuffled epoch, [32, 256]",
    {"notebook": "the notebook's", "plain copy": "a plain copy of the bytes"},
)
STEP = Row(
    "a training step of the table, V = 50,257, D = 256",
    "embeddings/step.py",
    "forward + backward + step [8, 4]",
    {"torch sparse Embedding + SparseAdam": "torch's sparse", "torch dense Embedding + AdamW": "dense AdamW"},
)


def forward(work: str, shape: str, dim: int) -> Row:
    """A row of the forward pass, by the shape of the batch and D."""
    rivals = {"two nn.Embeddings and +": "two `nn.Embedding`s and +", "Hugging Face GPT-2": "Hugging Face"}
    return Row(work, "embeddings/forward.py", f"forward {shape}, D = {dim}", rivals)


FORWARD = [
    forward(f"{shape}, D = {dim}", shape, dim)
    for dim in (256, 768)
    for shape in ("[8, 4]", "[8, 256]", "[32, 256]", "[16, 1024]")
]
ROWS = [f"{n:,}" for n in (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000)]
PACKERS = {"trl bfd": "trl", "grain best-fit, 64 bins": "grain, 64 bins"}
LOG = {"a log of 999,936 samples": "a log of the first million samples"}
FIRST = {"grain": "grain", "nanoGPT": "nanoGPT"}
LARGER, FOLDER = "ngrams/larger_than_memory.py", "a training step with a table of n-grams of 50 GB"
MEMORY = {"in memory": "the same rows in memory"}
TRAIN = Row("train skip-gram vectors, two workers", "training/speed.py", "train skip-gram", GENSIM)
MEMORY_OF_TRAINING = "training's memory beside its tables"

# On a GPU: the shapes of the layer's batches, and the widths of the loader's models.
GPU_SHAPES = ("[8, 4], D = 256,", "[32, 256], D = 256,", "[32, 1024], D = 768,")
STEPS, WIDTHS = "training steps [16, 1024], width", (768, 256, 64)
LOADERS = {
    "Foreword, compact, prefetch 2": "Foreword, `compact=True, prefetch=2`",
    "Foreword, prefetch 2": "Foreword, `prefetch=2`",
    "Foreword, compact": "Foreword, `compact=True`",
    "Foreword": "Foreword",
    "torch's DataLoader, 2 workers, pinned": "torch's DataLoader, two workers, pinned memory",
    "one batch again and again": "one batch again and again: the limit",
}

TABLES: dict[str, Claims | Systems] = {
    "speed": Claims(
        [
            *(OPEN, ANALOGIES, WARM, TEXT, TRAIN, IDS, STORE, SHUFFLED, LARGE),
        ],
        ["numpy", "torch", "gensim", "tiktoken"],
    ),
    "speed-layers": Claims(
        [
            forward("input embedding, forward [8, 4], D = 256", "[8, 4]", 256),
            forward("the same, [32, 256]", "[32, 256]", 256),
            STEP,
        ],
        ["torch", "transformers"],
    ),
    "vectors": Claims(
        [
            OPEN,
            WARM,
            dataclasses.replace(WARM, work="the same, 3,000,000 × 300", claim="warm most_similar, 3,000,000 × 300"),
            *(
                Row(
                    f"a batch of 64, per query, {size}",
                    "vectors/query.py",
                    f"a batch of 64, {size}, per query",
                    {"gensim, one by one": "gensim, one by one"},
                )
                for size in ("400,000 × 300", "3,000,000 × 300")
            ),
            *(
                Row(
                    f"a batch of 64, {size}, per query, beside a product of the whole batch",
                    "vectors/query.py",
                    f"a batch of 64, {size}, per query",
                    {"numpy, one product": "numpy, one product", "… and argpartition": "… and argpartition"},
                )
                for size in ("400,000 × 300",)
            ),
            *(
                Row(claim, "vectors/first_queries.py", claim, GENSIM)
                for claim in (
                    "the first 50 queries of a process, 400,000 × 50",
                    "the first 50 queries of a process, 400,000 × 50, nothing cached",
                    "the slowest of the first 50 queries, 400,000 × 50",
                )
            ),
            Row(
                "one warm query, 400,000 × 300, beside reading its codes",
                "vectors/query.py",
                "one warm query beside reading its codes, 400,000 × 300",
                {"reading the codes": "reading the codes"},
            ),
            Row(
                "300 drawn queries, GloVe 400,000 × 50, per query",
                "vectors/drawn.py",
                "300 drawn queries, 400,000 × 50, per query",
                GENSIM,
            ),
            ANALOGIES,
            dataclasses.replace(
                ANALOGIES,
                work="the same, the first in a process, kernels to be loaded",
                ours="Foreword, the first in a process",
            ),
            TEXT,
            Row(
                "read word2vec binary, 400,000 × 300, to a store",
                "vectors/read_binary.py",
                "read word2vec binary, 400,000 × 300",
                GENSIM,
            ),
            Row(
                "`foreword similar king woman --minus man`, whole process",
                "vectors/similar.py",
                "king + woman − man, whole process",
                MAPPED,
            ),
            Row(
                "private memory added by opening 400,000 × 300 and one query",
                "vectors/memory.py",
                "private memory added by opening 400,000 × 300 and one query",
                MAPPED,
            ),
        ],
        ["numpy", "numba", "gensim"],
    ),
    "growth": Systems(
        "vectors/growth.py",
        {f"{claim}, 300 dimensions": claim for claim in ("open", "first query", "warm query")},
        {f"{rows} rows": rows for rows in ROWS},
        ["numpy", "numba"],
        head="rows",
        ratios=False,
    ),
    "tokens": Claims(
        [
            STORE,
            Row(
                "the same, two workers",
                "corpus/files_to_store.py",
                "files → store, two workers",
                {
                    "datasets.map, tiktoken, 2 processes": "datasets.map, tiktoken, 2 processes",
                    "datatrove, tokenizers, 2 processes": "datatrove, tokenizers, 2 processes",
                },
            ),
            IDS,
            Row(
                "the same text again",
                "corpus/text_to_ids.py",
                "text → ids, again",
                {"tiktoken, list": "tiktoken, a list"},
            ),
            Row(
                "open a store of 100 MB of tokens, fresh process",
                "corpus/open_store.py",
                "open a store of 100 MB and read its last token",
                {"Foreword, 10 GB": "of 10 GB"},
            ),
        ],
        ["gigatoken", "tiktoken", "datasets", "datatrove", "numpy"],
    ),
    "remote": Claims(
        [
            Row(
                "a shuffled epoch, [8, 1024], 100 million tokens",
                "remote/epoch.py",
                "shuffled epoch from an object store, cache a third of the data",
                {"litdata": "litdata", "MosaicML streaming": "MosaicML streaming"},
            ),
            Row(
                "a shuffled epoch with 50 ms added to each request, 200 million tokens",
                "remote/waiting.py",
                "the same with 50 ms added to each request",
                {"Foreword": "without"},
                ours="Foreword, 50 ms a request more",
            ),
            Row(
                "open 10 GB and take the first batch [8, 1024] in order, 1 ms added to each request, after imports",
                "remote/first_batch.py",
                "open + first batch of a far store of 10 GB, 1 ms a request",
                {},
            ),
        ],
        ["litdata", "torch", "numpy"],
    ),
    "ngram-folder": Claims(
        [
            Row(
                "a training step, after a first pass over the same batches", LARGER, FOLDER, MEMORY, ours="in a folder"
            ),
            Row(
                "the same, none of the rows in memory",
                LARGER,
                f"{FOLDER}, none of it in memory",
                {"not": "not reading ahead"},
                ours="reading ahead",
            ),
            Row(
                "of which waiting for the disk",
                LARGER,
                f"{FOLDER}, none of it in memory: share of the time spent waiting",
                {"not": "not reading ahead"},
                ours="reading ahead",
            ),
            Row(
                "private memory added",
                LARGER,
                "private memory added by a table of n-grams of 50 GB",
                {},
                ours="in a folder",
            ),
        ],
        ["torch", "numpy", "numba"],
    ),
    "ngram-rows": Claims(
        [
            Row(
                "gather, backward and step, rows of 64",
                "ngrams/rows.py",
                "gather + backward + step, n-gram rows of 64",
                {
                    "torch sparse Embedding + SparseAdam": "torch's sparse Embedding + SparseAdam",
                    "torch sparse EmbeddingBag + SparseAdam": "its EmbeddingBag",
                },
            )
        ],
        ["torch", "numba"],
    ),
    "ngram-loss": Claims(
        [
            Row(work, "ngrams/loss.py", claim, {"without": "without"}, ours="with the table")
            for work, claim in (
                ("validation loss after 400 steps", "validation loss, equal steps"),
                ("validation loss after as much time", "validation loss, equal time"),
                ("a step", "a step"),
            )
        ],
        ["torch"],
    ),
    "scale": Systems(
        "corpus/scale.py",
        {
            "prepare 100 MB of real text, two workers": "time",
            "prepare 100 MB of real text, two workers, peak memory": "peak memory",
        },
        {
            "Foreword": "100 MB of real text",
            "ten times as much": "1 GB, the same documents drawn again",
            "ten times as much, new words": "1 GB of random words that never come twice",
        },
        ["gigatoken"],
        head="prepare, two workers",
    ),
    "epoch": Systems(
        "loader/epoch.py",
        {f"a shuffled epoch, {shape}": shape for shape in ("[8, 4]", "[32, 256]", "[16, 1024]")},
        {
            "Foreword": "Foreword",
            "notebook": "the notebook's Dataset + DataLoader, its lists built before",
            "lazy DataLoader": "a lazy map-style set in torch's DataLoader",
            "litdata": "litdata",
            "HF datasets": "HF datasets",
            "grain": "grain",
            "nanoGPT": "nanoGPT's get_batch",
            "plain copy": "plain copy of the output bytes, a batch at a time",
        },
        ["torch", "numpy", "litdata", "datasets", "grain"],
        bare=True,
    ),
    "compact": Systems(
        "loader/epoch.py",
        {f"a shuffled epoch, compact, {shape}": shape for shape in ("[8, 4]", "[32, 256]", "[16, 1024]")},
        {"Foreword": "Foreword, `compact=True`", "plain copy": "plain copy of blocks [B, T + 1] of two bytes an id"},
        ["torch", "numpy"],
        bare=True,
    ),
    "windows": Claims(
        [
            SHUFFLED,
            dataclasses.replace(SHUFFLED, work="the same in order", claim="an epoch in order, [8, 4] stride 4"),
            dataclasses.replace(
                SHUFFLED, work="build the dataset, 400,000 tokens", claim="build the dataset, [8, 4] stride 4"
            ),
            Row(
                "open + first shuffled batch [32, 256], 42 million tokens, fresh process after imports",
                "loader/first_batch.py",
                "open + first shuffled batch [32, 256]",
                FIRST,
            ),
            Row(
                "the same over 1 TB of tokens, a sparse file",
                "loader/first_batch.py",
                "open + first shuffled batch [32, 256] of 1 TB",
                FIRST,
            ),
            Row(
                "its new resident memory",
                "loader/first_batch.py",
                "open + first shuffled batch [32, 256] of 1 TB, new resident memory",
                FIRST,
            ),
            Row(
                "new memory, stride 1, context_length 256, 35 million tokens, shuffled",
                "loader/memory.py",
                "new memory, stride 1, context_length 256, 35 million tokens, shuffled",
                {
                    "grain": "grain",
                    "torch's DataLoader over WindowDataset": "torch's DataLoader over the same dataset",
                },
            ),
            Row(
                "pack 100,000 documents into windows of 1,024",
                "loader/packing.py",
                "pack 100,000 documents into windows of 1,024",
                {"Foreword, packing and all batches": "with all batches", **PACKERS},
            ),
            Row(
                "padding that the packing leaves",
                "loader/packing.py",
                "pack 100,000 documents into windows of 1,024, padding",
                PACKERS,
            ),
        ],
        ["torch", "numpy", "grain", "trl", "datasets"],
    ),
    "provenance": Claims(
        [
            Row(f"{work}{later}", "loader/trace.py", f"{claim}, 1,000,000,000 windows in three sources{later}", rivals)
            for later in ("", ", after four changes")
            for work, claim, rivals in (
                ("`trace` of a step", "trace of a step", {}),
                ("`when` of a document", "when of a document", LOG),
            )
        ],
        ["numpy"],
    ),
    "forward": Claims(FORWARD, ["torch", "transformers"]),
    "step": Systems(
        "embeddings/step.py",
        {"forward + backward + step [8, 4]": "time"},
        {
            "Foreword": "Foreword, `sparse=True`, RowAdam + fused AdamW",
            "Foreword, sparse + torch's SparseAdam": "the same with torch's SparseAdam",
            "torch sparse Embedding + SparseAdam": "torch's sparse `nn.Embedding`, SparseAdam + AdamW",
            "torch sparse Embedding + SparseAdam, fused AdamW": "the same with fused AdamW",
            "torch dense Embedding + AdamW, fused": "dense gradients, fused AdamW",
            "torch dense Embedding + AdamW": "dense gradients, AdamW",
        },
        ["torch"],
    ),
    "check": Systems(
        "embeddings/check.py",
        {f"forward [16, 1024], D = {dim}": f"D = {dim}" for dim in (256, 768)},
        {
            "Foreword": "Foreword",
            "without checks": "the same layer without its checks",
            "a check before the lookup": "a pass over the ids before the lookup",
        },
        ["torch"],
    ),
    "gpu-layer": Systems(
        "gpu/embeddings.py",
        {f"forward + backward {shape} on cuda": shape.removesuffix(",") for shape in GPU_SHAPES},
        {
            "Foreword": "Foreword",
            "two nn.Embeddings and +": "two `nn.Embedding`s and +",
            "Foreword, compiled": "Foreword, compiled",
            "two nn.Embeddings and +, compiled": "two `nn.Embedding`s and +, compiled",
            "limit": "the bytes that must move, at the speed of a copy",
        },
        ["torch"],
    ),
    "gpu-step": Systems(
        "gpu/embeddings.py",
        {f"forward + backward + step {shape} on cuda": shape.removesuffix(",") for shape in GPU_SHAPES},
        {
            "Foreword": "Foreword, `sparse=True`, RowAdam + fused AdamW",
            "torch sparse Embedding + SparseAdam": "torch's sparse `nn.Embedding`, SparseAdam + fused AdamW",
            "torch dense Embedding + AdamW, fused": "dense gradients, fused AdamW",
            "torch dense Embedding, compiled + AdamW, fused": "the same, compiled",
            "limit": "the bytes that must move, at the speed of a copy",
        },
        ["torch"],
    ),
    "gpu-loader": Systems(
        "gpu/loader.py",
        {f"{STEPS} {width}": f"width {width}" for width in WIDTHS},
        LOADERS,
        ["torch"],
        bare=True,
    ),
    "gpu-waiting": Systems(
        "gpu/loader.py",
        {f"{STEPS} {width}, the share that wait for their batch": f"width {width}" for width in WIDTHS},
        LOADERS,
        ["torch"],
        ratios=False,
        bare=True,
    ),
    "training": Claims(
        [
            *(
                Row(work, "training/speed.py", f"train {claim}", GENSIM)
                for work, claim in (
                    ("skip-gram, two workers, vocabulary given", "skip-gram"),
                    ("CBOW", "cbow"),
                    ("fastText's skip-gram", "fastText skip-gram"),
                    ("skip-gram, a vocabulary of 3,000", "skip-gram, a vocabulary of 3,000"),
                )
            ),
            Row("count the words of a file", "training/count.py", "count the words of a file", GENSIM),
            Row(
                "two threads beside one",
                "training/threads.py",
                "train skip-gram by two threads",
                {"one thread": "one thread"},
                ours="two threads",
            ),
            Row(
                "memory of counting and encoding beside the imports",
                "training/count.py",
                "peak memory of counting and encoding, beside the imports",
                {},
            ),
            Row(
                "memory of training beside its tables", "training/memory.py", "training's memory beside its tables", {}
            ),
        ],
        ["numba", "gensim"],
    ),
    **{
        f"training-quality{name}": Systems(
            "training/quality.py",
            {f"{kind}: {of}": of for of in ("WordSim-353", "SimLex-999", "analogies")},
            {"Foreword": "Foreword", "gensim": "gensim"},
            ["gensim"],
            head=head,
            bare=True,
            ratios=False,
        )
        for name, kind, head in (
            ("", "skip-gram", "skip-gram"),
            ("-small", "skip-gram, a vocabulary of 3,000", "skip-gram, a vocabulary of 3,000"),
            ("-cbow", "cbow", "CBOW"),
            ("-fasttext", "fastText skip-gram", "fastText's skip-gram"),
        )
    },
    "training-first-rows": Systems(
        "training/first_rows.py",
        {"validation loss of a small GPT, at equal time": "validation loss, nats"},
        {"random first rows": "random first rows", "trained first rows": "first rows that are trained"},
        ["torch"],
        head="table",
        bare=True,
        ratios=False,
    ),
    "explorer": Systems(
        "explorer/similar_load.py",
        {
            "similar over HTTP, 16 connections": "answers",
            "similar over HTTP, 16 connections, 99th percentile of the waiting time": "99 of 100 within",
        },
        {
            "Foreword": "Foreword",
            "gensim + FastAPI": "ten lines of FastAPI around gensim",
            "gensim + FastAPI, one BLAS thread": "the same, BLAS held to one thread",
        },
        ["gensim", "fastapi", "uvicorn"],
        head="server",
    ),
    "map": Systems(
        "explorer/map_frames.py",
        {
            "frames of the map while it is dragged": "frames a second",
        },
        {"all of it": "all of it", "a fifth": "a fifth of its width", "a region": "a region"},
        head="on the screen",
        bare=True,
        ratios=False,
    ),
    "first-view": Systems(
        "explorer/first_view.py",
        {"the whole Flow view": "after the address is opened"},
        {
            "Foreword": "all of the Flow view",
            "its tokens": "its tokens and windows",
            "all of it, server just started": "all of it, while the server still loads torch",
            "its tokens, server just started": "its tokens and windows, then",
            "all of it, exported, static server": "all of it, of an exported page on a plain static server",
            "all of it, exported, folder": "all of it, of an exported page in a folder",
        },
        ["playwright"],
        head="there is",
        ratios=False,
    ),
}
