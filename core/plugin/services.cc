// Host interfaces beside the message and DNS: timers, state, metrics, Authentication-Results, tables, workers.
// Each function is reached from foreign code: it checks what it gets and lets no exception out.
#include <algorithm>
#include <cmath>

#include "core/base/strings.h"
#include "core/map/table.h"
#include "core/plugin/call.h"
#include "core/plugin/instance.h"

namespace millrace::plugin {

// A timer: a fiber that waits and fires. [loop]
struct Timer {
  net::Event stopped;
  bool is_stopped = false;
};

namespace {

using std::chrono::nanoseconds;

constexpr std::size_t kMaxTimers = 64, kMaxKey = 255, kMaxValue = MR_KV_MAX_VALUE, kMaxTables = 64;
constexpr std::uint64_t kLeastPeriod = 1'000'000, kLongest = std::uint64_t{1} << 60;

Instance& self(void* ctx) { return *static_cast<Instance*>(ctx); }

// The call whose plugin runs on this fiber now; rc says why not.
struct Running {
  Running(void* ctx, mr_handle handle) : call(find_call(self(ctx), handle)) {
    if (!call) return;
    rc = running_call == call.get() && net::in_fiber() ? MR_OK : MR_E_THREAD;
    if (rc != MR_OK) return;
    const std::lock_guard lock(call->mutex);
    if (!call->alive || call->handle != handle) rc = MR_E_STALE;
  }
  // Others may run until `wait` returns; it must not throw.
  template <typename F>
  void suspend(F wait) {
    const Waiting waiting;
    wait();
  }
  mr_rc still_wanted() const {
    const std::lock_guard lock(call->mutex);
    return call->alive ? MR_OK : MR_E_STALE;
  }

  std::shared_ptr<Call> call;
  mr_rc rc = MR_E_STALE;
};

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
    return is_alnum(c) || c == '-' || c == '_' || c == '.';
  });
}

// --- mr.timer/1 ---------------------------------------------------------------------------------

mr_rc timer_sleep(void* ctx, mr_handle handle, std::uint64_t at_ns) noexcept {
  Running running(ctx, handle);
  if (running.rc != MR_OK) return running.rc;
  const Deadline at{TimePoint(nanoseconds(std::min(at_ns, kLongest * 4)))};
  running.suspend([&] { (void)net::sleep_until(at.earlier(running.call->deadline)); });
  return running.call->deadline.passed() ? mr_rc{MR_E_STALE} : running.still_wanted();
}

mr_rc timer_start(void* ctx, std::uint64_t delay_ns, std::uint64_t period_ns, void (*fire)(void*), void* argument,
                  mr_handle* handle) noexcept {
  Instance& instance = self(ctx);
  net::Loop* const loop = net::Loop::current_or_null();
  if (loop == nullptr) return MR_E_THREAD;
  if (fire == nullptr || handle == nullptr || delay_ns > kLongest || period_ns > kLongest ||
      (period_ns != 0 && period_ns < kLeastPeriod)) {
    return MR_E_ARGUMENT;
  }
  if (instance.timers.size() >= kMaxTimers) return MR_E_LIMIT;
  const auto timer = std::make_shared<Timer>();
  const mr_handle mine = instance.timers.add(timer);
  // The instance is there for as long as its timer is not stopped.
  const auto body = [&instance, timer, mine, fire, argument, delay_ns, period_ns] {
    for (std::uint64_t wait = delay_ns;; wait = period_ns) {
      const auto woken = timer->stopped.wait(Deadline::after(nanoseconds(wait)));
      if (timer->is_stopped) return;
      if (woken || woken.error().code != Errc::timeout) break;
      try {
        const net::LoopHolder holder(instance.label().c_str());
        fire(argument);
      } catch (...) {
        instance.misbehaving("an exception left its timer");
      }
      if (timer->is_stopped) return;
      if (period_ns == 0) break;
    }
    instance.timers.remove(mine);
  };
  if (!loop->spawn(net::Stack::plugin, body)) {
    instance.timers.remove(mine);
    return MR_E_LIMIT;
  }
  *handle = mine;
  return MR_OK;
}

mr_rc timer_stop(void* ctx, mr_handle handle) noexcept {
  if (net::Loop::current_or_null() == nullptr) return MR_E_THREAD;
  const auto timer = self(ctx).timers.find(handle);
  if (!timer) return MR_E_STALE;
  timer->is_stopped = true;
  timer->stopped.set();
  self(ctx).timers.remove(handle);
  return MR_OK;
}

constexpr mr_timer_1 kTimer{sizeof(mr_timer_1), 0, timer_sleep, timer_start, timer_stop};

// --- mr.kv/1 ------------------------------------------------------------------------------------

// Keys of one filter never meet another's.
std::optional<std::string> state_key(Instance& instance, mr_string key) {
  const auto text = to_view(key, kMaxKey);
  if (!text || text->empty()) return {};
  return instance.label() + '\n' + std::string(*text);
}

nanoseconds life(std::uint64_t ttl_ns) { return nanoseconds(std::min(ttl_ns, kLongest)); }

mr_rc kv_get(void* ctx, mr_handle handle, mr_string key, mr_string* value) noexcept {
  Instance& instance = self(ctx);
  const auto name = state_key(instance, key);
  if (!name || value == nullptr) return MR_E_ARGUMENT;
  const auto call = find_call(instance, handle);
  if (!call) return MR_E_STALE;
  auto found = instance.host().state->get(*name);
  if (!found) return MR_E_FAILED;
  if (!*found) return MR_E_ABSENT;
  const std::lock_guard lock(call->mutex);
  if (call->handle != handle) return MR_E_STALE;
  *value = call->keep(std::move(**found));
  return MR_OK;
}
mr_rc kv_put(void* ctx, mr_string key, mr_string value, std::uint64_t ttl_ns) noexcept {
  const auto name = state_key(self(ctx), key);
  const auto text = to_view(value, kMaxValue);
  if (!name || !text) return MR_E_ARGUMENT;
  const Waiting waiting;
  return self(ctx).host().state->put(*name, std::string(*text), life(ttl_ns)) ? MR_OK : MR_E_FAILED;
}
mr_rc kv_add(void* ctx, mr_string key, std::int64_t delta, std::uint64_t ttl_ns, std::int64_t* sum) noexcept {
  const auto name = state_key(self(ctx), key);
  if (!name || sum == nullptr) return MR_E_ARGUMENT;
  const Waiting waiting;
  const auto now = self(ctx).host().state->add(*name, delta, life(ttl_ns));
  if (!now) return now.error().code == Errc::protocol ? MR_E_ARGUMENT : MR_E_FAILED;
  *sum = *now;
  return MR_OK;
}
mr_rc kv_remove(void* ctx, mr_string key) noexcept {
  const auto name = state_key(self(ctx), key);
  if (!name) return MR_E_ARGUMENT;
  const Waiting waiting;
  return self(ctx).host().state->remove(*name) ? MR_OK : MR_E_FAILED;
}
mr_rc kv_expire(void* ctx, mr_string key, std::uint64_t ttl_ns) noexcept {
  const auto name = state_key(self(ctx), key);
  if (!name) return MR_E_ARGUMENT;
  const Waiting waiting;
  const auto found = self(ctx).host().state->expire(*name, life(ttl_ns));
  return !found ? mr_rc{MR_E_FAILED} : *found ? mr_rc{MR_OK} : mr_rc{MR_E_ABSENT};
}

constexpr mr_kv_1 kState{sizeof(mr_kv_1), 0, kv_get, kv_put, kv_add, kv_remove, kv_expire};

// --- mr.metrics/1 -------------------------------------------------------------------------------

mr_rc metric(void* ctx, const char* name, double value, bool add) {
  if (name == nullptr || !is_name(name) || !std::isfinite(value)) return MR_E_ARGUMENT;
  return self(ctx).set_metric(name, value, add) ? MR_OK : MR_E_LIMIT;
}
mr_rc metric_count(void* ctx, const char* name, std::uint64_t delta) noexcept {
  return metric(ctx, name, static_cast<double>(delta), true);
}
mr_rc metric_set(void* ctx, const char* name, double value) noexcept { return metric(ctx, name, value, false); }

constexpr mr_metrics_1 kMetrics{sizeof(mr_metrics_1), 0, metric_count, metric_set};

// --- mr.auth_results/1 --------------------------------------------------------------------------

// A token as it is, anything else quoted (RFC 8601 section 2.2, pvalue).
std::string property_value(std::string_view text) {
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return is_alnum(c) || c == '-' || c == '_' || c == '.' || c == '@' || c == '+' || c == '=' || c == '/' || c == ':';
  });
  if (plain) return std::string(text);
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

mr_rc auth_add(void* ctx, mr_handle message, mr_string method, mr_string result, mr_string reason,
               const mr_fact* properties, std::uint64_t count) noexcept {
  Instance& instance = self(ctx);
  const auto call = find_message(instance, message);
  if (!call) return MR_E_STALE;
  const auto how = to_view(method, 64), what = to_view(result, 64), why = to_view(reason, 500);
  if (!how || !what || !why || !is_name(*how) || !is_name(*what) || printable(*why) != *why || count > 16 ||
      (count > 0 && properties == nullptr)) {
    return MR_E_ARGUMENT;
  }
  std::string text = std::string(*how) + "=" + std::string(*what);
  if (!why->empty()) text += " reason=" + property_value(*why);
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto name = to_view(properties[i].name, 64), value = to_view(properties[i].value, 500);
    if (!name || !value || !is_name(*name) || printable(*value) != *value) return MR_E_ARGUMENT;
    text += " " + std::string(*name) + "=" + property_value(*value);
  }
  const std::lock_guard lock(call->mutex);
  if (!call->alive || message_handle(call->handle) != message) return MR_E_STALE;
  if (call->context == nullptr || (call->stage & (MR_STAGE_MAIL | MR_STAGE_RCPT | MR_STAGE_DATA | MR_STAGE_MESSAGE)) == 0) {
    return MR_E_STAGE;
  }
  if ((instance.descriptor().edits & MR_EDIT_HEADERS) == 0) {
    if (!std::exchange(call->misbehaved, true)) instance.misbehaving("an edit of a kind it did not declare");
    return MR_E_DENIED;
  }
  if (call->auth_results.size() >= 20) return MR_E_LIMIT;
  call->auth_results.push_back(std::move(text));
  return MR_OK;
}

mr_rc auth_identity(void* ctx, mr_handle handle, mr_string* id) noexcept {
  const auto call = find_call(self(ctx), handle);
  if (!call || id == nullptr) return call ? MR_E_ARGUMENT : MR_E_STALE;
  const std::lock_guard lock(call->mutex);
  if (call->handle != handle) return MR_E_STALE;
  *id = call->keep(self(ctx).host().authserv_id);
  return MR_OK;
}

constexpr mr_auth_results_1 kAuthResults{sizeof(mr_auth_results_1), 0, auth_add, auth_identity};

// --- mr.table/1 ---------------------------------------------------------------------------------

mr_rc table_open(void* ctx, mr_string type_and_name, mr_handle* handle) noexcept {
  Instance& instance = self(ctx);
  const auto name = to_view(type_and_name, 64 * 1024);
  if (!name || name->empty() || handle == nullptr) return MR_E_ARGUMENT;
  if (!instance.is_loading()) return MR_E_STAGE;
  const auto known = instance.open_tables.find(std::string(*name));
  if (known != instance.open_tables.end()) return *handle = known->second, MR_OK;
  if (instance.open_tables.size() >= kMaxTables) return MR_E_LIMIT;
  auto table = instance.host().tables->open(*name);
  if (!table) {
    instance.log_line(MR_LOG_ERROR, table.error().context);
    return MR_E_FAILED;
  }
  *handle = instance.open_tables[std::string(*name)] = instance.tables.add(std::move(*table));
  return MR_OK;
}

mr_rc table_find(void* ctx, mr_handle handle, mr_handle table_handle, mr_string key, mr_string* value) noexcept {
  Instance& instance = self(ctx);
  const auto text = to_view(key, 64 * 1024);
  if (!text || value == nullptr) return MR_E_ARGUMENT;
  const auto table = instance.tables.find(table_handle);
  if (!table) return ++instance.counters().stale, MR_E_STALE;
  Running running(ctx, handle);
  if (running.rc != MR_OK) return running.rc;
  const std::string wanted(*text);
  map::Lookup found;
  running.suspend([&] { found = table->find(wanted); });
  if (!found) {
    instance.log_line(MR_LOG_WARNING, found.error().context);
    return MR_E_FAILED;
  }
  if (!*found) return MR_E_ABSENT;
  const std::lock_guard lock(running.call->mutex);
  *value = running.call->keep(std::move(**found));
  return MR_OK;
}

constexpr mr_table_1 kTable{sizeof(mr_table_1), 0, table_open, table_find};

// --- mr.private_files/1 -------------------------------------------------------------------------

mr_rc private_read(void* ctx, mr_string path, mr_string* text) noexcept {
  Instance& instance = self(ctx);
  const auto name = to_view(path, 4096);
  if (!name || text == nullptr) return MR_E_ARGUMENT;
  if (!instance.is_loading()) return MR_E_STAGE;
  const auto found = instance.host().private_files->find(std::string(*name));
  if (found == instance.host().private_files->end()) return MR_E_ABSENT;
  *text = {found->second.data(), found->second.size()};
  return MR_OK;
}

constexpr mr_private_files_1 kPrivateFiles{sizeof(mr_private_files_1), 0, private_read};

// --- mr.worker/1 --------------------------------------------------------------------------------

mr_rc worker_run(void* ctx, mr_handle handle, void (*work)(void*), void* argument) noexcept {
  if (work == nullptr) return MR_E_ARGUMENT;
  Running running(ctx, handle);
  if (running.rc != MR_OK) return running.rc;
  bool thrown = false;
  running.suspend([&] {
    net::offload([&] {
      try {
        work(argument);
      } catch (...) {
        thrown = true;
      }
    });
  });
  if (thrown) self(ctx).misbehaving("an exception left its work");
  return thrown ? mr_rc{MR_E_FAILED} : running.still_wanted();
}

constexpr mr_worker_1 kWorker{sizeof(mr_worker_1), 0, worker_run};

}  // namespace

const void* find_service(const Instance& instance, std::string_view id) {
  const Host& host = instance.host();
  if (id == "mr.timer/1") return &kTimer;
  if (id == "mr.kv/1" && host.state) return &kState;
  if (id == "mr.metrics/1") return &kMetrics;
  if (id == "mr.auth_results/1" && !host.authserv_id.empty()) return &kAuthResults;
  if (id == "mr.table/1" && host.tables != nullptr) return &kTable;
  if (id == "mr.private_files/1" && host.private_files != nullptr) return &kPrivateFiles;
  if (id == "mr.worker/1") return &kWorker;
  return nullptr;
}

void stop_timers(Instance& instance) {
  for (const auto& timer : instance.timers.all()) {
    timer->is_stopped = true;
    timer->stopped.set();
  }
}

}  // namespace millrace::plugin
