// A name server on a loopback port, in a thread: answers what a test put into its table, NXDOMAIN
// otherwise.  With it come the few lines that build a DNS packet.
#pragma once

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/base/strings.h"
#include "core/net/dns.h"

namespace millrace::test {

inline std::string u16(unsigned value) {
  return {static_cast<char>(value >> 8), static_cast<char>(value & 0xFF)};
}
inline std::string u32(unsigned value) { return u16(value >> 16) + u16(value & 0xFFFF); }

inline std::string dns_name(std::string_view text) {
  std::string out;
  for (const std::string_view label : split(text, ".")) {
    out += static_cast<char>(label.size());
    out += label;
  }
  return out + '\0';
}

struct DnsData {
  std::string owner;
  net::DnsType type;
  std::string data;
};

inline std::string dns_packet(unsigned id, unsigned rcode, std::string_view name, net::DnsType type,
                              const std::vector<DnsData>& answers) {
  std::string out = u16(id) + u16(0x8180 | rcode) + u16(1) +
                    u16(static_cast<unsigned>(answers.size())) + u16(0) + u16(0) + dns_name(name) +
                    u16(static_cast<unsigned>(type)) + u16(1);
  for (const DnsData& answer : answers) {
    out += dns_name(answer.owner) + u16(static_cast<unsigned>(answer.type)) + u16(1) + u32(60) +
           u16(static_cast<unsigned>(answer.data.size())) + answer.data;
  }
  return out;
}

class DnsResponder {
 public:
  DnsResponder() : fd_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    if (::bind(fd_, reinterpret_cast<sockaddr*>(&at), size) != 0) std::abort();
    getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &size);
    port_ = ntohs(at.sin_port);
    thread_ = std::thread([this] { run(); });
  }
  ~DnsResponder() {
    stop_ = true;
    thread_.join();
    ::close(fd_);
  }

  std::string forwarder() const { return "127.0.0.1@" + std::to_string(port_); }
  // The whole answer section for a question; rcode 16 stands for no answer at all.
  void set(const std::string& name, net::DnsType type, std::vector<DnsData> answers,
           unsigned rcode = 0) {
    const std::lock_guard lock(mutex_);
    table_[lower(name) + "/" + net::dns_type_name(type)] = {rcode, std::move(answers)};
  }
  void set_a(const std::string& name, const std::string& address) {
    std::string data(4, '\0');
    inet_pton(AF_INET, address.c_str(), data.data());
    set(name, net::DnsType::a, {{name, net::DnsType::a, data}});
  }
  int asked() const { return asked_; }

 private:
  void run() {
    while (!stop_) {
      pollfd poller{fd_, POLLIN, 0};
      if (::poll(&poller, 1, 20) <= 0) continue;
      char data[2048];
      sockaddr_in from{};
      socklen_t size = sizeof from;
      const ssize_t n =
          recvfrom(fd_, data, sizeof data, 0, reinterpret_cast<sockaddr*>(&from), &size);
      if (n < 17) continue;
      ++asked_;
      std::string name;
      std::size_t at = 12;
      for (; data[at] != 0; at += static_cast<std::size_t>(data[at]) + 1) {
        name += (name.empty() ? "" : ".") +
                std::string(data + at + 1, static_cast<std::size_t>(data[at]));
      }
      const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(data[i]); };
      const auto type = static_cast<net::DnsType>(byte(at + 1) << 8 | byte(at + 2));
      const std::lock_guard lock(mutex_);
      const auto entry = table_.find(lower(name) + "/" + net::dns_type_name(type));
      const unsigned id = static_cast<unsigned>(byte(0) << 8 | byte(1));
      std::string reply = dns_packet(id, 3, name, type, {});
      if (entry != table_.end()) {
        if (entry->second.first == 16) continue;
        reply = dns_packet(id, entry->second.first, name, type, entry->second.second);
      }
      sendto(fd_, reply.data(), reply.size(), 0, reinterpret_cast<sockaddr*>(&from), size);
    }
  }

  int fd_;
  unsigned port_ = 0;
  std::atomic<bool> stop_{false};
  std::atomic<int> asked_{0};
  std::mutex mutex_;
  std::map<std::string, std::pair<unsigned, std::vector<DnsData>>> table_;
  std::thread thread_;
};

}  // namespace millrace::test
