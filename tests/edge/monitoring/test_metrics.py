"""What Prometheus gets to see of a line, scraped over real HTTP."""

import math
import shutil
import subprocess
import urllib.request

import msgspec
import pytest
from parts import HEARTBEAT, VERDICT
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from told import BUSY, RUNNING, Line

from edge.errors import LineError
from edge.journal.condition import Condition
from edge.memory.recorded import NAMES, NOT_WRITTEN
from edge.messages import Health, Heartbeat, Reason, VerdictKind
from edge.monitoring.exposition import serve_metrics
from edge.monitoring.metrics import STAGES, STATES, VERDICTS

MS = 1_000_000
RECORDED = dict.fromkeys(NAMES, 0)


@pytest.fixture
def line() -> Line:
    return Line()


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return answer.read().decode()


def test_everything_known_beforehand_is_there_before_the_first_part(line):
    """An alert on a rate works from the first bad part on, since its counter was at 0 before."""
    for verdict, reason in VERDICTS:
        assert line[f"parts_total verdict={verdict} reason={reason}"] == 0
    for stage in STAGES:
        assert line[f"stage_restarts_total stage={stage}"] == 0
        assert line[f"stage_up stage={stage}"] == 0
        assert line[f"stage_away_seconds_total stage={stage}"] == 0
        assert line[f"stage_latency_seconds_count stage={stage}"] == 0
    for state in STATES:
        assert line[f"state state={state}"] == 0
    for name in ("latency_seconds", "engine_seconds", "registration_error_pixels", "score", "p_value"):
        assert line[f"{name}_count"] == 0
    assert line["deadline_misses_total"] == 0
    assert line["last_judged_timestamp_seconds"] == 0


def test_every_reason_of_a_verdict_has_its_counter():
    """No reason that a verdict can have is missing from the metrics."""
    kinds = {kind for kind, _ in VERDICTS}
    reasons = [reason for _, reason in VERDICTS]
    assert kinds == set(VerdictKind.__args__)
    assert sorted(reasons) == sorted(Reason.__args__)


def test_the_time_in_which_nobody_looked_adds_up(line):
    """The line tells its sum, and Prometheus counts on."""
    for so_far_ns in (0, 250 * MS, 250 * MS, 1_750 * MS):
        line.metrics.away("capture", so_far_ns)
    assert line["stage_away_seconds_total stage=capture"] == 1.75
    assert line["stage_away_seconds_total stage=infer"] == 0


def test_a_journal_that_fails_is_seen(line):
    """While it cannot be written, and by each verdict that is missing afterwards, also after its restart."""
    assert (line["journal_failed"], line["journal_missing_total"]) == (0, 0)
    line.metrics.journal(Condition(error="the disk is full"))
    assert (line["journal_failed"], line["journal_missing_total"]) == (1, 0)
    line.metrics.journal(Condition(missing=7))
    line.metrics.journal(Condition(missing=7))
    assert (line["journal_failed"], line["journal_missing_total"]) == (0, 7)
    line.metrics.journal(Condition(missing=9, aside="caps.damaged"))
    assert (line["journal_failed"], line["journal_missing_total"]) == (1, 9)


@pytest.mark.parametrize("reason", ["defect", "product"])
def test_a_part_is_counted_under_its_verdict_and_reason_only(line, reason):
    """One reject raises one counter by one; another product is not taken for a process that makes bad ones."""
    line.metrics.observe(msgspec.structs.replace(VERDICT, verdict="reject", reason=reason))
    counts = {pair: line["parts_total verdict={} reason={}".format(*pair)] for pair in VERDICTS}
    assert {pair: count for pair, count in counts.items() if count} == {("reject", reason): 1}


def test_frames_that_were_passed_over_are_counted(line):
    """With the parts they are the frames that the camera gave."""
    line.metrics.observe(VERDICT)
    line.metrics.observe(msgspec.structs.replace(VERDICT, skipped=3))
    assert line["frames_skipped_total"] == 3


def test_what_the_recorder_keeps_and_loses_is_counted(line):
    """Pictures that could not be written are told by the reason, and a disk without room at once."""
    assert (line["recorder_files_total kind=pictures"], line["recorder_full"]) == (0, 0)
    for so_far in (RECORDED | {"pictures": 3}, RECORDED | {"pictures": 5, "full": 2, "is_full": 1}):
        line.metrics.recorder(so_far)
    assert line["recorder_files_total kind=pictures"] == 5
    assert line["recorder_files_total kind=boxes"] == 0
    assert {why: line[f"recorder_lost_total why={why}"] for why in NOT_WRITTEN} == {
        "overwritten": 0,
        "busy": 0,
        "full": 2,
        "rate": 0,
    }
    assert line["recorder_full"] == 1
    line.metrics.recorder(RECORDED | {"pictures": 5, "full": 2})
    assert line["recorder_full"] == 0


def test_times_are_told_in_seconds(line):
    """A latency of 40 ms and its stages' shares show up as seconds."""
    line.metrics.observe(VERDICT)
    assert line["latency_seconds_sum"] == pytest.approx(0.040)
    assert line["engine_seconds_sum"] == pytest.approx(0.025)
    assert line["deadline_seconds"] == pytest.approx(0.200)
    shares = [line[f"stage_latency_seconds_sum stage={stage}"] for stage in STAGES]
    assert shares == pytest.approx([0.002, 0.006, 0.030, 0.002])


def test_scores_registration_and_p_values_are_histograms(line):
    """How parts score, how rare that is and how well they register can be seen as a distribution."""
    line.metrics.observe(VERDICT)
    assert line["p_value_bucket le=0.2"] == 0
    assert line["p_value_bucket le=0.3"] == 1
    assert line["score_bucket le=0.2"] == 0
    assert line["score_bucket le=0.25"] == 1
    assert line["registration_error_pixels_bucket le=0.3"] == 0
    assert line["registration_error_pixels_bucket le=0.5"] == 1


@pytest.mark.parametrize(
    ("score", "threshold", "low", "high"),
    [(0.93, 0.41, "2.0", "3.0"), (7.1, 7.5, "0.9", "0.95"), (0.1, 0.1, "0.95", "1.0"), (90, 3, "10.0", "+Inf")],
    ids=["heat", "distance", "at the threshold", "far off"],
)
def test_a_score_is_told_in_parts_of_its_threshold(line, score, threshold, low, high):
    """Whatever a model's scores are like, 1 is where its rejects begin, and scores near it are told apart."""
    line.metrics.observe(msgspec.structs.replace(VERDICT, score=score, threshold=threshold))
    assert (line[f"score_bucket le={low}"], line[f"score_bucket le={high}"]) == (0, 1)


@pytest.mark.parametrize("threshold", [0.0, -0.2])
def test_a_score_without_a_scale_is_left_out(line, threshold):
    """A threshold of nothing has no parts."""
    line.metrics.observe(msgspec.structs.replace(VERDICT, threshold=threshold))
    assert line["score_count"] == 0


def test_an_unknown_part_adds_nothing_that_was_not_measured(line):
    """A part that was never judged has no score, engine time or registration error."""
    line.metrics.observe(
        msgspec.structs.replace(
            VERDICT,
            verdict="unknown",
            reason="dark",
            score=None,
            threshold=None,
            p_value=None,
            registration_px=None,
            latency_us={"capture": 2_000, "preprocess": 3_000, "publish": 1_000, "total": 6_000},
        )
    )
    assert line["parts_total verdict=unknown reason=dark"] == 1
    assert line["latency_seconds_count"] == 1
    assert line["stage_latency_seconds_count stage=preprocess"] == 1
    for name in ("stage_latency_seconds_count stage=infer", "engine_seconds_count", "score_count"):
        assert line[name] == 0
    assert line["p_value_count"] == 0
    assert line["registration_error_pixels_count"] == 0


def test_the_time_of_a_late_part_is_blamed_on_no_stage(line):
    """A part nobody answered about does not make publish look slow."""
    line.metrics.observe(
        msgspec.structs.replace(
            VERDICT,
            verdict="unknown",
            reason="late",
            score=None,
            registration_px=None,
            latency_us={"publish": 190_000, "total": 190_000},
        )
    )
    assert line["latency_seconds_count"] == 1
    assert line["stage_latency_seconds_count stage=publish"] == 0


@pytest.mark.parametrize(
    ("published_ns", "misses"), [(1_200 * MS, 0), (1_200 * MS + 1, 1)], ids=["on time", "missed"]
)
def test_a_verdict_after_its_deadline_is_a_miss(line, published_ns, misses):
    """Only a verdict that came after the deadline counts as missed."""
    line.metrics.observe(msgspec.structs.replace(VERDICT, published_ns=published_ns))
    assert line["deadline_misses_total"] == misses


def test_the_line_is_in_one_state_at_a_time(line):
    """The state that a heartbeat tells replaces the one before it."""
    for state in STATES:
        line.metrics.heartbeat(beat(state))
        assert {name: line[f"state state={name}"] for name in STATES} == {
            name: name == state for name in STATES
        }


def test_when_a_part_was_last_judged_is_unix_time(line):
    """`time() - last_judged` is how long ago a part was judged; a heartbeat without a part keeps it."""
    line.metrics.heartbeat(beat("judging", "2026-01-02T03:04:05.250000Z"))
    assert line["last_judged_timestamp_seconds"] == 1767323045.25
    line.metrics.heartbeat(beat("idle", None))
    assert line["last_judged_timestamp_seconds"] == 1767323045.25


def beat(state, judged_at=None) -> Heartbeat:
    return msgspec.structs.replace(HEARTBEAT, state=state, judged_at=judged_at)


def test_stages_slots_and_restarts_follow_the_supervisor(line):
    """What the supervisor knows of stages and slots is what is shown."""
    assert (line["slots"], line["free_slots"]) == (16, 16)
    line.metrics.free_slots(3)
    line.metrics.stage_up("infer", True)
    line.metrics.restarted("infer")
    assert (line["slots"], line["free_slots"]) == (16, 3)
    assert (line["stage_up stage=infer"], line["stage_up stage=capture"]) == (1, 0)
    assert (line["stage_restarts_total stage=infer"], line["stage_restarts_total stage=capture"]) == (1, 0)


def test_every_series_names_its_line(line):
    """Several lines can share one Prometheus."""
    line.metrics.gpu(lambda: BUSY)
    line.metrics.engine(RUNNING, "r" * 64, "b" * 64)
    assert {sample.labels.get("line") for sample in line.samples()} == {"board-a"}


def test_latency_buckets_reach_from_half_a_millisecond_to_a_second(line):
    """Percentiles can be told apart from a fast GPU's to a slow CPU's."""
    edges = [float(s.labels["le"]) for s in line.samples() if s.name == "linejudge_latency_seconds_bucket"]
    assert (edges[0], edges[-2], edges[-1]) == (0.0005, 1.0, math.inf)


def test_prometheus_reads_what_the_line_shows(line):
    """A scrape over HTTP brings every series with its value."""
    line.metrics.observe(VERDICT)
    line.metrics.engine(RUNNING, "r" * 64, "b" * 64)
    line.metrics.gpu(lambda: BUSY)
    with serve_metrics(line.registry, "127.0.0.1", 0) as port:
        text = scrape(port)
    read = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    assert sorted((s.name, sorted(s.labels.items()), s.value) for s in read) == sorted(
        (s.name, sorted(s.labels.items()), s.value) for s in line.samples()
    )


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool comes with the package prometheus")
def test_names_and_units_are_as_prometheus_asks(line):
    """Prometheus' own linter finds nothing to say."""
    line.metrics.gpu(lambda: BUSY)
    line.metrics.engine(RUNNING, "r" * 64, "b" * 64)
    text = generate_latest(line.registry).decode()
    lint = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True)
    assert (lint.returncode, lint.stdout, lint.stderr) == (0, "", "")


def test_a_port_in_use_says_which_key_to_change():
    """Two lines with one port: the second says where to give it its own, and the first goes on."""
    with serve_metrics(CollectorRegistry(), "127.0.0.1", 0) as port:
        with (
            pytest.raises(LineError, match=rf"metrics\.port.*127\.0\.0\.1:{port}.*in use.*\[metrics\]"),
            serve_metrics(CollectorRegistry(), "127.0.0.1", port),
        ):
            pass
        scrape(port)


def test_a_host_that_is_not_ours_says_which_key_to_change():
    """An address that this machine does not have is reported like a port in use."""
    with (
        pytest.raises(LineError, match=r"metrics\.port.*192\.0\.2\.1"),
        serve_metrics(CollectorRegistry(), "192.0.2.1", 0),
    ):
        pass


def test_the_port_is_free_again_after_the_line():
    """A line can be started again on the same port at once."""
    with serve_metrics(CollectorRegistry(), "127.0.0.1", 0) as port:
        scrape(port)
    with serve_metrics(CollectorRegistry(), "127.0.0.1", port):
        scrape(port)


def test_alarms_are_shown_from_the_start() -> None:
    """Each alarm that the line can raise has a series before it is raised, and one that is cleared is at 0."""
    line = Line()
    line.metrics.alarms({"focus": False, "drift": False})
    assert line["alarm alarm=focus"] == line["alarm alarm=drift"] == 0
    line.metrics.alarms({"focus": True, "drift": False})
    assert (line["alarm alarm=focus"], line["alarm alarm=drift"]) == (1, 0)
    line.metrics.alarms({"focus": False, "drift": False})
    assert line["alarm alarm=focus"] == 0


def test_the_last_picture_of_each_camera_is_shown() -> None:
    """So that a lamp that ages is seen as a line that falls. A part without a picture changes nothing."""
    line = Line()
    image = Health(level=91.5, saturated=0.02, focus=0.4)
    line.metrics.observe(msgspec.structs.replace(VERDICT, image=image))
    line.metrics.observe(VERDICT)
    found = [line[f"picture camera=camera quantity={name}"] for name in ("level", "saturated", "focus")]
    assert found == [91.5, 0.02, 0.4]
