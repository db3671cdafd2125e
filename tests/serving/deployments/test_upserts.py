"""Many changes at once over the real deployments: in force together, in the next answer, in their order."""

import asyncio

from tests.serving.catalog.journals import added, updated
from tests.serving.deployments.test_graph import Graph, ask, shown
from vrec.core.errors import SourceError
from vrec.serving.messages import RequestFilters, VideoUpsert


def test_upserts_are_in_force_together_in_the_very_next_answer(tmp_path, shop_bundle):
    refused = SourceError("no such folder")

    async def run():
        graph = await Graph(tmp_path, refresh_s=600.0).started(shop_bundle)
        listed = shown(await graph.api.recommend(ask(k=100)))
        rows = [VideoUpsert(updated(name, available=False), refused) for name in listed[:-5]]
        rows += [
            VideoUpsert(updated("n", title="x"), added("n", title="Zanzibar", price=1.0)),
            VideoUpsert(updated("m", title="x"), refused),
            VideoUpsert(updated("n", price=2.0), added("n", title="never")),
        ]
        done = await graph.api.upsert(rows)
        assert done == ["update"] * (len(listed) - 5) + ["add", refused, "update"]
        assert len(list((tmp_path / "data" / "changes").glob("*.msgpack"))) == 2  # the cut, and these
        left = set(shown(await graph.api.recommend(ask(k=100))))
        assert left.isdisjoint(listed[:-5])
        assert {"n", *listed[-5:]} <= left
        card = (await graph.api.cards(["n", "m"]))["n"]
        assert (card["title"], card["price"]) == ("Zanzibar", 2.0)
        assert shown(await graph.api.search("Zanzibar", 5, RequestFilters(), ask().at)) == ["n"]

    asyncio.run(run())


def test_answers_wait_for_the_parts_of_a_request_only_when_it_has_ended(tmp_path, shop_bundle):
    refused = SourceError("no such folder")

    async def run():
        graph = await Graph(tmp_path, refresh_s=600.0).started(shop_bundle)
        listed = shown(await graph.api.recommend(ask(k=100)))
        first, second = (VideoUpsert(updated(name, available=False), refused) for name in listed[:2])
        assert await graph.api.upsert([first], more=True) == ["update"]
        assert set(listed[:2]) <= set(shown(await graph.api.recommend(ask(k=100))))
        assert await graph.api.upsert([second]) == ["update"]
        assert set(listed[:2]).isdisjoint(shown(await graph.api.recommend(ask(k=100))))

    asyncio.run(run())
