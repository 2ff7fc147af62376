// The table of the tuning in use: made at the first use, then only read.
#include "dispatch/tuning.hpp"

#include "dispatch/isa_table.hpp"

#include <atomic>
#include <memory>

namespace rapt::dispatch {
namespace {

struct Table {
  TunedKernels tuned;
  TuningSource source;
};

// On the heap and never deleted while calls may run: static objects end before the last calls do.
std::atomic<Table*> table_in_use{nullptr};

std::unique_ptr<Table> default_table() {
  auto table = std::make_unique<Table>();
  for (const IsaRow& row : isa_table()) table->tuned.of(row.isa) = *row.kernels;
  return table;
}

const Table& table_at_first_use() {
  std::unique_ptr<Table> made = default_table();
  made->source = read_tuning(made->tuned);
  // Another thread may have been faster: then its table is the one, so that references to it stay
  // valid.
  Table* current = nullptr;
  const bool stored = table_in_use.compare_exchange_strong(
      current, made.get(), std::memory_order_acq_rel, std::memory_order_acquire);
  return stored ? *made.release() : *current;
}

const Table& table() {
  const Table* const made = table_in_use.load(std::memory_order_acquire);
  if (made != nullptr) [[likely]]
    return *made;
  return table_at_first_use();
}

void replace_table(std::unique_ptr<Table> table) {
  delete table_in_use.exchange(table.release(), std::memory_order_acq_rel);
}

/// The table that set_tuning() changes.
TunedKernels& tuned_to_set() {
  if (table_in_use.load(std::memory_order_acquire) == nullptr) replace_table(default_table());
  return table_in_use.load(std::memory_order_acquire)->tuned;
}

}  // namespace

const tuning::CallTuning& call_tuning() { return table().tuned.call; }

const kernels::KernelSet& tuned_kernels(Isa isa) { return table().tuned.of(isa); }

const TuningSource& tuning_source() { return table().source; }

void set_tuning(const tuning::CallTuning& call) { tuned_to_set().call = call; }

void set_tuning(Isa isa, const kernels::Tuning& kernels) {
  tuned_to_set().of(isa).tuning = kernels;
}

void set_default_tuning() { replace_table(default_table()); }

void reset_tuning() { replace_table(nullptr); }

}  // namespace rapt::dispatch
