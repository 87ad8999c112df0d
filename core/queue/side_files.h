// Side files: the content of large messages, one file each, as directory/side/XX/ID.
//
// Promise: after adopt() returned, the file is on disk under its name.  A file without a message is an
// orphan of a crash, removed by sweep() at start; nothing else ever removes a file that a message names.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/base/result.h"

namespace millrace::queue {

class SideFiles {
 public:
  SideFiles() = default;
  ~SideFiles();   // finishes the removals asked for
  SideFiles(const SideFiles&) = delete;

  Result<void> open(const std::string& directory, bool sync);

  struct Adopted {
    std::uint64_t size = 0;
    std::uint32_t crc = 0;   // of the file's bytes, continued from the one given
  };
  // Makes the O_TMPFILE the side file of that message, durably.  The descriptor stays the caller's.
  // Errors: no_space, io.  Blocks: [worker]
  Result<Adopted> adopt(int fd, const std::string& queue_id, std::uint32_t crc_before) const;

  Result<int> open_file(const std::string& queue_id) const;   // not_found, io
  // Removes soon, on a thread of its own: freeing the blocks of a large file takes milliseconds. [any thread]
  void remove(const std::string& queue_id);
  // Removes each file of which `known` says no.  Returns how many.
  std::size_t sweep(const std::function<bool(const std::string&)>& known) const;

 private:
  std::string path(const std::string& queue_id) const;
  void remover();

  std::string directory_;
  bool sync_ = true;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::string> doomed_;
  bool stopping_ = false;
  std::thread thread_;
};

// CRC of what a descriptor holds from offset 0 on, continued from `before`; counts its bytes.  Blocks.
Result<std::uint32_t> file_crc(int fd, std::uint32_t before, std::uint64_t& size);

}  // namespace millrace::queue
