// Prints the active ISA, or the error's sentence with exit status 1, so that a fresh process reads
// RAPT_ISA. `--list` prints the available ISAs instead.
#include "rapt/error.hpp"
#include "rapt/isa.hpp"

#include <cstdio>
#include <cstring>

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--list") == 0) {
    for (const rapt::Isa isa : rapt::available_isas()) std::puts(rapt::isa_name(isa).data());
    return 0;
  }
  try {
    std::puts(rapt::isa_name(rapt::active_isa()).data());
  } catch (const rapt::Error& error) {
    std::puts(error.what());
    return 1;
  }
  return 0;
}
