"""Training vrec's DIN beside torch-rechub's: impressions a second, one thread each.

Run as `OMP_NUM_THREADS=1 python benchmarks/ranker_training.py`. Both have the same embeddings (a video's id,
shared by candidate and history, and three fields of the request), history, layers, batches and optimizer, and
take batches that are tensors already. Rounds are interleaved, so that whatever else the machine does falls on
both sides. The networks differ in three ways: torch-rechub's have batch norms before the activations, a Dice
that is normed over a row's neurons in place of the batch, and no mask over padding; vrec's are as published.
"""

import statistics
from collections.abc import Callable

import numpy as np
import torch
from harness import interleaved_times, number_parser
from torch import Tensor, nn
from torch_rechub.basic.features import SequenceFeature, SparseFeature
from torch_rechub.models.ranking import DIN

from vrec.ranking.features.arrays import FeatureShape
from vrec.ranking.networks.config import DinConfig, RankerHeadsConfig
from vrec.ranking.networks.layers import CatalogTensors, RankingBatch
from vrec.ranking.networks.multitask import LabelTensors, multitask_losses
from vrec.ranking.networks.network import RankerNetwork

CONTEXT = (1000, 24, 7)
"""Places of the request's fields."""
CONFIG = DinConfig(content=False, id_dropout=0, position="none")
HEADS = RankerHeadsConfig(heads=("click",), tower=())
LEARNING_RATE = 1e-3


def make_batches(batches: int, size: int, videos: int, length: int) -> list[tuple[RankingBatch, Tensor]]:
    """Draw impressions, each of its own request, and clicks; histories of 0 to `length` videos."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(batches):
        history = rng.integers(1, videos, (size, length), dtype=np.int32)
        history[np.arange(length) >= rng.integers(0, length + 1, (size, 1))] = 0
        batch = RankingBatch(
            request=torch.arange(size, dtype=torch.int32),
            video=torch.from_numpy(rng.integers(1, videos, size, dtype=np.int32)),
            candidate=torch.zeros(size, 0),
            position=torch.zeros(size, dtype=torch.int32),
            context=torch.from_numpy(
                np.stack([rng.integers(0, places, size, dtype=np.int32) for places in CONTEXT], axis=1)
            ),
            user=torch.zeros(size, 0),
            history=torch.from_numpy(history),
            history_dense=torch.zeros(size, length, 0),
        )
        found.append((batch, torch.from_numpy((rng.random(size) < 0.3).astype(np.float32))))
    return found


def make_vrec(batches: list[tuple[RankingBatch, Tensor]], videos: int) -> Callable[[], None]:
    """Return a function that trains vrec's DIN for an epoch over the batches."""
    shape = FeatureShape((videos,), 1, 0, 0, CONTEXT, 0, 0, 0, 1)
    network = RankerNetwork(shape, CONFIG, HEADS, watch_width=0)
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    catalogue = CatalogTensors(
        fields=torch.arange(videos, dtype=torch.int32)[:, None],
        tags=torch.zeros(videos, 0, dtype=torch.int32),
        dense=torch.zeros(videos, 0),
        vectors=torch.zeros(videos, 0),
    )

    def run() -> None:
        for batch, clicks in batches:
            labels = LabelTensors(clicks, torch.zeros_like(clicks), torch.ones_like(clicks).bool(), None)
            loss = multitask_losses(network(batch, catalogue), labels, HEADS)["total"]
            step(optimizer, loss)

    return run


def make_rechub(batches: list[tuple[RankingBatch, Tensor]], videos: int) -> Callable[[], None]:
    """Return a function that trains torch-rechub's DIN for an epoch over the batches."""
    width = CONFIG.width
    fields = [SparseFeature(f"context_{n}", places, width) for n, places in enumerate(CONTEXT)]
    video = SparseFeature("video", videos, width)
    history = SequenceFeature("history", videos, width, pooling="concat", shared_with="video")
    network: nn.Module = DIN(
        fields, [history], [video], {"dims": list(CONFIG.hidden)}, {"dims": list(CONFIG.attention)}
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    criterion = nn.BCELoss()
    given = [
        (
            {"video": batch.video, "history": batch.history}
            | {f"context_{n}": batch.context[:, n] for n in range(len(CONTEXT))},
            clicks,
        )
        for batch, clicks in batches
    ]

    def run() -> None:
        for inputs, clicks in given:
            step(optimizer, criterion(network(inputs), clicks))

    return run


def step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def main() -> None:
    parser = number_parser(__doc__, rounds=9, batch_size=1024, videos=10_000, history=50)
    parser.add_argument("--batches", type=int, default=10, help="batches a round")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    batches = make_batches(given.batches, given.batch_size, given.videos, given.history)
    sides = {"vrec": make_vrec(batches, given.videos), "torch-rechub": make_rechub(batches, given.videos)}
    examples = given.batches * given.batch_size
    for run in sides.values():
        run()  # first calls allocate
    rates = {
        name: [(examples / wall, examples / cpu) for wall, cpu in taken]
        for name, taken in interleaved_times(sides, given.rounds).items()
    }
    for place, clock in enumerate(("by wall clock", "by CPU time")):
        for name, found in rates.items():
            # Of each round's pair, since a busy minute slows both.
            ratio = statistics.median(
                a[place] / b[place] for a, b in zip(found, rates["torch-rechub"], strict=True)
            )
            rate = statistics.median(rate[place] for rate in found)
            print(f"  {name:14} {rate:10,.0f} impressions/s {clock:14} {ratio:5.2f} × torch-rechub")


if __name__ == "__main__":
    main()
