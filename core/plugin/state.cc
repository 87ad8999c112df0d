// State in memory: see state.h.
#include "core/plugin/state.h"

#include <list>
#include <mutex>
#include <unordered_map>

#include "core/base/clock.h"
#include "core/base/strings.h"

namespace millrace::plugin {
namespace {

constexpr std::size_t kEntryCost = 160;   // nodes, pointers, string headers: near enough for a limit

class MemoryState final : public State {
 public:
  explicit MemoryState(std::size_t limit) : limit_(limit) {}

  Result<std::optional<std::string>> get(const std::string& key) override {
    const std::lock_guard lock(mutex_);
    const Entry* const entry = find(key);
    return entry == nullptr ? std::optional<std::string>() : std::optional<std::string>(entry->value);
  }
  Result<void> put(const std::string& key, std::string value, std::chrono::nanoseconds ttl) override {
    const std::lock_guard lock(mutex_);
    erase(entries_.find(key));
    insert(key, std::move(value), ttl);
    return {};
  }
  Result<std::int64_t> add(const std::string& key, std::int64_t delta, std::chrono::nanoseconds ttl) override {
    const std::lock_guard lock(mutex_);
    Entry* const entry = find(key);
    if (entry == nullptr) {
      insert(key, std::to_string(delta), ttl);
      return delta;
    }
    std::string_view digits = entry->value;
    const bool negative = digits.starts_with('-');
    if (negative) digits.remove_prefix(1);
    const auto old = parse_number<std::int64_t>(digits);
    std::int64_t sum;
    if (!old || __builtin_add_overflow(negative ? -*old : *old, delta, &sum)) {
      return fail(Errc::protocol, "the value of \"" + printable(key) + "\" is no number to add to");
    }
    std::string text = std::to_string(sum);
    used_ += text.size() - entry->value.size();
    entry->value = std::move(text);
    return sum;
  }
  Result<void> remove(const std::string& key) override {
    const std::lock_guard lock(mutex_);
    erase(entries_.find(key));
    return {};
  }

 private:
  struct Entry {
    std::string value;
    Deadline until;
    std::list<std::string>::iterator age;
  };
  using Entries = std::unordered_map<std::string, Entry>;

  Entry* find(const std::string& key) {
    const auto place = entries_.find(key);
    if (place == entries_.end()) return nullptr;
    if (!place->second.until.passed()) return &place->second;
    erase(place);
    return nullptr;
  }
  void erase(Entries::iterator place) {
    if (place == entries_.end()) return;
    used_ -= cost(place->first, place->second.value);
    ages_.erase(place->second.age);
    entries_.erase(place);
  }
  void insert(const std::string& key, std::string value, std::chrono::nanoseconds ttl) {
    used_ += cost(key, value);
    ages_.push_back(key);
    entries_[key] = {std::move(value), ttl.count() > 0 ? Deadline::after(ttl) : Deadline::never(), std::prev(ages_.end())};
    while (used_ > limit_ && entries_.size() > 1) erase(entries_.find(ages_.front()));
  }
  static std::size_t cost(const std::string& key, const std::string& value) { return 2 * key.size() + value.size() + kEntryCost; }

  const std::size_t limit_;
  std::mutex mutex_;
  Entries entries_;
  std::list<std::string> ages_;   // oldest first
  std::size_t used_ = 0;
};

}  // namespace

std::shared_ptr<State> make_memory_state(std::size_t limit) { return std::make_shared<MemoryState>(limit); }

}  // namespace millrace::plugin
