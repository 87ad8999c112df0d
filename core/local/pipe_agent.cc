#include "core/local/pipe_agent.h"

#include "core/base/strings.h"
#include "core/deliver/forwarded.h"
#include "core/local/exit_status.h"
#include "core/local/pipe_macros.h"
#include "core/local/task_files.h"
#include "core/rewrite/router.h"

namespace millrace::local {
namespace {

class PipeAgent final : public deliver::Agent {
 public:
  PipeAgent(std::string service, CommandSpec spec, std::string delimiter, std::string spool, Runner& runner, log::Logger log)
      : service_(std::move(service)), spec_(std::move(spec)), delimiter_(std::move(delimiter)), spool_(std::move(spool)),
        runner_(runner), log_(std::move(log)) {}

  void deliver(deliver::Attempt& attempt, std::unique_ptr<deliver::Carry>&) override {
    attempt.outcomes.assign(attempt.recipients.size(), deliver::Outcome{});
    run(attempt);
    if (attempt.connected == 0) attempt.connected = attempt.started;
    for (deliver::Outcome& outcome : attempt.outcomes) {
      outcome.relay = service_;
      outcome.last_hop = (spec_.flags & kFinal) != 0;
    }
  }
  bool can_verify() const override { return true; }
  void release(const std::string&, std::unique_ptr<deliver::Carry>, bool) override {}

 private:
  using Status = deliver::Outcome::Status;

  void run(deliver::Attempt& attempt) {
    const queue::Entry& entry = *attempt.entry;
    if (spec_.size_limit > 0 && entry.envelope.size > spec_.size_limit) {
      return attempt.all_pending(Status::bounced, "5.2.3", "message too large");
    }
    for (const auto& [flag, letter] : {std::pair(kDeliveredTo, 'D'), std::pair(kOriginalTo, 'O')}) {
      if ((spec_.flags & flag) == 0 || attempt.recipients.size() == 1) continue;
      log_.warning(std::string("pipe flag `") + letter + "' requires " + service_ + "_destination_recipient_limit = 1");
      return attempt.all_pending(Status::deferred, "4.3.5", "mail system configuration error");
    }
    const mime::Recipient& first = attempt.recipient(0);
    if ((spec_.flags & kDeliveredTo) && has_delivered_to(header_section(attempt.content), first.address)) {
      return attempt.all_pending(Status::bounced, "5.4.6", "mail forwarding loop for " + first.address);
    }
    Request request;
    request.kind = TaskKind::pipe;
    request.service = service_;
    add_facts(request, attempt);
    for (std::size_t i = 0; i < attempt.recipients.size(); ++i) {
      const mime::Recipient& recipient = attempt.recipient(i);
      request.add(Tag::recipient, recipient.address);
      request.add(Tag::original, recipient.original.empty() ? recipient.address : recipient.original);
    }
    // The master's child does the same again, from its own configuration.
    if (const auto argv = expand_command(spec_, pipe_facts(request), delimiter_); !argv) {
      log_.warning(service_ + ": " + argv.error().context);
      return attempt.all_pending(Status::deferred, "4.3.5", "mail system configuration error");
    }
    if (attempt.verify_only()) return attempt.all_pending(Status::sent, "2.0.0", "delivers to command: " + spec_.argv.front());
    const std::string sender = attempt.sender().empty() ? spec_.null_sender : attempt.sender();
    CopyOptions copy;
    copy.from_line = (spec_.flags & kFromLine) != 0;
    copy.return_path = (spec_.flags & kReturnPath) != 0;
    copy.original_to = (spec_.flags & kOriginalTo) != 0;
    copy.delivered_to = (spec_.flags & kDeliveredTo) != 0;
    copy.quote_from = (spec_.flags & kQuoteFrom) != 0;
    copy.dot = (spec_.flags & kDotStuff) != 0;
    copy.blank_line = (spec_.flags & kBlankLine) != 0;
    copy.eol = spec_.eol;
    copy.sender = rewrite::quote_local(sender);
    copy.original = rewrite::quote_local(first.original.empty() ? first.address : first.original);
    copy.delivered = rewrite::quote_local(first.address);
    copy.when = wall_now() / 1'000'000;
    const auto put_off = [&](const std::string& text) {
      log_.warning(entry.envelope.queue_id + ": " + text);
      attempt.all_pending(Status::deferred, "4.3.0", "mail system error");
    };
    auto message = write_message(attempt.content, spool_, &copy);
    if (!message) return put_off(message.error().context);
    auto output = Output::make(kMaxOutput);
    if (!output) return put_off(output.error().context);

    attempt.connected = wall_now();
    const int fds[] = {message->get(), (*output)->write_end()};
    const auto answer = runner_.run(std::move(request), fds);
    if (!answer) {
      if (answer.error().code == Errc::too_large) {
        log_.warning(service_ + ": the recipients do not fit one command: lower " + service_ + "_destination_recipient_limit");
      }
      attempt.transport_trouble = answer.error().code != Errc::too_large;   // nobody runs commands now
      return attempt.all_pending(Status::deferred, "4.3.0", "mail transport unavailable");
    }
    if (answer->ending == Answer::Ending::refused) {
      log_.warning(service_ + ": " + answer->text);
      attempt.site_trouble = true;
      return attempt.all_pending(Status::deferred, "4.3.0", "mail transport unavailable");
    }
    CommandEnd end;
    end.wait_status = static_cast<int>(answer->wait_status);
    end.timed_out = answer->ending == Answer::Ending::timed_out;
    end.output = (*output)->take();
    end.command = spec_.argv.front();
    const deliver::Outcome outcome = command_outcome(end, "delivered via " + service_ + " service");
    attempt.outcomes.assign(attempt.recipients.size(), outcome);
  }

  const std::string service_;
  const CommandSpec spec_;
  const std::string delimiter_, spool_;
  Runner& runner_;
  const log::Logger log_;
};

}  // namespace

void add_facts(Request& request, const deliver::Attempt& attempt) {
  const mime::Envelope& envelope = attempt.entry->envelope;
  const deliver::ForwardedClient client = deliver::forwarded_client(envelope);
  const auto add = [&](Tag tag, const std::string& value) {
    if (!value.empty()) request.add(tag, value);
  };
  add(Tag::sender, attempt.sender());
  add(Tag::nexthop, attempt.nexthop);
  add(Tag::queue_id, envelope.queue_id);
  add(Tag::size, std::to_string(envelope.size));
  add(Tag::client_address, client.address);
  add(Tag::client_helo, client.helo);
  add(Tag::client_hostname, client.name);
  add(Tag::client_port, client.port);
  add(Tag::client_protocol, client.protocol);
  add(Tag::sasl_method, envelope.sasl_method);
  add(Tag::sasl_sender, envelope.sasl_sender);
  add(Tag::sasl_username, envelope.sasl_username);
}

Result<std::unique_ptr<deliver::Agent>> make_pipe_agent(const config::Config& config, const config::Service& service,
                                                        std::string spool, Runner& runner, log::Logger log) {
  auto spec = parse_command_spec(service.arguments, SpecKind::pipe);
  if (!spec) return tl::unexpected(spec.error());
  return std::make_unique<PipeAgent>(service.name, std::move(*spec), config.params().recipient_delimiter, std::move(spool), runner, std::move(log));
}

}  // namespace millrace::local
