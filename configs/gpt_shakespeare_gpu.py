"""GPT on the characters of tiny Shakespeare, with nanoGPT's recipe for a GPU.

Command: python train.py --config=configs/gpt_shakespeare_gpu.py --workdir=runs/gpt_shakespeare_gpu
Time:    not measured yet (no GPU was at hand)
Needs:   tiny_shakespeare, gpu
Reaches: validation/loss <= 1.4697

The recipe is that of https://github.com/karpathy/nanoGPT: 6 layers, width 384, context 256, batch 64, dropout 0.2;
1.4697 is the best validation loss that its README reports. Here the loss is over the whole validation split, in nats
a character. The best checkpoint is kept: with this recipe the validation loss rises again before the end.
"""

from ml_collections import ConfigDict

from configs.gpt_shakespeare import get_config as smaller


def get_config() -> ConfigDict:
    config = smaller()
    config.update(steps=5000, batch_size=64, eval_every=250)
    config.model.update(width=384, depth=6, heads=6, dropout=0.2, dtype="bfloat16")
    config.data.update(context=256)
    return config
