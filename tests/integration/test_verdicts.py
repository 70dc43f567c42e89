"""Names, passwords and domains as they are typed, end to end: HTTPS API, service, agent and a real Active Directory. What becomes of
accounts in every state is test_states.py's."""

import pytest

from bed.samba_ad import LOCKOUT_THRESHOLD, NETBIOS, OTHER_SUFFIX


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
