#include "core/queue/committer.h"

#include <algorithm>
#include <iterator>

#include "core/net/fiber.h"

namespace millrace::queue {

Committer::Committer(Database& database, Options options) : database_(database), options_(std::move(options)) {
  thread_ = std::thread([this] { run(); });
}

Committer::~Committer() { stop(); }

void Committer::submit(Operation operation, When when) {
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    if (queue_.empty()) later_since_ = SteadyClock::now();
    operation.urgent = when == When::now;
    if (operation.urgent) ++urgent_;
    queue_.push_back(std::move(operation));
    // The committer sleeps without limit while nothing is pending.
    wake = idle_ && (when == When::now || queue_.size() == 1 || queue_.size() == kMaxOperations);
  }
  if (wake) wake_.notify_one();
}

void Committer::hurry() {
  {
    const std::lock_guard lock(mutex_);
    later_since_ = {};
  }
  wake_.notify_one();
}

void Committer::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

bool Committer::take(std::vector<Operation>& batch) {
  std::unique_lock lock(mutex_);
  idle_ = true;
  while (urgent_ == 0 && !stopping_ && queue_.size() < kMaxOperations) {
    if (queue_.empty()) {
      wake_.wait(lock);
    } else {
      const TimePoint due = later_since_ + kLater;
      if (SteadyClock::now() >= due) break;
      wake_.wait_until(lock, due);
    }
  }
  idle_ = false;
  std::size_t bytes = 0;
  while (!queue_.empty() && batch.size() < kMaxOperations && bytes < kMaxBytes) {
    bytes += queue_.front().bytes();
    if (queue_.front().urgent) --urgent_;
    batch.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  return !batch.empty();
}

void Committer::run() {
  std::vector<Operation> batch;
  while (take(batch)) {
    run_batch(batch);
    batch.clear();
  }
}

// A full disk must not stop what empties it: additions are refused first, and the rest is tried alone.
Database::Outcome Committer::commit_adds_last(std::vector<Operation>& batch, Error& why) {
  std::vector<Operation*> adds, others;
  std::uint64_t bytes = 0;
  for (Operation& operation : batch) {
    (operation.kind == Operation::Kind::add ? adds : others).push_back(&operation);
    if (operation.kind == Operation::Kind::add) bytes += operation.bytes();
  }
  bool refuse = !adds.empty() && free_bytes(options_.directory) < options_.min_free_bytes + 2 * bytes;
  if (!refuse) {
    std::vector<Operation*> all;
    all.reserve(batch.size());
    for (Operation& operation : batch) all.push_back(&operation);   // in the order of arrival
    const Database::Outcome outcome = database_.commit(all, why);
    if (outcome != Database::Outcome::no_space) return outcome;
    refuse = true;
  } else {
    why = {Errc::no_space, "queue: not enough free space"};
  }
  for (Operation* operation : adds) operation->result = tl::unexpected(why);
  if (others.empty()) return Database::Outcome::done;
  const Database::Outcome outcome = database_.commit(others, why);
  if (outcome == Database::Outcome::no_space) {
    for (Operation* operation : others) operation->result = tl::unexpected(why);
  }
  return outcome;
}

void Committer::run_batch(std::vector<Operation>& batch) {
  const TimePoint start = SteadyClock::now();
  Error why;
  const Database::Outcome outcome = failed_ ? Database::Outcome::failed : commit_adds_last(batch, why);
  const auto spent = std::chrono::duration_cast<std::chrono::microseconds>(SteadyClock::now() - start).count();
  if (spent > longest_micros_) longest_micros_ = spent;
  commits_ = database_.commits();
  if (outcome == Database::Outcome::failed) {
    const bool first = !failed_.exchange(true);
    if (why.context.empty()) why = {Errc::io, "queue: a write failed before; restart needed"};
    for (Operation& operation : batch) operation.result = tl::unexpected(why);
    if (first && options_.on_failure) options_.on_failure(why);
  } else {
    std::vector<Operation> again;
    for (Operation& operation : batch) {
      // An id in use is somebody else's file.
      const bool failed_add = operation.kind == Operation::Kind::add && operation.side_file &&
                              !operation.result && operation.result.error().code != Errc::exists;
      if (operation.removed_side_file || failed_add) options_.side_file_unused(operation.queue_id);
      // Nobody waits for it, so nobody would repeat it.
      const bool repeat = outcome == Database::Outcome::no_space && !operation.done;
      if (repeat && operation.kind == Operation::Kind::update) again.push_back(std::move(operation));
    }
    if (!again.empty()) {
      const std::lock_guard lock(mutex_);
      later_since_ = SteadyClock::now();
      for (Operation& operation : again) operation.urgent = false;
      // At the stop there is no second chance: the message is delivered again after the next start.
      if (!stopping_) {
        queue_.insert(queue_.begin(), std::make_move_iterator(again.begin()), std::make_move_iterator(again.end()));
      }
    }
  }
  finish(std::move(batch));
  batch = {};
}

void Committer::finish(std::vector<Operation> batch) {
  std::erase_if(batch, [](const Operation& operation) { return !operation.done; });
  while (!batch.empty()) {
    net::Loop* const loop = batch.front().loop;
    const auto others = std::stable_partition(batch.begin(), batch.end(),
                                              [loop](const Operation& o) { return o.loop == loop; });
    auto group = std::make_shared<std::vector<Operation>>(std::make_move_iterator(batch.begin()),
                                                          std::make_move_iterator(others));
    batch.erase(batch.begin(), others);
    // Moved, not shared: what `done` holds belongs to the loop and must die there.
    auto tell = [group = std::move(group)] {
      for (Operation& operation : *group) operation.done(operation.result);
      group->clear();
    };
    if (loop != nullptr) {
      loop->post(std::move(tell));
    } else {
      tell();
    }
  }
}

}  // namespace millrace::queue
