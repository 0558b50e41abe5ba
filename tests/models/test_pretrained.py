"""Folders of published models: all their forms, and the messages for those that cannot be read."""

import json
from pathlib import Path
import re
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from core.errors import UserError
from models import GPT, Bert, Perceiver, Perceptron, VisionTransformer, pretrained
from models.pretrained import load_for, save
from training.state import split

SIZES: dict[str, Any] = dict(width=6, depth=2, heads=2, mlp_width=7)
GPT_FIELDS: dict[str, Any] = dict(vocab_size=13, context=5, activation="gelu_tanh") | SIZES
VIT_FIELDS: dict[str, Any] = dict(image_shape=(6, 4, 1), patch=2, classes=3, pooling="cls", epsilon=1e-12) | SIZES
TOKENS = jnp.array([[1, 12, 3, 4, 0], [5, 6, 7, 8, 9]])


def gpt(**more: Any) -> Any:
    return GPT(**(GPT_FIELDS | more), rngs=nnx.Rngs(0))


def bert(**more: Any) -> Any:
    return Bert(**(SIZES | {"vocab_size": 13, "context": 5, "head": "masked"} | more), rngs=nnx.Rngs(0))


def perceiver(**more: Any) -> Any:
    """A `PerceiverForMaskedLM` with 8 channels of input and of queries, and 3 latents."""
    fields: dict[str, Any] = dict(
        vocab_size=13, context=5, channels=8, positions="learned", position_width=8, join="added", output="dense",
        dense_queries="learned", query_width=8, tied=True, latents=3, width=6, depth=2, heads=3, mlp_width=6, reads=1,
        sharing="all", cross_heads=1, cross_head_size=6, decoder_heads=8, decoder_head_size=32,
        decoder_value_size=1, decoder_mlp_width=8, decoder_residual=False, source_norm=True, final_norm=False,
    )  # fmt: skip
    return Perceiver(**(fields | more), rngs=nnx.Rngs(0))


def vit(**more: Any) -> Any:
    return VisionTransformer(**(VIT_FIELDS | more), rngs=nnx.Rngs(0))


@pytest.fixture
def folder(tmp_path):
    """The folder of a GPT-2, for a test to change."""
    save(gpt(), tmp_path / "gpt2")
    return tmp_path / "gpt2"


def load(folder: Path, **settings: Any) -> Any:
    """The model of a folder, any part of which the tests may look into."""
    return pretrained.load(folder, **settings)


def change(folder, change_tensors=None, **config):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file((change_tensors or dict)(tensors), path, metadata={"format": "pt"})
    old = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(old | config))


def logits(model):
    return jax.jit(lambda: model(TOKENS))()


def same_parameters(a, b):
    a, b = split(a)[1], split(b)[1]
    return a.keys() == b.keys() and all((a[path] == b[path]).all() for path in a)


# ---- forms ----------------------------------------------------------------------------------------------------------


def test_a_table_by_hand(folder):
    """The same number in their file and in our module, found without the code of the tables."""
    tensors, model = load_file(folder / "model.safetensors"), load(folder)
    attention = model.blocks.blocks[1].attention
    fused = tensors["transformer.h.1.attn.c_attn.weight"]
    assert fused.shape == (6, 18)
    assert fused[2, 6 + 5] == attention.key.kernel[...][2, 5] == gpt().blocks.blocks[1].attention.key.kernel[...][2, 5]
    assert tensors["transformer.wpe.weight"][4, 3] == model.positions.table[...][4, 3]


def test_bert_keeps_matrices_transposed_and_the_next_sentence_swapped(tmp_path):
    save(bert(head="pretraining"), tmp_path / "bert")
    tensors, model = load_file(tmp_path / "bert" / "model.safetensors"), load(tmp_path / "bert")
    assert tensors["bert.encoder.layer.1.output.dense.weight"].shape == (6, 7)
    assert (
        tensors["bert.encoder.layer.1.output.dense.weight"][4, 6] == model.blocks.blocks[1].mlp.down.kernel[...][6, 4]
    )
    assert tensors["cls.seq_relationship.weight"][0, 5] == model.head.next.classifier.kernel[...][5, 1]


def test_patches_and_the_first_position_by_hand(tmp_path):
    save(vit(), tmp_path / "vit")
    change(tmp_path / "vit", lambda t: t | {"vit.embeddings.position_embeddings": np.arange(42.0).reshape(1, 7, 6)})
    tensors, model = load_file(tmp_path / "vit" / "model.safetensors"), load(tmp_path / "vit")
    projection = tensors["vit.embeddings.patch_embeddings.projection.weight"]
    assert projection.shape == (6, 1, 2, 2)
    assert projection[5, 0, 1, 0] == model.embedding.kernel[...][2, 5]  # row 1, column 0 is the third pixel
    np.testing.assert_array_equal(model.positions.table[...][0], np.arange(6.0, 12.0))
    np.testing.assert_allclose(model.cls[...], tensors["vit.embeddings.cls_token"][0, 0] + np.arange(6.0))


def test_fourier_features_of_a_perceiver_have_another_order():
    """Theirs: 3 colours, 2 positions, 2 x 64 sines, 2 x 64 cosines; ours has all of one axis, then the other."""
    folder = Path(__file__).with_name("pretrained") / "perceiver_fourier"
    tensors, model = load_file(folder / "model.safetensors"), load(folder)
    theirs = tensors["perceiver.encoder.cross_attention.attention.self.key.weight"]
    ours = model.crosses[0].cross.key.kernel[...]
    assert theirs.shape == (30, 261)
    for theirs_column, our_column in {2: 2, 3: 3, 5: 4, 68: 67, 133: 68, 4: 132, 69: 133, 132: 196, 260: 260}.items():
        np.testing.assert_array_equal(ours[our_column], theirs[:, theirs_column])


def test_a_perceiver_applies_its_tower_as_often_as_config_json_says(tmp_path):
    save(perceiver(repeats=3), tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert (config["num_blocks"], config["num_self_attends_per_block"]) == (3, 2)
    assert (config["qk_channels"], config["v_channels"], config["d_model"]) == (6, 6, 8)
    assert same_parameters(load(tmp_path / "model"), perceiver(repeats=3))


def test_norms_of_a_perceiver_cannot_be_lost(tmp_path):
    save(perceiver(), tmp_path / "model")
    assert same_parameters(load_for(lambda rngs: perceiver(), tmp_path / "model"), perceiver())
    with pytest.raises(ValueError, match="set model.source_norm=True, not False, model.final_norm=False, not True"):
        load_for(lambda rngs: perceiver(source_norm=False, final_norm=True), tmp_path / "model")


@pytest.mark.parametrize("kind", ["PerceiverForOpticalFlow", "PerceiverModel", None])
def test_unknown_classes_of_perceiver_are_named(kind, tmp_path):
    save(perceiver(), tmp_path / "model")
    change(tmp_path / "model", architectures=kind and [kind])
    with pytest.raises(
        ValueError, match=f"architectures = {re.escape(repr(kind and [kind]))}: expected one of PerceiverForMaskedLM, "
    ):
        load(tmp_path / "model")


def test_a_parameter_that_the_format_has_no_place_for_is_named(tmp_path):
    model = gpt()
    model.extra = nnx.Param(jnp.zeros(3))
    with pytest.raises(ValueError, match="the format 'gpt2' has no place for extra"):
        save(model, tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("make", [gpt, bert, vit])
def test_saved_and_loaded_is_the_same(make, tmp_path):
    save(make(dropout=0.3), tmp_path / "model")
    model = load(tmp_path / "model")
    assert same_parameters(model, make()) and type(model) is type(make())
    assert model.dropout.rate == 0.3 and load(tmp_path / "model", dropout=0.1).dropout.rate == 0.1


def test_scanned_layers_are_saved_one_by_one(tmp_path):
    scanned = gpt(scan=True)
    save(scanned, tmp_path / "gpt2")
    np.testing.assert_allclose(logits(load(tmp_path / "gpt2")), logits(scanned), atol=1e-5)


def test_parts_with_an_index(folder):
    original = load(folder)
    tensors = load_file(folder / "model.safetensors")
    where = {name: f"model-0000{number % 2 + 1}-of-00002.safetensors" for number, name in enumerate(tensors)}
    for part in set(where.values()):
        save_file({name: x for name, x in tensors.items() if where[name] == part}, folder / part)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    assert same_parameters(load(folder), original)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(UserError, match="lacks model-00002-of-00002.safetensors, which .*index.json names"):
        load(folder)


def test_names_and_copies_in_old_files(folder, tmp_path):
    """Files without the prefix, with the causal mask among the weights, a repeated embedding, or gamma and beta."""
    original = load(folder)
    bare = lambda t: {name.removeprefix("transformer."): x for name, x in t.items()}
    change(folder, lambda t: bare(t) | {"h.0.attn.bias": np.ones((1, 1, 5, 5), np.float32)})
    change(folder, lambda t: t | {"lm_head.weight": t["wte.weight"]})
    assert same_parameters(load(folder), original)
    save(bert(), tmp_path / "bert")
    original = load(tmp_path / "bert")
    old = lambda name: name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
    change(tmp_path / "bert", lambda t: {old(name): x for name, x in t.items()})
    assert same_parameters(load(tmp_path / "bert"), original)


@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_is_read_as_float32(folder, kind):
    parameters = split(load(folder))[1]
    change(folder, lambda t: {name: x.astype(kind) for name, x in t.items()})
    for path, x in split(load(folder))[1].items():
        assert x.dtype == jnp.float32
        np.testing.assert_array_equal(x, parameters[path].astype(kind).astype(np.float32))


def test_dtype_and_remat_are_chosen_when_loading(folder):
    half, same = load(folder, dtype="bfloat16"), load(folder, remat=True)
    assert same.blocks.remat and {x.dtype for x in split(half)[1].values()} == {jnp.dtype("float32")}
    assert 0 < np.abs(logits(half) - logits(load(folder))).max() < 0.1


# ---- what cannot be read --------------------------------------------------------------------------------------------


def test_every_wrong_tensor_is_named_at_once(folder):
    def spoil(tensors):
        del tensors["transformer.h.1.ln_2.bias"]
        tensors["transformer.h.0.mlp.c_fc.weight"] = tensors["transformer.h.0.mlp.c_fc.weight"].T.copy()
        return tensors | {"transformer.h.2.ln_1.bias": np.zeros(6, np.float32)}

    change(folder, spoil)
    with pytest.raises(ValueError) as error:
        load(folder)
    assert str(error.value).splitlines()[1:] == [
        "  transformer.h.0.mlp.c_fc.weight has the shape (7, 6), expected (6, 7)",
        "  transformer.h.1.ln_2.bias is missing, expected (6,)",
        "  transformer.h.2.ln_1.bias, of shape (6,), is not expected",
    ]


def test_of_many_wrong_tensors_ten_are_named(folder):
    more = {f"transformer.h.9.x{number:02}": np.zeros(2, np.float32) for number in range(23)}
    change(folder, lambda tensors: tensors | more)
    with pytest.raises(ValueError) as error:
        load(folder)
    names = [f"  transformer.h.9.x{number:02}, of shape (2,), is not expected" for number in range(10)]
    assert str(error.value).splitlines()[1:] == [*names, "  and 13 more"]


def test_a_head_that_differs_from_the_embedding_is_named(folder):
    change(folder, lambda t: t | {"lm_head.weight": t["transformer.wte.weight"] + 1})
    with pytest.raises(ValueError, match="lm_head.weight should equal transformer.wte.weight, and does not"):
        load(folder)


def test_half_a_head_is_named(tmp_path):
    save(vit(), tmp_path / "vit")
    change(tmp_path / "vit", lambda t: {name: x for name, x in t.items() if name != "classifier.bias"})
    with pytest.raises(ValueError, match=r"\n  classifier.bias is missing, expected \(3,\)$"):
        load(tmp_path / "vit")


@pytest.mark.parametrize("size", [0, 5, 300, -1])
def test_a_truncated_file_is_named(folder, size):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:size])
    with pytest.raises(ValueError, match=r"model.safetensors is cut short or damaged at .* bytes"):
        load(folder)


def test_a_pointer_of_git_lfs_is_recognised(folder):
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(ValueError, match="only says where Git LFS keeps the weights"):
        load(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt"])
def test_a_pickle_is_refused_with_the_reason(folder, name):
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(ValueError, match=f"{name} is not read: to read a pickle is to run the code in it"):
        load(folder)


def test_folders_that_hold_no_model(folder):
    with pytest.raises(UserError, match="there is no folder"):
        load(folder / "absent")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="neither model.safetensors nor model.safetensors.index.json"):
        load(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match="config.json is not JSON"):
        load(folder)
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match="has no config.json: expected the folder of a published model"):
        load(folder)


@pytest.mark.parametrize(
    "config, words",
    [
        ({"model_type": "llama"}, "model_type = 'llama': expected one of bart, bert, clip, convnext, deit, "),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx = True: only False is supported"),
        ({"activation_function": "elu"}, "activation_function = 'elu': expected one of gelu, gelu_new"),
        ({"resid_pdrop": 0.2}, r"resid_pdrop = 0.2, embd_pdrop = 0.0.*say which, as in load\(folder, dropout=0.1\)"),
    ],
    ids=str,
)
def test_unsupported_settings_are_named(folder, config, words):
    change(folder, **config)
    with pytest.raises(ValueError, match=f"config.json: {words}"):
        load(folder)


def test_a_missing_size_is_named(folder):
    config = json.loads((folder / "config.json").read_text())
    del config["n_embd"], config["n_layer"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="n_embd is missing; n_layer is missing"):
        load(folder)


# ---- what cannot be written -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model, words",
    [
        (lambda: gpt(norm="rms"), r"the format 'gpt2' cannot express norm='rms' \(only 'layer'\)"),
        (
            lambda: gpt(width=8, qk_norm=True, positions="rotary"),
            "cannot express .*rotary=True.*qk_norm=True.*positions='none'",
        ),
        (lambda: gpt(bias=False), "bias=False"),
        (lambda: gpt(attention="linear"), r"attention='linear' \(only 'softmax'\)"),
        (lambda: gpt(window=5), r"window=5 \(only None\)"),
        (lambda: gpt(activation="swiglu"), "activation_function = 'swiglu'"),
        (lambda: bert(norm_order="pre"), r"norm_order='pre' \(only 'post'\)"),
        (lambda: vit(pooling="mean"), r"pooling='mean' \(only 'cls'\)"),
        (lambda: vit(stem="convolution"), "stem='convolution'"),
        (lambda: perceiver(dense_queries="positions"), r"dense_queries='positions' \(only 'learned'\)"),
        (lambda: perceiver(sharing="none", repeats=3, reads=3), r"reads=3 \(only 1\), sharing='none' \(only 'all'\)"),
        (lambda: perceiver(cross_head_size=3), r"cross_head_size=3 \(only 6\)"),
        (lambda: perceiver(output="mean", tied=False, classes=3), "no head for output='mean'"),
        (
            lambda: Perceptron(image_shape=(4, 4, 1), classes=3, width=4, depth=1, rngs=nnx.Rngs(0)),
            "a Perceptron has no published format here: expected one of Bert, CLIP, ConvNeXt, EncoderDecoder, GPT",
        ),
    ],
)
def test_models_that_no_format_can_express_are_refused(model, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        save(model(), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_another_model_is_not_overwritten(folder):
    before = (folder / "model.safetensors").read_bytes()
    with pytest.raises(UserError, match="holds config.json, model.safetensors already"):
        save(gpt(), folder)
    assert (folder / "model.safetensors").read_bytes() == before
