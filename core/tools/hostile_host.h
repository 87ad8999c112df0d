// A host as a plugin must survive it: every interface of the ABI over made-up data, each call failing on demand.
// Used by `millrace plugin check` in a process of its own.  It never answers what the ABI does not allow.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/plugin/verdict.h"
#include "millrace/plugin.h"

namespace millrace::tools {

struct HostMood {
  std::uint32_t host_size = sizeof(mr_host);   // as told; larger is a newer host
  // An older host: interfaces have their first so many functions, and what lies behind them is no function.
  std::uint32_t functions = ~0u;
  std::set<std::string> missing;               // interfaces that are not there
  int fail_at = 0;                             // the n-th call of any interface fails; 0: none
  bool too_late = false;                       // every call about a session or message: MR_E_STALE
};

// What the plugin is shown of a session.
struct HostInput {
  std::string argument, command;
  std::vector<std::string> parameters;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
};

class HostileHost {
 public:
  HostileHost(const mr_descriptor& descriptor, HostMood mood);
  HostileHost(const HostileHost&) = delete;

  const mr_host* table() { return &space_.host; }
  void problem(const std::string& text);
  std::vector<std::string> take_problems();
  int calls() const { return calls_; }

  // One filter, from create() on; false: it would not start (`refusal` says with which step).
  bool open(const mr_entry& entry, const std::string& json);
  void close();
  const std::string& refusal() const { return refusal_; }

  enum class Patience { answer, cancel };   // wait for complete(), or cancel at once
  // One stage of a session.  `session_data` is the session's.
  void ask(std::uint32_t stage, mr_handle session, void** session_data, const HostInput& input, bool deadline_passed,
           Patience patience);
  void fire_timers();
  // What it offers besides being asked: an observer's and a table provider's functions, with texts of all kinds.
  void use_offers(const HostInput& input);

  // The host's side of the functions; public for the tables.
  mr_rc enter(bool about_session);
  mr_string keep(std::string text);
  const void* find(std::string_view id);
  mr_rc answered(mr_handle call, const mr_verdict* verdict);
  bool reads_body();   // as declared
  mr_rc edit(mr_handle message, std::uint32_t kind);
  bool is_current(mr_handle handle) const { return handle == current_ && handle != 0; }

  const HostInput* input = nullptr;
  std::map<std::string, std::string> state;
  std::vector<std::pair<void (*)(void*), void*>> timers;

 private:
  struct {
    mr_host host;
    char beyond[256];   // a newer host's fields, to a plugin that looks
  } space_{};
  const mr_descriptor& descriptor_;
  HostMood mood_;
  mr_filter* filter_ = nullptr;
  std::string refusal_;
  template <typename Table>
  void cut(Table& table);

  mr_session_1 session_;
  mr_msg_1 message_;
  mr_mime_1 mime_;
  mr_dns_1 dns_;
  mr_timer_1 timer_;
  mr_kv_1 kv_;
  mr_metrics_1 metrics_;
  mr_auth_results_1 auth_;
  mr_table_1 table_;
  mr_worker_1 worker_;

  mutable std::recursive_mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<std::string> kept_;
  std::set<std::string> problems_;
  std::uint32_t stage_ = 0;
  std::uint64_t deadline_ns_ = 0;
  mr_handle current_ = 0, last_ = 0;
  bool is_answered_ = false, is_stuck_ = false;
  std::atomic<int> calls_{0};
};

}  // namespace millrace::tools
