"""Turns a line's verdicts and states into Prometheus metrics. Those of the GPU are in gpu/metrics.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from msgspec import UNSET
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.metrics import MetricWrapperBase

from ..journal.condition import Condition
from ..memory.recorded import FILES, NOT_WRITTEN
from ..memory.stages import STAGES
from ..messages import UNKNOWN_REASONS, Heartbeat, Running, Verdict
from ..text import fitted
from .gpu import GpuState
from .gpu.metrics import GpuMetrics

#: Bytes of the reason in the label of a metric, at most; the whole reason is in the metric of left-out engines.
REASON_BYTES = 120
STATES = ("idle", "judging", "blind", "held")
VERDICTS = (
    ("pass", "clean"),
    ("reject", "defect"),
    ("reject", "product"),
    ("reject", "gap"),
    *(("unknown", reason) for reason in UNKNOWN_REASONS),
)

#: What is shown of a picture's health.
PICTURE = ("level", "saturated", "focus")

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.5, 1.0)
_PIXELS = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
_SHARES = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, *(step / 10 for step in range(1, 11)))
_SCORES = (*(step / 20 for step in range(1, 21)), 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)

Metric = TypeVar("Metric", bound=MetricWrapperBase)


class Metrics:
    """The metrics of one line. All series whose labels are known beforehand exist from the start, at 0."""

    def __init__(
        self, registry: CollectorRegistry, line: str, slots: int, processes: Sequence[str] = STAGES
    ) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"linejudge_{name}", text, ("line", *labels), registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"linejudge_{name}", text, ("line", *labels), registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"linejudge_{name}", text, ("line", *labels), registry=registry, buckets=buckets)

        def one(metric: Metric) -> Metric:
            return metric.labels(line)

        def each(metric: Metric, values: Iterable[str]) -> dict[str, Metric]:
            return {value: metric.labels(line, value) for value in values}

        parts = counter("parts_total", "Parts by verdict and its reason.", "verdict", "reason")
        self._parts = {pair: parts.labels(line, *pair) for pair in VERDICTS}
        self._skipped = one(counter("frames_skipped_total", "Frames from the camera that were skipped."))
        self._misses = one(counter("deadline_misses_total", "Verdicts that came after their deadline."))
        self._latency = one(histogram("latency_seconds", "From capture to the published verdict.", _SECONDS))
        self._stage_latency = each(
            histogram("stage_latency_seconds", "A part's time in each stage.", _SECONDS, "stage"), STAGES
        )
        self._engine = one(histogram("engine_seconds", "The engine's own time on a part.", _SECONDS))
        self._deadline = one(
            gauge("deadline_seconds", "From capture to the deadline; 0 before the first part.")
        )
        self._registration = one(
            histogram("registration_error_pixels", "How far a registered part lies from its master.", _PIXELS)
        )
        self._score = one(histogram("score", "Score of each judged part, divided by its threshold.", _SCORES))
        self._p_value = one(
            histogram("p_value", "Share of good parts that would score as high as the part.", _SHARES)
        )
        self._judged = one(
            gauge("last_judged_timestamp_seconds", "When a part was last judged; 0 before the first.")
        )
        self._state = each(gauge("state", "1 for the state that the line is in, else 0.", "state"), STATES)
        self._held = one(gauge("held", "1 while the line is held and rejects every part, else 0."))
        text = "1 while a challenge test is overdue, or the last one failed, else 0."
        self._challenge = one(gauge("challenge_due", text))
        self._up = each(gauge("stage_up", "1 while the stage runs, else 0.", "stage"), processes)
        self._restarts = each(counter("stage_restarts_total", "Restarts of a stage.", "stage"), processes)
        text = "Time in which nobody did a stage's work, because its process had ended."
        self._away = each(counter("stage_away_seconds_total", text, "stage"), processes)
        self._away_so_far_ns = dict.fromkeys(processes, 0)
        receivers = (*processes, "control")
        self._dropped = each(
            counter("messages_dropped_total", "Messages that were none or not of this run.", "stage"), receivers
        )
        self._dropped_so_far = dict.fromkeys(receivers, 0)
        self._journal_failed = one(
            gauge("journal_failed", "1 while the journal cannot be written or was damaged, else 0.")
        )
        self._journal_missing = one(
            counter("journal_missing_total", "Verdicts that could not be written into the journal.")
        )
        self._missing_so_far = 0
        self._free = one(gauge("free_slots", "Slots that no part occupies, of the camera with the fewest."))
        self._free.set(slots)
        one(gauge("slots", "Slots for the pictures of parts, of each camera.")).set(slots)
        self._running = one(Info("linejudge_engine", "What is running.", ("line",), registry=registry))
        self._left_out = gauge(
            "engine_left_out", "1 for each engine that was not taken, and why not.", "engine", "reason"
        )
        self._fallback = gauge(
            "engine_fallback",
            "1 for each faster engine that should run here but failed, and the beginning of the reason; "
            "0 for the engine that runs.",
            "engine",
            "reason",
        )
        files = counter("recorder_files_total", "Pictures and black boxes that were written.", "kind")
        lost = counter("recorder_lost_total", "Pictures and black boxes that were not written.", "why")
        self._recorded = {**each(files, FILES), **each(lost, NOT_WRITTEN)}
        self._recorded_so_far = dict.fromkeys(self._recorded, 0)
        self._recorder_full = one(gauge("recorder_full", "1 while no picture can be written, else 0."))
        self._alarm = gauge("alarm", "1 while the alarm is raised or acknowledged, else 0.", "alarm")
        self._picture = gauge(
            "picture",
            "Of a camera's last picture: mean grey level, share of saturated pixels, and sharpness.",
            "camera",
            "quantity",
        )
        self._registry, self._line = registry, line

    def observe(self, verdict: Verdict) -> None:
        """Add one published verdict to the metrics."""
        latency_us = verdict.latency_us
        self._parts[verdict.verdict, verdict.reason].inc()
        self._latency.observe((verdict.published_ns - verdict.captured_ns) / 1e9)
        self._deadline.set((verdict.deadline_ns - verdict.captured_ns) / 1e9)
        self._skipped.inc(verdict.skipped)
        if verdict.published_ns > verdict.deadline_ns:
            self._misses.inc()
        # It is not known where a late part spent its time.
        if verdict.reason != "late":
            for stage in latency_us.keys() & self._stage_latency:
                self._stage_latency[stage].observe(latency_us[stage] / 1e6)
        if "engine" in latency_us:
            self._engine.observe(latency_us["engine"] / 1e6)
        if verdict.registration_px is not None:
            self._registration.observe(verdict.registration_px)
        score, threshold = verdict.score, verdict.threshold
        if score is not None and threshold is not None and threshold > 0:
            # Divided by their thresholds, the scores of all models are on one scale.
            self._score.observe(score / threshold)
        if verdict.p_value is not None:
            self._p_value.observe(verdict.p_value)
        for look in [verdict] if verdict.looks is UNSET else verdict.looks:
            for quantity in PICTURE if look.image else ():
                self._picture.labels(self._line, look.camera, quantity).set(getattr(look.image, quantity))

    def alarms(self, active: Mapping[str, bool]) -> None:
        """Set for each alarm of the line whether it is raised or acknowledged."""
        for name, is_active in active.items():
            self._alarm.labels(self._line, name).set(is_active)

    def heartbeat(self, heartbeat: Heartbeat) -> None:
        """Set the line's state, and the time when the line last judged a part."""
        for state, gauge in self._state.items():
            gauge.set(state == heartbeat.state)
        if heartbeat.judged_at is not None:
            # Python 3.10 cannot parse the Z.
            judged_at = heartbeat.judged_at.replace("Z", "+00:00")
            self._judged.set(datetime.fromisoformat(judged_at).timestamp())

    def held(self, held: bool) -> None:
        """Set whether the line is held."""
        self._held.set(held)

    def journal(self, condition: Condition) -> None:
        """Set how the journal fares, as its process has told last."""
        self._journal_failed.set(bool(condition.error or condition.aside))
        self._journal_missing.inc(condition.missing - self._missing_so_far)
        self._missing_so_far = condition.missing

    def challenge(self, due: bool) -> None:
        """Set whether a challenge test is overdue or has failed."""
        self._challenge.set(due)

    def free_slots(self, count: int) -> None:
        """Set the number of free slots."""
        self._free.set(count)

    def restarted(self, stage: str) -> None:
        """Count one restart of a stage."""
        self._restarts[stage].inc()

    def away(self, stage: str, so_far_ns: int) -> None:
        """Count the time in which a stage had no process. `so_far_ns` is this time since the line started."""
        self._away[stage].inc((so_far_ns - self._away_so_far_ns[stage]) / 1e9)
        self._away_so_far_ns[stage] = so_far_ns

    def dropped(self, stage: str, so_far: int) -> None:
        """Count the messages that a stage dropped. `so_far` is their number since the line started."""
        self._dropped[stage].inc(so_far - self._dropped_so_far[stage])
        self._dropped_so_far[stage] = so_far

    def recorder(self, so_far: Mapping[str, int]) -> None:
        """Count what the recorder wrote and lost. `so_far` has the counts since the line started."""
        for name, metric in self._recorded.items():
            metric.inc(so_far[name] - self._recorded_so_far[name])
            self._recorded_so_far[name] = so_far[name]
        self._recorder_full.set(so_far["is_full"])

    def stage_up(self, stage: str, up: bool) -> None:
        """Set whether a stage runs."""
        self._up[stage].set(up)

    def engine(self, running: Running, recipe_digest: str, bundle_digest: str) -> None:
        """Set the engine in use, the digests of recipe and bundle, and why other engines were left out."""
        told = {"engine": running.engine, "precision": running.precision}
        self._running.info({**told, "recipe": recipe_digest, "bundle": bundle_digest})
        # A restarted infer may have left out other engines than before.
        self._left_out.clear()
        for engine, reason in running.left_out.items():
            self._left_out.labels(self._line, engine, reason).set(1)
        self._fallback.clear()
        self._fallback.labels(self._line, running.engine, "").set(0)
        for engine in running.fell_back:
            reason = fitted(running.left_out[engine], REASON_BYTES)
            self._fallback.labels(self._line, engine, reason).set(1)

    def gpu(self, latest: Callable[[], GpuState | None]) -> None:
        """Add the GPU's metrics. Requests call `latest`. If it returns None, there are no GPU metrics."""
        self._registry.register(GpuMetrics(self._line, latest))
