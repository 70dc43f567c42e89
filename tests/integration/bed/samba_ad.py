"""A real Active Directory: Samba domain controllers in a network of their own, with accounts in every state."""

import os
import secrets
import shutil
import signal
import subprocess
import time

import ldap
import ldb
import samba.dckeytab  # what gives Net its export_keytab()
from samba import drs_utils
from samba.auth import system_session
from samba.credentials import DONT_USE_KERBEROS, Credentials
from samba.dcerpc import drsuapi
from samba.net import Net
from samba.param import LoadParm
from samba.samdb import SamDB

from .namespace import PREFIX, Namespace
from .process import DIES_WITH_US, PATIENCE, BedError, Process, clean_environment, wait_port
from .view import View


class Domain:
    """A forest of one domain."""

    def __init__(self, name, netbios, other_suffix):
        self.name, self.netbios, self.other_suffix = name, netbios, other_suffix
        self.base = ",".join(f"DC={label}" for label in name.split("."))
        self.realm = name.upper()
        self.lockout_policy = f"CN=lockout,CN=Password Settings Container,CN=System,{self.base}"


CORP = Domain("corp.example.com", "CORP", "example.org")
OTHER = Domain("other.example.net", "OTHER", "example.edu")
DOMAIN, NETBIOS, BASE, OTHER_SUFFIX = CORP.name, CORP.netbios, CORP.base, CORP.other_suffix
LOCKOUT_THRESHOLD = 3
SITE = "Default-First-Site-Name"
SMB_CONF = """[global]
	netbios name = {name}
	realm = {realm}
	workgroup = {netbios}
	server role = active directory domain controller
	server services = rpc, ldap, cldap, kdc, drepl, kcc, dns
	kccsrv:samba_kcc = no
{more}	interfaces = {address}/{prefix}
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
	prefork children:kdc = 4
	prefork children:ldap = 4
	ldb:nosync = yes
	prefork children:dns = 1
	prefork children:rpc = 1
	load printers = no
[sysvol]
	path = {folder}/state/sysvol
[netlogon]
	path = {folder}/state/sysvol/{domain}/scripts
"""
# 100 ns units since 1601
FILETIME_1970 = 116444736000000000
DAY = 864000000000
# Samba's own control for passwords that are imported
BYPASS_LAST_SET = "1.3.6.1.4.1.7165.4.3.20"
# userAccountControl (MS-ADTS 2.2.16)
NORMAL, DISABLED, PASSWORD_NOT_REQUIRED, WORKSTATION, SMARTCARD, NO_PREAUTH = 0x200, 0x2, 0x20, 0x1000, 0x40000, 0x400000


def _filetime():
    return int(time.time() * 10_000_000) + FILETIME_1970


def _quoted(password):
    return f'"{password}"'.encode("utf-16-le")


class Account:
    def __init__(self, name, upn, password, dn, guid):
        self.name, self.upn, self.password, self.dn, self.guid = name, upn, password, dn, guid


class SambaAD:
    """A domain controller: the domain's first, or with `first` a further one that joins it. It answers at `address`; its
    certificate, of `ca`, names that address and `host`. Accounts are made, changed and read in this controller's own database."""

    def __init__(self, folder, ca, domain=CORP, name="dc1", namespace=None, address=None, first=None, more=None):
        self.folder, self.ca, self.domain, self.name, self.first = folder, ca, domain, name, first
        self.host = f"{name}.{domain.name}"
        self.own_namespace = namespace is None
        self.namespace = namespace or Namespace()
        self.address = address or self.namespace.inner
        self.administrator = first.administrator if first else f"Aa1-{secrets.token_hex(12)}"
        self.process = self.room = None
        self.starts = 0
        self._machine = None
        try:
            for sub in ("tls", "private", "state", "lock", "cache", "run", "view"):
                os.mkdir(os.path.join(folder, sub), 0o700)
            self.view = View(os.path.join(folder, "view"), [self.address], {controller.host: controller.address for controller in (self, first) if controller})
            self.room = self.namespace.room(self.view)
            self._provision(more)
            self.lp = LoadParm(filename_for_non_global_lp=self.conf)
            self.samdb = SamDB(url=f"{folder}/private/sam.ldb", session_info=system_session(self.lp), lp=self.lp)
            self.raw = ldb.Ldb(f"{folder}/private/sam.ldb.d/{domain.base.upper()}.ldb")
            # A controller that joins writes to the first one, which everybody has from there.
            (first or self)._service_names(self)
            if not first:
                self._policies()
            self.start()
            if first:
                self.pull(first)
        except BaseException:
            self.close()
            raise

    def _provision(self, more):
        self.conf = os.path.join(self.folder, "smb.conf")
        with open(self.conf, "w", encoding="ascii") as out:
            out.write(SMB_CONF.format(folder=self.folder, address=self.address, prefix=PREFIX, realm=self.domain.realm, domain=self.domain.name,
                                      netbios=self.domain.netbios, name=self.name.upper(),
                                      more="".join(f"\t{key} = {value}\n" for key, value in (more or {}).items())))
        self.certificate([self.address, self.host])
        how = ["join", self.conf, self.first.address] if self.first else ["provision", self.conf, self.address]
        done = subprocess.run(DIES_WITH_US + self.room.enter("/usr/bin/python3", "-B", "-m", "bed.samba_provision", *how),
                              input=f"{self.administrator}\n", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=3 * PATIENCE,
                              env=clean_environment(PYTHONPATH=os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), check=False)
        if done.returncode != 0:
            raise BedError(f"samba: {how[0]} failed:\n{done.stdout[-4000:]}")

    def certificate(self, names=None, ca=None, days=(-1, 30)):
        """Gives the DC another certificate, from its next start on; without names, for its own."""
        ca = ca or self.ca
        cert, key = ca.server(f"dc-{secrets.token_hex(4)}", names or [self.address, self.host], days)
        for source, name in ((cert, "dc.pem"), (key, "dc.key"), (ca.path, "ca.pem")):
            shutil.copyfile(source, os.path.join(self.folder, "tls", name))
            os.chmod(os.path.join(self.folder, "tls", name), 0o600)

    # -- the server --

    def start(self):
        self.starts += 1
        self.process = Process(f"samba-{self.starts}", self.room.enter("samba", "-F", "--no-process-group", "-M", "prefork", "-s", self.conf,
                               "--debug-stdout"), self.folder, env={"KRB5_CONFIG": f"{self.folder}/private/krb5.conf"})
        for port in (636, 389, 88, 53, 135):
            wait_port(self.address, port, self.process)

    def stop(self):
        """The DC dies: connections are reset, new ones refused."""
        self.room.kill_all()
        self.process.kill()

    def shut_down(self):
        """The DC is shut down as an administrator does it."""
        self.room.signal(signal.SIGTERM)
        self.process.wait()
        self.room.kill_all()

    def freeze(self):
        """The DC hangs: the kernel accepts connections and nothing answers."""
        self.room.signal(signal.SIGSTOP)

    def thaw(self):
        self.room.signal(signal.SIGCONT)
        # nsenter stops with its child, and is outside.
        self.process.signal(signal.SIGCONT)

    def close(self):
        if self.own_namespace:
            self.namespace.close()
        elif self.room:
            self.room.close()
        if self.process:
            self.process.kill()

    # -- what every controller and domain needs --

    def _policies(self):
        self._modify(f"CN=Partitions,CN=Configuration,{self.domain.base}", uPNSuffixes=[self.domain.other_suffix])
        # Samba counts wrong passwords only where a policy locks for them: here, in the end, for everybody.
        self._modify(self.domain.base, lockoutThreshold="999", lockoutDuration=str(-DAY), lockOutObservationWindow=str(-DAY), minPwdAge="0")
        self.samdb.add(self._password_settings(self.domain.lockout_policy))

    @staticmethod
    def _password_settings(dn, precedence="10"):
        return {"dn": dn, "objectClass": "msDS-PasswordSettings", "msDS-PasswordSettingsPrecedence": precedence,
                "msDS-LockoutThreshold": str(LOCKOUT_THRESHOLD), "msDS-LockoutDuration": str(-DAY), "msDS-LockoutObservationWindow": str(-DAY),
                "msDS-MaximumPasswordAge": str(-42 * DAY), "msDS-MinimumPasswordAge": "0", "msDS-MinimumPasswordLength": "1",
                "msDS-PasswordHistoryLength": "0", "msDS-PasswordComplexityEnabled": "FALSE", "msDS-PasswordReversibleEncryptionEnabled": "FALSE"}

    def _service_names(self, controller):
        """What samba_spnupdate adds: without these names nobody gets a ticket for the controller's LDAP."""
        with open("/usr/share/samba/setup/spn_update_list", encoding="ascii") as lines:
            names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        values = {"HOSTNAME": controller.host, "WORKGROUP": self.domain.netbios, "DNSFOREST": self.domain.name, "DNSDOMAIN": self.domain.name,
                  "NETBIOSNAME": controller.name.upper(), "NTDSGUID": str(controller.samdb.get_ntds_GUID())}
        for key, value in values.items():
            names = [name.replace(f"${{{key}}}", value) for name in names]
        dn = f"CN={controller.name.upper()},OU=Domain Controllers,{self.domain.base}"
        there = {str(name).lower() for name in self.samdb.search(dn, ldb.SCOPE_BASE, attrs=["servicePrincipalName"])[0].get("servicePrincipalName", [])}
        self._modify(dn, ldb.FLAG_MOD_ADD, servicePrincipalName=[name for name in names if name.lower() not in there])

    def _modify(self, dn, flag=ldb.FLAG_MOD_REPLACE, **values):
        message = ldb.Message(ldb.Dn(self.samdb, dn))
        for name, value in values.items():
            message[name] = ldb.MessageElement(value, flag, name)
        self.samdb.modify(message)

    # -- accounts --

    def user(self, state="right", name=None, suffix=None, password=None, **attributes):
        """A fresh account in this state. See STATES. An attribute that is None is left out."""
        name = name or f"u{secrets.token_hex(5)}"
        password = f"Aa1-{secrets.token_hex(8)}" if password is None else password
        dn = f"CN={name},CN=Users,{self.domain.base}"
        upn = f"{name}@{suffix or self.domain.name}"
        extra, later = STATES[state]
        entry = {"dn": dn, "objectClass": "user", "sAMAccountName": name, "userPrincipalName": upn, "unicodePwd": _quoted(password),
                 "userAccountControl": str(NORMAL), **{key: value() if callable(value) else value for key, value in extra.items()}, **attributes}
        self.samdb.add({key: value for key, value in entry.items() if value is not None})
        account = Account(name, upn, password, dn, self._guid(dn))
        if later:
            later(self, account)
        return account

    def _guid(self, dn):
        return bytes(self.samdb.search(dn, ldb.SCOPE_BASE, attrs=["objectGUID"])[0]["objectGUID"][0])

    def _count_failures(self, account):
        self._modify(self.domain.lockout_policy, ldb.FLAG_MOD_ADD, **{"msDS-PSOAppliesTo": account.dn})

    def _blank_password(self, account):
        """Under a policy that wants no length of it, and locks nobody."""
        policy = f"CN=blank,CN=Password Settings Container,CN=System,{self.domain.base}"
        self.samdb.add({**self._password_settings(policy, "5"), "msDS-MinimumPasswordLength": "0", "msDS-LockoutThreshold": "999", "msDS-PSOAppliesTo": account.dn})
        account.password = ""
        self._modify(account.dn, unicodePwd=_quoted(account.password))

    def _expire_password(self, account):
        # The directory sets pwdLastSet itself, but for passwords that come from elsewhere with their age.
        message = ldb.Message(ldb.Dn(self.samdb, account.dn))
        message["unicodePwd"] = ldb.MessageElement(_quoted(account.password), ldb.FLAG_MOD_REPLACE, "unicodePwd")
        message["pwdLastSet"] = ldb.MessageElement(str(_filetime() - 100 * DAY), ldb.FLAG_MOD_REPLACE, "pwdLastSet")
        self.samdb.modify(message, controls=[f"local_oid:{BYPASS_LAST_SET}:0"])

    def _lock(self, account):
        self._count_failures(account)
        for _ in range(LOCKOUT_THRESHOLD):
            self.bind(account.upn, "not the password")

    def _protect(self, account):
        self._modify(f"CN=Protected Users,CN=Users,{self.domain.base}", ldb.FLAG_MOD_ADD, member=account.dn)

    def bad_passwords(self, account):
        """The DC's own count of wrong passwords for the account."""
        # Below the DSDB modules, which take a tenth of a second for it; there, only ASCII names are found by DN.
        found = self.raw.search(self.domain.base, ldb.SCOPE_SUBTREE, f"(objectGUID={ldb.binary_encode(account.guid)})", attrs=["badPwdCount"])
        return int(str(found[0].get("badPwdCount", "0")))

    def set_password(self, account, password):
        self._modify(account.dn, unicodePwd=_quoted(password))
        account.password = password

    def delete(self, account):
        self.samdb.delete(account.dn)

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

    # -- what the agent needs --

    def machine(self):
        """The agent's computer account, AGENT1$, with the service name host/agent1.DOMAIN."""
        if not self._machine:
            host = f"agent1.{self.domain.name}"
            dn = f"CN=AGENT1,CN=Computers,{self.domain.base}"
            password = f"Aa1-{secrets.token_hex(24)}"
            self.samdb.add({"dn": dn, "objectClass": "computer", "sAMAccountName": "AGENT1$", "dNSHostName": host, "unicodePwd": _quoted(password),
                            "userAccountControl": str(WORKSTATION), "servicePrincipalName": [f"host/{host}", "host/AGENT1"],
                            "msDS-SupportedEncryptionTypes": "24"})
            self._machine = Account("AGENT1$", f"AGENT1$@{self.domain.name}", password, dn, self._guid(dn))
        return self._machine

    def keytab(self, path, *principals):
        """A keytab with the keys of these principals; without any, of the agent's computer account by both its names."""
        if not principals:
            self.machine()
            principals = ("AGENT1$", f"host/agent1.{self.domain.name}")
        for principal in principals:
            Net(Credentials(), self.lp).export_keytab(keytab=path, principal=principal)
        os.chmod(path, 0o600)
        return path

    # -- more than one controller --

    def pull(self, source, *partitions):
        """Returns once this controller has what `source` has."""
        credentials = Credentials()
        credentials.guess(self.lp)
        credentials.set_username("Administrator")
        credentials.set_domain(self.domain.netbios)
        credentials.set_password(self.administrator)
        # Kerberos would want a krb5.conf in this process's environment.
        credentials.set_kerberos_state(DONT_USE_KERBEROS)
        rpc, handle, _ = drs_utils.drsuapi_connect(self.address, self.lp, credentials)
        for partition in partitions or (self.domain.base,):
            for left in (1, 0):
                try:
                    drs_utils.sendDsReplicaSync(rpc, handle, source.samdb.get_ntds_GUID(), partition, drsuapi.DRSUAPI_DRS_WRIT_REP)
                    break
                except drs_utils.drsException as error:
                    # Its connection from before the source's last restart: it makes a new one next time.
                    if not left or "NETNAME_DELETED" not in str(error):
                        raise


# What makes an account of each state: attributes at its creation, and what is done to it afterwards.
STATES = {
    "right": ({}, None),
    "disabled": ({"userAccountControl": str(NORMAL | DISABLED)}, None),
    "account_expired": ({"accountExpires": lambda: str(_filetime() - DAY)}, None),
    "password_expired": ({}, SambaAD._expire_password),
    "must_change": ({"pwdLastSet": "0"}, None),
    "locked": ({}, SambaAD._lock),
    "lockable": ({}, SambaAD._count_failures),
    "hours": ({"logonHours": bytes(21)}, None),
    "workstation": ({"userWorkstations": "ELSEWHERE"}, None),
    "protected": ({}, SambaAD._protect),
    "smartcard": ({"userAccountControl": str(NORMAL | SMARTCARD)}, None),
    "aes_only": ({"msDS-SupportedEncryptionTypes": "24"}, None),
    "no_preauth": ({"userAccountControl": str(NORMAL | NO_PREAUTH)}, None),
    "no_upn": ({"userPrincipalName": None}, None),
    "not_required": ({"userAccountControl": str(NORMAL | PASSWORD_NOT_REQUIRED)}, None),
    "blank": ({"userAccountControl": str(NORMAL | PASSWORD_NOT_REQUIRED)}, SambaAD._blank_password),
}
