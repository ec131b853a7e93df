"""Foreword's windows under Hugging Face's Trainer: a tiny GPT-2, a few steps.

    pip install transformers accelerate
    python examples/hf_trainer.py

Hugging Face's models shift labels themselves, and Foreword's targets are shifted already: they go in as
``shift_labels``, so that every window's last target counts too.
"""

import tempfile

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

import foreword as fw

text = "Every effort moves you closer to the goal, and every window of it is one slice of the tokens. " * 40


def collate(windows: list[tuple[torch.Tensor, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Windows to what the model's forward takes, each [B, T]."""
    inputs, targets = (torch.stack(parts) for parts in zip(*windows, strict=True))
    return {"input_ids": inputs, "labels": targets, "shift_labels": targets}


if __name__ == "__main__":
    ids = fw.get_tokenizer("gpt2").encode(text)
    data = fw.WindowDataset(ids, context_length=16, stride=8)
    torch.manual_seed(123)
    model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=32, n_positions=16))

    # The loss that the model gives is that of our targets, place by place.
    batch = collate([data[0], data[1]])
    model.eval()
    with torch.no_grad():
        output = model(**batch)
    expected = torch.nn.functional.cross_entropy(output.logits.flatten(0, 1), batch["labels"].flatten())
    torch.testing.assert_close(output.loss, expected)

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            max_steps=10,
            per_device_train_batch_size=8,
            learning_rate=1e-2,
            remove_unused_columns=False,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
        )
        trainer = Trainer(model, arguments, train_dataset=data, data_collator=collate)
        result = trainer.train()
    print(
        f"{len(data)} windows, {result.global_step} steps: loss {expected:.2f} → {result.training_loss:.2f} on average"
    )
