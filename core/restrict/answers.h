// The DNS answers of one SMTP transaction: asked side by side, each at most once.
//
// What a list asked for one recipient is there for the next, whatever its TTL, as in Postfix; a list that
// does not answer costs its time-out once a message.  Belongs to one session's fiber.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "core/net/dns.h"

namespace millrace::restrict {

class Answers {
 public:
  // Starts the question unless it was asked before. [fiber]
  void start(net::Resolver& resolver, std::string_view name, net::DnsType type);
  // `first`, when given: is this answer told for the first time? [fiber]
  net::DnsAnswer get(net::Resolver& resolver, std::string_view name, net::DnsType type, Deadline deadline,
                     bool* first = nullptr);
  void clear() { asked_.clear(); }

 private:
  struct Asked {
    std::unique_ptr<net::DnsQuestion> question;
    bool told = false;
  };
  Asked& ask(net::Resolver& resolver, std::string_view name, net::DnsType type);
  std::map<std::pair<std::string, net::DnsType>, Asked> asked_;
};

}  // namespace millrace::restrict
