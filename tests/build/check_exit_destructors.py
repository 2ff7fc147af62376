"""No object of the library is destroyed when a thread or the process ends.

Destructors of the application's static and thread_local objects may call the library, whose own such
objects would already be destroyed. Every object with such a destructor registers it by a function whose
name ends in atexit.

usage: check_exit_destructors.py --nm NM LIBRARY
       check_exit_destructors.py --nm NM --self-test COMPILER...
"""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

# Source, and whether it has an object that is destroyed at exit.
SELF_TESTS = [
    ("constinit thread_local int* kept = nullptr; int f() { static const int n = 3; return n + *kept; }", False),
    ("struct S { ~S(); }; S object;", True),
    ("struct S { ~S(); }; S& f() { static S object; return object; }", True),
    ("struct S { ~S(); }; S& f() { thread_local S object; return object; }", True),
    ('#include <cstdlib>\nvoid g(); void f() { std::atexit(g); }', True),
]


def faults_of(nm, library):
    """Members of the archive that register a destructor."""
    text = subprocess.run(
        [nm, "--undefined-only", "--print-file-name", library], capture_output=True, text=True, check=True
    ).stdout
    return sorted({line for line in text.splitlines() if re.search(r"\b_*(cxa_)?(thread_)?atexit(_impl)?$", line)})


def self_test(nm, compiler):
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        source, object_file = pathlib.Path(folder, "case.cpp"), str(pathlib.Path(folder, "case.o"))
        for text, expected in SELF_TESTS:
            source.write_text(text + "\n", encoding="utf-8")
            subprocess.run([*compiler, "-std=c++20", "-fPIC", "-c", str(source), "-o", object_file], check=True)
            if bool(faults_of(nm, object_file)) != expected:
                wrong.append(f"expected {'a fault' if expected else 'none'} for: {text}")
    return wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nm", required=True)
    parser.add_argument("--self-test", nargs=argparse.REMAINDER)
    parser.add_argument("library", nargs="?")
    arguments = parser.parse_args()
    if arguments.self_test:
        faults = self_test(arguments.nm, arguments.self_test)
    else:
        faults = faults_of(arguments.nm, arguments.library)
    for fault in faults:
        print(fault)
    print("no fault found" if not faults else f"{len(faults)} faults found")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
