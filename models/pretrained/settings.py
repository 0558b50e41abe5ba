"""The settings in a published `config.json`: what they must be, and those that change nothing that a model computes.

A format says which settings it reads, and which it has one value for (`models.pretrained.reference.Reference`). Any
other one must stand here, or the folder is refused: a setting that nobody reads may be one that changes the numbers.
"""

import math
from typing import Any

from core.errors import UserError

HARMLESS = frozenset(
    # What the file is about, and who wrote it with what.
    "model_type architectures _name_or_path name_or_path transformers_version tokenizer_class processor_class "
    "prefix task_specific_params finetuning_task model_max_length _commit_hash vocab_size_or_config_json_file "
    # What the classes are called, how many there are (which is read where they are), what the loss is.
    "id2label label2id num_labels _num_labels problem_type "
    # In what form weights are stored and outputs are returned; ways to compute the same numbers.
    "dtype torch_dtype use_bfloat16 torchscript tf_legacy_loss return_dict output_attentions output_hidden_states "
    "output_past use_cache chunk_size_feed_forward gradient_checkpointing attn_implementation _attn_implementation "
    "_attn_implementation_autoset attn_implementation_internal _attn_implementation_internal "
    # How parameters were drawn before training.
    "initializer_range initializer_factor init_std "
    # The numbers of special tokens, which those read who write text.
    "bos_token_id eos_token_id pad_token_id sep_token_id cls_token_id mask_token_id unk_token_id "
    "decoder_start_token_id "
    # How `generate` chooses among tokens.
    "max_length max_new_tokens min_length min_new_tokens do_sample early_stopping num_beams num_beam_groups "
    "diversity_penalty temperature top_k top_p min_p typical_p epsilon_cutoff eta_cutoff repetition_penalty "
    "encoder_repetition_penalty length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids "
    "force_words_ids num_return_sequences output_scores return_dict_in_generate forced_bos_token_id "
    "forced_eos_token_id force_bos_token_to_be_generated remove_invalid_values exponential_decay_length_penalty "
    "suppress_tokens begin_suppress_tokens max_time penalty_alpha renormalize_logits forced_decoder_ids".split()
)
FIXED: dict[str, Any] = {
    "is_decoder": False,
    "add_cross_attention": False,
    "cross_attention_hidden_size": None,
    "tie_encoder_decoder": False,
    "pruned_heads": {},
}
"""Settings of every format that have one value here, which is the default."""

LARGEST = 10**9


def expect(key: str, value: Any, kind: str) -> str | None:
    """Returns what is wrong with a setting, or None.

    Args:
      kind: "size" is a whole number from 1, "sides" one or two of them, "sizes" a list of them, "flag" a truth value,
        "number" a finite number above 0, "finite" any finite number, "rate" a number from 0 to less than 1, "word" a
        text. With "?" at its end, null is right too.
    """
    words, is_right = _KINDS[kind.removesuffix("?")]
    if is_right(value) or kind.endswith("?") and value is None:
        return None
    return f"{key} = {_short(value)}: expected {words}"


def same_value(value: Any, default: Any) -> bool:
    """Returns whether a setting has the value that it may have. 1 is not True here, but 1.0 is 1."""
    return value == default and isinstance(value, bool) == isinstance(default, bool)


def architecture(config: dict) -> str | None:
    """Returns the class that a `config.json` names, the first of several, or None. Raises UserError for no text."""
    names = config.get("architectures")
    if names is None or names == []:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"architectures = {_short(names)}: expected a list with the name of a class")
    return names[0]


def class_count(config: dict) -> int:
    """Returns the number of classes of a classifier; 2 if config.json does not say, as in transformers."""
    labels, count = config.get("id2label"), config.get("num_labels", 2)
    if labels is None:
        if problem := expect("num_labels", count, "size"):
            raise UserError(problem)
        return count
    if not isinstance(labels, dict) or not labels:
        raise UserError(f"id2label = {_short(labels)}: expected the names of the classes by number, at least one")
    return len(labels)


def image_shape(config: dict, side: int) -> tuple[int, int, int]:
    """Returns rows, columns and channels of the images, of `side` rows and columns if config.json does not say."""
    return (*_sides(config.get("image_size", side)), config.get("num_channels", 3))


def image_settings(rows: int, columns: int, channels: int) -> dict:
    """Returns the inverse of `image_shape`."""
    return {"image_size": rows if rows == columns else [rows, columns], "num_channels": channels}


def patch_side(config: dict, side: int) -> int:
    """Returns the side of a patch, `side` if config.json does not say. Raises UserError for patches not square."""
    rows, columns = _sides(config.get("patch_size", side))
    if rows != columns:
        raise UserError(f"patch_size = {[rows, columns]}: only square patches are supported here")
    return rows


def _sides(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


_KINDS = {
    "size": (f"a whole number from 1 to {LARGEST:,}", _is_size),
    "sides": (
        "a whole number from 1, or two of them",
        lambda x: _is_size(x) or (isinstance(x, list) and len(x) == 2 and all(map(_is_size, x))),
    ),
    "sizes": (
        "a list of whole numbers from 1",
        lambda x: isinstance(x, list) and len(x) > 0 and all(map(_is_size, x)),
    ),
    "flag": ("true or false", lambda x: isinstance(x, bool)),
    "number": ("a number above 0", lambda x: _is_number(x) and x > 0),
    "finite": ("a finite number", _is_number),
    "rate": ("a number from 0 to less than 1", lambda x: _is_number(x) and 0 <= x < 1),
    "word": ("a text", lambda x: isinstance(x, str)),
}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
