"""Results of a benchmark that never ran: scores are planted, and all else is made up."""

from experiments.benchmark import standings, suite

NOISE = (0.004, -0.003, 0.001, -0.005, 0.003)
ENVIRONMENT = {"platform": "Linux", "python": "3.12", "devices": {"count": 2, "kind": "cpu"}, "packages": {}}


def protocol(**changed) -> dict:
    rules = suite.load("digits").protocol()
    return {"suite": "digits", "rules": rules, "overrides": {}, "packages": {"jax": "1.2.3"}, "code": "c0de"} | changed


def family(base: float, *, seeds=(1, 2, 3, 4, 5), parameters: int = 28_000, flops: float = 1e6) -> dict:
    """A family that is complete, with scores around `base`."""
    runs = [
        {
            "seed": seed,
            "score": base + NOISE[seed % 5],
            "test": {"accuracy": base + NOISE[seed % 5]},
            "curve": [[4800 * k, base * k / (k + 1)] for k in range(1, 9)] + [[43_200, base]],
            "parameters": parameters,
            "seconds": 10.0,
            "config_digest": "0",
            "state_digest": "1",
            "git": {"commit": "abcdef0123456789", "dirty": False},
            "devices": ENVIRONMENT["devices"],
            "command": f"python train.py --config.seed={seed}",
        }
        for seed in seeds
    ]
    tried = [
        {
            "setting": {"optimizer.learning_rate": rate, "optimizer.weight_decay": decay},
            "state": "failed" if (rate, decay) == (0.03, 0.3) else "done",
            "score": None if (rate, decay) == (0.03, 0.3) else base - abs(rate - 0.003) - decay / 100,
            "config_digest": "0",
        }
        for rate in (0.001, 0.003, 0.01, 0.03)
        for decay in (0.05, 0.3)
    ]
    cost = {"parameters": parameters, "train_flops": flops, "forward_flops": flops / 3, "memory": 3 * 2**20}
    cost |= {"train_speed": 2e9 / flops, "inference_speed": 6e9 / flops, "environment": ENVIRONMENT}
    return {
        "state": "done",
        "reason": "",
        "note": "",
        "tuning": {"trials": 8, "examples": 102_400, "failed": 1, "tried": tried},
        "setting": {"optimizer.learning_rate": 0.003, "optimizer.weight_decay": 0.05},
        "validation": base,
        "edge": False,
        "runs": runs,
        "sizes": {},
        "by": {},
        "cost": cost,
    }


def failed(reason: str) -> dict:
    return family(0.5, seeds=()) | {"state": "failed", "reason": reason}


def results(families: dict[str, dict], **changed) -> dict:
    return standings.compared({"protocol": protocol(**changed), "families": families})
