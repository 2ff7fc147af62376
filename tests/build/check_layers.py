"""A layer includes only layers below it, and only vectors and dispatch depend on the ISA.

usage: check_layers.py SOURCE_ROOT
       check_layers.py --self-test
"""
import pathlib
import re
import sys
import tempfile

ABI = ("kernels/abi/",)
TILE = ("kernels/abi/", "kernels/vec/", "kernels/tile/")
# Declares functions that the translation units of an ISA share.
UNITS = "kernels/functions.hpp"
CALLS_KERNELS = ("rapt/", "core/", "dispatch/", "parallel/", *ABI)

# Folder -> the quoted includes that its files may have: folders ("x/") or single headers. An entry
# applies to subfolders that are not listed themselves.
ALLOWED = {
    "include/rapt": ("rapt/",),
    "src/core": ("rapt/", "core/"),
    "src/reference": ("rapt/", "core/", "reference/", "kernels/abi/arithmetic.hpp"),
    "src/kernels/abi": ("kernels/abi/",),
    "src/kernels/vec": ("kernels/abi/", "kernels/vec/"),
    "src/kernels/tile": ("kernels/abi/", "kernels/vec/", "kernels/tile/"),
    "src/kernels/linear": (*TILE, UNITS, "kernels/linear/"),
    "src/kernels/state": (*TILE, "kernels/state/"),
    "src/kernels/rows": (*TILE, "kernels/state/", "kernels/rows/"),
    "src/kernels/prefill": (*TILE, "kernels/state/", "kernels/rows/", "kernels/prefill/"),
    "src/kernels/decode": (
        *TILE, "kernels/state/", "kernels/rows/", "kernels/prefill/", "kernels/decode/"
    ),
    "src/kernels/attend": (
        *TILE, "kernels/state/", "kernels/rows/", "kernels/prefill/", "kernels/decode/",
        "kernels/attend/", UNITS
    ),
    "src/kernels": ("kernels/",),
    "src/dispatch": (
        "rapt/", "core/", "formats/", "dispatch/", "kernels/isa_list.hpp", *ABI
    ),
    "src/parallel": ("rapt/", "core/", "parallel/"),
    "src/linear": (*CALLS_KERNELS, "linear/"),
    "src/ops": (*CALLS_KERNELS, "ops/"),
    "src/attention": (*CALLS_KERNELS, "ops/", "attention/"),
    "src/cache": ("rapt/", "core/", "dispatch/", "kernels/abi/", "attention/", "cache/"),
    "src/layer": ("rapt/", "core/", "parallel/", "ops/", "attention/", "cache/", "layer/"),
    "src/formats": ("rapt/", "core/", "formats/"),
    "tools/text": ("rapt/", "text/"),
    "tools/measure": (
        "rapt/", "core/", "kernels/abi/", "dispatch/", "linear/", "attention/", "text/", "measure/"
    ),
    "tools/conformance": ("rapt/", "core/", "reference/", "conformance/"),
    "tools/weights": ("rapt/", "core/", "text/", "weights/"),
    "tools/demo": ("rapt/", "core/", "text/", "measure/", "demo/"),
    "tools/command": (
        "rapt/", "core/", "dispatch/", "linear/", "formats/", "kernels/isa_list.hpp", "text/",
        "measure/", "conformance/",
        "weights/", "demo/", "command/"
    ),
}
# Package (by the beginning of its headers) -> the only places that include it. Few places of the tools
# do, because these headers take longer to compile than the code that uses them.
PACKAGE_PLACES = {
    ("tbb/", "oneapi/"): ("src/parallel/parallel.cpp", "tools/measure/", "tools/command/"),
    ("xsimd/",): ("src/kernels/vec/",),
    ("nlohmann/",): (
        "src/formats/", "tools/text/json.cpp", "tools/weights/model_config.",
        "tools/conformance/conformance_case.cpp"
    ),
    ("CLI/",): ("tools/command/command_line.cpp",),
}
# Headers of the standard library that have no inline functions to leak from a kernel archive.
KERNEL_STD_HEADERS = ("cstddef", "cstdint")
KERNEL_VEC_HEADERS = ("immintrin.h", "arm_neon.h")
# The only places that may depend on an ISA.
KNOWS_ISAS = ("src/kernels/vec", "src/dispatch")
# Sets registers of a processor family, independent of its ISAs.
PROCESSOR_FILES = ("src/core/default_arithmetic.hpp",)
ISA_MACRO = re.compile(
    r"__(?:AVX|SSE|FMA|F16C|ARM_|aarch64|x86_64|i386)\w*|RAPT_(?:KERNEL_ISA|COMPILED)\w*"
)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', re.MULTILINE)
CONDITION = re.compile(r"^[ \t]*#[ \t]*(?:el)?if\w*(?:.*\\\n)*.*$", re.MULTILINE)


def faults_of_include(file, folder, quoted, header):
    """The reason why `file` may not include `header`; nothing if it may."""
    for prefixes, places in PACKAGE_PLACES.items():
        if header.startswith(prefixes):
            if not file.startswith(places):
                yield f"includes {header}; only {', '.join(places)} may"
            return
    if quoted:
        if not header.startswith(ALLOWED[folder]):
            yield f"includes {header}; {folder} may include {', '.join(ALLOWED[folder])}"
    elif folder == "include/rapt":
        if "/" in header or "." in header:
            yield f"includes <{header}>; a public header includes rapt and the standard library"
    elif folder.startswith("src/kernels"):
        extra = KERNEL_VEC_HEADERS if file.startswith("src/kernels/vec/") else ()
        if header not in KERNEL_STD_HEADERS + extra:
            yield f"includes <{header}>; kernels may include {', '.join(KERNEL_STD_HEADERS)}"


def folder_of(file):
    """The innermost folder of the table that holds `file`."""
    return max((f for f in ALLOWED if file.startswith(f + "/")), key=len)


def faults_of(root):
    tbb_users = []
    for folder in ALLOWED:
        for path in sorted(pathlib.Path(root, folder).rglob("*.[ch]pp")):
            file = path.relative_to(root).as_posix()
            if folder != folder_of(file):
                continue
            text = path.read_text(encoding="utf-8")
            for mark, header in INCLUDE.findall(text):
                if header.startswith(("tbb/", "oneapi/")) and file.startswith("src/"):
                    tbb_users.append(file)
                for fault in faults_of_include(file, folder, mark == '"', header):
                    yield f"{file}: {fault}"
            if folder not in KNOWS_ISAS and file not in PROCESSOR_FILES:
                for condition in CONDITION.findall(text):
                    for macro in ISA_MACRO.findall(condition):
                        yield f"{file}: #if on {macro}; ISAs differ by data, not by #if"
    if set(tbb_users) != {"src/parallel/parallel.cpp"}:
        yield f"in src, oneTBB is included by {sorted(set(tbb_users))}, not by src/parallel/parallel.cpp alone"


# A tree that satisfies the rules, and for each rule a line that breaks it and a word of the fault.
GOOD_TREE = {
    "include/rapt/a.hpp": '#include <span>\n#include "rapt/b.hpp"\n#if defined(__cplusplus)\n#endif\n',
    "src/core/a.hpp": '#include <sys/mman.h>\n#include "rapt/a.hpp"\n#include "core/b.hpp"\n',
    "src/reference/a.cpp": '#include "kernels/abi/arithmetic.hpp"\n',
    "src/kernels/vec/a.hpp": "#include <cstdint>\n#include <immintrin.h>\n#include <xsimd/xsimd.hpp>\n",
    "src/kernels/tile/a.inl.hpp": '#include "kernels/vec/vec.hpp"\n',
    "src/dispatch/a.cpp": '#include "formats/a.hpp"\n#include "kernels/abi/kernel_set.hpp"\n#if defined(__x86_64__)\n#endif\n',
    "src/parallel/parallel.cpp": '#include <oneapi/tbb/parallel_for.h>\n#include "core/a.hpp"\n',
    "src/attention/a.cpp": '#include "ops/a.hpp"\n#include "kernels/abi/kernel_set.hpp"\n',
    "src/layer/a.cpp": '#include "attention/a.hpp"\n',
    "src/formats/a.cpp": '#include <nlohmann/json.hpp>\n#include "rapt/a.hpp"\n',
    "tools/text/json.cpp": '#include "text/json.hpp"\n#include <nlohmann/json.hpp>\n',
    "tools/measure/a.cpp": '#include <oneapi/tbb/task_arena.h>\n#include "text/a.hpp"\n',
    "tools/demo/a.cpp": '#include "measure/a.hpp"\n',
    "tools/command/a.cpp": '#include "weights/a.hpp"\n#include "demo/a.hpp"\n',
    "tools/command/command_line.cpp": '#include "command/command_line.hpp"\n#include <CLI/CLI.hpp>\n',
}
BAD_LINES = [
    ("include/rapt/a.hpp", '#include "core/a.hpp"', "includes core/a.hpp"),
    ("include/rapt/a.hpp", "#include <immintrin.h>", "includes <immintrin.h>"),
    ("include/rapt/a.hpp", "#include <tbb/task_arena.h>", "only src/parallel/parallel.cpp"),
    ("include/rapt/a.hpp", "#ifdef __AVX2__", "#if on __AVX2__"),
    ("src/core/a.hpp", '#include "attention/a.hpp"', "includes attention/a.hpp"),
    ("src/reference/a.cpp", '#include "kernels/vec/vec.hpp"', "includes kernels/vec/vec.hpp"),
    ("src/kernels/abi/a.hpp", '#include "kernels/vec/vec.hpp"', "includes kernels/vec/vec.hpp"),
    ("src/kernels/tile/a.inl.hpp", '#include "kernels/state/a.inl.hpp"', "includes kernels/state"),
    ("src/kernels/decode/a.inl.hpp", '#include "kernels/attend/a.inl.hpp"', "includes kernels/attend"),
    ("src/kernels/tile/a.inl.hpp", '#include "core/a.hpp"', "includes core/a.hpp"),
    ("src/kernels/tile/a.inl.hpp", "#include <algorithm>", "includes <algorithm>"),
    ("src/kernels/tile/a.inl.hpp", "#include <xsimd/xsimd.hpp>", "only src/kernels/vec/ may"),
    ("src/kernels/tile/a.inl.hpp", "#include <immintrin.h>", "includes <immintrin.h>"),
    ("src/kernels/tile/a.inl.hpp", "#if defined(RAPT_KERNEL_ISA_AVX2)", "#if on RAPT_KERNEL_ISA_AVX2"),
    ("src/dispatch/a.cpp", '#include "attention/a.hpp"', "includes attention/a.hpp"),
    ("src/attention/a.cpp", '#include "layer/a.hpp"', "includes layer/a.hpp"),
    ("src/attention/a.cpp", '#include "kernels/vec/vec.hpp"', "includes kernels/vec/vec.hpp"),
    ("src/attention/a.cpp", "#include <tbb/tbb.h>", "only src/parallel/parallel.cpp"),
    ("src/attention/a.cpp", "#if FOO && \\\n    defined(__ARM_NEON)", "#if on __ARM_NEON"),
    ("src/cache/a.cpp", '#include "layer/a.hpp"', "includes layer/a.hpp"),
    ("src/layer/a.cpp", '#include "dispatch/a.hpp"', "includes dispatch/a.hpp"),
    ("src/ops/a.cpp", '#include "attention/a.hpp"', "includes attention/a.hpp"),
    ("src/parallel/a.cpp", '#include "linear/a.hpp"', "includes linear/a.hpp"),
    ("src/formats/a.cpp", '#include "attention/a.hpp"', "includes attention/a.hpp"),
    ("src/formats/a.cpp", '#include "dispatch/a.hpp"', "includes dispatch/a.hpp"),
    ("src/dispatch/a.cpp", "#include <nlohmann/json.hpp>", "only src/formats/"),
    ("src/layer/a.cpp", "#include <nlohmann/json.hpp>", "only src/formats/"),
    ("tools/text/a.cpp", '#include "measure/a.hpp"', "includes measure/a.hpp"),
    ("tools/measure/a.cpp", '#include "command/a.hpp"', "includes command/a.hpp"),
    ("tools/conformance/a.cpp", '#include "measure/a.hpp"', "includes measure/a.hpp"),
    ("tools/weights/a.cpp", '#include "demo/a.hpp"', "includes demo/a.hpp"),
    ("tools/demo/a.cpp", '#include "command/a.hpp"', "includes command/a.hpp"),
    ("tools/command/a.cpp", '#include "reference/a.hpp"', "includes reference/a.hpp"),
    ("tools/command/a.cpp", "#include <nlohmann/json.hpp>", "only src/formats/"),
    ("tools/command/a.cpp", "#include <CLI/CLI.hpp>", "only tools/command/command_line.cpp"),
]


def self_test():
    """Each bad line, added to the good tree alone, must be reported; the good tree must not."""
    wrong = []
    for file, line, word in [("", "", None), *BAD_LINES]:
        with tempfile.TemporaryDirectory() as root:
            for name, text in {**GOOD_TREE, **({file: ""} if word else {})}.items():
                path = pathlib.Path(root, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                good = GOOD_TREE.get(name, "")
                path.write_text(good + line + "\n" if name == file else text, encoding="utf-8")
            found = list(faults_of(root))
        if (word is None and found) or (word and not any(word in fault for fault in found)):
            wrong.append(f"{file}: {line!r}: expected {word!r}, found {found}")
    return wrong


def main():
    faults = self_test() if sys.argv[1:] == ["--self-test"] else list(faults_of(sys.argv[1]))
    print("\n".join(faults) if faults else "no fault found")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
