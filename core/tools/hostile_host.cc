// The hostile host's functions: see hostile_host.h.
#include "core/tools/hostile_host.h"

#include <chrono>
#include <cstring>
#include <thread>

#include "core/base/strings.h"

namespace millrace::tools {
namespace {

using std::chrono::seconds;

constexpr auto kPatience = seconds(3);   // the deadline told is 2 s away
constexpr mr_handle kTable = 0x5000000100000000, kTimer = 0x4000000100000000;

HostileHost& self(void* ctx) { return *static_cast<HostileHost*>(ctx); }
std::string str(mr_string text) { return text.data == nullptr ? std::string() : std::string(text.data, text.size); }
std::uint64_t now() {
  return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1));
}

// Notes what no plugin may do with the texts it gives.
bool usable(HostileHost& host, mr_string text, const char* where) {
  if (text.data != nullptr || text.size == 0) return true;
  host.problem(std::string(where) + ": a text with a size and without data");
  return false;
}

const void* get_interface(void* ctx, const char* id) {
  if (id == nullptr) return self(ctx).problem("get_interface(NULL)"), nullptr;
  return self(ctx).find(id);
}
mr_rc complete(void* ctx, mr_handle call, const mr_verdict* verdict) { return self(ctx).answered(call, verdict); }
void log_text(void* ctx, mr_handle, std::int32_t, mr_string text) { (void)usable(self(ctx), text, "log"); }
std::uint64_t now_ns(void*) { return now(); }

mr_rc about(void* ctx, mr_handle handle, const void* out) {
  const mr_rc rc = self(ctx).enter(true);
  if (rc != MR_OK) return rc;
  if (!self(ctx).is_current(handle)) return MR_E_STALE;
  return out == nullptr ? MR_E_ARGUMENT : MR_OK;
}
mr_rc give(void* ctx, mr_string* out, std::string text) { return *out = self(ctx).keep(std::move(text)), MR_OK; }

mr_rc session_get(void* ctx, mr_handle, const char* name, mr_string* value) {
  if (const mr_rc rc = self(ctx).enter(true); rc != MR_OK) return rc;
  if (name == nullptr || value == nullptr) return MR_E_ARGUMENT;
  const std::string_view what = name;
  if (what == "client_address") return give(ctx, value, "192.0.2.1");
  if (what == "client_name" || what == "helo_name") return give(ctx, value, "host.example");
  if (what == "protocol") return give(ctx, value, "ESMTP");
  return MR_E_ABSENT;
}

mr_rc queue_id(void* ctx, mr_handle m, mr_string* out) { const mr_rc rc = about(ctx, m, out); return rc == MR_OK ? give(ctx, out, "4aBcDeF") : rc; }
mr_rc sender(void* ctx, mr_handle m, mr_string* out) { const mr_rc rc = about(ctx, m, out); return rc == MR_OK ? give(ctx, out, "a@host.example") : rc; }
mr_rc recipient_count(void* ctx, mr_handle m, std::uint64_t* out) { const mr_rc rc = about(ctx, m, out); return rc == MR_OK ? (*out = 2, rc) : rc; }
mr_rc recipient_at(void* ctx, mr_handle m, std::uint64_t i, mr_string* out) {
  const mr_rc rc = about(ctx, m, out);
  return rc != MR_OK ? rc : i < 2 ? give(ctx, out, i == 0 ? "b@example.com" : "\"odd one\"@example.com") : mr_rc{MR_E_ABSENT};
}
mr_rc header_count(void* ctx, mr_handle m, std::uint64_t* out) {
  const mr_rc rc = about(ctx, m, out);
  return rc == MR_OK ? (*out = self(ctx).input->headers.size(), rc) : rc;
}
mr_rc header_at(void* ctx, mr_handle m, std::uint64_t i, mr_string* name, mr_string* value) {
  const mr_rc rc = about(ctx, m, ctx);
  if (rc != MR_OK) return rc;
  const auto& headers = self(ctx).input->headers;
  if (i >= headers.size()) return MR_E_ABSENT;
  if (name != nullptr) give(ctx, name, headers[i].first);
  if (value != nullptr) give(ctx, value, headers[i].second);
  return MR_OK;
}
mr_rc header_find(void* ctx, mr_handle m, mr_string name, std::uint64_t nth, mr_string* value) {
  const mr_rc rc = about(ctx, m, value);
  if (rc != MR_OK) return rc;
  if (!usable(self(ctx), name, "header_find") || nth == 0) return MR_E_ARGUMENT;
  for (const auto& [have, text] : self(ctx).input->headers) {
    if (iequals(have, str(name)) && --nth == 0) return give(ctx, value, text);
  }
  return MR_E_ABSENT;
}
mr_rc header_text(void* ctx, mr_handle m, mr_string* out) {
  const mr_rc rc = about(ctx, m, out);
  if (rc != MR_OK) return rc;
  std::string whole;
  for (const auto& [name, value] : self(ctx).input->headers) {
    whole += name + ": ";
    for (const char c : value) c == '\n' ? whole += "\r\n" : whole += c;
    whole += "\r\n";
  }
  return give(ctx, out, whole);
}
mr_rc body_size(void* ctx, mr_handle m, std::uint64_t* out) {
  const mr_rc rc = about(ctx, m, out);
  return rc == MR_OK ? (*out = self(ctx).input->body.size(), rc) : rc;
}
mr_rc body_read(void* ctx, mr_handle m, std::uint64_t offset, void* into, std::uint64_t size, std::uint64_t* got) {
  const mr_rc rc = about(ctx, m, got);
  if (rc != MR_OK || (into == nullptr && size > 0)) return rc != MR_OK ? rc : mr_rc{MR_E_ARGUMENT};
  if (!self(ctx).reads_body()) return MR_E_DENIED;
  const std::string& body = self(ctx).input->body;
  // Short reads are allowed, and what a host may do a plugin must take.
  *got = offset >= body.size() ? 0 : std::min<std::uint64_t>({size, body.size() - offset, 1021});
  if (*got > 0) std::memcpy(into, body.data() + offset, *got);
  return MR_OK;
}
// Two parts whatever the message; the second one's texts are the odd ones.
mr_rc part_count(void* ctx, mr_handle m, std::uint64_t* out) {
  const mr_rc rc = about(ctx, m, out);
  return rc != MR_OK ? rc : self(ctx).reads_body() ? (*out = 2, rc) : mr_rc{MR_E_DENIED};
}
mr_rc part_at(void* ctx, mr_handle m, std::uint64_t i, mr_mime_part* part) {
  const mr_rc rc = about(ctx, m, part);
  if (rc != MR_OK || i > 1) return rc != MR_OK ? rc : mr_rc{MR_E_ABSENT};
  if (!self(ctx).reads_body()) return MR_E_DENIED;
  if (!MR_HAS(mr_mime_part, part, body_size)) return self(ctx).problem("part_at: struct_size is not set"), mr_rc{MR_E_ARGUMENT};
  const std::string odd("\xff\0../../etc/passwd\n", 20);
  part->depth = static_cast<std::uint32_t>(i);
  give(ctx, &part->type, i == 0 ? "multipart/mixed" : "");
  give(ctx, &part->encoding, i == 0 ? "7bit" : odd);
  give(ctx, &part->filename, i == 0 ? "" : odd);
  part->disposition = part->charset = {nullptr, 0};
  part->body_offset = i == 0 ? 0 : ~std::uint64_t{0} / 2;
  part->body_size = ~std::uint64_t{0} / 2;
  return MR_OK;
}
mr_rc part_header(void* ctx, mr_handle m, std::uint64_t, mr_string name, std::uint64_t nth, mr_string* value) { return header_find(ctx, m, name, nth, value); }
mr_rc part_read(void* ctx, mr_handle m, std::uint64_t i, std::uint64_t offset, void* into, std::uint64_t size, std::uint64_t* got) {
  return i < 2 ? body_read(ctx, m, offset, into, size, got) : mr_rc{MR_E_ABSENT};
}

mr_rc edit_texts(void* ctx, mr_handle m, std::uint32_t kind, mr_string a, mr_string b) {
  if (!usable(self(ctx), a, "an edit") || !usable(self(ctx), b, "an edit")) return MR_E_ARGUMENT;
  return self(ctx).edit(m, kind);
}
mr_rc header_add(void* ctx, mr_handle m, mr_string name, mr_string value) { return edit_texts(ctx, m, MR_EDIT_HEADERS, name, value); }
mr_rc header_insert(void* ctx, mr_handle m, std::uint64_t, mr_string name, mr_string value) { return edit_texts(ctx, m, MR_EDIT_HEADERS, name, value); }
mr_rc header_change(void* ctx, mr_handle m, mr_string name, std::uint64_t, mr_string value) { return edit_texts(ctx, m, MR_EDIT_HEADERS, name, value); }
mr_rc header_delete(void* ctx, mr_handle m, mr_string name, std::uint64_t) { return edit_texts(ctx, m, MR_EDIT_HEADERS, name, {nullptr, 0}); }
mr_rc envelope_edit(void* ctx, mr_handle m, mr_string address) { return edit_texts(ctx, m, MR_EDIT_ENVELOPE, address, {nullptr, 0}); }
mr_rc body_append(void* ctx, mr_handle m, mr_string bytes) { return edit_texts(ctx, m, MR_EDIT_BODY, bytes, {nullptr, 0}); }

mr_rc dns_query(void* ctx, mr_handle call, mr_string name, std::uint32_t type, mr_dns_answer* answer) {
  const mr_rc rc = about(ctx, call, answer);
  if (rc != MR_OK) return rc;
  if (!usable(self(ctx), name, "dns query") || name.size == 0 || name.size > 255) return MR_E_ARGUMENT;
  static const mr_dns_record kOdd[] = {{60, 10, 0, {"", 0}}, {60, 0, 0, {"\xff\0v=spf1 -all", 13}}, {0, 65535, 0, {"192.0.2.1", 9}}};
  answer->records = nullptr;
  answer->record_count = 0;
  answer->is_secure = 0;
  answer->status = static_cast<std::int32_t>((name.size + type + static_cast<std::uint64_t>(self(ctx).calls())) % 5);
  if (answer->status == MR_DNS_OK) {
    answer->records = kOdd;
    answer->record_count = 3;
  }
  return MR_OK;
}

mr_rc dns_query_until(void* ctx, mr_handle call, mr_string name, std::uint32_t type, std::uint64_t, mr_dns_answer* answer) {
  return dns_query(ctx, call, name, type, answer);
}

mr_rc timer_sleep(void* ctx, mr_handle call, std::uint64_t) { return about(ctx, call, ctx); }
mr_rc timer_start(void* ctx, std::uint64_t, std::uint64_t, void (*fire)(void*), void* argument, mr_handle* timer) {
  if (const mr_rc rc = self(ctx).enter(false); rc != MR_OK) return rc;
  if (fire == nullptr || timer == nullptr) return MR_E_ARGUMENT;
  self(ctx).timers.emplace_back(fire, argument);
  *timer = kTimer + self(ctx).timers.size() - 1;
  return MR_OK;
}
mr_rc timer_stop(void* ctx, mr_handle timer) {
  auto& timers = self(ctx).timers;
  if (timer < kTimer || timer - kTimer >= timers.size()) return MR_E_STALE;
  timers[timer - kTimer].first = nullptr;
  return MR_OK;
}

mr_rc kv_get(void* ctx, mr_handle call, mr_string key, mr_string* value) {
  const mr_rc rc = about(ctx, call, value);
  if (rc != MR_OK) return rc;
  const auto found = self(ctx).state.find(str(key));
  return found == self(ctx).state.end() ? mr_rc{MR_E_ABSENT} : give(ctx, value, found->second);
}
mr_rc kv_put(void* ctx, mr_string key, mr_string value, std::uint64_t) {
  const mr_rc rc = self(ctx).enter(false);
  if (rc == MR_OK) self(ctx).state[str(key)] = str(value);
  return rc;
}
mr_rc kv_add(void* ctx, mr_string key, std::int64_t delta, std::uint64_t, std::int64_t* sum) {
  if (const mr_rc rc = self(ctx).enter(false); rc != MR_OK || sum == nullptr) return rc != MR_OK ? rc : mr_rc{MR_E_ARGUMENT};
  std::string& value = self(ctx).state[str(key)];
  *sum = std::strtoll(value.c_str(), nullptr, 10) + delta;
  value = std::to_string(*sum);
  return MR_OK;
}
mr_rc kv_remove(void* ctx, mr_string key) {
  const mr_rc rc = self(ctx).enter(false);
  if (rc == MR_OK) self(ctx).state.erase(str(key));
  return rc;
}
mr_rc kv_expire(void* ctx, mr_string key, std::uint64_t) {
  const mr_rc rc = self(ctx).enter(false);
  return rc != MR_OK ? rc : self(ctx).state.count(str(key)) > 0 ? mr_rc{MR_OK} : mr_rc{MR_E_ABSENT};
}
mr_rc metric_count(void* ctx, const char* name, std::uint64_t) { return name == nullptr ? mr_rc{MR_E_ARGUMENT} : self(ctx).enter(false); }
mr_rc metric_set(void* ctx, const char* name, double) { return name == nullptr ? mr_rc{MR_E_ARGUMENT} : self(ctx).enter(false); }
mr_rc auth_add(void* ctx, mr_handle m, mr_string method, mr_string result, mr_string, const mr_fact*, std::uint64_t) {
  return edit_texts(ctx, m, MR_EDIT_HEADERS, method, result);
}
mr_rc auth_identity(void* ctx, mr_handle call, mr_string* id) { const mr_rc rc = about(ctx, call, id); return rc == MR_OK ? give(ctx, id, "mx.example") : rc; }
mr_rc table_open(void* ctx, mr_string name, mr_handle* table) {
  if (const mr_rc rc = self(ctx).enter(false); rc != MR_OK || table == nullptr) return rc != MR_OK ? rc : mr_rc{MR_E_ARGUMENT};
  return str(name).find(':') == std::string::npos ? mr_rc{MR_E_FAILED} : (*table = kTable, mr_rc{MR_OK});
}
mr_rc table_find(void* ctx, mr_handle call, mr_handle table, mr_string key, mr_string* value) {
  const mr_rc rc = about(ctx, call, value);
  if (rc != MR_OK || table != kTable) return rc != MR_OK ? rc : mr_rc{MR_E_STALE};
  const std::uint64_t turn = (key.size + static_cast<std::uint64_t>(self(ctx).calls())) % 3;
  return turn == 0 ? give(ctx, value, "a value") : turn == 1 ? mr_rc{MR_E_ABSENT} : mr_rc{MR_E_FAILED};
}
mr_rc worker_run(void* ctx, mr_handle call, void (*work)(void*), void* argument) {
  const mr_rc rc = about(ctx, call, reinterpret_cast<const void*>(work));
  if (rc == MR_OK) std::thread([&] { work(argument); }).join();
  return rc;
}

}  // namespace

HostileHost::HostileHost(const mr_descriptor& descriptor, HostMood mood)
    : descriptor_(descriptor),
      mood_(std::move(mood)),
      session_{sizeof session_, 0, session_get},
      message_{sizeof message_, 0,         queue_id,      sender,        recipient_count, recipient_at, header_count,
               header_at,       header_find, body_size,   body_read,     header_add,      header_insert, header_add,
               header_change,   header_delete, envelope_edit, envelope_edit, envelope_edit, body_append, header_text},
      mime_{sizeof mime_, 0, part_count, part_at, part_header, part_read},
      dns_{sizeof dns_, 0, dns_query, dns_query_until},
      timer_{sizeof timer_, 0, timer_sleep, timer_start, timer_stop},
      kv_{sizeof kv_, 0, kv_get, kv_put, kv_add, kv_remove, kv_expire},
      metrics_{sizeof metrics_, 0, metric_count, metric_set},
      auth_{sizeof auth_, 0, auth_add, auth_identity},
      table_{sizeof table_, 0, table_open, table_find},
      worker_{sizeof worker_, 0, worker_run} {
  space_.host = {mood_.host_size, MR_ABI_MAJOR, MR_ABI_MINOR, MR_ABI_DRAFT, this, get_interface, complete, log_text, now_ns};
  std::memset(space_.beyond, 0xA5, sizeof space_.beyond);
  cut(session_);
  cut(message_);
  cut(mime_);
  cut(dns_);
  cut(timer_);
  cut(kv_);
  cut(metrics_);
  cut(auth_);
  cut(table_);
  cut(worker_);
}

// Who calls what is not there any more ends by a signal.
template <typename Table>
void HostileHost::cut(Table& table) {
  constexpr std::uint32_t kHead = 8, kFunction = sizeof(void (*)());
  const std::uint64_t size = kHead + std::uint64_t{mood_.functions} * kFunction;
  if (size >= table.struct_size) return;
  std::memset(reinterpret_cast<char*>(&table) + size, 0xA5, table.struct_size - size);
  table.struct_size = static_cast<std::uint32_t>(size);
}

const void* HostileHost::find(std::string_view id) {
  if (mood_.missing.count(std::string(id)) > 0) return nullptr;
  if (id == "mr.session/1") return &session_;
  if (id == "mr.msg/1") return &message_;
  if (id == "mr.mime/1") return &mime_;
  if (id == "mr.dns/1") return &dns_;
  if (id == "mr.timer/1") return &timer_;
  if (id == "mr.kv/1") return &kv_;
  if (id == "mr.metrics/1") return &metrics_;
  if (id == "mr.auth_results/1") return &auth_;
  if (id == "mr.table/1") return &table_;
  if (id == "mr.worker/1") return &worker_;
  return nullptr;
}

void HostileHost::problem(const std::string& text) {
  const std::lock_guard lock(mutex_);
  if (problems_.size() < 20) problems_.insert(text);
}

std::vector<std::string> HostileHost::take_problems() {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> out(problems_.begin(), problems_.end());
  problems_.clear();
  return out;
}

mr_rc HostileHost::enter(bool about_session) {
  if (++calls_ == mood_.fail_at) return MR_E_FAILED;
  return about_session && mood_.too_late ? MR_E_STALE : MR_OK;
}

mr_string HostileHost::keep(std::string text) {
  const std::lock_guard lock(mutex_);
  kept_.push_back(std::move(text));
  return {kept_.back().data(), kept_.back().size()};
}

bool HostileHost::reads_body() {
  if (descriptor_.body_need == MR_BODY_WHOLE) return true;
  problem("it reads the body, which it did not declare");
  return false;
}

mr_rc HostileHost::edit(mr_handle message, std::uint32_t kind) {
  const mr_rc rc = about(this, message, this);
  if (rc != MR_OK) return rc;
  if ((descriptor_.edits & kind) == 0) {
    problem("an edit of a kind it did not declare");
    return MR_E_DENIED;
  }
  constexpr std::uint32_t kEarly = MR_STAGE_MAIL | MR_STAGE_RCPT | MR_STAGE_DATA;
  return stage_ == MR_STAGE_MESSAGE || (kind == MR_EDIT_HEADERS && (stage_ & kEarly) != 0) ? MR_OK : MR_E_STAGE;
}

mr_rc HostileHost::answered(mr_handle call, const mr_verdict* verdict) {
  const std::lock_guard lock(mutex_);
  if (!is_current(call)) return MR_E_STALE;
  if (mood_.too_late) return is_answered_ = true, changed_.notify_all(), mr_rc{MR_E_STALE};
  if (is_answered_) return problem("complete() twice for one call"), mr_rc{MR_E_STALE};
  if (const auto checked = plugin::to_verdict(verdict, stage_, false); !checked) problem("a verdict that is none: " + checked.error().context);
  is_answered_ = true;
  changed_.notify_all();
  return MR_OK;
}

bool HostileHost::open(const mr_entry& entry, const std::string& json) {
  const auto refused = [&](const char* step) { return refusal_ = step, close(), false; };
  filter_ = entry.create(table(), descriptor_.id);
  if (filter_ == nullptr) return refused("create");
  if (!MR_HAS(mr_filter, filter_, destroy) || filter_->on_stage == nullptr || filter_->destroy == nullptr) {
    problem("its filter is incomplete");
    return filter_ = nullptr, false;
  }
  if (filter_->configure != nullptr && filter_->configure(filter_->self, {json.data(), json.size()}) < 0) return refused("configure");
  if (filter_->start != nullptr && filter_->start(filter_->self) < 0) return refused("start");
  refusal_.clear();
  return true;
}

void HostileHost::close() {
  if (filter_ == nullptr) return;
  timers.clear();
  if (refusal_.empty() && filter_->stop != nullptr) filter_->stop(filter_->self);
  filter_->destroy(filter_->self);
  filter_ = nullptr;
}

void HostileHost::fire_timers() {
  for (std::size_t i = 0; i < timers.size(); ++i) {
    if (timers[i].first != nullptr) timers[i].first(timers[i].second);
  }
}

void HostileHost::use_offers(const HostInput& shown) {
  if (!MR_HAS(mr_filter, filter_, get_interface) || filter_->get_interface == nullptr) return;
  const mr_string texts[] = {{nullptr, 0}, {shown.argument.data(), shown.argument.size()}, {shown.body.data(), shown.body.size()}};
  struct Given {
    HostileHost* host;
    int count = 0;
  };
  try {
    if (filter_->get_interface(filter_->self, "mr.no-such-thing/1") != nullptr) problem("get_interface: it offers what it cannot know");
    const auto* const observer = static_cast<const mr_observer_1*>(filter_->get_interface(filter_->self, "mr.observer/1"));
    const auto* const tables = static_cast<const mr_table_provider_1*>(filter_->get_interface(filter_->self, "mr.table_provider/1"));
    for (const mr_string& text : texts) {
      const mr_delivery delivery{sizeof delivery, MR_DELIVERY_DEFERRED, text, text, text, text, text, text, text, 1};
      if (MR_HAS(mr_observer_1, observer, delivered)) observer->delivered(filter_->self, &delivery);
      void* table = nullptr;
      if (!MR_HAS(mr_table_provider_1, tables, find) || tables->open(filter_->self, text, &table) != MR_OK) continue;
      for (const mr_string& key : texts) {
        Given given{this};
        const mr_rc rc = tables->find(filter_->self, table, key, [](void* to, mr_string value) {
          ++static_cast<Given*>(to)->count;
          (void)usable(*static_cast<Given*>(to)->host, value, "a table's value");
        }, &given);
        if ((rc == MR_OK) != (given.count == 1)) problem("a table's find() gave " + std::to_string(given.count) + " values and returned " + std::to_string(rc));
      }
      if (MR_HAS(mr_table_provider_1, tables, close) && tables->close != nullptr) tables->close(filter_->self, table);
    }
  } catch (...) {
    problem("an exception left what it offers");
  }
}

void HostileHost::ask(std::uint32_t stage, mr_handle session, void** session_data, const HostInput& shown, bool deadline_passed,
                      Patience patience) {
  if ((descriptor_.stages & stage) == 0 || is_stuck_) return;
  mr_event event{};
  event.struct_size = sizeof event;
  std::vector<mr_string> parameters;
  {
    const std::lock_guard lock(mutex_);
    input = &shown;
    stage_ = stage;
    is_answered_ = false;
    current_ = last_ += std::uint64_t{1} << 32;
    kept_.clear();
    for (const std::string& one : shown.parameters) parameters.push_back(keep(one));
    event.argument = keep(shown.argument);
    event.command = keep(shown.command);
  }
  event.stage = stage;
  event.call = event.message = stage == MR_STAGE_CLOSE ? 0 : current_;
  event.session = session;
  event.deadline_ns = deadline_passed ? 1 : now() + 2'000'000'000;
  event.session_data = session_data;
  event.parameters = parameters.data();
  event.parameter_count = parameters.size();
  mr_verdict verdict{};
  verdict.struct_size = sizeof verdict;
  std::int32_t rc = MR_E_FAILED;
  try {
    rc = filter_->on_stage(filter_->self, &event, &verdict);
  } catch (...) {
    problem("an exception left on_stage");
  }
  std::unique_lock lock(mutex_);
  if (rc > MR_PENDING) problem("on_stage returned " + std::to_string(rc));
  if (rc == MR_DONE) {
    if (is_answered_) problem("complete(), and a return that is not MR_PENDING");
    const bool heard = stage != MR_STAGE_CLOSE && stage != MR_STAGE_ABORT;
    if (const auto checked = plugin::to_verdict(&verdict, stage, false); heard && !checked) {
      problem("a verdict that is none: " + checked.error().context);
    }
  }
  if (rc == MR_PENDING && !is_answered_) {
    const bool can_cancel = MR_HAS(mr_filter, filter_, cancel) && filter_->cancel != nullptr;
    if (patience == Patience::answer || !can_cancel) {
      if (!changed_.wait_for(lock, kPatience, [&] { return is_answered_; }) && !can_cancel) {
        problem("no answer in its time, and no cancel()");
        is_stuck_ = true;
      }
    }
    if (!is_answered_ && can_cancel) {
      lock.unlock();
      filter_->cancel(filter_->self, event.call);
      lock.lock();
    }
  }
  current_ = 0;
}

}  // namespace millrace::tools
