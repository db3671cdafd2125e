"""Ranker from which the clients of a federated one start."""

from vrec.config.settings import Settings
from vrec.ranking.network_ranker import NetworkRanker


def load_start(uri: str, settings: Settings) -> NetworkRanker:
    """Load the ranker to start from, with the settings of the training in the place of its own.

    Raises:
        ModelError: The folder holds no network ranker.
    """
    start = NetworkRanker.load(uri)
    start.config = start.config.model_copy(update={"training": settings.train.ranker.training})
    return start
