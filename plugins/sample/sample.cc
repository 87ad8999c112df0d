// A sample plugin on the bare C ABI: see README.md.
//
// Refuses at RCPT, adds a header at the end of the message.  No state but per session; no exception leaves.
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/plugin.h"

namespace {

std::string_view view(mr_string text) { return {text.data, static_cast<std::size_t>(text.size)}; }
mr_string text_of(std::string_view text) { return {text.data(), text.size()}; }

bool same(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

// "user@", "@domain" or a whole address.
bool matches(std::string_view pattern, std::string_view address) {
  const std::size_t at = address.rfind('@');
  if (at == address.npos) return false;
  if (pattern.ends_with('@')) return same(pattern, address.substr(0, at + 1));
  if (pattern.starts_with('@')) return same(pattern, address.substr(at));
  return same(pattern, address);
}

// "192.0.2.1" and "zone" make "1.2.0.192.zone"; "" for what is no IPv4 address.
std::string listing_name(std::string_view address, const std::string& zone) {
  std::string out;
  int parts = 0;
  while (!address.empty()) {
    const std::size_t dot = address.find('.');
    const std::string_view part = address.substr(0, dot);
    if (part.empty() || part.size() > 3 || part.find_first_not_of("0123456789") != part.npos) return {};
    out.insert(0, std::string(part) + ".");
    ++parts;
    address = dot == address.npos ? std::string_view() : address.substr(dot + 1);
  }
  return parts == 4 ? out + zone : std::string();
}

// What is remembered of a session: mr_event.session_data.
struct Session {
  std::optional<bool> listed;
};

class Sample {
 public:
  explicit Sample(const mr_host& host)
      : host_(host),
        session_(static_cast<const mr_session_1*>(host.get_interface(host.ctx, "mr.session/1"))),
        message_(static_cast<const mr_msg_1*>(host.get_interface(host.ctx, "mr.msg/1"))),
        dns_(static_cast<const mr_dns_1*>(host.get_interface(host.ctx, "mr.dns/1"))) {
    filter_.struct_size = sizeof filter_;
    filter_.self = this;
    filter_.configure = [](void* self, mr_string json) { return guarded(self, [&](Sample& s) { return s.configure(view(json)); }); };
    filter_.on_stage = [](void* self, const mr_event* event, mr_verdict* verdict) {
      return guarded(self, [&](Sample& s) { return s.on_stage(*event, *verdict); });
    };
    filter_.destroy = [](void* self) { delete static_cast<Sample*>(self); };
  }
  mr_filter* filter() { return &filter_; }

 private:
  // Nothing may be thrown across the border.
  template <typename F>
  static std::int32_t guarded(void* self, F body) {
    try {
      return body(*static_cast<Sample*>(self));
    } catch (const std::exception& problem) {
      static_cast<Sample*>(self)->log(MR_LOG_ERROR, problem.what());
      return MR_E_FAILED;
    }
  }

  void log(std::int32_t level, std::string_view text) { host_.log(host_.ctx, 0, level, text_of(text)); }

  mr_rc configure(std::string_view json) {
    const auto keys = nlohmann::json::parse(json);
    std::string_view rest;
    const std::string reject = keys.value("reject_recipient", "");
    for (rest = reject; !rest.empty();) {
      const std::size_t from = rest.find_first_not_of(" \t");
      if (from == rest.npos) break;
      const std::size_t to = std::min(rest.find_first_of(" \t", from), rest.size());
      reject_.emplace_back(rest.substr(from, to - from));
      if (reject_.back().find('@') == std::string::npos) {
        log(MR_LOG_ERROR, "reject_recipient: \"" + reject_.back() + "\" has no @");
        return MR_E_FAILED;
      }
      rest.remove_prefix(to);
    }
    zone_ = keys.value("dnsbl", "");
    header_ = keys.value("header", "");
    if (!zone_.empty() && dns_ == nullptr) {
      log(MR_LOG_ERROR, "dnsbl needs mr.dns/1");
      return MR_E_FAILED;
    }
    return MR_OK;
  }

  std::int32_t on_stage(const mr_event& event, mr_verdict& verdict) {
    switch (event.stage) {
      case MR_STAGE_RCPT: return at_rcpt(event, verdict);
      case MR_STAGE_MESSAGE: return at_message(event);
      case MR_STAGE_CLOSE: delete static_cast<Session*>(*event.session_data); return MR_DONE;
      default: return MR_DONE;
    }
  }

  std::int32_t at_rcpt(const mr_event& event, mr_verdict& verdict) {
    mr_string address;
    if (message_->recipient_at(host_.ctx, event.message, 0, &address) != MR_OK) return MR_E_FAILED;
    for (const std::string& pattern : reject_) {
      if (!matches(pattern, view(address))) continue;
      verdict.action = MR_REJECT;
      verdict.smtp_code = 550;
      verdict.enhanced = text_of("5.7.1");
      verdict.reason_id = text_of("sample-recipient");
      // A text made here dies when this function returns: it is handed over at once.
      const std::string text = "<" + std::string(view(address)) + ">: Recipient refused by policy";
      verdict.text = text_of(text);
      host_.complete(host_.ctx, event.call, &verdict);
      return MR_PENDING;
    }
    if (is_listed(event)) {
      verdict.action = MR_REJECT;
      verdict.smtp_code = 554;
      verdict.enhanced = text_of("5.7.1");
      verdict.text = text_of(listed_text_);
      verdict.reason_id = text_of("sample-dnsbl");
    }
    return MR_DONE;
  }

  // Asked once a session.  While the answer is on its way other sessions go on.
  bool is_listed(const mr_event& event) {
    if (zone_.empty()) return false;
    if (*event.session_data == nullptr) *event.session_data = new Session;
    auto& listed = static_cast<Session*>(*event.session_data)->listed;
    if (listed) return *listed;
    mr_string client;
    if (session_->get(host_.ctx, event.session, "client_address", &client) != MR_OK) return false;
    const std::string name = listing_name(view(client), zone_);
    if (name.empty()) return false;
    mr_dns_answer answer{};
    answer.struct_size = sizeof answer;
    if (dns_->query(host_.ctx, event.call, text_of(name), MR_DNS_A, &answer) != MR_OK) return false;
    if (answer.status == MR_DNS_TEMPORARY) return false;   // not remembered: asked again
    listed = answer.status == MR_DNS_OK && answer.record_count > 0;
    return *listed;
  }

  std::int32_t at_message(const mr_event& event) {
    if (header_.empty()) return MR_DONE;
    std::string value = "client=";
    mr_string fact;
    value += session_->get(host_.ctx, event.session, "client_address", &fact) == MR_OK ? view(fact) : "local";
    if (session_->get(host_.ctx, event.session, "helo_name", &fact) == MR_OK) value.append(" helo=").append(view(fact));
    return message_->header_add(host_.ctx, event.message, text_of(header_), text_of(value)) == MR_OK ? MR_DONE : MR_E_FAILED;
  }

  const mr_host& host_;
  const mr_session_1* session_;
  const mr_msg_1* message_;
  const mr_dns_1* dns_;
  mr_filter filter_{};
  std::vector<std::string> reject_;
  std::string zone_, header_;
  const std::string listed_text_ = "Service unavailable; your address is listed";
};

const char* const kNeeds[] = {"mr.session/1", "mr.msg/1", nullptr};

mr_descriptor make_descriptor() {
  mr_descriptor d{};
  d.struct_size = sizeof d;
  d.stages = MR_STAGE_RCPT | MR_STAGE_MESSAGE | MR_STAGE_CLOSE;
  d.edits = MR_EDIT_HEADERS;
  d.body_need = MR_BODY_NONE;
  d.threads = MR_THREADS_FREE;
  d.status = MR_STATUS_ALPHA;
  d.posture = MR_POSTURE_ROBUST;
  d.id = "sample";
  d.version = "0.1.0";
  d.summary = "refuses recipients and listed clients, adds a header";
  d.required_interfaces = kNeeds;
  d.config_schema = R"({
    "reject_recipient": {"type": "string", "default": "", "doc": "user@, @domain or addresses, between blanks"},
    "dnsbl": {"type": "string", "default": "", "doc": "zone asked for the client's IPv4 address"},
    "header": {"type": "string", "default": "", "doc": "name of a header to add"}})";
  return d;
}
const mr_descriptor kDescriptor = make_descriptor();

const mr_descriptor* describe(std::uint32_t index) { return index == 0 ? &kDescriptor : nullptr; }

mr_filter* create(const mr_host* host, const char*) {
  try {
    return (new Sample(*host))->filter();
  } catch (const std::exception&) {
    return nullptr;
  }
}

const mr_entry kEntry = {sizeof(mr_entry), MR_ABI_MAJOR, MR_ABI_MINOR, MR_ABI_DRAFT, 1, 0,
                         MR_SDK_VERSION,   "bundled",    describe,     create};

}  // namespace

extern "C" MR_EXPORT const mr_entry* millrace_plugin_entry_v1(void) { return &kEntry; }
