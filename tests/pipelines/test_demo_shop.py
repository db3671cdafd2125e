"""The demo's ranker: smaller than the settings' own, and otherwise the same."""

from vrec.config.load import load_settings
from vrec.config.train_ranker import TrainRankerConfig
from vrec.pipelines.demo_shop import small_ranker


def shrink(overrides: list[str]) -> tuple[TrainRankerConfig, TrainRankerConfig]:
    settings = load_settings(overrides=overrides)
    return settings.train.ranker, small_ranker(settings.train.ranker, settings.demo.ranker)


def test_the_demo_ranker_is_small_and_otherwise_as_the_settings_say():
    given, small = shrink(["train.ranker.training.seed=7", "demo.ranker.epochs=3"])
    assert (small.training.seed, small.training.epochs) == (7, 3)
    assert small.network.width < given.network.width
    assert small.heads == given.heads
    assert type(small).model_validate(small.model_dump()) == small


def test_every_demo_setting_reaches_the_ranker():
    options = {
        "width": 3,
        "hidden": [5],
        "dropout": 0.4,
        "history": 7,
        "epochs": 2,
        "conversion_window_hours": 9,
    }
    _, small = shrink([f"demo.ranker.{key}={value}" for key, value in options.items()])
    assert (small.network.width, small.network.hidden, small.network.dropout) == (3, (5,), 0.4)
    assert (small.features.history, small.training.epochs) == (7, 2)
    assert small.labels.conversion_window_hours == 9


def test_a_network_without_embeddings_keeps_its_settings():
    given, small = shrink(["train.ranker.network.kind=lr"])
    assert small.network == given.network
