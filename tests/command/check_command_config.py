"""`rapt run --weights`: the effect of config.json on a layer, and the report of unused fields.

usage: check_command_config.py RAPT
"""

import json
import math

from command_case import CommandCase, main, rapt, rapt_json
from command_oracle import Matrix, attention_layer, write_npy, write_safetensors

SEPARATE = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
NEOX = ("attention.query_key_value", "attention.dense")
BLOOM = ("self_attention.query_key_value", "self_attention.dense")
PERSIMMON = ("self_attn.query_key_value", "self_attn.dense")
INTERN = ("attention.wqkv", "attention.wo")
C_ATTN = ("attn.c_attn", "attn.c_proj")
QKV_PROJ = ("attn.qkv_proj", "attn.out_proj")


def drawn_layer(kv_rows=8):
    shapes = ((8, 8), (kv_rows, 8), (kv_rows, 8), (8, 8))
    return [(Matrix.drawn(*shape, seed=i), Matrix.drawn(1, shape[0], seed=9 + i))
            for i, shape in enumerate(shapes)]


def fused(layer, order, kv_heads):
    """The first three projections in one: "q_k_v" or "by_kv_head"."""
    parts = [(w, b.transposed()) for w, b in layer[:3]]
    blocks = kv_heads if order == "by_kv_head" else 1
    rows = [w.rows // blocks for w, _ in parts]
    weight, bias = (Matrix.stacked([part[i].rows_of(h * n, (h + 1) * n) for h in range(blocks)
                                    for part, n in zip(parts, rows)]) for i in (0, 1))
    return weight, bias.transposed()


class Config(CommandCase):
    def setUp(self):
        super().setUp()
        self.x = Matrix.drawn(5, 8, seed=17)
        write_npy(self.folder / "x.npy", [5, 8], self.x.values)

    def config(self, fields):
        text = fields if isinstance(fields, str) else json.dumps(fields)
        (self.folder / "config.json").write_text(text)

    def save(self, layer, names, prefix="h.3.", **more):
        tensors = dict(more)
        for part, (weight, bias) in zip(names, layer):
            tensors[f"{prefix}{part}.weight"] = weight
            tensors[f"{prefix}{part}.bias"] = bias.row(0)
        path = self.folder / "model.safetensors"
        write_safetensors(path, tensors)
        return ["run", "--weights", path, "--prefix", prefix, "--input", self.folder / "x.npy",
                "--repeat", 1]

    def gives(self, args, layer, heads=4, **how):
        result = rapt_json(*args)
        want = attention_layer(self.x, layer, heads=heads, **how).values
        self.close(result["first"], want[:8])
        return result

    def test_the_family_of_config_json_decides_the_order_of_fused_rows(self):
        q_k_v, by_kv_head = "q_k_v", "by_kv_head"
        for names, order, kv_heads, fields in (
                (NEOX, by_kv_head, 4, {"model_type": "gpt_neox"}),
                (NEOX, by_kv_head, 4, {"architectures": ["GPTNeoXForCausalLM"]}),
                (NEOX, q_k_v, 4, {"model_type": "glm"}),
                (BLOOM, by_kv_head, 4, {"model_type": "bloom"}),
                (BLOOM, by_kv_head, 1, {"model_type": "falcon", "multi_query": True}),
                (BLOOM, by_kv_head, 2, {"model_type": "falcon", "new_decoder_architecture": True,
                                        "num_kv_heads": 2}),
                (BLOOM, by_kv_head, 2, {"architectures": ["RWForCausalLM"], "n_head_kv": 2}),
                (BLOOM, q_k_v, 2, {"model_type": "chatglm", "multi_query_attention": True,
                                   "multi_query_group_num": 2}),
                (BLOOM, by_kv_head, 4, {"model_type": "chatglm", "multi_query_group_num": 1}),
                (BLOOM, by_kv_head, 2, {"model_type": "RefinedWebModel"}),
                (PERSIMMON, by_kv_head, 4, {"model_type": "persimmon"}),
                (PERSIMMON, by_kv_head, 4, {"model_type": "fuyu"}),
                (PERSIMMON, by_kv_head, 2, {"model_type": "phi3small"}),
                (INTERN, by_kv_head, 2, {"model_type": "internlm2", "num_key_value_heads": 2}),
                (INTERN, by_kv_head, 2, {"model_type": "internvl_chat",
                                         "llm_config": {"model_type": "internlm2"}}),
                (C_ATTN, q_k_v, 4, {"model_type": "qwen"}),
                (C_ATTN, q_k_v, 4, {"architectures": ["GPT2LMHeadModel"]}),
                (C_ATTN, by_kv_head, 4, {"model_type": "gpt_bigcode", "multi_query": False}),
                (C_ATTN, q_k_v, 1, {"model_type": "gpt_bigcode"}),
                (QKV_PROJ, q_k_v, 2, {"model_type": "openelm"})):
            with self.subTest(names=names, fields=fields):
                layer = drawn_layer(kv_rows=2 * kv_heads)
                args = self.save([fused(layer, order, kv_heads), layer[3]], names)
                self.config({"num_attention_heads": 4, "hidden_size": 8, **fields})
                result = self.gives(args, layer)
                self.assertEqual((result["heads"], result["kv_heads"]), (4, kv_heads))
                self.assertEqual(result["qkv_order"], order)
                self.assertIn("config.json", result["qkv_order_source"])

    def test_an_unknown_order_is_an_error_and_the_flag_overrides(self):
        layer = drawn_layer()
        for names in (NEOX, BLOOM, PERSIMMON, INTERN, C_ATTN, QKV_PROJ):
            for fields in (None, {}, {"model_type": "bert"}, {"model_type": ""}):
                if fields is not None:
                    self.config(fields)
                args = self.save([fused(layer, "q_k_v", 4), layer[3]], names) + ["--heads", 4]
                for word in ("--qkv-order", "q_k_v", "by_kv_head", f"h.3.{names[0]}.weight"):
                    self.refused(2, args, word)
                self.gives(args + ["--qkv-order", "q_k_v"], layer)
                self.save([fused(layer, "by_kv_head", 4), layer[3]], names)
                result = self.gives(args + ["--qkv-order", "by_kv_head"], layer)
                self.assertEqual(result["qkv_order_source"], "--qkv-order")
                (self.folder / "config.json").unlink(missing_ok=True)
        self.refused(2, args + ["--qkv-order", "k_q_v"], "--qkv-order")
        self.refused(2, self.save(layer, SEPARATE) + ["--heads", 4, "--qkv-order", "q_k_v"],
                     "--qkv-order")
        wrong = self.save([(Matrix.drawn(24, 6, seed=1), Matrix.drawn(1, 24, seed=2)), layer[3]],
                          C_ATTN) + ["--heads", 4, "--qkv-order", "q_k_v"]
        self.refused(1, wrong, "its shape [24, 6] does not fit the [8, 8]")
        self.config({"model_type": "codegen"})
        args = self.save([fused(layer, "q_k_v", 4), layer[3]], QKV_PROJ) + ["--heads", 4]
        self.refused(1, args, "no other order is supported")

    def test_one_key_value_head_has_only_one_order(self):
        layer = drawn_layer(kv_rows=2)
        self.gives(self.save([fused(layer, "q_k_v", 1), layer[3]], BLOOM) + ["--heads", 4], layer)

    def test_heads_are_found_by_every_name_and_must_not_contradict_the_file(self):
        layer = drawn_layer(kv_rows=4)
        args = self.save(layer, SEPARATE)
        for fields in ({"n_head": 4}, {"n_heads": 4, "attn_config": {"kv_n_heads": 2}},
                       {"num_heads": 4, "num_key_value_heads": None},
                       {"text_config": {"n_head": 4}},
                       {"num_attention_heads": 2, "text_config": {"num_attention_heads": 4}},
                       {"num_attention_heads": 4, "head_dim": 2, "num_key_value_heads": 2}):
            self.config(fields)
            self.gives(args, layer)
        for fields in ({"n_head": 4, "num_attention_heads": 2}, {"n_head": "4"}, {"n_head": 0},
                       {"n_head": -4}, {"n_head": 4.0}, {"n_head": True}, {"n_head": [4]},
                       {"n_head": 10**30}, {"n_head": 2**63}):
            self.config(fields)
            self.refused(1, args, "n_head")
            self.gives(args + ["--heads", 4], layer)
        for fields in ({"n_head": 4, "num_key_value_heads": 4}, {"n_head": 4, "head_dim": 64},
                       {"n_head": 4, "hidden_size": 16}, {"n_head": None}, {"text_config": 3},
                       {"vision_config": {"n_head": 4}}):
            self.config(fields)
            self.refused(2, args, "--heads")
            self.gives(args + ["--heads", 4], layer)

    def test_the_prefix_selects_the_part_of_config_json(self):
        layer = drawn_layer()
        parts = {"text_config": {"n_head": 1}, "vision_config": {"n_head": 4},
                 "decoder_attention_heads": 2, "attn_logit_softcapping": 1.0}
        self.config(parts)
        for prefix, heads, soft_cap in (("vision_model.", 4, None), ("text_model.", 1, 1.0),
                                        ("decoder.", 2, 1.0)):
            self.gives(self.save(layer, SEPARATE, prefix), layer, heads=heads, soft_cap=soft_cap)

    def test_an_invalid_config_json_is_an_error(self):
        args = self.save(drawn_layer(), SEPARATE) + ["--heads", 4]
        for text in ("", "{", "[1]", "null", "4", "\0", "[" * 100000, '{"a":' * 100000,
                     '{"n_head": 1e400}', json.dumps({"a": "x" * 2**22})):
            self.config(text)
            self.refused(1, args, "config.json")
        self.config('{"a":' + "[" * 10**6 + "]" * 10**6 + "}")
        self.assertEqual(rapt(*args).returncode, 0)
        (self.folder / "config.json").unlink()
        (self.folder / "config.json").mkdir()
        self.refused(1, args, "config.json")

    def test_the_scale_is_that_of_the_family_or_of_the_flag(self):
        layer = drawn_layer()
        args = self.save(layer, SEPARATE) + ["--heads", 4]
        for scale, fields in ((1, {"model_type": "gpt_neo"}), (1, {"model_type": "gemma3n_text"}),
                              (0.3, {"attention_multiplier": 0.3}),
                              (1 / math.sqrt(7), {"query_pre_attn_scalar": 7}),
                              (0.2, {"attn_config": {"softmax_scale": 0.2}}),
                              (1, {"scale_attn_weights": False}),
                              (0.5, {"scale_qk_dot_by_d": True}),
                              (None, {"scale_attn_weights": True, "attention_multiplier": None}),
                              (1 / 4, {"scale_attn_weights": False,
                                       "scale_attn_by_inverse_layer_idx": True})):
            self.config(fields)
            self.gives(args, layer, scale=scale)
            result = self.gives(args + ["--scale", 0.7], layer, scale=0.7)
            self.assertEqual(result["scale_source"], "--scale")
        neo = [f"attn.attention.{part}" for part in ("q_proj", "k_proj", "v_proj", "out_proj")]
        (self.folder / "config.json").unlink()
        self.gives(self.save(layer, neo) + ["--heads", 4], layer, scale=1)
        for fields in ({"attention_multiplier": 1, "query_pre_attn_scalar": 7},
                       {"query_pre_attn_scalar": 0}, {"query_pre_attn_scalar": -1},
                       {"query_pre_attn_scalar": 1e-300}):
            self.config(fields)
            self.refused(2, args, "--scale")
        for fields in ({"attention_multiplier": "1"}, {"attention_multiplier": 1e300},
                       {"scale_attn_weights": 0}, {"model_type": 3}, {"architectures": [3]}):
            self.config(fields)
            self.refused(1, args, next(iter(fields)))
        (self.folder / "config.json").unlink()
        for bad in ("nan", "inf", "1e300", "x"):
            self.refused(2, args + ["--scale", bad], "--scale")
        self.refused(2, ["run", "--scale", 1], "--weights")

    def test_soft_cap_window_and_sinks_are_those_of_the_layer(self):
        layer, sinks = drawn_layer(), [0.5, -1.0, 2.0, 0.0]
        args = self.save(layer, SEPARATE, **{"h.3.self_attn.sinks": sinks}) + ["--heads", 4]
        types = ["full_attention"] * 3 + ["sliding_attention"]
        self.config({"attn_logit_softcapping": 0.5, "sliding_window": 2, "layer_types": types})
        result = self.gives(args + ["--causal"], layer, causal=True, soft_cap=0.5, window=2,
                            sinks=sinks)
        self.assertEqual((result["soft_cap"], result["window"], result["sinks"]), (0.5, 2, True))
        self.assertEqual((result["not_used"], result["unread_count"]), ([], 0))
        text = rapt(*args, "--causal").stdout
        self.assertIn("soft cap 0.5, window of 2 keys, a sink for each head", text)
        for fields, window, named in (
                ({"sliding_window": 2, "layer_types": types[::-1]}, None, False),
                ({"sliding_window": 2, "layer_types": types[1:]}, None, True),
                ({"sliding_window": 2, "model_type": "mistral"}, 2, False),
                ({"sliding_window": None, "model_type": "mistral"}, None, False),
                ({"sliding_window": 2, "model_type": "gemma2"}, None, True),
                ({"sliding_window": 2, "use_sliding_window": False}, None, False),
                ({"sliding_window": -2, "model_type": "mistral"}, None, True),
                ({"sliding_window": 2**63, "model_type": "mistral"}, None, True),
                ({"window_size": 2, "model_type": "gpt_neo",
                  "attention_layers": ["global"] * 3 + ["local"]}, 2, False),
                ({"window_size": 2, "model_type": "gpt_neo"}, None, True)):
            self.config(fields)
            scale = 1 if fields.get("model_type") == "gpt_neo" else None
            result = self.gives(args + ["--causal"], layer, causal=True, window=window,
                                sinks=sinks, scale=scale)
            self.assertEqual(result["window"], window)
            self.assertEqual("_window" in str(result["not_used"]) or
                             "window_size" in str(result["not_used"]), named, fields)
        self.config({"sliding_window": 2, "model_type": "mistral"})
        result = self.gives(args, layer, sinks=sinks)
        self.assertEqual(result["not_used"], ["sliding_window 2: it needs --causal"])

    def test_qk_norm_is_used_if_it_is_per_head(self):
        layer, weight = drawn_layer(), [[0.5, 1.5], [-1.0, 2.0]]
        plus_one = [[w + 1 for w in part] for part in weight]
        norms = {f"h.3.self_attn.{n}_norm.weight": w for n, w in zip("qk", weight)}
        args = self.save(layer, SEPARATE, **norms) + ["--heads", 4]
        for family, used in (("qwen3", weight), ("gemma3_text", plus_one)):
            self.config({"model_type": family, "rms_norm_eps": 0.25})
            result = self.gives(args, layer, norms=(*used, 0.25))
            self.assertEqual((result["qk_norm_epsilon"], result["unread_count"]), (0.25, 0))
        whole = {name: w * 4 for name, w in norms.items()}
        bias = {**norms, "h.3.self_attn.k_norm.bias": [0.0, 0.0]}
        one = dict([next(iter(norms.items()))])
        qwen = {"model_type": "qwen3", "rms_norm_eps": 0.25}
        for tensors, fields, why in ((norms, {}, "which norm"), (whole, qwen, "of shape [8]"),
                                     (bias, qwen, "bias"), (one, qwen, "missing"),
                                     (norms, {"model_type": "qwen3"}, "rms_norm_eps")):
            args = self.save(layer, SEPARATE, **tensors) + ["--heads", 4]
            self.config(fields)
            result = self.gives(args, layer)
            self.assertIn(why, result["not_used"][0])
            self.assertEqual(result["unread_tensors"], sorted(tensors))
            self.assertIn(" self_attn.q_norm.weight", rapt(*args).stdout)

    def test_unsupported_settings_are_named(self):
        layer = drawn_layer()
        others = {f"h.3.mlp.{i:02}": [0.0] for i in range(30)}
        args = self.save(layer, SEPARATE, **{"h.2.a": [0.0], "h.3.b": [0.0],
                                             "h.3.self_attn.rel": [0.0], **others})
        self.config({"model_type": "bloom", "n_head": 4, "alibi": True, "clip_qkv": 8,
                     "attention_chunk_size": None, "relative_attention": False,
                     "attn_config": {"clip_qkv": 6}, "position_embedding_type": "relative_key",
                     "use_qk_norm": True})
        result = self.gives(args, layer)
        self.assertEqual(sorted(result["not_used"]),
                         ["ALiBi, as BLOOM has it", "alibi true", "attn_config.clip_qkv 6",
                          "clip_qkv 8", 'position_embedding_type "relative_key"',
                          "use_qk_norm true"])
        self.assertEqual((result["unread_count"], len(result["unread_tensors"])), (32, 16))
        self.assertEqual(result["unread_tensors"][:2], ["h.3.self_attn.rel", "h.3.b"])
        text = rapt(*args).stdout
        self.assertIn("Not used  config.json: clip_qkv 8\n", text)
        self.assertIn("32 tensors under the prefix: self_attn.rel b mlp.00 ", text)
        self.config({"n_head": 4, "hidden_size": 9, "clip_qkv": 8})
        result = self.gives(args + ["--heads", 4], layer)
        self.assertEqual(result["not_used"],
                         ["all of it, as its hidden_size 9 is not the layer's 8"])


if __name__ == "__main__":
    main()
