"""A convolutional stem before a Vision Transformer, on Fashion-MNIST, of the same size as configs/fashion_vit.py.

Command: python train.py --config=configs/fashion_hybrid.py --workdir=runs/fashion_hybrid
Time:    495 s on one CPU core that other work shared
Needs:   fashion_mnist
Reaches: test/accuracy >= 0.855
"""

from ml_collections import ConfigDict

from configs.fashion_vit import get_config as vision_transformer


def get_config() -> ConfigDict:
    config = vision_transformer()
    config.model = ConfigDict({"name": "vit", "patch": 4, "stem": "convolution", "width": 46, "depth": 4, "heads": 2})
    return config
