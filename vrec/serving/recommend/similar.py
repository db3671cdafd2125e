"""Videos like one: by what else its viewers watch, and by what is in it."""

from vrec.serving.catalog.snapshot import Wares
from vrec.serving.deployments.protocol import UnknownVideo
from vrec.serving.messages import Item
from vrec.serving.recommend.candidates import Sources, by_content, by_neighbours
from vrec.serving.recommend.eligibility import Gate
from vrec.serving.recommend.rank_fusion import depth_of, fused


def similar_to(video_id: str, k: int, wares: Wares, gate: Gate, sources: Sources) -> tuple[Item, ...]:
    """At most `k` videos like one and not itself, by neighbours and content, fused by reciprocal rank.

    One without neighbours of its own, such as a new one, counts by content alone, as if it were in both. The
    source is `similar:cf`, `similar:content` or `similar:both`. Rules are those of a stranger of unknown age.
    Raises UnknownVideo for one that is not, or no more, in the catalogue.
    """
    row = wares.shelf.place.get(video_id)
    if row is None:
        raise UnknownVideo(f"no video {video_id} is in the catalogue")
    depth = depth_of(k)
    orders = {"cf": by_neighbours(wares, sources.near, [video_id], [1.0])}
    vector = wares.shelf.vectors[row]
    if vector.any():
        orders["content"] = by_content(wares, sources.index, vector, 2 * depth, gate.mask)
    allowed = {name: gate.each(order[order != row], depth) for name, order in orders.items()}
    # Nobody could have watched a new video along with others: content must do for both.
    alone = {
        row for row in allowed.get("content", ()) if not sources.near.find(wares.shelf.video_ids[row], 1)
    }
    return fused(allowed, k, "similar", wares, alone)
