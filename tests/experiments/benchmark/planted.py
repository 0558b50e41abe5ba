"""Scores of a benchmark that never ran: everything is made up, with noise over seeds."""

from collections.abc import Mapping
from dataclasses import replace

from experiments.benchmark import suite
from experiments.benchmark.cost import Cost
from experiments.benchmark.protocol import Identity
from experiments.benchmark.scores import FamilyScores, FinalRun, Scores, Tuning, TuningRun
from experiments.benchmark.suite import Suite

NOISE = (0.004, -0.003, 0.001, -0.005, 0.003)
ENVIRONMENT = {"platform": "Linux", "python": "3.12", "devices": {"count": 2, "kind": "cpu"}, "packages": {}}


def identity(**changes) -> Identity:
    """The identity of a benchmark of the digits, with some fields changed."""
    return replace(Identity("digits", suite.load("digits"), {}, {"jax": "1.2.3"}, "c0de"), **changes)


def among(rules: Suite, tasks: dict[str, str]) -> Suite:
    """A suite whose families have tasks, by the name of the family."""
    changed = {name: replace(rules.family(name), among=task) for name, task in tasks.items()}
    return replace(rules, families={**rules.families, **changed})


def family(base: float, *, seeds=(1, 2, 3, 4, 5), parameters: int = 28_000, flops: float = 1e6) -> FamilyScores:
    """A family that is done, with scores around `base`."""
    runs = [
        FinalRun(
            seed=seed,
            score=base + NOISE[seed % 5],
            test={"accuracy": base + NOISE[seed % 5]},
            curve=[(4800 * k, base * k / (k + 1)) for k in range(1, 9)] + [(43_200, base)],
            parameters=parameters,
            seconds=10.0,
            config_digest="0",
            state_digest="1",
            git={"commit": "abcdef0123456789", "dirty": False},
            devices=ENVIRONMENT["devices"],
            command=f"python train.py --config.seed={seed}",
        )
        for seed in seeds
    ]
    tried = [
        TuningRun(
            setting={"optimizer.learning_rate": rate, "optimizer.weight_decay": decay},
            state="failed" if (rate, decay) == (0.03, 0.3) else "done",
            score=None if (rate, decay) == (0.03, 0.3) else base - abs(rate - 0.003) - decay / 100,
            config_digest="0",
        )
        for rate in (0.001, 0.003, 0.01, 0.03)
        for decay in (0.05, 0.3)
    ]
    return FamilyScores(
        state="done",
        reason="",
        note="",
        tuning=Tuning(trials=8, examples=102_400, failed=1, tried=tried),
        setting={"optimizer.learning_rate": 0.003, "optimizer.weight_decay": 0.05},
        validation=base,
        edge=False,
        runs=runs,
        cost=Cost(
            parameters=parameters, train_flops=flops, forward_flops=flops / 3, elementwise=flops / 10, memory=3 * 2**20,
            train_speed=2e9 / flops, inference_speed=6e9 / flops, config_digest="0", environment=ENVIRONMENT,
        ),
    )  # fmt: skip


def failed(reason: str) -> FamilyScores:
    """A family that failed."""
    return replace(family(0.5, seeds=()), state="failed", reason=reason)


def scores(families: Mapping[str, FamilyScores | str], **changes) -> Scores:
    """The scores of these families, compared; `changes` as for `identity`."""
    return Scores(identity(**changes), families).compared()
