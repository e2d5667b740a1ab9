"""Copies in a pool, and versions that take over."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smoke_lambda.serving.codec import Array
from smoke_lambda.serving.errors import Code, ServingError
from smoke_lambda.serving.metrics import Metrics
from smoke_lambda.serving.models import Models
from smoke_lambda.serving.pool import Pool
from smoke_lambda.serving.predictor import Predictor
from smoke_lambda.serving.protos.serving_pb2 import ModelSpec
from smoke_lambda.serving.protos.serving_pb2 import ModelVersionStatus as Status
from smoke_lambda.serving.settings import Settings
from smoke_lambda.serving.signature import Batching, Signature, Tensor

TENSOR = Tensor(name="t:0", shape=(-1, 2), dtype=np.dtype(np.float32))
SIGNATURE = Signature(
    key="serving_default", inputs={"x": TENSOR}, outputs={"y": TENSOR}, batching=Batching.RESIZE
)
GOOD: Mapping[str, Array] = {"x": np.zeros((1, 2), np.float32)}


class Fake:
    """A copy of a model that answers with the number in its file, once its gate is open."""

    def __init__(self, path: Path, gate: threading.Event | None = None) -> None:
        self.number = float(path.read_text())
        self.signatures = {"serving_default": SIGNATURE}
        self.gate = gate

    def run(self, key: str, inputs: Mapping[str, Array], wanted: Any) -> dict[str, Array]:  # noqa: ANN401, ARG002
        if self.gate is not None:
            assert self.gate.wait(5)
        return {"y": np.full((1, 2), self.number, np.float32)}


def settings(folder: Path, **values: Any) -> Settings:  # noqa: ANN401
    return Settings(
        model_name="m", model_base_path=str(folder), copies=1, poll_seconds=0.01, **values
    )


def put(folder: Path, version: int, text: str | None = None) -> Path:
    path = folder / "m" / str(version) / "model.tflite"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(str(version) if text is None else text)
    return path


def models(folder: Path, gate: threading.Event | None = None, **values: Any) -> Models:  # noqa: ANN401
    return Models(
        settings(folder, **values), lambda path, _: [Fake(path, gate)], lambda _line: None
    )


def spec(version: int = 0, name: str = "m") -> ModelSpec:
    found = ModelSpec(name=name)
    if version:
        found.version.value = version
    return found


async def asked(found: Models, wanted: ModelSpec | None = None, **options: Any) -> float:  # noqa: ANN401
    predictor = Predictor(found, Metrics())
    seconds = options.pop("seconds", None)
    answer = await predictor.predict(
        wanted or spec(), lambda _: options.pop("inputs", GOOD), options.pop("outputs", ()), seconds
    )
    return float(answer.outputs["y"][0, 0])


def test_a_pool_runs_as_many_at_once_as_it_has_copies() -> None:
    async def main() -> None:
        pool = Pool([1, 2], queue=10)
        most = 0

        def work(copy: int) -> int:
            nonlocal most
            most = max(most, pool.busy)
            time.sleep(0.01)
            return copy

        found = await asyncio.gather(*(pool.run(work) for _ in range(8)))
        assert set(found) == {1, 2}
        assert most == 2
        assert (pool.busy, pool.waiting) == (0, 0)
        await pool.close()

    asyncio.run(main())


def test_a_full_queue_refuses_and_who_gives_up_leaves_it() -> None:
    async def main() -> None:
        gate = threading.Event()
        pool = Pool(["copy"], queue=1)
        running = asyncio.create_task(pool.run(lambda _: gate.wait(5)))
        await asyncio.sleep(0.01)
        waiting = asyncio.create_task(pool.run(lambda _: True))
        await asyncio.sleep(0.01)
        with pytest.raises(ServingError) as caught:
            await pool.run(lambda _: True)
        assert caught.value.code is Code.RESOURCE_EXHAUSTED
        waiting.cancel()
        await asyncio.sleep(0.01)
        assert pool.waiting == 0
        # Work that has begun keeps its copy, even if nobody waits for it.
        running.cancel()
        await asyncio.sleep(0.01)
        assert pool.busy == 1
        gate.set()
        await pool.close()

    asyncio.run(main())


def test_the_highest_version_is_served(tmp_path: Path) -> None:
    async def main() -> None:
        put(tmp_path, 2)
        put(tmp_path, 10)
        (tmp_path / "m" / "notes").mkdir()
        (tmp_path / "m" / "11").mkdir()
        found = models(tmp_path)
        await found.refresh()
        assert await asked(found) == 10
        assert await asked(found, spec(10)) == 10
        assert found.statuses[10].state == Status.AVAILABLE

    asyncio.run(main())


def test_a_new_version_takes_over_without_a_lost_request(tmp_path: Path) -> None:
    async def main() -> None:
        put(tmp_path, 1)
        gate = threading.Event()
        found = models(tmp_path, gate)
        await found.refresh()
        old = [asyncio.create_task(asked(found)) for _ in range(5)]
        await asyncio.sleep(0.01)
        put(tmp_path, 2)
        await found.refresh()
        assert found.statuses[1].state == Status.UNLOADING
        new = asyncio.create_task(asked(found))
        gate.set()
        assert await asyncio.gather(*old, new) == [1, 1, 1, 1, 1, 2]
        await asyncio.sleep(0.05)
        assert found.statuses[1].state == Status.END
        assert found.statuses[2].state == Status.AVAILABLE

    asyncio.run(main())


def test_a_version_that_cannot_be_loaded_leaves_the_old_one(tmp_path: Path) -> None:
    async def main() -> None:
        put(tmp_path, 1)
        found = models(tmp_path)
        await found.refresh()
        path = put(tmp_path, 2, "half a file")
        await found.refresh()
        await found.refresh()
        assert await asked(found) == 1
        assert found.statuses[2].state == Status.END
        assert "half a file" in found.statuses[2].reason
        path.write_text("2.0")
        await found.refresh()
        assert await asked(found) == 2

    asyncio.run(main())


def test_a_version_that_is_removed_gives_way_and_an_empty_folder_does_not(tmp_path: Path) -> None:
    async def main() -> None:
        first, second = put(tmp_path, 1), put(tmp_path, 2)
        found = models(tmp_path)
        await found.refresh()
        second.unlink()
        await found.refresh()
        assert await asked(found) == 1
        first.unlink()
        await found.refresh()
        assert await asked(found) == 1

    asyncio.run(main())


def test_a_deadline_ends_a_request_that_waits(tmp_path: Path) -> None:
    async def main() -> None:
        put(tmp_path, 1)
        gate = threading.Event()
        found = models(tmp_path, gate)
        await found.refresh()
        with pytest.raises(ServingError) as caught:
            await asked(found, seconds=0.02)
        assert caught.value.code is Code.DEADLINE_EXCEEDED
        gate.set()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("wanted", "options", "code"),
    [
        (ModelSpec(), {}, Code.INVALID_ARGUMENT),
        (spec(name="other"), {}, Code.NOT_FOUND),
        (spec(7), {}, Code.NOT_FOUND),
        (ModelSpec(name="m", version_label="stable"), {}, Code.INVALID_ARGUMENT),
        (ModelSpec(name="m", signature_name="gone"), {}, Code.INVALID_ARGUMENT),
        (spec(), {"outputs": ["gone"]}, Code.INVALID_ARGUMENT),
        (spec(), {"outputs": ["y", "y"]}, Code.INVALID_ARGUMENT),
        (spec(), {"inputs": {}}, Code.INVALID_ARGUMENT),
        (spec(), {"inputs": {"x": np.zeros((1, 2))}}, Code.INVALID_ARGUMENT),
        (spec(), {"inputs": {"x": np.zeros((1, 3), np.float32)}}, Code.INVALID_ARGUMENT),
        (spec(), {"inputs": {"x": np.zeros((65, 2), np.float32)}}, Code.INVALID_ARGUMENT),
        (spec(), {"inputs": {"x": np.zeros((0, 2), np.float32)}}, Code.INVALID_ARGUMENT),
    ],
)
def test_each_fault_has_its_code(
    tmp_path: Path, wanted: ModelSpec, options: dict[str, Any], code: Code
) -> None:
    async def main() -> None:
        put(tmp_path, 1)
        found = models(tmp_path)
        await found.refresh()
        with pytest.raises(ServingError) as caught:
            await asked(found, wanted, **options)
        assert caught.value.code is code

    asyncio.run(main())


def test_before_the_first_version_the_model_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(ServingError) as caught:
        asyncio.run(asked(models(tmp_path)))
    assert caught.value.code is Code.UNAVAILABLE
