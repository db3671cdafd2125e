"""Two workers in processes of their own, whose gradients torch averages."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing
from torch.nn.parallel import DistributedDataParallel

from tests.encoders.learned.test_train import ALIGNED, HEADS, trainer
from vrec.training.epochs import TrainingWorker

EPOCHS = 1
MODES = ((HEADS[1], {}), (HEADS[2], ALIGNED))


def summed(numbers: np.ndarray) -> np.ndarray:
    total = torch.from_numpy(numbers.copy())
    distributed.all_reduce(total)
    return total.numpy()


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    for place, (config, objective) in enumerate(MODES):
        some = trainer(
            config,
            worker=TrainingWorker(rank, 2, DistributedDataParallel, summed),
            epochs=EPOCHS,
            batch_size=512,
            **objective,
        )
        said = []
        some.run(lambda result, judged, said=said: said.append([result.losses["total"], judged["total"]]))
        weights = {name: weight.numpy() for name, weight in some.trained_module.state_dict().items()}
        np.savez(Path(folder, f"{place}-{rank}.npz"), said=np.array(said), **weights)
    distributed.barrier()
    distributed.destroy_process_group()


@pytest.mark.slow
def test_workers_end_with_the_same_weights_and_hear_the_same(tmp_path):
    multiprocessing.spawn(work, args=(str(tmp_path),), nprocs=2)
    for place in range(len(MODES)):
        with np.load(tmp_path / f"{place}-0.npz") as one, np.load(tmp_path / f"{place}-1.npz") as other:
            assert one["said"].shape == (EPOCHS, 2)
            assert one.files == other.files
            assert all(np.array_equal(one[name], other[name]) for name in one.files)
