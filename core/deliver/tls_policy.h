// Which connections are encrypted: smtp_tls_security_level, smtp_tls_policy_maps (none, may, encrypt).
#pragma once

#include <map>
#include <memory>
#include <string>

#include "core/base/result.h"
#include "core/deliver/client_options.h"
#include "core/map/table.h"
#include "core/net/tls.h"

namespace millrace::deliver {

struct TlsPolicy {
  enum class Level { none, may, encrypt };
  Level level = Level::none;
  std::shared_ptr<net::TlsContext> context;   // set unless none
};

class TlsPolicies {
 public:
  // Errors: config: an unknown or unsupported level, tables or files that cannot be read.
  static Result<std::unique_ptr<TlsPolicies>> make(const ClientOptions::Tls& options, map::TableSet& tables);
  // Errors: temporary (a table failed), config (a bad entry): mail waits, it does not go out in the clear.
  Result<TlsPolicy> find(const std::string& nexthop);

 private:
  explicit TlsPolicies(ClientOptions::Tls options) : options_(std::move(options)) {}
  Result<TlsPolicy> parse(std::string_view text);
  ClientOptions::Tls options_;
  map::Maps maps_;
  TlsPolicy fallback_;
  std::map<std::string, TlsPolicy> parsed_;   // by table value: contexts are costly
};

}  // namespace millrace::deliver
