// Builds the chain of one smtpd service: restriction lists, header and body checks, smtpd_filters,
// smtpd_milters, in that order.
#pragma once

#include <memory>

#include "core/config/config.h"
#include "core/filter/chain.h"
#include "core/map/table.h"
#include "core/net/dns.h"
#include "core/rewrite/router.h"

namespace millrace::daemon {

// What is not owned must outlive the chain.
struct ChainParts {
  std::shared_ptr<const config::Config> config;
  const config::Service* service = nullptr;
  map::TableSet* tables = nullptr;
  net::Resolver* resolver = nullptr;
};

class ChainBuilder {
 public:
  explicit ChainBuilder(const ChainParts& parts);
  ~ChainBuilder();
  // Tables, restrictions, checks: may need root to read its files.  False after an error.
  bool add_own(config::Findings& findings);
  // Plugins, Lua scripts, milters: never as root.
  bool add_foreign(config::Findings& findings);
  const filter::Chain& chain() const;
  void sweep();   // once a second: idle connections to policy services are closed [loop]
  std::shared_ptr<const rewrite::Router> router() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::daemon
