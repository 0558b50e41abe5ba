"""A GPT on a text of your own, character by character.

Command: python train.py --config=configs/own_text.py --workdir=runs/own_text
Time:    379 s on 2 CPU cores that other work kept busy
Needs:   samples/text/text.txt
Reaches: validation/loss <= 1.7

To make the sample first: python -m experiments.sample text. For your own: --config.data.path=FILE, in UTF-8; its last
tenth is held out. With word pieces: python -m experiments.tokenizer --files FILE --out=tokenizer.json and
--config.data.tokenizer=tokenizer.json. Then: python -m experiments.generate --workdir=runs/own_text --prompt="The "
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 800, "batch_size": 16, "eval_every": 400, "checkpoint_every": 400,
            "model": {"name": "gpt", "width": 96, "depth": 3, "heads": 4},
            "objective": {"name": "language_modeling"},
            "data": {"name": "text_file", "path": "samples/text/text.txt", "context": 96},
            "optimizer": {"learning_rate": 2e-3, "warmup": 50, "weight_decay": 0.1, "clip": 1.0},
        }
    )  # fmt: skip
