// The host as a filter of plugin.hpp sees it: its interfaces, which may be absent, and the log.
#ifndef MILLRACE_SDK_HOST_HPP
#define MILLRACE_SDK_HOST_HPP

#include <cstdint>
#include <string_view>

#include "millrace/sdk/text.hpp"

namespace millrace {
namespace sdk {

// The host as a filter sees it.
class Host {
 public:
  explicit Host(const mr_host& host)
      : host_(&host),
        session_(interface<mr_session_1>("mr.session/1")),
        message_(interface<mr_msg_1>("mr.msg/1")),
        mime_(interface<mr_mime_1>("mr.mime/1")),
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
  const mr_mime_1* mime() const { return mime_; }
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
  const mr_mime_1* mime_;
  const mr_dns_1* dns_;
  const mr_timer_1* timer_;
  const mr_kv_1* state_;
  const mr_metrics_1* metrics_;
  const mr_auth_results_1* auth_results_;
  const mr_table_1* table_;
  const mr_worker_1* worker_;
};

}  // namespace sdk
}  // namespace millrace

#endif
