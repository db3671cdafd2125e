"""Paths that the documentation names."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "_build" not in page.parts]
PATH = re.compile(r"`((?:vrec|tests|jobs|benchmarks|configs|serve_configs|docs|deploy)/[\w./-]*)`")
MODULE = re.compile(r"`(vrec(?:\.\w+)+)(?:\(\))?`")


def exists(name: str) -> bool:
    """Tell whether a dotted name is a module, or a name in one."""
    parts = name.split(".")
    for length in (len(parts), len(parts) - 1, len(parts) - 2):
        path = ROOT.joinpath(*parts[:length])
        if path.is_dir() and length == len(parts):
            return True
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if length > 1 and file.is_file():
            return all(re.search(rf"\b{part}\b", file.read_text()) for part in parts[length:])
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_named_files_and_modules_exist(page):
    text = page.read_text(encoding="utf-8")
    made = "docs/_build"
    missing = [p for p in PATH.findall(text) if not p.startswith(made) and not (ROOT / p).exists()]
    missing += [name for name in MODULE.findall(text) if not exists(name)]
    assert missing == []


def test_the_architecture_table_names_a_test_for_each_change():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.partition("## To change X, open Y")[2].partition("## Layers")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 25
    for row in rows:
        *_, code, test = [cell.strip() for cell in row.strip("|").split("|")]
        assert PATH.findall(test), row
        assert PATH.findall(code) or "beside" in code, row
