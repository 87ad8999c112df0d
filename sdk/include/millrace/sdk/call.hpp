// One call at a stage: what is known of session and message, edits, and waiting for others.  Every host function is looked
// for before it is used; where it is absent the answer is empty or false.
#ifndef MILLRACE_SDK_CALL_HPP
#define MILLRACE_SDK_CALL_HPP

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/sdk/host.hpp"

namespace millrace {
namespace sdk {

namespace detail {

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

struct Part {
  unsigned depth = 0;
  std::string type, encoding, disposition, filename, charset;
  std::uint64_t body_offset = 0, body_size = 0;   // for Call::body(): as it came
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
    out.resize(static_cast<std::size_t>(got < size ? got : size));
    return out;
  }

  // The parts of the message, itself first; empty where the host cannot tell.
  std::vector<Part> parts() const {
    std::vector<Part> out;
    const mr_mime_1* const m = host_.mime();
    mr_mime_part one{};
    one.struct_size = sizeof one;
    for (std::uint64_t i = 0; MR_HAS(mr_mime_1, m, part_at) && m->part_at(host_.ctx(), event_.message, i, &one) == MR_OK; ++i) {
      out.push_back({one.depth, std::string(view(one.type)), std::string(view(one.encoding)), std::string(view(one.disposition)),
                     std::string(view(one.filename)), std::string(view(one.charset)), one.body_offset, one.body_size});
    }
    return out;
  }
  // A part's body, decoded, from `offset` on, at most `size` octets; empty at the end, nullopt when it cannot be read.
  std::optional<std::string> part_body(std::uint64_t index, std::uint64_t offset, std::size_t size = 64 * 1024) const {
    std::string out(size, '\0');
    std::uint64_t got = 0;
    const mr_mime_1* const m = host_.mime();
    if (!MR_HAS(mr_mime_1, m, part_read) || m->part_read(host_.ctx(), event_.message, index, offset, &out[0], size, &got) != MR_OK) return {};
    out.resize(static_cast<std::size_t>(got < size ? got : size));
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

}  // namespace sdk
}  // namespace millrace

#endif
