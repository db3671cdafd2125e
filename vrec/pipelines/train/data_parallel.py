"""Data-parallel training on Ray Train: equal workers, a checkpoint per epoch, resumed after failures."""

import contextlib
import gc
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import ray
import ray.data
import ray.train
import torch
from ray.train.torch import TorchConfig, TorchTrainer
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from vrec.core.errors import VrecError
from vrec.core.tables import StorageFolder
from vrec.core.uris import join_uri
from vrec.pipelines.cluster import ClusterError
from vrec.training.epochs import SINGLE_WORKER, EpochTrainer, TrainingWorker
from vrec.training.workers import WorkersConfig

STATE = "state.npz"
"""The file in a checkpoint."""
LOSS = "losses."
"""Prefix of the best epoch's validation losses in that file."""
CHECKPOINTS = "checkpoints"
"""The subfolder of `--out` for checkpoints during training."""
START_TIMEOUT_VARIABLE = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"
"""Environment variable that Ray Train passes on to its controller."""
_log = logging.getLogger(__name__)


class TrainingTask(Protocol):
    """Training for each worker to run: network, data and settings. Goes through Ray's object store.

    A task may also have `datasets`, of Ray Data by name, which its trainer asks Ray Train for.
    """

    @property
    def workers_config(self) -> WorkersConfig:
        """Number and resources of the workers."""
        ...

    def trainer(self, worker: TrainingWorker) -> EpochTrainer[Any]:
        """Return the trainer of one worker; raises VrecError where the data is not sufficient."""
        ...


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """Outcome of a training."""

    weights: Mapping[str, npt.NDArray[Any]]
    """Weights of the best epoch, by their names in the network."""
    epochs: int
    """Epochs that were run."""
    best_epoch: int
    """The epoch with the lowest validation loss, from 1."""
    losses: Mapping[str, float]
    """Validation losses after the best epoch, by name and in `total`."""
    workers: int
    examples_per_s: float
    """Training examples per second of all workers together, in the last epoch."""
    resumed_from: int
    """The last epoch of the interrupted run that this one continues; 0 for a new run."""
    stopped: str | None
    """Reason for which training ended early with the last good weights; None where it did not."""


def train_network(task: TrainingTask, name: str, out: str) -> TrainingResult:
    """Train on the cluster that this process is connected to.

    A checkpoint is written below `out` after every epoch, under `name`: a run of the same name continues from
    it, as does this run after a worker was killed. Raises what the task's trainer raises, and ClusterError
    where workers were lost more often than `failures` allows or found no room within `wait_s`.
    """
    config, datasets = task.workers_config, getattr(task, "datasets", {})
    workers = worker_count(config, ray.cluster_resources().get("GPU", 0.0))
    storage = StorageFolder(join_uri(out, CHECKPOINTS))
    trainer = TorchTrainer(
        _worker_loop,
        train_loop_config={"task": ray.put(task)},
        torch_config=TorchConfig(backend="nccl" if config.gpus_per_worker else "gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers,
            use_gpu=config.gpus_per_worker > 0,
            resources_per_worker=worker_resources(config),
        ),
        run_config=ray.train.RunConfig(
            name=name,
            # The filesystem as vrec resolves it: Ray would take the query of a URI for a part of the path.
            storage_path=storage.path,
            storage_filesystem=None if storage.local else storage.filesystem,
            failure_config=ray.train.FailureConfig(
                max_failures=config.failures,
                # Without a limit Ray Train waits for lost machines for ever.
                controller_failure_limit=config.failures,
            ),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
        ),
        **dataset_arguments(datasets),
    )
    # An embedding that failed earlier in this process leaves its worker in a reference cycle, and with it a
    # CPU that these workers would wait for forever.
    gc.collect()
    _warn_of_missing_resources(config, workers)
    with _quiet_ray_train(), _start_timeout(config.wait_s / (config.failures + 1)):
        try:
            result = trainer.fit()
        except ray.train.TrainingFailedError as error:
            if _found_no_room(error):
                raise ClusterError(
                    f"training: workers found no room in {config.wait_s:,.0f} s: "
                    f"{describe_resources(config, workers)}",
                    fix="bring machines back or free them, or set `workers` lower, and run the same command "
                    "again: it continues from the last epoch; for slow machines raise `wait_s`",
                ) from None
            raise ClusterError(
                f"training: workers were lost ({' '.join(str(error).split())[:300]})",
                fix="run the same command again, it continues from the last epoch; or raise `failures`",
            ) from None
    returned: Any = result.return_value
    if isinstance(returned, VrecError):
        raise returned
    return returned


def dataset_arguments(datasets: Mapping[str, ray.data.Dataset]) -> dict[str, Any]:
    """Return the arguments by which a trainer of Ray Train gives every worker all datasets, in order."""
    if not datasets:
        return {}
    options = ray.data.ExecutionOptions(preserve_order=True)
    return {
        "datasets": dict(datasets),
        # Not split: Ray would give a block to the worker that asks first, and no two runs would be the same.
        "dataset_config": ray.train.DataConfig(datasets_to_split=[], execution_options=options),
    }


def train_in_process(task: TrainingTask, name: str, out: str) -> TrainingResult:
    """Train like `train_network`, but in this process and without checkpoints.

    For trainings that are shorter than the start of a worker. Raises what the task's trainer raises.
    """
    threads = torch.get_num_threads()
    # Steps of such trainings are short: when other processes use the cores, threads that wait for each other
    # at every step take twenty times as long as one.
    torch.set_num_threads(1)
    try:
        return train_epochs(task, 0, 1, checkpoint=False)
    finally:
        torch.set_num_threads(threads)


def _worker_loop(loop_config: dict[str, Any]) -> TrainingResult | VrecError:
    """Train as one worker: epochs until the trainer is done, with a report after each.

    An error in the examples or settings is returned, not raised, since a retry would fail in the same way.
    """
    context = ray.train.get_context()
    task: TrainingTask = ray.get(loop_config["task"])
    # As many threads as CPUs that Ray reserves, so that workers do not slow each other down.
    torch.set_num_threads(max(1, int(task.workers_config.cpus_per_worker)))
    try:
        return train_epochs(task, context.get_world_rank(), context.get_world_size())
    except VrecError as error:
        return error


def train_epochs(task: TrainingTask, rank: int, world: int, *, checkpoint: bool = True) -> TrainingResult:
    """Run the epochs of one of `world` workers, from Ray Train's checkpoint, if there is one, to the end.

    With `checkpoint` each epoch is reported to Ray Train, by the worker of rank 0 with a checkpoint. Raises
    what the task's trainer raises.
    """
    worker = (
        SINGLE_WORKER if world == 1 else TrainingWorker(rank, world, DistributedDataParallel, _all_reduce)
    )
    trainer = task.trainer(worker)
    losses = _restore(trainer) if checkpoint else {}
    resumed_from = trainer.epoch
    rate = 0.0
    while not trainer.done:
        result, validated = trainer.run_epoch(), trainer.validate()
        rate = result.examples_per_s * world
        losses = validated if trainer.best_epoch == trainer.epoch else losses
        if checkpoint:
            _report(trainer, losses, rank)
    weights = {name: tensor.cpu().numpy() for name, tensor in trainer.finish().state_dict().items()}
    return TrainingResult(
        weights,
        epochs=trainer.epoch,
        best_epoch=trainer.best_epoch,
        losses=losses,
        workers=world,
        examples_per_s=rate,
        resumed_from=resumed_from,
        stopped=trainer.stopped,
    )


def _restore(trainer: EpochTrainer[Any]) -> dict[str, float]:
    """Restore the trainer from the checkpoint, if there is one, and return its validation losses."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return {}
    with (
        checkpoint.as_directory() as folder,
        np.load(os.path.join(folder, STATE), allow_pickle=False) as arrays,
    ):
        state = {name: arrays[name] for name in arrays.files}
    trainer.restore(state)
    return {name.removeprefix(LOSS): float(v) for name, v in state.items() if name.startswith(LOSS)}


def _report(trainer: EpochTrainer[Any], losses: Mapping[str, float], rank: int) -> None:
    metrics = {"epoch": trainer.epoch}
    if rank:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        state = trainer.state() | {f"{LOSS}{name}": np.asarray(loss) for name, loss in losses.items()}
        np.savez(os.path.join(folder, STATE), **state)  # type: ignore[arg-type]
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))


def _all_reduce(numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    total = torch.from_numpy(numbers.copy())
    if distributed.get_backend() == "nccl":
        total = total.cuda()
    distributed.all_reduce(total)
    return total.cpu().numpy()


def worker_count(config: WorkersConfig, gpus: float) -> int:
    """Return the number of workers that the settings ask for, else one per GPU share of `gpus`, else 1."""
    if config.workers or not config.gpus_per_worker:
        return config.workers or 1
    return max(1, int(gpus / config.gpus_per_worker))


def worker_resources(config: WorkersConfig) -> dict[str, float]:
    """Return the resources of one worker, by Ray's names."""
    gpus = {"GPU": config.gpus_per_worker} if config.gpus_per_worker else {}
    return {"CPU": config.cpus_per_worker} | gpus


def describe_resources(config: WorkersConfig, workers: int) -> str:
    """Return what the workers need and what the cluster has now, for a message."""
    total, free = ray.cluster_resources(), ray.available_resources()
    parts = [
        f"{each * workers:g} {name} needed by {workers} worker{'s' if workers > 1 else ''}, "
        f"{total.get(name, 0.0):g} in the cluster, {free.get(name, 0.0):g} of them free"
        for name, each in worker_resources(config).items()
    ]
    return "; ".join(parts)


def _warn_of_missing_resources(config: WorkersConfig, workers: int) -> None:
    total = ray.cluster_resources()
    if any(total.get(name, 0.0) < each * workers for name, each in worker_resources(config).items()):
        resources = describe_resources(config, workers)
        _log.warning("training waits for up to %.0f s for machines: %s", config.wait_s, resources)


def _found_no_room(error: ray.train.TrainingFailedError) -> bool:
    # The class of the reason is not public.
    reason = getattr(error, "controller_failure", None)
    return type(reason).__name__ == "WorkerGroupStartupTimeoutError"


@contextlib.contextmanager
def _start_timeout(seconds: float) -> Iterator[None]:
    """Let each attempt of Ray Train to start workers wait so long for their resources."""
    before = os.environ.get(START_TIMEOUT_VARIABLE)
    os.environ[START_TIMEOUT_VARIABLE] = str(seconds)
    try:
        yield
    finally:
        del os.environ[START_TIMEOUT_VARIABLE]
        if before is not None:
            os.environ[START_TIMEOUT_VARIABLE] = before


@contextlib.contextmanager
def _quiet_ray_train() -> Iterator[None]:
    # Its controller logs each step of its state machine at level INFO.
    logger = logging.getLogger("ray.train")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
