"""Domain controllers die, hang, lie about themselves and come back while people sign in: no wrong verdict, no second strike, few
who must try again, and soon nobody. Measured, and told as a table."""

import collections
import time

import pytest

import tables
from bed.forest import METHODS
from bed.load import PacedLoad
from bed.process import until
from conftest import System
from proxy import Front

RATE = 40  # sign-ins a second
WINDOW = 0.2  # seconds over which a rate is judged
BEFORE = 0.8  # seconds of rest before the event
# Longer than the second after which TCP tries again: Samba lets ten connections wait to be taken, and after a failure more come at once.
BIND_TIMEOUT, CONNECT_TIMEOUT = 2, 1.5


class Event:
    """What happens to the controller in use; `undo` puts it right. proxied: the network does it, between agent and controller.
    alike: nobody needs to notice."""

    def __init__(self, do, undo, methods=METHODS, proxied=False, alike=False):
        self.do, self.undo, self.methods, self.proxied, self.alike = do, undo, methods, proxied, alike


def with_certificate(**options):
    """The controller restarts with another certificate: what it says of itself is not to be believed any more."""
    def do(stage):
        stage.dc.stop()
        stage.dc.certificate(**options)
        stage.dc.start()
    return do


def own_certificate(stage):
    stage.dc.stop()
    stage.dc.certificate()
    stage.dc.start()


def black_hole(stage):
    stage.dc.namespace.black_hole(stage.dc.address)


def heal(stage):
    stage.dc.namespace.heal(stage.dc.address)


def front(*names, delay=0):
    """The network between agent and controller changes."""
    def do(stage):
        stage.front.delay(delay)
        for name in names:
            stage.front.act(name)
    return do


def accept_and_be_silent(stage):
    """Old connections end, new ones are taken and never answered."""
    stage.front.act("cut")
    stage.front.act("black_hole")


EVENTS = {
    "shut down": Event(lambda stage: stage.dc.shut_down(), lambda stage: stage.dc.start(), ("simple",)),
    "killed": Event(lambda stage: stage.dc.stop(), lambda stage: stage.dc.start()),
    "frozen": Event(lambda stage: stage.dc.freeze(), lambda stage: stage.dc.thaw()),
    "black hole": Event(black_hole, heal),
    "certificate expired": Event(with_certificate(days=(-20, -10)), own_certificate, ("simple", "gssapi")),
    "certificate of another name": Event(with_certificate(names=["elsewhere.example.com"]), own_certificate, ("simple",)),
    "connections cut": Event(front("cut"), front("heal"), ("simple", "kerberos"), proxied=True),
    "accepts and stays silent": Event(accept_and_be_silent, front("cut", "heal"), proxied=True),
    "resets each connection": Event(front("refuse"), front("heal"), ("simple", "kerberos"), proxied=True),
    "300 ms slower": Event(front(delay=0.15), front(delay=0), ("simple", "kerberos"), proxied=True, alike=True),
}


class Stage:
    """A service, and an agent in front of both controllers; the one in use is the one that suffers."""

    def __init__(self, system, forest, method, addresses):
        self.forest, self.method = forest, method
        self.dc = self.front = None
        self.fronts = [Front(address, controller) for address, controller in zip(addresses, forest.controllers)]
        self.service = system.service()
        self.service.domain(forest.domain.name)
        # Only what needs a bad network goes through the proxies.
        self.views = {proxied: forest.view(**{controller.name: front.address if proxied else controller.address
                                              for controller, front in zip(forest.controllers, self.fronts)}) for proxied in (False, True)}
        section = forest.section(method, bind_timeout=f"{BIND_TIMEOUT}s", connect_timeout=f"{CONNECT_TIMEOUT * 1000:.0f}ms")
        self.agent = system.agent(self.service, {forest.domain.name: section}, start=False)
        self.accounts = forest.users(60)

    def start(self, proxied):
        self.agent.view = self.views[proxied]
        self.agent.start()
        self.service.wait_agents(1)

    def servers(self):
        return {server["host"]: server for server in self.agent.status()["directories"][0]["servers"]}

    def choose(self):
        """The controller in use, by whatever happened before."""
        servers = self.servers()
        self.dc, self.front = next((controller, front) for controller, front in zip(self.forest.controllers, self.fronts)
                                   if servers[controller.host]["in_use"])

    def close(self):
        for front in self.fronts:
            front.close()


@pytest.fixture(scope="module")
def stages(make_folder, forest, network):
    """Gives the stage of a method, made once."""
    made, system = {}, System(make_folder)

    def get(method):
        if method not in made:
            made[method] = Stage(system, forest, method, network.hosts[1 + 2 * len(made):3 + 2 * len(made)])
        return made[method]
    yield get
    system.close()
    for stage in made.values():
        stage.close()


@pytest.fixture(scope="module")
def measured():
    rows = []
    yield rows
    tables.write("failover", ["method", "the controller in use", "sign-ins", "unavailable, unsent (503)", "unavailable, may have been sent (504)",
                              "back to half the rate after", "slowest answer", "up again after"], rows,
                 f"{RATE} sign-ins a second on two controllers, of which the one in use fails (bind_timeout {BIND_TIMEOUT} s, "
                 f"connect_timeout {CONNECT_TIMEOUT} s); no verdict was wrong, no request counted twice")


def recovery(load, event, before):
    """Seconds from the event to the first window with half the right answers a second of before; None: not yet."""
    start = event
    while start + WINDOW <= time.monotonic():
        if load.rate_between(start, start + WINDOW) >= before / 2:
            return max(start - event, 0.001)
        start += 0.02
    return None


def check(load, people, before, after):
    """What may and may not come, whatever happened. Gives the answers that are unavailable."""
    answered = load.answered()
    print(collections.Counter((sample.answer.status, sample.verdict, sample.answer.json.get("reason")) for sample in answered))
    assert not load.errors and len(answered) == len(load.samples)
    unavailable = [sample for sample in answered if sample.verdict == "unavailable"]
    assert [(sample.username, sample.expected, sample.answer) for sample in answered if not sample.right and sample not in unavailable] == []
    for sample in unavailable:
        assert (sample.answer.status, sample.answer.json["retry_safe"]) in ((503, True), (504, False)), sample.answer
        assert sample.answer.json["reason"] in ("directory_unreachable", "timeout", "no_agent"), sample.answer
    # As many as come while a time-out of each kind passes, on a machine that has no time.
    assert len(unavailable) <= RATE * (BIND_TIMEOUT + CONNECT_TIMEOUT)
    for (username, _, expected), old, new in zip(people, before, after):
        # What may have reached a controller may have been counted there, once.
        if expected == "success":
            assert sum(new) == 0, username
            continue
        sent = [sample for sample in answered if sample.username == username]
        certain = sum(sample.right for sample in sent)
        assert certain <= sum(new) - sum(old) <= sum(sample.answer.status != 503 for sample in sent), (username, old, new)
    return unavailable


# Those that also run under ThreadSanitizer.
CONCURRENT = ("killed", "accepts and stays silent")


@pytest.mark.parametrize("method, name", [pytest.param(method, name, marks=[pytest.mark.concurrent] * (name in CONCURRENT))
                                          for method in METHODS for name, event in EVENTS.items() if method in event.methods])
def test_controller_fails_under_load(stages, measured, method, name):
    happening, stage = EVENTS[name], stages(method)
    # Every third word is wrong; nobody is locked out for it.
    people = [(account.upn, "wrong", "invalid_credentials") if number % 3 == 2 else (account.upn, account.password, "success")
              for number, account in enumerate(stage.accounts)]
    counted = [stage.forest.strikes(account) for account in stage.accounts]
    stage.start(happening.proxied)
    try:
        with PacedLoad(stage.service, people, RATE) as load:
            load.wait(lambda answered: len(answered) >= RATE // 2, "the agent to be warm")
            rest = time.monotonic()
            load.wait(lambda answered: sum(sample.sent >= rest for sample in answered) >= RATE * BEFORE, "the rate before")
            event = time.monotonic()
            before = load.rate_between(rest, event)
            stage.choose()
            try:
                happening.do(stage)
                recovered = until(lambda: recovery(load, event, before), "sign-ins to work again")
                load.wait(lambda answered: sum(sample.sent > event + recovered for sample in answered) >= RATE, "answers after the recovery")
            finally:
                happening.undo(stage)
            undone = time.monotonic()
            until(lambda: stage.servers()[stage.dc.host]["state"] == "up", "the controller to be up again")
            back = time.monotonic() - undone
            load.wait(lambda answered: sum(sample.sent > undone + back for sample in answered) >= RATE // 4, "answers after the end")
    finally:
        stage.agent.stop()
    unavailable = check(load, people, counted, [stage.forest.strikes(account) for account in stage.accounts])
    slowest = max(sample.answered - sample.sent for sample in load.answered())
    measured.append((method, name, len(load.answered()), *(sum(sample.answer.status == status for sample in unavailable) for status in (503, 504)),
                     "–" if happening.alike else f"{recovered:.2f} s", f"{slowest:.2f} s", f"{back:.1f} s"))
    assert not (happening.alike and unavailable)
