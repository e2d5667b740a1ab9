"""Writes docs/compare.md, on the choice of a runtime, from a run with the repository's networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ci.compare.judge import SAME, VCPU_MB
from ci.compare.show import MODEL_COLUMNS, RUNTIME_COLUMNS, heading, model_cells, runtime_cells

DOCUMENT = Path(__file__).parents[2] / "docs/compare.md"

COMMAND = "COMMAND"
HEAD = """\
<!-- Written by ./scripts/compare --document; not to be edited. -->

# Which runtime for a function?

The same networks in every runtime that a function could have: our wheels, and the newest of each
other one that pip installs on Lambda's Linux. One run made all of this page:

```
COMMAND
```

`./scripts/compare my.tflite` does the same with your model; `--onnx my.onnx` takes your own ONNX
file, `--html out.html` makes a page with a plot, and `--python 3.11 --arch arm64` says what
installs elsewhere. [smoke_lambda/onnx/](../smoke_lambda/onnx/README.md) has the function for ONNX
Runtime.

"""

READING = f"""\
## How to read it

- All runtimes take turns, in both orders, in processes that stay. With one virtual CPU, a time is
  CPU time, and with two, wall time. *Ratio* is a runtime's time by that of the table's first row:
  the median of the turns' ratios, and in brackets the middle half of them. Where that has 1 in it,
  neither is faster, and the table says *same*.
- With two virtual CPUs, wall time depends on what else the machine does. A runtime whose threads
  wait by spinning, as those of TensorFlow Lite 2.14 do, loses most where they do not run at once:
  so it is on Lambda, too, below 3,538 MB. One thread is the default.
- *Init* is what a new process takes to import NumPy and the runtime and to load the model; *first*,
  the first inference after that. Both are the least CPU time of several processes.
- *Peak* is the resident memory of such a process up to its first answer, and *least* the smallest
  memory limit under which it answers.
- *$ / million* is what AWS asks for a million requests: the inference alone, once it is warm.
  Below {VCPU_MB:,} MB, a function with half of the memory takes twice as long and costs the same.
- *XNNPACK* is the share of a model's nodes that it computes; ONNX Runtime has no such thing.
- *Apart* is the largest difference from the answers of TensorFlow's reference kernels, by the
  largest of these. A model that was quantized anew differs by what both roundings do.
- *Converted* is what tf2onnx makes of the TensorFlow Lite file. Of an int8 model, that is not what
  ONNX Runtime's own quantization makes of the same network, which has a row of its own:
  *quantized by itself*.
- The networks of Keras have drawn weights: they take the same time, and classify nothing.
"""


def document(data: Mapping[str, Any], missing: Sequence[str] = ()) -> str:
    """Return the page, from a report's data.

    Args:
        missing: networks that belong on the page but were not measured.
    """
    head = HEAD.replace(COMMAND, data["command"], 1)
    text = head + "".join(f"{line}\n" for line in _lines(data))
    if missing:
        text += f"\nThe run ended before it came to {', '.join(missing)}.\n"
    return f"{text}\n{READING}"


def measured_in(data: Mapping[str, Any]) -> set[str]:
    """Return the names of the models in a report."""
    return {model["model"] for model in data["models"]}


def _lines(data: Mapping[str, Any]) -> Iterator[str]:
    yield f"Measured: {heading(data)}."
    yield ""
    yield "## In short"
    yield ""
    yield from summary(data)
    yield ""
    yield "## What pip installs"
    yield ""
    yield from table(RUNTIME_COLUMNS, [runtime_cells(each) for each in data["runtimes"]])
    price = data["price"]
    yield ""
    yield (
        f"Prices: {price['gb_second']} $ per GB-second and {price['million_requests']:.2f} $ per "
        f"million requests ({price['region']}, {price['date']}, "
        f"[AWS]({price['source']}))."
    )
    for model in data["models"]:
        yield ""
        yield f"## {model['model']}"
        yield ""
        timed = [row for row in model["rows"] if "error" not in row]
        yield from table(MODEL_COLUMNS, [model_cells(row) for row in timed])
        for row in model["rows"]:
            if "error" in row:
                yield ""
                yield f"{row['runtime']}: {row['error']}."


def summary(data: Mapping[str, Any]) -> Iterator[str]:
    """Give a line for each model: the fastest runtimes, and how our newest wheel compares."""
    for model in data["models"]:
        if not model["fastest"]:
            continue
        rows = {row["runtime"]: row for row in model["rows"] if "error" not in row}
        first, *others = model["fastest"]
        words = f"- **{model['model']}**: {first}"
        if others:
            words += f", and no slower: {', '.join(others)}"
        if rows and not any(rows[name]["own"] for name in model["fastest"]):
            words += f". It wins over our newest wheel: {_win(rows[first])}"
        yield words + "."


def _win(row: Mapping[str, Any]) -> str:
    ratio = row["warm_1"]["ratio"]
    if ratio is None or ratio["verdict"] == SAME:
        return "another of its builds is as fast"
    return f"{ratio['value']:.2f} of its time"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Give the lines of a Markdown table."""
    yield f"| {' | '.join(columns)} |"
    yield "| --- " * len(columns) + "|"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
