// The descriptors of a task: the message as an unnamed file (so that whoever reads it gets all of it or is
// never started), and a pipe for what the task says.
#pragma once

#include <memory>
#include <string>

#include "core/base/result.h"
#include "core/deliver/attempt.h"
#include "core/local/message_copy.h"

namespace millrace::local {

// A descriptor that is closed.
class File {
 public:
  explicit File(int fd = -1) : fd_(fd) {}
  ~File();
  File(File&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  File& operator=(File&& other) noexcept;
  int get() const { return fd_; }
  void reset();

 private:
  int fd_;
};

// The message in a file of `directory` (a path on the queue's file system), open for reading alone.  With
// `options` as MessageCopy makes it, else the canonical text.  Errors: io, no_space. [fiber]
Result<File> write_message(const deliver::ContentView& content, const std::string& directory,
                           const CopyOptions* options);

// Collects what is written into a pipe, up to a limit; the rest is read and dropped.
class Output {
 public:
  static Result<std::unique_ptr<Output>> make(std::size_t limit);
  ~Output();
  int write_end() const { return write_.get(); }
  // After the task has ended: what it said. [fiber]
  std::string take();

 private:
  struct Reader;
  std::shared_ptr<Reader> reader_;
  File write_;
};

// The header section, at most 1 MiB of it. [fiber]
std::string header_section(const deliver::ContentView& content);

}  // namespace millrace::local
