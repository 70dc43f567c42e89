"""OpenLDAP's slapd with many users: the bed for load, and a directory that is not Active Directory."""

import base64
import hashlib
import os
import signal

from .process import Process, free_port, run, wait_port

DOMAIN = "load.example.com"
BASE = "dc=load,dc=example,dc=com"
BIND_DN = f"uid=%u,ou=people,{BASE}"
USERS = 10_000
SLAPD_CONF = """include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {folder}/slapd.pid
loglevel 0
TLSCACertificateFile {ca}
TLSCertificateFile {cert}
TLSCertificateKeyFile {key}
TLSVerifyClient never
database mdb
suffix "{base}"
directory {folder}/db
maxsize 268435456
dbnosync
index objectClass,uid eq
"""


def password(number):
    return f"Pw-{number:05d}"


def upn(number):
    return f"user{number:05d}@{DOMAIN}"


def _entries(users):
    yield f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\ndc: load\no: load\n"
    yield f"dn: ou=people,{BASE}\nobjectClass: organizationalUnit\nou: people\n"
    for number in range(users):
        salt = os.urandom(8)
        ssha = base64.b64encode(hashlib.sha1(password(number).encode() + salt).digest() + salt).decode()
        name = f"user{number:05d}"
        yield (f"dn: uid={name},ou=people,{BASE}\nobjectClass: inetOrgPerson\nuid: {name}\ncn: {name}\nsn: {name}\n"
               f"userPassword: {{SSHA}}{ssha}\n")


class Slapd:
    def __init__(self, folder, ca, users=USERS, names=("127.0.0.1", "localhost"), days=(-1, 30)):
        self.folder, self.ca = folder, ca
        self.address = "127.0.0.1"
        self.ldap_port, self.ldaps_port = free_port(), free_port()
        self.starts = 0
        os.mkdir(f"{folder}/db", 0o700)
        cert, key = ca.server(os.path.basename(folder), names, days)
        with open(f"{folder}/slapd.conf", "w", encoding="ascii") as out:
            out.write(SLAPD_CONF.format(folder=folder, ca=ca.path, cert=cert, key=key, base=BASE))
        with open(f"{folder}/users.ldif", "w", encoding="ascii") as out:
            out.write("\n".join(_entries(users)))
        run(["slapadd", "-q", "-f", f"{folder}/slapd.conf", "-l", f"{folder}/users.ldif"])
        self.start()

    def start(self):
        self.starts += 1
        self.process = Process(f"slapd-{self.starts}", ["slapd", "-d", "0", "-f", f"{self.folder}/slapd.conf", "-h",
                               f"ldap://{self.address}:{self.ldap_port} ldaps://{self.address}:{self.ldaps_port}"], self.folder)
        for port in (self.ldap_port, self.ldaps_port):
            wait_port(self.address, port, self.process)

    def stop(self):
        self.process.kill()

    def freeze(self):
        """It hangs: the kernel accepts connections and nothing answers."""
        self.process.signal(signal.SIGSTOP)

    def thaw(self):
        self.process.signal(signal.SIGCONT)

    def close(self):
        self.process.kill()
