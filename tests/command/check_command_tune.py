"""`rapt tune`: the file that it writes is the one that other processes use.

usage: check_command_tune.py RAPT
"""

import json

from command_case import CommandCase, available, main, rapt, rapt_json

QUICK = ["tune", "--seconds", 0.1, "--threads", 2]


class Tune(CommandCase):
    def tuned(self, *args, **environment):
        result = rapt(*QUICK, *args, **environment)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("No result changes, whatever the file says", result.stdout)
        return result.stdout

    def source(self, **environment):
        result = rapt("info", "--json", **environment)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)["tuning"]

    def test_the_file_that_RAPT_TUNING_names_is_written_and_then_used(self):
        path = str(self.folder / "tuning.json")
        self.refused(1, ["info"], f"RAPT_TUNING: {path}: cannot be read", RAPT_TUNING=path)
        self.assertIn(f"Written to {path}, which programs read if RAPT_TUNING names it.",
                      self.tuned(RAPT_TUNING=path))
        self.assertEqual(self.source(RAPT_TUNING=path), {"path": path, "ignored": ""})
        self.assertIn(f"Tuning       {path}\n", rapt("info", RAPT_TUNING=path).stdout)
        tuning = json.loads((self.folder / "tuning.json").read_text(encoding="utf-8"))
        self.assertEqual(tuning["rapt_tuning"], 1)
        self.assertIn(rapt_json("info")["active"], tuning)
        self.assertIn("call", tuning)

    def test_the_file_of_the_cache_directory_is_used_unless_it_is_wrong(self):
        user = {"XDG_CACHE_HOME": str(self.folder / "cache")}
        path = self.folder / "cache" / "rapt" / "tuning.json"
        self.assertIn("Written to ", self.tuned(**user))
        result = rapt("info", "--json", **user)  # with RAPT_TUNING=off
        self.assertEqual(json.loads(result.stdout)["tuning"]["path"], "")
        self.assertEqual(self.source(RAPT_TUNING=None, **user)["path"], str(path))
        path.write_text(path.read_text(encoding="utf-8").replace("machine", "toaster"),
                        encoding="utf-8")
        source = self.source(RAPT_TUNING=None, **user)
        self.assertEqual(source["path"], "")
        self.assertIn('"toaster" must be an object of numbers', source["ignored"])
        self.assertIn("the defaults; ignored: ", rapt("info", RAPT_TUNING=None, **user).stdout)

    def test_a_flag_names_the_file_and_the_instruction_sets(self):
        path = str(self.folder / "mine.json")
        isa = available()[-2:][0]  # the slowest but scalar
        self.tuned("--isa", isa, "--output", path)
        with open(path, encoding="utf-8") as file:
            self.assertEqual(set(json.load(file)), {"call", "machine", "rapt_tuning", isa})
        self.assertEqual(self.source(RAPT_TUNING=path)["path"], path)

    def test_a_dry_run_writes_nothing(self):
        path = self.folder / "tuning.json"
        self.assertIn("Nothing was written.", self.tuned("--dry-run", RAPT_TUNING=str(path)))
        self.assertFalse(path.exists())

    def test_json_lists_what_was_tried(self):
        result = rapt_json("tune", "--seconds", 6, "--threads", 2, "--dry-run")
        self.assertIsNone(result["written"])
        names = [tried["number"] for tried in result["tried"]]
        self.assertIn("query_rows", names)
        self.assertIn("inline_work", names)
        self.assertEqual(len(names), len(set(names)))
        for tried in result["tried"]:
            self.assertEqual(tried["rounds"] > 0, tried["others"] != [])
            self.assertIn(tried["chosen"],
                          [tried["default"]] + [other["value"] for other in tried["others"]])

    def test_wrong_flags_exit_with_2_and_are_named(self):
        self.refused(2, ["tune", "--isa", "sse"], "--isa")
        self.refused(2, ["tune", "--seconds", "-1"], "--seconds")
        self.refused(2, ["tune", "--output", ""], "--output")
        self.refused(2, ["tune"], "--output: needed", XDG_CACHE_HOME="", HOME="")

    def test_only_numbers_that_differ_from_their_defaults_are_written(self):
        path = self.folder / "tuning.json"
        result = rapt_json("tune", "--seconds", 6, "--output", path)
        self.assertEqual(result["written"], str(path))
        file = json.loads(path.read_text(encoding="utf-8"))
        written = {(section, name): value for section in ("call", rapt_json("info")["active"])
                   for name, value in file[section].items()}
        self.assertEqual(written, {(tried["section"], tried["number"]): tried["chosen"]
                                   for tried in result["tried"]
                                   if tried["chosen"] != tried["default"]})

    def test_a_file_that_cannot_be_written_is_refused_before_a_day_of_measuring(self):
        (self.folder / "file").write_text("", encoding="utf-8")
        for name, reason in [("none/tuning.json", "No such file or directory"),
                             ("file/tuning.json", "Not a directory"), ("", "Is a directory")]:
            path = self.folder / name
            self.refused(1, ["tune", "--seconds", 86400, "--output", path],
                         f"{path}: cannot be opened for writing: {reason}")
        path = self.folder / "file"
        self.refused(1, ["tune", "--seconds", 86400], f"{path}/rapt/tuning.json: cannot be opened",
                     RAPT_TUNING=None, XDG_CACHE_HOME=str(path))


if __name__ == "__main__":
    main()
