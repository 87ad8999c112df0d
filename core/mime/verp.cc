// See verp.h.
#include "core/mime/verp.h"

#include <utility>

namespace millrace::mime {

std::string verp_problem(std::string_view delimiters, std::string_view allowed) {
  if (delimiters.size() != 2) return "bad VERP delimiter character count";
  if (allowed.find(delimiters[0]) == allowed.npos) return "bad first VERP delimiter character";
  if (allowed.find(delimiters[1]) == allowed.npos) return "bad second VERP delimiter character";
  return {};
}

std::string verp_sender(std::string_view sender, std::string_view delimiters, std::string_view recipient) {
  // Local part and "domain", cut at the last "@".
  const auto cut = [](std::string_view address) {
    const std::size_t at = address.rfind('@');
    return std::pair(address.substr(0, at), at == address.npos ? std::string_view() : address.substr(at + 1));
  };
  const auto [prefix, origin] = cut(sender);
  const auto [user, domain] = cut(recipient);
  std::string out(prefix);
  out += delimiters[0];
  out += user;
  if (!domain.empty()) out.append(1, delimiters[1]).append(domain);
  if (!origin.empty()) out.append(1, '@').append(origin);
  return out;
}

}  // namespace millrace::mime
