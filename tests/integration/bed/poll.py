"""An agent's poll and its answer in their binary form (docs/openapi.yaml): writes what it is told to, well formed or not, and reads strictly."""

import re
from dataclasses import dataclass

PATH = "/v1/agent/poll"
TYPE = "application/vnd.pta.poll"
VERSION = 1
ANSWER, DECLINED = 0, 1  # the kinds of result
REASONS = ("agent_error", "no_agent", "agent_lost", "directory_unreachable", "timeout", "decrypt_failed", "clock_skew", "overloaded", "not_configured")
REFUSALS = ("unknown", "not_holder", "stale_attempt", "bad_answer")
MAX_CREDIT, MAX_RESULTS, MAX_SEALED, MAX_ANSWER = 1024, 1024, 4096, 1024


def uint(size, value):
    return value.to_bytes(size, "big")


def lp(data):
    return uint(2, len(data)) + data


# ---- up: a result is bytes, so that a test can spoil it ----

def result(request, attempt, kind, rest):
    return request.encode() + uint(4, attempt) + uint(1, kind) + rest


def answered(request, attempt, answer):
    return result(request, attempt, ANSWER, lp(answer))


def declined(request, attempt, reason="overloaded"):
    return result(request, attempt, DECLINED, uint(1, REASONS.index(reason)))


def encode(instance, number, credit, results=(), version=VERSION, promised=None):
    """`promised`: the number of results that is written, where it is not theirs."""
    n = len(results) if promised is None else promised
    return uint(1, version) + instance.encode() + uint(8, number) + uint(2, credit) + uint(2, n) + b"".join(results)


def post(client, body, **headers):
    return client.post(PATH, body, **{"Content-Type": TYPE, **headers})


# ---- down ----

@dataclass
class Request:
    id: str
    attempt: int
    expires_ms: int
    key: str
    enc: bytes
    seq: int
    sealed: bytes

    def answered(self, answer):
        return answered(self.id, self.attempt, answer)

    def declined(self, reason="overloaded"):
        return declined(self.id, self.attempt, reason)


@dataclass
class Refusal:
    request: str
    attempt: int
    error: str


@dataclass
class Batch:
    requests: list
    refused: list


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        assert len(self.data) - self.at >= n, f"cut off at {self.at}: {self.data!r}"
        self.at += n
        return self.data[self.at - n:self.at]

    def uint(self, size, least=0):
        value = int.from_bytes(self.take(size), "big")
        assert value >= least, f"{value} before {self.at}: {self.data!r}"
        return value

    def id(self):
        text = self.take(32).decode()
        assert re.fullmatch("[0-9a-f]{32}", text), text
        return text

    def text(self, limit):
        data = self.take(self.uint(2))
        assert 1 <= len(data) <= limit, f"{len(data)} bytes before {self.at}"
        return data

    def list(self, limit, item):
        n = self.uint(2)
        assert n <= limit, n
        return [item() for _ in range(n)]

    def request(self):
        return Request(self.id(), self.uint(4, 1), self.uint(8, 1), self.id(), self.take(32), self.uint(8), self.text(MAX_SEALED))

    def refusal(self):
        refusal = Refusal(self.id(), self.uint(4, 1), self.text(32).decode())
        assert refusal.error in REFUSALS, refusal
        return refusal


def decode(data):
    reader = Reader(data)
    assert reader.uint(1) == VERSION, data
    batch = Batch(reader.list(MAX_CREDIT, reader.request), reader.list(MAX_RESULTS, reader.refusal))
    assert reader.at == len(data), f"{len(data) - reader.at} bytes behind it: {data!r}"
    assert batch.requests or batch.refused, "a batch of nothing"
    return batch


def batch(answer):
    """What an answer of the service brings."""
    assert (answer.status, answer.headers["Content-Type"]) == (200, TYPE), answer
    return decode(answer.body)
