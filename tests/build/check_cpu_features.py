"""Each ISA's predicate tests for exactly the features that its kernels are compiled with.

usage: check_cpu_features.py CPU_FEATURES_CPP ISA=FLAG,FLAG...
       check_cpu_features.py --self-test

A predicate that tests for fewer lets kernels execute illegal instructions, on processors that the project
does not have. It may only use __builtin_cpu_supports(), which also tests whether the operating system
saves a feature's registers, and cpuid_has_FEATURE() for a feature that has none of its own.
"""
import pathlib
import re
import sys

SUPPORTS = r'__builtin_cpu_supports\("(\w+)"\) != 0'
CPUID = r"cpuid_has_(\w+)\(\)"


def flags_of(words):
    """{isa: features} of words like "avx2=-mavx2,-mfma"."""
    pairs = (word.split("=", 1) for word in words)
    return {isa: {flag.removeprefix("-m") for flag in flags.split(",")} for isa, flags in pairs}


def predicates_of(source):
    """{isa: the expression that its predicate returns}, for x86-64."""
    part = "".join(part.split("#endif")[0] for part in source.split("#if defined(__x86_64__)")[1:])
    return dict(re.findall(r"bool cpu_has_(\w+)\(\) noexcept \{(.*?)\n\}", part, re.DOTALL))


def features_of(isa, predicates):
    """The features that a predicate tests, directly or by others; None if it tests otherwise."""
    body = predicates[isa]
    features = set(re.findall(SUPPORTS, body)) | set(re.findall(CPUID, body))
    for other in re.findall(r"cpu_has_(\w+)\(\)", body):
        features |= features_of(other, predicates) or set()
    terms = re.fullmatch(r"\s*return (.*);", body, re.DOTALL)
    asks = terms and all(re.fullmatch(SUPPORTS + "|" + CPUID + r"|cpu_has_\w+\(\)", term.strip())
                         for term in terms.group(1).split("&&"))
    return features if asks else None


def failures(words, source):
    """A line for each ISA whose predicate and flags differ."""
    predicates = predicates_of(source)
    for isa, flags in flags_of(words).items():
        features = features_of(isa, predicates) if isa in predicates else set()
        if features is None:
            yield f"{isa}: its predicate is more than __builtin_cpu_supports() of features"
        elif features != flags:
            yield f"{isa}: flags {sorted(flags)}, asked for {sorted(features)}"


def self_test():
    """Each kind of mistake is detected, and correct code is not."""
    words = ["wide=-mwide,-mfma,-mhalf"]
    right = ('#if defined(__x86_64__)\nbool cpu_has_wide() noexcept {\n  return '
             '__builtin_cpu_supports("wide") != 0 &&\n         __builtin_cpu_supports("fma") != 0 &&\n         cpuid_has_half();\n}\n#endif')
    assert not list(failures(words, right)), "what is right is refused"
    wrong = [right.replace(' &&\n         __builtin_cpu_supports("fma") != 0', ""),
             right.replace(" &&\n         cpuid_has_half()", ""),
             right.replace(' &&\n', ' ||\n'),
             right.replace("  return ", '  asm("cpuid");\n  return '),
             right.replace("cpu_has_wide", "cpu_has_narrow")]
    for text in wrong:
        assert text != right and list(failures(words, text)), f"accepted:\n{text}"


def main():
    if sys.argv[1] == "--self-test":
        self_test()
        return 0
    found = list(failures(sys.argv[2:], pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")))
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
