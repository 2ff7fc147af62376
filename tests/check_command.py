"""Runs the command `rapt` as a user does: defaults, reports, every kind of wrong use.

usage: check_command.py RAPT
"""

import json
import os
import pty
import shlex
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from command_oracle import Matrix, article, attention_layer, write_npy, write_safetensors, read_npy

COMMAND = []


def rapt(*args, **environment):
    clean = {k: v for k, v in os.environ.items() if k not in ("RAPT_ISA", "NO_COLOR")}
    return subprocess.run(COMMAND + [str(a) for a in args], capture_output=True, text=True,
                          env={**clean, **environment}, timeout=240, check=False)


def rapt_json(*args):
    result = rapt(*args, "--json")
    if result.returncode != 0:
        raise AssertionError(f"{args}: exit {result.returncode}: {result.stderr}")
    return json.loads(result.stdout)


def available():
    return rapt_json("info")["available"]


class Base(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def refused(self, status, args, word, **environment):
        """The command says why in one sentence that has `word`, and prints nothing else."""
        with self.subTest(args=[str(a)[:60] for a in args]):
            result = rapt(*args, **environment)
            self.assertEqual(result.returncode, status, result.stderr)
            self.assertEqual(result.stdout, "")
            self.assertTrue(result.stderr.startswith("rapt: "), result.stderr)
            self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
            self.assertIn(word, result.stderr)

    def close(self, got, want, tolerance=2e-5):
        self.assertEqual(len(got), len(want))
        for a, b in zip(got, want):
            if isinstance(a, list):
                self.close(a, b, tolerance)
            else:
                self.assertAlmostEqual(a, b, delta=tolerance)


class Article(Base):
    def test_the_sentence_of_the_article_is_the_default(self):
        result = rapt("run")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        for word in ("[2, 6, 8, 3, 1]", "[4, 5, 5]", "SplitMix64 with seed 42", "Head 3",
                     "marcello", "Time of one forward pass", available()[0]):
            self.assertIn(word, result.stdout)
        self.assertNotIn("\x1b", result.stdout)

    def test_every_step_has_the_values_of_the_formula(self):
        for extra, options in (([], {}),
                               (["--dim", 6, "--heads", 3, "--seed", 7, "--causal",
                                 "--text", "One, two; three two!"],
                                {"dim": 6, "heads": 3, "seed": 7, "causal": True,
                                 "ids": [0, 2, 1, 2], "vocabulary": 3})):
            got = rapt_json("run", *extra)
            want = article(**options)
            self.assertEqual(got["ids"], want["ids"])
            self.close(got["embedding"], want["embedding"], 1e-6)
            self.close(got["attention_weights"], want["weights"])
            self.close(got["context"], want["context"])
            self.close(got["output"], want["output"])

    def test_bits_do_not_depend_on_isa_batch_or_repeat(self):
        hashes = {rapt_json("run", "--isa", isa)["hash"] for isa in available()}
        self.assertEqual(len(hashes), 1)
        self.assertEqual({rapt_json("run", "--repeat", 3)["hash"]}, hashes)
        self.assertEqual(rapt_json("run", "--batch", 3)["output"], rapt_json("run")["output"])
        self.assertNotEqual({rapt_json("run", "--seed", 43)["hash"]}, hashes)

    def test_svg_is_xml_with_every_word_and_head(self):
        path = self.folder / "map.svg"
        text = "Tom & <Jerry> \"run\" \x01 élan \udcff"
        result = rapt("run", "--text", text, "--svg", path)
        self.assertEqual(result.returncode, 0, result.stderr)
        words = [node.text for node in ElementTree.parse(path).iter() if node.text]
        for word in ("tom", "jerry", "run", "élan", "?", "head 0", "head 3", "attention weight"):
            self.assertIn(word, words)
        self.assertEqual([p.name for p in self.folder.iterdir()], ["map.svg"])

    def test_long_texts_run_and_say_what_is_not_shown(self):
        # Instrumented kernels take minutes for 10,000 x 10,000 scores.
        count = 2000 if os.environ.get("RAPT_TEST_LEVEL") == "quick" else 10000
        words = " ".join(f"w{i}" for i in range(count))
        result = rapt("run", "--repeat", 1, "--text", words)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("too many for a terminal", result.stdout)
        self.assertIsNone(rapt_json("run", "--repeat", 1, "--text", words)["attention_weights"])
        self.refused(2, ["run", "--text", words, "--svg", self.folder / "a.svg"], "--svg")
        for count in (7, 10, 11, 28, 29):
            self.assertEqual(rapt("run", "--text", words[:words.index(f" w{count}")]).returncode, 0)

    def test_colour_needs_a_terminal_and_respects_no_color(self):
        def on_terminal(**environment):
            master, slave = pty.openpty()
            with subprocess.Popen(COMMAND + ["run"], stdout=slave,
                                  env={**os.environ, "TERM": "xterm-256color", **environment}) as p:
                os.close(slave)
                text = b""
                try:
                    while part := os.read(master, 65536):
                        text += part
                except OSError:  # how a terminal says that its other side is closed
                    pass
                self.assertEqual(p.wait(), 0)
            os.close(master)
            return text
        self.assertIn(b"\x1b[48;5;", on_terminal(NO_COLOR=""))
        self.assertNotIn(b"\x1b", on_terminal(NO_COLOR="1"))


class Layer(Base):
    NAMES = {"bert": ("attention.self.query", "attention.self.key", "attention.self.value",
                      "attention.output.dense"),
             "llama": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                       "self_attn.o_proj")}

    def layer(self, kv_rows=8):
        shapes = ((8, 8), (kv_rows, 8), (kv_rows, 8), (8, 8))
        return [(Matrix.drawn(*shape, seed=i), Matrix.drawn(1, shape[0], seed=9 + i))
                for i, shape in enumerate(shapes)]

    def save(self, name, layer, names, prefix="encoder.0."):
        tensors = {}
        for part, (weight, bias) in zip(names, layer):
            tensors[f"{prefix}{part}.weight"] = weight
            tensors[f"{prefix}{part}.bias"] = bias.row(0)
        path = self.folder / name
        write_safetensors(path, tensors)
        return path

    def test_layers_of_every_naming_give_the_values_of_the_formula(self):
        layer, x = self.layer(), Matrix.drawn(5, 8, seed=99)
        write_npy(self.folder / "x.npy", [5, 8], x.values)
        want = attention_layer(x, layer, heads=2)
        paths = [self.save(style, layer, names) for style, names in self.NAMES.items()]
        packed = {"encoder.0.in_proj_weight": Matrix.stacked([w for w, _ in layer[:3]]),
                  "encoder.0.in_proj_bias": [v for _, b in layer[:3] for v in b.values],
                  "encoder.0.out_proj.weight": layer[3][0],
                  "encoder.0.out_proj.bias": layer[3][1].values}
        write_safetensors(self.folder / "torch", packed)
        fused = packed["encoder.0.in_proj_weight"]
        phi = {"encoder.0.self_attn.qkv_proj.weight": fused,
               "encoder.0.self_attn.qkv_proj.bias": packed["encoder.0.in_proj_bias"],
               "encoder.0.self_attn.o_proj.weight": layer[3][0],
               "encoder.0.self_attn.o_proj.bias": layer[3][1].values}
        gpt2 = {"encoder.0.attn.c_attn.weight": fused.transposed(),
                "encoder.0.attn.c_attn.bias": packed["encoder.0.in_proj_bias"],
                "encoder.0.attn.c_proj.weight": layer[3][0].transposed(),
                "encoder.0.attn.c_proj.bias": layer[3][1].values}
        write_safetensors(self.folder / "phi", phi)
        write_safetensors(self.folder / "gpt2", gpt2)
        for path in paths + [self.folder / name for name in ("torch", "phi", "gpt2")]:
            y = self.folder / "y.npy"
            result = rapt_json("run", "--weights", path, "--prefix", "encoder.0", "--heads", 2,
                               "--input", self.folder / "x.npy", "--output", y)
            shape, values = read_npy(y)
            self.assertEqual((shape, result["output_shape"]), ([5, 8], [5, 8]))
            self.close(values, want.values)

    def test_a_fused_matrix_may_have_grouped_heads_but_no_odd_rows(self):
        layer, x = self.layer(kv_rows=4), Matrix.drawn(5, 8, seed=7)
        write_npy(self.folder / "x.npy", [5, 8], x.values)
        fused = Matrix.stacked([w for w, _ in layer[:3]])
        names = ("self_attn.qkv_proj", "self_attn.o_proj")
        path = self.save("phi", [(fused, Matrix.stacked([b.transposed() for _, b in layer[:3]]).
                                  transposed()), layer[3]], names)
        args = ["run", "--weights", path, "--prefix", "encoder.0", "--heads", 4,
                "--input", self.folder / "x.npy"]
        result = rapt_json(*args)
        self.assertEqual((result["heads"], result["kv_heads"]), (4, 2))
        self.close(result["first"], attention_layer(x, layer, heads=4).values[:8])
        odd = [(Matrix.drawn(15, 8, seed=1), Matrix.drawn(1, 15, seed=2)), layer[3]]
        self.save("phi", odd, names)
        self.refused(1, args, "15 rows")

    def test_a_fused_matrix_by_kv_head_gives_the_values_of_one_apart(self):
        x = Matrix.drawn(5, 8, seed=17)
        write_npy(self.folder / "x.npy", [5, 8], x.values)
        # GPT-NeoX and BLOOM: a kv head for each head; InternLM2 grouped; Falcon 7B one for all.
        for weight, output, kv_heads in (("attention.query_key_value", "attention.dense", 4),
                                         ("self_attention.query_key_value",
                                          "self_attention.dense", 4),
                                         ("attention.wqkv", "attention.wo", 2),
                                         ("self_attention.query_key_value",
                                          "self_attention.dense", 1)):
            layer = self.layer(kv_rows=2 * kv_heads)
            parts = [(w, b.transposed()) for w, b in layer[:3]]
            per_head = [w.rows // kv_heads for w, _ in parts]
            fused = [Matrix.stacked([part[i].rows_of(h * n, (h + 1) * n) for h in range(kv_heads)
                                     for part, n in zip(parts, per_head)]) for i in (0, 1)]
            path = self.save("fused", [(fused[0], fused[1].transposed()), layer[3]],
                             (weight, output))
            result = rapt_json("run", "--weights", path, "--prefix", "encoder.0", "--heads", 4,
                               "--input", self.folder / "x.npy")
            self.assertEqual((result["heads"], result["kv_heads"]), (4, kv_heads))
            self.assertEqual(result["naming"], f"encoder.0.{weight}.weight")
            self.close(result["first"], attention_layer(x, layer, heads=4).values[:8])

    def test_grouped_heads_a_batch_and_the_heads_of_config_json(self):
        layer, x = self.layer(kv_rows=2), Matrix.drawn(6, 8, seed=5)
        write_npy(self.folder / "x.npy", [2, 3, 8], x.values)
        path = self.save("model.safetensors", layer, self.NAMES["llama"], prefix="")
        (self.folder / "config.json").write_text('{"num_attention_heads": 4}')
        args = ["run", "--model", path, "--input", self.folder / "x.npy", "--causal"]
        result = rapt_json(*args)
        self.assertEqual((result["heads"], result["kv_heads"]), (4, 1))
        self.assertEqual(result["output_shape"], [2, 3, 8])
        want = attention_layer(x.rows_of(0, 3), layer, heads=4, causal=True)
        self.close(result["first"], want.values[:8])
        self.assertIn("4 heads of 2, 1 key/value", rapt(*args).stdout)

    def test_what_does_not_fit_is_named_and_writes_nothing(self):
        x, y = self.folder / "x.npy", self.folder / "y.npy"
        write_npy(x, [5, 8], Matrix.drawn(5, 8, seed=1).values)
        write_npy(self.folder / "wide.npy", [5, 9], Matrix.drawn(5, 9, seed=1).values)
        path = self.save("model", self.layer(), self.NAMES["bert"])
        (self.folder / "text").write_text("no tensors here")
        good = ["run", "--weights", path, "--prefix", "encoder.0", "--output", y]
        self.refused(2, good, "--input")
        self.refused(2, good + ["--input", x], "--heads")
        self.refused(2, good + ["--input", x, "--heads", 3], "--heads")
        self.refused(2, good + ["--input", x, "--heads", 2, "--dim", 8], "--dim")
        self.refused(2, ["run", "--prefix", "a"], "--weights")
        good += ["--heads", 2]
        self.refused(1, good + ["--input", self.folder / "none.npy"], "none.npy")
        self.refused(1, good + ["--input", self.folder / "wide.npy"], "[5, 9]")
        self.refused(1, good + ["--input", self.folder / "text"], "text")
        for other in ("text", "missing"):
            self.refused(1, ["run", "--weights", self.folder / other, "--input", x], other)
        self.refused(1, ["run", "--weights", path, "--prefix", "decoder", "--input", x],
                     "decoder.self_attn.in_proj_weight")
        self.assertFalse(y.exists())


class Measurements(Base):
    FIELDS = {"workload", "isa", "threads", "dtype", "compute", "median_ms", "min_ms", "gflops",
              "gbs", "share_of_peak", "share_of_bandwidth", "hash"}

    def test_bench_reports_every_workload_on_every_isa(self):
        sizes = {"attention": ["--q-len", 9, "--kv-heads", 2, "--head-dim", 8, "--causal"],
                 "decode": ["--kv-len", 300, "--head-dim", 16, "--value-dim", 8],
                 "linear": ["--rows", 3, "--in-features", 20, "--out-features", 33],
                 "mha": ["--tokens", 5, "--model-dim", 24, "--heads", 4, "--batch", 2]}
        flops = {"attention": 0.5 * 2 * 8 * 9 * 9 * 16, "decode": 2 * 32 * 300 * 24,
                 "linear": 2 * 3 * 20 * 33,
                 "mha": 2 * 10 * 4 * 24 * 24 + 4 * 2 * 4 * 5 * 5 * 6}
        for kind, flags in sizes.items():
            report = rapt_json("bench", kind, *flags, "--isa", "all", "--repeat", 2)
            self.assertTrue(report["bits_equal"])
            self.assertGreater(report["peak"]["fma_gflops"], 0)
            self.assertGreater(report["peak"]["read_gbs"], 0)
            self.assertEqual([r["isa"] for r in report["results"]], available())
            for result in report["results"]:
                self.assertLessEqual(self.FIELDS, set(result))
                self.assertEqual((result["workload"], result["repeats"]), (kind, 2))
                low, high = result["median_interval_ms"]
                self.assertLessEqual(low, result["median_ms"])
                self.assertLessEqual(result["median_ms"], high)
                self.assertAlmostEqual(result["gbs"] / result["read_gbs"],
                                       result["share_of_bandwidth"])
                done = result["gflops"] * result["median_ms"] * 1e6
                self.assertAlmostEqual(done / flops[kind], 1)

    def test_bench_counts_what_the_options_leave(self):
        sizes = ["--heads", 2, "--q-len", 40, "--kv-len", 50, "--head-dim", 8, "--repeat", 1]
        options = {"causal": True, "window_left": 12, "soft_cap": 30, "alibi": True, "bias": True,
                   "mask": True}
        flags = ["--causal", "--window-left", 12, "--soft-cap", 30, "--alibi", "--bias", "--mask"]
        seen = 2 * sum(min(i + 11, 13) for i in range(40))
        tensors = rapt_json("bench", "attention", *sizes, *flags)["results"][0]
        self.assertAlmostEqual(tensors["gflops"] * tensors["median_ms"] * 1e6 / (2 * seen * 16), 1)
        self.assertEqual({name: tensors["shape"][name] for name in options}, options)
        plain = rapt_json("bench", "attention", *sizes)["results"][0]
        self.assertAlmostEqual(plain["gflops"] * plain["median_ms"] * 1e6 / (4 * 2 * 40 * 400), 1)
        hashes = {tensors["hash"], plain["hash"]}
        for flag in (["--causal"], ["--window-left", 12], ["--soft-cap", 30], ["--alibi"],
                     ["--bias"], ["--mask"]):
            hashes.add(rapt_json("bench", "attention", *sizes, *flag)["results"][0]["hash"])
        self.assertEqual(len(hashes), 8)

    def test_a_bias_and_a_mask_are_read_once_where_they_are_seen(self):
        def count(kind, *flags):
            result = rapt_json("bench", kind, *sizes[kind], *flags, "--repeat", 1)["results"][0]
            return result["gbs"] * result["median_ms"] * 1e6
        sizes = {"attention": ["--batch", 3, "--heads", 2, "--q-len", 40, "--head-dim", 8],
                 "decode": ["--batch", 3, "--heads", 2, "--kv-heads", 1, "--kv-len", 300],
                 "mha": ["--batch", 3, "--heads", 2, "--tokens", 40, "--model-dim", 8]}
        for kind, flags, seen in (("attention", [], 1600), ("attention", ["--causal"], 800),
                                  ("attention", ["--causal", "--window-left", 9], 45 + 31 * 10),
                                  ("attention", ["--cache", "paged"], 3 * 1600),
                                  ("decode", [], 300), ("decode", ["--cache", "paged"], 300),
                                  ("decode", ["--window-left", 99], 100), ("mha", [], 1600)):
            plain = count(kind, *flags)
            self.assertAlmostEqual((count(kind, *flags, "--bias") - plain) / (4 * 2 * seen), 1)
            self.assertAlmostEqual((count(kind, *flags, "--mask") - plain) / seen, 1)

    def test_a_bias_and_a_mask_are_the_same_over_a_cache(self):
        for kind in (["decode", "--heads", 4],
                     ["attention", "--heads", 1, "--q-len", 40]):  # outputs of one head lie alike
            sizes = [*kind, "--batch", 3, "--kv-heads", 1, "--kv-len", 300, "--repeat", 1]
            for flag in "--bias", "--mask":
                hashes = {rapt_json("bench", *sizes, flag, "--cache", cache)["results"][0]["hash"]
                          for cache in ("contiguous", "paged")}
                self.assertEqual(len(hashes), 1)

    def test_a_mask_keeps_the_key_at_each_position(self):
        sizes = ["--q-len", 40, "--kv-len", 50, "--causal", "--window-left", 0, "--repeat", 1]
        hashes = {rapt_json("bench", "attention", *sizes, *flags)["results"][0]["hash"]
                  for flags in ([], ["--mask"])}
        self.assertEqual(len(hashes), 1)

    def test_decoding_from_a_cache_is_the_same_work(self):
        sizes = ["decode", "--batch", 2, "--kv-len", 300, "--head-dim", 32, "--repeat", 1]
        for flags, keys in ([], 300), (["--window-left", 99, "--alibi"], 100):
            tensors, paged = (rapt_json("bench", *sizes, *flags, "--cache", cache)["results"][0]
                              for cache in ("contiguous", "paged"))
            self.assertEqual(paged["shape"]["cache"], "paged")
            self.assertEqual(paged["hash"], tensors["hash"])
            for result in (paged, tensors):
                self.assertAlmostEqual(result["gbs"] * result["median_ms"] * 1e6 /
                                       (4 * 2 * 8 * keys * 64), 1)

    def test_explain_says_what_runs_and_what_limits_it(self):
        for args, items in ((["--preset", "T1"], 4), (["mha", "--tokens", 200, "--batch", 2], 32),
                            (["decode", "--kv-len", 3000, "--threads", 2], 8)):
            args = ["bench", *args, "--repeat", 1, "--explain"]
            explained = rapt_json(*args)["results"][0]["explain"]
            self.assertGreaterEqual(explained["items"], items)
            parts = sum(explained[f"{p}_ms"] for p in ("products", "softmax", "packing", "folding"))
            self.assertGreaterEqual(explained["compute_ms"], parts * (1 - 1e-9))
            self.assertEqual(explained["predicted_ms"],
                             max(explained["compute_ms"], explained["memory_ms"]))
            by_threads = {e["threads"]: e["efficiency"] for e in explained["efficiency"]}
            self.assertEqual(by_threads[1], 1)
            self.assertEqual(list(by_threads), [1, 2, 64, 192])
            for line in ("kernel", "items", "limit", "measured"):
                self.assertIn("\n  " + line, rapt(*args).stdout)
        self.assertNotIn("explain", rapt_json("bench", "--preset", "T1", "--repeat", 1)["results"][0])

    def test_explain_packs_the_keys_of_tensors_but_not_of_a_cache(self):
        sizes = ["--heads", 1, "--q-len", 100, "--kv-len", 300, "--head-dim", 64, "--repeat", 1]
        for cache, operations in ("contiguous", 8 * 300 * 64), ("paged", 0):
            report = rapt_json("bench", "attention", *sizes, "--cache", cache, "--explain")
            explained = report["results"][0]["explain"]
            self.assertAlmostEqual(explained["packing_ms"] / explained["products_ms"],
                                   (operations + 3 * 100 * 64) / (100 * 300 * 128))

    def test_flags_change_single_sizes_of_a_preset(self):
        report = rapt_json("bench", "--preset", "T1", "--kv-len", 7, "--threads", 2, "--repeat", 1)
        result = report["results"][0]
        self.assertEqual((result["preset"], result["threads"]), ("T1", 2))
        self.assertEqual([result["shape"][k] for k in ("heads", "q_len", "kv_len", "head_dim")],
                         [4, 5, 7, 4])

    def test_compare_ends_with_lines_on_the_cache_and_the_bits(self):
        quick = os.environ.get("RAPT_TEST_LEVEL") == "quick"
        short = ["compare", "T1", "--repeat", 1, "--cache-tokens", 70]
        result = rapt(*(short if quick else short[:-2]))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stdout.splitlines()[-2:],
                         [f"cache: equal on {', '.join(available())} ({70 if quick else 2048} "
                          "tokens: one by one, 7, 64, 1000, whole; 1 and 2 threads)",
                          f"bits: equal on {', '.join(available())}"])
        report = rapt_json(*short)
        cache = report["cache"]
        self.assertTrue(report["bits_equal"] and cache["bits_equal"])
        self.assertEqual((cache["isas"], cache["threads"], cache["tokens"], cache["different"]),
                         (available(), [1, 2], 70, []))
        self.assertEqual(cache["chunks"], [1, 7, 64, 1000, 70])
        self.assertNotIn("cache", rapt_json("bench", "--preset", "T1", "--repeat", 1))

    def test_info_names_the_machine_and_the_isas(self):
        info = rapt_json("info")
        self.assertEqual(info["active"], info["available"][0])
        self.assertIn("scalar", info["available"])
        self.assertGreater(info["peak"]["fma_gflops"], 0)
        self.assertIn("FMA peak", rapt("info").stdout)


class WrongUse(Base):
    def test_wrong_flags_exit_with_2_and_name_the_flag(self):
        run, bench = ["run"], ["bench", "attention"]
        for args, word in (
                ([], "--help"), (["fly"], "fly"), (run + ["--fly"], "--fly"),
                (run + ["--dim", 0], "--dim"), (run + ["--dim", "1e9"], "--dim"),
                (run + ["--dim", 10**9], "--dim"), (run + ["--dim", -4], "--dim"),
                (run + ["--dim", "16x"], "--dim"), (run + ["--heads", 7], "--heads"),
                (run + ["--heads", 32], "--heads"), (run + ["--repeat", 0], "--repeat"),
                (run + ["--batch", 0], "--batch"), (run + ["--seed", -1], "--seed"),
                (run + ["--text", ""], "--text"), (run + ["--text", " .,! "], "--text"),
                (run + ["--isa", "avx9"], "--isa"), (run + ["--isa", "all"], "--isa"),
                (["info", "--fast"], "--fast"), (["bench"], "WORKLOAD"),
                (["bench", "swim"], "swim"), (bench + ["--rows", 3], "--rows"),
                (bench + ["--heads", 8, "--kv-heads", 3], "--kv-heads"),
                (bench + ["--q-len", 0], "--q-len"), (bench + ["--dtype", "f64"], "--dtype"),
                (bench + ["--threads", -1], "--threads"), (bench + ["--preset", "P9"], "--preset"),
                (bench + ["--preset", "D1"], "--preset"),
                (["bench", "linear", "--causal"], "--causal"),
                (["bench", "linear", "--alibi"], "--alibi"),
                (["bench", "linear", "--bias"], "--bias"),
                (["bench", "linear", "--mask"], "--mask"),
                (["bench", "linear", "--soft-cap", 3], "--soft-cap"),
                (["bench", "mha", "--cache", "paged"], "--cache"),
                (bench + ["--window-left", -1], "--window-left"),
                (bench + ["--soft-cap", 0], "--soft-cap"), (bench + ["--cache", "L2"], "--cache"),
                (bench + ["--cache", "paged", "--kv-len", 9], "--kv-len"),
                (["bench", "mha", "--heads", 5], "--heads"), (["compare", "P0"], "P0"),
                (["compare", "--cache-tokens", 0], "--cache-tokens")):
            self.refused(2, args, word)

    def test_failures_exit_with_1_and_write_nothing(self):
        missing = self.folder / "missing" / "a.svg"
        self.refused(1, ["run", "--svg", missing], "missing")
        self.refused(1, ["run", "--batch", 2**20, "--dim", 8192, "--text", "my " * 1000], "GB")
        for bias in [], ["--bias"], ["--mask"]:
            self.refused(1, ["bench", "attention", "--q-len", 2**24, "--heads", 2**24, *bias], "GB")
        self.refused(1, ["run"], "avx9", RAPT_ISA="avx9")
        self.refused(1, ["info"], "avx9", RAPT_ISA="avx9")
        self.assertEqual(list(self.folder.iterdir()), [])
        if Path("/dev/full").exists():
            with open("/dev/full", "w") as full:
                result = subprocess.run(COMMAND + ["run"], stdout=full, stderr=subprocess.PIPE,
                                        text=True, check=False)
            self.assertEqual(result.returncode, 1)
            self.assertIn("standard output", result.stderr)

    def test_help_names_every_flag_and_default(self):
        for command in ("run", "bench", "compare", "info", "check"):
            result = rapt(command, "--help")
            self.assertEqual((result.returncode, result.stderr), (0, ""))
        for text in ("--dim", "=16", "--heads", "=4", "--seed", "=42",
                     "=my name is Marcello Politi"):
            self.assertIn(text, rapt("run", "--help").stdout)
        self.assertEqual(rapt("--version").stdout.strip(), rapt_json("info")["version"])


if __name__ == "__main__":
    COMMAND = shlex.split(os.environ.get("MESON_EXE_WRAPPER", "")) + [sys.argv.pop(1)]
    unittest.main(verbosity=1)
