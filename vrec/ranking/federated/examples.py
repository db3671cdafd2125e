"""Ranking examples of one client, replayed from its own events alone."""

import numpy as np
import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.errors import FederatedError
from vrec.core.schema import EVENTS, conform
from vrec.profiles.update import ProfilesConfig, video_metadata
from vrec.ranking.features.arrays import concatenate_features
from vrec.ranking.federated.training import Examples
from vrec.ranking.labels import build_labels
from vrec.ranking.network_ranker import NetworkRanker
from vrec.ranking.replay import replay_requests, replay_video_counts

BLOCK = 4096
"""Requests whose features are built at once."""


def client_examples(
    start: NetworkRanker, events: pa.Table, profiles: ProfilesConfig, validation_share: float
) -> tuple[Examples, Examples]:
    """Return a client's examples to train and to validate on, the latest impressions.

    The counts of a video are those of the client's own events.

    Args:
        start: Ranker whose builder makes the features.
        events: EVENTS of the client.
        profiles: Settings of profiles.
        validation_share: Share of the impressions to validate on.

    Raises:
        FederatedError: There are no impressions.
        SchemaError, EventsError: The events are not valid.
    """
    events = conform(events, EVENTS, stage="federate")
    if not pc.any(pc.equal(events.column("kind"), "impression")).as_py():
        raise FederatedError(
            f"none of {events.num_rows:,} events is an impression", fix="log what was shown to shoppers"
        )
    facts = video_metadata(start.content)
    counts = replay_video_counts(events, facts, profiles)
    requests = list(replay_requests(events, counts, facts, profiles))
    blocks = [start.builder.build(requests[at : at + BLOCK]) for at in range(0, len(requests), BLOCK)]
    features = concatenate_features(blocks)
    labels = build_labels(events, start.content.videos, start.config.labels)
    order = np.argsort(labels.at, kind="stable")
    held_out = max(1, round(validation_share * len(order)))
    # In the order of the log: the rows of one request are adjacent.
    rows = np.sort(order[:-held_out]), np.sort(order[-held_out:])
    train, valid = ((features.take(some), labels.take(some)) for some in rows)
    return train, valid
