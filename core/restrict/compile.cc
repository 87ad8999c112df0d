// From parameters to programs, at start: see program.h.  All that is wrong is found here, before a client
// can meet it.
#include <algorithm>
#include <set>

#include "core/base/strings.h"
#include "core/config/config.h"
#include "core/config/overrides.h"
#include "core/restrict/program.h"

namespace millrace::restrict {

namespace {

constexpr std::string_view kRelayWords =
    "reject_unauth_destination, defer_unauth_destination, reject, defer, defer_if_permit or check_relay_domains";

bool takes_argument(const Word& word) {
  switch (word.argument) {
    case Argument::none:
    case Argument::login:
    case Argument::certificate: return false;
    default: return true;
  }
}

class Compiler {
 public:
  Compiler(Rules& rules, config::Findings& findings) : rules_(rules), findings_(findings) {}

  void classes() {
    const Environment& env = rules_.environment;
    for (const std::string& name : map::split_list(env.params->smtpd_restriction_classes)) {
      auto program = std::make_unique<Program>();
      program->parameter = name;
      rules_.classes.emplace(name, std::move(program));
    }
    for (auto& [name, program] : rules_.classes) {
      const auto value = env.config->value(name, env.service);
      if (!value || trim(*value).empty()) {
        error("smtpd_restriction_classes", "restriction class `" + name + "' needs a definition");
        continue;
      }
      if (find_word(name) != nullptr) {
        warning("smtpd_restriction_classes", "restriction class `" + name + "' is never used: a restriction has that name");
      }
      if (trim(*value).starts_with("lua:")) {
        lua_class(*program, trim(*value));
      } else {
        list(*program, name, *value, &kListDefault);
      }
    }
  }

  // A class that leads back to itself can decide nothing: whoever comes there goes round until he is refused.
  void cycles() {
    std::set<const Program*> done;
    for (const auto& [name, program] : rules_.classes) {
      std::vector<const Program*> path;
      if (leads_back(*program, path, done)) {
        error("smtpd_restriction_classes", "restriction class `" + name + "' leads back to itself");
        return;
      }
    }
  }

  // `bare` is what a table without a word means in this list; nullptr: nothing.
  void list(Program& program, const std::string& parameter, std::string_view value, const Word* bare) {
    program.parameter = parameter;
    const std::vector<std::string> words = map::split_list(value);
    for (std::size_t i = 0; i < words.size(); ++i) {
      Step step;
      step.text = words[i];
      const bool is_table = words[i].find(':') != std::string::npos;
      step.word = is_table ? bare : find_word(words[i]);
      if (is_table && bare == nullptr) {
        error(parameter, "specify one of (check_client_access, check_helo_access, check_sender_access, "
                         "check_recipient_access, check_etrn_access) before restriction \"" + words[i] + "\"");
        continue;
      }
      if (step.word == nullptr) {
        const auto found = rules_.classes.find(words[i]);
        if (found == rules_.classes.end()) {
          error(parameter, "unknown smtpd restriction: \"" + words[i] + "\"");
          continue;
        }
        step.restriction_class = found->second.get();
        program.steps.push_back(std::move(step));
        continue;
      }
      const bool has_argument = takes_argument(*step.word);
      if (has_argument && !is_table && i + 1 == words.size()) {
        error(parameter, missing(*step.word));
        return;
      }
      const std::string& argument = has_argument && !is_table ? words[++i] : words[i];
      if (!open(step, parameter, argument)) continue;
      const bool only_logs = !program.steps.empty() && program.steps.back().word != nullptr &&
                             program.steps.back().word->handler == nullptr;
      if (step.word->ends_list() && !only_logs && i + 1 < words.size()) {
        warning(parameter, "restriction `" + words[i + 1] + "' after `" + std::string(step.word->name) + "' is ignored");
      }
      program.steps.push_back(std::move(step));
    }
  }

  void own_addresses() {
    const config::Params& params = *rules_.environment.params;
    auto own = rewrite::OwnAddresses::make(params.inet_interfaces, "", params.inet_protocols);
    auto reached = rewrite::OwnAddresses::make(params.inet_interfaces, params.proxy_interfaces, params.inet_protocols);
    if (own && reached) {
      rules_.own_addresses = std::move(*own);
      rules_.reached_addresses = std::move(*reached);
    } else {
      error(own ? "proxy_interfaces" : "inet_interfaces", own ? reached.error().context : own.error().context);
    }
    const auto protocols = map::split_list(params.inet_protocols);
    const auto has = [&](std::string_view name) { return std::find(protocols.begin(), protocols.end(), name) != protocols.end(); };
    rules_.ipv4 = has("all") || has("ipv4");
    rules_.ipv6 = has("all") || has("ipv6");
  }

  void match_list(map::MatchList Rules::*list, const char* parameter, const std::string& value,
                  map::MatchList::Kind kind) {
    const Environment& env = rules_.environment;
    bool parents = false;
    for (const std::string& name : map::split_list(env.params->parent_domain_matches_subdomains)) {
      if (iequals(name, parameter)) parents = true;
    }
    auto opened = map::MatchList::open(*env.tables, value, kind, parents);
    if (opened) {
      rules_.*list = std::move(*opened);
    } else {
      error(parameter, opened.error().context);
    }
  }

  void dns_lists() {
    const Environment& env = rules_.environment;
    rules_.reply_characters = mime::CharacterSet(env.params->smtpd_expansion_filter);
    auto replies = map::Maps::open(*env.tables, env.params->rbl_reply_maps);
    if (replies) {
      rules_.rbl_replies = std::move(*replies);
    } else {
      error("rbl_reply_maps", replies.error().context);
    }
    const auto expanded = config::expand_macros(env.params->default_rbl_reply,
                                                [](std::string_view) { return std::optional<std::string>("x"); });
    if (!expanded) error("default_rbl_reply", "bad default rbl reply template: " + expanded.error().context);
  }

  // Postfix's fatal: relay control must be reachable.  The Lua and plugin words never count.
  void relay_safety() {
    if (controls_relay(rules_.relay, 0) || controls_relay(rules_.recipient, 0)) return;
    error("smtpd_relay_restrictions", "in parameter smtpd_relay_restrictions or smtpd_recipient_restrictions, specify "
                                      "at least one working instance of: " + std::string(kRelayWords));
  }

  void error(const std::string& parameter, std::string text) {
    findings_.error(where(parameter), parameter, std::move(text));
    failed_ = true;
  }
  void warning(const std::string& parameter, std::string text) {
    findings_.warning(where(parameter), parameter, std::move(text));
  }
  bool failed() const { return failed_; }

 private:
  config::Location where(const std::string& parameter) const {
    const Environment& env = rules_.environment;
    if (env.service != nullptr) {
      for (const auto& [name, value] : env.service->overrides) {
        if (name == parameter) return env.service->where;
      }
    }
    return env.config->where(parameter);
  }

  static std::string missing(const Word& word) {
    const std::string name(word.name);
    switch (word.argument) {
      case Argument::site: return "restriction " + name + " requires domain name argument";
      case Argument::policy: return "restriction " + name + " must be followed by transport:server";
      case Argument::seconds: return "restriction " + name + " must be followed by number";
      case Argument::lua: return "restriction " + name + " must be followed by FILE[:FUNCTION]";
      case Argument::plugin: return "restriction " + name + " must be followed by the name of a plugin";
      default: return "restriction " + name + ": need maptype:mapname";
    }
  }

  bool open(Step& step, const std::string& parameter, const std::string& argument) {
    const Environment& env = rules_.environment;
    const std::string name(step.word->name);
    const auto bad = [&](const std::string& why) {
      error(parameter, "restriction " + name + ": " + why);
      return false;
    };
    switch (step.word->argument) {
      case Argument::none:
        // Two words in one: the lists stand in a parameter.
        if (name == "reject_maps_rbl") {
          for (const std::string& domain : map::split_list(env.params->maps_rbl_domains)) {
            if (!add_site(step, "maps_rbl_domains", domain)) return false;
          }
        }
        return true;
      case Argument::site: return add_site(step, parameter, argument);
      case Argument::login:
      case Argument::login_table:
        if (env.params->smtpd_sasl_auth_enable) return bad("not supported yet with smtpd_sasl_auth_enable");
        warning(parameter, "restriction `" + name + "' ignored: no SASL support");
        return true;
      case Argument::certificate:
      case Argument::certificate_table:
        if (env.params->smtpd_tls_ask_ccert || env.params->smtpd_tls_req_ccert) {
          return bad("not supported yet with client certificates (smtpd_tls_ask_ccert, smtpd_tls_req_ccert)");
        }
        warning(parameter, "restriction `" + name + "' ignored: clients are not asked for certificates");
        return true;
      case Argument::table: {
        if (argument.find(':') == std::string::npos) return bad("bad argument \"" + argument + "\": need maptype:mapname");
        auto table = env.tables->open(argument);
        if (!table) return bad(table.error().context);
        step.table = std::move(*table);
        return true;
      }
      case Argument::policy: {
        auto service = env.policies->open(argument, *env.params, env.service != nullptr && env.service->chroot);
        if (!service) return bad(service.error().context);
        step.service = std::move(*service);
        return true;
      }
      case Argument::seconds: {
        const auto seconds = parse_number<std::uint32_t>(argument);
        if (!seconds) return bad("must be followed by number");
        step.seconds = std::chrono::seconds(*seconds);
        return true;
      }
      case Argument::lua: return open_foreign(step, parameter, "lua", argument);
      case Argument::plugin: return open_foreign(step, parameter, "plugin", argument);
    }
    return false;
  }

  bool add_site(Step& step, const std::string& parameter, const std::string& text) {
    auto site = dnsbl::parse_site(text, dnsbl::Weights::refused);
    if (!site) {
      error(parameter, "restriction " + std::string(step.word->name) + ": " + site.error().context);
      return false;
    }
    step.sites.push_back(std::move(*site));
    return true;
  }

  bool open_foreign(Step& step, const std::string& parameter, std::string_view kind, std::string_view argument) {
    const Environment& env = rules_.environment;
    if (!env.foreign) {
      error(parameter, "\"" + step.text + "\" is not supported here");
      return false;
    }
    auto word = env.foreign(parameter, kind, argument);
    if (!word) {
      error(parameter, word.error().context);
      return false;
    }
    step.foreign = std::move(*word);
    return true;
  }

  void lua_class(Program& program, std::string_view value) {
    Step step;
    step.text = value;
    step.word = find_word("check_lua");
    if (value.find_first_of(" \t\r\n,") != std::string_view::npos) {
      error(program.parameter, "a lua: class is one word, FILE[:FUNCTION], and nothing else");
    } else if (open_foreign(step, program.parameter, "lua", value.substr(4))) {
      program.steps.push_back(std::move(step));
    }
  }

  static bool leads_back(const Program& program, std::vector<const Program*>& path, std::set<const Program*>& done) {
    if (std::find(path.begin(), path.end(), &program) != path.end()) return true;
    if (done.count(&program) != 0) return false;
    path.push_back(&program);
    for (const Step& step : program.steps) {
      if (step.restriction_class != nullptr && leads_back(*step.restriction_class, path, done)) return true;
    }
    path.pop_back();
    done.insert(&program);
    return false;
  }

  bool controls_relay(const Program& program, int depth) const {
    bool warned = false;
    for (const Step& step : program.steps) {
      if (step.word != nullptr && step.word->name == "warn_if_reject") {
        warned = true;
        continue;
      }
      const bool counts = !std::exchange(warned, false);
      if (step.restriction_class != nullptr) {
        if (counts && depth < 100 && controls_relay(*step.restriction_class, depth + 1)) return true;
        continue;
      }
      if (step.word->name == "permit") return false;
      if (counts && step.word->controls_relay()) return true;
    }
    return false;
  }

  Rules& rules_;
  config::Findings& findings_;
  bool failed_ = false;
};

}  // namespace

Program compile_result(const Rules& rules, const std::string& source, std::string_view text, const std::string& place) {
  Program program;
  // A step that says `why`, in lines, when it is reached: what stands before it may decide.
  const auto push = [&](Step step, const Word& word, std::string why) {
    step.word = &word;
    step.text = place + std::move(why);
    program.steps.push_back(std::move(step));
  };
  if (text.find(':') != std::string_view::npos) {
    push({}, kBrokenWord, "access table " + source + " has entry with lookup table: " + std::string(text) +
                              "\ndo not specify lookup tables inside SMTPD access maps"
                              "\ndefine a restriction class and specify its name instead.");
    return program;
  }
  const std::vector<std::string> words = map::split_list(text);
  bool warned = false;
  for (std::size_t i = 0; i < words.size(); ++i) {
    Step step;
    step.text = words[i];
    step.word = find_word(words[i]);
    const std::string name = "restriction " + words[i];
    if (step.word == nullptr) {
      const auto found = rules.classes.find(words[i]);
      if (found == rules.classes.end()) {
        push({}, kBrokenWord, "unknown smtpd restriction: \"" + words[i] + "\"");
        break;
      }
      step.restriction_class = found->second.get();
    } else if (step.word->argument == Argument::seconds || step.word->argument == Argument::site) {
      const std::string argument = ++i < words.size() ? words[i] : std::string();
      if (step.word->argument == Argument::seconds) {
        const auto seconds = parse_number<std::uint32_t>(argument);
        if (!seconds) {
          push({}, kBrokenWord, name + " must be followed by number");
          break;
        }
        step.seconds = std::chrono::seconds(*seconds);
      } else if (argument.empty()) {   // as in Postfix the word is passed over with a warning
        push({}, kWarningWord, name + " requires domain name argument");
        continue;
      } else {
        auto site = dnsbl::parse_site(argument, dnsbl::Weights::refused);
        if (!site) {
          push({}, kBrokenWord, name + ": " + site.error().context);
          break;
        }
        step.sites.push_back(std::move(*site));
      }
    } else if (step.word->argument != Argument::none || step.word->name == "reject_maps_rbl") {
      push({}, kBrokenWord, "access table " + source + " has entry with " + name + ", which needs a restriction class");
      break;
    }
    const bool ends = step.word != nullptr && step.word->ends_list() && !warned;
    warned = step.word != nullptr && step.word->handler == nullptr;
    if (ends && i + 1 < words.size()) {
      push({}, kWarningWord, "restriction `" + words[i + 1] + "' after `" + step.text + "' is ignored");
    }
    program.steps.push_back(std::move(step));
    if (ends) break;
  }
  return program;
}

std::shared_ptr<const Rules> compile(const Environment& environment, config::Findings& findings) {
  auto rules = std::make_shared<Rules>();
  rules->environment = environment;
  const config::Params& params = *environment.params;
  Compiler compiler(*rules, findings);
  rules->parent_domains_match = false;
  if (const auto overrides = config::parse_receive_overrides(environment.params->receive_override_options)) {
    rules->any_recipient = overrides->any_recipient;
  }
  for (const std::string& name : map::split_list(params.parent_domain_matches_subdomains)) {
    if (iequals(name, "smtpd_access_maps")) rules->parent_domains_match = true;
  }
  using Kind = map::MatchList::Kind;
  compiler.match_list(&Rules::mynetworks, "mynetworks", params.mynetworks, Kind::address);
  compiler.match_list(&Rules::backup_networks, "permit_mx_backup_networks", params.permit_mx_backup_networks, Kind::address);
  compiler.match_list(&Rules::relay_domains, "relay_domains", params.relay_domains, Kind::domain);
  compiler.dns_lists();
  compiler.own_addresses();
  compiler.classes();
  struct Row {
    Program Rules::*program;
    const char* parameter;
    const std::string& value;
    const Word* bare;
  };
  const Row rows[] = {
      {&Rules::client, "smtpd_client_restrictions", params.smtpd_client_restrictions, &kClientAccess},
      {&Rules::helo, "smtpd_helo_restrictions", params.smtpd_helo_restrictions, &kHeloAccess},
      {&Rules::sender, "smtpd_sender_restrictions", params.smtpd_sender_restrictions, &kSenderAccess},
      {&Rules::relay, "smtpd_relay_restrictions", params.smtpd_relay_restrictions, &kRecipientAccess},
      {&Rules::recipient, "smtpd_recipient_restrictions", params.smtpd_recipient_restrictions, &kRecipientAccess},
      {&Rules::data, "smtpd_data_restrictions", params.smtpd_data_restrictions, nullptr},
      {&Rules::end_of_data, "smtpd_end_of_data_restrictions", params.smtpd_end_of_data_restrictions, nullptr},
      {&Rules::etrn, "smtpd_etrn_restrictions", params.smtpd_etrn_restrictions, &kEtrnAccess},
  };
  for (const Row& row : rows) compiler.list(*rules.*row.program, row.parameter, row.value, row.bare);
  if (!compiler.failed()) compiler.cycles();
  if (!compiler.failed()) compiler.relay_safety();
  if (compiler.failed()) return nullptr;
  return rules;
}

}  // namespace millrace::restrict
