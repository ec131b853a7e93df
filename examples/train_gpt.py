"""Train a small GPT from a text: Foreword's store, loader and input layer, then torch's attention and a tied head.

    python examples/train_gpt.py                         # 300 steps on the prose of Python's help topics
    python examples/train_gpt.py --text novel.txt --start glove
    python examples/train_gpt.py --resume                # go on from the last checkpoint, bit for bit
    python examples/train_gpt.py --compare 3             # random start against a start from GloVe, three seeds each
    python examples/train_gpt.py --ngrams 262144         # with a table of so many rows for the last 2 and 3 tokens

A run that was stopped, wherever in an epoch, and resumed has the very losses of one that was not.
"""

from __future__ import annotations

import argparse
import math
import pydoc_data.topics
import statistics
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

import foreword as fw
from foreword.embeddings import RowAdam


class Block(nn.Module):
    """Attention and a feed-forward network, each normalised before and added after (GPT-2)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x_BTD: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(x_BTD)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed_BHTd = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x_BTD = x_BTD + self.out(mixed_BHTd.transpose(1, 2).flatten(2))
        return x_BTD + self.mlp(self.norm2(x_BTD))


class GPT(nn.Module):
    """Input layer, blocks, norm, and the input layer's table again as the head."""

    def __init__(self, embedding: fw.InputEmbedding, layers: int, heads: int) -> None:
        super().__init__()
        self.embedding = embedding
        self.blocks = nn.Sequential(*(Block(embedding.embedding_dim, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(embedding.embedding_dim)

    def loss(self, inputs_BT: Tensor, targets_BT: Tensor, ngram_rows: Tensor | None = None) -> Tensor:
        x_BTD = self.embedding(inputs_BT, ngram_rows=ngram_rows)
        logits_BTV = self.embedding.logits(self.norm(self.blocks(x_BTD)))
        return functional.cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten())


def make(options: argparse.Namespace, tokenizer: fw.Tokenizer) -> GPT:
    torch.manual_seed(options.seed)
    sizes = {"embedding_dim": options.dim, "context_length": options.context, "dropout": 0.1, "std": 0.02}
    if options.ngrams:
        end = tokenizer.end_of_text_id
        sizes["ngrams"] = fw.NgramTable(rows=options.ngrams, dim=options.dim, end_of_text_id=end)
    if options.start == "random":
        return GPT(fw.InputEmbedding(tokenizer.vocab_size, **sizes), options.layers, heads=4)
    wv = fw.load("glove-wiki-gigaword-50")
    return GPT(fw.InputEmbedding.from_word_vectors(wv, tokenizer, seed=options.seed, **sizes), options.layers, heads=4)


def optimizers(model: GPT, options: argparse.Namespace) -> dict[str, torch.optim.Optimizer]:
    """AdamW; of a table of n-grams, RowAdam, which touches the rows of a step alone."""
    by_row = [weight for group in model.embedding.parameter_groups().sparse for weight in group["params"]]
    others = [weight for weight in model.parameters() if all(weight is not row for row in by_row)]
    made = {"optimizer": torch.optim.AdamW(others, lr=options.lr, fused=True)}
    return made | ({"rows": RowAdam(by_row, lr=options.row_lr)} if by_row else {})


def stores(options: argparse.Namespace) -> tuple[fw.TokenStore, fw.TokenStore]:
    """The text's paragraphs as two token stores: nine of ten to train on, the rest to validate."""
    text = options.text.read_text(encoding="utf-8") if options.text else "\n\n".join(pydoc_data.topics.topics.values())
    paragraphs = [paragraph for paragraph in text.split("\n\n") if paragraph.strip()]
    train = fw.prepare(paragraphs, options.out / "store", tokenizer="gpt2", split={"val": 0.1})
    return train, fw.TokenStore.open(options.out / "store" / "val")


def train(options: argparse.Namespace) -> tuple[list[float], float]:
    """The loss of each step, and the validation loss after the last; NaN where there is no text to validate on."""
    train_store, val_store = stores(options)
    model = make(options, train_store.tokenizer)
    ngrams = model.embedding.ngrams
    data = fw.WindowDataset(train_store, context_length=options.context, stride=options.context, ngrams=ngrams)
    if len(data) < options.batch:
        raise fw.errors.TooShortError(
            "the text is too short to train on",
            got=f"{len(data):,} windows of {options.context:,} tokens",
            expected=f"a batch of {options.batch:,} at least",
            fix=f"give more text, --batch {len(data)}, or a smaller --context",
        )
    loader = fw.WindowLoader(data, batch_size=options.batch, shuffle=True, seed=options.seed)
    steppers = optimizers(model, options)
    parts = {"model": model, "loader": loader, **steppers}
    losses, checkpoint = [], options.out / "checkpoint.pt"
    if options.resume:
        state = torch.load(checkpoint, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        torch.set_rng_state(state["random"])
        losses = state["losses"]
    while len(losses) < options.steps:
        for batch in loader:  # inputs, targets, and the rows of n-grams where there is a table
            for optimizer in steppers.values():
                optimizer.zero_grad()
            loss = model.loss(*batch)
            loss.backward()
            for optimizer in steppers.values():
                optimizer.step()
            losses.append(loss.item())
            if len(losses) % options.every == 0:
                print(
                    f"step {len(losses)}  epoch {loader.epoch}  loss {statistics.fmean(losses[-options.every :]):.4f}"
                )
                state = {name: part.state_dict() for name, part in parts.items()}
                state |= {"losses": losses, "random": torch.get_rng_state()}
                torch.save(state, f"{checkpoint}.new")
                Path(f"{checkpoint}.new").replace(checkpoint)  # whole or not at all
            if len(losses) == options.steps:
                break
    return losses, validate(model, val_store, options)


@torch.no_grad()
def validate(model: GPT, store: fw.TokenStore, options: argparse.Namespace) -> float:
    """The loss a token: short texts are filled up, and the last batch counts for what it holds."""
    model.eval()
    try:
        data = fw.WindowDataset(store, context_length=options.context, tail="pad", ngrams=model.embedding.ngrams)
    except fw.errors.TooShortError:
        return math.nan
    losses, tokens = [], []
    for batch in fw.WindowLoader(data, batch_size=options.batch, drop_last=False):
        losses.append(model.loss(*batch).item())
        tokens.append(int((batch[1] >= 0).sum()))
    return statistics.fmean(losses, tokens)


def plot(losses: list[float], path: Path) -> None:
    """The losses as an SVG of 640 × 240."""
    low, high = min(losses), max(losses)
    x, y = 580 / len(losses), 200 / (high - low or 1)
    points = " ".join(f"{40 + x * i:.1f},{220 - y * (loss - low):.1f}" for i, loss in enumerate(losses))
    labels = f'<text x="4" y="24">{high:.1f}</text><text x="4" y="224">{low:.1f}</text>'
    line = f'<polyline points="{points}" fill="none" stroke="steelblue"/>'
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" width="640" height="240">{labels}{line}</svg>\n')


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, help="a text file (default: the prose of Python's help topics)")
    parser.add_argument("--out", type=Path, default=Path("run"), help="folder of the store, checkpoint and plot")
    parser.add_argument("--start", choices=["random", "glove"], default="random", help="first token embeddings")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    parser.add_argument("--compare", type=int, metavar="SEEDS", help="both starts, this many seeds each")
    numbers = {"steps": 300, "every": 50, "seed": 0, "batch": 8, "context": 64, "dim": 128, "layers": 2, "lr": 1e-3}
    numbers |= {"ngrams": 0, "row-lr": 1e-3}
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    options = parser.parse_args(arguments)
    if options.compare:
        for start in ("random", "glove"):
            runs = [argparse.Namespace(**{**vars(options), "start": start, "seed": i}) for i in range(options.compare)]
            found = [train(run)[1] for run in runs]
            shown = "  ".join(f"{loss:.4f}" for loss in found)
            print(f"{start:6}  validation loss {shown}  mean {statistics.fmean(found):.4f}")
        return
    losses, validation = train(options)
    plot(losses, options.out / "loss.svg")
    print("no text to validate on" if math.isnan(validation) else f"validation loss {validation:.4f}")


if __name__ == "__main__":
    try:
        main()
    except fw.ForewordError as error:
        sys.exit(str(error))
