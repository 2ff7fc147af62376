"""The source tree keeps the limits and names that CONTRIBUTING.md and the documents claim.

usage: check_house.py SOURCE_ROOT
       check_house.py --self-test
"""
import glob
import pathlib
import re
import subprocess
import sys
import tempfile

FILE_LINES = 320
FUNCTION_LINES = 60
SUBJECT_LENGTH = 72

FOLDERS = ("include", "src", "tools", "tests", "benchmarks", "examples")
TOP = (*FOLDERS, "docs", "scripts", "cross", "subprojects", ".ci", ".github")

# Files over the limit, each with the reason.
LONG_FILES = {
    "benchmarks/guard_cells.cpp": "a table: one entry for each cell, and the work of its kind",
    "tests/attention/fixed_problems.cpp": "a table: one entry for each fixed problem",
    "tests/attention/test_attention_errors.cpp": "a table: one entry for each error",
    "tests/formats/test_safetensors.cpp": "a table: one entry for each malformed header",
    "tests/support/problems.cpp": "every option of attention() as a drawn problem",
}
# Functions that are one table: their length is the number of entries.
LONG_FUNCTIONS = {
    "tests/attention/test_attention_errors.cpp": "option_mistakes",
    "tests/attention/test_attention_pairs.cpp": "score_features",
    "tests/cache/test_kv_cache.cpp": "the mistakes of a cache",
    "tests/process/entry_points.hpp": "entry_points",
    "tests/process/test_floating_mode.cpp": "more_calls",
}

THIRD_PARTY = re.compile(r"<(?:doctest|oneapi|tbb|nlohmann|CLI|fmt|benchmark|xsimd)/")
INCLUDE = re.compile(r'^#include ((?:<[^>]+>)|(?:"[^"]+"))', re.MULTILINE)
LITERALS = re.compile(
    r'R"(\w*)\((?:.|\n)*?\)\1"|"(?:[^"\\\n]|\\.)*"|(?<!\w)\'(?:[^\'\\\n]|\\.)*\'|//[^\n]*|/\*(?:.|\n)*?\*/'
)

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```[ ]*$", re.MULTILINE | re.DOTALL)
NAMED_PATH = re.compile(r"(?<![\w./*-])(?:%s)/[\w./*-]*" % "|".join(map(re.escape, TOP)))
NAMED_FILE = re.compile(r"`(\w[\w.-]*\.(?:[ch]pp|py|sh|toml))`")
PLACEHOLDER = "NAME"  # a placeholder in a name
COMMENT = re.compile(r"(?://|#)(?!include)(.*)$", re.MULTILINE)


def without_literals(text):
    """`text` with the same lines, without comments and string contents."""
    return LITERALS.sub(lambda m: "\n" * m[0].count("\n"), text)


def function_lengths(text):
    """(first line, lines) of each function: each block that ends with a `}` alone at the margin
    or, for members, two columns from it, as clang-format formats them."""
    lines, code = text.split("\n"), without_literals(text).split("\n")
    opened = []
    for at, line in enumerate(code):
        for brace in re.findall(r"[{}]", line):
            if brace == "{":
                opened.append(at)
            elif opened:
                first = opened.pop()
                if re.fullmatch(r"( {0,2})}", lines[at]):
                    margin = len(lines[at]) - 1
                    # The signature of a long function has more than one line.
                    while first > 0 and len(lines[first]) - len(lines[first].lstrip()) > margin:
                        first -= 1
                    yield first + 1, at - first + 1


def include_group(include, file):
    """0: the file's own header, 1: the project, 2: third party, 3: the language and the system."""
    if include.startswith('"'):
        stem = pathlib.PurePath(file).name.split(".")[0]
        return 0 if pathlib.PurePath(include.strip('"')).name.split(".")[0] == stem else 1
    return 2 if THIRD_PARTY.match(include) else 3


def faults_of_code(file, text):
    lines = text.count("\n")
    if lines > FILE_LINES and file not in LONG_FILES:
        yield f"{file}: {lines} lines; at most {FILE_LINES}"
    if lines <= FILE_LINES and file in LONG_FILES:
        yield f"{file}: {lines} lines: take it out of LONG_FILES"
    for first, length in function_lengths(text):
        if length > FUNCTION_LINES and file not in LONG_FUNCTIONS:
            yield f"{file}:{first}: a function of {length} lines; at most {FUNCTION_LINES}"
    includes = INCLUDE.findall(text)
    if not text.startswith("//") and not (includes and include_group(includes[0], file) == 0):
        yield f"{file}: begins with neither its idea in a comment nor its own header"
    # Conditional includes, and includes after code that they need, have their own order.
    for part in re.split(r"^# *(?:if|el|endif).*$|^namespace .*$", text, flags=re.MULTILINE):
        includes = INCLUDE.findall(part)
        groups = [include_group(include, file) for include in includes]
        for before, after, include in zip(groups, groups[1:], includes[1:]):
            if before > after and after != 0:
                yield f"{file}: {include} is late: own header, project, third party, std"


def anchors_of(text):
    """The anchors that GitHub gives the headings of a Markdown file."""
    headings = re.findall(r"^#+ +(.*?) *$", FENCE.sub("", text), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


def faults_of_links(root, file, text):
    for address in LINK.findall(FENCE.sub("", text)):
        if re.match(r"\w+:", address):
            continue
        path, _, anchor = address.partition("#")
        target = (root / file).parent / path if path else root / file
        if not target.exists():
            yield f"{file}: the link {address} leads nowhere"
        elif anchor and anchor not in anchors_of(target.read_text(encoding="utf-8")):
            yield f"{file}: the link {address} names no heading"


def faults_of_names(root, file, text, names):
    """Paths and file names that `text` mentions and that do not exist."""
    for path in NAMED_PATH.findall(text):
        path = path.rstrip(".-*/")
        if PLACEHOLDER not in path and not glob.glob(str(root / path) + "*"):
            yield f"{file}: there is no {path}"
    if file.endswith(".md"):
        for name in NAMED_FILE.findall(text):
            if PLACEHOLDER not in name and name not in names:
                yield f"{file}: there is no file {name}"


def faults_of_subjects(subjects):
    for subject in subjects:
        if len(subject) > SUBJECT_LENGTH:
            yield f"commit '{subject}': {len(subject)} characters; at most {SUBJECT_LENGTH}"
        if not re.match(r"[^:]+: \S|Merge |Revert ", subject):
            yield f"commit '{subject}': not of the form 'scope: summary'"


def recent_subjects(root):
    """Subjects of the commits since this file was added; none without a repository or its history."""
    def git(*args):
        done = subprocess.run(["git", "-C", str(root), *args], capture_output=True, text=True)
        return done.stdout.split("\n")[:-1] if done.returncode == 0 else []

    if not (root / ".git").exists():
        return []
    added = git("log", "--diff-filter=A", "--format=%H", "--", "tests/build/check_house.py")
    return git("log", "--no-merges", "--format=%s", f"{added[-1]}..HEAD") if added else []


def texts_of(root):
    """Path -> text of each C++ file, script and document."""
    endings = (".cpp", ".hpp", ".md", ".py", ".sh", ".build")
    places = [path for folder in TOP for path in (root / folder).rglob("*")]
    for path in sorted([*places, *root.glob("*.md"), *root.glob("meson.build")]):
        if path.is_file() and (path.name.endswith(endings) or path == root / ".ci/run"):
            yield path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")


def faults_of(root):
    texts = dict(texts_of(root))
    names = {file.rsplit("/", 1)[-1] for file in texts}
    names |= {path.name for path in root.glob("tests/**/*.toml")}
    for file, text in texts.items():
        if file.endswith((".cpp", ".hpp")):
            yield from faults_of_code(file, text)
        if file.endswith(".md"):
            yield from faults_of_links(root, file, text)
            yield from faults_of_names(root, file, text, names)
        elif not file.startswith("tests/build/"):
            comments = "\n".join(COMMENT.findall(text))
            yield from faults_of_names(root, file, comments, names)
    yield from faults_of_subjects(recent_subjects(root))


GOOD_TREE = {
    "src/core/a.hpp": "// One idea.\n#pragma once\n\n#include <span>\n\n#if X\n#include <fmt/core.h>\n#endif\n",
    "src/core/a.cpp": '#include "core/a.hpp"\n\n#include "core/b.hpp"\n\n#include <fmt/format.h>\n\n'
                      "#include <span>\n\nint f(int x,\n      int y) {\n"
                      + '  // { {\n  g("{");\n' * 20 + "}\n",
    "docs/a.md": "# One `two`, three\n\n[a](../src/core/a.hpp) [b](#one-two-three) `a.hpp` src/core/*.cpp\n",
}
# File, the text added to it or replacing it, and words of the fault.
BAD_TEXTS = [
    ("src/core/a.cpp", "+" + "\n" * 320, "at most 320"),
    ("src/core/a.cpp", "+int g() {\n" + "  h();\n" * 60 + "}\n", "a.cpp:52: a function of 62 lines"),
    ("src/core/a.cpp", "+struct S {\n  int g() {\n" + "    h();\n" * 60 + "  }\n};\n", "of 62 lines"),
    ("src/core/a.cpp", '#include <span>\n#include "core/a.hpp"\n', "neither its idea"),
    ("src/core/a.cpp", '// A.\n#include <span>\n#include "core/b.hpp"\n', '"core/b.hpp" is late'),
    ("src/core/a.cpp", "// A.\n#include <span>\n#include <fmt/format.h>\n", "<fmt/format.h> is late"),
    ("src/core/a.cpp", "// A: docs/b.md says why.\n", "there is no docs/b.md"),
    ("src/core/a.hpp", "#pragma once\n", "neither its idea"),
    ("docs/a.md", "+[a](b.md)\n", "link b.md leads nowhere"),
    ("docs/a.md", "+[a](#four)\n", "link #four names no heading"),
    ("docs/a.md", "+[a](a.md#four)\n", "link a.md#four names no heading"),
    ("docs/a.md", "+`b.hpp`\n", "there is no file b.hpp"),
    ("docs/a.md", "+Look into src/corr/.\n", "there is no src/corr"),
]
BAD_SUBJECTS = {"a" * 71 + ": b": "74 characters", "house in order": "not of the form"}


def self_test():
    """The good tree has no fault; each bad text gives the expected one."""
    for file, change, words in [("", "", None), *BAD_TEXTS]:
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in GOOD_TREE.items():
                if name == file:
                    text = text + change[1:] if change.startswith("+") else change
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text, encoding="utf-8")
            found = list(faults_of(root))
        if (words is None and found) or (words and not any(words in fault for fault in found)):
            yield f"{file}: {change[:60]!r}: expected {words!r}, found {found}"
    for subject, words in BAD_SUBJECTS.items():
        if not any(words in fault for fault in faults_of_subjects([subject])):
            yield f"the subject {subject!r} passes"
    if list(faults_of_subjects(["house: in order", "Merge branch 'a'"])):
        yield "good subjects are faults"


def main():
    self_testing = sys.argv[1:] == ["--self-test"]
    faults = list(self_test() if self_testing else faults_of(pathlib.Path(sys.argv[1])))
    print("\n".join(faults) if faults else "no fault found")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
