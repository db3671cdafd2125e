"""`vrec pseudonymise`, `vrec scan-pii` and `vrec anonymise`, on real files in this process."""

import json
import os
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vrec.cli.main import run
from vrec.config.load import load_settings
from vrec.privacy.door.config import DoorConfig
from vrec.privacy.door.door import Door


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, letter in {"VREC_PRIVACY_KEY": "a", "NEW": "b", "LINK": "c"}.items():
        monkeypatch.setenv(name, letter * 32)
    (tmp_path / "e.csv").write_text(
        "user_id,video_id,at\n007,v1,1700000000\n7,v2,1700000001\n007,v2,1700000002\n"
    )
    return tmp_path


def test_a_table_gets_pseudonyms_and_then_those_of_another_key(capfd):
    assert run(["pseudonymise", "e.csv", "--out", "p.csv"]) == 0
    assert "3 rows with pseudonyms" in capfd.readouterr().out
    first = pl.read_csv("p.csv", infer_schema=False)
    assert first["user_id"].n_unique() == 2
    assert first["video_id"].to_list() == ["v1", "v2", "v2"]
    rotate = ["--key", "NEW", "--old-key", "VREC_PRIVACY_KEY", "--ids", "e.csv"]
    assert run(["pseudonymise", "p.csv", "--out", "r.parquet", *rotate]) == 0
    assert run(["pseudonymise", "e.csv", "--out", "n.parquet", "--key", "NEW"]) == 0
    assert pl.read_parquet("r.parquet").equals(pl.read_parquet("n.parquet"))
    assert not {"007", "7"} & set(pl.read_parquet("r.parquet")["user_id"])


def test_ids_that_stand_for_none_are_no_shoppers(capfd):
    rows = {"user_id": ["7", "null", " ", " 7 ", "NA"], "at": [1, 2, 3, 4, 5]}
    pl.DataFrame(rows).write_parquet("n.parquet")
    assert run(["pseudonymise", "n.parquet", "--out", "p.parquet"]) == 1
    assert "user_id has 2 that stand for a missing id, such as 'null'" in capfd.readouterr().err
    assert sorted(os.listdir()) == ["e.csv", "n.parquet"]
    secret = Door(DoorConfig(key="VREC_PRIVACY_KEY"), "default").shopper
    for handling, users in {
        "drop": [secret("7")] * 2,
        "keep": [secret("7"), secret("null"), "", secret("7"), secret("NA")],
    }.items():
        how = ["--set", f"events.read.missing_ids={handling}"]
        assert run(["pseudonymise", "n.parquet", "--out", "p.parquet", *how]) == 0
        assert pl.read_parquet("p.parquet")["user_id"].to_list() == users
    follows = {"user_id": ["7"] * 2, "entity": ["creator", "user"], "entity_id": ["null", "nil"]}
    pl.DataFrame(follows).write_parquet("f.parquet")
    assert run(["pseudonymise", "f.parquet", "--out", "p.parquet"]) == 1
    assert "entity_id has 1 that stand for a missing id, such as 'nil'" in capfd.readouterr().err
    drop = ["--set", "events.read.missing_ids=drop"]
    assert run(["pseudonymise", "f.parquet", "--out", "p.parquet", *drop]) == 0
    assert pl.read_parquet("p.parquet")["entity_id"].to_list() == ["null", None]


def test_who_has_the_key_makes_the_table_of_ids_and_pseudonyms():
    pl.DataFrame({"user_id": ["007", "7"], "own": ["007", "7"]}).write_csv("ids.csv")
    assert run(["pseudonymise", "ids.csv", "--out", "map.csv"]) == 0
    assert run(["pseudonymise", "e.csv", "--out", "p.csv"]) == 0
    known = dict(pl.read_csv("map.csv", infer_schema=False).select("user_id", "own").iter_rows())
    events = pl.read_csv("p.csv", infer_schema=False)
    assert [known[one] for one in events["user_id"]] == ["007", "7", "007"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--key", "ABSENT"], 1, "ABSENT is not set"),
        (["--old-key", "NEW"], 2, "--old-key and --ids are given together"),
        (["--old-key", "VREC_PRIVACY_KEY", "--ids", "e.csv"], 1, "the old key is the new one"),
        (["--old-key", "NEW", "--ids", "e.csv"], 1, "of none of the ids"),
        (["--link-key", "VREC_PRIVACY_KEY"], 1, "the link key is the key of the pseudonyms"),
        (["--open", "--link-key", "LINK"], 1, "no column other_user_id"),
        (["--column", "uid"], 1, "no column uid"),
        (["--out", "p.txt"], 2, "no ending of a table"),
        (["--out", "./e.csv"], 2, "is the table that is read"),
    ],
)
def test_refusals_name_the_reason_and_leave_nothing(capfd, arguments, code, said):
    assert run(["pseudonymise", "e.csv", "--out", "p.parquet", *arguments]) == code
    assert said in capfd.readouterr().err
    assert os.listdir() == ["e.csv"]


def test_other_columns_follow_the_rules_of_the_service(folder):
    rows = {"user_id": ["u1", "domain:social:a1"], "domain": ["feed", "mail"], "value": [7.0, 70.0]}
    pq.write_table(pa.table(rows), "log.parquet")
    rules = ["--set", 'serve.privacy.fields.value={"kind": "bands", "edges": [5, 50]}']
    assert run(["pseudonymise", "log.parquet", "--out", "p.parquet", "--surfaces", *rules]) == 0
    found = pl.read_parquet("p.parquet")
    door = Door(DoorConfig(key="VREC_PRIVACY_KEY"), "default")
    assert found["user_id"].to_list() == [door.shopper(one) for one in rows["user_id"]]
    assert found["value"].to_list() == [5.0, 50.0]
    assert run(["pseudonymise", "p.parquet", "--out", "q.parquet", "--surfaces"]) == 1
    pq.write_table(pa.table({"user_id": ["u1", "a1"]}), "ids.parquet")
    rotate = ["--key", "NEW", "--old-key", "VREC_PRIVACY_KEY", "--ids", "ids.parquet", "--surfaces"]
    assert run(["pseudonymise", "p.parquet", "--out", "r.parquet", *rotate]) == 0
    new = Door(DoorConfig(key="NEW"), "default")
    assert pl.read_parquet("r.parquet")["user_id"].to_list() == [new.shopper(one) for one in rows["user_id"]]


def test_a_short_key_and_an_absent_table_are_refused(monkeypatch, capfd):
    monkeypatch.setenv("VREC_PRIVACY_KEY", "a" * 31)
    assert run(["pseudonymise", "e.csv", "--out", "p.parquet"]) == 1
    assert "31 bytes, fewer than 32" in capfd.readouterr().err
    assert run(["pseudonymise", "absent.csv", "--out", "p.parquet"]) == 1
    assert os.listdir() == ["e.csv"]


def test_personal_data_is_refused_or_redacted(capfd):
    with open("v.csv", "w") as file:
        file.write("video_id,title,phone\n1,联系 ab@qq.com,13812345678\n2,mug,13912345678\n")
    assert run(["scan-pii", "e.csv", "v.csv"]) == 1
    said = capfd.readouterr()
    assert "v.csv: personal data in phone (phone), title (email)" in said.err
    assert "a*@**.**m" in said.out
    assert "ab@qq.com" not in said.out + said.err
    assert run(["scan-pii", "v.csv", "--redact", "clean.csv"]) == 0
    assert pl.read_csv("clean.csv").rows() == [(1, "联系 [email]", "[phone]"), (2, "mug", "[phone]")]
    assert run(["scan-pii", "clean.csv", "e.csv"]) == 0
    assert "no personal data found" in capfd.readouterr().out.splitlines()
    assert run(["scan-pii", "v.csv", "e.csv", "--redact", "x.csv"]) == 2
    assert run(["scan-pii", "v.csv", "--set", "privacy.scan.regions=[XX]"]) == 2


def test_a_folder_of_tables_of_other_columns_and_an_absent_table_are_named(capfd):
    os.mkdir("tables")
    for name, width in {"a": 2, "b": 3}.items():
        values = pa.FixedSizeListArray.from_arrays(pa.array([0.5] * 6), width)
        pq.write_table(pa.table({"vector": values}), f"tables/{name}.parquet")
    assert run(["scan-pii", "tables"]) == 1
    assert "tables: not a table that can be read" in capfd.readouterr().err
    assert run(["scan-pii", "absent.csv"]) == 1
    assert "absent.csv: no such file or folder. Fix: check the path of the table" in capfd.readouterr().err


def test_columns_beyond_the_named_ones_are_counted(capfd):
    row = {f"c{place}": ["ab@qq.com"] for place in range(7)}
    pl.DataFrame(row).write_csv("wide.csv")
    assert run(["scan-pii", "wide.csv"]) == 1
    assert "c4 (email) and 2 more. Fix" in capfd.readouterr().err


ANONYMOUS = """
privacy:
  anonymous:
    k: 3
    quasi_identifiers:
      age: {kind: number, widths: [10]}
      at: {kind: time, units: [day, month]}
    sensitive: [video_id]
"""


@pytest.fixture
def people():
    lines = [f"shopper-{n},{20 + n},v{n % 2},{1_700_000_000 + n},note {n}" for n in range(12)]
    with open("people.csv", "w") as file:
        file.write("\n".join(["user_id,age,video_id,at,note", *lines, ",33,v1,1700000000,note x"]) + "\n")
    with open("a.yaml", "w") as file:
        file.write(ANONYMOUS)
    return ["anonymise", "people.csv", "--out", "out.csv", "--config", "a.yaml"]


def test_the_settings_in_the_documentation_are_valid():
    page = (Path(__file__).resolve().parents[2] / "docs" / "privacy.md").read_text(encoding="utf-8")
    text = next(block for block in page.split("```yaml\n")[1:] if "anonymous:" in block).split("```")[0]
    with open("anonymous.yaml", "w", encoding="utf-8") as file:
        file.write(text)
    config = load_settings("anonymous.yaml").privacy.anonymous
    assert set(config.quasi_identifiers) == {"age", "price", "at", "category", "postcode"}
    assert config.max_suppressed == 0.05


def test_an_anonymous_table_and_its_risk(people, capfd):
    assert run(people) == 0
    said = capfd.readouterr().out
    assert "10 of 13 rows at k = 3: out.csv" in said
    assert "suppressed 2 rows, and 1 without a shopper; of 12 shoppers 10 are left" in said
    assert "age: bands of 10" in said
    assert "as they are: video_id; left out: user_id, note" in said
    assert [line.split()[:3] for line in said.splitlines()[6:8]] == [
        ["1", "1.000", "0.000"],
        ["2", "1.000", "0.000"],
    ]
    found = pl.read_csv("out.csv")
    assert found.columns == ["age", "at", "video_id"]
    assert set(found["age"]) == {"[20, 30)"}
    assert set(found["at"]) == {"2023-11-14"}
    with open("out.csv") as file:
        text = file.read()
    assert "shopper-" not in text
    assert "note" not in text
    assert run([*people, "--json", "--set", "privacy.anonymous.max_suppressed=0.0"]) == 0
    report = json.loads(capfd.readouterr().out)
    assert (report["written"], report["suppressed"], report["levels"]["age"]) == (12, 0, "hidden")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--set", "privacy.anonymous.k=0"], 2, "privacy.anonymous.k: "),
        (["--set", "privacy.anonymous.quasi_identifiers.age.widths=[0]"], 2, "greater than 0"),
        (["--set", "privacy.anonymous.sensitive=[age]"], 2, "age is named twice"),
        (["--set", "privacy.anonymous.k=13"], 1, "nothing is left at k = 13, of 12 rows of 12 shoppers"),
        (["--set", "privacy.anonymous.sensitive=[x, y, z, q]"], 1, "no column x, y, z, q; the table has"),
        (["--set", "privacy.anonymous.quasi_identifiers.note={kind: time, units: [day]}"], 1, "as a time"),
        (["--out", "out.txt"], 2, "no ending of a table"),
        (["--out", "people.csv"], 2, "is the table that is read"),
        (["--out", "a.yaml/out.csv"], 1, "a.yaml/out.csv: cannot be written"),
    ],
)
def test_anonymous_tables_that_cannot_be_leave_nothing(people, capfd, arguments, code, said):
    before = sorted(os.listdir())
    assert run([*people, *arguments]) == code
    err = capfd.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert "shopper-" not in err
    assert "note 0" not in err
    assert sorted(os.listdir()) == before
