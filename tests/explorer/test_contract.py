"""The API keeps its own OpenAPI document.

schemathesis draws requests from the document, valid and broken: no answer is a 5xx, and each is one that is documented.
"""

import importlib.util
import json
import os
import subprocess
import sys
import urllib.request

import pytest

from explorer.client import VECTORS

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("schemathesis") is None, reason="schemathesis is not installed (the extra e2e)"
)

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "missing_required_header",
]


@pytest.mark.torch
@pytest.mark.parametrize(
    ("examples", "phases"),
    [
        pytest.param(10, "fuzzing", id="few"),
        pytest.param(60, "examples,coverage,fuzzing", id="many", marks=pytest.mark.slow),
    ],
)
def test_every_answer_is_a_documented_one(client, tmp_path, examples, phases):
    assert client.post("embed", {"ids": [[1]]}).status == 200  # the first waits for torch, and clients for ten seconds
    config = tmp_path / "schemathesis.toml"
    config.write_text(f'[parameters]\n"path.name" = "{VECTORS}"\n"query.store" = "corpus/train"\n')
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", "--seed", "1"]
    command += ["--max-examples", str(examples), "--checks", ",".join(CHECKS), "--phases", phases]
    run = subprocess.run(
        [*command, f"{client.url}/api/v1/openapi.json"],
        cwd=tmp_path,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[:2000] + run.stdout[-4000:] + run.stderr[-2000:]
    with urllib.request.urlopen(f"{client.url}/api/v1/openapi.json") as answer:
        operations = sum(len(path) for path in json.load(answer)["paths"].values())
    assert operations >= 24
    assert f"Selected: {operations}/{operations}" in run.stdout
