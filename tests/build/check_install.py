"""An installed Rapt can be used: shared, static, by pkg-config, Meson, CMake, and as a subproject.

Installs the build into a scratch folder and builds examples/consumer against it.

usage: check_install.py [--cmake] SOURCE_ROOT BUILD_ROOT COMPILER...    --cmake: only CMake
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from absent import skip  # noqa: E402

# The meson of this build: another version would rebuild everything before installing.
NINJA = os.environ.get("NINJA", "ninja")


def run(*command, **environment):
    """The output of a command that must succeed; shows all of it on failure."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        env={**os.environ, **{name: str(value) for name, value in environment.items()}},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


class Installed:
    """The scratch folder with the installed files, and how to build against them."""

    def __init__(self, source, build, compiler, scratch):
        self.consumer = source / "examples" / "consumer"
        self.compiler = compiler
        self.scratch = scratch
        run(NINJA, "-C", build, "install", DESTDIR=scratch / "root")
        self.pc_file = self.only("rapt.pc")
        self.library = self.only("librapt.so")
        self.headers = self.only("attention.hpp").parent.parent

    def only(self, name):
        found = list((self.scratch / "root").rglob(name))
        if len(found) != 1:
            sys.exit(f"{name}: installed at {found}, not once")
        return found[0]

    def pkg_config(self, *options):
        """Flags for the compiler; the .pc file is relocatable."""
        flags = run("pkg-config", *options, "rapt", PKG_CONFIG_PATH=self.pc_file.parent)
        return flags.split()

    def environment(self):
        return {"PKG_CONFIG_PATH": self.pc_file.parent, "CXX": " ".join(self.compiler)}

    def check_run(self, how, program):
        output = run(program, LD_LIBRARY_PATH=self.library.parent)
        expected = re.compile(r'rapt \d+\.\d+\.\d+ on \w+: 5\.0757\d\d \(isa: unknown ISA "none".*\)')
        if not expected.fullmatch(output.strip()):
            sys.exit(f"{how}: unexpected output {output!r}")
        print(f"{how}: {output.strip()}")

    def compile(self, program, *flags):
        base = [*self.compiler, "-std=c++20", self.consumer / "main.cpp"]
        run(*base, *flags, "-o", program)
        return program


def check_headers(installed):
    """Each public header compiles on its own, without a warning."""
    flags = installed.pkg_config("--cflags")
    for header in sorted((installed.headers / "rapt").glob("*.hpp")):
        alone = installed.scratch / "header.cpp"
        alone.write_text(f'#include "rapt/{header.name}"\n', encoding="utf-8")
        warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
        # Not as a system header, which would silence warnings.
        run(*installed.compiler, "-std=c++20", "-fsyntax-only", *warnings, *flags, alone)
    print("headers: each compiles on its own")


def check_shared(installed):
    flags = installed.pkg_config("--cflags", "--libs")
    if any("tbb" in flag or "xsimd" in flag for flag in flags):
        sys.exit(f"pkg-config: a user of the shared library needs more than Rapt: {flags}")
    installed.check_run("shared", installed.compile(installed.scratch / "shared", *flags))


def check_static(installed):
    """The archive contains the kernels: only the libraries in rapt.pc are needed."""
    flags = installed.pkg_config("--static", "--cflags", "--libs")
    archive = installed.only("librapt.a")
    flags = [archive if flag == "-lrapt" else flag for flag in flags]
    program = installed.compile(installed.scratch / "static", *flags)
    if "librapt" in run("ldd", program):
        sys.exit("static: the program still loads the shared library")
    installed.check_run("static", program)


def check_meson(installed):
    """The consumer's own meson.build finds the installed library."""
    folder = installed.scratch / "meson"
    run("meson", "setup", "--wrap-mode=nofallback", folder, installed.consumer,
        **installed.environment())
    run(NINJA, "-C", folder)
    installed.check_run("meson", folder / "consumer")


def check_cmake(installed):
    """The consumer's own CMakeLists.txt finds the installed library."""
    folder = installed.scratch / "cmake"
    run("cmake", "-S", installed.consumer, "-B", folder, **installed.environment())
    run("cmake", "--build", folder)
    installed.check_run("cmake", folder / "consumer")


def check_subproject(installed, source):
    """The consumer builds Rapt itself, from subprojects/rapt."""
    project = installed.scratch / "project"
    shutil.copytree(installed.consumer, project)
    (project / "subprojects").mkdir()
    (project / "subprojects" / "rapt").symlink_to(source, target_is_directory=True)
    folder = installed.scratch / "subproject"
    environment = {"CXX": " ".join(installed.compiler)}
    run("meson", "setup", "--force-fallback-for=rapt", folder, project, **environment)
    run(NINJA, "-C", folder, "consumer")
    installed.check_run("subproject", folder / "consumer")


def main():
    cmake = sys.argv[1] == "--cmake"
    source, build, *compiler = sys.argv[1 + cmake:]
    source, build = pathlib.Path(source), pathlib.Path(build)
    if cmake and shutil.which("cmake") is None:
        skip("cmake is not installed")
    with tempfile.TemporaryDirectory(dir=build) as scratch:
        installed = Installed(source, build, compiler, pathlib.Path(scratch))
        if cmake:
            check_cmake(installed)
            return
        check_headers(installed)
        check_shared(installed)
        check_static(installed)
        check_meson(installed)
        check_subproject(installed, source)


if __name__ == "__main__":
    main()
