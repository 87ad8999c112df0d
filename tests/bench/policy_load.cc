// Load for a policy service: N connections, each with one request under way without pause.
//
//   policy_load CONNECTIONS REQUESTS unix:PATH PID     a daemon on a socket; PID is whose CPU time counts
//   policy_load CONNECTIONS REQUESTS exec COMMAND…     one process for each connection, as spawn(8) starts them
//
// Prints requests per second and CPU microseconds for each request.  Every request has an instance of its own; the first
// tenth of them warms up and is not counted.
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

namespace {

struct Connection {
  int fd = -1;
  std::string answer;
};

double cpu_seconds(const std::vector<pid_t>& pids) {
  double total = 0;
  for (const pid_t pid : pids) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string text((std::istreambuf_iterator<char>(file)), {});
    unsigned long user = 0, system = 0;
    const std::size_t at = text.rfind(')');
    if (at == std::string::npos) continue;
    std::sscanf(text.c_str() + at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
    total += static_cast<double>(user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
  }
  return total;
}

int connected(const char* path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    std::perror(path);
    std::exit(1);
  }
  return fd;
}

int started(char** command, std::vector<pid_t>& pids) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) std::exit(1);
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], 0);
    dup2(ends[1], 1);
    (void)!std::freopen("/dev/null", "w", stderr);   // what it says when it is ended with a question under way
    execvp(command[0], command);
    _exit(127);
  }
  close(ends[1]);
  pids.push_back(child);
  return ends[0];
}

void ask(const Connection& connection, unsigned long number) {
  char request[600];
  const int size = std::snprintf(request, sizeof request,
                                 "request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\nclient_address=192.0.2.1\n"
                                 "client_name=unknown\nhelo_name=host.example\nsender=user@pass.example\nrecipient=rcpt@dest.example\n"
                                 "instance=%x.%lu\n\n", static_cast<unsigned>(getpid()), number);
  if (write(connection.fd, request, static_cast<std::size_t>(size)) != size) {
    std::perror("write");
    std::exit(1);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) return std::fprintf(stderr, "usage: policy_load CONNECTIONS REQUESTS unix:PATH PID | exec COMMAND ...\n"), 2;
  const std::size_t count = std::strtoul(argv[1], nullptr, 10);
  const unsigned long requests = std::strtoul(argv[2], nullptr, 10), warm = requests / 10;
  const bool exec = std::strcmp(argv[3], "exec") == 0;
  std::vector<pid_t> pids;
  if (!exec) pids.push_back(static_cast<pid_t>(std::strtol(argv[4], nullptr, 10)));
  std::vector<Connection> connections(count);
  std::vector<pollfd> polled;
  unsigned long asked = 0, answered = 0;
  for (Connection& one : connections) {
    one.fd = exec ? started(argv + 4, pids) : connected(argv[3] + 5);
    polled.push_back({one.fd, POLLIN, 0});
    ask(one, asked++);
  }
  auto start = std::chrono::steady_clock::now();
  double cpu = 0;
  std::string first;
  while (answered < requests + warm) {
    if (poll(polled.data(), polled.size(), 60'000) <= 0) return std::fprintf(stderr, "no answer in 60 s\n"), 1;
    for (std::size_t i = 0; i < count; ++i) {
      if ((polled[i].revents & (POLLIN | POLLHUP)) == 0) continue;
      char piece[4096];
      const ssize_t n = read(polled[i].fd, piece, sizeof piece);
      if (n <= 0) return std::fprintf(stderr, "a connection ended after %lu answers\n", answered), 1;
      std::string& answer = connections[i].answer;
      answer.append(piece, static_cast<std::size_t>(n));
      if (!answer.ends_with("\n\n")) continue;
      if (first.empty()) first = answer;
      answer.clear();
      if (++answered == warm) start = std::chrono::steady_clock::now(), cpu = cpu_seconds(pids);
      ask(connections[i], asked++);
    }
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::printf("%.0f %.3f %s", static_cast<double>(requests) / seconds, (cpu_seconds(pids) - cpu) * 1e6 / static_cast<double>(requests),
              first.substr(0, first.size() - 1).c_str());
  for (const Connection& one : connections) close(one.fd);
  if (exec) {
    for (const pid_t pid : pids) kill(pid, SIGTERM), waitpid(pid, nullptr, 0);
  }
  return 0;
}
