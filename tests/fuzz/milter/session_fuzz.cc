// The whole client with a hostile filter: two messages of one session, then another session over the same connection.
// Whatever the filter says, what comes out is a verdict that can be told and a message that can be stored.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "core/filter/chain.h"
#include "core/milter/session.h"
#include "tests/support/scripted_stream.h"

using namespace millrace;
using filter::Action;
using filter::Stage;

namespace {

void require(bool truth) {
  if (!truth) std::abort();
}

void judge(const filter::Verdict& verdict) {
  require(verdict.failure.empty());   // the chain has made an answer of it
  if (!verdict.refuses()) return;
  require(verdict.code >= 400 && verdict.code <= 599);
  require(verdict.text.find_first_of(std::string_view("\r\0", 2)) == std::string::npos);
}

void judge(const mime::Message& message, const mime::Envelope& envelope) {
  for (const mime::Header& header : message.headers) {
    const std::string& text = header.text();
    require(text.find('\0') == std::string::npos);
    for (std::size_t i = 0; i < text.size(); ++i) {
      // A line end only in front of white space: nothing becomes a field of its own, or ends the section.
      if (text[i] == '\r') require(i + 2 < text.size() && text[i + 1] == '\n' && (text[i + 2] == ' ' || text[i + 2] == '\t'));
      if (text[i] == '\n') require(i > 0 && text[i - 1] == '\r');
    }
  }
  for (const mime::Recipient& recipient : envelope.recipients) require(!recipient.address.empty());
  const std::string& body = message.body.memory();
  for (std::size_t i = 0; i < body.size(); ++i) {
    if (body[i] == '\n') require(i > 0 && body[i - 1] == '\r');
    if (body[i] == '\r') require(i + 1 < body.size() && body[i + 1] == '\n');
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const unsigned flags = data[0];
  std::string rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::string negotiation;
  if ((flags & 1) != 0) {   // most inputs come past the negotiation
    milter::Options options{6, milter::kAllActions, 0, {}};
    if ((flags & 2) != 0) options.protocol = milter::protocol::kLeadingSpace | milter::protocol::kSkip | milter::protocol::kRejectedRcpt;
    milter::encode_options(options, negotiation);
  }
  milter::Settings settings;
  settings.service = "fuzz";
  settings.body_limit = 100'000;
  settings.connector = [&](Deadline) -> Result<std::unique_ptr<net::Stream>> {
    std::deque<std::string> pieces;
    std::string all = negotiation + std::exchange(rest, {});
    while (!all.empty()) {
      const std::size_t take = (flags & 4) != 0 ? 7 : all.size();
      pieces.push_back(all.substr(0, take));
      all.erase(0, take);
    }
    return std::make_unique<test::ScriptedStream>(std::move(pieces));
  };
  filter::Options options;
  options.stream = (flags & 8) != 0;
  options.default_action = filter::Verdict::reply(451, "4.7.1", "Service unavailable");
  if ((flags & 16) != 0) options.default_action = {};
  filter::Chain chain;
  chain.add(milter::make_milter(std::move(settings), std::move(options)));
  filter::SessionFacts facts;
  facts.client_address = "192.0.2.1";
  filter::ChainSession session(chain, facts, nullptr, log::Logger());
  mime::Envelope envelope;
  const auto at = [&](Stage stage, std::string_view typed) {
    filter::Context context{.session = facts, .envelope = envelope, .typed = typed};
    judge(session.at(stage, context));
  };
  at(Stage::connect, "");
  at(Stage::helo, "h");
  for (int round = 0; round < 2; ++round) {
    envelope = {};
    envelope.sender = "a@b";
    mime::Message message;
    message.headers.push_back(mime::Header::make("Subject", "x"));
    message.headers.push_back(mime::Header::make("X-Two", "y"));
    (void)message.body.append("line\r\n");
    at(Stage::unknown, "FOO bar");
    at(Stage::mail, "<a@b>");
    at(Stage::rcpt, "<c@d>");
    mime::Recipient recipient;
    recipient.address = recipient.original = "c@d";
    envelope.recipients.push_back(recipient);
    at(Stage::data, "");
    filter::Context context{.session = facts, .envelope = envelope};
    if (session.streams()) {
      session.stream_headers(context, message.headers);
      session.stream_body(context, message.body.memory());
    }
    judge(session.message(context, message, -1));
    judge(message, envelope);
    session.abort();
  }
  session.close();
  return 0;
}
