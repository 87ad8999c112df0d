// What a plugin's author derives from: Filter, and the Description of one.
#ifndef MILLRACE_SDK_FILTER_HPP
#define MILLRACE_SDK_FILTER_HPP

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "millrace/sdk/call.hpp"
#include "millrace/sdk/verdict.hpp"

namespace millrace {
namespace sdk {

// What describe() returns.  Stages: what is not declared is not asked (close always is).
struct Description {
  const char* id;
  const char* version;
  const char* summary;
  std::uint32_t stages = 0, edits = 0, traits = 0;
  bool reads_body = false;             // body(), parts()
  std::uint32_t max_concurrency = 0;   // calls of one instance at once; 0: any number
  const char* config_schema = nullptr;
  std::uint32_t status = MR_STATUS_ALPHA, posture = MR_POSTURE_ROBUST;
  const char* const* required_interfaces = nullptr;
  const char* const* before = nullptr;
  const char* const* after = nullptr;
};

// An attempt to deliver to one recipient.
struct Delivery {
  int status = MR_DELIVERY_SENT;
  std::string_view queue_id, sender, recipient, original_recipient, relay, status_code, text;   // of this call
  std::uint64_t delay_us = 0;
};

// A lookup table that a plugin provides.
class TableBase {
 public:
  virtual ~TableBase() = default;
  // nullopt: not there.  Throw when the table cannot say: that is a temporary error.  It must not wait.
  virtual std::optional<std::string> find(std::string_view key) = 0;
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

  // Told of deliveries, when observes_deliveries() says so.
  virtual bool observes_deliveries() const { return false; }
  virtual void delivered(const Delivery&) {}

  // A type of lookup table, called as the plugin ("geo:NAME"), when provides_tables() says so.  nullptr after host().error(…):
  // there is no such table.
  virtual bool provides_tables() const { return false; }
  virtual std::unique_ptr<TableBase> open_table(std::string_view) { return nullptr; }

  const Host& host() const { return *host_; }
  std::unique_ptr<Host> host_;   // set before configure()
};

}  // namespace sdk
}  // namespace millrace

#endif
