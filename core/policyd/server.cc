// Policy connections: see server.h.
#include "core/policyd/server.h"

#include "core/base/strings.h"
#include "core/filter/chain.h"
#include "core/net/fiber.h"

namespace millrace::policyd {
namespace {

constexpr std::size_t kBuffer = 8192;
constexpr auto kWriteTime = std::chrono::seconds(30);
// A client that has begun a request owes its end; Postfix keeps idle connections for smtpd_policy_service_max_idle.
constexpr auto kRequestTime = std::chrono::seconds(30);

bool is_dunno(std::string_view action) { return action.empty() || iequals(action, "DUNNO"); }

// What the attributes tell of the session, for filters that ask the session and not the attributes.
filter::SessionFacts facts_of(const Attributes& attributes) {
  const auto get = [&](std::string_view name) { return std::string(find(attributes, name)); };
  filter::SessionFacts facts;
  facts.client_address = get("client_address");
  facts.client_port = get("client_port");
  facts.client_name = get("client_name");
  facts.reverse_client_name = get("reverse_client_name");
  facts.server_address = get("server_address");
  facts.server_port = get("server_port");
  facts.service = "policyd";
  facts.protocol = get("protocol_name");
  facts.helo_name = get("helo_name");
  facts.sasl_method = get("sasl_method");
  facts.sasl_username = get("sasl_username");
  facts.sasl_sender = get("sasl_sender");
  return facts;
}

}  // namespace

// A stream and what has come of a line.  An idle connection keeps no buffer.
struct Server::Connection {
  explicit Connection(std::unique_ptr<net::Stream> given) : stream(std::move(given)) {}

  bool line_buffered() const { return input.find('\n', at) != std::string::npos; }
  // The next line, without its end; it is valid until the next call.  Error too_large: it has none within bounds.
  Result<std::string_view> read_line(Deadline deadline) {
    for (std::size_t end; (end = input.find('\n', at)) == std::string::npos;) {
      if (input.size() - at > RequestReader::kMaxLine) return fail(Errc::too_large, "line too long");
      input.erase(0, at);
      at = 0;
      if (input.empty()) input.shrink_to_fit();
      thread_local char arrivals[kBuffer];   // nothing is stored in it before the last suspension is over
      const auto n = stream->read_some(arrivals, sizeof arrivals, deadline);
      if (!n) return tl::unexpected(n.error());
      input.append(arrivals, *n);
    }
    const std::size_t end = input.find('\n', at);
    std::string_view line = std::string_view(input).substr(at, end - at);
    at = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
  }

  std::unique_ptr<net::Stream> stream;
  std::string input;
  std::size_t at = 0;
};

std::string Server::ask(const Asked& asked, const Attributes& attributes) {
  const filter::SessionFacts facts = facts_of(attributes);
  mime::Envelope envelope;
  envelope.sender = find(attributes, "sender");
  const std::string recipient(find(attributes, "recipient"));
  const mime::Recipient rcpt{recipient, recipient, "", 0};
  const std::string state(find(attributes, "protocol_state"));
  filter::Context context{.session = facts, .envelope = envelope};
  if (!recipient.empty()) context.rcpt = &rcpt;
  context.command = state;
  const filter::Options& options = asked.filter->options();
  context.deadline = Deadline::after(options.timeout);
  context.log = &log_;
  auto action = asked.filter->ask(attributes, context);
  if (action) return std::move(*action);
  log_.warning(action.error().context);
  const filter::Verdict& fallback = options.default_action;
  if (!fallback.refuses()) return "DUNNO";
  if (fallback.action == filter::Action::reject) return "REJECT 5.3.0 Service unavailable";
  return "DEFER_IF_PERMIT 4.3.0 Service unavailable";
}

std::string Server::answer(const Attributes& attributes) {
  const std::shared_ptr<const Filters> filters = filters_;
  std::string header;
  for (const Asked& asked : *filters) {
    std::string action = ask(asked, attributes);
    if (is_dunno(action)) continue;
    if (!istarts_with(action, "PREPEND ")) return action;
    if (header.empty()) header = std::move(action);
  }
  return header.empty() ? "DUNNO" : header;
}

void Server::serve(std::unique_ptr<net::Stream> stream) {
  Connection connection(std::move(stream));
  RequestReader reader;
  ++open_;
  Deadline deadline = Deadline::never();
  while (!draining_ || !reader.is_empty()) {
    const bool idle = reader.is_empty() && connection.input.size() == connection.at;
    if (idle) idle_.insert(&connection);
    else if (deadline.at == TimePoint::max()) deadline = Deadline::after(kRequestTime);
    const auto line = connection.read_line(deadline);
    if (idle) idle_.erase(&connection);
    if (!line) {
      const bool quiet = reader.is_empty() && line.error().code != Errc::too_large;
      if (!quiet && line.error().code != Errc::canceled) log_.warning("policy request refused: " + line.error().context);
      break;
    }
    const auto status = reader.line(*line);
    if (status == RequestReader::Status::need_more) continue;
    if (status == RequestReader::Status::malformed) {
      log_.warning("policy request refused: " + reader.why());
      break;
    }
    const Attributes attributes = reader.take();
    const std::string action = printable(answer(attributes));
    if (!connection.stream->write("action=" + action + "\n\n", Deadline::after(kWriteTime))) break;
    deadline = Deadline::never();
  }
  --open_;
}

void Server::drain() {
  draining_ = true;
  // Their fibers wait for a line: the end of the stream wakes them.
  for (Connection* const connection : idle_) connection->stream->close();
}

}  // namespace millrace::policyd
