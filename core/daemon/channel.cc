#include "core/daemon/channel.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include "core/base/strings.h"
#include "core/net/fiber.h"
#include "core/net/stream.h"

namespace millrace::daemon {

void Channel::line(std::string_view word, std::string_view text) {
  const std::string all = fmt::format("{}{}{}\n", word, text.empty() ? "" : " ", printable(text));
  (void)!::write(fd_, all.data(), all.size());
}

void Channel::report(const config::Findings& findings) {
  for (const auto& finding : findings.lines) {
    line(finding.is_error ? "error" : "warning", finding.to_text());
  }
}

void Channel::error(std::string_view text) { line("error", text); }

void Channel::ready() { line("ready", ""); }
void Channel::queue_open() { line("open", ""); }

void Channel::listen(std::function<void(std::string_view word)> handler) {
  const auto started = net::Loop::current().spawn(net::Stack::session, [fd = fd_, log_fd = log_fd_,
                                                                        handler = std::move(handler)] {
    net::MessageSocket socket(fd);
    std::string bytes;
    std::vector<int> passed;
    while (socket.receive(bytes, passed, Deadline::never())) {
      for (const int file : std::exchange(passed, {})) {
        if (log_fd >= 0) ::dup3(file, log_fd, O_CLOEXEC);
        ::close(file);
      }
      for (std::size_t end; (end = bytes.find('\n')) != std::string::npos; bytes.erase(0, end + 1)) {
        const std::string word = bytes.substr(0, end);
        if (word != "log") handler(word);
      }
    }
    handler("stop");
  });
  if (!started) handler("stop");
}

}  // namespace millrace::daemon
