"""BERT (Devlin et al. 2019), as `BertModel` and the `BertFor...` of transformers write it."""

from models.bert import HEADS, Bert, ClassificationHead, TaggingHead
from models.pretrained.blocks import describe_blocks
from models.pretrained.reference import Head, Reference
from models.pretrained.rows import Row, linear, norm, same


def rows(fields: dict) -> list[Row]:
    """Returns the rows of everything but the head."""
    theirs, ours = "bert.encoder.layer.{layer}", "blocks.blocks.{layer}"
    return [
        *same("bert.embeddings.word_embeddings.weight", "embedding.embedding"),
        *same("bert.embeddings.token_type_embeddings.weight", "segments.embedding"),
        *same("bert.embeddings.position_embeddings.weight", "positions.table"),
        *norm("bert.embeddings.LayerNorm", "norm"),
        *linear(f"{theirs}.attention.self.query", f"{ours}.attention.query"),
        *linear(f"{theirs}.attention.self.key", f"{ours}.attention.key"),
        *linear(f"{theirs}.attention.self.value", f"{ours}.attention.value"),
        *linear(f"{theirs}.attention.output.dense", f"{ours}.attention.out"),
        *norm(f"{theirs}.attention.output.LayerNorm", f"{ours}.attention_norm"),
        *linear(f"{theirs}.intermediate.dense", f"{ours}.mlp.up"),
        *linear(f"{theirs}.output.dense", f"{ours}.mlp.down"),
        *norm(f"{theirs}.output.LayerNorm", f"{ours}.mlp_norm"),
    ]


def masked(ours: str) -> list[Row]:
    """Returns the rows of the head for masked tokens."""
    return [
        *linear("cls.predictions.transform.dense", f"{ours}.transform"),
        *norm("cls.predictions.transform.LayerNorm", f"{ours}.norm"),
        *same("cls.predictions.bias", f"{ours}.bias"),
    ]


def pooled(ours: str, classifier: list[Row]) -> list[Row]:
    """Returns the rows of a head that classifies by the first position."""
    return [*linear("bert.pooler.dense", f"{ours}.pooler"), *classifier]


def following(ours: str) -> list[Row]:
    """Returns the rows of the classifier of the next text. Their first class is "it follows", which is our second."""
    matrix, bias = linear("cls.seq_relationship", ours)
    swapped = lambda x: (x[..., ::-1],)
    return [
        Row(matrix.theirs, matrix.ours, lambda x: (x[::-1].T,), lambda x: (x.T[::-1],)),
        Row(bias.theirs, bias.ours, swapped, swapped),
    ]


def describe(model: Bert) -> dict:
    """Returns the fields that a BERT was built with."""
    classifies = isinstance(model.head, (ClassificationHead, TaggingHead))
    return describe_blocks(model.blocks) | {
        "positions": model.positions.kind,
        "vocab_size": model.embedding.embedding.shape[0],
        "context": model.context,
        "segments": model.segments.embedding.shape[0],
        "head": next(name for name, head in HEADS.items() if type(model.head) is head),
        "classes": model.head.classifier.kernel.shape[-1] if classifies else None,
    }


TWINS = ("cls.predictions.decoder.weight",)  # its bias is a copy in any case

BERT = Reference(
    name="bert",
    model=Bert,
    settings={
        "vocab_size": "vocab_size",
        "context": "max_position_embeddings",
        "width": "hidden_size",
        "depth": "num_hidden_layers",
        "heads": "num_attention_heads",
        "mlp_width": "intermediate_size",
        "segments": ("type_vocab_size", 2),
        "activation": ("hidden_act", "gelu"),
        "epsilon": ("layer_norm_eps", 1e-12),
    },
    read={"tie_word_embeddings": "flag"},
    fixed={"position_embedding_type": "absolute", "is_encoder_decoder": False},
    harmless=(  # of Google's multilingual models, read by nobody
        "directionality", "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers",
        "pooler_size_per_head", "pooler_type",
    ),
    dropouts={"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "classifier_dropout": None},
    rows=rows,
    heads=[
        Head(
            {"head": "pretraining"}, ("BertForPreTraining",),
            [*masked("head.masked"), *pooled("head.next", following("head.next.classifier"))], twins=TWINS,
        ),
        Head({"head": "masked"}, ("BertForMaskedLM",), masked("head"), twins=TWINS),
        Head({"head": "next"}, ("BertForNextSentencePrediction",), pooled("head", following("head.classifier"))),
        Head(
            {"head": "classification"}, ("BertForSequenceClassification",),
            pooled("head", linear("classifier", "head.classifier")), classes=True,
        ),
        Head(
            {"head": "tagging"}, ("BertForTokenClassification",), linear("classifier", "head.classifier"), classes=True
        ),
        Head({"head": "pooler"}, ("BertModel",), pooled("head", [])),
        Head({"head": "none"}, ("BertModel",)),
    ],
    prefix="bert.",
    outside=("cls.", "classifier."),
    copies={
        "cls.predictions.decoder.weight": ("bert.embeddings.word_embeddings.weight",),
        "cls.predictions.decoder.bias": ("cls.predictions.bias",),
    },
    ignored=r"\.position_ids$",
    describe=describe,
)  # fmt: skip
