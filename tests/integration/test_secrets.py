"""A password is nowhere but where it must be."""

import os
import secrets

from bed.samba_ad import DOMAIN
from conftest import ad_section


def files_with(folder, needles):
    """Files under the folder that contain one of the needles."""
    found = []
    for where, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(where, name)
            if not os.path.isfile(path):
                continue
            with open(path, "rb") as file:
                data = file.read()
            found += [(path, needle) for needle in needles if needle in data]
    return found


def test_password_is_in_no_log_file_core_command_line_or_environment(system, ad):
    service = system.service(**{})
    service.configure({"service": service.settings, "log": {"level": "debug"}})
    service.stop()
    service.start()
    service.domain(DOMAIN)
    agent = system.agent(service, {DOMAIN: ad_section(ad)}, log={"level": "debug"})
    service.wait_agents(1)
    right = f"Richtig-{secrets.token_hex(12)}"
    wrong = f"Falsch-{secrets.token_hex(12)}"
    account = ad.user(password=right)
    disabled = ad.user("disabled", password=right)
    for username, word in ((account.upn, right), (account.upn, wrong), (disabled.upn, right), (f"x@unknown.example.com", right), ("no domain", right)):
        service.signin(username, word)
    service.command("signin", account.upn, stdin=right + "\n")
    agent.command("test", account.upn, stdin=right + "\n")

    needles = [right.encode(), wrong.encode()]
    for program in (service, agent):
        for source in ("cmdline", "environ"):
            with open(f"/proc/{program.daemon.pid}/{source}", "rb") as file:
                data = file.read()
            assert not any(needle in data for needle in needles), f"{program.name}: {source}"
    # The daemons refuse core dumps: nothing of theirs may be written even when they crash.
    for program in (service, agent):
        with open(f"/proc/{program.daemon.pid}/limits", encoding="ascii") as limits:
            core = next(line for line in limits if line.startswith("Max core file size")).split()
        assert core[4:6] == ["0", "0"], core
        program.daemon.signal(6)
        program.daemon.wait()
        program.daemon = None
        assert not files_with(program.folder, needles)
        # A database's or log's own words are there: the search can find something.
        assert files_with(program.folder, [DOMAIN.encode()])
