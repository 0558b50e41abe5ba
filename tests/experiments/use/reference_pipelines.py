"""Asks the pipelines of the reference about exported folders, and compares with the answers of this project.

It runs where requirements-reference.txt is installed, see "make test-reference"; no JAX here, and nothing of ours.

  python tests/experiments/use/reference_pipelines.py FOLDER      FOLDER/<case> has model/ and answers.json
"""

import json
from pathlib import Path
import sys

from transformers import pipeline  # pyright: ignore[reportMissingImports] # it runs in an environment of its own

TOLERANCE = 1e-5


def main(folder: Path) -> None:
    """Compares all cases. Exits with 1 if a probability differs by more than the tolerance."""
    worst = 0.0
    cases = sorted(path.parent for path in folder.glob("*/answers.json"))
    for case in cases:
        answers = json.loads((case / "answers.json").read_text())
        task = "image-classification" if answers[0]["input"].endswith(".png") else "text-classification"
        more = {} if task.startswith("image") else {"truncation": True}
        classify = pipeline(task, model=str(case / "model"), top_k=None, **more)
        for answer, theirs in zip(answers, classify([answer["input"] for answer in answers])):
            differences = [abs(answer["probabilities"][x["label"]] - x["score"]) for x in theirs]
            worst = max(worst, *differences)
            assert len(differences) == len(answer["probabilities"])
        print(f"{case.name}: {len(answers)} answers, largest difference {worst:.1e}")
    if not cases or worst > TOLERANCE:
        sys.exit(f"expected answers that differ by at most {TOLERANCE}, got {worst} in {len(cases)} cases")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
