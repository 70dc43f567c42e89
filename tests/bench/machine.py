"""On what was measured: the machine, the versions, the source."""

import datetime
import os
import re
import subprocess

from bed.pta import TOP

PACKAGES = ("slapd", "sasl2-bin", "freeradius", "krb5-kdc", "libldap-2.5-0", "libssl3", "libcurl4", "libevent-2.1-7", "libc6", "gcc", "gnuplot-nox")


def _first(path, pattern):
    with open(path, encoding="utf-8") as file:
        found = re.search(pattern, file.read(), re.M)
    return found.group(1) if found else "unknown"


def _versions():
    """Of the Debian packages; one that is not installed under this name is left out."""
    done = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Abbrev} ${Version}\n", *PACKAGES], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True, check=False)
    rows = [line.split() for line in done.stdout.splitlines()]
    return {row[0]: row[2] for row in rows if len(row) == 3 and row[1] == "ii"}


def _commit():
    """Of the tree, where it is git's; else the version that it says."""
    git = ["git", "-c", "safe.directory=*", "-C", TOP]
    head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    if head.returncode != 0:
        return "version " + _first(os.path.join(TOP, "configure.ac"), r"^AC_INIT\(\[[^]]*\], *\[([^]]*)\]")
    changed = subprocess.run([*git, "status", "--porcelain", "--untracked-files=no", "--", "src"], capture_output=True, text=True, check=True).stdout
    return head.stdout.strip() + (" with changes to src" if changed else "")


def describe():
    return {"cpu": _first("/proc/cpuinfo", r"^model name\s*: (.+)$"), "cores": os.cpu_count(),
            "memory_gb": round(int(_first("/proc/meminfo", r"^MemTotal:\s*(\d+)")) / 1024 / 1024, 1), "kernel": os.uname().release,
            "system": _first("/etc/os-release", r'^PRETTY_NAME="?([^"\n]+)'), "versions": _versions(), "commit": _commit(),
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")}
