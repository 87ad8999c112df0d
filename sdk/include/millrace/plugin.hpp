// A helper for plugins in C++17 and later: classes over the C ABI of plugin.h, in this header alone.
//
// Derive from Filter, answer at the stages you declare, and end the file with MILLRACE_PLUGIN(YourFilter):
//
//   struct Polite : millrace::sdk::Filter {
//     static millrace::sdk::Description describe() { return {"polite", "1.0", "refuses the impolite"}; }
//     Verdict rcpt(Call& call) override { return call.argument() == "<me@x>" ? Verdict::reject("no") : Verdict(); }
//   };
//   MILLRACE_PLUGIN(Polite)
//
// Promises: nothing thrown crosses the border (the filter's failure policy answers); texts you return live as
// long as they must; what you keep with call.state<T>() is destroyed when the session ends.  This is never a
// second ABI: everything here is inline in your plugin.
#ifndef MILLRACE_PLUGIN_HPP
#define MILLRACE_PLUGIN_HPP

#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "millrace/plugin.h"

namespace millrace {
namespace sdk {

inline std::string_view view(mr_string text) {
  return text.data == nullptr ? std::string_view() : std::string_view(text.data, static_cast<std::size_t>(text.size));
}
inline mr_string text_of(std::string_view text) { return {text.data(), text.size()}; }

// Keys of the filter's block in main.cf; values as text.
using Settings = std::map<std::string, std::string>;
using Attributes = std::vector<std::pair<std::string, std::string>>;

namespace detail {

inline void append_utf8(std::string& out, unsigned code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

// The object of strings that configure() gets (RFC 8259 so far as that needs).
class SettingsReader {
 public:
  explicit SettingsReader(std::string_view text) : text_(text) {}
  std::optional<Settings> read() {
    Settings out;
    if (!take('{')) return {};
    if (take('}')) return out;
    do {
      auto name = string();
      if (!name || !take(':')) return {};
      auto value = string();
      if (!value) return {};
      out[std::move(*name)] = std::move(*value);
    } while (take(','));
    if (!take('}')) return {};
    return out;
  }

 private:
  bool take(char wanted) {
    while (at_ < text_.size() && std::strchr(" \t\r\n", text_[at_]) != nullptr) ++at_;
    if (at_ >= text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }
  std::optional<unsigned> hex4() {
    unsigned code = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const char c = at_ < text_.size() ? text_[at_] : '\0';
      const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
      if (digit < 0) return {};
      code = code * 16 + static_cast<unsigned>(digit);
    }
    return code;
  }
  std::optional<std::string> string() {
    if (!take('"')) return {};
    std::string out;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '"') return out;
      if (c != '\\') {
        out += c;
        continue;
      }
      const char escape = at_ < text_.size() ? text_[at_++] : '\0';
      if (escape == 'u') {
        auto code = hex4();
        if (code && *code >= 0xD800 && *code < 0xDC00 && text_.substr(at_, 2) == "\\u") {
          at_ += 2;
          const auto low = hex4();
          if (!low) return {};
          code = 0x10000 + ((*code - 0xD800) << 10) + (*low - 0xDC00);
        }
        if (!code) return {};
        append_utf8(out, *code);
        continue;
      }
      static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
      const char* const place = escape == '\0' ? nullptr : std::strchr(from, escape);
      if (place == nullptr) return {};
      out += to[place - from];
    }
    return {};
  }
  std::string_view text_;
  std::size_t at_ = 0;
};

struct Box {   // behind session_data
  struct Any {
    virtual ~Any() = default;
  };
  template <typename T>
  struct Of final : Any {
    T value{};
  };
  std::unique_ptr<Any> state;
  std::string action;
};

}  // namespace detail

// The host as a filter sees it.
class Host {
 public:
  explicit Host(const mr_host& host)
      : host_(&host),
        session_(interface<mr_session_1>("mr.session/1")),
        message_(interface<mr_msg_1>("mr.msg/1")),
        dns_(interface<mr_dns_1>("mr.dns/1")),
        timer_(interface<mr_timer_1>("mr.timer/1")),
        state_(interface<mr_kv_1>("mr.kv/1")),
        metrics_(interface<mr_metrics_1>("mr.metrics/1")),
        auth_results_(interface<mr_auth_results_1>("mr.auth_results/1")),
        table_(interface<mr_table_1>("mr.table/1")),
        worker_(interface<mr_worker_1>("mr.worker/1")) {}

  // A table of functions by id; nullptr when this host has none.
  template <typename Table>
  const Table* interface(const char* id) const {
    return static_cast<const Table*>(host_->get_interface(host_->ctx, id));
  }
  const mr_host& raw() const { return *host_; }
  void* ctx() const { return host_->ctx; }
  void info(std::string_view words) const { host_->log(host_->ctx, 0, MR_LOG_INFO, text_of(words)); }
  void warning(std::string_view words) const { host_->log(host_->ctx, 0, MR_LOG_WARNING, text_of(words)); }
  void error(std::string_view words) const { host_->log(host_->ctx, 0, MR_LOG_ERROR, text_of(words)); }
  std::uint64_t now_ns() const { return host_->now_ns(host_->ctx); }

  // These do nothing where the host lacks the interface.
  void count(const char* name, std::uint64_t delta = 1) const {
    if (MR_HAS(mr_metrics_1, metrics_, count)) (void)metrics_->count(ctx(), name, delta);
  }
  void set(const char* name, double value) const {
    if (MR_HAS(mr_metrics_1, metrics_, set)) (void)metrics_->set(ctx(), name, value);
  }
  // A lookup table, in configure() or start(); 0: it cannot be opened, the log says why.
  mr_handle open_table(std::string_view type_and_name) const {
    mr_handle table = 0;
    if (MR_HAS(mr_table_1, table_, open)) (void)table_->open(ctx(), text_of(type_and_name), &table);
    return table;
  }

  const mr_session_1* session() const { return session_; }
  const mr_msg_1* message() const { return message_; }
  const mr_dns_1* dns() const { return dns_; }
  const mr_timer_1* timer() const { return timer_; }
  const mr_kv_1* state() const { return state_; }
  const mr_auth_results_1* auth_results() const { return auth_results_; }
  const mr_table_1* table() const { return table_; }
  const mr_worker_1* worker() const { return worker_; }

 private:
  const mr_host* host_;
  const mr_session_1* session_;
  const mr_msg_1* message_;
  const mr_dns_1* dns_;
  const mr_timer_1* timer_;
  const mr_kv_1* state_;
  const mr_metrics_1* metrics_;
  const mr_auth_results_1* auth_results_;
  const mr_table_1* table_;
  const mr_worker_1* worker_;
};

// What a stage answers; proceed unless said otherwise.
class Verdict {
 public:
  Verdict() = default;
  static Verdict accept() { return Verdict(MR_ACCEPT); }
  // Text for the client; code and enhanced code of its class, or the action's own.
  static Verdict reject(std::string text, int code = 0, std::string enhanced = {}) { return Verdict(MR_REJECT, std::move(text), code, std::move(enhanced)); }
  static Verdict tempfail(std::string text, int code = 0, std::string enhanced = {}) { return Verdict(MR_TEMPFAIL, std::move(text), code, std::move(enhanced)); }
  static Verdict discard() { return Verdict(MR_DISCARD); }
  static Verdict quarantine(std::string text = {}) { return Verdict(MR_QUARANTINE, std::move(text)); }
  static Verdict disconnect(std::string text = {}, int code = 0) { return Verdict(MR_DISCONNECT, std::move(text), code); }
  // The filter's failure policy answers.
  static Verdict failure() { return Verdict(-1); }

  Verdict& reason(std::string id) { return reason_ = std::move(id), *this; }
  Verdict& score(double value) { return score_ = value, *this; }
  Verdict& fact(std::string name, std::string value) { return facts_.emplace_back(std::move(name), std::move(value)), *this; }
  Verdict& for_session() { return flags_ |= MR_VERDICT_FOR_SESSION, *this; }
  int action() const { return action_; }

  // Into the C form; the host copies.  Returns what on_stage returns.
  std::int32_t give(const mr_host& host, mr_handle call, mr_verdict& into) const {
    if (action_ < 0) return MR_E_FAILED;
    if (action_ == MR_CONTINUE && facts_.empty() && score_ == 0) return MR_DONE;
    std::vector<mr_fact> facts;
    for (const auto& one : facts_) facts.push_back({text_of(one.first), text_of(one.second)});
    into.action = action_;
    into.smtp_code = code_;
    into.flags = flags_;
    into.enhanced = text_of(enhanced_);
    into.text = text_of(text_);
    into.reason_id = text_of(reason_);
    into.score = score_;
    into.facts = facts.data();
    into.fact_count = facts.size();
    (void)host.complete(host.ctx, call, &into);
    return MR_PENDING;
  }

 private:
  explicit Verdict(int action, std::string text = {}, int code = 0, std::string enhanced = {})
      : action_(action), code_(code), text_(std::move(text)), enhanced_(std::move(enhanced)) {}
  int action_ = MR_CONTINUE;
  int code_ = 0;
  std::uint32_t flags_ = 0;
  std::string text_, enhanced_, reason_;
  double score_ = 0;
  std::vector<std::pair<std::string, std::string>> facts_;
};

struct DnsRecord {
  std::string value;
  unsigned preference = 0;
  std::uint32_t ttl = 0;
};
struct DnsAnswer {
  int status = MR_DNS_TEMPORARY;
  bool secure = false;
  std::vector<DnsRecord> records;
};

// One call at a stage.  Not to be kept.
class Call {
 public:
  Call(const Host& host, const mr_event& event) : host_(host), event_(event) {}

  const Host& host() const { return host_; }
  const mr_event& raw() const { return event_; }
  std::uint32_t stage() const { return event_.stage; }
  std::string_view argument() const { return view(event_.argument); }
  std::string_view command() const { return view(event_.command); }

  // What is remembered of this session, made at first use.
  template <typename T>
  T& state() {
    detail::Box& mine = box();
    if (!mine.state) mine.state = std::make_unique<detail::Box::Of<T>>();
    return static_cast<detail::Box::Of<T>&>(*mine.state).value;
  }

  // "client_address", "helo_name", …; "" where there is nothing to tell.
  std::string fact(const char* name) const {
    mr_string value{nullptr, 0};
    const mr_session_1* const table = host_.session();
    if (!MR_HAS(mr_session_1, table, get) || table->get(host_.ctx(), event_.session, name, &value) != MR_OK) return {};
    return std::string(view(value));
  }
  std::string sender() const { return text(&mr_msg_1::sender, offsetof(mr_msg_1, sender)); }
  std::string queue_id() const { return text(&mr_msg_1::queue_id, offsetof(mr_msg_1, queue_id)); }
  std::vector<std::string> recipients() const {
    std::vector<std::string> out;
    mr_string one{nullptr, 0};
    const mr_msg_1* const m = host_.message();
    for (std::uint64_t i = 0; MR_HAS(mr_msg_1, m, recipient_at) && m->recipient_at(host_.ctx(), event_.message, i, &one) == MR_OK; ++i) {
      out.emplace_back(view(one));
    }
    return out;
  }
  std::optional<std::string> header(std::string_view name, std::uint64_t nth = 1) const {
    mr_string value{nullptr, 0};
    const mr_msg_1* const m = host_.message();
    if (!MR_HAS(mr_msg_1, m, header_find) || m->header_find(host_.ctx(), event_.message, text_of(name), nth, &value) != MR_OK) return {};
    return std::string(view(value));
  }
  // All fields in order.
  Attributes headers() const {
    Attributes out;
    mr_string name{nullptr, 0}, value{nullptr, 0};
    const mr_msg_1* const m = host_.message();
    for (std::uint64_t i = 0; MR_HAS(mr_msg_1, m, header_at) && m->header_at(host_.ctx(), event_.message, i, &name, &value) == MR_OK; ++i) {
      out.emplace_back(std::string(view(name)), std::string(view(value)));
    }
    return out;
  }
  // The body from `offset` on, at most `size` octets; empty at the end, nullopt when it cannot be read.
  std::optional<std::string> body(std::uint64_t offset, std::size_t size = 64 * 1024) const {
    std::string out(size, '\0');
    std::uint64_t got = 0;
    const mr_msg_1* const m = host_.message();
    if (!MR_HAS(mr_msg_1, m, body_read) || m->body_read(host_.ctx(), event_.message, offset, &out[0], size, &got) != MR_OK) return {};
    out.resize(static_cast<std::size_t>(got));
    return out;
  }

  // Edits: true when the host took it.
  bool add_header(std::string_view name, std::string_view value) const { return edit(&mr_msg_1::header_add, offsetof(mr_msg_1, header_add), text_of(name), text_of(value)); }
  bool prepend_header(std::string_view name, std::string_view value) const { return edit(&mr_msg_1::header_prepend, offsetof(mr_msg_1, header_prepend), text_of(name), text_of(value)); }
  bool change_header(std::string_view name, std::uint64_t nth, std::string_view value) const { return edit(&mr_msg_1::header_change, offsetof(mr_msg_1, header_change), text_of(name), nth, text_of(value)); }
  bool delete_header(std::string_view name, std::uint64_t nth = 1) const { return edit(&mr_msg_1::header_delete, offsetof(mr_msg_1, header_delete), text_of(name), nth); }
  bool add_recipient(std::string_view address) const { return edit(&mr_msg_1::recipient_add, offsetof(mr_msg_1, recipient_add), text_of(address)); }
  bool delete_recipient(std::string_view address) const { return edit(&mr_msg_1::recipient_delete, offsetof(mr_msg_1, recipient_delete), text_of(address)); }
  bool change_sender(std::string_view address) const { return edit(&mr_msg_1::sender_change, offsetof(mr_msg_1, sender_change), text_of(address)); }
  bool append_body(std::string_view bytes) const { return edit(&mr_msg_1::body_append, offsetof(mr_msg_1, body_append), text_of(bytes)); }

  // Waits without holding anybody up; MR_DNS_TEMPORARY also when the host has no DNS or time is over.
  // With a deadline (on now_ns()'s clock) where the host can do that.
  DnsAnswer dns(std::string_view name, std::uint32_t type, std::uint64_t deadline_ns = ~std::uint64_t{0}) const {
    DnsAnswer out;
    mr_dns_answer answer{};
    answer.struct_size = sizeof answer;
    const mr_dns_1* const table = host_.dns();
    if (!MR_HAS(mr_dns_1, table, query)) return out;
    const mr_rc rc = MR_HAS(mr_dns_1, table, query_until)
                         ? table->query_until(host_.ctx(), event_.call, text_of(name), type, deadline_ns, &answer)
                         : table->query(host_.ctx(), event_.call, text_of(name), type, &answer);
    if (rc != MR_OK) return out;
    out.status = answer.status;
    out.secure = answer.is_secure != 0;
    if (answer.records == nullptr) answer.record_count = 0;
    for (std::uint64_t i = 0; i < answer.record_count; ++i) {
      const mr_dns_record& one = answer.records[i];
      out.records.push_back({std::string(view(one.value)), one.preference, one.ttl});
    }
    return out;
  }
  // A table's three answers: MR_OK, MR_E_ABSENT, anything else an error.
  mr_rc find(mr_handle opened, std::string_view key, std::string& value) const {
    mr_string found{nullptr, 0};
    const mr_table_1* const table = host_.table();
    if (!MR_HAS(mr_table_1, table, find)) return MR_E_FAILED;
    const mr_rc rc = table->find(host_.ctx(), event_.call, opened, text_of(key), &found);
    if (rc == MR_OK) value = std::string(view(found));
    return rc;
  }
  std::optional<std::string> recall(std::string_view key) const {
    mr_string value{nullptr, 0};
    const mr_kv_1* const table = host_.state();
    if (!MR_HAS(mr_kv_1, table, get) || table->get(host_.ctx(), event_.call, text_of(key), &value) != MR_OK) return {};
    return std::string(view(value));
  }
  bool remember(std::string_view key, std::string_view value, std::uint64_t ttl_ns = 0) const {
    const mr_kv_1* const table = host_.state();
    return MR_HAS(mr_kv_1, table, put) && table->put(host_.ctx(), text_of(key), text_of(value), ttl_ns) == MR_OK;
  }
  bool auth_result(std::string_view method, std::string_view result, std::string_view reason, const Attributes& properties) const {
    std::vector<mr_fact> list;
    for (const auto& one : properties) list.push_back({text_of(one.first), text_of(one.second)});
    const mr_auth_results_1* const table = host_.auth_results();
    return MR_HAS(mr_auth_results_1, table, add) &&
           table->add(host_.ctx(), event_.message, text_of(method), text_of(result), text_of(reason), list.data(), list.size()) == MR_OK;
  }
  // Runs `work()` on a worker thread, where only what the ABI calls [any] may be used; false: not run, or too late.
  template <typename Work>
  bool offload(Work work) const {
    const mr_worker_1* const table = host_.worker();
    return MR_HAS(mr_worker_1, table, run) &&
           table->run(host_.ctx(), event_.call, [](void* argument) { (*static_cast<Work*>(argument))(); }, &work) == MR_OK;
  }
  bool sleep_until(std::uint64_t at_ns) const {
    const mr_timer_1* const table = host_.timer();
    return MR_HAS(mr_timer_1, table, sleep_until) && table->sleep_until(host_.ctx(), event_.call, at_ns) == MR_OK;
  }

  detail::Box& box() {
    if (*event_.session_data == nullptr) *event_.session_data = new detail::Box;
    return *static_cast<detail::Box*>(*event_.session_data);
  }

 private:
  template <typename Member, typename... Arguments>
  bool edit(Member member, std::size_t offset, Arguments... arguments) const {
    const mr_msg_1* const m = host_.message();
    return m != nullptr && m->struct_size >= offset + sizeof(void*) && (m->*member)(host_.ctx(), event_.message, arguments...) == MR_OK;
  }
  template <typename Member>
  std::string text(Member member, std::size_t offset) const {
    mr_string value{nullptr, 0};
    const mr_msg_1* const m = host_.message();
    if (m == nullptr || m->struct_size < offset + sizeof(void*) || (m->*member)(host_.ctx(), event_.message, &value) != MR_OK) return {};
    return std::string(view(value));
  }
  const Host& host_;
  const mr_event& event_;
};

// What describe() returns.  Stages: what is not declared is not asked (close always is).
struct Description {
  const char* id;
  const char* version;
  const char* summary;
  std::uint32_t stages = 0, edits = 0, traits = 0;
  bool reads_body = false;
  std::uint32_t max_concurrency = 0;   // calls of one instance at once; 0: any number
  const char* config_schema = nullptr;
  std::uint32_t status = MR_STATUS_ALPHA, posture = MR_POSTURE_ROBUST;
  const char* const* required_interfaces = nullptr;
  const char* const* before = nullptr;
  const char* const* after = nullptr;
};

class Filter {
 public:
  using Call = sdk::Call;
  using Verdict = sdk::Verdict;
  virtual ~Filter() = default;

  // Throw, or return false after host().error(…), to refuse to start.
  virtual bool configure(const Settings&) { return true; }
  virtual bool start() { return true; }
  virtual void stop() {}

  virtual Verdict connect(Call&) { return {}; }
  virtual Verdict helo(Call&) { return {}; }
  virtual Verdict mail(Call&) { return {}; }
  virtual Verdict rcpt(Call&) { return {}; }
  virtual Verdict data(Call&) { return {}; }
  virtual Verdict message(Call&) { return {}; }
  virtual Verdict unknown(Call&) { return {}; }
  virtual void abort(Call&) {}

  // The word check_plugin: an access(5) action.  Offered when is_restriction() says so.
  virtual bool is_restriction() const { return false; }
  virtual std::string check(Call&, const Attributes&) { return {}; }

  const Host& host() const { return *host_; }
  std::unique_ptr<Host> host_;   // set before configure()
};

namespace detail {

template <typename F>
class Adapter {
 public:
  explicit Adapter(const mr_host* host) {
    impl_.host_ = std::make_unique<Host>(*host);
    filter_.struct_size = sizeof filter_;
    filter_.self = this;
    filter_.configure = [](void* self, mr_string json) -> mr_rc {
      return guarded(self, [&](Adapter& a) -> mr_rc {
        const auto settings = SettingsReader(view(json)).read();
        if (!settings) {
          a.impl_.host().error("its configuration is no JSON object of strings");
          return MR_E_ARGUMENT;
        }
        return a.impl_.configure(*settings) ? MR_OK : MR_E_FAILED;
      });
    };
    filter_.start = [](void* self) -> mr_rc {
      return guarded(self, [](Adapter& a) -> mr_rc { return a.impl_.start() ? MR_OK : MR_E_FAILED; });
    };
    filter_.on_stage = [](void* self, const mr_event* event, mr_verdict* verdict) -> std::int32_t {
      return guarded(self, [&](Adapter& a) -> std::int32_t { return a.on_stage(*event, *verdict); });
    };
    filter_.stop = [](void* self) { (void)guarded(self, [](Adapter& a) -> mr_rc { return a.impl_.stop(), MR_OK; }); };
    filter_.destroy = [](void* self) { delete static_cast<Adapter*>(self); };
    filter_.get_interface = [](void* self, const char* id) -> const void* {
      const bool wanted = static_cast<Adapter*>(self)->impl_.is_restriction() && std::strcmp(id, "mr.restriction/1") == 0;
      return wanted ? &kRestriction : nullptr;
    };
  }
  mr_filter* filter() { return &filter_; }

 private:
  template <typename Body>
  static std::int32_t guarded(void* self, Body body) noexcept {
    Adapter& adapter = *static_cast<Adapter*>(self);
    try {
      return body(adapter);
    } catch (const std::exception& problem) {
      adapter.impl_.host().error(problem.what());
    } catch (...) {
      adapter.impl_.host().error("something that is no std::exception was thrown");
    }
    return MR_E_FAILED;
  }

  Verdict ask(Call& call) {
    switch (call.stage()) {
      case MR_STAGE_CONNECT: return impl_.connect(call);
      case MR_STAGE_HELO: return impl_.helo(call);
      case MR_STAGE_MAIL: return impl_.mail(call);
      case MR_STAGE_RCPT: return impl_.rcpt(call);
      case MR_STAGE_DATA: return impl_.data(call);
      case MR_STAGE_MESSAGE: return impl_.message(call);
      case MR_STAGE_UNKNOWN: return impl_.unknown(call);
      case MR_STAGE_ABORT: impl_.abort(call); break;
      default: break;
    }
    return {};
  }
  std::int32_t on_stage(const mr_event& event, mr_verdict& verdict) {
    if (event.stage == MR_STAGE_CLOSE) {
      delete static_cast<Box*>(*event.session_data);
      *event.session_data = nullptr;
      return MR_DONE;
    }
    Call call(impl_.host(), event);
    return ask(call).give(impl_.host().raw(), event.call, verdict);
  }
  static std::int32_t check(void* self, const mr_event* event, const mr_fact* attributes, std::uint64_t count, mr_string* action) {
    return guarded(self, [&](Adapter& a) -> std::int32_t {
      Call call(a.impl_.host(), *event);
      Attributes list;
      for (std::uint64_t i = 0; i < count; ++i) list.emplace_back(std::string(view(attributes[i].name)), std::string(view(attributes[i].value)));
      std::string& kept = call.box().action;
      kept = a.impl_.check(call, list);
      *action = text_of(kept);
      return MR_DONE;
    });
  }
  static constexpr mr_restriction_1 kRestriction{sizeof(mr_restriction_1), 0, &Adapter::check};

  F impl_;
  mr_filter filter_{};
};

template <typename F>
const mr_descriptor* descriptor() {
  static const mr_descriptor made = [] {
    const Description d = F::describe();
    mr_descriptor out{};
    out.struct_size = sizeof out;
    out.stages = d.stages | MR_STAGE_CLOSE;
    out.edits = d.edits;
    out.body_need = d.reads_body ? MR_BODY_WHOLE : MR_BODY_NONE;
    out.threads = MR_THREADS_FREE;
    out.traits = d.traits;
    out.max_concurrency = d.max_concurrency;
    out.status = d.status;
    out.posture = d.posture;
    out.id = d.id;
    out.version = d.version;
    out.summary = d.summary;
    out.required_interfaces = d.required_interfaces;
    out.config_schema = d.config_schema;
    out.before = d.before;
    out.after = d.after;
    return out;
  }();
  return &made;
}

// The filters of one plugin.
template <typename... Fs>
struct Plugin {
  static const mr_descriptor* describe(std::uint32_t index) {
    const mr_descriptor* const all[] = {descriptor<Fs>()...};
    return index < sizeof...(Fs) ? all[index] : nullptr;
  }
  static mr_filter* create(const mr_host* host, const char* id) {
    mr_filter* made = nullptr;
    try {
      (void)((std::strcmp(id, descriptor<Fs>()->id) == 0 && (made = (new Adapter<Fs>(host))->filter()) != nullptr) || ...);
    } catch (...) {
      return nullptr;
    }
    return made;
  }
  static const mr_entry* entry() {
    static const mr_entry made = {sizeof(mr_entry), MR_ABI_MAJOR,   MR_ABI_MINOR, MR_ABI_DRAFT, sizeof...(Fs), 0,
                                  MR_SDK_VERSION,   "plugin.hpp",   describe,     create};
    return &made;
  }
};

}  // namespace detail
}  // namespace sdk
}  // namespace millrace

#define MILLRACE_PLUGIN(...) \
  extern "C" MR_EXPORT const mr_entry* millrace_plugin_entry_v1(void) { return millrace::sdk::detail::Plugin<__VA_ARGS__>::entry(); }

#endif
