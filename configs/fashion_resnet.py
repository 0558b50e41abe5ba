"""Residual network on Fashion-MNIST, of the same size as configs/fashion_vit.py.

Command: python train.py --config=configs/fashion_resnet.py --workdir=runs/fashion_resnet
Time:    1471 s on one CPU core that other work shared
Needs:   fashion_mnist
Reaches: test/accuracy >= 0.875
"""

from ml_collections import ConfigDict

from configs.fashion_vit import get_config as vision_transformer


def get_config() -> ConfigDict:
    config = vision_transformer()
    config.model = ConfigDict({"name": "resnet", "width": 20, "depths": (1, 1, 1)})
    return config
