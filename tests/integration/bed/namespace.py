"""A network of the bed's own: a network namespace joined to the host by a veth pair, and in it a room for each server: a
PID and mount namespace. Needs root.

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

# RFC 2544's range for benchmarks: nobody's real network. Each bed takes sixteen addresses of it.
NETWORKS = ipaddress.ip_network("198.18.0.0/15")
PREFIX = 28
INNER_MAC = "02:00:00:00:00:02"
NOWHERE_MAC = "02:00:00:00:00:fe"


def _free_network():
    routes = run(["ip", "-4", "route", "show", "table", "all"]).splitlines()
    taken = [ipaddress.ip_network(word, strict=False) for word in (line.split()[0] for line in routes) if word[0].isdigit()]
    size = 1 << 32 - PREFIX
    for _ in range(1000):
        network = ipaddress.ip_network((int(NETWORKS.network_address) + size * random.randrange(NETWORKS.num_addresses // size), PREFIX))
        if not any(network.overlaps(other) for other in taken):
            return network
    raise BedError(f"no free network in {NETWORKS}")


class _Holder:
    """Namespaces that live as long as the process that was started with argv and then said "up"."""

    def __init__(self, argv):
        self.process = subprocess.Popen(DIES_WITH_US + argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=clean_environment(), start_new_session=True)
        if self.process.stdout.readline() != b"up\n":
            self.close()
            raise BedError(f"cannot make a namespace: this needs root (CAP_SYS_ADMIN): {' '.join(argv)}")

    def child(self):
        """The first process inside."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as children:
            return int(children.read().split()[0])

    def close(self):
        self.process.kill()
        self.process.wait(PATIENCE)
        self.process.stdout.close()


class Namespace:
    """`servers` are addresses inside, `inner` the first of them; `hosts` are the host's, `outer` the first of them; what is
    sent to `silent` is dropped without an answer."""

    def __init__(self):
        self.network = _free_network()
        addresses = [str(address) for address in self.network.hosts()]
        self.silent, self.servers, self.hosts = addresses[0], addresses[1:7], addresses[7:]
        self.inner, self.outer = self.servers[0], self.hosts[0]
        self.link = f"pta{random.randrange(1 << 32):08x}"
        self.rooms = []
        self.holder = _Holder(["unshare", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", "ip link set lo up && echo up && exec sleep infinity"])
        try:
            self.init = self.holder.child()
            run(["ip", "link", "add", self.link, "type", "veth", "peer", "name", "eth0", "address", INNER_MAC, "netns", self.init])
            run(["ip", "-batch", "-"], input=self._settings(self.hosts, self.link))
            run(self.enter("ip", "-batch", "-"), input=self._settings(self.servers, "eth0"))
            self.black_hole(self.silent)
        except BaseException:
            self.close()
            raise

    def enter(self, *argv):
        """The command line that runs argv in the network."""
        return ["nsenter", "--target", str(self.init), "--net", "--", *argv]

    @staticmethod
    def _settings(addresses, link):
        return "".join(f"addr add {address}/{PREFIX} dev {link}\n" for address in addresses) + f"link set {link} up\n"

    def black_hole(self, address):
        """What the host sends to this address is lost from now on."""
        # A frame for a station that is not there: nobody takes it, and nobody says so.
        run(["ip", "neigh", "replace", address, "lladdr", NOWHERE_MAC, "nud", "permanent", "dev", self.link])

    def heal(self, address):
        run(["ip", "neigh", "replace", address, "lladdr", INNER_MAC, "nud", "reachable", "dev", self.link])

    def room(self, view=None):
        """A place for one server: see Room."""
        self.rooms.append(Room(self, view))
        return self.rooms[-1]

    def cut(self):
        """The cable is pulled: packets vanish both ways."""
        run(["ip", "link", "set", self.link, "down"])

    def mend(self):
        run(["ip", "link", "set", self.link, "up"])
        self.black_hole(self.silent)

    def close(self):
        """Ends the namespaces; the kernel ends every process and the link with them."""
        for room in self.rooms:
            room.close()
        self.holder.close()


class Room:
    """A PID and mount namespace inside a network. With a view (bed/view.py), resolv.conf and hosts are that view's."""

    def __init__(self, namespace, view):
        script = f"{view.mounts()} && echo up && exec sleep infinity" if view else "echo up && exec sleep infinity"
        self.holder = _Holder(namespace.enter("unshare", "--pid", "--mount", "--propagation", "private", "--fork", "--kill-child", "sh", "-c", script))
        # nsenter became unshare, whose child is the room's first process.
        self.init = self.holder.child()
        self.id = os.stat(f"/proc/{self.init}/ns/pid").st_ino

    def enter(self, *argv):
        """The command line that runs argv inside."""
        return ["nsenter", "--target", str(self.init), "--net", "--pid", "--mount", "--", *argv]

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
        """Kills what runs inside and waits for its end; the room stays."""
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
                    raise BedError("a process of the room does not end when killed")
            # What ended is a zombie until the room's init reaps it: `sleep` does not, so they no longer count.
            if all(_state(pid) in ("Z", "X") for pid in self.processes()):
                return

    def close(self):
        self.holder.close()


def _state(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0]
    except OSError:
        return "X"
