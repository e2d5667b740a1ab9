"""The manifests of the model server: valid, and of one piece."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from smoke_lambda.serving.settings import GatewaySettings, Settings

FOLDER = Path(__file__).parents[2] / "smoke_lambda/serving"
K8S = FOLDER / "k8s"
Manifest = dict[str, Any]

# A small node: two CPUs and 2 GB, less what Kubernetes and the system keep (EKS reserves 70m and
# 0.5 GB there; its own pods ask for 200m more).
NODE_CPU, NODE_MEMORY = 1.7, 1300


def kustomization() -> Manifest:
    found: Manifest = yaml.safe_load((K8S / "kustomization.yaml").read_text())
    return found


def manifests() -> list[Manifest]:
    texts = [(K8S / name).read_text() for name in kustomization()["resources"]]
    return [each for text in texts for each in yaml.safe_load_all(text)]


ALL = manifests()


def of(kind: str) -> dict[str, Manifest]:
    return {each["metadata"]["name"]: each for each in ALL if each["kind"] == kind}


def pod(deployment: Manifest) -> Manifest:
    found: Manifest = deployment["spec"]["template"]
    return found


def container(deployment: Manifest) -> Manifest:
    (found,) = pod(deployment)["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def ports(deployment: Manifest) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in container(deployment)["ports"]}


def selected(selector: dict[str, str]) -> list[Manifest]:
    """Return the deployments whose pods have these labels."""
    return [
        each
        for each in of("Deployment").values()
        if selector.items() <= pod(each)["metadata"]["labels"].items()
    ]


def title(manifest: Manifest) -> str:
    return f"{manifest['kind']}-{manifest['metadata']['name']}"


@pytest.mark.parametrize("manifest", ALL, ids=title)
@pytest.mark.filterwarnings("error")
def test_the_schema_of_kubernetes_takes_it(manifest: Manifest) -> None:
    version = kubernetes_validate.latest_version()
    assert kubernetes_validate.validate(manifest, version, strict=True) is not None


def test_an_unknown_field_is_found() -> None:
    broken = {**ALL[0], "spec": {**ALL[0]["spec"], "replica": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, kubernetes_validate.latest_version(), strict=True)


def test_every_file_is_listed_and_every_kind_is_there() -> None:
    assert {path.name for path in K8S.glob("*.yaml")} == {
        "kustomization.yaml",
        *kustomization()["resources"],
    }
    for kind in ("Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget"):
        assert set(of(kind)) == {"model-server", "gateway"}
    assert set(of("NetworkPolicy")) == {"model-server", "gateway"}
    assert {each["apiVersion"] for each in of("HorizontalPodAutoscaler").values()} == {
        "autoscaling/v2"
    }


def test_selectors_choose_the_pods_that_are_meant() -> None:
    for name, deployment in of("Deployment").items():
        assert selected(deployment["spec"]["selector"]["matchLabels"]) == [deployment]
        assert selected(of("Service")[name]["spec"]["selector"]) == [deployment]
        for kind, key in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
            assert selected(of(kind)[name]["spec"][key]["matchLabels"]) == [deployment]
        (spread,) = pod(deployment)["spec"]["topologySpreadConstraints"]
        assert selected(spread["labelSelector"]["matchLabels"]) == [deployment]


def test_ports_are_those_of_the_programs() -> None:
    assert ports(of("Deployment")["model-server"]) == {
        "grpc": Settings().grpc_port,
        "rest": Settings().rest_port,
    }
    assert ports(of("Deployment")["gateway"]) == {"http": GatewaySettings().port}
    for name, service in of("Service").items():
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in ports(of("Deployment")[name])


def test_probes_ask_paths_that_there_are() -> None:
    for deployment in of("Deployment").values():
        found = container(deployment)
        asked = {
            kind: found[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")
        }
        assert {kind: get["path"] for kind, get in asked.items()} == {
            "startup": "/ready",
            "readiness": "/ready",
            "liveness": "/live",
        }
        assert {get["port"] for get in asked.values()} <= set(ports(deployment))


def test_variables_are_settings() -> None:
    handler = (FOLDER.parent / "app.py").read_text()
    known = {
        "model-server": {field.name.upper() for field in fields(Settings)},
        "gateway": {field.name.upper() for field in fields(GatewaySettings)}
        | set(re.findall(r'environ\.get\("(\w+)"', handler)),
    }
    names = set()
    for name, deployment in of("Deployment").items():
        variables = {each["name"]: each["value"] for each in container(deployment)["env"]}
        assert set(variables) <= known[name]
        names.add(variables["MODEL_NAME"])
    assert len(names) == 1


def test_the_gateway_asks_the_headless_service() -> None:
    (server,) = (
        each["value"]
        for each in container(of("Deployment")["gateway"])["env"]
        if each["name"] == "SERVER"
    )
    name, _, port = server.partition(":")
    service = of("Service")[name]["spec"]
    assert service["clusterIP"] == "None"
    assert int(port) in {each["port"] for each in service["ports"]}


def test_only_the_gateway_reaches_the_server() -> None:
    policies = of("NetworkPolicy")
    server = policies["model-server"]["spec"]
    (rule,) = server["ingress"]
    (peer,) = rule["from"]
    assert selected(peer["podSelector"]["matchLabels"]) == [of("Deployment")["gateway"]]
    assert "egress" not in server
    for policy in policies.values():
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    for name, policy in policies.items():
        for port in port_names(policy["spec"].get("ingress", [])):
            assert port in ports(of("Deployment")[name])


def port_names(rules: list[Manifest]) -> Iterator[str | int]:
    for rule in rules:
        yield from (port["port"] for port in rule["ports"])


def test_autoscalers_scale_deployments_that_set_no_number() -> None:
    for scaler in of("HorizontalPodAutoscaler").values():
        target = scaler["spec"]["scaleTargetRef"]
        deployment = of(target["kind"])[target["name"]]
        assert target["apiVersion"] == deployment["apiVersion"]
        assert "replicas" not in deployment["spec"]
        assert 2 <= scaler["spec"]["minReplicas"] < scaler["spec"]["maxReplicas"]
        # A share of the request, which a pod can exceed up to its limit.
        (metric,) = scaler["spec"]["metrics"]
        share = metric["resource"]["target"]["averageUtilization"] / 100
        resources = container(deployment)["resources"]
        assert share * cpu(resources["requests"]["cpu"]) < cpu(resources["limits"]["cpu"])


def cpu(text: str) -> float:
    return int(text[:-1]) / 1000 if text.endswith("m") else float(text)


def memory(text: str) -> int:
    return int(text.removesuffix("Mi"))


def test_a_small_node_has_room_to_surge() -> None:
    needed_cpu = needed_memory = 0.0
    for name, deployment in of("Deployment").items():
        rolling = deployment["spec"]["strategy"]["rollingUpdate"]
        assert rolling == {"maxSurge": 1, "maxUnavailable": 0}
        pods = of("HorizontalPodAutoscaler")[name]["spec"]["minReplicas"] + rolling["maxSurge"]
        requests = container(deployment)["resources"]["requests"]
        needed_cpu += pods * cpu(requests["cpu"])
        needed_memory += pods * memory(requests["memory"])
    assert needed_cpu <= NODE_CPU
    assert needed_memory <= NODE_MEMORY


@pytest.mark.parametrize("deployment", of("Deployment").values(), ids=title)
def test_a_pod_may_do_little(deployment: Manifest) -> None:
    spec, inside = pod(deployment)["spec"], container(deployment)["securityContext"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert inside == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_a_pod_has_time_to_end() -> None:
    for deployment, settings in (("model-server", Settings()), ("gateway", GatewaySettings())):
        grace = pod(of("Deployment")[deployment])["spec"]["terminationGracePeriodSeconds"]
        assert grace > settings.lame_seconds + settings.drain_seconds
    # Clients connect to other servers before a server has gone (gRPC adds up to a tenth).
    assert Settings().lame_seconds > 1.1 * Settings().connection_seconds


def test_images_are_set_in_one_place() -> None:
    (image,) = kustomization()["images"]
    assert {container(each)["image"] for each in of("Deployment").values()} == {image["name"]}
    assert image["newTag"] != "latest"


def test_compose_runs_the_same_programs_with_the_same_bounds() -> None:
    services = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
    user = re.search(r"^USER (\S+)", (FOLDER / "Dockerfile").read_text(), re.MULTILINE)
    assert user is not None
    for name, deployment in (("server", "model-server"), ("gateway", "gateway")):
        service, manifest = services[name], of("Deployment")[deployment]
        assert service["command"] == container(manifest)["args"]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["user"] == user[1]
        limit = container(manifest)["resources"]["limits"]["memory"]
        assert service["mem_limit"] == limit.replace("Mi", "m")
        grace = pod(manifest)["spec"]["terminationGracePeriodSeconds"]
        assert service["stop_grace_period"] == f"{grace}s"
        security = pod(manifest)["spec"]["securityContext"]
        assert user[1] == f"{security['runAsUser']}:{security['runAsGroup']}"
