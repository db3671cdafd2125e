"""Commands in this process, without Ray: exit codes for wrong settings, and what `vrec recommend` prints."""

import json
import logging

import pytest

from tests.events.rows import day, interactions
from vrec.cli.main import progress_lines, run
from vrec.cli.output import print_evaluated
from vrec.retrieval.models.item_knn import ItemKnn

LOG = ["--events", "E.csv"]
COMMANDS = {
    "demo": [],
    "embed": ["--videos", "v", "--out", "o"],
    "check": ["E.csv"],
    "shard": [*LOG, "--out", "o"],
    "fit": [*LOG, "--model", "ease", "--out", "o"],
    "federate": ["--client", "a=A.csv", "--client", "b=B.csv", "--videos", "V", "--out", "o"],
    "recommend": ["--model", "m"],
    "evaluate": LOG,
    "compress": ["--videos", "v", "--out", "o"],
    "bundle": [*LOG, "--ranker", "r", "--out", "o"],
    "serve": ["--bundle", "b"],
    "loop": ["--videos", "V", "--out", "o"],
    "bundles list": ["--bundles", "b"],
    "bundles diff": ["one", "two", "--bundles", "b"],
    "bundles promote": ["one", "--bundles", "b"],
    "bundles rollback": ["--bundles", "b"],
    "assistant": ["--bundle", "b"],
    "privacy rekey": ["--ids", "i.csv"],
    "pseudonymise": ["E.csv", "--out", "o.csv"],
    "scan-pii": ["E.csv"],
    "anonymise": ["E.csv", "--out", "o.csv"],
    "privacy audit": LOG,
    "robustness bench": LOG,
    "robustness suspects": [*LOG, "--out", "s.parquet"],
    "privacy report": ["--ledger", "l"],
    "privacy bundles": ["--bundles", "b", "--erasures", "e"],
    "train ranker": [*LOG, "--out", "o"],
    "train encoder": ["--videos", "v", "--out", "o"],
    "tune cf": [*LOG, "--model", "ease", "--space", "s.yaml", "--out", "o"],
    "tune ranker": [*LOG, "--space", "s.yaml", "--out", "o"],
    "tune encoder": ["--features", "f", "--space", "s.yaml", "--out", "o"],
}
WRONG = {
    "unknown": ["--set", "retrieval.ease.nonsense=1"],
    "type": ["--set", "retrieval.ease.regularization=much"],
    "range": ["--set", "embed.batch_size=0"],
    "form": ["--set", "embed.batch_size"],
    "no file": ["--config", "absent.yaml"],
    "option": ["--nonsense"],
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("command", COMMANDS)
def test_wrong_settings_are_wrong_usage_in_every_command(tmp_path, monkeypatch, capfd, command, wrong):
    monkeypatch.chdir(tmp_path)
    assert run([*command.split(), *COMMANDS[command], *WRONG[wrong]]) == 2
    said = capfd.readouterr()
    assert not said.out
    assert "Traceback" not in said.err
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_a_model_that_does_not_exist_is_wrong_usage(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert run(["fit", *LOG, "--model", "eas", "--out", "o"]) == 2
    assert "did you mean ease?" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--set", "train.epochs=3"],
            "train.epochs: unknown; did you mean train.ranker.training.epochs? "
            "Fix: correct the setting; docs/settings.md and `python -m vrec.config.reference` list all",
        ),
        (
            ["--config", "nope.yaml"],
            "nope.yaml: no such file or directory. Fix: give the path or URI of a file that can be read",
        ),
        (
            ["--map", "user_id"],
            "--map user_id: want pairs such as user_id=uid,at=time, and `user_id` is not one. "
            "Fix: give each column of EVENTS, an =, and the name of the column in your table",
        ),
        (
            ["--map", "user_id=uid,=x"],
            "--map user_id=uid,=x: want pairs such as user_id=uid,at=time, and `=x` is not one. "
            "Fix: give each column of EVENTS, an =, and the name of the column in your table",
        ),
    ],
)
def test_wrong_usage_is_said_with_its_own_mend(tmp_path, monkeypatch, capfd, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert run(["fit", *LOG, "--out", "o", *arguments]) == 2
    assert capfd.readouterr().err == f"vrec: {said}\n"


PATHS = {
    "demo": ["--videos"],
    "embed": ["--videos"],
    "fit": ["--events"],
    "recommend": ["--model"],
    "evaluate": ["--events"],
    "compress": ["--videos"],
    "bundle": ["--events", "--ranker"],
    "loop": ["--videos"],
    "bundles list": ["--bundles"],
    "bundles rollback": ["--bundles"],
    "train ranker": ["--events"],
    "train encoder": ["--videos"],
    "tune cf": ["--events"],
    "tune ranker": ["--events"],
    "tune encoder": ["--features"],
}


@pytest.mark.parametrize(("command", "option"), [(c, option) for c in PATHS for option in PATHS[c]])
def test_a_path_that_does_not_exist_is_named_with_its_option(tmp_path, monkeypatch, capfd, command, option):
    monkeypatch.chdir(tmp_path)
    arguments = dict(zip(COMMANDS[command][::2], COMMANDS[command][1::2], strict=True)) | {option: "absent"}
    for other in {"--events", "--ranker"} & set(arguments) - {option}:
        (tmp_path / "there").mkdir(exist_ok=True)
        arguments[other] = "there"
    assert run([*command.split(), *(part for pair in arguments.items() for part in pair)]) == 1
    said = capfd.readouterr()
    assert said.err == f"vrec: absent: no such file or folder. Fix: check the path given to {option}\n"
    assert [path.name for path in tmp_path.iterdir()] in ([], ["there"]), "nothing is left behind"


def test_models_to_compare_are_checked_before_anything_is_read(capfd):
    assert run(["evaluate", *LOG, "--models", "item_knn,eas"]) == 2
    assert "did you mean ease?" in capfd.readouterr().err


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    rows = [(f"u{n % 7}", f"v{n % 5}", 1.0, n / 40) for n in range(14)]
    folder = tmp_path_factory.mktemp("model")
    ItemKnn().fit(interactions(*rows)).save(str(folder))
    return str(folder)


def recommended(capfd, *arguments: str) -> tuple[list[dict], str]:
    assert run(["recommend", *arguments]) == 0
    said = capfd.readouterr()
    return [json.loads(line) for line in said.out.splitlines()], said.err


def test_an_unknown_shopper_gets_popular_videos_or_is_named(model, capfd):
    rows, complaints = recommended(capfd, "--model", model, "--user", "nobody", "--user", "u1", "--k", "3")
    assert [(r["user_id"], r["source"]) for r in rows][:3] == [("nobody", "popular")] * 3
    assert {r["source"] for r in rows[3:]} == {"item_knn"}
    assert not complaints
    rows, complaints = recommended(
        capfd, "--model", model, "--user", "nobody", "--user", "u1", "--no-fallback"
    )
    assert {r["user_id"] for r in rows} == {"u1"}
    assert complaints.startswith("vrec: no recommendation for 1 user, ")
    assert complaints.endswith(": nobody\n")


@pytest.mark.parametrize(
    "wrong", [["--k", "0"], ["--k", "-3"], ["--user", ""], ["--user", "u1", "--user", "  "]]
)
def test_no_videos_and_no_user_are_wrong_usage(model, capfd, wrong):
    assert run(["recommend", "--model", model, *wrong]) == 2
    said = capfd.readouterr()
    assert not said.out
    assert wrong[-2] in said.err


def test_newer_events_are_taken_older_ones_known_and_odd_ones_warned_of(model, capfd, tmp_path):
    events = tmp_path / "newer.tsv"
    old, new = f"{day(0.1):%Y-%m-%d %H:%M:%S} UTC", f"{day(3):%Y-%m-%d %H:%M:%S} UTC"
    events.write_text(f"user_id\tvideo_id\tat\nu1\tv4\t{new}\nlate\tv0\t{new}\nold\tv0\t{old}\n")
    usual, _ = recommended(capfd, "--model", model, "--user", "u1")
    assert "v4" in [r["video_id"] for r in usual]
    rows, _ = recommended(capfd, "--model", model, "--events", str(events), "--user", "u1", "--user", "late")
    assert "v4" not in [r["video_id"] for r in rows if r["user_id"] == "u1"]
    late = [r for r in rows if r["user_id"] == "late"]
    assert late
    assert {r["source"] for r in late} == {"item_knn"}
    rows, _ = recommended(
        capfd, "--model", model, "--events", str(events), "--user", "late", "--allow-seen", "--k", "5"
    )
    assert rows
    rows, _ = recommended(capfd, "--model", model, "--events", str(events), "--user", "old")
    assert {r["source"] for r in rows} == {"popular"}, "events up to the fit are the model's own"
    events.write_text(f"user_id\tvideo_id\tat\nu1\tv4\t{new}\nlate\tv0\t{new}\n")
    _, complaints = recommended(capfd, "--model", model, "--events", str(events), "--user", "u1")
    assert complaints.startswith("vrec: warning: ")
    assert "all 2 events are at one instant" in complaints


def evaluation(models: tuple[str, ...], low: float | None) -> dict:
    high, outcomes = (None, 4) if low is None else (0.5, 12)
    estimate = {"mean": 0.25, "low": low, "high": high, "users": 9, "outcomes": outcomes}
    metrics = {"ndcg@10": estimate, "recall@10": estimate, "hit_rate@10": estimate}
    scores = dict.fromkeys(models, metrics)
    difference = {"mean": 0.125, "low": -0.5, "high": 1.0, "outcomes": 12}
    differences = {model: {"ndcg@10": difference} for model in models[:-1]}
    overall = {
        "name": "all",
        "users": 9,
        "metrics": scores,
        "against_popular": differences,
        "against_best": {},
    }
    return {
        "data": {"name": "log.csv", "split": "by time"},
        "report": "out/report.html",
        "evaluation": {
            "config": {"headline_metric": "ndcg", "headline_k": 10, "min_outcomes": 10},
            "models": list(models),
            "best_single": models[0],
            "overall": overall,
            "slices": [],
            "beyond": {model: {"coverage@10": estimate, "top_share@10": estimate} for model in models},
        },
    }


@pytest.mark.parametrize("low", [0.125, None])
def test_evaluate_prints_a_row_per_model_in_order(capfd, low):
    print_evaluated(evaluation(("ease", "user_knn", "popular"), low))
    first, heads, *rows, last = capfd.readouterr().out.splitlines()
    assert (first.split(",")[0], last) == ("9 test users of log.csv", "open out/report.html")
    assert [row.split()[0] for row in rows] == ["ease", "user_knn", "popular"]
    assert heads.split() == [
        "model",
        "ndcg@10",
        "above",
        "popular",
        "recall@10",
        "hit_rate@10",
        "coverage@10",
        "top_share@10",
    ]
    assert ("[0.1250, 0.5000]" in rows[0]) == (low is not None)
    assert ("too few (4)" in rows[0]) == (low is None)
    assert "+0.1250 [-0.5000, +1.0000]" in rows[1]
    assert "+0.1250" not in rows[2]
    starts = {row.index("0.2500") for row in rows}
    assert starts == {heads.index("ndcg@10")}, "columns are aligned"


def test_what_the_package_logs_is_printed_while_a_command_runs(model, capfd, tmp_path):
    log = logging.getLogger("vrec.anything")
    before = list(logging.getLogger("vrec").handlers)
    assert run(["recommend", "--model", model, "--user", "u1"]) == 0
    assert logging.getLogger("vrec").handlers == before
    root = logging.StreamHandler()
    logging.getLogger().addHandler(root)
    try:
        with progress_lines():
            log.info("step %d", 2)
    finally:
        logging.getLogger().removeHandler(root)
    log.info("outside")
    assert capfd.readouterr().err == "step 2\n"
