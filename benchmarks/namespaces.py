"""Ray cluster whose nodes are network namespaces of one Linux machine: they can be lost and cut off.

Needs root, for `ip`. Each node has its own address on a bridge, and its processes are those of its
namespace, so that killing them all is what losing a machine is to the others. All nodes share the disk.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import ray.exceptions
from ray._raylet import GcsClient  # pyright: ignore[reportAttributeAccessIssue]

PREFIX = "vrec-drill"
LINK = "vrecdrill"
BRIDGE = f"{LINK}0"
NETWORK = "10.213.77"
PORT = 6380
PATIENCE = {
    # As in deploy/kuberay.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "600",
    # Seconds that a worker may take to start; it says nothing about how soon a loss is noticed.
    "RAY_worker_register_timeout_seconds": "300",
}
ALIVE = 0
"""State of a live node, `GcsNodeInfo.ALIVE`."""


class NamespaceNode:
    """Network namespace with an address, and the processes in it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.name, self.link = f"{PREFIX}-{number}", f"{LINK}{number}v"
        self.address = f"{NETWORK}.{number}"
        inside = f"{LINK}{number}i"
        _ip(f"netns add {self.name}")
        _ip(f"link add {self.link} type veth peer name {inside}")
        _ip(f"link set {inside} netns {self.name}")
        _ip(f"link set {self.link} master {BRIDGE} up")
        for command in (
            f"addr add {self.address}/24 dev {inside}",
            f"link set {inside} up",
            "link set lo up",
        ):
            _ip(f"-n {self.name} {command}")

    def start(
        self, command: list[str], log: Path, environment: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a command in the namespace; what it prints goes to a file."""
        with log.open("ab") as file:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.name, *command],
                stdout=file,
                stderr=subprocess.STDOUT,
                # With a token in the home folder Ray would ask for it, this process too.
                env=os.environ | {"RAY_AUTH_MODE": "disabled"} | (environment or {}),
                start_new_session=True,
            )

    def processes(self) -> list[psutil.Process]:
        """Return the processes in the namespace."""
        found = []
        for pid in _ip(f"netns pids {self.name}").split():
            with contextlib.suppress(psutil.Error):
                found.append(psutil.Process(int(pid)))
        return found

    def works_on(self, task: str) -> bool:
        """Return whether a worker of Ray is at a task, or is an actor, whose name has `task` in it."""
        return any(task in title and title.startswith("ray::") for title in self._titles())

    def _titles(self) -> Iterator[str]:
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                yield " ".join(process.cmdline())

    def send(self, number: signal.Signals) -> None:
        """Send a signal to every process in the namespace."""
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)

    def kill_one(self, part: str) -> None:
        """Kill the first process of Ray whose title has `part` in it, if there is one."""
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                if part in " ".join(process.cmdline()):
                    process.kill()
                    return

    def kill(self) -> None:
        """Kill every process in the namespace, and those that they start meanwhile."""
        while self.processes():
            self.send(signal.SIGKILL)
            time.sleep(0.05)

    def cut_off(self) -> None:
        """Let no packet through to or from the node, without an error to anybody."""
        _ip(f"link set {self.link} nomaster")

    def reconnect(self) -> None:
        """Let its packets through again."""
        _ip(f"link set {self.link} master {BRIDGE}")

    def remove(self) -> None:
        """Kill its processes and remove it."""
        self.kill()
        _ip(f"netns del {self.name}")


class NamespaceCluster:
    """A head without CPUs, and worker nodes.

    Args:
        folder: Where Ray's sessions and logs are.
        redis: Address of a Redis server in which the head keeps its state; none by default.
        worker_cpus: Number of CPUs that each worker says that it has.
        object_store_mb: Memory of each node's object store.
    """

    def __init__(
        self,
        folder: Path,
        workers: int,
        redis: str | None = None,
        worker_cpus: int = 1,
        object_store_mb: int = 300,
    ) -> None:
        self.folder, self.redis, self.object_store_mb = folder, redis, object_store_mb
        self.worker_cpus = worker_cpus
        self.head = NamespaceNode(1)
        self.address = f"{self.head.address}:{PORT}"
        self.workers = [NamespaceNode(2 + number) for number in range(workers)]
        self._started: dict[NamespaceNode, subprocess.Popen[bytes]] = {}
        # One after another: two at a time would choose the same names in the session's folder.
        for number in range(len(self.nodes)):
            self.mend(1 + number)

    @property
    def nodes(self) -> list[NamespaceNode]:
        """All nodes, the head first."""
        return [self.head, *self.workers]

    def mend(self, count: int | None = None, seconds: float = 600.0) -> None:
        """Start the nodes that are gone, as a supervisor would, until all are there.

        A node that was taken for dead ends by itself once it hears of it. One whose start takes longer than
        Ray's 30 s, 15 s of them for its agent, gives up and is started again.

        Args:
            count: Number of the nodes that are wanted, the head first; by default all.
            seconds: Seconds after which it raises RuntimeError.
        """
        wanted = self.nodes[:count]
        begun, found = time.monotonic(), -1
        while time.monotonic() - begun < seconds:
            for node in wanted:
                if node not in self._started or self._started[node].poll() is not None:
                    node.kill()
                    self.start_head() if node is self.head else self.start_worker(node)
            found = self.live_nodes()
            if found == len(wanted):
                return
            time.sleep(0.5)
        raise RuntimeError(f"the cluster has {found} nodes, and not {len(wanted)}, after {seconds:.0f} s")

    def start_head(self) -> None:
        """Start Ray's head, or start it again."""
        more = {"RAY_REDIS_ADDRESS": self.redis} if self.redis else {}
        self._start(
            self.head, ["--head", f"--port={PORT}", "--num-cpus=0", "--include-dashboard=false"], more
        )

    def start_worker(self, node: NamespaceNode) -> None:
        """Start Ray on a worker node, or start it again."""
        self._start(node, [f"--address={self.address}", f"--num-cpus={self.worker_cpus}"], {})

    def _start(self, node: NamespaceNode, arguments: list[str], more: dict[str, str]) -> None:
        size = self.object_store_mb * 10**6
        ray = Path(sys.executable).with_name("ray")
        command = [str(ray), "start", "--block", *arguments, f"--node-ip-address={node.address}"]
        command += [f"--object-store-memory={size}", "--disable-usage-stats"]
        if node is self.head:
            command.append(f"--temp-dir={self.folder / 'ray'}")
        log = self.folder / f"node-{node.number}.log"
        self._started[node] = node.start(command, log, PATIENCE | more)

    def live_nodes(self) -> int:
        """Return the number of nodes that the head takes for alive; -1 if it does not answer."""
        with contextlib.suppress(ray.exceptions.RpcError, ray.exceptions.RaySystemError):
            nodes = GcsClient(address=self.address).get_all_node_info(timeout=5)
            return sum(node.state == ALIVE for node in nodes.values())
        return -1

    def run(self, command: list[str], log: Path) -> subprocess.Popen[bytes]:
        """Start a command on the head's node with the cluster's address."""
        return self.head.start(command, log, {"RAY_ADDRESS": self.address})


@contextlib.contextmanager
def namespace_cluster(
    folder: Path,
    workers: int = 2,
    redis: str | None = None,
    worker_cpus: int = 1,
    object_store_mb: int = 300,
) -> Iterator[NamespaceCluster]:
    """Run a cluster inside the `with`; whatever is left of an earlier one is removed first."""
    remove_all()
    _ip(f"link add {BRIDGE} type bridge")
    _ip(f"addr add {NETWORK}.254/24 dev {BRIDGE}")
    _ip(f"link set {BRIDGE} up")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield NamespaceCluster(folder, workers, redis, worker_cpus, object_store_mb)
    finally:
        remove_all()


def remove_all() -> None:
    """Kill what is in the namespaces of a cluster, and remove them and their bridge."""
    for line in _ip("netns list").splitlines():
        name = line.split()[0]
        if name.startswith(PREFIX):
            while pids := _ip(f"netns pids {name}").split():
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
                time.sleep(0.05)
            _ip(f"netns del {name}")
    # The links of a namespace go some time after it.
    links = [line.split()[0].partition("@")[0] for line in _ip("-brief link").splitlines()]
    for name in links:
        if name.startswith(LINK):
            with contextlib.suppress(RuntimeError):
                _ip(f"link del {name}")


def _ip(arguments: str) -> str:
    done = subprocess.run(["ip", *arguments.split()], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {arguments}: {done.stderr.strip()}; it needs root on Linux")
    return done.stdout
