#!/usr/bin/env python3
"""Joins the JSON of runs of rapt_sweep and draws it: how much faster fused attention is than unfused.

usage: plot_sweep.py --json docs/sweep.json --svg docs/sweep.svg RUN.json...

Needs matplotlib. Prints the shapes on which fused is slower than 0.97 times unfused,
or every core is slower than one although the machine's FMA loop scaled meanwhile.
"""
import argparse
import io
import json
import pathlib

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402  (after the choice of the backend)

from whole_file import write_whole  # noqa: E402

LEAST = 0.97  # of a tie
SCALES = 0.9  # minimum scaling of the machine's FMA loop over the cores: below it other processes used them


def joined(paths):
    runs = [json.loads(pathlib.Path(path).read_text()) for path in paths]
    if any(run["machine"] != runs[0]["machine"] for run in runs):
        raise SystemExit("plot_sweep.py: the runs are of different machines")
    return {**runs[0], "results": sorted(
        (result for run in runs for result in run["results"]),
        key=lambda result: (result["isa"], result["head_dim"], *shape_of(result)))}


def shape_of(result):
    return tuple(result[key] for key in ("heads", "q_len", "kv_len", "head_dim"))


def loses_by_sharing(sweep, result):
    """Whether every core is slower than one although all of them were available."""
    there = result["fma_scaling"] >= SCALES * sweep["machine"]["cores"]
    return there and result["speedup"] < LEAST


def write_json(path, sweep):
    head = json.dumps({k: v for k, v in sweep.items() if k != "results"})[:-1]
    rows = ",\n  ".join(json.dumps(result) for result in sweep["results"])
    write_whole(path, f'{head}, "results": [\n  {rows}\n]}}\n'.encode())


def draw(path, sweep):
    matplotlib.rcParams.update({"svg.hashsalt": "rapt", "svg.fonttype": "none", "font.size": 9})
    isas = list(dict.fromkeys(result["isa"] for result in sweep["results"]))
    head_dims = sorted({result["head_dim"] for result in sweep["results"]})
    figure, panels = plt.subplots(1, len(isas), figsize=(5 * len(isas), 4), sharey=True,
                                  squeeze=False, layout="constrained")
    for panel, isa in zip(panels[0], isas):
        for head_dim, marker in zip(head_dims, "ov^sDP*"):
            rows = [r for r in sweep["results"] if (r["isa"], r["head_dim"]) == (isa, head_dim)]
            panel.scatter([r["heads"] * r["q_len"] * r["kv_len"] for r in rows],
                          [r["ratio"] for r in rows], s=16, marker=marker, alpha=0.8,
                          label=f"head_dim {head_dim}")
        panel.axhline(1, color="black", linewidth=0.8)
        panel.axhline(LEAST, color="gray", linewidth=0.8, linestyle=":")
        panel.set(xscale="log", yscale="log", title=isa, xlabel="scores: heads x q_len x kv_len")
        panel.yaxis.set_major_formatter(matplotlib.ticker.ScalarFormatter())
        panel.yaxis.set_minor_formatter(matplotlib.ticker.ScalarFormatter())
        panel.grid(alpha=0.3, which="both")
    panels[0][0].set_ylabel("time unfused / time fused, one thread")
    panels[0][0].legend(loc="upper left", fontsize=8)
    svg = io.StringIO()
    figure.savefig(svg, format="svg", metadata={"Date": None})
    # The backend writes trailing spaces.
    lines = svg.getvalue().splitlines()
    write_whole(path, "".join(line.rstrip() + "\n" for line in lines).encode())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="RUN.json")
    parser.add_argument("--json", type=pathlib.Path, required=True)
    parser.add_argument("--svg", type=pathlib.Path, required=True)
    args = parser.parse_args()
    sweep = joined(args.runs)
    write_json(args.json, sweep)
    draw(args.svg, sweep)
    for result in sweep["results"]:
        if result["ratio"] < LEAST:
            print(f"{result['isa']} heads x q_len x kv_len x head_dim "
                  f"{' x '.join(map(str, shape_of(result)))}: {result['ratio']:.2f}")
        if loses_by_sharing(sweep, result):
            print(f"{result['isa']} heads x q_len x kv_len x head_dim "
                  f"{' x '.join(map(str, shape_of(result)))}: every core {result['speedup']:.2f} of one")
    shapes = {shape_of(result) for result in sweep["results"]}
    print(f"{len(shapes)} shapes, {sum(r['ratio'] < LEAST for r in sweep['results'])} of "
          f"{len(sweep['results'])} results below {LEAST}; with every core "
          f"{sum(loses_by_sharing(sweep, r) for r in sweep['results'])} below {LEAST} of one")


if __name__ == "__main__":
    main()
