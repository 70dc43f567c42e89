"""A real Active Directory domain controller: Samba, in a namespace of its own, with accounts in every state."""

import os
import secrets
import shutil
import signal
import subprocess
import time

import ldap
import ldb
from samba.auth import system_session
from samba.param import LoadParm
from samba.samdb import SamDB

from .namespace import Namespace
from .process import DIES_WITH_US, PATIENCE, BedError, Process, clean_environment, wait_port

DOMAIN = "corp.example.com"
NETBIOS = "CORP"
BASE = "DC=corp,DC=example,DC=com"
OTHER_SUFFIX = "example.org"
LOCKOUT_THRESHOLD = 3
LOCKOUT_POLICY = f"CN=lockout,CN=Password Settings Container,CN=System,{BASE}"
SMB_CONF = """[global]
	netbios name = DC1
	realm = {realm}
	workgroup = {netbios}
	server role = active directory domain controller
	server services = ldap, cldap, kdc
	interfaces = lo {address}/29
	bind interfaces only = yes
	private dir = {folder}/private
	state directory = {folder}/state
	lock directory = {folder}/lock
	cache directory = {folder}/cache
	pid directory = {folder}/run
	ncalrpc dir = {folder}/run/ncalrpc
	winbindd socket directory = {folder}/run/winbindd
	ntp signd socket directory = {folder}/run/ntp_signd
	binddns dir = {folder}/bind-dns
	log file = {folder}/samba.%m.log
	log level = 1 auth_audit:3
	tls enabled = yes
	tls keyfile = {folder}/tls/dc.key
	tls certfile = {folder}/tls/dc.pem
	tls cafile = {folder}/tls/ca.pem
	ldap server require strong auth = allow_sasl_over_tls
	prefork children = 2
	load printers = no
[sysvol]
	path = {folder}/state/sysvol
[netlogon]
	path = {folder}/state/sysvol/{domain}/scripts
"""
# 100 ns units since 1601
FILETIME_1970 = 116444736000000000
DAY = 864000000000


def _filetime():
    return int(time.time() * 10_000_000) + FILETIME_1970


def _quoted(password):
    return f'"{password}"'.encode("utf-16-le")


class Account:
    def __init__(self, name, upn, password, dn):
        self.name, self.upn, self.password, self.dn = name, upn, password, dn


class SambaAD:
    """The DC answers LDAP and LDAPS at `address`; its certificate, of `ca`, names that address and `host`."""

    host = f"dc1.{DOMAIN}"

    def __init__(self, folder, ca):
        self.folder, self.ca = folder, ca
        self.namespace = Namespace()
        self.address = self.namespace.inner
        self.process = None
        self.starts = 0
        try:
            self._provision()
            self.start()
            self.samdb = SamDB(url=f"{folder}/private/sam.ldb", session_info=system_session(self.lp), lp=self.lp)
            self._policies()
        except BaseException:
            self.close()
            raise

    def _provision(self):
        for name in ("tls", "private", "state", "lock", "cache", "run"):
            os.mkdir(os.path.join(self.folder, name), 0o700)
        self.conf = os.path.join(self.folder, "smb.conf")
        with open(self.conf, "w", encoding="ascii") as out:
            out.write(SMB_CONF.format(folder=self.folder, address=self.address, realm=DOMAIN.upper(), domain=DOMAIN, netbios=NETBIOS))
        self.certificate([self.address, self.host])
        done = subprocess.run(DIES_WITH_US + ["/usr/bin/python3", "-B", "-m", "bed.samba_provision", self.conf, self.address],
                              input=f"Aa1-{secrets.token_hex(12)}\n", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=3 * PATIENCE,
                              env=clean_environment(PYTHONPATH=os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
        if done.returncode != 0:
            raise BedError(f"samba: provisioning failed:\n{done.stdout[-4000:]}")
        self.lp = LoadParm()
        self.lp.load(self.conf)

    def certificate(self, names, ca=None, days=(-1, 30)):
        """Gives the DC another certificate, from its next start on."""
        ca = ca or self.ca
        cert, key = ca.server(f"dc-{secrets.token_hex(4)}", names, days)
        for source, name in ((cert, "dc.pem"), (key, "dc.key"), (ca.path, "ca.pem")):
            shutil.copyfile(source, os.path.join(self.folder, "tls", name))
            os.chmod(os.path.join(self.folder, "tls", name), 0o600)

    # -- the server --

    def start(self):
        self.starts += 1
        self.process = Process(f"samba-{self.starts}", self.namespace.enter("samba", "-F", "--no-process-group", "-M", "prefork", "-s", self.conf,
                               "--debug-stdout"), self.folder, env={"KRB5_CONFIG": f"{self.folder}/private/krb5.conf"})
        for port in (636, 389):
            wait_port(self.address, port, self.process)

    def stop(self):
        """The DC dies: connections are reset, new ones refused."""
        self.namespace.kill_all()
        self.process.kill()

    def freeze(self):
        """The DC hangs: the kernel accepts connections and nothing answers."""
        self.namespace.signal(signal.SIGSTOP)

    def thaw(self):
        self.namespace.signal(signal.SIGCONT)
        # nsenter stops with its child, and is outside.
        self.process.signal(signal.SIGCONT)

    def close(self):
        self.namespace.close()
        if self.process:
            self.process.kill()

    # -- accounts --

    def _policies(self):
        self._modify(f"CN=Partitions,CN=Configuration,{BASE}", uPNSuffixes=[OTHER_SUFFIX])
        self.samdb.set_minPwdAge("0")
        # Samba counts wrong passwords only where a policy locks for them.
        self.samdb.add({
            "dn": LOCKOUT_POLICY, "objectClass": "msDS-PasswordSettings", "msDS-PasswordSettingsPrecedence": "10",
            "msDS-LockoutThreshold": str(LOCKOUT_THRESHOLD), "msDS-LockoutDuration": str(-DAY), "msDS-LockoutObservationWindow": str(-DAY),
            "msDS-MaximumPasswordAge": str(-42 * DAY), "msDS-MinimumPasswordAge": "0", "msDS-MinimumPasswordLength": "1",
            "msDS-PasswordHistoryLength": "0", "msDS-PasswordComplexityEnabled": "FALSE", "msDS-PasswordReversibleEncryptionEnabled": "FALSE"})

    def _modify(self, dn, flag=ldb.FLAG_MOD_REPLACE, database=None, **values):
        database = database or self.samdb
        message = ldb.Message(ldb.Dn(database, dn))
        for name, value in values.items():
            message[name] = ldb.MessageElement(value, flag, name)
        database.modify(message)

    def user(self, state="right", name=None, suffix=DOMAIN, password=None):
        """A fresh account in this state. See STATES."""
        name = name or f"u{secrets.token_hex(5)}"
        password = password or f"Aa1-{secrets.token_hex(8)}"
        dn = f"CN={name},CN=Users,{BASE}"
        upn = f"{name}@{suffix}"
        extra, later = STATES[state]
        self.samdb.add({"dn": dn, "objectClass": "user", "sAMAccountName": name, "userPrincipalName": upn, "unicodePwd": _quoted(password),
                        "userAccountControl": "512", **{key: value() if callable(value) else value for key, value in extra.items()}})
        account = Account(name, upn, password, dn)
        if later:
            later(self, account)
        return account

    def _count_failures(self, account):
        self._modify(LOCKOUT_POLICY, ldb.FLAG_MOD_ADD, **{"msDS-PSOAppliesTo": account.dn})

    def _expire_password(self, account):
        # Only below the DSDB modules can a password be made old.
        partition = ldb.Ldb(f"{self.folder}/private/sam.ldb.d/{BASE.upper()}.ldb")
        self._modify(account.dn, database=partition, pwdLastSet=str(_filetime() - 100 * DAY))

    def _lock(self, account):
        self._count_failures(account)
        for _ in range(LOCKOUT_THRESHOLD):
            self.bind(account.upn, "not the password")

    def _protect(self, account):
        self._modify(f"CN=Protected Users,CN=Users,{BASE}", ldb.FLAG_MOD_ADD, member=account.dn)

    def bad_passwords(self, account):
        """The DC's own count of wrong passwords for the account."""
        found = self.samdb.search(account.dn, ldb.SCOPE_BASE, attrs=["badPwdCount"])
        return int(str(found[0].get("badPwdCount", "0")))

    def set_password(self, account, password):
        self._modify(account.dn, unicodePwd=_quoted(password))
        account.password = password

    def bind(self, name, password, limit=PATIENCE):
        """A simple bind over LDAPS as any client does it: "" or the diagnostic text of the refusal."""
        connection = ldap.initialize(f"ldaps://{self.address}")
        connection.set_option(ldap.OPT_X_TLS_CACERTFILE, self.ca.path)
        connection.set_option(ldap.OPT_X_TLS_REQUIRE_CERT, ldap.OPT_X_TLS_DEMAND)
        connection.set_option(ldap.OPT_NETWORK_TIMEOUT, limit)
        connection.set_option(ldap.OPT_TIMEOUT, limit)
        connection.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
        try:
            connection.simple_bind_s(name, password)
            return ""
        except (ldap.INVALID_CREDENTIALS, ldap.UNWILLING_TO_PERFORM) as error:
            return error.args[0].get("info", error.args[0]["desc"])
        finally:
            connection.unbind_s()


# What makes an account of each state: attributes at its creation, and what is done to it afterwards.
STATES = {
    "right": ({}, None),
    "disabled": ({"userAccountControl": "514"}, None),
    "account_expired": ({"accountExpires": lambda: str(_filetime() - DAY)}, None),
    "password_expired": ({}, SambaAD._expire_password),
    "must_change": ({"pwdLastSet": "0"}, None),
    "locked": ({}, SambaAD._lock),
    "lockable": ({}, SambaAD._count_failures),
    "hours": ({"logonHours": bytes(21)}, None),
    "workstation": ({"userWorkstations": "ELSEWHERE"}, None),
    "protected": ({}, SambaAD._protect),
}
