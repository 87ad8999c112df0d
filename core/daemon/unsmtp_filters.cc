#include "core/daemon/unsmtp_filters.h"

#include <fmt/format.h>

#include "core/base/strings.h"
#include "core/config/overrides.h"
#include "core/config/services.h"
#include "core/daemon/content_checks.h"
#include "core/daemon/milter_host.h"
#include "core/daemon/setup.h"
#include "core/milter/settings.h"
#include "core/rewrite/router.h"

namespace millrace::daemon {

using filter::Stage;
using filter::Verdict;

std::shared_ptr<UnsmtpFilters> UnsmtpFilters::make(std::shared_ptr<const config::Config> config, map::TableSet& tables,
                                                   config::Findings& findings, filter::SharedFilters* shared, unsigned process,
                                                   const config::Service* service) {
  auto out = std::make_shared<UnsmtpFilters>();
  out->config_ = config;
  out->log_ = logger_for(*config, "cleanup");
  const config::Params& params = config->params();
  config::ReceiveOverrides overrides;
  if (service != nullptr) {
    const auto given = config::parse_receive_overrides(config->params_for(*service, nullptr)->receive_override_options);
    if (given) overrides = *given;   // pickup reports what is wrong with it
  }
  if (!overrides.no_content_checks) {
    const auto cleanup = config::cleanup_params(*config, service);
    if (auto checks = make_content_checks(*config, *cleanup, tables, out->log_, findings)) out->chain_.add(std::move(checks));
  }
  milter::Host host;
  host.parameter = "non_smtpd_milters";
  host.where = config->where(host.parameter);
  if (!add_milter_host(host, *config, params, tables, nullptr, findings)) return nullptr;
  const std::string milters = overrides.no_milters ? std::string() : params.non_smtpd_milters;
  for (auto& made : milter::make_filters(*config, params, milters, findings, host)) out->chain_.add(std::move(made));
  if (findings.has_errors() || out->chain_.filters().empty()) return nullptr;
  if (shared != nullptr) out->chain_.share(*shared, process);
  return out;
}

bool UnsmtpFilters::inspects(std::string_view mail_class) const {
  for (const std::string_view word : split(config_->params().internal_mail_filter_classes, ", \t\r\n")) {
    if (iequals(word, mail_class)) return true;
  }
  return false;
}

void UnsmtpFilters::log_verdict(const Verdict& verdict, const mime::Envelope& envelope, const std::vector<mime::Recipient>& recipients) const {
  if (!verdict.stops()) return;
  for (const auto& [name, value] : verdict.facts) {
    if (name == "log" && value == "no") return;
  }
  const std::string_view action = verdict.refuses() ? "reject" : verdict.action == filter::Action::discard ? "discard" : "hold";
  log_.info(fmt::format("{}: milter-{}: END-OF-MESSAGE from localhost[127.0.0.1]: {}{}{}; from=<{}> to=<{}>", envelope.queue_id, action, verdict.enhanced,
                        verdict.enhanced.empty() ? "" : " ", verdict.text, envelope.sender, recipients.empty() ? "" : recipients.back().address));
}

Verdict UnsmtpFilters::inspect(mime::Envelope& envelope, mime::Message& message, filter::TraceSink* trace, int spool_directory) const {
  filter::SessionFacts facts;
  facts.client_name = facts.reverse_client_name = "localhost";
  facts.client_address = facts.server_address = "127.0.0.1";
  facts.client_port = "0";
  facts.helo_name = "localhost";
  facts.protocol = "ESMTP";
  facts.is_local = true;
  filter::ChainSession session(chain_, facts, trace, log_);
  const auto ask = [&](Stage stage, std::string_view typed, const mime::Recipient* rcpt = nullptr) {
    filter::Context context{.session = facts, .envelope = envelope, .rcpt = rcpt, .typed = typed};
    context.log = &log_;
    return session.at(stage, context);
  };
  Verdict verdict = ask(Stage::connect, {});
  if (!verdict.stops()) verdict = ask(Stage::helo, "localhost");
  const auto decided = [&] { return verdict.refuses() || verdict.action == filter::Action::discard; };
  Verdict held;
  const auto note = [&] {
    if (verdict.action == filter::Action::quarantine && !held.stops()) held = verdict;
  };
  const std::string sender = rewrite::quote_local(envelope.sender);
  if (!decided()) verdict = ask(Stage::mail, sender);
  note();
  const std::vector<mime::Recipient> recipients = envelope.recipients;
  for (std::size_t i = 0; i < recipients.size() && !decided(); ++i) {
    verdict = ask(Stage::rcpt, rewrite::quote_local(recipients[i].address), &recipients[i]);
    note();
    if (!verdict.refuses()) continue;
    log_.warning(fmt::format("{}: milter configuration error: can't reject recipient in non-smtpd(8) submission", envelope.queue_id));
    log_.warning(fmt::format("{}: deferring delivery of this message", envelope.queue_id));
    verdict = Verdict::reply(451, "4.3.5", "Server configuration problem - try again later");
  }
  if (!decided()) verdict = ask(Stage::data, {});
  note();
  if (!decided()) {
    filter::Context context{.session = facts, .envelope = envelope};
    context.log = &log_;
    verdict = session.message(context, message, spool_directory);
    note();
  }
  session.close();
  if (!decided() && held.stops()) verdict = held;
  log_verdict(verdict, envelope, recipients);
  return verdict;
}

}  // namespace millrace::daemon
