"""House rules that no linter knows, held over the whole package."""

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "vrec").rglob("*.py"))
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
QUESTIONS = re.compile(r"(What|How|Which|Who|Whose|Whom|Where|When|Why|Whether)\b")
THIRD_PERSON = re.compile(
    r"(Returns|Prints|Writes|Reads|Raises|Gives|Makes|Loads|Checks|Holds|Takes|Adds|Computes)\b"
)


@cache
def trees() -> dict[Path, ast.Module]:
    return {file: ast.parse(file.read_text(encoding="utf-8")) for file in FILES}


def place(file: Path, node: ast.AST) -> str:
    return f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"


def docstrings():
    for file, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, *FUNCTIONS)) and (text := ast.get_docstring(node)):
                yield file, node, text


def code_start(node):
    """First line of a function's code, after its docstring."""
    return node.body[min(1, len(node.body) - 1) if ast.get_docstring(node) else 0].lineno


def test_public_class_names_are_unique():
    places = defaultdict(list)
    for file, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(place(file, node))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_no_docstring_opens_with_a_question_word():
    assert [place(file, node) for file, node, text in docstrings() if QUESTIONS.match(text)] == []


def test_functions_are_described_in_the_imperative():
    found = [
        place(file, node)
        for file, node, text in docstrings()
        if isinstance(node, FUNCTIONS) and THIRD_PERSON.match(text)
    ]
    assert found == []


def test_files_and_functions_are_short():
    long_files = [str(file.relative_to(ROOT)) for file in FILES if file.read_text().count("\n") > 400]
    # A docstring may be as long as it needs to be.
    long_functions = [
        f"{place(file, node)} {node.name}"
        for file, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, FUNCTIONS) and node.end_lineno - code_start(node) + 1 > 50
    ]
    assert (long_files, long_functions) == ([], [])


def test_no_module_uses_another_s_private_names():
    found = []
    for file, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vrec"):
                found += [f"{place(file, node)} {a.name}" for a in node.names if a.name.startswith("_")]
    assert [one for one in found if not one.endswith("__version__")] == []


def test_three_files_with_one_prefix_are_a_package():
    groups = defaultdict(set)
    for file in FILES:
        prefix, underscore, _ = file.stem.partition("_")
        if underscore and prefix:
            groups[file.parent, prefix].add(file.stem)
    assert {
        str(folder.relative_to(ROOT)): names for (folder, _), names in groups.items() if len(names) > 2
    } == {}


def test_every_test_folder_mirrors_a_package():
    tests = ROOT / "tests"
    own = {"clients", "contracts", "deploy", "e2e", "docs"}
    folders = {f.parent.relative_to(tests) for f in tests.rglob("test_*.py")}
    missing = [
        str(f) for f in folders if f.parts and f.parts[0] not in own and not (ROOT / "vrec" / f).is_dir()
    ]
    assert missing == []
