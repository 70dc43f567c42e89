"""A network of the bed's own: a network and PID namespace joined to the host by a veth pair. Needs root.

The namespaces have no names: they, the veth pair and every process inside end with the one process that holds them,
and that one with us.
"""

import ipaddress
import os
import random
import select
import signal
import subprocess

from .process import DIES_WITH_US, PATIENCE, BedError, clean_environment, run

# RFC 2544's range for benchmarks: nobody's real network. Each bed takes eight addresses of it.
NETWORKS = ipaddress.ip_network("198.18.0.0/15")
INNER_MAC = "02:00:00:00:00:02"
INNER = "ip link set lo up && echo up && exec sleep infinity"


def _free_network():
    routes = run(["ip", "-4", "route", "show", "table", "all"]).splitlines()
    taken = [ipaddress.ip_network(word, strict=False) for word in (line.split()[0] for line in routes) if word[0].isdigit()]
    for _ in range(1000):
        network = ipaddress.ip_network((int(NETWORKS.network_address) + 8 * random.randrange(NETWORKS.num_addresses // 8), 29))
        if not any(network.overlaps(other) for other in taken):
            return network
    raise BedError(f"no free network in {NETWORKS}")


class Namespace:
    """`outer` is the host's address, `inner` the servers', `silent` one whose packets are dropped without an answer."""

    def __init__(self):
        self.network = _free_network()
        self.outer, self.inner, self.silent = (str(self.network[i]) for i in (1, 2, 3))
        self.link = f"pta{random.randrange(1 << 32):08x}"
        self.holder = subprocess.Popen(DIES_WITH_US + ["unshare", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", INNER], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.PIPE, env=clean_environment(), start_new_session=True)
        try:
            if self.holder.stdout.readline() != b"up\n":
                raise BedError("cannot make a network namespace: this needs root (CAP_SYS_ADMIN)")
            with open(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children", encoding="ascii") as children:
                self.init = int(children.read().split()[0])
            self.id = os.stat(f"/proc/{self.init}/ns/pid").st_ino
            run(["ip", "link", "add", self.link, "type", "veth", "peer", "name", "eth0", "address", INNER_MAC, "netns", self.init])
            run(["ip", "addr", "add", f"{self.outer}/29", "dev", self.link])
            run(["ip", "link", "set", self.link, "up"])
            run(self.enter("ip", "addr", "add", f"{self.inner}/29", "dev", "eth0"))
            run(self.enter("ip", "link", "set", "eth0", "up"))
            # Packets to `silent` reach the other end, which has no such address and does not forward: it drops them.
            run(["ip", "neigh", "replace", self.silent, "lladdr", INNER_MAC, "nud", "permanent", "dev", self.link])
        except BaseException:
            self.close()
            raise

    def enter(self, *argv):
        """The command line that runs argv inside."""
        return ["nsenter", "--target", str(self.init), "--net", "--pid", "--", *argv]

    def cut(self):
        """The cable is pulled: packets vanish both ways."""
        run(["ip", "link", "set", self.link, "down"])

    def mend(self):
        run(["ip", "link", "set", self.link, "up"])
        run(["ip", "neigh", "replace", self.silent, "lladdr", INNER_MAC, "nud", "permanent", "dev", self.link])

    def processes(self):
        """Every process inside but the holder's own, whatever it forked from."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.stat(f"/proc/{pid}/ns/pid").st_ino == self.id and int(pid) != self.init:
                    found.append(int(pid))
            except OSError:
                continue  # it ended meanwhile
        return found

    def signal(self, number):
        for pid in self.processes():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def kill_all(self):
        """Kills what runs inside and waits for its end; the namespace stays."""
        while pids := self.processes():
            watched = []
            for pid in pids:
                try:
                    watched.append(os.pidfd_open(pid))
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            for fd in watched:
                poll = select.poll()
                poll.register(fd, select.POLLIN)
                ended = poll.poll(PATIENCE * 1000)
                os.close(fd)
                if not ended:
                    raise BedError("a process of the namespace does not end when killed")
            # What ended is a zombie until the holder's init reaps it: `sleep` does not, so they no longer count.
            if all(_state(pid) in ("Z", "X") for pid in self.processes()):
                return

    def close(self):
        """Ends the namespace; the kernel ends every process and the link with it."""
        self.holder.kill()
        self.holder.wait(PATIENCE)
        self.holder.stdout.close()


def _state(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0]
    except OSError:
        return "X"
