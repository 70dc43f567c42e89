"""docs/benchmarks/index.md from bench.json: tables and plots, and what was measured on what. It says what the figures are and draws no
conclusion that they do not hold."""

import os

import plots
from radius import THREADS
from rounds import Scenario

HEADINGS = {
    "right": ("Right passwords", "Every password is right: 10,000 users in turn, over LDAPS with the server's certificate verified."),
    "wrong": ("Wrong passwords", "Every password is wrong; the same users, the same directory."),
    "rtt10": ("A directory 10 ms away", "Right passwords, and a line to the directory that takes 5 ms each way. What is in flight on a connection waits for the round trip, so "
              "the connections bound the rate: 32 of them allow 3,200 a second, 64 allow 6,400. Plain libldap has one for each in flight."),
    "kerberos": ("Kerberos", "Right passwords of 200 principals with AES keys on MIT's KDC, over TCP. Each validation gets a ticket for the user and one for the host, and "
                 "verifies that one with the host's key: three round trips, since the KDC asks for preauthentication. saslauthd does the same."),
}
INTRO = """# Benchmarks

Written by `tools/bench`, which measures all of it anew on your machine; the figures are in [bench.json](bench.json). What the profiler says, and
what limits, is in [profile.md](profile.md).

## How it is measured

One machine holds everything: clients, what is measured, and the directory. So the CPU is shared, and a figure is worth something only beside
another of the same run. Each round is one window of {seconds} s of each contestant, one after the other; there are {rounds} rounds. A figure is the median of the
rounds, with the lowest and the highest after it. A ratio is the median of the ratios of each round. Connections are made and processes warm before a window begins.

*In flight* is how many passwords are being validated at any time: a client sends the next when one is answered. CPU is user and system time of each
process an operation; *driver* is the client program. Resident memory is a process's own; of
saslauthd's processes together it is the proportional set size, in which what they share counts once.

| contestant | what it is |
|---|---|
| plain libldap | one connection for each in flight, one bind at a time on each, nothing else: what the directory gives, and the limit of all others |
| saslauthd | Cyrus's daemon, `-a ldap`, asked on its socket. `search and bind` looks up the user's entry first; `fastbind` makes the DN from the name. 5 processes are its default; each has one connection. No cache, which would answer without the directory |
| FreeRADIUS | `rlm_ldap`, which binds as the user; the DN is made from the name; {threads} threads, as many connections, no delay of rejects, no logging |
| pta-agent's validator | what pta-agent calls for each password, in the driver's process: LDAP binds on 32 connections, the default of `connections` |
| sign-in from end to end | `POST /v1/signin` over HTTPS, pta-service, sealed requests, pta-agents with their long polls, the directory: all at their defaults |

saslauthd and FreeRADIUS are asked on the same machine, by a socket or UDP; a sign-in from end to end crosses TLS three times and is sealed in between.
"""
# Over and under: what each ratio compares.
RATIOS = {
    "right": (("validator_32", "raw"), ("validator_32", "saslauthd_fastbind_32"), ("validator_32", "freeradius"), ("e2e_1", "saslauthd_bind_32"),
              ("e2e_1", "saslauthd_fastbind_32"), ("e2e_2", "e2e_1")),
    "rtt10": (("validator_32", "saslauthd_fastbind_32"), ("validator_64", "saslauthd_fastbind_32"), ("e2e_1", "saslauthd_fastbind_32")),
    "kerberos": (("validator_kerberos", "saslauthd_kerberos5_5"), ("validator_kerberos", "saslauthd_kerberos5_32")),
}
RATIOS["wrong"] = RATIOS["right"]


def _number(value):
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _spread(figure):
    return f"**{_number(figure.median)}** ({_number(figure.low)}–{_number(figure.high)})" if figure else "–"


def _plain(figure):
    return _number(figure.median) if figure else "–"


def _table(head, rows):
    return "\n".join(["| " + " | ".join(head) + " |", "|---" * len(head) + "|", *("| " + " | ".join(row) + " |" for row in rows)]) + "\n\n"


def _by_process(scenario, contestant, in_flight, what):
    names = dict.fromkeys(name for run in scenario.runs[contestant, in_flight] for name in run[what])
    return ", ".join(f"{name} {_plain(scenario.figure(contestant, in_flight, what, name))}" for name in names)


def _errors(scenario, contestant, in_flight):
    return sum(run["verdicts"].get("error", 0) for run in scenario.runs[contestant, in_flight])


def _ratio_table(scenario, titles):
    rows = []
    for over, under in RATIOS[scenario.name]:
        rows.append([f"{titles[over]} / {titles[under]}", *(f"{scenario.ratio((over, in_flight), (under, in_flight)):.2f}" for in_flight in scenario.in_flights())])
    return _table(["ratio of rates", *(f"{in_flight} in flight" for in_flight in scenario.in_flights())], rows)


def _scenario(row, folder):
    scenario, titles = Scenario.from_json(row["name"], row["runs"]), row["titles"]
    heading, words = HEADINGS[scenario.name]
    text = f"## {heading}\n\n{words}\n\n"
    text += f"![Rate against passwords in flight]({plots.rates(scenario, titles, folder)})\n\n"
    text += f"![Latency against passwords in flight]({plots.latencies(scenario, titles, folder)})\n\n"
    text += _ratio_table(scenario, titles)
    for in_flight in scenario.in_flights():
        rows = []
        for contestant in scenario.contestants():
            def figure(*path):
                return scenario.figure(contestant, in_flight, *path)
            errors = _errors(scenario, contestant, in_flight)
            rows.append([titles[contestant] + (f" ({errors} without an answer)" if errors else ""), _spread(figure("rate")), _plain(figure("p50_ms")),
                         _spread(figure("p99_ms")), _plain(figure("p999_ms")), _by_process(scenario, contestant, in_flight, "cpu_us"),
                         _by_process(scenario, contestant, in_flight, "rss_mb")])
        text += f"### {heading}, {in_flight} in flight\n\n"
        text += _table(["", "a second", "p50 ms", "p99 ms", "p99.9 ms", "CPU µs an operation", "resident MB"], rows)
    return text


def _flat(value, name=""):
    """Rows of a nested result."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}, {key}" if name else key)
    elif isinstance(value, list):
        yield name, ", ".join(_number(item) if isinstance(item, (int, float)) else str(item) for item in value)
    else:
        yield name, f"{value:,}" if isinstance(value, int) else _number(value) if isinstance(value, float) else str(value)


def _machine(machine):
    rows = [["CPU", f"{machine['cpu']}, {machine['cores']} cores"], ["memory", f"{machine['memory_gb']} GB"], ["system", f"{machine['system']}, Linux {machine['kernel']}"],
            ["pta", f"commit {machine['commit']}, `-O2`"], ["date", machine["date"]]]
    return "## The machine\n\n" + _table(["", ""], rows + [[name, version] for name, version in machine["versions"].items()])


SCALE = {"parked_agents": "Thousands of parked agents", "many_domains": "Many domains", "million": "A million sign-ins in a row"}


def page(result, folder):
    text = INTRO.format(seconds=result["seconds"], rounds=result["rounds"], threads=THREADS) + "\n" + _machine(result["machine"])
    text += "".join(_scenario(row, folder) for row in result["scenarios"])
    for name, heading in SCALE.items():
        if name in result["scale"]:
            text += f"## {heading}\n\n" + _table(["", ""], [[key.replace("_", " "), value] for key, value in _flat(result["scale"][name])])
    text += "## Microbenchmarks\n\nOne thread, nothing else running.\n\n"
    text += _table(["operation", "ns"], [[name, _number(value)] for name, value in result["micro"].items()])
    return text.rstrip("\n") + "\n"


def write(folder, result):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "index.md"), "w", encoding="utf-8") as out:
        out.write(page(result, folder))
