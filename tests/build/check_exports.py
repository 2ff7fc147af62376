"""The shared library exports what the public headers declare with RAPT_API, and nothing else.

Any other exported name can clash with a symbol of the program that loads the library, or of another
library in it, and becomes an unintended part of the ABI.

usage: check_exports.py NM HEADERS LIBRARY
       check_exports.py --self-test
"""
import pathlib
import re
import subprocess
import sys

DECLARED_CLASS = re.compile(r"\b(?:class|struct)\s+RAPT_API\s+(\w+)")
DECLARED_FUNCTION = re.compile(r"(?<!class )(?<!struct )\bRAPT_API\s+[^;{(]*?(\w+)\s*\(")
RUNTIME_TYPE = re.compile(r"(?:vtable|typeinfo|typeinfo name) for rapt::(\w+)$")


def declared_names(texts):
    for text in texts:
        text = re.sub(r"//.*|^#.*", "", text, flags=re.MULTILINE)
        yield from DECLARED_CLASS.findall(text)
        yield from DECLARED_FUNCTION.findall(text)


def scopes_of(symbol):
    """The enclosing scopes of a demangled symbol of rapt::, outermost first; none for other symbols."""
    match = RUNTIME_TYPE.match(symbol)
    if match:
        return [match.group(1)]
    before_arguments = symbol.split("(", 1)[0]
    last = before_arguments.rsplit(" ", 1)[-1]  # a template's return type precedes its name
    if not last.startswith("rapt::"):
        return []
    return [re.sub(r"<.*", "", part) for part in last.removeprefix("rapt::").split("::")]


def faults(texts, symbols):
    declared = set(declared_names(texts))
    seen = set()
    for symbol in symbols:
        scopes = scopes_of(symbol)
        if not declared & set(scopes):
            yield f"exported, but no public header declares it with RAPT_API: {symbol}"
        seen.update(scopes)
    for name in sorted(declared - seen):
        yield f"declared with RAPT_API, but not exported: {name}"
    for kind in ("vtable", "typeinfo", "typeinfo name"):
        if f"{kind} for rapt::Error" not in symbols:
            yield f"not exported, though rapt::Error is caught outside: {kind} for rapt::Error"


HEADER = "#define RAPT_API x\nclass RAPT_API Error {};\nRAPT_API const Isa& f(int);  // RAPT_API no()\n"
ERROR = [f"{kind} for rapt::Error" for kind in ("vtable", "typeinfo", "typeinfo name")]
# Exported symbols, and a word of the expected fault (None: no fault).
SELF_TESTS = [
    ([*ERROR, "rapt::f(int)", "int rapt::Error::view<1>() const", "rapt::Error::~Error()"], None),
    (ERROR, "not exported: f"),
    (["rapt::f(int)", *ERROR[1:]], "vtable for rapt::Error"),
    ([*ERROR, "rapt::f(int)", "rapt::kernels::g(int)"], "declares it with RAPT_API: rapt::kernels::g"),
    ([*ERROR, "rapt::f(int)", "std::h(rapt::Error)"], "declares it with RAPT_API: std::h"),
    ([*ERROR, "rapt::f(int)", "typeinfo for std::shared<rapt::Error>"], "RAPT_API: typeinfo for std"),
]


def self_test():
    for symbols, word in SELF_TESTS:
        found = list(faults([HEADER], symbols))
        if (word is None and found) or (word and not any(word in fault for fault in found)):
            yield f"expected {word!r}, found {found} for {symbols}"


def check(nm, headers, library):
    texts = [path.read_text(encoding="utf-8") for path in pathlib.Path(headers).glob("*.hpp")]
    listed = subprocess.run([nm, "--dynamic", "--defined-only", "--demangle", library],
                            capture_output=True, text=True, check=True).stdout
    return list(faults(texts, [line.split(" ", 2)[2] for line in listed.splitlines()]))


def main():
    found = list(self_test()) if sys.argv[1:] == ["--self-test"] else check(*sys.argv[1:])
    print("\n".join(found) if found else "no fault found")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
