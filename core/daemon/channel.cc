#include "core/daemon/channel.h"

#include <fmt/format.h>
#include <unistd.h>

#include "core/base/strings.h"
#include "core/net/fiber.h"
#include "core/net/line_stream.h"

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

void Channel::listen(std::function<void(std::string_view word)> handler) {
  const auto started = net::Loop::current().spawn(net::Stack::session, [fd = fd_, handler = std::move(handler)] {
    net::LineStream stream(net::make_stream(fd), 256);
    for (;;) {
      const auto read = stream.read_line(64, Deadline::never());
      handler(read ? read->text : std::string_view("stop"));
      if (!read) return;
    }
  });
  if (!started) handler("stop");
}

}  // namespace millrace::daemon
