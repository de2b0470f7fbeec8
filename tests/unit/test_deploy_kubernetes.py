"""The manifests of deploy/kubernetes/, rendered and held to Kubernetes' schemas and to the code."""

import re
from copy import deepcopy
from pathlib import Path
from typing import Final, TypeVar

import kubernetes_validate
import pytest

from service.core.wire import Json
from service.settings import read_settings, variables
from service.supervisor import HARD_EXIT_SECONDS
from tests.harness import ROOT
from tests.kustomize import Manifest, parsed, real_kustomize, render

FOLDER: Final = ROOT / "deploy" / "kubernetes"
BASE: Final = FOLDER / "base"
EXAMPLE: Final = FOLDER / "overlays" / "example"
KUBERNETES: Final = ("1.30", "1.37")
"""The oldest version that knows all we use, and the newest that the validator knows."""

T = TypeVar("T")
both = pytest.mark.parametrize("folder", [BASE, EXAMPLE], ids=lambda folder: folder.name)


def validate(manifest: Manifest, version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def of_kind(folder: Path, kind: str) -> Manifest:
    [found] = [each for each in render(folder) if each["kind"] == kind]
    return found


def at(node: Json, *path: str | int, kind: type[T]) -> T:
    """Return what stands at a place in a manifest, which has to be of this type."""
    for step in path:
        if isinstance(step, int):
            assert isinstance(node, list)
            node = node[step]
        else:
            assert isinstance(node, dict), f"{step} is not there"
            node = node[step]
    assert isinstance(node, kind)
    return node


def pod(folder: Path) -> Manifest:
    return at(of_kind(folder, "StatefulSet"), "spec", "template", "spec", kind=dict)


def container(folder: Path) -> Manifest:
    return at(pod(folder), "containers", 0, kind=dict)


@pytest.mark.parametrize("version", KUBERNETES)
@both
def test_manifests_are_what_kubernetes_knows(folder: Path, version: str) -> None:
    """Every rendered manifest satisfies the strict schemas, oldest version and newest."""
    manifests = render(folder)
    assert len(manifests) >= 5
    for manifest in manifests:
        validate(manifest, version)


@pytest.mark.parametrize("version", KUBERNETES)
def test_the_toolbox_holds_the_services_volume(version: str) -> None:
    """The pod for restoring is sound, as restricted as the service, and mounts its claim."""
    [toolbox] = parsed(FOLDER / "toolbox.yaml")
    validate(toolbox, version)
    held = at(toolbox, "spec", kind=dict)
    assert held["securityContext"] == pod(BASE)["securityContext"]
    mine = at(held, "containers", 0, kind=dict)
    assert mine["securityContext"] == container(BASE)["securityContext"]
    assert mine["image"] == container(EXAMPLE)["image"]
    stateful = of_kind(BASE, "StatefulSet")
    claim = at(stateful, "spec", "volumeClaimTemplates", 0, "metadata", "name", kind=str)
    name = at(stateful, "metadata", "name", kind=str)
    assert at(held, "volumes", 0, "persistentVolumeClaim", kind=dict) == {
        "claimName": f"{claim}-{name}-0"
    }


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (("spec", "replica"), 1),
        (("spec", "replicas"), "one"),
        (("spec", "template", "spec", "containers", 0, "livenessProbe", "httpGet", "pth"), "/"),
        (("spec", "template", "spec", "containers", 0, "securityContext", "runAsRoot"), False),
        (("spec", "volumeClaimTemplates", 0, "spec", "accessMode"), ["ReadWriteOnce"]),
    ],
)
def test_a_wrong_field_is_found(path: tuple[str | int, ...], wrong: Json) -> None:
    """The validation is no formality: a misspelt field or a wrong type anywhere fails it."""
    manifest = deepcopy(of_kind(BASE, "StatefulSet"))
    *way, last = path
    at(manifest, *way, kind=dict)[last] = wrong
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(manifest, KUBERNETES[-1])


@both
def test_amounts_are_kubernetes_quantities(folder: Path) -> None:
    """Resources that exist, in units that exist: both are free text to the schemas."""
    claim = at(of_kind(folder, "StatefulSet"), "spec", "volumeClaimTemplates", 0, kind=dict)
    asked = [
        *at(container(folder), "resources", kind=dict).values(),
        at(claim, "spec", "resources", "requests", kind=dict),
    ]
    for amounts in asked:
        assert isinstance(amounts, dict)
        assert set(amounts) <= {"cpu", "memory", "storage"}
        for amount in amounts.values():
            assert re.fullmatch(r"[0-9]+(m|k|[KMGTPE]i|[MGTPE])?", str(amount))


@both
def test_rendering_is_kustomizes_own(folder: Path) -> None:
    """Where kustomize is at hand, it makes the same of our folders as the tests' renderer does."""
    real = real_kustomize(folder)
    if real is None:
        pytest.skip("there is no kustomize here")

    def order(manifest: Manifest) -> str:
        return str(manifest["kind"])

    assert sorted(render(folder), key=order) == sorted(real, key=order)


@both
def test_the_pod_outlives_its_own_stop(folder: Path) -> None:
    """Kubernetes kills only after preStop, the grace and the service's own hard exit."""
    data = at(of_kind(folder, "ConfigMap"), "data", kind=dict)
    grace = read_settings({key: str(value) for key, value in data.items()}).shutdown_grace_seconds
    pause = at(container(folder), "lifecycle", "preStop", "sleep", "seconds", kind=int)
    allowed = at(pod(folder), "terminationGracePeriodSeconds", kind=int)
    assert data["SHUTDOWN_GRACE_SECONDS"] == f"{grace:g}"
    assert 0 < allowed - (pause + grace + HARD_EXIT_SECONDS) <= 10


@both
def test_settings_exist(folder: Path) -> None:
    """ConfigMap and Secret set variables that the service reads, to values that it takes."""
    data = at(of_kind(folder, "ConfigMap"), "data", kind=dict)
    secret = [at(each, "name", kind=str) for each in at(container(folder), "env", kind=list)]
    assert {*data, *secret} <= {variable.name for variable in variables()}
    read_settings(data)


@both
def test_the_pod_is_restricted(folder: Path) -> None:
    """The restricted Pod Security profile, a read-only root and no token of the cluster."""
    assert at(pod(folder), "securityContext", kind=dict) == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "fsGroup": 10001,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert at(container(folder), "securityContext", kind=dict) == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert at(pod(folder), "automountServiceAccountToken", kind=bool) is False
    assert at(of_kind(folder, "ServiceAccount"), "automountServiceAccountToken", kind=bool) is False


@both
def test_one_pod_owns_the_store(folder: Path) -> None:
    """One replica, and a volume that only one pod can mount."""
    spec = at(of_kind(folder, "StatefulSet"), "spec", kind=dict)
    assert spec["replicas"] == 1
    claim = at(spec, "volumeClaimTemplates", 0, kind=dict)
    assert at(claim, "spec", "accessModes", kind=list) == ["ReadWriteOncePod"]
    [mount] = at(container(folder), "volumeMounts", kind=list)
    assert mount == {"name": at(claim, "metadata", "name", kind=str), "mountPath": "/data"}


@both
def test_probes_ask_the_right_question(folder: Path) -> None:
    """Start and readiness ask whether the service works, liveness only whether it lives."""
    paths = {
        name: at(container(folder), f"{name}Probe", "httpGet", "path", kind=str)
        for name in ("startup", "readiness", "liveness")
    }
    health = "/_health"
    assert paths == {"startup": health, "readiness": health, "liveness": f"{health}?live"}


def test_the_runbook_knows_how_long_a_start_may_wait() -> None:
    """A start on a full disk is given up by Kubernetes after the time that is said."""
    probe = at(container(BASE), "startupProbe", kind=dict)
    seconds = int(str(probe["periodSeconds"])) * int(str(probe["failureThreshold"]))
    runbook = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
    assert f"startup probe gives it {seconds} s" in runbook


def test_the_world_sees_the_webhook_alone() -> None:
    """The example's Ingress leads exactly /webhook to the service."""
    [rule] = at(of_kind(EXAMPLE, "Ingress"), "spec", "rules", kind=list)
    [path] = at(rule, "http", "paths", kind=list)
    assert (at(path, "path", kind=str), at(path, "pathType", kind=str)) == ("/webhook", "Exact")
    named = at(path, "backend", "service", "name", kind=str)
    assert named == at(of_kind(EXAMPLE, "Service"), "metadata", "name", kind=str)


@both
def test_what_names_another_names_what_is_there(folder: Path) -> None:
    """Selectors find the pod's labels, and ports are the container's."""
    stateful = of_kind(folder, "StatefulSet")
    labels = at(stateful, "spec", "template", "metadata", "labels", kind=dict)
    service = at(of_kind(folder, "Service"), "spec", kind=dict)
    policy = at(of_kind(folder, "NetworkPolicy"), "spec", kind=dict)
    assert service["selector"] == labels
    assert at(policy, "podSelector", "matchLabels", kind=dict) == labels
    assert at(stateful, "spec", "selector", "matchLabels", kind=dict) == labels
    port = at(container(folder), "ports", 0, kind=dict)
    assert port == {"name": "http", "containerPort": read_settings({}).port}
    assert at(service, "ports", 0, "targetPort", kind=str) == "http"
    assert at(policy, "ingress", 0, "ports", 0, "port", kind=str) == "http"


def test_the_example_is_of_this_version() -> None:
    """The example names the image's tag that `make image` gives."""
    version = f'version = "{str(container(EXAMPLE)["image"]).rpartition(":")[2]}"'
    assert version in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
