"""Compiles the protos of this folder; the modules that it writes are committed.

    python -m smoke_lambda.serving.protos.generate

They are committed, so that server, tests and type checker need no compiler of protos, and an
image none of its packages; a test compiles them again and finds no difference.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


def compiled() -> Mapping[str, str]:
    """What the compiler of grpcio-tools makes of the protos: text by file name.

    Raises:
        ImportError: grpcio-tools is not installed.
        RuntimeError: the compiler refuses them.
    """
    from grpc_tools import protoc

    protos = sorted(HERE.glob("*.proto"))
    well_known = resources.files("grpc_tools").joinpath("_proto")
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["protoc", f"--proto_path={ROOT}", f"--proto_path={well_known}"]
        arguments += [f"--python_out={folder}", f"--pyi_out={folder}"]
        if protoc.main([*arguments, *map(str, protos)]):
            raise RuntimeError("the protos cannot be compiled")
        made = Path(folder, HERE.relative_to(ROOT))
        return {path.name: path.read_text() for path in sorted(made.iterdir())}


def main() -> int:
    """Write the modules."""
    for name, text in compiled().items():
        (HERE / name).write_text(text)
        print(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
