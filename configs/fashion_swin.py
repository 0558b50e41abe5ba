"""Swin Transformer on Fashion-MNIST, of the same size as configs/fashion_vit.py.

Command: python train.py --config=configs/fashion_swin.py --workdir=runs/fashion_swin
Time:    1047 s on one CPU core that other work shared
Needs:   fashion_mnist
Reaches: test/accuracy >= 0.83
"""

from ml_collections import ConfigDict

from configs.fashion_vit import get_config as vision_transformer


def get_config() -> ConfigDict:
    config = vision_transformer()
    config.model = ConfigDict({"name": "swin", "patch": 2, "width": 30, "window": 7, "heads": 2})
    return config
