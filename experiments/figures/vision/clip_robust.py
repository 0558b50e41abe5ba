"""Wider data let CLIP survive a shift of colours that a supervised network does not.

Three networks of one size learn shapes. In the narrow data 98 % of the circles are red, of the squares green, and so
on; in the wide data colours say nothing. CLIP learns from sentences about wide data, and is asked for a shape by the
prompts "a red circle", "a green circle" and so on. The third network tells two causes apart: it learns from labels, as
the first does, but on wide data. It survives too, as networks do that learn labels of CLIP's images (Fang et al.).

Formula: what the shift costs = accuracy on narrow data - accuracy on images of any colour
Source: Lecture on computer vision, slide 49; Radford et al. 2021, section 3.3; Fang et al. 2022, arXiv 2205.01397.
Look at: the bars in the middle, where colours say nothing: only the network of narrow data falls.
"""

from flax import nnx
from matplotlib.figure import Figure
from ml_collections import ConfigDict
import numpy as np

from data import DATASETS
from data.shapes import COLOURS, SHAPES
from experiments.figures.engine import Criterion, at_least, at_most
from experiments.figures.style import grid, split
from experiments.figures.trained import Trainer
from experiments.use.zero_shot import class_vectors, image_vectors, open_run

CONFIG = "experiments/figures/vision/clip_robust.py"
CLIP = "configs/clip_shapes.py"
NARROW = 0.98  # the share of images whose shape has its own colour
TESTS = {
    "as the narrow data": {"train": "train[:90%]", "evaluation": "train[90%:]", "own_colour": NARROW},
    "any colour": {"evaluation": "test"},
    "pairs never seen": {"evaluation": "combinations"},
}
NAMES = {"narrow": "labels, narrow data", "wide": "labels, wide data", "clip": "CLIP, wide data"}
SHOWN = 5  # images of each test


def get_config() -> ConfigDict:
    """Returns the supervised network, with the encoder, the images and the steps of the CLIP."""
    return ConfigDict(
        {
            "seed": 0, "steps": 1200, "batch_size": 64, "eval_every": 1200, "checkpoint_every": 1200,
            "best": "accuracy",
            "model": {"name": "convolutional", "width": 64, "depth": 3},
            "objective": {"name": "classification"},
            "data": {
                "name": "shapes", "form": "shape", "side": 16, "colours": 8, "objects": 1, "train": "train[:90%]",
            },
            "optimizer": {"learning_rate": 3e-3, "warmup": 50, "weight_decay": 0.05, "clip": 1.0},
        }
    )  # fmt: skip


def run(seed: int, train: Trainer, *, data_of_clip: float = 0.0) -> dict:
    supervised = train(CONFIG, {"narrow": {"data.own_colour": NARROW}, "wide": {}})
    clip = train(CLIP, {"clip": {"data.own_colour": data_of_clip} if data_of_clip else {}})["clip"]
    model, _, vocabulary = open_run(clip.workdir)
    colours = tuple(COLOURS)[: supervised["wide"].run.fields.data["colours"]]
    prompts = class_vectors(model, vocabulary, SHAPES, [f"a {colour} {{}}" for colour in colours])
    fields = dict(supervised["wide"].run.fields.data)
    make = DATASETS[fields.pop("name")]
    right, shown = {name: [] for name in NAMES}, []
    for test in TESTS.values():
        source = make(**fields | test).evaluation
        images, labels = image_vectors(model, source)
        right["clip"].append(float(((images @ prompts.T).argmax(1) == labels).mean()))
        batch = source.examples(np.arange(len(source)))
        for name, net in supervised.items():
            logits = nnx.jit(lambda model, images: model(images))(net.model, batch["inputs"]["images"])
            right[name].append(float((np.asarray(logits).argmax(-1) == batch["targets"]).mean()))
        shown.append([batch["inputs"]["images"][batch["targets"] == kind][0] for kind in range(SHOWN)])
    return {"right": {name: np.array(shares) for name, shares in right.items()}, "images": np.array(shown)}


def check(results: dict) -> list[Criterion]:
    narrow, wide, clip = (results["right"][name] for name in NAMES)
    cost = narrow[0] - narrow[1]
    return [
        at_least("shapes named right by labels of narrow data, at home", narrow[0], 0.95),
        at_least("what the shift of colours costs this network", cost, 0.15),
        at_most("what it costs CLIP, by what it costs this network", (clip[0] - clip[1]) / cost, 0.25),
        at_most("what it costs labels of wide data, by what it costs this network", (wide[0] - wide[1]) / cost, 0.25),
        at_least("lead of CLIP on pairs never seen", clip[2] - narrow[2], 0.15),
    ]


def plot(figure: Figure, results: dict) -> None:
    above, below = split(figure, 2, 1, height_ratios=[1, 3])
    for axes, images, name in zip(above.subplots(1, len(TESTS)), results["images"], TESTS):
        axes.imshow(np.concatenate([np.pad(image, ((1, 1), (1, 1), (0, 0)), constant_values=1) for image in images], 1))
        axes.set(title=name)
        axes.set_axis_off()
    axes = below.subplots()
    places = np.arange(len(TESTS))
    for number, (name, shares) in enumerate(results["right"].items()):
        drawn = axes.bar(places + 0.27 * (number - 1), 100 * shares, 0.25, color=f"C{number}", label=NAMES[name])
        axes.bar_label(drawn, fmt="{:.0f}", padding=2)
    axes.set_xticks(places, list(TESTS))
    axes.set(ylabel="shapes named right (%)", ylim=(0, 142), yticks=range(0, 101, 20))
    axes.legend(loc="upper center", ncols=3)
    grid(axes, "y")
