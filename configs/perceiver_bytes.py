"""Perceiver IO on the bytes of Python's documentation: output queries predict the masked bytes.

Command: python train.py --config=configs/perceiver_bytes.py --workdir=runs/perceiver_bytes
Time:    817 s on 2 shared CPU cores
Reaches: validation/loss <= 1.35
Reaches: validation/accuracy >= 0.64

The model reads raw bytes, without a tokenizer, masked as for BERT (Jaegle et al. 2021b, section 4.1). It is small
because larger ones learn slowly: 4 layers of width 128, with 64 latents for 256 bytes and batches of 32, had a loss of
3.12 after 1,300 steps. Predicting each byte by its frequency alone gives 3.26. To compute that number:

  python -c "import numpy as np, pydoc_data.topics as t; n = np.bincount(np.frombuffer(''.join(t.topics.values())
    .encode(), np.uint8)); p = n[n > 0] / n.sum(); print(-(p * np.log(p)).sum())"
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 3000, "batch_size": 128, "eval_every": 1000, "checkpoint_every": 1000,
            "model": {
                "name": "perceiver", "output": "dense", "latents": 16, "width": 64, "depth": 2, "heads": 4,
                "cross_heads": 4, "positions": "sinusoidal",
            },
            "objective": {"name": "masked_language_modeling"},
            "data": {"name": "python_docs", "context": 32, "tokenizer": "bytes"},
            "optimizer": {"learning_rate": 3e-3, "warmup": 200, "weight_decay": 0.05, "clip": 1.0},
        }
    )  # fmt: skip
