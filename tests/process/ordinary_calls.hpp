// Calls of every public function on ordinary data: sizes around the borders of lanes, tiles and
// blocks, every route and option.
#pragma once

#include <functional>
#include <string>

namespace rapt::test {

/// Receives a call: `what` describes it, `call` makes it.
using VisitCall = std::function<void(const std::string& what, const std::function<void()>& call)>;

/// Visits all calls, in the same order every time.
void visit_ordinary_calls(const VisitCall& visit);

}  // namespace rapt::test
