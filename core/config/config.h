// main.cf and master.cf as one immutable snapshot.  A reload makes a new one.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/result.h"
#include "core/config/params.h"

namespace millrace::config {

struct Location {
  std::string file;   // as given: "/etc/postfix/main.cf"
  int line = 0;       // of the first line of the entry; 0: none in particular
  std::string to_text() const;   // "/etc/postfix/main.cf, line 3"
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
  bool disabled = false;               // by master_service_disable
  Location where;
  std::vector<std::string> fields;     // as written: 8 fields, then the arguments without their braces
};

// Where an inet service listens: "smtp", "127.0.0.1:10025", "[::1]:25", "mx.example:submission".  An empty
// host means all that inet_interfaces names; the port is a number or a name of services(5).
struct Endpoint {
  std::string host, port;
};
Result<Endpoint> parse_inet_name(std::string_view service_name);

// What start-up and `check` report.  Errors refuse the start.
struct Findings {
  struct Line {
    bool is_error;
    Location where;
    std::string parameter, text;
    // "/etc/postfix/main.cf, line 3: smtpd_timeout: bad time value: 5x"
    std::string to_text() const;
  };
  std::vector<Line> lines;
  bool has_errors() const;
  // The same finding a second time is left out: services share main.cf's values.
  void error(Location where, std::string parameter, std::string text);
  void warning(Location where, std::string parameter, std::string text);
};

class Config {
 public:
  // Reads DIR/main.cf and DIR/master.cf.  Never throws; all problems go to `findings`.  With errors
  // there the value is still usable for printing.
  static std::shared_ptr<const Config> load(const std::string& directory, Findings& findings);
  // The same from text, for tests.  `directory` is the value of config_directory.
  static std::shared_ptr<const Config> from_text(std::string_view main_cf, std::string_view master_cf,
                                                 Findings& findings,
                                                 const std::string& directory = "/etc/postfix");
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
  // $name, ${name?text}, ${name?{a}:{b}}, ${{x} == {y} ? {a} : {b}} (postconf(5)).  Text that cannot be
  // expanded gives "": load() has reported it.
  std::string expand(std::string_view text, const Service* service = nullptr) const;
  // The same with the reason.  Errc::config.
  Result<std::string> try_expand(std::string_view text, const Service* service = nullptr) const;
  // <transport>_<suffix>, else default_<suffix>: transport_number("smtp", "destination_concurrency_limit").
  std::int64_t transport_number(std::string_view transport, std::string_view suffix) const;
  std::chrono::seconds transport_time(std::string_view transport, std::string_view suffix) const;
  // The service of that name and type "unix"; nullptr when there is none.
  const Service* transport(std::string_view name) const;

  // For `conf`: the built-in default as written, nullopt for a name without one; the names with a
  // default (sorted); the names that main.cf sets (sorted).
  std::optional<std::string> default_of(std::string_view name) const;
  std::vector<std::string> known_names() const;
  std::vector<std::string> set_names() const;

 private:
  Config();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Pure parsers behind it, each fuzzed.
std::optional<std::chrono::seconds> parse_time(std::string_view text, char default_unit = 's');
std::optional<std::int64_t> parse_integer(std::string_view text);
std::optional<bool> parse_bool(std::string_view text);
// Macro expansion with any look-up; nullopt in `lookup` means undefined.  What a look-up gives is text as
// it stands unless `recurse` says so: values from a client must never be expanded.  Bounded in depth,
// output and work.  Error: Errc::config, text of what is wrong.
enum class Recurse { no, yes };
Result<std::string> expand_macros(std::string_view text,
                                  const std::function<std::optional<std::string>(std::string_view)>& lookup,
                                  Recurse recurse = Recurse::no);

}  // namespace millrace::config
