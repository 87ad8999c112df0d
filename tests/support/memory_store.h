// A Store that keeps everything in memory and applies changes at once.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/queue/store.h"

namespace millrace::test {

class MemoryStore : public queue::Store {
 public:
  struct Kept {
    queue::Entry entry;
    std::shared_ptr<const std::string> content;
  };

  Result<void> add(queue::Entry entry, std::string content, int) override {
    if (full) return fail(Errc::no_space, "full");
    const std::string id = entry.envelope.queue_id;
    messages[id] = {std::move(entry), std::make_shared<const std::string>(std::move(content))};
    return {};
  }
  Result<std::uint64_t> reserve_ids(std::uint64_t count) override { return std::exchange(next_, next_ + count); }
  Result<void> mark_in_flight(std::span<const std::string> ids) override {
    marks += ids.size();
    return {};
  }
  Result<void> apply(queue::Update update) override {
    apply_later(std::move(update));
    return {};
  }
  void apply_later(queue::Update update) override {
    const auto it = messages.find(update.queue_id);
    if (it == messages.end()) return;
    if (update.remove) {
      messages.erase(it);
      return;
    }
    queue::Entry& entry = it->second.entry;
    if (update.queue) entry.queue = *update.queue;
    if (update.next_attempt) entry.next_attempt = *update.next_attempt;
    if (update.attempts) entry.attempts = *update.attempts;
    if (update.delay_warned) entry.delay_warned = *update.delay_warned;
    for (auto& [index, state] : update.recipients) entry.recipients[index] = state;
  }
  Result<queue::Entry> load(const std::string& id) override {
    const auto it = messages.find(id);
    if (it == messages.end()) return fail(Errc::not_found, id);
    return it->second.entry;
  }
  Result<queue::Content> open_content(const std::string& id) override {
    if (damaged == id) return fail(Errc::protocol, "checksum");
    return queue::Content(messages.at(id).content);
  }
  Result<void> for_each(const std::function<bool(const queue::Summary&)>& each) override {
    for (const auto& [id, kept] : messages) {
      const queue::Entry& e = kept.entry;
      if (!each({id, e.envelope.sender, e.queue, e.envelope.arrival, e.next_attempt, e.envelope.size, e.attempts, e.forced_expire})) break;
    }
    return {};
  }
  void set_corrupt(const std::string& id, const std::string&) override { messages.at(id).entry.queue = queue::QueueName::corrupt; }
  std::uint64_t syncs() const override { return 0; }
  Result<void> close() override { return {}; }

  std::map<std::string, Kept> messages;
  std::size_t marks = 0;
  bool full = false;
  std::string damaged;

 private:
  std::uint64_t next_ = 1000;
};

}  // namespace millrace::test
