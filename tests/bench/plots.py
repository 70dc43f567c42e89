"""Plots of a scenario as SVG, by gnuplot."""

import os

from bed.process import run

# Colours that stay apart for those who do not see all of them; a family is one colour, and what is smaller is drawn in dashes.
STYLES = {
    "raw": ("#000000", 3, 1), "saslauthd_bind_5": ("#e69f00", 2, 4), "saslauthd_bind_32": ("#e69f00", 1, 5), "saslauthd_fastbind_5": ("#d55e00", 2, 8),
    "saslauthd_fastbind_32": ("#d55e00", 1, 9), "freeradius": ("#cc79a7", 1, 11), "validator_32": ("#0072b2", 1, 7), "validator_64": ("#56b4e9", 1, 7),
    "e2e_1": ("#009e73", 1, 13), "e2e_2": ("#009e73", 2, 12), "saslauthd_kerberos5_5": ("#d55e00", 2, 8), "saslauthd_kerberos5_32": ("#d55e00", 1, 9),
    "validator_kerberos": ("#0072b2", 1, 7),
}
HEAD = """set terminal svg size {width},{height} background "white" noenhanced font "DejaVu Sans,13"
set output "{output}"
set encoding utf8
set border 3 lw 1 lc rgb "#444444"
set tics nomirror out textcolor rgb "#222222"
set grid xtics ytics mytics lc rgb "#cccccc" lw 0.7, lc rgb "#eeeeee" lw 0.5
set logscale xy
set xtics ({xtics})
set xrange [{low}:{high}]
set xlabel "in flight"
set errorbars small
set key at screen {key},0.52 left center Left reverse samplen 2.5 spacing 1.25
"""


def _blocks(scenario, *paths):
    """The figures' medians, lowest and highest of each contestant, as gnuplot's data blocks; and the blocks' names."""
    text, names = "", []
    for number, contestant in enumerate(scenario.contestants()):
        rows = []
        for in_flight in scenario.in_flights():
            figures = [scenario.figure(contestant, in_flight, *path) for path in paths]
            if all(figures):
                rows.append(" ".join([str(in_flight), *(f"{figure.median} {figure.low} {figure.high}" for figure in figures)]))
        if rows:
            names.append((contestant, f"$d{number}"))
            text += f"$d{number} << EOD\n" + "\n".join(rows) + "\nEOD\n"
    return text, names


def _curves(names, titles, column, keys=True):
    curves = []
    for contestant, block in names:
        colour, dash, point = STYLES[contestant]
        title = f"title '{titles[contestant]}'" if keys else "notitle"
        curves.append(f"{block} using 1:{column}:{column + 1}:{column + 2} with yerrorlines lc rgb '{colour}' lw 2 dt {dash} pt {point} ps 0.7 {title}")
    return "plot " + ", \\\n\t".join(curves) + "\n"


def _titles(titles):
    # The apostrophe ends gnuplot's string, twice it is one.
    return {name: title.replace("'", "''") for name, title in titles.items()}


def _head(scenario, output, width, height, key):
    in_flights = scenario.in_flights()
    return HEAD.format(width=width, height=height, key=key, output=output, xtics=", ".join(f'"{number}" {number}' for number in in_flights),
                       low=in_flights[0] * 0.85, high=in_flights[-1] * 1.18)


def rates(scenario, titles, folder):
    name = f"{scenario.name}-rate.svg"
    data, names = _blocks(scenario, ("rate",))
    _gnuplot(_head(scenario, os.path.join(folder, name), 960, 480, 0.68) + data + "set rmargin screen 0.66\nset format y '%.0f'\nset ylabel 'passwords validated a second'\n"
             + _curves(names, _titles(titles), 2), folder)
    return name


def latencies(scenario, titles, folder):
    name = f"{scenario.name}-latency.svg"
    data, names = _blocks(scenario, ("p50_ms",), ("p99_ms",))
    shared = ("set format y '%g'\nset ylabel 'ms'\nset yrange [GPVAL_LOW:GPVAL_HIGH]\n".replace("GPVAL_LOW", str(_bound(scenario, min) * 0.8))
              .replace("GPVAL_HIGH", str(_bound(scenario, max) * 1.25)))
    _gnuplot(_head(scenario, os.path.join(folder, name), 1160, 460, 0.7) + data + shared
             + "set multiplot\nset lmargin screen 0.06\nset rmargin screen 0.34\nset title 'half of them within (p50)'\n" + _curves(names, _titles(titles), 2, keys=False)
             + "set ylabel ''\nset lmargin screen 0.39\nset rmargin screen 0.67\nset title '99 of 100 within (p99)'\n" + _curves(names, _titles(titles), 5)
             + "unset multiplot\n", folder)
    return name


def _bound(scenario, extreme):
    """The lowest or highest of all latencies: both panels have one scale."""
    values = [value for (contestant, in_flight) in scenario.runs for percentile in ("p50_ms", "p99_ms")
              for value in scenario.figure(contestant, in_flight, percentile).values]
    return extreme(values)


def _gnuplot(text, folder):
    script = os.path.join(folder, "plot.gp")
    with open(script, "w", encoding="utf-8") as out:
        out.write(text)
    run(["gnuplot", script])
    os.unlink(script)
