"""Small corpora to train on."""

import hashlib

import numpy as np

START = 0x80000000


def drawn(words=400, length=6000, *, sentence=40, seed=0):
    """A corpus of Zipf's law, encoded, and its counts."""
    rng = np.random.default_rng(seed)
    shares = 1 / np.arange(1, words + 1)
    encoded = rng.choice(words, length, p=shares / shares.sum()).astype(np.uint32)
    counts = np.bincount(encoded, minlength=words).astype(np.int64)
    encoded[::sentence] |= np.uint32(START)
    return encoded, counts


def spellings(count):
    """Distinct words, some with letters of more than a byte."""
    return [f"w{'é' * (i % 3)}{i:x}ing" for i in range(count)]


def bits(trainer):
    """What tells one training from another: the digest of its tables and losses."""
    tables = trainer.input_table.tobytes() + trainer.output_table.tobytes()
    return hashlib.sha256(tables + np.array(trainer.loss_sums()).tobytes()).hexdigest()
