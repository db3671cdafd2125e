"""Places of clients' data: what a client reads, on its own machine, to take part."""

import os
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from vrec.config.settings import Settings
from vrec.core.artifact import Arrays
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
        """Read the events and return the shard, which charges the fit to their ledger; see `ShardSource`.

        Raises:
            PrivacyError: The budget of the ledger is spent, or it is damaged.
            OutputError: The ledger cannot be written.
        """
        data, privacy = _read(self.inputs, self.settings), self.settings.privacy
        shard = PrivateShard(self.kind, privacy, data.interactions, IdVocabulary(self.videos))
        ledger = PrivacyLedger(ledger_path(self.inputs.events, self.settings))
        costs, fingerprint = private_costs(self.kind, privacy, public_catalog=True), input_fingerprint(data)
        terms = {"delta": privacy.delta, "budget": privacy.budget}
        ledger.check(costs, **terms)
        return _ChargedShard(shard, lambda: ledger.charge(self.kind, costs, fingerprint, **terms))


class _ChargedShard:
    """Shard that charges its fit before the first noise is drawn, so that a fit that never begins is free."""

    def __init__(self, shard: PrivateShard, charge: Callable[[], object]) -> None:
        self._shard, self._charge = shard, charge
        self._is_charged = False

    def contribute_noised(self, state: Arrays, number: int, stay: int) -> Arrays:
        """See `NoisedShard`."""
        if not self._is_charged:
            self._charge()
            self._is_charged = True
        return self._shard.contribute_noised(state, number, stay)


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
    for uri in filter(None, (inputs.events, inputs.consent, inputs.links)):
        local = local_path(uri)
        if local is not None and not os.path.exists(local):
            raise SourceError(f"{uri}: no such file or folder on the client's machine")
    return read_inputs(inputs, settings.events, settings.fit.modality)
