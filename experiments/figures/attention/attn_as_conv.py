"""Nine attention heads that look at relative positions compute a 3x3 convolution.

Each head attends sharply to one of the nine neighbours of a pixel, and its value matrix is the matching tap of the
kernel. At the border some neighbours do not exist, and their heads attend to the next best pixel instead, unless the
image is padded with zeros.

Formula: score_h(q, k) = -beta |(k - q) - offset_h|^2; sum_h softargmax(score_h) X W_h = conv(X; W)
Source: Lecture on transformers in computer vision, slide 60; Cordonnier, Loukas & Jaggi 2020, theorem 1.
Look at: the sharper the heads, the smaller the difference, down to the rounding error of 64-bit numbers.
"""

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from experiments.figures.engine import Criterion, at_least, at_most
from experiments.figures.style import grid
from models.scores import mix, softargmax

SIDE, IN, OUT, SHARP = 8, 3, 4, 46.0
OFFSETS = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)]


def run(seed: int, *, sharpness: float = SHARP) -> dict:
    with jax.enable_x64(True):
        image_key, kernel_key = jax.random.split(jax.random.key(seed))
        image = jax.random.normal(image_key, (SIDE, SIDE, IN), jnp.float64)
        kernel = jax.random.normal(kernel_key, (3, 3, IN, OUT), jnp.float64)
        padded = jnp.pad(image, ((1, 1), (1, 1), (0, 0)))
        layout = ("NHWC", "HWIO", "NHWC")
        target = jax.lax.conv_general_dilated(image[None], kernel, (1, 1), "SAME", dimension_numbers=layout)[0]
        error = lambda out: np.array(jnp.abs(out - target).max(-1))
        plain = lambda beta: error(_heads(image, kernel, beta))
        sweep = np.array([2.0, 4, 8, 12, 16, 24, 32, 40, 46])
        return {
            "plain": plain(sharpness),
            "padded": error(_heads(padded, kernel, sharpness)[1:-1, 1:-1]),
            "sweep": sweep,
            "errors": [plain(beta)[1:-1, 1:-1].max() for beta in sweep],
        }


@jax.jit
def _heads(image, kernel, beta):
    """The sum of the nine heads' outputs, (rows, columns, OUT)."""
    rows, columns, _ = image.shape
    place_S2 = jnp.stack(jnp.indices((rows, columns)).reshape(2, -1), -1)
    offset_HTS2 = place_S2[None, None] - place_S2[None, :, None] - jnp.array(OFFSETS)[:, None, None]
    weights_BHTS = softargmax(-(offset_HTS2**2).sum(-1)[None].astype(image.dtype), beta=beta)
    value_BSHK = jnp.einsum("sd,hdk->shk", image.reshape(-1, IN), kernel.reshape(9, IN, OUT))[None]
    return mix(weights_BHTS, value_BSHK).sum(2).reshape(rows, columns, OUT)


def check(results: dict) -> list[Criterion]:
    border = np.ones((SIDE, SIDE), bool)
    border[1:-1, 1:-1] = False
    return [
        at_most("largest difference away from the border", results["plain"][~border].max(), 1e-14),
        at_least("largest difference at the border", results["plain"][border].max(), 0.1),
        at_most("largest difference anywhere, padded with zeros", results["padded"].max(), 1e-14),
    ]


def plot(figure: Figure, results: dict) -> None:
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.15])
    image = left.imshow(np.log10(np.maximum(results["plain"], 1e-17)), vmin=-16, vmax=1)
    left.set(xticks=[], yticks=[], title=f"Difference (beta = {SHARP:g})")
    figure.colorbar(image, ax=left, location="bottom", label="log10 of the difference", shrink=0.85)
    right.semilogy(results["sweep"], results["errors"], "C0o-")
    right.set(xlabel="sharpness of the heads, beta", ylabel="largest difference")
    right.set_title("Away from the border")
    grid(right)
