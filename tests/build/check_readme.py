"""A program in the README equals the file that is named after it, character for character.

usage: check_readme.py SOURCE_ROOT
       check_readme.py --self-test
"""
import pathlib
import re
import sys
import tempfile

PROGRAM = re.compile(
    r"^```cpp\n(.*?)^```$\s*(?:This is \[(.*?)\]\((.*?)\))?", re.MULTILINE | re.DOTALL
)


def faults_of(root):
    """One sentence for each program without a file or with another text, or if there is no program."""
    text = (root / "README.md").read_text(encoding="utf-8")
    programs = list(PROGRAM.finditer(text))
    if not programs:
        yield "README.md: there is no program"
    for program in programs:
        line = text.count("\n", 0, program.start()) + 1
        code, name, address = program.groups()
        if name is None or name != address:
            yield f"README.md:{line}: the program does not go on with 'This is [FILE](FILE)'"
        elif not (root / name).is_file():
            yield f"README.md:{line}: there is no file {name}"
        elif (root / name).read_text(encoding="utf-8") != code:
            yield f"README.md:{line}: the program differs from {name}"


def self_test():
    good = "a\n\n```cpp\nint main() {}\n```\n\nThis is [x.cpp](x.cpp). b\n"
    texts = {
        "": good,
        "there is no program": "a\n",
        "README.md:3: the program differs from x.cpp": good.replace("{}", "{ }"),
        "README.md:3: there is no file y.cpp": good.replace("x.cpp", "y.cpp"),
        "README.md:3: the program does not go on": good.replace("This is", "So is"),
    }
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        (root / "x.cpp").write_text("int main() {}\n", encoding="utf-8")
        for fault, text in texts.items():
            (root / "README.md").write_text(text, encoding="utf-8")
            found = list(faults_of(root))
            if len(found) != (fault != "") or not all(fault in one for one in found):
                yield f"found {found}, not {fault!r}"


def main():
    self_testing = sys.argv[1:] == ["--self-test"]
    faults = list(self_test() if self_testing else faults_of(pathlib.Path(sys.argv[1])))
    print("\n".join(faults) if faults else "no fault found")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
