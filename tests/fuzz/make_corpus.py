#!/usr/bin/env python3
"""Writes tests/corpus: small files of both formats, one for each case that a reader must handle.

Usage: make_corpus.py FOLDER            writes FOLDER/npy and FOLDER/safetensors
       make_corpus.py --check FOLDER    fails unless FOLDER has exactly these files
Files whose names begin with "valid" load; all others are malformed. The fuzzers start from them.
"""
import pathlib
import sys

DTYPES = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8,
          "U64": 64, "U32": 32, "U16": 16, "U8": 8, "BOOL": 8, "C64": 64, "F8_E4M3": 8,
          "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F6_E2M3": 6,
          "F6_E3M2": 6, "F4": 4}
DESCRS = {"<f8": 8, "<f4": 4, "<f2": 2, "<i8": 8, "<i4": 4, "<i2": 2, "|i1": 1, "<u8": 8, "<u4": 4,
          "<u2": 2, "|u1": 1, "|b1": 1}


def safetensors(header, data=b"", length=None):
    text = header.encode("latin-1")
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(name, dtype, shape, begin, end):
    return f'"{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}'


def safetensors_files():
    one = entry("a", "F32", "[2]", 0, 8)
    data = bytes(range(8))
    parts, at = [], 0
    for dtype, bits in DTYPES.items():
        parts.append(entry(dtype.lower(), dtype, "[2,4]", at, at + bits))
        at += bits
    yield "valid_empty", safetensors("{}")
    yield "valid_one", safetensors("{" + one + "}", data)
    yield "valid_types", safetensors("{" + ",".join(parts) + "}", bytes(i % 256 for i in range(at)))
    yield "valid_metadata", safetensors('{"__metadata__":{"format":"pt","":""},' + one + "}", data)
    yield "valid_scalar_and_empty", safetensors(
        "{" + entry("s", "BF16", "[]", 0, 2) + "," + entry("e", "I64", "[3,0]", 0, 0) + "}", b"\x80\x3f")
    yield "valid_rank_64", safetensors(
        "{" + entry("r", "U8", "[" + ",".join(["1"] * 64) + "]", 0, 1) + "}", b"\1")
    yield "valid_spaces", safetensors('{ "a" :\t{"shape":[ 2 ] ,\n"data_offsets":[0,8],\r"dtype":"F32"} }  ', data)
    yield "valid_escapes", safetensors(
        '{"\\u0061\\n\\\\\\"\\ud83d\\ude00\xc3\xa9":' + one[4:] + "}", data)
    yield "valid_out_of_order", safetensors(
        "{" + entry("b", "F32", "[1]", 4, 8) + "," + entry("a", "F32", "[1]", 0, 4) + "}", data)
    yield "duplicate", safetensors("{" + one + "," + one + "}", data)
    yield "duplicate_escaped", safetensors("{" + one + "," + entry("\\u0061", "U8", "[0]", 8, 8) + "}", data)
    yield "duplicate_key", safetensors('{"__metadata__":{"x":"","x":""}}')
    yield "duplicate_metadata", safetensors('{"__metadata__":{},"__metadata__":{}}')
    yield "overlap", safetensors(
        "{" + one + "," + entry("b", "F32", "[1]", 4, 8) + "}", data)
    yield "hole", safetensors("{" + entry("a", "F32", "[1]", 4, 8) + "}", data)
    yield "bytes_after", safetensors("{" + one + "}", data + b"x")
    yield "bytes_missing", safetensors("{" + one + "}", data[:-1])
    yield "backwards", safetensors("{" + entry("a", "U8", "[0]", 8, 0) + "}", data)
    yield "wrong_size", safetensors("{" + entry("a", "F32", "[3]", 0, 8) + "}", data)
    yield "half_bytes", safetensors("{" + entry("a", "F4", "[3]", 0, 1) + "}", b"\1")
    yield "overflow", safetensors("{" + entry("a", "F64", "[4294967296,4294967296]", 0, 8) + "}", data)
    yield "rank_65", safetensors("{" + entry("a", "U8", "[" + ",".join(["1"] * 65) + "]", 0, 1) + "}", b"\1")
    yield "numbers", safetensors('{"a":{"shape":[9223372036854775807,18446744073709551615]}}')
    yield "exponent", safetensors('{"a":{"shape":[4e999]}}')
    yield "fraction", safetensors('{"a":{"shape":[0.5]}}')
    yield "negative", safetensors('{"a":{"data_offsets":[-1,0]}}')
    yield "nested_arrays", safetensors('{"a":{"shape":' + "[" * 40)
    yield "nested_objects", safetensors('{"a":' * 40)
    yield "metadata_number", safetensors('{"__metadata__":{"x":1}}')
    yield "unknown_key", safetensors('{"a":{"x":{"y":[null,true,false,"z"]}}}')
    yield "unknown_type", safetensors("{" + entry("a", "F33", "[0]", 0, 0) + "}")
    yield "not_utf8", safetensors('{"\xff":1}')
    yield "half_pair", safetensors('{"\\ud800":1}')
    yield "zero_byte", safetensors("{}\0")
    yield "cut", safetensors("{" + one)
    yield "long_length", safetensors("{}", length=2**64 - 1)


def npy(descr, shape, data=b"", version=1, order="False", end="\n", length=None):
    quoted = descr if descr.startswith("[") else f"'{descr}'"
    text = f"{{'descr': {quoted}, 'fortran_order': {order}, 'shape': {shape}, }}{end}".encode("latin-1")
    size = len(text) if length is None else length
    return (b"\x93NUMPY" + bytes([version, 0]) + size.to_bytes(2 if version == 1 else 4, "little") +
            text + data)


def npy_files():
    data = bytes(range(64))
    for descr, size in DESCRS.items():
        yield "valid_" + descr[1:], npy(descr, "(2, 3)", data[:6 * size])
    for version in (1, 2, 3):
        yield f"valid_version_{version}", npy("<f4", "(2,)", data[:8], version, end="   \n")
    yield "valid_scalar", npy("<f4", "()", data[:4])
    yield "valid_empty", npy("<f4", "(3, 0)")
    yield "valid_fortran_vector", npy("<f4", "(2,)", data[:8], order="True")
    yield "valid_rank_64", npy("|u1", "(" + "1, " * 64 + ")", b"\1")
    yield "fortran", npy("<f4", "(1, 2)", data[:8], order="True")
    yield "rank_65", npy("|u1", "(" + "1, " * 65 + ")", b"\1")
    yield "number_not_tuple", npy("<f4", "(2)", data[:8])
    yield "big_endian", npy(">f4", "(2,)", data[:8])
    yield "object", npy("|O", "(1,)", data[:8])
    yield "structured", npy("[('x', '<f4')]", "(1,)", data[:4])
    yield "overflow", npy("<f8", "(4294967296, 4294967296)")
    yield "huge_extent", npy("<f4", "(9223372036854775808,)")
    yield "leading_zero", npy("<f4", "(02,)", data[:8])
    yield "negative", npy("<f4", "(-2,)")
    yield "bytes_after", npy("<f4", "(1,)", data[:5])
    yield "bytes_missing", npy("<f4", "(1,)", data[:3])
    yield "no_newline", npy("<f4", "(1,)", data[:4], end=" ")
    yield "long_length", npy("<f4", "(1,)", data[:4], version=2, length=2**32 - 1)
    yield "version_4", npy("<f4", "(1,)", data[:4], version=4)
    yield "duplicate_key", npy("<f4', 'descr': '<f4", "(1,)", data[:4])
    yield "magic_alone", b"\x93NUMPY"


def main(arguments):
    check = arguments[:1] == ["--check"]
    root = pathlib.Path(arguments[-1])
    wrong = []
    for form, files in (("npy", npy_files()), ("safetensors", safetensors_files())):
        wanted = dict(files)
        if check:
            folder = root / form
            found = {path.name: path.read_bytes() for path in folder.iterdir()}
            wrong += [f"{folder / name}" for name in sorted(wanted.keys() | found.keys())
                      if wanted.get(name) != found.get(name)]
            continue
        (root / form).mkdir(parents=True, exist_ok=True)
        for name, content in wanted.items():
            (root / form / name).write_bytes(content)
    for path in wrong:
        print(f"{path}: not as make_corpus.py writes it", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
