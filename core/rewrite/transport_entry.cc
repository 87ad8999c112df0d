#include "core/rewrite/transport_entry.h"

namespace millrace::rewrite {

namespace {
std::pair<std::string_view, std::string_view> cut(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon == text.npos) return {text, {}};
  return {text.substr(0, colon), text.substr(colon + 1)};
}
}  // namespace

void apply_parameter(std::string_view value, Destination& destination) {
  const auto [transport, nexthop] = cut(value);
  destination.transport = transport;
  if (!nexthop.empty()) destination.nexthop = nexthop;
}

void apply_table_result(std::string_view result, std::string_view domain, Destination& destination) {
  const auto [transport, nexthop] = cut(result);
  if (!transport.empty()) {
    destination.transport = transport;
    const bool says_why = transport == "error" || transport == "retry";
    destination.nexthop = says_why ? "Address is undeliverable" : domain;
  }
  if (!nexthop.empty()) destination.nexthop = nexthop;
}

}  // namespace millrace::rewrite
