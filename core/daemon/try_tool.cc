#include "core/daemon/try_tool.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <set>
#include <nlohmann/json.hpp>

#include "core/base/strings.h"
#include "core/config/services.h"
#include "core/daemon/chain_builder.h"
#include "core/daemon/child.h"
#include "core/filter/trace.h"
#include "core/mime/builder.h"
#include "core/mime/canonical.h"
#include "core/mime/received.h"
#include "core/net/fiber.h"
#include "core/tools/explain_tool.h"

namespace millrace::daemon {
namespace {

using filter::Stage;
using filter::Verdict;
using Json = nlohmann::json;

constexpr char kUsage[] =
    "usage: millrace try FILE.eml -f SENDER -r RECIPIENT [-r RECIPIENT…] [--client ADDRESS[,NAME]] [--helo NAME]\n"
    "                    [--login NAME] [--service NAME] [--json]\n";

struct Question {
  std::string file, sender, helo = "localhost", login, service;
  std::string client = "127.0.0.1", client_name = "localhost";
  std::vector<std::string> recipients;
  bool json = false, has_sender = false;
};

std::optional<Question> parse(int argc, char** argv) {
  Question out;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--json") {
      out.json = true;
    } else if (word == "-f" || word == "-r" || word == "--client" || word == "--helo" || word == "--login" || word == "--service") {
      if (++i == argc) return {};
      std::string value = argv[i];
      if (word == "-f") {
        if (value.starts_with('<') && value.ends_with('>')) value = value.substr(1, value.size() - 2);
        out.sender = value;
        out.has_sender = true;
      } else if (word == "-r") {
        out.recipients.push_back(value);
      } else if (word == "--client") {
        const std::size_t comma = value.find(',');
        out.client = value.substr(0, comma);
        out.client_name = comma == value.npos ? "unknown" : value.substr(comma + 1);
      } else {
        (word == "--helo" ? out.helo : word == "--login" ? out.login : out.service) = value;
      }
    } else if (out.file.empty() && (word == "-" || !word.starts_with('-'))) {
      out.file = word;
    } else {
      return {};
    }
  }
  if (out.file.empty() || !out.has_sender || out.recipients.empty()) return {};
  return out;
}

class Collector final : public filter::TraceSink {
 public:
  void record(const filter::SessionFacts& facts, filter::TraceLine line) override { lines.push_back(filter::format_trace("try", facts, line)); }
  std::vector<std::string> lines;
};

struct Answer {
  std::string stage;
  Verdict verdict;
  std::vector<std::pair<std::string, Verdict>> recipients;
  std::vector<std::string> diff;
};

std::string shown(const Verdict& verdict) {
  std::string out(filter::action_name(verdict.action));
  if (verdict.code != 0) out += fmt::format(" {}", verdict.code);
  if (!verdict.enhanced.empty()) out += " " + verdict.enhanced;
  if (!verdict.text.empty()) out += " " + printable(verdict.text);
  return out;
}

Json json_of(const Verdict& verdict) {
  Json out{{"action", filter::action_name(verdict.action)}};
  if (verdict.code != 0) out["code"] = verdict.code;
  if (!verdict.enhanced.empty()) out["enhanced"] = verdict.enhanced;
  if (!verdict.text.empty()) out["text"] = printable(verdict.text);
  if (!verdict.reason_id.empty()) out["reason"] = verdict.reason_id;
  return out;
}

// Headers that went and came, in the order of the message; a longest common subsequence is not worth its price here:
// what stands in both, in whatever place, is not told.
std::vector<std::string> difference(const std::vector<mime::Header>& before, const mime::Envelope& envelope_before, std::uint64_t body_before,
                                    std::uint64_t hash_before, const mime::Message& after, const mime::Envelope& envelope, std::uint64_t hash_after) {
  std::vector<std::string> out;
  std::multiset<std::string> old;
  for (const mime::Header& header : before) old.insert(header.text());
  std::multiset<std::string> fresh;
  for (const mime::Header& header : after.headers) fresh.insert(header.text());
  for (const mime::Header& header : before) {
    const auto at = fresh.find(header.text());
    if (at == fresh.end()) out.push_back("-" + header.text());
    else fresh.erase(at);
  }
  for (const mime::Header& header : after.headers) {
    const auto at = old.find(header.text());
    if (at == old.end()) out.push_back("+" + header.text());
    else old.erase(at);
  }
  if (hash_before != hash_after) {
    out.push_back(fmt::format("-(body of {} bytes)", body_before));
    out.push_back(fmt::format("+(body of {} bytes)", after.body.size()));
  }
  if (envelope.sender != envelope_before.sender) {
    out.push_back("-MAIL FROM:<" + envelope_before.sender + ">");
    out.push_back("+MAIL FROM:<" + envelope.sender + ">");
  }
  const auto has = [](const mime::Envelope& in, const std::string& address) {
    for (const mime::Recipient& one : in.recipients) {
      if (one.address == address) return true;
    }
    return false;
  };
  for (const mime::Recipient& one : envelope_before.recipients) {
    if (!has(envelope, one.address)) out.push_back("-RCPT TO:<" + one.address + ">");
  }
  for (const mime::Recipient& one : envelope.recipients) {
    if (!has(envelope_before, one.address)) out.push_back("+RCPT TO:<" + one.address + ">");
  }
  if (!envelope.content_filter.empty()) out.push_back("+content filter " + envelope.content_filter);
  if (!envelope.redirect.empty()) out.push_back("+redirect " + envelope.redirect);
  for (std::string& line : out) {
    std::erase(line, '\r');
    for (std::size_t at = 0; (at = line.find('\n', at)) != line.npos; ++at) line.insert(at + 1, 1, line[0]);
  }
  return out;
}

std::uint64_t hash_of(const mime::Body& body) {
  std::uint64_t value = 14695981039346656037ULL;
  (void)body.for_each([&](std::string_view piece) {
    for (const char c : piece) value = (value ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
    return true;
  });
  return value;
}

Answer ask(const Question& question, const filter::Chain& chain, const config::Params& params, mime::Message message, Collector& trace) {
  Answer answer;
  const log::Logger log("millrace/try");
  filter::SessionFacts facts;
  facts.client_address = question.client;
  facts.client_name = facts.reverse_client_name = question.client_name;
  facts.name_status = facts.reverse_name_status =
      question.client_name == "unknown" ? filter::SessionFacts::NameStatus::not_found : filter::SessionFacts::NameStatus::ok;
  facts.client_port = "0";
  facts.server_address = "127.0.0.1";
  facts.server_port = "25";
  facts.service = "smtp";
  facts.protocol = "ESMTP";
  if (!question.login.empty()) {
    facts.sasl_method = "PLAIN";
    facts.sasl_username = question.login;
  }
  filter::ChainSession session(chain, facts, &trace, log);
  mime::Envelope envelope;
  envelope.arrival = wall_now();
  envelope.protocol = facts.protocol;
  envelope.client_address = facts.client_address;
  envelope.client_name = facts.client_name;
  const auto at = [&](Stage stage, const std::string& command, const std::string& typed, const mime::Recipient* rcpt = nullptr) {
    filter::Context context{.session = facts, .envelope = envelope, .rcpt = rcpt, .command = command, .typed = typed};
    context.deadline = Deadline::after(std::chrono::minutes(10));
    context.log = &log;
    return session.at(stage, context);
  };
  const auto stops = [&](std::string_view stage, const Verdict& verdict) {
    if (verdict.action == filter::Action::quarantine) envelope.hold = true;
    if (!verdict.refuses() && verdict.action != filter::Action::discard) return false;
    answer.stage = stage;
    answer.verdict = verdict;
    return true;
  };
  const auto talk = [&] {
    if (stops("connect", at(Stage::connect, "", ""))) return;
    facts.helo_name = envelope.helo_name = question.helo;
    if (stops("helo", at(Stage::helo, "EHLO " + question.helo, question.helo))) return;
    envelope.sender = question.sender;
    if (stops("mail", at(Stage::mail, "MAIL FROM:<" + question.sender + ">", "<" + question.sender + ">"))) return;
    for (const std::string& address : question.recipients) {
      mime::Recipient rcpt;
      rcpt.address = rcpt.original = address;
      Verdict verdict = at(Stage::rcpt, "RCPT TO:<" + address + ">", "<" + address + ">", &rcpt);
      const bool refused = verdict.refuses();
      answer.recipients.emplace_back(address, verdict);
      if (verdict.action == filter::Action::discard || (refused && verdict.action == filter::Action::disconnect)) {
        stops("rcpt", verdict);
        return;
      }
      if (!refused) envelope.recipients.push_back(std::move(rcpt));
    }
    if (envelope.recipients.empty()) {
      stops("rcpt", answer.recipients.back().second);
      return;
    }
    envelope.queue_id = "TRY";
    if (stops("data", at(Stage::data, "DATA", ""))) return;
    mime::ReceivedFacts received;
    received.helo = question.helo;
    received.client_name = facts.client_name;
    received.client_address = facts.client_address;
    received.protocol = "ESMTP";
    received.host = params.myhostname;
    received.mail_name = params.mail_name;
    received.queue_id = envelope.queue_id;
    received.when = envelope.arrival;
    message.headers.insert(message.headers.begin(), mime::make_received(received));
    envelope.size = message.size();
    const std::vector<mime::Header> before = message.headers;
    const mime::Envelope envelope_before = envelope;
    const std::uint64_t body_before = message.body.size(), hash_before = hash_of(message.body);
    filter::Context context{.session = facts, .envelope = envelope};
    context.deadline = Deadline::after(std::chrono::minutes(10));
    context.log = &log;
    Verdict verdict = session.message(context, message, -1);
    answer.diff = difference(before, envelope_before, body_before, hash_before, message, envelope, hash_of(message.body));
    answer.stage = "end of message";
    answer.verdict = verdict;
    if (!verdict.stops() && envelope.hold) answer.verdict.action = filter::Action::quarantine;
  };
  talk();
  session.abort();
  session.close();
  return answer;
}

}  // namespace

int try_main(int argc, char** argv, const std::string& config_directory) {
  const auto question = parse(argc, argv);
  if (!question) {
    fmt::print(stderr, "{}", kUsage);
    return 2;
  }
  const auto failed = [](const std::string& why) {
    fmt::print(stderr, "millrace try: {}\n", why);
    return 2;
  };
  std::string text;
  if (question->file == "-") {
    text.assign(std::istreambuf_iterator<char>(std::cin), {});
  } else {
    std::ifstream in(question->file, std::ios::binary);
    if (!in) return failed(question->file + ": cannot be read");
    text.assign(std::istreambuf_iterator<char>(in), {});
  }
  config::Findings findings;
  const auto config = config::Config::load(config_directory, findings);
  const config::Service* service = nullptr;
  for (const config::Service& one : config->services()) {
    const bool fits = question->service.empty() ? one.command == "smtpd" : one.name == question->service;
    if (service == nullptr && fits) service = &one;
  }
  if (service == nullptr) return failed("no smtpd service in master.cf");
  log::Options log_options;
  log_options.facility = log::Facility::standard_error;
  log_options.threaded = false;
  log::open(log_options);

  std::string canonical;
  mime::Canonicalizer canonicalizer;
  canonicalizer.add(text, canonical);
  canonicalizer.finish(canonical);
  mime::MessageBuilder builder({}, mime::Body(-1));
  if (auto added = builder.add(canonical); !added) return failed(added.error().context);
  if (auto done = builder.finish(); !done) return failed(done.error().context);

  net::Loop loop;
  const auto resolver = net::make_resolver();
  map::TableOptions table_options;
  table_options.config_directory = config->directory();
  map::TableSet tables(table_options);
  ChainParts parts;
  parts.config = config;
  parts.service = service;
  parts.tables = &tables;
  parts.resolver = resolver.get();
  ChainBuilder chain(parts);
  bool good = chain.add_own(findings);
  if (good && ::geteuid() == 0) {
    // The filters of others never run as root.
    if (const auto owner = find_owner(*config)) {
      if (auto changed = become(*owner); !changed) return failed(changed.error().context);
    }
  }
  good = good && chain.add_foreign(findings);
  for (const auto& line : findings.lines) {
    if (line.is_error) fmt::print(stderr, "millrace try: {}\n", line.to_text());
  }
  if (!good) return 2;
  Collector trace;
  Answer answer;
  const auto chooser = chain.chooser();
  const filter::Chain& used = chooser ? *chooser(question->client) : chain.chain();
  const auto params = config->params_for(*service, nullptr);
  loop.post([&] {
    const bool started = loop.spawn(net::Stack::session, [&] {
      answer = ask(*question, used, *params, builder.take(), trace);
      loop.stop();
    }).has_value();
    if (!started) loop.stop();
  });
  loop.run();
  if (question->json) {
    Json lines = Json::array(), recipients = Json::array();
    for (const std::string& line : trace.lines) {
      if (Json parsed = Json::parse(line, nullptr, false); parsed.is_object()) lines.push_back(std::move(parsed));
    }
    for (const auto& [address, verdict] : answer.recipients) recipients.push_back({{"address", address}, {"verdict", json_of(verdict)}});
    fmt::print("{}\n", Json{{"stage", answer.stage}, {"verdict", json_of(answer.verdict)}, {"recipients", std::move(recipients)},
                            {"diff", answer.diff}, {"trace", std::move(lines)}}
                           .dump(2, ' ', false, Json::error_handler_t::replace));
    return 0;
  }
  fmt::print("{}", tools::explain_text(trace.lines));
  for (const auto& [address, verdict] : answer.recipients) {
    if (verdict.refuses()) fmt::print("recipient <{}>: {}\n", printable(address), shown(verdict));
  }
  fmt::print("\nverdict at {}: {}\n", answer.stage, shown(answer.verdict));
  if (!answer.diff.empty()) fmt::print("\nchanges:\n");
  for (const std::string& line : answer.diff) fmt::print("{}\n", line);
  return 0;
}

}  // namespace millrace::daemon
