"""Both programs under a real Prometheus, with the alerts and the dashboard of contrib/."""

import json
import os
import re
import signal
import subprocess
import threading
import urllib.parse
import urllib.request

import pytest

from bed import slapd as slapd_bed
from bed.client import unix_request
from bed.process import PATIENCE, Process, run, until
from bed.pta import TOP, listen_port
from bed.slapd import password, upn
from conftest import slapd_section, works

CONTRIB = os.path.join(TOP, "contrib")
RULES = os.path.join(CONTRIB, "prometheus", "pta.rules.yml")
METRIC = re.compile(r"\bpta_[a-z_]+")
SUFFIX = re.compile(r"_(bucket|sum|count)$")


class Prometheus:
    """A Prometheus of the test's own, in a folder, that scrapes twice a second."""

    def __init__(self, folder, **targets):
        self.port = listen_port()
        conf = os.path.join(folder, "prometheus.yml")
        jobs = [{"job_name": name.replace("_", "-"), "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]} for name, port in targets.items()]
        with open(conf, "w", encoding="utf-8") as out:
            # JSON is YAML.
            json.dump({"global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "1s"}, "rule_files": [RULES], "scrape_configs": jobs}, out)
        run(["promtool", "check", "config", conf])
        self.process = Process("prometheus", ["prometheus", f"--config.file={conf}", f"--storage.tsdb.path={folder}/tsdb", f"--web.listen-address=127.0.0.1:{self.port}"], folder)
        self.process.log.wait("Server is ready to receive web requests")

    def ask(self, path, **query):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            said = json.load(answer)
        assert said["status"] == "success", (query, said)
        return said["data"]

    def value(self, expr):
        """The one value of an expression; None while it has none."""
        result = self.ask("query", query=expr)["result"]
        assert len(result) <= 1, (expr, result)
        return float(result[0]["value"][1]) if result else None

    def close(self):
        self.process.stop()


@pytest.fixture
def watched(system, slapd, make_folder):
    service_port, agent_port = listen_port(), listen_port()
    service = system.service(metrics_listen=f"127.0.0.1:{service_port}")
    service.domain(slapd_bed.DOMAIN)
    agent = system.agent(service, {slapd_bed.DOMAIN: slapd_section(slapd)}, agent={"metrics_listen": f"127.0.0.1:{agent_port}"})
    service.wait_agents(1)
    prometheus = Prometheus(make_folder("prometheus"), pta_service=service_port, pta_agent=agent_port)
    yield service, agent, prometheus
    prometheus.close()


def lint(text):
    done = subprocess.run(["promtool", "check", "metrics"], input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE, check=False)
    return done.returncode, done.stdout


def names(text):
    return {SUFFIX.sub("", name) for name in METRIC.findall(text)}


def test_promtool_has_nothing_to_say(watched):
    service, agent, _ = watched
    assert works(service)
    for program in (service, agent):
        text = unix_request(program.control, "GET", "/metrics").body.decode()
        assert lint(text) == (0, ""), text


def test_alerts_do_what_they_say():
    run(["promtool", "check", "rules", RULES])
    run(["promtool", "test", "rules", "pta.rules.test.yml"], cwd=os.path.join(CONTRIB, "prometheus"))


def test_prometheus_sees_both_programs(watched):
    service, agent, prometheus = watched
    wrong = service.signin(upn(2), "wrong")
    assert wrong.json["verdict"] == "invalid_credentials"
    for _ in range(3):
        assert works(service)
    for expr, wanted in (
            ('up{job="pta-service"}', 1), ('up{job="pta-agent"}', 1),
            ('pta_service_signins_total{verdict="success"}', 3), ('pta_service_signins_total{verdict="invalid_credentials"}', 1),
            ('pta_agent_verdicts_total{verdict="success",method="simple"}', 3), ('pta_agent_verdicts_total{verdict="invalid_credentials",method="simple"}', 1),
            ("pta_service_signin_seconds_count", 4), ("pta_service_queue_seconds_count", 4), ("pta_agent_request_seconds_count", 4), ("pta_agent_directory_seconds_count", 4),
            ("sum(pta_directory_bind_seconds_count)", 4), ("sum(pta_directory_dc_up)", 1), ("pta_service_agents_online", 1), ("pta_agent_connected", 1),
            ("count(pta_service_build_info)", 1), ("count(pta_agent_build_info)", 1), ("pta_agent_requests", 0)):
        until(lambda: prometheus.value(expr) == wanted, f"{expr} to be {wanted}")
    until(lambda: prometheus.value("pta_agent_polls_parked") >= 1, "a poll of the agent")
    # What is counted on one side agrees with the certificates of the other.
    assert prometheus.value('pta_service_certificate_expiry_timestamp_seconds{what="agents"}') == prometheus.value('pta_agent_certificate_expiry_timestamp_seconds{what="agent"}')
    assert prometheus.value('pta_service_certificate_expiry_timestamp_seconds{what="ca"}') == prometheus.value('pta_agent_certificate_expiry_timestamp_seconds{what="ca"}')
    certificate = agent.status()["certificate"]
    assert certificate["expiring"] is None and certificate["ca_not_after"] > certificate["not_after"]
    assert service.status()["certificates_until"]["ca"] == certificate["ca_not_after"]
    # The rules are loaded and find their series.
    rules = prometheus.ask("rules")["groups"][0]["rules"]
    until(lambda: all(rule["health"] == "ok" for rule in prometheus.ask("rules")["groups"][0]["rules"]), "the rules to be evaluated")
    assert len(rules) >= 12


def test_a_controller_that_goes_shows_in_its_breaker(watched, slapd):
    service, _, prometheus = watched
    assert works(service)
    until(lambda: prometheus.value("sum(pta_directory_dc_up)") == 1, "the controller to be up")
    slapd.stop()
    try:
        service.signin(upn(1), password(1))
        until(lambda: prometheus.value('sum(pta_directory_breaker_changes_total{state="open"})') >= 1, "the breaker to open")
        until(lambda: prometheus.value("sum(pta_directory_dc_up)") == 0, "the controller to be down")
        until(lambda: prometheus.ask("query", query='ALERTS{alertname="PtaDirectoryUnreachable"}')["result"], "an alert of it")
    finally:
        slapd.start()
    until(lambda: prometheus.value('sum(pta_directory_breaker_changes_total{state="closed"})') >= 1, "the breaker to close")


def test_metrics_are_told_to_the_end(system, slapd):
    """While an agent drains, the controllers' connections go; its numbers are asked for all the same."""
    service = system.service()
    service.domain(slapd_bed.DOMAIN)
    # The section without a request ends first.
    agent = system.agent(service, {"idle.example.com": slapd_section(slapd), slapd_bed.DOMAIN: slapd_section(slapd)})
    service.wait_agents(1)
    assert works(service)
    slapd.freeze()
    try:
        asked = threading.Thread(target=service.signin, args=(upn(1), password(1)), daemon=True)
        asked.start()
        until(lambda: agent.status()["requests"]["in_work"], "the request to be at the agent")
        agent.daemon.signal(signal.SIGTERM)
        agent.daemon.log.wait("event=agent.stopping")
        told = 0
        while agent.daemon.alive():
            try:
                answer = unix_request(agent.control, "GET", "/metrics")
            except OSError:
                continue  # it is gone
            told += answer.status == 200 and b"pta_agent_requests" in answer.body
        assert told and agent.daemon.popen.returncode == 0
    finally:
        slapd.thaw()
    asked.join(PATIENCE)


def test_alerts_and_dashboard_know_only_what_there_is(watched):
    service, agent, prometheus = watched
    assert works(service)
    there = set()
    for program in (service, agent):
        there |= names(unix_request(program.control, "GET", "/metrics").body.decode())
    with open(RULES, encoding="utf-8") as text:
        rules = re.sub(r"(?m)^\s*(summary|description):.*$", "", text.read())
    # What refuses a result is counted from the first one on.
    later = {"pta_service_results_refused_total"}
    assert names(rules) - there == set()
    with open(os.path.join(CONTRIB, "grafana", "pta.json"), encoding="utf-8") as text:
        dashboard = json.load(text)
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    exprs = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    assert len(exprs) > 30 and names("\n".join(exprs)) - there - later == set()
    until(lambda: prometheus.value("count(up)") == 2, "both programs")
    for expr in exprs:
        for name, value in (("$__rate_interval", "1m"), ("$service", ".*"), ("$agent", ".*")):
            expr = expr.replace(name, value)
        prometheus.ask("query", query=expr)
    # No two panels lie on each other, none beyond the edge.
    cells = set()
    for panel in panels:
        pos = panel["gridPos"]
        assert pos["x"] + pos["w"] <= 24
        mine = {(x, y) for x in range(pos["x"], pos["x"] + pos["w"]) for y in range(pos["y"], pos["y"] + pos["h"])}
        assert not cells & mine, panel["title"]
        cells |= mine
