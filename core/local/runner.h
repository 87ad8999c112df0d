// Asking the master to do what needs another user's rights, as delivery agents see it.
#pragma once

#include <span>

#include "core/base/clock.h"
#include "core/base/result.h"
#include "core/local/frame.h"

namespace millrace::local {

class Runner {
 public:
  virtual ~Runner() = default;
  // Waits until what was asked for has ended.  `fds` stay the caller's.  The id is given here.  The master
  // keeps the time limit.  Errors: too_large (the values), closed (no master any more), canceled. [fiber]
  virtual Result<Answer> run(Request request, std::span<const int> fds) = 0;
};

}  // namespace millrace::local
