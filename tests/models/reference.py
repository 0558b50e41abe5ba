"""Models of the reference with random weights, what they compute, and whether the reference loads what we write.

It runs where requirements-reference.txt is installed, see "make test-reference"; no JAX here, and nothing of ours.

  python tests/models/reference.py write FOLDER --sizes=all     a folder for each case: the model, and what it computes
  python tests/models/reference.py write tests/models/pretrained       the small cases, which the ordinary tests read
  python tests/models/reference.py check FOLDER                 reads <case>/ours, which the tests wrote, and compares
"""

import argparse
from pathlib import Path
import shutil
import sys

from safetensors.torch import load_file, save_file
import torch  # pyright: ignore[reportMissingImports] # it runs in an environment of its own
import transformers  # pyright: ignore[reportMissingImports] # it runs in an environment of its own
from transformers import (  # pyright: ignore[reportMissingImports] # it runs in an environment of its own
    BartConfig,
    BertConfig,
    CLIPConfig,
    DeiTConfig,
    Dinov2Config,
    Dinov2WithRegistersConfig,
    GPT2Config,
    MarianConfig,
    PerceiverConfig,
    T5Config,
    ViTConfig,
)


def gpt2(vocab, context, width, depth, heads, **more):
    return GPT2Config(
        vocab_size=vocab, n_positions=context, n_embd=width, n_layer=depth, n_head=heads, bos_token_id=0,
        eos_token_id=None, **more,
    )  # fmt: skip


def bert(vocab, context, width, depth, heads, mlp_width, **more):
    return BertConfig(
        vocab_size=vocab, max_position_embeddings=context, hidden_size=width, num_hidden_layers=depth,
        num_attention_heads=heads, intermediate_size=mlp_width, num_labels=5, **more,
    )  # fmt: skip


def vit(image, patch, channels, width, depth, heads, mlp_width, *, kind=ViTConfig, **more):
    return kind(
        image_size=list(image), patch_size=patch, num_channels=channels, hidden_size=width, num_hidden_layers=depth,
        num_attention_heads=heads, intermediate_size=mlp_width, num_labels=5, **more,
    )  # fmt: skip


def dinov2(image, patch, channels, width, depth, heads, ratio, *, kind=Dinov2Config, **more):
    return kind(
        image_size=image, patch_size=patch, num_channels=channels, hidden_size=width, num_hidden_layers=depth,
        num_attention_heads=heads, mlp_ratio=ratio, num_labels=5, **more,
    )  # fmt: skip


def resnet(channels, stem_width, sizes, depths, kind, **more):
    return transformers.ResNetConfig(
        num_channels=channels, embedding_size=stem_width, hidden_sizes=list(sizes), depths=list(depths),
        layer_type=kind, num_labels=5, **more,
    )  # fmt: skip


def convnext(image, patch, channels, sizes, depths, **more):
    return transformers.ConvNextConfig(
        image_size=list(image), patch_size=patch, num_channels=channels, hidden_sizes=list(sizes), depths=list(depths),
        num_stages=len(depths), num_labels=5, **more,
    )  # fmt: skip


def swin(image, patch, channels, width, depths, heads, window, **more):
    return transformers.SwinConfig(
        image_size=list(image), patch_size=patch, num_channels=channels, embed_dim=width, depths=list(depths),
        num_heads=[heads << stage for stage in range(len(depths))], window_size=window, num_labels=5, **more,
    )  # fmt: skip


def clip(images, texts, shared, **both):
    """`images` and `texts` are the sizes of the encoders: side, patch, ... and vocabulary, context, ..."""
    side, patch, channels, *of_images = images
    vocab, context, *of_texts = texts
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    vision = dict(zip(names, of_images), image_size=side, patch_size=patch, num_channels=channels, **both)
    tokens = dict(bos_token_id=0, eos_token_id=vocab - 3)
    text = dict(zip(names, of_texts), vocab_size=vocab, max_position_embeddings=context, **tokens, **both)
    return CLIPConfig(vision_config=vision, text_config=text, projection_dim=shared)


def t5(vocab, context, width, depth, heads, head_size, mlp_width, **more):
    return T5Config(
        vocab_size=vocab, d_model=width, num_layers=depth, num_heads=heads, d_kv=head_size, d_ff=mlp_width,
        n_positions=context, decoder_start_token_id=0, **more,
    )  # fmt: skip


def bart(kind, vocab, context, width, depth, heads, mlp_width, **more):
    return kind(
        vocab_size=vocab, max_position_embeddings=context, d_model=width, encoder_layers=depth,
        encoder_attention_heads=heads, decoder_attention_heads=heads, encoder_ffn_dim=mlp_width,
        decoder_ffn_dim=mlp_width, pad_token_id=vocab - 1, decoder_start_token_id=vocab - 1, eos_token_id=2,
        bos_token_id=0, forced_eos_token_id=None, **{"decoder_layers": depth, "attention_dropout": 0.1} | more,
    )  # fmt: skip


def perceiver(width, latents, depth, blocks, heads, cross_heads, **more):
    return PerceiverConfig(
        d_latents=width, num_latents=latents, num_self_attends_per_block=depth, num_blocks=blocks,
        num_self_attention_heads=heads, num_cross_attention_heads=cross_heads, num_labels=5, **more,
    )  # fmt: skip


def perceiver_text(vocab, context, d_model, *sizes, **more):
    return perceiver(*sizes, vocab_size=vocab, max_position_embeddings=context, d_model=d_model, **more)


SMALL = {  # case: (class, config), with odd sizes
    "gpt2": ("GPT2LMHeadModel", gpt2(31, 13, 15, 2, 3)),
    "gpt2_untied": (
        "GPT2LMHeadModel",
        gpt2(23, 11, 14, 1, 7, n_inner=19, activation_function="relu", tie_word_embeddings=False),
    ),
    "gpt2_body": ("GPT2Model", gpt2(23, 11, 10, 1, 2, activation_function="gelu", layer_norm_epsilon=1e-2)),
    "bert_pretraining": ("BertForPreTraining", bert(31, 13, 15, 2, 3, 19)),
    "bert_masked": ("BertForMaskedLM", bert(23, 11, 10, 1, 2, 17, hidden_act="relu", type_vocab_size=3)),
    "bert_next": ("BertForNextSentencePrediction", bert(23, 11, 10, 1, 2, 17, layer_norm_eps=1e-2)),
    "bert_classification": ("BertForSequenceClassification", bert(23, 11, 10, 1, 5, 17, hidden_act="gelu_new")),
    "bert_tagging": ("BertForTokenClassification", bert(23, 11, 10, 1, 2, 17)),
    "bert_body": ("BertModel", bert(19, 7, 10, 1, 2, 13)),
    "bert_hidden": ("BertModel without pooling", bert(19, 7, 6, 1, 2, 5)),
    "t5": ("T5ForConditionalGeneration", t5(31, 13, 15, 2, 3, 4, 19)),
    "t5_v1.1": (
        "T5ForConditionalGeneration",
        t5(
            23, 11, 10, 2, 3, 7, 11, feed_forward_proj="gated-gelu", tie_word_embeddings=False, num_decoder_layers=1,
            relative_attention_num_buckets=8, relative_attention_max_distance=7, layer_norm_epsilon=1e-2,
        ),
    ),
    "bart": ("BartForConditionalGeneration", bart(BartConfig, 31, 13, 15, 1, 3, 19, activation_dropout=0.1)),
    "bart_body": (
        "BartModel",
        bart(BartConfig, 23, 11, 10, 2, 2, 7, decoder_layers=1, scale_embedding=True, activation_dropout=0.1),
    ),
    "marian": (
        "MarianMTModel",
        bart(
            MarianConfig, 29, 13, 14, 1, 7, 11, activation_function="swish", scale_embedding=True,
            activation_dropout=0.1, decoder_vocab_size=29,
        ),
    ),
    "marian_apart": (
        "MarianMTModel",
        bart(
            MarianConfig, 19, 11, 10, 1, 5, 13, share_encoder_decoder_embeddings=False, decoder_vocab_size=23,
            activation_dropout=0.1,
        ),
    ),
    "perceiver": (
        "PerceiverForMaskedLM",
        perceiver_text(31, 13, 24, 15, 7, 2, 1, 3, 5, qk_channels=30, v_channels=15, use_query_residual=False),
    ),
    "perceiver_rounds": (
        "PerceiverForMaskedLM",
        perceiver_text(
            23, 11, 8, 21, 5, 1, 3, 7, 1, self_attention_widening_factor=3, cross_attention_widening_factor=2,
            hidden_act="gelu_new",
        ),
    ),
    "perceiver_text": (
        "PerceiverForSequenceClassification",
        perceiver_text(23, 11, 13, 15, 5, 1, 2, 5, 3, cross_attention_shape_for_attention="q"),
    ),
    "perceiver_learned": (
        "PerceiverForImageClassificationLearned",
        perceiver(9, 3, 1, 2, 3, 1, image_size=5, qk_channels=9, v_channels=9),
    ),
    "perceiver_fourier": (
        "PerceiverForImageClassificationFourier",
        perceiver(15, 7, 2, 2, 5, 3, image_size=[7, 5], qk_channels=30, v_channels=15, hidden_act="relu"),
    ),
    "perceiver_convolution": (
        "PerceiverForImageClassificationConvProcessing",
        perceiver(15, 7, 1, 2, 5, 3, image_size=[23, 17], qk_channels=30, v_channels=15),
    ),
    "convnext": ("ConvNextForImageClassification", convnext((29, 23), 3, 3, (7, 14), (1, 2))),
    "resnet": ("ResNetForImageClassification", resnet(3, 5, (12, 24), (1, 2), "bottleneck", image_size=[37, 29])),
    "resnet_body": ("ResNetModel", resnet(1, 7, (7, 14), (2, 1), "basic", image_size=[23, 31])),
    "swin": ("SwinForImageClassification", swin((36, 24), 2, 3, 6, (2, 1), 2, 3)),
    "swin_body": (
        "SwinModel without pooling",
        swin((15, 15), 1, 1, 10, (1,), 5, 5, qkv_bias=False, layer_norm_eps=1e-2),
    ),
    "vit": ("ViTForImageClassification", vit((10, 15), 5, 3, 14, 2, 7, 19)),
    "vit_gray": ("ViTForImageClassification", vit((6, 6), 2, 1, 10, 1, 2, 17, hidden_act="gelu_pytorch_tanh")),
    "vit_body": ("ViTModel", vit((6, 9), 3, 2, 10, 1, 2, 11)),
    "deit": ("DeiTForImageClassificationWithTeacher", vit((10, 15), 5, 3, 14, 2, 7, 19, kind=DeiTConfig)),
    "deit_student": (
        "DeiTForImageClassification",
        vit((6, 6), 2, 1, 10, 1, 2, 17, kind=DeiTConfig, hidden_act="gelu_new", layer_norm_eps=1e-2),
    ),
    "deit_body": ("DeiTModel", vit((6, 9), 3, 2, 10, 1, 2, 11, kind=DeiTConfig)),
    "deit_hidden": ("DeiTModel without pooling", vit((4, 6), 2, 1, 6, 1, 3, 7, kind=DeiTConfig, qkv_bias=False)),
    "clip": ("CLIPModel", clip((15, 5, 3, 14, 2, 7, 19), (31, 13, 10, 1, 5, 17), 11)),
    "clip_gelu": (
        "CLIPModel",
        clip((6, 2, 1, 10, 1, 2, 7), (23, 11, 14, 3, 7, 13), 9, hidden_act="gelu", layer_norm_eps=1e-2),
    ),
    "dinov2": ("Dinov2ForImageClassification", dinov2(15, 5, 3, 14, 2, 7, 3)),
    "dinov2_gated": ("Dinov2ForImageClassification", dinov2(6, 2, 1, 10, 1, 2, 3, use_swiglu_ffn=True)),
    "dinov2_body": (
        "Dinov2Model",
        dinov2(9, 3, 2, 10, 2, 5, 1, qkv_bias=False, layer_norm_eps=1e-2, hidden_act="relu"),
    ),
    "dinov2_with_registers": (
        "Dinov2WithRegistersForImageClassification",
        dinov2(10, 5, 3, 14, 1, 7, 2, kind=Dinov2WithRegistersConfig, num_register_tokens=3),
    ),
    "dinov2_with_registers_body": (
        "Dinov2WithRegistersModel",
        dinov2(9, 3, 2, 10, 2, 5, 1, kind=Dinov2WithRegistersConfig, num_register_tokens=1, use_swiglu_ffn=True),
    ),
    "vit_hidden": ("ViTModel without pooling", vit((4, 6), 2, 1, 6, 1, 3, 7, qkv_bias=False)),
}  # fmt: skip

LARGE = {
    "gpt2_wide": ("GPT2LMHeadModel", gpt2(1009, 67, 99, 3, 11)),
    "gpt2_deep": ("GPT2LMHeadModel", gpt2(211, 41, 35, 11, 5, n_inner=53)),
    "bert_wide": ("BertForPreTraining", bert(1009, 67, 99, 3, 11, 307)),
    "bert_deep": ("BertForMaskedLM", bert(211, 41, 35, 11, 5, 53)),
    "bert_classification_wide": ("BertForSequenceClassification", bert(1009, 67, 99, 3, 11, 307)),
    "t5_wide": ("T5ForConditionalGeneration", t5(1009, 139, 99, 3, 11, 13, 307)),
    "t5_v1.1_deep": (
        "T5ForConditionalGeneration",
        t5(211, 41, 35, 7, 5, 3, 53, feed_forward_proj="gated-gelu", tie_word_embeddings=False),
    ),
    "bart_wide": ("BartForConditionalGeneration", bart(BartConfig, 1009, 67, 99, 3, 11, 307, activation_dropout=0.1)),
    "marian_deep": ("MarianMTModel", bart(MarianConfig, 211, 41, 30, 7, 5, 53, activation_dropout=0.1)),
    "perceiver_wide": (
        "PerceiverForMaskedLM",
        perceiver_text(1009, 67, 104, 99, 37, 3, 1, 11, 9, qk_channels=198, v_channels=99),
    ),
    "perceiver_text_deep": ("PerceiverForSequenceClassification", perceiver_text(211, 41, 35, 49, 11, 5, 3, 7, 7)),
    "perceiver_learned_wide": (
        "PerceiverForImageClassificationLearned",
        perceiver(99, 37, 3, 2, 11, 1, image_size=13, self_attention_widening_factor=3),
    ),
    "perceiver_fourier_deep": (
        "PerceiverForImageClassificationFourier",
        perceiver(51, 17, 5, 3, 17, 3, image_size=[23, 31]),
    ),
    "perceiver_convolution_wide": (
        "PerceiverForImageClassificationConvProcessing",
        perceiver(77, 37, 3, 2, 11, 7, image_size=[37, 53]),
    ),
    "resnet_deep": (
        "ResNetForImageClassification",
        resnet(3, 11, (28, 56, 112, 224), (3, 4, 6, 3), "bottleneck", image_size=[131, 97]),
    ),
    "resnet_wide": ("ResNetForImageClassification", resnet(2, 35, (35, 70, 140), (2, 1, 3), "basic", image_size=101)),
    "convnext_wide": ("ConvNextForImageClassification", convnext((41, 52), 5, 2, (35, 70), (2, 1), hidden_act="relu")),
    "convnext_deep": (
        "ConvNextForImageClassification",
        convnext((83, 67), 3, 3, (14, 28, 56, 112), (1, 3, 4, 2), layer_scale_init_value=0.0, layer_norm_eps=1e-3),
    ),
    "swin_wide": ("SwinForImageClassification", swin((84, 84), 3, 3, 33, (2, 3), 11, 7, hidden_act="relu")),
    "swin_deep": ("SwinForImageClassification", swin((40, 80), 1, 2, 15, (1, 4, 2), 3, 5)),
    "swin_body_deep": ("SwinModel without pooling", swin((44, 44), 2, 1, 14, (3, 2), 7, 11, layer_norm_eps=1e-3)),
    "vit_wide": ("ViTForImageClassification", vit((35, 49), 7, 3, 99, 3, 11, 307)),
    "deit_wide": (
        "DeiTForImageClassificationWithTeacher", vit((35, 49), 7, 3, 99, 3, 11, 307, kind=DeiTConfig)
    ),
    "clip_wide": ("CLIPModel", clip((35, 7, 3, 99, 3, 11, 307), (1009, 67, 77, 4, 7, 211), 53)),
    "dinov2_wide": ("Dinov2ForImageClassification", dinov2(49, 7, 3, 99, 3, 11, 3)),
    "dinov2_with_registers_deep": (
        "Dinov2WithRegistersForImageClassification",
        dinov2(33, 3, 3, 35, 11, 5, 2, kind=Dinov2WithRegistersConfig, use_swiglu_ffn=True),
    ),
    "vit_deep": ("ViTForImageClassification", vit((33, 27), 3, 3, 35, 11, 5, 53)),
}


def build(architecture: str, config):
    """A model in which every parameter counts: the reference's own first weights are too small to show a mistake."""
    config._attn_implementation = "eager"
    architecture, _, without = architecture.partition(" without ")
    model = getattr(transformers, architecture)(config, **{f"add_{without}_layer": False} if without else {}).eval()
    if not getattr(config, "scale_decoder_outputs", True):  # T5 v1.1, whose published head is no copy of the embedding
        model.lm_head = torch.nn.Linear(config.d_model, config.vocab_size, bias=False)
    named = config.vision_config if isinstance(config, CLIPConfig) else config
    sizes = ("d_latents", "embed_dim", "embedding_size", "hidden_size", "hidden_sizes")
    width = next(getattr(named, name) for name in sizes if hasattr(named, name))
    width = width if isinstance(width, int) else width[0]
    convolutional = isinstance(config, (transformers.ResNetConfig, transformers.ConvNextConfig))
    random = torch.Generator().manual_seed(sum(map(ord, architecture)) + width)
    with torch.no_grad():
        for name, x in weights(model).items():
            noise = torch.randn(x.shape, generator=random)
            is_norm = "norm" in name.lower() or "ln_" in name
            if name.endswith("weight") and is_norm:
                x.copy_(1 + 0.3 * noise)
            else:
                bias, table = x.ndim < 2 or name.endswith("bias"), any(x in name for x in ("embed", "wte", "shared"))
                inputs = 1 if bias else x[0].numel() if convolutional else x.shape[-1]  # the scale of CLIP has no axis
                x.copy_(noise * (0.3 if bias else 0.5 if table and not convolutional else inputs**-0.5))
        if isinstance(config, CLIPConfig):
            model.logit_scale.fill_(3.1)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3, generator=random)
                module.running_var.uniform_(0.5, 2, generator=random)
    return model


def weights(model) -> dict[str, torch.Tensor]:
    """The parameters but for fixed ones (Marian's sinusoids), and the bias of the logits, which is a buffer there."""
    named = {name: x for name, x in model.named_parameters() if x.requires_grad}
    kept = {name: x for name, x in model.state_dict(keep_vars=True).items() if name == "final_logits_bias"}
    return named | {name: x.requires_grad_() for name, x in kept.items()}


def make_inputs(config, count: int = 3) -> dict[str, torch.Tensor]:
    """A batch, in which texts end early, or (the last one) begin late."""
    random = torch.Generator().manual_seed(1)
    if isinstance(config, CLIPConfig):
        return make_compared(config, count, random)
    if hasattr(config, "num_channels") or hasattr(config, "patch_size") or "Image" in config.architectures[0]:
        sides = [config.image_size] * 2 if isinstance(config.image_size, int) else config.image_size
        return {"images": torch.randn((count, *sides, getattr(config, "num_channels", 3)), generator=random)}
    if config.is_encoder_decoder:
        return make_pairs(config, count, random)
    T = config.max_position_embeddings - 2
    position = torch.arange(T)
    mask = position < torch.tensor([T, T - 4, 2])[:, None]
    inputs = {"tokens": torch.randint(config.vocab_size, (count, T), generator=random), "mask": mask}
    if isinstance(config, (GPT2Config, PerceiverConfig)):
        mask[1] = position >= 4
        return inputs
    return inputs | {"segments": (position > torch.tensor([4, 2, 0])[:, None]).long()}


def make_compared(config, count: int, random) -> dict[str, torch.Tensor]:
    """Images, and more texts than images, of which each ends with the end token; behind it is anything."""
    vision, text = config.vision_config, config.text_config
    T = text.max_position_embeddings - 2
    last = torch.tensor([T - 1, T - 5, 2, T - 1, 4])[: count + 2, None]
    tokens = torch.randint(text.eos_token_id, (count + 2, T), generator=random)
    tokens.scatter_(1, last, text.eos_token_id)
    return {
        "images": torch.randn((count, *[vision.image_size] * 2, vision.num_channels), generator=random),
        "tokens": tokens, "mask": torch.arange(T) <= last,
    }  # fmt: skip


def make_pairs(config, count: int, random) -> dict[str, torch.Tensor]:
    """Sources, which end early or (the last one) begin late, and targets."""
    S = (config.n_positions if isinstance(config, T5Config) else config.max_position_embeddings) - 2
    T, position = S - 3, torch.arange(S)
    mask = position < torch.tensor([S, S - 4, 2])[:, None]
    mask[2] = position >= 4
    vocab = getattr(config, "decoder_vocab_size", None) or config.vocab_size
    # Not the padding token, which is the last one: what reads it gives its embedding no gradient there.
    source = torch.randint(config.vocab_size - 1, (count, S), generator=random)
    tokens = torch.randint(min(vocab, config.vocab_size) - 1, (count, T), generator=random)
    return {"source": source, "source_mask": mask, "tokens": tokens}


STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
WITHOUT_POOLER = (transformers.Dinov2Model, transformers.Dinov2WithRegistersModel)
BODIES = (transformers.BertModel, transformers.DeiTModel, transformers.SwinModel, transformers.ViTModel)
NAMES = {"tokens": "input_ids", "mask": "attention_mask", "segments": "token_type_ids", "images": "pixel_values"}
PAIR_NAMES = {"source": "input_ids", "source_mask": "attention_mask", "tokens": "decoder_input_ids"}


def outputs(model, inputs):
    """The logits, one array a head, and every hidden state."""
    names = PAIR_NAMES if "source" in inputs else NAMES
    arguments = {names[name]: x for name, x in inputs.items()}
    if "pixel_values" in arguments:
        arguments["pixel_values"] = arguments["pixel_values"].permute(0, 3, 1, 2)
    if "attention_mask" in arguments:
        arguments["attention_mask"] = arguments["attention_mask"].long()
    if "source" in inputs:
        return of_pairs(model, arguments)
    if isinstance(model.config, CLIPConfig):
        return of_compared(model, arguments)
    if isinstance(model.config, PerceiverConfig):
        output = model(**arguments, output_hidden_states=True)
        logits = output.logits[:, : arguments["input_ids"].shape[1]] if output.logits.ndim == 3 else output.logits
        return [logits], output.hidden_states
    if isinstance(model.config, (transformers.ResNetConfig, transformers.ConvNextConfig, transformers.SwinConfig)):
        return of_stages(model, arguments)
    body = getattr(model, model.base_model_prefix, model)
    hidden = body(**arguments, output_hidden_states=True)
    hidden = [*hidden.hidden_states[:-1], hidden.last_hidden_state]
    output = model(**arguments)
    if isinstance(model, WITHOUT_POOLER):
        return [hidden[-1]], hidden
    if isinstance(model, BODIES):
        pooled = model(**arguments).pooler_output
        return [hidden[-1]] if pooled is None else [hidden[-1], pooled], hidden
    if body is model:
        return [hidden[-1] @ model.get_input_embeddings().weight.T], hidden
    names = ["prediction_logits", "seq_relationship_logits"] if "prediction_logits" in output else ["logits"]
    return [output[name] for name in names], hidden


def of_stages(model, arguments):
    """The same for stages, whose hidden states are images of channels; here a row of them for each pixel."""
    body = getattr(model, model.base_model_prefix, model)
    of_pixels = lambda x: x.flatten(2).transpose(1, 2) if x.ndim == 4 else x
    if isinstance(model.config, transformers.SwinConfig):
        more = {"output_hidden_states_before_downsampling": True}
        maps = body(**arguments, output_hidden_states=True, **more).reshaped_hidden_states
    else:
        maps = body(**arguments, output_hidden_states=True).hidden_states
    output = model(**arguments)
    logits = output.logits if "logits" in output else of_pixels(output.last_hidden_state)
    return [logits], [of_pixels(x) for x in maps]


def of_compared(model, arguments):
    """The similarities of images with texts, and the hidden states of both encoders, of which the last are normed."""
    images = model.vision_model(arguments["pixel_values"], output_hidden_states=True)
    names = ("input_ids", "attention_mask")
    texts = model.text_model(**{name: arguments[name] for name in names}, output_hidden_states=True)
    last = model.vision_model.post_layernorm(images.hidden_states[-1])
    hidden = [*images.hidden_states[:-1], last, *texts.hidden_states[:-1], texts.last_hidden_state]
    return [model(**arguments).logits_per_image], hidden


def of_pairs(model, arguments):
    """The same for an encoder-decoder: the hidden states of the encoder, then those of the decoder."""
    source = {"input_ids": arguments["input_ids"], "attention_mask": arguments["attention_mask"]}
    encoder = model.get_encoder()(**source, output_hidden_states=True)
    decoder = model.get_decoder()(
        input_ids=arguments["decoder_input_ids"], encoder_hidden_states=encoder.last_hidden_state,
        encoder_attention_mask=arguments["attention_mask"], output_hidden_states=True,
    )  # fmt: skip
    hidden = [x for output in (encoder, decoder) for x in (*output.hidden_states[:-1], output.last_hidden_state)]
    output = model(**arguments)
    if "logits" in output:
        return [output.logits], hidden
    return [hidden[-1] @ model.get_input_embeddings().weight.T], hidden


def generate(model, inputs) -> dict[str, torch.Tensor]:
    """What is written greedily, and by beam search with a length penalty, where a token that was written is the end."""
    if "source" in inputs:
        prompt = {"input_ids": inputs["source"], "attention_mask": inputs["source_mask"].long()}
        skipped = 1
    else:
        prompt, skipped = {"input_ids": inputs["tokens"][:, :3]}, 3
    shared = dict(**prompt, max_new_tokens=7, do_sample=False)
    if model.config.pad_token_id is None:
        shared["pad_token_id"] = 0
    shared["eos_token_id"] = model.generate(**shared)[0, skipped + 3].item()
    greedy = model.generate(**shared)[:, skipped:]
    settings = dict(num_beams=3, length_penalty=0.7, num_return_sequences=3)
    beams = model.generate(**shared, **settings, output_scores=True, return_dict_in_generate=True)
    return {
        "eos": torch.tensor(shared["eos_token_id"]),
        "generated": greedy,
        "beams.tokens": beams.sequences[:, skipped:],
        "beams.scores": beams.sequences_scores,
    }


def loss(logits, targets, mask):
    """The sum over heads of the mean cross-entropy, in nats, where there is no padding."""
    total = torch.zeros(())
    for x, target in zip(logits, targets):
        nll = -x.log_softmax(-1).gather(-1, target[..., None])[..., 0]
        weight = torch.ones(x.shape[:-1]) if x.ndim < 3 or mask is None else mask.float()
        total = total + (nll * weight).sum() / weight.sum()
    return total


def write(folder: Path, sizes: str) -> None:
    for case, (architecture, config) in (SMALL | (LARGE if sizes == "all" else {})).items():
        path = folder / case
        shutil.rmtree(path, ignore_errors=True)
        model = build(architecture, config)
        model.save_pretrained(path)
        inputs = make_inputs(config)
        logits, hidden = outputs(model, inputs)
        mask = inputs.get("mask")
        random = torch.Generator().manual_seed(2)
        targets = [torch.randint(x.shape[-1], x.shape[:-1], generator=random) for x in logits]
        value = loss(logits, targets, mask)
        value.backward()
        expected = {f"inputs.{name}": x for name, x in inputs.items()} | {"loss": value}
        expected |= {f"logits.{number}": x for number, x in enumerate(logits)}
        expected |= {f"targets.{number}": x for number, x in enumerate(targets)}
        expected |= {f"hidden.{number}": x for number, x in enumerate(hidden)}
        expected |= {f"gradient.{name}": x for name, x in gradients(model, path).items()}
        if "Dinov2" in architecture:
            expected |= resized(model, config)
        if model.can_generate():
            expected |= generate(model, inputs)
        if architecture == "BertForSequenceClassification":
            expected["curve"] = curve(model, inputs, targets)
        save_file(
            {name: x.detach().clone().contiguous() for name, x in expected.items()}, path / "expected.safetensors"
        )
        (path / "generation_config.json").unlink(missing_ok=True)
        print(f"{case}: loss {value.item():.3f}, logits up to {max(x.abs().max().item() for x in logits):.1f}")


def resized(model, config) -> dict[str, torch.Tensor]:
    """The logits of images with more rows of patches and fewer columns, for which positions are interpolated."""
    patches = config.image_size // config.patch_size
    sides = ((patches + 2) * config.patch_size, (patches - 1) * config.patch_size)
    images = torch.randn((2, *sides, config.num_channels), generator=torch.Generator().manual_seed(3))
    return {"resized.images": images, "resized.logits": outputs(model, {"images": images})[0][0]}


def gradients(model, folder: Path) -> dict[str, torch.Tensor]:
    """The gradients under the names that they have in files, which are not those in memory; statistics have none."""
    originals = {name: x.detach().clone() for name, x in weights(model).items()}
    with torch.no_grad():
        for x in weights(model).values():
            x.copy_(torch.zeros_like(x) if x.grad is None else x.grad)
        model.save_pretrained(folder / "gradients")
        for name, x in weights(model).items():
            x.copy_(originals[name])
    stored = load_file(folder / "gradients" / "model.safetensors")
    shutil.rmtree(folder / "gradients")
    return {name: x for name, x in stored.items() if not name.endswith(STATISTICS)}


def curve(model, inputs, targets, rate: float = 0.1, steps: int = 7) -> torch.Tensor:
    """The losses of training on this batch by gradient descent."""
    optimizer, values = torch.optim.SGD(model.parameters(), lr=rate), []
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss(outputs(model, inputs)[0], targets, inputs["mask"])
        value.backward()
        optimizer.step()
        values.append(value.detach())
    return torch.stack(values)


def check(folder: Path) -> None:
    worst = 0.0
    paths = sorted(folder.glob("*/ours"))
    for path in paths:
        config = transformers.AutoConfig.from_pretrained(path)
        config._attn_implementation = "eager"
        model_class = getattr(transformers, config.architectures[0])
        bare = model_class in BODIES and not any("pooler" in name for name in load_file(path / "model.safetensors"))
        more = {"add_pooling_layer": False} if bare else {}
        model, about = model_class.from_pretrained(path, config=config, output_loading_info=True, **more)
        if wrong := {name: names for name, names in about.items() if names}:
            sys.exit(f"{path}: the reference says {wrong}")
        expected = load_file(path.parent / "expected.safetensors")
        inputs = {name.removeprefix("inputs."): x for name, x in expected.items() if name.startswith("inputs.")}
        for number, x in enumerate(outputs(model.eval(), inputs)[0]):
            valid = inputs["mask"] if x.ndim == 3 and "mask" in inputs else slice(None)
            worst = max(worst, (x - expected[f"logits.{number}"])[valid].abs().max().item())
    print(f"the reference loads {len(paths)} models that we wrote; largest difference of logits {worst:.1e}")
    if not paths or worst > 1e-4:
        sys.exit(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Writes what transformers computes, or reads what we saved.")
    parser.add_argument("do", choices=["write", "check"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes", choices=["small", "all"], default="small")
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    write(args.folder, args.sizes) if args.do == "write" else check(args.folder)
