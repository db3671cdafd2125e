"""Random histories of a few shoppers with everything that one event can do to another."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from tests.events.rows import events
from vrec.core.schema import EMBEDDINGS, EVENT_KINDS, VIDEOS
from vrec.core.types import CatalogContent
from vrec.events.config import OwnKindConfig
from vrec.profiles.update import ProfilesConfig, video_metadata
from vrec.profiles.user import TasteConfig, UserProfileConfig

OWN_KINDS = {
    "save": OwnKindConfig(weight=3.0),
    "report": OwnKindConfig(counts_as="negative", weight=1.5),
    "zoom": OwnKindConfig(counts_as="neutral"),
}
CONFIG = ProfilesConfig(
    remember=8,
    user=UserProfileConfig(interest=TasteConfig(half_life_days=14.0, own_kinds=OWN_KINDS), history=4),
)
"""Short memories, so that what they dropped matters where an event is reversed."""
VIDEO_IDS = ["v0", "v1", "v2"]
START = datetime(2026, 3, 1, tzinfo=UTC)
PAIRED_KINDS = ["like", "unlike", "purchase", "refund", "dislike", "hide", "unhide"]
ALL_KINDS = [*PAIRED_KINDS, *PAIRED_KINDS, *EVENT_KINDS, *OWN_KINDS]


def _catalog() -> CatalogContent:
    """Three videos, of which two have a duration, a category and an embedding."""
    rows = [
        {
            "video_id": name,
            "uri": "",
            "kind": "clip",
            "product_ids": [],
            "creator_id": f"c{n}",
            "domain": "shop",
        }
        | {
            "tags": [],
            "available": True,
            "category": ["mugs", "hats", None][n],
            "duration_s": [10.0, 4.0, None][n],
        }
        for n, name in enumerate(VIDEO_IDS)
    ]
    videos = pa.Table.from_pylist(rows, schema=VIDEOS.arrow())
    vectors = np.eye(3, dtype=np.float32)[:2]
    embedded = [
        {"entity_id": name, "modality": "fused", "encoder": "e@1", "content_hash": "", "vector": vector}
        for name, vector in zip(VIDEO_IDS, vectors, strict=False)
    ]
    return CatalogContent(videos, pa.Table.from_pylist(embedded, schema=EMBEDDINGS.arrow(3)))


CONTENT = _catalog()
FACTS = video_metadata(CONTENT)


def lookup(video_ids):
    """Metadata of the given videos, as a store looks it up."""
    return {name: FACTS[name] for name in video_ids if name in FACTS}


def some_history(users=("u", "w"), least=0, most=30, videos=(*VIDEO_IDS, "unknown"), kinds=ALL_KINDS):
    """EVENTS of the users at a few moments, above all those that reverse others; ids say nothing of time."""
    row = st.fixed_dictionaries(
        {
            "user_id": st.sampled_from(users),
            "video_id": st.sampled_from(videos),
            "kind": st.sampled_from(kinds),
            "value": st.sampled_from([None, 0.5, 3.25, 30.0]),
            "at": st.integers(0, 9).map(lambda n: START + timedelta(hours=7 * n)),
        }
    )
    rows = st.lists(row, min_size=least, max_size=most)
    return rows.map(
        lambda drawn: events(*(one | {"event_id": f"e{n * 7 % 31:02}"} for n, one in enumerate(drawn)))
    )
