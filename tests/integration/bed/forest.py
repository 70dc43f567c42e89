"""A domain with several controllers as one thing: accounts that all of them have, what each of them counts, and what an agent
needs to work with it."""

import os

from .samba_dns import Dns
from .view import View

METHODS = ("simple", "gssapi", "kerberos")


class Forest:
    def __init__(self, make_folder, *controllers):
        self.make_folder, self.controllers = make_folder, controllers
        self.first, self.domain = controllers[0], controllers[0].domain
        self.dns = Dns(*controllers)
        self.dns.register(*controllers)
        self._keytab = self._service = None

    def replicate(self):
        """Returns once every controller has what the first one has."""
        for controller in self.controllers[1:]:
            controller.pull(self.first)

    def users(self, number, state="right"):
        """So many accounts, known to every controller."""
        made = [self.first.user(state) for _ in range(number)]
        self.replicate()
        return made

    def strikes(self, account):
        """What each controller counts of wrong passwords: nobody replicates that."""
        return [controller.bad_passwords(account) for controller in self.controllers]

    def view(self, **hosts):
        """A view in which the domain's DNS is the only one. hosts: addresses that names of the domain have before DNS."""
        return View(self.make_folder("view"), [controller.address for controller in self.controllers],
                    {f"{name}.{self.domain.name}": address for name, address in hosts.items()})

    @property
    def keytab(self):
        """The keytab of the agent's computer account."""
        if not self._keytab:
            self._keytab = self.first.keytab(os.path.join(self.make_folder("keytab"), "agent.keytab"))
            self.replicate()
        return self._keytab

    def service_account(self):
        """The agent's identity with a password: its UPN and the file."""
        if not self._service:
            account = self.first.user(name="svc-pta")
            self.replicate()
            path = os.path.join(self.make_folder("svc"), "password")
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), "w", encoding="utf-8") as out:
                out.write(account.password + "\n")
            self._service = account.upn, path
        return self._service

    def section(self, method="simple", servers=True, **more):
        """The [directory ...] section. servers: False lets the agent find them by DNS."""
        made = {"method": method, "ca_file": self.first.ca.path, "suffixes": self.domain.other_suffix, "netbios": self.domain.netbios}
        if servers:
            made["servers"] = " ".join(controller.host for controller in self.controllers)
        if method == "kerberos":
            made["keytab"] = self.keytab
        return {**made, **more}
