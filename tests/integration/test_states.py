"""Every account state × every method × right and wrong password: what the directory's answer becomes, what a sign-in client is
told, what the audit line says, and how many wrong passwords each of two controllers counted."""

import unicodedata

import pytest

import tables
from bed.forest import METHODS
from bed.process import fields

OK, BAD = ("success", True), ("invalid_credentials", False)
# Account state; the name that is typed; what is told of the right password: (verdict, password_proved) for a simple bind, and
# for gssapi and kerberos where that differs. An account state in a KRB-ERROR is proof of nothing: anybody can send one.
RIGHT = [
    ("right", "upn", OK, OK),
    ("other_suffix", "upn", OK, OK),
    ("netbios", "netbios", OK, OK),
    # Without userPrincipalName the implicit one is good: account name @ domain.
    ("no_upn", "upn", OK, OK),
    ("no_upn_netbios", "netbios", OK, OK),
    ("upn_is_not_account", "upn", OK, OK),
    ("umlauts", "upn", OK, OK),
    ("decomposed", "upn", OK, OK),
    ("emoji_password", "upn", OK, OK),
    ("long_password", "upn", OK, OK),
    ("aes_only", "upn", OK, OK),
    # Samba's KDC asks for preauthentication all the same; AD does not.
    ("no_preauth", "upn", OK, OK),
    # The account may have no password, and has one.
    ("not_required", "upn", OK, OK),
    ("unknown", "upn", BAD, BAD),
    ("disabled", "upn", ("account_disabled", True), ("account_disabled", False)),
    ("account_expired", "upn", ("account_expired", True), ("account_expired", False)),
    ("password_expired", "upn", ("password_expired", True), ("password_expired", False)),
    ("must_change", "upn", ("password_must_change", True), ("password_must_change", False)),
    # Samba's KDC tells no status of a lock-out; AD does (C0000234).
    ("locked", "upn", ("account_locked", False), ("account_restricted", False)),
    ("hours", "upn", ("logon_hours", True), ("logon_hours", False)),
    # Samba's KDC compares with the addresses in the request, and lets pass one without.
    ("workstation", "upn", ("logon_restricted", True), OK),
    ("protected", "upn", ("account_restricted", False), OK),
    # The flag replaces the password by a random one.
    ("smartcard", "upn", BAD, BAD),
]
# What differs from (invalid_credentials, not proved), counted once: verdict, strikes; again for a simple bind, and for the others.
WRONG = {
    "unknown": ((BAD, 0), (BAD, 0)),
    "locked": ((("account_locked", False), 0), (("account_restricted", False), 0)),
    # Samba looks for the group first, and does not count.
    "protected": ((("account_restricted", False), 0), (BAD, 1)),
}
# Of the right password, where that counts as a wrong one.
RIGHT_STRIKES = {"smartcard": 1}
STATES = [row[0] for row in RIGHT]
WRONG_PASSWORD = "not the password"


class Person:
    def __init__(self, account, typed):
        self.account, self.typed = account, typed


@pytest.fixture(scope="module")
def people(forest):
    """One account for each state, made once and known to both controllers."""
    make, domain = forest.first.user, forest.domain
    special = {
        "other_suffix": lambda: make(suffix=domain.other_suffix),
        "netbios": make,
        "no_upn_netbios": lambda: make("no_upn"),
        "umlauts": lambda: make(name="käthe.groß", password="Paßwörd-Ünï-1"),
        "decomposed": lambda: make(name=unicodedata.normalize("NFD", "zoë.müßig"), password=unicodedata.normalize("NFD", "Äpfel-und-Öl-1")),
        "emoji_password": lambda: make(password="Aa1-\U0001F511漢字"),
        "long_password": lambda: make(password="Aa1-" + "xyz7" * 31),
    }
    made = {}
    for state, form, _, _ in RIGHT:
        if state == "upn_is_not_account":
            account = make(name="t.unlike", userPrincipalName=f"theodora.unlike@{domain.name}")
            account.upn = f"theodora.unlike@{domain.name}"
        elif state == "unknown":
            account = make()
            forest.first.delete(account)
        else:
            account = special[state]() if state in special else make(state)
        made[state] = Person(account, account.upn if form == "upn" else f"{domain.netbios}\\{account.name}")
    for state, account in (("blank", make("blank")), ("emoji_name", make(name="smile.\U0001F600"))):
        made[state] = Person(account, account.upn)
    forest.replicate()
    return made


class Desk:
    """A service with one agent that uses this method, and what was found with it."""

    def __init__(self, system, forest, method, resolves):
        self.forest, self.method, self.resolves = forest, method, resolves
        more = {}
        if resolves:
            more["identity"], more["identity_password_file"] = forest.service_account()
        self.service = system.service()
        self.service.domain(forest.domain.name, suffixes=[forest.domain.other_suffix], netbios=forest.domain.netbios)
        self.plain = self.service.app("plain")
        self.agent = system.agent(self.service, {forest.domain.name: forest.section(method, **more)}, view=forest.view())
        self.service.wait_agents(1)

    def audit(self, answer):
        """The agent's line about this answer."""
        request = answer.json["request_id"]
        return fields(self.agent.daemon.log.wait(lambda line: request in line and "auth.verdict" in line))


@pytest.fixture(scope="module", params=[(method, resolves) for method in METHODS for resolves in (False, True)],
                ids=[f"{method}{how}" for method in METHODS for how in ("", "-resolved")])
def desk(request, make_folder, forest):
    from conftest import System
    made = System(make_folder)
    yield Desk(made, forest, *request.param)
    made.close()


@pytest.fixture(scope="module")
def found():
    """What was told, by (state, method, "right" or "wrong"): without and with a look-up of the name."""
    told = {}
    yield told

    def cell(*key):
        plain, resolved = (told.get(key, {}).get(resolves, "") for resolves in (False, True))
        return plain if resolved in ("", plain) else f"{plain}; looked up: {resolved}"
    for word in ("right", "wrong"):
        tables.write("states", ["account", *METHODS], [[state, *(cell(state, method, word) for method in METHODS)] for state in STATES],
                     f"The {word} password: verdict (what a plain sign-in client is told, where that differs), strikes at DC1 + DC2")


def counts(forest, person, state):
    return [0, 0] if state == "unknown" else forest.strikes(person.account)


def judge(desk, found, person, state, word, expected, strikes):
    """One sign-in by an app that is told all, one by an app that is not; each is one try at one controller."""
    verdict, proved = expected
    shown = verdict if proved or verdict == "success" else "invalid_credentials"
    for key in (desk.service.key, desk.plain):
        before = counts(desk.forest, person, state)
        with desk.service.client(key=key) as client:
            answer = client.signin(person.typed, word)
        after = counts(desk.forest, person, state)
        assert (answer.status, answer.json["verdict"]) == (200, shown), (answer, desk.audit(answer))
        line = desk.audit(answer)
        assert (line["verdict"], line["proved"]) == (verdict, "yes" if proved else "no"), line
        assert not line.get("reason"), line
        if key == desk.plain:
            assert "details" not in answer.json and verdict not in answer.body.decode().replace(shown, "")
        else:
            assert (answer.json["details"]["verdict"], answer.json["details"]["password_proved"]) == (verdict, proved), answer
        # A success may set the count back.
        change = [max(0, new - old) for old, new in zip(before, after)]
        assert sum(change) == strikes, (before, after, line)
        text = verdict if shown == verdict else f"{verdict} ({shown})"
        key = (state, desk.method, "wrong" if word is WRONG_PASSWORD else "right")
        found.setdefault(key, {})[desk.resolves] = f"{text} {change[0]}+{change[1]}"


@pytest.mark.parametrize("state, simple, kerberos", [(state, simple, kerberos) for state, _, simple, kerberos in RIGHT], ids=STATES)
def test_right_password(desk, people, found, state, simple, kerberos):
    person = people[state]
    judge(desk, found, person, state, person.account.password, simple if desk.method == "simple" else kerberos, RIGHT_STRIKES.get(state, 0))


@pytest.mark.parametrize("state", STATES)
def test_wrong_password(desk, people, found, state):
    expected, strikes = WRONG.get(state, ((BAD, 1),) * 2)[0 if desk.method == "simple" else 1]
    judge(desk, found, people[state], state, WRONG_PASSWORD, expected, strikes)


@pytest.mark.parametrize("state", ["right", "umlauts"])
def test_almost_the_right_password(desk, people, found, state):
    """What differs by a letter's case, a blank or a letter that is not there is wrong."""
    person = people[state]
    for word in (person.account.password.swapcase(), person.account.password + " ", person.account.password[:-1]):
        judge(desk, {}, person, state, word, BAD, 1)


@pytest.mark.parametrize("state", ["blank", "not_required"])
def test_empty_password_reaches_no_controller(desk, people, state):
    """An account that has no password, or may have none, is not let in without one: a bind with none is anonymous (RFC 4513 5.1.2)."""
    person = people[state]
    before = desk.forest.strikes(person.account)
    answer = desk.service.signin(person.typed, "")
    assert (answer.status, answer.json["verdict"]) == (400, "invalid_request"), answer
    assert desk.forest.strikes(person.account) == before
    judge(desk, {}, person, state, WRONG_PASSWORD, BAD, 1)


def test_emoji_in_the_account_name(desk, people):
    """Samba's KDC makes no ticket for such a name (KRB_ERR_GENERIC behind the right password): that is no answer, and no denial."""
    person = people["emoji_name"]
    if desk.method == "simple":
        judge(desk, {}, person, "emoji_name", person.account.password, OK, 0)
    else:
        answer = desk.service.signin(person.typed, person.account.password)
        assert (answer.json["verdict"], answer.json.get("reason")) == ("unavailable", "agent_error"), (answer, desk.audit(answer))
    judge(desk, {}, person, "emoji_name", WRONG_PASSWORD, BAD, 1)


@pytest.mark.parametrize("tls", ["starttls", "none"])
@pytest.mark.parametrize("resolves", [False, True], ids=["typed", "resolved"])
def test_gssapi_without_ldaps(system, forest, people, tls, resolves):
    """StartTLS; and no TLS at all, where the bind signs and seals what follows it."""
    more = {"identity": f"AGENT1$@{forest.domain.realm}", "keytab": forest.keytab} if resolves else {}
    service = system.service()
    service.domain(forest.domain.name)
    agent = system.agent(service, {forest.domain.name: forest.section("gssapi", tls=tls, **more)}, view=forest.view())
    service.wait_agents(1)
    account = people["right"].account
    assert service.signin(account.upn, account.password).json["verdict"] == "success"
    before = forest.strikes(account)
    assert service.signin(account.upn, WRONG_PASSWORD).json["verdict"] == "invalid_credentials"
    assert sum(forest.strikes(account)) == sum(before) + 1
    assert "✗" not in agent.command("check")
