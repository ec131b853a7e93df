"""The scripts of benchmarks/ and docs/ as modules: they are no packages."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def load(path):
    spec = importlib.util.spec_from_file_location(f"script_{path.stem}", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path[:] = before
    return module


@pytest.fixture(scope="session")
def runner():
    return load(ROOT / "benchmarks" / "runner.py")


@pytest.fixture(scope="session")
def everything():
    return load(ROOT / "benchmarks" / "all.py")


@pytest.fixture(scope="session")
def make_tables():
    return load(ROOT / "docs" / "make_tables.py")


@pytest.fixture(scope="session")
def make_figure():
    return load(ROOT / "docs" / "make_figure.py")


@pytest.fixture(scope="session")
def gpu_embeddings():
    return load(ROOT / "benchmarks" / "gpu" / "embeddings.py")
