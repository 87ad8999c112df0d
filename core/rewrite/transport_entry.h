// "transport:nexthop": parameters and the right-hand sides of transport(5).  Pure.
#pragma once

#include <string>
#include <string_view>

namespace millrace::rewrite {

struct Destination {
  std::string transport, nexthop;
  bool operator==(const Destination&) const = default;
};

// default_transport and the like: what follows the colon, if anything, overrides the next hop.
void apply_parameter(std::string_view value, Destination& destination);

// A result of transport_maps: ":" changes nothing, ":nexthop" the next hop alone, "transport:" goes back to the
// recipient's domain (error and retry: to a text).
void apply_table_result(std::string_view result, std::string_view domain, Destination& destination);

}  // namespace millrace::rewrite
