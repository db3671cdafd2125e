"""`vrec assistant`: written conversations over a real bundle."""

import json
from pathlib import Path

import pytest

from vrec.cli.main import run
from vrec.synthetic import shop

DOCUMENTS = str(Path(shop.__file__).parent / "policies")


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "talk.txt"
    path.write_text(
        "hello\nshow me something under 1000\ncheaper\nhow do I return it?\n\n你好\n有什么推荐\n怎么退货\n",
        encoding="utf-8",
    )
    return str(path)


def test_a_script_is_answered_turn_by_turn(shop_bundle, script, capfd):
    assert (
        run(
            ["assistant", "--bundle", shop_bundle.uri, "--script", script, "--documents", DOCUMENTS, "--json"]
        )
        == 0
    )
    turns = json.loads(capfd.readouterr().out)["turns"]
    assert [turn["language"] for turn in turns] == ["en"] * 4 + ["zh"] * 3
    assert turns[1]["kind"] == "cards"
    assert turns[1]["cards"]
    first, second = (max(card["price"] for card in turn["cards"]) for turn in turns[1:3])
    assert second < first


def test_a_script_is_printed_with_its_cards(shop_bundle, script, capfd):
    assert run(["assistant", "--bundle", shop_bundle.uri, "--script", script]) == 0
    printed = capfd.readouterr().out
    assert "> cheaper" in printed
    assert "  1. " in printed


def test_absent_documents_are_named(shop_bundle, tmp_path, capfd):
    assert run(["assistant", "--bundle", shop_bundle.uri, "--documents", str(tmp_path / "none")]) == 1
    assert "--documents" in capfd.readouterr().err


def test_a_message_that_is_too_long_is_named_and_the_others_are_answered(shop_bundle, tmp_path, capfd):
    path = tmp_path / "long.txt"
    path.write_text(f"hello\n{'red ' * 300}\nhi\n", encoding="utf-8")
    assert run(["assistant", "--bundle", shop_bundle.uri, "--script", str(path), "--json"]) == 3
    printed = capfd.readouterr()
    assert [turn["message"] for turn in json.loads(printed.out)["turns"]] == ["hello", "hi"]
    assert "1,199 characters" in printed.err
    assert "serve.assistant.message_chars" in printed.err
