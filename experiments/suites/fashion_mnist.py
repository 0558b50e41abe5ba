"""Fashion-MNIST from TFDS: the suite `mnist` with clothes instead of digits."""

from dataclasses import replace

from experiments.suites.mnist import SUITE as MNIST

SUITE = replace(
    MNIST,
    title="Fashion-MNIST: 28 x 28 pixels, ten classes",
    about=MNIST.about.replace("handwritten digits", "pictures of clothes"),
    data={**MNIST.data, "name": "fashion_mnist"},
    target=0.87,
)

get_config = SUITE.config
