"""What every command of `rapt` does: help, an unknown RAPT_ISA, a report that cannot be written.

usage: check_command.py RAPT
"""

import subprocess
import unittest
from pathlib import Path

from command_case import COMMAND, CommandCase, main, rapt, rapt_json


class Command(CommandCase):
    def test_no_command_and_an_unknown_one_exit_with_2(self):
        self.refused(2, [], "--help")
        self.refused(2, ["fly"], "fly")

    def test_an_unknown_isa_in_the_environment_exits_with_1(self):
        for command in ("run", "info"):
            self.refused(1, [command], "avx9", RAPT_ISA="avx9")

    @unittest.skipUnless(Path("/dev/full").exists(), "needs /dev/full")
    def test_a_report_that_cannot_be_written_exits_with_1(self):
        with open("/dev/full", "w") as full:
            result = subprocess.run(COMMAND + ["run"], stdout=full, stderr=subprocess.PIPE,
                                    text=True, check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("standard output", result.stderr)

    def test_every_command_has_a_help_with_the_default_of_every_flag(self):
        for command in ("run", "bench", "compare", "info", "check"):
            result = rapt(command, "--help")
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            flags = [line for line in result.stdout.splitlines() if line.startswith("  --")]
            self.assertEqual([flag for flag in flags if "(default: " not in flag], [])
            self.assertGreater(len(flags), 0)
            self.assertNotIn(" in [", result.stdout)

    def test_the_version_is_that_of_info(self):
        self.assertEqual(rapt("--version").stdout.strip(), rapt_json("info")["version"])


if __name__ == "__main__":
    main()
