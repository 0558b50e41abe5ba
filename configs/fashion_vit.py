"""Vision Transformer on Fashion-MNIST, to be compared with a ResNet, a hybrid and a Swin Transformer of the same size.

Command: python train.py --config=configs/fashion_vit.py --workdir=runs/fashion_vit
Time:    449 s on one CPU core that other work shared
Needs:   fashion_mnist
Reaches: test/accuracy >= 0.83

All four have the same data, examples and optimizer, and 117,000 to 121,000 parameters. Each was trained once, with seed
0. What is built in for images, the neighbourhood of pixels, is worth more here than what attention could learn:

  config            test accuracy   parameters   operations of training, an example
  fashion_resnet           88.3 %      121,090   87 M
  fashion_hybrid           86.1 %      118,874   42 M
  fashion_swin             83.8 %      120,748   63 M
  fashion_vit              83.6 %      116,842   38 M
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 3000, "batch_size": 64, "ema": 0.998, "eval_every": 1000, "checkpoint_every": 1000,
            "best": "accuracy",
            "model": {"name": "vit", "patch": 4, "width": 48, "depth": 4, "heads": 4},
            "objective": {"name": "classification", "label_smoothing": 0.1},
            "data": {"name": "fashion_mnist", "shift": 2},
            "optimizer": {"learning_rate": 2e-3, "warmup": 200, "weight_decay": 0.05, "clip": 1.0},
        }
    )  # fmt: skip
