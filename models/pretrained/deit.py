"""DeiT (Touvron et al. 2021), as `DeiTForImageClassification`, the same `WithTeacher` and `DeiTModel` write it.

It is a Vision Transformer with a second learned token, which was trained to agree with a teacher. The first class reads
the first token only; the one with a teacher has a head for each, and returns the mean of their logits. Ours keeps the
sum of each token and its position, as for ViT.
"""

import jax.numpy as jnp

from models.pretrained import vit
from models.pretrained.reference import Head, Reference
from models.pretrained.rows import Row, linear
from models.vit import VisionTransformer


def rows(fields: dict) -> list[Row]:
    """Returns the rows of everything but the head."""
    names = [f"deit.embeddings.{name}" for name in ("cls_token", "distillation_token", "position_embeddings")]
    return [first_tokens(*names), *vit.encoder("deit", fields)]


def first_tokens(token: str, distillation: str, positions: str) -> Row:
    """Returns the row of both learned tokens with their positions, and of the positions of the patches."""
    read = lambda token_11D, distillation_11D, positions_1TD: (
        token_11D[0, 0] + positions_1TD[0, 0],
        distillation_11D[0] + positions_1TD[0, 1:2],
        positions_1TD[0, 2:],
    )
    write = lambda cls_D, registers_RD, table_TD: (
        cls_D[None, None],
        registers_RD[None],
        jnp.concatenate([jnp.zeros_like(cls_D)[None], jnp.zeros_like(registers_RD), table_TD])[None],
    )
    return Row((token, distillation, positions), ("cls", "registers", "positions.table"), read, write)


DEIT = Reference(
    name="deit",
    model=VisionTransformer,
    settings=vit.VIT.settings,
    read=vit.VIT.read,
    fixed=vit.VIT.fixed,
    harmless=vit.VIT.harmless,
    dropouts=vit.VIT.dropouts,
    rows=rows,
    heads=[
        Head(
            {"head": "classes", "distilled": False}, ("DeiTForImageClassification",), linear("classifier", "head"),
            classes=True,
        ),  # fmt: skip
        Head(
            {"head": "classes", "distilled": True}, ("DeiTForImageClassificationWithTeacher",),
            linear("cls_classifier", "head") + linear("distillation_classifier", "distilled_head"), classes=True,
        ),  # fmt: skip
        Head({"head": "pooler"}, ("DeiTModel",), linear("deit.pooler.dense", "head")),
        Head({"head": "none"}, ("DeiTModel",)),
    ],
    prefix="deit.",
    outside=("classifier.", "cls_classifier.", "distillation_classifier."),
    describe=vit.describe,
    to_fields=lambda config: vit.to_fields(config) | {"registers": 1},
    to_config=vit.to_config,
)
