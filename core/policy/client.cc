// Asking policy services: see client.h.
#include "core/policy/client.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "core/base/strings.h"
#include "core/net/in_gate.h"
#include "core/net/service_addresses.h"

namespace millrace::policy {

namespace {

constexpr std::chrono::milliseconds kWaitStep{10};   // for a connection that another process gives up

// Of an error, the word for the log.
std::string reason(const Error& error) {
  switch (error.code) {
    case Errc::timeout: return "Connection timed out";
    case Errc::refused: return "Connection refused";
    case Errc::closed: return "the server closed the connection without an answer";
    default: return printable(error.context);
  }
}

Service::Connect connector(std::vector<net::Endpoint> endpoints) {
  return [endpoints = std::move(endpoints)](Deadline deadline) -> Result<std::unique_ptr<net::Stream>> {
    Result<std::unique_ptr<net::Stream>> last = fail(Errc::refused, "no address");
    for (const net::Endpoint& endpoint : endpoints) {
      last = net::connect(endpoint, {}, deadline);
      if (last || deadline.passed()) break;
    }
    return last;
  };
}

// What an access(5) result comes to, for the counters.
filter::Verdict verdict_of(std::string_view action) {
  using filter::Action;
  filter::Verdict verdict;
  const std::string word = upper(take_word(action));
  const auto is = [&](std::initializer_list<std::string_view> names) { return std::find(names.begin(), names.end(), word) != names.end(); };
  const bool number = word.size() == 3 && std::all_of(word.begin(), word.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (is({"REJECT"}) || (number && word[0] == '5')) {
    verdict.action = Action::reject;
  } else if (word.starts_with("DEFER") || (number && word[0] == '4')) {
    verdict.action = Action::tempfail;
  } else if (is({"OK", "PERMIT"})) {
    verdict.action = Action::accept;
  } else if (is({"DISCARD"})) {
    verdict.action = Action::discard;
  } else if (is({"HOLD"})) {
    verdict.action = Action::quarantine;
  }
  return verdict;
}

}  // namespace

Service::Service(ServiceOptions options, Connect connect, std::shared_ptr<SharedCounts> counts, filter::SharedFilter* shared)
    : options_(std::move(options)),
      connect_(std::move(connect)),
      counts_(std::move(counts)),
      own_(shared == nullptr ? std::make_unique<filter::SharedFilter>() : nullptr),
      shared_(shared == nullptr ? own_.get() : shared),
      gate_(options_.max_connections) {}

std::string Service::failure_action(filter::Traffic traffic) const {
  const std::string& own = options_.class_actions[static_cast<std::size_t>(traffic)];
  const std::string& action = own.empty() ? options_.default_action : own;
  const bool refuses = verdict_of(action).refuses();
  return !refuses && shared_->in_grace(options_.breaker) ? "451 4.7.1 Service unavailable - try again later" : action;
}

Result<std::string> Service::ask(const Attributes& attributes, Deadline deadline, const log::Logger& log) {
  const TimePoint start = SteadyClock::now();
  const filter::BreakerRule& rule = options_.breaker;
  const bool asked = shared_->admits(rule);
  Result<std::string> action = asked ? talk(attributes, deadline, log)
                                     : fail(Errc::temporary, "policy service " + name() + ": not asked, its circuit breaker is open");
  if (!asked) log.warning(action.error().context);
  const auto took = std::chrono::duration_cast<std::chrono::microseconds>(SteadyClock::now() - start);
  shared_->count(action ? verdict_of(*action) : filter::Verdict(), !action, false, took.count());
  if (rule.failures == 0 || !asked) return action;
  if (action) {
    shared_->succeeded(rule);
  } else if (action.error().code != Errc::canceled) {
    const bool was_open = shared_->is_open();
    shared_->failed(rule);
    if (!was_open && shared_->is_open()) log.warning("policy service " + name() + ": circuit breaker opened");
  }
  return action;
}

bool Service::usable(const Connection& connection, TimePoint now) const {
  return now - connection.last_used < options_.max_idle && now - connection.created < options_.max_ttl &&
         (options_.request_limit == 0 || connection.requests < options_.request_limit);
}

void Service::sweep() {
  const TimePoint now = SteadyClock::now();
  std::erase_if(idle_, [&](const Connection& connection) { return !usable(connection, now); });
  if (!idle_.empty() && wanted_elsewhere()) idle_.erase(idle_.begin());
}

bool Service::wanted_elsewhere() const { return counts_ && Held(counts_, "policy wait " + name()).count() > 1; }

// A place for one more connection.  Other processes may hold them all, idle ones too: they see that
// somebody waits, and close what they do not use.
Result<std::unique_ptr<Service::Held>> Service::hold(Deadline deadline) {
  if (!counts_) return nullptr;
  const std::string key = "policy " + name();
  auto held = std::make_unique<Held>(counts_, key);
  if (held->count() <= options_.max_connections) return held;
  const Held waiting(counts_, "policy wait " + name());
  for (;;) {
    held.reset();
    if (deadline.passed()) return fail(Errc::limit, "all " + std::to_string(options_.max_connections) + " connections are busy");
    if (auto slept = net::sleep_until(deadline.earlier(Deadline::after(kWaitStep))); !slept) {
      return tl::unexpected(slept.error());
    }
    held = std::make_unique<Held>(counts_, key);
    if (held->count() <= options_.max_connections) return held;
  }
}

Result<Service::Connection> Service::take(bool fresh, Deadline deadline) {
  const TimePoint now = SteadyClock::now();
  while (!fresh && !idle_.empty()) {
    Connection connection = std::move(idle_.back());
    idle_.pop_back();
    // Bytes nobody asked for, or an end of file: the service has hung up or is out of step.
    if (usable(connection, now) && !connection.stream->readable()) return connection;
  }
  auto held = hold(deadline);
  if (!held) return tl::unexpected(held.error());
  auto stream = connect_(deadline);
  if (!stream) return tl::unexpected(stream.error());
  Connection connection;
  connection.held = std::move(*held);
  connection.stream = std::move(*stream);
  connection.created = connection.last_used = now;
  return connection;
}

Result<std::string> Service::exchange(Connection& connection, const std::string& request, Deadline deadline, bool& keep) {
  keep = false;
  if (auto sent = connection.stream->write(request, deadline); !sent) return tl::unexpected(sent.error());
  std::string reply;
  std::array<char, 512> piece;   // session stacks are small
  for (;;) {
    const auto got = connection.stream->read_some(piece.data(), piece.size(), deadline);
    if (!got) return tl::unexpected(got.error());
    reply.append(piece.data(), *got);
    Decoded decoded = decode(reply);
    if (decoded.status == DecodeStatus::need_more) continue;
    if (decoded.status == DecodeStatus::too_large) return fail(Errc::protocol, "the answer is too long");
    if (decoded.status == DecodeStatus::malformed) return fail(Errc::protocol, "malformed answer: " + decoded.why);
    keep = decoded.consumed == reply.size();   // what says more than it was asked is out of step
    return std::string(decoded.action);
  }
}

Result<std::string> Service::attempt(const std::string& request, Deadline deadline, bool fresh, bool& reused) {
  auto connection = take(fresh, deadline);
  if (!connection) return tl::unexpected(connection.error());
  reused = connection->requests > 0;
  bool keep = false;
  auto action = exchange(*connection, request, deadline, keep);
  ++connection->requests;
  connection->last_used = SteadyClock::now();
  if (keep && usable(*connection, connection->last_used) && !wanted_elsewhere()) {
    idle_.push_back(std::move(*connection));
  } else {
    connection->stream->close();
  }
  return action;
}

Result<std::string> Service::talk(const Attributes& attributes, Deadline deadline, const log::Logger& log) {
  if (auto entered = gate_.enter(deadline.earlier(Deadline::after(options_.timeout))); !entered) {
    log.warning("problem talking to server " + name() + ": all " + std::to_string(options_.max_connections) +
                " connections are busy");
    return tl::unexpected(entered.error());
  }
  const net::InGate inside(gate_);
  const std::string request = encode(attributes);
  // As in Postfix, a service that hung up at the end of the last request has used up one try: it is not
  // asked twice again, each time with the delay, by every recipient while it is broken.
  std::int64_t count = std::exchange(hung_up_, false) && options_.try_limit > 1 ? 1 : 0;
  for (bool fresh = false;;) {
    bool reused = false;
    auto action = attempt(request, deadline.earlier(Deadline::after(options_.timeout)), fresh, reused);
    if (action) {
      if (options_.check_utf8 && !is_valid_utf8(*action)) {
        log.warning("malformed UTF-8 in policy server " + name() + " response: \"" + printable(*action) + "\"");
        return fail(Errc::protocol, "malformed UTF-8");
      }
      return action;
    }
    const bool closed = action.error().code == Errc::closed;
    ++count;
    if (reused && closed && !fresh) {   // it may have closed an idle connection while we wrote: no delay, no fault of the service
      if (options_.try_limit <= 1) count = 0;
      fresh = true;
      if (count < options_.try_limit) continue;
    }
    const bool last = count >= options_.try_limit || deadline.passed() || action.error().code == Errc::canceled ||
                      action.error().code == Errc::limit;
    if (last || !closed) log.warning("problem talking to server " + name() + ": " + reason(action.error()));
    if (last) {
      hung_up_ = closed;
      return action;
    }
    if (auto slept = net::sleep_until(deadline.earlier(Deadline::after(options_.retry_delay))); !slept) {
      return tl::unexpected(slept.error());
    }
    fresh = true;
  }
}

Result<std::shared_ptr<Service>> Pool::open(std::string_view argument, const config::Params& params, bool chroot) {
  auto options = parse_service(argument, params);
  if (!options) return tl::unexpected(options.error());
  // Services of main.cf with other -o values are other services.
  std::string key(argument);
  for (const auto value : {static_cast<std::int64_t>(chroot), static_cast<std::int64_t>(options->timeout.count()),
                           options->try_limit, options->request_limit,
                           static_cast<std::int64_t>(options->retry_delay.count())}) {
    key += '\n' + std::to_string(value);
  }
  key += '\n' + options->default_action + '\n' + options->policy_context;
  std::shared_ptr<Service>& service = services_[key];
  if (service) return service;
  std::vector<net::Endpoint> endpoints;
  if (options->is_unix) {
    net::Endpoint endpoint;
    endpoint.is_unix = true;
    const bool relative = !options->path.starts_with('/');
    endpoint.address = relative ? queue_directory_ + "/" + options->path
                                : (chroot ? queue_directory_ : std::string()) + options->path;
    endpoints.push_back(std::move(endpoint));
  } else {
    auto found = net::service_addresses(options->host, options->port);
    if (!found) return fail(Errc::config, "policy service " + options->host + ":" + options->port + ": " + found.error().context);
    endpoints = std::move(*found);
  }
  filter::SharedFilter* const shared = shared_ != nullptr ? shared_->find("policy:" + options->name) : nullptr;
  service = std::make_shared<Service>(std::move(*options), connector(std::move(endpoints)), counts_, shared);
  return service;
}

void Pool::sweep() {
  for (auto& [key, service] : services_) service->sweep();
}

}  // namespace millrace::policy
