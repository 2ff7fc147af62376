"""`rapt compare`: its last lines, on equal bits, and wrong uses.

usage: check_command_compare.py RAPT
"""

import os

from command_case import CommandCase, available, main, rapt, rapt_json


class Compare(CommandCase):
    def test_it_ends_with_lines_on_the_cache_and_the_bits(self):
        quick = os.environ.get("RAPT_TEST_LEVEL") == "quick"
        short = ["compare", "T1", "--repeat", 1, "--cache-tokens", 70]
        result = rapt(*(short if quick else short[:-2]))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stdout.splitlines()[-2:],
                         [f"cache: equal on {', '.join(available())} ({70 if quick else 2048} "
                          "tokens: one by one, 7, 64, 1000, whole; 1 and 2 threads)",
                          f"bits: equal on {', '.join(available())}"])
        report = rapt_json(*short)
        cache = report["cache"]
        self.assertTrue(report["bits_equal"] and cache["bits_equal"])
        self.assertEqual((cache["isas"], cache["threads"], cache["tokens"], cache["different"]),
                         (available(), [1, 2], 70, []))
        self.assertEqual(cache["chunks"], [1, 7, 64, 1000, 70])
        self.assertNotIn("cache", rapt_json("bench", "--preset", "T1", "--repeat", 1))

    def test_wrong_flags_exit_with_2_and_name_the_flag(self):
        self.refused(2, ["compare", "P0"], "P0")
        self.refused(2, ["compare", "--cache-tokens", 0], "--cache-tokens")


if __name__ == "__main__":
    main()
