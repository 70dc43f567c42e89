"""Provisions the domain that an smb.conf describes; a process of its own, since Samba's libraries keep global state.

Usage: python3 -m bed.samba_provision SMB.CONF ADDRESS (the administrator's password comes on stdin)
"""

import logging
import sys

from samba.auth import system_session
from samba.param import LoadParm
from samba.provision import FILL_FULL, provision


def main(conf, address):
    password = sys.stdin.readline().rstrip("\n")
    lp = LoadParm()
    lp.load(conf)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    # DOMAIN FUNCTION LEVEL 2008 R2 (4), as samba-tool chooses.
    provision(logging.getLogger("provision"), system_session(), smbconf=conf, samdb_fill=FILL_FULL, realm=lp.get("realm"),
              domain=lp.get("workgroup"), hostname=lp.get("netbios name").lower(), hostip=address, adminpass=password,
              serverrole="active directory domain controller", dom_for_fun_level=4, dns_backend="SAMBA_INTERNAL", skip_sysvolacl=True,
              batch_mode=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
