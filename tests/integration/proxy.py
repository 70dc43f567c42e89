"""A bad network between two programs: a TCP proxy, on loopback if nothing else is said, whose manners change while it runs.

    with Proxy(service.agent_port) as proxy:
        ... let the client speak to 127.0.0.1:proxy.port ...
        proxy.delay = 0.2    # seconds that each piece of data is late, in both directions
        proxy.black_hole()   # whatever is sent from now on is swallowed, on old connections and on new ones, and nothing is closed
        proxy.cut()          # resets every connection; new ones go through
        proxy.refuse()       # resets every connection and each new one
        proxy.heal()         # new connections go through again; those that lost data stay silent
        proxy.wait(2)        # until so many connections were taken since the start

Front is one for all ports of a domain controller. Packets that are lost without a trace (no TCP acknowledges them) come from bed/namespace.py.
"""

import socket
import struct
import threading
import time

from bed.process import PATIENCE

THROUGH, SILENT, REFUSING = "through", "silent", "refusing"


def _wake(sock):
    """Ends what reads from it in another thread."""
    try:
        sock.shutdown(socket.SHUT_RD)
    except OSError:
        pass  # the other end has closed it already


class Proxy:
    def __init__(self, port, host="127.0.0.1", listen=("127.0.0.1", 0)):
        self.target = (host, port)
        self.delay = 0
        self.mode = THROUGH
        self.generation = 0  # connections older than it were made silent
        self.taken = 0
        self.open = set()
        self.changed = threading.Condition()
        self.listener = socket.create_server(listen)
        self.port = self.listener.getsockname()[1]
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        self.threads[0].start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def heal(self):
        with self.changed:
            self.mode = THROUGH

    def black_hole(self):
        with self.changed:
            self.mode = SILENT
            self.generation += 1

    def cut(self):
        with self.changed:
            self.mode = THROUGH
            self._reset()

    def refuse(self):
        with self.changed:
            self.mode = REFUSING
            self._reset()

    def wait(self, number):
        with self.changed:
            if not self.changed.wait_for(lambda: self.taken >= number, PATIENCE):
                raise AssertionError(f"the proxy was asked for {self.taken} connections, not {number}")

    def close(self):
        with self.changed:
            self.mode = REFUSING
            self._reset()
        self.listener.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(PATIENCE)
        self.listener.close()

    def _reset(self):
        for sock in self.open:
            # A reset, not an orderly end.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            _wake(sock)
        self.open.clear()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = None
            if self.mode == THROUGH:
                try:
                    server = socket.create_connection(self.target, timeout=PATIENCE)
                    server.settimeout(None)
                except OSError:
                    client.close()
            with self.changed:
                self.taken += 1
                self.changed.notify_all()
                if self.mode == REFUSING:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    client.close()
                    if server:
                        server.close()
                    continue
                self.open.update(sock for sock in (client, server) if sock)
                born = self.generation if server else -1
            for here, there in ((client, server), (server, client)):
                if here:
                    self.threads.append(threading.Thread(target=self._pump, args=(here, there, born), daemon=True))
                    self.threads[-1].start()

    def _pump(self, here, there, born):
        """One direction of a connection, to its end. In a black hole the end is not told either."""
        while True:
            try:
                data = here.recv(65536)
            except OSError:
                data = b""
            with self.changed:
                alive = here in self.open
            if data and alive and self.delay:
                time.sleep(self.delay)
            lost = born != self.generation
            if not data or not alive:
                break
            if there and not lost:
                try:
                    there.sendall(data)
                except OSError:
                    break
        with self.changed:
            self.open.discard(here)
            if there and there in self.open and not lost:
                self.open.discard(there)
                _wake(there)
        here.close()


class Front:
    """Stands at `address` of the host's for a domain controller, with its ports for LDAPS, LDAP and Kerberos; delay() and act()
    are for all of them."""

    def __init__(self, address, controller):
        self.address = address
        self.proxies = [Proxy(port, controller.address, (address, port)) for port in (636, 389, 88)]

    def close(self):
        for proxy in self.proxies:
            proxy.close()

    def delay(self, seconds):
        for proxy in self.proxies:
            proxy.delay = seconds

    def act(self, name):
        for proxy in self.proxies:
            getattr(proxy, name)()
