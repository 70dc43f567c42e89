"""What tools/bench runs once everything is built."""

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time

from bed.ca import Authority
from bed.process import BedError
from bed.pta import TOP
from bed.slapd import Slapd

STARTED = time.monotonic()


def say(text):
    print(f"[{time.monotonic() - STARTED:6.1f} s] {text}", file=sys.stderr, flush=True)


def parse():
    parser = argparse.ArgumentParser(prog="tools/bench")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--out")
    args = parser.parse_args()
    if args.rounds is None:
        args.rounds = 7 if args.quick else 5
    if args.rounds < 5:
        parser.error("medians want 5 rounds or more")
    if args.out is None and not args.quick:
        args.out = os.path.join(TOP, "docs", "benchmarks")
    return args


def write(out, result):
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, "bench.json"), "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1)
        file.write("\n")


def main():
    args = parse()
    with contextlib.ExitStack() as stack:
        folder = tempfile.mkdtemp(prefix="pta-bench-")
        stack.callback(shutil.rmtree, folder)
        os.mkdir(f"{folder}/slapd")
        slapd = Slapd(f"{folder}/slapd", Authority(folder))
        stack.callback(slapd.close)
        if args.quick:
            import quick

            figures = dict(quick.run(slapd, folder, args.rounds, say))
            for name, value in figures.items():
                print(f"{name}: {value:.3f}" if isinstance(value, float) else f"{name}: {value}", flush=True)
            if args.out:
                write(args.out, figures)
            return
        import full
        import report

        result = full.run(slapd, folder, args.rounds, say)
    write(args.out, result)
    report.write(args.out, result)
    say(f"written: {args.out}/index.md")


try:
    main()
except BedError as error:
    sys.exit(f"tools/bench: {error}")
