// One message through a milter, as the SMTP server would send it: for the interop tests.
//
//   milter_driver SMTPD_MILTERS SENDER RECIPIENT… < message > message as changed
//
// The message has CRLF line ends.  On standard error: "verdict ACTION CODE ENHANCED TEXT", then
// "sender …" and one "recipient …" line each.
#include <cstdio>
#include <iostream>
#include <iterator>

#include "core/milter/settings.h"
#include "core/mime/builder.h"
#include "core/net/fiber.h"

using namespace millrace;
using filter::Stage;

namespace {

mime::Message read_message() {
  const std::string text{std::istreambuf_iterator<char>(std::cin), {}};
  mime::MessageBuilder builder({}, mime::Body());
  if (!builder.add(text) || !builder.finish()) throw std::runtime_error("message");
  return builder.take();
}

filter::Verdict run(filter::ChainSession& session, filter::SessionFacts& facts, mime::Envelope& envelope,
                    mime::Message& message) {
  const auto at = [&](Stage stage, std::string_view typed, const mime::Recipient* rcpt = nullptr) {
    filter::Context context{.session = facts, .envelope = envelope, .rcpt = rcpt, .typed = typed};
    return session.at(stage, context);
  };
  if (auto verdict = at(Stage::connect, ""); verdict.stops()) return verdict;
  if (auto verdict = at(Stage::helo, facts.helo_name); verdict.stops()) return verdict;
  if (auto verdict = at(Stage::mail, "<" + envelope.sender + ">"); verdict.stops()) return verdict;
  for (const mime::Recipient& rcpt : envelope.recipients) {
    if (auto verdict = at(Stage::rcpt, "<" + rcpt.address + ">", &rcpt); verdict.stops()) return verdict;
  }
  envelope.queue_id = "4ABCDEF123";
  if (auto verdict = at(Stage::data, ""); verdict.stops()) return verdict;
  filter::Context context{.session = facts, .envelope = envelope};
  return session.message(context, message, -1);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  config::Findings findings;
  const auto config = config::Config::from_text("myhostname = mx.example\nmilter_command_timeout = 5s\n", "", findings);
  findings = {};
  filter::Chain chain;
  for (auto& filter : milter::make_filters(*config, config->params(), argv[1], findings)) chain.add(std::move(filter));
  if (findings.has_errors()) {
    std::fprintf(stderr, "%s\n", findings.lines[0].text.c_str());
    return 2;
  }
  filter::SessionFacts facts;
  facts.client_address = facts.server_address = "192.0.2.10";
  facts.client_name = facts.reverse_client_name = facts.helo_name = "client.example";
  mime::Envelope envelope;
  envelope.sender = argv[2];
  for (int i = 3; i < argc; ++i) envelope.recipients.push_back({argv[i], argv[i], "", 0});
  mime::Message message = read_message();

  filter::Verdict verdict;
  net::Loop loop;
  if (!loop.spawn(net::Stack::session, [&] {
        {
          filter::ChainSession session(chain, facts, nullptr, log::Logger());
          verdict = run(session, facts, envelope, message);
          session.abort();
        }
        (void)net::sleep_until(Deadline::after(std::chrono::milliseconds(20)));   // the farewell leaves
        loop.stop();
      })) {
    return 2;
  }
  loop.run();

  std::fprintf(stderr, "verdict %s %d %s %s\nsender %s\n", std::string(action_name(verdict.action)).c_str(), verdict.code,
               verdict.enhanced.c_str(), verdict.text.c_str(), envelope.sender.c_str());
  for (const auto& rcpt : envelope.recipients) std::fprintf(stderr, "recipient %s\n", rcpt.address.c_str());
  std::cout << message.header_text();
  (void)message.body.for_each([](std::string_view piece) {
    std::cout << piece;
    return true;
  });
}
