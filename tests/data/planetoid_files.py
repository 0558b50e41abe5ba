"""Small files in the form of the Planetoid sets, as a user has them."""

from collections import defaultdict
from pathlib import Path
import pickle

import numpy as np
from scipy.sparse import csr_matrix


def planetoid_files(folder: Path, features: np.ndarray) -> str:
    """Four nodes to learn from, 500 for validation, and test nodes 504, 506 and 505; node 507 is in no part."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = np.eye(3)[np.arange(507) % 3]
    everything = csr_matrix(features)
    parts = {
        "x": everything[:4], "y": labels[:4], "allx": everything[:504], "ally": labels[:504],
        "tx": everything[504:], "ty": labels[504:],
        "graph": defaultdict(list, {0: [1, 2, 2], 2: [0], 504: [503], 507: []} | {n: [] for n in range(3, 504)}),
    }  # fmt: skip
    for part, content in parts.items():
        (folder / f"ind.small.{part}").write_bytes(pickle.dumps(content, protocol=2))
    (folder / "ind.small.test.index").write_text("504\n506\n505\n")
    return str(folder)
