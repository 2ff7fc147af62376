"""`rapt run --weights`: layers with every naming of the weights, and mismatches.

usage: check_command_layer.py RAPT
"""
import struct

from command_case import CommandCase, main, rapt, rapt_json
from command_oracle import (Matrix, Stored, attention_layer, int8, read_npy, write_npy,
                            write_safetensors)


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

    def test_weights_of_16_bits_give_the_bits_of_their_floats(self):
        x, y = self.folder / "x.npy", self.folder / "y.npy"
        write_npy(x, [5, 8], Matrix.drawn(5, 8, seed=5).values)
        layer, names = self.layer(), self.NAMES["llama"]

        def stored(dtype, matrix):
            floats = struct.pack(f"<{len(matrix.values)}f", *matrix.values)
            bits = struct.pack(f"<{len(matrix.values)}e", *matrix.values) if dtype == "F16" else \
                b"".join(floats[i + 2:i + 4] for i in range(0, len(floats), 4))
            return Stored(dtype, [matrix.rows, matrix.columns], bits)

        def widened(tensor):
            count = len(tensor.data) // 2
            if tensor.dtype == "F16":
                values = struct.unpack(f"<{count}e", tensor.data)
            else:
                words = b"".join(b"\0\0" + tensor.data[i:i + 2] for i in range(0, 2 * count, 2))
                values = struct.unpack(f"<{count}f", words)
            return Matrix(*tensor.shape, list(values))

        def output(tensors):
            write_safetensors(self.folder / "model", tensors)
            rapt_json("run", "--weights", self.folder / "model", "--heads", 2, "--input", x,
                      "--output", y, "--repeat", 1)
            return read_npy(y)[1]

        for dtype in "BF16", "F16":
            weights = {f"{name}.weight": stored(dtype, weight)
                       for name, (weight, _) in zip(names, layer)}
            want = output({name: widened(tensor) for name, tensor in weights.items()})
            self.assertEqual(output(weights), want)
            # From odd addresses; and fused and transposed, as GPT-2 stores them.
            self.assertEqual(output({"before": Stored("U8", [1], b"\1"), **weights}), want)
            fused = Matrix.stacked([weight for weight, _ in layer[:3]])
            self.assertEqual(output({
                "attn.c_attn.weight": stored(dtype, fused.transposed()),
                "attn.c_proj.weight": stored(dtype, layer[3][0].transposed())}), want)

    def test_int8_weights_need_a_known_scale(self):
        x, y = self.folder / "x.npy", self.folder / "y.npy"
        write_npy(x, [5, 8], Matrix.drawn(5, 8, seed=5).values)
        names, biases = self.NAMES["llama"], [Matrix(1, 8, [0.0] * 8) for _ in range(4)]
        ints = [[(i * 37 + n * 11) % 255 - 127 for i in range(64)] for n in range(4)]
        by_row, one = [0.25 + r for r in range(8)], [0.5]

        def write(**beside):
            """`beside`: tensors stored next to each weight, by the suffix of their name."""
            tensors = {f"{name}.weight": int8([8, 8], values) for name, values in zip(names, ints)}
            for name in names:
                tensors.update({f"{name}.{end}": value for end, value in beside.items()})
            write_safetensors(self.folder / "model", tensors)
            return ["run", "--weights", self.folder / "model", "--heads", 2, "--input", x,
                    "--output", y, "--repeat", 1]

        def layer(scales):
            return [(Matrix(8, 8, [v * scales[i // 8] for i, v in enumerate(values)]), bias)
                    for values, bias in zip(ints, biases)]

        row = Stored("U8", [], b"\0")
        for scales, beside in (
                ([s / 127 for s in by_row], {"SCB": by_row}),
                ([s / 127 for s in by_row], {"SCB": by_row, "weight_format": row}),
                (by_row, {"weight_scale": by_row}), (one * 8, {"weight_scale": one}),
                (by_row, {"weight_scale": Matrix(8, 1, by_row)}),
                (one * 8, {"weight_scale": Stored("BF16", [], b"\0\x3f")})):
            result = rapt_json(*write(**beside))
            want = attention_layer(Matrix.drawn(5, 8, seed=5), layer(scales), heads=2).values
            largest = max(abs(v) for v in want)
            self.close([v / largest for v in result["first"]], [v / largest for v in want[:8]])
            self.assertEqual(result["unread_count"], 0)
            y.unlink()
        self.refused(1, write(), "self_attn.q_proj.weight: its elements are I8")
        for beside in ({"weight_scale": by_row[:4]}, {"SCB": one}, {"weight_zero_point": one},
                       {"SCB": by_row, "weight_scale": by_row},
                       {"weight_scale": by_row, "weight_zero_point": one},
                       {"SCB": by_row, "weight_format": Stored("U8", [], b"\1")}):
            self.refused(1, write(**beside), "self_attn.q_proj.weight_scale")
        self.refused(1, write(SCB=int8([8], [1] * 8)), "self_attn.q_proj.SCB")
        self.refused(1, write(SCB=by_row, bias=int8([8], [1] * 8)), "self_attn.q_proj.bias")
        self.assertFalse(y.exists())

    def test_other_integers_booleans_and_small_floats_are_refused_by_name_and_type(self):
        layer, x = self.layer(), self.folder / "x.npy"
        write_npy(x, [5, 8], Matrix.drawn(5, 8, seed=5).values)
        tensors = {f"{name}.weight": weight
                   for name, (weight, _) in zip(self.NAMES["llama"], layer)}
        path = self.folder / "model"
        args = ["run", "--weights", path, "--heads", 2, "--input", x]
        for dtype, size in (("I64", 8), ("I32", 4), ("I16", 2), ("U8", 1), ("BOOL", 1),
                            ("F8_E4M3", 1), ("F8_E5M2", 1)):
            for name in ("self_attn.k_proj.weight", "self_attn.o_proj.weight"):
                odd = Stored(dtype, [8, 8], b"\1" * 64 * size)
                write_safetensors(path, {**tensors, name: odd,
                                         f"{name}_scale": [1.0]})
                self.refused(1, args, f"{name}: its elements are {dtype}")
            odd = Stored(dtype, [8], b"\1" * 8 * size)
            write_safetensors(path, {**tensors, "self_attn.k_proj.bias": odd})
            self.refused(1, args, f'"self_attn.k_proj.bias": {dtype} elements')
        odd = Stored("I32", [2], b"\1" * 8)
        write_safetensors(path, {**tensors, "self_attn.sinks": odd})
        self.refused(1, args, '"self_attn.sinks": I32 elements')
        # 4-bit weights are packed as bytes in one column.
        write_safetensors(path, {**tensors, "self_attn.q_proj.weight": Stored("U8", [32, 1],
                                                                             b"\1" * 32)})
        self.refused(1, args, "self_attn.q_proj.weight: its elements are U8")
        for name in ("self_attn.q_proj.qweight", "self_attn.qkv_proj.qweight",
                     "attention.wqkv.weight_packed"):
            write_safetensors(path, {name: Stored("I32", [1, 8], b"\1" * 32)})
            self.refused(1, args, f"{name}: packed weights, here of I32, are not supported")
        write_safetensors(path, tensors)
        (self.folder / "x.npy").write_bytes(x.read_bytes().replace(b"<f4", b"<i4"))
        self.refused(1, args, "x.npy: the tensor: i32 elements")

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

    def test_mismatches_are_named_and_nothing_is_written(self):
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
