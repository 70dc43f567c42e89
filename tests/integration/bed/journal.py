"""A journal of the bed's own: systemd-journald in a mount namespace with a /run and a /dev/log that the host does not see. Needs root."""

import json
import os
import subprocess

from .process import DIES_WITH_US, PATIENCE, BedError, clean_environment, run, until

JOURNALD = "/lib/systemd/systemd-journald"
# The host's kernel messages and audit are the host's.
SETTINGS = "[Journal]\nStorage=volatile\nReadKMsg=no\nAudit=no\nRateLimitBurst=0\n"
SETUP = """set -eu
mount -t tmpfs none /run
mkdir -p /run/log/journal /run/systemd/journald.conf.d
printf '%s' "$1" >/run/systemd/journald.conf.d/bed.conf
mkdir /run/dev
mount --bind /dev /run/dev
mount -t tmpfs none /dev
for node in null zero full random urandom tty; do : >/dev/$node; mount --bind /run/dev/$node /dev/$node; done
ln -s /proc/self/fd /dev/fd
mkdir /dev/shm
ln -s /run/systemd/journal/dev-log /dev/log
exec "$2"
"""


class Journal:
    """Processes started by enter() see it; by logged(), their stderr is its stream as under systemd."""

    def __init__(self):
        self.process = subprocess.Popen(DIES_WITH_US + ["unshare", "--mount", "--propagation", "private", "sh", "-c", SETUP, "sh", SETTINGS, JOURNALD],
                                        stdin=subprocess.DEVNULL, env=clean_environment(), start_new_session=True)
        try:
            until(self._listens, "journald to listen")
        except BaseException:
            self.close()
            raise

    def _listens(self):
        if self.process.poll() is not None:
            raise BedError(f"journald ended with {self.process.returncode}")
        return all(os.path.exists(f"/proc/{self.process.pid}/root/run/systemd/journal/{name}") for name in ("socket", "stdout", "dev-log"))

    def enter(self, *argv):
        """The command line that runs argv where the journal is."""
        return ["nsenter", "--target", str(self.process.pid), "--mount", "--", *argv]

    def logged(self, *argv):
        # As systemd does; systemd-cat itself names the stream in later versions only.
        return self.enter("systemd-cat", "sh", "-c", 'JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2); export JOURNAL_STREAM; exec "$@"', "sh", *argv)

    def entries(self, **matches):
        """What came so far, each a dict of its fields."""
        argv = ["journalctl", "--directory", "/run/log/journal", "--output", "json", *(f"{name}={value}" for name, value in matches.items())]
        return [json.loads(line) for line in run(self.enter(*argv)).splitlines() if line.startswith("{")]

    def wait(self, **matches):
        """The first entry with these fields, once it is there: journald tells nobody when it has written."""
        return until(lambda: self.entries(**matches), f"an entry with {matches}")[0]

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(PATIENCE)


class Seen:
    """As a program's `view`: commands see the journal's place; what runs as the daemon has its streams made by `start`."""

    def __init__(self, journal, start):
        self.journal, self.start = journal, start

    def enter(self, *argv):
        return self.start(*argv) if "run" in argv else self.journal.enter(*argv)
