"""The programs as they are measured: nobody reads their lines while they run, and /proc says what they cost."""

import os
import subprocess

from bed.process import DIES_WITH_US, PATIENCE, until
from bed.pta import Agent, Failed, Service


class Daemon:
    """A daemon that logs into a file by itself: a reader of its lines would be measured as well."""

    def __init__(self, program):
        with open(f"{program.folder}/{program.name}.log", "ab") as log:
            self.popen = subprocess.Popen(DIES_WITH_US + [program.program, "run", "--config", program.conf], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.pid = self.popen.pid
        self.program = program

    def ready(self):
        def answers():
            try:
                return self.program.command("status")
            except Failed:
                if self.popen.poll() is not None:
                    raise
                return None
        until(answers, f"{self.program.name} to answer")

    def alive(self):
        return self.popen.poll() is None

    def stop(self):
        self.popen.terminate()
        return self.popen.wait(PATIENCE)


class QuietService(Service):
    def launch(self):
        self.daemon = Daemon(self)
        return self


class QuietAgent(Agent):
    def launch(self):
        self.daemon = Daemon(self)
        return self


def descendants(pid):
    """The processes that this one has started, and those that they have."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
        below = [int(child) for child in children.read().split()]
    return below + [process for child in below for process in descendants(child)]


def cpu_ns(pids):
    """Nanoseconds on a CPU so far, of all threads."""
    total = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as schedstat:
                total += int(schedstat.read().split()[0])
    return total


def resident_mb(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/status", encoding="ascii") as status:
            total += next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    return total / 1024
