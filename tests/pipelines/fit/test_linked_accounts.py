"""Shoppers' accounts in another domain, from the tables on disk to lists."""

import numpy as np
import pytest

from tests.retrieval.models.test_cross_domain import shared_tastes
from vrec.cli.main import run
from vrec.config.load import load_settings
from vrec.core.errors import ConfigError, DataWarning, FitError
from vrec.pipelines.fit.run import fit, recommend_users
from vrec.pipelines.inputs import InputPaths
from vrec.retrieval.registry import load_recommender

COLD = 40


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Events of a shop and of a social network, where every user has another id."""
    folder = tmp_path_factory.mktemp("linked")
    matrix, domains = shared_tastes(200, 0)
    matrix[:COLD, :40] = 0
    rows = ["user_id,video_id,kind,at"]
    for user, video in zip(*np.nonzero(matrix), strict=True):
        name = f"shop-{user}" if domains[video] == "shop" else f"social-{user}"
        rows.append(f"{name},v{video},like,2026-01-01T00:00:{user % 60:02d}Z")
    (folder / "events.csv").write_text("\n".join(rows))
    names = [f"v{video},{domain}" for video, domain in enumerate(domains)]
    (folder / "videos.csv").write_text("\n".join(["video_id,domain", *names]))
    write_links(folder / "links.csv", {})
    return folder


def write_links(path, revoked: dict[int, str], left_out: tuple[int, ...] = ()) -> None:
    head = "user_id,other_user_id,other_domain,consented_at,revoked_at"
    rows = [
        f"shop-{user},social-{user},social,2026-01-01T00:00:00Z,{revoked.get(user, '')}"
        for user in range(200)
        if user not in left_out
    ]
    path.write_text("\n".join([head, *rows]))


def fitted(tables, out, links: str | None, *more: str):
    paths = InputPaths(
        str(tables / "events.csv"), videos=str(tables / "videos.csv"), links=links and str(tables / links)
    )
    settings = load_settings(overrides=more)
    fit(paths, str(out), settings, model="cross_domain")
    return str(out)


def test_linked_accounts_tell_what_a_newcomer_likes_and_the_others_get_popular_videos_of_the_shop(
    tables, tmp_path
):
    model = fitted(tables, tmp_path / "m", "links.csv")
    found = recommend_users(model, [*(f"shop-{user}" for user in range(COLD)), "social-3", "nobody"], 5)
    assert {int(video[1:]) for video in found["video_id"].to_pylist()} <= set(range(40))
    sources = dict(zip(found["user_id"].to_pylist(), found["source"].to_pylist(), strict=True))
    assert sources["shop-3"] == "cross_domain"
    assert sources["social-3"] == sources["nobody"] == "popular"


def test_a_revoked_link_leaves_the_model_that_there_would_be_without_it(tables, tmp_path):
    gone = (3, 50, 51)
    write_links(tables / "revoked.csv", dict.fromkeys(gone, "2026-02-01T00:00:00Z"))
    write_links(tables / "without.csv", {}, gone)
    models = [fitted(tables, tmp_path / name, f"{name}.csv") for name in ("revoked", "without", "links")]
    files = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("revoked", "without")]
    assert files[0] == files[1], "the names have digests of what is in the files"
    lists = [load_recommender(model).recommend(["shop-3", "shop-60"], 9) for model in models]
    assert lists[0].equals(lists[1])
    assert "shop-3" in lists[2]["user_id"].to_pylist()
    assert "shop-3" not in lists[0]["user_id"].to_pylist()


def test_the_other_domains_of_links_are_never_the_target(tables, tmp_path):
    with pytest.raises(FitError, match="the target social is an `other_domain` of LINKS"):
        fitted(tables, tmp_path / "m", "links.csv", "retrieval.cross_domain.target=social")
    text = (tables / "links.csv").read_text() + "\nshop-1,tik-1,tiktok,2026-01-01T00:00:00Z,"
    (tables / "more.csv").write_text(text)
    with pytest.warns(DataWarning, match="no video is of the domain tiktok"):
        fitted(tables, tmp_path / "m", "more.csv")


def test_links_need_the_domains_of_videos(tables, tmp_path, capsys):
    paths = InputPaths(str(tables / "events.csv"), links=str(tables / "links.csv"))
    with pytest.raises(ConfigError, match="--links needs the domain of each video"):
        fit(paths, str(tmp_path / "m"), load_settings(), model="cross_domain")
    arguments = ["fit", f"--events={tables / 'events.csv'}", f"--out={tmp_path / 'm'}", "--links=absent.csv"]
    assert run(arguments) == 1
    assert "--links" in capsys.readouterr().err
