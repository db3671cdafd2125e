"""Videos like one: by what else its viewers watch, and by what is in it."""

from vrec.serving.catalog.snapshot import CatalogSnapshot
from vrec.serving.deployments.protocol import UnknownVideo
from vrec.serving.messages import ListItem
from vrec.serving.recommend.candidates import CandidateSources, content_candidates, neighbor_candidates
from vrec.serving.recommend.eligibility import EligibilityFilter
from vrec.serving.recommend.rank_fusion import fuse_ranks, fusion_depth


def find_similar(
    video_id: str, k: int, snapshot: CatalogSnapshot, eligible: EligibilityFilter, sources: CandidateSources
) -> tuple[ListItem, ...]:
    """At most `k` videos like one and not itself, by neighbours and content, fused by reciprocal rank.

    One without neighbours of its own, such as a new one, counts by content alone, as if it were in both. The
    source is `similar:cf`, `similar:content` or `similar:both`. Rules are those of a stranger of unknown age.
    Raises UnknownVideo for one that is not, or no more, in the catalogue.
    """
    row = snapshot.shelf.row_by_id.get(video_id)
    if row is None:
        raise UnknownVideo(f"no video {video_id} is in the catalogue")
    depth = fusion_depth(k)
    orders = {"cf": neighbor_candidates(snapshot, sources.near, [video_id], [1.0])}
    vector = snapshot.shelf.vectors[row]
    if vector.any():
        orders["content"] = content_candidates(snapshot, sources.index, vector, 2 * depth, eligible.mask)
    allowed = {
        name: eligible.pick_independently(order[order != row], depth) for name, order in orders.items()
    }
    # Nobody could have watched a new video along with others: content must do for both.
    alone = {
        row for row in allowed.get("content", ()) if not sources.near.find(snapshot.shelf.video_ids[row], 1)
    }
    return fuse_ranks(allowed, k, "similar", snapshot, alone)
