#!/usr/bin/env python3
"""Writes tests/data/minilm_{inputs,expected}.npy: one sentence by PyTorch in float32.

For each layer of all-MiniLM-L6-v2 (scripts/fetch_minilm.sh), [layers, tokens, 384]:
  inputs    the hidden states that enter the layer
  expected  the attention block's output before the residual: self-attention, then output.dense
The rest of the encoder (embeddings, layer norms, feed-forward) runs here so that the hidden states
are the real ones. Needs PyTorch and numpy; the files in the tree were made with torch 2.13.0 on one
thread.
"""

import argparse
import io
import json
import pathlib
import struct
import unicodedata

import numpy
import torch
import torch.nn.functional as F

from whole_file import write_whole

ROOT = pathlib.Path(__file__).resolve().parent.parent
SENTENCE = (
    "My name is Marcello Politi, and in this sentence every word attends to every other word."
)
EPSILON = 1e-12


def read_safetensors(path):
    """The float32 tensors of a .safetensors file, by name."""
    content = path.read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    tensors = {}
    for name, entry in header.items():
        if entry.get("dtype") != "F32":
            continue
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        values = numpy.frombuffer(content[begin:end], dtype="<f4").reshape(entry["shape"])
        tensors[name] = torch.from_numpy(values.copy())
    return tensors


def split_words(text):
    """Lower-case words and single punctuation marks."""
    words = [""]
    for letter in text.lower():
        if letter.isspace():
            words.append("")
        elif unicodedata.category(letter).startswith("P"):
            words += [letter, ""]
        else:
            words[-1] += letter
    return [word for word in words if word]


def word_pieces(word, vocabulary):
    """The longest pieces of the vocabulary, from left to right."""
    pieces, begin = [], 0
    while begin < len(word):
        prefix = "##" if begin else ""
        for end in range(len(word), begin, -1):
            if prefix + word[begin:end] in vocabulary:
                break
        else:
            return ["[UNK]"]
        pieces.append(prefix + word[begin:end])
        begin = end
    return pieces


def attention_block(states, w, prefix, heads):
    """states [tokens, dim] -> the self-attention block before its residual."""

    def split(name):
        weight, bias = (w[f"{prefix}.self.{name}.{part}"] for part in ("weight", "bias"))
        projected = F.linear(states, weight, bias)
        return projected.view(len(states), heads, -1).transpose(0, 1)

    context = F.scaled_dot_product_attention(
        split("query")[None], split("key")[None], split("value")[None]
    )[0]
    joined = context.transpose(0, 1).reshape(states.shape)
    return F.linear(joined, w[f"{prefix}.output.dense.weight"], w[f"{prefix}.output.dense.bias"])


def layer_norm(states, w, prefix):
    weight, bias = (w[f"{prefix}.LayerNorm.{part}"] for part in ("weight", "bias"))
    return F.layer_norm(states, states.shape[-1:], weight, bias, EPSILON)


def encode(ids, w, layers, heads):
    """Runs the encoder; returns the two arrays of the module's description."""
    states = w["embeddings.word_embeddings.weight"][ids]
    states = states + w["embeddings.position_embeddings.weight"][: len(ids)]
    states = states + w["embeddings.token_type_embeddings.weight"][0]
    states = layer_norm(states, w, "embeddings")
    inputs, expected = [], []
    for n in range(layers):
        prefix = f"encoder.layer.{n}"
        block = attention_block(states, w, f"{prefix}.attention", heads)
        inputs.append(states)
        expected.append(block)
        states = layer_norm(states + block, w, f"{prefix}.attention.output")
        wide = F.linear(
            states, w[f"{prefix}.intermediate.dense.weight"], w[f"{prefix}.intermediate.dense.bias"]
        )
        narrow = F.linear(
            F.gelu(wide), w[f"{prefix}.output.dense.weight"], w[f"{prefix}.output.dense.bias"]
        )
        states = layer_norm(states + narrow, w, f"{prefix}.output")
    return torch.stack(inputs), torch.stack(expected)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=pathlib.Path, default=ROOT / "third_party/minilm")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "tests/data")
    parser.add_argument("--text", default=SENTENCE)
    options = parser.parse_args()

    torch.set_num_threads(1)
    config = json.loads((options.model / "config.json").read_text())
    lines = (options.model / "vocab.txt").read_text(encoding="utf-8").split("\n")
    vocabulary = {piece: n for n, piece in enumerate(lines)}
    pieces = ["[CLS]"]
    for word in split_words(options.text):
        pieces += word_pieces(word, vocabulary)
    pieces.append("[SEP]")
    ids = torch.tensor([vocabulary[piece] for piece in pieces])

    weights = read_safetensors(options.model / "model.safetensors")
    with torch.inference_mode():
        inputs, expected = encode(
            ids, weights, config["num_hidden_layers"], config["num_attention_heads"]
        )
    for name, values in (("inputs", inputs), ("expected", expected)):
        npy = io.BytesIO()
        numpy.save(npy, values.numpy())
        write_whole(options.output / f"minilm_{name}.npy", npy.getvalue())
    print(f"{len(pieces)} tokens: {' '.join(pieces)}")
    print(f"inputs and expected: {list(inputs.shape)}, torch {torch.__version__}")


if __name__ == "__main__":
    main()
