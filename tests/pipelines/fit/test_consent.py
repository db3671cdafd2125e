"""Fits without shoppers who do not consent equal fits on a log that never had them."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vrec.config.settings import Settings
from vrec.core.artifact import read_artifact
from vrec.core.compute import pc
from vrec.core.errors import DataWarning, EventsError
from vrec.core.schema import EVENTS
from vrec.events.consents import CONSENTS
from vrec.pipelines.fit.run import fit
from vrec.pipelines.inputs import InputPaths
from vrec.privacy.pseudonyms import Pseudonymizer

MODELS = ("popular", "item_knn", "ease", "als")
USERS = [f"u{n}" for n in range(8)]
DAY = 86_400_000_000
ROWS = st.lists(
    st.tuples(st.sampled_from(USERS), st.integers(0, 6), st.sampled_from(("click", "like", "purchase")),
              st.integers(0, 300)),
    min_size=8, max_size=60,
)  # fmt: skip


def events_of(rows):
    found = [
        {"event_id": f"e{n}", "user_id": user, "video_id": f"v{video}", "kind": kind, "domain": "shop",
         "at": 1_700_000_000_000_000 + day * DAY // 10}
        for n, (user, video, kind, day) in enumerate(rows)
    ]  # fmt: skip
    return pa.Table.from_pylist(found, EVENTS.arrow())


def fitted(folder, model, events, **more):
    """Return the arrays and tables of a fitted model, and the summary of its fit."""
    pq.write_table(events, folder / "events.parquet")
    done = fit(
        InputPaths(str(folder / "events.parquet"), **more), str(folder / "model"), Settings(), model=model
    )
    return content_of(folder / "model"), done


def content_of(folder):
    artifact = read_artifact(str(folder))
    arrays = {name: array.tobytes() for name, array in artifact.arrays.items()}
    return arrays, {name: table.to_pydict() for name, table in artifact.tables.items()}


@pytest.mark.filterwarnings("ignore:.*none of the:vrec.core.errors.DataWarning")
@pytest.mark.parametrize("model", MODELS)
@given(rows=ROWS, refused=st.sets(st.sampled_from(USERS), min_size=1, max_size=4))
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_fit_is_to_the_bit_as_if_they_had_never_been_there(tmp_path, model, rows, refused):
    events = events_of(rows)
    others = events.filter(pc.invert(pc.is_in(events.column("user_id"), value_set=pa.array(sorted(refused)))))
    if not others.num_rows:
        return
    answers = [
        {"user_id": user, "purpose": purpose, "given": given, "at": at}
        for user in refused
        for purpose, given, at in (("train", True, 1), ("train", False, 2), ("personalise", True, 3))
    ]
    path = tmp_path / "consents.parquet"
    pq.write_table(pa.Table.from_pylist(answers, CONSENTS.arrow()), path)
    kept, done = fitted(tmp_path, model, events, consent=str(path))
    alone, without = fitted(tmp_path, model, others)
    assert kept == alone
    left = events.num_rows - others.num_rows
    users = len(events.column("user_id").unique()) - len(others.column("user_id").unique())
    absent = len(refused) - users
    assert done["consent"] == {"shoppers": users, "events": left, "not_in_log": absent}
    assert "consent" not in without


def test_the_manifest_says_what_was_left_out_and_nobody_left_is_an_error(tmp_path):
    events = events_of([(user, n % 3, "like", n) for n, user in enumerate(USERS * 2)])
    path = tmp_path / "consents.csv"
    path.write_text("user_id,purpose,given,at\nu0,train,no,2024-01-01\n")
    fitted(tmp_path, "popular", events, consent=str(path))
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text())
    assert manifest["metrics"]["consent"] == {"shoppers": 1, "events": 2, "not_in_log": 0}
    rows = "\n".join(f"{user},train,no,2024-01-01" for user in USERS)
    path.write_text(f"user_id,purpose,given,at\n{rows}\n")
    with pytest.raises(EventsError, match="no shopper with events consents to fits"):
        fitted(tmp_path, "popular", events, consent=str(path))


def test_pseudonyms_in_one_table_alone_are_refused_and_absent_shoppers_are_counted(tmp_path):
    events = events_of([(user, n % 3, "like", n) for n, user in enumerate(USERS * 2)])
    path = tmp_path / "consents.csv"

    def consents(*users):
        rows = "\n".join(f"{user},train,no,2024-01-01" for user in users)
        path.write_text(f"user_id,purpose,given,at\n{rows}\n")

    secret = Pseudonymizer(b"k" * 32, "default", "shop")
    consents(secret("u0"), "u1")
    with pytest.raises(
        EventsError, match=r"ids of 1 shoppers with answers are pseudonyms, .* none are"
    ) as caught:
        fitted(tmp_path, "popular", events, consent=str(path))
    assert "vrec pseudonymise EVENTS" in str(caught.value.fix)
    place = events.schema.get_field_index("user_id")
    hidden = pa.array([secret(user) for user in events.column("user_id").to_pylist()])
    renamed = events.set_column(place, events.schema.field(place), hidden)
    with pytest.raises(EventsError, match=r"are no pseudonyms, .* all of them are"):
        fitted(tmp_path, "popular", renamed, consent=str(path))
    consents(secret("u0"))
    assert fitted(tmp_path, "popular", renamed, consent=str(path))[1]["consent"]["shoppers"] == 1
    consents("u0", "new")
    assert fitted(tmp_path, "popular", events, consent=str(path))[1]["consent"]["not_in_log"] == 1
    consents("new", "newer")
    with pytest.warns(DataWarning, match="none of the 2 shoppers who refuse fits is in"):
        fitted(tmp_path, "popular", events, consent=str(path))
