"""The bed itself: what the other tests build on is really so, seen by a plain LDAP client."""

import os
import re
import subprocess
import sys

import ldap
import pytest

from bed import slapd as slapd_bed
from bed.process import run, until
from bed.samba_ad import LOCKOUT_THRESHOLD, NETBIOS, OTHER_SUFFIX


def data(text):
    """AD's sub-code in a refusal's text."""
    return re.search(r"data ([0-9a-f]+)", text).group(1)


@pytest.mark.parametrize("state, code", [
    ("disabled", "533"), ("account_expired", "701"), ("password_expired", "532"), ("must_change", "773"), ("locked", "775"),
    ("hours", "530"), ("workstation", "531"), ("protected", "52f"),
])
def test_account_state_has_its_sub_code(ad, state, code):
    account = ad.user(state)
    assert data(ad.bind(account.upn, account.password)) == code


def test_right_password_binds_by_each_name_form(ad):
    account = ad.user()
    assert ad.bind(account.upn, account.password) == ""
    assert ad.bind(f"{NETBIOS}\\{account.name}", account.password) == ""


def test_umlauts_and_other_suffix_bind(ad):
    account = ad.user(name="jörg.größe", password="Paßwörd-Ünï-1", suffix=OTHER_SUFFIX)
    assert account.upn == f"jörg.größe@{OTHER_SUFFIX}"
    assert ad.bind(account.upn, account.password) == ""


def test_wrong_passwords_are_counted_and_lock(ad):
    account = ad.user("lockable")
    for count in range(1, LOCKOUT_THRESHOLD + 1):
        assert data(ad.bind(account.upn, "wrong")) == "52e"
        assert ad.bad_passwords(account) == count
    assert data(ad.bind(account.upn, account.password)) == "775"


def test_controller_stops_and_comes_back(ad):
    account = ad.user()
    ad.stop()
    try:
        with pytest.raises(ldap.SERVER_DOWN):
            ad.bind(account.upn, account.password)
    finally:
        ad.start()
    assert ad.bind(account.upn, account.password) == ""


def test_slapd_has_ten_thousand_users(slapd):
    for number in (0, slapd_bed.USERS - 1):
        name = slapd_bed.upn(number).partition("@")[0]
        output = run(["ldapwhoami", "-x", "-H", f"ldaps://{slapd.address}:{slapd.ldaps_port}", "-D", slapd_bed.BIND_DN.replace("%u", name), "-w",
                      slapd_bed.password(number)], env={"LDAPTLS_CACERT": slapd.ca.path, "PATH": os.environ["PATH"]})
        assert name in output


def test_bed_ends_with_the_process_that_made_it():
    script = ("import os, signal\n"
              "from bed.namespace import Namespace\n"
              "space = Namespace()\n"
              "print(space.link, space.init, flush=True)\n"
              "os.kill(os.getpid(), signal.SIGKILL)\n")
    done = subprocess.run([sys.executable, "-B", "-c", script], stdout=subprocess.PIPE, text=True, check=False, cwd=os.path.dirname(__file__), timeout=60)
    link, init = done.stdout.split()
    until(lambda: not os.path.exists(f"/proc/{init}") and link not in run(["ip", "-o", "link", "show"]), "the namespace's end")


def test_two_controllers_have_the_same_accounts_and_each_its_own_count(forest):
    account, = forest.users(1)
    first, second = forest.controllers
    assert second.bind(account.upn, account.password) == ""
    assert data(second.bind(account.upn, "wrong")) == "52e"
    assert forest.strikes(account) == [0, 1]
    second.freeze()
    try:
        assert first.bind(account.upn, account.password) == ""
    finally:
        second.thaw()


def test_dns_tells_both_controllers_and_the_other_forest(forest, other):
    ask = "import dns.resolver, sys\nfor name in sys.argv[1:]:\n print(*sorted(str(r.target) + str(r.port) for r in dns.resolver.resolve(name, 'SRV')))"
    told = run(forest.view().enter("/usr/bin/python3", "-B", "-c", ask, f"_ldap._tcp.dc._msdcs.{forest.domain.name}",
                                   f"_kerberos._tcp.dc._msdcs.{other.domain.name}"))
    assert told.splitlines() == ["dc1.corp.example.com.389 dc2.corp.example.com.389", "dc1.other.example.net.88"]


def test_ticket_opens_each_controller(forest, make_folder):
    """Kerberos and GSSAPI work as MIT's own tools see it, with the computer account's keytab."""
    cache = os.path.join(make_folder("cache"), "ccache")
    env = {"KRB5CCNAME": cache, "KRB5_CONFIG": "/dev/null", "LDAPTLS_CACERT": forest.first.ca.path, "PATH": os.environ["PATH"]}
    view = forest.view()
    run(view.enter("kinit", "-k", "-t", forest.keytab, "AGENT1$@CORP.EXAMPLE.COM"), env=env)
    for controller in forest.controllers:
        for how in (["-H", f"ldap://{controller.host}"], ["-H", f"ldaps://{controller.host}", "-O", "maxssf=0"]):
            found = run(view.enter("ldapsearch", "-Q", "-LLL", "-Y", "GSSAPI", "-N", *how, "-b", forest.domain.base, "sAMAccountName=AGENT1$", "cn"), env=env)
            assert "cn: AGENT1" in found
