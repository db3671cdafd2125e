"""A shop with a second domain of shared tastes: its bundle, its engine, and stores over its catalog."""

from itertools import count

import numpy as np
import pyarrow as pa

from tests.retrieval.catalogues import videos
from tests.retrieval.matrices import ids, to_interactions
from tests.retrieval.models.test_cross_domain import shared_tastes
from vrec.bundle.bundle import ServingBundle
from vrec.bundle.config import BundleConfig
from vrec.bundle.inputs import BundleInputs
from vrec.bundle.write import write_bundle
from vrec.core.schema import EVENTS
from vrec.core.types import CatalogContent
from vrec.profiles.update import ProfilesConfig
from vrec.retrieval.config import CrossDomainConfig
from vrec.retrieval.models.cross_domain import CrossDomain
from vrec.serving.messages import ListResult, RecommendQuery

T0 = 1_767_225_600_000_000
"""2026-01-01 in µs."""
NOW = T0 + 3_600_000_000
SHOP, SOCIAL = [f"v{n:05}" for n in range(40)], [f"v{n:05}" for n in range(40, 80)]
"""Videos of each domain; one of four tastes likes every fourth of both."""
UNLISTED = frozenset(SOCIAL[-8:])
"""Videos of the other domain that the fit knows and VIDEOS lacks."""
_numbers = count()


def write_linked_bundle(uri: str, **options) -> ServingBundle:
    """Fit a model of both domains, and write, load and check a bundle of it."""
    matrix, domains = shared_tastes(300, 0)
    assert ids("v", 80) == [*SHOP, *SOCIAL]
    names = zip(ids("v", 80), domains, strict=True)
    table = videos(**{name: {"domain": domain} for name, domain in names})
    interactions = to_interactions(matrix)
    model = CrossDomain(CrossDomainConfig(target="shop", **options))
    model.fit(interactions, CatalogContent(table))
    listed = table.filter(pa.array([name not in UNLISTED for name in table["video_id"].to_pylist()]))
    inputs = BundleInputs(
        videos=listed, ranker=None, profiles=ProfilesConfig(), fused=_vectors(listed), recommender=model,
        interactions=interactions,
    )  # fmt: skip
    write_bundle(uri, inputs, BundleConfig(neighbours=10, popular=20))
    bundle = ServingBundle.load(uri)
    bundle.check()
    return bundle


def _vectors(table: pa.Table) -> pa.Table:
    """Return EMBEDDINGS in which videos of one taste are alike, whatever their domain."""
    names = table["video_id"].to_pylist()
    rng = np.random.default_rng(0)
    vectors = np.eye(6, dtype=np.float32)[[int(name[1:]) % 4 for name in names]]
    vectors += rng.normal(0, 0.1, vectors.shape).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    columns = {
        "entity_id": names,
        "modality": ["fused"] * len(names),
        "encoder": ["drawn@1"] * len(names),
        "content_hash": names,
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 6),
    }
    return pa.table(columns)


def event(user: str, video: str, second: int = 0, kind: str = "like") -> pa.Table:
    """Return one new event as EVENTS."""
    row = dict.fromkeys(EVENTS.arrow().names) | {
        "event_id": f"e{next(_numbers):08}", "user_id": user, "video_id": video, "kind": kind,
        "domain": "feed", "at": T0 + second * 1_000_000,
    }  # fmt: skip
    columns = [pa.array([row[field.name]], _plain(field.type)).cast(field.type) for field in EVENTS.arrow()]
    return pa.Table.from_arrays(columns, schema=EVENTS.arrow())


def _plain(kind: pa.DataType) -> pa.DataType:
    return pa.int64() if pa.types.is_timestamp(kind) else kind


def query(user: str, k: int = 10, **more) -> RecommendQuery:
    return RecommendQuery("r", user, "feed", k, NOW, explain=True, **more)


def plain(answer: ListResult) -> tuple:
    """Return all of an answer but the time that it took."""
    return answer.items, answer.candidates, answer.excluded_by_rule, answer.scores, answer.barred
