"""An agent that lies: what it may do is refuse to work, and no more."""

import secrets
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from bed import poll
from bed import slapd as slapd_bed
from bed.client import Client
from bed.process import until
from bed.rogue import Rogue
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
    batch = poll.batch(answer)
    assert batch.requests == [], answer
    return [refused.error for refused in batch.refused]


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
    assert len(poll.batch(answer).requests) == 1
    assert [int(ms) > parked for ms in answer.headers.get_all("PTA-Time")] == [True], answer.headers
    assert asked.wait().json["verdict"] == "unavailable"


def test_garbage_is_no_answer(service, rogue, holding):
    asked, request = holding
    for garbage in (b"\0", secrets.token_bytes(60), secrets.token_bytes(1024), b'{"verdict":"success"}' * 4):
        assert refusal(rogue.bring(request.answered(garbage))) == ["bad_answer"]
    answer = asked.wait()
    assert answer.json["verdict"] == "unavailable" and answer.status in (503, 504), answer


def test_request_comes_back_as_no_answer(service, rogue, holding):
    asked, request = holding
    assert refusal(rogue.bring(request.answered(request.sealed))) == ["bad_answer"]
    assert asked.wait().json["verdict"] == "unavailable"


def test_results_of_nothing_it_holds_are_refused(service, rogue, holding):
    asked, request = holding
    answer = secrets.token_bytes(60)
    assert refusal(rogue.bring(poll.answered(secrets.token_hex(16), 1, answer))) == ["unknown"]
    assert refusal(rogue.bring(poll.answered(request.id, request.attempt + 1, answer))) == ["stale_attempt"]
    assert refusal(rogue.bring(request.declined(), instance=secrets.token_hex(16))) == ["not_holder"]
    assert asked.wait().json["verdict"] == "unavailable"


def test_another_agents_request_is_not_its_own(service, rogue, holding, make_folder):
    asked, request = holding
    other = Rogue(make_folder("rogue"), service)
    assert other.publish().status == 200
    for result in (request.answered(secrets.token_bytes(60)), request.declined()):
        assert refusal(other.bring(result)) == ["not_holder"]
    other.close()
    assert asked.wait().json["verdict"] == "unavailable"


def test_what_it_declines_another_agent_answers(system, service, rogue, slapd):
    assert rogue.publish().status == 200
    until(lambda: service.status()["agents_online"] == 1, "the rogue to be online")
    system.agent(service, {slapd_bed.DOMAIN: slapd_section(slapd)})
    # Both polls wait; the one with most room is asked first, and the rogue claims all of it.
    with ThreadPoolExecutor(1) as pool:
        polling = pool.submit(rogue.poll, credit=poll.MAX_CREDIT)
        until(lambda: service.status()["agents_online"] == 2 and service.status()["polls"] == 2, "both agents to poll")
        asked = Asked(service, upn(1), password(1))
        request, = poll.batch(polling.result()).requests
    assert rogue.bring(request.declined()).status == 204
    # A second answer is one too many.
    assert len(refusal(rogue.bring(request.declined()))) == 1
    assert asked.wait().json["verdict"] == "success"


NOBODY = "0" * 32
ANSWER = poll.answered(NOBODY, 1, b"\1\2\3")
DECLINE = poll.declined(NOBODY, 1)
ID_WRONG = "request is not 32 lower-case hex digits"
# What a malformed result is told.
BAD_RESULTS = {
    "short id": (poll.answered("0" * 31, 1, b"x" * 9), ID_WRONG),
    "capitals in the id": (poll.declined("A" * 32, 1), ID_WRONG),
    "an id that is a path": (poll.declined("../../../../etc/passwd".rjust(32, "."), 1), ID_WRONG),
    "NUL in the id": (poll.declined("\0".rjust(32, "0"), 1), ID_WRONG),
    "attempt 0": (poll.declined(NOBODY, 0), "attempt is out of range"),
    "attempt 0 of an answer": (poll.answered(NOBODY, 0, b"x"), "attempt is out of range"),
    "kind 2": (poll.result(NOBODY, 1, 2, b"\0"), "kind is out of range"),
    "kind 255": (poll.result(NOBODY, 1, 255, poll.lp(b"x")), "kind is out of range"),
    "reason behind the last": (poll.result(NOBODY, 1, poll.DECLINED, poll.uint(1, len(poll.REASONS))), "reason is out of range"),
    "reason 255": (poll.result(NOBODY, 1, poll.DECLINED, b"\xff"), "reason is out of range"),
    "empty answer": (poll.answered(NOBODY, 1, b""), "answer is empty or too long"),
    "answer one byte too long": (poll.answered(NOBODY, 1, b"x" * (poll.MAX_ANSWER + 1)), "answer is empty or too long"),
    "longest answer a length can say": (poll.answered(NOBODY, 1, b"x" * 65535), "answer is empty or too long"),
    "answer longer than the poll": (poll.result(NOBODY, 1, poll.ANSWER, poll.uint(2, 0xffff) + b"x" * 100), "answer is cut off"),
}


def bad_message(answer, why):
    """Refused as malformed, with the reason, and with no field: those are JSON's."""
    assert answer.status == 400, answer
    assert answer.json == {"error": "bad_message", "message": f"poll: {why}"}


@pytest.mark.parametrize("what", BAD_RESULTS)
@pytest.mark.parametrize("credit", [0, 1])
def test_malformed_results_are_refused_whole(service, rogue, what, credit):
    result, why = BAD_RESULTS[what]
    for results in ([result], [ANSWER, result], [ANSWER, result, DECLINE]):
        bad_message(rogue.poll(credit, results), why)


@pytest.mark.parametrize("results, promised, why", [
    ([], 1, "number of results is more than what follows"),
    ([DECLINE], 2, "number of results is more than what follows"),
    ([poll.answered(NOBODY, 1, b"x" * 64), DECLINE], 3, "request is cut off"),
    ([DECLINE], poll.MAX_RESULTS, "number of results is more than what follows"),
    ([DECLINE] * poll.MAX_RESULTS, poll.MAX_RESULTS + 1, "number of results is out of range"),
    ([DECLINE], 0xffff, "number of results is out of range"),
    ([DECLINE] * (poll.MAX_RESULTS + 1), None, "number of results is out of range"),
    ([DECLINE], 0, "end has bytes behind it"),
    ([ANSWER, DECLINE], 1, "end has bytes behind it"),
])
def test_a_poll_brings_as_many_results_as_it_says(service, rogue, results, promised, why):
    bad_message(rogue.poll(1, results, promised=promised), why)


@pytest.mark.parametrize("changes, why", [
    ({"version": 0}, "version is not 1: update the older of agent and service"),
    ({"version": 2}, "version is not 1: update the older of agent and service"),
    ({"instance": "x" * 32}, "instance is not 32 lower-case hex digits"),
    ({"instance": "A" * 32}, "instance is not 32 lower-case hex digits"),
    ({"number": 0}, "number is out of range"),
    ({"credit": poll.MAX_CREDIT + 1}, "credit is out of range"),
    ({"credit": 0xffff}, "credit is out of range"),
    ({"credit": 0}, "credit must be at least 1 where there are no results"),
])
def test_malformed_polls_are_refused(service, rogue, changes, why):
    rogue.publish()
    bad_message(rogue.poll(**changes), why)


def test_polls_cut_off_anywhere_are_refused(service, rogue):
    whole = rogue.message(1, [poll.answered(NOBODY, 1, b"x" * 64), DECLINE])
    head = [("version", 1), ("instance", 32), ("number", 8), ("credit", 2), ("number of results", 2)]
    results = [("request", 32), ("attempt", 4), ("kind", 1), ("answer", 2 + 64), ("request", 32), ("attempt", 4), ("kind", 1), ("reason", 1)]
    fields = [field for field, size in head + results for _ in range(size)]
    assert len(fields) == len(whole)
    # Two results have at least the size of two declined ones: with less, none is looked at.
    begin = sum(size for _, size in head)
    for length, field in enumerate(fields):
        promised_more = begin <= length < begin + 2 * len(DECLINE)
        bad_message(rogue.say(whole[:length]), "number of results is more than what follows" if promised_more else f"{field} is cut off")
    bad_message(rogue.say(whole + b"\0"), "end has bytes behind it")
    # And whole it is good: only the key is missing.
    assert rogue.say(whole).status == 409


@pytest.mark.parametrize("body", [b'{"instance":"%s","number":1,"credit":1,"results":[]}' % (b"0" * 32), b"{}", b"\0" * (64 << 10), b"\xff" * (1 << 20)],
                         ids=["a poll in JSON", "an object", "zeros", "ones"])
def test_what_is_no_poll_at_all(service, rogue, body):
    bad_message(rogue.say(body), "version is not 1: update the older of agent and service")


@pytest.mark.parametrize("kind", ["application/json", "application/octet-stream", "application/vnd.pta", "application/vnd.pta.poll2", "text/plain"])
def test_polls_of_another_type_are_not_read(service, rogue, kind):
    assert rogue.publish().status == 200
    for body in (rogue.message(), b"{}"):
        answer = rogue.say(body, **{"Content-Type": kind})
        assert (answer.status, answer.json["error"]) == (415, "bad_content_type"), answer


def test_one_bad_result_spoils_none_that_a_waiting_person_needs(service, rogue, holding):
    """Malformed polls are refused whole: what they bring beside it is neither taken nor lost."""
    asked, request = holding
    bad_message(rogue.bring(request.declined(), poll.answered(NOBODY, 0, b"x")), "attempt is out of range")
    assert rogue.bring(request.declined()).status == 204
    assert asked.wait().json["reason"] == "overloaded"


def test_each_reason_to_decline_is_told(service, rogue):
    assert rogue.publish().status == 200
    until(lambda: service.status()["agents_online"] == 1, "the rogue to be online")
    for reason in poll.REASONS:
        asked = Asked(service, upn(1), password(1))
        assert rogue.bring(rogue.take().declined(reason)).status == 204
        assert asked.wait().json["reason"] == reason


def test_good_results_are_taken_beside_refused_ones(service, rogue, holding):
    asked, request = holding
    answer = rogue.bring(ANSWER, request.declined(), poll.answered(NOBODY, 2, b"x"))
    assert poll.batch(answer).refused == [poll.Refusal(NOBODY, 1, "unknown"), poll.Refusal(NOBODY, 2, "unknown")]
    assert asked.wait().json["reason"] == "overloaded"


def test_as_many_results_as_a_poll_may_bring_are_judged_one_by_one(service, rogue):
    assert rogue.publish().status == 200
    longest = poll.answered(NOBODY, 0xffffffff, b"x" * poll.MAX_ANSWER)
    assert refusal(rogue.bring(*[longest] * poll.MAX_RESULTS)) == ["unknown"] * poll.MAX_RESULTS
    assert refusal(rogue.poll(1, [DECLINE] * poll.MAX_RESULTS)) == ["unknown"] * poll.MAX_RESULTS


def test_third_poll_ends_the_first(service, rogue):
    assert rogue.publish().status == 200
    with ThreadPoolExecutor(3) as pool:
        def say(message):
            with Client(service.agent_port, service.ca, *rogue.paths) as client:
                return poll.post(client, message)
        polls = []
        for parked in (1, 2):
            polls.append(pool.submit(say, rogue.message()))
            until(lambda: service.status()["polls"] == parked, f"{parked} parked polls")
        polls.append(pool.submit(say, rogue.message()))
        assert polls[0].result().status == 204
        assert service.status()["polls"] == 2
        # The other two are as good as ever.
        held = set(polls[1:])
        for n in (1, 2):
            asked = Asked(service, upn(n), password(n))
            answered, held = wait(held, return_when=FIRST_COMPLETED)
            request, = poll.batch(answered.pop().result()).requests
            assert rogue.bring(request.declined()).status == 204
            assert asked.wait().json["reason"] == "overloaded"


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
