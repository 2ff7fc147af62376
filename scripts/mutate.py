#!/usr/bin/env python3
"""Plants one plausible fault at a time in a copy of the code and checks that the suite notices it.

The faults are in tests/mutations/*.toml, each an exact replacement of text:

    [[mutation]]
    what = "a window is held one key short"         the resulting fault, in a few words
    file = "src/cache/cached_attention.cpp"
    old = 'of the file, exactly once'
    new = 'the replacement'
    likely = "cache cascade"                        optional: words of the names of the test files that
                                                    are run first; by default by the fault's folder
    tests = ["rapt_isa"]                            optional: meson tests in addition to the quick suite
    race = true                                     optional: rapt_race_tests under ThreadSanitizer
    equivalent = "why no test can notice"           optional: the fault is not tried

    scripts/mutate.py                                 all of them, and docs/notes/mutations.md
    scripts/mutate.py --only window                   those whose words or file contain "window"
    scripts/mutate.py --alive                         those that survived or did not fit last time
    scripts/mutate.py --texts                         only whether every old text occurs exactly once

The checkout is never changed: the tree is copied to a scratch folder that keeps its build from run to
run, together with the outcomes, from which the table is written.
"""
import argparse
import datetime
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
FAULTS = ROOT / "tests/mutations"
TABLE = ROOT / "docs/notes/mutations.md"
FIELDS = {"what", "file", "old", "new", "likely", "tests", "race", "equivalent"}

# Compiles kernels with the optimisation of the rest.
QUICK_KERNELS = ("src/meson.build", "? '1' : '3'", "? '1' : '1'")
SETUP = ["-Doptimization=1", "-Dtests=enabled", "-Dtools=enabled", "-Dbenchmarks=disabled",
         "-Dexamples=disabled"]
TSAN = ["-Db_sanitize=thread", "-Db_lundef=false"]
RACES = "tests/rapt_race_tests"
# Targets of the meson tests that a fault may name.
TESTED = ["tools/rapt", "tests/print_active_isa", "tests/rapt_allocation_tests",
          "tests/rapt_floating_point_tests"]

# The test files that catch most faults of a folder, by words of their names.
LIKELY = {
    "src/core": "errors aligned",
    "src/dispatch": "isa tuning",
    "src/attention": "plan attention threads ragged paged",
    "src/linear": "linear",
    "src/ops": "rope norm softmax t5 embedding",
    "src/parallel": "threads plan",
    "src/formats": "npy safetensors file",
    "src/kernels": "kernels decode attention_bits attention_rows",
    "src/cache": "cache cached",
    "src/layer": "cached context layer",
}


class WrongText(Exception):
    """An old text that does not occur exactly once."""


def faults():
    """All of the list, in order."""
    found = []
    for path in sorted(FAULTS.glob("*.toml")):
        for fault in tomllib.loads(path.read_text())["mutation"]:
            if unknown := fault.keys() - FIELDS:
                sys.exit(f"{path.name}: {fault.get('what')}: unknown {', '.join(unknown)}")
            found.append(fault)
    names = [fault["what"] for fault in found]
    if twice := {name for name in names if names.count(name) > 1}:
        sys.exit(f"twice in the list: {', '.join(twice)}")
    return found


def replaced(tree, name, old, new):
    """The text of a file with the one occurrence of `old` replaced."""
    path = tree / name
    text = path.read_text() if path.exists() else ""
    if text.count(old) != 1 or old == new:
        raise WrongText(f"{name}: the old text occurs {text.count(old)} times, not once: {old!r}")
    return text.replace(old, new)


def copy_tree(tree):
    """Brings the copy up to date; files that did not change keep their times, and so their builds."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = {name for name in listed.split("\0") if name and (ROOT / name).is_file()}
    for path in [path for path in tree.rglob("*") if path.is_file()]:
        name = str(path.relative_to(tree))
        if not name.startswith(("build/", "build-tsan/")) and name not in names:
            path.unlink()
    for name in names:
        there = tree / name
        wanted = (ROOT / name).read_bytes()
        if name == QUICK_KERNELS[0]:
            wanted = replaced(ROOT, *QUICK_KERNELS).encode()
        if not there.exists() or there.read_bytes() != wanted:
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_bytes(wanted)
            shutil.copymode(ROOT / name, there)


class DoesNotBuild(Exception):
    """Carries the compiler's output."""


class Build:
    """The copy, its build, and its checks."""

    def __init__(self, scratch, options):
        self.tree, self.jobs, self.seconds = scratch / "tree", options.jobs, options.seconds
        self.near = options.near
        self.environment = {k: v for k, v in os.environ.items() if k != "RAPT_ISA"}
        self.environment["RAPT_TEST_LEVEL"] = "quick"
        self.tree.mkdir(parents=True, exist_ok=True)
        copy_tree(self.tree)
        if not (self.tree / "build/build.ninja").exists():
            self.run(["meson", "setup", "build", *SETUP], 600, check=True)
        if not (self.tree / "build-tsan/build.ninja").exists():
            self.run(["meson", "setup", "build-tsan", *SETUP, *TSAN], 600, check=True)

    def run(self, command, seconds, check=False):
        """The exit status, or "time", and the output. A timeout kills the children too."""
        process = subprocess.Popen(command, cwd=self.tree, env=self.environment, text=True,
                                   errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   start_new_session=True)
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            return "time", output
        if check and process.returncode != 0:
            sys.exit(f"{' '.join(command)}\n{output}")
        return process.returncode, output

    def compile(self, *targets, folder="build"):
        """The compiler's output if building the targets fails."""
        status, output = self.run(["ninja", "-C", folder, f"-j{self.jobs}", *targets], 1800)
        return "" if status == 0 else output

    def checks(self, likely, tests, race):
        """(targets, command) of each check, the most likely to fail first."""
        near = ",".join(f"*test_*{word}*" for word in likely.split()) or "*"
        doctest = ["--abort-after=1", "--no-version"]
        suite, allocations = "tests/rapt_tests", "tests/rapt_allocation_tests"
        fuzz = "tests/fuzz_differential"
        if race:
            yield [RACES], [f"build-tsan/{RACES}", *doctest]
        yield [suite], [f"build/{suite}", *doctest, f"--source-file={near}"]
        for test in tests:
            yield TESTED, ["meson", "test", "-C", "build", "--no-rebuild", test]
        if self.near:
            return
        yield [suite], [f"build/{suite}", *doctest, f"--source-file-exclude={near}"]
        yield [allocations], [f"build/{allocations}", *doctest]
        yield [fuzz], [f"build/{fuzz}", "1", "300"]

    def first_failure(self, likely, tests, race):
        """The first failing check and how it fails, or nothing. Throws DoesNotBuild."""
        for targets, command in self.checks(likely, tests, race):
            if words := self.compile(*targets, folder="build-tsan" if targets == [RACES] else "build"):
                raise DoesNotBuild(words)
            status, output = self.run(command, self.seconds)
            name = command[-1] if command[0] == "meson" else pathlib.Path(command[0]).name
            if status != 0:
                return f"{name}: {told_by(status, output)}"
        return ""

    def failure_without_fault(self, chosen):
        """The suite must pass without a fault, or it would seem to catch everything."""
        tests = {test for fault in chosen for test in fault.get("tests", [])}
        return self.first_failure("", sorted(tests), any("race" in fault for fault in chosen))


def told_by(status, output):
    """The test case that failed, or how the process ended."""
    end = "too slow" if status == "time" else ""
    if "WARNING: ThreadSanitizer: data race" in output:
        return "ThreadSanitizer: data race"
    if isinstance(status, int) and status < 0:
        end = signal.Signals(-status).name
    case = re.search(r"^TEST CASE: +(.*(?:\n  \S.*)*)", output, re.MULTILINE)
    if case:
        words = " ".join(case.group(1).split())
        return f"{words} ({end})" if end else words
    return end or f"exit {status}"


def outcome_of(build, fault):
    """Killed and by which test, alive, or an error of the list."""
    try:
        changed = replaced(build.tree, fault["file"], fault["old"], fault["new"])
    except WrongText as wrong:
        return {"outcome": "does not fit", "by": str(wrong)}
    path = build.tree / fault["file"]
    original = path.read_text()
    path.write_text(changed)
    try:
        folder = "/".join(fault["file"].split("/")[:2])
        by = build.first_failure(fault.get("likely", LIKELY[folder]), fault.get("tests", []),
                                 fault.get("race", False))
        return {"outcome": "killed" if by else "alive", "by": by}
    except DoesNotBuild as words:
        return {"outcome": "does not build", "by": str(words)[-300:]}
    finally:
        path.write_text(original)


def commit():
    """The commit of the checkout, and whether it has uncommitted changes."""
    def git(*arguments):
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True,
                              check=True).stdout.strip()
    changed = git("status", "--porcelain", "--", "src", "tests")
    return git("rev-parse", "--short", "HEAD") + (" and changes" if changed else "")


def stamp():
    """The date and commit of an outcome."""
    return f"{datetime.date.today()} at commit {commit()}"


def write_table(outcomes, list_of_faults):
    """Writes docs/notes/mutations.md."""
    rows, counts = [], {"killed": 0, "alive": 0, "equivalent": 0, "not tried": 0}
    for fault in list_of_faults:
        result = outcomes.get(key_of(fault), {"outcome": "not tried", "by": ""})
        if "equivalent" in fault:
            result = {"outcome": "equivalent", "by": fault["equivalent"]}
        counts[result["outcome"]] = counts.get(result["outcome"], 0) + 1
        place = fault["file"].removeprefix("src/")
        by = result["by"].replace("|", "\\|")
        rows.append(f"| {fault['what']} | {place} | {result['outcome']} | {by} |")
    real = counts["killed"] + counts["alive"]
    share = 100.0 * counts["killed"] / real if real else 0.0
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    TABLE.write_text(f"""# Faults that the suite was given

Written by [`scripts/mutate.py`](../../scripts/mutate.py), last on {stamp()}: one fault of
[`tests/mutations/`](../../tests/mutations) at a time, against the quick suite (`RAPT_TEST_LEVEL=quick`: `rapt_tests`,
`rapt_allocation_tests`, `fuzz_differential 1 300`, and the tests that a fault names) until its first failure.

{len(list_of_faults)} faults: {", ".join(f"{count} {name}" for name, count in counts.items() if count)}.
Of those that are not equivalent and were tried, {share:.1f} % are killed.

| fault | file | outcome | by, or why not |
|---|---|---|---|
""" + "\n".join(rows) + "\n")


def check_texts(list_of_faults):
    """Names the faults whose text does not occur exactly once; the exit status."""
    wrong = 0
    for fault in list_of_faults:
        try:
            replaced(ROOT, fault["file"], fault["old"], fault["new"])
        except WrongText as error:
            print(f"{fault['what']}: {error}")
            wrong += 1
    print(f"{len(list_of_faults)} faults, {wrong} do not fit")
    return 1 if wrong else 0


def key_of(fault):
    """The key of an outcome: the fault and its file."""
    return "\n".join([fault["what"], fault["file"], fault["old"], fault["new"]])


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="faults whose words or file contain this")
    parser.add_argument("--alive", action="store_true", help="faults that were not killed last time")
    parser.add_argument("--texts", action="store_true", help="only hold the texts against the files")
    parser.add_argument("--near", action="store_true", help="only run the tests that probably notice")
    parser.add_argument("--scratch", type=pathlib.Path,
                        default=pathlib.Path(os.environ.get("TMPDIR", "/tmp")) / "rapt-mutations")
    parser.add_argument("--jobs", type=int, default=2, help="of the build")
    parser.add_argument("--seconds", type=int, default=300, help="that one check may take")
    options = parser.parse_args()

    everything = faults()
    if options.texts:
        return check_texts(everything)

    options.scratch.mkdir(parents=True, exist_ok=True)
    kept = options.scratch / "outcomes.json"
    outcomes = json.loads(kept.read_text()) if kept.exists() else {}
    chosen = [fault for fault in everything
              if "equivalent" not in fault and options.only in f"{fault['what']} {fault['file']}"
              and not (options.alive and outcomes.get(key_of(fault), {}).get("outcome") == "killed")]
    build = Build(options.scratch, options)
    if not options.near and (by := build.failure_without_fault(chosen)):
        sys.exit(f"without any fault: {by}")
    left = 0
    now = stamp()
    for fault in chosen:
        began = time.monotonic()
        result = outcome_of(build, fault)
        outcomes[key_of(fault)] = {**result, "at": now}
        kept.write_text(json.dumps(outcomes, indent=1))
        left += result["outcome"] != "killed"
        print(f"{time.monotonic() - began:5.0f} s  {result['outcome']:12s} {fault['what']}"
              f"{'  <- ' if result['by'] else ''}{result['by'][:90]}", flush=True)
    write_table(outcomes, everything)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
