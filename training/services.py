"""Loggers that are packages of their own: Weights & Biases, MLflow and Trackio.

Each keeps its own settings, in its own environment variables: WANDB_MODE=offline, WANDB_PROJECT, MLFLOW_TRACKING_URI,
TRACKIO_DIR and so on. The trials of a sweep are a group. A run that continues goes on in the same logged run.
"""

from collections.abc import Iterator, Mapping
import os
import sys
import time
from typing import Any

from filelock import FileLock

from core.errors import UserError
from training.loggers import LoggedRun, Logger

PROJECT = "lectern"


def open_service(name: str, run: LoggedRun) -> Logger:
    """Returns the logger of a service.

    Raises:
      UserError: the service cannot be used, for example because nobody is logged in.
    """
    try:
        return _Kept(name, {"wandb": Wandb, "mlflow": MLflow, "trackio": Trackio}[name](run), run.logged)
    except Exception as error:  # each service has exceptions of its own, for the network, accounts and settings
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(f"loggers: {name} could not be opened: {reason}") from error


class _Kept:
    """A service that never ends a run: the first error is reported, and the run goes on without the service.

    What an earlier process of the run has logged is not logged twice.
    """

    def __init__(self, name: str, service: Logger, logged: frozenset[tuple[int, str]]):
        self._name, self._service, self._logged = name, service, logged
        self._failed = False

    def log(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        if (step, split) not in self._logged:
            self._try(lambda: self._service.log(step, split, metrics))

    def close(self, *, complete: bool) -> None:
        self._try(lambda: self._service.close(complete=complete))

    def _try(self, action) -> None:
        if self._failed:
            return
        try:
            action()
        except Exception as error:
            self._failed = True
            print(f"warning: {self._name} failed, the run goes on without it: {error}", file=sys.stderr, flush=True)


class Wandb:
    """A run of Weights & Biases; files in `wandb/` of the workdir."""

    def __init__(self, run: LoggedRun):
        import wandb  # pyright: ignore[reportMissingImports]

        quiet = wandb.Settings(console="off", silent=True, disable_git=True, save_code=False)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT), id=run.identity, name=run.name, dir=str(run.workdir),
            group=run.sweep.name if run.sweep else None, config=dict(run.config), resume="allow",
            allow_val_change=True, reinit="create_new", settings=quiet,
        )  # fmt: skip

    def log(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        self._run.log({f"{split}/{name}": value for name, value in metrics.items()}, step=step)

    def close(self, *, complete: bool) -> None:
        self._run.finish(exit_code=0 if complete else 1)


class MLflow:
    """A run of MLflow, in the experiment of its sweep.

    MLFLOW_TRACKING_URI says where; by default a file `mlflow.db` beside the workdir, or beside that of the sweep.
    """

    def __init__(self, run: LoggedRun):
        from mlflow import MlflowClient  # pyright: ignore[reportMissingImports]
        from mlflow.entities import Param  # pyright: ignore[reportMissingImports]

        beside = (run.sweep or run.workdir.resolve()).parent
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{beside / 'mlflow.db'}"
        with FileLock(beside / ".mlflow.lock"):  # several runs at once would each create the same tables
            self._client = MlflowClient(tracking_uri=uri)
            experiment = self._experiment(run.sweep.name if run.sweep else PROJECT)
        tagged = f"tags.lectern_run = '{run.identity}'"
        if logged := self._client.search_runs([experiment], tagged, max_results=1):
            self._id = logged[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
            return
        tags = {"lectern_run": run.identity} | ({"group": run.sweep.name} if run.sweep else {})
        self._id = self._client.create_run(experiment, run_name=run.name, tags=tags).info.run_id
        parameters = [Param(name, str(value)[:500]) for name, value in flat(run.config)]
        for start in range(0, len(parameters), 100):  # a server takes no more at once
            self._client.log_batch(self._id, params=parameters[start : start + 100])

    def log(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        from mlflow.entities import Metric  # pyright: ignore[reportMissingImports]

        now = int(1000 * time.time())
        points = [Metric(allowed(f"{split}/{name}"), value, now, step) for name, value in metrics.items()]
        self._client.log_batch(self._id, metrics=points)

    def close(self, *, complete: bool) -> None:
        self._client.set_terminated(self._id, "FINISHED" if complete else "KILLED")

    def _experiment(self, name: str) -> str:
        experiment = self._client.get_experiment_by_name(name)
        return experiment.experiment_id if experiment else self._client.create_experiment(name)


class Trackio:
    """A run of Trackio, in TRACKIO_DIR or its own default folder. Its name ends with the identity of the run."""

    def __init__(self, run: LoggedRun):
        import trackio  # pyright: ignore[reportMissingImports]

        self._run = trackio.init(
            project=PROJECT, name=f"{run.name}-{run.identity[:4]}", group=run.sweep.name if run.sweep else None,
            config=dict(run.config), resume="allow", embed=False,
        )  # fmt: skip

    def log(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        self._run.log({f"{split}/{name}": value for name, value in metrics.items()}, step=step)

    def close(self, *, complete: bool) -> None:
        self._run.finish()


def flat(config: Mapping, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the fields of a config with their dotted names."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def allowed(name: str) -> str:
    """Returns a metric's name as MLflow takes it: a split may be "test[:25%]"."""
    return "".join(c if c.isalnum() or c in "_-. /" else "_" for c in name)
