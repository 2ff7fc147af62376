#!/usr/bin/env python3
"""Times two guard_workers in turns, cell by cell, and reports where the second is slower.

Usage: guard.py BASE_WORKER HEAD_WORKER [--seconds N] [--only WORDS]

Each sweep starts both processes again, since memory addresses affect times more than clocks do, takes the cells
in random order, and times the two alternately, the first one chosen at random. A sweep's ratio is the median of the
ratios of adjacent samples. A cell's ratio is the median of its sweeps, and its interval their range: with 6 sweeps it
contains the median with 97 % confidence, for any distribution. A cell is slower if its whole interval is above 1.01.
Exit status 1 if a cell is slower or bits differ.
"""
import argparse
import os
import random
import statistics
import subprocess
import sys
import time

SWEEPS = 6
BEYOND = 1.01
SAMPLE = 0.004  # seconds, at least a call


class Worker:
    def __init__(self, path):
        # Commits are compared by their defaults, not by the tuning of the user.
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, "RAPT_TUNING": "off"})

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"guard.py: a worker ended at '{line}'")
        return answer.rstrip("\n")

    def cells(self):
        row, rows = self.ask("cells"), []
        while row:
            name, shared, scalar = row.split("\t")
            rows.append((name, shared == "1", scalar == "1"))
            row = self.process.stdout.readline().rstrip("\n")
        return rows

    def end(self):
        self.process.stdin.close()
        self.process.wait()


class Cell:
    def __init__(self, number, name, isa, threads):
        self.number, self.name, self.isa, self.threads = number, name, isa, threads
        self.ratios, self.base, self.same_bits = [], [], True

    def measure(self, base, head, seconds):
        begin = f"begin {self.number} {self.isa} {self.threads}"
        self.same_bits &= base.ask(begin) == head.ask(begin)
        for worker in (base, head):  # the first call allocates
            one = float(worker.ask("time 1"))
        calls = max(1, round(SAMPLE / one))
        ratios, end = [], time.monotonic() + seconds
        while time.monotonic() < end or len(ratios) < 3:
            order = [base, head]
            random.shuffle(order)
            took = {worker: float(worker.ask(f"time {calls}")) for worker in order}
            ratios.append(took[head] / took[base])
            self.base.append(took[base])
        self.ratios.append(statistics.median(ratios))

    def ratio(self):
        return statistics.median(self.ratios)

    def verdict(self):
        if not self.same_bits:
            return "BITS DIFFER"
        if min(self.ratios) > BEYOND:
            return "SLOWER"
        return "faster" if max(self.ratios) < 1 / BEYOND else ""

    def row(self):
        return (f"{self.ratio():6.3f}  {min(self.ratios):.3f} to {max(self.ratios):.3f}  "
                f"{statistics.median(self.base) * 1e6:11.1f} us  {self.isa:7} {self.threads}  {self.name}  "
                f"{self.verdict()}").rstrip()


def all_cells(worker, only):
    cells = []
    isas, cores = worker.ask("isas").split(), len(os.sched_getaffinity(0))
    for number, (name, shared, scalar) in enumerate(worker.cells()):
        for isa in isas:
            if isa == "scalar" and not scalar and len(isas) > 1:
                continue
            for threads in {1, cores} if shared and isa == isas[0] else {1}:
                cell = Cell(number, name, isa, threads)
                if only in f"{name} {isa} {threads}":
                    cells.append(cell)
    return cells


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base")
    parser.add_argument("head")
    parser.add_argument("--seconds", type=float, default=360, help="of measuring, in all (default: 360)")
    parser.add_argument("--only", default="", help="cells whose line holds this (default: all)")
    options = parser.parse_args()
    first = Worker(options.base)
    cells = all_cells(first, options.only)
    first.end()
    if not cells:
        sys.exit(f"guard.py: no cell holds '{options.only}'")
    # Half of the time goes to creating the inputs.
    seconds = options.seconds / len(cells) / SWEEPS / 2
    for _ in range(SWEEPS):
        base, head = Worker(options.base), Worker(options.head)
        for cell in random.sample(cells, len(cells)):
            cell.measure(base, head, seconds)
        base.end()
        head.end()
    print("ratio   interval           before, median  ISA     threads  work")
    for cell in cells:
        print(cell.row())
    bad = [cell for cell in cells if cell.verdict() in ("SLOWER", "BITS DIFFER")]
    faster = sum(cell.verdict() == "faster" for cell in cells)
    print(f"{len(cells)} cells: {len(bad)} slower beyond {BEYOND} or of other bits, {faster} faster; "
          f"geometric mean {statistics.geometric_mean(cell.ratio() for cell in cells):.3f}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
