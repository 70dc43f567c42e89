"""Names that are looked up before anything is sent: alternate login ids, names that mean nobody or more than one, and the agent's
own account that searches. What cannot be told for certain is nobody, and costs nobody a strike."""

import contextlib
import os

import ldb
import pytest

from bed.process import until
from conftest import System

IDENTITIES = ("password", "keytab")
# Method, the agent's identity, `login`.
DESKS = {
    "simple, upn or mail": ("simple", "password", "upn attribute:mail"),
    "gssapi, upn or mail": ("gssapi", "keytab", "upn attribute:mail"),
    "kerberos, upn or mail": ("kerberos", "keytab", "upn attribute:mail"),
    "simple, mail only": ("simple", "keytab", "attribute:mail"),
    "kerberos, mail only": ("kerberos", "password", "attribute:mail"),
    "simple, proxyAddresses or employeeID": ("simple", "password", "attribute:proxyAddresses attribute:employeeID"),
}


def identity(forest, kind):
    if kind == "keytab":
        return {"identity": f"AGENT1$@{forest.domain.realm}", "keytab": forest.keytab}
    name, path = forest.service_account()
    return {"identity": name, "identity_password_file": path}


class Desk:
    def __init__(self, system, forest, method, kind, login=None, **more):
        self.forest, self.login, self.method = forest, login, method
        self.service = system.service()
        self.service.domain(forest.domain.name, suffixes=[forest.domain.other_suffix], netbios=forest.domain.netbios)
        section = forest.section(method, login=login, **identity(forest, kind), **more)
        self.agent = system.agent(self.service, {forest.domain.name: section}, view=forest.view())
        self.service.wait_agents(1)

    def told(self, typed, word):
        answer = self.service.signin(typed, word)
        return answer.status, answer.json.get("verdict") or answer.json["error"]


SUCCESS, WRONG, BAD_NAME = (200, "success"), (200, "invalid_credentials"), (400, "invalid_request")
# It was asked for an entry that is elsewhere now.
MOVED = (504, "unavailable")


@contextlib.contextmanager
def untouched(forest, *accounts):
    """Nobody counts anything against these."""
    before = [forest.strikes(account) for account in accounts]
    yield
    assert [forest.strikes(account) for account in accounts] == before


@pytest.fixture(scope="module")
def make(forest):
    """Gives a new account that both controllers have."""
    def make(**attributes):
        account = forest.first.user(**attributes)
        forest.replicate()
        return account
    return make


def address(forest, name):
    return f"{name}@{forest.domain.other_suffix}"


@pytest.fixture(scope="module", params=DESKS.values(), ids=DESKS)
def desk(request, make_folder, forest):
    system = System(make_folder)
    yield Desk(system, forest, *request.param)
    system.close()


@pytest.fixture(scope="module")
def named(forest):
    """An account for each meaning of a name, and accounts that share one."""
    user = forest.first.user
    people = {
        "anna": user(mail=address(forest, "anna.schmidt"), employeeID=address(forest, "4711"),
                     proxyAddresses=[f"SMTP:{address(forest, 'a.primary')}", f"smtp:{address(forest, 'a.second')}"]),
        "umlaut": user(name="bärbel.groß", mail=address(forest, "bärbel.groß.mail")),
        "twin": user(mail=address(forest, "twin"), employeeID=address(forest, "twin"), proxyAddresses=[f"smtp:{address(forest, 'twin')}"]),
        "other twin": user("disabled", mail=address(forest, "twin"), employeeID=address(forest, "twin"), proxyAddresses=[f"SMTP:{address(forest, 'twin')}"]),
    }
    # Takes the names of others for its mail: the UPN of one, the account name of another.
    people["victim"] = user()
    people["thief"] = user(mail=people["victim"].upn)
    people["victim without upn"] = user("no_upn")
    people["thief of it"] = user(mail=people["victim without upn"].upn)
    # Not accounts: with the mail of one that is.
    people["with contact"] = user(mail=address(forest, "contact"))
    forest.first.samdb.add({"dn": f"CN=a contact,CN=Users,{forest.domain.base}", "objectClass": "contact", "mail": address(forest, "contact")})
    forest.first.samdb.add({"dn": f"CN=a group,CN=Users,{forest.domain.base}", "objectClass": "group", "sAMAccountName": "agroup",
                            "mail": address(forest, "contact")})
    forest.replicate()
    return people


def as_id(desk, typed):
    """The attributes of an account whose alternate id it is."""
    return {"mail": typed} if "mail" in desk.login else {"proxyAddresses": f"smtp:{typed}"}


def ids_of(desk, forest):
    """What anna may type, by `login`."""
    if "mail" in desk.login:
        return [address(forest, "anna.schmidt"), address(forest, "ANNA.Schmidt")]
    return [address(forest, "a.primary"), address(forest, "A.Second"), address(forest, "4711")]


def test_alternate_id_is_that_entry(desk, forest, named):
    anna = named["anna"]
    for typed in ids_of(desk, forest):
        assert desk.told(typed, anna.password) == SUCCESS, typed
        before = sum(forest.strikes(anna))
        assert desk.told(typed, "not the password") == WRONG
        assert sum(forest.strikes(anna)) == before + 1


def test_netbios_name_is_the_account(desk, forest, named):
    for name in ("anna", "umlaut", "victim"):
        account = named[name]
        assert desk.told(f"{forest.domain.netbios}\\{account.name}", account.password) == SUCCESS


def test_upn_is_a_name_if_login_says_so(desk, forest, named):
    anna = named["anna"]
    if "upn" in desk.login.split():
        assert desk.told(anna.upn, anna.password) == SUCCESS
        assert desk.told(named["victim without upn"].upn.upper().replace(forest.domain.name.upper(), forest.domain.name), "not it") == WRONG
    else:
        with untouched(forest, anna):
            assert desk.told(anna.upn, anna.password) == WRONG
            assert desk.told(anna.upn, "not the password") == WRONG


def test_umlauts_in_an_id(desk, forest, named):
    account = named["umlaut"]
    expected = SUCCESS if "mail" in desk.login else WRONG
    assert desk.told(address(forest, "bärbel.groß.mail"), account.password) == expected


def test_ambiguous_id_is_nobody(desk, forest, named):
    twins = named["twin"], named["other twin"]
    with untouched(forest, *twins):
        for twin in twins:
            assert desk.told(address(forest, "twin"), twin.password) == WRONG
        assert desk.told(address(forest, "twin"), "not the password") == WRONG


def test_unknown_id_is_nobody(desk, forest):
    assert desk.told(address(forest, "nobody.here"), "whatever") == WRONG
    assert desk.told(f"{forest.domain.netbios}\\nobody.here", "whatever") == WRONG


@pytest.mark.parametrize("victim, thief", [("victim", "thief"), ("victim without upn", "thief of it")])
def test_nobody_takes_the_name_of_another_by_an_attribute(desk, forest, named, victim, thief):
    victim, thief = named[victim], named[thief]
    if desk.login == "attribute:mail":
        # There the mail is the one name, and the UPN none.
        assert desk.told(victim.upn, thief.password) == SUCCESS
        return
    with untouched(forest, victim, thief):
        assert desk.told(victim.upn, thief.password) == WRONG


def test_contact_or_group_is_no_account(desk, forest, named):
    account = named["with contact"]
    assert desk.told(address(forest, "contact"), account.password) == (SUCCESS if "mail" in desk.login else WRONG)


INJECTIONS = ["*", "{0}*", "*{1}", "{0})(cn=*", "{0})(|(cn=*", "{0}\\2a", "\\{0}", "{0}))(&(cn=*", "{0}\u0000", "{0}\\00", "(|(mail={0}))", "&{0}", "!{0}",
              "{0}\n", "CN={0}", "#{0}", "{0}+cn={0}"]


@pytest.mark.parametrize("text", INJECTIONS)
def test_filter_characters_mean_themselves(desk, forest, named, text):
    """With the right password of an account that the text would find, were it a filter or a DN."""
    anna = named["anna"]
    with untouched(forest, anna):
        local = "anna.schmidt" if "mail" in desk.login else "4711"
        typed = text.format(local[:-1] if "*" in text else local, local[1:])
        assert desk.told(address(forest, typed), anna.password) in (WRONG, BAD_NAME)
        name = text.format(anna.name[:-1] if "*" in text else anna.name, anna.name[1:])
        assert desk.told(f"{forest.domain.netbios}\\{name}", anna.password) in (WRONG, BAD_NAME)


@pytest.mark.parametrize("name", ["with*star@{0}", "paren(thesis)@{0}", "o'neil@{0}", "a&b|c!d@{0}"])
def test_odd_characters_in_an_id_are_found_as_they_are(desk, forest, make, name):
    typed = name.format(forest.domain.other_suffix)
    account = make(**as_id(desk, typed))
    try:
        assert desk.told(typed, account.password) in (SUCCESS, BAD_NAME)
    finally:
        forest.first.delete(account)
        forest.replicate()


def test_renamed_account_still_signs_in(desk, forest, make):
    """What was found before is no longer true: the entry is elsewhere now. At most one sign-in goes to where it was, and that is no
    denial."""
    typed = address(forest, "renamed")
    account = make(**as_id(desk, typed))
    assert desk.told(typed, account.password) == SUCCESS
    new = f"CN={account.name}-married,CN=Users,{forest.domain.base}"
    forest.first.samdb.rename(ldb.Dn(forest.first.samdb, account.dn), ldb.Dn(forest.first.samdb, new))
    account.dn = new
    forest.replicate()
    try:
        assert desk.told(typed, account.password) in (SUCCESS, MOVED)
        assert desk.told(typed, account.password) == SUCCESS
        assert desk.told(typed, "not the password") == WRONG
    finally:
        forest.first.delete(account)
        forest.replicate()


# -- the agent's own account --

@pytest.mark.parametrize("kind", IDENTITIES)
@pytest.mark.parametrize("tls", ["ldaps", "starttls"])
def test_identity_searches(system, forest, named, kind, tls):
    desk = Desk(system, forest, "simple", kind, "upn attribute:mail", tls=tls)
    assert desk.told(address(forest, "anna.schmidt"), named["anna"].password) == SUCCESS
    assert "✗" not in desk.agent.command("check")


def test_identity_by_dn(system, forest, named, make_folder):
    desk_section = dict(zip(("identity", "identity_password_file"), forest.service_account()))
    desk = Desk(system, forest, "simple", "password", "upn attribute:mail")
    desk.agent.write(**{f"directory {forest.domain.name}": {**desk_section, "identity": f"CN=svc-pta,CN=Users,{forest.domain.base}"}})
    desk.agent.reload()
    assert desk.told(address(forest, "anna.schmidt"), named["anna"].password) == SUCCESS


def test_global_catalog(system, forest, named):
    desk = Desk(system, forest, "simple", "password", "upn attribute:mail", global_catalog="yes")
    assert desk.told(address(forest, "anna.schmidt"), named["anna"].password) == SUCCESS
    assert desk.told(f"{forest.domain.netbios}\\{named['anna'].name}", named["anna"].password) == SUCCESS


def test_search_base_is_the_limit(system, forest, named):
    ou = f"OU=inside,{forest.domain.base}"
    forest.first.samdb.add({"dn": ou, "objectClass": "organizationalUnit"})
    inside = forest.first.user(mail=address(forest, "inside"))
    forest.first.samdb.rename(ldb.Dn(forest.first.samdb, inside.dn), ldb.Dn(forest.first.samdb, f"CN={inside.name},{ou}"))
    forest.replicate()
    desk = Desk(system, forest, "simple", "password", "upn attribute:mail", search_base=ou)
    assert desk.told(address(forest, "inside"), inside.password) == SUCCESS
    anna = named["anna"]
    with untouched(forest, anna):
        assert desk.told(address(forest, "anna.schmidt"), anna.password) == WRONG
        assert desk.told(anna.upn, anna.password) == WRONG
        assert desk.told(f"{forest.domain.netbios}\\{anna.name}", anna.password) == WRONG


def test_identity_with_a_wrong_password_is_an_outage_and_not_hammered(system, forest, named, make_folder):
    """Nobody is denied for it, the account is not locked out by it, and the mend is one reload away."""
    account, path = forest.first.user("lockable"), os.path.join(make_folder("svc"), "password")
    forest.replicate()

    def put(word):
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w", encoding="utf-8") as out:
            out.write(word + "\n")
    put("not the password")
    desk = Desk(system, forest, "simple", "password", "upn attribute:mail")
    desk.agent.write(**{f"directory {forest.domain.name}": {"identity": account.upn, "identity_password_file": path}})
    desk.agent.reload()
    anna = named["anna"]
    with untouched(forest, anna):
        for _ in range(8):
            answer = desk.service.signin(address(forest, "anna.schmidt"), anna.password)
            assert (answer.status, answer.json["verdict"]) == (503, "unavailable"), answer
    assert 1 <= sum(forest.strikes(account)) <= 2
    assert account.upn in desk.agent.daemon.log.tail(200)
    failed = desk.agent.fails("check")
    assert failed.status == 1 and account.upn in failed.output
    put(account.password)
    desk.agent.reload()
    until(lambda: desk.told(address(forest, "anna.schmidt"), anna.password) == SUCCESS, "the identity to be good again")


# -- the forest's other domains --

# The agent's section for the suffix is another one than that of the domain in which the catalog finds the entry.
GATE = "gate.example.net"


def gate(system, forest, gate_method, method):
    """An agent with a section that only looks names up in the forest's catalog, and, with a method, one for the domain."""
    service = system.service()
    service.domain(GATE, suffixes=[forest.domain.other_suffix])
    looking = forest.section(gate_method, **identity(forest, "keytab"), realm=forest.domain.realm, global_catalog="yes", netbios=None)
    sections = {GATE: looking}
    if method:
        sections[forest.domain.name] = forest.section(method, suffixes=None)
    agent = system.agent(service, sections, view=forest.view())
    service.wait_agents(1)
    return service, agent


@pytest.mark.parametrize("gate_method, method", [("simple", "simple"), ("simple", "gssapi"), ("kerberos", "simple"), ("simple", "kerberos")])
def test_entry_of_another_domain_goes_to_that_domains_section(system, forest, gate_method, method):
    account = forest.first.user("lockable", suffix=forest.domain.other_suffix)
    forest.replicate()
    service, agent = gate(system, forest, gate_method, method)
    for _ in range(2):
        assert service.signin(account.upn, account.password).json["verdict"] == "success"
        assert service.signin(account.upn, "not the password").json["verdict"] == "invalid_credentials"
    assert sum(forest.strikes(account)) == 1  # a right one sets it back
    binds = {section["name"]: sum(server["binds"] for server in section["servers"]) for section in agent.status()["directories"]}
    assert binds == {GATE: 0, forest.domain.name: 4}


def test_entry_of_a_domain_without_a_section_is_not_validated(system, forest):
    account = forest.first.user("lockable", suffix=forest.domain.other_suffix)
    forest.replicate()
    service, agent = gate(system, forest, "simple", None)
    with untouched(forest, account):
        for word in (account.password, "not the password"):
            answer = service.signin(account.upn, word)
            assert (answer.status, answer.json["verdict"], answer.json["reason"]) == (503, "unavailable", "not_configured"), answer
    agent.daemon.log.wait(forest.domain.name + ", which has no .directory. section")
