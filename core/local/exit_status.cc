#include "core/local/exit_status.h"

#include <sys/wait.h>
#include <sysexits.h>

#include <fmt/format.h>

#include "core/base/strings.h"
#include "core/deliver/reply.h"

namespace millrace::local {
namespace {

struct Row {
  int code;
  const char* dsn;
  const char* text;
};
constexpr Row kRows[] = {
    {EX_USAGE, "5.3.0", "command line usage error"},   {EX_DATAERR, "5.6.0", "data format error"},
    {EX_NOINPUT, "5.3.0", "cannot open input"},        {EX_NOUSER, "5.1.1", "user unknown"},
    {EX_NOHOST, "5.1.2", "host name unknown"},         {EX_UNAVAILABLE, "5.3.0", "service unavailable"},
    {EX_SOFTWARE, "5.3.0", "internal software error"}, {EX_OSERR, "4.3.0", "system resource problem"},
    {EX_OSFILE, "5.3.0", "critical OS file missing"},  {EX_CANTCREAT, "5.2.0", "can't create user output file"},
    {EX_IOERR, "5.3.0", "input/output error"},         {EX_TEMPFAIL, "4.3.0", "temporary failure"},
    {EX_PROTOCOL, "5.5.0", "remote error in protocol"}, {EX_NOPERM, "5.7.0", "permission denied"},
    {EX_CONFIG, "5.3.5", "local configuration error"},
};

}  // namespace

std::string shown_output(std::string_view output) {
  std::string out;
  for (std::size_t i = 0; i < output.size(); ++i) {
    const char c = output[i];
    // Longest valid UTF-8 sequence from here; what is none becomes '_'.
    std::size_t length = 1;
    if (static_cast<unsigned char>(c) >= 0x80) {
      for (length = 4; length > 1 && !(i + length <= output.size() && is_valid_utf8(output.substr(i, length)) &&
                                       static_cast<unsigned char>(c) >= 0xc0 && !is_valid_utf8(output.substr(i, length - 1))); --length) {
      }
      if (length == 1) out += '_';
      else out += output.substr(i, length);
      i += length - 1;
    } else if (is_space(c)) {
      out += ' ';
    } else {
      out += static_cast<unsigned char>(c) < ' ' || c == 0x7f ? '_' : c;
    }
  }
  return out;
}

deliver::Outcome command_outcome(const CommandEnd& end, const std::string& success) {
  using Status = deliver::Outcome::Status;
  deliver::Outcome out;
  const std::string output = shown_output(end.output);
  const std::string tail = output.empty() ? "" : ". Command output: " + output;
  const auto failed = [&](std::string dsn, const std::string& text, const std::string& diagnostic) {
    out.status = dsn[0] == '4' ? Status::deferred : Status::bounced;
    out.dsn = std::move(dsn);
    out.text = text;
    out.diagnostic = "x-unix; " + (output.empty() ? diagnostic : output);
    return out;
  };
  if (end.timed_out) {
    return failed("5.3.0", fmt::format("Command time limit exceeded: \"{}\"{}", end.command, tail), "");
  }
  if (WIFSIGNALED(end.wait_status)) {
    failed("4.3.0", fmt::format("Command died with signal {}: \"{}\"{}", WTERMSIG(end.wait_status), end.command, tail), "");
    return out;
  }
  const int code = WEXITSTATUS(end.wait_status);
  if (code == 0) {
    out.status = Status::sent;
    out.dsn = "2.0.0";
    const std::string_view said = trim(output);
    out.text = said.empty() ? success : success + " (" + std::string(said) + ")";
    return out;
  }
  const std::string_view given = deliver::leading_dsn(output);
  if (!given.empty()) {
    // A success code contradicts the exit status.
    std::string text = output.substr(given.size());
    text.erase(0, text.find_first_not_of(' ') == text.npos ? text.size() : text.find_first_not_of(' '));
    failed(given[0] == '2' ? "5.0.0" : std::string(given), text, text);
    out.diagnostic = "x-unix; " + text;
    return out;
  }
  for (const Row& row : kRows) {
    if (row.code == code) return failed(row.dsn, row.text + tail, row.text);
  }
  return failed("5.3.0", fmt::format("Command died with status {}: \"{}\"{}", code, end.command, tail),
                fmt::format("unknown mail system error {}", code));
}

}  // namespace millrace::local
