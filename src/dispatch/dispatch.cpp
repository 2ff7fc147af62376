// The choice of kernels: forced, named by RAPT_ISA, or the best that runs here.
#include "dispatch/dispatch.hpp"

#include "core/out_of_memory.hpp"
#include "dispatch/isa_table.hpp"
#include "dispatch/tuning.hpp"
#include "kernels/isa_list.hpp"
#include "rapt/error.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <string>

namespace rapt {
namespace {

using dispatch::isa_table;
using dispatch::IsaRow;

struct NamedIsa {
  Isa isa;
  std::string_view name;
};

#define RAPT_NAMED(isa) NamedIsa{Isa::isa, #isa},
constexpr std::array kNames{RAPT_KNOWN_ISAS(RAPT_NAMED)};

// The forced or chosen row; null until the first use and after reset_isa(). Rows are constants, so
// a relaxed load is enough to use what it points to.
std::atomic<const IsaRow*> active_row{nullptr};

const IsaRow* find_row(Isa isa) {
  for (const IsaRow& row : isa_table()) {
    if (row.isa == isa) return &row;
  }
  return nullptr;
}

std::string compiled_names() {
  std::string names;
  for (const IsaRow& row : isa_table()) {
    names += names.empty() ? "" : ", ";
    names += isa_name(row.isa);
  }
  return names;
}

// `source`: who named the ISA, the first word of the sentence.
Isa parse_isa_from(const std::string& source, std::string_view name) {
  std::string known;
  for (auto entry = kNames.rbegin(); entry != kNames.rend(); ++entry) {
    if (entry->name == name) return entry->isa;
    known += known.empty() ? "" : ", ";
    known += entry->name;
  }
  throw Error(ErrorCode::unsupported_isa,
              source + ": unknown ISA \"" + std::string(name) + "\"; known are " + known);
}

const IsaRow& available_row(const std::string& source, Isa isa) {
  const IsaRow* const row = find_row(isa);
  if (row == nullptr) {
    throw Error(ErrorCode::unsupported_isa, source + ": " + std::string(isa_name(isa)) +
                                                " is not compiled into this library, which has " +
                                                compiled_names());
  }
  if (!row->runs_here()) {
    throw Error(ErrorCode::unsupported_isa,
                source + ": " + std::string(isa_name(isa)) +
                    " is not supported by this CPU and its operating system");
  }
  return *row;
}

const IsaRow& default_row() {
  const char* const requested = std::getenv("RAPT_ISA");
  if (requested != nullptr && *requested != '\0') {
    return available_row("RAPT_ISA", parse_isa_from("RAPT_ISA", requested));
  }
  const std::span<const IsaRow> table = isa_table();
  return *std::ranges::find_if(table, [](const IsaRow& row) { return row.runs_here(); });
}

const IsaRow& active() {
  const IsaRow* const row = active_row.load(std::memory_order_relaxed);
  if (row != nullptr) [[likely]]
    return *row;
  const IsaRow* const chosen = &default_row();
  // A force_isa() of another thread in the meantime wins.
  const IsaRow* current = nullptr;
  const bool stored =
      active_row.compare_exchange_strong(current, chosen, std::memory_order_relaxed);
  return stored ? *chosen : *current;
}

}  // namespace

std::string_view isa_name(Isa isa) {
  for (const NamedIsa& entry : kNames) {
    if (entry.isa == isa) return entry.name;
  }
  return "unknown";
}

Isa parse_isa(std::string_view name) try {
  return parse_isa_from("isa", name);
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

std::span<const Isa> compiled_isas() {
  struct List {  // nothing to destroy: it outlives every static object
    std::array<Isa, std::size(kNames)> isas{};
    std::size_t count = 0;
  };
  static const List list = [] {
    List rows;
    for (const IsaRow& row : isa_table()) rows.isas.at(rows.count++) = row.isa;
    return rows;
  }();
  return std::span(list.isas).first(list.count);
}

std::vector<Isa> available_isas() try {
  std::vector<Isa> isas;
  for (const IsaRow& row : isa_table()) {
    if (row.runs_here()) isas.push_back(row.isa);
  }
  return isas;
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

bool isa_available(Isa isa) {
  const IsaRow* const row = find_row(isa);
  return row != nullptr && row->runs_here();
}

Isa active_isa() try { return active().isa; } catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

void force_isa(Isa isa) try {
  active_row.store(&available_row("isa", isa), std::memory_order_relaxed);
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

void reset_isa() { active_row.store(nullptr, std::memory_order_relaxed); }

namespace dispatch {

const kernels::KernelSet& active_kernels() { return tuned_kernels(active().isa); }

const kernels::KernelSet& kernels_of(Isa isa) {
  return tuned_kernels(available_row("isa", isa).isa);
}

}  // namespace dispatch
}  // namespace rapt
