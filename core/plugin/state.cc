// State in memory, and in core/kv: see state.h.
#include "core/plugin/state.h"

#include <list>
#include <mutex>
#include <unordered_map>

#include "core/base/clock.h"
#include "core/base/strings.h"
#include "core/kv/store.h"

namespace millrace::plugin {
namespace {

constexpr std::size_t kEntryCost = 160;   // nodes, pointers, string headers: near enough for a limit

// nullopt: the text is no number, or the sum is none.
std::optional<std::int64_t> sum_of(std::string_view text, std::int64_t delta) {
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  const auto old = parse_number<std::int64_t>(text);
  std::int64_t sum = 0;
  if (!old || __builtin_add_overflow(negative ? -*old : *old, delta, &sum)) return {};
  return sum;
}
tl::unexpected<Error> not_a_number(const std::string& key) {
  return fail(Errc::protocol, "the value of \"" + printable(key) + "\" is no number to add to");
}

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
    const auto sum = sum_of(entry->value, delta);
    if (!sum) return not_a_number(key);
    std::string text = std::to_string(*sum);
    used_ += text.size() - entry->value.size();
    entry->value = std::move(text);
    return *sum;
  }
  Result<void> remove(const std::string& key) override {
    const std::lock_guard lock(mutex_);
    erase(entries_.find(key));
    return {};
  }
  Result<bool> expire(const std::string& key, std::chrono::nanoseconds ttl) override {
    const std::lock_guard lock(mutex_);
    Entry* const entry = find(key);
    if (entry == nullptr) return false;
    entry->until = ttl.count() > 0 ? Deadline::after(ttl) : Deadline::never();
    return true;
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

// kv::Store: no entry there is without an end, and numbers are kept as text, as get() tells them.
class SharedState final : public State {
 public:
  SharedState(std::string directory, std::size_t memory_limit, log::Logger log)
      : directory_(std::move(directory)), memory_limit_(memory_limit), log_(std::move(log)) {}

  Result<std::optional<std::string>> get(const std::string& key) override {
    kv::Store* const store = opened();
    return store == nullptr ? memory_->get(key) : store->get(kPrefix + key);
  }
  Result<void> put(const std::string& key, std::string value, std::chrono::nanoseconds ttl) override {
    kv::Store* const store = opened();
    return store == nullptr ? memory_->put(key, std::move(value), ttl) : store->set(kPrefix + key, value, end_after(ttl));
  }
  Result<std::int64_t> add(const std::string& key, std::int64_t delta, std::chrono::nanoseconds ttl) override {
    kv::Store* const store = opened();
    if (store == nullptr) return memory_->add(key, delta, ttl);
    std::optional<std::int64_t> sum;
    const auto done = store->change(kPrefix + key, [&](const std::optional<std::string>& was) -> std::optional<kv::Store::Change> {
      sum = was ? sum_of(*was, delta) : std::optional(delta);
      if (!sum) return {};
      return kv::Store::Change{std::to_string(*sum), was ? kv::Store::kSameEnd : end_after(ttl)};
    });
    if (!done) return tl::unexpected(done.error());
    if (!sum) return not_a_number(key);
    return *sum;
  }
  Result<void> remove(const std::string& key) override {
    kv::Store* const store = opened();
    return store == nullptr ? memory_->remove(key) : store->remove(kPrefix + key);
  }
  Result<bool> expire(const std::string& key, std::chrono::nanoseconds ttl) override {
    kv::Store* const store = opened();
    return store == nullptr ? memory_->expire(key, ttl) : store->expire(kPrefix + key, end_after(ttl));
  }

 private:
  static inline const std::string kPrefix = "plugin:";
  static WallMicros end_after(std::chrono::nanoseconds ttl) {
    constexpr std::chrono::hours kLongest(24 * 365 * 10);
    if (ttl.count() <= 0 || ttl > kLongest) ttl = kLongest;
    return wall_now() + std::chrono::ceil<std::chrono::microseconds>(ttl).count();
  }
  kv::Store* opened() {
    const std::lock_guard lock(mutex_);
    if (!store_ && !memory_) {
      kv::Options options;
      options.directory = directory_;
      options.log = log_;
      if (auto made = kv::Store::open(options)) {
        store_ = std::move(*made);
      } else {
        log_.warning("plugin state: kept in this process alone: " + made.error().context);
        memory_ = std::make_shared<MemoryState>(memory_limit_);
      }
    }
    return store_.get();
  }

  const std::string directory_;
  const std::size_t memory_limit_;
  log::Logger log_;
  std::mutex mutex_;   // for opening; never held over anything that waits on a fiber
  std::shared_ptr<kv::Store> store_;
  std::shared_ptr<MemoryState> memory_;
};

}  // namespace

std::shared_ptr<State> make_shared_state(std::string directory, std::size_t memory_limit, log::Logger log) {
  return std::make_shared<SharedState>(std::move(directory), memory_limit, std::move(log));
}

std::shared_ptr<State> make_memory_state(std::size_t limit) { return std::make_shared<MemoryState>(limit); }

}  // namespace millrace::plugin
