"""What Prometheus reads at /metrics."""

from collections.abc import Mapping
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from seqlab.serving.server.worker import Worker

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class ServerMetrics:
    """Counters of one server; the rows in use are those of its workers at the moment."""

    def __init__(self, workers: Mapping[str, Worker]) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("seqlab_requests", "Requests answered.", ["path", "status"], registry=registry)
        self.prompt_tokens = Counter("seqlab_prompt_tokens", "Tokens of prompts.", ["model"], registry=registry)
        self.new_tokens = Counter("seqlab_generated_tokens", "Tokens generated.", ["model"], registry=registry)
        self.request_seconds = Histogram(
            "seqlab_request_seconds", "Seconds of a request.", buckets=SECONDS, registry=registry
        )
        self.first_token_seconds = Histogram(
            "seqlab_first_token_seconds", "Seconds to the first token.", buckets=SECONDS, registry=registry
        )
        running = Gauge("seqlab_running_texts", "Texts that are continued.", ["model"], registry=registry)
        waiting = Gauge("seqlab_waiting_texts", "Texts that wait for a row.", ["model"], registry=registry)
        for name, worker in workers.items():
            running.labels(name).set_function(partial(getattr, worker, "running"))
            waiting.labels(name).set_function(worker.count_waiting)

    def render(self) -> bytes:
        """All of them, in the text format."""
        return generate_latest(self.registry)
