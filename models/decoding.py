"""Sampling from a model that predicts the next token, with a cache of keys and values.

Any `models.protocols.LanguageModel` will do. Reading the prompt and sampling all tokens are one compiled program.
"""

from functools import partial

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key
import numpy as np

from core.errors import UserError
from models.protocols import LanguageModel


def sample(
    model: LanguageModel, prompt_BT: Int[Array | np.ndarray, "batch prompt"], key: Key[Array, ""], *, length: int,
    temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0,
) -> Int[Array, "batch length"]:  # fmt: skip
    """Returns the `length` tokens that follow each prompt, as int32.

    Each token depends on the `model.context` tokens before it. Up to the context, the keys and values of earlier tokens
    are cached. Beyond it the window slides, the position of every token changes, and the whole window is computed
    again for each token.

    Args:
      prompt_BT: token numbers, at least one; of a prompt longer than the context the last ones are used.
      key: the same key gives the same tokens.
      temperature: divides the logits; 0 takes the most likely token.
      top_k, top_p: see `narrow`, which sees the logits after the temperature.

    Raises:
      UserError: a setting or the shape of the prompt is out of range.
    """
    if prompt_BT.ndim != 2 or prompt_BT.shape[1] < 1:
        raise UserError(f"prompt: expected tokens of shape (B, T) with T >= 1, not {prompt_BT.shape}")
    if length < 1:
        raise UserError(f"length = {length}: expected at least 1 token")
    if not temperature >= 0:
        raise UserError(f"temperature = {temperature}: expected at least 0 (0 takes the most likely token)")
    if top_k < 0:
        raise UserError(f"top_k = {top_k}: expected at least 0 (0 keeps all tokens)")
    if not 0 < top_p <= 1:
        raise UserError(f"top_p = {top_p}: expected 0 < top_p <= 1 (1 keeps all tokens)")
    structure, state = nnx.split(model)
    prompt_BT = jnp.asarray(prompt_BT, jnp.int32)[:, -model.context :]
    return _sample(structure, state, prompt_BT, key, (float(temperature), top_k, float(top_p)), length=length)


def choose(
    key: Key[Array, ""], logits_BV: Float[Array, "batch vocabulary"], temperature, top_k, top_p
) -> Int[Array, " batch"]:
    """Returns a token for each row, drawn from the narrowed distribution; at temperature 0 the most likely one."""
    greedy = temperature == 0
    narrowed_BV = narrow(logits_BV / jnp.where(greedy, 1, temperature), top_k, top_p)
    drawn_B = jax.random.categorical(key, narrowed_BV)
    return jnp.where(greedy, logits_BV.argmax(-1), drawn_B).astype(jnp.int32)


def narrow(logits_BV: Float[Array, "batch vocabulary"], top_k, top_p) -> Float[Array, "batch vocabulary"]:
    """Returns the logits with -inf for all tokens but the most likely ones.

    `top_k` keeps that many tokens, 0 keeps all (Fan et al. 2018). Of those, `top_p` keeps the fewest whose joint
    probability reaches it, 1 keeps all (nucleus sampling, Holtzman et al. 2020). Of two equal logits, that of the lower
    token number counts as more likely. Both may be traced, so that one program serves every setting.
    """
    order_BV = jnp.argsort(logits_BV, axis=-1, descending=True, stable=True)
    sorted_BV = jnp.take_along_axis(logits_BV, order_BV, axis=-1)
    kept_BV = (jnp.arange(logits_BV.shape[-1]) < top_k) | (top_k == 0)
    probability_BV = jax.nn.softmax(jnp.where(kept_BV, sorted_BV, -jnp.inf))
    before_BV = jnp.cumsum(probability_BV, axis=-1) - probability_BV
    kept_BV = kept_BV & ((before_BV < top_p) | (top_p == 1))  # a rounded sum may reach 1 early
    kept_BV = jnp.take_along_axis(kept_BV, jnp.argsort(order_BV, axis=-1), axis=-1)
    return jnp.where(kept_BV, logits_BV, -jnp.inf)


@partial(jax.jit, static_argnames=("structure", "length"))
def _sample(structure, state, prompt_BT, key, settings, *, length: int):
    model = nnx.merge(structure, state)
    B, T = prompt_BT.shape
    cached = min(length, model.context - T + 1)  # the last token is never fed back

    def pick(number, logits_BTV):
        return choose(jax.random.fold_in(key, number), logits_BTV[:, -1], *settings)

    def extend(carry, number):
        token_B, cache = carry
        logits_B1V, cache = model.decode(token_B[:, None], cache)
        token_B = pick(number, logits_B1V)
        return (token_B, cache), token_B

    def slide(window_BT, number):
        token_B = pick(number, model(window_BT))
        return jnp.concatenate([window_BT[:, 1:], token_B[:, None]], axis=1), token_B

    logits_BTV, cache = model.decode(prompt_BT, model.new_cache(B, T + cached - 1))
    first_B = pick(0, logits_BTV)
    _, later = jax.lax.scan(extend, (first_B, cache), jnp.arange(1, cached))
    tokens_BT = jnp.concatenate([first_B[:, None], later.T], axis=1)
    if length == cached:
        return tokens_BT
    window_BT = jnp.concatenate([prompt_BT, tokens_BT], axis=1)[:, -model.context :]
    _, beyond = jax.lax.scan(slide, window_BT, jnp.arange(cached, length))
    return jnp.concatenate([tokens_BT, beyond.T], axis=1)
