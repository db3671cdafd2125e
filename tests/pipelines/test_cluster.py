"""Addresses and errors of a cluster, without one."""

import errno
import os
import socket

import pytest
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    NodeDiedError,
    ObjectLostError,
    ObjectStoreFullError,
    OutOfDiskError,
    OutOfMemoryError,
    RayActorError,
    RayTaskError,
    WorkerCrashedError,
)

from vrec.core.errors import FitError, OutputError
from vrec.pipelines.cluster import (
    KEEPALIVE_ENVIRONMENT,
    ClusterError,
    connect_cluster,
    loss_reason,
    unwrap_ray_errors,
)


def task_error(text: str) -> RayTaskError:
    return RayTaskError("task", f"Traceback (most recent call last):\n  File\n{text}", ValueError("inner"))


@pytest.mark.parametrize("kind", [FitError, OutputError])
def test_an_error_of_a_worker_comes_out_as_itself(kind):
    with pytest.raises(kind) as raised, unwrap_ray_errors():
        raise task_error(f"vrec.core.errors.{kind.__name__}: out: it is full: x")
    assert str(raised.value) == "out: it is full: x"
    assert type(raised.value) is kind


@pytest.mark.parametrize(
    "text", ["ValueError: no", "vrec.core.errors.Nothing: no", "x vrec.core.errors.FitError: no"]
)
def test_any_other_error_stays_as_it_is(text):
    with pytest.raises(RayTaskError), unwrap_ray_errors():
        raise task_error(text)


def test_what_is_raised_for_want_of_room_says_where_to_make_it():
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/x")
    with (
        pytest.raises(OutputError, match=r"/tmp/x: .*no space left") as raised,
        unwrap_ray_errors(),
    ):
        raise RayTaskError("task", "a traceback", full)
    assert "make room" in raised.value.fix
    with pytest.raises(OutputError) as raised, unwrap_ray_errors():
        raise task_error("vrec.core.errors.OutputError: out: cannot write x: no space left on device")
    assert "make room" in raised.value.fix
    with pytest.raises(RayTaskError), unwrap_ray_errors():
        raise RayTaskError("task", "a traceback", PermissionError(errno.EACCES, "no"))


@pytest.mark.parametrize("error", [OutOfDiskError("full"), ObjectStoreFullError("full")])
@pytest.mark.parametrize("nested", [False, True])
def test_a_node_without_room_for_objects_is_named_as_such(error, nested):
    error = RayTaskError("task", "a traceback", error) if nested else error
    with pytest.raises(ClusterError, match="no room for Ray's objects") as raised, unwrap_ray_errors():
        raise error
    assert "make room" in raised.value.fix
    assert loss_reason(error) is None


KILLED = (
    "The actor is dead because its worker process has died. Worker exit detail: Some common causes include: "
    "(1) the process was killed by the OOM killer due to high memory usage"
)
LOSSES = [
    (OutOfMemoryError("killed"), "OutOfMemory"),
    (RayActorError(error_msg="Task was killed due to the node running low on memory."), "OutOfMemory"),
    (NodeDiedError("gone"), "NodeLost"),
    (ObjectLostError("00" * 28, None, ""), "NodeLost"),
    (RayActorError(error_msg="The actor died because its node has died. Node Id: 1"), "NodeLost"),
    (RayActorError(error_msg=KILLED), "WorkerLost"),
    (ActorUnavailableError("it is not there", None), "WorkerLost"),
    (ActorDiedError(), "WorkerLost"),
    (WorkerCrashedError(), "WorkerLost"),
]


@pytest.mark.parametrize(("error", "name"), LOSSES)
@pytest.mark.parametrize("nested", [False, True])
def test_what_was_lost_is_named_for_what_it_was(error, name, nested):
    error = RayTaskError("task", "a traceback", error) if nested else error
    assert str(loss_reason(error)).partition(":")[0] == name
    with pytest.raises(ClusterError, match=f"^{name}: ") as raised, unwrap_ray_errors():
        raise error
    assert "run the same command again" in raised.value.fix


@pytest.mark.parametrize(
    "error", [ValueError("its node has died"), FitError("no"), task_error("ValueError: no")]
)
def test_any_other_error_is_no_loss(error):
    assert loss_reason(error) is None


def test_an_address_where_nothing_listens_is_refused_at_once(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", lambda **options: pytest.fail("Ray was started"))
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    with pytest.raises(ClusterError, match=f"no Ray at 127.0.0.1:{port}: ") as raised, connect_cluster():
        pass
    assert "RAY_AUTH_MODE=token" in raised.value.fix
    with (
        pytest.raises(ClusterError, match=f"no Ray at localhost:{port}: "),
        connect_cluster(f"localhost:{port}"),
    ):
        pass


def test_a_cluster_that_refuses_is_an_error_in_one_line(monkeypatch):
    def init(**options):
        assert options["address"] == "ray://host:1"
        assert options["runtime_env"]["env_vars"]["OMP_NUM_THREADS"] == "1"
        # The driver waits for tasks, and so do workers, such as the trials of a sweep.
        for name, value in KEEPALIVE_ENVIRONMENT.items():
            assert options["runtime_env"]["env_vars"][name] == os.environ[name] == value
        raise ConnectionError("no\n  token")

    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", init)
    with (
        pytest.raises(ClusterError, match=r"^no Ray at ray://host:1: no token$"),
        connect_cluster("ray://host:1"),
    ):
        pass


def test_a_ray_that_does_not_start_in_time_is_named_and_other_faults_stay_themselves(monkeypatch):
    def fails_by(message):
        def init(**_):
            raise Exception(message)

        monkeypatch.setattr("ray.init", init)

    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    fails_by("The current node timed out during startup. This could happen because some of the raylet failed")
    with pytest.raises(ClusterError, match="did not start within 30 s") as raised, connect_cluster():
        pass
    assert raised.value.fix.startswith("run the same command again")
    fails_by("something else")
    with pytest.raises(Exception, match="something else"), connect_cluster():
        pass
