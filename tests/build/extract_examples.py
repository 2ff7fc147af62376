"""Turns the examples of a document and of the headers into a program that runs them; an option
without an example is an error.

usage: extract_examples.py DOCUMENT HEADERS OUTPUT
       extract_examples.py --self-test

The first ```cpp block is put at file level, each further one in a function. The program fails when
an example throws or leaves an element of `out_floats` unwritten, and when a field of a struct in
REQUIRED is not mentioned: those of AttentionOptions in the code of an example, the others anywhere.

The examples of a header are the ```cpp blocks of its comments and the calls between single
backticks; they find what HEADER_NAMES declares.
"""
import pathlib
import re
import sys

# Public struct -> its header.
REQUIRED = {
    "AttentionOptions": "attention.hpp",
    "AttentionState": "attention_state.hpp",
    "Mask": "mask.hpp",
    "QkNorm": "rms_norm.hpp",
    "LayerNormOptions": "layer_norm.hpp",
    "RaggedRows": "ragged.hpp",
    "RopeOptions": "rope.hpp",
    "RopeConfig": "rope.hpp",
    "PagedKeyValues": "paged.hpp",
    "T5Buckets": "t5_bias.hpp",
    "ScoreTile": "score_callback.hpp",
    "KvCacheConfig": "kv_cache.hpp",
    "CacheQueries": "kv_cache.hpp",
    "MultiHeadAttentionConfig": "multi_head_attention.hpp",
}
# Declarations for the examples of headers.
HEADER_NAMES = """using namespace rapt;
float floats[256], results[256];
bfloat16 halves[256];
const TensorView<float, 4> view(floats, {1, 2, 4, 8});
float* const data = floats;
const std::int64_t heads = 2, q_rows = 4;
"""
COMMENT = re.compile(r"^ *///?<? ?(.*)$", re.MULTILINE)
CALL = re.compile(r"`([\w:.]+(?:<[^`(]*>)?\([^`]*\))`")
BLOCK = re.compile(r"^```cpp\n(.*?)^```$", re.MULTILINE | re.DOTALL)

PROGRAM = """// Generated from {document} by extract_examples.py.
#include <cstdio>
#include <exception>
#include <iterator>
#include <limits>
#line {preamble_line} "{document}"
{preamble}
namespace {{

struct Example {{
  int line;
  void (*run)();
}};

{functions}
namespace of_headers {{
{header_names}
{header_functions}}}  // namespace of_headers

const Example kExamples[] = {{{table}}};
void (*const kHeaderExamples[])() = {{{header_table}}};
const char* const kFaults[] = {{{faults}nullptr}};

bool passes(const Example& example) {{
  out_floats.assign(out_floats.size(), std::numeric_limits<float>::quiet_NaN());
  try {{
    example.run();
  }} catch (const std::exception& error) {{
    std::printf("{document}:%d: %s\\n", example.line, error.what());
    return false;
  }}
  for (std::size_t i = 0; i < out_floats.size(); ++i) {{
    if (std::isfinite(out_floats[i])) continue;
    std::printf("{document}:%d: out_floats[%zu] is %g\\n", example.line, i,
                static_cast<double>(out_floats[i]));
    return false;
  }}
  return true;
}}

}}  // namespace

int main() {{
  int failed = 0;
  for (const Example& example : kExamples) failed += passes(example) ? 0 : 1;
  for (void (*const run)() : kHeaderExamples) run();
  for (const char* const* fault = kFaults; *fault != nullptr; ++fault, ++failed) std::puts(*fault);
  std::printf("%d examples, %d of headers, %d failures\\n",
              static_cast<int>(std::size(kExamples)), static_cast<int>(std::size(kHeaderExamples)),
              failed);
  return failed == 0 ? 0 : 1;
}}
"""


def fields_of(header, struct):
    """The names of the data members of a struct in this project's style."""
    struct_body = re.compile(rf"^struct {struct} \{{\n(.*?)^\}};", re.MULTILINE | re.DOTALL)
    body = re.sub(r"//.*", "", struct_body.search(header).group(1))
    for group, rest in (r"<[^<>]*>", ""), (r"\{[^{}]*\}(?=\s*[;,])", ""), (r"\{[^{}]*\}", ";"):
        while re.search(group, body):
            body = re.sub(group, rest, body)
    members = [m for m in body.split(";") if m.strip() and "(" not in m and "enum" not in m.split()]
    return [re.findall(r"\w+", part.split("=")[0])[-1] for m in members for part in m.split(",")]


def faults_of(text, headers):
    """One sentence for each field that the document does not show."""
    code = "\n".join(BLOCK.findall(text))
    for struct, header in REQUIRED.items():
        for field in fields_of(headers[header], struct):
            shown = rf"\.{field}\b" if struct == "AttentionOptions" else rf"\b{field}\b"
            if not re.search(shown, code if struct == "AttentionOptions" else text):
                yield f"{header}: {struct}::{field} is not shown"


def examples_of_header(text):
    """The line and code of each example in the comments of a header."""
    comments = [COMMENT.match(line) for line in text.split("\n")]
    lines = [match.group(1) if match else "" for match in comments]
    comment = "\n".join(lines) + "\n"
    for match in BLOCK.finditer(comment):
        yield comment.count("\n", 0, match.start()) + 2, match.group(1)
    # A call in a sentence may continue on the next line.
    for match in CALL.finditer(comment):
        yield comment.count("\n", 0, match.start()) + 1, f"(void)({match.group(1)});\n"


def functions_of_headers(headers):
    functions, names = [], []
    for header, text in sorted(headers.items()):
        for number, (line, code) in enumerate(examples_of_header(text)):
            name = f"{header.removesuffix('.hpp')}_{line}_{number}"
            functions.append(f'void {name}() {{\n#line {line} "{header}"\n{code}}}\n\n')
            names.append(f"of_headers::{name}")
    return "".join(functions), ", ".join(names)


def program_of(document, text, faults, headers):
    blocks = [(text.count("\n", 0, m.start()) + 2, m.group(1)) for m in BLOCK.finditer(text)]
    (preamble_line, preamble), *examples = blocks
    functions = "".join(
        f'void example_{line}() {{\n#line {line} "{document}"\n{code}}}\n\n'
        for line, code in examples
    )
    header_functions, header_table = functions_of_headers(headers)
    return PROGRAM.format(
        header_names=HEADER_NAMES,
        header_functions=header_functions,
        header_table=header_table,
        document=document,
        preamble_line=preamble_line,
        preamble=preamble,
        functions=functions,
        table=", ".join(f"{{{line}, example_{line}}}" for line, _ in examples),
        faults="".join(f'"{fault}", ' for fault in faults),
    )


HEADER = """template <class T>
struct S {
  enum class Kind { none, one };
  /// A comment, with a comma; and more.
  Kind kind = Kind::none;
  TensorView<const float, 4> bias{};  ///< one = 1, two
  std::optional<
      float> cap{};
  double fast = 32.0, slow = 1.0;
  constexpr S() = default;
  constexpr S(int a) : kind(a), fast(a) {}
  constexpr S with(int a) const {
    if (a) { return {}; }
    return *this;
  }
  Mask
      mask{};
};
"""


EXAMPLES_OF_A_HEADER = """// The first line.
/// `q` is no call, `causal(1,
/// 2).g()` is one.
/// ```cpp
/// f({p, {2, 8}});
/// ```
int x = f(`not(a)comment`);
"""


def self_test():
    fields = fields_of(HEADER, "S")
    if fields != ["kind", "bias", "cap", "fast", "slow", "mask"]:
        return [f"fields_of found {fields}"]
    headers = {header: "" for header in REQUIRED.values()}
    for struct, header in REQUIRED.items():
        headers[header] += f"struct {struct} {{\n  int a_{struct};\n}};\n"
    text = "\n".join(f"`a_{struct}`" for struct in REQUIRED)
    shown = "```cpp\nx;\n```\n" + text + "\n```cpp\nf({.a_AttentionOptions = 1});\n```\n"
    wrong = [f"a good document: {fault}" for fault in faults_of(shown, headers)]
    if [fault for fault in faults_of(text, headers) if "AttentionOptions::" not in fault]:
        wrong.append("fields in the text are reported")
    if not list(faults_of(text, headers)):
        wrong.append("an option outside the examples passes")
    if len(list(faults_of("", headers))) != len(REQUIRED):
        wrong.append("an empty document passes")
    line = shown[: shown.index("f({")].count("\n") + 1
    if f'#line {line} "D"\nf({{' not in program_of("D", shown, [], {}):
        wrong.append(f"the example of line {line} is not in the program under that line")
    examples = list(examples_of_header(EXAMPLES_OF_A_HEADER))
    if examples != [(5, "f({p, {2, 8}});\n"), (2, "(void)(causal(1,\n2).g());\n")]:
        wrong.append(f"examples_of_header found {examples}")
    return wrong


def main():
    if sys.argv[1:] == ["--self-test"]:
        wrong = self_test()
        print("\n".join(wrong) if wrong else "no fault found")
        return 1 if wrong else 0
    document, folder, output = map(pathlib.Path, sys.argv[1:])
    text = document.read_text(encoding="utf-8")
    headers = {h.name: h.read_text(encoding="utf-8") for h in folder.glob("*.hpp")}
    program = program_of(document.name, text, faults_of(text, headers), headers)
    output.write_text(program, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
