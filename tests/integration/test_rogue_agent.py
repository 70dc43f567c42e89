"""An agent that lies: what it may do is refuse to work, and no more."""

import secrets
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from bed import slapd as slapd_bed
from bed.process import until
from bed.rogue import Rogue, b64
from bed.slapd import password, upn
from conftest import slapd_section
from test_outages import Asked


@pytest.fixture
def service(system):
    service = system.service(deadline="3s")
    service.domain(slapd_bed.DOMAIN)
    return service


@pytest.fixture
def rogue(service, make_folder):
    rogue = Rogue(make_folder("rogue"), service)
    yield rogue
    rogue.close()


@pytest.fixture
def holding(service, rogue):
    """The rogue holds a request of somebody who waits for its answer."""
    assert rogue.publish().status == 200
    until(lambda: service.status()["agents_online"] == 1, "the rogue to be online")
    asked = Asked(service, upn(1), password(1))
    return asked, rogue.take()


def refusal(answer):
    assert answer.status == 200, answer
    assert answer.json["accepted"] == 0, answer
    return [refused["error"] for refused in answer.json["refused"]]


def test_a_parked_poll_is_answered_with_the_time_of_the_answer(service, rogue):
    """Agents judge by it what has expired; the time at which they asked may be half a minute old."""
    assert rogue.publish().status == 200
    with ThreadPoolExecutor(1) as pool:
        polling = pool.submit(rogue.poll)
        until(lambda: service.status()["polls"] == 1, "the poll to be parked")
        parked = int(time.time() * 1000)
        until(lambda: int(time.time() * 1000) > parked, "the clock to move on")
        asked = Asked(service, upn(1), password(1))
        answer = polling.result()
    assert len(answer.json["requests"]) == 1
    assert [int(ms) > parked for ms in answer.headers.get_all("PTA-Time")] == [True], answer.headers
    assert asked.wait().json["verdict"] == "unavailable"


def test_garbage_is_no_answer(service, rogue, holding):
    asked, request = holding
    for garbage in (b"\0", secrets.token_bytes(60), secrets.token_bytes(1024), b'{"verdict":"success"}' * 4):
        assert refusal(rogue.results({"id": request["id"], "attempt": request["attempt"], "answer": b64(garbage)})) == ["bad_answer"]
    answer = asked.wait()
    assert answer.json["verdict"] == "unavailable" and answer.status in (503, 504), answer


def test_request_comes_back_as_no_answer(service, rogue, holding):
    asked, request = holding
    assert refusal(rogue.results({"id": request["id"], "attempt": request["attempt"], "answer": request["sealed"]})) == ["bad_answer"]
    assert asked.wait().json["verdict"] == "unavailable"


def test_results_of_nothing_it_holds_are_refused(service, rogue, holding):
    asked, request = holding
    answer = b64(secrets.token_bytes(60))
    assert refusal(rogue.results({"id": secrets.token_hex(16), "attempt": 1, "answer": answer})) == ["unknown"]
    assert refusal(rogue.results({"id": request["id"], "attempt": request["attempt"] + 1, "answer": answer})) == ["stale_attempt"]
    assert refusal(rogue.results({"id": request["id"], "attempt": request["attempt"], "declined": "overloaded"}, instance=secrets.token_hex(16))) == ["not_holder"]
    assert asked.wait().json["verdict"] == "unavailable"


def test_another_agents_request_is_not_its_own(service, rogue, holding, make_folder):
    asked, request = holding
    other = Rogue(make_folder("rogue"), service)
    assert other.publish().status == 200
    for result in ({"answer": b64(secrets.token_bytes(60))}, {"declined": "overloaded"}):
        assert refusal(other.results({"id": request["id"], "attempt": request["attempt"], **result})) == ["not_holder"]
    other.close()
    assert asked.wait().json["verdict"] == "unavailable"


def test_what_it_declines_another_agent_answers(system, service, rogue, slapd):
    assert rogue.publish().status == 200
    until(lambda: service.status()["agents_online"] == 1, "the rogue to be online")
    system.agent(service, {slapd_bed.DOMAIN: slapd_section(slapd)})
    # Both polls wait; the one with most room is asked first, and the rogue claims all of it.
    with ThreadPoolExecutor(1) as pool:
        poll = pool.submit(rogue.poll, credit=1024)
        until(lambda: service.status()["agents_online"] == 2 and service.status()["polls"] == 2, "both agents to poll")
        asked = Asked(service, upn(1), password(1))
        request = poll.result().json["requests"][0]
    result = {"id": request["id"], "attempt": request["attempt"], "declined": "overloaded"}
    told = rogue.results(result)
    assert told.json["accepted"] == 1, told
    # A second answer is one too many.
    assert len(refusal(rogue.results(result))) == 1
    assert asked.wait().json["verdict"] == "success"


BAD_RESULTS = {
    "no JSON": b"x",
    "no instance": {"results": []},
    "not an array": {"instance": "0" * 32, "results": {}},
    "unknown key": {"instance": "0" * 32, "results": [], "more": 1},
    "both": {"instance": "0" * 32, "results": [{"id": "0" * 32, "attempt": 1, "answer": "AAAA", "declined": "overloaded"}]},
    "neither": {"instance": "0" * 32, "results": [{"id": "0" * 32, "attempt": 1}]},
    "bad id": {"instance": "0" * 32, "results": [{"id": "../../etc", "attempt": 1, "declined": "overloaded"}]},
    "bad attempt": {"instance": "0" * 32, "results": [{"id": "0" * 32, "attempt": -1, "declined": "overloaded"}]},
    "bad reason": {"instance": "0" * 32, "results": [{"id": "0" * 32, "attempt": 1, "declined": "because"}]},
    "bad base64": {"instance": "0" * 32, "results": [{"id": "0" * 32, "attempt": 1, "answer": "a+b/"}]},
    "long answer": {"instance": "0" * 32, "results": [{"id": "0" * 32, "attempt": 1, "answer": "A" * 4000}]},
    "too many": {"instance": "0" * 32, "results": [{"id": "0" * 32, "attempt": 1, "declined": "overloaded"}] * 1025},
}


@pytest.mark.parametrize("what", BAD_RESULTS)
def test_malformed_results_are_refused_whole(service, rogue, what):
    answer = rogue.client.post("/v1/agent/results", BAD_RESULTS[what])
    assert answer.status == 400 and answer.json["error"] and answer.json["message"], answer


@pytest.mark.parametrize("changes", [{"credit": 0}, {"credit": 1025}, {"credit": "1"}, {"number": 0}, {"instance": "x"}, {"instance": 1}, {"more": 1}])
def test_malformed_polls_are_refused(service, rogue, changes):
    rogue.publish()
    assert rogue.poll(**changes).status == 400


def test_poll_before_a_key_is_published(service, rogue):
    answer = rogue.poll()
    assert (answer.status, answer.json["error"]) == (409, "key_unknown"), answer


def test_keys_must_be_signed_by_the_certificate_for_this_agent(service, rogue):
    assert rogue.publish(signer=ec.generate_private_key(ec.SECP256R1())).status in (400, 403)
    assert rogue.publish(agent="somebody-else").status in (400, 403)
    assert rogue.publish(public=b"\1" * 31).status == 400
    assert rogue.publish(not_after_ms=1).status in (400, 403)
    assert service.status()["agents_online"] == 0
    assert rogue.publish().status == 200


def test_token_serves_one_key_and_repeats_its_certificate(service, rogue):
    token = service.token()
    key = ec.generate_private_key(ec.SECP256R1())
    first = rogue.register(token, key)
    again = rogue.register(token, key)
    assert first.status == again.status == 200
    assert first.json["certificate"] == again.json["certificate"]
    answer = rogue.register(token, ec.generate_private_key(ec.SECP256R1()))
    assert (answer.status, answer.json["error"]) == (403, "token"), answer
