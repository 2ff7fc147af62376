// `rapt bench`: one workload, with its shape from flags or a preset, against the limits of the
// machine.
#include "command/commands.hpp"
#include "command/isa_flag.hpp"
#include "command/rounds.hpp"
#include "measure/isas.hpp"
#include "text/output.hpp"
#include "text/usage_error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace rapt::tools {
namespace {

/// A size that can be set by a flag, and the kinds of work that have it.
struct SizeFlag {
  const char* name;
  const char* meaning;
  const char* default_text;
  std::int64_t WorkShape::*size;
  std::vector<WorkKind> kinds;
};

const std::vector<SizeFlag>& size_flags() {
  using enum WorkKind;
  static const std::vector<SizeFlag> kFlags = {
      {"--batch", "sequences", "1", &WorkShape::batch, {attention, decode, mha}},
      {"--heads",
       "query heads",
       "8; decode 32; mha 12",
       &WorkShape::heads,
       {attention, decode, mha}},
      {"--kv-heads",
       "key/value heads, a divisor of --heads",
       "--heads; decode 8",
       &WorkShape::kv_heads,
       {attention, decode, mha}},
      {"--q-len,--tokens", "queries per sequence", "512", &WorkShape::q_len, {attention, mha}},
      {"--kv-len",
       "keys per sequence",
       "--q-len; decode 8192",
       &WorkShape::kv_len,
       {attention, decode}},
      {"--head-dim",
       "elements of a query and key",
       "64; decode 128",
       &WorkShape::head_dim,
       {attention, decode}},
      {"--value-dim",
       "elements of a value",
       "--head-dim",
       &WorkShape::value_dim,
       {attention, decode}},
      {"--model-dim", "elements of a token", "768", &WorkShape::model_dim, {mha}},
      {"--rows", "rows of the input", "512", &WorkShape::rows, {linear}},
      {"--in-features", "columns of the input", "768", &WorkShape::in_features, {linear}},
      {"--out-features", "columns of the output", "768", &WorkShape::out_features, {linear}}};
  return kFlags;
}

/// Optional score modifications, for any kind of work with scores.
struct ScoreFlag {
  const char* name;
  const char* meaning;
  bool WorkShape::*wanted;
};

constexpr ScoreFlag kScoreFlags[] = {
    {"--alibi", "ALiBi, slopes 2^(-8 (h + 1) / heads)", &WorkShape::alibi},
    {"--bias", "a bias for each head, query and key", &WorkShape::bias},
    {"--mask", "a boolean mask for each query and key, which keeps 7 of 8 keys", &WorkShape::mask}};

struct BenchFlags {
  std::string workload;
  std::string preset;
  WorkShape sizes;
  std::string cache = "contiguous";
  std::string isa = "active";
  std::string dtype = "f32", kv_dtype = "f32", weights = "f32";
  int threads = 1;
  std::int64_t repeat = 0;
  bool explain = false;
  bool json = false;
};

void refuse_unless(bool used, const char* flag, WorkKind kind) {
  if (used) return;
  const std::string name(flag, std::find(flag, flag + std::char_traits<char>::length(flag), ','));
  throw UsageError(fmt::format("{}: the workload {} has no such thing", name, kind_name(kind)));
}

DType parse_dtype(const std::string& name) {
  for (const DType type : {DType::bf16, DType::f16, DType::i8}) {
    if (name == dtype_name(type)) return type;
  }
  return DType::f32;
}

/// The types of inputs, of keys and values, and of weights.
void override_types(const Command& command, const BenchFlags& flags, WorkShape& shape) {
  const bool has_weights = shape.kind == WorkKind::linear || shape.kind == WorkKind::mha;
  if (command.has("--dtype")) shape.dtype = parse_dtype(flags.dtype);
  if (command.has("--kv-dtype")) {
    refuse_unless(!has_weights, "--kv-dtype", shape.kind);
    shape.kv_dtype = parse_dtype(flags.kv_dtype);
    if (shape.kv_dtype == DType::i8 && !shape.paged) {
      throw UsageError("--kv-dtype: i8 needs --cache paged");
    }
  }
  if (command.has("--weights")) {
    refuse_unless(has_weights, "--weights", shape.kind);
    shape.weights = parse_dtype(flags.weights);
  }
}

/// The flags' score options, the storage of keys and values, and the type of weights.
void override_options(const Command& command, const BenchFlags& flags, WorkShape& shape) {
  const bool has_scores = shape.kind != WorkKind::linear;
  if (command.has("--window-left")) {
    refuse_unless(has_scores, "--window-left", shape.kind);
    shape.window_left = flags.sizes.window_left;
  }
  if (command.has("--soft-cap")) {
    refuse_unless(has_scores, "--soft-cap", shape.kind);
    shape.soft_cap = flags.sizes.soft_cap;
  }
  for (const ScoreFlag& flag : kScoreFlags) {
    if (!(flags.sizes.*flag.wanted)) continue;
    refuse_unless(has_scores, flag.name, shape.kind);
    shape.*flag.wanted = true;
  }
  if (command.has("--cache")) {
    refuse_unless(has_scores && shape.kind != WorkKind::mha, "--cache", shape.kind);
    shape.paged = flags.cache == "paged";
  }
  override_types(command, flags, shape);
}

/// The preset, or the kind's default, overridden by the given flags.
WorkShape shape_of(const Command& command, const BenchFlags& flags) {
  if (flags.preset.empty() && flags.workload.empty()) {
    throw UsageError("WORKLOAD: needed, one of attention, decode, linear, mha (or --preset)");
  }
  WorkShape shape =
      flags.preset.empty() ? default_shape(parse_kind(flags.workload)) : preset_shape(flags.preset);
  if (!flags.workload.empty() && parse_kind(flags.workload) != shape.kind) {
    throw UsageError(fmt::format("--preset: {} is a workload of kind {}, not {}", flags.preset,
                                 kind_name(shape.kind), flags.workload));
  }
  for (const SizeFlag& flag : size_flags()) {
    const std::string first = std::string(flag.name).substr(0, std::string(flag.name).find(','));
    if (!command.has(first)) continue;
    const bool used =
        std::find(flag.kinds.begin(), flag.kinds.end(), shape.kind) != flag.kinds.end();
    refuse_unless(used, flag.name, shape.kind);
    shape.*flag.size = flags.sizes.*flag.size;
  }
  if (flags.sizes.causal) {
    refuse_unless(shape.kind == WorkKind::attention || shape.kind == WorkKind::mha, "--causal",
                  shape.kind);
    shape.causal = true;
  }
  if (flags.sizes.cold) {
    refuse_unless(shape.kind != WorkKind::mha, "--cold", shape.kind);
    shape.cold = true;
  }
  override_options(command, flags, shape);
  return shape;
}

void check(const WorkShape& shape, bool heads_matter) {
  if (!heads_matter) return;
  const std::int64_t kv_heads = shape.kv_heads == 0 ? shape.heads : shape.kv_heads;
  if (shape.heads % kv_heads != 0) {
    throw UsageError(
        fmt::format("--kv-heads: {} does not divide --heads {}", kv_heads, shape.heads));
  }
  if (shape.kind == WorkKind::mha && shape.model_dim % shape.heads != 0) {
    throw UsageError(
        fmt::format("--heads: {} does not divide --model-dim {}", shape.heads, shape.model_dim));
  }
  const WorkShape whole = completed(shape);
  if (whole.paged && whole.kv_len < whole.q_len) {
    throw UsageError(
        fmt::format("--kv-len: {} in a cache is below --q-len {}", whole.kv_len, whole.q_len));
  }
}

void run(const Command& command, const BenchFlags& flags) {
  const WorkShape shape = shape_of(command, flags);
  check(shape, shape.kind != WorkKind::linear);
  RoundOptions options;
  options.isas = chosen_isas("--isa", flags.isa);
  options.threads = describe_machine().threads(flags.threads);
  if (command.has("--repeat")) options.repeat = flags.repeat;
  BenchReport report = measure_rounds({completed(shape)}, options);
  report.explained = flags.explain;
  print_out(flags.json ? to_json_text(report) : to_table(report));
}

void add_sizes(Command& command, BenchFlags& flags) {
  for (const SizeFlag& flag : size_flags()) {
    command.number(flag.name, flags.sizes.*flag.size, {1, std::int64_t{1} << 24}, flag.meaning)
        .default_text(flag.default_text);
  }
  command.flag("--causal", flags.sizes.causal, "causal, the last query sees every key");
  command
      .flag("--cold", flags.sizes.cold,
            "rotate over copies of the keys and values, or of the weights, that exceed the caches")
      .default_text("off; decode on");
}

void add_options(Command& command, BenchFlags& flags) {
  command
      .number("--window-left,--window", flags.sizes.window_left, {0, std::int64_t{1} << 24},
              "keys that a query sees before its own position")
      .default_text("all");
  command.number("--soft-cap", flags.sizes.soft_cap, {1e-3, 1e6}, "cap of the scores, by tanh")
      .default_text("none");
  for (const ScoreFlag& flag : kScoreFlags) {
    command.flag(flag.name, flags.sizes.*flag.wanted, flag.meaning);
  }
  command.choice("--cache", flags.cache, {"contiguous", "paged"},
                 "where attention and decode find keys and values: contiguous tensors, or the "
                 "pages of a KvCache (paged)");
}

}  // namespace

void add_bench(CommandLine& line) {
  Command command = line.add("bench", "time a workload against the machine's limits");
  const auto flags = std::make_shared<BenchFlags>();
  command.text("WORKLOAD", flags->workload, "attention, decode, linear or mha");
  command
      .text("--preset", flags->preset,
            "sizes by name: P1 P2 P3 P4 (attention), D1 D2 (decode), T1 (five tokens), G1 G1b G2 "
            "(linear), M1 (mha); flags change single ones")
      .default_text("none");
  add_sizes(command, *flags);
  add_options(command, *flags);
  command.text("--isa", flags->isa, isa_flag_help("active, or all"));
  command.number("--threads", flags->threads, {0, 1024},
                 "threads; 0: one per core; no more than a CPU quota allows");
  command.choice("--dtype", flags->dtype, {"f32", "bf16", "f16"}, "type of inputs and results");
  command
      .choice("--kv-dtype", flags->kv_dtype, {"f32", "bf16", "f16", "i8"},
              "type of keys and values; i8 in a paged cache")
      .default_text("that of --dtype");
  command.choice("--weights", flags->weights, {"f32", "bf16", "f16"},
                 "type of the weights of linear and mha");
  command.number("--repeat", flags->repeat, {1, 1000000}, "timed rounds")
      .default_text("until the median is known within 2 %, 2 s per ISA at most");
  command.flag(
      "--explain", flags->explain,
      "say which kernel and tiles run and why, the limit on paper, and how many threads the "
      "work is for");
  command.flag("--json", flags->json, "print JSON");
  command.run([command, flags] {
    run(command, *flags);
    return 0;
  });
}

}  // namespace rapt::tools
