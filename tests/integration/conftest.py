"""Fixtures of the integration tests: one bed for the run, programs in temporary folders of their own."""

import shutil
import tempfile

import pytest

from bed.ca import Authority
from bed.forest import Forest
from bed.namespace import Namespace
from bed.process import BedError
from bed.pta import Agent, Service
from bed.samba_ad import DOMAIN, NETBIOS, OTHER, OTHER_SUFFIX, SambaAD
from bed.slapd import BIND_DN, Slapd, password, upn


@pytest.fixture(scope="session")
def run_folder():
    folder = tempfile.mkdtemp(prefix="pta-test-")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def make_folder(run_folder):
    """Gives new folders under the run's own."""
    def make(label):
        return tempfile.mkdtemp(prefix=f"{label}-", dir=run_folder)
    return make


@pytest.fixture(scope="session")
def ca(make_folder):
    return Authority(make_folder("ca"))


@pytest.fixture(scope="session")
def network():
    """Where the domain controllers are. The first three of its servers' addresses are those of ad, dc2 and other."""
    made = Namespace()
    yield made
    made.close()


@pytest.fixture(scope="session")
def ad(make_folder, ca, network):
    """The one Active Directory of the run. A test that stops or changes it puts it right again."""
    bed = SambaAD(make_folder("samba"), ca, namespace=network, more={"dns forwarder": network.servers[2]})
    yield bed
    bed.close()


@pytest.fixture(scope="session")
def dc2(make_folder, ca, network, ad):
    """The second controller of ad's domain."""
    bed = SambaAD(make_folder("samba2"), ca, name="dc2", namespace=network, address=network.servers[1], first=ad,
                  more={"dns forwarder": network.servers[2]})
    yield bed
    bed.close()


@pytest.fixture(scope="session")
def other(make_folder, ca, network):
    """Another forest, whose names ad's DNS knows."""
    bed = SambaAD(make_folder("samba3"), ca, domain=OTHER, namespace=network, address=network.servers[2])
    yield bed
    bed.close()


@pytest.fixture(scope="session")
def forest(make_folder, ad, dc2):
    """The domain with both its controllers, as DNS tells of them."""
    return Forest(make_folder, ad, dc2)


@pytest.fixture(scope="session")
def slapd(make_folder, ca):
    bed = Slapd(make_folder("slapd"), ca)
    yield bed
    bed.close()


class System:
    """A service and its agents, made as a test asks; everything ends with the test, and a sanitizer's report fails it."""

    def __init__(self, make_folder):
        self.make_folder = make_folder
        self.services, self.agents = [], []

    def service(self, **conf):
        service = Service(self.make_folder("service"), conf)
        self.services.append(service)
        return service

    def agent(self, service, directories, group="main", start=True, register=True, view=None, **conf):
        agent = Agent(self.make_folder("agent"), service, directories, conf=conf, view=view)
        self.agents.append(agent)
        if register:
            agent.register(group=group)
        if start:
            agent.start()
        return agent

    def close(self):
        problems = []
        for program in self.agents + self.services:
            try:
                program.close()
            except BedError as error:
                problems.append(str(error))
        assert not problems, "\n".join(problems)


@pytest.fixture
def system(make_folder):
    made = System(make_folder)
    yield made
    made.close()


@pytest.fixture(scope="session")
def office(make_folder, ad):
    """A service with two agents in front of the Active Directory, for tests that leave it as they found it."""
    made = System(make_folder)
    made.main = made.service()
    made.main.domain(DOMAIN, suffixes=[OTHER_SUFFIX], netbios=NETBIOS)
    for _ in range(2):
        made.agent(made.main, {DOMAIN: ad_section(ad)})
    made.main.wait_agents(2)
    yield made.main
    made.close()


def ad_section(ad, **more):
    """The [directory …] section for the Active Directory."""
    return {"servers": ad.address, "ca_file": ad.ca.path, "suffixes": OTHER_SUFFIX, "netbios": NETBIOS, **more}


def slapd_section(bed, **more):
    return {"servers": f"{bed.address}:{bed.ldaps_port}", "ca_file": bed.ca.path, "bind_dn": BIND_DN, **more}


def works(service, number=1):
    """A user of slapd signs in; what came else is printed, so that a failing test shows it."""
    answer = service.signin(upn(number), password(number))
    if answer.json["verdict"] != "success":
        print(answer)
    return answer.json["verdict"] == "success"
