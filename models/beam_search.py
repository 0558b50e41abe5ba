"""The likeliest target for a source: beam search, of which greedy decoding is the case of one beam.

What is needed of a model is `context`, `new_cache(source, source_mask=..., length=...)`, `reorder(cache, rows)` and
`decode(tokens, cache) -> (logits, cache)`, see `models.encoder_decoder.EncoderDecoder`. The whole search is one
compiled program.
"""

from functools import partial

from flax import nnx
import jax
import jax.numpy as jnp


def beam_search(
    model: nnx.Module, source_BS, source_mask_BS=None, *, bos: int, eos: int, length: int, beams: int = 1,
    length_penalty: float = 0.0,
):  # fmt: skip
    """The best targets found and their scores: int32 (B, beams, length) and float32 (B, beams), best first.

    A hypothesis is finished by `eos`, or by being `length` tokens long; what stands after `eos` is `eos` too. In every
    step the best `beams` of all are kept, out of the finished ones and every continuation of the others, so that one
    beam is greedy decoding, and enough beams find the best target there is. A beam that stays empty scores -inf.

    Args:
      source_BS: token numbers. source_mask_BS: False at padding.
      bos: the token before the first. eos: the token that ends a target, which counts to its length.
      length: longest target, up to the model's `context`.
      length_penalty: alpha of Wu et al. 2016, eq. 14. The score is log p / ((5 + length) / 6)^alpha, so that 0 leaves
        log p, and more favours longer targets.

    Raises:
      ValueError: a setting is out of range.
    """
    if beams < 1:
        raise ValueError(f"beams = {beams}: expected at least 1")
    if not 1 <= length <= model.context:
        raise ValueError(f"length = {length}: expected 1 to {model.context} tokens, the context of the model")
    if not length_penalty >= 0:
        raise ValueError(f"length_penalty = {length_penalty}: expected at least 0")
    structure, state = nnx.split(model)
    return _search(
        structure, state, source_BS, source_mask_BS, float(length_penalty), bos=bos, eos=eos, length=length, beams=beams
    )


@partial(jax.jit, static_argnames=("structure", "bos", "eos", "length", "beams"))
def _search(structure, state, source_BS, source_mask_BS, alpha, *, bos, eos, length, beams):
    # N = B * beams rows, the beams of an example next to each other; all but one start empty, with log p = -inf.
    model = nnx.merge(structure, state)
    B = len(source_BS)
    repeat = lambda x: None if x is None else jnp.repeat(x, beams, axis=0)
    first_row_B1 = jnp.arange(B)[:, None] * beams

    def penalised(log_p, count):
        return log_p / ((5 + count) / 6) ** alpha

    def step(carry):
        number, tokens_NT, log_p_BK, count_BK, cache = carry
        last_N = jnp.where(number == 0, bos, tokens_NT[:, number - 1])
        logits_N1V, cache = model.decode(last_N[:, None], cache)
        V = logits_N1V.shape[-1]
        next_BKV = jax.nn.log_softmax(logits_N1V).reshape(B, beams, V)
        # A finished target goes on in one way only, which costs nothing.
        over_BK = _ended(tokens_NT, number, eos).reshape(B, beams)
        next_BKV = jnp.where(over_BK[..., None], jnp.where(jnp.arange(V) == eos, 0, -jnp.inf), next_BKV)
        log_p_BKV = log_p_BK[..., None] + next_BKV
        count_BK = count_BK + ~over_BK
        score_BKV = penalised(log_p_BKV, count_BK[..., None])
        _, best_BK = jax.lax.top_k(score_BKV.reshape(B, -1), beams)
        pick = lambda x: jnp.take_along_axis(x.reshape(B, -1), best_BK, axis=1)
        parent_N = (first_row_B1 + best_BK // V).reshape(-1)
        tokens_NT = tokens_NT[parent_N].at[:, number].set((best_BK % V).reshape(-1))
        count_BK = jnp.take_along_axis(count_BK, best_BK // V, axis=1)
        return number + 1, tokens_NT, pick(log_p_BKV), count_BK, model.reorder(cache, parent_N)

    def unfinished(carry):
        number, tokens_NT, *_ = carry
        return (number < length) & ~_ended(tokens_NT, number, eos).all()

    cache = model.new_cache(repeat(source_BS), source_mask=repeat(source_mask_BS), length=length)
    log_p_BK = jnp.where(jnp.arange(beams) == 0, jnp.zeros((B, 1)), -jnp.inf)
    tokens_NT = jnp.full((B * beams, length), eos, jnp.int32)
    carry = (jnp.zeros((), jnp.int32), tokens_NT, log_p_BK, jnp.zeros((B, beams), jnp.int32), cache)
    _, tokens_NT, log_p_BK, count_BK, _ = jax.lax.while_loop(unfinished, step, carry)
    return tokens_NT.reshape(B, beams, length), penalised(log_p_BK, count_BK)


def _ended(tokens_NT, number, eos: int):
    return (number > 0) & (tokens_NT[:, number - 1] == eos)
