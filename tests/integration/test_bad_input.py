"""What a client should not send: each gets its clear error, and the service goes on."""

import json
import select
import socket
import ssl
import time

import pytest

from bed import poll
from bed.process import PATIENCE

GOOD = {"username": "nobody@corp.example.com", "password": "whatever"}


def body(**changes):
    return json.dumps({**GOOD, **changes}).encode()


@pytest.fixture
def client(office):
    with office.client() as client:
        yield client
    # Whatever was sent: the service still answers.
    assert office.signin("nobody@corp.example.com", "whatever").json["verdict"] == "invalid_credentials"


BAD_BODIES = {
    "empty": (b"", None),
    "not JSON": (b"password=x", None),
    "cut off": (b'{"username": "a@b", "passw', None),
    "an array": (b"[]", None),
    "a string": (b'"x"', None),
    "null": (b"null", None),
    "two values": (body() + body(), None),
    "deep nesting": (b'{"username":' + b"[" * 2000 + b"]" * 2000 + b"}", None),
    "duplicate key": (b'{"username":"a@b","password":"x","password":"y"}', None),
    "unknown field": (body(pass_word="x"), None),
    "no username": (b'{"password":"x"}', "username"),
    "no password": (b'{"username":"a@b"}', "password"),
    "number for a name": (body(username=7), "username"),
    "null password": (body(password=None), "password"),
    "object for a password": (body(password={"a": 1}), "password"),
    "empty name": (body(username=""), "username"),
    "empty password": (body(password=""), "password"),
    "NUL in the name": (body(username="a\0b@corp.example.com"), None),
    "NUL in the password": (body(password="a\0b"), None),
    "not UTF-8": (b'{"username":"a\xff@corp.example.com","password":"x"}', None),
    "lone surrogate": (b'{"username":"a@corp.example.com","password":"\\ud800"}', None),
    "long name": (body(username="a" * 1025 + "@corp.example.com"), "username"),
    "long password": (body(password="x" * 1025), "password"),
    "control character in the name": (body(username="a\nb@corp.example.com"), "username"),
    "long correlation id": (body(correlation_id="x" * 65), "correlation_id"),
    "unprintable correlation id": (body(correlation_id="a\tb"), "correlation_id"),
    "client_ip that is none": (body(client_ip="1.2.3.4.5"), "client_ip"),
}


@pytest.mark.parametrize("what", BAD_BODIES)
def test_bad_body_gets_its_error(client, what):
    data, field = BAD_BODIES[what]
    answer = client.post("/v1/signin", data)
    assert answer.status == 400, answer
    assert answer.json["error"] and answer.json["message"]
    if field:
        assert answer.json["field"] == field, answer


def test_longest_name_and_password_are_taken(client):
    name = "a" * (1024 - len("@corp.example.com")) + "@corp.example.com"
    answer = client.signin(name, "x" * 1024)
    assert answer.status == 200, answer
    assert answer.json["verdict"] == "invalid_credentials"


@pytest.mark.parametrize("method, path, headers, status", [
    ("GET", "/v1/signin", {}, 405),
    ("PUT", "/v1/signin", {}, 405),
    ("DELETE", "/v1/signin", {}, 405),
    ("POST", "/v1/nothing", {}, 404),
    ("POST", poll.PATH, {"Content-Type": poll.TYPE}, 404),
    ("POST", "/v1/signin", {"Content-Type": "text/plain"}, 415),
    ("POST", "/v1/signin", {"Content-Type": poll.TYPE}, 415),
    ("POST", "/v1/signin", {"Authorization": "Bearer wrong"}, 401),
    ("POST", "/v1/signin", {"Authorization": "Basic Zm9vOmJhcg=="}, 401),
])
def test_wrong_method_path_type_or_key(client, method, path, headers, status):
    answer = client.request(method, path, body() if method == "POST" else None, headers)
    assert answer.status == status, answer
    assert answer.json["error"]


def test_revoked_key_is_refused(office):
    key = office.app("short-lived")
    with office.client(key=key) as client:
        assert client.signin(**GOOD).status == 200
        listed = [app for app in office.json("app", "list") if app["name"] == "short-lived"]
        office.command("app", "revoke", listed[0]["id"])
        assert client.signin(**GOOD).status == 401


def head(office, *lines, length=None):
    data = body()
    wanted = ["POST /v1/signin HTTP/1.1", "Host: localhost", f"Authorization: Bearer {office.key}", "Content-Type: application/json", *lines]
    wanted.append(f"Content-Length: {len(data) if length is None else length}")
    return "\r\n".join(wanted).encode() + b"\r\n\r\n"


def status_of(sock):
    """The status line's number, or None when the connection was closed without one."""
    try:
        answer = sock.recv(65536)
    except (ConnectionResetError, BrokenPipeError):
        return None
    return int(answer.split()[1]) if answer else None


@pytest.mark.parametrize("lines", [
    ["Content-Length: 3"], ["Host: other"], ["Authorization: Bearer other"], ["Content-Type: text/plain"], ["Host : other"],
    ["Transfer-Encoding: chunked"],
])
def test_duplicate_and_smuggling_headers_are_refused(client, office, lines):
    with client.raw(head(office, *lines) + body()) as sock:
        assert status_of(sock) in (400, None)


def test_oversize_body_is_refused_unread(client, office):
    with client.raw(head(office, length=1 << 30)) as sock:
        assert status_of(sock) in (413, None)


def test_oversize_headers_are_refused(client, office):
    with client.raw(head(office, "X: " + "x" * (1 << 20))) as sock:
        assert status_of(sock) in (400, 413, 431, None)


def test_plain_http_on_the_tls_port_gets_nothing(office):
    with socket.create_connection(("127.0.0.1", office.signin_port), timeout=30) as sock:
        sock.sendall(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP/" not in sock.recv(4096)


def test_password_in_an_error_stays_out_of_answer_and_log(client, office):
    for data in (b'{"username":"a@b","password":"Geheim-im-Fehler","password":"Geheim-im-Fehler"}', b'{"username":"a@b","password":"Geheim-im-Fehler'):
        assert b"Geheim-im-Fehler" not in client.post("/v1/signin", data).body
    assert "Geheim-im-Fehler" not in "\n".join(office.daemon.log.lines)


def test_dripping_requests_are_cut_off(client, office):
    """A byte now and then keeps no connection: a request has one deadline for all of it."""
    dripping = {}
    for port in (office.signin_port, office.agent_port):
        sock = client.context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE), server_hostname="127.0.0.1")
        sock.setblocking(False)
        dripping[sock] = iter(head(office) + b"{" + b" " * 10_000)
    deadline = time.monotonic() + PATIENCE
    while dripping:
        assert time.monotonic() < deadline, "they drip on and on"
        for sock in select.select(list(dripping), [], [], 0.1)[0]:
            try:
                assert status_of(sock) in (408, None)
            except ssl.SSLWantReadError:
                continue  # TLS's own: session tickets
            sock.close()
            del dripping[sock]
        for sock, data in dripping.items():
            try:
                sock.send(bytes([next(data)]))
            except OSError:
                continue  # it was cut between the two: select() tells next
