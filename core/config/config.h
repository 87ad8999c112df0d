// main.cf and master.cf as one immutable snapshot.  A reload makes a new one.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/config/params.h"

namespace millrace::config {

struct Location {
  std::string file;   // as given: "/etc/postfix/main.cf"
  int line = 0;       // of the first line of the entry
  std::string to_text() const;   // "main.cf, line 3"
};

// One entry of master.cf (master(5)).
struct Service {
  std::string name, type;              // "smtp", "inet" | "unix" | "unix-dgram" | "fifo" | "pass"
  bool is_private = true, unprivileged = true, chroot = false;
  int wakeup_s = 0;
  bool wakeup_if_used = false;
  int process_limit = -1;              // maxproc; -1: default_process_limit, 0: no limit
  std::string command;                 // "smtpd"
  std::vector<std::string> arguments;  // all but -o and -v
  std::vector<std::pair<std::string, std::string>> overrides;   // -o name=value, in order
  int verbosity = 0;                   // -v
  Location where;
};

// What start-up and `check` report.  Errors refuse the start.
struct Findings {
  struct Line { bool is_error; Location where; std::string parameter, text; };
  std::vector<Line> lines;
  bool has_errors() const;
  void error(Location where, std::string parameter, std::string text);
  void warning(Location where, std::string parameter, std::string text);
};

class Config {
 public:
  // Reads DIR/main.cf and DIR/master.cf.  Never throws; all problems go to `findings`.  With errors
  // there the value is still usable for printing.
  static std::shared_ptr<const Config> load(const std::string& directory, Findings& findings);
  // For tests and tools: main.cf text alone.
  static std::shared_ptr<const Config> from_text(std::string_view main_cf, std::string_view master_cf,
                                                 Findings& findings);
  ~Config();

  const std::string& directory() const;
  const Params& params() const;                      // main.cf alone
  const std::vector<Service>& services() const;
  // main.cf with the service's -o values on top.  Problems go to `findings` (when given).
  std::shared_ptr<const Params> params_for(const Service& service, Findings* findings) const;

  // Value of any parameter, known, derived (smtp_destination_concurrency_limit) or user-defined:
  // expanded; nullopt when neither set nor known.  `service` adds its -o values.
  std::optional<std::string> value(std::string_view name, const Service* service = nullptr) const;
  std::optional<std::string> raw(std::string_view name, const Service* service = nullptr) const;
  bool is_set(std::string_view name) const;          // explicitly, in main.cf
  Location where(std::string_view name) const;       // file only when not set
  // $name, ${name?text}, ${name?{a}:{b}}, ${{x} == {y} ? {a} : {b}} (postconf(5)).
  std::string expand(std::string_view text, const Service* service = nullptr) const;
  // <transport>_<suffix>, else default_<suffix>: transport_number("smtp", "destination_concurrency_limit").
  std::int64_t transport_number(std::string_view transport, std::string_view suffix) const;
  std::chrono::seconds transport_time(std::string_view transport, std::string_view suffix) const;
  // The service of that name and type "unix"; nullptr when there is none.
  const Service* transport(std::string_view name) const;

 private:
  Config();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Pure parsers behind it, each fuzzed.
std::optional<std::chrono::seconds> parse_time(std::string_view text, char default_unit = 's');
std::optional<std::int64_t> parse_integer(std::string_view text);
std::optional<bool> parse_bool(std::string_view text);
// Macro expansion with any look-up; nullopt in `lookup` means undefined.  Error: text of what is wrong.
Result<std::string> expand_macros(std::string_view text,
                                  const std::function<std::optional<std::string>(std::string_view)>& lookup);

}  // namespace millrace::config
