#!/usr/bin/env python3
"""benchmarks/guard.py with fake workers reports cells that are slower or have other bits."""
import os
import subprocess
import sys
import tempfile

# A worker with two cells and guard_worker's commands; {0} is its time factor, {1} its hash.
WORKER = """#!{python}
import sys
for line in sys.stdin:
    words = line.split()
    if words[0] == "cells":
        print("small\\t0\\t1\\nlarge\\t0\\t0\\n", flush=True)
    elif words[0] == "isas":
        print("wide scalar", flush=True)
    elif words[0] == "begin":
        cell = int(words[1])
        print("{hash}" if cell == 1 else "00", flush=True)
    else:
        print(0.01 * ({factor} if cell == 1 else 1.0), flush=True)
"""


def run(guard, *, factor=1.0, bits="00", only=""):
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, values in (("base", {"factor": 1.0, "hash": "00"}), ("head", {"factor": factor, "hash": bits})):
            paths.append(os.path.join(folder, name))
            with open(paths[-1], "w", encoding="utf-8") as file:
                file.write(WORKER.format(python=sys.executable, **values))
            os.chmod(paths[-1], 0o755)
        return subprocess.run([sys.executable, guard, *paths, "--seconds", "0", "--only", only],
                              capture_output=True, text=True, check=False)


def expect(condition, what, ran):
    if not condition:
        sys.exit(f"{what}: exit {ran.returncode}\n{ran.stdout}{ran.stderr}")


def main():
    guard = sys.argv[1]
    same = run(guard)
    expect(same.returncode == 0 and "3 cells: 0 slower" in same.stdout, "equal workers", same)
    expect("small" in same.stdout and same.stdout.count("scalar") == 1, "only small cells are for scalar", same)
    slower = run(guard, factor=1.02)
    expect(slower.returncode == 1 and "large  SLOWER" in slower.stdout and "small  SLOWER" not in slower.stdout,
           "a cell that takes 1.02 x", slower)
    expect(run(guard, factor=1.02, only="small").returncode == 0, "--only leaves it out", slower)
    within = run(guard, factor=1.005)
    expect(within.returncode == 0 and "SLOWER" not in within.stdout, "a cell that takes 1.005 x", within)
    faster = run(guard, factor=0.5)
    expect(faster.returncode == 0 and "large  faster" in faster.stdout and " 0.500 " in faster.stdout,
           "a cell that takes half", faster)
    other = run(guard, bits="01")
    expect(other.returncode == 1 and "large  BITS DIFFER" in other.stdout, "another hash", other)
    nothing = run(guard, only="no such cell")
    expect(nothing.returncode != 0 and "no such cell" in nothing.stderr, "no cell", nothing)
    print("guard: 8 checks passed")


if __name__ == "__main__":
    main()
