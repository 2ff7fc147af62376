#!/usr/bin/env python3
"""Predicts what share of the FMA throughput the NEON inner loops reach, with llvm-mca.

usage: predict_neon.py [--compiler aarch64-linux-gnu-g++] [--mca llvm-mca-19] [--least SHARE]

Compiles the kernels for aarch64, finds the inner loop of scores, weighted values and linear in the
machine code (the innermost loop with the most fused multiply-adds), and gives its body to llvm-mca for
several processors. The share is against independent multiply-adds on the same model, so that a model
with three pipes is compared with three. With --least it fails when a loop is below that share.
"""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
CPUS = ("neoverse-n1", "neoverse-v2", "apple-m1")
LOOPS = {"scores": "ScoreTile", "weighted values": "ValueTile", "linear": "LinearTile"}
SOURCES = ("src/kernels/attend/attend.cpp", "src/kernels/linear/linear.cpp")
FLAGS = ("-std=c++20 -O3 -ffp-contract=off -DNDEBUG -fno-exceptions -DRAPT_KERNEL_ISA=neon "
         "-Isrc -Iinclude").split()
ITERATIONS = 300
INSTRUCTION = re.compile(r"^ +([0-9a-f]+):\t(.*)$")
BRANCH = re.compile(r"^(b(?:\.\w+)?|cbn?z|tbn?z)\b.*?([0-9a-f]+) <")


def output_of(command, text=None):
    result = subprocess.run(command, input=text, capture_output=True, text=True, cwd=ROOT, check=False)
    if result.returncode != 0:
        sys.exit(f"predict_neon.py: {command[0]}: {result.stderr.strip().splitlines()[-1]}")
    return result.stdout


def disassembly(compiler, xsimd):
    """Function name -> [(address, instruction)], of the kernels compiled for aarch64."""
    with tempfile.TemporaryDirectory() as folder:
        # A folder with only xsimd: the host's other headers must not be found.
        (pathlib.Path(folder) / "xsimd").symlink_to(xsimd)
        objdump = re.sub(r"g\+\+.*|clang\+\+.*", "objdump", compiler)
        text = ""
        for source in SOURCES:
            kernels = str(pathlib.Path(folder) / "kernels.o")
            output_of([compiler, *FLAGS, "-isystem", folder, "-c", source, "-o", kernels])
            text += output_of([objdump, "-d", "--demangle", "--no-show-raw-insn", kernels])
    functions, current = {}, []
    for line in text.splitlines():
        if line.endswith(">:"):
            current = functions.setdefault(line[line.index("<") + 1:-2], [])
        elif match := INSTRUCTION.match(line):
            current.append((int(match[1], 16), match[2]))
    return functions


def is_fma(instruction):
    return instruction.startswith(("fmla\t", "fmls\t")) and ".4s" in instruction


def hottest_loop(code):
    """The innermost loop of a function with the most multiply-adds per instruction."""
    index = {address: i for i, (address, _) in enumerate(code)}
    best = []
    for i, (address, instruction) in enumerate(code):
        branch = BRANCH.match(instruction)
        begin = index.get(int(branch[2], 16)) if branch else None
        if begin is None or begin >= i:
            continue
        body = [text for _, text in code[begin:i + 1]]
        inner = any((b := BRANCH.match(text)) and code[begin][0] <= int(b[2], 16) < address
                    for text in body[:-1])
        if not inner and sum(map(is_fma, body)) > sum(map(is_fma, best)):
            best = body
    return best


def cycles(mca, cpu, body):
    """Cycles per iteration in steady state."""
    text = "\n".join(re.sub(r"\s*//.*| <.*", "", line) for line in body)
    # The branch target is an address of the original file.
    text = re.sub(r"(?m)^(b(?:\.\w+)?|cbn?z\s+\w+,|tbn?z\s+\w+,\s*#?\w+,)\s+[0-9a-f]+$", r"\1 .", text)
    report = output_of([mca, "-mtriple=aarch64", f"-mcpu={cpu}", f"-iterations={ITERATIONS}",
                        "-instruction-info=false", "-resource-pressure=false"], text)
    return float(re.search(r"Total Cycles:\s+(\d+)", report)[1]) / ITERATIONS


def fmas_a_cycle(mca, cpu):
    """The model's throughput of 24 chains, which hide every latency, on whole vectors or by lane."""
    forms = ("v31.4s", "v15.s[0]")
    registers = [i for i in range(32) if i not in (15, 30, 31)][:24]
    return max(len(registers) / cycles(mca, cpu, [f"fmla v{i}.4s, v30.4s, {factor}" for i in registers])
               for factor in forms)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--compiler", default="aarch64-linux-gnu-g++")
    parser.add_argument("--mca", default="llvm-mca-19")
    parser.add_argument("--xsimd", default="/usr/include/xsimd", help="xsimd's folder of headers")
    parser.add_argument("--least", type=float, default=0.0, help="share below which it fails")
    parser.add_argument("--show", action="store_true", help="print the loops")
    args = parser.parse_args()
    functions = disassembly(args.compiler, args.xsimd)
    peaks = {cpu: fmas_a_cycle(args.mca, cpu) for cpu in CPUS}
    print(f"{'inner loop':<18}{'FMAs':>6}{'others':>8}" + "".join(f"{cpu:>14}" for cpu in CPUS))
    worst = 1.0
    for name, function in LOOPS.items():
        # The tile with the most rows, which computes all but the last rows of an item.
        tiles = {int(match[1]): code for symbol, code in functions.items()
                 if (match := re.search(rf"::{function}<(\d+)>::run", symbol))}
        body = hottest_loop(tiles[max(tiles)]) if tiles else []
        if not body:
            sys.exit(f"predict_neon.py: no loop of {function} in the machine code")
        fmas = sum(map(is_fma, body))
        shares = [fmas / cycles(args.mca, cpu, body) / peaks[cpu] for cpu in CPUS]
        worst = min(worst, *shares)
        print(f"{name:<18}{fmas:>6}{len(body) - fmas:>8}"
              + "".join(f"{100 * share:>12.1f} %" for share in shares))
        if args.show:
            print("\n".join("    " + line for line in body))
    print(f"{'FMAs a cycle':<32}" + "".join(f"{peaks[cpu]:>14.2f}" for cpu in CPUS))
    if worst < args.least:
        sys.exit(f"predict_neon.py: a loop reaches {100 * worst:.1f} %, below {100 * args.least:.0f} %")


if __name__ == "__main__":
    main()
