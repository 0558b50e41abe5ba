"""The fields that blocks of transformers were built with, read from the blocks."""

from flax import nnx

from models.transformer import Block, Stack


def describe_blocks(stack: Stack) -> dict:
    """Returns the fields of `Stack` and `Block` that a stack was built with, without `scan`, `remat` and `dtype`."""
    relative = stack.relative
    return describe_block(stack.prototype) | {
        "depth": stack.depth,
        "relative_buckets": 0 if relative is None else len(relative.table),
        "relative_farthest": None if relative is None else relative.farthest,
        "final_norm": stack.norm is not None or not stack.prototype.pre,
    }


def describe_block(block: Block) -> dict:
    """Returns the fields of `Block` that a block was built with, without `dtype`."""
    attention = block.attention
    assert attention is not None
    return {
        "width": attention.query.kernel.shape[-2],
        "mlp_width": block.mlp.up.kernel.shape[-1],
        "heads": attention.heads,
        "head_size": attention.head_size,
        "value_size": attention.value_size,
        "kv_heads": attention.kv_heads,
        "rotary": attention.rotary,
        "qk_norm": attention.query_norm is not None,
        "scaled": attention.scaled,
        "attention": attention.kind,
        "window": attention.window,
        "stride": attention.stride,
        "norm": "layer" if isinstance(block.mlp_norm, nnx.LayerNorm) else "rms",
        "norm_order": "pre" if block.pre else "post",
        "epsilon": block.mlp_norm.epsilon,
        "layer_scale": None if block.mlp_scale is None else 1.0,  # where it started is not known
        "activation": block.mlp.activation,
        "bias": block.mlp.up.bias is not None,
        "qkv_bias": attention.query.bias is not None,
        "dropout": block.dropout.rate,
    }
