"""The networks at scoring: what must and what must not change their answers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tests.ranking.drawn import CPU, SHAPE, drawn_features, padded
from tests.ranking.small_networks import (
    ALL,
    WATCH_WIDTH,
    assert_same,
    every_config,
    every_heads,
    network_of,
    score,
)
from vrec.ranking.networks.config import LogisticRegressionConfig, NetworkConfig
from vrec.ranking.networks.layers import RankingBatch, to_batch, to_catalog_tensors


@every_config
@every_heads
def test_outputs_have_the_shapes_that_the_heads_promise(config, heads):
    outputs = score(network_of(config, heads), drawn_features(candidates=11))
    assert outputs.click.shape == (11,)
    assert outputs.last.shape[0] == 11
    several = heads is ALL
    assert (outputs.conversion is not None) == several
    if several:
        assert outputs.conversion.shape == (11,)
        assert outputs.watch.shape == (11, WATCH_WIDTH)


@every_config
@every_heads
def test_a_candidate_alone_scores_as_among_others(config, heads):
    network, features = network_of(config, heads), drawn_features()
    together = score(network, features)
    for row in (0, 7, len(features) - 1):
        alone = score(network, features.take(np.array([row])))
        assert_same(alone, type(together)(*(None if x is None else x[row : row + 1] for x in together)))


@every_config
def test_a_request_alone_scores_as_among_others(config):
    network, features = network_of(config), drawn_features(requests=4)
    together = score(network, features)
    for request in np.unique(features.request):
        rows = np.flatnonzero(features.request == request)
        alone = score(network, features.take(rows))
        assert_same(alone, type(together)(*(x[rows] for x in together)))


@every_config
def test_the_order_of_candidates_is_of_no_consequence(config):
    network, features = network_of(config), drawn_features()
    order = np.random.default_rng(0).permutation(len(features))
    ordered = score(network, features)
    assert_same(score(network, features.take(order)), type(ordered)(*(x[order] for x in ordered)))


@every_config
@settings(max_examples=8, deadline=None)
@given(columns=st.integers(0, 5), content=st.floats(-5, 5, width=32), seed=st.integers(0, 50))
def test_padding_is_of_no_consequence(config, columns, content, seed):
    network, features = network_of(config), drawn_features(seed)
    more = padded(features, columns, content)
    wide = to_batch(features, CPU)._replace(
        history=torch.from_numpy(more.history), history_dense=torch.from_numpy(more.history_dense)
    )
    catalog = to_catalog_tensors(features.catalog, CPU)
    with torch.no_grad():
        found = network.score(wide, network.items(catalog))
    assert_same(found, score(network, features))
    assert_same(score(network, more), score(network, features))


@every_config
def test_an_unknown_video_scores_by_what_is_known_of_the_rest(config):
    network, features = network_of(config), drawn_features()
    unknown = replace(features, video=np.zeros_like(features.video))
    outputs = score(network, unknown)
    assert all(torch.isfinite(part).all() for part in outputs)
    catalog = features.catalog
    blank = replace(
        catalog,
        **{
            name: np.concatenate([part, np.zeros_like(part[:1])])
            for name in ("fields", "tags", "dense", "vectors")
            for part in (getattr(catalog, name),)
        },
    )
    another = replace(unknown, catalog=blank, video=np.full_like(features.video, len(catalog.fields)))
    assert_same(score(network, another), outputs)


@every_config
def test_content_is_seen_where_asked_for(config):
    network, features = network_of(config), drawn_features()
    turned = replace(features.catalog, vectors=-features.catalog.vectors)
    before, after = score(network, features), score(network, replace(features, catalog=turned))
    assert bool((before.click != after.click).any()) == config.content
    assert (network.items_of.content is not None) == config.content


@every_config
def test_only_din_and_dcn_see_the_history(config):
    network, features = network_of(config), drawn_features()
    other = replace(features, history=np.where(features.history > 0, 31 - features.history, 0))
    before, after = score(network, features), score(network, other)
    empty = (features.history == 0).all(axis=1)[features.request]
    changed = (before.click != after.click).numpy()
    assert not changed[empty].any()
    assert changed[~empty].any() == (config.kind != "lr")


@pytest.mark.parametrize("content", [True, False])
def test_logistic_regression_is_linear_in_places_and_numbers(content):
    # Weights for one-hot places and numbers that are fitted to some of its logits give the others.
    config = LogisticRegressionConfig(content=content, position="none")
    network = network_of(config)
    # More videos than ids: weights of ids must not stand for what is not linear in the content.
    features = drawn_features(candidates=400, requests=60, videos=300)
    catalog, request = features.catalog, features.request
    hot = [np.eye(n)[catalog.fields[features.video, f]] for f, n in enumerate(SHAPE.fields)]
    tags = np.eye(SHAPE.tags)[catalog.tags[features.video]] * (catalog.tags[features.video] > 0)[..., None]
    tags = tags.sum(axis=1) / np.maximum(tags.sum(axis=(1, 2)), 1)[:, None]
    context = [np.eye(n)[features.context[request, f]] for f, n in enumerate(SHAPE.context)]
    parts = [
        *hot,
        tags,
        *context,
        catalog.dense[features.video],
        features.user[request],
        features.candidate,
    ]
    parts += [catalog.vectors[features.video]] if content else []
    design = np.concatenate([*parts, np.ones((len(features), 1))], axis=1)
    outputs = score(network, features)
    logits = torch.column_stack([outputs.click, outputs.conversion, outputs.watch]).double().numpy()
    fitted, *_ = np.linalg.lstsq(design[:200], logits[:200])
    np.testing.assert_allclose(design[200:] @ fitted, logits[200:], atol=1e-4)


@every_config
def test_weights_come_from_the_seed(config):
    one, other, third = (network_of(config, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert any(not torch.equal(one[name], third[name]) for name in one)


@every_config
def test_items_are_embedded_in_blocks_as_at_once(config, monkeypatch):
    network, features = network_of(config), drawn_features()
    catalog = to_catalog_tensors(features.catalog, CPU)
    whole = network.items(catalog)
    monkeypatch.setattr("vrec.ranking.networks.network.ITEM_BLOCK", 4)
    torch.testing.assert_close(network.items(catalog), whole)
    assert not whole.requires_grad


@pytest.mark.parametrize("kind", ["lr", "dcn", "din"])
def test_a_config_is_told_by_its_kind(kind):
    config = TypeAdapter(NetworkConfig).validate_python({"kind": kind})
    assert config.kind == kind
    assert TypeAdapter(NetworkConfig).validate_python(config.model_dump()) == config


def test_a_setting_of_another_network_is_refused():
    with pytest.raises(ValidationError, match="attention"):
        TypeAdapter(NetworkConfig).validate_python({"kind": "dcn", "attention": (3,)})


@every_config
def test_scoring_can_be_exported_whole(config):
    # torch.export refuses Python that branches on what tensors hold.
    network, features = network_of(config), drawn_features(requests=1)
    batch, items = to_batch(features, CPU), network.items(to_catalog_tensors(features.catalog, CPU))

    class Scoring(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, items, *parts):
            return self.network.score(RankingBatch(*parts), items)

    program = torch.export.export(Scoring(), (items, *batch))
    assert_same(program.module()(items, *batch), network.score(batch, items))
