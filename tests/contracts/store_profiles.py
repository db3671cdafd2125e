"""What a store holds beside what it should, and events to give it."""

import numpy as np
import pyarrow as pa
import pytest

from tests.contracts.store_places import CONFIG, world
from vrec.core.compute import pc
from vrec.core.schema import EVENTS
from vrec.profiles.profile import profiles_from_table
from vrec.profiles.update import build_profiles

ENTITIES = ("user", "video")


def wanted(events):
    """The profiles of all who have an event, by entity and id."""
    table = build_profiles(events, world()[1], CONFIG)
    return {(p.entity, p.entity_id): p for p in profiles_from_table(table) if p.seen}


def stored(store, keys):
    """The profiles by entity and id: every other one asked for alone, as a request does, the rest at once."""
    found = {}
    for entity in ENTITIES:
        names = [name for kind, name in keys if kind == entity]
        got = dict(store.get(entity, names[::2]))
        for name in names[1::2]:
            got |= store.get(entity, [name])
        found |= {(entity, name): profile for name, profile in got.items()}
    return found


def log_of(store):
    return store.export(0, 1_000_000)[0]


def ids_of(table):
    return table.column("event_id").to_pylist()


def near(a, b):
    same = (a.vector is None) == (b.vector is None) and a.seen == b.seen and a.history == b.history
    vectors = a.vector is None or b.vector is None or np.allclose(a.vector, b.vector, rtol=1e-5, atol=1e-6)
    return same and vectors and a.counts == pytest.approx(b.counts, rel=1e-6)


def assert_near(found, want):
    assert found.keys() == want.keys()
    assert [key for key in want if not near(found[key], want[key])] == []


def changed(table, **values):
    """The table with columns set to values, one for all rows or a list."""
    for name, value in values.items():
        field = EVENTS.arrow().field(name)
        column = value if isinstance(value, list) else [value] * table.num_rows
        table = table.set_column(table.column_names.index(name), field, pa.array(column, field.type))
    return table


def of_user(table, user_id, keep=True):
    mask = pc.equal(table.column("user_id"), user_id)
    return table.filter(mask if keep else pc.invert(mask))
