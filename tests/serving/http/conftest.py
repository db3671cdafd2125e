"""Apps over a small shop, with and without keys."""

import pytest

from tests.serving.http.shop import Shop
from vrec.config.serve import ServeConfig
from vrec.serving.http.app import create_app
from vrec.serving.http.keys import create_key


def video(video_id, category, title, **more):
    return {
        "video_id": video_id, "uri": f"/nowhere/{video_id}.mp4", "kind": "product", "product_ids": [],
        "creator_id": "ann", "domain": "shop", "category": category, "tags": ["red"], "title": title,
        "language": "en", "price": 5.0, "duration_s": 12.0, "published_at": None, "expires_at": None,
        "available": True,
    } | more  # fmt: skip


VIDEOS = [
    video("mugs/1", "mugs", "A blue mug"),
    video("mugs/2", "mugs", "A red mug"),
    video("hats/1", "hats", "A red hat", kind="clip", price=50.0),
    video("hats/2", "hats", None, creator_id="bob", price=None),
]


@pytest.fixture
def made(tmp_path):
    """Return a function that makes an app and its shop: `made(environment={}, **settings)`."""
    shops = []

    def make(environment=None, **settings):
        given = {"data": str(tmp_path / "data"), "refresh_s": 0.1} | settings
        config = ServeConfig.model_validate(given)
        shop = Shop(tmp_path / str(len(shops)), [dict(row) for row in VIDEOS], config)
        shops.append(shop)
        app = create_app(shop, config, metrics=lambda: b"vrec_up 1\n", environment=environment or {})
        return app, shop

    yield make
    for shop in shops:
        shop.close()


@pytest.fixture
def keyed(made):
    """Return an app with keys, its shop, and the headers of a key by scope."""
    pairs = {scope: create_key(f"{scope}-key:{scope}") for scope in ("read", "events", "manage")}
    app, shop = made({"VREC_API_KEYS": ",".join(entry for _, entry in pairs.values())})
    return app, shop, {scope: {"authorization": f"Bearer {key}"} for scope, (key, _) in pairs.items()}
