"""`pta-agent check` and `pta-agent test`: what they find is so, and each fault is told with what mends it."""

import json
import os
import time

import pytest

from bed import slapd as slapd_bed
from bed.ca import Authority
from bed.pta import Failed
from bed.samba_ad import DOMAIN, SambaAD
from bed.slapd import Slapd
from bed.view import View
from conftest import System, slapd_section

MARKS = {"ok": 0, "warning": 4, "error": 1}


class Report:
    """What one run of check found."""

    def __init__(self, status, output):
        self.status, self.document = status, json.loads(output)
        self.findings = self.document["checks"]

    def find(self, check):
        """The findings whose name has this in it."""
        found = [finding for finding in self.findings if check in finding["check"]]
        assert found, f"nothing of {check}:\n{self}"
        return found

    def one(self, check, severity, *words):
        """The only finding of that name: it must be so severe, and say these words; one that is not ok says what to do."""
        found, = self.find(check)
        assert found["severity"] == severity and found["ok"] == (severity != "error"), f"{check}:\n{self}"
        assert all(word in found["text"] + found["mend"] for word in words), f"{check}, {words}:\n{self}"
        assert bool(found["mend"]) == (severity != "ok"), found
        return found

    def only(self, severity):
        """Nothing is worse than that, and the exit status tells the same."""
        assert self.document["severity"] == severity and self.status == MARKS[severity], self
        return self

    def __str__(self):
        return f"status {self.status}\n" + "\n".join(str(finding) for finding in self.findings)


class Checker:
    """One registered agent, whose configuration is another for each check."""

    def __init__(self, agent):
        self.agent, self.own = agent, dict(agent.sections["agent"])

    def configure(self, section, domain=DOMAIN, view=None):
        self.agent.sections, self.agent.view = {"agent": self.own, f"directory {domain}": section}, view
        self.agent.write()
        return self.agent

    def __call__(self, section, domain=DOMAIN, view=None):
        agent = self.configure(section, domain, view)
        try:
            return Report(0, agent.command("check", "--json"))
        except Failed as failed:
            # What a sanitizer has to say would be behind the document.
            return Report(failed.status, failed.output[:failed.output.rindex("}") + 1])


@pytest.fixture(scope="module")
def place(make_folder):
    made = System(make_folder)
    yield made
    made.close()


@pytest.fixture(scope="module")
def check(place, slapd):
    return Checker(place.agent(place.service(), {slapd_bed.DOMAIN: slapd_section(slapd)}, start=False))


@pytest.fixture
def slapd_for(make_folder, ca):
    beds = []

    def make(**options):
        beds.append(Slapd(make_folder("slapd"), ca, users=4, **options))
        return beds[-1]
    yield make
    for bed in beds:
        bed.close()


def secret_file(folder, text):
    path = os.path.join(folder, "secret")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), "w", encoding="utf-8") as out:
        out.write(text + "\n")
    return path


# -- all is well --

def test_simple_section_is_well(check, forest):
    report = check(forest.section(), view=forest.view()).only("ok")
    report.one("servers", "ok", "dc1", "dc2", "DNS names no others")
    for controller in forest.controllers:
        report.one(f"{controller.host} DNS", "ok", controller.address)
        report.one(f"{controller.host}:636 TCP", "ok", "connected in")
        report.one(f"{controller.host} other ports", "ok", "389 open", "88 open", "464 open")
        report.one(f"{controller.host}:636 TLS", "ok", "TLS1.3", "until")
        report.one(f"{controller.host}:636 rootDSE", "ok", "Active Directory", controller.host, "2008 R2", "no fast bind", "GSSAPI", "global catalog")
        report.one(f"{controller.host}:636 clock", "ok")
        report.one(f"{controller.host}:389 signing", "ok", "demands signing")
        report.one(f"{controller.host}:636 channel binding", "ok", "needs an identity in a keytab")


def test_gssapi_section_found_by_dns_is_well(check, forest):
    report = check(forest.section("gssapi", servers=False, keytab=forest.keytab), view=forest.view()).only("ok")
    report.one("discovery", "ok", "names 2 controllers")
    report.one("site", "ok", "of site", "2 of the 2")
    report.one("order", "ok", "dc1", "dc2", " ms")
    report.one("directory corp.example.com keytab", "ok", "AGENT1$@CORP.EXAMPLE.COM kvno 1", "host/agent1.corp.example.com", "aes256")
    for controller in forest.controllers:
        report.one(f"{controller.host}:88 TCP", "ok")
        report.one(f"{controller.host}:88 KDC", "ok", "CORP.EXAMPLE.COM")
        report.one(f"{controller.host}:88 clock", "ok")
        report.one(f"{controller.host}:88 keytab", "ok", "AGENT1$", "logs on")
        report.one(f"{controller.host}:636 channel binding", "ok", "bound to its TLS", "does not demand")


def test_kerberos_section_needs_no_ldap(check, forest):
    section = forest.section("kerberos")
    del section["ca_file"]
    report = check(section, view=forest.view()).only("ok")
    for controller in forest.controllers:
        report.one(f"{controller.host} other ports", "ok", "389 open", "636 open")
        report.one(f"{controller.host}:88 keytab", "ok", "logs on")
        report.one(f"{controller.host}:88 own ticket", "ok", "host/agent1.corp.example.com", "kvno 1", "opens with the keytab")
    assert not [finding for finding in report.findings if "TLS" in finding["check"]], report


def test_identity_with_a_password_is_well(check, forest):
    identity, path = forest.service_account()
    report = check(forest.section(identity=identity, identity_password_file=path, login="upn attribute:mail", global_catalog="yes"), view=forest.view()).only("ok")
    report.one("login attribute mail", "ok", "indexed", "global catalog")
    for controller in forest.controllers:
        report.one(f"{controller.host}:3269 TCP", "ok")
        report.one(f"{controller.host}:3269 identity", "ok", identity, "accepted")
        report.one(f"{controller.host}:3269 search", "ok", "not found")


def test_other_directory_is_well(check, slapd):
    report = check(slapd_section(slapd), slapd_bed.DOMAIN).only("ok")
    report.one("rootDSE", "ok", "not Active Directory", slapd_bed.BASE)
    assert not [finding for finding in report.findings if "signing" in finding["check"] or "other ports" in finding["check"]], report


def test_lines_for_people(check, forest, make_folder):
    agent = check.configure(forest.section(), view=forest.view())
    output = agent.command("check")
    assert output.count("\n") == output.count("✓") and "\033" not in output
    section = forest.section("kerberos", keytab=forest.first.keytab(os.path.join(make_folder("keytab"), "open.keytab")))
    os.chmod(section["keytab"], 0o640)
    failed = check.configure(section, view=forest.view()).fails("check")
    assert failed.status == 4 and "! directory corp.example.com keytab: " in failed.output and "\n  → chmod 0600 " in failed.output


# -- finding controllers --

def test_dns_that_does_not_answer_is_an_error(check, forest, network):
    view = forest.view()
    view.write(nameservers=[network.silent])
    report = check(forest.section(servers=False), view=view).only("error")
    report.one("discovery", "error", network.silent, "resolv.conf")


def test_domain_that_dns_does_not_know_is_an_error(check, forest):
    report = check(forest.section(servers=False), "nowhere.corp.example.com", forest.view()).only("error")
    report.one("discovery", "error", "_ldap._tcp.dc._msdcs.nowhere.corp.example.com", "the section's name")


def test_target_outside_the_domain_is_refused_with_a_warning(check, forest):
    hosts = [controller.host for controller in forest.controllers]
    with forest.dns.changes() as dns:
        dns.locate(*hosts, "dc.evil.example.org")
    try:
        report = check(forest.section(servers=False), view=forest.view()).only("warning")
        found = [finding for finding in report.find("discovery") if finding["severity"] == "warning"]
        assert len(found) == 1 and "dc.evil.example.org" in found[0]["text"] and "_msdcs.corp.example.com" in found[0]["mend"], report
        report.one("order", "ok", *hosts)
    finally:
        with forest.dns.changes() as dns:
            dns.locate(*hosts)


def test_host_of_no_site_is_a_warning(check, forest):
    forest.dns.site("Elsewhere", "203.0.113.0/24")
    try:
        report = check(forest.section(servers=False), view=forest.view()).only("warning")
        report.one("site", "warning", "no site", "subnet", "Sites and Services")
    finally:
        forest.dns.remove_site("Elsewhere", "203.0.113.0/24")


def test_site_without_controllers_is_a_warning(check, forest, network):
    forest.dns.site("Here", str(network.network))
    try:
        report = check(forest.section(servers=False), view=forest.view()).only("warning")
        report.one("site", "warning", "Here", "no controller")
    finally:
        forest.dns.remove_site("Here", str(network.network))


def test_list_is_compared_with_dns(check, forest):
    first, second = forest.controllers
    report = check(forest.section() | {"servers": first.host}, view=forest.view()).only("ok")
    report.one("servers", "ok", first.host, f"DNS names others, too: {second.host}")
    report = check(forest.section() | {"servers": first.address}, view=forest.view()).only("ok")
    report.one("servers", "ok", "addresses")


def test_name_without_address_is_an_error(check, forest):
    report = check(forest.section() | {"servers": "dc9.corp.example.com"}, view=forest.view()).only("error")
    report.one("dc9.corp.example.com DNS", "error", "servers")


# -- ports --

def test_black_hole_costs_one_timeout(check, forest, network):
    began = time.monotonic()
    section = forest.section("gssapi", connect_timeout="1500ms") | {"servers": "dc1.corp.example.com"}
    report = check(section, view=forest.view(dc1=network.silent)).only("error")
    took = time.monotonic() - began
    report.one("dc1.corp.example.com:636 TCP", "error", network.silent, "firewall", "tls = ldaps")
    report.one("dc1.corp.example.com:88 TCP", "error", network.silent, "method = gssapi")
    report.one("other ports", "ok", "389 closed", "464 closed")
    # The look at DNS and the service is in it, too.
    assert took < 4 * 1.5, took


def test_closed_ports_are_told(check, forest, network):
    identity, path = forest.service_account()
    section = forest.section("gssapi", tls="starttls", identity=identity, identity_password_file=path, global_catalog="yes") | {"servers": "dc1.corp.example.com"}
    report = check(section, view=forest.view(dc1=network.servers[5])).only("error")
    for port, why in ((389, "tls = starttls"), (88, "method = gssapi"), (3268, "global_catalog")):
        report.one(f":{port} TCP", "error", "refused", why)


# -- TLS --

@pytest.mark.parametrize("bed, severity, words", [
    ({"days": (-3, 5)}, "warning", ("ends at", "renew")),
    ({"days": (-3, -1)}, "error", ("expired", "renew")),
    ({"names": ("elsewhere.example.com",)}, "error", ("not for 127.0.0.1", "elsewhere.example.com", "servers")),
], ids=("soon", "expired", "name"))
def test_certificate(check, slapd_for, bed, severity, words):
    made = slapd_for(**bed)
    report = check(slapd_section(made), slapd_bed.DOMAIN).only(severity)
    report.one(f"127.0.0.1:{made.ldaps_port} TLS", severity, *words)


def test_certificate_of_another_ca(check, slapd, make_folder):
    other = Authority(make_folder("otherca"), "Another CA")
    report = check(slapd_section(slapd, ca_file=other.path), slapd_bed.DOMAIN).only("error")
    report.one("TLS", "error", "issued by", "ca_file")


def test_plain_port_is_no_tls(check, slapd):
    report = check(slapd_section(slapd) | {"servers": f"{slapd.address}:{slapd.ldap_port}"}, slapd_bed.DOMAIN).only("error")
    report.one("TLS", "error", str(slapd.ldap_port))


# -- what the controller offers --

def test_address_is_no_name_for_kerberos(check, forest):
    report = check(forest.section("gssapi") | {"servers": forest.first.address}, view=forest.view()).only("error")
    report.one("SASL", "error", "is an address", forest.first.host)


def test_alias_of_a_controller(check, forest):
    report = check(forest.section("gssapi") | {"servers": f"alias.{DOMAIN}"}, view=forest.view(alias=forest.first.address)).only("error")
    # TLS is the first to say so.
    report.one("TLS", "error", "not for alias.corp.example.com", f"it names {forest.first.host}")


def test_other_directory_has_no_kerberos(check, slapd):
    report = check(slapd_section(slapd, method="gssapi", bind_dn=None), slapd_bed.DOMAIN).only("error")
    report.one("127.0.0.1:88 TCP", "error", "refused", "method = gssapi")
    report.one("SASL", "error", "is an address")


@pytest.fixture(scope="module")
def lone(make_folder, ca):
    """A controller of its own, for tests that change its settings: a restart takes the last ones."""
    bed = SambaAD(make_folder("lone"), ca)
    yield bed
    bed.close()


def restart(bed, **options):
    with open(bed.conf, encoding="ascii") as conf:
        text = conf.read().split("[global]", 1)[1]
    with open(bed.conf, "w", encoding="ascii") as conf:
        # What comes last holds, so this goes behind all of the section.
        head, sep, tail = text.partition("[sysvol]")
        conf.write("[global]" + head + "".join(f"\t{key.replace('_', ' ')} = {value}\n" for key, value in options.items()) + sep + tail)
    bed.stop()
    bed.start()


def lone_section(lone, view_folder, **more):
    return {"servers": lone.host, "ca_file": lone.ca.path, **more}, View(view_folder, [lone.address], {lone.host: lone.address})


def test_signing_that_is_not_demanded(check, lone, make_folder):
    section, view = lone_section(lone, make_folder("view"))
    restart(lone, ldap_server_require_strong_auth="no")
    report = check(section, view=view).only("ok")
    report.one(f"{lone.host}:389 signing", "ok", "does not demand signing")


def test_bind_with_a_ticket_that_is_refused_within_tls(check, lone, make_folder):
    keytab = lone.keytab(os.path.join(make_folder("keytab"), "agent.keytab"))
    section, view = lone_section(lone, make_folder("view"), method="gssapi", keytab=keytab)
    restart(lone, ldap_server_require_strong_auth="yes")
    report = check(section, view=view).only("error")
    report.one(f"{lone.host}:636 channel binding", "error", "AGENT1$", "allow_sasl_over_tls")
    report = check(section | {"method": "simple"}, view=view).only("ok")
    report.one(f"{lone.host}:636 channel binding", "ok", "not known", "does not need")
    restart(lone, ldap_server_require_strong_auth="allow_sasl_over_tls")
    check(section, view=view).only("ok")


def test_controller_that_is_no_global_catalog(check, lone, make_folder):
    section, view = lone_section(lone, make_folder("view"), identity="svc", identity_password_file=secret_file(make_folder("password"), "x"), global_catalog="yes")
    settings = f"CN=NTDS Settings,CN={lone.name.upper()},CN=Servers,CN=Default-First-Site-Name,CN=Sites,CN=Configuration,{lone.domain.base}"
    lone._modify(settings, options="0")
    try:
        report = check(section, view=view).only("error")
        report.one("global catalog", "error", "no global catalog", "Sites and Services")
    finally:
        lone._modify(settings, options="1")


def test_controller_that_hangs(check, lone, make_folder):
    """It accepts connections, and says nothing."""
    section, view = lone_section(lone, make_folder("view"), method="gssapi", connect_timeout="1s", bind_timeout="1s")
    lone.freeze()
    try:
        began = time.monotonic()
        report = check(section, view=view).only("error")
        assert time.monotonic() - began < 15
        report.one(f"{lone.host}:636 TCP", "ok")
        report.one(f"{lone.host}:636 TLS", "error", "no answer")
        report.one(f"{lone.host}:88 KDC", "error")
    finally:
        lone.thaw()


# -- Kerberos --

def test_wrong_realm_is_an_error(check, forest):
    report = check(forest.section("kerberos", realm="ELSEWHERE.EXAMPLE.COM"), view=forest.view()).only("error")
    report.one("directory corp.example.com keytab", "error", "no key of a principal", "AGENT1$@CORP.EXAMPLE.COM")


def test_keytab_that_nothing_needs_is_a_warning_at_most(check, forest, make_folder):
    path = secret_file(make_folder("keytab"), "this is no keytab")
    report = check(forest.section(keytab=path), view=forest.view()).only("warning")
    report.one("directory corp.example.com keytab", "warning", path)


def test_secrets_that_the_agents_user_cannot_read(check, forest, make_folder):
    identity, path = forest.service_account()
    keytab = forest.first.keytab(os.path.join(make_folder("keytab"), "agent.keytab"))
    agent = check.configure(forest.section("kerberos", keytab=keytab, identity=identity, identity_password_file=path), view=forest.view())
    agent.sections["agent"] = {**check.own, "user": "nobody"}
    agent.write()
    failed = agent.fails("check", "--json")
    report = Report(failed.status, failed.output[:failed.output.rindex("}") + 1])
    bad = [finding for finding in report.findings if "cannot read it" in finding["text"]]
    assert len(bad) == 2 and all(path in finding["mend"] or keytab in finding["mend"] for finding in bad), report


def test_keytab_with_an_old_key_costs_one_strike(check, forest, make_folder):
    account, = forest.users(1)
    path = forest.first.keytab(os.path.join(make_folder("keytab"), "old.keytab"), account.name)
    forest.first.set_password(account, "An-0ther-Password")
    forest.replicate()
    report = check(forest.section("kerberos", keytab=path), view=forest.view()).only("error")
    first, second = forest.controllers
    report.one(f"{first.host}:88 keytab", "error", "present key", "export")
    assert not [finding for finding in report.findings if f"{second.host}:88 keytab" in finding["check"]], report
    assert sum(forest.strikes(account)) <= 1


def test_keytab_of_an_account_without_service_name(check, forest, make_folder):
    account, = forest.users(1)
    path = forest.first.keytab(os.path.join(make_folder("keytab"), "plain.keytab"), account.name)
    report = check(forest.section("kerberos", keytab=path), view=forest.view()).only("error")
    for controller in forest.controllers:
        report.one(f"{controller.host}:88 keytab", "ok", account.name, "logs on")
        report.one(f"{controller.host}:88 own ticket", "error", "setspn")


def test_keytab_of_a_disabled_account(check, forest, make_folder):
    account, = forest.users(1, "disabled")
    path = forest.first.keytab(os.path.join(make_folder("keytab"), "disabled.keytab"), account.name)
    report = check(forest.section("kerberos", keytab=path), view=forest.view()).only("error")
    report.one(f"{forest.first.host}:88 keytab", "error", "disabled", "enable")


def test_keytab_of_a_service_name_only_cannot_be_proved(check, forest, make_folder):
    forest.keytab  # the computer account is there, and on all controllers
    path = forest.first.keytab(os.path.join(make_folder("keytab"), "service.keytab"), f"host/agent1.{DOMAIN}")
    report = check(forest.section("kerberos", keytab=path), view=forest.view()).only("warning")
    report.one(f"{forest.first.host}:88 keytab", "warning", "not proved", "pta-agent test")


def test_file_that_is_no_keytab(check, forest, make_folder):
    path = secret_file(make_folder("keytab"), "this is no keytab")
    report = check(forest.section("kerberos", keytab=path), view=forest.view()).only("error")
    report.one("directory corp.example.com keytab", "error", path, "export")


# -- the identity --

def test_wrong_password_of_the_identity_costs_one_strike(check, forest, make_folder):
    account, = forest.users(1)
    path = secret_file(make_folder("password"), "wrong")
    report = check(forest.section(identity=account.upn, identity_password_file=path), view=forest.view()).only("error")
    report.one("identity", "error", account.upn, "52e", "identity_password_file")
    assert sum(forest.strikes(account)) == 1


def test_identity_in_the_keytab_is_well(check, forest):
    report = check(forest.section(identity="AGENT1$@CORP.EXAMPLE.COM", keytab=forest.keytab, global_catalog="yes", login="upn attribute:mail"),
                   view=forest.view()).only("ok")
    for controller in forest.controllers:
        report.one(f"{controller.host}:88 TCP", "ok")
        report.one(f"{controller.host}:88 keytab", "ok", "AGENT1$")
        report.one(f"{controller.host}:636 channel binding", "ok", "bound to its TLS", "does not demand")
        report.one(f"{controller.host}:3269 identity", "ok", "AGENT1$@CORP.EXAMPLE.COM", "accepted")
        report.one(f"{controller.host}:3269 search", "ok", "not found")


def test_identity_with_an_old_key_costs_one_strike(check, forest, make_folder):
    account, = forest.users(1)
    path = forest.first.keytab(os.path.join(make_folder("keytab"), "old.keytab"), account.name)
    forest.first.set_password(account, "An-0ther-Password")
    forest.replicate()
    report = check(forest.section(identity=f"{account.name}@CORP.EXAMPLE.COM", keytab=path), view=forest.view()).only("error")
    report.one(f"{forest.first.host}:88 keytab", "error", "present key")
    assert not [finding for finding in report.findings if finding["check"].endswith((" identity", " search"))], report
    assert sum(forest.strikes(account)) <= 1


def test_identity_that_the_keytab_has_no_key_of(check, forest):
    report = check(forest.section(identity="somebody@CORP.EXAMPLE.COM", keytab=forest.keytab), view=forest.view()).only("error")
    report.one(f"{forest.first.host}:88 keytab", "error", "somebody@CORP.EXAMPLE.COM")


def test_search_base_that_is_not_there(check, forest):
    identity, path = forest.service_account()
    report = check(forest.section(identity=identity, identity_password_file=path, search_base=f"OU=Nobody,{forest.domain.base}"), view=forest.view()).only("error")
    for finding in report.find("search"):
        assert finding["severity"] == "error" and "OU=Nobody" in finding["text"] and "search_base" in finding["mend"], report


def test_attributes_that_are_not_fit(check, forest):
    identity, path = forest.service_account()
    section = forest.section(identity=identity, identity_password_file=path, login="upn attribute:mail attribute:employeeID attribute:eMployyID")
    report = check(section, view=forest.view()).only("error")
    report.one("login attribute mail", "ok")
    report.one("login attribute employeeID", "warning", "not indexed")
    report.one("login attribute eMployyID", "error", "no such attribute")
    report = check(section | {"login": "attribute:employeeID", "global_catalog": "yes"}, view=forest.view()).only("error")
    report.one("login attribute employeeID", "error", "global catalog", "replicate")


# -- test USER --

def sign_in(check, user, password):
    """The JSON of `test`, whatever its exit status."""
    try:
        output = check.agent.command("test", user, "--json", stdin=password + "\n")
        status = 0
    except Failed as failed:
        output, status = failed.output[:failed.output.rindex("}") + 1], failed.status
    document = json.loads(output)
    assert status == (0 if document["verdict"] == "success" else 1)
    return document


STEPS = {"simple": ["connect", "bind"], "gssapi": ["connect", "as-req", "as-rep", "ticket", "bind"], "kerberos": ["connect", "as-req", "as-rep", "ticket", "verify"]}


@pytest.mark.parametrize("method", STEPS)
def test_test_shows_the_way_of_each_method(check, forest, method):
    account, = forest.users(1)
    check.configure(forest.section(method), view=forest.view())
    told = sign_in(check, account.upn, account.password)
    assert (told["verdict"], told["method"], told["login"]) == ("success", method, ""), told
    assert "accepted" in told["text"] and told["dc"] in [controller.host for controller in forest.controllers]
    steps = [step["step"] for step in told["steps"]]
    assert [step for step in STEPS[method] if step in steps] == STEPS[method], told
    told = sign_in(check, account.upn, "wrong")
    assert told["verdict"] == "invalid_credentials" and "wrong" in told["text"] and told["detail"], told
    assert sum(forest.strikes(account)) == 1


@pytest.mark.parametrize("state, verdict, words", [
    ("disabled", "account_disabled", "disabled"), ("locked", "account_locked", "not looked at"), ("must_change", "password_must_change", "next logon"),
    ("hours", "logon_hours", "hours"),
])
def test_test_says_in_words_what_is_the_matter(check, forest, state, verdict, words):
    account, = forest.users(1, state)
    check.configure(forest.section() | {"servers": forest.first.host}, view=forest.view())
    told = sign_in(check, account.upn, account.password)
    assert told["verdict"] == verdict and words in told["text"], told


def test_test_tells_the_entry_that_a_name_means(check, forest):
    account, = forest.users(1)
    identity, path = forest.service_account()
    agent = check.configure(forest.section(identity=identity, identity_password_file=path), view=forest.view())
    told = sign_in(check, account.upn, account.password)
    assert (told["verdict"], told["login"]) == ("success", account.dn), told
    assert "resolve" in [step["step"] for step in told["steps"]], told
    output = agent.command("test", account.upn, stdin=account.password + "\n")
    assert account.dn in output and "success by simple" in output and "The directory accepted the password." in output


def test_test_says_that_nothing_was_sent(check, forest, network):
    check.configure(forest.section(connect_timeout="500ms") | {"servers": "dc1.corp.example.com"}, view=forest.view(dc1=network.servers[5]))
    told = sign_in(check, f"nobody@{DOMAIN}", "whatever")
    assert (told["verdict"], told["reason"], told["password_sent"]) == ("unavailable", "directory_unreachable", False), told
    assert "sent to no controller" in told["text"], told
