"""The built binaries have the marks of the compiler's and the linker's hardening flags.

A flag that a build file omits, or that another flag disables, changes no result: only these marks
show it.

usage: check_hardening.py [--fortified] [--cet] --readelf READELF --archive ARCHIVE LINKED...
       check_hardening.py --self-test
"""
import argparse
import re
import subprocess
import sys


def undefined_symbols(symbols_text):
    return set(re.findall(r"\bUND (\w+)", symbols_text))


def linked_faults(dynamic_text, headers_text, symbols_text, fortified):
    """Faults of a shared library or a program, from readelf's output."""
    if not re.search(r"BIND_NOW|\(FLAGS_1\).*\bNOW\b", dynamic_text):
        yield "symbols are resolved lazily (-z now)"
    if "GNU_RELRO" not in headers_text:
        yield "what the loader wrote stays writable (-z relro)"
    undefined = undefined_symbols(symbols_text)
    if "__stack_chk_fail" not in undefined:
        yield "no stack canary (-fstack-protector-strong)"
    if fortified and not any(re.fullmatch(r"__\w+_chk", name) for name in undefined):
        yield "no copy with its bound checked (-D_FORTIFY_SOURCE)"


def archive_faults(notes_text):
    """Each object must have the mark: one without it removes it from the linked binary."""
    for member in notes_text.split("\nFile: ")[1:]:
        if not re.search(r"x86 feature: IBT, SHSTK", member):
            yield f"{member.splitlines()[0]}: indirect branches are not checked (-fcf-protection)"


GOOD = ("0x1e (FLAGS) BIND_NOW", "GNU_RELRO", "UND __stack_chk_fail@G\nUND __memcpy_chk@G")
MEMBER = "\nFile: librapt.a(a.o)\n x86 feature: IBT, SHSTK"
# Found faults, and their expected number.
SELF_TESTS = [
    (lambda: linked_faults(*GOOD, True), 0),
    (lambda: linked_faults("", *GOOD[1:], True), 1),
    (lambda: linked_faults(GOOD[0], "", GOOD[2], True), 1),
    (lambda: linked_faults(*GOOD[:2], "UND __stack_chk_fail@G", True), 1),
    (lambda: linked_faults(*GOOD[:2], "UND __stack_chk_fail@G", False), 0),
    (lambda: linked_faults(*GOOD[:2], "", True), 2),
    (lambda: archive_faults(MEMBER * 2), 0),
    (lambda: archive_faults(MEMBER + "\nFile: librapt.a(b.o)\n"), 1),
]


def self_test():
    for number, (found, count) in enumerate(SELF_TESTS):
        if len(list(found())) != count:
            yield f"self test {number}: {list(found())}, not {count} faults"


def check(arguments):
    def readelf(option, file):
        return subprocess.run([arguments.readelf, option, "--wide", file], capture_output=True,
                              text=True, check=True).stdout

    for file in arguments.linked:
        texts = [readelf(option, file) for option in ("--dynamic", "--segments", "--dyn-syms")]
        for fault in linked_faults(*texts, arguments.fortified):
            yield f"{file}: {fault}"
    if arguments.cet:
        yield from archive_faults(readelf("--notes", arguments.archive))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--readelf")
    parser.add_argument("--archive")
    parser.add_argument("--fortified", action="store_true")
    parser.add_argument("--cet", action="store_true")
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("linked", nargs="*")
    arguments = parser.parse_args()
    found = list(self_test() if arguments.self_test else check(arguments))
    print("\n".join(found) if found else "no fault found")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
