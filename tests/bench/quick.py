"""The short run: the figures that a change is judged by."""

import contextlib
import os
from statistics import median

from contestants import Directory, EndToEnd, RawBind, SaslauthdLdap, Validator
from driver import DelayProxy
from rounds import Scenario, measure, ratios

SECONDS = 0.6


def run(slapd, folder, rounds, say):
    with contextlib.ExitStack() as running:
        proxy = DelayProxy(folder, slapd.address, slapd.ldaps_port, 5)
        running.callback(proxy.close)
        near, far = Directory(slapd), Directory(slapd, proxy.port)

        def start(contestant, directory, name):
            place = os.path.join(folder, name)
            os.makedirs(place, exist_ok=True)
            contestant.start(directory, place)
            running.callback(contestant.close)
            return contestant
        raw, ours, e2e = (start(contestant, near, "near") for contestant in (RawBind(), Validator(), EndToEnd(1)))
        bind, fastbind = (start(SaslauthdLdap(method, 32), near, "near") for method in ("bind", "fastbind"))
        far_fastbind, far_32, far_64 = (start(contestant, far, "far") for contestant in (SaslauthdLdap("fastbind", 32), Validator(32), Validator(64)))
        right, wrong, rtt = Scenario("right"), Scenario("wrong"), Scenario("10 ms")
        measure([(right, raw, 32, False), (right, ours, 32, False), (right, fastbind, 32, False), (right, e2e, 32, False), (right, bind, 32, False),
                 (wrong, e2e, 32, True), (right, e2e, 1, False),
                 (rtt, far_32, 32, False), (rtt, far_fastbind, 32, False), (rtt, far_64, 64, False), (rtt, far_fastbind, 64, False)], rounds, SECONDS, say)
    return _figures(right, wrong, rtt)


def _figures(right, wrong, rtt):
    """Rows of (name, value): ratios first."""
    raw, ours, e2e = ("raw", 32), ("validator_32", 32), ("e2e_1", 32)
    bind, fastbind = ("saslauthd_bind_32", 32), ("saslauthd_fastbind_32", 32)
    yield "agent_vs_limit", right.ratio(ours, raw)
    yield "agent_vs_saslauthd_fastbind", right.ratio(ours, fastbind)
    yield "e2e_vs_saslauthd_bind", right.ratio(e2e, bind)
    yield "e2e_vs_saslauthd_fastbind", right.ratio(e2e, fastbind)
    yield "wrong_vs_right", median(ratios(wrong.runs[e2e], right.runs[e2e]))
    yield "rtt10_vs_saslauthd", rtt.ratio(ours, fastbind)
    yield "rtt10_64", rtt.ratio(("validator_64", 64), ("saslauthd_fastbind_32", 64))
    for name, contestant in (("raw", raw), ("agent", ours), ("saslauthd_fastbind", fastbind), ("saslauthd_bind", bind), ("e2e", e2e)):
        yield f"{name}_rate_32", right.figure(*contestant, "rate").median
    yield "e2e_wrong_rate_32", wrong.figure(*e2e, "rate").median
    yield "e2e_rate_1", right.figure("e2e_1", 1, "rate").median
    for percentile in ("p50", "p99", "p999"):
        yield f"e2e_{percentile}_ms_1", right.figure("e2e_1", 1, f"{percentile}_ms").median
        yield f"e2e_{percentile}_ms_32", right.figure(*e2e, f"{percentile}_ms").median
    yield "e2e_p99_over_p50_32", median(run["p99_ms"] / run["p50_ms"] for run in right.runs[e2e])
    yield "agent_cpu_us_over_raw", median(one["cpu_us"]["driver"] - limit["cpu_us"]["driver"] for one, limit in zip(right.runs[ours], right.runs[raw]))
    processes = {"driver": "driver", "service": "pta-service", "agent": "pta-agent 1", "slapd": "slapd"}
    for name, process in processes.items():
        yield f"e2e_cpu_us_{name}", right.figure(*e2e, "cpu_us", process).median
    for name in ("agent", "service"):
        yield f"{name}_rss_mb_32", right.figure(*e2e, "rss_mb", processes[name]).median
    yield "errors", sum(run["verdicts"].get("error", 0) for scenario in (right, wrong, rtt) for runs in scenario.runs.values() for run in runs)
