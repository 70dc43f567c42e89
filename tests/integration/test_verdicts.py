"""Every verdict, end to end: HTTPS API, service, agent, and a real Active Directory that says it."""

import pytest

from bed.samba_ad import DOMAIN, LOCKOUT_THRESHOLD, NETBIOS, OTHER_SUFFIX

# Account state; what the directory says to its right password; what a sign-in client is told; whether the directory says
# so to the right password only.
STATES = [
    ("right", "success", "success", True),
    ("disabled", "account_disabled", "account_disabled", True),
    ("account_expired", "account_expired", "account_expired", True),
    ("password_expired", "password_expired", "password_expired", True),
    ("must_change", "password_must_change", "password_must_change", True),
    ("locked", "account_locked", "invalid_credentials", False),
    ("hours", "logon_hours", "logon_hours", True),
    ("workstation", "logon_restricted", "logon_restricted", True),
    ("protected", "account_restricted", "account_restricted", True),
]


@pytest.fixture(scope="module")
def plain_key(office):
    return office.app("plain")


@pytest.mark.parametrize("state, told, shown, proved", STATES)
def test_each_account_state_has_its_verdict(office, plain_key, ad, state, told, shown, proved):
    account = ad.user(state)
    answer = office.signin(account.upn, account.password)
    assert (answer.status, answer.json["verdict"]) == (200, shown), answer
    assert (answer.json["details"]["verdict"], answer.json["details"]["password_proved"]) == (told, proved), answer
    with office.client(key=plain_key) as client:
        answer = client.signin(account.upn, account.password)
    assert (answer.status, answer.json["verdict"]) == (200, shown), answer
    assert "details" not in answer.json and told not in answer.body.decode().replace(shown, "")


@pytest.mark.parametrize("state", ["right", "disabled", "account_expired", "password_expired", "must_change", "hours", "workstation"])
def test_wrong_password_says_nothing_of_the_account(office, ad, state):
    account = ad.user(state)
    answer = office.signin(account.upn, "not the password")
    assert (answer.status, answer.json["verdict"]) == (200, "invalid_credentials"), answer


def test_unknown_user_is_told_as_a_wrong_password(office):
    answer = office.signin(f"nobody@{DOMAIN}", "whatever")
    assert (answer.status, answer.json["verdict"]) == (200, "invalid_credentials"), answer


@pytest.mark.parametrize("form", [lambda a: a.upn, lambda a: a.upn.upper(), lambda a: f"{NETBIOS}\\{a.name}", lambda a: f"{NETBIOS.lower()}\\{a.name}"])
def test_name_forms(office, ad, form):
    account = ad.user()
    assert office.signin(form(account), account.password).json["verdict"] == "success"


def test_umlauts_and_other_suffix(office, ad):
    account = ad.user(name="ümit.öztürk", password="Grüße-aus-Köln-1", suffix=OTHER_SUFFIX)
    assert office.signin(account.upn, account.password).json["verdict"] == "success"
    assert office.signin(account.upn, account.password.lower()).json["verdict"] == "invalid_credentials"


@pytest.mark.parametrize("password", ["p w", "a\"b\\c/d", "'; --", "*)(uid=*", "tab\tnewline\n", "漢字かな-Ж-1", "A1-" + "x" * 120])
def test_passwords_arrive_byte_for_byte(office, ad, password):
    account = ad.user("lockable", password="Aa1-before")
    ad.set_password(account, password)
    answer = office.signin(account.upn, password)
    assert answer.json["verdict"] == "success", answer
    assert office.signin(account.upn, password + " ").json["verdict"] == "invalid_credentials"


def test_one_password_is_one_try(office, ad):
    """A request never costs more than one strike, whatever agent and connection took it."""
    account = ad.user("lockable")
    for strikes in range(1, LOCKOUT_THRESHOLD + 1):
        assert office.signin(account.upn, f"wrong {strikes}").json["verdict"] == "invalid_credentials"
        assert ad.bad_passwords(account) == strikes
    assert office.signin(account.upn, account.password).json["details"]["verdict"] == "account_locked"


@pytest.mark.parametrize("name", [
    "CN=Administrator,CN=Users,DC=corp,DC=example,DC=com", "*@corp.example.com", "a)(objectClass=*@corp.example.com", "corp.example.com/Users/Administrator",
    "CORP\\a\\b", "CORP\\user@corp.example.com", "administrator", "@corp.example.com", "user@", "CORP\\", "host/dc1@corp.example.com"])
def test_other_name_forms_never_reach_a_bind(office, name):
    answer = office.signin(name, "whatever")
    assert (answer.status, answer.json["error"], answer.json["field"]) == (400, "invalid_request", "username"), answer


def test_domains_that_nobody_serves(office):
    office.domain("branch.example.com", group="branch")
    answer = office.signin("anna@branch.example.com", "whatever")
    assert (answer.status, answer.json["verdict"], answer.json["reason"]) == (503, "unavailable", "no_agent"), answer
    assert answer.headers["Retry-After"]
    for name in ("anna@nowhere.example.net", "NOWHERE\\anna"):
        answer = office.signin(name, "whatever")
        assert (answer.status, answer.json["verdict"], answer.json["reason"]) == (503, "unavailable", "not_configured"), answer


def test_agent_without_the_section_declines(office):
    office.domain("unserved.example.com", group="main")
    answer = office.signin("anna@unserved.example.com", "whatever")
    assert (answer.status, answer.json["verdict"], answer.json["reason"]) == (503, "unavailable", "not_configured"), answer


def test_disabled_domain_is_not_configured(office, ad):
    office.domain("closed.example.com")
    office.command("domain", "disable", "closed.example.com")
    answer = office.signin("anna@closed.example.com", "whatever")
    assert (answer.status, answer.json["reason"]) == (503, "not_configured"), answer


def test_correlation_id_stands_beside_the_request_id_in_both_logs(office, ad):
    account = ad.user()
    answer = office.signin(account.upn, account.password, correlation_id="ticket-4711", client_ip="203.0.113.9")
    request = answer.json["request_id"]
    line = office.daemon.log.wait(lambda line: request in line and "verdict" in line)
    assert "ticket-4711" in line and "203.0.113.9" in line
