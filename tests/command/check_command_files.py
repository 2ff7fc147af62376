"""The output files of `rapt run`: devices, pipes and links are preserved, and a file is either the
complete old one or the complete new one.

usage: check_command_files.py RAPT
"""

import ctypes
import os
import resource
import signal
import stat
import subprocess
import threading
import unittest

from command_case import COMMAND, CommandCase, main
from command_oracle import Matrix, write_npy, write_safetensors

UMASK = 0o027


def obey_permissions():
    """Drops root's capability to write everything."""
    PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1
    if os.geteuid() == 0:
        ctypes.CDLL(None, use_errno=True).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)


class Written:
    """Common to every flag that names an output file."""
    FLAG = ""

    def setUp(self):
        super().setUp()
        self.out = self.folder / "out"
        self.out.mkdir()
        self.addCleanup(os.umask, os.umask(UMASK))

    def args(self, path):
        """The command line that writes to `path`."""
        return ["run", "--repeat", "1", self.FLAG, str(path)]

    def check(self, content):
        """Fails unless the file is complete."""
        raise NotImplementedError

    def run_with(self, path, **options):
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.run(COMMAND + self.args(path), text=True, timeout=240, check=False,
                              **options)

    def write(self, path, **options):
        result = self.run_with(path, **options)
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def names(self):
        return {path.name for path in self.out.iterdir()}

    def device(self, path, minor):
        """A device like /dev/null (3) or /dev/full (7), to spare the real ones."""
        try:
            os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
            with open(path, "wb"):
                pass
        except OSError as error:
            self.skipTest(f"no device can be made: {error}")

    def test_a_device_is_written_through_and_stays(self):
        self.device(self.out / "null", 3)
        self.device(self.out / "full", 7)
        (self.out / "link").symlink_to("full")
        self.write(self.out / "null")
        for name in "full", "link":
            self.refused(1, self.args(self.out / name), "No space left on device")
        for name in "null", "full":
            self.assertTrue(stat.S_ISCHR((self.out / name).lstat().st_mode), name)
        self.assertEqual(self.names(), {"null", "full", "link"})

    def test_a_fifo_gets_the_bytes_and_stays(self):
        fifo, content = self.out / "fifo", []
        os.mkfifo(fifo)
        reader = threading.Thread(target=lambda: content.append(fifo.read_bytes()), daemon=True)
        reader.start()
        self.write(fifo)
        self.assertTrue(stat.S_ISFIFO(fifo.lstat().st_mode))
        reader.join(60)
        self.check(content[0])

    def test_a_pipe_without_a_reader_gives_an_error_sentence(self):
        near, far = os.pipe()
        (self.out / "pipe").symlink_to(f"/proc/self/fd/{far}")
        os.close(near)
        result = self.run_with(self.out / "pipe", pass_fds=[far])
        os.close(far)
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertIn("Broken pipe", result.stderr)

    def test_links_are_followed_and_stay(self):
        (self.out / "far").mkdir()
        (self.out / "far/old").write_text("old")
        for link, to in (("far/one", "old"), ("two", "far/one"), ("new", "far/created"),
                         ("absolute", self.out / "far/alone"), ("around", "around")):
            (self.out / link).symlink_to(to)
        self.refused(1, self.args(self.out / "around"), "around: cannot be opened for writing")
        for link, file in (("two", "old"), ("new", "created"), ("absolute", "alone")):
            self.write(self.out / link)
            self.assertTrue((self.out / link).is_symlink())
            self.assertFalse((self.out / "far" / file).is_symlink())
            self.check((self.out / "far" / file).read_bytes())
        self.assertTrue((self.out / "far/one").is_symlink())
        self.assertEqual({path.name for path in (self.out / "far").iterdir()},
                         {"old", "one", "created", "alone"})

    def test_other_files_are_unchanged(self):
        neighbours = {"out.part", "out~", ".out", "out.tmp"}
        for name in neighbours:
            (self.out / name).write_text(name)
        command = [os.path.abspath(word) if os.path.exists(word) else word for word in COMMAND]
        subprocess.run(command + self.args("out"), cwd=self.out, check=True,
                       capture_output=True, timeout=240)
        self.check((self.out / "out").read_bytes())
        self.assertEqual(self.names(), {"out", *neighbours})
        self.assertEqual({(self.out / name).read_text() for name in neighbours}, neighbours)

    def test_a_name_may_be_as_long_as_the_system_allows(self):
        for _ in "new", "old":
            self.write(self.out / ("n" * 255))
        self.check((self.out / ("n" * 255)).read_bytes())

    def test_permissions_are_those_of_the_old_file_or_of_any_new_one(self):
        (self.out / "old").write_text("old")
        if os.geteuid() == 0:
            os.chown(self.out / "old", 1234, 4321)
        (self.out / "old").chmod(0o604)
        owner = (self.out / "old").stat()
        for name in "old", "new":
            self.write(self.out / name)
            self.check((self.out / name).read_bytes())
        old, new = (self.out / "old").stat(), (self.out / "new").stat()
        self.assertEqual((stat.S_IMODE(old.st_mode), stat.S_IMODE(new.st_mode)),
                         (0o604, 0o666 & ~UMASK))
        self.assertEqual((old.st_uid, old.st_gid), (owner.st_uid, owner.st_gid))

    def test_a_file_that_may_not_be_written_is_not_replaced(self):
        (self.out / "old").write_text("old")
        (self.out / "old").chmod(0o444)
        result = self.run_with(self.out / "old", preexec_fn=obey_permissions)
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertIn("Permission denied", result.stderr)
        self.assertEqual((self.out / "old").read_text(), "old")

    def test_a_write_that_fails_halfway_leaves_the_old_file_and_no_other(self):
        (self.out / "old").write_text("old")
        for name in "old", "new":
            result = self.run_with(self.out / name, preexec_fn=lambda: resource.setrlimit(
                resource.RLIMIT_FSIZE, (4096, 4096)))
            self.assertEqual((result.returncode, result.stdout), (1, ""))
            self.assertIn(f"{name}: cannot be written: File too large", result.stderr)
        self.assertEqual(self.names(), {"old"})
        self.assertEqual((self.out / "old").read_text(), "old")

    def test_a_command_that_is_stopped_leaves_the_old_file_or_the_new_one(self):
        (self.out / "old").write_text("old")
        for number in signal.SIGINT, signal.SIGTERM:
            with subprocess.Popen(COMMAND + self.args(self.out / "old"), stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT) as process:
                process.stdout.read(1)  # the report follows the file
                process.send_signal(number)
                process.stdout.read()
            self.assertIn(process.returncode, (0, -number))
            self.check((self.out / "old").read_bytes())
        self.assertEqual(self.names(), {"old"})

    def test_unwritable_files_are_named(self):
        self.refused(2, self.args(""), self.FLAG)
        self.refused(2, [*self.args("")[:-2], f"{self.FLAG}="], self.FLAG)
        for name in "", "none/file", "file/":
            self.refused(1, self.args(f"{self.out}/{name}"), f"{name}: cannot be opened for writing")
        self.assertEqual(self.names(), set())

    def test_an_output_must_not_be_the_file_of_the_report(self):
        for number, stream in (1, "stdout"), (2, "stderr"):
            (self.out / "link").symlink_to(f"/proc/self/fd/{number}")
            for path in self.out / "report", self.out / "link":
                with open(self.out / "report", "w+") as report:
                    result = self.run_with(path, **{stream: report})
                    report.seek(0)
                    self.assertEqual(result.returncode, 2)
                    self.assertIn(f"rapt: {self.FLAG}: ", result.stderr or report.read())
            (self.out / "link").unlink()
        self.assertEqual(self.names(), {"report"})

    def test_a_pipe_may_receive_the_report_and_an_output(self):
        (self.out / "link").symlink_to("/proc/self/fd/1")
        result = subprocess.run(COMMAND + self.args(self.out / "link"), capture_output=True,
                                check=True)
        content, report = result.stdout.split(b"Rapt ", 1)
        self.check(content)
        self.assertIn(b"hash", report)


class Svg(Written, CommandCase):
    FLAG = "--svg"

    def check(self, content):
        self.assertTrue(content.startswith(b"<svg") and content.endswith(b"</svg>\n"), content[:40])


class Output(Written, CommandCase):
    FLAG = "--output"

    def setUp(self):
        super().setUp()
        self.inputs = self.folder / "inputs"
        self.inputs.mkdir()
        write_npy(self.inputs / "x.npy", [300, 8], Matrix.drawn(300, 8, seed=1).values)
        write_safetensors(self.inputs / "layer", {f"{name}_proj.weight": Matrix.drawn(8, 8, seed=i)
                                                  for i, name in enumerate("qkvo")})

    def args(self, path):
        return ["run", "--weights", str(self.inputs / "layer"), "--heads", "2", "--input",
                str(self.inputs / "x.npy"), *super().args(path)[1:]]

    def check(self, content):
        self.assertEqual((content[:6], len(content)), (b"\x93NUMPY", 128 + 4 * 300 * 8))

    def test_an_output_must_not_be_an_input(self):
        (self.inputs / "config.json").write_text('{"num_attention_heads": 2}')
        (self.out / "link").symlink_to("../inputs/x.npy")
        os.link(self.inputs / "layer", self.out / "other_name")
        before = {path: path.read_bytes() for path in self.inputs.iterdir()}
        for path, word in ((self.inputs / "x.npy", "--input"), (self.out / "link", "--input"),
                           (self.out / "../inputs/x.npy", "--input"),
                           (self.inputs / "layer", "--weights"),
                           (self.out / "other_name", "--weights"),
                           (self.inputs / "config.json", "config.json")):
            self.refused(2, self.args(path), f"is also {'the ' * (word[0] == 'c')}{word}")
        for path, content in before.items():
            self.assertTrue(path.read_bytes() == content, f"{path} was written")


if __name__ == "__main__":
    main()
