"""Edits, bundles and a minimal state for tests of the journal."""

from tests.serving.catalog.small import ENCODER, content, video
from vrec.bundle.catalog import BundleCatalog
from vrec.core.schema import CREATORS
from vrec.profiles.update import ProfilesConfig
from vrec.ranking.reranking.popularity import Popularity
from vrec.serving.messages import CatalogEdit


def added(video_id, vectors=None, encoders=None, **more):
    fields = {name: value for name, value in video(video_id, **more).items() if name != "video_id"}
    return CatalogEdit(video_id, "add", fields, vectors or {}, encoders or {})


def updated(video_id, **fields):
    return CatalogEdit(video_id, "update", fields)


def removed(video_id):
    return CatalogEdit(video_id, "remove")


def bundle_of(rows, version="b1", made_at=1, uri=None):
    rows = sorted(rows, key=lambda row: row["video_id"])
    return BundleCatalog(
        uri=uri or f"/bundles/{version}", version=version, made_at=made_at, encoder=ENCODER,
        content=content(rows, {}), texts=None, popular=(), popularity=Popularity(), embed=None,
        profiles=ProfilesConfig(), history_factors={}, other_videos=(), early_leave_s=None,
        creators=CREATORS.arrow().empty_table(), creator_model=None,
    )  # fmt: skip


class Cards:
    """Cards by id over a bundle; refuses what `refuse` says."""

    def __init__(self, cards, refuse=()):
        self.cards, self.refuse = cards, refuse

    @classmethod
    def of(cls, bundle, refuse=()):
        return cls({row["video_id"]: row for row in bundle.videos.to_pylist()}, refuse)

    def with_changes(self, changes):
        cards = dict(self.cards)
        for change in changes:
            if change.video_id in self.refuse:
                raise ValueError(f"{change.video_id} is refused")
            cards.pop(change.video_id, None)
            if change.row is not None:
                cards[change.video_id] = change.row.to_pylist()[change.number] | {
                    "vectors": {name: one.tolist() for name, one in change.vectors.items()}
                }
        return Cards(cards, self.refuse)

    def plain(self):
        """The cards without what is the same whether a video was changed or not."""
        return {
            name: {key: value for key, value in card.items() if key not in ("vectors", "video_id", "uri")}
            for name, card in self.cards.items()
        }
