"""docs/openapi.yaml against a running service: every route is described, every described status is had, and every answer is as described."""

import http.client
import os
import re
import secrets
import signal
import threading
import time

import jsonschema
import pytest
import yaml
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519

from bed import poll
from bed import slapd as slapd_bed
from bed.client import Answer, Client, unix_request
from bed.process import PATIENCE, until
from bed.pta import TOP, Agent, Service, listen_port
from bed.poll import lp
from bed.rogue import Rogue, b64, csr

ROGUE_DOMAIN = "rogue.example.com"
LISTENERS = {"routes_signin": "signin", "routes_agent": "agent", "routes_metrics": "metrics"}
LARGE = b"x" * (3 << 20)


class Document:
    """The description, and what of it was seen so far."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as text:
            self.root = yaml.safe_load(text)
        self.resolver = jsonschema.RefResolver("", self.root)
        self.seen = set()

    def resolve(self, node):
        while "$ref" in node:
            _, node = self.resolver.resolve(node["$ref"])
        return node

    def validate(self, value, schema):
        jsonschema.Draft202012Validator(schema, resolver=self.resolver).validate(value)

    def operations(self):
        for path, item in self.root["paths"].items():
            for method in ("get", "post"):
                if method in item:
                    yield method.upper(), path, item[method]

    def check(self, answer, method, path):
        """Holds an answer to the description of its status; gives it back."""
        responses = self.root["paths"][path][method.lower()]["responses"]
        assert str(answer.status) in responses, f"{method} {path} may not answer {answer}"
        response = self.resolve(responses[str(answer.status)])
        for name, header in response.get("headers", {}).items():
            header = self.resolve(header)
            assert name in answer.headers or not header["required"], f"{method} {path}: {answer.status} without {name}"
            self.validate(answer.headers[name], header["schema"])
        if "content" in response:
            (kind, media), = response["content"].items()
            assert answer.headers["Content-Type"].partition(";")[0] == kind
            if kind == poll.TYPE:
                poll.batch(answer)
            # A string of format binary has a byte where others have a character.
            self.validate(answer.json if kind == "application/json" else answer.body.decode("latin-1"), media["schema"])
        else:
            assert answer.body == b""
        self.seen.add((method, path, str(answer.status)))
        return answer

    def complete(self, method, path):
        """Every status that is described was seen."""
        described = {status for status in self.root["paths"][path][method.lower()]["responses"] if status != "default"}
        assert described == {status for seen_method, seen_path, status in self.seen if (seen_method, seen_path) == (method, path)}


@pytest.fixture(scope="module")
def document():
    return Document(os.path.join(TOP, "docs", "openapi.yaml"))


class Served:
    """A service with a real agent before slapd, and one of the tests' own that takes requests and says nothing."""

    def __init__(self, make_folder, slapd):
        self.make_folder = make_folder
        self.metrics_port = listen_port()
        self.main = Service(make_folder("service"), {"metrics_listen": f"127.0.0.1:{self.metrics_port}", "deadline": "2s"})
        self.main.domain(slapd_bed.DOMAIN)
        self.main.domain(ROGUE_DOMAIN, group="rogue")
        section = {"servers": f"{slapd.address}:{slapd.ldaps_port}", "ca_file": slapd.ca.path, "bind_dn": slapd_bed.BIND_DN}
        self.agent = Agent(make_folder("agent"), self.main, {slapd_bed.DOMAIN: section})
        self.agent.register()
        self.agent.start()
        self.rogue = Rogue(make_folder("rogue"), self.main, group="rogue")
        self.main.wait_agents(1)

    def nobody(self):
        """A client of the agent listener without a certificate."""
        return Client(self.main.agent_port, self.main.ca)

    def metrics_get(self, path, method="GET"):
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=PATIENCE)
        connection.request(method, path)
        answer = connection.getresponse()
        answer = Answer(answer.status, answer.headers, answer.read())
        connection.close()
        return answer


@pytest.fixture(scope="module")
def served(make_folder, slapd):
    made = Served(make_folder, slapd)
    yield made
    made.rogue.close()
    made.agent.close()
    made.main.close()


def refusals(document, client, path):
    """What each path with a body refuses before its handler sees it."""
    kind, = document.root["paths"][path]["post"]["requestBody"]["content"]

    def refused(status, body, **headers):
        assert document.check(client.post(path, body, **{"Content-Type": kind, **headers}), "POST", path).status == status
    document.check(client.get(path), "POST", path)
    refused(411, b"2\r\n{}\r\n0\r\n\r\n", **{"Transfer-Encoding": "chunked"})
    refused(413, LARGE)
    for other in {"text/plain", "application/json", poll.TYPE} - {kind}:
        refused(415, b"{}", **{"Content-Type": other})


class Parked:
    """A poll of the silent agent on a connection of its own, not waited for."""

    def __init__(self, served, number):
        rogue = served.rogue
        self.client = Client(served.main.agent_port, served.main.ca, *rogue.paths)
        self.client.connection.request("POST", poll.PATH, body=poll.encode(rogue.instance, number, credit=1), headers={"Content-Type": poll.TYPE})

    def answer(self):
        answer = self.client.connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())

    def close(self):
        self.client.close()


def polls_parked(served, number):
    until(lambda: served.main.status()["polls"] == number, f"{number} parked polls")


def test_document_is_well_formed(document):
    for schema in document.root["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    # Each reference leads somewhere.
    def walk(node):
        if isinstance(node, dict):
            if "$ref" in node:
                document.resolver.resolve(node["$ref"])
            node = list(node.values())
        if isinstance(node, list):
            for item in node:
                walk(item)
    walk(document.root)
    for _, _, operation in document.operations():
        for media in operation.get("requestBody", {"content": {}})["content"].values():
            if "example" in media:
                document.validate(media["example"], media["schema"])


def test_every_route_is_described(document):
    with open(os.path.join(TOP, "src", "service", "routes.c"), encoding="utf-8") as text:
        tables = re.findall(r"struct httpd_route (\w+)\[\] = \{(.*?)\n\};", text.read(), re.S)
    served = {(LISTENERS[table], method, path) for table, rows in tables if table in LISTENERS for method, path in re.findall(r'\{"(\w+)", "([^"]+)"', rows)}
    described = {(listener, method, path) for method, path, _ in document.operations() for listener in document.root["paths"][path]["x-listeners"]}
    assert served and served == described


def test_reasons_have_their_numbers(document):
    listed = re.findall(r"(\d+) `(\w+)`", document.root["components"]["schemas"]["Poll"]["description"])
    assert listed == [(str(number), name) for number, name in enumerate(poll.REASONS)]
    assert set(poll.REASONS) == set(document.root["components"]["schemas"]["Unavailable"]["properties"]["reason"]["enum"])


def test_signin(document, served):
    path = "/v1/signin"
    with served.main.client() as client:
        def check(answer):
            return document.check(answer, "POST", path)
        assert check(client.signin(slapd_bed.upn(1), slapd_bed.password(1), correlation_id="one")).json["verdict"] == "success"
        assert check(client.signin(slapd_bed.upn(1), "wrong")).json["verdict"] == "invalid_credentials"
        assert check(client.signin("no domain", "x")).json["verdict"] == "invalid_request"
        check(client.post(path, b"{"))
        check(client.post(path, {"username": "a@b"}))
        assert check(client.signin("a@nowhere.example.com", "x")).json["reason"] == "not_configured"
        refusals(document, client, path)
    plain = served.main.app("plain")
    with served.main.client(key=plain) as client:
        assert "details" not in document.check(client.signin(slapd_bed.upn(1), slapd_bed.password(1)), "POST", path).json
    with served.main.client(key="wrong") as client:
        document.check(client.signin("a@b", "x"), "POST", path)
    # The silent agent takes it, and nobody knows what became of the password.
    assert served.rogue.publish().status == 200
    with served.main.client() as client:
        answers = []
        thread = threading.Thread(target=lambda: answers.append(client.signin(f"a@{ROGUE_DOMAIN}", "x")))
        thread.start()
        served.rogue.take()
        thread.join()
        assert document.check(answers[0], "POST", path).json["reason"] == "timeout"
    document.complete("POST", path)


def test_register(document, served):
    path = "/v1/agent/register"
    rogue = served.rogue
    document.check(rogue.register(served.main.token("rogue"), ec.generate_private_key(ec.SECP256R1())), "POST", path)
    token = served.main.token("rogue")
    assert document.check(rogue.register(token, ec.generate_private_key(ec.SECP256R1())), "POST", path).status == 200
    assert document.check(rogue.register(token, ec.generate_private_key(ec.SECP256R1())), "POST", path).status == 403
    with served.nobody() as client:
        document.check(client.post(path, {"csr": "x"}), "POST", path)
        refusals(document, client, path)
    document.complete("POST", path)


def test_renew(document, served):
    path = "/v1/agent/renew"
    other = Rogue(served.make_folder("renewing"), served.main, group="rogue")
    document.check(other.client.post(path, {"csr": csr(ec.generate_private_key(ec.SECP256R1()))}), "POST", path)
    document.check(other.client.post(path, {"csr": "none"}), "POST", path)
    refusals(document, other.client, path)
    other.close()
    with served.nobody() as client:
        document.check(client.post(path, {"csr": "x"}), "POST", path)
    document.complete("POST", path)


def expired_key(rogue):
    """A key of the past, rightly signed."""
    public = x25519.X25519PrivateKey.generate().public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    key_id, end = secrets.token_hex(16), int(time.time() * 1000) - 60_000
    parts = (b"pta agent key v1", rogue.tenant.encode(), rogue.agent.encode(), rogue.instance.encode(), key_id.encode(), public)
    signature = rogue.key.sign(b"".join(map(lp, parts)) + end.to_bytes(8, "big"), ec.ECDSA(hashes.SHA256()))
    return {"instance": rogue.instance, "key_id": key_id, "public": b64(public), "not_after_ms": end, "signature": b64(signature)}


def test_keys(document, served):
    path = "/v1/agent/keys"
    rogue = served.rogue
    document.check(rogue.publish(), "POST", path)
    assert document.check(rogue.publish(signature="AAAA"), "POST", path).json["error"] == "bad_signature"
    assert document.check(rogue.client.post(path, expired_key(rogue)), "POST", path).status == 409
    refusals(document, rogue.client, path)
    with served.nobody() as client:
        assert document.check(client.post(path, {}), "POST", path).status == 403
    document.complete("POST", path)


def test_poll(document, served):
    path = poll.PATH
    rogue = served.rogue
    before = rogue.instance
    rogue.instance = secrets.token_hex(16)
    assert document.check(rogue.poll(), "POST", path).status == 409
    rogue.instance = before
    assert rogue.publish().status == 200
    assert document.check(rogue.poll(0), "POST", path).status == 400
    assert document.check(rogue.bring(poll.declined("x" * 32, 1)), "POST", path).status == 400
    # A sign-in is taken, and given back: nobody else could do it.
    with served.main.client() as client:
        answers = []
        thread = threading.Thread(target=lambda: answers.append(client.signin(f"a@{ROGUE_DOMAIN}", "x")))
        thread.start()
        batch = poll.batch(document.check(rogue.poll(), "POST", path))
        request, = batch.requests
        assert batch.refused == []
        assert document.check(rogue.bring(request.declined()), "POST", path).status == 204
        thread.join()
        assert answers[0].json["reason"] == "overloaded"
    # What was refused is told at once to a poll that asks for nothing, and soon to one that asks.
    for credit in (0, 1):
        told = document.check(rogue.poll(credit, [request.declined(), poll.answered(secrets.token_hex(16), 1, b"x")]), "POST", path)
        assert [refused.error for refused in poll.batch(told).refused] == ["unknown", "unknown"]
    # The same poll again takes the place of the first, and so does one too many.
    others = served.main.status()["polls"]
    parked = [Parked(served, rogue.polls + 1)]
    polls_parked(served, others + 1)
    parked.append(Parked(served, rogue.polls + 1))
    assert document.check(parked[0].answer(), "POST", path).status == 204
    parked.append(Parked(served, rogue.polls + 2))
    polls_parked(served, others + 2)
    parked.append(Parked(served, rogue.polls + 3))
    assert document.check(parked[1].answer(), "POST", path).status == 204
    rogue.polls += 3
    for connection in parked:
        connection.close()
    polls_parked(served, others)
    refusals(document, rogue.client, path)
    with served.nobody() as client:
        assert document.check(poll.post(client, b""), "POST", path).status == 403
    document.complete("POST", path)


def test_metrics_and_live(document, served):
    document.check(served.metrics_get("/metrics"), "GET", "/metrics")
    document.check(served.metrics_get("/metrics", "DELETE"), "GET", "/metrics")
    document.check(served.metrics_get("/live"), "GET", "/live")
    for client in (served.main.client(), served.nobody()):
        with client:
            document.check(client.get("/live"), "GET", "/live")
            document.check(client.request("PUT", "/live"), "GET", "/live")
            document.check(client.get("/ready"), "GET", "/ready")
            document.check(client.request("PUT", "/ready"), "GET", "/ready")
    document.check(unix_request(served.main.control, "GET", "/metrics"), "GET", "/metrics")
    document.complete("GET", "/metrics")
    document.complete("GET", "/live")


def test_stopping_service_is_not_ready(document, served):
    """The last one: it ends the service, which waits for a request that is with an agent."""
    document.check(served.metrics_get("/ready"), "GET", "/ready")
    document.check(served.metrics_get("/ready", "DELETE"), "GET", "/ready")
    assert served.rogue.publish().status == 200
    with served.main.client() as client:
        thread = threading.Thread(target=client.signin, args=(f"a@{ROGUE_DOMAIN}", "x"))
        thread.start()
        served.rogue.take()
        served.main.daemon.signal(signal.SIGTERM)
        until(lambda: served.main.events("service.stopping"), "the service to stop")
        with served.nobody() as other:
            assert document.check(other.get("/ready"), "GET", "/ready").status == 503
        thread.join()
    assert served.main.daemon.wait() == 0
    document.complete("GET", "/ready")
