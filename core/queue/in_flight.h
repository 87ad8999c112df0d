// In-flight marks: which messages were being delivered when the process died.
//
// A table of slots in a shared mapping of a small file.  Setting and clearing a mark is a memory write; the
// kernel keeps it when the process dies, however it dies.  A crash of the machine may lose marks, which
// is right: no message caused it.  Loop-local.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/base/result.h"

namespace millrace::queue {

class InFlight {
 public:
  static constexpr std::size_t kSlotBytes = 32;  // id and NULs

  InFlight() = default;
  ~InFlight();
  InFlight(const InFlight&) = delete;

  // Returns the marks found, and clears them.
  Result<std::vector<std::string>> open(const std::string& path);
  // Marks; a second mark of the same message counts.  Errors: no_space, io.
  Result<void> mark(const std::string& queue_id);
  void clear(const std::string& queue_id);

 private:
  Result<void> grow(std::size_t slots);
  int fd_ = -1;
  char* slots_ = nullptr;
  std::size_t count_ = 0;
  std::vector<std::uint32_t> free_;
  std::unordered_map<std::string, std::uint32_t> used_;
};

}  // namespace millrace::queue
