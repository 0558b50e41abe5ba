"""What each test example contributes to the score of a run, kept compactly.

For a metric that is a mean over examples, such as the accuracy, it is the example's own value. For a mean over tokens
it is linearised: score + (sum of the example - score x tokens of the example) / mean tokens of an example, so that the
mean over the examples is the score, and their variance that of the ratio (Cochran 1977, section 6.4).
"""

import base64
from collections.abc import Callable, Iterable
import zlib

import jax
import jax.numpy as jnp
import numpy as np

from training.loop import means_over


def of_each_example(evaluate: Callable, metric: str) -> Callable:
    """Returns `step(parameters, batch) -> (metrics, (sums, counts))`, with this metric of each example of the batch.

    Each example is evaluated as a batch of its own. Examples that only fill up a batch have the count 0.
    """

    def step(parameters, batch):
        one = lambda example: evaluate(parameters, jax.tree.map(lambda x: x[None], example))
        return evaluate(parameters, batch), jax.tree.map(jnp.float32, jax.vmap(one)(batch)[metric])

    return step


def test(
    step: Callable, put: Callable, batches: Iterable, parameters, metric: str
) -> tuple[dict[str, float], np.ndarray | None]:
    """Returns the means of all metrics over the batches, and the contribution of each example to one of them.

    None where the metric is not a sum over examples, because the other examples of a batch matter, or is not finite.
    """
    metrics, pairs = [], []
    for batch in batches:
        sums, (of_examples, counts) = jax.device_get(step(parameters, put(batch)))
        metrics.append(sums)
        pairs.append(np.stack([of_examples, counts], 1)[counts > 0])
    means, values = means_over(metrics), contributions(*np.concatenate(pairs).T)
    return means, values if np.isclose(values.mean(), means[metric], rtol=1e-3, atol=1e-6) else None


def contributions(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns what each example contributes to the ratio of these sums and counts; its mean is the ratio."""
    sums, counts = sums.astype(float), counts.astype(float)
    score = sums.sum() / counts.sum()
    return score + (sums - score * counts) / counts.mean()


def encoded(values: np.ndarray) -> str:
    """Returns values as text: compressed numbers of 32 bits."""
    return base64.b64encode(zlib.compress(np.asarray(values, "<f4").tobytes(), 9)).decode()


def decoded(text: str) -> np.ndarray:
    """Returns the values of which `encoded` made a text."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), "<f4").astype(float)
