"""`rapt run --weights`: layers of every naming of the weights, and what does not fit.

usage: check_command_layer.py RAPT
"""

from command_case import CommandCase, main, rapt, rapt_json
from command_oracle import Matrix, attention_layer, read_npy, write_npy, write_safetensors


class Layer(CommandCase):
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


if __name__ == "__main__":
    main()
