"""Enrolment, revocation and renewal: who may take requests, and who no longer."""

import os
import ssl

import pytest

from bed import poll
from bed import slapd as slapd_bed
from bed.client import Client
from bed.process import until
from bed.rogue import Rogue
from bed.slapd import Slapd, password, upn
from conftest import slapd_section, works
from test_outages import Asked

EMPTY_POLL = poll.encode("0" * 32, 1, credit=1)


@pytest.fixture
def service(system):
    service = system.service()
    service.domain(slapd_bed.DOMAIN)
    return service


def section(bed):
    return {slapd_bed.DOMAIN: slapd_section(bed)}


def test_files_are_private(system, service, slapd):
    agent = system.agent(service, section(slapd))
    for folder in (agent.state, service.state):
        assert os.stat(folder).st_mode & 0o777 == 0o700
        # The CA's certificate is for everybody.
        for name in set(os.listdir(folder)) - {"ca.crt"}:
            assert os.stat(os.path.join(folder, name)).st_mode & 0o077 == 0, name


def test_token_is_good_for_one_agent(system, service, slapd):
    first = system.agent(service, section(slapd), register=False, start=False)
    second = system.agent(service, section(slapd), register=False, start=False)
    token = service.token()
    first.register(token)
    failed = register_fails(second, token)
    assert failed.status == 5 and "spent" in failed.output
    # The same agent with the same token and a new key: spent as well, and its identity stays usable.
    register_fails(first, token)
    first.start()
    service.wait_agents(1)
    assert works(service)


def register_fails(agent, token):
    from bed.pta import Failed
    with pytest.raises(Failed) as caught:
        agent.register(token)
    return caught.value


@pytest.mark.parametrize("spoil, word", [
    (lambda token: token[:-9], "cut off"), (lambda token: "pta1.AAAA", "cut off"), (lambda token: "hello", "not a pta token"), (lambda token: "", "token")])
def test_bad_token_is_told_before_anything_is_sent(system, service, slapd, spoil, word):
    agent = system.agent(service, section(slapd), register=False, start=False)
    assert word in register_fails(agent, spoil(service.token())).output


def test_token_of_another_service_is_refused_by_its_ca(system, service, slapd):
    other = system.service()
    agent = system.agent(service, section(slapd), register=False, start=False)
    failed = register_fails(agent, other.token())
    assert "certificate" in failed.output.lower() and not os.path.exists(agent.certificate[0])


@pytest.mark.concurrent
def test_registering_again_keeps_the_identity(system, service, slapd):
    agent = system.agent(service, section(slapd))
    service.wait_agents(1)
    name, key = agent.identity(), open(agent.certificate[1], "rb").read()
    agent.stop()
    agent.register()
    assert agent.identity() == name and open(agent.certificate[1], "rb").read() != key
    agent.start()
    service.wait_agents(1)
    assert works(service) and len(service.agents()) == 1


@pytest.mark.concurrent
def test_renewal_while_running(system, service, slapd):
    agent = system.agent(service, section(slapd))
    service.wait_agents(1)
    name, before = agent.identity(), open(agent.certificate[0], "rb").read()
    agent.command("renew")
    until(lambda: open(agent.certificate[0], "rb").read() != before, "the new certificate")
    assert agent.identity() == name and works(service)
    agent.stop()
    agent.command("renew")
    agent.start()
    service.wait_agents(1)
    assert works(service)


def agent_client(service, agent=None):
    cert, key = agent.certificate if agent else (None, None)
    return Client(service.agent_port, service.ca, cert, key)


BODIES = {
    poll.PATH: (EMPTY_POLL, poll.TYPE),
    "/v1/agent/keys": ({}, "application/json"),
    "/v1/agent/renew": ({"csr": "x"}, "application/json"),
}


def say(client, path, **headers):
    body, kind = BODIES[path]
    return client.post(path, body, **{"Content-Type": kind, **headers})


@pytest.mark.parametrize("path", BODIES)
def test_no_certificate_no_answer(service, path):
    with agent_client(service) as client:
        answer = say(client, path)
        assert (answer.status, answer.json["error"]) == (403, "certificate"), answer
        # A header that claims a certificate is only a header.
        answer = say(client, path, **{"X-SSL-Client-Verify": "SUCCESS", "X-Forwarded-Client-Cert": "Hash=00"})
        assert answer.status == 403


def test_certificate_of_another_ca_is_refused(service, make_folder):
    from bed.ca import Authority
    cert, key = Authority(make_folder("foreign"), "Foreign CA").server("agent", ["agent"])
    with Client(service.agent_port, service.ca, cert, key) as client:
        try:
            assert poll.post(client, EMPTY_POLL).status == 403
        except (ssl.SSLError, ConnectionError):
            pass  # refused within TLS already


def test_signin_listener_knows_no_agent_routes_and_the_other_way_round(system, service, slapd):
    agent = system.agent(service, section(slapd))
    with agent_client(service, agent) as client:
        assert client.post("/v1/signin", {"username": "a@b", "password": "x"}).status == 404


def test_revoked_agent_is_cut_off(system, service, slapd):
    agent = system.agent(service, section(slapd))
    service.wait_agents(1)
    with agent_client(service, agent) as client:
        # An open connection, made before the revocation: what counts is the request.
        assert poll.post(client, EMPTY_POLL).status == 409
        service.command("agent", "revoke", agent.identity())
        answer = poll.post(client, EMPTY_POLL)
        assert (answer.status, answer.json["error"]) == (403, "certificate") and "revoked" in answer.json["message"], answer
    with agent_client(service, agent) as client:
        for path in BODIES:
            assert say(client, path).status == 403
    answer = service.signin(upn(1), password(1))
    assert (answer.status, answer.json["reason"]) == (503, "no_agent"), answer
    agent.daemon.log.wait("revoked")
    assert agent.daemon.alive()


def test_revoked_agents_polls_bring_nothing(service, make_folder):
    rogue = Rogue(make_folder("rogue"), service)
    assert rogue.publish().status == 200
    until(lambda: service.status()["agents_online"] == 1, "the rogue to be online")
    asked = Asked(service, upn(1), password(1))
    request = rogue.take()
    service.command("agent", "revoke", rogue.agent)
    answer = rogue.bring(request.declined())
    assert (answer.status, answer.json["error"]) == (403, "certificate"), answer
    assert asked.wait().json["reason"] == "agent_lost"
    rogue.close()


@pytest.mark.concurrent
def test_revoked_agents_requests_are_lost_at_once_and_its_results_discarded(system, service, make_folder, ca):
    bed = Slapd(make_folder("slapd"), ca, users=5)
    try:
        agent = system.agent(service, section(bed))
        service.wait_agents(1)
        assert works(service)
        bed.freeze()
        asked = Asked(service, upn(2), password(2))
        until(lambda: service.status()["handed"] == 1, "the request to be handed out")
        service.command("agent", "revoke", agent.identity())
        answer = asked.wait()
        assert (answer.status, answer.json["reason"]) == (504, "agent_lost"), answer
    finally:
        bed.thaw()
        bed.close()


@pytest.mark.concurrent
def test_disabled_agent_drains(system, service, make_folder, ca, slapd):
    bed = Slapd(make_folder("slapd"), ca, users=5)
    try:
        agent = system.agent(service, section(bed))
        service.wait_agents(1)
        assert works(service)
        bed.freeze()
        asked = Asked(service, upn(2), password(2))
        until(lambda: service.status()["handed"] == 1, "the request to be handed out")
        service.command("agent", "disable", agent.identity())
        # It gets nothing new, and what it holds it may finish.
        answer = service.signin(upn(3), password(3))
        assert (answer.status, answer.json["reason"]) == (503, "no_agent"), answer
        bed.thaw()
        assert asked.wait().json["verdict"] == "success"
        service.command("agent", "enable", agent.identity())
        until(lambda: works(service), "the agent to be used again")
    finally:
        bed.thaw()
        bed.close()


def test_init_twice_and_a_certificate_of_ones_own(system, service, ca):
    assert service.fails("init").status == 1
    cert, key = ca.server("signin", ["127.0.0.1"])
    service.stop()
    service.write(tls_cert=cert, tls_key=key)
    service.start()
    with Client(service.signin_port, ca.path, bearer=service.key) as client:
        assert client.get("/live").status == 200
    # The agent listener keeps to the service's own CA.
    with agent_client(service) as client:
        assert poll.post(client, EMPTY_POLL).status == 403
