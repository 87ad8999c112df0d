// A filter of a plugin, created, configured and started: the C side of core/plugin/filter.h.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "core/base/log.h"
#include "core/filter/chain.h"
#include "core/net/dns.h"
#include "core/net/fiber.h"
#include "core/plugin/handles.h"
#include "core/plugin/library.h"
#include "core/plugin/metrics.h"
#include "core/plugin/state.h"

namespace millrace::map {
class Table;
class TableSet;
}  // namespace millrace::map

namespace millrace::plugin {

struct Call;
struct SessionState;
struct Timer;

// What a plugin may use of the host.
struct Host {
  std::function<net::Resolver*()> resolver;   // of the running loop; without it "mr.dns/1" is absent
  log::Logger log;
  std::int64_t body_limit = 0;                // octets of a replacement body; 0: none
  map::TableSet* tables = nullptr;            // used while a filter starts; without it "mr.table/1" is absent
  std::shared_ptr<State> state;               // without it "mr.kv/1" is absent
  SharedMetrics* metrics = nullptr;           // what all processes count; nullptr: this one is alone
  std::shared_ptr<const std::map<std::string, std::string>> private_files;   // by path; while a filter starts
  std::string authserv_id;                    // of the Authentication-Results field; "" and it is absent
};

struct Counters {
  std::atomic<std::uint64_t> calls{0}, failures{0}, late{0}, stale{0}, misbehaved{0};
};

class Instance : public std::enable_shared_from_this<Instance> {
 public:
  // Creates, configures (with a JSON object) and starts.  Errors: config, with what the plugin logged.
  static Result<std::shared_ptr<Instance>> make(std::shared_ptr<const Library> library, const mr_descriptor& descriptor,
                                                const std::string& json, Host host);
  Instance(std::shared_ptr<const Library> library, const mr_descriptor& descriptor, Host host);
  ~Instance();   // stops and destroys
  Instance(const Instance&) = delete;

  const std::string& label() const { return label_; }     // "plugin sample", for log lines
  const mr_descriptor& descriptor() const { return descriptor_; }
  const mr_filter& filter() const { return *filter_; }
  const Host& host() const { return host_; }
  bool declares(std::uint32_t stage) const { return (descriptor_.stages & stage) != 0; }
  net::Gate& gate() { return gate_; }
  Counters& counters() { return counters_; }

  HandleTable<Call> calls{1};
  HandleTable<SessionState> sessions{3};
  HandleTable<Timer> timers{4};
  HandleTable<map::Table> tables{5};
  std::map<std::string, mr_handle> open_tables;   // by name [load]

  // What the plugin counts ("mr.metrics/1"). [any thread]
  bool set_metric(const std::string& name, double value, bool add);
  std::map<std::string, double> metrics() const;

  bool is_loading() const { return load_log_ != nullptr; }

  // Says so in the log, and counts.
  void misbehaving(std::string_view what);
  void log_line(std::int32_t level, std::string_view text);
  static const mr_host* host_of(Instance& instance) { return &instance.host_table_; }

 private:
  std::shared_ptr<const Library> library_;
  const mr_descriptor& descriptor_;
  Host host_;
  std::string label_;
  net::Gate gate_;
  Counters counters_;
  mr_host host_table_{};
  mr_filter* filter_ = nullptr;
  mutable std::mutex metrics_mutex_;
  std::map<std::string, double> metrics_;   // under metrics_mutex_
  std::string* load_log_ = nullptr;   // while loading: what it complains of
  bool started_ = false;
};

// The tables behind get_interface.
const void* find_interface(const Instance& instance, std::string_view id);
const mr_msg_1& message_interface();
const mr_mime_1& mime_interface();
// "mr.timer/1", "mr.kv/1", "mr.metrics/1", "mr.auth_results/1", "mr.table/1", "mr.worker/1"; nullptr: none of them.
const void* find_service(const Instance& instance, std::string_view id);
// No timer of it fires any more.
void stop_timers(Instance& instance);

// The call behind a handle, of this instance; whether it is still that call is to be asked again under its lock.
std::shared_ptr<Call> find_call(Instance& instance, mr_handle handle);
// A message's handle is its call's with another kind.
constexpr mr_handle kMessageKind = mr_handle{1} << 60;
constexpr mr_handle message_handle(mr_handle call) { return call + kMessageKind; }
std::shared_ptr<Call> find_message(Instance& instance, mr_handle message);

}  // namespace millrace::plugin
