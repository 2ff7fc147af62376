"""`rapt info`: the machine, its ISAs and its peaks.

usage: check_command_info.py RAPT
"""

from command_case import CommandCase, main, rapt, rapt_json


class Info(CommandCase):
    def test_it_names_the_machine_and_the_isas(self):
        info = rapt_json("info")
        self.assertEqual(info["active"], info["available"][0])
        self.assertIn("scalar", info["available"])
        self.assertGreater(info["peak"]["fma_gflops"], 0)
        self.assertIn("FMA peak", rapt("info").stdout)

    def test_a_wrong_flag_exits_with_2_and_is_named(self):
        self.refused(2, ["info", "--fast"], "--fast")


if __name__ == "__main__":
    main()
