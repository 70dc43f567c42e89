"""The programs under test: a service with its agents, each in a folder of its own, on free ports."""

import getpass
import glob
import json
import os
import random
import re
import signal
import socket
import subprocess

from cryptography import x509
from cryptography.x509.oid import NameOID

from .client import Client, unix_request
from .process import DIES_WITH_US, PATIENCE, BedError, Process, clean_environment, fields, until

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
BUILD = os.environ.get("PTA_BUILD", os.path.join(TOP, "build", "asan"))
SERVICE_PROGRAM = os.path.join(BUILD, "pta-service")
LEAKED_OBJECT = re.compile(r"0x[0-9a-f]+ \(\d+ bytes\)$")
AGENT_PROGRAM = os.path.join(BUILD, "pta-agent")


def listen_port():
    """A free port below the range that the kernel takes for outgoing connections: it stays free between two starts."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def sanitizer_environment(folder):
    """Each report of a sanitizer becomes a file of the folder, and ends the program where it can."""
    common = f"log_path={folder}/sanitizer:exitcode=99"
    return {"ASAN_OPTIONS": f"{common}:detect_leaks=1:detect_stack_use_after_return=1", "UBSAN_OPTIONS": f"{common}:print_stacktrace=1",
            "TSAN_OPTIONS": f"{common}:suppressions={TOP}/tests/tsan.supp", "LSAN_OPTIONS": "report_objects=1"}


def sanitizer_reports(folder):
    found = ""
    for path in glob.glob(f"{folder}/sanitizer.*"):
        with open(path, encoding="utf-8", errors="replace") as report:
            # Where an object lay says nothing; there can be thousands.
            found += "".join(line for line in report if not LEAKED_OBJECT.match(line))
    return found


class Failed(BedError):
    """A command ended with another exit status than 0."""

    def __init__(self, argv, status, output):
        super().__init__(f"{' '.join(argv)}: exit status {status}\n{output}")
        self.status, self.output = status, output


class Program:
    """What service and agent have in common: configuration, commands, the daemon and its log."""

    def __init__(self, program, name, folder):
        self.program, self.name, self.folder = program, name, folder
        self.conf = os.path.join(folder, f"{name}.conf")
        self.state = os.path.join(folder, "state")
        self.control = os.path.join(folder, "control.sock")
        self.env = sanitizer_environment(folder)
        self.view = None  # bed/view.py: what it sees in place of the host's resolv.conf and hosts
        self.daemon = None
        self.starts = 0

    def configure(self, sections):
        with open(self.conf, "w", encoding="utf-8") as out:
            for section, values in sections.items():
                out.write(f"[{section}]\n")
                out.writelines(f"{key} = {value}\n" for key, value in values.items() if value is not None)

    def _enter(self, argv):
        return self.view.enter(*argv) if self.view else argv

    def command(self, *argv, stdin="", limit=PATIENCE):
        """Runs a command of the program to its end; gives what it printed on stdout."""
        argv = [self.program, *map(str, argv), "--config", self.conf]
        done = subprocess.run(DIES_WITH_US + self._enter(argv), input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=limit,
                              env=clean_environment(**self.env), check=False)
        if done.returncode != 0:
            raise Failed(argv, done.returncode, done.stdout + done.stderr)
        return done.stdout

    def fails(self, *argv):
        """A command that must fail; gives how."""
        try:
            output = self.command(*argv)
        except Failed as failed:
            return failed
        raise BedError(f"{self.program} {' '.join(argv)} did not fail:\n{output}")

    def json(self, *argv):
        return json.loads(self.command(*argv, "--json"))

    def start(self):
        """Starts the daemon and waits for READY=1."""
        self.launch()
        self.daemon.ready()
        return self

    def launch(self, **extra):
        self.starts += 1
        self.daemon = Process(f"{self.name}-{self.starts}", self._enter([self.program, "run", "--config", self.conf]), self.folder, notify=True,
                              env={**self.env, **extra})
        return self

    def stop(self):
        """SIGTERM; the exit status must be 0."""
        status = self.daemon.stop()
        if status != 0:
            raise BedError(f"{self.name} ended with {status}:\n{self.daemon.log.tail()}\n{sanitizer_reports(self.folder)}")

    def kill(self):
        self.daemon.kill()

    def reload(self):
        """SIGHUP; returns once the daemon says that it is ready again."""
        said = len(self.daemon.notify.lines)
        self.daemon.signal(signal.SIGHUP)
        self.daemon.notify.wait("^READY=1$", start=said)

    def status(self):
        """What the daemon says of itself now."""
        return unix_request(self.control, "GET", "/v1/status").json

    def events(self, event, **wanted):
        """The log lines so far of this event whose fields are these."""
        found = []
        for line in list(self.daemon.log.lines):
            values = fields(line)
            if values.get("event") == event and all(values.get(key) == value for key, value in wanted.items()):
                found.append(values)
        return found

    def close(self):
        """Ends the daemon and fails on any sanitizer's report."""
        try:
            if self.daemon and self.daemon.alive():
                self.stop()
        finally:
            reports = sanitizer_reports(self.folder)
            if reports:
                raise BedError(f"{self.name}: a sanitizer reports:\n{reports}")


class Service(Program):
    """pta-service with one tenant. `key` is an app's that is told all details."""

    def __init__(self, folder, conf=None):
        super().__init__(SERVICE_PROGRAM, "pta-service", folder)
        self.signin_port, self.agent_port = listen_port(), listen_port()
        self.url = f"https://127.0.0.1:{self.agent_port}"
        self.ca = os.path.join(self.state, "ca.crt")
        self.settings = {"state_dir": self.state, "control_socket": self.control, "signin_listen": f"127.0.0.1:{self.signin_port}",
                         "agent_listen": f"127.0.0.1:{self.agent_port}", "agent_url": self.url, "names": "localhost 127.0.0.1", "threads": 2, "user": getpass.getuser(),
                         **(conf or {})}
        self.write()
        self.command("init")
        self.start()
        self.key = self.app("tests", details=True)

    def write(self, **changes):
        self.settings.update(changes)
        self.configure({"service": self.settings})

    def domain(self, name, group="main", suffixes=(), netbios=None):
        options = [word for suffix in suffixes for word in ("--suffix", suffix)]
        self.command("domain", "add", name, "--group", group, *options, *(("--netbios", netbios) if netbios else ()))

    def app(self, name, details=False):
        return self.json("app", "create", name, *(("--details",) if details else ()))["key"]

    def token(self, group="main"):
        return self.command("token", "create", "--group", group).strip()

    def client(self, key=None, **options):
        """A client of the sign-in listener."""
        return Client(self.signin_port, self.ca, bearer=self.key if key is None else key, **options)

    def signin(self, username, password, **more):
        with self.client() as client:
            return client.signin(username, password, **more)

    def agents(self):
        return {agent["agent"]: agent for agent in self.json("agent", "list")}

    def wait_agents(self, number):
        """Waits until exactly so many agents are online, each with a poll parked."""
        def at_work():
            status = self.status()
            return status["agents_online"] == number and status["polls"] >= number
        until(at_work, f"{number} agents at work")


class Agent(Program):
    """pta-agent, registered with the service."""

    def __init__(self, folder, service, directories, name="pta-agent", conf=None, view=None):
        super().__init__(AGENT_PROGRAM, name, folder)
        self.service, self.view = service, view
        self.sections = {"agent": {"state_dir": self.state, "control_socket": self.control}, **{f"directory {label}": values for label, values in directories.items()}}
        for section, values in (conf or {}).items():
            self.sections.setdefault(section, {}).update(values)
        os.mkdir(self.state, 0o700)
        self.write()

    def write(self, **sections):
        for section, values in sections.items():
            self.sections.setdefault(section, {}).update(values)
        self.configure(self.sections)

    def register(self, token=None, group="main"):
        path = os.path.join(self.folder, "token")
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="ascii") as out:
            out.write((self.service.token(group) if token is None else token) + "\n")
        return self.command("register", "--service", self.service.url, "--token-file", path)

    def identity(self):
        """The name that the service gave it."""
        with open(self.certificate[0], "rb") as pem:
            cert = x509.load_pem_x509_certificate(pem.read())
        return cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value

    @property
    def certificate(self):
        """Paths of the agent's certificate and key."""
        return os.path.join(self.state, "cert.pem"), os.path.join(self.state, "key.pem")
