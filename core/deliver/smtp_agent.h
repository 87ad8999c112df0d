// The smtp and lmtp delivery agents: chooses hosts, keeps connections, gives each recipient an outcome.
//
// Hosts are tried in order until one takes the mail or says no for good; smtp_mx_address_limit and
// smtp_mx_session_limit bound it, smtp_fallback_relay comes last (smtp(8)).  Idle connections are kept
// by next hop for smtp_connection_cache_time_limit.  It does not decide when to deliver.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>

#include "core/base/log.h"
#include "core/deliver/attempt.h"
#include "core/deliver/client_session.h"
#include "core/deliver/tls_policy.h"
#include "core/net/dns.h"
#include "core/net/fiber.h"

namespace millrace::deliver {

// net::connect, or a test's own.
using Connector = std::function<Result<std::unique_ptr<net::Stream>>(const net::Endpoint&, const net::ConnectOptions&, Deadline)>;

// By next hop; TlsPolicies::find.
using PolicyFinder = std::function<Result<TlsPolicy>(const std::string& nexthop)>;

class SmtpAgent : public Agent {
 public:
  SmtpAgent(std::shared_ptr<const ClientOptions> options, PolicyFinder policies,
            net::Resolver& resolver, Connector connector, log::Logger log, PassOn pass_on = nullptr);
  ~SmtpAgent() override;

  void deliver(Attempt& attempt, std::unique_ptr<Carry>& carry) override;
  bool can_verify() const override { return true; }
  void release(const std::string& nexthop, std::unique_ptr<Carry> carry, bool busy) override;
  void stop() override;

 private:
  struct Run;    // of one attempt
  struct Idle {
    std::unique_ptr<ClientSession> session;
    TimePoint until;
  };
  struct Cache;  // outlives the agent while its sweeper sleeps
  std::unique_ptr<ClientSession> take_idle(const std::string& nexthop);
  bool always_cached(const std::string& nexthop) const;

  std::shared_ptr<const ClientOptions> options_;
  PolicyFinder policies_;
  net::Resolver& resolver_;
  Connector connector_;
  log::Logger log_;
  PassOn pass_on_;
  std::shared_ptr<Cache> cache_;
};

}  // namespace millrace::deliver
