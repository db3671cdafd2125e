"""Scoring a request's candidates: vrec's DIN beside the same weights in onnxruntime and torch.compile.

Run as `OMP_NUM_THREADS=1 python benchmarks/ranker_scoring.py`. vrec and torch.compile take the features as
NumPy arrays, onnxruntime as its own inputs; all have the catalogue's videos as vectors that were made before,
and one thread. Rounds are interleaved, so that whatever else the machine does falls on all sides.
torch.compile needs a C++ compiler and is left out where there is none.
"""

import shutil
import statistics
from collections.abc import Callable

import numpy as np
import onnxruntime
import torch
from harness import interleaved_times, number_parser
from torch import Tensor, nn

from vrec.ranking.features.arrays import CatalogFeatureArrays, FeatureShape, RankingFeatures
from vrec.ranking.networks.config import DinConfig, RankerHeadsConfig
from vrec.ranking.networks.layers import RankingBatch, to_batch, to_catalog_tensors
from vrec.ranking.networks.network import RankerNetwork

CPU = torch.device("cpu")
SHAPE = FeatureShape(
    fields=(10_001, 501, 51),
    tags=301,
    video=6,
    dim=64,
    context=(8, 25, 8),
    user=12,
    candidate=16,
    history=2,
    positions=51,
)
WATCH_WIDTH = 20

Answers = list[np.ndarray]


def make_features(candidates: int, history: int, seed: int = 0) -> RankingFeatures:
    """Draw one request's features; the history is full."""
    rng = np.random.default_rng(seed)
    videos = SHAPE.fields[0]

    def numbers(*size: int) -> np.ndarray:
        return rng.standard_normal(size, np.float32)

    def places(sizes: tuple[int, ...], rows: int) -> np.ndarray:
        return np.stack([rng.integers(0, size, rows, dtype=np.int32) for size in sizes], axis=1)

    vectors = numbers(videos, SHAPE.dim)
    catalogue = CatalogFeatureArrays(
        fields=places(SHAPE.fields, videos),
        tags=places((SHAPE.tags,) * 4, videos),
        dense=numbers(videos, SHAPE.video),
        vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
    )
    return RankingFeatures(
        catalog=catalogue,
        shape=SHAPE,
        request=np.zeros(candidates, np.int32),
        video=rng.integers(1, videos, candidates, dtype=np.int32),
        candidate=numbers(candidates, SHAPE.candidate),
        position=np.zeros(candidates, np.int32),
        context=places(SHAPE.context, 1),
        user=numbers(1, SHAPE.user),
        history=rng.integers(1, videos, (1, history), dtype=np.int32),
        history_dense=numbers(1, history, SHAPE.history),
    )


class Scoring(nn.Module):
    """A network's `score` with plain tensors in and out, as the other runtimes need it."""

    def __init__(self, network: RankerNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, items: Tensor, *batch: Tensor) -> list[Tensor]:
        outputs = self.network.score(RankingBatch(*batch), items)
        return [part for part in outputs if part is not None]


def eager_side(module: Scoring, items: Tensor, features: RankingFeatures) -> Callable[[], Answers]:
    """Return vrec's own call, as used in serving."""

    @torch.inference_mode()
    def call() -> Answers:
        return [part.numpy() for part in module(items, *to_batch(features, CPU))]

    return call


def onnx_side(module: Scoring, items: Tensor, features: RankingFeatures) -> Callable[[], Answers]:
    """Return the same weights in onnxruntime, with graph rewriting done before the first call."""
    batch = to_batch(features, CPU)
    program = torch.onnx.export(module, (items, *batch), dynamo=True, verbose=False)
    assert program is not None
    graph = program.model_proto.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    given = [items.numpy(), *(part.numpy() for part in batch)]
    inputs = dict(zip((put.name for put in session.get_inputs()), given, strict=True))
    return lambda: [np.asarray(part) for part in session.run(None, inputs)]


def compiled_side(module: Scoring, items: Tensor, features: RankingFeatures) -> Callable[[], Answers]:
    """Return the same module through torch.compile, for these sizes alone."""
    return eager_side(torch.compile(module, dynamic=False), items, features)  # type: ignore[arg-type]


def race(sides: dict[str, Callable[[], Answers]], rounds: int) -> dict[str, np.ndarray]:
    """Return (rounds, 2) milliseconds of each side, wall-clock and CPU time."""
    return {name: np.array(found) * 1e3 for name, found in interleaved_times(sides, rounds).items()}


def main() -> None:
    parser = number_parser(__doc__, candidates=300, history=50, rounds=500)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    features = make_features(given.candidates, given.history)
    network = RankerNetwork(SHAPE, DinConfig(), RankerHeadsConfig(), WATCH_WIDTH).eval()
    for weights in network.parameters():
        nn.init.normal_(weights, std=0.2)  # first weights are so small that wrong answers would differ little
    items = network.items(to_catalog_tensors(features.catalog, CPU))
    module = Scoring(network).eval()
    sides = {"vrec": eager_side(module, items, features), "onnxruntime": onnx_side(module, items, features)}
    if shutil.which("c++") or shutil.which("g++") or shutil.which("clang++"):
        sides["torch.compile"] = compiled_side(module, items, features)
    else:
        print("torch.compile is left out: there is no C++ compiler")
    expected = sides["vrec"]()
    for name, side in sides.items():
        for _ in range(10):  # first calls compile and allocate
            side()
        off = max(np.abs(a - b).max() for a, b in zip(side(), expected, strict=True))
        print(f"  {name:14} differs from vrec by {off:.1e} at most")
    taken = race(sides, given.rounds)
    for place, clock in enumerate(("wall clock", "CPU time")):
        for name, found in taken.items():
            # Of each round's pair, since a busy moment slows both.
            ratio = statistics.median(taken["vrec"][:, place] / found[:, place])
            p50, p99 = np.percentile(found[:, place], [50, 99])
            print(f"  {name:14} {clock:10} p50 {p50:6.2f} ms  p99 {p99:6.2f} ms   vrec takes {ratio:4.2f} ×")


if __name__ == "__main__":
    main()
