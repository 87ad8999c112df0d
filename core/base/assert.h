// MR_ASSERT: for invariants whose breach could lose or alter accepted mail.  Also on in release builds.
#pragma once

namespace millrace {
// Logs "panic: file:line: text" and aborts.
[[noreturn]] void assertion_failed(const char* file, int line, const char* text) noexcept;
}  // namespace millrace

#define MR_ASSERT(condition) \
  (static_cast<bool>(condition) ? void(0) : ::millrace::assertion_failed(__FILE__, __LINE__, #condition))
