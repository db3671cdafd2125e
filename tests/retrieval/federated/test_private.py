"""Federated private fits against the private fits of all shoppers in one place."""

import numpy as np
import pytest
from scipy import stats

from tests.retrieval.federated.test_sums import CONFIG, catalog, log
from vrec.core.compute import pc
from vrec.core.errors import ConfigError, FederatedError
from vrec.privacy.config import PrivacyConfig
from vrec.privacy.mechanisms import GRID
from vrec.retrieval.federated import private
from vrec.retrieval.federated.private import PrivateShard, PrivateSums
from vrec.retrieval.interaction_matrix import IdVocabulary
from vrec.retrieval.private_fit import fit_private

PRIVACY = PrivacyConfig(epsilon=2, gram_videos=8)


def silent(count):
    return np.zeros(count)


def parts(table, clients=4):
    numbers = pc.cast(pc.utf8_slice_codeunits(table.column("user_id"), 1, 3), "int64").to_numpy()
    return [table.filter(numbers % clients == client) for client in range(clients)]


def federated(kind, normals, stay=4, privacy=PRIVACY):
    table = log()
    videos = catalog(table)
    task = PrivateSums(kind, CONFIG, privacy, videos)
    shards = [PrivateShard(kind, privacy, part, videos, normals) for part in parts(table)]
    state = task.start()
    for number in range(1, task.rounds + 1):
        sent = [shard.contribute_noised(state, number, stay) for shard in shards]
        assert {name: array.shape for name, array in sent[0].items()} == task.shapes(number)
        assert all((array * GRID % 1 == 0).all() for one in sent for array in one.values()), "on the grid"
        state = task.step(state, {name: sum(one[name] for one in sent) for name in sent[0]}, number)
    return task, state


@pytest.mark.parametrize("limit", ["auto", 3.0])
@pytest.mark.parametrize("kind", ["popular", "item_knn", "ease", "als"])
def test_without_the_noise_it_is_the_private_fit_of_all_shoppers(kind, limit):
    table, privacy = log(), PRIVACY.model_copy(update={"count_videos": limit})
    task, state = federated(kind, silent, privacy=privacy)
    found = task.model(state)
    pooled = fit_private(kind, CONFIG, privacy, table, catalog(table).ids.to_pylist(), normals=silent)
    assert (found.released_counts == pooled.released_counts).all()
    assert found.recommend_from(table, 5).equals(pooled.recommend_from(table, 5))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_noise_of_those_who_stay_is_that_of_the_fit(number):
    privacy = PRIVACY.model_copy(update={"gram_videos": 12})
    table = log()
    videos = catalog(table)
    task = PrivateSums("ease", CONFIG, privacy, videos)
    quiet = PrivateShard("ease", privacy, table, videos, silent)
    noisy = PrivateShard("ease", privacy, table, videos)
    state = {"chosen": np.arange(12), "limit": np.array([5.0])}
    name = next(iter(task.shapes(number)))
    truth = quiet.contribute_noised(state, number, 3)[name]
    # Three clients stay: a sum of three shares has the noise of the mechanism.
    sums = [
        sum(noisy.contribute_noised(state, number, 3)[name] - truth for _ in range(3)) for _ in range(200)
    ]
    sensitivity = (1, np.sqrt(5), np.sqrt(3 * 4 / 2))[number - 1]
    scale = task.costs[number - 1].noise_multiplier * sensitivity
    assert stats.kstest(np.concatenate(sums) / scale, "norm").pvalue > 1e-4


def test_the_model_knows_of_the_noise_of_all_who_stayed(monkeypatch):
    found = []
    monkeypatch.setattr(private, "released_model", lambda *given: found.append(given[-1].gram.noise))
    for stay in (4, 2):
        task, state = federated("ease", silent, stay)
        task.model(state)
    assert found[1] == pytest.approx(found[0] * np.sqrt(2)), "four clients, each with half of the variance"


def test_bad_private_fits_are_refused():
    videos = catalog(log())
    with pytest.raises(ConfigError, match="mult_vae has no private form"):
        PrivateSums("mult_vae", CONFIG, PRIVACY, videos)
    shard = PrivateShard("ease", PRIVACY, log(), videos, silent)
    for limit in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(FederatedError, match="a limit of counts of"):
            shard.contribute_noised({"limit": np.array([limit])}, 2, 3)
    with pytest.raises(FederatedError, match="no interaction is with a video"):
        PrivateShard("ease", PRIVACY, log(), IdVocabulary(videos.ids.slice(0, 0)))
