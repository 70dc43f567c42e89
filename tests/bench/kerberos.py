"""MIT's KDC with users, and who validates passwords against it. All verify the KDC with the key of a host principal."""

import socket

from bed.process import Process, free_port, run, wait_port
from bed.slapd import password
from contestants import Contestant, Saslauthd
from driver import drive

REALM = "LOAD.EXAMPLE.COM"
USERS = 200
KRB5_CONF = """[libdefaults]
	default_realm = {realm}
	dns_lookup_kdc = false
	dns_lookup_realm = false
	dns_canonicalize_hostname = false
	rdns = false
	udp_preference_limit = 1
[realms]
	{realm} = {{
		kdc = 127.0.0.1:{port}
	}}
[domain_realm]
	{host} = {realm}
[logging]
	kdc = FILE:{folder}/kdc.log
"""
KDC_CONF = """[kdcdefaults]
	kdc_listen = ""
	kdc_tcp_listen = 127.0.0.1:{port}
[realms]
	{realm} = {{
		database_module = bench
		key_stash_file = {folder}/stash
		acl_file = {folder}/acl
		max_life = 10h
		supported_enctypes = aes256-cts-hmac-sha1-96:normal
	}}
[dbmodules]
	bench = {{
		db_library = db2
		database_name = {folder}/principal
		disable_last_success = true
		disable_lockout = true
	}}
"""


class Kdc:
    """Neither successes nor failures are written to its database: it is not the KDC's disk that is measured."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        self.host = f"host/{socket.gethostname()}@{REALM}"
        self.krb5_conf, self.keytab = f"{folder}/krb5.conf", f"{folder}/host.keytab"
        names = {"folder": folder, "port": self.port, "realm": REALM, "host": socket.gethostname()}
        for path, text in ((self.krb5_conf, KRB5_CONF), (f"{folder}/kdc.conf", KDC_CONF)):
            with open(path, "w", encoding="ascii") as out:
                out.write(text.format(**names))
        self.env = {"KRB5_CONFIG": self.krb5_conf, "KRB5_KDC_PROFILE": f"{folder}/kdc.conf"}
        self._run("kdb5_util", "-r", REALM, "create", "-s", "-W", "-P", "master")
        # saslauthd asks for user00001, pta-agent for the enterprise name user00001@load.example.com (RFC 6806 5), which AD would know to be the same.
        users = "".join(f"addprinc -clearpolicy +requires_preauth -pw {password(number)} user{number:05d}{suffix}\n"
                        for number in range(USERS) for suffix in ("", f"\\@{REALM.lower()}"))
        self._run("kadmin.local", "-r", REALM, input=f"addprinc -clearpolicy -randkey {self.host}\nktadd -k {self.keytab} -norandkey {self.host}\n{users}")
        self.process = Process("krb5kdc", ["krb5kdc", "-n"], folder, env=self.env)
        wait_port("127.0.0.1", self.port, self.process)

    def _run(self, *argv, **options):
        run(argv, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **self.env}, **options)

    def close(self):
        self.process.kill()

    def pids(self):
        return {"krb5kdc": [self.process.pid]}


class KerberosValidator(Contestant):
    """Each password is validated on a thread of its own; 32 of them are the default."""

    def __init__(self):
        super().__init__("validator_kerberos", "pta-agent's validator, method kerberos")

    def run(self, in_flight, seconds, wrong=False):
        kdc = self.directory
        return drive("validator_bench", in_flight, seconds, self.watched(), wrong, "--method", "kerberos", "--realm", REALM, "--keytab", kdc.keytab,
                     "--kdc", f"127.0.0.1:{kdc.port}", "--user", f"user{{05n}}@{REALM.lower()}", numbers=f"0-{USERS - 1}", env=kdc.env)


class SaslauthdKerberos(Saslauthd):
    def __init__(self, processes):
        super().__init__(f"saslauthd_kerberos5_{processes}", f"saslauthd -a kerberos5, -n {processes}", "kerberos5", processes)

    def configure(self):
        return [f"krb5_keytab: {self.directory.keytab}", "krb5_verify_principal: host"]

    def environment(self):
        return self.directory.env

    def run(self, in_flight, seconds, wrong=False):
        return drive("saslauthd_load", in_flight, seconds, self.watched(), wrong, "--socket", self.socket, "--user", "user{05n}", numbers=f"0-{USERS - 1}")
