"""The next fit after an erasure, from the service's own log, is one that never had the shopper."""

import asyncio
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contracts.store_places import SqlitePlace
from tests.pipelines.fit.test_consent import MODELS, USERS, content_of, events_of
from tests.serving.deployments.test_held import Shoppers
from vrec.config.settings import Settings
from vrec.pipelines.fit.run import fit
from vrec.pipelines.inputs import InputPaths

ROWS = st.lists(
    st.tuples(st.sampled_from(USERS), st.integers(0, 6), st.sampled_from(("click", "like", "purchase")),
              st.integers(0, 300)),
    min_size=8, max_size=40,
)  # fmt: skip


def exported(store):
    """Return the log as `GET /v1/events` writes it, in pages."""
    pages, cursor = [], 0
    while True:
        page, cursor = asyncio.run(Shoppers(store).export_consented(cursor, 7))
        sink = io.BytesIO()
        pq.write_table(page, sink)
        if not page.num_rows:
            return pa.concat_tables(pages)
        pages.append(pq.read_table(io.BytesIO(sink.getvalue())))


def fitted(folder, model, events):
    pq.write_table(events, folder / "events.parquet")
    out = str(folder / "model")
    fit(InputPaths(str(folder / "events.parquet")), out, Settings(), model=model)
    return content_of(folder / "model")


@pytest.mark.parametrize("model", MODELS)
@given(rows=ROWS, erased=st.sets(st.sampled_from(USERS), min_size=1, max_size=3))
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_fit_after_an_erasure_never_had_the_shopper(tmp_path, model, rows, erased):
    rows += [("kept", video, "like", 7 * video) for video in range(3)]
    events = events_of(rows)
    never = events.filter(pa.array([user not in erased for user in events.column("user_id").to_pylist()]))
    store, other = SqlitePlace(tmp_path).open(), SqlitePlace(tmp_path).open()
    store.apply(events)
    other.apply(never)
    for user in sorted(erased):
        asyncio.run(Shoppers(store).erase_with_receipt(user, None))
    assert fitted(tmp_path, model, exported(store)) == fitted(tmp_path, model, exported(other))
    store.close()
    other.close()
