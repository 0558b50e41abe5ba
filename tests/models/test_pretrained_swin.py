"""Swin Transformers as transformers writes them: the order of merged neighbours, and what ours cannot compute."""

import json
from pathlib import Path
from typing import Any

from flax import nnx
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from core.errors import UserError
from models import SwinTransformer, pretrained
from models.pretrained import REFERENCES, load_for, preprocessing, save

FOLDER = Path(__file__).with_name("pretrained") / "swin"
CONFIG = json.loads((FOLDER / "config.json").read_text())
FIELDS: dict[str, Any] = dict(image_shape=(12, 12, 1), patch=2, classes=5, window=3, width=6, depths=(2, 1), heads=3)


def load(folder: Path, **settings: Any) -> Any:
    """The model of a folder, any part of which the tests may look into."""
    return pretrained.load(folder, **settings)


def build(**more: Any) -> SwinTransformer:
    fields: dict[str, Any] = FIELDS | more
    return SwinTransformer(**fields, rngs=nnx.Rngs(0))


def copy(path: Path, tensors: dict, **settings: Any) -> Path:
    path.mkdir()
    save_file(tensors, path / "model.safetensors")
    (path / "config.json").write_text(json.dumps(CONFIG | settings))
    return path


def test_merged_neighbours_are_in_another_order():
    """Theirs: upper left, lower left, upper right, lower right, of 6 channels each; ours goes along the rows."""
    tensors, stage = load_file(FOLDER / "model.safetensors"), load(FOLDER).stages[1]
    theirs = tensors["swin.encoder.layers.0.downsample.reduction.weight"]
    scale = tensors["swin.encoder.layers.0.downsample.norm.weight"]
    assert theirs.shape == (12, 24)
    for our_start, their_start in {0: 0, 6: 12, 12: 6, 18: 18}.items():
        ours = slice(our_start, our_start + 6), slice(their_start, their_start + 6)
        np.testing.assert_array_equal(stage.merge.kernel[...][ours[0]], theirs[:, ours[1]].T)
        np.testing.assert_array_equal(stage.merge_norm.scale[...][ours[0]], scale[ours[1]])


def test_the_bias_of_an_offset_by_hand():
    """A window of 3 has 5 x 5 offsets. The first patch sees the one 2 down and 1 right of it as offset (-2, -1)."""
    table = load_file(FOLDER / "model.safetensors")[
        "swin.encoder.layers.0.blocks.1.attention.self.relative_position_bias_table"
    ]
    bias = load(FOLDER).stages[0].positions[1]()
    np.testing.assert_array_equal(bias[0, :, 0, 2 * 3 + 1], table[(-2 + 2) * 5 + (-1 + 2)])
    np.testing.assert_array_equal(bias[0, :, 7, 0], table[(2 + 2) * 5 + (1 + 2)])


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"num_heads": [2, 2]}, r"num_heads = \[2, 2\]: expected one for each of depths = \[2, 1\], each twice"),
        ({"num_heads": [2]}, r"num_heads = \[2\]: expected one for each"),
        ({"hidden_size": 6}, "hidden_size = 6: depths and embed_dim imply 12"),
        ({"num_layers": 3}, "num_layers = 3: depths and embed_dim imply 2"),
        ({"patch_size": [2, 1]}, r"patch_size = \[2, 1\]: only square patches"),
        ({"image_size": 25}, r"patch_size = 2 does not divide image_size = \[25, 25\]"),
        ({"window_size": 5}, "window_size = 5: stage 1 has 18 x 12 patches, which windows do not fill"),
        ({"window_size": 6}, "window_size = 6: stage 2 has 9 x 6 patches, which windows do not fill"),
        ({"window_size": 7, "image_size": 12}, "window_size = 7: stage 1 has 6 x 6 patches, which windows do not fill"),
        ({"image_size": [6, 12]}, "window_size = 3: stage 1 has 3 x 6 patches; one window along one axis only"),
        (
            {"image_size": 36, "depths": [2, 1, 1], "num_heads": [2, 4, 8], "num_layers": 3, "hidden_size": 24},
            "depths = .* stage 2 has 9 x 9 patches, which cannot be merged two by two",
        ),
        ({"mlp_ratio": 2.0}, "mlp_ratio = 2.0: only 4.0"),
        ({"use_absolute_embeddings": True}, "use_absolute_embeddings = True: only False"),
        ({"layer_scale": 0.1}, "layer_scale = 0.1 is not a setting"),
    ],
    ids=str,
)
def test_what_ours_cannot_compute_is_refused_by_name(settings, words):
    with pytest.raises(UserError, match=words):
        REFERENCES["swin"].fields_of(CONFIG | settings)


def test_settings_of_published_folders_are_read_without_their_defaults():
    fields = REFERENCES["swin"].fields_of({"model_type": "swin", "path_norm": True, "drop_path_rate": 0.2})
    assert fields["image_shape"] == (224, 224, 3) and fields["window"] == 7
    assert (fields["width"], fields["depths"], fields["heads"]) == (96, (2, 2, 6, 2), 3)


def test_tables_of_indices_in_old_files_are_not_weights(tmp_path):
    tensors = load_file(FOLDER / "model.safetensors")
    index = {"swin.encoder.layers.0.blocks.0.attention.self.relative_position_index": np.zeros((9, 9), np.int64)}
    folder = copy(tmp_path / "old", tensors | index)
    x = np.random.default_rng(0).normal(size=(2, 36, 24, 3))
    np.testing.assert_array_equal(load(folder)(x), load(FOLDER)(x))


def test_a_class_that_is_not_here_and_remat_are_refused(tmp_path):
    tensors = load_file(FOLDER / "model.safetensors")
    folder = copy(tmp_path / "masked", tensors, architectures=["SwinForMaskedImageModeling"])
    with pytest.raises(UserError, match="expected one of SwinForImageClassification, SwinModel"):
        load(folder)
    with pytest.raises(UserError, match="remat=True: a SwinTransformer has no field for it"):
        load(FOLDER, remat=True)


@pytest.mark.parametrize(
    "more, words",
    [
        ({"mlp_width": 7}, r"mlp_width=\(7, 7\) \(only \(24, 48\)\)"),
        ({"norm": "rms"}, r"norm='rms' \(only 'layer'\)"),
        ({"window": 8}, "window_size = 8: stage 1 has 6 x 6 patches"),
        ({"qk_norm": True}, "qk_norm=True"),
    ],
    ids=str,
)
def test_models_that_the_format_cannot_express_are_refused(more, words, tmp_path):
    with pytest.raises(UserError, match=words):
        save(build(**more), tmp_path / "swin")


def test_a_new_model_is_saved_with_what_is_done_to_its_images(tmp_path):
    save(build(), tmp_path / "swin", mean=(0.3,), std=(0.7,))
    assert preprocessing(tmp_path / "swin") == {"mean": (0.3,), "std": (0.7,), "size": 12}
    config = json.loads((tmp_path / "swin" / "config.json").read_text())
    assert (config["num_heads"], config["hidden_size"], config["image_size"]) == ([3, 6], 12, 12)


def test_fine_tuning_needs_the_same_window(tmp_path):
    save(build(), tmp_path / "swin")
    assert load_for(lambda _: build(classes=7), tmp_path / "swin")
    with pytest.raises(UserError, match="set model.window=3, not 6"):
        load_for(lambda _: build(window=6), tmp_path / "swin")
