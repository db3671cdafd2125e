"""Fields that Kubernetes and KubeRay accept in what deploy/kuberay makes, and a check of objects.

The API server refuses an object with a field that it does not know, or of another type; nothing here can ask
one. The tables list names and types of fields, from the reference of KubeRay's custom resources (v1.7,
`ray.io/v1`) and that of Kubernetes (v1.28 and later): those of pods and of what stands beside them. What is
not listed counts as unknown.
"""

import re
from collections.abc import Iterator
from typing import Any

# A field is `name`, or `name!` if it is required. Types: string, integer, number, boolean, port (a number or
# a name), strings (a map of strings), quantities (a map of amounts), a|b for one of these words, [T] for a
# list, or a table.
TABLES: dict[str, dict[str, str]] = {
    "RayService": {"spec!": "RayServiceSpec"},
    "RayJob": {"spec!": "RayJobSpec"},
    "RayCronJob": {"spec!": "RayCronJobSpec"},
    "RayServiceSpec": {
        "rayClusterDeletionDelaySeconds": "integer",
        "serveService": "Service",
        "upgradeStrategy": "RayServiceUpgradeStrategy",
        "managedBy": "string",
        "serveConfigV2": "string",
        "rayClusterConfig!": "RayClusterSpec",
        "excludeHeadPodFromServeSvc": "boolean",
        "suspend": "boolean",
    },
    "RayServiceUpgradeStrategy": {
        "type": "NewCluster|NewClusterWithIncrementalUpgrade|None",
        "clusterUpgradeOptions": "ClusterUpgradeOptions",
    },
    "ClusterUpgradeOptions": {
        "maxSurgePercent": "integer",
        "stepSizePercent!": "integer",
        "intervalSeconds!": "integer",
        "gatewayClassName!": "string",
    },
    "RayCronJobSpec": {
        "jobTemplate!": "RayJobSpec",
        "schedule!": "string",
        "timeZone": "string",
        "suspend": "boolean",
    },
    "RayJobSpec": {
        "activeDeadlineSeconds": "integer",
        "backoffLimit": "integer",
        "rayClusterSpec": "RayClusterSpec",
        "submitterPodTemplate": "PodTemplateSpec",
        "metadata": "strings",
        "clusterSelector": "strings",
        "submitterConfig": "SubmitterConfig",
        "managedBy": "string",
        "entrypoint": "string",
        "runtimeEnvYAML": "string",
        "jobId": "string",
        "submissionMode": "K8sJobMode|HTTPMode|InteractiveMode|SidecarMode",
        "entrypointResources": "string",
        "entrypointNumCpus": "number",
        "entrypointNumGpus": "number",
        "ttlSecondsAfterFinished": "integer",
        "preRunningDeadlineSeconds": "integer",
        "shutdownAfterJobFinishes": "boolean",
        "suspend": "boolean",
    },
    "SubmitterConfig": {"backoffLimit": "integer"},
    "RayClusterSpec": {
        "upgradeStrategy": "RayClusterUpgradeStrategy",
        "authOptions": "AuthOptions",
        "suspend": "boolean",
        "managedBy": "string",
        "autoscalerOptions": "AutoscalerOptions",
        "headServiceAnnotations": "strings",
        "enableInTreeAutoscaling": "boolean",
        "gcsFaultToleranceOptions": "GcsFaultToleranceOptions",
        "headGroupSpec!": "HeadGroupSpec",
        "rayVersion": "string",
        "workerGroupSpecs": "[WorkerGroupSpec]",
    },
    "RayClusterUpgradeStrategy": {"type": "Recreate|None"},
    "AuthOptions": {"mode": "disabled|token", "secretName": "string", "enableK8sTokenAuth": "boolean"},
    "AutoscalerOptions": {
        "resources": "ResourceRequirements",
        "image": "string",
        "imagePullPolicy": "Always|Never|IfNotPresent",
        "securityContext": "SecurityContext",
        "idleTimeoutSeconds": "integer",
        "upscalingMode": "Default|Aggressive|Conservative",
        "version": "v1|v2",
        "env": "[EnvVar]",
        "envFrom": "[EnvFromSource]",
        "volumeMounts": "[VolumeMount]",
        "command": "[string]",
        "args": "[string]",
    },
    "GcsFaultToleranceOptions": {
        "backend": "redis|rocksdb",
        "redisUsername": "RedisCredential",
        "redisPassword": "RedisCredential",
        "externalStorageNamespace": "string",
        "redisAddress": "string",
    },
    "RedisCredential": {"valueFrom": "EnvVarSource", "value": "string"},
    "HeadGroupSpec": {
        "template!": "PodTemplateSpec",
        "headService": "Service",
        "enableIngress": "boolean",
        "resources": "strings",
        "labels": "strings",
        "rayStartParams": "strings",
        "serviceType": "ClusterIP|NodePort|LoadBalancer",
    },
    "WorkerGroupSpec": {
        "groupName!": "string",
        "replicas": "integer",
        "minReplicas": "integer",
        "maxReplicas": "integer",
        "idleTimeoutSeconds": "integer",
        "priority": "integer",
        "resources": "strings",
        "labels": "strings",
        "rayStartParams": "strings",
        "template!": "PodTemplateSpec",
        "numOfHosts": "integer",
    },
    # Pods
    "PodTemplateSpec": {"metadata": "ObjectMeta", "spec!": "PodSpec"},
    "ObjectMeta": {"name": "string", "namespace": "string", "labels": "strings", "annotations": "strings"},
    "PodSpec": {
        "containers!": "[Container]",
        "initContainers": "[Container]",
        "volumes": "[Volume]",
        "serviceAccountName": "string",
        "automountServiceAccountToken": "boolean",
        "restartPolicy": "Always|OnFailure|Never",
        "terminationGracePeriodSeconds": "integer",
        "nodeSelector": "strings",
        "affinity": "Affinity",
        "tolerations": "[Toleration]",
        "topologySpreadConstraints": "[TopologySpreadConstraint]",
        "priorityClassName": "string",
        "imagePullSecrets": "[LocalReference]",
        "securityContext": "PodSecurityContext",
    },
    "LocalReference": {"name": "string"},
    "PodSecurityContext": {
        "runAsNonRoot": "boolean",
        "runAsUser": "integer",
        "runAsGroup": "integer",
        "fsGroup": "integer",
        "fsGroupChangePolicy": "OnRootMismatch|Always",
        "seccompProfile": "SeccompProfile",
    },
    "SeccompProfile": {"type!": "RuntimeDefault|Unconfined|Localhost", "localhostProfile": "string"},
    "SecurityContext": {
        "allowPrivilegeEscalation": "boolean",
        "capabilities": "Capabilities",
        "privileged": "boolean",
        "readOnlyRootFilesystem": "boolean",
        "runAsNonRoot": "boolean",
        "runAsUser": "integer",
        "runAsGroup": "integer",
        "seccompProfile": "SeccompProfile",
    },
    "Capabilities": {"add": "[string]", "drop": "[string]"},
    "Container": {
        "name!": "string",
        "image!": "string",
        "imagePullPolicy": "Always|Never|IfNotPresent",
        "command": "[string]",
        "args": "[string]",
        "workingDir": "string",
        "env": "[EnvVar]",
        "envFrom": "[EnvFromSource]",
        "ports": "[ContainerPort]",
        "resources": "ResourceRequirements",
        "volumeMounts": "[VolumeMount]",
        "livenessProbe": "Probe",
        "readinessProbe": "Probe",
        "startupProbe": "Probe",
        "lifecycle": "Lifecycle",
        "securityContext": "SecurityContext",
    },
    "EnvVar": {"name!": "string", "value": "string", "valueFrom": "EnvVarSource"},
    "EnvVarSource": {
        "secretKeyRef": "KeyReference",
        "configMapKeyRef": "KeyReference",
        "fieldRef": "FieldReference",
    },
    "KeyReference": {"name!": "string", "key!": "string", "optional": "boolean"},
    "FieldReference": {"fieldPath!": "string", "apiVersion": "string"},
    "EnvFromSource": {"prefix": "string", "secretRef": "LocalReference", "configMapRef": "LocalReference"},
    "ContainerPort": {"name": "string", "containerPort!": "integer", "protocol": "TCP|UDP|SCTP"},
    "ResourceRequirements": {"requests": "quantities", "limits": "quantities"},
    "VolumeMount": {"name!": "string", "mountPath!": "string", "readOnly": "boolean", "subPath": "string"},
    "Probe": {
        "httpGet": "HttpGetAction",
        "tcpSocket": "TcpSocketAction",
        "exec": "ExecAction",
        "initialDelaySeconds": "integer",
        "periodSeconds": "integer",
        "timeoutSeconds": "integer",
        "successThreshold": "integer",
        "failureThreshold": "integer",
    },
    "HttpGetAction": {"path": "string", "port!": "port", "scheme": "HTTP|HTTPS", "host": "string"},
    "TcpSocketAction": {"port!": "port"},
    "ExecAction": {"command!": "[string]"},
    "Lifecycle": {"preStop": "LifecycleHandler", "postStart": "LifecycleHandler"},
    "LifecycleHandler": {"exec": "ExecAction", "httpGet": "HttpGetAction"},
    "Volume": {
        "name!": "string",
        "secret": "SecretVolume",
        "configMap": "ConfigMapVolume",
        "emptyDir": "EmptyDirVolume",
        "persistentVolumeClaim": "ClaimVolume",
    },
    "SecretVolume": {"secretName!": "string", "defaultMode": "integer", "optional": "boolean"},
    "ConfigMapVolume": {"name!": "string", "defaultMode": "integer", "optional": "boolean"},
    "EmptyDirVolume": {"medium": "|Memory", "sizeLimit": "string"},
    "ClaimVolume": {"claimName!": "string", "readOnly": "boolean"},
    "Affinity": {"nodeAffinity": "NodeAffinity"},
    "NodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": "[PreferredTerm]"},
    "PreferredTerm": {"weight!": "integer", "preference!": "NodeTerm"},
    "NodeTerm": {"matchExpressions": "[LabelExpression]"},
    "LabelExpression": {"key!": "string", "operator!": "In|NotIn|Exists|DoesNotExist", "values": "[string]"},
    "Toleration": {
        "key": "string",
        "operator": "Exists|Equal",
        "value": "string",
        "effect": "NoSchedule|PreferNoSchedule|NoExecute",
    },
    "TopologySpreadConstraint": {
        "maxSkew!": "integer",
        "topologyKey!": "string",
        "whenUnsatisfiable!": "DoNotSchedule|ScheduleAnyway",
        "labelSelector": "LabelSelector",
    },
    "LabelSelector": {"matchLabels": "strings", "matchExpressions": "[LabelExpression]"},
    # Beside pods
    "Namespace": {},
    "ServiceAccount": {},
    "ConfigMap": {"data": "strings"},
    "Service": {"spec!": "ServiceSpec"},
    "ServiceSpec": {
        "selector": "strings",
        "ports": "[ServicePort]",
        "clusterIP": "string",
        "type": "ClusterIP|NodePort|LoadBalancer",
    },
    "ServicePort": {"name": "string", "port!": "integer", "targetPort": "port", "protocol": "TCP|UDP|SCTP"},
    "StatefulSet": {"spec!": "StatefulSetSpec"},
    "StatefulSetSpec": {
        "serviceName!": "string",
        "replicas": "integer",
        "selector!": "LabelSelector",
        "template!": "PodTemplateSpec",
        "volumeClaimTemplates": "[ClaimTemplate]",
    },
    "ClaimTemplate": {"metadata!": "ObjectMeta", "spec!": "ClaimSpec"},
    "PersistentVolumeClaim": {"spec!": "ClaimSpec"},
    "ClaimSpec": {
        "accessModes": "[ReadWriteOnce|ReadWriteMany|ReadOnlyMany|ReadWriteOncePod]",
        "resources": "ResourceRequirements",
        "storageClassName": "string",
    },
    "PodDisruptionBudget": {"spec!": "PodDisruptionBudgetSpec"},
    "PodDisruptionBudgetSpec": {
        "minAvailable": "port",
        "maxUnavailable": "port",
        "selector": "LabelSelector",
    },
    "NetworkPolicy": {"spec!": "NetworkPolicySpec"},
    "NetworkPolicySpec": {
        "podSelector": "LabelSelector",
        "policyTypes": "[Ingress|Egress]",
        "ingress": "[NetworkPolicyIngressRule]",
        "egress": "[NetworkPolicyEgressRule]",
    },
    "NetworkPolicyIngressRule": {"from": "[NetworkPeer]", "ports": "[NetworkPort]"},
    "NetworkPolicyEgressRule": {"to": "[NetworkPeer]", "ports": "[NetworkPort]"},
    "NetworkPeer": {
        "podSelector": "LabelSelector",
        "namespaceSelector": "LabelSelector",
        "ipBlock": "IpBlock",
    },
    "IpBlock": {"cidr!": "string", "except": "[string]"},
    "NetworkPort": {"port": "port", "endPort": "integer", "protocol": "TCP|UDP|SCTP"},
}
API_VERSIONS = {
    "RayService": "ray.io/v1",
    "RayJob": "ray.io/v1",
    "RayCronJob": "ray.io/v1",
    "StatefulSet": "apps/v1",
    "PodDisruptionBudget": "policy/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
}
"""Version of the API of each kind that is not of `v1`."""
SCALARS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "port": (int, str),
}
QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")


def faults(document: dict[str, Any]) -> list[str]:
    """Return what an API server would refuse in an object, as `path: reason`."""
    kind = document.get("kind", "")
    if kind not in TABLES:
        return [f"kind: {kind} is not listed"]
    found = []
    if document.get("apiVersion") != API_VERSIONS.get(kind, "v1"):
        found.append(f"apiVersion: {document.get('apiVersion')} is not that of {kind}")
    rest = {name: value for name, value in document.items() if name not in ("apiVersion", "kind", "metadata")}
    found += _table_faults("metadata", document.get("metadata", {}), "ObjectMeta")
    return [*found, *_table_faults(kind, rest, kind)]


def _table_faults(path: str, value: Any, table: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: {value!r} is not a {table}"
        return
    fields = {name.removesuffix("!"): kind for name, kind in TABLES[table].items()}
    for name, kind in fields.items():
        if name in value:
            yield from _faults(f"{path}.{name}", value[name], kind)
        elif f"{name}!" in TABLES[table]:
            yield f"{path}.{name}: is required"
    yield from (f"{path}.{name}: is unknown" for name in value if name not in fields)


def _faults(path: str, value: Any, kind: str) -> Iterator[str]:
    if kind in TABLES:
        yield from _table_faults(path, value, kind)
    elif kind.startswith("["):
        if not isinstance(value, list):
            yield f"{path}: {value!r} is not a list"
            return
        for number, one in enumerate(value):
            yield from _faults(f"{path}[{number}]", one, kind[1:-1])
    elif not _is_a(value, kind):
        yield f"{path}: {value!r} is not {kind}"


def _is_a(value: Any, kind: str) -> bool:
    if kind == "strings":
        return isinstance(value, dict) and all(
            isinstance(word, str) for pair in value.items() for word in pair
        )
    if kind == "quantities":
        return isinstance(value, dict) and all(QUANTITY.fullmatch(str(one)) for one in value.values())
    if kind in SCALARS:
        return isinstance(value, SCALARS[kind]) and isinstance(value, bool) == (kind == "boolean")
    assert "|" in kind, f"{kind} is no type"
    return value in kind.split("|")
