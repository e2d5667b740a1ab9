"""Makes the manifests for a user's model from those in smoke_lambda/serving/k8s."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MANIFESTS = Path(__file__).parents[1] / "serving" / "k8s"
EXAMPLE = re.compile(r"\bclothes\b")
"""The name of the model in the original manifests."""
SERVER, GATEWAY = ("server.yaml",), ("gateway.yaml", "network.yaml")
KUSTOMIZATION = "kustomization.yaml"
FOLDER = "kubernetes"


def has_gateway(plan: Mapping[str, Any]) -> bool:
    """True if a gateway can run the handler: one picture in, one output, no signature."""
    is_plain = not plan["signature"] and len(plan["outputs"]) == 1
    return is_plain and plan["single"] == "image" and not plan["channels_first"]


def manifests(plan: Mapping[str, Any], name: str) -> dict[str, str]:
    """Return the text of each file of the folder `FOLDER`, by name."""
    names = (*SERVER, *(GATEWAY if has_gateway(plan) else ()))
    found = {
        file: EXAMPLE.sub(name, (MANIFESTS / file).read_text(encoding="utf-8"))
        for file in (*names, KUSTOMIZATION)
    }
    lines = found[KUSTOMIZATION].splitlines(keepends=True)
    unused = [f"  - {file}\n" for file in (*SERVER, *GATEWAY) if file not in names]
    found[KUSTOMIZATION] = "".join(
        line.replace("smoke_lambda/serving/k8s", FOLDER) for line in lines if line not in unused
    )
    return found | {"Dockerfile": dockerfile(plan, name)}


def dockerfile(plan: Mapping[str, Any], name: str) -> str:
    """Return the Dockerfile of a model server with the model, and the handler for a gateway."""
    lines = [
        "# The model server with this model; docs/kubernetes.md of the repository makes its image.",
        f"#   docker build -f {FOLDER}/Dockerfile -t {name}:1 .",
        "ARG SERVER_IMAGE=model-server",
        "FROM ${SERVER_IMAGE}",
        f"COPY --chmod=444 model.tflite /models/{name}/1/model.tflite",
        f"ENV MODEL_NAME={name}",
    ]
    if has_gateway(plan):
        labels = " labels.txt" if plan["answer"] == "labels" else ""
        lines += [
            f"COPY --chmod=444 app.py{labels} /function/",
            "ENV HANDLER=/function/app.py",
        ]
    return "\n".join([*lines, ""])
