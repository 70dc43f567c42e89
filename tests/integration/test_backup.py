"""A service that was lost comes back from its backup, and its agents with it."""

import contextlib
import os
import shutil
import sqlite3
import threading

from bed import slapd as slapd_bed
from bed.process import until
from conftest import slapd_section, works


def test_service_comes_back_from_a_backup(system, slapd):
    service = system.service()
    service.domain(slapd_bed.DOMAIN)
    system.agent(service, {slapd_bed.DOMAIN: slapd_section(slapd)})
    service.wait_agents(1)
    assert works(service)
    path = os.path.join(service.folder, "backup")
    said = service.command("backup", path)
    assert "1 domains, 1 apps, 1 agents" in said and os.stat(path).st_mode & 0o777 == 0o600
    key = service.key
    service.app("afterwards")

    # Not into a running service, nor over its state.
    assert "stop it first" in service.fails("restore", path).output
    service.stop()
    assert "already" in service.fails("restore", path).output
    shutil.move(service.state, service.state + ".lost")
    assert "revoke again" in service.command("restore", path)
    service.start()
    service.wait_agents(1)
    service.key = key
    assert works(service)
    assert [app["name"] for app in service.json("app", "list")] == ["tests"]


def test_backups_are_whole_while_the_registry_changes(system):
    """Each has as many domains as it has names of them, though one after the other is added."""
    service = system.service()
    done = threading.Event()

    def add():
        for number in range(20):
            service.domain(f"d{number}.example.com")
        done.set()

    adding = threading.Thread(target=add, daemon=True)
    adding.start()
    counts, path = [], os.path.join(service.folder, "backup")

    def one_more():
        last = done.is_set()
        service.command("backup", path)
        with contextlib.closing(sqlite3.connect(path)) as db:
            domains, suffixes = (db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("domain", "suffix"))
        assert domains == suffixes
        counts.append(domains)
        return last

    until(one_more, "all domains to be added")
    adding.join()
    assert counts == sorted(counts) and counts[-1] == 20
