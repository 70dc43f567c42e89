"""The whole run: every contestant in every scenario, then scale and microbenchmarks."""

import contextlib
import json
import os
import subprocess

import machine
import scale
from bed.process import PATIENCE, clean_environment
from bed.pta import BUILD
from contestants import Directory, EndToEnd, RawBind, SaslauthdLdap, Validator
from driver import PROGRAMS, DelayProxy
from kerberos import Kdc, KerberosValidator, SaslauthdKerberos
from radius import FreeRadius
from rounds import Scenario, measure

SECONDS = 0.9
SIGN_INS = 1_000_000


def _near():
    return [RawBind(), SaslauthdLdap("bind", 5), SaslauthdLdap("bind", 32), SaslauthdLdap("fastbind", 5), SaslauthdLdap("fastbind", 32), FreeRadius(),
            Validator(), EndToEnd(1), EndToEnd(2)]


def _far():
    return [RawBind(), SaslauthdLdap("bind", 32), SaslauthdLdap("fastbind", 32), FreeRadius(), Validator(32), Validator(64), EndToEnd(1)]


def _kerberos():
    return [SaslauthdKerberos(5), SaslauthdKerberos(32), KerberosValidator()]


def _scenarios(contestants, directory, folder, in_flights, kinds, rounds, say):
    """kinds: whether wrong passwords, by the scenario's name. All contestants run at once; one at a time has work."""
    os.mkdir(folder)
    titles = {contestant.name: contestant.title for contestant in contestants}
    with contextlib.ExitStack() as running:
        for contestant in contestants:
            contestant.start(directory, folder)
            running.callback(contestant.close)
        for name, wrong in kinds.items():
            scenario = Scenario(name)
            measure([(scenario, contestant, in_flight, wrong) for in_flight in in_flights for contestant in contestants], rounds, SECONDS, say)
            yield {"name": name, "directory": next(iter(directory.pids())), "titles": titles, "runs": scenario.as_json()}


def run(slapd, folder, rounds, say):
    result = {"machine": machine.describe(), "rounds": rounds, "seconds": SECONDS, "scenarios": []}
    result["scenarios"] += _scenarios(_near(), Directory(slapd), f"{folder}/near", (1, 8, 32, 256), {"right": False, "wrong": True}, rounds, say)
    proxy = DelayProxy(folder, slapd.address, slapd.ldaps_port, 5)
    with contextlib.closing(proxy):
        result["scenarios"] += _scenarios(_far(), Directory(slapd, proxy.port), f"{folder}/far", (1, 8, 32, 256), {"rtt10": False}, rounds, say)
    os.mkdir(f"{folder}/kdc")
    with contextlib.closing(Kdc(f"{folder}/kdc")) as kdc:
        result["scenarios"] += _scenarios(_kerberos(), kdc, f"{folder}/kerberos", (1, 8, 32), {"kerberos": False}, rounds, say)
    result["scale"] = {}
    for name, measured in (("parked_agents", lambda room: scale.parked_agents(BUILD, room)), ("many_domains", lambda room: scale.many_domains(BUILD, room)),
                           ("million", lambda room: scale.million(BUILD, room, SIGN_INS))):
        say(f"scale: {name}")
        os.mkdir(f"{folder}/{name}")
        result["scale"][name] = measured(f"{folder}/{name}")
    say("microbenchmarks")
    result["micro"] = _micro()
    return result


def _micro():
    """Nanoseconds an operation, by name."""
    done = subprocess.run([os.path.join(PROGRAMS, "micro"), "--json"], stdout=subprocess.PIPE, text=True, timeout=10 * PATIENCE, check=True, env=clean_environment())
    return json.loads(done.stdout)
