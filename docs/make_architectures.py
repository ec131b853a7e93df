"""Write docs/embeddings.md's table of models from ``foreword.embeddings.architectures``.

python docs/make_architectures.py
"""

from __future__ import annotations

import re
from pathlib import Path

from foreword.embeddings.architectures import ARCHITECTURES, REFUSED, WRAPPERS, Architecture

PAGE = Path(__file__).parent / "embeddings.md"
BEGIN, END = "<!-- models: begin, by docs/make_architectures.py -->\n", "<!-- models: end -->\n"


def embeddings(known: Architecture) -> str:
    """What the first layer does to embeddings, in words."""
    parts = []
    match known.scale:
        case "root" | "root, bfloat16" | "root, exact":
            parts.append("× √D")
        case ("root", str(key), _):
            parts.append(f"× √D where {key}")
        case (str(key), _):
            parts.append(f"× {key}")
    if known.type_table:
        parts.append("types")
    if known.positions == "learned":
        parts.append("learned positions" + (f" from row {known.start}" if known.start else ""))
    if known.positions == "sinusoidal":
        parts.append("sinusoids")
    if known.past_padding:
        parts.append("counted past padding")
    if known.norm:
        parts.append("LayerNorm")
    if known.norm_kind == "rms, bare":
        parts.append("RMSNorm without weights")
    return "equal" + (": " + ", ".join(parts) if parts else "")


def rotary(known: Architecture) -> str:
    """How queries and keys turn, in words."""
    if known.rotary is None:
        return "none; ALiBi" if known.positions == "alibi" else "none"
    parts = [known.rotary.layout]
    if known.rotary.partial is not None or known.rotary.partial_key:
        parts.append("part of the head")
    if known.rotary.layers != "all":
        parts.append("by layer")
    if known.rotary.head_dim_key == "qk_rope_head_dim":
        parts.append("the latent attention's own part")
    return "equal: " + ", ".join(parts)


def table() -> str:
    """The rows, those alike in one."""
    rows: dict[tuple[str, str], list[str]] = {}
    for name, known in ARCHITECTURES.items():
        rows.setdefault((embeddings(known), rotary(known)), []).append(name)
    for name, reason in REFUSED.items():
        rows.setdefault((f"refused: {reason}", "refused"), []).append(name)
    rows["equal: text alone", "as the model they are around"] = sorted(WRAPPERS)
    lines = ["| `model_type` | embeddings | rotary |", "|---|---|---|"]
    for (first, second), names in rows.items():
        lines.append(f"| {' '.join(f'`{name}`' for name in sorted(names))} | {first} | {second} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    page = PAGE.read_text(encoding="utf-8")
    between = re.compile(re.escape(BEGIN) + ".*" + re.escape(END), re.DOTALL)
    PAGE.write_text(between.sub(lambda _: BEGIN + table() + END, page), encoding="utf-8")
