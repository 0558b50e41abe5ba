"""Pictures of latents and the information curve: what is drawn, comparison with known values, what is refused."""

import json
import math

import numpy as np
from PIL import Image
import pytest

from configs.dib_gaussian import get_config
from experiments.inside import latent
import train

COMMON = {
    "seed": 0, "steps": 4, "batch_size": 16, "eval_every": 4, "checkpoint_every": 4,
    "optimizer": {"learning_rate": 0.01},
}  # fmt: skip
SIZES = {"name": "variational", "width": 5, "depth": 1}


def config(data: dict, latents: int = 2, objective: dict | None = None, **model) -> dict:
    objective = {"name": "variational"} | (objective or {})
    return COMMON | {"model": SIZES | {"latents": latents} | model, "objective": objective, "data": data}


def drawn(paths) -> list[str]:
    """The names of the pictures, after a check that each shows something, in both themes."""
    assert {path.suffix for path in paths} == {".png", ".svg"}
    for path in paths:
        if path.suffix == ".svg":
            continue
        pixels = np.asarray(Image.open(path).convert("L"))
        assert min(pixels.shape) > 100 and pixels.std() > 5
    return list(dict.fromkeys(path.stem.removesuffix("_dark") for path in paths))


@pytest.mark.medium
def test_pictures_of_an_autoencoder_with_a_plane(tmp_path):
    train.run(config({"name": "digits", "targets": "images"}), tmp_path)
    paths = latent.pictures(str(tmp_path))
    assert drawn(paths) == ["reconstructions", "samples", "traversals", "plane"]
    assert {path.parent for path in paths} == {tmp_path / "latents"}


@pytest.mark.medium
def test_more_latents_have_no_plane_and_classes_only_that(tmp_path):
    train.run(config({"name": "two_views"}, latents=3, likelihood="gaussian", variance=0.1), tmp_path / "three")
    assert drawn(latent.pictures(str(tmp_path / "three"))) == ["reconstructions", "samples", "traversals"]
    train.run(config({"name": "digits"}, likelihood="categorical"), tmp_path / "classes")
    assert drawn(latent.pictures(str(tmp_path / "classes"))) == ["plane"]


def test_tiles_have_a_white_pixel_between_them():
    grey = latent._tiled(np.arange(12, dtype=float).reshape(2, 3, 1, 2, 1))
    empty = math.nan
    np.testing.assert_array_equal(
        grey, [[0, 1, empty, 2, 3, empty, 4, 5], [empty] * 8, [6, 7, empty, 8, 9, empty, 10, 11]]
    )
    coloured = latent._tiled(np.zeros((1, 2, 3, 5, 3)))
    assert coloured.shape == (3, 11, 3)
    assert (coloured[:, 5] == 1).all() and not coloured[:, :5].any() and not coloured[:, 6:].any()


BOUNDS = {"beta_weighs": "likelihood"}
GAUSSIAN = config({"name": "gaussian_pair", "evaluation": "test[:5%]"}, objective=BOUNDS, likelihood="gaussian")


@pytest.mark.medium
def test_a_curve_has_a_trained_run_for_each_beta(tmp_path, capsys):
    train.run(GAUSSIAN, tmp_path)
    latent.main(["curve", f"--workdir={tmp_path}", "--betas", "2", "20"])
    lines = capsys.readouterr().out.splitlines()
    points_lines = [line for line in lines if line.startswith("beta ")]
    assert "best possible 0.725 0.484" in points_lines[0] and "best possible 3.120 0.923" in points_lines[1]
    assert lines[-2] == f"next     python -m experiments.inspect --workdir={tmp_path}"
    assert drawn([*tmp_path.glob("information*")]) == ["information"]
    for beta in ("2", "20"):
        trained = train.load(tmp_path / "betas" / beta)[1].config
        assert trained["objective"]["beta"] == float(beta)
    points, _ = latent.curve(str(tmp_path), betas=[2.0])  # which is trained already
    assert f"I(x~;z) <= {points[0].about_input:.3f}" in points_lines[0]


@pytest.mark.slow
def test_the_curve_of_the_gaussian_pair_is_the_known_one(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(train.Run.of(get_config().to_dict()).config))
    points, _ = latent.curve(str(tmp_path))
    assert len(points) == len(latent.BETAS)
    for point in points:
        assert (point.about_input, point.about_target) == pytest.approx(point.best, abs=0.1)


@pytest.mark.medium
def test_what_cannot_be_drawn_is_one_line(tmp_path, capsys):
    vit = COMMON | {
        "model": {"name": "vit", "patch": 4, "width": 4, "depth": 1, "heads": 1},
        "objective": {"name": "classification"},
        "data": {"name": "digits"},
    }
    train.run(vit, tmp_path / "vit")
    train.run(config({"name": "digits"}, latents=3, likelihood="categorical"), tmp_path / "classes")
    capsys.readouterr()
    for arguments, words in [
        (["pictures", "--workdir", str(tmp_path / "none")], "is not the workdir of a run"),
        (["pictures", "--workdir", str(tmp_path / "vit")], "holds the model 'vit', not a 'variational' one"),
        (["pictures", "--workdir", str(tmp_path / "classes")], "decodes 3 latents to classes"),
        (["curve", "--workdir", str(tmp_path / "vit")], "needs the objective 'variational' with target_entropy set"),
    ]:
        with pytest.raises(SystemExit) as stop:
            latent.main(arguments)
        error = capsys.readouterr().err
        assert stop.value.code == 1 and error.startswith("error: ") and words in error and error.count("\n") == 1
