"""Prints the fields of TensorFlow's own messages; needs TensorFlow.

python tensorflow_protos.py NAME...
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

from google.protobuf import descriptor_pool

# The services' modules are not here: this old protobuf cannot load them, only their stubs.
MODULES = (
    "tensorflow.core.protobuf.meta_graph_pb2",
    "tensorflow_serving.apis.predict_pb2",
    "tensorflow_serving.apis.get_model_metadata_pb2",
    "tensorflow_serving.apis.get_model_status_pb2",
)


def fields(name: str) -> dict[str, Any]:
    """Return the fields of a message, or the values of an enum, by name."""
    pool = descriptor_pool.Default()
    try:
        found: Any = pool.FindMessageTypeByName(name)
    except KeyError:
        return {value.name: value.number for value in pool.FindEnumTypeByName(name).values}
    return {each.name: [each.number, each.type, _kind(each)] for each in found.fields}


def _kind(field: Any) -> str:  # noqa: ANN401 - protobuf's, of any version
    kind = field.message_type or field.enum_type
    return kind.full_name if kind else ""


def main(names: list[str]) -> None:
    """Print the fields of the named messages and enums, as JSON."""
    for module in MODULES:
        importlib.import_module(module)
    print(json.dumps({name: fields(name) for name in names}))


if __name__ == "__main__":
    main(sys.argv[1:])
