"""A small model of every architecture, with inputs, an objective and targets for it, and its number of parameters."""

from typing import Any

import jax
import jax.numpy as jnp

# Distinct primes wherever a dimension is free, so that no two can be mistaken for each other.
TOKENS = jax.random.randint(jax.random.key(1), (8, 11), 0, 23)
SOURCE = jax.random.randint(jax.random.key(4), (8, 5), 0, 19)
SOURCE_MASK = jnp.arange(5) < jnp.array([5, 4, 3, 2, 1, 5, 4, 3])[:, None]
POINTS = jax.random.normal(jax.random.key(5), (8, 11, 5))
VALUES = jax.random.normal(jax.random.key(6), (8, 11))
FRAMES = jax.random.uniform(jax.random.key(9), (8, 2, 15, 10, 3))
IMAGES = jax.random.uniform(jax.random.key(2), (8, 15, 10, 3))
NODES = jax.random.normal(jax.random.key(7), (8, 11, 5))
EDGES = jax.random.randint(jax.random.key(8), (8, 29, 2), 0, 11)
TEXT_MASK = jnp.arange(11) < jnp.array([11, 10, 9, 8, 7, 6, 5, 1])[:, None]
EDGE_MASK = jnp.arange(29) < jnp.array([29, 23, 19, 17, 13, 11, 7, 5])[:, None]

# name: (fields, inputs, (objective, targets), parameters)
ROWS: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, Any], int]] = {
    "archetypal": (
        dict(image_shape=(15, 10, 3), archetypes=7, side=2, width=17, depth=1),
        {"images": IMAGES, "side": jnp.ones((8, 2))},
        ("reconstruction", jnp.broadcast_to(3 * jnp.arange(8.0)[:, None, None, None] % 6, IMAGES.shape)),
        16_260,
    ),
    "autoencoder": (
        dict(
            image_shape=(15, 10, 3),
            patch=5,
            code=13,
            encoder="transformer",
            width=14,
            depth=3,
            heads=7,
            mlp_width=17,
            decoder_width=11,
            decoder_depth=1,
        ),  # fmt: skip
        {"images": IMAGES},
        ("reconstruction", jnp.broadcast_to(jnp.arange(8.0)[:, None, None, None], IMAGES.shape)),
        11_134,
    ),
    "bert": (
        dict(
            vocab_size=23, context=13, width=14, depth=3, heads=7, mlp_width=17, head="masked", norm_order="pre"
        ),  # fmt: skip
        {"tokens": TOKENS},
        ("language_modeling", jnp.roll(TOKENS, -1, axis=1)),
        5058,
    ),
    "captioner": (
        dict(image_shape=(15, 10, 3), patch=5, vocab_size=23, context=13, width=14, depth=3, heads=7, mlp_width=17),
        {"images": IMAGES, "tokens": TOKENS},
        ("seq2seq", jnp.roll(TOKENS, -1, axis=1)),
        12_730,
    ),
    "clip": (
        dict(
            image_shape=(15, 10, 3),
            patch=5,
            vocab_size=23,
            context=13,
            shared_width=19,
            width=14,
            depth=3,
            heads=7,
            mlp_width=17,
        ),  # fmt: skip
        {"images": IMAGES, "tokens": TOKENS, "mask": TEXT_MASK},
        ("contrastive", jnp.arange(8)),
        10_697,
    ),
    "convnext": (
        dict(image_shape=(15, 10, 3), patch=2, classes=19, width=14, depths=(1, 2), layer_scale=0.5),
        {"images": IMAGES},
        ("classification", jnp.arange(8)),
        20_613,
    ),
    "convolutional": (
        dict(image_shape=(14, 10, 3), classes=19, width=11, depth=1),
        {"images": IMAGES[:, :14]},
        ("classification", jnp.arange(8)),
        7642,
    ),
    "encoder_decoder": (
        dict(
            source_vocab_size=19,
            vocab_size=23,
            source_context=5,
            context=13,
            width=14,
            depth=3,
            heads=7,
            mlp_width=17,
            shared=False,
            positions="learned",
        ),  # fmt: skip
        {"source": SOURCE, "source_mask": SOURCE_MASK, "tokens": TOKENS},
        ("seq2seq", jnp.roll(TOKENS, -1, axis=1)),
        11_918,
    ),
    "flamingo": (
        dict(
            image_shape=(15, 10, 3),
            patch=5,
            vocab_size=23,
            context=13,
            image_token=5,
            width=14,
            depth=3,
            heads=7,
            mlp_width=17,
            vision_width=12,
            vision_depth=1,
            vision_heads=3,
            latents=2,
            first_gate=0.5,  # with 0 nothing of the images has a gradient
        ),  # fmt: skip
        {"images": FRAMES, "tokens": TOKENS.at[:, 3].set(5)},
        ("language_modeling", jnp.roll(TOKENS, -1, axis=1)),
        13_903,
    ),
    "gpt": (
        dict(vocab_size=23, context=13, width=14, depth=3, heads=7, mlp_width=17),
        {"tokens": TOKENS},
        ("language_modeling", jnp.roll(TOKENS, -1, axis=1)),
        4741,
    ),
    "graph": (
        dict(features=5, classes=19, predicts="graphs", layer="gated", edge_features=3, width=14, depth=3),
        {"nodes": NODES, "edges": EDGES, "edge_mask": EDGE_MASK, "edge_features": EDGES @ jnp.ones((2, 3))},
        ("classification", jnp.arange(8)),
        3743,
    ),
    "in_context": (
        dict(dimensions=5, context=13, width=14, depth=3, heads=7, mlp_width=17),
        {"points": POINTS, "values": VALUES},
        ("regression", 3 * POINTS[..., 0]),
        4602,
    ),
    "latent_energy": (
        dict(inputs=5, latents=47, width=14, depth=3),
        {"y": 4 * POINTS[:, 0, :2], "x": POINTS[:, 1]},
        ("energy", jnp.zeros(8)),
        534,
    ),
    "perceiver": (
        dict(image_shape=(15, 10, 3), classes=19, latents=5, repeats=2, width=14, depth=3, heads=7, mlp_width=17),
        {"images": IMAGES},
        ("classification", jnp.arange(8)),
        8686,
    ),
    "perceptron": (
        dict(image_shape=(15, 10, 3), classes=19, width=14, depth=3),
        {"images": IMAGES},
        ("classification", jnp.arange(8)),
        7019,
    ),
    "recurrent": (
        dict(vocab_size=23, context=13, width=14, depth=3),
        {"tokens": TOKENS},
        ("language_modeling", jnp.roll(TOKENS, -1, axis=1)),
        3976,
    ),
    "recurrent_encoder_decoder": (
        dict(
            source_vocab_size=19,
            vocab_size=23,
            source_context=5,
            context=13,
            width=14,
            depth=2,
            decoder_depth=1,
            cell="lstm",
            shared=False,
        ),  # fmt: skip
        {"source": SOURCE, "source_mask": SOURCE_MASK, "tokens": TOKENS},
        ("seq2seq", jnp.roll(TOKENS, -1, axis=1)),
        6902,
    ),
    "resnet": (
        dict(image_shape=(7, 5, 3), classes=19, width=14, depths=(1, 2)),
        {"images": IMAGES[:, :7, :5]},
        ("classification", jnp.arange(8)),
        30_007,
    ),
    "sequence_vae": (
        dict(vocab_size=23, context=13, latents=5, properties=2, width=14, depth=3),
        {"tokens": TOKENS, "properties": jnp.ones((8, 2))},
        ("language_modeling", TOKENS),
        8617,
    ),
    "swin": (
        dict(image_shape=(12, 8, 3), patch=1, classes=19, window=2, width=14, depths=(2, 1), heads=7, mlp_width=17),
        {"images": IMAGES[:, :12, :8]},
        ("classification", jnp.arange(8)),
        9786,
    ),
    "unet": (
        dict(image_shape=(6, 10, 3), classes=19, width=14, depth=1),
        {"images": IMAGES[:, :6]},
        ("segmentation", (IMAGES[:, :6, :, 0] > 0.5).astype(int)),
        20_151,
    ),
    "variational": (
        dict(
            image_shape=(15, 10, 3),
            patch=5,
            classes=19,
            latents=13,
            encoder="transformer",
            likelihood="categorical",
            width=14,
            depth=3,
            heads=7,
            mlp_width=17,
            decoder_width=11,
            decoder_depth=1,
        ),  # fmt: skip
        {"images": IMAGES},
        ("classification", jnp.arange(8)),
        6157,
    ),
    "vit": (
        dict(image_shape=(15, 10, 3), patch=5, classes=19, width=14, depth=3, heads=7, mlp_width=17),
        {"images": IMAGES},
        ("classification", jnp.arange(8)),
        5670,
    ),
}

# Those with blocks, and so with all the choices that blocks have.
TRANSFORMERS = sorted(name for name, (fields, *_) in ROWS.items() if {"heads", "depth"} <= fields.keys())
