// The way into the maildrop directory: starts postdrop and gives it records.
//
// postdrop is looked for beside this program, then where it was installed; the directory of another mail system
// is never searched.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/submit/maildrop.h"

namespace millrace::tools {

class Drop {
 public:
  // Errors: io, with the text for the user.
  static Result<Drop> start(const std::string& config_directory);
  Drop(Drop&& other) noexcept;
  Drop& operator=(Drop&&) = delete;
  // Without finish() the message is given up and nothing of it stays.
  ~Drop();

  void envelope(const submit::Submission& submission);   // sender, attributes, the recipients it has
  void begin_content();
  // A piece of a line, without its line end; `ends` when the line ends here.
  void line(std::string_view text, bool ends);
  void end_content();
  void recipient(const mime::Recipient& recipient);
  // The name of the file, once the message is safe.  Errors: io, with what postdrop said.
  Result<std::string> finish();

 private:
  Drop(pid_t pid, int to, int from) : pid_(pid), to_(to), from_(from) {}
  void put(char type, std::string_view text);
  void send();
  pid_t pid_;
  int to_, from_;
  std::string buffer_;
  bool broken_ = false;   // postdrop has ended: it says why
};

// Canonical content (CRLF) into lines of a drop; pieces of any size.
class DropContent {
 public:
  DropContent(Drop& drop, std::size_t line_limit) : drop_(drop), line_limit_(line_limit) {}
  void add(std::string_view canonical);
  void finish();

 private:
  Drop& drop_;
  std::size_t line_limit_;
  std::string line_;
};

}  // namespace millrace::tools
