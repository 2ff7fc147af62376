#!/usr/bin/env python3
"""Predicts how fast the inner loops run on processors that are not at hand, with llvm-mca.

usage: predict_loops.py [--isa NAMES] [--mca llvm-mca-19] [--least SHARE] [--show]

Compiles the kernels, finds inner loops in the machine code (the innermost loop of a function with the most
accumulators, which is that of the whole tile) and gives their bodies to llvm-mca. Of scores, weighted values
and linear it prints the share of the multiply-add throughput, against independent multiply-adds on the same
model, so that a model with three pipes is compared with three; of the decode path, bytes of K or V a cycle
if all of them were in L1. With --least it looks at the products alone and fails when one is below that share.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
# One processor for all that share a model in LLVM 19: cascadelake has skylake-avx512's, graniterapids
# sapphirerapids', arrowlake alderlake's, znver5 znver4's.
CPUS = {
    "avx512": ("skylake-avx512", "icelake-server", "sapphirerapids", "znver4"),
    "avx2": ("haswell", "skylake", "alderlake", "znver2", "znver3", "znver4"),
    "neon": ("neoverse-n1", "neoverse-v2", "apple-m1"),
}
VECTOR_BYTES = {"avx512": 64, "avx2": 32, "neon": 16}
# Of each loop: its translation unit, and the functions that may have it; the one with the most rows does.
# Where g++ has inlined the tile of linear, it is the loop over depth blocks.
PRODUCTS = {
    "scores": ("attend/attend", r"::ScoreTile<(\d+)>::run"),
    "weighted values": ("attend/attend", r"::ValueTile<(\d+)>::run"),
    "linear": ("linear/linear", r"::LinearTile<(\d+)>::run<float, [^>]*WeightsPrefetch|::linear_depth_blocks<float>\("),
}
DECODE = {f"{what}, {rows} row{'s'[:rows > 1]}": ("attend/stream", f"::{kernel}<({rows})>::run", rows)
          for what, kernel in (("keys", "KeyRowScores"), ("values", "ValueRowSums")) for rows in (1, 4)}
FLAGS = "-std=c++20 -O3 -ffp-contract=off -DNDEBUG -fno-exceptions -w -Isrc -Iinclude".split()
ITERATIONS = 300
INSTRUCTION = re.compile(r"^ +([0-9a-f]+):\t(.*)$")
BRANCH = re.compile(r"^(b(?:\.\w+)?|cbn?z|tbn?z|j\w+)\b.*?([0-9a-f]+) <")
# On x86 with its destination.
FMA = re.compile(r"fml[as]\t.*\.4s|vfn?m(?:add|sub)\w+ps\s.*(%[yz]mm\d+)$")


def output_of(command, text=None):
    result = subprocess.run(command, input=text, capture_output=True, text=True, cwd=ROOT, check=False)
    if result.returncode != 0:
        sys.exit(f"predict_loops.py: {command[0]}: {result.stderr.strip().splitlines()[-1]}")
    return result.stdout


def isa_flags(isa):
    """Those of the list of instruction sets."""
    text = (ROOT / "src/kernels/meson.build").read_text()
    return re.findall(r"'([^']+)'", re.search(rf"'name': '{isa}'.*?'flags': \[(.*?)\]", text, re.DOTALL)[1])


def disassembly(isa, source, args):
    """[(function name, [(address, instruction)])] of a translation unit of the kernels."""
    compiler = args.neon_compiler if isa == "neon" else args.x86_compiler
    with tempfile.TemporaryDirectory() as folder:
        # A folder with only xsimd: the host's other headers must not be found.
        (pathlib.Path(folder) / "xsimd").symlink_to(args.xsimd)
        kernels = str(pathlib.Path(folder) / "kernels.o")
        output_of([compiler, *FLAGS, *isa_flags(isa), f"-DRAPT_KERNEL_ISA={isa}", "-isystem", folder,
                   "-c", f"src/kernels/{source}.cpp", "-o", kernels])
        objdump = "aarch64-linux-gnu-objdump" if isa == "neon" else "objdump"
        text = output_of([objdump, "-d", "--demangle", "--no-show-raw-insn", kernels])
    functions = []
    for line in text.splitlines():
        if line.endswith(">:"):
            functions.append((line[line.index("<") + 1:-2], []))
        elif match := INSTRUCTION.match(line):
            functions[-1][1].append((int(match[1], 16), match[2]))
    return functions


def weight(body):
    """What the loop of the whole tile has most of: accumulators, by which a narrow tile that is unrolled has
    fewer, then multiply-adds. NEON's loops are unrolled alike, and g++ moves its accumulators around."""
    fmas = [match for instruction in body if (match := FMA.match(instruction))]
    return len({match[1] for match in fmas}), len(fmas)


def hottest_loop(code):
    """The innermost loop of a function with the most weight."""
    index = {address: i for i, (address, _) in enumerate(code)}
    best = []
    for i, (address, instruction) in enumerate(code):
        branch = BRANCH.match(instruction)
        begin = index.get(int(branch[2], 16)) if branch else None
        if begin is None or begin >= i:
            continue
        body = [text for _, text in code[begin:i + 1]]
        inner = any((b := BRANCH.match(text)) and code[begin][0] <= int(b[2], 16) <= at
                    for at, text in code[begin:i])
        if not inner and weight(body) > weight(best):
            best = body
    return best


def report_of(mca, isa, cpu, body):
    text = "\n".join(re.sub(r"\s*(?://|#\s).*| <.*", "", line) for line in body)
    # The branch target is an address of the original file.
    text = re.sub(r"(?m)^(b(?:\.\w+)?|cbn?z\s+\w+,|tbn?z\s+\w+,\s*#?\w+,|j\w+)\s+[0-9a-f]+$", r"\1 .", text)
    return output_of([mca, f"-mtriple={'aarch64' if isa == 'neon' else 'x86_64'}", f"-mcpu={cpu}",
                      f"-iterations={ITERATIONS}", "-instruction-info=false"], text)


def cycles(report):
    """Per iteration, in steady state."""
    return float(re.search(r"Total Cycles:\s+(\d+)", report)[1]) / ITERATIONS


def fmas_a_cycle(mca, isa, cpu):
    """The model's throughput of chains that hide every latency, by the kernels' forms."""
    if isa == "neon":
        forms = [[f"fmla v{i}.4s, v30.4s, {factor}" for i in range(32) if i not in (15, 30, 31)][:24]
                 for factor in ("v31.4s", "v15.s[0]")]
    else:
        name, chains = ("zmm", 24) if isa == "avx512" else ("ymm", 13)
        forms = [[f"vfmadd231ps %{name}14, %{name}15, %{name}{i}"
                  for i in range(chains + 2) if i not in (14, 15)]]
    return max(len(form) / cycles(report_of(mca, isa, cpu, form)) for form in forms)


def loop_of(name, functions, pattern):
    loops = [(int(match[1] or 0), hottest_loop(code)) for symbol, code in functions
             if (match := re.search(pattern, symbol))]
    most_rows = max(loops, default=(0, []))[0]
    best = max((loop for rows, loop in loops if rows == most_rows), key=weight, default=[])
    # A narrow tile may be a function while linear() holds the whole one, which has more multiply-adds
    # among its instructions.
    for rows, loop in loops:
        if rows == 0 and loop and weight(loop)[1] / len(loop) > weight(best)[1] / max(len(best), 1):
            best = loop
    if not best:
        sys.exit(f"predict_loops.py: no loop of {name} in the machine code")
    return best


def predict(isa, units, args):
    """Prints the table of one instruction set; the least share of a product."""
    peaks = {cpu: fmas_a_cycle(args.mca, isa, cpu) for cpu in CPUS[isa]}
    width = max(11, *map(len, peaks)) + 1
    print(f"{isa:<16}{'FMAs':>5}{'others':>7}" + "".join(f"{cpu:>{width}}" for cpu in peaks))
    worst = 1.0
    for name, (source, pattern, *rows) in {**PRODUCTS, **({} if args.least else DECODE)}.items():
        body = loop_of(name, units[isa, source].result(), pattern)
        fmas = weight(body)[1]
        cells = ""
        for cpu, peak in peaks.items():
            report = report_of(args.mca, isa, cpu, body)
            if rows:
                cells += f"{fmas / rows[0] * VECTOR_BYTES[isa] / cycles(report):>{width - 5}.1f} B/c."
            else:
                cells += f"{100 * fmas / cycles(report) / peak:>{width - 2}.1f} %"
                worst = min(worst, fmas / cycles(report) / peak)
            if args.show:
                print(f"{isa} {name} {cpu}", report[:report.index("Resource pressure by")], sep="\n")
        print(f"{name:<16}{fmas:>5}{len(body) - fmas:>7}{cells}")
        if args.show:
            print("\n".join("    " + line for line in body))
    print(f"{'FMAs a cycle':<28}" + "".join(f"{peak:>{width}.2f}" for peak in peaks.values()), flush=True)
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--isa", default=",".join(CPUS), help="instruction sets, separated by commas")
    parser.add_argument("--neon-compiler", default="aarch64-linux-gnu-g++")
    parser.add_argument("--x86-compiler", default="g++")
    parser.add_argument("--mca", default="llvm-mca-19")
    parser.add_argument("--xsimd", default="/usr/include/xsimd", help="xsimd's folder of headers")
    parser.add_argument("--least", type=float, default=0.0, help="share below which it fails")
    parser.add_argument("--show", action="store_true", help="print the loops and the models' reports")
    args = parser.parse_args()
    isas = args.isa.split(",")
    sources = {loop[0] for loop in (PRODUCTS if args.least else {**PRODUCTS, **DECODE}).values()}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        units = {(isa, source): pool.submit(disassembly, isa, source, args)
                 for isa in isas for source in sorted(sources)}
        worst = min(predict(isa, units, args) for isa in isas)
    if worst < args.least:
        sys.exit(f"predict_loops.py: a loop reaches {100 * worst:.1f} %, below {100 * args.least:.0f} %")


if __name__ == "__main__":
    main()
