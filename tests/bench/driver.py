"""The drivers in C: each plays clients, and gives what it has measured as one JSON object."""

import json
import os
import subprocess

from bed.process import DIES_WITH_US, PATIENCE, BedError, Process, clean_environment, free_port
from bed.pta import BUILD
from bed.slapd import USERS

PROGRAMS = os.path.join(BUILD, "tests", "bench")
PASSWORD, WRONG = "Pw-{05n}", "Wrong-{05n}"
# Before the window, not counted: connections are made, caches filled.
WARM = 0.2


def drive(program, in_flight, seconds, watch, wrong, *options, numbers=f"0-{USERS - 1}", warm=WARM, env=None):
    """Runs a driver for one window. watch: process ids by name. A verdict that the password does not deserve is a failure of
    the whole benchmark; operations without any answer are counted as errors."""
    argv = [os.path.join(PROGRAMS, program), "--json", "--in-flight", in_flight, "--seconds", seconds, "--warm", warm, "--numbers", numbers,
            "--password", WRONG if wrong else PASSWORD, *(word for name, pids in watch.items() for word in ("--watch", f"{name}={','.join(map(str, pids))}")),
            *options]
    done = subprocess.run(DIES_WITH_US + [str(word) for word in argv], capture_output=True, text=True, timeout=PATIENCE + seconds,
                          env=clean_environment(**(env or {})), check=False)
    # 1: operations without an answer, which the report counts.
    if done.returncode not in (0, 1) or not done.stdout:
        raise BedError(f"{' '.join(map(str, argv))}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return checked(json.loads(done.stdout), "invalid_credentials" if wrong else "success")


def checked(result, expected):
    for verdict, count in result["verdicts"].items():
        if count and verdict not in (expected, "error"):
            raise BedError(f"{result['what']}: {count} answers were {verdict}, and all should have been {expected}")
    return result


class DelayProxy:
    """A line to a server that takes time each way."""

    def __init__(self, folder, address, port, delay_ms):
        self.port = free_port()
        self.process = Process(f"delay-{self.port}", [os.path.join(PROGRAMS, "delay_proxy"), self.port, address, port, delay_ms], folder)
        self.process.log.wait("^ready$")

    def close(self):
        self.process.kill()
