"""What one process sees in place of the host's resolv.conf and hosts: it starts in a mount namespace of its own where files
of the bed lie over them. Needs root."""

import os
import shlex
import socket


class View:
    """Both files can be changed while processes that see them run."""

    def __init__(self, folder, nameservers=(), hosts=None):
        self.folder = folder
        self.nameservers, self.hosts = list(nameservers), dict(hosts or {})
        self.write()

    def write(self, nameservers=None, hosts=None):
        """hosts: addresses by name, before DNS."""
        if nameservers is not None:
            self.nameservers = list(nameservers)
        if hosts is not None:
            self.hosts = dict(hosts)
        # An attempt a second, twice: the resolver's own five seconds are longer than a test's patience with a dead server.
        self._put("resolv.conf", [f"nameserver {server}" for server in self.nameservers] + ["options timeout:1 attempts:2"])
        # Samba asks for the host's own name at each GSSAPI bind.
        self._put("hosts", [f"127.0.0.1 localhost {socket.gethostname()}"] + [f"{address} {name}" for name, address in self.hosts.items()])

    def _put(self, name, lines):
        # In place: what is mounted is this file.
        with open(os.path.join(self.folder, name), "w", encoding="ascii") as out:
            out.write("\n".join(lines) + "\n")

    def mounts(self):
        """Shell text that mounts the files, in a mount namespace that is nobody else's."""
        return " && ".join(f"mount --bind {shlex.quote(os.path.join(self.folder, name))} /etc/{name}" for name in ("resolv.conf", "hosts"))

    def enter(self, *argv):
        """The command line that runs argv, as the same process, with this view."""
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", f"{self.mounts()} && exec \"$@\"", "sh", *argv]
