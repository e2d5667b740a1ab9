"""Ask a wheel which builtin operators it has, on any Python from 3.8 on.

    python -m smoke_lambda.inside.ops_probe

The last line of output is "found: " and JSON: "operators" is a list of [code, name, versions],
one for each operator that the runtime's schema knows. The versions are empty if the runtime has
no kernel for the operator.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from tflite_runtime.interpreter import Interpreter  # type: ignore[import-not-found]

from smoke_lambda.inside.flatbuffer import CUSTOM, PLAIN, model_of
from smoke_lambda.inside.probing import LACKS_CODE, LACKS_VERSION

# These are above every version that TensorFlow has (its highest is below 20) and every code
# (some 200). The probe checks that the runtime has neither.
NO_VERSION = 64
NO_CODE = 1000


def says(code: int, version: int) -> str:
    """Return the runtime's error message about a model with that operator; empty if none."""
    try:
        Interpreter(model_content=model_of(code, version))
    except (ValueError, RuntimeError) as error:
        return str(error)
    return ""


def has(code: int, version: int, accepted: str) -> bool:
    """True if the runtime has that operator in that version.

    Args:
        accepted: the runtime's message about an operator that it has.

    Raises:
        ValueError: the message is neither `accepted` nor that the operator is missing.
    """
    said = says(code, version)
    if said != accepted and not LACKS_VERSION.search(said):
        raise ValueError(f"operator {code} version {version}: {said!r}")
    return said == accepted


def operators() -> Iterator[tuple[int, str, list[int]]]:
    """Yield each operator's code, name and versions.

    Raises:
        ValueError: the runtime gives an unknown answer.
    """
    accepted = says(PLAIN, 1)
    for code in range(NO_CODE):
        said = says(code, NO_VERSION)
        named = LACKS_VERSION.search(said)
        if named:
            versions = [v for v in range(NO_VERSION) if has(code, v, accepted)]
            yield code, named.group(1), versions
        elif LACKS_CODE.search(said):
            return
        elif code != CUSTOM:  # a custom operator has a name and no version
            raise ValueError(f"operator {code} version {NO_VERSION}: {said!r}")
    raise ValueError(f"the runtime knows operator {NO_CODE - 1}")


if __name__ == "__main__":
    found = {"operators": list(operators())}
    print(f"found: {json.dumps(found)}")
