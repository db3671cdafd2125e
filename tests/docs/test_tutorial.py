"""The Python of the documentation, run as a reader would run it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def python_blocks(page: str) -> str:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return "\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.S | re.M))


def run(folder: Path, *arguments: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_the_tutorial_runs_from_top_to_bottom(tmp_path):
    (tmp_path / "tutorial.py").write_text(python_blocks("tutorial.md"), encoding="utf-8")
    out = run(tmp_path, "tutorial.py")
    assert re.search(r"ease +NDCG@10 0\.\d+ \[", out)
    assert "is most similar to" in out


def test_the_recipe_s_recommender_keeps_the_contract(tmp_path):
    (tmp_path / "test_recipe.py").write_text(python_blocks("recipes.md"), encoding="utf-8")
    out = run(tmp_path, "-m", "pytest", "-p", "no:cacheprovider", "test_recipe.py")
    assert re.search(r"^(=+ )?21 passed", out, re.M)
