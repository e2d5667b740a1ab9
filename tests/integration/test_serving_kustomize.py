"""The manifests as kustomize renders them."""

from __future__ import annotations

import shutil
import subprocess

import pytest
import yaml
from support import ROOT

pytestmark = pytest.mark.integration

K8S = ROOT / "smoke_lambda/serving/k8s"


def test_kustomize_renders_every_manifest_and_sets_the_image() -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl, which has kustomize: install it")
    done = subprocess.run(
        ["kubectl", "kustomize", str(K8S)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rendered = list(yaml.safe_load_all(done.stdout))
    kustomization = yaml.safe_load((K8S / "kustomization.yaml").read_text())
    written = [
        each
        for name in kustomization["resources"]
        for each in yaml.safe_load_all((K8S / name).read_text())
    ]
    (image,) = kustomization["images"]
    for each in written:
        if each["kind"] == "Deployment":
            (container,) = each["spec"]["template"]["spec"]["containers"]
            container["image"] = f"{image['newName']}:{image['newTag']}"
    by_name = {(each["kind"], each["metadata"]["name"]): each for each in rendered}
    assert by_name == {(each["kind"], each["metadata"]["name"]): each for each in written}
