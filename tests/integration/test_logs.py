"""Logs: the journal's fields, syslog, JSON, the audit stream and its rotation, the level that a command changes."""

import json
import os
import re

import pytest

from bed import slapd as slapd_bed
from bed.client import unix_request
from bed.journal import Journal, Seen
from bed.process import fields, until
from bed.pta import TOP
from bed.slapd import password, upn
from conftest import slapd_section, works


@pytest.fixture(scope="module")
def journal():
    made = Journal()
    yield made
    made.close()


@pytest.fixture
def service(system):
    service = system.service()
    service.domain(slapd_bed.DOMAIN)
    return service


@pytest.fixture
def agent(system, service, slapd):
    agent = system.agent(service, {slapd_bed.DOMAIN: slapd_section(slapd)})
    service.wait_agents(1)
    return agent


def restart(program, view):
    program.stop()
    program.view = view
    program.start()


def message_id(event):
    """From the page that tells administrators."""
    with open(os.path.join(TOP, "docs/events.md"), encoding="utf-8") as page:
        return re.search(rf"^\| `{re.escape(event)}` .*`([0-9a-f]{{32}})` \|$", page.read(), re.MULTILINE).group(1)


def lines_of(path):
    with open(path, encoding="utf-8") as lines:
        return lines.read().splitlines()


def test_one_sign_in_is_found_in_the_journal_by_its_fields(journal, system, service, agent):
    restart(service, Seen(journal, journal.logged))
    restart(agent, Seen(journal, journal.logged))
    service.wait_agents(1)
    answer = service.signin(upn(1), password(1)).json
    assert answer["verdict"] == "success"
    request = answer["request_id"]
    at_agent = journal.wait(REQUEST_ID=request, EVENT="auth.verdict")
    at_service = journal.wait(REQUEST_ID=request, EVENT="signin.verdict")
    for entry, event, program in ((at_agent, "auth.verdict", "pta-agent"), (at_service, "signin.verdict", "pta-service")):
        assert entry["VERDICT"] == "success" and entry["PROVED"] == "yes" and entry["USER"] == upn(1) and entry["DC"]
        assert entry["PRIORITY"] == "6" and entry["SYSLOG_IDENTIFIER"] == program and entry["_COMM"] == program and entry["_TRANSPORT"] == "journal"
        assert entry["MESSAGE_ID"] == message_id(event)
        assert entry["MESSAGE"].startswith(f"event={event} request={request} ") and "time=" not in entry["MESSAGE"] and "REASON" not in entry
        assert float(entry["TOOK"]) >= float(entry["DIRECTORY"]) > 0
    assert at_service["AGENT"] == agent.identity()
    # What a peer sends stays one field, and a password is nowhere.
    assert service.signin("anna\nPRIORITY=0\nEVENT=forged@" + slapd_bed.DOMAIN, "Geheim-17!").json["verdict"] != "success"
    assert not journal.entries(EVENT="forged")
    restart(service, None)
    assert "Geheim-17!" not in json.dumps(journal.entries())


def test_without_stderr_the_log_goes_to_syslog(journal, service, agent):
    def silent(*argv):
        return journal.enter("sh", "-c", 'exec "$@" 2>/dev/null', "sh", *argv)

    def closed(*argv):
        return journal.enter("sh", "-c", 'exec "$@" 2>&-', "sh", *argv)

    seen = len(journal.entries(_TRANSPORT="syslog"))
    restart(service, Seen(journal, silent))
    restart(agent, Seen(journal, closed))
    service.wait_agents(1)
    answer = service.signin(upn(2), password(2)).json
    assert answer["verdict"] == "success"

    def verdicts():
        found = [entry for entry in journal.entries(_TRANSPORT="syslog")[seen:] if answer["request_id"] in entry["MESSAGE"]]
        return found if len(found) >= 2 else None
    for entry in until(verdicts, "both verdicts in syslog"):
        assert entry["SYSLOG_FACILITY"] == "3" and entry["PRIORITY"] == "6" and entry["SYSLOG_IDENTIFIER"] in ("pta-agent", "pta-service")
        assert entry["MESSAGE"].startswith("event=")


def test_audit_goes_to_a_facility_of_syslog(journal, agent):
    agent.write(log={"audit": "syslog:authpriv", "level": "error"})
    restart(agent, Seen(journal, journal.enter))
    agent.service.wait_agents(1)
    answer = agent.service.signin(upn(3), password(3)).json
    entry = until(lambda: [entry for entry in journal.entries(SYSLOG_FACILITY=10) if answer["request_id"] in entry["MESSAGE"]], "the verdict")[0]
    assert entry["MESSAGE"].startswith("event=auth.verdict ") and entry["PRIORITY"] == "6" and entry["SYSLOG_IDENTIFIER"] == "pta-agent"
    assert not agent.events("auth.verdict")


def test_json_lines(service):
    service.configure({"service": service.settings, "log": {"format": "json"}})
    service.stop()
    service.start()
    started = json.loads(service.daemon.log.wait('"service.started"'))
    assert started["program"] == "pta-service" and started["level"] == "notice" and started["signin_port"] == service.signin_port
    service.signin("anna@nowhere.example", "x")
    verdict = json.loads(service.daemon.log.wait('"signin.verdict"'))
    assert verdict["verdict"] == "unavailable" and isinstance(verdict["took"], float)


def test_audit_file_is_rotated(service, agent, make_folder):
    folder = make_folder("audit")
    path, moved = os.path.join(folder, "audit.log"), os.path.join(folder, "audit.log.1")
    service.configure({"service": service.settings, "log": {"audit": path}})
    service.reload()
    assert works(service)
    os.rename(path, moved)
    service.reload()
    assert works(service, 2)
    # Each in its file, and neither in the log.
    for name, number in ((moved, 1), (path, 2)):
        verdict, = (fields(line) for line in lines_of(name))
        assert verdict["event"] == "signin.verdict" and verdict["user"] == upn(number) and "time" in verdict
    assert not service.events("signin.verdict")
    assert os.stat(path).st_mode & 0o7777 == 0o640
    # A rotation while the configuration is bad.
    os.rename(path, moved)
    service.configure({"service": {**service.settings, "nonsense": "1"}, "log": {"audit": path}})
    service.reload()
    assert works(service, 3) and len(lines_of(path)) == 1


def test_audit_file_that_cannot_be_written_is_told_and_nothing_is_lost(service, agent, make_folder):
    path = os.path.join(make_folder("audit"), "none", "audit.log")
    agent.write(log={"audit": path})
    agent.reload()
    agent.daemon.log.wait(f"event=log.audit_failed file={path}")
    assert works(service)
    agent.daemon.log.wait("event=auth.verdict")
    # Once there is a place for it, a reload is enough.
    os.mkdir(os.path.dirname(path))
    agent.reload()
    assert works(service, 2)
    assert len(lines_of(path)) == 1 and len(agent.events("auth.verdict")) == 1


@pytest.mark.parametrize("which", ["service", "agent"])
def test_status_changes_the_level_until_a_reload(which, request):
    program = request.getfixturevalue(which)
    assert program.json("status")["log_level"] == "info"
    shown = program.command("status", "--log-level", "debug")
    assert re.search("log level +debug", shown)
    assert program.json("status")["log_level"] == "debug"
    # Who did it is told, also on the way to fewer lines.
    assert program.json("status", "--log-level", "error")["log_level"] == "error"
    program.daemon.log.wait(f"event=log.level now=error uid={os.getuid()}")
    assert [event["now"] for event in program.events("log.level")] == ["debug", "error"]
    for wrong in ("loud", "x" * 200):
        failed = program.fails("status", "--log-level", wrong)
        assert failed.status == 2 and "debug" in failed.output
        answer = unix_request(program.control, "POST", "/v1/log", body={"level": wrong})
        assert answer.status in (400, 413)
    assert program.status()["log_level"] == "error"
    program.reload()
    assert program.status()["log_level"] == "info"


def test_what_strangers_repeat_does_not_fill_the_log(service):
    for _ in range(50):
        with service.client(key="nobody") as client:
            assert client.signin("anna@corp.example.com", "x").status == 401
    assert len(service.events("signin.unauthorized")) == 10
