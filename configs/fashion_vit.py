"""Vision Transformer on Fashion-MNIST, to be compared with a ResNet, a hybrid and a Swin Transformer of the same size.

Command: python train.py --config=configs/fashion_vit.py --workdir=runs/fashion_vit
Time:    449 s on one CPU core that other work shared
Needs:   fashion_mnist
Reaches: test/accuracy >= 0.83

All four have the same data, examples and optimizer, and 117,000 to 121,000 parameters. Each was trained once, with seed
0: the convolutions of the ResNet and of the hybrid pay, and ViT and Swin are too close for one seed to tell apart. The
last column is the line "one step" that a run begins with, divided by 64:

  config            test accuracy   parameters   FLOPs of training, an example
  fashion_resnet           88.3 %      121,090   90 M
  fashion_hybrid           86.1 %      118,874   43 M
  fashion_swin             83.8 %      120,748   67 M
  fashion_vit              83.6 %      116,842   40 M
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
