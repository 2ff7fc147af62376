"""Nothing of one ISA's kernel archive can leak into a program that runs on another ISA.

The linker keeps one copy of a weak function for the whole program. If that copy was compiled for
AVX-512, the program crashes on an AVX2 machine, and no test on an AVX-512 machine notices. So in every
archive weak symbols have its ISA in their names; the only strong symbols are its KernelSet and hidden
functions in the namespace of the ISA, which its objects share; nothing runs before main; and there are
instructions of its own ISA but of no wider one.

usage: check_symbols.py --nm NM --objdump OBJDUMP [--cpu CPU] [--baseline-avx] ROW... ISA=ARCHIVE...
       check_symbols.py --nm NM --objdump OBJDUMP ROW... --self-test COMPILER...
ROW: --isa NAME CPU OWN_NAME REQUIRED_CODE FORBIDDEN_CODE, as in src/kernels/meson.build
"""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

class Row:
    """An ISA of src/kernels/meson.build; patterns may be empty."""

    def __init__(self, name, cpu, own, required, forbidden):
        self.name, self.cpu, self.required, self.forbidden = name, cpu, required, forbidden
        # Part of a demangled weak name that proves that no other archive has the same symbol.
        self.own = f"rapt::kernels::{name}::" + (f"|{own}" if own else "")
        self.kernel_set = f"rapt::kernels::{name}::kKernels"


def output_of(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def hidden_symbols(symbol_table):
    """symbol_table: of `objdump --syms --demangle`, lines of VALUE FLAGS SECTION SIZE [.hidden] NAME."""
    return set(re.findall(r"\.hidden (.+)", symbol_table))


def symbol_faults(isa, nm_text, hidden):
    """nm_text: of `nm --demangle --format=posix`, lines of NAME TYPE [VALUE SIZE]."""
    strong = []
    for line in nm_text.splitlines():
        match = re.match(r"(.+) ([A-Za-z]) [0-9a-f]+(?: [0-9a-f]+)?\s*$", line)
        if not match:
            continue  # an archive member's title, or an undefined symbol
        name, kind = match.groups()
        if kind in "WVu":
            if not re.search(isa.own, name):
                yield f"weak symbol that another object may share: {name}"
        elif kind == "T" and name.startswith(f"rapt::kernels::{isa.name}::") and name in hidden:
            continue
        elif kind.isupper() and kind not in "UN":
            strong.append((name, kind))
    if [name for name, _ in strong] != [isa.kernel_set]:
        yield f"exports {[name for name, _ in strong]}, not just {isa.kernel_set}"
    elif strong[0][1] == "T":
        yield f"{isa.kernel_set} is a function, not a table"


def section_faults(section_text):
    for name in sorted(set(re.findall(r"\.(?:init_array|ctors|preinit_array)[.\w]*", section_text))):
        yield f"has a dynamic initialiser: section {name}"


def code_faults(isa, code_text):
    """The first instruction, if any, that is not part of this ISA."""
    if not isa.forbidden:
        return
    function = "?"
    for line in code_text.splitlines():
        if line.endswith(">:"):
            function = line.split("<", 1)[1][:-2]
        match = re.search(f"({isa.forbidden})", line)
        if match and line.startswith(" "):
            yield f"instruction beyond {isa.name} ({match.group(1).strip()}) in {function}: {line.strip()}"
            return


def faults_of(isa, archive, arguments):
    hidden = hidden_symbols(output_of(arguments.objdump, "--syms", "--demangle", archive))
    names = output_of(arguments.nm, "--demangle", "--format=posix", archive)
    yield from symbol_faults(isa, names, hidden)
    yield from section_faults(output_of(arguments.objdump, "--section-headers", archive))
    disassemble = ["--disassemble", "--demangle", "--no-show-raw-insn"]
    code = output_of(arguments.objdump, *disassemble, archive)
    if arguments.cpu == "x86_64" and not (isa.name == "scalar" and arguments.baseline_avx):
        yield from code_faults(isa, code)
    if isa.required and isa.cpu == arguments.cpu and not re.search(isa.required, code):
        yield f"no instruction of {isa.name}: nothing like {isa.required}"


TABLE = "namespace rapt::kernels::{0} {{ extern const int kKernels[]; const int kKernels[] = {{1}}; }}\n"
HIDDEN = 'namespace rapt::kernels::{0} {{ [[gnu::visibility("hidden")]] {1} }}\n'
# ISA, source that breaks one rule, a word of the expected fault (None: no fault).
SELF_TESTS = [
    ("scalar", TABLE.format("scalar"), None),
    ("scalar", "", "exports []"),
    ("scalar", TABLE.format("scalar") + "void leak() {}", "exports"),
    ("scalar", TABLE.format("avx2"), "exports"),
    ("scalar", TABLE.format("scalar") + HIDDEN.format("scalar", "void attend() {}"), None),
    ("scalar", TABLE.format("scalar") + HIDDEN.format("avx2", "void attend() {}"), "exports"),
    ("scalar", TABLE.format("scalar") + HIDDEN.format("scalar", "int state = 1;"), "exports"),
    (
        "scalar",
        TABLE.format("scalar") + "namespace rapt::kernels::scalar { void attend() {} }",
        "exports",
    ),
    (
        "avx2",
        TABLE.format("avx2") + "inline void shared() {} void (*volatile use)() = shared;",
        "weak symbol that another object may share: shared()",
    ),
    ("avx2", TABLE.format("avx2"), "no instruction of avx2"),
    ("avx512", TABLE.format("avx512"), "no instruction of avx512"),
    ("neon", TABLE.format("neon"), "no instruction of neon"),
    (
        "scalar",
        TABLE.format("scalar") + "int f(); static volatile int at_start = f();",
        "dynamic initialiser",
    ),
    (
        "avx2",
        TABLE.format("avx2") + '[[gnu::used]] static void f() { asm("vpxord %zmm1,%zmm1,%zmm1"); }',
        "instruction beyond avx2 (%zmm1)",
    ),
    (
        "scalar",
        TABLE.format("scalar") + '[[gnu::used]] static void f() { asm("vmulss %xmm1,%xmm2,%xmm3"); }',
        "instruction beyond scalar (vmulss)",
    ),
]


def self_test(arguments):
    """Compiles an object per broken rule; the rule must be reported, and nothing for the good one."""
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder, "case.cpp")
        object_file = str(pathlib.Path(folder, "case.o"))
        for name, text, word in SELF_TESTS:
            isa = arguments.rows[name]
            foreign = (word or "").startswith("no instruction of") and isa.cpu != arguments.cpu
            if foreign or ("asm(" in text and arguments.cpu != "x86_64"):
                continue
            source.write_text(text + "\n", encoding="utf-8")
            compiler = [*arguments.self_test, "-std=c++20", "-O1", "-c"]
            subprocess.run([*compiler, str(source), "-o", object_file], check=True)
            found = list(faults_of(isa, object_file, arguments))
            if (word is None and found) or (word and not any(word in fault for fault in found)):
                wrong.append(f"expected {word!r}, found {found} for: {text}")
    return wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nm", required=True)
    parser.add_argument("--objdump", required=True)
    parser.add_argument("--isa", nargs=5, action="append", required=True)
    parser.add_argument("--cpu", default="x86_64")
    parser.add_argument("--baseline-avx", action="store_true")
    parser.add_argument("--self-test", nargs=argparse.REMAINDER)
    parser.add_argument("archives", nargs="*")
    arguments = parser.parse_args()
    arguments.rows = {words[0]: Row(*words) for words in arguments.isa}
    if arguments.self_test:
        faults = self_test(arguments)
    else:
        pairs = [word.split("=", 1) for word in arguments.archives]
        faults = [f"{name}: {fault}" for name, file in pairs
                  for fault in faults_of(arguments.rows[name], file, arguments)]
    print("\n".join(faults) if faults else "no fault found")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
