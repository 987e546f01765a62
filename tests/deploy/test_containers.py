"""Compose and Kubernetes files: they say what `fluxhero up` needs, open nothing, and hold no secret.

No Docker engine and no cluster is needed. What was checked against the schemas of both is in docs/scaling.md.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from fluxhero.night.deployments import POOL
from tests.command import check_arguments

REPOSITORY = Path(__file__).parents[2]
COMPOSE = REPOSITORY / "deploy" / "compose"
KUBERNETES = REPOSITORY / "deploy" / "kubernetes"
DOCKERFILE = (COMPOSE / "Dockerfile").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    document = yaml.safe_load((COMPOSE / "compose.yaml").read_text(encoding="utf-8"))
    found: dict[str, Any] = document["services"]
    assert set(document["volumes"]) == {"postgres", "server", "data"}
    return found


def test_compose_starts_what_there_is(services: dict[str, Any]) -> None:
    assert set(services) == {"postgres", "server", "worker"}
    for name in ("server", "worker"):
        check_arguments(list(services[name]["command"]))
    parts = [word for name in ("server", "worker") for word in services[name]["command"]]
    assert {"server", "worker", "api", "alerts"} < set(parts), "no part is left out"


def test_compose_publishes_on_loopback_alone(services: dict[str, Any]) -> None:
    ports = {name: one.get("ports", []) for name, one in services.items()}
    assert ports == {
        "postgres": [],
        "server": ["127.0.0.1:4200:4200"],
        "worker": ["127.0.0.1:8400:8400"],
    }
    assert services["postgres"]["networks"] == ["inside"]


def test_compose_waits_for_health_and_confines(services: dict[str, Any]) -> None:
    for name, one in services.items():
        assert one["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}, name
        assert one["restart"] == "unless-stopped", name
        assert "no-new-privileges:true" in one["security_opt"], name
        assert one["env_file"] == f"{name}.env"
        example = (COMPOSE / f"{name}.env.example").read_text(encoding="utf-8")
        assert no_secret(example), name
        if name != "postgres":
            assert (one["read_only"], one["init"], one["cap_drop"]) == (True, True, ["ALL"]), name
    assert services["server"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert services["worker"]["depends_on"] == {"server": {"condition": "service_healthy"}}


def no_secret(text: str) -> bool:
    """No password stands after its name or before an @."""
    named = re.search(r"^\w*(?:PASSWORD|SECRET|URLS)=\S", text, re.MULTILINE)
    in_url = re.search(r"://\w+:[^@\s]+@", text)
    return named is None and in_url is None


def test_no_secret_is_told_from_one() -> None:
    assert not no_secret("POSTGRES_PASSWORD=x")
    assert not no_secret("A=postgresql://me:x@host/db")
    assert no_secret("POSTGRES_PASSWORD=\nA=postgresql://me:@host/db")
    assert no_secret((COMPOSE / "compose.yaml").read_text(encoding="utf-8"))


def test_the_image_is_what_the_lock_says_and_runs_as_nobody_in_particular() -> None:
    assert "--require-hashes --requirement requirements.lock" in DOCKERFILE
    users = re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE)
    assert users == ["10001:10001"]
    assert "DO_NOT_TRACK=1" in DOCKERFILE
    (command,) = re.findall(r"^CMD (.+)$", DOCKERFILE, re.MULTILINE)
    check_arguments(json.loads(command))
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert set(bases) == {"python:3.12-slim"}


def test_what_the_image_copies_is_there_and_not_ignored() -> None:
    ignored = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied: set[str] = set()
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE):
        copied |= set(line.split()[:-1])
    assert copied == allowed
    assert all((REPOSITORY / one).exists() for one in copied)
    assert "*" in ignored, "whatever is not named stays outside"


# ---- Kubernetes


@pytest.fixture(scope="module")
def rendered() -> dict[tuple[str, str], Any]:
    """The objects by kind and name."""
    if (kubectl := shutil.which("kubectl")) is None:
        pytest.skip("no kubectl here to render deploy/kubernetes")
    done = subprocess.run(
        [kubectl, "kustomize", str(KUBERNETES)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    objects = list(yaml.safe_load_all(done.stdout))
    return {(one["kind"], one["metadata"]["name"]): one for one in objects}


PODS = [("Deployment", "prefect-server"), ("Deployment", "worker"), ("StatefulSet", "postgres")]


def test_kubernetes_has_everything_in_one_namespace(
    rendered: dict[tuple[str, str], Any],
) -> None:
    assert {one for one in rendered if one[0] in {"Deployment", "StatefulSet"}} == set(PODS)
    for (kind, name), one in rendered.items():
        if kind != "Namespace":
            assert one["metadata"]["namespace"] == "fluxhero", name
        if kind == "Service":
            assert one["spec"]["type"] == "ClusterIP", name
    assert ("Secret", "prefect-database") not in rendered, "secrets are referred to, not shipped"
    assert rendered["NetworkPolicy", "inside-only"]["spec"]["podSelector"] == {}


@pytest.mark.parametrize("key", PODS, ids=lambda key: key[1])
def test_kubernetes_pods_are_confined_probed_and_bounded(
    rendered: dict[tuple[str, str], Any], key: tuple[str, str]
) -> None:
    spec = rendered[key]["spec"]
    assert spec["replicas"] == 1
    if key[0] == "Deployment":
        assert spec["strategy"] == {"type": "Recreate"}, "never two beside each other"
    pod = spec["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    (container,) = pod["containers"]
    assert {"readinessProbe", "livenessProbe"} <= set(container)
    assert set(container["resources"]) == {"requests", "limits"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    if "args" in container:
        check_arguments(list(container["args"]))
    for variable in container["env"]:
        secret = "PASSWORD" in variable["name"] or "CONNECTION_URL" in variable["name"]
        assert not secret or "secretKeyRef" in variable["valueFrom"], variable["name"]


def test_the_services_find_their_pods(rendered: dict[tuple[str, str], Any]) -> None:
    labels = [rendered[key]["spec"]["template"]["metadata"]["labels"].items() for key in PODS]
    for (kind, name), one in rendered.items():
        if kind == "Service":
            wanted = one["spec"]["selector"].items()
            assert sum(wanted <= each for each in labels) == 1, name
    claim = rendered["PersistentVolumeClaim", "data"]["spec"]
    assert claim["accessModes"] == ["ReadWriteOnce"], "the store has one writer"


def test_the_template_of_jobs_uses_the_data_and_the_image_and_is_confined() -> None:
    template = json.loads((KUBERNETES / "job-template.json").read_text(encoding="utf-8"))
    manifest = template["job_configuration"]["job_manifest"]
    pod = manifest["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    claims = [one.get("persistentVolumeClaim") for one in pod["volumes"]]
    assert {"claimName": "data"} in claims
    assert {"name": "data", "mountPath": "/data"} in container["volumeMounts"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    known = set(template["variables"]["properties"])
    used = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(template["job_configuration"])))
    assert used == known, "Prefect leaves out what no variable names"
    assert POOL == "fluxhero", "what docs/scaling.md calls the pool"
