"""Linked accounts over the real deployments: from the fit to the next list, and back."""

import asyncio

import pytest

from tests.serving.http.test_whole import ids, over
from tests.serving.recommend.linked import SHOP, SOCIAL, UNLISTED, write_linked_bundle


@pytest.fixture(scope="module")
def linked_bundle(tmp_path_factory):
    return write_linked_bundle(str(tmp_path_factory.mktemp("linked") / "bundle"))


def liked(user, videos, **more):
    events = [
        {"event_id": f"{user}-{video}", "user_id": user, "video_id": video, "kind": "like"} | more
        for video in videos
    ]
    return {"events": events}


def content(reply):
    """Return a list without what differs from request to request."""
    rows = reply.json["items"]
    return [{name: value for name, value in row.items() if name != "propensity"} for row in rows]


@pytest.mark.parametrize("reads", ["from the store", "from its deployment"])
@pytest.mark.parametrize("within", [False, True], ids=["by itself", "within HTTP"])
def test_an_account_counts_from_the_link_to_its_end(tmp_path, linked_bundle, within, reads, monkeypatch):
    if reads == "from its deployment":
        monkeypatch.setattr("vrec.serving.deployments.ranking.deployment.is_owned_by", lambda *_: False)

    async def scenario(send, graph):
        ask = {"user_id": "ann", "k": 6, "explain": True}
        social = [*SOCIAL[:8:4], *sorted(UNLISTED)[::4]]

        async def asked(**more):
            return content(await send("POST", "/v1/recommend", ask | more))

        stored = await send("POST", "/v1/events", liked("acc", [*social, "nobody-knows"], domain="social"))
        assert stored.json == {"new": len(social) + 1, "repeated": 0, "unused": 1, "refused": 0}
        before, stranger = await asked(), await asked(user_id="eve")
        put = {"other_user_id": "acc", "consent": True}
        assert (await send("PUT", "/v1/links/social/ann", put)).status == 201
        during = await asked()
        assert during != before
        assert sum(int(item["video_id"][1:]) % 4 == 0 for item in during) >= 4
        assert {item["video_id"] for item in during} <= set(SHOP)
        assert await asked(user_id="eve") == stranger
        # What the account does now counts in the very next list, as does what the shopper does.
        await send("POST", "/v1/events", liked("acc", [SOCIAL[1], SOCIAL[5], SOCIAL[9]], domain="social"))
        assert await asked() != during
        assert (await send("GET", "/v1/users/ann")).status == 404
        assert (await send("DELETE", "/v1/links/social/ann")).status == 200
        assert await asked() == before
        await send("PUT", "/v1/links/social/ann", put)
        assert await asked() != before
        assert (await send("DELETE", "/v1/profiles/ann")).json["erased"] == 0
        assert await asked() == before
        assert (await send("GET", "/v1/links")).json["links"] == []

    over(tmp_path, linked_bundle, scenario, within=within)


def test_accounts_are_in_no_count_of_shoppers_and_their_videos_in_no_list(tmp_path, linked_bundle):
    async def scenario(send, graph):
        await send("POST", "/v1/events", liked("u", SHOP[:3], kind="impression"))
        await send("POST", "/v1/events", liked("acc", SHOP[:9], kind="impression", domain="social"))
        for _ in range(50):
            arms = (await send("GET", "/v1/arms")).json
            if arms["complete"] and sum(arm["impressions"] for arm in arms["arms"]) == 3:
                break
            await asyncio.sleep(0.1)
        assert sum(arm["impressions"] for arm in arms["arms"]) == 3
        assert set(ids(await send("POST", "/v1/recommend", {"user_id": "u", "k": 100}))) <= set(SHOP)
        entry = (await send("GET", f"/v1/videos/{SOCIAL[0]}")).json
        assert (entry["recommendable"], entry["why_not"]) == (False, ["unavailable"])
        assert (await send("GET", f"/v1/videos/{SOCIAL[0]}/similar?k=5")).json["items"]

    over(tmp_path, linked_bundle, scenario)
