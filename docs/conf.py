"""Sphinx configuration of the documentation site; build it with `make docs`.

The source folder is the repository's root, so that links between README.md, docs/ and benchmarks/ are the
same on the site as in the repository. Navigation comes from the headings and lists of docs/index.md.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any

from astroid.brain import brain_numpy_ndarray
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]

project = "vrec"
author = "The vrec authors"
project_copyright = author
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**", "benchmarks/*.md"]
exclude_patterns = [
    ".*",
    "docs/_build",
    # Not documentation: left out so that the search for pages does not walk through them.
    *(entry.name for entry in ROOT.iterdir() if entry.is_dir() and entry.name not in {"docs", "benchmarks"}),
]

# Without the API reference (`make docs-pages`) the pages and their links are checked in seconds, not minutes.
WITH_API = not tags.has("pages")  # noqa: F821 - Sphinx puts `tags` there.

extensions = ["myst_parser", "sphinx_copybutton"]
if WITH_API:
    extensions += ["sphinx.ext.napoleon", "autoapi.extension"]
else:
    exclude_patterns.append("docs/api")
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
myst_heading_anchors = 4
highlight_language = "none"
# Short type names in signatures may stand for several classes; links between pages stay strict.
suppress_warnings = ["autoapi.python_import_resolution", "ref.python"]

# The API reference is read from the source without importing it: every module below vrec/, wherever it moves.
# astroid parses its stub of numpy's ndarray again for every annotation that names it: a third of the build.
brain_numpy_ndarray.extract_node = cache(brain_numpy_ndarray.extract_node)
autoapi_dirs = [str(ROOT / "vrec")]
autoapi_root = "docs/api"
autoapi_options = ["members", "show-module-summary"]
autoapi_add_toctree_entry = False
autoapi_python_class_content = "class"
autoapi_member_order = "groupwise"
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = "vrec"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True

SECTION = re.compile(r"^## (?P<title>.+)\n(?P<body>(?:(?!## ).*\n?)*)", re.MULTILINE)
PAGE_LINK = re.compile(r"^- \[(?P<title>[^\]]+)\]\((?P<page>[^)#:]+)\.md\)", re.MULTILINE)
CODE = re.compile(r"(?P<ticks>`+)(?P<code>.+?)(?P=ticks)(?!`)(?P<after>\w?)", re.DOTALL)
SPECIAL = re.compile(r"\\|\*|\||_(?=\W|$)")


def navigation(app: Sphinx, docname: str, source: list[str]) -> None:
    """Add a table of contents per section of docs/index.md: the pages that its list links to."""
    if docname != root_doc:
        return
    for section in SECTION.finditer(source[0]):
        pages = [f"{title} <{page}>" for title, page in PAGE_LINK.findall(section["body"])]
        if section["title"] == "Reference" and WITH_API:
            pages.append("API <api/vrec/index>")
        if pages:
            lines = ["", "```{toctree}", ":hidden:", f":caption: {section['title']}", "", *pages, "```", ""]
            source[0] += "\n".join(lines)


def plain_signatures(app: Sphinx, docname: str, source: list[str]) -> None:
    """Leave out the constructor that settings inherit from pydantic: it says nothing of the fields."""
    if docname.startswith("docs/api/"):
        source[0] = source[0].replace("(/, **data: Any)", "")


def markdown_docstring(*event: Any) -> None:
    """Turn a docstring's prose, with Markdown's code spans, into reStructuredText, in place.

    Sphinx gives the application, kind, name, object, options and, last, the docstring's lines.
    """
    lines: list[str] = event[-1]
    text = "\n".join(lines)
    parts, end = [], 0
    for span in CODE.finditer(text):
        parts += [SPECIAL.sub(r"\\\g<0>", text[end : span.start()]), f"``{span['code']}``"]
        parts += [rf"\ {span['after']}"] if span["after"] else []
        end = span.end()
    parts.append(SPECIAL.sub(r"\\\g<0>", text[end:]))
    lines[:] = "".join(parts).split("\n")


def open_branch_only(*event: Any) -> None:
    """List in the sidebar the modules of the open branch alone: all of them would make most of each page.

    Sphinx gives the application, page name, template, context and document tree.
    """
    context: dict[str, Any] = event[3]
    toctree = context.get("toctree")
    if toctree is not None:
        context["toctree"] = lambda **options: toctree(**{**options, "collapse": True})


def redirect(app: Sphinx, exception: Exception | None) -> None:
    """Lead from the site's root to its first page."""
    if exception is None and app.builder.format == "html":
        page = f'<!doctype html><meta charset="utf-8"><title>vrec</title><a href="{root_doc}.html">vrec</a>'
        refresh = f'<meta http-equiv="refresh" content="0; url={root_doc}.html">'
        (Path(app.outdir) / "index.html").write_text(page + refresh, encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Connect the hooks above."""
    app.connect("source-read", navigation)
    if WITH_API:
        app.connect("source-read", plain_signatures)
        app.connect("autodoc-process-docstring", markdown_docstring, priority=400)
    app.connect("html-page-context", open_branch_only, priority=400)
    app.connect("build-finished", redirect)
