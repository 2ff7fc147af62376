"""A document that walks through a program quotes the program and its output line for line.

usage: check_walk_through.py DOCUMENT PROGRAM SOURCE...
       check_walk_through.py --self-test

Each ```cpp block must be consecutive lines of a SOURCE, which the build compiles and a test runs,
except for the indentation of the block; each ```text block consecutive lines of PROGRAM's output.
"""
import os
import pathlib
import re
import shlex
import subprocess
import sys
import textwrap

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def has_lines(text, block):
    """Whether `text` contains the lines of `block` consecutively, possibly indented."""
    lines, count = text.splitlines(), len(block.splitlines())
    windows = ("\n".join(lines[i : i + count]) + "\n" for i in range(len(lines) - count + 1))
    return any(textwrap.dedent(window) == block for window in windows)


def faults_of(text, sources, printed):
    """One sentence for each wrong quote, and for each kind of block that is missing."""
    kinds = []
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start()) + 1
        kind, code = block.groups()
        kinds.append(kind)
        if kind == "cpp" and not any(has_lines(source, code) for source in sources):
            yield f"line {line}: the code is not in the sources"
        elif kind == "text" and not has_lines(printed, code):
            yield f"line {line}: the program does not print this"
        elif kind not in ("cpp", "text"):
            yield f"line {line}: the block is neither cpp nor text"
    yield from (f"there is no {kind} block" for kind in ("cpp", "text") if kind not in kinds)


def self_test():
    sources = ["int main() {\n  if (a) {\n    b();\n  }\n  c();\n}\n", "d();\n"]
    printed = "x 1\ny 2\nz 3\n"
    good = "A.\n\n```cpp\nif (a) {\n  b();\n}\n```\n\n```cpp\nd();\n```\n\n```text\ny 2\nz 3\n```\n"
    texts = {
        "": good,
        "line 3: the code is not in the sources": good.replace("b();", "e();"),
        "line 9: the code is not in the sources": good.replace("d();", "c();\nd();"),
        "line 13: the program does not print this": good.replace("z 3", "z 4"),
        "line 13: the block is neither cpp nor text": good.replace("```text", "```")
        + "```text\nx 1\n```\n",
        "there is no cpp block": "```text\nx 1\n```\n",
        "there is no text block": "```cpp\nc();\n```\n",
    }
    for fault, text in texts.items():
        found = list(faults_of(text, sources, printed))
        if found != ([fault] if fault else []):
            yield f"found {found}, not {fault!r}"


def main():
    if sys.argv[1:] == ["--self-test"]:
        faults = list(self_test())
    else:
        document, program, *sources = sys.argv[1:]
        command = shlex.split(os.environ.get("MESON_EXE_WRAPPER", "")) + [program]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        text, *codes = (pathlib.Path(p).read_text(encoding="utf-8") for p in (document, *sources))
        faults = [f"{document}: {fault}" for fault in faults_of(text, codes, printed)]
    print("\n".join(faults) if faults else "no fault found")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
