#!/usr/bin/python3
"""What many of everything cost: thousands of agents on one service, hundreds of domains, a million sign-ins in a row.

    tests/bench/scale.py BUILD_DIR parked|domains|million [NUMBER]      after `make all` and `make bench` in BUILD_DIR, built without sanitizers
"""

import contextlib
import http.client
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

if __name__ == "__main__":
    os.environ["PTA_BUILD"] = os.path.abspath(sys.argv[1])
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from bed.ca import Authority  # noqa: E402
from bed.process import DIES_WITH_US, PATIENCE, BedError, clean_environment, until  # noqa: E402
from bed.slapd import BIND_DN, DOMAIN, USERS, Slapd  # noqa: E402
from quiet import QuietAgent, QuietService, cpu_ns, resident_mb  # noqa: E402

TENANT = "default"  # that `init` makes
AGENTS, GROUPS = 5000, 100
PARKED_SECONDS = 65  # more than two holding times of a poll (25 s)
DOMAINS, DOMAINS_PER_AGENT = 200, 50
ROUNDS, ROUND_SECONDS = 5, 1.5
MILLION, STEPS = 1_000_000, 20
RIGHT, WRONG = "Pw-{05n}", "Wrong-{05n}"


def write_private(path, text):
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w", encoding="ascii") as out:
        out.write(text)
    return path


def room(folder, name):
    path = f"{folder}/{name}"
    os.mkdir(path)
    return path


# ---- thousands of agents ----

class Parked:
    """parked_agents: a line in, a line of JSON out."""

    def __init__(self, build, service, tokens):
        self.popen = subprocess.Popen(DIES_WITH_US + [f"{build}/tests/bench/parked_agents", "--url", service.url, "--signin-url",
                                      f"https://127.0.0.1:{service.signin_port}", "--ca", service.ca, "--key-file",
                                      write_private(f"{service.folder}/key", service.key), "--tokens", tokens],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean_environment())

    def ask(self, line):
        self.popen.stdin.write(line + "\n")
        self.popen.stdin.flush()
        answer = self.popen.stdout.readline()
        if not answer:
            raise BedError(f"parked_agents ended with {self.popen.wait(PATIENCE)} at \"{line}\"")
        return json.loads(answer)

    def close(self):
        self.popen.stdin.close()
        status = self.popen.wait(PATIENCE)
        if status != 0:
            raise BedError(f"parked_agents ended with {status}")


def make_tokens(service, agents, groups):
    """A token for each agent; the agents of a group lie far apart."""
    control = http.client.HTTPConnection("localhost", timeout=PATIENCE)
    control.sock = socket.socket(socket.AF_UNIX)
    control.sock.connect(service.control)
    lines = []
    for number in range(agents):
        control.request("POST", "/v1/tokens", json.dumps({"tenant": TENANT, "group": f"g{number % groups}"}), {"Content-Type": "application/json"})
        answer = control.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise BedError(f"no token: {answer.status} {body!r}")
        lines.append(json.loads(body)["token"] + "\n")
    control.close()
    return write_private(f"{service.folder}/tokens", "".join(lines))


def parked_agents(build, folder, agents=AGENTS, groups=GROUPS, seconds=PARKED_SECONDS):
    """Agents of many groups, each with a certificate, a connection and a parked poll of its own, on one service; then sign-ins at
    random domains. The first go through each agent make its sealing context; the second find them."""
    report = {"agents": agents, "groups": groups, "rss_mb": {}, "descriptors": {}}
    with contextlib.ExitStack() as stack:
        service = QuietService(room(folder, "parked"), {"max_connections": 4 * agents, "max_connections_per_address": 4 * agents})
        stack.callback(service.close)
        pids = [service.daemon.pid]

        def sample(name):
            report["rss_mb"][name] = round(resident_mb(pids), 1)
            report["descriptors"][name] = len(os.listdir(f"/proc/{pids[0]}/fd"))

        def timed(name, work, operations):
            before, begin = cpu_ns(pids), time.monotonic()
            result = work()
            report[name] = {"seconds": round(time.monotonic() - begin, 3), "service_cpu_us": round((cpu_ns(pids) - before) / 1000 / operations, 1)}
            return result
        for number in range(groups):
            service.domain(f"g{number}.example.com", group=f"g{number}")
        sample("empty")
        tokens = timed("token", lambda: make_tokens(service, agents, groups), agents)
        driver = Parked(build, service, tokens)
        stack.callback(driver.close)
        timed("register", lambda: driver.ask("register"), agents)
        sample("registered")
        for number, more in ((agents // 5, agents // 5), (agents, agents - agents // 5)):
            timed(f"park_{number}", lambda: driver.ask(f"park {number}"), more)
            until(lambda: service.status()["polls"] >= number, f"{number} polls")
            sample(f"parked_{number}")
        before, begin, renewed = cpu_ns(pids), time.monotonic(), driver.ask("status")["renewed"]
        until(lambda: time.monotonic() - begin >= seconds, "polls to be renewed", seconds + PATIENCE)
        report["idle"] = {"seconds": seconds, "service_cpu_us_per_s": round((cpu_ns(pids) - before) / 1000 / (time.monotonic() - begin)),
                          "polls_renewed": driver.ask("status")["renewed"] - renewed}
        sample("parked_long")
        for name in ("first_signins", "signins"):
            done = timed(name, lambda: driver.ask(f"signin {2 * agents}"), 2 * agents)
            report[name].update({key: done[key] for key in ("in_flight", "ops", "success", "hand_over", "whole")}, rate=round(done["rate"]))
            sample(f"after_{name}")
        until(lambda: service.status()["polls"] >= agents, "all agents to be parked again")
    return report


# ---- sign-ins against a directory ----

class Bed:
    """A service and agents before slapd."""

    def __init__(self, build, folder, stack):
        self.build, self.folder, self.stack = build, folder, stack
        ca = Authority(folder)
        self.slapd = Slapd(room(folder, "slapd"), ca)
        stack.callback(self.slapd.close)
        self.section = {"servers": f"{self.slapd.address}:{self.slapd.ldaps_port}", "tls": "ldaps", "ca_file": ca.path, "bind_dn": BIND_DN}
        self.service = QuietService(room(folder, "service"))
        stack.callback(self.service.close)
        self.key = write_private(f"{folder}/key", self.service.key)
        self.agents, self.domains = [], set()

    def agent(self, domains, group):
        name = f"agent{len(self.agents)}"
        for domain in domains:
            if domain not in self.domains:
                self.service.domain(domain, group=group)
        self.domains.update(domains)
        agent = QuietAgent(room(self.folder, name), self.service, dict.fromkeys(domains, self.section), name, {"agent": {"user": "root"}})
        self.stack.callback(agent.close)
        agent.register(group=group)
        agent.start()
        self.agents.append(agent)

    def pids(self):
        return {"service": self.service.daemon.pid, **{agent.name: agent.daemon.pid for agent in self.agents}}

    def load(self, user, numbers, password, in_flight, *options):
        """Starts a driver; finish() has what it found."""
        watch = [word for name, pid in self.pids().items() for word in ("--watch", f"{name}={pid}")]
        argv = [f"{self.build}/tests/bench/signin_load", "--json", "--url", f"https://127.0.0.1:{self.service.signin_port}", "--ca", self.service.ca,
                "--key-file", self.key, "--user", user, "--numbers", numbers, "--password", password, "--in-flight", str(in_flight), *watch, *map(str, options)]
        return subprocess.Popen(DIES_WITH_US + argv, stdout=subprocess.PIPE, text=True, env=clean_environment())


def finish(driver, verdict):
    """What the driver has measured; any other verdict fails."""
    text, _ = driver.communicate()
    if driver.returncode != 0:
        raise BedError(f"signin_load: exit status {driver.returncode}\n{text}")
    result = json.loads(text)
    if set(result["verdicts"]) != {verdict}:
        raise BedError(f"signin_load: want nothing but {verdict}, got {result['verdicts']}")
    return result


def many_domains(build, folder, domains=DOMAINS):
    """One domain, the domains of one agent, and those of all agents, in turn; each agent serves as many as one may be configured for, or fewer."""
    per_agent = min(domains, DOMAINS_PER_AGENT)
    numbers = {"one": "1-1", "one_agent": f"1-{per_agent}", "all": f"1-{domains}"}
    rounds = {name: [] for name in numbers}
    with contextlib.ExitStack() as stack:
        bed = Bed(build, folder, stack)
        for first in range(1, domains + 1, per_agent):
            bed.agent([f"d{number:05d}.example.com" for number in range(first, min(first + per_agent, domains + 1))], f"g{first}")
        bed.service.wait_agents(len(bed.agents))
        for turn in range(ROUNDS + 1):
            for name, some in numbers.items():
                result = finish(bed.load("user{05n}@d{05n}.example.com", some, RIGHT, 32, "--seconds", ROUND_SECONDS), "success")
                if turn:  # the first round opens connections to slapd
                    rounds[name].append(result)
        rss = {name: round(resident_mb([pid]), 1) for name, pid in bed.pids().items()}
    report = {"domains": domains, "agents": len(bed.agents), "domains_per_agent": per_agent, "in_flight": 32, "rounds": ROUNDS, "rss_mb": rss}
    for name, results in rounds.items():
        report[name] = {figure: round(statistics.median(result[figure] for result in results), 3) for figure in ("rate", "p50_ms", "p99_ms")}
        report[name]["rate_to_one"] = round(statistics.median(result["rate"] / one["rate"] for result, one in zip(results, rounds["one"])), 3)
    return report


def million(build, folder, count=MILLION):
    """So many sign-ins in a row, right and wrong passwords at the same time: each verdict as it must be, and memory after each step."""
    right, wrong = count // STEPS * 3 // 4, count // STEPS // 4
    verdicts, rss = {"success": 0, "invalid_credentials": 0}, {}
    begin = time.monotonic()
    with contextlib.ExitStack() as stack:
        bed = Bed(build, folder, stack)
        for _ in range(2):
            bed.agent([DOMAIN], "main")
        bed.service.wait_agents(2)
        for _ in range(STEPS):
            drivers = {"success": bed.load(f"user{{05n}}@{DOMAIN}", f"0-{USERS // 2 - 1}", RIGHT, 24, "--warm", 0, "--ops", right),
                       "invalid_credentials": bed.load(f"user{{05n}}@{DOMAIN}", f"{USERS // 2}-{USERS - 1}", WRONG, 8, "--warm", 0, "--ops", wrong)}
            for verdict, driver in drivers.items():
                verdicts[verdict] += finish(driver, verdict)["verdicts"][verdict]
            for name, pid in bed.pids().items():
                rss.setdefault(name, []).append(round(resident_mb([pid]), 1))
    expected = {"success": STEPS * right, "invalid_credentials": STEPS * wrong}
    if verdicts != expected:
        raise BedError(f"want {expected}, got {verdicts}")
    # After a tenth all pools and caches are warm.
    return {"signins": STEPS * (right + wrong), "seconds": round(time.monotonic() - begin, 1), "verdicts": verdicts,
            "rss_mb": {name: {"first": mb[0], "after_tenth": mb[STEPS // 10 - 1], "last": mb[-1], "most": max(mb), "each_step": mb} for name, mb in rss.items()}}


def main():
    what = {"parked": parked_agents, "domains": many_domains, "million": million}[sys.argv[2]]
    folder = tempfile.mkdtemp(prefix="pta-scale-")
    try:
        print(json.dumps(what(os.path.abspath(sys.argv[1]), folder, *map(int, sys.argv[3:])), indent=1))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
