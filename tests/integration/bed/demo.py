"""What tools/demo runs once everything is built: the whole of pta against a real Active Directory, and a table of what it says.

The process that started the servers holds them: they end with it. With --keep that is a process in the background, whose id
is in the state file.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time

from . import pta
from .ca import Authority
from .process import PATIENCE, BedError, until
from .samba_ad import DOMAIN, NETBIOS, OTHER_SUFFIX, SambaAD

LOST_DOMAIN = "branch.example.com"
STARTED = time.monotonic()


def say(text):
    print(f"[{time.monotonic() - STARTED:5.1f} s] {text}", flush=True)


class Demo:
    def __init__(self, stack):
        self.folder = tempfile.mkdtemp(prefix="pta-demo-")
        os.chmod(self.folder, 0o700)
        stack.callback(shutil.rmtree, self.folder)
        self.stack = stack
        self.agents = []

    def _sub(self, name):
        path = os.path.join(self.folder, name)
        os.mkdir(path, 0o700)
        return path

    def start(self):
        say(f"starting a Samba Active Directory domain controller of {DOMAIN} in a network namespace of its own")
        self.ca = Authority(self._sub("ca"))
        self.ad = SambaAD(self._sub("samba"), self.ca)
        self.stack.callback(self.ad.close)
        say(f"the controller answers at ldaps://{self.ad.address}, behind the veth link {self.ad.namespace.link}")

        say("pta-service init, run; domain add, app create")
        self.service = pta.Service(self._sub("service"))
        self.stack.callback(self.service.close)
        self.service.domain(DOMAIN, suffixes=[OTHER_SUFFIX], netbios=NETBIOS)
        self.service.domain(LOST_DOMAIN, group="branch")
        say(f"sign-in API at https://127.0.0.1:{self.service.signin_port}, agents connect to https://127.0.0.1:{self.service.agent_port}")

        for number in (1, 2):
            say(f"pta-service token create; pta-agent register, run: agent {number}")
            agent = pta.Agent(self._sub(f"agent{number}"), self.service, {DOMAIN: {
                "servers": self.ad.address, "ca_file": self.ca.path, "suffixes": OTHER_SUFFIX, "netbios": NETBIOS}})
            agent.register()
            agent.start()
            self.stack.callback(agent.close)
            self.agents.append(agent)
        self.service.wait_agents(2)

    def people(self):
        """Rows of the table: user name, password, what was typed in words, expected verdict."""
        say("making accounts in every state")
        make = self.ad.user
        anna = make(name="anna", password="Corr3ct-horse")
        umlauts = make(name="jörg.größe", password="Pässwörter-süß-1")
        other = make(name="tom", suffix=OTHER_SUFFIX)
        rows = [
            (anna.upn, anna.password, "the right password", "success"),
            (f"{NETBIOS}\\{anna.name}", anna.password, "the same as DOMAIN\\user", "success"),
            (anna.upn, "Wr0ng-horse", "a wrong password", "invalid_credentials"),
            (anna.upn, "", "an empty password", "invalid_request"),
            (f"nobody@{DOMAIN}", "Corr3ct-horse", "an unknown user", "invalid_credentials"),
            (umlauts.upn, umlauts.password, "umlauts in name and password", "success"),
            (other.upn, other.password, "another UPN suffix", "success"),
        ]
        for name, state, words, expected in (
                ("dora", "disabled", "account disabled", "account_disabled"),
                ("emil", "account_expired", "account expired", "account_expired"),
                ("lea", "locked", "account locked out", "invalid_credentials (account_locked)"),
                ("paul", "password_expired", "password expired", "password_expired"),
                ("mia", "must_change", "must change the password", "password_must_change"),
                ("nils", "hours", "outside logon hours", "logon_hours"),
                ("will", "workstation", "other workstations only", "logon_restricted"),
                ("rita", "protected", "Protected Users", "invalid_credentials (account_restricted)")):
            account = make(state, name=name)
            rows.append((account.upn, account.password, words, expected))
        rows.append((f"anna@{LOST_DOMAIN}", "Corr3ct-horse", "a domain without an agent", "unavailable/no_agent"))
        rows.append(("anna@example.net", "Corr3ct-horse", "an unknown domain", "unavailable/not_configured"))
        return rows

    def table(self):
        rows = self.people()
        say("signing in through POST /v1/signin")
        print()
        wide = max(len(row[0]) for row in rows)
        line = "{:<%d}  {:<28}  {:<36}  {:<38} {:>9}" % wide
        print(line.format("user", "what was typed", "expected", "verdict", "time"))
        wrong = sum(not self._row(line, row) for row in rows)
        print()
        say("killing agent 1 (kill -9), and the first one again")
        self.agents[0].kill()
        wrong += not self._row(line, rows[0])
        print()
        say(f"{len(rows) + 1 - wrong} of {len(rows) + 1} verdicts are as expected")
        return wrong

    def _row(self, line, row):
        username, password, words, expected = row
        with self.service.client() as client:
            client.connection.connect()
            start = time.monotonic()
            answer = client.signin(username, password)
            took = time.monotonic() - start
        verdict = answer.json.get("verdict", answer.json.get("error", "?"))
        known = answer.json.get("details", {}).get("verdict", verdict)
        if answer.json.get("reason"):
            verdict += "/" + answer.json["reason"]
        elif known != verdict:
            verdict += f" ({known})"
        right = verdict == expected
        print(line.format(username, words, expected, ("✓ " if right else "✗ ") + verdict, f"{took * 1000:.1f} ms"), flush=True)
        return right

    def hints(self):
        service = self.service
        if not self.agents[0].daemon.alive():
            self.agents[0].start()
            service.wait_agents(2)
        print(f"""
All of it keeps running. Sign in by curl:

  curl -sS --cacert {service.ca} https://127.0.0.1:{service.signin_port}/v1/signin \\
    -H 'Authorization: Bearer {service.key}' -H 'Content-Type: application/json' \\
    -d '{{"username": "anna@{DOMAIN}", "password": "Corr3ct-horse"}}'

or by the program (it asks for the password: Corr3ct-horse):

  {service.program} signin anna@{DOMAIN} --config {service.conf}

See what runs:

  {service.program} status --config {service.conf}
  {self.agents[0].program} status --config {self.agents[0].conf}

Logs:  {service.daemon.log.path}""")
        for agent in self.agents:
            print(f"       {agent.daemon.log.path}")
        print(f"       {self.ad.process.log.path}")
        print("\nEnd it:  tools/demo --stop", flush=True)


def _started(pid):
    """The start time of a process, which tells it from a later one with its id; None when there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            state = stat.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state[0] == "Z" else state[19]


def _kept(path):
    """The id of the kept demo's process, or None."""
    try:
        with open(path, encoding="ascii") as state:
            kept = json.load(state)
    except FileNotFoundError:
        return None
    return kept["pid"] if _started(kept["pid"]) == kept["started"] else None


def stop(path):
    pid = _kept(path)
    if pid is None:
        print("tools/demo: nothing is running")
    else:
        os.kill(pid, signal.SIGTERM)
        until(lambda: _started(pid) is None, "the demo's end", 2 * PATIENCE)
        print("tools/demo: stopped")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    return 0


def _on_signal(number, _frame):
    # Once is enough: a second one must not cut the cleaning up short.
    for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)
    sys.exit(128 + number)


def run(finished=None):
    """The demo, in this process; finished(status) is called while everything still runs, when it is to be kept."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _on_signal)
    with contextlib.ExitStack() as stack:
        try:
            demo = Demo(stack)
            demo.start()
            wrong = demo.table()
            if finished:
                demo.hints()
                finished(1 if wrong else 0)
                signal.pause()
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            if not finished:
                say("stopping everything")
    return 1 if wrong else 0


def keep(path):
    """Runs the demo in a process of its own that stays; gives its status once the table is printed."""
    if _kept(path):
        print("tools/demo: one is running already; end it with tools/demo --stop", file=sys.stderr)
        return 2
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: os.kill(pid, number))
        status = os.read(reader, 1)
        return status[0] if status else os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    os.close(reader)
    os.setsid()
    with open(path, "w", encoding="ascii") as state:
        json.dump({"pid": os.getpid(), "started": _started(os.getpid())}, state)

    def finished(status):
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        os.write(writer, bytes([status]))
        os.close(writer)
    try:
        return run(finished)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def main():
    parser = argparse.ArgumentParser(prog="tools/demo")
    parser.add_argument("--state", required=True)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--stop", action="store_true")
    options = parser.parse_args()
    try:
        if options.stop:
            return stop(options.state)
        return keep(options.state) if options.keep else run()
    except BedError as error:
        print(f"tools/demo: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
