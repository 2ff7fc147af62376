"""`rapt check`: its report on cases that pass, fail and cannot run, and on folders without cases.

usage: check_command_check.py RAPT
"""

import json
import struct

from command_case import CommandCase, available, main, rapt


class Check(CommandCase):
    def save(self, name, output, operator="Attention"):
        """A case of one query over one key: the output is the value, 7."""
        folder = self.folder / name
        folder.mkdir()
        tensors = []
        for io, role, value in (("input", "Q", 1), ("input", "K", 1), ("input", "V", 7),
                                ("output", "Y", output)):
            (folder / role).write_bytes(struct.pack("<f", value))
            tensors.append({"role": role, "io": io, "dtype": "f32", "shape": [1, 1, 1, 1],
                            "file": role, "stored_as": "<f4", "data_offset": 0, "nbytes": 4})
        facts = {"format": "attn-conformance-1", "name": name, "suite": "made",
                 "operator": operator, "attributes": {},
                 "tolerance": {"f32": {"atol": 1e-5, "rtol": 0}}, "tensors": tensors}
        (folder / "case.json").write_text(json.dumps(facts))
        return folder

    def test_passed_cases_are_counted_and_skipped_ones_name_missing_options(self):
        self.save("right", 7)
        self.save("other", 7, operator="Gelu")
        result = rapt("check", self.folder, "--isa", "all")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(result.stdout.splitlines(), ["skip other: needs operator Gelu",
                                                      "1 passed, 0 failed, 1 skipped"])

    def test_a_failing_case_is_located_on_every_isa_and_exits_with_1(self):
        folders = [self.save("right", 7), self.save("wrong", 8)]
        result = rapt("check", *folders, "--isa", "all")
        self.assertEqual((result.returncode, result.stderr), (1, ""))
        *lines, counts = result.stdout.splitlines()
        self.assertEqual(counts, "1 passed, 1 failed, 0 skipped")
        self.assertEqual(len(lines), len(available()))
        for line, isa in zip(lines, available()):
            self.assertTrue(line.startswith(f"fail wrong [{isa}]: Y"), line)
        report = rapt("check", *folders, "--json")
        self.assertEqual(report.returncode, 1)
        report = json.loads(report.stdout)
        self.assertEqual((report["isas"], report["passed"], report["failed"]),
                         (available()[:1], 1, 1))
        right, wrong = report["cases"]
        self.assertEqual((right["status"], right["failures"]), ("passed", []))
        failure = wrong["failures"][0]
        self.assertEqual((failure["tensor"], failure["got"], failure["want"]), ("Y", 7, 8))

    def test_folders_without_cases_exit_with_2_and_are_named(self):
        self.refused(2, ["check"], "DIR")
        self.refused(2, ["check", self.folder], f"{self.folder} has no case.json")
        self.refused(2, ["check", self.folder / "none"], "none is not a folder")
        self.refused(2, ["check", self.folder, "--isa", "avx9"], "--isa")


if __name__ == "__main__":
    main()
