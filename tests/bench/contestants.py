"""What is measured side by side: each validates the same users' passwords on the same directory over verified LDAPS.

A contestant is started once for a scenario, made warm, and idle while others are measured.
"""

import contextlib
import os

from bed.process import Process, until
from bed.slapd import BASE, BIND_DN, DOMAIN
from quiet import QuietAgent, QuietService, descendants
from driver import drive


class Contestant:
    """`directory` is a Directory, or for Kerberos a kerberos.Kdc."""

    def __init__(self, name, title):
        self.name, self.title = name, title

    def start(self, directory, folder):
        self.directory, self.folder = directory, os.path.join(folder, self.name)
        os.mkdir(self.folder)
        self.launch()

    def launch(self):
        """Starts processes of its own, where it has any."""

    def close(self):
        """Ends them."""

    def pids(self):
        """Whose CPU and memory count, by name; the driver counts itself."""
        return {}

    def watched(self):
        return {**self.directory.pids(), **self.pids()}

    def run(self, in_flight, seconds, wrong=False):
        raise NotImplementedError


class Directory:
    """Where to reach slapd: itself, or the delayed line to it."""

    def __init__(self, slapd, port=None):
        self.address, self.port, self.ca = slapd.address, port or slapd.ldaps_port, slapd.ca.path
        self.slapd = slapd

    def pids(self):
        return {"slapd": [self.slapd.process.pid]}

    def options(self):
        return ("--ldap-host", self.address, "--ldap-port", self.port, "--ca", self.ca, "--bind-dn", BIND_DN)


class RawBind(Contestant):
    def __init__(self):
        super().__init__("raw", "plain libldap, the limit")

    def run(self, in_flight, seconds, wrong=False):
        return drive("raw_bind", in_flight, seconds, self.watched(), wrong, *self.directory.options(), "--user", "user{05n}")


class Validator(Contestant):
    """The agent's validator without the agent: the driver's process is what validates."""

    def __init__(self, connections=32):
        super().__init__(f"validator_{connections}", f"pta-agent's validator, {connections} connections")
        self.connections = connections

    def run(self, in_flight, seconds, wrong=False):
        return drive("validator_bench", in_flight, seconds, self.watched(), wrong, *self.directory.options(), "--user", f"user{{05n}}@{DOMAIN}",
                     "--connections", self.connections)


class Saslauthd(Contestant):
    """saslauthd with `processes` workers, each with its own connection to the directory. No cache (-c): no other has one."""

    def __init__(self, name, title, mechanism, processes):
        super().__init__(name, title)
        self.mechanism, self.processes = mechanism, processes

    def configure(self):
        """Lines of the mechanism's configuration file."""
        raise NotImplementedError

    def environment(self):
        return {}

    def launch(self):
        conf, run = os.path.join(self.folder, "saslauthd.conf"), os.path.join(self.folder, "run")
        with open(conf, "w", encoding="ascii") as out:
            out.writelines(f"{line}\n" for line in self.configure())
        os.mkdir(run)
        self.socket = os.path.join(run, "mux")
        # It stays in the foreground only with debug output, so it goes to the background in a PID namespace that ends with us.
        self.holder = Process("saslauthd", ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", '"$@" && exec sleep infinity', "sh",
                                            "saslauthd", "-a", self.mechanism, "-O", conf, "-m", run, "-n", self.processes], self.folder, env=self.environment())
        until(self._started, f"{self.name} to listen with {self.processes} processes")
        # A worker connects to the directory when it gets its first password.
        self.run(2 * self.processes, 1.0)

    def _started(self):
        # The shell becomes sleep when the process that went to the background has left.
        return "sleep" in self._names().values() and len(self._workers()) == self.processes

    def _names(self):
        names = {}
        for pid in descendants(self.holder.pid):
            with contextlib.suppress(FileNotFoundError), open(f"/proc/{pid}/comm", encoding="ascii") as comm:
                names[pid] = comm.read().strip()
        return names

    def _workers(self):
        return [pid for pid, name in self._names().items() if name == "saslauthd"]

    def close(self):
        self.holder.kill()

    def pids(self):
        return {"saslauthd": self._workers()}

    def run(self, in_flight, seconds, wrong=False):
        return drive("saslauthd_load", in_flight, seconds, self.watched(), wrong, "--socket", self.socket, "--user", "user{05n}")


class SaslauthdLdap(Saslauthd):
    """method: bind looks a user up and then binds as him; fastbind makes the DN from the name, as the agent does."""

    def __init__(self, method, processes):
        kind = {"bind": "search and bind", "fastbind": "fastbind"}[method]
        super().__init__(f"saslauthd_{method}_{processes}", f"saslauthd, {kind}, -n {processes}", "ldap", processes)
        self.method = method

    def configure(self):
        directory = self.directory
        return [f"ldap_servers: ldaps://{directory.address}:{directory.port}", "ldap_version: 3", "ldap_tls_check_peer: yes",
                f"ldap_tls_cacert_file: {directory.ca}", f"ldap_auth_method: {self.method}",
                *((f"ldap_filter: {BIND_DN}",) if self.method == "fastbind" else (f"ldap_search_base: ou=people,{BASE}", "ldap_scope: one", "ldap_filter: uid=%u"))]


class EndToEnd(Contestant):
    """Sign-in clients over HTTPS, pta-service, pta-agents. Everything is at its default, 32 connections an agent among it."""

    def __init__(self, agents):
        super().__init__(f"e2e_{agents}", f"sign-in from end to end, {agents} agent{'s' if agents > 1 else ''}")
        self.number = agents

    def launch(self):
        directory = self.directory
        self.running = contextlib.ExitStack()
        self.service = QuietService(self._sub("service"), {"threads": 0})
        self.running.callback(self.service.close)
        self.service.domain(DOMAIN)
        self.key = os.path.join(self.folder, "key")
        with open(os.open(self.key, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as out:
            out.write(self.service.key)
        self.agents = []
        for number in range(self.number):
            section = {"servers": f"{directory.address}:{directory.port}", "tls": "ldaps", "ca_file": directory.ca, "bind_dn": BIND_DN}
            agent = QuietAgent(self._sub(f"agent{number}"), self.service, {DOMAIN: section}, f"pta-agent-{number}", {"agent": {"user": "root"}})
            agent.register()
            agent.start()
            self.running.callback(agent.close)
            self.agents.append(agent)
        self.service.wait_agents(self.number)
        self.run(64, 1.0)

    def _sub(self, name):
        path = os.path.join(self.folder, name)
        os.mkdir(path)
        return path

    def close(self):
        self.running.close()

    def pids(self):
        agents = {f"pta-agent {number + 1}": [agent.daemon.pid] for number, agent in enumerate(self.agents)}
        return {"pta-service": [self.service.daemon.pid], **agents}

    def run(self, in_flight, seconds, wrong=False):
        return drive("signin_load", in_flight, seconds, self.watched(), wrong, "--url", f"https://127.0.0.1:{self.service.signin_port}", "--ca", self.service.ca,
                     "--key-file", self.key, "--user", f"user{{05n}}@{DOMAIN}")
