"""deploy/kuberay: what Kustomize makes of it, by KubeRay's fields, Serve's schema and vrec's command."""

import copy
import re
import shlex
import shutil
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from tests.deploy.commands import parses
from tests.deploy.kube_fields import faults
from vrec.config.serve import ServeConfig
from vrec.serving.app import deployments

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "kuberay"
SERVICES = ("dev", "prod", "gpu")
JOBS = sorted(p.name for p in (FOLDER / "jobs").iterdir() if p.name not in ("base", "gpu"))
KUSTOMIZATIONS = sorted(FOLDER.rglob("kustomization.yaml"))
needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl, for its Kustomize")


@cache
def _made(folder: str) -> list[dict[str, Any]]:
    command = ["kubectl", "kustomize", str(FOLDER / folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def made(folder: str) -> list[dict[str, Any]]:
    """Return the objects that `kubectl kustomize` makes of a folder."""
    return copy.deepcopy(_made(folder))


def one(folder: str, kind: str) -> dict[str, Any]:
    (found,) = [document for document in made(folder) if document["kind"] == kind]
    return found


def job_of(folder: str) -> dict[str, Any]:
    """Return the spec of the RayJob of a folder, or of the one that its RayCronJob starts."""
    (found,) = [document for document in made(folder) if document["kind"] in ("RayJob", "RayCronJob")]
    return found["spec"].get("jobTemplate", found["spec"])


def cluster_of(folder: str) -> dict[str, Any]:
    if folder.startswith("overlays"):
        return one(folder, "RayService")["spec"]["rayClusterConfig"]
    return job_of(folder)["rayClusterSpec"]


def templates(folder: str) -> dict[str, dict[str, Any]]:
    """Return the pod templates of a folder's Ray cluster by group, and that of a job's submitter."""
    cluster = cluster_of(folder)
    found = {"head": cluster["headGroupSpec"]["template"]}
    found |= {group["groupName"]: group["template"] for group in cluster["workerGroupSpecs"]}
    if folder.startswith("jobs"):
        found["submitter"] = job_of(folder)["submitterPodTemplate"]
    return found


FOLDERS = [*(f"overlays/{name}" for name in SERVICES), *(f"jobs/{name}" for name in JOBS)]
every_folder = pytest.mark.parametrize("folder", FOLDERS)


@pytest.mark.parametrize("file", KUSTOMIZATIONS, ids=lambda file: str(file.parent.relative_to(FOLDER)))
def test_a_kustomization_names_files_that_exist(file):
    given = yaml.safe_load(file.read_text(encoding="utf-8"))
    named = [*given.get("resources", ()), *given.get("components", ())]
    named += [patch["path"] for patch in given.get("patches", ()) if "path" in patch]
    for generator in given.get("configMapGenerator", ()):
        named += [name.rpartition("=")[2] for name in generator["files"]]
    assert named
    for name in named:
        target = file.parent / name
        assert (target / "kustomization.yaml").is_file() if target.is_dir() else target.is_file(), name
    kinds = {
        "kustomize.config.k8s.io/v1beta1": "Kustomization",
        "kustomize.config.k8s.io/v1alpha1": "Component",
    }
    assert kinds[given["apiVersion"]] == given["kind"]


def test_every_file_is_part_of_something():
    text = "".join(file.read_text(encoding="utf-8") for file in KUSTOMIZATIONS)
    files = [file for file in FOLDER.rglob("*") if file.is_file() and file.name != "kustomization.yaml"]
    assert [str(file) for file in files if not re.search(rf"\b{re.escape(file.name)}\b", text)] == []


@needs_kubectl
@every_folder
def test_the_objects_have_known_fields_of_the_right_types(folder):
    assert [fault for document in made(folder) for fault in faults(document)] == []


CLUSTER = "spec.rayClusterConfig"


@needs_kubectl
@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        (f"{CLUSTER}.gcsFaultToleranceOptions", "redisAdress", "redis:6379"),
        (f"{CLUSTER}.headGroupSpec.template.spec", "terminationGracePeriodSeconds", "60"),
        (f"{CLUSTER}.headGroupSpec", "rayStartParams", {"num-cpus": 0}),
        ("spec.upgradeStrategy", "type", "Recreate"),
        (f"{CLUSTER}.headGroupSpec.template.spec", "containers", {}),
        (f"{CLUSTER}.headGroupSpec", "template", None),
    ],
)
def test_a_wrong_field_would_be_seen(path, key, value):
    document = place = one("overlays/prod", "RayService")
    for name in path.split("."):
        place = place[name]
    place[key] = value
    assert [fault.split(": ")[0] for fault in faults(document)] == [f"RayService.{path}.{key}"]


@needs_kubectl
@pytest.mark.parametrize("name", SERVICES)
def test_the_serve_config_is_valid_and_names_the_deployments(name):
    text = one(f"overlays/{name}", "RayService")["spec"]["serveConfigV2"]
    assert text == (FOLDER / "overlays" / name / "serve.yaml").read_text(encoding="utf-8")
    found = ServeDeploySchema.model_validate(yaml.safe_load(text))
    (app,) = found.applications
    config = ServeConfig.model_validate(app.args)
    assert [deployment.name for deployment in app.deployments] == deployments(config)
    assert len({deployment.user_config["bundle"] for deployment in app.deployments}) == 1
    assert (
        (found.http_options.host, found.http_options.port) == (config.host, config.port) == ("0.0.0.0", 8000)
    )


def test_the_serve_configs_are_those_for_serve_deploy():
    def read(file: Path) -> dict[str, Any]:
        return yaml.safe_load(file.read_text(encoding="utf-8"))

    prod = read(ROOT / "serve_configs" / "prod.yaml")
    assert read(FOLDER / "overlays" / "prod" / "serve.yaml") == prod
    prod["applications"][0]["args"]["replicas"]["encoder_gpus"] = 1
    assert read(FOLDER / "overlays" / "gpu" / "serve.yaml") == prod


@needs_kubectl
@pytest.mark.parametrize("name", SERVICES)
def test_workers_have_room_for_all_replicas(name):
    folder = f"overlays/{name}"
    config = yaml.safe_load(one(folder, "RayService")["spec"]["serveConfigV2"])
    size = ServeConfig.model_validate(config["applications"][0]["args"]).replicas
    parts = ("api", "ranking", "profiles", "encoder")
    first = sum(getattr(size, part) * getattr(size, f"{part}_cpus") for part in parts)
    most = first + max(0, (size.ranking_most or 0) - size.ranking) * size.ranking_cpus
    groups = cluster_of(folder)["workerGroupSpecs"]
    cpus = [int(group["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"]) for group in groups]
    assert first <= sum(group["minReplicas"] * cpu for group, cpu in zip(groups, cpus, strict=True))
    assert most <= sum(group["maxReplicas"] * cpu for group, cpu in zip(groups, cpus, strict=True))
    assert (size.encoder_gpus > 0) == ("gpu" in [group["groupName"] for group in groups])


@needs_kubectl
@every_folder
def test_clusters_run_this_ray_and_ask_for_a_token(folder):
    cluster = cluster_of(folder)
    assert cluster["rayVersion"] == version("ray")
    assert cluster["authOptions"] == {"mode": "token", "secretName": "vrec"}
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for group in cluster["workerGroupSpecs"]:
        assert 0 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


@needs_kubectl
@every_folder
def test_pods_of_a_folder_run_one_image_without_rights(folder):
    pods = templates(folder)
    assert len({pod["spec"]["containers"][0]["image"] for pod in pods.values()}) == 1
    for group, pod in pods.items():
        (container,) = pod["spec"]["containers"]
        assert pod["metadata"]["labels"]["app.kubernetes.io/name"] == "vrec"
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        # A pod whose request and limit of memory differ is the first to be killed; Ray plans with the limit.
        if group not in ("submitter",) and folder != "overlays/dev":
            assert container["resources"]["requests"]["memory"] == container["resources"]["limits"]["memory"]
        # The autoscaler runs beside the head, and nothing else asks Kubernetes for anything.
        assert pod["spec"]["automountServiceAccountToken"] is (group == "head")
        mounted = {mount["name"] for mount in container.get("volumeMounts", ())}
        assert mounted == {volume["name"] for volume in pod["spec"].get("volumes", ())}


@needs_kubectl
@pytest.mark.parametrize("name", SERVICES)
def test_workers_of_the_service_get_requests_only_when_they_answer(name):
    pods = templates(f"overlays/{name}")
    for group, pod in pods.items():
        (container,) = pod["spec"]["containers"]
        probe = container["readinessProbe"]["httpGet"]
        assert probe["path"] == ("/api/local_raylet_healthz" if group == "head" else "/-/healthz")
        # Time to drain: shorter than what Kubernetes waits before it kills.
        assert pod["spec"]["terminationGracePeriodSeconds"] >= 30
    service = one(f"overlays/{name}", "RayService")["spec"]
    assert service["excludeHeadPodFromServeSvc"] is True
    assert "externalStorageNamespace" not in service["rayClusterConfig"]["gcsFaultToleranceOptions"]


@needs_kubectl
@pytest.mark.parametrize("name", SERVICES)
def test_selectors_match_pods(name):
    folder, labels = f"overlays/{name}", []
    for group, pod in templates(folder).items():
        # KubeRay adds the type of the node.
        kind = "head" if group == "head" else "worker"
        labels.append(pod["metadata"]["labels"] | {"ray.io/node-type": kind})
    specs = [(document["kind"], document.get("spec", {})) for document in made(folder)]
    labels += [spec["template"]["metadata"]["labels"] for kind, spec in specs if kind == "StatefulSet"]
    wanted = [spec["selector"] for kind, spec in specs if kind == "Service"]
    for key in ("selector", "podSelector"):
        found = [spec[key] for kind, spec in specs if key in spec and kind != "Service"]
        wanted += [selector["matchLabels"] for selector in found]
    assert len(wanted) >= 2
    assert [one for one in wanted if not any(one.items() <= own.items() for own in labels)] == []


@needs_kubectl
@pytest.mark.parametrize("name", JOBS)
def test_a_job_runs_a_command_that_exists(name):
    entrypoint = job_of(f"jobs/{name}")["entrypoint"]
    assert "\n" not in entrypoint
    program, *arguments = shlex.split(entrypoint)
    assert program == "vrec"
    assert parses(arguments) is None
    for path in re.findall(r"(?<![\w/])configs/\S+", entrypoint):
        assert (ROOT / path).is_file()


@needs_kubectl
@pytest.mark.parametrize("name", JOBS)
def test_jobs_work_on_cheap_machines_and_end_their_cluster(name):
    job, cluster = job_of(f"jobs/{name}"), cluster_of(f"jobs/{name}")
    assert job["shutdownAfterJobFinishes"] is True
    assert job["backoffLimit"] > 0
    assert "spot" in [group["groupName"] for group in cluster["workerGroupSpecs"]]
    assert "gcsFaultToleranceOptions" not in cluster


@needs_kubectl
def test_every_secret_that_is_read_is_made():
    made_by = (ROOT / "deploy" / "make-secrets.sh").read_text(encoding="utf-8")
    for folder in FOLDERS:
        for pod in templates(folder).values():
            for variable in pod["spec"]["containers"][0].get("env", ()):
                if variable["name"].endswith("_FILE"):
                    mount, _, name = variable["value"].rpartition("/")
                    assert mount == "/run/secrets/vrec"
                    assert f'"{name}"' in made_by
                    assert variable["name"] == f"VREC_{name.upper()}_FILE"


def test_redis_is_the_same_everywhere():
    own = (FOLDER / "components" / "redis" / "redis.conf").read_text(encoding="utf-8")
    assert own == (ROOT / "deploy" / "redis.conf").read_text(encoding="utf-8")
