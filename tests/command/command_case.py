"""Shared by the tests of the command `rapt`: calling it as a user does, and its refusals."""

import json
import os
import shlex
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))
from absent import skip  # noqa: E402

COMMAND = []


def rapt(*args, **environment):
    clean = {k: v for k, v in os.environ.items() if k not in ("RAPT_ISA", "RAPT_TUNING", "NO_COLOR")}
    return subprocess.run(COMMAND + [str(a) for a in args], capture_output=True, text=True,
                          env={k: v for k, v in {**clean, "RAPT_TUNING": "off", **environment}.items()
                               if v is not None}, timeout=240, check=False)


def rapt_json(*args):
    result = rapt(*args, "--json")
    if result.returncode != 0:
        raise AssertionError(f"{args}: exit {result.returncode}: {result.stderr}")
    return json.loads(result.stdout)


def available():
    return rapt_json("info")["available"]


class CommandCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def refused(self, status, args, word, longest=10000, **environment):
        """The command fails with one sentence that has `word`, and prints nothing else."""
        with self.subTest(args=[str(a)[:60] for a in args]):
            result = rapt(*args, **environment)
            self.assertEqual(result.returncode, status, result.stderr)
            self.assertEqual(result.stdout, "")
            self.assertTrue(result.stderr.startswith("rapt: "), result.stderr)
            self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
            self.assertIn(word, result.stderr)
            self.assertLessEqual(len(result.stderr), longest)

    def close(self, got, want, tolerance=2e-5):
        self.assertEqual(len(got), len(want))
        for a, b in zip(got, want):
            if isinstance(a, list):
                self.close(a, b, tolerance)
            else:
                self.assertAlmostEqual(a, b, delta=tolerance)


def main():
    """Runs the test cases of the script; its first argument is the command."""
    COMMAND[:] = shlex.split(os.environ.get("MESON_EXE_WRAPPER", "")) + [sys.argv.pop(1)]
    result = unittest.main(verbosity=1, exit=False).result
    if not result.wasSuccessful():
        sys.exit(1)
    if result.skipped:
        skip("; ".join(f"{case}: {reason}" for case, reason in result.skipped))
