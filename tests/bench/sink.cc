// A next hop that accepts everything and counts, as fast as one thread can: the far end of the
// benchmark and of the crash ledger.
//
//   bench_sink PORT COUNTER-FILE [LEDGER-FILE]
//
// COUNTER-FILE is 16 bytes, mapped: messages accepted, then content bytes, little-endian 64 bit each.
// LEDGER-FILE gets the value of each accepted message's "X-Ledger:" header, a line each, written before
// the 250.  Speaks ESMTP with PIPELINING, SIZE, 8BITMIME, DSN and ENHANCEDSTATUSCODES.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

namespace {

struct Counter {
  std::uint64_t messages, bytes;
};

struct Client {
  std::string input, output, ledger;
  bool in_data = false;
  bool quit = false;
  std::size_t scanned = 0;
};

Counter* counter = nullptr;
int ledger_fd = -1;

bool starts_with_word(std::string_view line, std::string_view word) {
  return line.size() >= word.size() &&
         std::equal(word.begin(), word.end(), line.begin(), [](char a, char b) { return a == (b & ~0x20); });
}

void command(Client& client, std::string_view line) {
  if (starts_with_word(line, "EHLO")) {
    client.output +=
        "250-sink\r\n250-PIPELINING\r\n250-SIZE 0\r\n250-8BITMIME\r\n250-DSN\r\n250 ENHANCEDSTATUSCODES\r\n";
  } else if (starts_with_word(line, "MAIL")) {
    client.output += "250 2.1.0 Ok\r\n";
  } else if (starts_with_word(line, "RCPT")) {
    client.output += "250 2.1.5 Ok\r\n";
  } else if (starts_with_word(line, "DATA")) {
    client.output += "354 go ahead\r\n";
    client.in_data = true;
    client.scanned = 0;
    client.ledger.clear();
  } else if (starts_with_word(line, "QUIT")) {
    client.output += "221 2.0.0 Bye\r\n";
    client.quit = true;
  } else {
    client.output += "250 2.0.0 Ok\r\n";
  }
}

// Takes content up to the final dot out of the input; false when it has not come yet.
bool content(Client& client) {
  std::string& in = client.input;
  if (client.ledger.empty()) {
    const std::size_t at = in.find("X-Ledger: ");
    const std::size_t end = at == std::string::npos ? at : in.find("\r\n", at);
    if (end != std::string::npos) client.ledger = in.substr(at + 10, end - at - 10);
  }
  const bool empty = in.compare(0, 3, ".\r\n") == 0;
  const std::size_t from = client.scanned > 4 ? client.scanned - 4 : 0;
  const std::size_t end = empty ? 0 : in.find("\r\n.\r\n", from);
  if (!empty && end == std::string::npos) {
    // Only the last bytes can be part of an end of data; the rest is counted and dropped.
    if (in.size() > 262144) {
      counter->bytes += in.size() - 4;
      in.erase(0, in.size() - 4);
    }
    client.scanned = in.size();
    return false;
  }
  counter->bytes += end;
  in.erase(0, end + (empty ? 3 : 5));
  client.in_data = false;
  if (ledger_fd >= 0) {
    client.ledger += "\n";
    (void)!::write(ledger_fd, client.ledger.data(), client.ledger.size());
  }
  ++counter->messages;
  client.output += "250 2.0.0 Ok: queued as SINK\r\n";
  return true;
}

void consume(Client& client) {
  for (;;) {
    if (client.in_data) {
      if (!content(client)) return;
      continue;
    }
    const std::size_t end = client.input.find('\n');
    if (end == std::string::npos) return;
    command(client, std::string_view(client.input).substr(0, end));
    client.input.erase(0, end + 1);
  }
}

int listen_on(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int yes = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  at.sin_port = htons(static_cast<std::uint16_t>(port));
  if (::bind(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 || ::listen(fd, 1024) != 0) {
    std::perror("bench_sink: listen");
    std::exit(1);
  }
  return fd;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: bench_sink PORT COUNTER-FILE [LEDGER-FILE]\n");
    return 2;
  }
  ::signal(SIGPIPE, SIG_IGN);
  const int file = ::open(argv[2], O_RDWR | O_CREAT, 0644);
  if (file < 0 || ::ftruncate(file, sizeof(Counter)) != 0) return 1;
  void* memory = ::mmap(nullptr, sizeof(Counter), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) return 1;
  counter = static_cast<Counter*>(memory);
  if (argc > 3) ledger_fd = ::open(argv[3], O_WRONLY | O_CREAT | O_APPEND, 0644);
  const int listener = listen_on(std::atoi(argv[1]));
  const int poller = ::epoll_create1(EPOLL_CLOEXEC);
  epoll_event listening{EPOLLIN, {.fd = listener}};
  ::epoll_ctl(poller, EPOLL_CTL_ADD, listener, &listening);
  std::unordered_map<int, Client> clients;
  const std::unique_ptr<char[]> buffer(new char[262144]);
  for (;;) {
    epoll_event events[256];
    const int count = ::epoll_wait(poller, events, 256, -1);
    for (int i = 0; i < count; ++i) {
      const int fd = events[i].data.fd;
      if (fd == listener) {
        for (int made; (made = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
          const int yes = 1;
          ::setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
          epoll_event event{EPOLLIN, {.fd = made}};
          ::epoll_ctl(poller, EPOLL_CTL_ADD, made, &event);
          (void)!::write(made, "220 sink ESMTP\r\n", 16);
          clients[made];
        }
        continue;
      }
      Client& client = clients[fd];
      const ssize_t n = ::read(fd, buffer.get(), 262144);
      if (n > 0) {
        client.input.append(buffer.get(), static_cast<std::size_t>(n));
        consume(client);
        if (!client.output.empty()) (void)!::write(fd, client.output.data(), client.output.size());
        client.output.clear();
      }
      if (client.quit || n == 0 || (n < 0 && errno != EAGAIN)) {
        ::close(fd);
        clients.erase(fd);
      }
    }
  }
}
