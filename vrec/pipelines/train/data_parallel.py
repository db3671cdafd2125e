"""Training a network on Ray Train: equal workers, a checkpoint an epoch, and no epoch done twice."""

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
import ray.train
import torch
from ray.train.torch import TorchConfig, TorchTrainer
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from vrec.core.errors import VrecError
from vrec.pipelines.cluster import ClusterError
from vrec.training.epochs import SINGLE_WORKER, EpochTrainer, TrainingWorker
from vrec.training.workers import WorkersConfig

STATE = "state.npz"
"""The file of a checkpoint."""
LOSS = "losses."
"""Prefix of the best epoch's validation losses in it."""
CHECKPOINTS = "checkpoints"
"""The subfolder of `--out` that checkpoints are kept in while training goes on."""


class TrainingTask(Protocol):
    """What every worker is given: what to train, and on what. Goes through Ray's object store."""

    @property
    def workers_config(self) -> WorkersConfig:
        """Over how many workers the training is spread."""
        ...

    def trainer(self, worker: TrainingWorker) -> EpochTrainer[Any]:
        """The trainer of one worker; raises VrecError where this cannot be learned from."""
        ...


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a training came to."""

    weights: Mapping[str, npt.NDArray[Any]]
    """The best epoch's weights, by their names in the network."""
    epochs: int
    best_epoch: int
    losses: Mapping[str, float]
    """Validation losses after the best epoch, by name and in `total`."""
    workers: int
    examples_per_s: float
    """Examples that all workers together trained on in a second, over the last epoch."""
    resumed_from: int
    """The epoch that a run that was stopped had reached; 0 for a new one."""
    stopped: str | None
    """Why training ended early with the last good weights; None where it did not."""


def train_network(task: TrainingTask, name: str, out: str) -> TrainingResult:
    """The best weights, after training on the cluster that this process is connected to.

    A checkpoint is kept below `out` after every epoch, under `name`: a run of the same name goes on from
    there, as it does after a worker was killed. Raises what the lesson's trainer raises, and ClusterError
    where workers were lost more often than `failures` allows.
    """
    config = task.workers_config
    workers = config.workers or _workers(config)
    trainer = TorchTrainer(
        _worker_loop,
        train_loop_config={"lesson": ray.put(task)},
        torch_config=TorchConfig(backend="nccl" if config.gpus_per_worker else "gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers,
            use_gpu=config.gpus_per_worker > 0,
            resources_per_worker=_resources(config),
        ),
        run_config=ray.train.RunConfig(
            name=name,
            storage_path=f"{out}/{CHECKPOINTS}",
            failure_config=ray.train.FailureConfig(max_failures=config.failures),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
        ),
    )
    # An embedding that failed before in this process leaves its worker in a cycle, and with it a CPU: these
    # workers would wait for it without end.
    gc.collect()
    with _quiet_ray_train():
        try:
            result = trainer.fit()
        except ray.train.TrainingFailedError as error:
            raise ClusterError(
                f"training: workers were lost ({' '.join(str(error).split())[:300]})",
                fix="run the same command again, it goes on from the last epoch; or raise `failures`",
            ) from None
    told: Any = result.return_value
    if isinstance(told, VrecError):
        raise told
    return told


def train_in_process(task: TrainingTask, name: str, out: str) -> TrainingResult:
    """As `train_network`, in this process alone and without checkpoints.

    For lessons so small that starting a worker takes longer than the training. Raises as the trainer does.
    """
    threads = torch.get_num_threads()
    # Steps of such lessons are short: where other processes want the cores, threads that wait for each other
    # at every step take twenty times as long as one.
    torch.set_num_threads(1)
    try:
        return train_epochs(task, 0, 1, checkpoint=False)
    finally:
        torch.set_num_threads(threads)


def _worker_loop(given: dict[str, Any]) -> TrainingResult | VrecError:
    """One worker's part: epochs until the trainer is done, a report after each.

    What is wrong with the examples or settings is returned and not raised: another try would end the same.
    """
    context = ray.train.get_context()
    lesson: TrainingTask = ray.get(given["lesson"])
    # As many as Ray sets aside: a worker that took the machine's would be in the others' way.
    torch.set_num_threads(max(1, int(lesson.workers_config.cpus_per_worker)))
    try:
        return train_epochs(lesson, context.get_world_rank(), context.get_world_size())
    except VrecError as error:
        return error


def train_epochs(task: TrainingTask, rank: int, world: int, *, checkpoint: bool = True) -> TrainingResult:
    """What one of `world` workers comes to: epochs from Ray Train's checkpoint, if there is one, to the end.

    Each epoch is reported to Ray Train and, by the worker of rank 0, kept as a checkpoint, unless `kept` is
    False. Raises as the lesson's trainer does.
    """
    worker = SINGLE_WORKER if world == 1 else TrainingWorker(rank, world, DistributedDataParallel, _summed)
    trainer = task.trainer(worker)
    losses = _restore(trainer) if checkpoint else {}
    resumed_from = trainer.epoch
    rate = 0.0
    while not trainer.done:
        result, judged = trainer.run_epoch(), trainer.validate()
        rate = result.examples_per_s * world
        losses = judged if trainer.best_epoch == trainer.epoch else losses
        if checkpoint:
            _report(trainer, losses, rank)
    weights = {name: tensor.cpu().numpy() for name, tensor in trainer.finish().state_dict().items()}
    ends = trainer.epoch, trainer.best_epoch
    return TrainingResult(weights, *ends, losses, world, rate, resumed_from, trainer.stopped)


def _restore(trainer: EpochTrainer[Any]) -> dict[str, float]:
    """The best epoch's validation losses, after taking up where an earlier run ended, if there was one."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return {}
    with (
        checkpoint.as_directory() as folder,
        np.load(os.path.join(folder, STATE), allow_pickle=False) as kept,
    ):
        state = {name: kept[name] for name in kept.files}
    trainer.restore(state)
    return {name.removeprefix(LOSS): float(v) for name, v in state.items() if name.startswith(LOSS)}


def _report(trainer: EpochTrainer[Any], losses: Mapping[str, float], rank: int) -> None:
    metrics = {"epoch": trainer.epoch}
    if rank:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        kept = trainer.state() | {f"{LOSS}{name}": np.asarray(loss) for name, loss in losses.items()}
        np.savez(os.path.join(folder, STATE), **kept)  # type: ignore[arg-type]
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))


def _summed(numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    total = torch.from_numpy(numbers.copy())
    if distributed.get_backend() == "nccl":
        total = total.cuda()
    distributed.all_reduce(total)
    return total.cpu().numpy()


def _workers(config: WorkersConfig) -> int:
    if not config.gpus_per_worker:
        return 1
    return max(1, int(ray.cluster_resources().get("GPU", 0.0) / config.gpus_per_worker))


def _resources(config: WorkersConfig) -> dict[str, float]:
    share = {"CPU": config.cpus_per_worker}
    return share | ({"GPU": config.gpus_per_worker} if config.gpus_per_worker else {})


@contextlib.contextmanager
def _quiet_ray_train() -> Iterator[None]:
    # Its controller tells each step of its state machine at level INFO.
    logger = logging.getLogger("ray.train")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
