"""Cost of looking consents up, beside the same service that does not.

Run as `python benchmarks/consent.py [--shoppers 500,5000] [--rounds 9]`. Two services run in one process over
one bundle and take turns request by request, as in `door.py`. In both, a third of the shoppers have answered,
and all consent, so that both do the same work otherwise. Printed are the medians of `POST /v1/recommend` and
of `POST /v1/events` with one event and with a hundred, wall-clock, and the median over the rounds of their
ratio with the least and greatest. Wanted: a ratio of at most 1.03.
"""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from door import Service, compare_services
from harness import number_parser
from large_shop import large_bundle

from vrec.privacy.consent.table import PURPOSES, ConsentAnswer, Purpose
from vrec.profiles.linked import read_shopper


class AnsweredService(Service):
    """Service of whose shoppers a third have answered."""

    async def start(self) -> None:
        await super().start()
        answers: dict[Purpose, ConsentAnswer] = {
            purpose: ConsentAnswer(given=True, at=1) for purpose in PURPOSES
        }
        for number in range(0, self._shoppers, 3):
            await self.profiles.put_consents(f"shopper-{number}", answers)


class UnaskedService(AnsweredService):
    """Such a service that looks no consent up."""

    async def start(self) -> None:
        await super().start()

        async def keep_all(events: pa.Table, sizes: Sequence[int]) -> Any:
            return events, sizes, [0] * len(sizes)

        ranking: Any = self.api._local_ranking

        async def read(user_id: str) -> Any:
            bundle = ranking.served.bundle
            half_life = bundle.profiles.user.interest.half_life_days
            return read_shopper(ranking._reader, user_id, bundle.history_factors, half_life)

        assert ranking._reader is not None
        ranking._profile = read
        self.profiles._without_refused = keep_all


async def compare(bundle: str, folder: Path, shoppers: int, rounds: int) -> None:
    sides = {
        "unasked": UnaskedService(bundle, folder / f"{shoppers}-unasked", {}, shoppers),
        "asked": AnsweredService(bundle, folder / f"{shoppers}-asked", {}, shoppers),
    }
    await compare_services(sides, shoppers, rounds)


def main() -> None:
    parser = number_parser(__doc__, videos=20_000, rounds=9)
    parser.add_argument("--shoppers", default="500,5000", help="numbers of shoppers")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        bundle = large_bundle(str(folder / "bundle"), videos=asked.videos)
        for shoppers in map(int, asked.shoppers.split(",")):
            asyncio.run(compare(bundle, folder, shoppers, asked.rounds))


if __name__ == "__main__":
    main()
