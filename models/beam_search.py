"""Beam search: the most likely target for a source, or continuation of a text.

For any `models.protocols.Translator`, `Describer` or `LanguageModel`. The whole search is one compiled program.

In every step the `beams` most likely continuations that have not ended go on. Those that end, with `eos` or at the last
step, enter a list of the `beams` best finished ones, ranked by log p / tokens^length_penalty, provided that they are
among the `beams` most likely of their step. The search stops when the list is full and the best continuation would not
enter it if it ended now. This is what `generate` of transformers does by default; one beam is greedy decoding.
"""

from collections.abc import Sequence
from functools import partial

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped
import numpy as np

from core.errors import UserError
from models.masks import Padding, padding_mask
from models.protocols import Describer, LanguageModel, Translator

Ends = int | Sequence[int] | None
Beams = tuple[Int[Array, "batch beams length"], Float[Array, "batch beams"]]


def beam_search(
    model: Translator | Describer, source_BS: Shaped[Array | np.ndarray, "*source"],
    source_mask_BS: Padding | np.ndarray | None = None, *,
    bos: int, eos: Ends, length: int, beams: int = 1, length_penalty: float = 0.0,
) -> Beams:  # fmt: skip
    """Returns the best targets for each source, as int32 and best first, and their scores.

    After the token that ends a target all its tokens are `eos`, the first of several. A place of the list that stays
    empty scores -inf.

    Args:
      source_BS: token numbers, or images. source_mask_BS: False or 0 at padding.
      bos: the token before the first.
      eos: the token that ends a target and counts towards its length, or several, each of which does; None if there is
        no such token.
      length: longest target, up to the model's `context`.
      length_penalty: 0 ranks by log p; larger values favour longer targets (1: the mean over tokens).

    Raises:
      UserError: a setting is out of range.
    """
    prompt_B1 = jnp.full((len(source_BS), 1), bos, jnp.int32)
    source = (source_BS, padding_mask(source_mask_BS, source_BS.shape, "source_mask"))
    return _checked(model, prompt_B1, source, length_penalty, eos=eos, length=length, beams=beams)


def beam_search_on(
    model: LanguageModel, prompt_BT: Int[Array | np.ndarray, "batch prompt"], *, eos: Ends, length: int,
    beams: int = 1, length_penalty: float = 0.0,
) -> Beams:  # fmt: skip
    """Returns the best continuations of each prompt, by a model without a source; see `beam_search`.

    The tokens of the prompt do not count towards the length.
    """
    prompt_BT = jnp.asarray(prompt_BT, jnp.int32)
    return _checked(model, prompt_BT, None, length_penalty, eos=eos, length=length, beams=beams)


def _checked(model, prompt_BT, source, length_penalty, *, eos, length, beams):
    longest = model.context - prompt_BT.shape[1] + 1  # the last token is never fed back
    if beams < 1:
        raise UserError(f"beams = {beams}: expected at least 1")
    if not 1 <= length <= longest:
        raise UserError(f"length = {length}: expected 1 to {longest} tokens, the context of the model")
    if not length_penalty >= 0:
        raise UserError(f"length_penalty = {length_penalty}: expected at least 0")
    structure, state = nnx.split(model)
    ends = (int(eos),) if isinstance(eos, (int, np.integer)) else tuple(eos or ())
    return _search(structure, state, prompt_BT, source, float(length_penalty), ends=ends, length=length, beams=beams)


@partial(jax.jit, static_argnames=("structure", "ends", "length", "beams"))
def _search(structure, state, prompt_BT, source, alpha, *, ends, length, beams):
    # The K beams of an example are neighbours in N = B K rows; all but the first start impossible, with log p = -inf.
    model, (B, T), K = nnx.merge(structure, state), prompt_BT.shape, beams
    prompt_NT = jnp.repeat(prompt_BT, K, axis=0)
    first_row_B1, fill = jnp.arange(B)[:, None] * K, ends[0] if ends else -1

    def step(carry):
        number, tokens_BKT, log_p_BK, best_BKT, score_BK, open_B, cache = carry
        last_N = jnp.where(number == 0, prompt_NT[:, -1], tokens_BKT[:, :, number - 1].reshape(-1))
        logits_N1V, cache = model.decode(last_N[:, None], cache)
        V = logits_N1V.shape[-1]
        next_BKV = log_p_BK[..., None] + jax.nn.log_softmax(logits_N1V).reshape(B, K, V)
        # Of these at least K do not end, since a beam can end in as many ways as there are ends.
        count = max(2, 1 + len(ends)) * K
        log_p_BC, chosen_BC = jax.lax.top_k(next_BKV.reshape(B, -1), min(count, K * V))
        parent_BC, token_BC = jnp.divmod(chosen_BC, V)
        longer_BCT = _pick(tokens_BKT, parent_BC).at[:, :, number].set(token_BC)
        ended_BC = jnp.isin(token_BC, jnp.array(ends, jnp.int32)) | (number + 1 == length)
        # The best that go on.
        log_p_BK, on_BK = jax.lax.top_k(jnp.where(ended_BC, -jnp.inf, log_p_BC), K)
        cache = model.reorder(cache, (first_row_B1 + _pick(parent_BC, on_BK)).reshape(-1))
        # The best that have ended.
        penalty = (number + 1.0) ** alpha
        enters_BC = ended_BC & (jnp.arange(ended_BC.shape[1]) < K) & open_B[:, None]
        scores = jnp.concatenate([score_BK, jnp.where(enters_BC, log_p_BC / penalty, -jnp.inf)], axis=1)
        score_BK, best_BK = jax.lax.top_k(scores, K)
        best_BKT = _pick(jnp.concatenate([best_BKT, _fill(longer_BCT, number, fill)], axis=1), best_BK)
        open_B &= log_p_BK[:, 0] / penalty > score_BK[:, -1]
        return number + 1, _pick(longer_BCT, on_BK), log_p_BK, best_BKT, score_BK, open_B, cache

    if source is None:
        cache = model.new_cache(B * K, T + length - 1)
    else:
        rows = [None if x is None else jnp.repeat(x, K, axis=0) for x in source]
        cache = model.new_cache(rows[0], source_mask=rows[1], length=T + length - 1)
    if T > 1:
        _, cache = model.decode(prompt_NT[:, :-1], cache)
    none_BK, empty_BKT = jnp.full((B, K), -jnp.inf), jnp.full((B, K, length), fill, jnp.int32)
    number, log_p_BK, open_B = jnp.zeros((), jnp.int32), none_BK.at[:, 0].set(0.0), jnp.ones(B, bool)
    carry = (number, empty_BKT, log_p_BK, empty_BKT, none_BK, open_B, cache)
    unfinished = lambda carry: (carry[0] < length) & carry[5].any()
    _, _, _, best_BKT, score_BK, _, _ = jax.lax.while_loop(unfinished, step, carry)
    return best_BKT, score_BK


def _pick(x, index_BC):
    """Returns the rows of each example (axis 1) at these places."""
    return jnp.take_along_axis(x, index_BC.reshape(*index_BC.shape, *(1,) * (x.ndim - 2)), axis=1)


def _fill(tokens_BCT, number, token: int):
    """Returns the tokens with `token` everywhere behind the newest one."""
    return jnp.where(jnp.arange(tokens_BCT.shape[-1]) > number, token, tokens_BCT)
