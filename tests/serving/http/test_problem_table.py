"""The table of errors in docs/http.md has all kinds of problems that the code has, and no others."""

import ast
import re
from http import HTTPStatus
from pathlib import Path
from typing import get_args

import vrec.serving
from vrec.serving.http.errors import _KINDS
from vrec.serving.http.schemas.videos import NotRecommendable

SERVING = Path(vrec.serving.__file__).parent
DOCS = (Path(__file__).resolve().parents[3] / "docs" / "http.md").read_text()
ROUTER = {404: "not-found", 405: "method-not-allowed"}
"""Problems of the router itself, named by the status."""


def raised():
    """Return status and name of every problem that is made by name, the console's left out."""
    for file in SERVING.rglob("*.py"):
        if "console" in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "HttpProblem":
                status, name = (getattr(value, "value", None) for value in node.args[:2])
                if isinstance(name, str) and isinstance(status, int):
                    yield status, name


def documented():
    table = DOCS.partition("\n## Errors\n")[2].partition("\n## ")[0]
    for statuses, names in re.findall(r"^\| ([\d, ]+) \| ([^|]+) \|", table, re.MULTILINE):
        yield from (
            (int(status), name) for status in statuses.split(",") for name in re.findall("`([a-z-]+)`", names)
        )


def test_the_table_has_every_problem_of_the_code_and_no_other():
    coded = {*raised(), *((kind.status, kind.name) for kind in _KINDS), *ROUTER.items()}
    assert len(coded) > 40
    assert all(HTTPStatus(status) for status, _ in coded)
    rows = set(documented())
    assert coded <= rows, sorted(coded - rows)
    assert {name for _, name in rows} == {name for _, name in coded}


def test_the_reasons_of_why_not_are_in_the_docs():
    (sentence,) = re.findall(r"[^.]*`why_not`[^.]*\.", DOCS)
    assert set(get_args(NotRecommendable.__value__)) <= set(re.findall("`([a-z]+)`", sentence)), sentence
