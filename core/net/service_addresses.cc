#include "core/net/service_addresses.h"

#include <netdb.h>
#include <sys/socket.h>

#include <array>

#include "core/base/strings.h"

namespace millrace::net {

Result<std::vector<Endpoint>> service_addresses(const std::string& host, const std::string& port) {
  addrinfo hints{}, *list = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  if (parse_number<std::uint16_t>(port)) hints.ai_flags |= AI_NUMERICSERV;
  const char* const node = host.empty() ? "localhost" : host.c_str();
  if (const int error = ::getaddrinfo(node, port.c_str(), &hints, &list); error != 0) {
    return fail(Errc::temporary, ::gai_strerror(error));
  }
  std::vector<Endpoint> out;
  for (const addrinfo* one = list; one != nullptr; one = one->ai_next) {
    std::array<char, NI_MAXHOST> address{};
    std::array<char, NI_MAXSERV> number{};
    if (::getnameinfo(one->ai_addr, one->ai_addrlen, address.data(), address.size(), number.data(), number.size(),
                      NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
      out.push_back({address.data(), parse_number<std::uint16_t>(number.data()).value_or(0), false});
    }
  }
  ::freeaddrinfo(list);
  return out;
}

}  // namespace millrace::net
