"""Two forests that do not trust each other behind one agent: each name goes to its own, and to nobody else."""

import pytest

from bed.forest import Forest
from bed.process import until
from bed.samba_ad import CORP, OTHER


@pytest.fixture(scope="module")
def far(make_folder, other):
    return Forest(make_folder, other)


class Both:
    """An agent with a section for each forest. `found`: the second one's controllers are found by DNS."""

    def __init__(self, system, forest, far, methods):
        self.service = system.service()
        for one in (forest, far):
            self.service.domain(one.domain.name, suffixes=[one.domain.other_suffix], netbios=one.domain.netbios)
        self.agent = system.agent(self.service, {
            forest.domain.name: forest.section(methods[0], bind_timeout="1s", connect_timeout="1s"),
            far.domain.name: far.section(methods[1], servers=False, bind_timeout="1s", connect_timeout="1s")}, view=forest.view())
        self.service.wait_agents(1)

    def told(self, typed, word):
        return self.service.signin(typed, word).json["verdict"]


@pytest.fixture(scope="module", params=[("simple", "kerberos"), ("kerberos", "gssapi"), ("gssapi", "simple")],
                ids="+".join)
def both(request, make_folder, forest, far):
    from conftest import System
    system = System(make_folder)
    yield Both(system, forest, far, request.param)
    system.close()


@pytest.fixture(scope="module")
def namesakes(forest, far):
    """The same account name in both forests, each with its own password."""
    made = [one.first.user(name="k.schmidt") for one in (forest, far)]
    forest.replicate()
    return made


def strikes(forest, far, namesakes):
    return sum(forest.strikes(namesakes[0])), sum(far.strikes(namesakes[1]))


def test_each_name_goes_to_its_own_forest(both, forest, far, namesakes):
    for one, here, there in ((forest, *namesakes), (far, *reversed(namesakes))):
        for typed in (here.upn, here.upn.upper(), f"{one.domain.netbios}\\{here.name}"):
            before = strikes(forest, far, namesakes)
            assert both.told(typed, here.password) == "success", typed
            # The password of the namesake over there is a wrong one here, and is heard of here only.
            assert both.told(typed, there.password) == "invalid_credentials", typed
            after = strikes(forest, far, namesakes)
            # A success sets the count back.
            assert after[namesakes.index(here)] in (before[namesakes.index(here)] + 1, 1)
            assert after[namesakes.index(there)] == before[namesakes.index(there)]


def test_other_suffix_of_each_forest(both, forest, far):
    for one in (forest, far):
        account = one.first.user(suffix=one.domain.other_suffix)
        one.replicate()
        assert both.told(account.upn, account.password) == "success"
        assert both.told(account.upn, "not the password") == "invalid_credentials"


def test_name_of_neither_is_declined_before_anything_is_sent(both, forest, far, namesakes):
    """The service has the domain, this agent has no section for it; or nobody has it."""
    if "elsewhere.example.com" not in [domain["name"] for domain in both.service.json("domain", "list")]:
        both.service.domain("elsewhere.example.com", netbios="ELSEWHERE")
    binds = both.agent.status()["directories"]
    before = strikes(forest, far, namesakes)
    for typed in ("k.schmidt@elsewhere.example.com", "ELSEWHERE\\k.schmidt", "k.schmidt@nowhere.example.com", "NOWHERE\\k.schmidt",
                  "k.schmidt@sub.corp.example.com", "k.schmidt@example.com"):
        answer = both.service.signin(typed, namesakes[0].password)
        assert (answer.status, answer.json["verdict"], answer.json["reason"]) == (503, "unavailable", "not_configured"), answer
    assert strikes(forest, far, namesakes) == before
    sent = [[server["binds"] for server in directory["servers"]] for directory in (*binds, *both.agent.status()["directories"])]
    assert sent[:2] == sent[2:]


def test_one_forest_fails_alone(both, forest, far, namesakes):
    far.first.freeze()
    try:
        assert both.told(namesakes[0].upn, namesakes[0].password) == "success"
        assert both.told(namesakes[1].upn, namesakes[1].password) == "unavailable"
        assert both.told(namesakes[0].upn, namesakes[0].password) == "success"
    finally:
        far.first.thaw()
    until(lambda: both.told(namesakes[1].upn, namesakes[1].password) == "success", "the other forest to be back")


def test_keytab_of_the_other_forest_is_refused(system, forest, far):
    """A ticket is verified with a key of the section's own forest: with another's nobody could ever be let in."""
    service = system.service()
    service.domain(forest.domain.name)
    agent = system.agent(service, {forest.domain.name: forest.section("kerberos", keytab=far.keytab)}, view=forest.view(), start=False)
    failed = agent.fails("run")
    assert failed.status == 3 and "keytab" in failed.output and far.keytab in failed.output
    failed = agent.fails("check")
    assert failed.status != 0 and "keytab" in failed.output


def test_realm_of_another_forest_is_not_believed(system, forest, far, namesakes):
    """A section whose servers are another forest's, as a wrong list or a hostile DNS makes it: its users are not let in."""
    assert (CORP.realm, OTHER.realm) == (forest.domain.realm, far.domain.realm)
    service = system.service()
    service.domain(forest.domain.name)
    view = forest.view()
    view.write(hosts={controller.host: far.first.address for controller in forest.controllers})
    for method in ("simple", "gssapi", "kerberos"):
        agent = system.agent(service, {forest.domain.name: forest.section(method)}, view=view)
        service.wait_agents(1)
        before = strikes(forest, far, namesakes)
        answer = service.signin(namesakes[0].upn, namesakes[1].password)
        assert answer.json["verdict"] in ("unavailable", "invalid_credentials"), answer
        assert strikes(forest, far, namesakes) == before
        agent.stop()
        service.wait_agents(0)
