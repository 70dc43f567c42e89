"""Things die, hang and come back: no wrong verdict ever, an outage is never a denial, and what can be answered is."""

import os
import signal
import socket
import threading

import pytest

from bed import slapd as slapd_bed
from bed.load import Load
from bed.process import until
from bed.samba_ad import DOMAIN
from bed.slapd import Slapd, password, upn
from conftest import ad_section, slapd_section

PEOPLE = [(upn(n), password(n), "success") if n % 3 else (upn(n), "wrong", "invalid_credentials") for n in range(60)]


def check(results, *allowed):
    """Each answer is what it should be, or unavailable for one of the allowed reasons."""
    for username, expected, answer in results:
        told = answer.json["verdict"]
        if told == "unavailable":
            assert answer.json["reason"] in allowed, answer
            assert answer.status in (503, 504)
        else:
            assert (answer.status, told) == (200, expected), (username, answer)


def answered(service, username, word, limit_verdicts=("success",)):
    """Signs in again and again until the verdict is a definite one."""
    def ask():
        answer = service.signin(username, word)
        if answer.json["verdict"] == "unavailable":
            return None
        assert answer.json["verdict"] in limit_verdicts, answer
        return answer
    return until(ask, f"a definite verdict for {username}")


class Asked:
    """A sign-in on a thread of its own."""

    def __init__(self, service, username, word):
        self.answer = None
        self.thread = threading.Thread(target=self._run, args=(service, username, word), daemon=True)
        self.thread.start()

    def _run(self, service, username, word):
        self.answer = service.signin(username, word)

    def done(self):
        return not self.thread.is_alive()

    def wait(self):
        self.thread.join(60)
        return self.answer


@pytest.fixture
def slapd_for(make_folder, ca):
    """Makes further slapds with few users."""
    beds = []

    def make(**options):
        beds.append(Slapd(make_folder("slapd"), ca, users=60, **options))
        return beds[-1]
    yield make
    for bed in beds:
        bed.close()


@pytest.fixture
def service(system):
    service = system.service()
    service.domain(slapd_bed.DOMAIN)
    return service


@pytest.mark.concurrent
def test_load_gets_right_verdicts_only(system, service, slapd):
    for _ in range(2):
        system.agent(service, {slapd_bed.DOMAIN: slapd_section(slapd)})
    service.wait_agents(2)
    with Load(service, PEOPLE, clients=16) as load:
        load.wait(1000)
    check(load.results)
    assert not load.errors


@pytest.mark.concurrent
def test_agent_killed_under_load_makes_no_wrong_verdict(system, service, slapd):
    first, _second = (system.agent(service, {slapd_bed.DOMAIN: slapd_section(slapd)}) for _ in range(2))
    service.wait_agents(2)
    with Load(service, PEOPLE, clients=16) as load:
        load.wait(200)
        first.kill()
        service.wait_agents(1)
        load.wait(200)
        first.start()
        service.wait_agents(2)
        load.wait(200)
    check(load.results, "agent_lost")
    assert not load.errors


@pytest.mark.concurrent
def test_killed_agents_requests_are_told_apart(system, service, slapd_for):
    """What the dead agent held is answered agent_lost at once; what it did not hold yet is answered by the other one."""
    beds = [slapd_for(), slapd_for()]
    agents = [system.agent(service, {slapd_bed.DOMAIN: slapd_section(bed, connections=1, bind_timeout="30s")}) for bed in beds]
    service.wait_agents(2)
    # Both controllers hang: each agent holds what it can, the rest waits at the service.
    for bed in beds:
        bed.freeze()
    asked = [Asked(service, upn(n), password(n)) for n in range(1, 9)]
    until(lambda: service.status()["waiting"] + service.status()["handed"] == len(asked), "all requests to arrive")
    held = {name: agent["in_flight"] for name, agent in service.agents().items()}
    victim = agents[0].identity()
    agents[0].kill()
    until(lambda: sum(one.done() for one in asked) == held[victim], "the dead agent's requests to be answered")
    lost = [one.answer for one in asked if one.done()]
    assert [(answer.status, answer.json["reason"], answer.json["retry_safe"]) for answer in lost] == [(504, "agent_lost", False)] * held[victim]
    beds[1].thaw()
    for one in asked:
        answer = one.wait()
        assert answer in lost or answer.json["verdict"] == "success", answer


@pytest.mark.concurrent
def test_service_restart_is_survived(system, service, slapd):
    agents = [system.agent(service, {slapd_bed.DOMAIN: slapd_section(slapd)}) for _ in range(2)]
    service.wait_agents(2)
    for end in (service.stop, service.kill):
        with Load(service, PEOPLE, clients=8) as load:
            load.wait(50)
            end()
            service.start()
            service.wait_agents(2)
            load.wait(50)
        check(load.results, "no_agent", "overloaded", "agent_lost")
    assert all(agent.daemon.alive() for agent in agents)


@pytest.mark.concurrent
def test_controller_restart_is_survived(system, service, slapd_for):
    bed = slapd_for()
    system.agent(service, {slapd_bed.DOMAIN: slapd_section(bed)})
    service.wait_agents(1)
    with Load(service, PEOPLE, clients=4) as load:
        load.wait(50)
        bed.stop()
        answer = until(lambda: (lambda a: a if a.json["verdict"] == "unavailable" else None)(service.signin(upn(1), password(1))), "the outage to show")
        assert answer.status in (503, 504)
        bed.start()
        answered(service, upn(1), password(1))
        load.wait(50)
    check(load.results, "directory_unreachable", "timeout", "no_agent", "overloaded")


def test_active_directory_restart_is_survived(system, ad):
    service = system.service()
    service.domain(DOMAIN)
    system.agent(service, {DOMAIN: ad_section(ad)})
    service.wait_agents(1)
    account = ad.user("lockable")
    assert service.signin(account.upn, account.password).json["verdict"] == "success"
    ad.stop()
    try:
        answer = service.signin(account.upn, account.password)
        assert (answer.json["verdict"], answer.json["reason"]) in (("unavailable", "directory_unreachable"), ("unavailable", "no_agent")), answer
    finally:
        ad.start()
    answered(service, account.upn, account.password)
    assert ad.bad_passwords(account) == 0


@pytest.mark.concurrent
def test_hanging_controller_is_a_time_out_that_is_not_sent_again(system, ad):
    service = system.service()
    service.domain(DOMAIN)
    system.agent(service, {DOMAIN: ad_section(ad, bind_timeout="700ms")})
    service.wait_agents(1)
    account = ad.user("lockable")
    assert service.signin(account.upn, account.password).json["verdict"] == "success"
    ad.freeze()
    try:
        answer = service.signin(account.upn, "wrong")
        assert (answer.status, answer.json["verdict"], answer.json["reason"]) == (504, "unavailable", "timeout"), answer
        assert answer.json["retry_safe"] is False
    finally:
        ad.thaw()
    answered(service, account.upn, account.password)
    # The one bind that hung may have been counted after the thaw; it was never sent twice.
    assert ad.bad_passwords(account) <= 1


def test_second_controller_takes_over_when_the_first_is_a_black_hole(system, ad):
    service = system.service()
    service.domain(DOMAIN)
    system.agent(service, {DOMAIN: ad_section(ad, servers=f"{ad.namespace.silent}, {ad.address}", connect_timeout="500ms")})
    service.wait_agents(1)
    account = ad.user()
    answered(service, account.upn, account.password)


def test_black_hole_alone_is_unreachable(system, ad):
    service = system.service()
    service.domain(DOMAIN)
    system.agent(service, {DOMAIN: ad_section(ad, servers=ad.namespace.silent, connect_timeout="500ms")})
    account = ad.user()
    answer = service.signin(account.upn, account.password)
    assert answer.json["verdict"] == "unavailable" and answer.status == 503, answer
    assert answer.json["reason"] in ("directory_unreachable", "no_agent"), answer


@pytest.mark.concurrent
def test_silent_handshake_is_cut(system, ad):
    """A peer that accepts and says nothing does not hold the agent: the next controller answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        service = system.service()
        service.domain(DOMAIN)
        system.agent(service, {DOMAIN: ad_section(ad, servers=f"127.0.0.1:{silent.getsockname()[1]}, {ad.address}", connect_timeout="500ms")})
        service.wait_agents(1)
        account = ad.user()
        answered(service, account.upn, account.password)


def test_cable_pulled_and_put_back(system, ad):
    service = system.service()
    service.domain(DOMAIN)
    system.agent(service, {DOMAIN: ad_section(ad, connect_timeout="500ms", bind_timeout="700ms")})
    service.wait_agents(1)
    account = ad.user()
    answered(service, account.upn, account.password)
    ad.namespace.cut()
    try:
        answer = service.signin(account.upn, account.password)
        assert answer.json["verdict"] == "unavailable", answer
    finally:
        ad.namespace.mend()
    answered(service, account.upn, account.password)


WRONG_CERTIFICATES = {
    "another name": {"names": ["elsewhere.example.com"]},
    "expired": {"days": (-20, -10)},
    "not valid yet": {"days": (10, 20)},
}


@pytest.mark.parametrize("what", WRONG_CERTIFICATES)
def test_controller_with_a_wrong_certificate_gets_no_password(system, service, slapd_for, what):
    refused_by(system, service, slapd_for(**WRONG_CERTIFICATES[what]))


def test_controller_of_another_ca_gets_no_password(system, service, slapd_for, make_folder):
    from bed.ca import Authority
    refused_by(system, service, slapd_for(), ca_file=Authority(make_folder("otherca"), "Another CA").path)


def refused_by(system, service, bed, **more):
    agent = system.agent(service, {slapd_bed.DOMAIN: slapd_section(bed, **more)})
    answer = service.signin(upn(1), password(1))
    assert (answer.status, answer.json["verdict"]) == (503, "unavailable"), answer
    assert answer.json["reason"] in ("directory_unreachable", "no_agent")
    agent.daemon.log.wait("certificate|TLS")
    failed = agent.fails("check")
    assert failed.status == 1 and "✗" in failed.output


def test_starttls_works_and_plain_ldap_is_refused(system, service, slapd):
    port = f"{slapd.address}:{slapd.ldap_port}"
    system.agent(service, {slapd_bed.DOMAIN: slapd_section(slapd, servers=port, tls="starttls")})
    service.wait_agents(1)
    answered(service, upn(1), password(1))


@pytest.mark.parametrize("section, word", [
    ({"servers": "ldap://192.0.2.1"}, "servers"),
    ({"servers": "192.0.2.1", "tls": "none"}, "loopback"),
    ({"servers": "dc1.corp.example.com", "tls": "none"}, "loopback"),
])
def test_plain_ldap_is_refused_by_the_configuration(system, service, slapd, section, word):
    agent = system.agent(service, {slapd_bed.DOMAIN: slapd_section(slapd)}, start=False, register=False)
    agent.write(**{f"directory {slapd_bed.DOMAIN}": section})
    failed = agent.fails("run")
    assert failed.status == 3 and word in failed.output and agent.conf in failed.output


@pytest.mark.concurrent
def test_daemons_start_degraded(system, slapd_for):
    """The agent starts before the service and before the directory, and finds both when they come."""
    service = system.service()
    service.domain(slapd_bed.DOMAIN)
    bed = slapd_for()
    agent = system.agent(service, {slapd_bed.DOMAIN: slapd_section(bed)}, start=False)
    service.stop()
    bed.stop()
    agent.start()
    service.start()
    service.wait_agents(1)
    assert service.signin(upn(1), password(1)).json["verdict"] == "unavailable"
    bed.start()
    answered(service, upn(1), password(1))


@pytest.mark.concurrent
def test_stopped_agent_finishes_what_it_holds(system, service, slapd_for):
    bed = slapd_for()
    agent = system.agent(service, {slapd_bed.DOMAIN: slapd_section(bed)})
    service.wait_agents(1)
    answered(service, upn(1), password(1))
    bed.freeze()
    asked = Asked(service, upn(2), password(2))
    until(lambda: service.status()["handed"] == 1, "the request to be handed out")
    agent.daemon.signal(signal.SIGTERM)
    agent.daemon.notify.wait("^STOPPING=1$")
    bed.thaw()
    assert asked.wait().json["verdict"] == "success"
    assert agent.daemon.wait() == 0


def test_no_listener_on_the_agent(system, service, slapd):
    agent = system.agent(service, {slapd_bed.DOMAIN: slapd_section(slapd)})
    service.wait_agents(1)
    inodes = {os.stat(f"/proc/{agent.daemon.pid}/fd/{fd}").st_ino for fd in os.listdir(f"/proc/{agent.daemon.pid}/fd")}
    for table in ("tcp", "tcp6", "udp", "udp6"):
        with open(f"/proc/net/{table}", encoding="ascii") as lines:
            for line in list(lines)[1:]:
                words = line.split()
                listening = words[3] == "0A" or (table.startswith("udp") and words[2].endswith(":0000"))
                assert not (listening and int(words[9]) in inodes), line
