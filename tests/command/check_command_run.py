"""`rapt run` with a text: the article's steps and values, reports and pictures, wrong uses.

usage: check_command_run.py RAPT
"""

import os
import pty
import subprocess
import xml.etree.ElementTree as ElementTree

from command_case import COMMAND, CommandCase, available, main, rapt, rapt_json
from command_oracle import article


class Run(CommandCase):
    def test_the_sentence_of_the_article_is_the_default(self):
        result = rapt("run")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        for word in ("[2, 6, 8, 3, 1]", "[4, 5, 5]", "SplitMix64 with seed 42", "Head 3",
                     "marcello", "Time of one forward pass", available()[0]):
            self.assertIn(word, result.stdout)
        self.assertNotIn("\x1b", result.stdout)

    def test_every_step_has_the_values_of_the_formula(self):
        for extra, options in (([], {}),
                               (["--dim", 6, "--heads", 3, "--seed", 7, "--causal",
                                 "--text", "One, two; three two!"],
                                {"dim": 6, "heads": 3, "seed": 7, "causal": True,
                                 "ids": [0, 2, 1, 2], "vocabulary": 3})):
            got = rapt_json("run", *extra)
            want = article(**options)
            self.assertEqual(got["ids"], want["ids"])
            self.close(got["embedding"], want["embedding"], 1e-6)
            self.close(got["attention_weights"], want["weights"])
            self.close(got["context"], want["context"])
            self.close(got["output"], want["output"])

    def test_bits_do_not_depend_on_isa_batch_or_repeat(self):
        hashes = {rapt_json("run", "--isa", isa)["hash"] for isa in available()}
        self.assertEqual(len(hashes), 1)
        self.assertEqual({rapt_json("run", "--repeat", 3)["hash"]}, hashes)
        self.assertEqual(rapt_json("run", "--batch", 3)["output"], rapt_json("run")["output"])
        self.assertNotEqual({rapt_json("run", "--seed", 43)["hash"]}, hashes)

    def test_svg_is_xml_with_every_word_and_head(self):
        path = self.folder / "map.svg"
        text = "Tom & <Jerry> \"run\" \x01 élan \udcff"
        result = rapt("run", "--text", text, "--svg", path)
        self.assertEqual(result.returncode, 0, result.stderr)
        words = [node.text for node in ElementTree.parse(path).iter() if node.text]
        for word in ("tom", "jerry", "run", "élan", "?", "head 0", "head 3", "attention weight"):
            self.assertIn(word, words)
        self.assertEqual([p.name for p in self.folder.iterdir()], ["map.svg"])

    def test_long_texts_run_and_report_what_is_not_shown(self):
        # Instrumented kernels take minutes for 10,000 x 10,000 scores.
        count = 2000 if os.environ.get("RAPT_TEST_LEVEL") == "quick" else 10000
        words = " ".join(f"w{i}" for i in range(count))
        result = rapt("run", "--repeat", 1, "--text", words)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("too many for a terminal", result.stdout)
        self.assertIsNone(rapt_json("run", "--repeat", 1, "--text", words)["attention_weights"])
        self.refused(2, ["run", "--text", words, "--svg", self.folder / "a.svg"], "--svg")
        for count in (7, 10, 11, 28, 29):
            self.assertEqual(rapt("run", "--text", words[:words.index(f" w{count}")]).returncode, 0)

    def test_no_line_is_longer_for_long_words(self):
        usual = max(len(line) for line in rapt("run").stdout.splitlines())
        for words in ("x" * 5000, "é" * 300 + " a", " ".join(f"{'w' * 70}{i}" for i in range(9))):
            result = rapt("run", "--repeat", 1, "--text", words)
            self.assertEqual(result.returncode, 0, result.stderr)
            lines = result.stdout.splitlines()
            self.assertIn("…", next(line for line in lines if line.startswith("Vocabulary")))
            self.assertLessEqual(max(map(len, lines)), max(usual, 120), words[:20])

    def test_colour_needs_a_terminal_and_respects_no_color(self):
        def on_terminal(**environment):
            try:
                master, slave = pty.openpty()
            except OSError as error:  # as in a chroot without /dev/pts
                self.skipTest(f"there is no terminal: {error}")
            with subprocess.Popen(COMMAND + ["run"], stdout=slave,
                                  env={**os.environ, "TERM": "xterm-256color", **environment}) as p:
                os.close(slave)
                text = b""
                try:
                    while part := os.read(master, 65536):
                        text += part
                except OSError:  # how a terminal reports that its other end is closed
                    pass
                self.assertEqual(p.wait(), 0)
            os.close(master)
            return text
        self.assertIn(b"\x1b[48;5;", on_terminal(NO_COLOR=""))
        self.assertNotIn(b"\x1b", on_terminal(NO_COLOR="1"))

    def test_wrong_flags_exit_with_2_and_name_the_flag(self):
        for args, word in (
                (["--fly"], "--fly"), (["--dim", 0], "--dim"), (["--dim", "1e9"], "--dim"),
                (["--dim", 10**9], "--dim"), (["--dim", -4], "--dim"), (["--dim", "16x"], "--dim"),
                (["--heads", 7], "--heads"), (["--heads", 32], "--heads"),
                (["--repeat", 0], "--repeat"), (["--batch", 0], "--batch"),
                (["--seed", -1], "--seed"), (["--text", ""], "--text"),
                (["--text", " .,! "], "--text"), (["--isa", "avx9"], "--isa"),
                (["--isa", "all"], "--isa")):
            self.refused(2, ["run", *args], word)

    def test_failures_exit_with_1_and_write_nothing(self):
        missing = self.folder / "missing" / "a.svg"
        self.refused(1, ["run", "--svg", missing], "missing")
        self.refused(1, ["run", "--batch", 2**20, "--dim", 8192, "--text", "my " * 1000], "GB")
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_help_names_the_defaults(self):
        shown = rapt("run", "--help").stdout
        for name, default in (("--dim INT ", "16"), ("--heads INT ", "4"), ("--seed UINT ", "42"),
                              ("--text TEXT ", "my name is Marcello Politi")):
            line = next(line for line in shown.splitlines() if line.startswith("  " + name))
            self.assertIn(f"(default: {default}", line)


if __name__ == "__main__":
    main()
