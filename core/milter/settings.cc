// Reading milter settings: see settings.h.
#include "core/milter/settings.h"

#include "core/base/strings.h"
#include "core/filter/element.h"
#include "core/milter/session.h"

namespace millrace::milter {
namespace {

using filter::Verdict;

constexpr std::string_view kSeparators = ", \t\r\n";

// Reads the settings of one service; collects what is wrong.
class Reader {
 public:
  Reader(const config::Params& params, const Host& host) : params_(params), host_(host) {}

  std::shared_ptr<filter::Filter> read(std::string_view element, bool with_prefix);
  const std::string& problem() const { return problem_; }

 private:
  bool wrong(std::string text) {
    if (problem_.empty()) problem_ = std::move(text);
    return false;
  }
  bool service(std::string_view text);
  bool block_key(const filter::KeyValue& pair);
  bool time(const std::string& name, std::string_view value, std::chrono::seconds& out);
  bool default_action(std::string_view word);
  bool protocol(std::string_view words);
  bool macro_lists();

  const config::Params& params_;
  const Host& host_;
  Settings settings_;
  filter::Options options_;
  std::string problem_;
};

std::shared_ptr<filter::Filter> Reader::read(std::string_view element, bool with_prefix) {
  settings_.connect_timeout = params_.milter_connect_timeout;
  settings_.command_timeout = params_.milter_command_timeout;
  settings_.content_timeout = params_.milter_content_timeout;
  settings_.body_limit = params_.message_size_limit;
  if (!default_action(params_.milter_default_action) || !protocol(params_.milter_protocol) || !macro_lists()) return {};

  const auto parsed = filter::parse_element(element);
  if (!parsed) return wrong(parsed.error().context), nullptr;
  std::string_view name = parsed->name;
  if (with_prefix) {
    if (!name.starts_with("milter:")) return wrong("\"" + parsed->name + "\" does not begin with milter:"), nullptr;
    name.remove_prefix(7);
  }
  if (!service(name)) return {};
  for (const filter::KeyValue& pair : parsed->keys) {
    if (!block_key(pair)) return {};
  }
  settings_.header_checks = host_.header_checks;
  settings_.cleanup_log = host_.cleanup_log;
  for (auto& action : options_.class_actions) {
    if (action && action->stops()) action->reason_id = action->refuses() ? "milter-reject" : "milter-hold";
  }
  return make_milter(std::move(settings_), std::move(options_));
}

bool Reader::service(std::string_view text) {
  settings_.service = text;
  if (text.starts_with("unix:") || text.starts_with("local:")) {
    const std::string_view path = text.substr(text.find(':') + 1);
    if (path.empty()) return wrong("no path in \"" + settings_.service + "\"");
    settings_.is_unix = true;
    // Postfix's daemons run in the queue directory: relative names are below it, chroot or not.
    const bool below = host_.chroot || path.front() != '/';
    settings_.path = below ? params_.queue_directory + "/" + std::string(path) : std::string(path);
    return true;
  }
  if (!text.starts_with("inet:")) {
    return wrong("\"" + settings_.service + "\": a milter is inet:host:port or unix:path");
  }
  const std::string_view address = text.substr(5);
  const std::size_t colon = address.rfind(':');
  if (colon == address.npos || colon == 0 || colon + 1 == address.size()) {
    return wrong("\"" + settings_.service + "\": no host:port");
  }
  std::string_view host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  settings_.host = host;
  settings_.port = address.substr(colon + 1);
  if (settings_.host.find('@') != std::string::npos || settings_.port.find('@') != std::string::npos) {
    return wrong("\"" + settings_.service + "\": write inet:host:port, not inet:port@host");
  }
  return true;
}

bool Reader::block_key(const filter::KeyValue& pair) {
  const auto& [name, value] = pair;
  if (name == "connect_timeout") return time(name, value, settings_.connect_timeout);
  if (name == "command_timeout") return time(name, value, settings_.command_timeout);
  if (name == "content_timeout") return time(name, value, settings_.content_timeout);
  if (name == "default_action") return default_action(value);
  if (name == "pool" || name == "pool_idle") {
    if (name == "pool_idle") return time(name, value, settings_.pool_idle);
    const auto on = config::parse_bool(value);
    if (!on) return wrong("pool: \"" + value + "\" is neither yes nor no");
    settings_.pool = *on;
    return true;
  }
  if (name == "protocol") return protocol(value);
  const auto taken = filter::set_common_option(options_, pair);
  if (!taken) return wrong(taken.error().context);
  return *taken || wrong("unknown milter setting \"" + name + "\"");
}

bool Reader::time(const std::string& name, std::string_view value, std::chrono::seconds& out) {
  const auto span = config::parse_time(value);
  if (!span) return wrong(name + ": \"" + std::string(value) + "\" is not a time");
  out = *span;
  return true;
}

// Postfix tells a filter that fails from one that asks for the impossible by the code alone.
bool Reader::default_action(std::string_view word) {
  auto verdict = filter::default_action_verdict(word);
  if (!verdict) {
    return wrong("default_action \"" + std::string(word) + "\" is none of accept, reject, tempfail, quarantine, shutdown");
  }
  if (verdict->stops()) verdict->reason_id = verdict->refuses() ? "milter-reject" : "milter-hold";
  options_.default_action = *verdict;
  return true;
}

bool Reader::protocol(std::string_view text) {
  settings_.version = 0;
  settings_.no_header_reply = false;
  for (const std::string_view word : split(text, kSeparators)) {
    if (iequals(word, "no_header_reply")) {
      settings_.no_header_reply = true;
      continue;
    }
    if (word != "2" && word != "3" && word != "4" && word != "6") {
      return wrong("protocol \"" + std::string(word) + "\" is none of 2, 3, 4, 6, no_header_reply");
    }
    settings_.version = static_cast<std::uint32_t>(word[0] - '0');
  }
  return settings_.version != 0 || wrong("no protocol version");
}

bool Reader::macro_lists() {
  MacroSettings& macros = settings_.macros;
  macros.host_name = params_.myhostname;
  macros.daemon_name = params_.milter_macro_daemon_name;
  macros.version = params_.milter_macro_v;
  macros.route = host_.route;
  const auto set = [&](MacroStage stage, const std::string& value) {
    macros.lists[static_cast<std::size_t>(stage)] = parse_macro_names(value);
  };
  set(MacroStage::connect, params_.milter_connect_macros);
  set(MacroStage::helo, params_.milter_helo_macros);
  set(MacroStage::mail, params_.milter_mail_macros);
  set(MacroStage::rcpt, params_.milter_rcpt_macros);
  set(MacroStage::data, params_.milter_data_macros);
  set(MacroStage::end_of_headers, params_.milter_end_of_header_macros);
  set(MacroStage::end_of_message, params_.milter_end_of_data_macros);
  set(MacroStage::unknown, params_.milter_unknown_command_macros);
  const auto defaults = filter::split_braced(params_.milter_macro_defaults);
  if (!defaults) return wrong("milter_macro_defaults: unbalanced { }");
  for (const std::string& element : *defaults) {
    auto pair = filter::parse_assignment(element);
    if (!pair) return wrong("milter_macro_defaults: \"" + element + "\" is not name=value");
    std::string& name = pair->first;
    if (name.size() > 1 && name.front() != '{') name = "{" + name + "}";
    macros.defaults.push_back(std::move(*pair));
  }
  return true;
}

std::shared_ptr<filter::Filter> read_element(const config::Config& config, const config::Params& params,
                                             std::string_view element, bool with_prefix, config::Findings& findings,
                                             const Host& host) {
  Reader reader(params, host);
  auto filter = reader.read(element, with_prefix);
  if (!filter) {
    const config::Location where = host.where.file.empty() ? config.where(host.parameter) : host.where;
    findings.error(where, host.parameter, reader.problem());
  }
  return filter;
}

}  // namespace

std::vector<std::shared_ptr<filter::Filter>> make_filters(const config::Config& config, const config::Params& params,
                                                          std::string_view value, config::Findings& findings,
                                                          const Host& host) {
  std::vector<std::shared_ptr<filter::Filter>> filters;
  const auto elements = filter::split_braced(value);
  if (!elements) {
    findings.error(config.where(host.parameter), host.parameter, "unbalanced { }");
    return filters;
  }
  for (const std::string& element : *elements) {
    if (auto filter = read_element(config, params, element, false, findings, host)) filters.push_back(std::move(filter));
  }
  return filters;
}

std::shared_ptr<filter::Filter> make_filter(const config::Config& config, const config::Params& params,
                                            std::string_view element, config::Findings& findings, const Host& host) {
  return read_element(config, params, element, true, findings, host);
}

}  // namespace millrace::milter
