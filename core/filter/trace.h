// The decision trace: what each filter of each session said, for `millrace explain`.
//
// Lines of JSON in queue_directory/trace, mode 0600, one pair of files per writing process: NAME.jsonl is
// appended to and becomes NAME.old.jsonl when it holds half of the limit, so the store is bounded by the
// limit per process.  record() formats into memory and returns; a thread writes.  What does not fit while
// the disk is slow is dropped and counted in a later line.  Losable: nothing is synced.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/filter/chain.h"

namespace millrace::filter {

struct TraceOptions {
  std::string directory;            // made with mode 0700 when it is not there
  std::string name;                 // "front-0"; no two processes that live long share one
  std::uint64_t limit_bytes = 0;    // decision_trace_limit; both files together
};

class TraceStore final : public TraceSink {
 public:
  // Errors: io, naming the file.
  static Result<std::unique_ptr<TraceStore>> open(const TraceOptions& options);
  ~TraceStore() override;   // writes what is pending
  void record(const SessionFacts& facts, TraceLine line) override;   // [any thread]
  void flush();             // waits until all that was recorded before is in the file [tests, tools]

 private:
  struct Impl;
  explicit TraceStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// One line of the store, without its line feed.  Pure.  `session` names the session across processes.
std::string format_trace(std::string_view session, const SessionFacts& facts, const TraceLine& line);

// All lines about a queue id, oldest first: those that carry it and those of the same session and
// transaction (or of the session before any) that came before the id was known.  A key of the form
// "PID.NUMBER" is a session: all its lines.  Empty when there are none.  Errors: io, for the directory.
Result<std::vector<std::string>> find_trace(const std::string& directory, std::string_view key);

// All lines of the sessions in which `wanted` says yes to a line, oldest first: for what was refused and has no id.
Result<std::vector<std::string>> find_trace(const std::string& directory, const std::function<bool(std::string_view)>& wanted);

}  // namespace millrace::filter
