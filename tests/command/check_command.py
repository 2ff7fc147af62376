"""Common to every command of `rapt`: help, an unknown RAPT_ISA, a report that cannot be written.

usage: check_command.py RAPT
"""

import os
import re
import shlex
import signal
import subprocess
import unittest
from pathlib import Path

from command_case import COMMAND, CommandCase, main, rapt, rapt_json

COMMANDS = ("run", "bench", "compare", "info", "check")


class Command(CommandCase):
    def test_no_command_and_an_unknown_one_exit_with_2(self):
        self.refused(2, [], "--help")
        self.refused(2, ["fly"], "fly")

    def test_an_unknown_isa_in_the_environment_exits_with_1(self):
        for command in ("run", "info"):
            self.refused(1, [command], "avx9", RAPT_ISA="avx9")

    @unittest.skipUnless(Path("/dev/full").exists(), "needs /dev/full")
    def test_a_report_that_cannot_be_written_exits_with_1(self):
        for args in (["run"], ["bench", "--preset", "T1", "--repeat", "1"], ["--version"],
                     *([*command, "--help"] for command in ([], *([name] for name in COMMANDS)))):
            with self.subTest(args=args), open("/dev/full", "w") as full:
                result = subprocess.run(COMMAND + args, stdout=full, stderr=subprocess.PIPE,
                                        text=True, check=False)
                self.assertEqual(result.returncode, 1)
                self.assertEqual(result.stderr, "rapt: standard output: cannot be written: "
                                                "No space left on device\n")

    @unittest.skipIf("MESON_EXE_WRAPPER" in os.environ, "what runs the command has streams too")
    def test_closed_streams_are_errors_and_no_output_lands_elsewhere(self):
        def shell(redirection):
            words = shlex.join([*COMMAND, "run", "--repeat", "1", "--svg", str(self.folder / "a")])
            return subprocess.run(["sh", "-c", f"{words} {redirection}"], capture_output=True, text=True,
                                  check=False)
        for redirection, status in ((">&-", 1), ("2>&-", 0), ("<&-", 0), (">&- 2>&- <&-", 1)):
            result = shell(redirection)
            self.assertEqual(result.returncode, status, redirection)
            svg = (self.folder / "a").read_text()
            self.assertTrue(svg.startswith("<svg") and svg.endswith("</svg>\n"), redirection)
        self.assertIn("Bad file descriptor", shell(">&-").stderr)

    def test_a_reader_that_leaves_ends_the_command_silently(self):
        for ignored, status, words in ((False, -signal.SIGPIPE, ""), (True, 1, "Broken pipe")):
            near, far = os.pipe()
            os.close(near)
            result = subprocess.run(COMMAND + ["--help"], stdout=far, stderr=subprocess.PIPE,
                                    text=True, check=False, restore_signals=not ignored)
            os.close(far)
            self.assertEqual(result.returncode, status)
            self.assertIn(words, result.stderr)
            self.assertEqual(result.stderr == "", words == "")

    def test_every_command_has_a_help_with_the_default_of_every_flag(self):
        for command in COMMANDS:
            result = rapt(command, "--help")
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            flags = [line for line in result.stdout.splitlines() if line.startswith("  --")]
            self.assertEqual([flag for flag in flags if "(default: " not in flag], [])
            self.assertGreater(len(flags), 0)
            self.assertNotIn(" in [", result.stdout)

    def test_an_invalid_number_exits_with_2_and_names_its_flag(self):
        wrong = ("nan", "-nan", "inf", "-inf", "-1", "99999999999999999999", "-99999999999999999999",
                 "1e400", "-1e400", "0x10", "0x1p3", "0b1", "", " ", "5 ", " 5", "1,000", "1_000",
                 "5x", "+5", "5.5.5", "--", "٣", "9" * 5000)
        for command in COMMANDS:
            help_text = rapt(command, "--help").stdout
            flags = re.findall(r"^  (--[a-z-]+)[^ ]* (INT|UINT|FLOAT)\b", help_text, re.MULTILINE)
            self.assertEqual({flag for flag, _ in flags} & {"--soft-cap", "--threads"} != set(),
                             command in ("bench", "compare"))
            for flag, kind in flags:
                for value in wrong + (() if kind == "FLOAT" else ("5.5", "1e1", "5.")):
                    self.refused(2, [command, f"{flag}={value}"], flag, longest=200)

    def test_numbers_are_decimal(self):
        for text in "010", "10":
            shape = rapt_json("bench", "attention", "--q-len", text, "--head-dim", 8, "--repeat", 1,
                              "--soft-cap", f"{text}.0e0")["results"][0]["shape"]
            self.assertEqual((shape["q_len"], shape["soft_cap"]), (10, 10))

    def test_the_version_equals_that_of_info(self):
        self.assertEqual(rapt("--version").stdout.strip(), rapt_json("info")["version"])


if __name__ == "__main__":
    main()
