// Builds the chain of one smtpd service: restriction lists, header and body checks, smtpd_filters,
// smtpd_milters, in that order.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/config/config.h"
#include "core/filter/chain.h"
#include "core/map/table.h"
#include "core/net/dns.h"
#include "core/plugin/metrics.h"
#include "core/rewrite/router.h"
#include "core/smtp/anvil.h"
#include "core/smtp/sink.h"

namespace millrace::daemon {

// What is not owned must outlive the chain.
struct ChainParts {
  std::shared_ptr<const config::Config> config;
  const config::Service* service = nullptr;
  map::TableSet* tables = nullptr;
  net::Resolver* resolver = nullptr;
  plugin::SharedMetrics* plugin_metrics = nullptr;
  filter::SharedFilters* shared = nullptr;   // null: this process is alone
  unsigned process = 0;                      // our number there
  smtp::MessageSink* queue = nullptr;   // to be asked about addresses; nullptr in a dry run
  smtp::AnvilTable* anvil = nullptr;   // for what must hold for all fronts; nullptr: for this process alone
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
  // Which chain a client gets, by smtpd_milter_maps; empty when it is always chain().
  std::function<const filter::Chain*(const std::string& client_address)> chooser();
  void sweep();   // once a second: idle connections to policy services are closed [loop]
  std::shared_ptr<const rewrite::Router> router() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::daemon
