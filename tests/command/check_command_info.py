"""`rapt info`: the machine, its ISAs and its peaks.

usage: check_command_info.py RAPT
"""

import math

from command_case import CommandCase, main, rapt, rapt_json


class Info(CommandCase):
    def test_it_names_the_machine_and_the_isas(self):
        info = rapt_json("info")
        self.assertEqual(info["active"], info["available"][0])
        self.assertIn("scalar", info["available"])
        self.assertGreater(info["peak"]["fma_gflops"], 0)
        self.assertIn("FMA peak", rapt("info").stdout)

    def test_it_shows_the_cpu_quota_and_limits_threads_to_it(self):
        machine = rapt_json("info")["machine"]
        quota = machine["cpu_quota"] or machine["cores"]
        self.assertEqual(machine["threads"], max(1, min(machine["cores"], math.ceil(quota))))
        line = next(text for text in rapt("info").stdout.splitlines() if "CPU quota" in text)
        self.assertIn("none, " if machine["cpu_quota"] is None else f"{quota:.4g}, ", line)
        result = rapt_json("bench", "--preset", "T1", "--threads", 0, "--repeat", 1)["results"][0]
        self.assertEqual(result["threads"], machine["threads"])

    def test_a_wrong_flag_exits_with_2_and_is_named(self):
        self.refused(2, ["info", "--fast"], "--fast")


if __name__ == "__main__":
    main()
