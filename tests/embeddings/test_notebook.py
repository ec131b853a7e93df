"""The notebook's own numbers: the 6 × 3 table, and the input embedding of the first batch."""

import json
from pathlib import Path

import pytest
import torch

from foreword.embeddings import InputEmbedding

OUTPUTS = Path(__file__).parents[3] / "shared" / "data" / "notebook-outputs.json"


@pytest.fixture(scope="module")
def outputs() -> dict:
    if not OUTPUTS.exists():
        pytest.skip("the shared data is not beside this checkout")
    return json.loads(OUTPUTS.read_text(encoding="utf-8"))


def test_the_6_by_3_table(outputs):
    want = outputs["embedding_6x3"]
    torch.manual_seed(want["manual_seed"])
    layer = InputEmbedding(want["num_embeddings"], want["embedding_dim"], context_length=1, position="none")
    torch.testing.assert_close(
        layer.token_embedding.weight, torch.tensor(want["weight"]), atol=want["tolerance"], rtol=0
    )
    torch.testing.assert_close(
        layer(torch.tensor([3])), torch.tensor(want["lookup_of_3"]), atol=want["tolerance"], rtol=0
    )


def test_the_input_embedding_of_the_first_batch(outputs):
    want = outputs["input_embedding"]
    torch.manual_seed(want["manual_seed"])
    layer = InputEmbedding(want["vocab_size"], want["embedding_dim"], want["context_length"])
    inputs = torch.tensor(outputs["batches"]["inputs"])

    token, position, both = layer.token_embedding(inputs), layer.position_embedding(), layer(inputs)

    assert list(token.shape) == want["token_embedding_shape"]
    assert list(position.shape) == want["position_embedding_shape"]
    assert list(both.shape) == want["combined_shape"]
    for got, name in (
        (token[0, 0], "token_embedding_0_0_first5"),
        (position[0], "position_embedding_0_first5"),
        (both[0, 0], "combined_embedding_0_0_first5"),
    ):
        torch.testing.assert_close(got[:5], torch.tensor(want[name]), atol=want["tolerance"], rtol=0)
    assert torch.equal(both, token + position)
