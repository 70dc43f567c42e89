"""An HTTPS client that verifies, keeps its connection, and can also send what no client should."""

import http.client
import json
import socket
import ssl

from .process import PATIENCE


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:400]!r}>"


def tls(ca_path, cert=None, key=None):
    context = ssl.create_default_context(cafile=ca_path)
    if cert:
        context.load_cert_chain(cert, key)
    return context


class Client:
    """One connection to 127.0.0.1, made at the first request and kept."""

    def __init__(self, port, ca_path, cert=None, key=None, bearer=None, limit=PATIENCE):
        self.port, self.bearer = port, bearer
        self.context = tls(ca_path, cert, key)
        self.connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=limit, context=self.context)

    def request(self, method, path, body=None, headers=None):
        headers = dict(headers or {})
        if self.bearer:
            headers.setdefault("Authorization", f"Bearer {self.bearer}")
        if body is not None:
            if not isinstance(body, bytes):
                body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        self.connection.request(method, path, body=body, headers=headers)
        answer = self.connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())

    def get(self, path):
        return self.request("GET", path)

    def post(self, path, body, **headers):
        return self.request("POST", path, body, headers)

    def signin(self, username, password, **more):
        return self.post("/v1/signin", {"username": username, "password": password, **more})

    def raw(self, data=b""):
        """A bare TLS connection on which `data` was sent."""
        sock = self.context.wrap_socket(socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE), server_hostname="127.0.0.1")
        sock.sendall(data)
        return sock

    def close(self):
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def unix_request(path, method, target, limit=PATIENCE, body=None):
    """A request to a control socket; body goes as JSON."""
    connection = http.client.HTTPConnection("localhost", timeout=limit)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(limit)
    connection.sock.connect(path)
    if body is None:
        connection.request(method, target)
    else:
        connection.request(method, target, body=json.dumps(body), headers={"Content-Type": "application/json"})
    answer = connection.getresponse()
    result = Answer(answer.status, answer.headers, answer.read())
    connection.close()
    return result
