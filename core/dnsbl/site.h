// One DNS list as main.cf names it, "domain=d.d.d.d*weight", and the questions asked of it.  Pure parsers.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/result.h"

namespace millrace::dnsbl {

// Which addresses in a reply count: four octets, each a number or "[4;9;16..31]" (postconf(5),
// reject_rbl_client).
class Filter {
 public:
  // Errors: config, what is wrong with the text.
  static Result<Filter> parse(std::string_view text);
  bool matches(std::string_view ipv4) const;   // false for what is no IPv4 address

 private:
  std::array<std::bitset<256>, 4> octets_;
};

enum class Weights { refused, taken };

struct Site {
  std::string text;                // as written, without the weight: the key of rbl_reply_maps
  std::string domain;
  std::optional<Filter> filter;
  int weight = 1;                  // negative: a list of good clients
};

// "domain[=filter][*weight]".  Errors: config.
Result<Site> parse_site(std::string_view text, Weights weights);

// "2.0.0.127" -> its octets; nullopt for anything but four decimal numbers.
std::optional<std::array<std::uint8_t, 4>> parse_ipv4(std::string_view text);

// The name to ask about an IPv4 or IPv6 address ("2.0.0.127.bl.example"); "" when it is none.
std::string address_query(std::string_view address, std::string_view domain);
// About a host name or the domain of a mail address ("bad.example.bl.example"); "" for what no list is
// asked: nothing, address literals, and names that end in a number, which lists take for addresses.
std::string name_query(std::string_view name_or_address, std::string_view domain);

}  // namespace millrace::dnsbl
