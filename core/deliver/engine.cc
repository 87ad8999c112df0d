#include "core/deliver/output_checks.h"
#include "core/deliver/engine.h"

#include <algorithm>

#include "core/base/strings.h"
#include "core/config/services.h"
#include "core/deliver/simple_agents.h"
#include "core/deliver/smtp_agent.h"
#include "core/deliver/status_filter.h"
#include "core/map/text.h"
#include "core/rewrite/cleanup.h"

namespace millrace::deliver {

namespace {
constexpr std::size_t kTemplateFileLimit = 1 << 20;

bool is_client(const config::Service& service) { return service.command == "smtp" || service.command == "lmtp"; }
bool is_transport(const config::Service& service) { return service.type == "unix"; }

Result<ConcurrencyRules> concurrency_rules(const config::Config& config, const std::string& name) {
  ConcurrencyRules out;
  const auto own = [&](const char* suffix, const char* fallback) {
    const auto value = config.value(name + suffix);
    return value && !trim(*value).empty() ? *value : config.value(fallback).value_or("");
  };
  const auto feedback = [&](const char* suffix, const char* fallback, Feedback& to) -> Result<void> {
    const std::string text = own(suffix, fallback);
    const auto parsed = parse_feedback(text);
    if (!parsed) return fail(Errc::config, std::string("bad value: ") + fallback + " = " + text);
    to = *parsed;
    return {};
  };
  out.initial = static_cast<std::size_t>(
      std::max<std::int64_t>(config::parse_integer(trim(own("_initial_destination_concurrency", "initial_destination_concurrency"))).value_or(5), 1));
  out.limit = static_cast<std::size_t>(config.transport_number(name, "destination_concurrency_limit"));
  if (auto ok = feedback("_destination_concurrency_positive_feedback", "default_destination_concurrency_positive_feedback", out.positive); !ok) {
    return tl::unexpected(ok.error());
  }
  if (auto ok = feedback("_destination_concurrency_negative_feedback", "default_destination_concurrency_negative_feedback", out.negative); !ok) {
    return tl::unexpected(ok.error());
  }
  out.failed_cohorts = static_cast<double>(config.transport_number(name, "destination_concurrency_failed_cohort_limit"));
  return out;
}

// Local parts that our own notices and probes are sent from.
std::function<bool(std::string_view)> discarded_users(const config::Params& params, const std::string& probe_sender) {
  const std::string notices = params.double_bounce_sender.substr(0, params.double_bounce_sender.find('@'));
  const std::string probes = probe_sender.substr(0, probe_sender.rfind('@'));
  return [notices, probes, ttl = params.address_verify_sender_ttl](std::string_view user) {
    return iequals(user, notices) || (!probes.empty() && ttl.count() > 0 && is_probe_user(user, probes, ttl, wall_now()));
  };
}

// smtp_delivery_status_filter and the like, by the name of the agent's command.
Result<map::Maps> status_filter(const config::Config& config, const config::Service& service, map::TableSet& tables) {
  for (const char* command : {"smtp", "lmtp", "local", "virtual", "pipe"}) {
    if (service.command != command) continue;
    const std::string name = service.command + "_delivery_status_filter";
    auto maps = map::Maps::open(tables, config.value(name, &service).value_or(""));
    if (!maps) return fail(name, maps.error());
    return maps;
  }
  return map::Maps();
}

Result<PostmanRules> postman_rules(const config::Config& config, std::shared_ptr<const rewrite::Router> router,
                                   map::TableSet& tables) {
  const config::Params& params = config.params();
  PostmanRules out;
  out.host = params.myhostname;
  out.mail_name = params.mail_name;
  out.double_bounce_sender = params.double_bounce_sender + "@" + params.myhostname;
  out.bounce_to = params.bounce_notice_recipient;
  out.double_bounce_to = config.value("2bounce_notice_recipient").value_or("postmaster");
  out.delay_to = params.delay_notice_recipient;
  for (const std::string_view word : split(params.notify_classes, ", \t\r\n")) {
    if (iequals(word, "bounce")) out.tell_bounces = out.tell_double_bounces = true;
    if (iequals(word, "2bounce")) out.tell_double_bounces = true;
    if (iequals(word, "delay")) out.tell_delays = true;
  }
  out.confirm_delay_cleared = params.confirm_delay_cleared;
  out.verp = !params.disable_verp_bounces;
  out.threaded = params.enable_threaded_bounces;
  out.utf8_texts = params.smtputf8_enable;
  out.size_limit = static_cast<std::uint64_t>(params.bounce_size_limit);
  out.long_queue_ids = params.enable_long_queue_ids;
  out.lifetime = params.maximal_queue_lifetime;
  if (const std::string& file = params.bounce_template_file; !file.empty()) {
    const auto text = map::read_file(file, kTemplateFileLimit);
    if (!text) return fail(Errc::config, "bounce_template_file: " + text.error().context);
    const log::Logger log(config.value("syslog_name").value_or("postfix") + "/bounce");
    read_templates(*text, out.templates, [&](const std::string& what) { log.warning(file + ", " + what); });
  }
  auto expanded = expand_templates(out.templates, static_cast<long>(params.delay_warning_time.count()),
                                   static_cast<long>(out.lifetime.count()),
                                   [&](std::string_view name) { return config.value(name); });
  if (!expanded) return fail("bounce_template_file", expanded.error());
  auto cleanup = rewrite::Cleanup::make(params, std::move(router), tables);
  if (!cleanup) return tl::unexpected(cleanup.error());
  out.cleanup = std::move(*cleanup);
  return out;
}
}  // namespace

struct Engine::Parts {
  std::shared_ptr<const config::Config> config;
  std::shared_ptr<const rewrite::Router> router;
  net::Resolver* resolver = nullptr;
  AgentMaker make_foreign;
  struct Client {
    std::shared_ptr<const ClientOptions> options;
    std::shared_ptr<TlsPolicies> policies;
  };
  std::map<std::string, Client> clients;
  std::map<std::string, TransportLimits> limits;
  std::map<std::string, std::unique_ptr<Transport>> through;   // of deliver_through()
  std::map<std::string, std::unique_ptr<Transport>> passed;   // what other transports hand mail to, by name

  log::Logger logger(std::string_view program, const config::Service* service = nullptr) const {
    return log::Logger(config->value("syslog_name", service).value_or("postfix") + "/" + std::string(program));
  }

  std::map<std::string, map::Maps> filters;   // delivery status filters, by service

  std::unique_ptr<Transport> make(const std::string& name) {
    auto out = make_plain(name);
    if (const auto filter = filters.find(name); filter != filters.end()) {
      out->agent = make_filtered_agent(std::move(out->agent), filter->second, out->log);
    }
    return out;
  }

  std::unique_ptr<Transport> make_plain(const std::string& name) {
    auto out = std::make_unique<Transport>();
    out->name = name;
    const config::Service* service = config->transport(name);
    if (const auto found = limits.find(name); found != limits.end()) out->limits = found->second;
    const std::string command = service != nullptr ? service->command : name == "discard" ? "discard" : name;
    if (service != nullptr && service->disabled) {   // master_service_disable
      out->log = logger("error");
      out->agent = make_unavailable_agent();
    } else if (const auto client = clients.find(name); client != clients.end()) {
      out->log = logger(command, service);
      out->agent = std::make_unique<SmtpAgent>(
          client->second.options,
          [policies = client->second.policies](const std::string& nexthop) { return policies->find(nexthop); }, *resolver,
          net::connect, out->log, [this](const std::string& to, Attempt& attempt) { pass_on(to, attempt); });
    } else if (command == "discard") {
      out->log = logger("discard", service);
      out->agent = make_discard_agent();
    } else if (command == "error" || command == "retry") {
      // "retry" in master.cf is the error(8) program under another name.
      out->log = logger("error", service);
      out->agent = name == "retry" ? make_retry_agent() : make_error_agent();
    } else {
      if (service != nullptr && make_foreign) {
        out->log = logger(command, service);
        auto made = make_foreign(*service, out->log);
        if (made) out->agent = std::move(*made);
        else out->log.warning("service " + name + ": " + made.error().context);
      }
      if (out->agent == nullptr) {
        out->log = logger("error");
        out->agent = make_unavailable_agent();
      }
    }
    return out;
  }

  // The passing transport keeps its place in the scheduler: concurrency is counted there.
  void pass_on(const std::string& destination, Attempt& attempt) {
    const std::size_t colon = destination.find(':');
    auto& to = passed[destination.substr(0, colon)];
    if (to == nullptr) to = make(destination.substr(0, colon));
    const std::string nexthop = attempt.nexthop;
    if (colon != destination.npos && colon + 1 < destination.size()) attempt.nexthop = destination.substr(colon + 1);
    std::unique_ptr<Carry> carry;
    deliver_or_verify(*to->agent, to->name, attempt, carry);
    to->agent->release(attempt.nexthop, std::move(carry), false);
    attempt.logged_by = to->log;
    attempt.nexthop = nexthop;
  }
};

Engine::~Engine() = default;

void Engine::deliver_through(const std::string& transport, Attempt& attempt) {
  auto& through = parts_->through[transport];
  if (through == nullptr) through = parts_->make(transport);
  attempt.outcomes.assign(attempt.recipients.size(), Outcome{});
  std::unique_ptr<Carry> carry;
  deliver_or_verify(*through->agent, transport, attempt, carry);
  through->agent->release(attempt.nexthop, std::move(carry), false);
}

Result<std::unique_ptr<Engine>> Engine::make(std::shared_ptr<const config::Config> config, queue::Store& store,
                                             std::shared_ptr<const rewrite::Router> router, net::Resolver& resolver,
                                             map::TableSet& tables, AgentMaker make_foreign, NoticeInspection inspect) {
  std::unique_ptr<Engine> out(new Engine);
  out->parts_ = std::make_unique<Parts>();
  Parts& parts = *out->parts_;
  parts.config = config;
  parts.router = router;
  parts.resolver = &resolver;
  parts.make_foreign = std::move(make_foreign);
  const config::Params& params = config->params();

  const auto parents = split(params.parent_domain_matches_subdomains, ", \t\r\n");
  const auto parent_matches = [&](std::string_view name) { return std::find(parents.begin(), parents.end(), name) != parents.end(); };
  std::function<bool(const std::string&, const std::string&)> trace_peer;
  if (!trim(params.debug_peer_list).empty()) {
    auto peers = map::MatchList::open(tables, params.debug_peer_list, map::MatchList::Kind::address, parent_matches("debug_peer_list"));
    if (!peers) return fail("debug_peer_list", peers.error());
    trace_peer = [list = std::make_shared<map::MatchList>(std::move(*peers))](const std::string& name, const std::string& address) {
      return list->matches_host(name, address).value_or(false);
    };
  }

  for (const config::Service& service : config->services()) {
    if (!is_transport(service)) continue;
    const std::string where = service.where.to_text() + ": service " + service.name;
    TransportLimits limits;
    limits.processes = static_cast<std::size_t>(service.process_limit < 0 ? params.default_process_limit : service.process_limit);
    const auto number = [&](const char* suffix) {
      return static_cast<std::size_t>(std::max<std::int64_t>(config->transport_number(service.name, suffix), 0));
    };
    limits.recipients = number("destination_recipient_limit");
    limits.rate_delay = config->transport_time(service.name, "destination_rate_delay");
    limits.transport_delay = config->transport_time(service.name, "transport_rate_delay");
    limits.preemption.cost = number("delivery_slot_cost");
    limits.preemption.loan = number("delivery_slot_loan");
    limits.preemption.discount = number("delivery_slot_discount");
    limits.preemption.minimum = number("minimum_delivery_slots");
    limits.in_memory = number("recipient_limit");
    limits.extra_in_memory = number("extra_recipient_limit");
    limits.refill = number("recipient_refill_limit");
    limits.refill_delay = config->transport_time(service.name, "recipient_refill_delay");
    auto concurrency = concurrency_rules(*config, service.name);
    if (!concurrency) return fail(where, concurrency.error());
    limits.concurrency = *concurrency;
    if (limits.rate_delay.count() > 0) limits.concurrency.limit = 1;   // as qmgr(8) has it
    if (limits.transport_delay.count() > 0) limits.processes = 1;
    parts.limits[service.name] = limits;
    auto filter = status_filter(*config, service, tables);
    if (!filter) return fail(where, filter.error());
    if (!filter->empty()) parts.filters[service.name] = std::move(*filter);
    if (!is_client(service) || service.disabled) continue;
    auto options = read_client_options(*config, service);
    if (!options) return fail(where, options.error());
    auto policies = TlsPolicies::make(options->tls, tables);
    if (!policies) return fail(where, policies.error());
    const char* generic_name = options->lmtp ? "lmtp_generic_maps" : "smtp_generic_maps";
    auto generic = rewrite::GenericMaps::make(generic_name, config->value(generic_name, &service).value_or(""), params, router, tables);
    if (!generic) return fail(where, generic.error());
    options->generic = std::move(*generic);
    auto output_checks = open_output_checks(*config, service, tables, parts.logger(service.command));
    if (!output_checks) return fail(where, output_checks.error());
    options->output_checks = std::move(*output_checks);
    options->trace = service.verbosity > 0;
    options->trace_peer = trace_peer;
    parts.clients[service.name] = {std::make_shared<const ClientOptions>(std::move(*options)), std::move(*policies)};
  }

  SchedulerRules rules;
  rules.active_limit = static_cast<std::size_t>(params.qmgr_message_active_limit);
  rules.recipient_limit = static_cast<std::size_t>(params.qmgr_message_recipient_limit);
  rules.minimal_backoff = params.minimal_backoff_time;
  rules.maximal_backoff = params.maximal_backoff_time;
  rules.run_delay = params.queue_run_delay;
  rules.lifetime = params.maximal_queue_lifetime;
  rules.bounce_lifetime = params.bounce_queue_lifetime;
  rules.delay_warning = params.delay_warning_time;
  rules.filter_nexthop = params.default_filter_nexthop;
  rules.soft_bounce = params.soft_bounce;
  rules.delay_places = static_cast<int>(params.delay_logging_resolution_limit);
  for (const std::string_view word : split(params.defer_transports, ", \t\r\n")) rules.defer_transports.emplace_back(word);
  rules.recipient_minimum = static_cast<std::size_t>(params.qmgr_message_recipient_minimum);
  rules.transport_retry = params.transport_retry_time;
  rules.clog_warn_time = params.helpful_warnings ? params.qmgr_clog_warn_time : std::chrono::seconds(0);
  rules.in_flow_delay = params.in_flow_delay;
  rules.in_flow_tokens = static_cast<std::size_t>(std::max<std::int64_t>(params.default_process_limit, 1));
  rules.log_feedback = params.destination_concurrency_feedback_debug;
  for (const config::Service& service : config->services()) {
    if (!config::is_queue_manager(service)) continue;
    rules.frozen = rules.frozen || service.disabled;
    rules.log_feedback = rules.log_feedback || service.verbosity > 0;
  }
  auto sites = map::MatchList::open(tables, params.fast_flush_domains, map::MatchList::Kind::domain,
                                    parent_matches("fast_flush_domains"));
  if (!sites) return fail("fast_flush_domains", sites.error());
  rules.flush_domains = [list = std::make_shared<map::MatchList>(std::move(*sites))](const std::string& domain) {
    return list->matches(domain);
  };
  rules.qmgr_log = parts.logger("qmgr");
  rules.error_log = parts.logger("error");

  auto verify = verifier_rules(*config, *router);
  if (!verify) return tl::unexpected(verify.error());
  rules.is_discarded = discarded_users(params, verify->sender);
  auto postman = postman_rules(*config, router, tables);
  if (!postman) return tl::unexpected(postman.error());
  postman->bounce_log = parts.logger("bounce");
  postman->cleanup_log = parts.logger("cleanup");
  postman->inspect = std::move(inspect);

  verify->cleanup = postman->cleanup;
  out->wants_state_ = verify->persistent;
  out->scheduler_ = std::make_unique<Scheduler>(std::move(rules), std::move(*postman), store, *router,
                                                [p = out->parts_.get()](const std::string& name) { return p->make(name); });
  out->verifier_ = std::make_unique<Verifier>(
      std::move(*verify), store,
      [scheduler = out->scheduler_.get()](queue::Entry entry, std::shared_ptr<const std::string> content, Verifier::Done done) {
        scheduler->probe(std::move(entry), std::move(content), std::move(done));
      });
  return out;
}

}  // namespace millrace::deliver
