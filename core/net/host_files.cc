#include "core/net/host_files.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <fstream>

#include "core/base/clock.h"
#include "core/base/strings.h"

namespace millrace::net {
namespace {

constexpr std::size_t kMaxFile = 1 << 20;
constexpr std::size_t kNameservers = 3;

std::string_view take_line(std::string_view& text) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

}  // namespace

std::string canonical_address(std::string_view text) {
  if (text.size() >= INET6_ADDRSTRLEN) return "";
  const std::string copy(text);
  if (copy.find('\0') != std::string::npos) return "";
  unsigned char bytes[16];
  char out[INET6_ADDRSTRLEN] = "";
  const int family = copy.find(':') == std::string::npos ? AF_INET : AF_INET6;
  if (inet_pton(family, copy.c_str(), bytes) == 1) inet_ntop(family, bytes, out, sizeof out);
  return out;
}

std::vector<HostsLine> parse_hosts(std::string_view text) {
  std::vector<HostsLine> out;
  while (!text.empty()) {
    std::string_view line = take_line(text);
    line = line.substr(0, line.find('#'));
    HostsLine parsed;
    parsed.address = canonical_address(take_word(line));
    for (const std::string_view name : split(line, " \t\r")) parsed.names.emplace_back(name);
    if (!parsed.address.empty() && !parsed.names.empty()) out.push_back(std::move(parsed));
  }
  return out;
}

std::vector<std::string> parse_resolv_conf(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty() && out.size() < kNameservers) {
    std::string_view line = take_line(text);
    if (take_word(line) != "nameserver") continue;
    const std::string_view server = take_word(line);
    const std::size_t at = std::min(server.find('@'), server.size());
    const std::string_view host = server.substr(0, at);
    const bool port_ok = at == server.size() || parse_number<std::uint16_t>(server.substr(at + 1));
    // A scope ("fe80::1%eth0") is for the resolver to understand.
    if (port_ok && !canonical_address(host.substr(0, host.find('%'))).empty() && is_ascii(host) &&
        printable(host) == host) {
      out.emplace_back(server);
    }
  }
  if (out.empty()) out.emplace_back("127.0.0.1");
  return out;
}

bool FileWatch::changed() {
  const long long now =
      std::chrono::duration_cast<std::chrono::seconds>(SteadyClock::now().time_since_epoch())
          .count();
  if (now == looked_) return false;
  looked_ = now;
  struct stat info {};
  std::string state = "missing";
  if (stat(path_.c_str(), &info) == 0) {
    state = fmt::format("{} {} {} {}.{}", info.st_dev, info.st_ino, info.st_size,
                        info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
  }
  if (state == seen_) return false;
  seen_ = state;
  return true;
}

std::string FileWatch::read() const {
  std::ifstream in(path_, std::ios::binary);
  std::string out(kMaxFile, '\0');
  in.read(out.data(), static_cast<std::streamsize>(out.size()));
  out.resize(static_cast<std::size_t>(in.gcount()));
  return out;
}

}  // namespace millrace::net
