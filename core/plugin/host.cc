// The host calls and the small interfaces, session facts and DNS.  Each function is reached from foreign
// code: it checks what it gets and lets no exception out.
#include "core/plugin/host.h"

#include "core/base/strings.h"
#include "core/plugin/call.h"
#include "core/plugin/instance.h"

namespace millrace::plugin {

thread_local Call* running_call = nullptr;

namespace {

Instance& self(void* ctx) { return *static_cast<Instance*>(ctx); }

const void* get_interface(void* ctx, const char* id) noexcept {
  return id == nullptr ? nullptr : find_interface(self(ctx), id);
}

mr_rc complete(void* ctx, mr_handle handle, const mr_verdict* verdict) noexcept {
  Instance& instance = self(ctx);
  const auto call = find_call(instance, handle);
  if (!call) return MR_E_STALE;
  mr_rc rc = MR_OK;
  bool over = false;
  {
    const std::lock_guard lock(call->mutex);
    if (call->handle != handle) {
      ++instance.counters().stale;
      return MR_E_STALE;
    }
    if (!call->alive) {
      ++instance.counters().late;   // nobody waits any more; the call was kept for its texts only
      over = call->returned_pending;
      call->answered = true;
      rc = MR_E_STALE;
    } else if (call->answered) {
      ++instance.counters().stale;
      return MR_E_STALE;
    } else if (call->deadline.passed()) {   // the asker is about to say so itself
      ++instance.counters().late;
      call->answer(filter::Verdict::fail(instance.label() + ": no answer in time"));
      return MR_E_STALE;
    } else {
      auto checked = to_verdict(verdict, call->stage, call->context != nullptr && call->context->envelope.smtputf8);
      if (!checked) instance.misbehaving(checked.error().context);
      call->answer(checked ? std::move(*checked)
                           : filter::Verdict::fail(instance.label() + ": " + checked.error().context));
    }
  }
  if (over) instance.calls.remove(handle);
  return rc;
}

void log_text(void* ctx, mr_handle, std::int32_t level, mr_string text) noexcept {
  if (const auto view = to_view(text, 1 << 20)) self(ctx).log_line(level, *view);
}

std::uint64_t now_ns(void*) noexcept {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(SteadyClock::now().time_since_epoch()).count());
}

// --- mr.session/1 -------------------------------------------------------------------------------

std::optional<std::string> session_fact(const filter::SessionFacts& s, std::string_view name) {
  if (name == "client_address") return s.client_address;
  if (name == "client_port") return s.client_port;
  if (name == "client_name") return s.client_name;
  if (name == "reverse_client_name") return s.reverse_client_name;
  if (name == "server_address") return s.server_address;
  if (name == "server_port") return s.server_port;
  if (name == "service") return s.service;
  if (name == "protocol") return s.protocol;
  if (name == "helo_name") return s.helo_name;
  if (name == "tls_protocol" && s.tls) return s.tls->protocol;
  if (name == "tls_cipher" && s.tls) return s.tls->cipher;
  if (name == "sasl_method") return s.sasl_method;
  if (name == "sasl_username") return s.sasl_username;
  if (name == "sasl_sender") return s.sasl_sender;
  return {};
}

mr_rc session_get(void* ctx, mr_handle handle, const char* name, mr_string* value) noexcept {
  if (name == nullptr || value == nullptr) return MR_E_ARGUMENT;
  const auto state = self(ctx).sessions.find(handle);
  if (!state) return ++self(ctx).counters().stale, MR_E_STALE;
  std::shared_ptr<Call> call;
  {
    const std::lock_guard lock(state->mutex);
    call = state->current.lock();
  }
  if (!call) return MR_E_STALE;
  const std::lock_guard lock(call->mutex);
  if (!call->alive || call->context == nullptr) return MR_E_STALE;
  auto fact = session_fact(call->context->session, name);
  if (!fact || fact->empty()) return MR_E_ABSENT;
  *value = call->keep(std::move(*fact));
  return MR_OK;
}

constexpr mr_session_1 kSession{sizeof(mr_session_1), 0, session_get};

// --- mr.dns/1 -----------------------------------------------------------------------------------

constexpr std::uint64_t kForEver = std::uint64_t{1} << 62;

std::int32_t dns_status(net::DnsStatus status) {
  switch (status) {
    case net::DnsStatus::ok: return MR_DNS_OK;
    case net::DnsStatus::no_data: return MR_DNS_NO_DATA;
    case net::DnsStatus::no_name: return MR_DNS_NO_NAME;
    case net::DnsStatus::invalid: return MR_DNS_INVALID;
    case net::DnsStatus::temporary:
    case net::DnsStatus::bogus: break;
  }
  return MR_DNS_TEMPORARY;
}

mr_rc dns_query_until(void* ctx, mr_handle handle, mr_string name, std::uint32_t type, std::uint64_t deadline_ns,
                      mr_dns_answer* answer) noexcept {
  Instance& instance = self(ctx);
  const auto view = to_view(name, 255);
  if (answer == nullptr || !MR_HAS(mr_dns_answer, answer, record_count) || !view || view->empty() || type > 65535) {
    return MR_E_ARGUMENT;
  }
  const auto call = find_call(instance, handle);
  if (!call) return MR_E_STALE;
  if (running_call != call.get() || !net::in_fiber()) return MR_E_THREAD;
  net::Resolver* const resolver = instance.host().resolver ? instance.host().resolver() : nullptr;
  if (resolver == nullptr) return MR_E_FAILED;
  const std::string question(*view);
  const Deadline own = deadline_ns > kForEver ? Deadline::never() : Deadline{TimePoint(std::chrono::nanoseconds(deadline_ns))};
  {
    const std::lock_guard lock(call->mutex);
    if (!call->alive || call->handle != handle) return MR_E_STALE;
  }
  net::DnsAnswer found;
  {
    const Waiting waiting;
    found = resolver->query(question, static_cast<net::DnsType>(type), own.earlier(call->deadline));
  }
  const std::lock_guard lock(call->mutex);
  if (!call->alive) return MR_E_STALE;
  auto& records = call->records.emplace_back();
  for (net::DnsRecord& record : found.records) {
    records.push_back({record.ttl, record.preference, 0, call->keep(std::move(record.value))});
  }
  answer->status = dns_status(found.status);
  answer->is_secure = found.secure ? 1 : 0;
  answer->records = records.data();
  answer->record_count = records.size();
  return MR_OK;
}

mr_rc dns_query(void* ctx, mr_handle handle, mr_string name, std::uint32_t type, mr_dns_answer* answer) noexcept {
  return dns_query_until(ctx, handle, name, type, ~std::uint64_t{0}, answer);
}

constexpr mr_dns_1 kDns{sizeof(mr_dns_1), 0, dns_query, dns_query_until};

}  // namespace

mr_host make_host_table(Instance& instance) {
  return {sizeof(mr_host), MR_ABI_MAJOR, MR_ABI_MINOR, MR_ABI_DRAFT, &instance, get_interface, complete, log_text, now_ns};
}

const void* find_interface(const Instance& instance, std::string_view id) {
  if (id == "mr.session/1") return &kSession;
  if (id == "mr.msg/1") return &message_interface();
  if (id == "mr.mime/1") return &mime_interface();
  if (id == "mr.dns/1" && instance.host().resolver) return &kDns;
  return find_service(instance, id);
}

std::shared_ptr<Call> find_call(Instance& instance, mr_handle handle) {
  auto call = instance.calls.find(handle);
  if (!call) ++instance.counters().stale;
  return call;
}

std::shared_ptr<Call> find_message(Instance& instance, mr_handle message) {
  return find_call(instance, message - kMessageKind);
}

}  // namespace millrace::plugin
