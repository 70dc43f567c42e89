"""Rounds of short windows, all contestants in turn, so that what the machine does meanwhile meets all of them alike."""

from statistics import median

from bed.process import BedError


class Figure:
    """One figure over the rounds."""

    def __init__(self, values):
        self.values = [value for value in values if value is not None]

    def __bool__(self):
        return bool(self.values)

    @property
    def median(self):
        return median(self.values)

    @property
    def low(self):
        return min(self.values)

    @property
    def high(self):
        return max(self.values)


class Scenario:
    """The runs of each (contestant, in flight), one a round."""

    def __init__(self, name):
        self.name = name
        self.runs = {}

    def add(self, contestant, in_flight, result):
        self.runs.setdefault((contestant, in_flight), []).append(result)

    def figure(self, contestant, in_flight, *path):
        """For example figure("raw", 32, "cpu_us", "slapd")."""
        return Figure([_value(run, path) for run in self.runs[contestant, in_flight]])

    def ratio(self, over, under):
        """The median of the ratios of each round: both were measured in the same minute. over and under: (contestant, in flight)."""
        return median(ratios(self.runs[over], self.runs[under]))

    def in_flights(self):
        return sorted({in_flight for _, in_flight in self.runs})

    def contestants(self):
        return list(dict.fromkeys(contestant for contestant, _ in self.runs))

    def as_json(self):
        return [{"contestant": contestant, "in_flight": in_flight, "rounds": runs} for (contestant, in_flight), runs in self.runs.items()]

    @classmethod
    def from_json(cls, name, rows):
        scenario = cls(name)
        for row in rows:
            scenario.runs[row["contestant"], row["in_flight"]] = row["rounds"]
        return scenario


def ratios(over, under, *path):
    if len(over) != len(under):
        raise BedError("ratios of other rounds than the same")
    path = path or ("rate",)
    return [_value(first, path) / _value(second, path) for first, second in zip(over, under)]


def _value(run, path):
    for key in path:
        run = run.get(key) if run else None
    return run


def measure(plan, rounds, seconds, say):
    """plan: rows of (scenario, contestant, in flight, wrong); a round is all of them in order."""
    for number in range(rounds):
        for scenario, contestant, in_flight, wrong in plan:
            result = contestant.run(in_flight, seconds, wrong)
            scenario.add(contestant.name, in_flight, result)
            say(f"round {number + 1} of {rounds}  {scenario.name:9} {contestant.title:50} {in_flight:4} in flight {result['rate']:9,.0f}/s")
