"""Cora: 2,708 papers and who cites whom, of which 140 have a label to learn from (Yang et al. 2016).

The folder planetoid/cora holds the files ind.cora.* of github.com/kimiyoung/planetoid. With a folder of another name:

  python -m experiments.benchmark cora --set data.path=FOLDER
"""

from experiments.benchmark.families import others
from experiments.benchmark.suite import Family, Suite

CLASSIFICATION = {"name": "classification"}
DROPOUT = ("model.dropout", (0.3, 0.6))  # 140 labels are soon learned by heart

NO_NUMBERS = "reads real features of nodes, and not which of 1,433 words they have"


def _family(layer: str, model: dict, note: str) -> Family:
    return Family(
        model={"name": "graph", "layer": layer, "depth": 2, **model}, objective=CLASSIFICATION, own=DROPOUT, note=note
    )


SUITE = Suite(
    title="Cora: the subject of a paper from its words and citations",
    about="2,708 papers with the words that they have, out of 1,433, and who cites whom; 140 of them have one of seven "
    "labels to learn from, 500 others are for validation and 1,000 for the test. One example is the whole graph. The "
    "MLP sees the words of a paper and no citation. As the graph is one example, the intervals are for other seeds "
    "only, not for other papers.",
    data={"name": "planetoid", "path": "planetoid/cora", "train": "train", "evaluation": "validation"},
    test="test",
    budget=24_000,
    examples=200,
    tuning_examples=100,
    batch_size=1,
    rates=(3e-3, 1e-2, 3e-2),
    score="accuracy",
    metric="accuracy",
    better="max",
    target=0.75,
    percent=True,
    optimizer={"l2": 5e-4},
    families=others({
        "gcn": _family("gcn", {"width": 16}, "weights given by the degrees"),
        "gat": _family("gat", {"width": 16, "heads": 4}, "four heads"),
        "gated": NO_NUMBERS,
        "transformer": NO_NUMBERS,
        "masked_transformer": NO_NUMBERS,
        "mlp": _family("mlp", {"width": 16}, "yardstick, sees no citation"),
    }, "reads tokens or images, but the data are a graph"),
)  # fmt: skip

get_config = SUITE.config
