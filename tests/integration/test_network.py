"""The network between agent and service: slow, cut, silent, absent. An outage is never a denial, and it ends by itself."""

import pytest

from bed import slapd as slapd_bed
from bed.process import until
from bed.pta import Agent, Service
from proxy import Proxy


@pytest.fixture
def link(make_folder, slapd):
    """A service, an agent that is registered and not yet started, and the network between them."""
    service = Service(make_folder("service"), {"deadline": "2s"})
    service.domain(slapd_bed.DOMAIN)
    with Proxy(service.agent_port) as proxy:
        service.url = f"https://127.0.0.1:{proxy.port}"
        section = {"servers": f"{slapd.address}:{slapd.ldaps_port}", "ca_file": slapd.ca.path, "bind_dn": slapd_bed.BIND_DN}
        agent = Agent(make_folder("agent"), service, {slapd_bed.DOMAIN: section})
        agent.register()
        yield service, agent, proxy
        # It leaves over a network that works.
        proxy.heal()
        agent.close()
    service.close()


def works(service, number=1):
    return service.signin(slapd_bed.upn(number), slapd_bed.password(number)).json["verdict"] == "success"


def test_slow_link_only_takes_longer(link):
    service, agent, proxy = link
    proxy.delay = 0.05
    agent.start()
    service.wait_agents(1)
    assert works(service)
    assert service.signin(slapd_bed.upn(1), "wrong").json["verdict"] == "invalid_credentials"


def test_cut_link_is_made_again(link):
    service, agent, proxy = link
    agent.start()
    service.wait_agents(1)
    assert works(service)
    before = proxy.taken
    proxy.cut()
    proxy.wait(before + 1)
    until(lambda: works(service), "the agent to come back")


def test_silent_link_is_an_outage_and_no_denial(link):
    service, agent, proxy = link
    agent.start()
    service.wait_agents(1)
    assert works(service)
    service.wait_agents(1)  # its next poll is parked
    proxy.black_hole()
    # It was written to the agent, so nobody knows whether it arrived.
    answer = service.signin(slapd_bed.upn(1), slapd_bed.password(1))
    assert answer.status == 504 and answer.json["verdict"] == "unavailable" and answer.json["retry_safe"] is False
    proxy.cut()
    until(lambda: works(service), "the agent to come back")


def test_agent_waits_for_a_service_that_cannot_be_reached(link):
    service, agent, proxy = link
    before = proxy.taken
    proxy.refuse()
    agent.launch()
    proxy.wait(before + 2)
    answer = service.signin(slapd_bed.upn(1), slapd_bed.password(1))
    assert answer.status == 503 and answer.json["reason"] == "no_agent"
    proxy.heal()
    until(lambda: works(service), "the agent to come")
