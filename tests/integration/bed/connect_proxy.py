"""An HTTP proxy that knows CONNECT and asks for a password."""

import base64
import select
import socket
import threading


class ConnectProxy:
    def __init__(self, user, password):
        self.wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self.tunnels, self.refused = 0, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client:
            while head := self._head(client):
                lines = head.split("\r\n")
                method, target, _ = lines[0].split()
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
                if method == "CONNECT" and headers.get("proxy-authorization") == self.wanted:
                    self._tunnel(client, target)
                    return
                self.refused += 1
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"pta\"\r\nContent-Length: 0\r\n\r\n")

    @staticmethod
    def _head(client):
        head = b""
        while b"\r\n\r\n" not in head:
            try:
                data = client.recv(4096)
            except OSError:
                data = b""
            if not data:
                return None
            head += data
        return head.decode("latin-1")

    def _tunnel(self, client, target):
        host, _, port = target.rpartition(":")
        with socket.create_connection((host, int(port))) as server:
            self.tunnels += 1
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            self._pump(client, server)

    @staticmethod
    def _pump(client, server):
        peers = {client: server, server: client}
        while True:
            for ready in select.select(list(peers), [], [])[0]:
                try:
                    data = ready.recv(65536)
                    if not data:
                        return
                    peers[ready].sendall(data)
                except OSError:
                    return

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
