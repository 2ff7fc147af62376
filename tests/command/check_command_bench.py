"""`rapt bench`: its figures against manual counts, --explain, wrong uses.

usage: check_command_bench.py RAPT
"""

from command_case import CommandCase, available, main, rapt, rapt_json


class Bench(CommandCase):
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

    def test_bench_counts_only_visible_keys(self):
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

    def test_a_bias_and_a_mask_are_read_once_for_visible_keys(self):
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

    def test_weights_of_16_bits_are_half_the_bytes(self):
        sizes = {"linear": ["--rows", 3, "--in-features", 20, "--out-features", 33],
                 "mha": ["--tokens", 5, "--model-dim", 24, "--heads", 4]}
        for kind, weights in ("linear", 20 * 33), ("mha", 4 * 24 * 24):
            found = {}
            for dtype in "f32", "bf16", "f16":
                flags = [] if dtype == "f32" else ["--weights", dtype]
                report = rapt_json("bench", kind, *sizes[kind], *flags, "--repeat", 1)
                found[dtype] = report["results"][0]
                self.assertEqual(found[dtype]["shape"]["weights"], dtype)
            for dtype in "bf16", "f16":
                saved = found["f32"]["gbs"] * found["f32"]["median_ms"] \
                    - found[dtype]["gbs"] * found[dtype]["median_ms"]
                self.assertAlmostEqual(saved * 1e6 / (2 * weights), 1)
            self.assertEqual(len({result["hash"] for result in found.values()}), 3)

    def test_types_of_keys_and_values_are_their_bytes_and_change_the_bits(self):
        sizes = ["decode", "--heads", 4, "--kv-heads", 2, "--kv-len", 300, "--head-dim", 32, "--repeat", 1]
        rows = 2 * 300
        bytes_of = {"f32": rows * 64 * 4, "bf16": rows * 64 * 2, "f16": rows * 64 * 2, "i8": rows * (64 + 8)}
        hashes = set()
        for dtype, expected in bytes_of.items():
            results = [rapt_json("bench", *sizes, "--kv-dtype", dtype, "--cache", cache)["results"][0]
                       for cache in (("paged",) if dtype == "i8" else ("contiguous", "paged"))]
            for result in results:
                self.assertEqual(result["shape"]["kv_dtype"], dtype)
                self.assertAlmostEqual(result["gbs"] * result["median_ms"] * 1e6 / expected, 1)
            self.assertEqual(len({result["hash"] for result in results}), 1, dtype)
            hashes.add(results[0]["hash"])
        self.assertEqual(len(hashes), 4)

    def test_inputs_and_results_of_16_bits_are_reported_and_change_the_bits(self):
        for sizes in (["attention", "--heads", 2, "--q-len", 20], ["linear", "--rows", 3], ["mha", "--tokens", 5]):
            hashes = set()
            for dtype in "f32", "bf16", "f16":
                result = rapt_json("bench", *sizes, "--dtype", dtype, "--repeat", 1)["results"][0]
                self.assertEqual(result["dtype"], dtype)
                hashes.add(result["hash"])
            self.assertEqual(len(hashes), 3, sizes)

    def test_a_bias_and_a_mask_are_the_same_over_a_cache(self):
        for kind in (["decode", "--heads", 4],
                     ["attention", "--heads", 1, "--q-len", 40]):  # with one head both layouts of outputs are equal
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

    def test_explain_names_the_kernel_and_the_limit(self):
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
        quota = report["machine"]["cpu_quota"]
        self.assertEqual((result["preset"], result["threads"]),
                         ("T1", 1 if quota is not None and quota <= 1 else 2))
        self.assertEqual([result["shape"][k] for k in ("heads", "q_len", "kv_len", "head_dim")],
                         [4, 5, 7, 4])

    def test_wrong_flags_exit_with_2_and_name_the_flag(self):
        for args, word in (
                ([], "WORKLOAD"), (["swim"], "swim"), (["attention", "--rows", 3], "--rows"),
                (["attention", "--heads", 8, "--kv-heads", 3], "--kv-heads"),
                (["attention", "--q-len", 0], "--q-len"),
                (["attention", "--dtype", "f64"], "--dtype"),
                (["attention", "--threads", -1], "--threads"),
                (["attention", "--preset", "P9"], "--preset"),
                (["attention", "--preset", "D1"], "--preset"),
                (["linear", "--causal"], "--causal"), (["linear", "--alibi"], "--alibi"),
                (["linear", "--bias"], "--bias"), (["linear", "--mask"], "--mask"),
                (["linear", "--soft-cap", 3], "--soft-cap"),
                (["mha", "--cache", "paged"], "--cache"),
                (["attention", "--weights", "bf16"], "--weights"),
                (["linear", "--weights", "i8"], "--weights"),
                (["linear", "--kv-dtype", "f16"], "--kv-dtype"),
                (["decode", "--kv-dtype", "i8"], "--kv-dtype"),
                (["attention", "--window-left", -1], "--window-left"),
                (["attention", "--soft-cap", 0], "--soft-cap"),
                (["attention", "--cache", "L2"], "--cache"),
                (["attention", "--cache", "paged", "--kv-len", 9], "--kv-len"),
                (["mha", "--heads", 5], "--heads")):
            self.refused(2, ["bench", *args], word)

    def test_inputs_that_do_not_fit_the_memory_exit_with_1(self):
        for bias in [], ["--bias"], ["--mask"]:
            self.refused(1, ["bench", "attention", "--q-len", 2**24, "--heads", 2**24, *bias], "GB")


if __name__ == "__main__":
    main()
