#include "core/deliver/smtp_agent.h"

#include <algorithm>
#include <utility>

#include "core/base/strings.h"

namespace millrace::deliver {

namespace {
Deadline limit(std::chrono::seconds span) { return span.count() == 0 ? Deadline::never() : Deadline::after(span); }

std::string connect_trouble(const Error& error) {
  switch (error.code) {
    case Errc::refused: return "Connection refused";
    case Errc::timeout: return "Connection timed out";
    case Errc::canceled: return "Interrupted";
    default: {
      const std::size_t colon = error.context.rfind(": ");   // the system's words come last
      return colon == std::string::npos ? error.context : error.context.substr(colon + 2);
    }
  }
}
}  // namespace

struct SmtpAgent::Cache {
  std::multimap<std::string, Idle> idle;   // by next hop
  bool sweeping = false;

  // A fiber that lives while something is idle.
  static void sweep(std::shared_ptr<Cache> self) {
    if (self->sweeping) return;
    self->sweeping = net::Loop::current().spawn(net::Stack::session, [self] {
      while (!self->idle.empty()) {
        TimePoint next = TimePoint::max();
        for (const auto& [name, one] : self->idle) next = std::min(next, one.until);
        const bool canceled = !net::sleep_until({next});
        for (auto it = self->idle.begin(); it != self->idle.end();) {
          if (!canceled && it->second.until > SteadyClock::now()) {
            ++it;
            continue;
          }
          const std::unique_ptr<ClientSession> session = std::move(it->second.session);
          self->idle.erase(it);
          session->quit();
          it = self->idle.begin();   // quit() may have let others change the table
        }
      }
      self->sweeping = false;
    }).has_value();
  }
};

SmtpAgent::SmtpAgent(std::shared_ptr<const ClientOptions> options, PolicyFinder policies,
                     net::Resolver& resolver, Connector connector, log::Logger log, PassOn pass_on)
    : options_(std::move(options)), policies_(std::move(policies)), resolver_(resolver),
      connector_(std::move(connector)), log_(std::move(log)), pass_on_(std::move(pass_on)), cache_(std::make_shared<Cache>()) {}

SmtpAgent::~SmtpAgent() { cache_->idle.clear(); }

std::unique_ptr<ClientSession> SmtpAgent::take_idle(const std::string& nexthop) {
  for (;;) {
    const auto it = cache_->idle.find(nexthop);
    if (it == cache_->idle.end()) return nullptr;
    std::unique_ptr<ClientSession> session = std::move(it->second.session);
    cache_->idle.erase(it);
    if (session->reusable()) return session;
  }
}

bool SmtpAgent::always_cached(const std::string& nexthop) const {
  const auto& list = options_->cache_destinations;
  if (list.empty()) return false;
  const std::string name = lower(nexthop);
  const auto has = [&](const std::string& word) { return std::find(list.begin(), list.end(), word) != list.end(); };
  // "static:all" and the like are tables; the one that everybody uses is understood.
  if (has(name) || has("static:all")) return true;
  const auto targets = parse_targets(nexthop, {options_->lmtp, options_->default_port, true});
  return targets && targets->size() == 1 && (has(lower(targets->front().host)) || has("[" + lower(targets->front().host) + "]"));
}

void SmtpAgent::release(const std::string& nexthop, std::unique_ptr<Carry> carry, bool busy) {
  if (carry == nullptr) return;
  std::unique_ptr<ClientSession> session(static_cast<ClientSession*>(carry.release()));
  const bool keep = options_->cache_time.count() > 0 && ((busy && options_->cache_on_demand) || always_cached(nexthop));
  if (!keep || !session->reusable()) return session->quit();
  cache_->idle.emplace(nexthop, Idle{std::move(session), SteadyClock::now() + options_->cache_time});
  Cache::sweep(cache_);
}

void SmtpAgent::stop() {
  while (!cache_->idle.empty()) {
    const std::unique_ptr<ClientSession> session = std::move(cache_->idle.begin()->second.session);
    cache_->idle.erase(cache_->idle.begin());
    session->quit();
  }
}

struct SmtpAgent::Run {
  SmtpAgent& agent;
  Attempt& attempt;
  std::unique_ptr<ClientSession> session;   // open at the end, when usable
  std::string dsn = "4.3.0", text;          // of what went wrong last, when no host answered
  std::size_t sessions = 0;
  bool done = false;                        // no other host may be tried
  bool with_fallback = false;               // smtp_fallback_relay was to be tried, too
  std::vector<net::Endpoint> tried;
  TlsPolicy policy;
  std::vector<std::string> unsaid;          // answers that are logged only if another host is asked

  // Recipients that another host may still take: not answered yet, or put off.
  std::vector<std::size_t> open_positions() const {
    std::vector<std::size_t> out;
    for (std::size_t i = 0; i < attempt.outcomes.size(); ++i) {
      const Outcome::Status status = attempt.outcomes[i].status;
      if (status == Outcome::Status::pending || status == Outcome::Status::deferred) out.push_back(i);
    }
    return out;
  }

  void info(const std::string& line) const { agent.log_.info(attempt.entry->envelope.queue_id + ": " + line); }

  // Sends over `session`.  True: nothing is left to be tried elsewhere.
  bool transfer(bool final) {
    const std::vector<std::size_t> positions = open_positions();
    std::vector<Outcome> before;
    for (const std::size_t position : positions) {
      before.push_back(std::move(attempt.outcomes[position]));
      attempt.outcomes[position] = Outcome{};
    }
    if (attempt.connected == 0) attempt.connected = wall_now();
    attempt.site_trouble = false;
    if (session->transfer(attempt, positions) == ClientSession::End::stale) {
      for (std::size_t i = 0; i < positions.size(); ++i) attempt.outcomes[positions[i]] = std::move(before[i]);
      return false;
    }
    for (const std::string& text : session->take_warnings()) agent.log_.warning(attempt.entry->envelope.queue_id + ": " + text);
    std::string logged;
    for (const std::size_t position : positions) {
      const Outcome& outcome = attempt.outcomes[position];
      if (outcome.status != Outcome::Status::deferred) continue;
      if (!final && outcome.text != logged) unsaid.push_back(logged = outcome.text);
    }
    return open_positions().empty();
  }

  void try_host(const Host& host, bool final, const std::string& nexthop) {
    for (const std::string& line : std::exchange(unsaid, {})) info(line);
    const bool six = host.endpoint.address.find(':') != std::string::npos;
    for (bool plain = false;;) {
      auto stream = agent.connector_(host.endpoint, {six ? agent.options_->bind_address6 : agent.options_->bind_address},
                                     limit(agent.options_->connect_timeout));
      if (!stream) {
        dsn = "4.4.1";
        text = "connect to " + host.named_with_port() + ": " + connect_trouble(stream.error());
        agent.log_.info(text);
        if (stream.error().code == Errc::canceled) done = true;
        forget();
        return;
      }
      session = std::make_unique<ClientSession>(std::move(*stream), host, agent.options_);
      const ClientOptions& options = *agent.options_;
      if (options.trace || (options.trace_peer && (options.trace_peer(host.name, host.endpoint.address) || options.trace_peer(nexthop, "")))) {
        session->set_trace([log = agent.log_, peer = host.named_with_port()](char who, std::string_view line) {
          log.info(std::string(1, who) + " " + peer + ": " + std::string(line));
        });
      }
      const auto trouble = session->open(plain ? TlsPolicy{} : policy, nexthop);
      if (!trouble) break;
      session->quit();
      session.reset();
      if (trouble->handshake && policy.level == TlsPolicy::Level::may && !plain && waited_long()) {
        info(trouble->text);
        plain = true;
        continue;
      }
      ++sessions;
      final = final || last_session();
      site_failed(host, *trouble, final);
      return;
    }
    log_tls(host);
    ++sessions;
    final = final || last_session();
    if (transfer(final)) done = true;
    if (final) done = true;
  }

  bool last_session() const {
    return agent.options_->session_limit > 0 && sessions >= agent.options_->session_limit;
  }

  // As Postfix: in the clear only when the message has waited for the TLS of this host to come back.
  bool waited_long() const {
    return wall_now() - attempt.entry->envelope.arrival >=
           std::chrono::duration_cast<std::chrono::microseconds>(agent.options_->minimal_backoff).count();
  }

  // Earlier answers of other hosts give way to this trouble when it is the last word.
  void forget() {
    for (const std::size_t position : open_positions()) attempt.outcomes[position] = Outcome{};
  }

  void site_failed(const Host& host, const Trouble& trouble, bool final) {
    attempt.site_trouble = true;
    const bool forever = trouble.dsn[0] == '5';
    if (!forever && !final) info(trouble.text);
    for (const std::size_t position : open_positions()) {
      Outcome& outcome = attempt.outcomes[position];
      outcome = Outcome{};
      outcome.status = forever ? Outcome::Status::bounced : Outcome::Status::deferred;
      outcome.dsn = trouble.dsn;
      outcome.text = trouble.text;
      outcome.diagnostic = trouble.diagnostic;
      outcome.relay = host.named_with_port();
      if (!trouble.diagnostic.empty()) outcome.remote_mta = "dns; " + host.name;
    }
    if (forever || final) done = true;
  }

  void log_tls(const Host& host) const {
    const ClientOptions::Tls& tls = agent.options_->tls;
    if (tls.note_offer && !session->tls() && session->features().starttls) {
      agent.log_.info("Host offered STARTTLS: [" + host.name + "]");
    }
    if (tls.log_level < 1 || !session->tls()) return;
    const net::TlsInfo& is = *session->tls();
    const char* trust = is.peer_trusted ? "Trusted" : is.peer_fingerprint.empty() && is.peer_subject.empty() ? "Anonymous" : "Untrusted";
    agent.log_.info(std::string(trust) + " TLS connection established to " + host.named_with_port() + ": " + is.protocol +
                    " with cipher " + is.cipher + " (" + std::to_string(is.bits) + "/" + std::to_string(is.algorithm_bits) + " bits)");
  }

  void run() {
    auto found = agent.policies_(attempt.nexthop);
    if (!found) {
      agent.log_.warning(found.error().context);
      return attempt.all_pending(Outcome::Status::deferred, "4.7.5", "client TLS configuration problem");
    }
    policy = *found;
    if (session == nullptr || !session->reusable()) {
      if (session != nullptr) session->quit();
      session = agent.take_idle(attempt.nexthop);
    }
    if (session != nullptr) {
      attempt.connected = wall_now();
      tried.push_back(session->host().endpoint);
      if (transfer(false)) return;
      if (std::all_of(attempt.outcomes.begin(), attempt.outcomes.end(),
                      [](const Outcome& o) { return o.status == Outcome::Status::pending; })) {
        tried.clear();   // the connection had died: its host is as good as any
      } else {
        ++sessions;
      }
    }
    hosts();
    if (attempt.connected == 0) attempt.connected = wall_now();
    // What no host answered.
    bool silent = false;
    for (const Outcome& outcome : attempt.outcomes) silent = silent || outcome.status == Outcome::Status::pending;
    if (!silent) return;
    if (dsn[0] == '5' && blame_configuration()) return;
    if (dsn[0] == '4') attempt.site_trouble = true;
    attempt.all_pending(dsn[0] == '5' ? Outcome::Status::bounced : Outcome::Status::deferred, dsn, text);
  }

  // No host was found, for good.  What may be the configuration's fault is no reason to bounce mail (as smtp(8) has
  // it), and mail that would come back here may have another way.  True: another transport took it.
  bool blame_configuration() {
    const ClientOptions& options = *agent.options_;
    if (options.lmtp) return false;
    const auto configured = [&](const char* name) {
      agent.log_.warning(std::string(name) + " configuration problem");
      dsn = "4.3.5";
      return false;
    };
    if (with_fallback) return configured("smtp_fallback_relay");
    std::string_view rest = attempt.nexthop;
    if (!options.relayhost.empty() && take_word(rest, ", \t\r\n") == options.relayhost) return configured("relayhost");
    if (dsn != "5.4.6" || options.best_mx_transport.empty() || !agent.pass_on_) return false;
    agent.pass_on_(options.best_mx_transport, attempt);
    return true;
  }

  void hosts() {
    const TargetRules rules{agent.options_->lmtp, agent.options_->default_port, agent.options_->use_dns};
    auto targets = parse_targets(attempt.nexthop, rules);
    if (!targets) {
      dsn = "4.3.5";
      text = targets.error().context;
      return;
    }
    if (!trim(agent.options_->fallback_relay).empty()) {
      if (auto more = parse_targets(agent.options_->fallback_relay, rules)) {
        targets->insert(targets->end(), more->begin(), more->end());
        with_fallback = true;
      }
    }
    for (std::size_t i = 0; i < targets->size() && !done; ++i) {
      const bool last_target = i + 1 == targets->size();
      Hosts found = find_hosts((*targets)[i], *agent.options_, agent.resolver_, Deadline::after(std::chrono::seconds(60)));
      if (found.list.empty()) {
        // "Does not exist" must not hide that an earlier target was only out of reach.
        if (i == 0 || text.empty() || found.dsn[0] == '4') {
          dsn = found.dsn;
          text = found.text;
        }
        continue;
      }
      for (std::size_t h = 0; h < found.list.size() && !done; ++h) {
        if (seen(found.list[h].endpoint)) continue;
        close();
        try_host(found.list[h], last_target && h + 1 == found.list.size(), attempt.nexthop);
      }
    }
  }

  bool seen(const net::Endpoint& endpoint) const {
    return std::any_of(tried.begin(), tried.end(), [&](const net::Endpoint& one) {
      return one.address == endpoint.address && one.port == endpoint.port;
    });
  }

  void close() {
    if (session != nullptr) session->quit();
    session.reset();
  }
};

void SmtpAgent::deliver(Attempt& attempt, std::unique_ptr<Carry>& carry) {
  attempt.outcomes.assign(attempt.recipients.size(), Outcome{});
  Run run{*this, attempt, std::unique_ptr<ClientSession>(static_cast<ClientSession*>(carry.release()))};
  run.run();
  // Without a cache each delivery has a connection of its own, as behind Postfix.
  const bool keep = options_->cache_time.count() > 0 && (options_->cache_on_demand || always_cached(attempt.nexthop));
  if (run.session != nullptr && (!keep || !run.session->usable())) run.close();
  carry = std::move(run.session);
}

}  // namespace millrace::deliver
