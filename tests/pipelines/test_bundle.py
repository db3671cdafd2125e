"""`vrec bundle`: folders in, a bundle out, and what a person is told."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.bundles import shop, shop_parts, text_embeddings
from vrec.bundle.bundle import ServingBundle
from vrec.cli.main import run
from vrec.core.compute import pc
from vrec.core.errors import FitError
from vrec.core.tables import MANIFEST, TABLE_FORMAT, StorageFolder
from vrec.encoders.build import encoder_names
from vrec.encoders.config import EmbedConfig
from vrec.retrieval.batch import newest_at
from vrec.retrieval.registry import load_recommender
from vrec.testing.ranking_shop import ranking_shop, rates


def write_embeddings(folder: Path, embed: EmbedConfig, **changes) -> None:
    """A finished embedding folder whose vectors are the simulated ones."""
    names, files = encoder_names(embed.encoders), {}
    tables = {"fused": shop().embeddings, "text": text_embeddings(shop().videos)}
    for modality, table in tables.items():
        encoder = pa.array([names[modality]] * table.num_rows)
        files[f"embeddings/{modality}"] = [f"embeddings/{modality}-1.parquet"]
        StorageFolder(str(folder)).write_parquet(
            files[f"embeddings/{modality}"][0], table.set_column(2, table.schema.field("encoder"), encoder)
        )
    about = {
        "kind": "embeddings",
        "format": TABLE_FORMAT,
        "config": embed.model_dump(mode="json"),
        "files": files,
    }
    StorageFolder(str(folder)).write_json(MANIFEST, about | changes)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    """Everything that the command reads."""
    folder = tmp_path_factory.mktemp("shop")
    pq.write_table(shop().events, folder / "EVENTS.parquet")
    pq.write_table(shop().videos, folder / "VIDEOS.parquet")
    write_embeddings(folder / "tables", EmbedConfig(batch_size=7))
    shop_parts().recommender.save(str(folder / "knn"))
    shop_parts().ranker.save(str(folder / "ranker"))
    rates(ranking_shop()).save(str(folder / "rates"))
    return folder


def command(folders: Path, out: Path, *more: str, ranker: str = "rates") -> int:
    tables = {name: f"{folders / name.upper()}.parquet" for name in ("events", "videos")}
    arguments = [f"--{name}={path}" for name, path in tables.items()]
    return run(["bundle", *arguments, f"--ranker={folders / ranker}", f"--out={out}", *more])


def test_the_command_puts_together_what_others_left(folders, tmp_path, capsys):
    more = [f"--embeddings={folders / 'tables'}", f"--recommender={folders / 'knn'}"]
    more += ["--set", "bundle.neighbours=7", "--set", "train.ranker.profiles.remember=9", "--json"]
    assert command(folders, tmp_path / "b", *more) == 0
    done = json.loads(capsys.readouterr().out)
    bundle = ServingBundle.load(str(tmp_path / "b"))
    bundle.check()
    assert (done["version"], done["encoder"]) == (bundle.version, bundle.encoder)
    assert (done["videos"], done["vectors"], done["texts"]) == (100, 100, 99)
    assert bundle.neighbors.indices.shape == (100, 7)
    assert bundle.profiles.remember == 9
    assert bundle.embed == EmbedConfig(batch_size=7)
    assert len(bundle.popular) == done["popular"] > 50
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    recommender = load_recommender(str(folders / "knn"))
    last = max(shop().events.column("at").cast("int64").to_pylist())
    assert manifest["data"]["log_end"] == min(last, newest_at(recommender))
    assert done["bytes"] == sum(path.stat().st_size for path in (tmp_path / "b").rglob("*") if path.is_file())


def test_the_manifest_keeps_what_was_measured_of_the_models(folders, tmp_path):
    # The figures are none of what answers depend on.
    measured = {"auc": 0.7, "heads": {"click": {"gauc": 0.6}}}
    (folders / "rates" / "test.json").write_text(json.dumps(measured))
    try:
        assert command(folders, tmp_path / "b", f"--recommender={folders / 'knn'}") == 0
    finally:
        (folders / "rates" / "test.json").unlink()
    assert command(folders, tmp_path / "c", f"--recommender={folders / 'knn'}") == 0
    metrics = [json.loads((tmp_path / name / MANIFEST).read_text())["metrics"] for name in "bc"]
    report = shop_parts().recommender.report
    fitted = {"recommender": report} if report else {}
    assert metrics == [{"ranker": measured, **fitted}, fitted]


def test_it_says_in_a_line_what_was_made(folders, tmp_path, capsys):
    assert command(folders, tmp_path / "b", f"--recommender={folders / 'knn'}") == 0
    (line,) = capsys.readouterr().out.splitlines()
    bundle = ServingBundle.load(str(tmp_path / "b"))
    near = (bundle.neighbors.indices >= 0).any(axis=1).sum()
    assert line.startswith(f"bundle {bundle.version} of 100 videos, 0 with vectors, {near} with neighbours, ")


def test_without_a_recommender_one_is_fitted(folders, tmp_path, capsys, monkeypatch):
    assert command(folders, tmp_path / "b", "--model=item_knn") == 0
    fitted, given = ServingBundle.load(str(tmp_path / "b")), tmp_path / "given"
    assert command(folders, given, f"--recommender={folders / 'knn'}") == 0
    assert (fitted.neighbors.indices == ServingBundle.load(str(given)).neighbors.indices).all()

    def built(kind, *_, **__):
        raise FitError(f"{kind} would be fitted", fix="none")

    monkeypatch.setattr("vrec.pipelines.fit.local.build_recommender", built)
    capsys.readouterr()
    assert command(folders, tmp_path / "c") == 1
    assert "auto would be fitted" in capsys.readouterr().err
    # What else is wrong is said before the fit.
    assert command(folders, tmp_path / "b") == 1
    assert "there is a manifest.json already" in capsys.readouterr().err
    assert command(folders, tmp_path / "c", ranker="ranker") == 1
    assert "trained with the embeddings of simulated" in capsys.readouterr().err
    assert command(folders, tmp_path / "c", "--model=nonsense") == 2
    tables = {name: f"--{name}={folders / name.upper()}.parquet" for name in ("events", "videos")}
    # The data gates would say before that the events are of other videos.
    bare = ["bundle", tables["events"], f"--out={tmp_path / 'c'}", "--set=events.gates.policy=skip"]
    (tmp_path / "twice.csv").write_text("video_id\nv0\nv0\n")
    assert run([*bare, f"--videos={tmp_path / 'twice.csv'}"]) == 1
    assert "VIDEOS.video_id has repeated ids, 1 of them, such as v0" in capsys.readouterr().err
    (tmp_path / "others.csv").write_text("video_id\nother-1\nother-2\n")
    skip = "--set=events.gates.policy=skip"
    assert command(folders, tmp_path / "c", f"--videos={tmp_path / 'others.csv'}", skip) == 1
    assert (
        "none of the videos in the events is among the 2 in VIDEOS, such as other-1"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "c").exists()


def test_without_a_ranker_lists_are_in_the_recommender_s_order(folders, tmp_path, capsys):
    tables = {name: f"{folders / name.upper()}.parquet" for name in ("events", "videos")}
    arguments = ["bundle", *(f"--{name}={path}" for name, path in tables.items()), f"--out={tmp_path / 'b'}"]
    assert run([*arguments, f"--recommender={folders / 'knn'}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ranker"] == "neighbors"
    ServingBundle.load(str(tmp_path / "b")).check()


def test_what_does_not_belong_together_is_told_in_a_line(folders, tmp_path, capsys):
    def told(*more: str, **others: str) -> str:
        assert command(folders, tmp_path / "b", *more, **others) == 1
        line = capsys.readouterr().err.splitlines()[-1]
        assert "Fix: " in line
        return line

    tables = f"--embeddings={folders / 'tables'}"
    assert "trained with the embeddings of simulated, and there are no fused" in told(ranker="ranker")
    assert "trained with the embeddings of simulated, and the fused" in told(tables, ranker="ranker")
    assert "is a rates, not one of" in told(f"--recommender={folders / 'rates'}")
    assert "is of kind item_knn, not a ranker" in told(ranker="knn")
    write_embeddings(tmp_path / "old", EmbedConfig(), config={"speed": 9})
    assert "settings of another version of vrec: speed" in told(f"--embeddings={tmp_path / 'old'}")
    assert not (tmp_path / "b" / MANIFEST).exists()


def test_copies_and_suspicious_videos_are_noted_and_held_back_if_asked(folders, tmp_path, capsys):
    ids = shop().embeddings.column("entity_id").to_pylist()
    rows = shop().videos.select(["video_id", "published_at"]).to_pylist()
    published = {row["video_id"]: row["published_at"] for row in rows}
    first, later = sorted(ids[:2], key=published.__getitem__)
    doubtful = ids[2]
    found = {"near_duplicates": [[later, first]], "suspicious": {doubtful: "views disagree"}}
    write_embeddings(tmp_path / "tables", EmbedConfig(batch_size=7), **found)
    more = [f"--embeddings={tmp_path / 'tables'}", f"--recommender={folders / 'knn'}", "--json"]
    wanted = {"copies": {later: first}, "suspicious": {doubtful: "views disagree"}}
    for number, held in enumerate(({}, {later: f"a copy of {first}", doubtful: "views disagree"})):
        settings = ["--set", "bundle.hold_back=[copies, suspicious]"] if held else []
        assert command(folders, tmp_path / f"b{number}", *more, *settings) == 0
        told = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert {name: told[name] for name in wanted} == wanted
        assert told["held_back"] == held
        assert told["vectors"] == len(ids) - len(held)
        bundle = ServingBundle.load(str(tmp_path / f"b{number}"))
        rows = bundle.videos.select(["video_id", "published_at"]).to_pylist()
        dates = {row["video_id"]: row["published_at"] for row in rows}
        assert (dates[later] == dates[first]) is bool(held)


def test_a_fit_of_content_does_not_count_embeddings_that_are_held_back(folders, tmp_path, capsys):
    doubtful = shop().embeddings.column("entity_id")[2].as_py()
    write_embeddings(tmp_path / "tables", EmbedConfig(batch_size=7), suspicious={doubtful: "views disagree"})
    tables = [f"--{name}={folders / name.upper()}.parquet" for name in ("events", "videos")]
    more = [*tables, f"--embeddings={tmp_path / 'tables'}", "--set", "retrieval.content.attributes_share=0"]
    recommended = []
    for number, setting in enumerate(("[]", "[suspicious]")):
        out = str(tmp_path / f"m{number}")
        held = ["--set", f"bundle.hold_back={setting}", "--json"]
        assert run(["fit", "--model=content", *more, f"--out={out}", *held]) == 0
        done = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert done.get("held_back", {}) == ({doubtful: "views disagree"} if number else {})
        model = load_recommender(out)
        lists = model.recommend(shop().events.column("user_id").unique().to_pylist(), 100)
        scores = lists.filter(pc.equal(lists["video_id"], doubtful))["score"].to_pylist()
        recommended.append(any(score != 0 for score in scores))
    assert recommended == [True, False]


def test_fingerprints_without_an_embedding_that_has_them_are_refused(folders, tmp_path, capsys):
    settings = (f"--recommender={folders / 'knn'}", "--set", "bundle.fingerprints=true")
    assert command(folders, tmp_path / "b", *settings) == 1
    assert "bundle.fingerprints is set, and there are no fingerprints" in capsys.readouterr().err
