"""Provisions the domain that an smb.conf describes, or joins it; a process of its own, since Samba's libraries keep global
state.

Usage: python3 -m bed.samba_provision provision SMB.CONF ADDRESS
       python3 -m bed.samba_provision join SMB.CONF ADDRESS-OF-THE-FIRST-CONTROLLER
The administrator's password comes on stdin.
"""

import logging
import sys

from samba.auth import system_session
from samba.credentials import DONT_USE_KERBEROS, Credentials
from samba.join import join_DC
from samba.param import LoadParm
from samba.provision import FILL_FULL, provision


def main(how, conf, address):
    password = sys.stdin.readline().rstrip("\n")
    lp = LoadParm()
    lp.load(conf)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logger = logging.getLogger("provision")
    if how == "provision":
        # DOMAIN FUNCTION LEVEL 2008 R2 (4), as samba-tool chooses.
        provision(logger, system_session(), smbconf=conf, samdb_fill=FILL_FULL, realm=lp.get("realm"),
                  domain=lp.get("workgroup"), hostname=lp.get("netbios name").lower(), hostip=address, adminpass=password,
                  serverrole="active directory domain controller", dom_for_fun_level=4, dns_backend="SAMBA_INTERNAL", skip_sysvolacl=True,
                  batch_mode=True)
        return
    credentials = Credentials()
    credentials.guess(lp)
    credentials.set_username("Administrator")
    credentials.set_domain(lp.get("workgroup"))
    credentials.set_password(password)
    credentials.set_kerberos_state(DONT_USE_KERBEROS)
    join_DC(logger=logger, server=address, creds=credentials, lp=lp, netbios_name=lp.get("netbios name"), domain=lp.get("realm").lower(),
            dns_backend="SAMBA_INTERNAL")


if __name__ == "__main__":
    main(*sys.argv[1:])
