// The table of the tuning in use: made at the first use, then only read.
#include "dispatch/tuning.hpp"

#include "dispatch/isa_table.hpp"
#include "kernels/isa_list.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>

namespace rapt::dispatch {
namespace {

#define RAPT_ONE(isa) +1
constexpr std::size_t kKnownIsas = RAPT_KNOWN_ISAS(RAPT_ONE);
#undef RAPT_ONE

struct Table {
  std::array<kernels::KernelSet, kKnownIsas> kernels{};  // by Isa; only compiled ones are filled
  tuning::CallTuning call;
};

// On the heap and never deleted while calls may run: static objects end before the last calls do.
std::atomic<Table*> table_in_use{nullptr};

std::unique_ptr<Table> default_table() {
  auto table = std::make_unique<Table>();
  for (const IsaRow& row : isa_table()) {
    table->kernels[static_cast<std::size_t>(row.isa)] = *row.kernels;
  }
  return table;
}

const Table& table_at_first_use() {
  std::unique_ptr<Table> made = default_table();
  // Another thread may have been faster.
  Table* current = nullptr;
  const bool stored = table_in_use.compare_exchange_strong(
      current, made.get(), std::memory_order_acq_rel, std::memory_order_acquire);
  return stored ? *made.release() : *current;
}

const Table& table() {
  const Table* const made = table_in_use.load(std::memory_order_acquire);
  return made != nullptr ? *made : table_at_first_use();
}

void replace_table(std::unique_ptr<Table> table) {
  delete table_in_use.exchange(table.release(), std::memory_order_acq_rel);
}

/// The table that set_tuning() changes.
Table& table_to_set() {
  if (table_in_use.load(std::memory_order_acquire) == nullptr) replace_table(default_table());
  return *table_in_use.load(std::memory_order_acquire);
}

}  // namespace

const tuning::CallTuning& call_tuning() { return table().call; }

const kernels::KernelSet& tuned_kernels(Isa isa) {
  return table().kernels[static_cast<std::size_t>(isa)];
}

void set_tuning(const tuning::CallTuning& call) { table_to_set().call = call; }

void set_tuning(Isa isa, const kernels::Tuning& kernels) {
  table_to_set().kernels[static_cast<std::size_t>(isa)].tuning = kernels;
}

void set_default_tuning() { replace_table(default_table()); }

void reset_tuning() { replace_table(nullptr); }

}  // namespace rapt::dispatch
