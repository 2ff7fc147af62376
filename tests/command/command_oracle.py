"""The expected results of `rapt run`, in Python doubles, and the two file formats that it reads."""

import json
import math
import struct


class Random:
    """SplitMix64 with the two draws that the tests need."""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        mask = (1 << 64) - 1
        self.state = (self.state + 0x9E3779B97F4A7C15) & mask
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return z ^ (z >> 31)

    def normal(self):
        return (sum(self.next() >> 40 for _ in range(12)) - 6 * 2**24) * 2.0**-24


class Matrix:
    """A matrix of floats, row-major."""

    def __init__(self, rows, columns, values):
        self.rows, self.columns, self.values = rows, columns, list(values)

    @staticmethod
    def drawn(rows, columns, seed):
        random = Random(seed)
        return Matrix(rows, columns, [random.normal() / 2 for _ in range(rows * columns)])

    @staticmethod
    def stacked(parts):
        return Matrix(sum(p.rows for p in parts), parts[0].columns,
                      [v for p in parts for v in p.values])

    def row(self, i):
        return self.values[i * self.columns:(i + 1) * self.columns]

    def rows_of(self, begin, end):
        return Matrix(end - begin, self.columns,
                      self.values[begin * self.columns:end * self.columns])

    def transposed(self):
        return Matrix(self.columns, self.rows,
                      [v for j in range(self.columns) for v in self.values[j::self.columns]])

    def nested(self):
        return [self.row(i) for i in range(self.rows)]

    def times_transposed(self, weight, bias=None):
        """self · weightᵀ + bias, as a linear layer does."""
        values = []
        for i in range(self.rows):
            for j in range(weight.rows):
                value = sum(a * b for a, b in zip(self.row(i), weight.row(j)))
                values.append(value + (bias[j] if bias else 0.0))
        return Matrix(self.rows, weight.rows, values)


def softmax(scores):
    largest = max(scores)
    powers = [math.exp(s - largest) for s in scores]
    return [p / sum(powers) for p in powers]


def attend(query, key, value, heads, causal, scale=None, soft_cap=None, window=None, sinks=None):
    """The concatenated heads, and each head's weights."""
    head_dim = query.columns // heads
    groups = heads // (key.columns // head_dim)
    scale = 1 / math.sqrt(head_dim) if scale is None else scale
    rows = [[] for _ in range(query.rows)]
    weights = []
    for h in range(heads):
        here = slice(h * head_dim, (h + 1) * head_dim)
        there = slice(h // groups * head_dim, (h // groups + 1) * head_dim)
        table = []
        for i in range(query.rows):
            seen = i + 1 if causal else key.rows
            first = max(0, i + 1 - window) if window else 0
            scores = [sum(a * b for a, b in zip(query.row(i)[here], key.row(j)[there])) * scale
                      for j in range(first, seen)]
            if soft_cap:
                scores = [soft_cap * math.tanh(s / soft_cap) for s in scores]
            powers = softmax(scores + [sinks[h]])[:-1] if sinks else softmax(scores)
            table.append([0.0] * first + powers + [0.0] * (key.rows - seen))
            rows[i] += [sum(p * value.row(j)[there][e] for j, p in enumerate(table[i]))
                        for e in range(head_dim)]
        weights.append(table)
    return Matrix(query.rows, query.columns, [v for row in rows for v in row]), weights


def rms_normed(matrix, weight, epsilon):
    """Each part of len(weight) elements of each row over its root mean square, times weight."""
    values, n = [], len(weight)
    for begin in range(0, len(matrix.values), n):
        part = matrix.values[begin:begin + n]
        root = math.sqrt(sum(v * v for v in part) / n + epsilon)
        values += [v / root * w for v, w in zip(part, weight)]
    return Matrix(matrix.rows, matrix.columns, values)


def attention_layer(x, layer, heads, causal=False, norms=None, **scores):
    """layer: (weight [out, in], bias) of query, key, value and output; norms: the weights of q's
    and of k's, and epsilon."""
    query, key, value = (x.times_transposed(w, b.values) for w, b in layer[:3])
    if norms:
        query, key = (rms_normed(m, w, norms[2]) for m, w in zip((query, key), norms))
    context, _ = attend(query, key, value, heads, causal, **scores)
    return context.times_transposed(layer[3][0], layer[3][1].values)


def article(dim=16, heads=4, seed=42, causal=False, ids=(2, 6, 8, 3, 1), vocabulary=10):
    """Every step of the sentence, with weights drawn in the documented order."""
    random = Random(seed)
    head_dim = dim // heads
    table = Matrix(vocabulary, dim, [random.normal() for _ in range(vocabulary * dim)])

    def drawn():
        return [random.normal() / math.sqrt(dim) for _ in range(dim * dim)]

    def projection():
        w = drawn()  # [head][input][element]
        return Matrix(dim, dim, [w[(h * dim + d) * head_dim + e] for h in range(heads)
                                 for e in range(head_dim) for d in range(dim)])

    query, key, value = projection(), projection(), projection()
    w = drawn()  # [input][output]
    output = Matrix(dim, dim, [w[i * dim + o] for o in range(dim) for i in range(dim)])
    x = Matrix(len(ids), dim, [v for i in ids for v in table.row(i)])
    context, weights = attend(x.times_transposed(query), x.times_transposed(key),
                              x.times_transposed(value), heads, causal)
    return {"ids": list(ids), "embedding": x.nested(), "weights": weights,
            "context": context.nested(), "output": context.times_transposed(output).nested()}


def write_npy(path, shape, values):
    text = ", ".join(str(n) for n in shape)
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({text}), }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
        file.write(struct.pack(f"<{len(values)}f", *values))


def read_npy(path):
    with open(path, "rb") as file:
        data = file.read()
    length = struct.unpack("<H", data[8:10])[0]
    header = data[10:10 + length].decode()
    shape = header[header.index("(") + 1:header.index(")")]
    body = data[10 + length:]
    return ([int(n) for n in shape.split(",") if n.strip()],
            list(struct.unpack(f"<{len(body) // 4}f", body)))


class Stored:
    """The bytes of a tensor of any type."""

    def __init__(self, dtype, shape, data):
        self.dtype, self.shape, self.data = dtype, shape, data


def int8(shape, values):
    return Stored("I8", shape, struct.pack(f"<{len(values)}b", *values))


def write_safetensors(path, tensors):
    """tensors: name -> Matrix, list of floats or Stored."""
    header, body = {}, b""
    for name, tensor in tensors.items():
        if not isinstance(tensor, Stored):
            matrix = isinstance(tensor, Matrix)
            values = tensor.values if matrix else tensor
            shape = [tensor.rows, tensor.columns] if matrix else [len(values)]
            tensor = Stored("F32", shape, struct.pack(f"<{len(values)}f", *values))
        begin = len(body)
        body += tensor.data
        header[name] = {"dtype": tensor.dtype, "shape": tensor.shape,
                        "data_offsets": [begin, len(body)]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + body)
