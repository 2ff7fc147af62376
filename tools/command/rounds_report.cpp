// The report of measured rounds as tables and as JSON.
#include "command/explain.hpp"
#include "command/rounds.hpp"
#include "core/counted.hpp"
#include "measure/isas.hpp"
#include "text/hash.hpp"
#include "text/json.hpp"
#include "text/lists.hpp"
#include "text/units.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <vector>

namespace rapt::tools {
namespace {

Json to_json(const WorkResult& result, const BenchReport& report) {
  return {{"workload", kind_name(result.shape.kind)},
          {"preset", result.shape.preset},
          {"shape", to_json(result.shape)},
          {"isa", isa_name(result.isa)},
          {"threads", report.threads},
          {"dtype", dtype_name(result.shape.dtype)},
          {"compute", "f32"},
          {"median_ms", result.median * 1e3},
          {"min_ms", result.least * 1e3},
          {"median_interval_ms",
           std::vector<double>{result.interval.low * 1e3, result.interval.high * 1e3}},
          {"gflops", result.gflops()},
          {"gbs", result.gbs()},
          {"share_of_peak", result.share_of_peak()},
          {"share_of_bandwidth", result.share_of_bandwidth()},
          {"peak_gflops", result.peak * 1e-9},
          {"read_gbs", result.read * 1e-9},
          {"repeats", result.repeats},
          {"calls_per_repeat", result.calls},
          {"copies", result.copies},
          {"cold", result.cold},
          {"hash", result.hash}};
}

Json to_json(const CacheBits& cache) {
  const CacheStream& stream = cache.stream;
  std::vector<std::string_view> isas;
  for (const Isa isa : cache.isas) isas.push_back(isa_name(isa));
  return {{"bits_equal", cache.different.empty()},
          {"different", cache.different},
          {"isas", isas},
          {"threads", std::vector<int>(std::begin(kCacheThreads), std::end(kCacheThreads))},
          {"tokens", stream.tokens},
          {"chunks", promised_chunks(stream)},
          {"heads", stream.heads},
          {"kv_heads", stream.kv_heads},
          {"head_dim", stream.head_dim},
          {"rope", "half"},
          {"window_left", stream.window},
          {"soft_cap", stream.soft_cap},
          {"hash", hash_of(cache.bits)}};
}

/// "equal on avx512, avx2, scalar (2048 tokens: one by one, 7, 64, 1000, whole; 1 and 2 threads)".
std::string sentence(const CacheBits& cache) {
  if (!cache.different.empty()) return "DIFFERENT: " + joined(cache.different);
  return fmt::format("equal on {} ({}: one by one, 7, 64, 1000, whole; 1 and 2 threads)",
                     isa_list(cache.isas), core::counted(cache.stream.tokens, "token"));
}

/// "equal on avx512, avx2, scalar", or where they differ.
std::string bits_sentence(const BenchReport& report) {
  std::vector<Isa> isas;
  for (const WorkResult& result : report.results) {
    if (std::find(isas.begin(), isas.end(), result.isa) == isas.end()) isas.push_back(result.isa);
  }
  if (report.bits_equal && isas.size() == 1) return "equal in every call on " + isa_list(isas);
  if (report.bits_equal) return "equal on " + isa_list(isas);
  std::vector<std::string> kinds;
  for (std::size_t i = 0; i < report.results.size(); ++i) {
    const WorkResult& result = report.results[i];
    const WorkResult& first = report.results[i - i % isas.size()];
    if (!result.bits_stable) {
      kinds.push_back(fmt::format("{} from call to call on {}", kind_name(result.shape.kind),
                                  isa_name(result.isa)));
    } else if (result.hash != first.hash) {
      kinds.push_back(fmt::format("{} between {} and {}", kind_name(result.shape.kind),
                                  isa_name(first.isa), isa_name(result.isa)));
    }
  }
  return "DIFFERENT: " + joined(kinds);
}

std::string heading(const WorkResult& result, bool memory_shown) {
  std::string text = sentence(result.shape) + "\n";
  if (result.shape.cold) {
    text +=
        result.cold
            ? fmt::format("cold: {} copies take turns, together far larger than the caches\n",
                          result.copies)
            : fmt::format("warm: {} copies are not far larger than the caches\n", result.copies);
  }
  return text + fmt::format("{:<8}{:>11}{:>11}{:>10}{:>9}{:>8}{}{:>9}  {}\n", "isa", "median",
                            "least", "GFLOP/s", "of peak", "GB/s", memory_shown ? "  of read" : "",
                            "repeats", "hash");
}

std::string explanations(const BenchReport& report) {
  std::string text;
  for (const WorkResult& result : report.results) {
    text += fmt::format("\n{} on {}:\n", sentence(result.shape), isa_name(result.isa));
    text += to_text(explain(result, report.threads), result);
  }
  return text;
}

}  // namespace

std::string to_json_text(const BenchReport& report) {
  Json json = {{"machine", to_json(report.machine)},
               {"peak",
                {{"fma_gflops", report.fma_peak * 1e-9},
                 {"read_gbs", report.read_bandwidth * 1e-9},
                 {"read_from_memory", report.bandwidth_is_memory},
                 {"read_loop", report.read_loop}}},
               {"bits_equal", report.bits_equal},
               {"results", Json::list()}};
  if (report.cache) json["cache"] = to_json(*report.cache);
  for (const WorkResult& result : report.results) {
    json["results"].push_back(to_json(result, report));
    if (report.explained) {
      json["results"].back()["explain"] = to_json(explain(result, report.threads));
    }
  }
  return json.text();
}

std::string to_table(const BenchReport& report) {
  std::string text = sentence(report.machine) + "\n";
  text += fmt::format("{}, f32; FMA peak {:.1f} GFLOP/s, {} {:.1f} GB/s ({})\n",
                      core::counted(report.threads, "thread"), report.fma_peak * 1e-9,
                      report.bandwidth_is_memory ? "reading memory" : "reading a cache",
                      report.read_bandwidth * 1e-9, report.read_loop);
  const WorkResult* previous = nullptr;
  for (const WorkResult& result : report.results) {
    const bool decode = result.shape.kind == WorkKind::decode || result.shape.cold;
    const bool begins = previous == nullptr || sentence(previous->shape) != sentence(result.shape);
    if (begins) text += "\n" + heading(result, decode);
    text += fmt::format(
        "{:<8}{:>11}{:>11}{:>10.1f}{:>7.0f} %{:>8.1f}{}{:>9}  {}\n", isa_name(result.isa),
        format_seconds(result.median), format_seconds(result.least), result.gflops(),
        100.0 * result.share_of_peak(), result.gbs(),
        decode ? fmt::format("{:>7.0f} %", 100.0 * result.share_of_bandwidth()) : "",
        result.repeats, result.hash);
    previous = &result;
  }
  if (report.explained) text += explanations(report);
  if (report.cache) text += "\ncache: " + sentence(*report.cache);
  return text + "\nbits: " + bits_sentence(report) + "\n";
}

}  // namespace rapt::tools
