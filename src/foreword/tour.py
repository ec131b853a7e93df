"""The guided tour: the whole way from words to input embeddings, on real data.

The tour runs the very lines that it shows, one step after another in one namespace, so that what a person reads is what
was done. ``take_tour`` runs, ``show`` prints.

Costs: a few seconds, most of it importing torch; without torch the tour ends before the steps that need it.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foreword._base.words import counted

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Step", "has_torch", "show", "take_tour"]

# A value with more elements than this is told by its shape alone.
SHOWN_ELEMENTS = 64
# Lines longer than this are hard to read; where they are shorter than that, values stand below what they are of.
WIDTH, NARROW = 100, 64
WITHOUT_TORCH = "Three more, about what a model learns, need torch: pip install torch"
NEXT = {
    "foreword tour --text FILE": "the same with your own text, in any language",
    "foreword explore": "see it: type a text, and a map of all the words",
    'foreword tokens show "A rare word: unforeseeable"': "the tokens of any text",
    "foreword prepare FOLDER STORE": "a corpus of any size to token ids on disk",
    "foreword tour --json": "the tour as data",
}


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

    Where torch is not installed, the tour ends before the steps that need it; ``has_torch`` says so.

    Args:
        text: a UTF-8 text file; Python's own help topics where it is None.
        vectors: a catalogue name, or the path of a vector file.

    Raises:
        ForewordError: the text can't be read or is too short for a window, or whatever a step raises on these vectors.
    """
    if text is not None:  # now, and not when the step comes that needs it
        from foreword._base.files import read_text
        from foreword.tokens import get_tokenizer
        from foreword.windows import WindowDataset

        WindowDataset(get_tokenizer("gpt2").encode(read_text(text)), context_length=4)
    return _steps(text, vectors)


def has_torch() -> bool:
    """Whether torch is there, for the steps about what a model learns."""
    try:
        import torch  # noqa: F401
    except ImportError:
        return False
    return True


def _steps(text: Path | None, vectors: str) -> Iterator[Step]:
    namespace: dict[str, Any] = {}

    def step(title: str, idea: str, code: str, *expressions: str) -> Step:
        code = inspect.cleandoc(code)
        exec(code, namespace)  # noqa: S102 - our own lines, above and below
        return Step(title, idea, code, {e: eval(e, namespace) for e in expressions})  # noqa: S307

    yield step(
        "Load word vectors",
        "A word vector is a list of numbers that stands for a word, learned from texts so that words used alike have "
        "vectors that point alike.",
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
        "A lookup picks a row of a table, and calculates nothing: one word gives its row, several give a matrix, a row "
        "each.",
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
            "Calculate with words",
            "The step from man to king, taken from woman, ends near queen, because the two pairs differ in the same "
            "way. king itself is nearer still, as the step is short: so the words of the question are left out of the "
            "answers.",
            """
            nearest = wv.most_similar(positive=["king", "woman"], negative=["man"],
                                      topn=3)
            man, king, woman = (wv.get_vector(word, norm=True)
                                for word in ("man", "king", "woman"))
            with_its_own = wv.similar_by_vector(king - man + woman, topn=2)""",
            "nearest",
            "with_its_own",
        )
    else:
        yield step(
            "Find neighbours",
            "Nearness is the cosine of the angle between two vectors: 1 for the same direction, 0 for unrelated ones.",
            f"nearest = wv.most_similar({_quoted(words[0])}, topn=3)",
            "nearest",
        )
    read = (
        f'text = pathlib.Path({_quoted(str(text))}).read_text(encoding="utf-8")'
        if text
        else 'text = "\\n".join(pydoc_data.topics.topics.values())'
    )
    yield step(
        "Text to token ids",
        "A model reads tokens, not words: a token is a piece of text that has a number, a frequent word with the space "
        "before it, or a part of a rare one. vocab_size counts the different tokens that there are; a longer text has "
        "more tokens, and the same vocab_size.",
        f"""
        import {"pathlib" if text else "pydoc_data.topics"}
        {read}
        tokenizer = fw.get_tokenizer("gpt2")
        ids = tokenizer.encode(text, allowed_special={{"<|endoftext|>"}})
        pieces = tokenizer.encode(" unforeseeable")""",
        "tokenizer.vocab_size",
        "len(text)",
        "len(ids)",
        "ids[:8]",
        "[tokenizer.decode_bytes([i]) for i in ids[:8]]",
        "[tokenizer.decode_bytes([i]) for i in pieces]",
    )
    torch_is_here = has_torch()
    taken = (
        """
            loader = fw.WindowLoader(data, batch_size=min(8, len(data)))
            inputs, targets = next(iter(loader))"""
        if torch_is_here
        else """
            import numpy as np
            batch = data.gather(np.arange(min(8, len(data))))
            inputs, targets = batch["inputs"], batch["targets"]"""
    )
    yield step(
        "Windows of inputs and targets",
        "A window holds context_length tokens, and the next one begins stride tokens further on: with a stride below "
        "context_length they overlap, and a token is seen several times. The targets are the inputs shifted by one "
        "place, so that at every place the target is the token that comes next.",
        f"""
            data = fw.WindowDataset(ids, context_length=4, stride=4){taken}""",
        "len(data)",
        "inputs",
        "targets",
        "data.account()",
    )
    if torch_is_here:
        yield from _steps_with_torch(step, len(namespace["inputs"]))


def _steps_with_torch(step: Callable[..., Step], windows: int) -> Iterator[Step]:
    """The steps about what a model learns, from a batch of so many windows.

    torch's own random numbers are as they were, at the end.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        yield step(
            "An embedding table",
            "In a language model the rows are not given but learned: they start at random, and looking one up is just "
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
        yield step(
            "Input embeddings",
            f"A batch of {counted(windows, 'window')} of 4 ids is [{windows}, 4], and becomes [{windows}, 4, 256]: "
            "each id is replaced by its row of 256 numbers. A token's row is "
            "the same wherever it stands, so a row for its position is added: it tells the model the order.",
            """
            torch.manual_seed(123)
            layer = fw.InputEmbedding(vocab_size=tokenizer.vocab_size, embedding_dim=256,
                                      context_length=4)
            token = layer.token_embedding(inputs)
            position = layer.position_embedding()
            total = layer(inputs)  # token + position""",
            "inputs.shape",
            "token.shape",
            "position.shape",
            "total.shape",
            "token[0, 0, :5]",
            "position[0, :5]",
            "total[0, 0, :5]",
        )
        yield step(
            "Learning",
            "Tokens learn by prediction: the model guesses each target, and the error moves the rows of the tokens "
            "that it read a little, to where the guess is better. Rows that were not read stay where they are.",
            """
            guess = torch.nn.Linear(256, tokenizer.vocab_size)
            optimizer = torch.optim.SGD([*layer.parameters(), *guess.parameters()], lr=0.3)
            before, losses = layer.token_embedding.weight.detach().clone(), []
            for _ in range(4):
                scores = guess(layer(inputs))  # for every token, how likely it comes next
                loss = torch.nn.functional.cross_entropy(
                    scores.flatten(0, 1), targets.flatten())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(round(loss.item(), 2))
            moved = (layer.token_embedding.weight != before).any(dim=1)""",
            "losses",
            "int(moved.sum())",
            "len(inputs.unique())",
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
    narrow = console.width < NARROW
    number = 0
    for number, step in enumerate(steps, start=1):
        table = Table.grid(padding=(0, 2))
        table.add_column(
            style="cyan" if not narrow else None, justify="left" if narrow else "right", no_wrap=not narrow
        )
        table.add_column()
        room = console.width - (4 if narrow else 8 + max(map(len, step.gives)))  # beside names and margins
        for expression, value in step.gives.items():
            shown = Text(_rendered(value, room))
            if narrow:  # a column beside the values would leave them no room
                table.add_row(Text(expression, style="cyan"))
                table.add_row(Padding(shown, (0, 0, 0, 1)))
            else:
                table.add_row(Text(expression), shown)
        body: list[RenderableType] = [
            Text(step.idea, style="italic"),
            Text(),
            Syntax(step.code, "python", background_color="default", word_wrap=True),
            Text(),
            table,
            Text(),
        ]
        console.print(Rule(Text.assemble((f"{number}  ", "dim"), (step.title, "bold")), align="left", style="dim"))
        console.print(Padding(Group(*body), (0, 0 if narrow else 3)))
    console.print(Rule(style="dim"))
    console.print(f"[bold]{counted(number, 'step')}.[/]" + ("" if has_torch() else f" {WITHOUT_TORCH}"))
    console.print("What to try next:")
    for command, what in NEXT.items():
        console.print(Padding(Text.assemble((command, "cyan"), "\n  " if narrow else "  ", what), (0, 0, 0, 2)))


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
    if isinstance(value, list) and value and isinstance(value[0], bytes):
        return list(map(_piece, value))
    return list(value) if isinstance(value, tuple) else value


def _rendered(value: Any, width: int) -> str:
    """A value as text, its lines at most so wide where it is an array."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return ", ".join(f"{name} {_rendered(part, width)}" for name, part in dataclasses.asdict(value).items())
    if hasattr(value, "detach"):
        value = value.detach().numpy()
    if hasattr(value, "dtype"):
        import numpy as np

        if value.size > SHOWN_ELEMENTS:
            return f"{value.dtype} {list(value.shape)}"
        return np.array2string(value, precision=4, suppress_small=True, separator=", ", max_line_width=width)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, tuple):
        return str(list(value))
    if isinstance(value, list) and value and isinstance(value[0], tuple):
        return "\n".join(f"{score:.4f}  {word}" for word, score in value)
    if isinstance(value, list) and value and isinstance(value[0], bytes):
        lines = [""]
        for piece in map(_piece, value):  # a line ends between two tokens, never at the space that one begins with
            if lines[-1] and len(lines[-1]) + 1 + len(piece) > width:
                lines.append("")
            lines[-1] += f" {piece}" if lines[-1] else piece
        return "\n".join(lines)
    return str(value)


def _piece(token: bytes) -> str:
    """A token in quotation marks; where it ends inside a character, its bytes."""
    try:
        return repr(token.decode("utf-8"))
    except UnicodeDecodeError:
        return f"<{token.hex(' ')}>"
