"""The guided tour: the whole way from words to input embeddings, on real data.

The tour runs the very lines that it shows, one step after another in one namespace, so that what a person reads is what
was done. ``take_tour`` runs, ``show`` prints.

Costs: a few seconds, most of it importing torch.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foreword.errors import MissingPackageError

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Step", "show", "take_tour"]

# A value with more elements than this is told by its shape alone.
SHOWN_ELEMENTS = 64
# Lines longer than this are hard to read.
WIDTH = 100


@dataclasses.dataclass(frozen=True)
class Step:
    """One step: its idea in a sentence, the lines that were run, and what they gave, by expression."""

    title: str
    idea: str
    code: str
    gives: dict[str, Any]

    def data(self) -> dict[str, Any]:
        """The step as JSON-ready data; arrays as shape, dtype and, where they are small, values."""
        return {
            "title": self.title,
            "idea": self.idea,
            "code": self.code,
            "gives": {name: _data(value) for name, value in self.gives.items()},
        }


def take_tour(*, text: Path | None = None, vectors: str = "glove-wiki-gigaword-50") -> Iterator[Step]:
    """Walk the way, yielding each step as it is done.

    Args:
        text: a UTF-8 text file; Python's own help topics where it is None.
        vectors: a catalogue name, or the path of a vector file.

    Raises:
        MissingPackageError: torch is not installed.
        ForewordError: whatever a step raises on this text and these vectors.
    """
    try:
        import torch
    except ImportError:
        raise MissingPackageError("the tour needs torch, for its last steps", fix="pip install torch") from None
    namespace: dict[str, Any] = {}

    def step(title: str, idea: str, code: str, *expressions: str) -> Step:
        code = inspect.cleandoc(code)
        exec(code, namespace)  # noqa: S102 - our own lines, above and below
        return Step(title, idea, code, {e: eval(e, namespace) for e in expressions})  # noqa: S307

    yield step(
        "Load word vectors",
        "A pretrained vector places each word in space so that words used alike lie close together.",
        f"""
        import foreword as fw
        wv = fw.load({_quoted(vectors)})""",
        "len(wv)",
        "wv.vector_size",
        "wv.index_to_key[:8]",
    )
    wv = namespace["wv"]
    words = [word for word in ("cat", "hello", "laptop", "dog") if word in wv] or list(wv.index_to_key[:4])
    several = ", ".join(map(_quoted, words)) + ("," if len(words) == 1 else "")
    yield step(
        "Look words up",
        "A word is a key, its vector a row of the table; several words give a matrix, a row each.",
        f"""
        one = wv[{_quoted(words[0])}]
        several = wv[{several}]""",
        "one.shape",
        "one[:3]",
        "one[-3:]",
        "several.shape",
    )
    if all(word in wv for word in ("king", "woman", "man")):
        yield step(
            "Reckon with words",
            "Directions carry meaning: from man to woman is much the same step as from king to queen.",
            """
            nearest = wv.most_similar(positive=["king", "woman"], negative=["man"],
                                      topn=3)""",
            "nearest",
        )
    else:
        yield step(
            "Find neighbours",
            "Nearness is the cosine of the angle between two vectors: 1 for the same direction, 0 for none in common.",
            f"nearest = wv.most_similar({_quoted(words[0])}, topn=3)",
            "nearest",
        )
    with torch.random.fork_rng(devices=[]):
        yield step(
            "An embedding table",
            "In a language model the rows are not given but learnt: they start at random, and looking one up is just "
            "picking a row.",
            """
            import torch
            torch.manual_seed(123)
            table = fw.InputEmbedding(vocab_size=6, embedding_dim=3, context_length=1,
                                      position="none")
            row = table(torch.tensor([[3]]))[0]""",
            "table.token_embedding.weight",
            "row",
        )
        read = (
            f'text = pathlib.Path({_quoted(str(text))}).read_text(encoding="utf-8")'
            if text
            else 'text = "\\n".join(pydoc_data.topics.topics.values())'
        )
        if text:
            from foreword._base.files import read_text

            read_text(text)  # for its errors, which say more than those of the line above
        yield step(
            "Text to token ids",
            "A model reads pieces of text by number. vocab_size counts the different pieces there are, not the "
            "tokens of your text: a longer text has more tokens, and the same vocabulary.",
            f"""
            import {"pathlib" if text else "pydoc_data.topics"}
            {read}
            tokenizer = fw.get_tokenizer("gpt2")
            ids = tokenizer.encode(text, allowed_special={{"<|endoftext|>"}})""",
            "tokenizer.vocab_size",
            "len(text)",
            "len(ids)",
            "ids[:8]",
            "[tokenizer.decode([i]) for i in ids[:8]]",
        )
        yield step(
            "Windows of inputs and targets",
            "The model learns to say what comes next, so each window's targets are its inputs shifted by one.",
            """
            data = fw.WindowDataset(ids, context_length=4, stride=4)
            loader = fw.WindowLoader(data, batch_size=min(8, len(data)))
            inputs, targets = next(iter(loader))""",
            "len(data)",
            "inputs",
            "targets",
            "data.account()",
        )
        yield step(
            "Input embeddings",
            "A token's row is the same wherever it stands; adding a row for the position tells the model the order, "
            "in the same number of dimensions.",
            """
            torch.manual_seed(123)
            layer = fw.InputEmbedding(vocab_size=tokenizer.vocab_size, embedding_dim=256,
                                      context_length=4)
            token = layer.token_embedding(inputs)
            position = layer.position_embedding()
            total = layer(inputs)  # token + position""",
            "token.shape",
            "position.shape",
            "total.shape",
            "token[0, 0, :5]",
            "position[0, :5]",
            "total[0, 0, :5]",
        )


def show(steps: Iterable[Step]) -> None:
    """Print the steps as they come."""
    from rich.console import Console, Group
    from rich.padding import Padding
    from rich.rule import Rule
    from rich.syntax import Syntax
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    console.width = min(console.width, WIDTH)
    number = 0
    for number, step in enumerate(steps, start=1):
        table = Table.grid(padding=(0, 2))
        table.add_column(style="cyan", justify="right", no_wrap=True)
        table.add_column()
        for expression, value in step.gives.items():
            table.add_row(Text(expression), Text(_rendered(value)))
        body: list[RenderableType] = [
            Text(step.idea, style="italic"),
            Text(),
            Syntax(step.code, "python", background_color="default", word_wrap=True),
            Text(),
            table,
            Text(),
        ]
        console.print(Rule(Text.assemble((f"{number}  ", "dim"), (step.title, "bold")), align="left", style="dim"))
        console.print(Padding(Group(*body), (0, 3)))
    console.print(Rule(style="dim"))
    console.print(
        f"[bold]{number} steps.[/] The same as data: [cyan]foreword tour --json[/]. "
        "Your own text: [cyan]foreword tour --text FILE[/]."
    )


def _quoted(text: str) -> str:
    """``text`` as a Python literal in double quotes; JSON's escapes are Python's."""
    return json.dumps(text, ensure_ascii=False)


def _data(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if hasattr(value, "detach"):
        value = value.detach().numpy()
    if hasattr(value, "dtype"):
        shape = {"shape": list(value.shape), "dtype": str(value.dtype)}
        return shape | ({"values": value.tolist()} if value.size <= SHOWN_ELEMENTS else {})
    return list(value) if isinstance(value, tuple) else value


def _rendered(value: Any) -> str:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return ", ".join(f"{name} {_rendered(part)}" for name, part in dataclasses.asdict(value).items())
    if hasattr(value, "detach"):
        value = value.detach().numpy()
    if hasattr(value, "dtype"):
        import numpy as np

        if value.size > SHOWN_ELEMENTS:
            return f"{value.dtype} {list(value.shape)}"
        return np.array2string(value, precision=4, suppress_small=True, separator=", ")
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, tuple):
        return str(list(value))
    if isinstance(value, list) and value and isinstance(value[0], tuple):
        return "\n".join(f"{score:.4f}  {word}" for word, score in value)
    return str(value)
