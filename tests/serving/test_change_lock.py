"""One change of the service at a time, on a real Ray: commands wait for moves, and moves for commands."""

import threading

import pytest

from vrec.core.errors import ServeError
from vrec.serving.change_lock import LOCK, NAMESPACE, is_changing, only_change

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def connected(ray_cluster):
    from vrec.pipelines.cluster import connect_cluster

    with connect_cluster(ray_cluster.address):
        yield


@pytest.fixture
def mover(connected):
    """The actor of a move, which waits for what to do."""
    import ray

    from vrec.serving.deployments.bundles import BundleMover

    options = {"name": LOCK, "namespace": NAMESPACE, "lifetime": "detached", "num_cpus": 0}
    actor = ray.remote(BundleMover).options(**options).remote()
    yield actor
    ray.kill(actor)


def test_a_command_waits_for_the_end_of_a_move_and_says_so(mover, capsys):
    import ray

    assert is_changing()
    with (
        pytest.raises(ServeError, match=r"is being moved to another bundle, and was not done in 0\.5 s"),
        only_change(0.5),
    ):
        pass
    assert is_changing(), "the move goes on"
    assert capsys.readouterr().err == ""
    ended = threading.Timer(2.0, ray.kill, [mover])
    ended.start()
    with only_change(60):
        assert ended.finished.is_set()
    assert (
        capsys.readouterr().err.count("another move of the service runs: waiting for its end, 60 s at most")
        == 1
    )


def test_no_move_begins_while_a_command_changes_the_service(connected):
    import ray

    from vrec.serving.deployments.bundles import BundleMover

    with only_change():
        assert is_changing()
        with pytest.raises(ValueError, match="already"):
            ray.remote(BundleMover).options(name=LOCK, namespace=NAMESPACE, num_cpus=0).remote()


def refused():
    with only_change():
        raise RuntimeError("refused")


def test_a_command_that_is_refused_is_not_in_the_way_of_the_next(connected):
    with pytest.raises(RuntimeError, match="refused"):
        refused()
    with only_change(60):
        pass
