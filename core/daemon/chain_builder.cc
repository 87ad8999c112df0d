#include "core/daemon/chain_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "core/base/strings.h"
#include "core/config/overrides.h"
#include "core/config/services.h"
#include "core/daemon/content_checks.h"
#include "core/daemon/milter_host.h"
#include "core/daemon/private_files.h"
#include "core/daemon/setup.h"
#include "core/filter/element.h"
#include "core/milter/settings.h"
#include "core/plugin/authserv.h"
#include "core/plugin/filter.h"
#include "core/plugin/options.h"
#include "core/plugin/order.h"
#include "core/policy/client.h"
#include "core/restrict/restrict.h"
#include "lua/script.h"

namespace millrace::daemon {
namespace {

constexpr std::size_t kPluginState = 32u << 20;   // in memory, for all plugins, where there is no other

// A function of a Lua file as a restriction.  The file is read when the service's foreign parts are added:
// never as root.
class LuaWord final : public restrict::ForeignWord {
 public:
  LuaWord(std::string path, std::string function, net::Resolver* resolver, const config::Params& params)
      : path_(std::move(path)), function_(std::move(function)), resolver_(resolver) {
    budget_.instructions = params.lua_instruction_limit;
    budget_.memory_bytes = static_cast<std::size_t>(params.lua_memory_limit);
    budget_.time = params.lua_time_limit;
  }

  Result<void> load() {
    auto script = lua::Script::load(path_, budget_);
    if (!script) return tl::unexpected(script.error());
    if (!(*script)->has_function(function_)) {
      return fail(Errc::config, fmt::format("{}: no function {}", path_, function_));
    }
    script_ = std::move(*script);
    return {};
  }

  Result<Answer> ask(const policy::Attributes& facts, filter::Context& context) override {
    const log::Logger log = context.log != nullptr ? *context.log : log::Logger();
    auto answer = script_->call(function_, facts, resolver_, context.deadline, log);
    if (!answer) return tl::unexpected(answer.error());
    return Answer{std::move(answer->action), std::move(answer->where)};
  }

 private:
  std::string path_, function_;
  net::Resolver* resolver_;
  lua::Budget budget_;
  std::shared_ptr<lua::Script> script_;
};

// Stands where it cannot be told which milters to ask.
class Unavailable final : public filter::Filter {
 public:
  Unavailable() { options.default_action = *filter::default_action_verdict("tempfail"); }
  const std::string& name() const override { return name_; }
  std::unique_ptr<filter::FilterSession> open(const filter::SessionFacts&) override { return std::make_unique<Session>(); }

 private:
  class Session final : public filter::FilterSession {
   public:
    filter::Verdict at(filter::Stage stage, filter::Context&) override {
      if (stage != filter::Stage::connect) return {};
      filter::Verdict verdict = filter::Verdict::reply(451, "4.3.5", "Server configuration problem - try again later");
      verdict.reason_id = "milter-reject";
      verdict.sticky = true;
      return verdict;
    }
    filter::Verdict message(filter::Context&, const mime::Message&, filter::Journal&) override { return {}; }
    void abort() override {}
  };
  const std::string name_ = "smtpd_milter_maps";
};

// A plugin's filter as a restriction: its file is looked at when the service's foreign parts are added.
class PluginWord final : public restrict::ForeignWord {
 public:
  PluginWord(std::string element, plugin::Host host) : element_(std::move(element)), host_(std::move(host)) {}

  Result<void> load(const config::Params& params) {
    auto made = plugin::make_restriction(params, element_, host_);
    if (!made) return tl::unexpected(made.error());
    word_ = std::move(*made);
    host_.private_files.reset();
    return {};
  }

  Result<Answer> ask(const policy::Attributes& facts, filter::Context& context) override {
    std::vector<std::pair<std::string, std::string>> attributes;
    attributes.reserve(facts.size());
    for (const auto& [name, value] : facts) {
      const auto* const text = std::get_if<std::string>(&value);
      attributes.emplace_back(name, text != nullptr ? *text : std::to_string(std::get<std::int64_t>(value)));
    }
    auto action = word_->ask(attributes, context);
    if (!action) return tl::unexpected(action.error());
    return Answer{action->empty() ? "DUNNO" : std::move(*action), element_};
  }

 private:
  std::string element_;
  plugin::Host host_;
  std::shared_ptr<plugin::Restriction> word_;
};

// max_connections of policy services, over all fronts.
class FrontCounts final : public policy::SharedCounts {
 public:
  FrontCounts(smtp::AnvilTable& table, unsigned process) : anvil_(table, process, std::chrono::seconds(60)) {}
  Place enter(const std::string& name) override {
    const smtp::Anvil::Connection entered = anvil_.enter(name);
    return {entered.slot, entered.count};
  }
  void leave(const Place& place) override {
    smtp::Anvil::Connection entered;
    entered.slot = place.slot;
    anvil_.disconnect(entered);
  }

 private:
  smtp::Anvil anvil_;
};

}  // namespace

struct ChainBuilder::Impl {
  explicit Impl(const ChainParts& given)
      : parts(given),
        params(given.config->params_for(*given.service, nullptr)),
        policies(given.config->params().queue_directory,
                 given.anvil != nullptr ? std::make_shared<FrontCounts>(*given.anvil, given.process) : nullptr, given.shared) {}

  Result<std::shared_ptr<restrict::ForeignWord>> foreign(const std::string& parameter, std::string_view kind,
                                                         std::string_view argument);
  bool add_filters(config::Findings& findings);
  plugin::Host plugin_host() const {
    const log::Logger log = logger_for(*parts.config, "smtpd", parts.service);
    static const std::shared_ptr<plugin::State> state =
        parts.queue == nullptr ? plugin::make_memory_state(kPluginState)   // a dry run leaves no trace
                               : plugin::make_shared_state(parts.config->params().data_directory + "/state", kPluginState, log);
    plugin::Host host;
    host.resolver = [resolver = parts.resolver] { return resolver; };
    host.log = log;
    host.tables = parts.tables;
    host.state = state;
    host.metrics = parts.plugin_metrics;
    host.private_files = private_files;
    return host;
  }
  bool no_milters() const {
    const auto overrides = config::parse_receive_overrides(params->receive_override_options);
    return overrides && overrides->no_milters;
  }
  milter::Host milter_host(const char* parameter) const;
  const filter::Chain& chain_for(const std::string& client_address);

  ChainParts parts;
  std::shared_ptr<const config::Params> params;
  policy::Pool policies;
  std::shared_ptr<rewrite::Router> router;
  std::vector<std::pair<std::string, std::shared_ptr<LuaWord>>> lua_words;   // by the parameter they stand in
  std::vector<std::pair<std::string, std::shared_ptr<PluginWord>>> plugin_words;
  std::shared_ptr<const std::map<std::string, std::string>> private_files;   // read as root
  filter::Chain chain;
  milter::Host milter_parts;
  map::Maps milter_maps;
  filter::Chain common, unavailable;               // without milters; and when nobody can say which
  std::map<std::string, filter::Chain> chains;     // by what smtpd_milter_maps said
};

ChainBuilder::ChainBuilder(const ChainParts& parts) : impl_(std::make_unique<Impl>(parts)) {}
ChainBuilder::~ChainBuilder() = default;
std::function<const filter::Chain*(const std::string&)> ChainBuilder::chooser() {
  if (impl_->milter_maps.empty() || impl_->no_milters()) return {};
  return [impl = impl_.get()](const std::string& client_address) { return &impl->chain_for(client_address); };
}
void ChainBuilder::sweep() { impl_->policies.sweep(); }
const filter::Chain& ChainBuilder::chain() const { return impl_->chain; }
std::shared_ptr<const rewrite::Router> ChainBuilder::router() const { return impl_->router; }

// "FILE" or "FILE:FUNCTION"; the function is `check` unless named.
Result<std::shared_ptr<restrict::ForeignWord>> ChainBuilder::Impl::foreign(const std::string& parameter,
                                                                           std::string_view kind,
                                                                           std::string_view argument) {
  if (kind == "plugin") {
    const std::string element = argument.starts_with('{') || argument.starts_with("plugin:") ? std::string(argument)
                                                                                              : fmt::format("plugin:{}", argument);
    auto word = std::make_shared<PluginWord>(element, plugin_host());
    plugin_words.emplace_back(parameter, word);
    return word;
  }
  if (kind != "lua") return fail(Errc::config, fmt::format("check_{} is not supported", kind));
  const std::size_t colon = argument.rfind(':');
  const std::string path(argument.substr(0, colon));
  const std::string function = colon == std::string_view::npos ? "check" : std::string(argument.substr(colon + 1));
  auto word = std::make_shared<LuaWord>(path.starts_with('/') ? path : parts.config->directory() + "/" + path, function,
                                        parts.resolver, *params);
  lua_words.emplace_back(parameter, word);
  return word;
}

bool ChainBuilder::add_own(config::Findings& findings) {
  const config::Config& config = *impl_->parts.config;
  auto router = rewrite::Router::make(impl_->parts.config, *impl_->params, *impl_->parts.tables);
  if (!router) {
    report_error(findings, config, "address routing", router.error());
    return false;
  }
  impl_->router = std::move(*router);
  auto files = read_private_files(impl_->params->plugin_private_files);
  if (!files) {
    findings.error(config.where("plugin_private_files"), "plugin_private_files", files.error().context);
    return false;
  }
  impl_->private_files = std::move(*files);
  restrict::Environment environment;
  environment.config = impl_->parts.config;
  environment.params = impl_->params;
  environment.service = impl_->parts.service;
  environment.router = impl_->router;
  environment.tables = impl_->parts.tables;
  environment.resolver = impl_->parts.resolver;
  environment.policies = &impl_->policies;
  if (impl_->parts.queue != nullptr) {
    environment.verify = [queue = impl_->parts.queue](const std::string& address, std::chrono::seconds wait) {
      return queue->verify(address, wait);
    };
  }
  if (impl_->parts.anvil != nullptr) {
    // A place that is entered and never left: whoever counts one was first.
    environment.first_of_all = [counts = std::make_shared<FrontCounts>(*impl_->parts.anvil, impl_->parts.process)](std::string_view text) {
      return counts->enter("first " + std::string(text)).count <= 1;
    };
  }
  environment.foreign = [this](const std::string& parameter, std::string_view kind, std::string_view argument) {
    return impl_->foreign(parameter, kind, argument);
  };
  auto restrictions = restrict::make_filter(environment, findings);
  if (!restrictions) return false;
  impl_->chain.add(std::move(restrictions));
  auto maps = map::Maps::open(*impl_->parts.tables, impl_->params->smtpd_milter_maps);
  if (!maps) {
    findings.error(config.where("smtpd_milter_maps"), "smtpd_milter_maps", maps.error().context);
    return false;
  }
  impl_->milter_maps = std::move(*maps);
  impl_->milter_parts.chroot = impl_->parts.service->chroot;
  if (!add_milter_host(impl_->milter_parts, config, *impl_->params, *impl_->parts.tables, impl_->router, findings, impl_->parts.service)) {
    return false;
  }
  const std::size_t before = findings.lines.size();
  const auto overrides = config::parse_receive_overrides(impl_->params->receive_override_options);
  if (overrides && overrides->no_content_checks) return true;
  const config::Service* cleanup = config::cleanup_service(config, impl_->parts.service);
  auto checks = make_content_checks(config, *config::cleanup_params(config, impl_->parts.service), *impl_->parts.tables,
                                    logger_for(config, "cleanup", cleanup), findings);
  if (checks) impl_->chain.add(std::move(checks));
  return findings.lines.size() == before || !findings.has_errors();
}

milter::Host ChainBuilder::Impl::milter_host(const char* parameter) const {
  milter::Host host = milter_parts;
  host.parameter = parameter;
  host.where = parts.config->where(parameter);
  return host;
}

// smtpd_milter_maps: by the client's address, milters in place of smtpd_milters, or DISABLE.  Lists are made once.
const filter::Chain& ChainBuilder::Impl::chain_for(const std::string& client_address) {
  const map::Lookup found = milter_maps.find(client_address);
  if (found && !found->has_value()) return chain;
  const std::string value = found ? **found : std::string("(look-up failed)");
  const auto known = chains.find(value);
  if (known != chains.end()) return known->second;
  const log::Logger log = logger_for(*parts.config, "smtpd", parts.service);
  filter::Chain& made = chains[value] = common;
  if (!found) {
    log.warning(fmt::format("smtpd_milter_maps: {}", found.error().context));
    made.add(std::make_shared<Unavailable>());
    chains.erase(value);   // asked again next time
    unavailable = common;
    unavailable.add(std::make_shared<Unavailable>());
    return unavailable;
  }
  if (iequals(trim(value), "DISABLE")) return made;
  config::Findings findings;
  for (auto& one : milter::make_filters(*parts.config, *params, value, findings, milter_host("smtpd_milter_maps"))) made.add(std::move(one));
  for (const auto& line : findings.lines) log.warning(line.to_text());
  if (findings.has_errors()) made.add(std::make_shared<Unavailable>());
  if (parts.shared != nullptr) made.share(*parts.shared, parts.process);
  return made;
}

// smtpd_filters: "milter:…", "plugin:NAME", each alone or as the first word of a { } block.
bool ChainBuilder::Impl::add_filters(config::Findings& findings) {
  const config::Config& config = *parts.config;
  const config::Location where = config.where("smtpd_filters");
  const auto elements = filter::split_braced(params->smtpd_filters);
  if (!elements) {
    findings.error(where, "smtpd_filters", "unbalanced braces");
    return false;
  }
  std::vector<std::shared_ptr<filter::Filter>> filters;
  for (const std::string& element : *elements) {
    std::string_view inside = element;
    if (inside.starts_with('{')) inside = trim(inside.substr(1));
    std::shared_ptr<filter::Filter> made;
    if (inside.starts_with("milter:")) {
      if (no_milters()) continue;
      made = milter::make_filter(config, *params, element, findings, milter_host("smtpd_filters"));
    } else if (inside.starts_with("plugin:")) {
      made = plugin::make_filter(config, *params, element, findings, plugin_host());
    } else if (inside.starts_with("lua:")) {
      findings.error(where, "smtpd_filters", fmt::format("{}: Lua filters are not supported yet; a restriction class "
                                                         "may be lua:FILE", element));
    } else {
      findings.error(where, "smtpd_filters", fmt::format("{}: expected milter:, plugin: or lua:", element));
    }
    if (!made) return false;
    filters.push_back(std::move(made));
  }
  std::vector<plugin::Wishes> wishes;
  for (const auto& one : filters) wishes.push_back(plugin::wishes_of(*one));
  const auto order = plugin::resolve_order(wishes);
  if (!order) {
    findings.error(where, "smtpd_filters", order.error().context);
    return false;
  }
  if (std::any_of(filters.begin(), filters.end(), [](const auto& one) { return plugin::edits_headers(*one); })) {
    chain.add(plugin::make_authserv_guard(params->myhostname));
  }
  for (const std::size_t place : *order) chain.add(filters[place]);
  return true;
}

bool ChainBuilder::add_foreign(config::Findings& findings) {
  const config::Config& config = *impl_->parts.config;
  for (const auto& [parameter, word] : impl_->lua_words) {
    if (const auto loaded = word->load(); !loaded) {
      findings.error(config.where(parameter), parameter, loaded.error().context);
    }
  }
  for (const auto& [parameter, word] : impl_->plugin_words) {
    if (const auto loaded = word->load(*impl_->params); !loaded) {
      findings.error(config.where(parameter), parameter, fmt::format("check_plugin: {}", loaded.error().context));
    }
  }
  if (findings.has_errors() || !impl_->add_filters(findings)) return false;
  impl_->private_files.reset();
  impl_->common = impl_->chain;
  const std::string milters = impl_->no_milters() ? std::string() : impl_->params->smtpd_milters;
  for (auto& made : milter::make_filters(config, *impl_->params, milters, findings,
                                         impl_->milter_host("smtpd_milters"))) {
    impl_->chain.add(std::move(made));
  }
  if (impl_->parts.shared != nullptr) impl_->chain.share(*impl_->parts.shared, impl_->parts.process);
  return !findings.has_errors();
}

}  // namespace millrace::daemon
