#include "core/kv/store.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <shared_mutex>
#include <vector>

#include "core/kv/environment.h"
#include "core/net/fiber.h"

namespace millrace::kv {

namespace {
constexpr std::size_t kHead = 8;             // of a record: its end, little-endian; then the value
constexpr std::size_t kMaxKey = 500;         // LMDB's own is 511
constexpr std::chrono::nanoseconds kLook{1'000'000'000};   // how often a replaced file is looked for

std::uint64_t fnv(std::string_view text, std::uint64_t hash) {
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return hash;
}

// A key that is too long, or empty, is cut and told apart by two hashes.
std::string storable(std::string_view key) {
  if (!key.empty() && key.size() <= kMaxKey) return std::string(key);
  std::string out(key.substr(0, kMaxKey - 40));
  out.push_back('\0');
  out += std::to_string(fnv(key, 14695981039346656037ULL)) + std::to_string(fnv(key, 0x9e3779b97f4a7c15ULL) % 100000);
  return out;
}

MDB_val value_of(std::string_view bytes) { return {bytes.size(), const_cast<char*>(bytes.data())}; }

WallMicros end_of(const MDB_val& record) {
  if (record.mv_size < kHead) return 0;
  std::uint64_t out = 0;
  std::memcpy(&out, record.mv_data, kHead);
  return static_cast<WallMicros>(out);
}

std::string encode(std::string_view value, WallMicros ends) {
  std::string out(kHead, '\0');
  std::memcpy(out.data(), &ends, kHead);
  out += value;
  return out;
}

// "full" is not among them: it is put right by throwing out.
bool means_damage(int code) {
  return code == MDB_CORRUPTED || code == MDB_PAGE_NOTFOUND || code == MDB_PANIC || code == MDB_INVALID ||
         code == MDB_VERSION_MISMATCH || code == MDB_BAD_TXN || code == MDB_BAD_DBI;
}

class LmdbStore final : public Store {
 public:
  explicit LmdbStore(const Options& options)
      : options_(options), environment_(options.directory, options.map_bytes, options.log) {}
  ~LmdbStore() override { close(); }

  Result<void> start() { return environment_.open(); }

  Result<std::optional<std::string>> get(std::string_view key) override {
    look();
    std::optional<std::string> out;
    const int code = read(storable(key), out);
    if (code == 0) return out;
    return tl::unexpected(trouble("read", code));
  }

  Result<void> set(std::string_view key, std::string_view value, WallMicros ends) override {
    return change(key, [&](const std::optional<std::string>&) { return Change{std::string(value), ends}; });
  }
  Result<void> remove(std::string_view key) override { return set(key, {}, 0); }

  Result<std::int64_t> incr(std::string_view key, std::int64_t by, std::chrono::seconds lives) override {
    std::int64_t sum = 0;
    const WallMicros now = wall_now();
    auto done = edit(key, [&](const std::optional<std::string>& was, WallMicros ends) -> std::optional<Change> {
      sum = 0;
      if (was && was->size() == sizeof sum) std::memcpy(&sum, was->data(), sizeof sum);
      if (__builtin_add_overflow(sum, by, &sum)) sum = by;
      Change out{std::string(sizeof sum, '\0'), was ? ends : now + std::chrono::microseconds(lives).count()};
      std::memcpy(out.value.data(), &sum, sizeof sum);
      return out;
    });
    if (!done) return tl::unexpected(done.error());
    return sum;
  }

  Result<bool> expire(std::string_view key, WallMicros ends) override {
    bool found = false;
    auto done = edit(key, [&](const std::optional<std::string>& was, WallMicros) -> std::optional<Change> {
      found = was.has_value();
      if (!was) return {};
      return Change{*was, ends};
    });
    if (!done) return tl::unexpected(done.error());
    return found;
  }

  Result<void> change(std::string_view key, const Edit& edit_value) override {
    return edit(key, [&](const std::optional<std::string>& was, WallMicros ends) {
      auto next = edit_value(was);
      if (next && next->ends == kSameEnd) next->ends = was ? ends : 0;
      return next;
    });
  }

  Result<std::size_t> sweep() override {
    std::size_t left = 0;
    auto done = write([&](MDB_txn* txn) { return clean(txn, wall_now(), left); });
    if (!done) return tl::unexpected(done.error());
    return left;
  }

  void close() override {
    std::unique_lock alone(life_);
    environment_.close();
    closed_ = true;
  }

 private:
  using InnerEdit = std::function<std::optional<Change>(const std::optional<std::string>&, WallMicros)>;

  Result<void> edit(std::string_view key, const InnerEdit& edit_value) {
    const std::string stored = storable(key);
    bool too_large = false;
    auto done = write([&](MDB_txn* txn) {
      too_large = false;
      MDB_val name = value_of(stored), record{};
      const int code = ::mdb_get(txn, environment_.dbi(), &name, &record);
      if (code != 0 && code != MDB_NOTFOUND) return code;
      std::optional<std::string> was;
      WallMicros ends = code == 0 ? end_of(record) : 0;
      if (ends > wall_now()) was.emplace(static_cast<const char*>(record.mv_data) + kHead, record.mv_size - kHead);
      const std::optional<Change> next = edit_value(was, ends);
      if (!next) return 0;
      too_large = next->value.size() > kMaxValue;
      if (too_large) return 0;
      if (next->ends <= wall_now()) {
        const int gone = code == 0 ? ::mdb_del(txn, environment_.dbi(), &name, nullptr) : 0;
        return gone == MDB_NOTFOUND ? 0 : gone;
      }
      if (code == MDB_NOTFOUND) {
        if (const int full = make_room(txn); full != 0) return full;
      }
      const std::string bytes = encode(next->value, next->ends);
      MDB_val out = value_of(bytes);
      return ::mdb_put(txn, environment_.dbi(), &name, &out, 0);
    });
    if (done && too_large) return fail(Errc::too_large, "state: value of more than " + std::to_string(kMaxValue) + " bytes");
    return done;
  }

  // On the worker pool where that is possible: the lock is shared with other processes.
  Result<void> write(const std::function<int(MDB_txn*)>& body) {
    const auto work = [&]() -> Result<void> {
      look();
      int code = attempt(body);
      if (code == MDB_MAP_FULL) {
        // Clearing needs room itself, which the environment may no longer have: it may be lost.
        start_anew("the state is full", true);
        code = attempt(body);
      }
      if (code == 0) return {};
      return tl::unexpected(trouble("write", code));
    };
    return net::in_fiber() ? net::offload(work) : work();
  }

  int attempt(const std::function<int(MDB_txn*)>& body) {
    std::shared_lock alive(life_);
    if (environment_.env() == nullptr) return MDB_BAD_TXN;
    MDB_txn* txn = nullptr;
    int code = ::mdb_txn_begin(environment_.env(), nullptr, 0, &txn);
    if (code != 0) return code;
    code = body(txn);
    if (code == 0) return ::mdb_txn_commit(txn);
    ::mdb_txn_abort(txn);
    return code;
  }

  int read(const std::string& key, std::optional<std::string>& out) {
    std::shared_lock alive(life_);
    if (environment_.env() == nullptr) return MDB_BAD_TXN;
    MDB_txn* txn = nullptr;
    int code = ::mdb_txn_begin(environment_.env(), nullptr, MDB_RDONLY, &txn);
    if (code != 0) return code;
    MDB_val name = value_of(key), record{};
    code = ::mdb_get(txn, environment_.dbi(), &name, &record);
    if (code == 0 && end_of(record) > wall_now()) {
      out.emplace(static_cast<const char*>(record.mv_data) + kHead, record.mv_size - kHead);
    }
    ::mdb_txn_abort(txn);
    return code == MDB_NOTFOUND ? 0 : code;
  }

  // Has another process found damage and replaced the file?
  void look() {
    std::int64_t due = look_at_.load();
    const std::int64_t now = SteadyClock::now().time_since_epoch().count();
    if (now < due || !look_at_.compare_exchange_strong(due, now + kLook.count())) return;
    bool replaced = false;
    {
      std::shared_lock alive(life_);
      replaced = environment_.env() == nullptr || environment_.is_replaced();
    }
    if (replaced) start_anew("the state was replaced", false);
  }

  // `ours`: this process wants it replaced; else it only follows.
  void start_anew(const char* why, bool ours) {
    std::unique_lock alone(life_);
    if (closed_ || (!ours && environment_.env() != nullptr && !environment_.is_replaced())) return;
    if (auto done = environment_.start_anew(why); !done) options_.log.warning(done.error().context);
  }

  Error trouble(const char* what, int code) {
    if (means_damage(code)) start_anew(::mdb_strerror(code), true);
    return {Errc::io, std::string("state: ") + what + ": " + ::mdb_strerror(code)};
  }

  std::size_t entries(MDB_txn* txn) const {
    MDB_stat stat{};
    return ::mdb_stat(txn, environment_.dbi(), &stat) == 0 ? stat.ms_entries : 0;
  }

  int make_room(MDB_txn* txn) {
    if (entries(txn) < options_.max_entries) return 0;
    std::size_t left = 0;
    int code = clean(txn, wall_now(), left);
    if (code != 0 || left < options_.max_entries) return code;
    // Still full: an eighth goes, those with the nearest end.
    std::vector<WallMicros> ends;
    code = each(txn, [&](const MDB_val& record) {
      ends.push_back(end_of(record));
      return false;
    });
    if (code != 0 || ends.empty()) return code;
    const auto edge = ends.begin() + static_cast<std::ptrdiff_t>(ends.size() / 8);
    std::nth_element(ends.begin(), edge, ends.end());
    const WallMicros before = *edge;
    code = clean(txn, before, left);
    if (code != 0 || left < options_.max_entries) return code;
    return clean(txn, before + 1, left);   // all have one end
  }

  // Removes what ends before or at `when`.
  int clean(MDB_txn* txn, WallMicros when, std::size_t& left) {
    const int code = each(txn, [&](const MDB_val& record) { return end_of(record) <= when; });
    left = entries(txn);
    return code;
  }

  int each(MDB_txn* txn, const std::function<bool(const MDB_val&)>& remove) {
    MDB_cursor* cursor = nullptr;
    int code = ::mdb_cursor_open(txn, environment_.dbi(), &cursor);
    MDB_val key{}, record{};
    while (code == 0) {
      code = ::mdb_cursor_get(cursor, &key, &record, MDB_NEXT);
      if (code == 0 && remove(record)) code = ::mdb_cursor_del(cursor, 0);
    }
    if (cursor != nullptr) ::mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? 0 : code;
  }

  Options options_;
  // Held shared by whoever uses the environment, alone to replace it; LMDB itself keeps writers apart.
  std::shared_mutex life_;
  Environment environment_;
  bool closed_ = false;
  std::atomic<std::int64_t> look_at_ = 0;
};
}  // namespace

Result<std::shared_ptr<Store>> Store::open(const Options& options) {
  auto out = std::make_shared<LmdbStore>(options);
  if (auto started = out->start(); !started) return tl::unexpected(started.error());
  return std::shared_ptr<Store>(std::move(out));
}

}  // namespace millrace::kv
