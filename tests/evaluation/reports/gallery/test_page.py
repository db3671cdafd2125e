"""The page as text: escaped, self-contained, bounded, and honest about what it leaves out."""

import re
from pathlib import Path

import pytest

from tests.evaluation.reports.gallery.conftest import Run, failures_table
from tests.evaluation.reports.markup import EVIL, Loads
from vrec.evaluation.reports.gallery.page import render_gallery, write_gallery
from vrec.evaluation.reports.gallery.report import GalleryConfig


def test_the_page_loads_nothing(run: Run) -> None:
    html = render_gallery(run.report())
    assert not re.search(r"https?://|//[a-z]+\.|@import|url\(", html)
    tags = Loads(html).tags
    for tag, attributes in tags:
        for name in ("src", "href", "srcset", "action", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/jpeg;base64,", "#")), (tag, name, value)
    assert sum(tag == "article" for tag, _ in tags) == 25
    policy = next(a["content"] for t, a in tags if t == "meta" and a.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_untrusted_text_is_text(run: Run) -> None:
    assert run.videos is not None
    rows = [
        {**row, "title": EVIL, "category": EVIL, "language": '"><b>', "kind": EVIL}
        for row in run.videos.to_pylist()
    ]
    evil = type(run.videos).from_pylist(rows, schema=run.videos.schema)
    manifest = {**run.manifest, "encoders": {EVIL: EVIL}, "config": {EVIL: EVIL}, "decoders": {EVIL: 1}}
    report = run.report(videos=evil, manifest=manifest, failures=failures_table([(EVIL, EVIL, EVIL)]))
    html = render_gallery(report)
    plain = render_gallery(run.report())
    assert [t for t, _ in Loads(html).tags if t == "script"] == ["script", "script"]
    assert {t for t, _ in Loads(html).tags} <= {t for t, _ in Loads(plain).tags}
    assert not any(name.startswith("on") for _, attributes in Loads(html).tags for name in attributes)


def test_links_lead_to_what_is_on_the_page(run: Run) -> None:
    for config in (GalleryConfig(), GalleryConfig(shown=6)):
        tags = Loads(render_gallery(run.report(config))).tags
        ids = {a["id"] for _, a in tags if "id" in a}
        links = {a["href"][1:] for _, a in tags if a.get("href")}
        assert links <= ids
        assert len(ids) == sum("id" in a for _, a in tags)


def test_a_sample_says_that_it_is_one(run: Run) -> None:
    html = render_gallery(run.report(GalleryConfig(shown=6)))
    assert "6 of the 25 videos" in html
    assert "of the 25 videos" not in render_gallery(run.report())


def test_figures_read_as_people_write_them(run: Run) -> None:
    html = render_gallery(run.report())
    for text in ("25 of 26 videos embedded", "1 min 15 s", "4.13", "decoded by pyav", "BlackVideo", "cnn@1"):
        assert text in html


def test_a_poster_costs_its_own_size_once(run: Run) -> None:
    report = run.report()
    with_posters, without = len(render_gallery(report)), len(render_gallery(run.report(posters={})))
    assert with_posters - without < 1.36 * sum(map(len, run.posters.values())) + 200 * len(run.posters)


@pytest.mark.parametrize("empty", ["videos", "manifest"])
def test_little_is_known(run: Run, empty: str) -> None:
    html = render_gallery(run.report(**{empty: None if empty == "videos" else {}}))
    assert "<h2" in html


def test_the_file_appears_whole(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_gallery(run.report(), path)
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(OSError, match="absent"):
        write_gallery(run.report(), tmp_path / "absent" / "report.html")
