"""The DNS of a Samba domain: records of the domain's own zones, which its controllers serve, and sites (MS-ADTS 6.1.1.2.2)."""

import contextlib

import ldb
from samba.dcerpc import dnsp
from samba.ndr import ndr_pack, ndr_unpack
from samba.provision.sambadns import ARecord, CNAMERecord, SRVRecord

from .samba_ad import SITE

TTL = 60


class Dns:
    """Writes to the first controller; the others have it too when a change returns, but those that do not run."""

    def __init__(self, first, *others):
        self.first, self.others = first, others
        self.domain, self.samdb = first.domain, first.samdb
        self.partitions = (f"DC=DomainDnsZones,{self.domain.base}", f"DC=ForestDnsZones,{self.domain.base}")

    @contextlib.contextmanager
    def changes(self):
        """Makes one change of several."""
        self.samdb.transaction_start()
        try:
            yield self
        except BaseException:
            self.samdb.transaction_cancel()
            raise
        self.samdb.transaction_commit()
        self._replicate(*self.partitions)

    def _replicate(self, *partitions):
        for controller in self.others:
            if controller.process.alive():
                controller.pull(self.first, *partitions)

    def _node(self, name):
        """Where the name below the domain lies: `_msdcs` is a zone of its own."""
        zone, partition = self.domain.name, self.partitions[0]
        if name.endswith("._msdcs"):
            name, zone, partition = name.removesuffix("._msdcs"), f"_msdcs.{zone}", self.partitions[1]
        return ldb.Dn(self.samdb, f"DC={name},DC={zone},CN=MicrosoftDNS,{partition}")

    def _set(self, name, records, kept=()):
        dn, values = self._node(name), [*kept, *(ndr_pack(record) for record in records)]
        there = self.samdb.search(dn.parent(), ldb.SCOPE_ONELEVEL, f"(name={dn.get_rdn_value()})", attrs=["dnsRecord"])
        if not values:
            for entry in there:
                self.samdb.delete(entry.dn)
        elif there:
            message = ldb.Message(there[0].dn)
            message["dnsRecord"] = ldb.MessageElement(values, ldb.FLAG_MOD_REPLACE, "dnsRecord")
            self.samdb.modify(message)
        else:
            self.samdb.add({"dn": dn, "objectClass": "dnsNode", "dnsRecord": values})

    def host(self, name, *addresses, ttl=TTL):
        """Address records; without any the name is gone."""
        self._set(name, [ARecord(address, ttl=ttl) for address in addresses])

    def srv(self, name, *targets, port=389, ttl=TTL):
        """SRV records of the name below the domain (`_ldap._tcp.dc._msdcs`); without targets the name is gone."""
        self._set(name, [SRVRecord(target, port, ttl=ttl) for target in targets])

    def locate(self, *targets, site=None, ttl=TTL):
        """Where clients find the domain's controllers, or those of a site: at these host names and no others."""
        place = f".{site}._sites" if site else ""
        self.srv(f"_ldap._tcp{place}.dc._msdcs", *targets, ttl=ttl)
        self.srv(f"_kerberos._tcp{place}.dc._msdcs", *targets, port=88, ttl=ttl)

    def register(self, *controllers):
        """What samba_dnsupdate does on each controller: its names, and the domain's records of all of them."""
        targets = [controller.host for controller in controllers]
        with self.changes():
            for controller in controllers:
                self.host(controller.name, controller.address)
                self._set(f"{controller.samdb.get_ntds_GUID()}._msdcs", [CNAMERecord(controller.host, ttl=TTL)])
            self._domain_itself([controller.address for controller in controllers])
            for site in (None, SITE):
                self.locate(*targets, site=site)
                place = f".{site}._sites" if site else ""
                self.srv(f"_ldap._tcp{place}", *targets)
                self.srv(f"_kerberos._tcp{place}", *targets, port=88)
                self.srv(f"_ldap._tcp{place}.gc._msdcs", *targets, port=3268)

    def _domain_itself(self, addresses):
        """The zone's own name keeps its other records (SOA, NS)."""
        found = self.samdb.search(self._node("@"), ldb.SCOPE_BASE, attrs=["dnsRecord"])[0]["dnsRecord"]
        kept = [value for value in found if ndr_unpack(dnsp.DnssrvRpcRecord, bytes(value)).wType != dnsp.DNS_TYPE_A]
        self._set("@", [ARecord(address, ttl=TTL) for address in addresses], kept)

    def _site(self, name, networks):
        sites = f"CN=Sites,CN=Configuration,{self.domain.base}"
        return f"CN={name},{sites}", [f"CN={network},CN=Subnets,{sites}" for network in networks]

    def site(self, name, *networks):
        """A site to which hosts of these networks count themselves."""
        dn, subnets = self._site(name, networks)
        self.samdb.add({"dn": dn, "objectClass": "site"})
        for subnet in subnets:
            self.samdb.add({"dn": subnet, "objectClass": "subnet", "siteObject": dn})
        self._replicate(f"CN=Configuration,{self.domain.base}")

    def remove_site(self, name, *networks):
        dn, subnets = self._site(name, networks)
        for subnet in (*subnets, dn):
            self.samdb.delete(subnet)
        self._replicate(f"CN=Configuration,{self.domain.base}")
