// Group commit: a thread that takes whatever operations have arrived, makes them one transaction with one
// sync, then tells all who wait, with one post per event loop.
//
// It starts as soon as it is idle, so a lone operation never waits for a batch; under load the batch is
// what arrived during the last sync, up to a bound.  Operations submitted "later" wait for company, at
// most a second.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "core/queue/database.h"

namespace millrace::queue {

class Committer {
 public:
  struct Options {
    std::string directory;              // whose free space counts
    std::uint64_t min_free_bytes = 0;
    std::function<void(const std::string& queue_id)> side_file_unused;   // after a removal, or a failed add
    std::function<void(const Error&)> on_failure;
  };
  static constexpr std::size_t kMaxOperations = 1024;
  static constexpr std::size_t kMaxBytes = 4 << 20;
  static constexpr std::chrono::seconds kLater{1};

  Committer(Database& database, Options options);
  ~Committer();   // stops
  Committer(const Committer&) = delete;

  enum class When { now, later };
  void submit(Operation operation, When when);   // [any thread]
  void hurry();                                  // what was submitted for later is wanted now [any thread]
  void stop();                              // commits what is there, then ends; blocks
  bool failed() const { return failed_; }
  std::uint64_t commits() const { return commits_; }
  // For the benchmark: the longest batch since the last call, in microseconds.
  std::int64_t take_longest_micros() { return longest_micros_.exchange(0); }

 private:
  void run();
  bool take(std::vector<Operation>& batch);   // false: stop
  void run_batch(std::vector<Operation>& batch);
  Database::Outcome commit_adds_last(std::vector<Operation>& batch, Error& why);
  void finish(std::vector<Operation> batch);

  Database& database_;
  Options options_;
  std::mutex mutex_;
  std::condition_variable wake_;
  // One queue, so that changes of a message are made in the order in which they were asked for.
  std::deque<Operation> queue_;
  std::size_t urgent_ = 0;      // of those in the queue, how many somebody waits for
  TimePoint later_since_{};     // of the oldest that nobody waits for
  bool idle_ = false, stopping_ = false;
  std::atomic<bool> failed_ = false;
  std::atomic<std::uint64_t> commits_ = 0;
  std::atomic<std::int64_t> longest_micros_ = 0;
  std::thread thread_;
};

}  // namespace millrace::queue
