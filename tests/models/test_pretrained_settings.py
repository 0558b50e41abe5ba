"""Every setting of every published format is read, known to be harmless, or refused by name; the class is obeyed."""

import json
from pathlib import Path
import re
import shutil
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from core.errors import UserError
from models import pretrained
from models.pretrained import REFERENCES, preprocessing, save
from models.pretrained.settings import FIXED, HARMLESS
from tests.tiers import first_fast
from training.state import split

FOLDER = Path(__file__).with_name("pretrained")
CASES = sorted(path.parent.name for path in FOLDER.glob("*/config.json"))
DROPOUT = 0.0
WRONG: dict[str, list[Any]] = {
    "size": [0, -1, 2.5, float("nan"), "3", True, [3], {}, 10**30],
    "sides": [0, -1, [0, 4], [4, 4, 4], "3", True, {}, 10**30],
    "sizes": [3, [], [0], [2, -1], [2, 1.5], [True], "3", {}, None, [2, 10**30]],
    "flag": [0, 1, "false", None, []],
    "finite": [float("nan"), float("inf"), "1e-5", True, None, []],
    "number": [0, -1e-5, float("nan"), float("inf"), "1e-5", True, None],
    "rate": [-0.1, 1, 2, float("nan"), "0.1", True, []],
    "word": [0, None, ["gelu"], True],
}


def config_of(case: str) -> dict:
    return json.loads((FOLDER / case / "config.json").read_text())


FIRST = {config_of(case)["model_type"]: case for case in reversed(CASES)}  # one case of each format


def fields_of(config: dict) -> dict:
    return REFERENCES[config["model_type"]].fields_of(config, dropout=DROPOUT)


def load(folder: Path) -> Any:
    return pretrained.load(folder, dropout=DROPOUT)


def parameters(folder: Path) -> dict:
    return split(load(folder))[1]


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[path], b[path]) for path in a)


@pytest.fixture
def copy(tmp_path):
    """A function that copies a stored case, with changes to its settings and to its tensors."""

    def make(case: str, change_tensors=None, **settings) -> Path:
        folder = tmp_path / f"{case}-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        tensors = load_file(FOLDER / case / "model.safetensors")
        tensors = {name: np.array(x, order="C") for name, x in (change_tensors or dict)(tensors).items()}
        save_file(tensors, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(config_of(case) | settings))
        return folder

    return make


# ---- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model_type", [[], {}, ["gpt2"], None, 3, "gpt5"])
def test_a_model_type_that_is_none_of_ours_is_refused(model_type, copy):
    folder = copy(CASES[0], model_type=model_type)
    with pytest.raises(UserError, match="config.json: model_type = .*: expected one of bart, bert, "):
        load(folder)


@pytest.mark.parametrize("case", CASES)
def test_a_setting_that_nobody_reads_is_refused_by_name(case):
    with pytest.raises(UserError, match="rotary_share = 0.25 is not a setting that is known here"):
        fields_of(config_of(case) | {"rotary_share": 0.25})


@pytest.mark.parametrize("case", FIRST.values())
def test_harmless_settings_change_nothing(case):
    config = config_of(case)
    more = {key: ["whatever"] for key in HARMLESS | set(REFERENCES[config["model_type"]].harmless)}
    del more["architectures"], more["model_type"]
    assert fields_of(more | config) == fields_of(config)
    changed = {key: value for key, value in more.items() if key not in ("id2label", "num_labels")}
    assert fields_of(config | changed) == fields_of(config)


@pytest.mark.parametrize("case", FIRST.values())
def test_settings_of_one_value_are_named(case):
    config = config_of(case)
    for key, value in (FIXED | REFERENCES[config["model_type"]].fixed).items():
        other = not value if isinstance(value, bool) else 0.3 if value in (0.0, None) else "something else"
        with pytest.raises(UserError, match=f"{key} = .*: only {re.escape(repr(value))} is supported here"):
            fields_of(config | {key: other})
        assert fields_of(config | {key: value}) == fields_of(config)


@pytest.mark.parametrize("case", FIRST.values())
def test_every_setting_that_is_read_has_a_kind(case):
    config = config_of(case)
    for key, kind in REFERENCES[config["model_type"]]._kinds().items():
        for wrong in WRONG[kind.removesuffix("?")]:
            if wrong is None and kind.endswith("?"):
                continue
            with pytest.raises(UserError, match=f"{key} = .*expected|, but {key} = "):
                fields_of(config | {key: wrong})


@pytest.mark.parametrize("case", FIRST.values())
def test_sizes_that_the_tensors_cannot_have_are_refused_at_once(case, copy):
    """A depth of 10^9 would take days to build, and a width of 10^9 all memory."""
    config = config_of(case)
    free = {"n_positions", "relative_attention_max_distance", "decoder_vocab_size", "num_blocks"}  # no tensor has them
    if case.startswith("perceiver"):
        free.add("image_size")  # of other classes
    for key, kind in REFERENCES[config["model_type"]]._kinds().items():
        if kind.rstrip("?") in ("size", "sides", "sizes") and config.get(key) is not None and key not in free:
            with pytest.raises(UserError):
                load(copy(case, **{key: [10**9] * len(config[key]) if kind == "sizes" else 10**9}))


def test_another_name_of_a_setting_is_that_setting():
    config = config_of("gpt2")
    assert fields_of(config | {"hidden_size": 15}) == fields_of(config)
    del config["n_embd"]
    assert fields_of(config | {"hidden_size": 15})["width"] == 15
    with pytest.raises(UserError, match="hidden_size = 14, but n_embd = 15: they are the same setting"):
        fields_of(config_of("gpt2") | {"hidden_size": 14})


def test_settings_that_depend_on_others_agree_with_them():
    with pytest.raises(UserError, match="pooler_output_size = 13: only hidden_size"):
        fields_of(config_of("vit_body") | {"pooler_output_size": 13})
    with pytest.raises(UserError, match="dense_act_fn = 'silu': feed_forward_proj implies 'relu'"):
        fields_of(config_of("t5") | {"dense_act_fn": "silu"})
    with pytest.raises(UserError, match="classifier_dropout = 0.4: here one rate"):
        REFERENCES["bert"].fields_of(config_of("bert_tagging") | {"classifier_dropout": 0.4})


@pytest.mark.parametrize("labels", [{}, [], "five", 5])
def test_labels_that_are_none_are_refused(labels, copy):
    with pytest.raises(UserError, match="id2label = "):
        load(copy("vit", id2label=labels))
    config = {"id2label": None, "num_labels": 0}
    with pytest.raises(UserError, match="num_labels = 0: expected a whole number from 1"):
        load(copy("vit", **config))


# ---- classes --------------------------------------------------------------------------------------------------------


def union(*cases: str) -> dict:
    """The tensors of several folders of one format, in which what they share has the values of the first one."""
    tensors: dict = {}
    for case in cases:
        tensors = load_file(FOLDER / case / "model.safetensors") | tensors
    return tensors


BERTS = ["bert_masked", "bert_next", "bert_tagging"]  # of the same sizes



@pytest.mark.parametrize("case", BERTS)
def test_the_class_that_is_named_decides_the_head(case, copy, capsys):
    (name,) = config_of(case)["architectures"]
    alone, beside = load(FOLDER / case), copy(case, lambda _: union(case, *BERTS))
    capsys.readouterr()
    model = load(beside)
    assert same(split(model)[1], split(alone)[1]) and type(model.head) is type(alone.head)
    line = capsys.readouterr().err
    unused = union(case, *BERTS).keys() - load_file(FOLDER / case / "model.safetensors").keys()
    assert line.count("\n") == 1 and f"{name} does not use" in line
    assert set(line.split("does not use ")[1].strip().split(", ")) == unused


def test_a_token_classifier_that_still_has_its_pooler_classifies_tokens(copy):
    shapes = {"bert.pooler.dense.weight": (10, 10), "bert.pooler.dense.bias": (10,)}
    pooler = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    folder = copy("bert_tagging", lambda t: t | pooler)
    assert load(folder)(np.array([[1, 2, 3, 4]])).shape == (1, 4, 5)
    config = json.loads((folder / "config.json").read_text())
    del config["architectures"]  # then the tensors decide, as in older files
    (folder / "config.json").write_text(json.dumps(config))
    assert load(folder)(np.array([[1, 2, 3, 4]])).shape == (1, 5)


@pytest.mark.parametrize(
    "case, name, tensor",
    [
        ("gpt2", "GPT2Model", "lm_head.weight"),
        ("t5", "T5Model", "lm_head.weight"),
        ("bart", "BartModel", "final_logits_bias"),
        ("marian", "MarianModel", "final_logits_bias"),
        ("vit_body", "ViTModel", "classifier.weight"),
        ("bert_body", "BertModel", "cls.predictions.decoder.weight"),
        ("bert_tagging", "BertForTokenClassification", "qa_outputs.weight"),
    ],
)
def test_tensors_of_another_class_are_left_alone(case, name, tensor, copy, capsys):
    expected = {path: x for path, x in parameters(FOLDER / case).items() if path != "bias"}
    folder = copy(case, lambda t: t | {tensor: np.ones((3, 7), np.float32)}, architectures=[name])
    capsys.readouterr()
    assert same(parameters(folder), expected)
    assert tensor in capsys.readouterr().err


@pytest.mark.parametrize("case", FIRST.values())
def test_a_class_that_is_not_here_is_named_with_those_that_are(case, copy):
    heads = REFERENCES[config_of(case)["model_type"]].heads
    with pytest.raises(UserError) as error:
        load(copy(case, architectures=["SomethingForMultipleChoice"]))
    assert "architectures = ['SomethingForMultipleChoice']: expected one of" in str(error.value)
    assert all(name in str(error.value) for head in heads for name in head.architectures)
    with pytest.raises(UserError, match="architectures = .*: expected a list with the name of a class"):
        load(copy(case, architectures="BertModel"))


# ---- tied pairs -----------------------------------------------------------------------------------------------------


def pairs(case: str) -> list[tuple[str, str]]:
    """(twin, original), for each tensor of a folder that others repeat."""
    reference = REFERENCES[config_of(case)["model_type"]]
    names = reference.rename(list(load_file(FOLDER / case / "model.safetensors"))).values()
    return [
        (twin, original) for twin, originals in reference.copies.items() for original in originals
        if original in names and twin not in names
    ]  # fmt: skip


PAIRS = [(case, *pair) for case in CASES for pair in pairs(case)]


def stored(case: str, name: str) -> str:
    """The name of a tensor in the file, which may lack the prefix."""
    reference = REFERENCES[config_of(case)["model_type"]]
    renamed = reference.rename(list(load_file(FOLDER / case / "model.safetensors")))
    return next(old for old, new in renamed.items() if new == name)


def test_there_are_pairs_of_every_format_that_has_them():
    assert {case.split("_")[0] for case, _, _ in PAIRS} == {"bart", "bert", "gpt2", "marian", "t5"}


@pytest.mark.parametrize("case, twin, original", first_fast(PAIRS))
def test_a_folder_may_hold_only_the_twin_of_a_pair(case, twin, original, copy):
    if config_of(case).get("tie_word_embeddings") is False:
        return  # not a pair there
    old = stored(case, original)
    folder = copy(case, lambda t: {twin if name == old else name: x for name, x in t.items()})
    assert same(parameters(folder), parameters(FOLDER / case))


@pytest.mark.parametrize("case", first_fast(dict.fromkeys(case for case, _, _ in PAIRS)))
def test_an_untied_head_that_equals_the_embedding_is_loaded_and_saved(case, copy, tmp_path):
    twins = {t: o for c, t, o in PAIRS if c == case}
    old = {o: stored(case, o) for o in twins.values()}
    add = lambda tensors: tensors | {t: tensors[old[o]] for t, o in twins.items()}
    folder = copy(case, add, tie_word_embeddings=False)
    config = json.loads((folder / "config.json").read_text())
    if config["model_type"] == "t5":
        config["scale_decoder_outputs"] = config_of(case)["scale_decoder_outputs"]
    (folder / "config.json").write_text(json.dumps(config))
    model = load(folder)
    ours, expected = split(model)[1], parameters(FOLDER / case)
    assert ours.keys() - expected.keys() <= {"head.kernel"}
    assert all(np.array_equal(ours[path], x) for path, x in expected.items())
    if "lm_head.weight" in twins and "head.kernel" in ours:
        np.testing.assert_array_equal(ours["head.kernel"].T, ours["embedding.embedding"])
    save(model, tmp_path / "saved")
    assert same(parameters(tmp_path / "saved"), ours)


@pytest.mark.parametrize("case, twin, original", [pair for pair in PAIRS if "embed_tokens" in pair[1]])
def test_a_copy_that_differs_is_named(case, twin, original, copy):
    old = stored(case, original)
    with pytest.raises(UserError, match=f"{re.escape(twin)} should equal .*, and does not"):
        load(copy(case, lambda t: t | {twin: t[old] + 1}))


@pytest.mark.parametrize("case", ["bert_masked", "bart", "marian", "gpt2"])
def test_an_untied_head_that_is_missing_is_named(case, copy):
    with pytest.raises(UserError, match=r"(lm_head|decoder)\.weight is missing"):
        load(copy(case, tie_word_embeddings=False))


# ---- images ---------------------------------------------------------------------------------------------------------


def processor(folder: Path, **settings) -> dict:
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return preprocessing(folder)


def test_what_is_done_to_images_by_hand(copy):
    folder = copy("vit")
    assert preprocessing(folder) == {}
    assert processor(folder) == {"mean": (0.5,) * 3, "std": (0.5,) * 3, "size": 224}
    gray = processor(folder, image_mean=0.25, image_std=[0.5], size={"height": 8, "width": 8})
    assert gray == {"mean": (0.25,), "std": (0.5,), "size": 8}
    assert processor(folder, do_normalize=False, do_resize=False) == {"mean": (), "std": ()}
    # (127.5 x / 127.5 - 1) / 2, where x is a pixel of 0 to 255 divided by 127.5
    rescaled = processor(folder, rescale_factor=1 / 127.5, image_mean=[1.0], image_std=[2.0], do_resize=False)
    assert rescaled["mean"] == pytest.approx((0.5,)) and rescaled["std"] == pytest.approx((1.0,))
    raw = processor(folder, do_rescale=False, image_mean=[51.0], image_std=[255.0], do_resize=False)
    assert raw["mean"] == pytest.approx((0.2,)) and raw["std"] == pytest.approx((1.0,))


@pytest.mark.parametrize(
    "settings",
    [
        {"crop_pct": 0.9}, {"do_center_crop": True}, {"resample": 1}, {"do_pad": True}, {"size": {"shortest_edge": 8}},
        {"size": 0}, {"image_std": [0.5, 0, 0.5]}, {"image_mean": [float("nan")] * 3}, {"image_mean": "0.5"},
        {"image_mean": [0.5] * 2}, {"do_normalize": 1}, {"rescale_factor": 0},
        {"image_processor_type": "ConvNextImageProcessor"}, {"feature_extractor_type": "DeiTFeatureExtractor"},
    ],
    ids=str,
)  # fmt: skip
def test_preprocessing_that_is_not_done_here_is_refused_by_name(settings, copy):
    with pytest.raises(UserError, match=f"preprocessor_config.json: .*{next(iter(settings))} = "):
        processor(copy("vit"), **settings)


def test_a_mean_for_each_of_other_channels_than_the_model_reads_is_refused(copy):
    with pytest.raises(UserError, match="image_mean = .* and config.json has num_channels = 3"):
        processor(copy("vit"), image_mean=[0.5] * 5, image_std=[0.5] * 5)


def test_a_byte_order_mark_does_not_keep_a_config_from_being_read(copy):
    folder = copy("vit")
    config = folder / "config.json"
    config.write_bytes(b"\xef\xbb\xbf" + config.read_bytes())
    assert load(folder)


def test_preprocessing_is_saved_with_a_model_of_images(tmp_path):
    model = load(FOLDER / "vit_gray")
    save(model, tmp_path / "plain")
    assert preprocessing(tmp_path / "plain") == {"mean": (), "std": (), "size": 6}
    save(model, tmp_path / "normalised", mean=(0.3,), std=(0.7,))
    assert preprocessing(tmp_path / "normalised") == {"mean": (0.3,), "std": (0.7,), "size": 6}
    save(load(FOLDER / "bert_body"), tmp_path / "text")
    assert not (tmp_path / "text" / "preprocessor_config.json").exists()


# ---- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", FIRST.values())
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_named_with_its_tensor(case, value, copy):
    def spoil(tensors):
        tensors = {name: x.copy() for name, x in tensors.items()}
        name = next(name for name in sorted(tensors) if tensors[name].ndim == 1)
        tensors[name][-1] = value
        spoiled.append(name)
        return tensors

    spoiled: list[str] = []
    with pytest.raises(UserError, match=r"holds NaN or infinity in 1 of \d+ places") as error:
        load(copy(case, spoil))
    assert spoiled[0] in str(error.value)


@pytest.mark.parametrize(
    "name", ["/etc/model.safetensors", "../gpt2/model.safetensors", "a/b.safetensors", "..", "pytorch_model.bin", 3]
)
def test_an_index_names_files_beside_it_only(name, copy):
    folder = copy("gpt2")
    shutil.copytree(folder, folder.parent / "gpt2")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(UserError, match="index.json names .*: expected safetensors files beside it"):
        load(folder)


def test_two_tensors_of_one_name_are_refused(copy):
    folder = copy("bert_body", lambda t: t | {"embeddings.LayerNorm.gamma": t["embeddings.LayerNorm.weight"]})
    with pytest.raises(UserError, match="the same tensor as"):
        load(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json", "preprocessor_config.json"])
def test_json_of_a_folder_that_is_nested_too_deeply_is_refused(name, copy):
    folder = copy("vit_body")
    if "index" in name:
        (folder / "model.safetensors").unlink()
    (folder / name).write_text('{"a":' * 100_000 + "1" + "}" * 100_000)
    with pytest.raises(UserError, match=f"{name} is not JSON .nested too deeply.: copy"):
        preprocessing(folder) if "pre" in name else load(folder)


def test_names_of_tensors_cannot_act_on_a_terminal(copy, capsys):
    name = "classifier.\x1b]0;title\x07"
    folder = copy("vit_body", lambda t: t | {name: np.ones(3, np.float32)}, architectures=["ViTModel"])
    capsys.readouterr()
    load(folder)
    assert capsys.readouterr().err.strip().endswith(r"does not use classifier.\x1b]0;title\x07")
    with pytest.raises(UserError) as error:
        load(copy("vit_body", lambda t: t | {f"vit.{name}": np.ones(3, np.float32)}))
    assert "\x1b" not in str(error.value) and r"\x1b" in str(error.value)


@pytest.mark.parametrize("size", [2**40, 2**62, 99_999_999])
def test_a_declared_size_fills_no_memory(size, copy):
    """The header of a file says how long it is itself, and what shape each tensor has."""
    path = copy("gpt2") / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(size.to_bytes(8, "little") + content[8:])
    with pytest.raises(UserError, match="cut short or damaged"):
        load(path.parent)
    header = json.dumps({"a": {"dtype": "F32", "shape": [size, 2], "data_offsets": [0, size * 8]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 16)
    with pytest.raises(UserError, match="cut short or damaged"):
        load(path.parent)
