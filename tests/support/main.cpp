// The one translation unit with doctest's main(). The exit status is 77 if all test cases that ran
// were skipped (absent.hpp).
#define DOCTEST_CONFIG_IMPLEMENT
#include "support/absent.hpp"

#include <doctest/doctest.h>

#include <cstdlib>

namespace {

int test_cases = 0;

/// Counts the test cases that pass the filters.
struct Count : doctest::IReporter {
  explicit Count(const doctest::ContextOptions& /*options*/) {}
  void test_run_end(const doctest::TestRunStats& stats) override {
    test_cases = static_cast<int>(stats.numTestCasesPassingFilters);
  }
  void report_query(const doctest::QueryData& /*in*/) override {}
  void test_run_start() override {}
  void test_case_start(const doctest::TestCaseData& /*in*/) override {}
  void test_case_reenter(const doctest::TestCaseData& /*in*/) override {}
  void test_case_end(const doctest::CurrentTestCaseStats& /*in*/) override {}
  void test_case_exception(const doctest::TestCaseException& /*in*/) override {}
  void subcase_start(const doctest::SubcaseSignature& /*in*/) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData& /*in*/) override {}
  void log_message(const doctest::MessageData& /*in*/) override {}
  void test_case_skipped(const doctest::TestCaseData& /*in*/) override {}
};
REGISTER_LISTENER("count", 1, Count);

}  // namespace

/// Called by LeakSanitizer. oneTBB frees an observer's proxy with the last arena that refers to it,
/// which a worker may keep until the process ends.
extern "C" __attribute__((visibility("default"))) const char*
__lsan_default_suppressions();  // NOLINT
extern "C" const char* __lsan_default_suppressions() { return "leak:tbb::detail::r1::observe"; }

int main(int argc, char** argv) {
  // Not the tuning of the user who runs the tests.
  setenv("RAPT_TUNING", "off", 0);
  const int status = doctest::Context(argc, argv).run();
  const int skipped = rapt::test::skipped_cases();
  return status == 0 && skipped > 0 && skipped == test_cases ? 77 : status;
}
