"""RAPT_ISA decides the ISA of a fresh process, and a wrong one is an error.

usage: check_rapt_isa.py PRINT_ACTIVE_ISA KNOWN_ISA...
"""
import os
import shlex
import subprocess
import sys


def run(command, rapt_isa, *arguments):
    """The exit status and the one line that a process with this RAPT_ISA prints."""
    environment = {k: v for k, v in os.environ.items() if k != "RAPT_ISA"}
    if rapt_isa is not None:
        environment["RAPT_ISA"] = rapt_isa
    done = subprocess.run(
        [*command, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout.strip()


def failures(command, known):
    _, listed = run(command, None, "--list")
    available = listed.split()
    if not available:
        yield "--list names no ISA"
        return
    for unset in (None, ""):
        if run(command, unset) != (0, available[0]):
            yield f"RAPT_ISA={unset!r}: {run(command, unset)}, not the best, {available[0]}"
    for isa in known:
        status, line = run(command, isa)
        if isa in available:
            if (status, line) != (0, isa):
                yield f"RAPT_ISA={isa}: exit {status}, {line!r}"
        elif status != 1 or not line.startswith(f"RAPT_ISA: {isa} is not "):
            yield f"RAPT_ISA={isa} cannot run here, but: exit {status}, {line!r}"
    for wrong in ("AVX2", "nonsense", " "):
        status, line = run(command, wrong)
        if status != 1 or f'unknown ISA "{wrong}"' not in line:
            yield f"RAPT_ISA={wrong!r} is unknown, but: exit {status}, {line!r}"


def main():
    emulator = shlex.split(os.environ.get("MESON_EXE_WRAPPER", ""))
    found = list(failures([*emulator, sys.argv[1]], sys.argv[2:]))
    print("\n".join(found) if found else "RAPT_ISA is honoured")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
