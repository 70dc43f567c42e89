"""FreeRADIUS with rlm_ldap. radius_load asks it and not radclient, which uses more CPU for a request than the server does, waits for all
answers before it sends the next requests, and tells no latencies."""

import os
import secrets

from bed.process import BedError, Process, free_port, until
from bed.slapd import BASE
from contestants import Contestant
from driver import drive

RADIUSD_CONF = """prefix = /usr
name = radiusd
logdir = {folder}
run_dir = {folder}
pidfile = {folder}/radiusd.pid
libdir = /usr/lib/freeradius
max_request_time = 30
cleanup_delay = 0
max_requests = 65536
hostname_lookups = no
proxy_requests = no
log {{
	destination = files
	file = {folder}/radiusd.log
	auth = no
}}
security {{
	max_attributes = 200
	reject_delay = 0
	status_server = no
}}
client bench {{
	ipaddr = 127.0.0.1
	secret = {secret}
	limit {{
		max_connections = 0
	}}
}}
thread pool {{
	start_servers = {threads}
	max_servers = {threads}
	min_spare_servers = {threads}
	max_spare_servers = {threads}
	max_requests_per_server = 0
	max_queue_size = 65536
	auto_limit_acct = no
}}
modules {{
	ldap {{
		server = "ldaps://{address}:{port}"
		base_dn = "{base}"
		user_dn = "LDAP-UserDN"
		user {{
			base_dn = "{base}"
			filter = "(uid=%{{User-Name}})"
		}}
		options {{
			chase_referrals = no
			rebind = no
			res_timeout = 10
			net_timeout = 3
		}}
		tls {{
			ca_file = {ca}
			require_cert = "demand"
		}}
		pool {{
			start = {threads}
			min = {threads}
			max = {threads}
			spare = 0
			uses = 0
			lifetime = 0
			idle_timeout = 0
			retry_delay = 1
		}}
	}}
}}
server bench {{
	listen {{
		type = auth
		ipaddr = 127.0.0.1
		port = {listen}
		recv_buff = 1048576
	}}
	authorize {{
		update control {{
			&Auth-Type := LDAP
			&LDAP-UserDN := "uid=%{{User-Name}},{base}"
		}}
	}}
	authenticate {{
		Auth-Type LDAP {{
			ldap
		}}
	}}
}}
"""
# One connection a thread, and as many as pta-agent and saslauthd have.
THREADS = 32


class FreeRadius(Contestant):
    def __init__(self):
        super().__init__("freeradius", f"FreeRADIUS, rlm_ldap, {THREADS} threads")

    def launch(self):
        directory = self.directory
        self.listen, self.secret = free_port(), secrets.token_hex(8)
        with open(os.path.join(self.folder, "dictionary"), "w", encoding="ascii") as out:
            out.write("$INCLUDE /usr/share/freeradius/dictionary\n")
        with open(os.open(os.path.join(self.folder, "radiusd.conf"), os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as out:
            out.write(RADIUSD_CONF.format(folder=self.folder, secret=self.secret, threads=THREADS, address=directory.address, port=directory.port,
                                          base=f"ou=people,{BASE}", ca=directory.ca, listen=self.listen))
        self.server = Process("freeradius", ["freeradius", "-f", "-d", self.folder, "-n", "radiusd"], self.folder)
        # Its log is a file; this line of it comes when its connections to the directory are open.
        until(self._ready, "freeradius to be ready")
        self.run(2 * THREADS, 1.0)

    def _ready(self):
        if not self.server.alive():
            self.server.wait()
            raise BedError(f"freeradius ended:\n{self._log()}")
        return "Ready to process requests" in self._log()

    def _log(self):
        try:
            with open(os.path.join(self.folder, "radiusd.log"), encoding="utf-8") as log:
                return log.read()
        except FileNotFoundError:
            return ""

    def close(self):
        self.server.kill()

    def pids(self):
        return {"freeradius": [self.server.pid]}

    def run(self, in_flight, seconds, wrong=False):
        return drive("radius_load", in_flight, seconds, self.watched(), wrong, "--port", self.listen, "--secret", self.secret, "--user", "user{05n}")
