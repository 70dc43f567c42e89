"""Configuration, reload, commands and the way through a proxy."""

import os

import pytest

from bed import slapd as slapd_bed
from bed.connect_proxy import ConnectProxy
from bed.process import until
from bed.slapd import password, upn
from conftest import slapd_section, works


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


@pytest.mark.concurrent
def test_agent_reloads_a_good_configuration(service, agent):
    agent.write(**{f"directory {slapd_bed.DOMAIN}": {"connections": 3}})
    agent.reload()
    assert works(service)


def test_agent_reloads_when_the_configuration_before_is_gone(service, agent):
    """A section has threads of its own: they end with it, and then nothing of that configuration is left."""
    def threads():
        return len(os.listdir(f"/proc/{agent.daemon.pid}/task"))

    assert works(service)
    alone = threads()
    for _ in range(3):
        agent.reload()
        assert works(service)
        until(lambda: threads() <= alone, "the end of the old section")
    assert not agent.events("config.refused")


def test_agent_keeps_the_old_configuration_when_the_new_one_is_bad(service, agent):
    agent.write(**{f"directory {slapd_bed.DOMAIN}": {"conections": 3, "tls": "perhaps"}})
    seen = len(agent.daemon.log.lines)
    agent.reload()
    # Both faults in one pass, each with its line. READY=1 comes another way than the log.
    for word in ("conections", "perhaps"):
        agent.daemon.log.wait(word, start=seen)
    said = "\n".join(agent.daemon.log.lines[seen:])
    assert "conections" in said and "perhaps" in said and f"{agent.conf}:" in said
    assert works(service)
    failed = agent.fails("run", "--check-config")
    assert failed.status == 3 and "conections" in failed.output and "perhaps" in failed.output


def test_agent_refuses_a_reload_that_needs_a_restart(service, agent):
    agent.write(agent={"state_dir": agent.state + "-elsewhere"})
    seen = len(agent.daemon.log.lines)
    agent.reload()
    agent.daemon.log.wait("state_dir", start=seen)
    assert works(service)


@pytest.mark.concurrent
def test_service_reloads_or_keeps_the_old_configuration(service, agent):
    service.write(deadline="4s")
    service.reload()
    assert works(service)
    good = service.signin_port
    service.write(signin_listen="127.0.0.1:1")
    seen = len(service.daemon.log.lines)
    service.reload()
    service.daemon.log.wait("signin_listen", start=seen)
    assert service.signin_port == good and works(service)
    service.write(signin_listen=f"127.0.0.1:{good}", nonsense="1")
    service.reload()
    service.daemon.log.wait("nonsense", start=seen)
    assert works(service)


def test_proxy_with_a_password(system, service, slapd, make_folder):
    proxy = ConnectProxy("pta", "Durchgang-1")
    try:
        path = os.path.join(make_folder("proxy"), "password")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as out:
            out.write("Durchgang-1\n")
        agent = system.agent(service, {slapd_bed.DOMAIN: slapd_section(slapd)}, proxy={"url": proxy.url, "user": "pta", "password_file": path})
        service.wait_agents(1)
        assert works(service)
        assert proxy.tunnels >= 2
        agent.command("check")
        # With a wrong password at the proxy, check says where it fails.
        with open(path, "w", encoding="ascii") as out:
            out.write("falsch\n")
        failed = agent.fails("check")
        assert failed.status in (1, 4) and "proxy" in failed.output.lower()
        assert proxy.refused
    finally:
        proxy.close()


def test_configured_proxy_wins_over_the_environment(system, service, slapd):
    proxy = ConnectProxy("pta", "x")
    try:
        agent = system.agent(service, {slapd_bed.DOMAIN: slapd_section(slapd)}, start=False)
        # The proxy of the environment refuses; with [proxy] no_proxy it is not asked.
        agent.launch(https_proxy=proxy.url)
        until(lambda: proxy.refused, "the environment's proxy to be asked")
        agent.stop()
        agent.write(proxy={"no_proxy": "*"})
        agent.launch(https_proxy=proxy.url)
        service.wait_agents(1)
        assert works(service)
    finally:
        proxy.close()


def test_check_finds_all_well(agent):
    output = agent.command("check")
    assert "✓" in output and "✗" not in output
    assert all(line["ok"] for line in agent.json("check")["checks"])


def test_check_names_what_is_wrong(system, service, slapd):
    agent = system.agent(service, {slapd_bed.DOMAIN: slapd_section(slapd, servers="127.0.0.1:1")}, start=False)
    failed = agent.fails("check")
    assert failed.status == 1 and "127.0.0.1:1" in failed.output and "✗" in failed.output


def test_test_command_shows_steps_and_verdict(agent):
    assert "success" in agent.command("test", upn(1), stdin=password(1) + "\n")
    try:
        output = agent.command("test", upn(1), stdin="wrong\n")
    except Exception as failed:  # its exit status tells the verdict as well
        output = str(failed)
    assert "invalid_credentials" in output


@pytest.mark.concurrent
def test_status_and_lists(service, agent):
    assert works(service)
    assert service.json("status")["agents_online"] == 1
    status = agent.json("status")
    assert status["directories"][0]["servers"][0]["state"] == "up"
    assert [domain["name"] for domain in service.json("domain", "list")] == [slapd_bed.DOMAIN]
    assert len(service.json("agent", "list")) == 1
    assert service.command("status") and agent.command("status") and service.command("agent", "show", agent.identity())


def test_signin_command(service, agent):
    assert "success" in service.command("signin", upn(1), stdin=password(1) + "\n")


def test_commands_say_when_no_daemon_runs(service, agent):
    agent.stop()
    service.stop()
    for program, argv in ((agent, ["status"]), (service, ["status"]), (service, ["domain", "list"])):
        failed = program.fails(*argv)
        assert failed.status == 4, failed.output


def test_faces_tell_readiness(service, agent):
    from bed.client import unix_request
    with service.client(key="") as client:
        assert client.get("/live").status == 200
        assert client.get("/ready").status == 200
    assert unix_request(agent.control, "GET", "/ready").status == 200
    service.kill()
    until(lambda: unix_request(agent.control, "GET", "/ready").status == 503, "the agent to say that it is not ready")
    assert unix_request(agent.control, "GET", "/live").status == 200
