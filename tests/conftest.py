"""Fixtures that more than one part's tests use."""

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

# Where this is set, as in many containers, each of hundreds of processes that tests start would compile its
# libraries anew: more than half of what tests with Ray cost.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Before anything loads NumPy or torch: their pools of threads spin for cores that other workers, browsers and
# Ray need, which made tests of small networks take several times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Ray's workers step back for all else (nice 15): beside another process's tests they would hardly run.
os.environ.setdefault("RAY_worker_niceness", "0")

import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling

# This process, too, keeps what it compiles, half of what collecting costs: for `--last-failed`, and for a
# process in the place of one that died.
sys.dont_write_bytecode = False

# An example that is late says that the machine is busy, and nothing of the code.
hypothesis.settings.register_profile("vrec", deadline=None)
# For `make test-fast`: tests that do not say how many examples they need take fewer.
hypothesis.settings.register_profile("fast", deadline=None, max_examples=25)
hypothesis.settings.load_profile("vrec")

ROOT = Path(__file__).resolve().parents[1]
CLIENT = ROOT / "clients" / "python"
CLUSTERS = {
    "e2e": (
        "bad_input",
        "cli",
        "http_embed",
        "kill",
        "own_log",
        "raw_ids",
        "s3_chain",
        "serve",
        "stream_content",
    ),
    "pipelines": ("lost_nodes",),
    "pipelines/embed": ("moments", "run"),
    "pipelines/evaluate": ("run",),
    "pipelines/features": ("run",),
    "pipelines/federated": ("actors",),
    "pipelines/fit": ("run",),
    "pipelines/shards": ("on_ray",),
    "pipelines/train": ("ranker", "encoder"),
    "pipelines/tune": ("targets", "sweep"),
    "serving": ("change_lock",),
    "serving/observability": ("metrics",),
}
"""By folder, the files of tests that use Ray: `ray_cluster`, or commands that start one of their own. Not
e2e/test_job_submit.py, whose head is its own altogether: what is here takes longer than all else together."""
ON_PAGE = {
    f"tests/e2e/test_{name}.py" for name in ("page", "page_actions", "page_elsewhere", "page_live", "client")
}
"""Files of tests that share the bundle of `page_shop`, which takes long to write."""
ON_RAY = {f"tests/{folder}/test_{name}.py" for folder, names in CLUSTERS.items() for name in names}


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real clips and hostile files that lies beside the repo; skips where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("../shared/data is not here: the real clips and hostile files are not part of the repo")
    return folder


@pytest.fixture(scope="session", autouse=True)
def kept_networks(tmp_path_factory: pytest.TempPathFactory):
    """A cache of the tests' own: nothing of the user's is read or written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VREC_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def ray_cluster():
    """The one Ray cluster of all tests: a head of two CPUs, to which a test may add a node and kill it."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="session")
def shop_bundle(tmp_path_factory: pytest.TempPathFactory):
    """The bundle of a small simulated shop, and what it was made of: a `tests.bundles.ShopBundle`."""
    from tests.bundles import write_shop_bundle

    return write_shop_bundle(tmp_path_factory.mktemp("bundle") / "shop")


@pytest.fixture(scope="module")
def bucket():
    """A bucket of a real S3 server: a `tests.s3_bucket.Bucket`."""
    from tests.s3_bucket import s3_bucket

    with s3_bucket() as made:
        yield made


@pytest.fixture(scope="session")
def client_generator() -> ModuleType:
    """The module `clients/python/generate.py`."""
    spec = importlib.util.spec_from_file_location("generate_client", CLIENT / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def client_site(client_generator: ModuleType, tmp_path_factory: pytest.TempPathFactory):
    """A folder on the path with the package `vrec_client`, generated from the code of this checkout."""
    folder = tmp_path_factory.mktemp("site")
    package = folder / "vrec_client"
    shutil.copytree(CLIENT / "src" / "vrec_client", package, ignore=shutil.ignore_patterns("generated"))
    client_generator.generate(client_generator.own_document(), package / "generated")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield folder


SLOW = (
    "tests/e2e/",
    "tests/clients/",
    "tests/serving/http/test_whole.py",
    "tests/serving/http/test_contract.py",
)
"""Tests with servers, or with processes that take seconds to start, beside those on Ray or in a browser."""
LONG = ("tests/docs/test_tutorial.py", "tests/pipelines/compress/test_run.py")
"""Files of few tests that take as long as files of hundreds, beside those of SLOW."""
CORE = (
    "tests/clients/",
    "tests/e2e/test_bad_input.py",
    "tests/e2e/test_cli.py",
    "tests/e2e/test_client.py",
    "tests/e2e/test_page.py",
    "tests/e2e/test_serve.py",
    "tests/pipelines/embed/test_run.py",
    "tests/pipelines/fit/test_run.py",
    "tests/pipelines/train/test_ranker.py",
    "tests/serving/http/test_contract.py",
    "tests/serving/http/test_whole.py",
)
"""The slow tests that `make test` runs, unless they are marked: the commands, the service, the page and the
clients end to end. The other slow ones are for `make test-all`."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make test-fast`, and what `make test`, leave out."""
    for item in items:
        file = item.nodeid.partition("::")[0]
        if file in ON_RAY or file.startswith(SLOW) or "browser" in file or "browser" in item.fixturenames:
            item.add_marker("slow")
        if item.get_closest_marker("slow") and not file.startswith(CORE):
            item.add_marker("nightly")


class _Together(LoadScopeScheduling):
    """Gives what starts clusters, or shares a bundle, to one worker, and any other file to any. What takes
    minutes comes first, then the files with the most tests."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "clusters" if file in ON_RAY else "pages" if file in ON_PAGE else file

    def _assign_work_unit(self, node: Any) -> None:
        long = ("clusters", "pages", *(scope for scope in self.workqueue if scope.startswith((*SLOW, *LONG))))
        for scope in reversed(long):
            if scope in self.workqueue:
                self.workqueue.move_to_end(scope, last=False)
        super()._assign_work_unit(node)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """How `pytest -n` shares the tests out."""
    return _Together(config, log)


_CRASHED = pytest.StashKey[set[str]]()


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(crashitem: str, sched: Any) -> None:
    """Note a test at which its process died. Another process runs it again, and then pytest forgets it."""
    sched.config.stash.setdefault(_CRASHED, set()).add(crashitem)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leave tests at which a process died to `pytest --last-failed`."""
    crashed, cache = session.config.stash.get(_CRASHED, set()), session.config.cache
    if crashed and cache is not None:
        cache.set("cache/lastfailed", cache.get("cache/lastfailed", {}) | dict.fromkeys(crashed, True))
