#include "core/milter/probe.h"

#include <fmt/format.h>
#include <netdb.h>

#include "core/base/strings.h"
#include "core/milter/connection.h"
#include "core/net/fiber.h"

namespace millrace::milter {
namespace {

struct Name {
  std::uint32_t bit;
  const char* text;
};
constexpr Name kActionNames[] = {{0x1, "ADDHDRS"},     {0x2, "CHGBODY"}, {0x4, "ADDRCPT"},      {0x8, "DELRCPT"},    {0x10, "CHGHDRS"},
                                 {0x20, "QUARANTINE"}, {0x40, "CHGFROM"}, {0x80, "ADDRCPT_PAR"}, {0x100, "SETSYMLIST"}};
constexpr Name kProtocolNames[] = {{0x1, "NOCONNECT"},    {0x2, "NOHELO"},     {0x4, "NOMAIL"},      {0x8, "NORCPT"},       {0x10, "NOBODY"},
                                   {0x20, "NOHDRS"},      {0x40, "NOEOH"},     {0x80, "NR_HDR"},     {0x100, "NOUNKNOWN"},  {0x200, "NODATA"},
                                   {0x400, "SKIP"},       {0x800, "RCPT_REJ"}, {0x1000, "NR_CONN"},  {0x2000, "NR_HELO"},   {0x4000, "NR_MAIL"},
                                   {0x8000, "NR_RCPT"},   {0x10000, "NR_DATA"}, {0x20000, "NR_UNKN"}, {0x40000, "NR_EOH"},  {0x80000, "NR_BODY"},
                                   {0x100000, "HDR_LEADSPC"}};

template <typename List>
std::vector<std::string> names(const List& list, std::uint32_t bits) {
  std::vector<std::string> out;
  for (const Name& name : list) {
    if ((bits & name.bit) != 0) out.emplace_back(name.text);
    bits &= ~name.bit;
  }
  if (bits != 0) out.push_back(fmt::format("unknown bits {:#x}", bits));
  return out;
}

const char* shown_answer(char command) {
  switch (command) {
    case answer::kContinue: return "continue";
    case answer::kAccept: return "accept";
    case answer::kReject: return "reject";
    case answer::kTempfail: return "tempfail";
    case answer::kReplyCode: return "reply";
    case answer::kShutdown: return "shutdown";
    case answer::kConnectionFailed: return "connection failed";
    case answer::kDiscard: return "discard";
    case answer::kProgress: return "progress";
    case answer::kSkip: return "skip";
    case answer::kQuarantine: return "quarantine";
    case answer::kAddRcpt:
    case answer::kAddRcptParameters: return "add recipient";
    case answer::kDeleteRcpt: return "delete recipient";
    case answer::kChangeFrom: return "change sender";
    case answer::kAddHeader: return "add header";
    case answer::kInsertHeader: return "insert header";
    case answer::kChangeHeader: return "change header";
    case answer::kReplaceBody: return "replace body";
    default: return nullptr;
  }
}

bool is_edit(char command) { return std::string_view("+2-ehimbq").find(command) != std::string_view::npos; }

std::uint32_t needed_action(char command) {
  switch (command) {
    case answer::kAddHeader:
    case answer::kInsertHeader: return 0x1;
    case answer::kReplaceBody: return 0x2;
    case answer::kAddRcpt: return 0x4;
    case answer::kDeleteRcpt: return 0x8;
    case answer::kChangeHeader: return 0x10;
    case answer::kQuarantine: return 0x20;
    case answer::kChangeFrom: return 0x40;
    case answer::kAddRcptParameters: return 0x80;
    default: return 0;
  }
}

Result<std::unique_ptr<net::Stream>> open(const net::Endpoint& at, Deadline until) {
  if (at.is_unix) return net::connect(at, {}, until);
  auto list = net::offload([&]() -> std::vector<std::string> {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    std::vector<std::string> out;
    if (getaddrinfo(at.address.c_str(), nullptr, &hints, &found) != 0) return out;
    for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
      char name[NI_MAXHOST];
      if (getnameinfo(one->ai_addr, one->ai_addrlen, name, sizeof name, nullptr, 0, NI_NUMERICHOST) == 0) out.emplace_back(name);
    }
    freeaddrinfo(found);
    return out;
  });
  if (list.empty()) return fail(Errc::not_found, "host " + at.address + " not found");
  Error last;
  for (const std::string& address : list) {
    auto stream = net::connect({address, at.port, false}, {}, until);
    if (stream) return stream;
    last = stream.error();
  }
  return tl::unexpected(std::move(last));
}

std::string why(const Error& error) {
  if (error.code == Errc::timeout) return "no answer in time";
  if (error.code == Errc::closed) return "it closed the connection";
  return error.context;
}

Result<Options> negotiate(Connection& connection, Deadline until) {
  encode_options({6, kAllActions, protocol_bits(6), {}}, connection.output());
  if (auto sent = connection.flush(until); !sent) return fail(Errc::protocol, "negotiation: " + why(sent.error()));
  const auto packet = connection.read(until);
  if (!packet) return fail(Errc::protocol, "negotiation: " + why(packet.error()));
  auto options = packet->command == event::kOptions ? decode_options(packet->data) : std::nullopt;
  if (!options) return fail(Errc::protocol, "its answer to the option negotiation is not of the milter protocol");
  return std::move(*options);
}

class Walk {
 public:
  Walk(Connection& connection, ProbeReport& report, Deadline until) : connection_(connection), report_(report), until_(until) {}

  // False: the walk is over.
  bool step(char command, std::string_view payload, std::uint32_t unwanted, std::uint32_t unanswered, std::uint32_t since = 2) {
    if (report_.options.version < since || (report_.options.protocol & unwanted) != 0) return true;
    const std::string name(event_name(command).substr(6));
    encode(event::kMacros, std::string(1, command), connection_.output());
    encode(command, payload, connection_.output());
    const TimePoint start = SteadyClock::now();
    if (auto sent = connection_.flush(until_); !sent) return end(name + ": " + why(sent.error()));
    if ((report_.options.protocol & unanswered) != 0) {
      report_.steps.push_back({name, "(none wanted)", 0});
      return true;
    }
    std::string answers;
    for (int packets = 0; packets < 1000; ++packets) {
      const auto packet = connection_.read(until_);
      if (!packet) return end(name + ": " + why(packet.error()));
      const char* text = shown_answer(packet->command);
      if (text == nullptr) {
        report_.problems.push_back(fmt::format("{}: unknown answer '{}'", name, printable({&packet->command, 1})));
        return end(name + ": unknown answer");
      }
      judge(name, command, *packet);
      if (!answers.empty()) answers += ", ";
      answers += text;
      if (packet->command == answer::kReplyCode) answers += " " + printable(packet->data.substr(0, 80));
      if (packet->command == answer::kProgress || (is_edit(packet->command) && packet->command != answer::kProgress)) continue;
      const auto span = std::chrono::duration_cast<std::chrono::microseconds>(SteadyClock::now() - start);
      report_.steps.push_back({name, answers, span.count()});
      if (packet->command == answer::kContinue || packet->command == answer::kSkip) return true;
      return packet->command == answer::kAccept ? end("it accepted at " + name) : end("it refused at " + name);
    }
    report_.problems.push_back(name + ": more than 1000 packets in answer");
    return end(name + ": it does not stop");
  }

 private:
  bool end(std::string text) {
    report_.ended = std::move(text);
    return false;
  }
  void judge(const std::string& name, char command, const Packet& packet) {
    const auto problem = [&](const std::string& text) { report_.problems.push_back(name + ": " + text); };
    if (is_edit(packet.command)) {
      if (command != event::kEndOfMessage) problem(fmt::format("\"{}\" before the end of the message", shown_answer(packet.command)));
      if ((report_.options.actions & needed_action(packet.command)) == 0) {
        problem(fmt::format("\"{}\" without having negotiated it", shown_answer(packet.command)));
      }
      const bool with_index = packet.command != answer::kAddHeader;
      const bool is_header = packet.command == answer::kAddHeader || packet.command == answer::kInsertHeader || packet.command == answer::kChangeHeader;
      if (is_header && !parse_header_edit(packet.data, with_index)) problem("malformed header edit");
    } else if (packet.command == answer::kReplyCode) {
      if (!parse_reply_text(packet.data)) problem("unusable reply text \"" + printable(packet.data.substr(0, 80)) + "\"");
    } else if (!packet.data.empty()) {
      problem(fmt::format("{} bytes behind \"{}\"", packet.data.size(), shown_answer(packet.command)));
    }
    if (packet.command == answer::kSkip && (report_.options.protocol & protocol::kSkip) == 0) problem("skip without having negotiated it");
    if (packet.command == answer::kDiscard && (command == event::kConnect || command == event::kHelo)) problem("discard, which is for messages");
  }

  Connection& connection_;
  ProbeReport& report_;
  Deadline until_;
};

std::string with_nul(std::string_view text) { return std::string(text) + '\0'; }

}  // namespace

std::vector<std::string> action_names(std::uint32_t actions) { return names(kActionNames, actions); }
std::vector<std::string> protocol_names(std::uint32_t protocol) { return names(kProtocolNames, protocol); }

Result<net::Endpoint> parse_probe_address(const std::string& text) {
  std::string_view at = text;
  if (at.starts_with("unix:") || at.starts_with("local:")) at.remove_prefix(at.find(':') + 1);
  if (at.starts_with('/')) return net::Endpoint{std::string(at), 0, true};
  if (at.starts_with("inet:")) at.remove_prefix(5);
  std::string host, port;
  if (const std::size_t sign = at.find('@'); sign != at.npos) {
    port = at.substr(0, sign);
    host = at.substr(sign + 1);
  } else if (const std::size_t colon = at.rfind(':'); colon != at.npos) {
    host = at.substr(0, colon);
    port = at.substr(colon + 1);
  } else {
    port = at;
  }
  if (host.empty()) host = "127.0.0.1";
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  const auto number = parse_number<std::uint16_t>(port);
  if (!number) return fail(Errc::config, "\"" + text + "\" is neither unix:/path nor inet:host:port");
  return net::Endpoint{host, *number, false};
}

Result<Options> probe_options(const net::Endpoint& at, std::chrono::seconds budget) {
  const Deadline until = Deadline::after(budget);
  auto stream = open(at, until);
  if (!stream) return tl::unexpected(stream.error());
  Connection connection(std::move(*stream));
  auto options = negotiate(connection, until);
  encode(event::kQuit, {}, connection.output());
  (void)connection.flush(until);
  connection.close();
  return options;
}

Result<ProbeReport> probe(const net::Endpoint& at, std::chrono::seconds budget) {
  const Deadline until = Deadline::after(budget);
  auto stream = open(at, until);
  if (!stream) return tl::unexpected(stream.error());
  Connection connection(std::move(*stream));
  const TimePoint start = SteadyClock::now();
  auto options = negotiate(connection, until);
  if (!options) return tl::unexpected(options.error());
  ProbeReport report;
  report.options = std::move(*options);
  report.steps.push_back({"OPTNEG", fmt::format("version {}", report.options.version),
                          std::chrono::duration_cast<std::chrono::microseconds>(SteadyClock::now() - start).count()});
  if (report.options.version < 2 || report.options.version > 6) report.problems.push_back(fmt::format("OPTNEG: wants version {}, 2 to 6 were offered", report.options.version));
  if ((report.options.actions & ~kAllActions) != 0) report.problems.push_back("OPTNEG: wants actions that were not offered");
  if ((report.options.protocol & ~protocol_bits(6)) != 0) report.problems.push_back("OPTNEG: wants protocol steps that were not offered");
  namespace p = protocol;
  Walk walk(connection, report, until);
  const std::string port("\0\x19", 2);   // 25
  const auto header = [](std::string_view name, std::string_view value) { return with_nul(name) + with_nul(value); };
  [&] {
    if (!walk.step(event::kConnect, with_nul("localhost") + "4" + port + with_nul("127.0.0.1"), p::kNoConnect, p::kNoReplyConnect)) return;
    if (!walk.step(event::kHelo, with_nul("localhost"), p::kNoHelo, p::kNoReplyHelo)) return;
    if (!walk.step(event::kUnknown, with_nul("PROBE"), p::kNoUnknown, p::kNoReplyUnknown, 3)) return;
    if (!walk.step(event::kMail, with_nul("<probe@localhost>"), p::kNoMail, p::kNoReplyMail)) return;
    if (!walk.step(event::kRcpt, with_nul("<postmaster@localhost>"), p::kNoRcpt, p::kNoReplyRcpt)) return;
    if (!walk.step(event::kData, {}, p::kNoData, p::kNoReplyData, 4)) return;
    if (!walk.step(event::kHeader, header("From", "<probe@localhost>"), p::kNoHeaders, p::kNoReplyHeader)) return;
    if (!walk.step(event::kHeader, header("Subject", "millrace probe"), p::kNoHeaders, p::kNoReplyHeader)) return;
    if (!walk.step(event::kEndOfHeaders, {}, p::kNoEndOfHeaders, p::kNoReplyEndOfHeaders)) return;
    if (!walk.step(event::kBody, "probe\r\n", p::kNoBody, p::kNoReplyBody)) return;
    (void)walk.step(event::kEndOfMessage, {}, 0, 0);
  }();
  encode(event::kAbort, {}, connection.output());
  encode(event::kQuit, {}, connection.output());
  (void)connection.flush(until);
  connection.close();
  return report;
}

}  // namespace millrace::milter
