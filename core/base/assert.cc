#include "core/base/assert.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "core/base/log.h"

namespace millrace {

void assertion_failed(const char* file, int line, const char* text) noexcept {
  char message[512];
  const int n = std::snprintf(message, sizeof message, "panic: %s:%d: %s\n", file, line, text);
  log::flush();
  if (n > 0) (void)!::write(2, message, static_cast<std::size_t>(n));
  std::abort();
}

}  // namespace millrace
