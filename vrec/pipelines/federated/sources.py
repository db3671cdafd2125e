"""Places of clients' data: what a client reads, on its own machine, to take part."""

import os
from dataclasses import dataclass

import pyarrow as pa

from vrec.config.settings import Settings
from vrec.core.errors import SourceError
from vrec.core.uris import local_path
from vrec.events.interactions import aggregate_interactions
from vrec.pipelines.fit.private import ledger_path
from vrec.pipelines.inputs import InputData, InputPaths, input_fingerprint, read_inputs
from vrec.privacy.ledger import PrivacyLedger
from vrec.retrieval.federated.build import recommender_shard
from vrec.retrieval.federated.private import PrivateShard
from vrec.retrieval.interaction_matrix import IdVocabulary
from vrec.retrieval.private_fit import private_costs
from vrec.training.federated.task import FederatedShard, NoisedShard


@dataclass(frozen=True, slots=True)
class RecommenderSource:
    """Place of a client's events, for a federated recommender."""

    inputs: InputPaths
    settings: Settings
    kind: str
    videos: pa.Array
    """Sorted ids of the catalog that all clients share."""

    def load(self) -> FederatedShard:
        """Read the events and return the shard; see `ShardSource`."""
        data = _read(self.inputs, self.settings)
        interactions = aggregate_interactions(data.interactions, self.settings.events.interest)
        vocabulary = IdVocabulary(self.videos)
        return recommender_shard(self.kind, self.settings.retrieval, interactions, vocabulary)


@dataclass(frozen=True, slots=True)
class PrivateSource:
    """Place of a client's events, for a federated recommender with differential privacy."""

    inputs: InputPaths
    settings: Settings
    kind: str
    videos: pa.Array
    """Sorted ids of the catalog that all clients share."""

    def load(self) -> NoisedShard:
        """Read the events, charge the fit to their ledger and return the shard; see `ShardSource`.

        Raises:
            PrivacyError: The budget of the ledger is spent, or it is damaged.
        """
        data, privacy = _read(self.inputs, self.settings), self.settings.privacy
        shard = PrivateShard(self.kind, privacy, data.interactions, IdVocabulary(self.videos))
        ledger = PrivacyLedger(ledger_path(self.inputs.events, self.settings))
        costs = private_costs(self.kind, privacy, public_catalog=True)
        ledger.charge(self.kind, costs, input_fingerprint(data), delta=privacy.delta, budget=privacy.budget)
        return shard


@dataclass(frozen=True, slots=True)
class RankerSource:
    """Place of a client's events, for a federated ranker."""

    inputs: InputPaths
    settings: Settings
    start: str
    """Folder of the ranker to start from."""

    def load(self) -> FederatedShard:
        """Read the events, replay them and return the shard; see `ShardSource`."""
        # Imported here: clients of recommenders need no torch.
        from vrec.pipelines.federated.first_ranker import load_start
        from vrec.ranking.federated.examples import client_examples
        from vrec.ranking.federated.training import RankerShard

        config = self.settings.train.ranker
        events = _read(self.inputs, self.settings).events
        start = load_start(self.start, self.settings)
        train, valid = client_examples(start, events, config.profiles, config.split.validation_share)
        return RankerShard(start, self.settings.federated, train, valid)


def _read(inputs: InputPaths, settings: Settings) -> InputData:
    local = local_path(inputs.events)
    if local is not None and not os.path.exists(local):
        raise SourceError(f"{inputs.events}: no such file or folder on the client's machine")
    return read_inputs(inputs, settings.events, settings.fit.modality)
