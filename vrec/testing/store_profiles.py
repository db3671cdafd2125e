"""Events, profiles and comparisons for the contract of profile stores."""

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from vrec.core.compute import pc
from vrec.core.protocols import ProfileStore
from vrec.core.schema import EVENTS
from vrec.core.types import CatalogContent
from vrec.profiles.profile import Profile, VideoMetadata, profiles_from_table
from vrec.profiles.update import ProfilesConfig, build_profiles, video_metadata
from vrec.synthetic.shop.simulate import SimulationConfig, simulate

ENTITIES = ("user", "video")
ProfilesByKey = dict[tuple[str, str], Profile]
"""Profiles by entity and id."""

CONFIG = ProfilesConfig(remember=8)
"""A short memory, so that most late events come after it."""


@cache
def world() -> tuple[pa.Table, CatalogContent]:
    """Events of a small simulated shop in the order of (at, event_id), and its catalog."""
    found = simulate(SimulationConfig(users=12, videos=15, days=40, slots=4, click_rate=0.3, dim=4))
    events = found.events.sort_by([("at", "ascending"), ("event_id", "ascending")]).combine_chunks()
    return events, CatalogContent(found.videos, found.embeddings)


@cache
def catalog() -> dict[str, VideoMetadata]:
    """Metadata of the shop's videos by id."""
    return video_metadata(world()[1])


def facts(video_ids: Iterable[str]) -> dict[str, VideoMetadata]:
    """Metadata of the given videos, as a store looks it up."""
    return {name: catalog()[name] for name in video_ids if name in catalog()}


def wanted(events: pa.Table) -> ProfilesByKey:
    """Return the profiles of every user and video with an event, as `build_profiles` makes them.

    A store holds no ids and times of events in the profiles of videos.
    """
    table = build_profiles(events, world()[1], CONFIG)
    profiles = [profile for profile in profiles_from_table(table) if profile.seen]
    return {(p.entity, p.entity_id): p if p.entity == "user" else replace(p, seen=()) for p in profiles}


def stored(store: ProfileStore, keys: Iterable[tuple[str, str]]) -> ProfilesByKey:
    """Return the stored profiles: every other one read alone, as a request does, the rest in one call."""
    found: ProfilesByKey = {}
    for entity in ENTITIES:
        names = [name for kind, name in keys if kind == entity]
        got = dict(store.get(entity, names[::2]))
        for name in names[1::2]:
            got |= store.get(entity, [name])
        found |= {(entity, name): profile for name, profile in got.items()}
    return found


def log_of(store: ProfileStore) -> pa.Table:
    """Return the whole log."""
    return store.export(0, 1_000_000)[0]


def ids_of(table: pa.Table) -> list[str]:
    """Return the event ids of a table."""
    return table.column("event_id").to_pylist()


def near(a: Profile, b: Profile) -> bool:
    """Tell whether two profiles are equal up to rounding."""
    same = (a.vector is None) == (b.vector is None) and a.seen == b.seen and a.history == b.history
    vectors = a.vector is None or b.vector is None or np.allclose(a.vector, b.vector, rtol=1e-5, atol=1e-6)
    return same and vectors and a.counts == pytest.approx(b.counts, rel=1e-6)


def assert_near(found: ProfilesByKey, want: ProfilesByKey) -> None:
    """Assert that two sets of profiles are equal up to rounding."""
    assert found.keys() == want.keys()
    assert [key for key in want if not near(found[key], want[key])] == []


def changed(table: pa.Table, **values: Any) -> pa.Table:
    """Return the table with columns set to values, one for all rows or a list."""
    for name, value in values.items():
        field = EVENTS.arrow().field(name)
        column = value if isinstance(value, list) else [value] * table.num_rows
        table = table.set_column(table.column_names.index(name), field, pa.array(column, field.type))
    return table


def of_user(table: pa.Table, user_id: str, keep: bool = True) -> pa.Table:
    """Return a shopper's events, or everyone else's."""
    mask = pc.equal(table.column("user_id"), user_id)
    return table.filter(mask if keep else pc.invert(mask))
