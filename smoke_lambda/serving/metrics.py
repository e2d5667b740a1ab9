"""The metrics that a server reports to Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

if TYPE_CHECKING:
    from smoke_lambda.serving.models import Models

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The metrics of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "tflite_requests",
            "Requests, by the code that they ended with.",
            ("protocol", "method", "code"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "tflite_request_seconds",
            "From a request's arrival to its answer.",
            ("protocol", "method"),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.inference = Histogram(
            "tflite_inference_seconds",
            "What the model itself took.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self._waiting = self._gauge("tflite_waiting", "Requests that wait for a copy.")
        self._busy = self._gauge("tflite_busy_copies", "Copies of the model at work.")
        self._copies = self._gauge("tflite_copies", "Copies of the model.")
        self._version = self._gauge("tflite_model_version", "The version that is served; 0: none.")
        self._load = self._gauge("tflite_load_seconds", "What loading that version took.")

    def _gauge(self, name: str, about: str) -> Gauge:
        return Gauge(name, about, registry=self.registry)

    def text(self, models: Models) -> bytes:
        """Return all metrics in Prometheus' text format."""
        if (version := models.current) is not None:
            self._waiting.set(version.pool.waiting)
            self._busy.set(version.pool.busy)
            self._copies.set(version.pool.copies)
            self._version.set(version.number)
            self._load.set(version.load_seconds)
        return generate_latest(self.registry)
