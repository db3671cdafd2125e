"""Videos similar to a video, by co-watching and by content."""

from vrec.serving.catalog.snapshot import CatalogSnapshot
from vrec.serving.deployments.protocol import UnknownVideo
from vrec.serving.messages import ListItem
from vrec.serving.recommend.candidates import CandidateSources
from vrec.serving.recommend.eligibility import EligibilityFilter
from vrec.serving.recommend.rank_fusion import fuse_ranks, fusion_depth


def find_similar(
    video_id: str, k: int, snapshot: CatalogSnapshot, eligible: EligibilityFilter, sources: CandidateSources
) -> tuple[ListItem, ...]:
    """Return videos similar to one, by neighbors and content, fused by reciprocal rank.

    A result without neighbors of its own, such as a new video, is scored by content as if in both orders.

    Args:
        video_id: The video, which is not among the results.
        k: Maximum number of items.
        snapshot: The catalog.
        eligible: The filter of the request.
        sources: Neighbors and vector index.

    Returns:
        Items with the source `similar:cf`, `similar:content` or `similar:both`.

    Raises:
        UnknownVideo: The video is not, or no longer, in the catalog.
    """
    row = snapshot.catalog.row_by_id.get(video_id)
    if row is None:
        raise UnknownVideo(f"no video {video_id} is in the catalog")
    depth = fusion_depth(k)
    orders = {"cf": sources.by_neighbors(snapshot, [video_id], [1.0])}
    vector = snapshot.catalog.vectors[row]
    if vector.any():
        orders["content"] = sources.by_content(snapshot, vector, 2 * depth, eligible.mask)
    allowed = {
        name: eligible.pick_independently(order[order != row], depth) for name, order in orders.items()
    }
    # Nobody has watched a new video along with others, so that content stands for both.
    ids = snapshot.catalog.video_ids
    without_neighbors = {row for row in allowed.get("content", ()) if not sources.has_neighbors(ids[row])}
    return fuse_ranks(allowed, k, "similar", snapshot, without_neighbors)
