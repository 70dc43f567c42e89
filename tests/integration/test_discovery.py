"""Domain controllers found by DNS: who there is, who is near, who comes and goes, and who is not to be believed."""

import socket

import pytest

from bed.forest import METHODS
from bed.process import until
from bed.samba_ad import SITE

BRANCH = "Branch"


@pytest.fixture
def dns(forest):
    """The domain's DNS; afterwards it tells of both controllers again."""
    yield forest.dns
    forest.dns.register(*forest.controllers)


class Found:
    """A service and an agent that has no list of servers."""

    def __init__(self, system, forest, method="simple", view=None, ready=True, **more):
        self.forest = forest
        self.view = view or forest.view()
        self.service = system.service()
        self.service.domain(forest.domain.name, suffixes=[forest.domain.other_suffix], netbios=forest.domain.netbios)
        section = forest.section(method, servers=False, bind_timeout="1s", connect_timeout="1s", **more)
        self.agent = system.agent(self.service, {forest.domain.name: section}, view=self.view, start=False)
        if ready:
            self.agent.start()
            self.service.wait_agents(1)
        else:
            self.agent.launch()

    def servers(self):
        return {server["host"]: server for server in self.agent.status()["directories"][0]["servers"]}

    def told(self, account, word=None):
        answer = self.service.signin(account.upn, account.password if word is None else word)
        return answer.json["verdict"]

    def works(self, account):
        """Signs in until it is a success; what comes before is an outage and no denial."""
        def ask():
            verdict = self.told(account)
            assert verdict in ("success", "unavailable")
            return verdict == "success"
        until(ask, f"{account.upn} to sign in")


@pytest.mark.parametrize("method", METHODS)
def test_both_controllers_are_found(system, forest, method):
    found = Found(system, forest, method)
    account, = forest.users(1)
    assert found.told(account) == "success"
    until(lambda: {host: (server["state"], server["site"]) for host, server in found.servers().items()} ==
          {controller.host: ("up", SITE) for controller in forest.controllers}, "both controllers to be up")
    assert sum(server["in_use"] for server in found.servers().values()) == 1
    told = found.agent.command("check")
    assert "✗" not in told and all(controller.host in told for controller in forest.controllers)
    assert "success" in found.agent.command("test", account.upn, stdin=account.password + "\n")


def test_the_agents_site_goes_first(system, forest, dns):
    """DNS names one controller for the site to which this host belongs; the other one is for when that fails."""
    near, far = forest.controllers[1], forest.controllers[0]
    network = f"{near.namespace.outer}/32"
    dns.site(BRANCH, network)
    with dns.changes():
        dns.locate(near.host, site=BRANCH)
    try:
        found = Found(system, forest)
        account, = forest.users(1)
        line = found.agent.daemon.log.wait("event=dc.found")
        assert f"site={BRANCH}" in line and "in_site=1" in line
        for _ in range(3):
            assert found.told(account, "not the password") == "invalid_credentials"
        assert forest.strikes(account) == [0, 3]
        near.freeze()
        try:
            found.works(account)
            assert found.servers()[far.host]["in_use"]
        finally:
            near.thaw()
    finally:
        with dns.changes():
            dns.locate(site=BRANCH)
        dns.remove_site(BRANCH, network)


@pytest.mark.concurrent
def test_controllers_come_and_go_while_the_agent_runs(system, forest, dns):
    first, second = forest.controllers
    with dns.changes():
        for site in (None, SITE):
            dns.locate(first.host, site=site, ttl=1)
    found = Found(system, forest)
    account, = forest.users(1)
    assert found.told(account) == "success"
    assert set(found.servers()) == {first.host}
    with dns.changes():
        for site in (None, SITE):
            dns.locate(second.host, site=site, ttl=1)
    # Nobody asks again until something fails.
    first.stop()
    try:
        found.works(account)
        assert set(found.servers()) == {second.host}
    finally:
        first.start()


class Trap:
    """Listens where an agent must never connect to."""

    def __init__(self, address):
        self.sockets = [socket.create_server((address, port)) for port in (636, 389, 88)]
        for sock in self.sockets:
            sock.setblocking(False)

    def caught(self):
        """Somebody was here."""
        for sock in self.sockets:
            try:
                sock.accept()
            except BlockingIOError:
                continue
            return True
        return False

    def close(self):
        for sock in self.sockets:
            sock.close()


@pytest.fixture
def trap(network):
    made = Trap(network.hosts[-1])
    yield made
    made.close()


@pytest.mark.parametrize("method", ["simple", "kerberos"])
def test_targets_outside_the_domain_are_refused(system, forest, dns, trap, network, method):
    """Spoofed DNS and any certificate that somebody sells would else collect passwords and answer success."""
    evil = ["evil.example.org", f"{forest.domain.name}.evil.example.org", f"evil-{forest.domain.name}"]
    with dns.changes():
        for site in (None, SITE):
            dns.locate(*evil, forest.controllers[1].host, site=site)
    view = forest.view()
    view.write(hosts={name: network.hosts[-1] for name in evil})
    found = Found(system, forest, method, view=view)
    account, = forest.users(1)
    assert found.told(account) == "success" and found.told(account, "not the password") == "invalid_credentials"
    assert forest.strikes(account) == [0, 1]
    assert set(found.servers()) == {forest.controllers[1].host}
    assert "evil" in found.agent.daemon.log.wait("event=dc.refused")
    assert not trap.caught()


def test_nothing_but_targets_outside_the_domain_is_an_outage(system, forest, dns, trap, network):
    with dns.changes():
        for site in (None, SITE):
            dns.locate("evil.example.org", site=site)
    view = forest.view()
    view.write(hosts={"evil.example.org": network.hosts[-1]})
    found = Found(system, forest, view=view, ready=False)
    found.agent.daemon.log.wait("event=dc.lookup_failed.*evil.example.org")
    account, = forest.users(1)
    answer = found.service.signin(account.upn, account.password)
    assert (answer.status, answer.json["verdict"]) == (503, "unavailable"), answer
    assert not trap.caught()
    failed = found.agent.fails("check")
    assert failed.status == 1 and "evil.example.org" in failed.output


def test_dead_dns_takes_no_controller_away(system, forest, network):
    """What DNS does not answer changes nothing: the controllers that are known stay, and one takes over from the other."""
    found = Found(system, forest)
    account, = forest.users(1)
    assert found.told(account) == "success"
    until(lambda: all(server["state"] == "up" for server in found.servers().values()), "both controllers to be up")
    # Names are still known by their addresses, but nobody tells whose they are.
    found.view.write(nameservers=[network.silent], hosts={controller.host: controller.address for controller in forest.controllers})
    used = next(controller for controller in forest.controllers if found.servers()[controller.host]["in_use"])
    used.freeze()
    try:
        found.works(account)
        found.agent.daemon.log.wait("event=dc.lookup_failed")
        found.works(account)
        assert set(found.servers()) == {controller.host for controller in forest.controllers}
    finally:
        used.thaw()


def test_agent_starts_before_its_dns(system, forest, network):
    view = forest.view()
    good = list(view.nameservers)
    view.write(nameservers=[network.silent])
    found = Found(system, forest, view=view, ready=False)
    found.agent.daemon.log.wait("event=dc.lookup_failed")
    account, = forest.users(1)
    answer = found.service.signin(account.upn, account.password)
    assert (answer.status, answer.json["verdict"]) == (503, "unavailable"), answer
    view.write(nameservers=good)
    found.works(account)


def test_domain_that_dns_does_not_know_is_an_outage(system, forest, dns):
    with dns.changes():
        for site in (None, SITE):
            dns.locate(site=site)
    found = Found(system, forest, ready=False)
    line = found.agent.daemon.log.wait("event=dc.lookup_failed")
    assert forest.domain.name in line
    account, = forest.users(1)
    answer = found.service.signin(account.upn, account.password)
    assert (answer.status, answer.json["verdict"]) == (503, "unavailable"), answer
