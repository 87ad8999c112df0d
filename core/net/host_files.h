// Inside of core/net: /etc/hosts and /etc/resolv.conf as values.  Pure parsers; lines that make no
// sense are left out, as libc does.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace millrace::net {

struct HostsLine {
  std::string address;             // in canonical text
  std::vector<std::string> names;  // the first is the canonical one
};
std::vector<HostsLine> parse_hosts(std::string_view text);

// "ADDRESS" or "ADDRESS@PORT" of the first three nameserver lines (as many as libc asks); 127.0.0.1
// when there is none.
std::vector<std::string> parse_resolv_conf(std::string_view text);

// The address in the text form that inet_ntop gives; "" when it is none.
std::string canonical_address(std::string_view text);

// Tells, cheaply and at most once a second, whether a file is another one than at the last look.
class FileWatch {
 public:
  explicit FileWatch(std::string path) : path_(std::move(path)) {}
  bool changed();            // true at the first call
  std::string read() const;  // up to 1 MiB; "" when it cannot be read
  const std::string& path() const { return path_; }

 private:
  std::string path_, seen_ = "never";
  long long looked_ = 0;  // steady clock, seconds
};

}  // namespace millrace::net
